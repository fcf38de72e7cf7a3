//! What can happen to a host, at random.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::names::{Answer, Name};
use super::rules::{Apply, Policy};
use super::sequence::Victim;
use crate::support::random::Dice;

/// Seconds of a minute, an hour, a day.
const MINUTE: i64 = 60;
pub const DAY: i64 = 24 * 3600;

#[derive(Clone, Debug)]
pub enum Step {
    /// The policy on disk; `None`: half a policy.
    Edit(Option<Policy>),
    /// The list of peers on disk; `None`: it is gone.
    List(Option<u8>),
    /// The catalog of `--catalog`.
    Catalog(u8),
    Dns(Name, Answer),
    /// Whether the DNS server can be reached.
    Reach(bool),
    Apply(Apply),
    /// An apply that nobody confirms, with a watcher that sees its deadline pass.
    Trial(Apply),
    Resolve,
    Refresh,
    Confirm,
    /// So many generations before the newest; `None`: to the last other policy.
    Rollback {
        back: Option<u8>,
        is_trial: bool,
        force: bool,
        dry_run: bool,
    },
    /// Seconds, by all clocks. Without a watcher, the next command finds out that a deadline has passed.
    Pass {
        seconds: i64,
        is_watched: bool,
    },
    /// Seconds that it is off, by how much the clock is wrong then, and which units run.
    Reboot {
        off: i64,
        wrong_by: Wrong,
        boots: bool,
        applies: bool,
    },
    Clock(Wrong),
    /// `edgeward boot` on a running host.
    Boot,
    /// A run that is killed after some time.
    Kill(Victim, Duration),
    /// `edgeward status --check`.
    Status,
    /// Somebody changes the lockfile beside the policy.
    Lockfile(LockChange),
    /// Another program adds a rule, or one that edgeward does not understand, or deletes the table.
    Insert,
    Unknown,
    Delete,
    /// Another program adds an address to the set of a name, or removes one.
    Element {
        name: Name,
        address: IpAddr,
        is_added: bool,
    },
}

/// What happens to a lockfile.
#[derive(Clone, Copy, Debug)]
pub enum LockChange {
    Remove,
    /// Somebody keeps a copy, and puts it back later.
    Copy,
    Restore,
    /// It is half a lockfile.
    Damage,
}

/// An address that no name has.
pub const STRANGER: &str = "203.0.113.77";

/// How a clock is wrong. NTP mends it within the hour: when time passes, it is right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Right,
    In1970,
    In2040,
    Days(i64),
}

/// The addresses that a name may have.
pub fn pool(name: Name) -> Vec<IpAddr> {
    let texts: &[&str] = match name {
        Name::Catalog => &[],
        Name::Mirror => &["203.0.113.1", "203.0.113.2", "203.0.113.3", "2001:db8:1::1", "2001:db8:1::2"],
        Name::Backup => &["203.0.113.101", "203.0.113.102", "203.0.113.103", "2001:db8:2::1"],
    };
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A sequence of steps; the same for the same dice.
pub fn random(dice: &mut Dice, count: usize) -> Vec<Step> {
    let mut policy = Policy { management: 0, audit: false, mirror: true, backup: false, sites: false, remark: 0 };
    let mut steps = vec![Step::Edit(Some(policy))];
    steps.extend((1..count).map(|_| step(dice, &mut policy)));
    steps
}

/// Many more refreshes and applies than are kept: the folder keeps its size, and each rollback still goes to the policy
/// before, past refreshes that are not kept any more.
pub fn long_life() -> Vec<Step> {
    let policy = |management| Policy { management, audit: false, mirror: true, backup: false, sites: false, remark: 0 };
    let apply = Apply { resolve: true, confirm_within: None, with_catalog: false, force: false, dry_run: false };
    let back = Step::Rollback { back: None, is_trial: false, force: false, dry_run: false };
    let refreshes = |number: usize| {
        (0..number).flat_map(|number| {
            let answer = Answer::Addresses([pool(Name::Mirror)[number % 2]].into());
            // What is gone does not linger so long.
            [Step::Dns(Name::Mirror, answer), Step::Pass { seconds: 125 * MINUTE, is_watched: false }, Step::Refresh]
        })
    };
    let mut steps = Vec::new();
    for management in 0..3 {
        steps.extend([Step::Edit(Some(policy(management))), Step::Apply(apply)]);
        steps.extend(refreshes(7));
    }
    steps.extend([back.clone(), Step::Status, back.clone(), Step::Status]);
    steps.extend(refreshes(2));
    // More applies than are kept, then all the way back.
    for remark in 0..22 {
        steps.extend([Step::Edit(Some(Policy { remark, ..policy(remark % 4) })), Step::Apply(apply)]);
    }
    steps.extend(refreshes(6));
    steps.extend(vec![back; 4]);
    steps
}

fn step(dice: &mut Dice, policy: &mut Policy) -> Step {
    match dice.below(100) {
        0..12 => {
            change(dice, policy);
            Step::Edit((dice.below(12) > 0).then_some(*policy))
        }
        12..15 => Step::List((dice.below(6) > 0).then(|| 1 + number(dice, 3))),
        15..18 => Step::Catalog(1 + number(dice, 2)),
        18..28 => {
            let name = *dice.pick(&[Name::Mirror, Name::Mirror, Name::Backup]);
            Step::Dns(name, answer(dice, name))
        }
        28..31 => Step::Reach(dice.below(3) > 0),
        31..52 => Step::Apply(apply(dice)),
        52..53 => Step::Trial(Apply { confirm_within: Some(1), dry_run: false, ..apply(dice) }),
        53 => Step::Resolve,
        54 => kill(dice),
        55..67 => Step::Refresh,
        67..71 => Step::Confirm,
        71..80 => {
            let back = (dice.below(3) == 0).then(|| number(dice, 6));
            let (is_trial, force) = (dice.below(4) == 0, dice.below(8) == 0);
            Step::Rollback { back, is_trial, force, dry_run: dice.below(6) == 0 }
        }
        80..88 => {
            // Sums of these are not near `linger` or `max-stale`.
            let minutes = *dice.pick(&[25, 25, 25, 125, 125, 1500]);
            Step::Pass { seconds: minutes * MINUTE, is_watched: dice.below(4) > 0 }
        }
        88..92 => {
            let off = *dice.pick(&[0, 0, 25 * MINUTE, 1500 * MINUTE]);
            let wrong_by = if off == 0 && dice.flip() { wrong(dice) } else { Wrong::Right };
            Step::Reboot { off, wrong_by, boots: dice.below(6) > 0, applies: dice.below(3) > 0 }
        }
        92 => kill(dice),
        93 => Step::Clock(wrong(dice)),
        94 => Step::Boot,
        95 => Step::Status,
        96..98 => tampering(dice),
        98 => Step::Lockfile(*dice.pick(&[
            LockChange::Remove,
            LockChange::Copy,
            LockChange::Copy,
            LockChange::Restore,
            LockChange::Restore,
            LockChange::Damage,
        ])),
        _ => Step::Status,
    }
}

fn kill(dice: &mut Dice) -> Step {
    let victim = match dice.below(6) {
        0..3 => Victim::Apply(Apply { dry_run: false, ..apply(dice) }),
        3 => Victim::Refresh,
        4 => Victim::Confirm,
        _ => Victim::Rollback((dice.below(3) == 0).then(|| number(dice, 6))),
    };
    Step::Kill(victim, Duration::from_millis(dice.below(300) as u64))
}

/// What other programs do to the table.
fn tampering(dice: &mut Dice) -> Step {
    match dice.below(7) {
        0..2 => Step::Insert,
        2 => Step::Unknown,
        3 => Step::Delete,
        number => {
            let name = *dice.pick(&[Name::Mirror, Name::Backup]);
            let address = match dice.below(3) {
                0 => STRANGER.parse().unwrap(),
                _ => *dice.pick(&pool(name)),
            };
            Step::Element { name, address, is_added: number < 6 }
        }
    }
}

/// One part of the policy becomes another.
fn change(dice: &mut Dice, policy: &mut Policy) {
    match dice.below(8) {
        0..3 => policy.management = number(dice, 3),
        3 => policy.audit ^= true,
        4 => policy.mirror ^= true,
        5 => policy.backup ^= true,
        6 => policy.sites ^= true,
        _ => policy.remark = number(dice, 3),
    }
}

fn apply(dice: &mut Dice) -> Apply {
    let confirm_within = (dice.below(3) == 0).then(|| *dice.pick(&[600, 3 * 3600]));
    Apply {
        resolve: dice.below(3) > 0,
        confirm_within,
        with_catalog: dice.below(4) == 0,
        force: dice.below(8) == 0,
        dry_run: dice.below(12) == 0,
    }
}

fn answer(dice: &mut Dice, name: Name) -> Answer {
    match dice.below(10) {
        0 => Answer::Addresses(BTreeSet::new()),
        1 => Answer::NxDomain,
        2 => Answer::ServFail,
        3 => Answer::Refused,
        _ => Answer::Addresses(pool(name).into_iter().filter(|_| dice.flip()).collect()),
    }
}

fn wrong(dice: &mut Dice) -> Wrong {
    *dice.pick(&[Wrong::Right, Wrong::In1970, Wrong::In2040, Wrong::Days(3), Wrong::Days(-3)])
}

fn number(dice: &mut Dice, bound: usize) -> u8 {
    u8::try_from(dice.below(bound)).unwrap()
}
