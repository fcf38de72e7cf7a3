//! Changes of a live ruleset under a flood: no allowed packet is lost, no denied one passes.
//!
//! At low rates such a test passes by luck, and with a judge that sees nothing always. So the judge has to count single
//! packets that fare otherwise than they should, and the same harness has to catch the replacement of a table.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::print_stderr, reason = "tests are no part of the core")]

#[macro_use]
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use edgeward::emit;

use support::traffic::site::{self, Policy};
use support::traffic::ways::Compiler;

/// Replacements of a table, one of which has to be noticed.
const MOST_REPLACEMENTS: usize = 300;

/// Who measures rates and delays needs the machine for itself.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_judge_counts_every_packet() {
    need_namespaces!();
    let _turn = turn();
    let topology = site::topology();
    topology.load(&emit::nft(&Compiler::new().ruleset(Policy::A, 0))).unwrap();
    let (judge, flood) = site::judged_flood(&topology);
    flood.once(&topology);
    let clean = judge.tally();
    assert_eq!((clean.packets(), clean.lost(), clean.passed()), (flood.len() as u64, 0, 0), "{clean}");

    // Each is the source of one packet of TCP, and of one of UDP.
    let [allowed, denied] = site::inside_and_behind(0);
    let insert = "insert rule inet edgeward input ip saddr";
    topology.load(&format!("{insert} {allowed} drop; {insert} {denied} accept")).unwrap();
    flood.once(&topology);
    let spoilt = judge.tally().since(&clean);
    assert_eq!((spoilt.packets(), spoilt.lost(), spoilt.passed()), (flood.len() as u64, 2, 2), "{spoilt}");
}

#[test]
fn the_harness_catches_a_table_replacement() {
    need_namespaces!();
    let _turn = turn();
    let topology = site::topology();
    let compiler = Compiler::new();
    let texts = [Policy::A, Policy::B].map(|policy| emit::nft(&compiler.ruleset(policy, 0)));
    topology.load(&texts[0]).unwrap();
    let (judge, flood) = site::judged_flood(&topology);
    for number in (2..=MOST_REPLACEMENTS).step_by(2) {
        let (replaced, _) = flood.during(&topology, || texts.iter().rev().try_for_each(|text| topology.load(text)));
        replaced.unwrap();
        let tally = judge.tally();
        if (tally.lost(), tally.passed()) != (0, 0) {
            return eprintln!("after {number} replacements:\n{tally}");
        }
    }
    panic!("the judge has noticed none of {MOST_REPLACEMENTS} replacements:\n{}", judge.tally());
}
