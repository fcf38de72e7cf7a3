//! Random sequences of what operators, timers, DNS, clocks and reboots do to a host, over the built program and the real
//! kernel, against a small model of the promises (tests/model/rules.rs). After every step, what is in force is a policy
//! that somebody applied, with a catalog and a list that somebody applied, and with the addresses that docs/resolution.md
//! permits; and the records say so.
//!
//! `EDGEWARD_MODEL_SEED` and `EDGEWARD_MODEL_STEPS` repeat a sequence.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are no part of the core")]
#![allow(clippy::print_stderr, reason = "a test says what it does")]

#[macro_use]
mod support;

#[path = "model/names.rs"]
mod names;
#[path = "model/openings.rs"]
mod openings;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/sequence.rs"]
mod sequence;
#[path = "model/shrink.rs"]
mod shrink;
#[path = "model/steps.rs"]
mod steps;
#[path = "model/text.rs"]
mod text;
#[path = "model/world.rs"]
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use support::random::Dice;

/// Sequences, and the steps of each.
const SEQUENCES: u64 = 16;
const STEPS: usize = 130;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs sequences, as many at once as there are processors. The first failure ends it.
fn run(seeds: std::ops::Range<u64>, steps: usize) {
    let Some(faketime) = world::libfaketime() else {
        let required = std::env::var_os("REQUIRE_FAKETIME").is_some_and(|value| value == "1");
        assert!(!required, "REQUIRE_FAKETIME=1, but libfaketime is not installed");
        return eprintln!("skipped: libfaketime is not installed");
    };
    let (next, end) = (AtomicU64::new(seeds.start), seeds.end);
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < end) {
            let steps = steps::random(&mut Dice::new(seed), steps);
            if let Err(failure) = shrink::on_thread(&steps, &faketime) {
                // The others need not go on.
                next.store(end, Ordering::Relaxed);
                panic!("{}", shrink::report(seed, &steps, failure, &faketime));
            }
        }
    };
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
}

#[test]
fn whatever_happens_what_is_in_force_was_applied() {
    need_namespaces!();
    let steps = from_environment("EDGEWARD_MODEL_STEPS").map_or(STEPS, |steps| steps as usize);
    let seed = from_environment("EDGEWARD_MODEL_SEED");
    run(seed.map_or(1..SEQUENCES + 1, |seed| seed..seed + 1), steps);
}

#[test]
fn a_long_life_takes_no_more_room() {
    need_namespaces!();
    let Some(faketime) = world::libfaketime() else { return };
    shrink::on_thread(&steps::long_life(), &faketime)
        .unwrap_or_else(|(step, problem)| panic!("step {step}: {problem}"));
}

/// For `make test-quick`.
#[test]
fn a_short_sequence() {
    need_namespaces!();
    run(100..102, 40);
}
