//! `diff` as a command: what it compares, and which cause it attributes differences to.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const CASE: &str = "fixtures/cases/10-edge-host-flannel";

/// A folder with a policy, its lockfile and its ruleset, to be changed.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["policy.yaml", "policy.lock.yaml"] {
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(CASE).join(name)).unwrap();
            site.write(name, &text);
            site.write(&name.replace("policy", "old"), &text);
        }
        let (code, text) = site.run(&["compile", "policy.yaml"]);
        assert_eq!(code, 0);
        site.write("old.nft", &text);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn edit(&self, name: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(old), "{name} has no `{old}`");
        self.write(name, &text.replacen(old, new, 1));
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
        let output = command.current_dir(self.folder.path()).env("NO_COLOR", "1").args(arguments).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(!err.contains("panicked"), "{err}");
        // The lockfile gets old.
        let err: String = err.split_inclusive('\n').filter(|line| !line.contains("`resolve.max-stale`")).collect();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap() + &err)
    }

    /// Effect, cause, flow and origin of every difference of the policy from something.
    fn diff(&self, arguments: &[&str]) -> Vec<[String; 4]> {
        let (code, out) = self.run(&[&["diff", "policy.yaml", "--format", "json"], arguments].concat());
        let document: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
        let rows = document["differences"].as_array().unwrap();
        assert_eq!((code, document["same-packets"].as_bool().unwrap()), (i32::from(!rows.is_empty()), rows.is_empty()));
        let word = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
        rows.iter().map(|row| ["effect", "cause", "flow", "origin"].map(|name| word(row, name))).collect()
    }
}

fn row(effect: &str, cause: &str, flow: &str, origin: &str) -> [String; 4] {
    [effect, cause, flow, origin].map(str::to_owned)
}

/// Everything that a policy can be compared with.
const AGAINST: [&[&str]; 2] = [&["--against", "old.nft"], &["--against", "old.yaml"]];

#[test]
fn nothing_differs_from_itself() {
    let site = Site::new();
    for against in AGAINST {
        assert_eq!(site.diff(against), [[""; 4]; 0]);
        let (code, out) = site.run(&[&["diff", "policy.yaml"], against].concat());
        assert_eq!(code, 0);
        assert!(out.ends_with(": no difference\n"), "{out}");
    }
}

#[test]
fn an_edited_policy_is_the_policy() {
    let site = Site::new();
    site.edit("policy.yaml", "management: {from: [10.0.0.0/24]}", "management: {from: [10.0.0.0/24, 10.0.1.0/24]}");
    for against in AGAINST {
        assert_eq!(site.diff(against), [row("allowed", "policy", "ssh", "policy.yaml:10:34")]);
    }
    site.edit("policy.yaml", "10.0.0.0/24, 10.0.1.0/24", "10.0.0.0/25");
    // A ruleset does not know the lines that it came from.
    assert_eq!(site.diff(AGAINST[0]), [row("denied", "policy", "ssh", "catalog")]);
    assert_eq!(site.diff(AGAINST[1]), [row("denied", "policy", "ssh", "old.yaml:10:21")]);
}

#[test]
fn other_answers_are_dns() {
    let site = Site::new();
    site.edit("policy.lock.yaml", "address: 198.51.100.7,", "address: 198.51.100.70,");
    for against in AGAINST {
        let [allowed, denied] = [row("allowed", "dns", "ntp", "catalog"), row("denied", "dns", "ntp", "catalog")];
        assert_eq!(site.diff(against), [allowed, denied]);
    }
    // Also where the name need have no answer.
    let site = Site::new();
    let lock = fs::read_to_string(site.path("policy.lock.yaml")).unwrap();
    let names: Vec<&str> = lock.split("- name: ").filter(|name| !name.starts_with("dockerauth-ee-vpc")).collect();
    site.write("policy.lock.yaml", &names.join("- name: "));
    for against in AGAINST {
        assert_eq!(site.diff(against), [row("denied", "dns", "image-registry", "catalog")]);
    }
}

#[test]
fn any_edit_of_a_ruleset_by_hand_is_tampering() {
    for (old, new) in [("198.51.100.7, ", "198.51.100.7, 203.0.113.66, "), ("172.20.0.0/16", "172.20.0.0/15")] {
        let site = Site::new();
        site.edit("old.nft", old, new);
        let found = site.diff(AGAINST[0]);
        assert!(!found.is_empty() && found.iter().all(|row| row[1] == "tampering"), "{found:?}");
    }
}

#[test]
fn a_ruleset_without_a_record_says_so() {
    let site = Site::new();
    let (_, json) = site.run(&["compile", "policy.yaml", "--format", "json"]);
    site.write("old.json", &json);
    assert_eq!(site.diff(&["--against", "old.json"]), [[""; 4]; 0]);
    site.edit("policy.yaml", "10.0.0.0/24", "10.0.0.0/25");
    assert_eq!(site.diff(&["--against", "old.json"]), [row("denied", "unrecorded", "ssh", "catalog")]);
    // A new address of a name needs no cause but DNS; one that DNS no longer returns may have been added by hand.
    let site = Site::new();
    site.write("old.json", &json);
    site.edit("policy.lock.yaml", "address: 198.51.100.7,", "address: 198.51.100.70,");
    let [allowed, denied] = [row("allowed", "dns", "ntp", "catalog"), row("denied", "unrecorded", "ntp", "catalog")];
    assert_eq!(site.diff(&["--against", "old.json"]), [allowed, denied]);
}

#[test]
fn another_catalog_is_the_catalog() {
    let site = Site::new();
    let catalog = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/catalog");
    fs::create_dir(site.path("catalog")).unwrap();
    for name in edgeward::catalog::FILES {
        fs::copy(catalog.join(name), site.path("catalog").join(name)).unwrap();
    }
    site.edit("catalog/flows.yaml", "tcp/10255", "tcp/10256");
    let here = ["--against", "old.yaml", "--against-catalog", "catalog"];
    let [allowed, denied] = ["allowed", "denied"].map(|effect| row(effect, "catalog", "kubelet", "-"));
    let found = site.diff(&here);
    assert_eq!(found.iter().map(|row| &row[..3]).collect::<Vec<_>>(), [&allowed[..3], &denied[..3]]);
    // A ruleset knows its catalog, too.
    let (code, text) = site.run(&["--catalog", "catalog", "compile", "policy.yaml"]);
    assert_eq!(code, 0);
    site.write("other.nft", &text);
    let found = site.diff(&["--against", "other.nft"]);
    assert!(found.len() == 2 && found.iter().all(|row| row[1] == "policy-or-catalog"), "{found:?}");
    // And the built-in one can be named on the other side.
    let there = ["--catalog", "catalog", "--against", "old.yaml", "--against-catalog", "built-in"];
    assert_eq!(site.diff(&there).len(), 2);
}

#[test]
fn a_file_that_is_neither_ruleset_nor_policy_is_an_error() {
    let site = Site::new();
    site.write("terse.nft", "table inet edgeward {\n\tset a_v4 {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t}\n}\n");
    for (file, message) in [("terse.nft", "without elements"), ("old.lock.yaml", "error["), ("none", "cannot read")] {
        let (code, out) = site.run(&["diff", "policy.yaml", "--against", file]);
        assert_eq!(code, if file == "none" { 4 } else { 2 }, "{out}");
        assert!(out.contains(message), "{out}");
    }
    let (code, out) = site.run(&["diff", "policy.yaml", "--against", "old.nft", "--against-lock", "old.lock.yaml"]);
    assert_eq!(code, 2, "{out}");
}
