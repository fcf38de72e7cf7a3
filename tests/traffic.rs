//! Changes of a live ruleset under a flood: no allowed packet is lost, no denied one passes, connections live.
//!
//! At low rates such a test passes by luck, and with counters that miss packets it always passes. So other tests check
//! that single packets are counted, and that the same harness notices the replacement of a table.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::print_stderr, reason = "tests are no part of the core")]

#[macro_use]
mod support;

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use edgeward::emit;
use edgeward::live::Live;
use edgeward::ruleset::Ruleset;

use support::netns::{Side, Topology};
use support::traffic::site::{self, Policy, ROUND, TALK};
use support::traffic::talk::{Line, PATIENCE, Report, SILENCE, while_speaking};
use support::traffic::ways::{Compiler, Program, Steps, Way, edgeward};

const EDGEWARD: &str = env!("CARGO_BIN_EXE_edgeward");

/// Packets a second that make a change count in full. At half the rate it counts half.
const RATE: f64 = 100_000.0;

/// Changes to make at that rate: by the program, which leaves little of two processors to a flood, and by its steps
/// alone. `EDGEWARD_CHANGES=200` has each make as many.
const CHANGES: [usize; 2] = [40, 160];

fn changes(least: usize) -> usize {
    std::env::var("EDGEWARD_CHANGES").map_or(least, |number| number.parse().unwrap())
}

/// Turns of [`ROUND`] after which a busy host has done enough.
const MAX_ROUNDS: usize = 40;

/// Replacements of a table, one of which has to be noticed.
const MAX_REPLACEMENTS: usize = 2000;

/// Numbers that are said on each line before a change, and after it.
const NUMBERS: u64 = 20;

/// A flood takes all processors, so there is one at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn single_packets_are_counted() {
    need_namespaces!();
    let _turn = turn();
    let topology = site::topology();
    topology.load(&emit::nft(&Compiler::new().ruleset(Policy::A, 0))).unwrap();
    let (judge, flood) = site::judged_flood(&topology);
    flood.once(&topology);
    let clean = judge.tally();
    assert_eq!((clean.packets(), clean.lost(), clean.passed()), (flood.len() as u64, 0, 0), "{clean}");

    // Each is the source of one packet of TCP, and of one of UDP.
    let [allowed, denied] = site::inside_and_after(0);
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
    for number in (2..=MAX_REPLACEMENTS).step_by(2) {
        let (replaced, _) = flood.during(&topology, || texts.iter().rev().try_for_each(|text| topology.load(text)));
        replaced.unwrap();
        let tally = judge.tally();
        if (tally.lost(), tally.passed()) != (0, 0) {
            return eprintln!("after {number} replacements:\n{tally}");
        }
    }
    panic!("the judge has noticed none of {MAX_REPLACEMENTS} replacements:\n{}", judge.tally());
}

#[test]
fn no_packet_is_lost_or_passed() {
    need_namespaces!();
    let _turn = turn();
    let topology = site::topology();
    judge_changes(&topology, &mut Program::new(&topology, EDGEWARD, None), changes(CHANGES[0]));
}

/// With a list of `EDGEWARD_PREFIXES`: rules change beside it, single elements of it, and all of it.
#[test]
fn no_packet_is_lost_or_passed_where_a_set_is_large() {
    need_namespaces!();
    let _turn = turn();
    let more = std::env::var("EDGEWARD_PREFIXES").map_or(60_000, |number| number.parse().unwrap());
    let topology = site::topology();
    judge_changes(&topology, &mut Program::new(&topology, EDGEWARD, Some(more)), changes(ROUND.len()));
}

/// The same without the program around it, in a fraction of the time.
#[test]
fn no_packet_is_lost_or_passed_by_the_steps() {
    need_namespaces!();
    let _turn = turn();
    let topology = site::topology();
    let planner = |table: Option<&Ruleset>, wanted: &Ruleset| match table {
        Some(table) => Live(table.clone()).plan(true, wanted),
        None => Live::default().plan(false, wanted),
    };
    judge_changes(&topology, &mut Steps::new(&topology, planner), changes(CHANGES[1]));
}

/// Makes changes under a flood, while established connections speak.
fn judge_changes(topology: &Topology, way: &mut dyn Way, enough: usize) {
    let (judge, flood) = site::judged_flood(topology);
    let (world, host) = (Side::Outside, Side::UnderTest);
    // Policy A permits them, policy B does not: what is established lives on.
    let mut lines = [
        Line::tcp(topology, (world, "192.0.2.1:0"), (host, "192.168.0.20:7000")).marked(TALK),
        Line::udp(topology, (world, "192.0.2.1:7000"), (host, "192.168.0.20:7000")).marked(TALK),
        Line::tcp(topology, (host, "192.168.0.20:0"), (world, "192.0.2.1:7001")).marked(TALK),
    ];
    let mut changes = 0.0;
    for _ in 0..MAX_ROUNDS {
        let earlier = judge.tally();
        let mut round = || {
            for step in ROUND {
                way.take(step);
                assert!(step.is_in_force(topology), "{step:?}");
            }
        };
        let (((), reports), time) = flood.during(topology, || while_speaking(&mut lines, |_| round()));
        let tally = judge.tally().since(&earlier);
        let rate = tally.packets() as f64 / time.as_secs_f64();
        eprintln!("{} changes in {time:.1?}, {rate:.0} packets a second", ROUND.len());
        assert_eq!((tally.lost(), tally.passed()), (0, 0), "in {} changes:\n{tally}", ROUND.len());
        assert!(tally.0.iter().all(|count| count.before > 0), "a stream was not sent:\n{tally}");
        assert_heard(&reports);
        changes += ROUND.len() as f64 * (rate / RATE).min(1.0);
        if changes >= enough as f64 {
            return;
        }
    }
    // Nothing was lost. A host that is slow or busy proves less, which is no failure.
    eprintln!("the changes weigh as much as {changes:.0} at {RATE} packets a second; {enough} were to be made");
}

fn assert_heard(reports: &[Report]) {
    for Report { name, said, lost } in reports {
        assert!(*lost == 0 && *said > 0, "{name}: {lost} of {said} lost");
    }
}

/// A policy that permits SSH from where the first of [`Pushes`] comes from, and nothing else of them.
const SMALL: &str = "fixtures/cases/30-registered-flannel-vxlan/policy.yaml";

/// Connections on which a server speaks to a client that never answers, opened on a host without rules.
struct Pushes {
    /// All the time.
    speaking: [Line; 5],
    /// Not before the rules have changed.
    quiet: [Line; 2],
}

impl Pushes {
    /// Opens them. A number that is not heard within `patience` is lost.
    fn open(topology: &Topology, patience: Duration) -> Self {
        let (outside, host) = (Side::Outside, Side::UnderTest);
        let tcp = |client, server| Line::tcp_push(topology, (outside, client), (host, server)).patient(patience);
        let udp = |client, server| Line::udp_push(topology, (outside, client), (host, server)).patient(patience);
        Self {
            speaking: [
                tcp("192.168.0.5:0", "192.168.0.20:22"),
                tcp("192.0.2.1:0", "192.168.0.20:8080"),
                tcp("[2001:db8::9]:0", "[2001:db8::20]:8080"),
                tcp("192.0.2.1:0", "192.168.0.20:8082").every(Duration::from_millis(50)),
                udp("192.0.2.1:9000", "192.168.0.20:9000"),
            ],
            quiet: [tcp("192.0.2.1:0", "192.168.0.20:8081"), udp("192.0.2.1:9001", "192.168.0.20:9001")],
        }
    }

    /// What is heard around a change, and what after it.
    fn around(&mut self, change: impl FnOnce()) -> [Vec<Report>; 2] {
        let ((), around) = while_speaking(&mut self.speaking, |talk| {
            talk.wait(NUMBERS);
            change();
            talk.wait(NUMBERS);
        });
        let ((), after) = while_speaking(&mut self.quiet, |talk| talk.wait(NUMBERS));
        [around, after]
    }
}

#[test]
fn a_server_that_pushes_to_a_silent_client_loses_nothing() {
    need_namespaces!();
    let _turn = turn();
    let topology = site::topology();
    let folder = tempfile::tempdir().unwrap();
    let apply = ["apply", SMALL, "--state-dir", folder.path().to_str().unwrap()];
    let reports = Pushes::open(&topology, PATIENCE).around(|| edgeward(&topology, EDGEWARD, &apply));
    assert_heard(&reports.concat());
}

/// Rules that are loaded without a thought for what is established.
#[test]
fn the_harness_catches_a_frozen_connection() {
    need_namespaces!();
    let _turn = turn();
    let topology = site::topology();
    let compiled = Command::new(EDGEWARD).args(["compile", SMALL]).output().unwrap();
    let rules = String::from_utf8(compiled.stdout).unwrap();
    let [around, after] = Pushes::open(&topology, SILENCE).around(|| topology.load(&rules).unwrap());
    // Conntrack begins in the middle of the transaction, and may see both sides of a busy connection before its end.
    assert!(around.iter().any(|report| report.lost > 0), "{around:?}");
    assert!(after.iter().all(|report| report.lost == report.said), "{after:?}");
}
