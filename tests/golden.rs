//! Whole policies and their rulesets: `fixtures/cases/NN-name/{policy.yaml,policy.lock.yaml,ruleset.nft}`.
//!
//! The first digit is the tier: 1 ACK Edge over a leased line, 2 over the public network, 3 registered clusters,
//! 4 gateways, 5 operators' choices, 6 regions that the catalog knows only in part. A file `arguments` holds more
//! arguments of `compile`. `UPDATE_GOLDEN=1 cargo test --test golden` rewrites the goldens, and completes the lockfiles
//! of the cases and of `policies/`.
//!
//! A golden has placeholders for the digest of the catalog and for the checksum: it changes only if its rules do.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod support;

use std::env;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use edgeward::catalog::Catalog;
use edgeward::site::Target;
use edgeward::source::Source;
use sha2::{Digest, Sha256};
use support::lockfiles::completed;

/// A way to reorder a list.
type Turn = fn(Vec<String>) -> Vec<String>;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cases");
const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");

const CATALOG: &str = ", catalog ";
const CHECKSUM: &str = "# SHA-256 of the lines below: ";

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn compile(policy: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    let output = command.arg("compile").arg(policy).args(arguments).env("NO_COLOR", "1").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    // The lockfiles of cases get old: what is said of that is no part of a golden.
    let errors: String = errors.lines().filter(|line| !line.contains("`resolve.max-stale`")).collect();
    assert!(output.status.success() && errors.is_empty(), "{}: {}\n{errors}", policy.display(), output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The arguments of a case, or none.
fn arguments(policy: &Path) -> String {
    fs::read_to_string(policy.with_file_name("arguments")).unwrap_or_default()
}

/// A ruleset with placeholders for what changes with every row of the catalog.
fn with_placeholders(ruleset: &str) -> String {
    let mut lines: Vec<String> = ruleset.split_inclusive('\n').map(str::to_owned).collect();
    for line in lines.iter_mut().take(3) {
        if let Some((head, _)) = line.split_once(CATALOG) {
            *line = format!("{head}{CATALOG}DIGEST\n");
        } else if line.starts_with(CHECKSUM) {
            *line = format!("{CHECKSUM}CHECKSUM\n");
        }
    }
    lines.concat()
}

/// Compiles one case: the ruleset is the golden, also when compiled again and with lists in another order.
fn check(case: &Path, updates: bool) {
    let (policy, golden) = (case.join("policy.yaml"), case.join("ruleset.nft"));
    let arguments = arguments(&policy);
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let ruleset = compile(&policy, &arguments);
    let reviewed = with_placeholders(&ruleset);
    if updates {
        fs::write(&golden, &reviewed).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    let (line, old, new) = first_difference(&expected, &reviewed);
    assert!(expected == reviewed, "{}:{line}:\n- {old}\n+ {new}", golden.display());
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
        let (line, old, new) = first_difference(&ruleset, &permuted);
        assert!(permuted == ruleset, "{}:{line}: the order of lists matters:\n- {old}\n+ {new}", policy.display());
    }
}

fn first_difference<'a>(expected: &'a str, found: &'a str) -> (usize, &'a str, &'a str) {
    let (mut left, mut right) = (expected.lines(), found.lines());
    for line in 1.. {
        match (left.next(), right.next()) {
            (None, None) => return (line, "", ""),
            (old, new) if old == new => {}
            (old, new) => return (line, old.unwrap_or("(end)"), new.unwrap_or("(end)")),
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

/// Reorders the lines of a block that are items themselves; they are together at its end.
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

/// The policies whose lockfiles the repository holds.
fn policies() -> Vec<PathBuf> {
    let examples = fs::read_dir(POLICIES).unwrap().map(|entry| entry.unwrap().path());
    let is_policy =
        |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(".yaml") && !path.ends_with(".lock.yaml"));
    let cases = cases().into_iter().map(|case| case.join("policy.yaml"));
    examples.filter(is_policy).chain(cases).collect()
}

/// Checks that a lockfile has the names of its policy, or makes it so.
fn check_lockfile(policy: &Path, updates: bool) {
    let arguments = arguments(policy);
    let target = arguments.split_whitespace().skip_while(|word| *word != "--target").nth(1);
    let target: Option<Target> = target.map(|target| target.parse().unwrap());
    let path = policy.with_extension("lock.yaml");
    let lock = fs::read_to_string(&path).unwrap_or_default();
    let source = Source::new(policy.to_str().unwrap(), fs::read_to_string(policy).unwrap());
    let expected = completed(&source, &lock, target);
    if lock.is_empty() && expected.ends_with("names: []\n") || lock == expected {
        return;
    }
    assert!(updates, "{}: `UPDATE_GOLDEN=1` completes it", path.display());
    fs::write(&path, expected).unwrap();
}

/// Checks all lockfiles, once: the tests of this file run in parallel, and each compiles with them.
fn check_lockfiles() {
    static CHECKED: LazyLock<()> = LazyLock::new(|| {
        let updates = env::var_os("UPDATE_GOLDEN").is_some();
        policies().iter().for_each(|policy| check_lockfile(policy, updates));
    });
    LazyLock::force(&CHECKED);
}

#[test]
fn rulesets_are_as_reviewed() {
    let updates = env::var_os("UPDATE_GOLDEN").is_some();
    let cases = cases();
    assert!(!cases.is_empty());
    check_lockfiles();
    cases.iter().for_each(|case| check(case, updates));
}

#[test]
fn rulesets_name_their_catalog_and_have_a_valid_checksum() {
    let catalog = Catalog::embedded().unwrap();
    check_lockfiles();
    for case in cases() {
        let policy = case.join("policy.yaml");
        let ruleset = compile(&policy, &arguments(&policy).split_whitespace().collect::<Vec<_>>());
        let first = ruleset.lines().next().unwrap();
        assert!(first.ends_with(&format!("{CATALOG}{}", catalog.digest)), "{first}");
        let (_, rest) = ruleset.split_once(CHECKSUM).unwrap();
        let (checksum, below) = rest.split_once('\n').unwrap();
        let computed: String = Sha256::digest(below).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(checksum, computed, "{}", case.display());
    }
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
