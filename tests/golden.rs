//! Whole policies and their rulesets: `fixtures/cases/NN-name/{policy.yaml,policy.lock.yaml,ruleset.nft}`.
//!
//! The first digit is the tier: 1 ACK Edge over a leased line, 2 over the public network, 3 registered clusters,
//! 4 gateways, 5 options of operators, 6 regions with incomplete data in the catalog. A file `arguments` holds more
//! arguments of `compile`. `UPDATE_GOLDEN=1 cargo test --test golden` rewrites the goldens.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::env;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A way to reorder a list.
type Turn = fn(Vec<String>) -> Vec<String>;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cases");

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn compile(policy: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    let output = command.arg("compile").arg(policy).args(arguments).env("NO_COLOR", "1").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{}: {}\n{errors}", policy.display(), output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Compiles one case: the ruleset is the golden, twice and with the lists in any order.
fn check(case: &Path, updates: bool) {
    let arguments = fs::read_to_string(case.join("arguments")).unwrap_or_default();
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let (policy, golden) = (case.join("policy.yaml"), case.join("ruleset.nft"));
    let ruleset = compile(&policy, &arguments);
    if updates {
        fs::write(&golden, &ruleset).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    let (line, golden_line, found) = first_difference(&expected, &ruleset);
    assert!(expected == ruleset, "{}:{line}:\n- {golden_line}\n+ {found}", golden.display());
    assert_eq!(compile(&policy, &arguments), ruleset, "{}: compiled twice", policy.display());

    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("policy.yaml");
    for turn in [reversed, rotated] {
        for file in ["policy.yaml", "policy.lock.yaml"] {
            if let Ok(text) = fs::read_to_string(case.join(file)) {
                fs::write(folder.path().join(file), permuted(&text, turn)).unwrap();
            }
        }
        let permuted = compile(&copy, &arguments);
        let (line, golden_line, found) = first_difference(&ruleset, &permuted);
        assert!(
            permuted == ruleset,
            "{}:{line}: the order of lists matters:\n- {golden_line}\n+ {found}",
            policy.display()
        );
    }
}

fn first_difference<'a>(expected: &'a str, found: &'a str) -> (usize, &'a str, &'a str) {
    let (mut left, mut right) = (expected.lines(), found.lines());
    for line in 1.. {
        match (left.next(), right.next()) {
            (None, None) => return (line, "", ""),
            (golden_line, found) if golden_line == found => {}
            (golden_line, found) => return (line, golden_line.unwrap_or("(end)"), found.unwrap_or("(end)")),
        }
    }
    unreachable!("lines end")
}

/// Reorders every list of a policy or lockfile: the items between brackets, and the items that begin with `- `.
fn permuted(text: &str, turn: Turn) -> String {
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = between_brackets(line, turn) + "\n";
        match blocks.last_mut() {
            Some(block) if line.starts_with(' ') => block.push_str(&line),
            _ => blocks.push(line),
        }
    }
    let (mut out, mut items) = (String::new(), Vec::new());
    for block in blocks {
        if block.starts_with("- ") {
            items.push(inner_items(&block, turn));
        } else {
            out.extend(turn(mem::take(&mut items)));
            out.push_str(&block);
        }
    }
    out.extend(turn(items));
    out
}

/// Reorders the lines of a block that are items themselves; they stand together at its end.
fn inner_items(block: &str, turn: Turn) -> String {
    let lines = || block.lines().map(|line| format!("{line}\n"));
    let (items, rest): (Vec<String>, Vec<String>) = lines().partition(|line| line.starts_with("  - "));
    rest.concat() + &turn(items).concat()
}

fn between_brackets(line: &str, turn: Turn) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, list)) = rest.split_once('[') {
        let (list, after) = list.split_once(']').unwrap_or((list, ""));
        let items: Vec<String> = list.split(", ").map(str::to_owned).collect();
        out.push_str(&format!("{before}[{}]", turn(items).join(", ")));
        rest = after;
    }
    out + rest
}

fn reversed(mut items: Vec<String>) -> Vec<String> {
    items.reverse();
    items
}

fn rotated(mut items: Vec<String>) -> Vec<String> {
    let by = 1.min(items.len());
    items.rotate_left(by);
    items
}

#[test]
fn rulesets_are_as_reviewed() {
    let updates = env::var_os("UPDATE_GOLDEN").is_some();
    let cases = cases();
    assert!(!cases.is_empty());
    cases.iter().for_each(|case| check(case, updates));
}

#[test]
fn lists_are_permuted_at_every_level() {
    let policy = "networks: {hosts: [a, b, c], pods: [d]}\nallow:\n- id: x\n  ports: [e, f]\n- id: y\n  ports: [g]\n";
    let expected = "networks: {hosts: [c, b, a], pods: [d]}\nallow:\n- id: y\n  ports: [g]\n- id: x\n  ports: [f, e]\n";
    assert_eq!(permuted(policy, reversed), expected);
    let lock = "names:\n- name: x\n  addresses:\n  - {address: 1}\n  - {address: 2}\n- name: y\n  addresses: []\n";
    let expected = "names:\n- name: y\n  addresses: []\n- name: x\n  addresses:\n  - {address: 2}\n  - {address: 1}\n";
    assert_eq!(permuted(lock, reversed), expected);
}
