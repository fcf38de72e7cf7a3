//! Rulesets read back: what is written, and what nft lists of it, is the same ruleset; everything else is an error
//! at its place.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests are no part of the core")]

mod support;

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use edgeward::catalog::Catalog;
use edgeward::diag::{Code, Diagnostic};
use edgeward::intent::{Intent, Resolved};
use edgeward::lower::lower;
use edgeward::proof::prove;
use edgeward::ruleset::{Action, Match, Ruleset};
use edgeward::source::Source;
use edgeward::{emit, readback};
use serde_json::Value;

use support::compile::resolved;
use support::netns::{self, Topology};
use support::random::{Dice, intent, policy_text, resolution};

/// Skips a test where there are no namespaces.
macro_rules! need_namespaces {
    () => {
        if let Err(reason) = netns::available() {
            return netns::skip(&reason);
        }
    };
}

fn read(text: &str) -> Result<Ruleset, Box<Diagnostic>> {
    readback::read(&Source::new("read", text))
}

fn must_read(text: &str) -> Ruleset {
    let source = Source::new("read", text);
    readback::read(&source)
        .unwrap_or_else(|problem| panic!("{}: {}\n{text}", source.position(problem.span.start), problem.message))
}

/// A ruleset without what is for people only, and is not read back.
fn plain(mut ruleset: Ruleset) -> Ruleset {
    ruleset.title.clear();
    ruleset.sets.values_mut().for_each(|set| set.note.clear());
    ruleset
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

/// The ways in which nft can be asked for the table.
const LISTINGS: [&[&str]; 7] = [&[], &["-s"], &["-a"], &["-y"], &["-j"], &["-j", "-s"], &["-j", "-a"]];

#[test]
fn what_is_written_is_read_back() {
    for case in cases() {
        let ruleset = lower(&case_intent(&case));
        let golden = fs::read_to_string(case.join("ruleset.nft")).unwrap();
        assert_eq!(golden, emit::nft(&ruleset), "{}", case.display());
        assert_eq!(must_read(&golden), plain(ruleset.clone()), "{}", case.display());
        assert_eq!(must_read(&emit::json(&ruleset).unwrap()), plain(ruleset), "{}", case.display());
    }
    let catalog = Catalog::embedded().unwrap();
    for seed in 0..300 {
        let ruleset = lower(&random_intent(seed, &catalog));
        assert_eq!(must_read(&emit::nft(&ruleset)), plain(ruleset.clone()), "seed {seed}");
        assert_eq!(must_read(&emit::json(&ruleset).unwrap()), plain(ruleset), "seed {seed}");
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
        let ruleset = plain(lower(&intent));
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
        }
    }
}
