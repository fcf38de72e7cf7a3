//! Policies and other inputs from standard input and from pipes, as shells make them.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::netns::Topology;
use tempfile::TempDir;

const CASE: &str = "fixtures/cases/10-edge-host-flannel";
const NO_LOCKFILE: &str = "no lockfile beside it: name the lockfile with `--lock FILE`";

/// A folder with a policy and a lockfile, neither of which the program would find by itself.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = |name: &str, to: &str| {
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(CASE).join(name)).unwrap();
            fs::write(folder.path().join(to), text).unwrap();
        };
        copy("policy.yaml", "in.yaml");
        copy("policy.lock.yaml", "names.lock.yaml");
        Self { folder }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// A shell with `edgeward` as the program, in the folder.
    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("bash");
        let script = format!("edgeward() {{ command '{}' \"$@\"; }}; {line}", env!("CARGO_BIN_EXE_edgeward"));
        shell.args(["-c", &script]).current_dir(self.folder.path()).env("NO_COLOR", "1");
        shell
    }

    /// Runs a line of bash; returns what was printed. Lockfiles of the fixtures get old, which is not the subject.
    #[track_caller]
    fn run(&self, line: &str, code: i32) -> (String, String) {
        let output = self.shell(line).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(code), "{line}: {out}{err}");
        assert!(!err.contains("panicked"), "{err}");
        (out, err.split_inclusive('\n').filter(|line| !line.contains("`resolve.max-stale`")).collect())
    }
}

/// Every way in which a shell gives a text to a program.
const WAYS: [&str; 7] = [
    "edgeward VERB - < in.yaml",
    "cat in.yaml | edgeward VERB -",
    "cat in.yaml | edgeward VERB /dev/stdin",
    "edgeward VERB /dev/fd/0 < in.yaml",
    "cat in.yaml | edgeward VERB /proc/self/fd/0",
    "edgeward VERB <(cat in.yaml)",
    "edgeward VERB /dev/fd/5 5< in.yaml",
];

#[test]
fn a_policy_from_a_pipe_is_the_same_policy() {
    let site = Site::new();
    for (verb, more) in [
        ("compile", "--lock names.lock.yaml"),
        ("flows", "--lock names.lock.yaml --format csv"),
        ("hosts", "--lock names.lock.yaml"),
        ("explain", "--lock names.lock.yaml --from 10.0.0.20 --to 192.168.10.20 --proto tcp --dport 6443"),
    ] {
        let expected = site.run(&format!("edgeward {verb} in.yaml {more}"), 0).0;
        for way in WAYS {
            let out = site.run(&format!("{} {more}", way.replace("VERB", verb)), 0).0;
            // The place of a line in the policy has its name.
            let same = |out: &str| out.replace("<stdin>:", "in.yaml:");
            let lines = |out: &str| out.lines().count();
            if way.contains("/dev/fd/5") || way.contains("<(") {
                assert_eq!(lines(&out), lines(&expected), "{way} {verb}");
            } else {
                assert_eq!(same(&out), expected, "{way} {verb}");
            }
        }
    }
}

#[test]
fn a_check_of_a_pipe_needs_no_lockfile() {
    let site = Site::new();
    for way in WAYS {
        let (out, err) = site.run(&way.replace("VERB", "check"), 0);
        // One note, about `pods`; nothing about a lockfile.
        let codes: Vec<&str> = err.lines().filter(|line| line.contains("]: ")).collect();
        assert!(out.contains(": valid; ") && codes.len() == 1, "{way}: {out}{err}");
        assert!(codes[0].starts_with("note[pod-source]"), "{err}");
    }
    let (out, _) = site.run("edgeward check - < in.yaml", 0);
    assert!(out.starts_with("<stdin>: valid; "), "{out}");
    // Several files, and only one of them may be standard input.
    site.run("edgeward check in.yaml - < in.yaml", 0);
    let (_, err) = site.run("edgeward check - - < in.yaml", 2);
    assert!(err.contains("standard input can be read once"), "{err}");
    let (_, err) = site.run("sed 's/cn-hangzhou/cn-hangzou/' in.yaml | edgeward check -", 2);
    assert!(err.contains("--> <stdin>:") && err.contains("did you mean `cn-hangzhou`?"), "{err}");
    site.run("edgeward check ./-", 4);
    let (_, err) = site.run("printf 'version: \\xff' | edgeward check -", 2);
    assert!(err.contains("error[not-text]") && err.contains("<stdin>"), "{err}");
}

#[test]
fn names_need_a_lockfile_that_is_named() {
    let site = Site::new();
    for verb in
        ["compile", "flows", "hosts", "resolve --offline", "diff --against in.yaml", "apply --dry-run --resolve"]
    {
        for way in WAYS {
            let line = way.replace("VERB", verb);
            let (out, err) = site.run(&line, 2);
            assert!(out.is_empty() && err.contains(NO_LOCKFILE) && !err.contains("/dev"), "{line}: {out}{err}");
        }
    }
    // A policy without names needs none.
    site.write("plain.yaml", registered_policy!("plain", ""));
    let (out, _) = site.run("edgeward check plain.yaml", 0);
    assert!(out.contains(", 0 names to resolve"), "{out}");
    site.run("edgeward compile - < plain.yaml", 0);
    // Messages name commands that can be typed.
    site.write("empty.lock.yaml", "version: 1\nnames: []\n");
    let (_, err) = site.run("edgeward compile - --lock empty.lock.yaml < in.yaml", 3);
    assert!(err.contains("`edgeward resolve - --lock empty.lock.yaml` asks DNS"), "{err}");
    // The lockfile may come from a pipe, too, but it cannot be written into one.
    site.run("edgeward compile in.yaml --lock - < names.lock.yaml", 0);
    site.run("edgeward compile <(cat in.yaml) --lock <(cat names.lock.yaml)", 0);
    let (_, err) = site.run("edgeward resolve in.yaml --offline --lock - < names.lock.yaml", 2);
    assert!(err.contains("the lockfile is written, so name a file"), "{err}");
}

#[test]
fn both_sides_of_a_comparison_may_be_pipes_but_not_the_same() {
    let site = Site::new();
    let locks = "--lock names.lock.yaml --against-lock names.lock.yaml";
    site.run(&format!("edgeward diff in.yaml --against - {locks} < in.yaml"), 0);
    site.run(&format!("edgeward diff - --against in.yaml {locks} < in.yaml"), 0);
    site.run(&format!("edgeward diff <(cat in.yaml) --against <(cat in.yaml) {locks}"), 0);
    // Where the catalogs differ, the other policy is compiled with both.
    site.run(&format!("edgeward diff in.yaml --against <(cat in.yaml) --against-catalog built-in {locks}"), 0);
    let (out, _) = site.run(
        &format!(
            "sed 's/ssh-port: .*/ssh-port: 2222/; s/^management:.*/management: {{from: [10.9.0.0\\/24]}}/' in.yaml | \
                  edgeward diff - --against in.yaml {locks}"
        ),
        1,
    );
    assert!(out.starts_with("`<stdin>` against `in.yaml`") && out.contains("<stdin>:"), "{out}");
    site.run(
        "edgeward compile in.yaml --lock names.lock.yaml | edgeward diff in.yaml --lock names.lock.yaml --against -",
        0,
    );
    let (_, err) = site.run(&format!("edgeward diff - --against - {locks} < in.yaml"), 2);
    assert!(err.contains("standard input can be read once: name a file for the other input"), "{err}");
    let (_, err) = site.run("edgeward diff in.yaml --lock names.lock.yaml --against - < in.yaml", 2);
    assert!(err.contains("`--against-lock FILE`"), "{err}");
    site.write(
        "probes.yaml",
        "version: 1\nprobes:\n- {from: 10.0.0.20, to: 192.168.10.20, proto: tcp, dport: 6443, expect: accept}\n",
    );
    site.run("edgeward explain in.yaml --lock names.lock.yaml --probes - < probes.yaml", 0);
    site.run("edgeward explain - --lock names.lock.yaml --probes - < in.yaml", 2);
}

#[test]
fn lists_are_relative_to_the_current_folder() {
    let site = Site::new();
    site.write("office.txt", "203.0.113.0/24\n");
    let row =
        "allow:\n- {id: office, direction: inbound, peers-file: office.txt, ports: [tcp/8443], purpose: office}\n";
    let text = site.read("in.yaml");
    let text = text.split("\nallow:").next().unwrap().to_owned() + "\n" + row;
    site.write("in.yaml", &text);
    for way in WAYS {
        let out = site.run(&format!("{} --lock names.lock.yaml", way.replace("VERB", "compile")), 0).0;
        assert!(out.contains("203.0.113.0/24"), "{way}");
    }
    // That of the policy does not matter: it has none.
    fs::create_dir(site.folder.path().join("policies")).unwrap();
    fs::rename(site.folder.path().join("in.yaml"), site.folder.path().join("policies/in.yaml")).unwrap();
    site.run("edgeward check - < policies/in.yaml", 0);
    site.run("edgeward check policies/in.yaml", 2);
}

#[test]
fn a_terminal_is_not_waited_for() {
    let site = Site::new();
    // `script` gives the program a terminal.
    let line = format!("'{}' check -", env!("CARGO_BIN_EXE_edgeward"));
    let output = Command::new("timeout")
        .args(["20", "script", "-qec", &line, "/dev/null"])
        .current_dir(site.folder.path())
        .output();
    let Ok(output) = output else { return };
    let said = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    if output.status.code() == Some(127) {
        return;
    }
    assert!(said.contains("standard input is a terminal"), "{said}");
    assert_eq!(output.status.code(), Some(2), "{said}");
}

#[test]
fn what_was_applied_from_a_pipe_is_refreshed() {
    need_namespaces!();
    let site = Site::new();
    let host = Topology::edge_host("10.0.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap());
    let run = |line: &str, code: i32| {
        let shell = site.shell(&format!("unset SSH_CONNECTION; {line}"));
        let arguments: Vec<String> = shell.get_args().map(|word| word.to_str().unwrap().to_owned()).collect();
        let script = format!("cd '{}'; {}", site.folder.path().display(), arguments[1]);
        let output = host.run_under_test(&["bash", "-c", &script]);
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        said
    };
    run("cat in.yaml | edgeward apply - --lock names.lock.yaml --state-dir state", 0);
    let manifest: Value = serde_json::from_str(&site.read("state/generations/1/manifest.json")).unwrap();
    assert_eq!(manifest["policy"]["path"], "-");
    assert!(run("edgeward history --state-dir state", 0).contains("from a pipe"));
    assert!(run("edgeward status --state-dir state", 0).contains("(from a pipe)"));
    // The timer's command: without a file there is nothing to compare with.
    let refresh = "--server 127.0.0.1:9 --state-dir state 2>&1 | grep -v 'no answer'";
    let unnoticed = |said: String| assert!(!said.contains("only addresses are refreshed"), "{said}");
    unnoticed(run(&format!("edgeward refresh policy.yaml {refresh}"), 0));
    assert!(!site.folder.path().join("policy.lock.yaml").exists());
    unnoticed(run(&format!("cat in.yaml | edgeward refresh - {refresh}"), 0));
    unnoticed(run(&format!("cat in.yaml | edgeward refresh - --lock names.lock.yaml {refresh}"), 0));
    // Another policy is one, in a file or not.
    for line in [
        "sed s/^name:.*/name:\\ other/ in.yaml > policy.yaml; edgeward refresh policy.yaml",
        "sed s/^name:.*/name:\\ other/ in.yaml | edgeward refresh -",
    ] {
        let said = run(&format!("{line} {refresh}"), 0);
        assert!(said.contains("this has changed: the policy `"), "{said}");
    }
    // It is the same policy by its text.
    assert!(run("edgeward apply in.yaml --lock names.lock.yaml --state-dir state", 0).contains("nothing to change"));
}
