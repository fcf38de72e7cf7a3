//! A table of hosts whose clocks are wrong.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Answer, Moment, Question, Reply, Resolution, Rules, Trust, update};
use crate::net::{DomainName, Family};

const MINUTES: i64 = 1;
const HOURS: i64 = 60;
const DAYS: i64 = 24 * HOURS;
const YEARS: i64 = 365 * DAYS;
/// The clock shows 1970.
const IN_1970: i64 = i64::MIN;
/// DNS does not answer.
const SILENT: &[&str] = &[];

fn time(minutes: i64) -> Timestamp {
    let start: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
    start + SignedDuration::from_mins(minutes)
}

/// A run: minutes since the first one, the boot, how far the clock is ahead, the answer, and the addresses that are known
/// after it.
type Run<'a> = (i64, u8, i64, &'a [&'a str], &'a [&'a str]);

fn moment(&(minutes, boot, ahead, ..): &Run<'_>) -> Moment {
    let since_boot = Duration::from_secs(u64::from(boot)) + Duration::from_secs(60) * u32::try_from(minutes).unwrap();
    let time =
        if ahead == IN_1970 { Timestamp::UNIX_EPOCH + SignedDuration::from_mins(1) } else { time(minutes + ahead) };
    Moment { time, since_boot, boot: Some(format!("00000000-0000-4000-8000-00000000000{boot}")) }
}

fn rules() -> Rules {
    let (linger, max_stale) = (Duration::from_secs(24 * 3600), Duration::from_secs(7 * 24 * 3600));
    Rules { linger, max_stale, max_addresses: 8, max_gathered: 16, trust: Trust::default() }
}

fn answered(reply: &[&str]) -> [(Question, Answer); 1] {
    let name: DomainName = "ntp1.aliyun.com".parse().unwrap();
    let addresses = reply.iter().map(|address| address.parse().unwrap()).collect();
    let reply =
        if reply.is_empty() { Reply::Timeout } else { Reply::Addresses { addresses, ttl: 60, chain: Vec::new() } };
    [(Question { name, family: Family::V4 }, Answer { reply, server: None })]
}

#[track_caller]
fn check(runs: &[Run<'_>]) -> Resolution {
    let mut resolution = Resolution::default();
    for run in runs {
        resolution = update(&resolution, &answered(run.3), &moment(run), &rules()).0;
        let known: Vec<String> =
            resolution.names.values().flat_map(|r| r.addresses.keys().map(ToString::to_string)).collect();
        assert_eq!(known, run.4, "after {run:?}: {}", resolution.yaml());
    }
    resolution
}

const A: &[&str] = &["1.1.1.1"];
const B: &[&str] = &["1.1.1.2"];
const BOTH: &[&str] = &["1.1.1.1", "1.1.1.2"];

#[test]
fn a_clock_in_1970_or_ahead_for_one_run_expires_nothing() {
    for wrong in [IN_1970, 2 * DAYS, YEARS, 14 * YEARS, -YEARS] {
        for boot in [1, 2] {
            // The name fails while the clock is wrong, or afterwards.
            check(&[(0, 1, 0, A, A), (5, boot, wrong, SILENT, A), (10, boot, 0, SILENT, A)]);
            check(&[(0, 1, 0, A, A), (5, boot, wrong, A, A), (10, boot, 0, SILENT, A), (6 * DAYS, boot, 0, SILENT, A)]);
            // It moves while the clock is wrong, or afterwards.
            check(&[
                (0, 1, 0, A, A),
                (5, boot, wrong, B, BOTH),
                (10, boot, 0, B, BOTH),
                (23 * HOURS, boot, 0, B, BOTH),
            ]);
            check(&[(0, 1, 0, A, A), (5, boot, wrong, A, A), (10, boot, 0, B, BOTH), (23 * HOURS, boot, 0, B, BOTH)]);
        }
    }
}

#[test]
fn a_clock_that_was_wrong_for_one_run_keeps_nothing() {
    for wrong in [IN_1970, 2 * DAYS, YEARS, 14 * YEARS, -YEARS] {
        for boot in [1, 2] {
            check(&[(0, 1, 0, A, A), (5, boot, wrong, A, A), (10, boot, 0, B, BOTH), (25 * HOURS, boot, 0, B, B)]);
            check(&[(0, 1, 0, A, A), (5, boot, wrong, B, BOTH), (10, boot, 0, B, BOTH), (25 * HOURS, boot, 0, B, B)]);
            let none = SILENT;
            check(&[(0, 1, 0, A, A), (5, boot, wrong, A, A), (10, boot, 0, none, A), (8 * DAYS, boot, 0, none, none)]);
            // If nothing was recorded since the reboot, the clock must be confirmed first.
            let (stale, confirmed) = (7 * DAYS + 5 * MINUTES, 7 * DAYS + 70 * MINUTES);
            let kept = if boot == 1 || wrong != 2 * DAYS { none } else { A };
            check(&[
                (0, 1, 0, A, A),
                (5, boot, wrong, none, A),
                (10, boot, 0, none, A),
                (stale, boot, 0, none, kept),
                (confirmed, boot, 0, none, none),
            ]);
        }
    }
}

#[test]
fn the_first_run_of_all_may_have_a_wrong_clock() {
    for wrong in [IN_1970, YEARS, -YEARS] {
        let set = check(&[
            (0, 1, wrong, A, A),
            (5, 1, 0, B, BOTH),
            (70, 1, 0, B, BOTH),
            (23 * HOURS, 1, 0, B, BOTH),
            (25 * HOURS, 1, 0, B, B),
        ]);
        assert_eq!(set.clock.map(|clock| clock.at), Some(time(25 * HOURS)), "the lockfile follows the clock");
    }
}

#[test]
fn a_host_that_was_off_for_long_says_so_twice() {
    // An hour later the clock is believed, and the time that the host was off counts.
    let off = 90 * DAYS;
    check(&[(0, 1, 0, A, A), (off, 2, 0, B, BOTH), (off + 30 * MINUTES, 2, 0, B, BOTH), (off + 61, 2, 0, B, B)]);
    check(&[(0, 1, 0, A, A), (off, 2, 0, SILENT, A), (off + 61, 2, 0, SILENT, SILENT)]);
    // The next boot may confirm it as well, as on a laptop that resolves once a week.
    check(&[(0, 1, 0, A, A), (7 * DAYS, 2, 0, B, BOTH), (14 * DAYS, 3, 0, B, B)]);
}

#[test]
fn a_clock_that_stays_wrong_is_followed_and_ages_stay_true() {
    let set = check(&[
        (0, 1, 0, A, A),
        (10, 1, YEARS, B, BOTH),
        (80, 1, YEARS, B, BOTH),
        (23 * HOURS, 1, YEARS, B, BOTH),
        (25 * HOURS, 1, YEARS, B, B),
    ]);
    assert_eq!(set.clock.map(|clock| clock.at), Some(time(25 * HOURS + YEARS)));
}

#[test]
fn nothing_is_recorded_without_a_reason() {
    let first = check(&[(0, 1, 0, A, A)]);
    for run in [(5, 1, 0, SILENT, A), (5, 2, 0, SILENT, A), (5, 1, 2 * DAYS, SILENT, A), (6 * DAYS, 2, 0, SILENT, A)] {
        assert_eq!(update(&first, &answered(SILENT), &moment(&run), &rules()).0, first, "{run:?}");
    }
    let (none, _) = update(&Resolution::default(), &answered(SILENT), &moment(&(0, 1, 0, A, A)), &rules());
    assert_eq!(none, Resolution::default());
}

/// A lockfile without a clock: written by hand, or by a version before this one.
#[test]
fn time_stamps_from_elsewhere() {
    let mut file = check(&[(0, 1, 0, A, A), (5, 1, 0, B, BOTH)]);
    file.clock = None;
    let now = |run: Run<'_>| file.time(&moment(&run), rules().linger);
    assert_eq!(now((10, 1, 0, A, A)), time(10));
    assert_eq!(now((10, 1, IN_1970, A, A)), time(5) + SignedDuration::from_secs(1));
    // One time stamp is in the future, others are not: it counts as now.
    for seen in file.names.values_mut().flat_map(|record| record.addresses.values_mut()).take(1) {
        seen.last = time(14 * YEARS);
    }
    assert_eq!(file.time(&moment(&(10, 1, 0, A, A)), rules().linger), time(10));
    let (after, _) = update(&file, &answered(B), &moment(&(10, 1, 0, A, A)), &rules());
    let (after, _) = update(&after, &answered(B), &moment(&(25 * HOURS, 1, 0, A, A)), &rules());
    assert_eq!(after.names.values().map(|record| record.addresses.len()).sum::<usize>(), 1);
}
