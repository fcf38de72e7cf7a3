//! Names and texts with characters that would change what a terminal shows: none reaches standard output or standard
//! error as it is.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use edgeward::diag::is_invisible;
use support::netns::{Side, Topology};
use tempfile::TempDir;

const CASE: &str = "fixtures/cases/10-edge-host-flannel";
/// A colour, the title of a window, an end of line, a reversed direction, a zero width, and a control of ISO 6429.
const EVIL: &str = "a\u{1b}[31m\u{1b}]0;title\u{7}\r\nb\u{202e}c\u{200b}d\u{9b}31m";

struct Site {
    folder: TempDir,
}

impl Site {
    /// A folder in a folder with such a name, with files that have such names, too.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join(EVIL);
        fs::create_dir(&inside).unwrap();
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join(CASE);
        let policy = fs::read_to_string(case.join("policy.yaml")).unwrap();
        let lock = fs::read_to_string(case.join("policy.lock.yaml")).unwrap();
        let write = |name: &str, text: &str| fs::write(inside.join(name), text).unwrap();
        write(&format!("{EVIL}.yaml"), &policy);
        write(&format!("{EVIL}.lock.yaml"), &lock);
        write("other.yaml", &policy.replace("10.0.0.0/24", "10.0.1.0/24"));
        write("other.lock.yaml", &lock);
        write("wrong.yaml", &policy.replace("cn-hangzhou", &EVIL.replace(['\r', '\n', '\u{1b}', '\u{7}'], "")));
        write("key.yaml", &format!("{policy}\n\"{}\": 1\n", EVIL.escape_default()));
        write("syntax.yaml", &format!("{policy}\n# {EVIL}\n"));
        write("list.txt", &format!("10.0.0.0/8\n{EVIL}\n1{EVIL}\n"));
        write("wrong.nft", &format!("table inet edgeward {{\n\tchain a {{\n\t\t{EVIL}\n"));
        Self { folder }
    }

    fn run(&self, line: &[&str], colour: bool) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
        command.args(line).current_dir(self.folder.path().join(EVIL)).env_remove("SSH_CONNECTION");
        match colour {
            true => command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1"),
            false => command.env("NO_COLOR", "1"),
        };
        command.output().unwrap()
    }

    /// Runs the program, and looks at everything that it says.
    #[track_caller]
    fn is_plain(&self, line: &[&str], code: i32) -> String {
        let output = self.run(line, false);
        let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap()).concat();
        assert_eq!(output.status.code(), Some(code), "{line:?}: {said}");
        // The lines of CSV end in CR LF.
        let said = said.replace("\r\n", "\n");
        let bad = said.chars().find(|&c| is_invisible(c) && !matches!(c, '\n' | '\t'));
        assert_eq!(bad, None, "{line:?}: {said:?}");
        // With colours, only our own begin with the escape character.
        let coloured = self.run(line, true);
        let said_in_colour = String::from_utf8([coloured.stdout, coloured.stderr].concat()).unwrap();
        let mut parts = said_in_colour.split('\u{1b}');
        assert!(parts.all(|part| !part.starts_with(']')), "{said_in_colour:?}");
        said
    }
}

#[test]
fn names_of_files_are_escaped() {
    let site = Site::new();
    let (policy, lock) = (format!("{EVIL}.yaml"), format!("{EVIL}.lock.yaml"));
    let missing = format!("{EVIL}.none");
    let packet = ["--from", "10.0.0.20", "--to", "192.168.10.20", "--proto", "tcp", "--dport", "6443"];
    let said = site.is_plain(&["check", &policy, &lock], 0);
    assert!(said.lines().all(|line| !line.starts_with('b')), "a name does not begin a line: {said}");
    site.is_plain(&["check", &policy, &lock, "--format", "json"], 0);
    site.is_plain(&["check", &missing], 4);
    site.is_plain(&["check", "."], 2);
    for line in [["compile", &policy], ["flows", &policy], ["hosts", &policy]] {
        site.is_plain(&line, 0);
        site.is_plain(&[line[0], &missing], 4);
    }
    site.is_plain(&["flows", &policy, "--format", "csv"], 0);
    site.is_plain(&["flows", &policy, "--format", "markdown"], 0);
    site.is_plain(&[&["explain", &policy][..], &packet].concat(), 0);
    site.is_plain(&["explain", &policy, "--probes", &missing], 4);
    site.is_plain(&["diff", &policy, "--against", "other.yaml"], 1);
    site.is_plain(&["diff", "other.yaml", "--against", &policy], 1);
    site.is_plain(&["diff", "other.yaml", "--against", &policy, "--format", "json"], 1);
    site.is_plain(&["diff", "other.yaml", "--against", &policy, "--format", "nft"], 1);
    site.is_plain(&["resolve", &policy, "--offline"], 0);
    site.is_plain(&["compile", &policy, "-o", &format!("{EVIL}/none/x")], 4);
    site.is_plain(&["aggregate", &missing], 4);
    site.is_plain(&["catalog", "--catalog", EVIL], 4);
    site.is_plain(&["history", "--state-dir", EVIL], 0);
    site.is_plain(&["confirm", "--state-dir", EVIL], 2);
    site.is_plain(&["rollback", "--state-dir", EVIL], 2);
    site.is_plain(&["man", "--out-dir", EVIL], 4);
    site.is_plain(&["man", EVIL], 2);
    site.is_plain(&["check", "--format", EVIL], 2);
}

#[test]
fn contents_of_files_are_escaped() {
    let site = Site::new();
    for file in ["wrong.yaml", "key.yaml", "syntax.yaml"] {
        site.is_plain(&["check", file], 2);
        site.is_plain(&["check", file, "--format", "json"], 2);
    }
    // docs/cli.md: a path is as it is, with JSON's escapes, and a sentence as in the text.
    let policy = format!("{EVIL}.yaml");
    let valid = site.run(&["check", &policy, "--format", "json"], false).stdout;
    let valid: serde_json::Value = serde_json::from_slice(&valid).unwrap();
    assert_eq!(valid["policies"][0]["file"], policy.as_str());
    let wrong = site.run(&["check", "wrong.yaml", "--format", "json"], false).stdout;
    let wrong: serde_json::Value = serde_json::from_slice(&wrong).unwrap();
    let messages = wrong["diagnostics"].as_array().unwrap().iter().map(|row| row["message"].as_str().unwrap());
    let messages: Vec<&str> = messages.collect();
    assert!(messages.iter().any(|message| message.contains("\\u{")), "{messages:?}");
    assert!(!messages.iter().any(|message| message.contains(is_invisible)), "{messages:?}");
    site.is_plain(&["aggregate", "list.txt"], 2);
    site.is_plain(&["diff", "other.yaml", "--against", "wrong.nft"], 2);
}

#[test]
fn names_in_records_and_in_the_kernel_are_escaped() {
    need_namespaces!();
    let site = Site::new();
    let host = Topology::edge_host("10.0.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap());
    let policy = format!("{EVIL}.yaml");
    let is_plain = |line: &[&str], code: i32| {
        host.within(Side::UnderTest, || site.is_plain(&[line, &["--state-dir", EVIL]].concat(), code))
    };
    is_plain(&["apply", &policy, "--dry-run"], 0);
    is_plain(&["apply", &policy], 0);
    is_plain(&["apply", "other.yaml", "--confirm-within", "1h"], 0);
    is_plain(&["status"], 0);
    is_plain(&["status", "--format", "json"], 0);
    is_plain(&["history"], 0);
    is_plain(&["history", "--format", "json"], 0);
    is_plain(&["rollback"], 0);
    is_plain(&["refresh", "other.yaml", "--server", "127.0.0.1:9"], 3);
    is_plain(&["uninstall", "--remove-rules"], 0);
    let state = site.folder.path().join(EVIL).join(EVIL);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    let said = is_plain(&["status"], 4);
    assert_eq!(said.matches("chmod").count(), 1, "a message is not said twice: {said}");
    assert!(
        said.contains("`chmod -R go-w $'/") && said.contains("/a\\x1b[31m"),
        "a command that can be pasted: {said}"
    );
}
