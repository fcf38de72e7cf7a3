//! Every diagnostic: `fixtures/invalid/CODE.{yaml,stderr}`, and `CODE-2` and so on where a code has several causes.
//!
//! A policy with a `.lock.yaml` is compiled with that lockfile, all others are checked. `.probes.yaml` are probes of a
//! valid policy, `.nft` rulesets that it is compared with.
//! `UPDATE_GOLDEN=1 cargo test --test invalid` rewrites the goldens.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use edgeward::diag::{Code, Severity};

const FOLDER: &str = "fixtures/invalid";
/// Fixtures with problems of many codes.
const SEVERAL: &str = "several-problems";

/// Codes whose messages do not show them. A code that does must be removed here.
const WITHOUT_CODE: [Code; 0] = [];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The policy that probes and rulesets are tested with.
const POLICY: &str = "policies/express-connect-flannel.yaml";

/// The inputs of the folder, by relative paths, so that messages are the same everywhere.
fn fixtures() -> Vec<PathBuf> {
    let names = fs::read_dir(root().join(FOLDER)).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    let inputs =
        names.filter(|name| name.ends_with(".nft") || name.ends_with(".yaml") && !name.ends_with(".lock.yaml"));
    let mut paths: Vec<PathBuf> = inputs.map(|name| Path::new(FOLDER).join(name)).collect();
    paths.sort();
    paths
}

/// The file that holds what the program says of a fixture.
fn golden(fixture: &Path) -> PathBuf {
    let name = fixture.file_name().unwrap().to_str().unwrap();
    fixture.with_file_name(format!("{}.stderr", name.split('.').next().unwrap()))
}

/// The code that a fixture is about: its name without a number.
fn code_of(fixture: &Path) -> Option<Code> {
    let stem = fixture.file_name()?.to_str()?.split('.').next()?;
    let name = stem.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
    assert!(name == SEVERAL || Code::ALL.iter().any(|code| code.name() == name), "`{name}` is not a code");
    Code::ALL.iter().copied().find(|code| code.name() == name)
}

/// Runs the program on a fixture; returns its output and the exit code.
fn run(fixture: &Path) -> (String, Option<i32>) {
    let lock = fixture.with_extension("lock.yaml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    let name = fixture.to_str().unwrap();
    if root().join(&lock).exists() {
        command.arg("compile").arg("--lock").arg(lock);
    } else if name.ends_with(".probes.yaml") {
        command.args(["explain", POLICY, "--probes"]);
    } else if name.ends_with(".nft") {
        command.args(["diff", POLICY, "--against"]);
    } else {
        command.arg("check");
    }
    let output = command.arg(fixture).current_dir(root()).env("NO_COLOR", "1").output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

/// Checks one fixture: exit code, its code in the message, and the message as reviewed.
fn check(fixture: &Path, golden: &Path) -> Result<(), String> {
    let (stderr, exit) = run(fixture);
    let shown = if fixture.is_absolute() { golden.with_extension("yaml") } else { fixture.to_owned() };
    let stderr = stderr.replace(fixture.to_str().unwrap(), shown.to_str().unwrap());
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(root().join(golden), &stderr).unwrap();
    }
    let code = code_of(golden);
    let severity = code.map_or(Severity::Error, Code::severity);
    let expected_exit = if severity == Severity::Error { 2 } else { 0 };
    let expected = fs::read_to_string(root().join(golden)).unwrap_or_default();
    let name = golden.display();
    match code {
        _ if exit != Some(expected_exit) => Err(format!("{name}: exit code {exit:?}, not {expected_exit}")),
        _ if stderr != expected => Err(format!("{name}: expected\n{expected}\nfound\n{stderr}")),
        Some(code) if stderr.contains(&format!("[{}]", code.name())) == WITHOUT_CODE.contains(&code) => {
            Err(format!("{name}: its code, `{}`", code.name()))
        }
        _ => Ok(()),
    }
}

#[test]
fn messages_are_as_reviewed() {
    let checked = fixtures().into_iter().map(|fixture| check(&fixture, &golden(&fixture)));
    let bad: Vec<String> = checked.filter_map(Result::err).collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn a_file_that_is_too_large() {
    // Not a fixture, because it is too large for the repository: a sparse file of 64 MiB and a byte.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("too-large.yaml");
    File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    assert_eq!(check(&path, &Path::new(FOLDER).join("too-large.stderr")), Ok(()));
}

#[test]
fn every_code_has_a_fixture_and_a_paragraph() {
    let docs = fs::read_to_string(root().join("docs/diagnostics.md")).unwrap();
    let titles: Vec<&str> = docs.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let shown: Vec<Code> = fixtures().iter().filter_map(|fixture| code_of(fixture)).collect();
    for code in Code::ALL {
        // Its file is made by its own test.
        assert!(shown.contains(code) || *code == Code::TooLarge, "no fixture for `{}`", code.name());
    }
    let names: Vec<String> = Code::ALL.iter().map(|code| format!("`{}`", code.name())).collect();
    assert_eq!(titles, names, "docs/diagnostics.md has the codes of `Code::ALL`, in that order");
}

#[test]
fn every_golden_has_a_fixture() {
    let names = fs::read_dir(root().join(FOLDER)).unwrap().map(|entry| entry.unwrap().path());
    let said: Vec<PathBuf> = fixtures().iter().map(|fixture| root().join(golden(fixture))).collect();
    for golden in names.filter(|path| path.extension().is_some_and(|extension| extension == "stderr")) {
        let made = golden.file_stem().is_some_and(|stem| stem == "too-large");
        assert!(made || said.contains(&golden), "{}: nothing says that", golden.display());
    }
}
