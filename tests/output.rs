//! Standard output and standard error that cannot be written: on a full disk, closed, or a pipe that nobody reads.
//!
//! No verb panics. A verb whose result is lost fails; a verb that changes rules ends with what happened to the rules.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::netns::{Side, Topology};
use tempfile::TempDir;

const CASE: &str = "fixtures/cases/10-edge-host-flannel";
const LOST: &str = "cannot write to standard output";

/// What a stream of a program is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    /// It is read to its end.
    Read,
    /// A device without space.
    Full,
    /// Nothing.
    Closed,
    /// A pipe whose reader has ended.
    Broken,
}

use Stream::{Broken, Closed, Full, Read};

impl Stream {
    const ALL: [Self; 4] = [Read, Full, Closed, Broken];

    fn redirection(self, descriptor: u8) -> String {
        match self {
            Read | Broken => String::new(),
            Full => format!(" {descriptor}>/dev/full"),
            Closed => format!(" {descriptor}>&-"),
        }
    }

    fn stdio(self) -> Stdio {
        match self {
            Broken => {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                writer.into()
            }
            _ => Stdio::piped(),
        }
    }
}

/// A run of the program: its exit code, and what was read of its output.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program in a folder with its output connected to something.
fn run(folder: &Path, line: &str, out: Stream, err: Stream) -> Run {
    let script = format!("exec \"$0\" \"$@\"{}{}", out.redirection(1), err.redirection(2));
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_edgeward")]).args(line.split_whitespace());
    command.current_dir(folder).env("NO_COLOR", "1").env_remove("SSH_CONNECTION").stdin(Stdio::null());
    let output = command.stdout(out.stdio()).stderr(err.stdio()).output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    Run { code: output.status.code(), out, err }
}

fn site() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["policy.yaml", "policy.lock.yaml", "probes.yaml"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(CASE).join(name);
        fs::copy(from, folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("list.txt"), "10.0.0.0/8\n").unwrap();
    fs::write(folder.path().join("wrong.txt"), "10.0.0.0/8\nx\n").unwrap();
    let policy = fs::read_to_string(folder.path().join("policy.yaml")).unwrap();
    fs::write(folder.path().join("wrong.yaml"), policy.replace("cn-hangzhou", "cn-hangzou")).unwrap();
    fs::write(folder.path().join("other.yaml"), policy.replace("10.0.0.0/24", "10.0.1.0/24")).unwrap();
    folder
}

/// Verbs that print a result and change nothing, and how they end where it is read.
const RESULTS: &[(&str, i32)] = &[
    ("--help", 0),
    ("--version", 0),
    ("apply --help", 0),
    ("check policy.yaml", 0),
    ("check policy.yaml policy.lock.yaml --format json", 0),
    ("init --region cn-hangzhou --connection public --cni flannel", 0),
    ("resolve policy.yaml --offline", 0),
    ("resolve policy.yaml --offline --format json", 0),
    ("hosts policy.yaml", 0),
    ("compile policy.yaml", 0),
    ("compile policy.yaml --format json", 0),
    ("explain policy.yaml --from 10.0.0.20 --to 192.168.10.20 --proto tcp --dport 6443", 0),
    ("explain policy.yaml --from 10.0.0.20 --to 192.168.10.20 --proto tcp --dport 6443 --expect drop", 1),
    ("explain policy.yaml --probes probes.yaml", 0),
    ("flows policy.yaml", 0),
    ("flows policy.yaml --format json", 0),
    ("flows policy.yaml --format csv", 0),
    ("routes policy.yaml", 0),
    ("routes policy.yaml --format json", 0),
    ("security-group policy.yaml", 0),
    ("security-group policy.yaml --format json", 0),
    ("security-group policy.yaml --format terraform", 0),
    ("diff policy.yaml --against other.yaml --against-lock policy.lock.yaml", 1),
    ("diff policy.yaml --against other.yaml --against-lock policy.lock.yaml --format json", 1),
    ("history --state-dir state", 0),
    ("aggregate list.txt", 0),
    ("catalog", 0),
    ("catalog cn-hangzhou --format json", 0),
    ("schema", 0),
    ("schema --of apply", 0),
    ("completions bash", 0),
    ("man", 0),
    ("man apply", 0),
];

/// Verbs that print nothing on standard output, and say why on standard error.
const ERRORS: &[(&str, i32)] = &[
    ("", 2),
    ("check", 2),
    ("nothing", 2),
    ("check /nonexistent", 4),
    ("check wrong.yaml", 2),
    ("compile wrong.yaml", 2),
    ("compile policy.yaml -o written.nft", 0),
    ("resolve wrong.yaml", 2),
    ("hosts wrong.yaml", 2),
    ("explain wrong.yaml --from 10.0.0.20 --to 10.0.0.21 --proto tcp --dport 1", 2),
    ("flows wrong.yaml", 2),
    ("routes wrong.yaml", 2),
    ("security-group wrong.yaml", 2),
    ("diff wrong.yaml --against policy.yaml", 2),
    ("apply wrong.yaml --state-dir state", 2),
    ("refresh wrong.yaml --state-dir state", 2),
    ("confirm --state-dir none", 2),
    ("rollback --state-dir none", 2),
    ("aggregate wrong.txt", 2),
    ("catalog nowhere", 2),
    ("man nothing", 2),
    ("man --out-dir /nonexistent", 4),
    ("init --region nowhere --connection public --cni flannel", 2),
];

#[test]
fn a_result_that_is_lost_is_a_failure_and_nothing_panics() {
    let site = site();
    for (line, code) in RESULTS {
        for out in Stream::ALL {
            for err in Stream::ALL {
                let run = run(site.path(), line, out, err);
                let code = if out == Full { 4 } else { *code };
                assert_eq!(run.code, Some(code), "`{line}` with {out:?} and {err:?}: {run:?}");
                assert_eq!(run.err.contains(LOST), out == Full && err == Read, "`{line}` with {out:?}: {run:?}");
                assert!(!run.out.is_empty() || out != Read, "`{line}` with {err:?}: {run:?}");
            }
        }
    }
}

#[test]
fn an_error_that_is_lost_is_still_in_the_exit_code() {
    let site = site();
    for (line, code) in ERRORS {
        for out in Stream::ALL {
            for err in Stream::ALL {
                let run = run(site.path(), line, out, err);
                assert_eq!(run.code, Some(*code), "`{line}` with {out:?} and {err:?}: {run:?}");
                assert!(run.out.is_empty(), "{run:?}");
                assert!(err != Read || *code == 0 || !run.err.is_empty(), "`{line}`: {run:?}");
            }
        }
    }
}

/// Pairs of standard output and standard error.
const PAIRS: [(Stream, Stream); 8] = [
    (Read, Full),
    (Read, Closed),
    (Read, Broken),
    (Full, Read),
    (Full, Full),
    (Closed, Closed),
    (Broken, Read),
    (Broken, Broken),
];

/// The verbs that change rules, in an order in which each has something to do, and what standard error says of the rules
/// if standard output is full.
const CHANGES: &[(&str, &str)] = &[
    ("apply policy.yaml --message first", "; the change was made: generation 1 is in force"),
    ("apply policy.yaml", "; nothing was changed: generation 1 is in force"),
    (
        "apply other.yaml --lock policy.lock.yaml --confirm-within 1h",
        "; the change was made: generation 2 is in force; ",
    ),
    ("confirm", "; the change was made: generation 2 is in force"),
    ("rollback", "; the change was made: generation 1 is in force"),
    (
        "apply other.yaml --lock policy.lock.yaml --confirm-within 1h",
        "; generation 3 is pending: generation 1 comes back in ",
    ),
    ("rollback", "; the change was made: generation 1 is in force"),
    ("boot", "; nothing was changed: generation 1 is in force"),
    ("uninstall --remove-rules", "; the change was made: no table is in force"),
    ("boot", "; nothing was changed: no table is in force"),
];

#[test]
fn a_change_is_made_although_its_report_is_lost() {
    need_namespaces!();
    for format in ["text", "json"] {
        for (out, err) in PAIRS {
            let site = site();
            let host = Topology::edge_host("10.0.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap());
            for (line, sentence) in CHANGES {
                let line = format!("{line} --state-dir state --format {format}");
                let run = host.within(Side::UnderTest, || run(site.path(), &line, out, err));
                assert_eq!(run.code, Some(0), "`{line}` with {out:?} and {err:?}: {run:?}");
                let said = run.err.split_whitespace().collect::<Vec<_>>().join(" ");
                if out == Full && err == Read {
                    assert!(said.contains(LOST) && said.contains(sentence), "`{line}`: {said}");
                } else {
                    assert!(!said.contains(LOST), "`{line}` with {out:?}: {said}");
                }
            }
            let state: Value =
                serde_json::from_str(&fs::read_to_string(site.path().join("state/state.json")).unwrap()).unwrap();
            assert_eq!(
                (&state["current"], &state["pending"]),
                (&Value::Null, &Value::Null),
                "{out:?} {err:?}: {state}"
            );
        }
    }
}

#[test]
fn a_plan_that_is_lost_is_a_failure() {
    need_namespaces!();
    let site = site();
    let host = Topology::edge_host("10.0.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap());
    let run = |line: &str, out, err| {
        host.within(Side::UnderTest, || run(site.path(), &format!("{line} --state-dir state"), out, err))
    };
    assert_eq!(run("apply policy.yaml", Read, Read).code, Some(0));
    assert_eq!(run("apply other.yaml --lock policy.lock.yaml", Read, Read).code, Some(0));
    for line in
        ["apply policy.yaml --dry-run", "apply policy.yaml --dry-run --format json", "rollback --dry-run", "status"]
    {
        for err in Stream::ALL {
            assert_eq!(run(line, Full, err).code, Some(4), "{line}");
            for out in [Read, Closed, Broken] {
                let run = run(line, out, err);
                assert_eq!(run.code, Some(0), "{line} with {out:?} and {err:?}: {run:?}");
            }
        }
        assert!(run(line, Full, Read).err.contains(LOST));
    }
}
