//! docs/operations.md: its command blocks, run in order on one host as an operator runs them; and every command that it
//! mentions is one that the program has.
//!
//! The folders of the host are replaced by those of the test, DNS is a server of the test, and programs for other hosts
//! and for the system (`ssh`, `systemctl`, `journalctl`, `make`) are stand-ins. The commands of edgeward are the real ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are no part of the core")]

#[macro_use]
mod support;

#[path = "lifecycle/host.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod host;

use std::path::Path;
use std::process::Command;

use clap::error::ErrorKind;
use host::{Host, Run, zone};
use support::netns::Side;

/// What the page has for a reader to take in.
const MAX_LINES: usize = 240;

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap()
}

/// The `sh` blocks of the page, each with the title of its section.
fn blocks(page: &str) -> Vec<(String, String)> {
    let (mut found, mut title) = (Vec::new(), String::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        match (line.strip_prefix('#'), line.strip_prefix("```")) {
            (Some(heading), _) => title = heading.trim_start_matches('#').trim().to_owned(),
            (_, Some(language)) => {
                let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
                if language == "sh" {
                    found.push((title.clone(), text));
                }
            }
            _ => {}
        }
    }
    found
}

/// What stands in for the rest of the system.
const STAND_INS: &str = r#"
edgeward() {
    case $1 in
        resolve|refresh) set -- "$@" --server "$SERVER";;
        apply) case " $* " in *" --resolve "*) set -- "$@" --server "$SERVER";; esac;;
    esac
    case $1 in
        apply|refresh|confirm|rollback|status|history|boot|uninstall|diff) set -- "$@" --state-dir "$STATE";;
    esac
    case " $* " in *" --offline "*) set -- resolve "$2" --offline;; esac
    command "$EDGEWARD" "$@"
}
systemctl() { :; }
journalctl() { :; }
make() { [ "$*" = uninstall ] && edgeward uninstall; }
scp() { cp policy.yaml "$ETC/policy.yaml"; }
ssh() {
    while [ "$1" = -o ]; do shift 2; done
    [ "$1" = root@edge-7 ] && shift && "$@"
}
editor() { sed -i 's/10.0.0.0\/24/10.0.1.0\/24/' "$1"; }
EDITOR=editor
"#;

/// The host of the story.
struct Story {
    host: Host,
    server: String,
}

impl Story {
    fn run(&self, block: &str) -> Run {
        let [etc, state] = ["etc", "state"].map(|name| self.host.path(name).display().to_string());
        let block = block.replace("/etc/edgeward", &etc).replace("/var/lib/edgeward", &state);
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", "120", "bash", "-euc", &format!("{STAND_INS}\n{block}")]);
        command.env("EDGEWARD", env!("CARGO_BIN_EXE_edgeward")).env("NO_COLOR", "1").env_remove("SSH_CONNECTION");
        command.env("ETC", etc).env("STATE", state).env("SERVER", &self.server).current_dir(self.host.folder.path());
        self.host.run(&mut command)
    }

    /// Puts fields into the policy, as a reader does who fills it in.
    fn fill_in(&self, fields: &[(&str, &str)]) {
        let mut policy = self.host.read("etc/policy.yaml");
        for (key, value) in fields {
            let line = policy.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}")).to_owned();
            policy = policy.replacen(&line, &format!("{key} {value}"), 1);
        }
        self.host.write("etc/policy.yaml", &policy);
    }
}

#[test]
fn the_commands_of_the_page_run_in_their_order() {
    need_namespaces!();
    let host = Host::new();
    let server = host.topology.within(Side::UnderTest, || zone(&["203.0.113.7"]).serve_without_tcp());
    let story = Story { server: server.address().to_string(), host };
    let host = &story.host;
    let lets_in = |office: &str| host.lets_in(office);
    let mut seen = Vec::new();
    for (title, block) in blocks(&page()) {
        // What the text says before the block.
        match (&*title, block.lines().next().unwrap_or_default()) {
            ("1. Write the policy", first) if first.starts_with("edgeward check") => story.fill_in(&[
                ("  version:", "\"1.30\""),
                ("  api-server:", "192.168.10.20"),
                ("  hosts:", "[10.0.0.0/8]"),
                ("  pods:", "[172.20.0.0/16]"),
                ("  vpc:", "[192.168.0.0/16]"),
                ("  from:", "[10.0.0.0/24]"),
                ("  servers:", "[10.0.0.53]"),
            ]),
            ("3. Enforce", _) => story.fill_in(&[("mode:", "enforce")]),
            ("Changing a policy", _) => {
                story.run("edgeward confirm").ends(0);
            }
            ("Fleets", _) => {
                host.write("wave", "edge-7\n");
                host.write("policy.yaml", &host.read("etc/policy.yaml").replace("10.0.1.0/24", "10.0.2.0/24"));
            }
            _ => {}
        }
        let run = story.run(&block);
        assert_eq!(run.code, Some(0), "{title}:\n{block}\n{}", run.said());
        // What the text says after it.
        match &*title {
            "2. Audit" if block.contains("apply") => {
                run.says(&["audit starts, nothing is denied", "generation 1 is confirmed"]);
            }
            "3. Enforce" => {
                run.says(&["from now on all is denied but:", "generation 2 is pending", "enforcement starts"]);
            }
            "Changing a policy" => assert!(lets_in("10.0.1.0/24"), "{}", run.said()),
            "Going back" => {
                run.says(&["from generation 3 to generation 2", "mode enforce", "cp "]);
                assert!(lets_in("10.0.0.0/24") && !lets_in("10.0.1.0/24"));
            }
            "Fleets" => {
                assert!(!run.said().contains("unchanged") && !run.said().contains("not confirmed"), "{}", run.said());
                assert!(lets_in("10.0.2.0/24"));
            }
            "Locked out" => assert!(lets_in("10.0.0.0/24")),
            "Removal" => assert!(!host.has_table() && !host.path("state").exists() && !host.path("etc").exists()),
            _ => {}
        }
        seen.push(title);
    }
    for section in ["1. Write the policy", "2. Audit", "3. Enforce", "Going back", "Fleets", "Locked out", "Removal"] {
        assert!(seen.iter().any(|title| title == section), "no commands of {section:?}: {seen:?}");
    }
}

#[test]
fn every_command_of_the_page_is_one_of_the_program() {
    let page = page();
    let lines = page.lines().count();
    assert!(lines <= MAX_LINES, "{lines} lines");
    // Log entries begin with the name of the program, too.
    let is_log = |code: &&str| code.ends_with(": ") || ["edgeward audit", "edgeward denied"].contains(code);
    let inline = page.split('`').skip(1).step_by(2).filter(|code| code.starts_with("edgeward ") && !is_log(code));
    let blocks = blocks(&page);
    let lines = blocks.iter().flat_map(|(_, block)| block.lines()).filter(|line| line.starts_with("edgeward "));
    let mut count = 0;
    for line in inline.chain(lines) {
        let command = line.split(" #").next().unwrap().split(" > ").next().unwrap();
        let mut words: Vec<String> = Vec::new();
        for (index, part) in command.split('\'').enumerate() {
            match index % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.to_owned()),
            }
        }
        let parsed = edgeward::cli::command().try_get_matches_from(&words);
        // In a sentence, a verb or an option may stand for itself.
        let is_whole = |error: &clap::Error| {
            !matches!(error.kind(), ErrorKind::MissingRequiredArgument | ErrorKind::InvalidValue)
                || error.kind() == ErrorKind::InvalidValue && !error.to_string().contains("a value is required")
        };
        let wrong = parsed.err().filter(is_whole);
        assert!(wrong.is_none(), "{line}: {wrong:?}");
        count += 1;
    }
    assert!(count > 40, "{count} commands");
}
