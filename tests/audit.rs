//! The dependencies, as `deny.toml` allows them: licences, sources and bans, from the metadata of cargo alone.
//!
//! `make audit` asks cargo-deny for the same, and for the advisories. This part needs neither a tool nor the internet, so
//! every change is checked by it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every quoted text in the list of a key of a section of `deny.toml`; those of tables only for `part`, such as `crate`.
fn listed(section: &str, key: &str, part: Option<&str>) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("deny.toml")).unwrap();
    let start = text.find(&format!("\n[{section}]")).unwrap_or_else(|| panic!("deny.toml has no [{section}]"));
    let section = text[start + 1..].split("\n[").next().unwrap();
    let start = section.find(&format!("\n{key} = [")).unwrap_or_else(|| panic!("deny.toml has no `{key}`"));
    let list = section[start..].split(']').next().unwrap();
    let lines = list.lines().filter(|line| !line.trim_start().starts_with('#'));
    let quoted = lines.flat_map(|line| {
        let words: Vec<&str> = line.split('"').collect();
        let pairs = words.chunks_exact(2).filter(|pair| part.is_none_or(|part| pair[0].contains(part)));
        pairs.map(|pair| pair[1].to_owned()).collect::<Vec<_>>()
    });
    quoted.collect()
}

/// What cargo says of the dependencies. Those of other platforms are left out: they need not have been downloaded.
fn metadata() -> Value {
    let platforms = listed("graph", "targets", None);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1", "--all-features"])
        .args(platforms.iter().flat_map(|platform| ["--filter-platform", platform]))
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether an expression of SPDX can be satisfied with some licences. `/` is an old form of `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut at = 0;
    let result = any_of(&words, &mut at, allowed);
    result && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut result = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        result |= all_of(words, at, allowed);
    }
    result
}

fn all_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut result = licence(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        result &= licence(words, at, allowed);
    }
    result
}

fn licence(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let word = words.get(*at).copied().unwrap_or_default();
    *at += 1;
    if word == "(" {
        let result = any_of(words, at, allowed);
        *at += 1;
        return result;
    }
    // An exception is a name of its own.
    if words.get(*at) == Some(&"WITH") {
        let name = format!("{word} WITH {}", words.get(*at + 1).copied().unwrap_or_default());
        *at += 2;
        return allowed.contains(&name);
    }
    allowed.contains(word)
}

/// What is wrong with a package.
fn problems(package: &Value) -> Vec<String> {
    let licences = listed("licenses", "allow", None);
    let banned = listed("bans", "deny", Some("crate"));
    let registries = listed("sources", "allow-registry", None);
    let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let (name, source) = (text("name"), text("source"));
    let mut problems = Vec::new();
    if !is_allowed(&text("license"), &licences) {
        problems.push(format!("{name}: the licence `{}` is not allowed", text("license")));
    }
    if banned.contains(&name) {
        problems.push(format!("{name} is banned"));
    }
    // The project itself has no source.
    let registry = source.strip_prefix("registry+").unwrap_or(&source);
    if !package["source"].is_null() && !registries.contains(registry) {
        problems.push(format!("{name}: the source `{source}` is not allowed"));
    }
    if package["source"].is_null() {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if dependency["req"] == "*" {
                problems.push(format!("{}: any version is accepted", dependency["name"]));
            }
        }
    }
    problems
}

#[test]
fn licences_sources_and_bans_are_as_deny_toml_says() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{}", packages.len());
    let problems: Vec<String> = packages.iter().flat_map(problems).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn what_is_not_allowed_is_found() {
    let package = |name: &str, license: &str, source: &str| serde_json::json!({"name": name, "license": license, "source": source, "dependencies": []});
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    for (license, expected) in [
        ("MIT", 0),
        ("MIT/Apache-2.0", 0),
        ("GPL-3.0", 1),
        ("MIT OR GPL-3.0", 0),
        ("MIT AND GPL-3.0", 1),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", 0),
        ("(GPL-2.0 OR GPL-3.0) AND MIT", 1),
        ("Apache-2.0 WITH LLVM-exception", 1),
        ("Apache-2.0 WITH LLVM-exception OR MIT", 0),
        ("MIT )", 1),
        ("", 1),
    ] {
        assert_eq!(problems(&package("a", license, registry)).len(), expected, "{license}");
    }
    assert_eq!(problems(&package("openssl-sys", "MIT", registry)), ["openssl-sys is banned"]);
    assert_eq!(problems(&package("a", "MIT", "git+https://example.com/a")).len(), 1);
    assert_eq!(problems(&package("a", "MIT", "registry+https://example.com/index")).len(), 1);
    let own =
        serde_json::json!({"name": "a", "license": "MIT", "source": null, "dependencies": [{"name": "b", "req": "*"}]});
    assert_eq!(problems(&own).len(), 1);
}
