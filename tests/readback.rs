//! Rulesets read back: what is written, and what nft lists of it, is the same ruleset.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests are no part of the core")]

#[macro_use]
mod support;

#[path = "readback/mutants.rs"]
mod mutants;
#[path = "readback/refused.rs"]
mod refused;

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use edgeward::catalog::Catalog;
use edgeward::diag::{Code, Diagnostic};
use edgeward::host::kernel::{Kernel, KernelError, Real};
use edgeward::intent::{Intent, Resolved};
use edgeward::lower::lower;
use edgeward::proof::prove;
use edgeward::ruleset::{Action, Ruleset};
use edgeward::source::Source;
use edgeward::{emit, readback};
use serde_json::Value;

use support::bad_rulesets::in_table;
use support::compile::resolved;
use support::netns::{self, Side, Topology};
use support::random::{Dice, intent, policy_text, resolution};

fn read(text: &str) -> Result<Ruleset, Box<Diagnostic>> {
    readback::read(&Source::new("read", text))
}

fn must_read(text: &str) -> Ruleset {
    let source = Source::new("read", text);
    readback::read(&source)
        .unwrap_or_else(|problem| panic!("{}: {}\n{text}", source.position(problem.span.start), problem.message))
}

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cases");

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(CASES).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 30);
    cases
}

/// What the policy of a case means, for the target of its `arguments`.
fn case_intent(case: &Path) -> Intent<Resolved> {
    let source = |name: &str| fs::read_to_string(case.join(name)).map(|text| Source::new(name, &text));
    let arguments = fs::read_to_string(case.join("arguments")).unwrap_or_default();
    let target = arguments.trim().strip_prefix("--target ").map(|target| match target {
        "edge-host" => edgeward::site::Target::EdgeHost,
        "idc-gateway" => edgeward::site::Target::IdcGateway,
        other => panic!("{other}"),
    });
    resolved(&source("policy.yaml").unwrap(), source("policy.lock.yaml").ok().as_ref(), target).unwrap()
}

fn random_intent(seed: u64, catalog: &Catalog) -> Intent<Resolved> {
    let mut dice = Dice::new(seed);
    let declared = intent(&policy_text(&mut dice).yaml(), catalog);
    declared.bind(&resolution(&declared, &mut dice)).unwrap()
}

fn host() -> Topology {
    Topology::edge_host(Ipv4Addr::new(10, 0, 0, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))
}

/// What nft prints of edgeward's table.
fn listed(topology: &Topology, options: &[&str]) -> String {
    let command = [&["nft"], options, &["list", "table", "inet", "edgeward"]].concat();
    let output = topology.run_under_test(&command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What the kernel itself says of edgeward's table.
fn in_kernel(topology: &Topology) -> Result<Ruleset, KernelError> {
    topology.within(Side::UnderTest, || Real::new(true).table()).map(Option::unwrap)
}

/// Options with which nft lists the table.
const LISTINGS: [&[&str]; 7] = [&[], &["-s"], &["-a"], &["-y"], &["-j"], &["-j", "-s"], &["-j", "-a"]];

#[test]
fn what_is_written_is_read_back() {
    for case in cases() {
        let ruleset = lower(&case_intent(&case));
        assert_eq!(must_read(&emit::nft(&ruleset)), ruleset.clone().without_notes(), "{}", case.display());
        assert_eq!(must_read(&emit::json(&ruleset).unwrap()), ruleset.without_notes(), "{}", case.display());
    }
    let catalog = Catalog::embedded().unwrap();
    for seed in 0..300 {
        let ruleset = lower(&random_intent(seed, &catalog));
        assert_eq!(must_read(&emit::nft(&ruleset)), ruleset.clone().without_notes(), "seed {seed}");
        assert_eq!(must_read(&emit::json(&ruleset).unwrap()), ruleset.without_notes(), "seed {seed}");
    }
}

#[test]
fn what_nft_lists_is_what_was_loaded() {
    need_namespaces!();
    let topology = host();
    let catalog = Catalog::embedded().unwrap();
    let intents = cases().into_iter().map(|case| (case.display().to_string(), case_intent(&case)));
    let random = (1000..1040).map(|seed| (format!("seed {seed}"), random_intent(seed, &catalog)));
    for (name, intent) in intents.chain(random) {
        let ruleset = lower(&intent).without_notes();
        for by_json in [false, true] {
            match by_json {
                false => topology.load(&emit::nft(&ruleset)).unwrap(),
                true => topology.load_json(&emit::json(&ruleset).unwrap()).unwrap(),
            }
            for options in LISTINGS {
                let found = must_read(&listed(&topology, options));
                prove(&intent, &found).unwrap_or_else(|wrong| panic!("{name}, {options:?}: {wrong}"));
                assert_eq!(found, ruleset, "{name}, {options:?}");
            }
            assert_eq!(in_kernel(&topology).unwrap(), ruleset, "{name}");
        }
    }
}

/// A ruleset with every construct.
const EVERYTHING: &str = include_str!("support/readback/everything.nft");

/// The same as a person, or another version of nft, might write it.
const VARIANT: &str = include_str!("support/readback/variant.nft");

/// The same as nft 1.1.4 lists it in JSON, which differs from 1.0.6.
const VARIANT_JSON: &str = include_str!("support/readback/variant.json");

#[test]
fn one_meaning_has_many_forms() {
    let ruleset = must_read(EVERYTHING);
    assert_eq!(must_read(VARIANT), ruleset);
    assert_eq!(must_read(VARIANT_JSON), ruleset);
    assert_eq!(must_read(&emit::nft(&ruleset)), ruleset);
    assert_eq!(must_read(&emit::json(&ruleset).unwrap()), ruleset);
    need_namespaces!();
    let topology = host();
    for text in [EVERYTHING, VARIANT] {
        topology.load(&format!("table inet edgeward {{}}\ndelete table inet edgeward\n{text}")).unwrap();
        for options in LISTINGS {
            assert_eq!(must_read(&listed(&topology, options)), ruleset, "{options:?}");
        }
        assert_eq!(in_kernel(&topology).unwrap(), ruleset);
    }
}

/// JSON with the fields of all objects in random order, and with the objects of the table in random order; rules keep
/// theirs.
fn permuted(json: &str, dice: &mut Dice) -> String {
    let root: Value = serde_json::from_str(json).unwrap();
    let objects = root["nftables"].as_array().unwrap();
    let is_rule = |object: &Value| object.get("rule").is_some();
    let mut rules = objects.iter().filter(|object| is_rule(object));
    let mut left: Vec<&Value> = objects.iter().collect();
    let mut text = String::from("{\"nftables\": [");
    while !left.is_empty() {
        let object = left.swap_remove(dice.below(left.len()));
        let object = if is_rule(object) { rules.next().unwrap() } else { object };
        write_permuted(object, dice, &mut text);
        text.push_str(if left.is_empty() { "]}" } else { ",\n" });
    }
    text
}

fn write_permuted(value: &Value, dice: &mut Dice, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let fields: Vec<(&String, &Value)> = fields.iter().collect();
            for (index, (key, value)) in dice.some(&fields, fields.len()).into_iter().enumerate() {
                write!(text, "{}{}:", if index == 0 { "{" } else { ", " }, Value::from(key.as_str())).unwrap();
                write_permuted(value, dice, text);
            }
            text.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { " ,\t" });
                write_permuted(item, dice, text);
            }
            text.push(']');
        }
        _ => write!(text, "{value}").unwrap(),
    }
}

#[test]
fn the_order_of_fields_and_objects_means_nothing() {
    let ruleset = must_read(EVERYTHING);
    let mut dice = Dice::new(1);
    for _ in 0..200 {
        let text = permuted(VARIANT_JSON, &mut dice);
        let mut found = must_read(&text);
        // A chain still comes after those that it jumps to.
        for (index, chain) in found.chains.iter().enumerate() {
            for rule in &chain.rules {
                let targets: Vec<&String> = match &rule.action {
                    Action::Jump(target) | Action::Goto(target) => vec![target],
                    Action::ByProtocol(chains) => chains.values().collect(),
                    Action::ByPort { chains, .. } => chains.iter().map(|(_, target)| target).collect(),
                    _ => Vec::new(),
                };
                assert!(targets.iter().all(|target| found.chains[..index].iter().any(|one| one.name == **target)));
            }
        }
        found.chains.sort_by_key(|chain| ruleset.chains.iter().position(|one| one.name == chain.name));
        assert_eq!(found, ruleset, "{text}");
    }
}

/// Every ICMP type and every protocol, by the names that nft and this host have for them.
#[test]
fn every_name_that_nft_lists_is_known() {
    need_namespaces!();
    let mut text = String::from("table inet edgeward {\n\tchain c {\n");
    for number in 0..=255 {
        write!(text, "icmp type {number}\nicmpv6 type {number}\nmeta l4proto {number}\n").unwrap();
        write!(text, "icmp type {{ {number}, 255 }}\nicmpv6 type {number}-255\n").unwrap();
    }
    text.push_str("\t}\n\tchain d {\n");
    for number in 0..=255 {
        writeln!(text, "meta l4proto vmap {{ {number} : jump c }}").unwrap();
    }
    text.push_str("\t}\n}\n");
    let ruleset = must_read(&text);
    assert_eq!(ruleset.chains.iter().map(|chain| chain.rules.len()).sum::<usize>(), 6 * 256);
    let topology = host();
    topology.load(&text).unwrap();
    for options in LISTINGS {
        assert_eq!(must_read(&listed(&topology, options)), ruleset, "{options:?}");
    }
    assert_eq!(in_kernel(&topology).unwrap(), ruleset);
}

/// A ruleset with every construct in both formats, also as nft lists it, where namespaces can be used.
fn samples() -> Vec<String> {
    let ruleset = must_read(EVERYTHING);
    let mut samples: Vec<String> = [EVERYTHING, VARIANT, VARIANT_JSON].map(str::to_owned).into();
    samples.extend([emit::nft(&ruleset), emit::json(&ruleset).unwrap()]);
    if netns::available().is_ok() {
        let topology = host();
        topology.load(EVERYTHING).unwrap();
        samples.extend(LISTINGS.map(|options| listed(&topology, options)));
    }
    samples
}

/// Chains that jump to one another, up to the depth at which the kernel refuses them.
#[test]
fn chains_are_as_deep_as_the_kernel_goes() {
    let nested = |count: usize| {
        let mut text = format!("table inet edgeward {{\n\tchain c{count} {{\n\t}}\n");
        for index in (2..count).rev() {
            let target = index + 1;
            match index % 3 {
                0 => write!(text, "\tchain c{index} {{\n\t\tgoto c{target}\n\t}}\n"),
                1 => write!(text, "\tchain c{index} {{\n\t\tjump c{target}\n\t}}\n"),
                _ => write!(text, "\tchain c{index} {{\n\t\ttcp dport vmap {{ 1 : jump c{target} }}\n\t}}\n"),
            }
            .unwrap();
        }
        text + "\tchain c1 {\n\t\ttype filter hook input priority 0\n\t\tjump c2\n\t}\n}\n"
    };
    must_read(&nested(16));
    let problem = read(&nested(17)).unwrap_err();
    assert_eq!((problem.code, &nested(17)[problem.span.start..problem.span.end]), (Code::RulesetSyntax, "c2"));
    // Far deeper: reading does not recurse.
    assert!(read(&nested(100_000)).is_err());
    need_namespaces!();
    let topology = host();
    topology.load(&nested(16)).unwrap();
    topology.load(&format!("delete table inet edgeward\n{}", nested(17))).unwrap_err();
}

#[test]
fn an_empty_table_is_read_from_json_only() {
    let empty = Ruleset::default();
    assert_eq!(must_read(&emit::json(&empty).unwrap()), empty);
    read(&emit::nft(&empty)).unwrap_err();
    need_namespaces!();
    let topology = host();
    topology.load("table inet edgeward {}").unwrap();
    assert_eq!(must_read(&listed(&topology, &["-j"])), empty);
    assert_eq!(in_kernel(&topology).unwrap(), empty);
}

#[test]
fn what_was_deleted_is_gone() {
    let table = in_table("", "accept");
    let once = must_read(&table);
    let json = |objects: &str| format!("{{\"nftables\": [{objects}]}}");
    let objects = emit::json(&once).unwrap();
    let objects = objects.split_once('[').unwrap().1.rsplit_once(']').unwrap().0;
    for deletion in ["delete", "destroy"] {
        let text = format!("{table}{deletion} table inet edgeward; {table}");
        assert_eq!(must_read(&text), once);
        let command = format!("{{\"{deletion}\": {{\"table\": {{\"family\": \"inet\", \"name\": \"edgeward\"}}}}}}");
        assert_eq!(must_read(&json(&format!("{objects}, {command}, {objects}"))), once);
        read(&json(&format!("{objects}, {command}"))).unwrap_err();
    }
    read(&json(&format!("{objects}, {objects}"))).unwrap();
    read(&format!("{table}{table}")).unwrap_err();
}
