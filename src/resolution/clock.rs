//! The time of a lockfile: `linger` and `max-stale` count elapsed time, and the clock of a host may be wrong.
//!
//! A lockfile records the clock of the run that wrote it. The next run compares:
//!
//! | the run | elapsed time |
//! |---|---|
//! | same boot | the difference of the times since boot, which nothing can set |
//! | another boot or host, and the clock is ahead by `linger` or less | the difference of the clocks |
//! | another boot or host, and the clock is earlier, or further ahead | none, until the clock is confirmed |
//!
//! A clock that disagrees is doubted: the lockfile's time goes on without it. It is confirmed if it still runs evenly an
//! hour later. Then the lockfile follows it, and all ages stay the same; only after a reboot, the time that the host was
//! off counts as well.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{NameRecord, Resolution};

/// One reading of the clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day, in whole seconds.
    pub time: Timestamp,
    /// The time since the host booted, including suspend. Setting the clock does not change it.
    pub since_boot: Duration,
    /// The random id of this boot; `None` where it is not known.
    pub boot: Option<String>,
}

/// The time of a lockfile when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockfileClock {
    /// The lockfile's time. No time stamp in the file is later.
    pub at: Timestamp,
    /// The boot of the host that wrote it.
    pub boot: Option<String>,
    /// The time since that boot, in whole seconds.
    pub since_boot: Duration,
    /// The clock that disagreed with `at`, on the same boot.
    pub doubted: Option<DoubtedClock>,
}

/// A clock that was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoubtedClock {
    /// The time that it showed first.
    pub time: Timestamp,
    /// The time since boot then, in whole seconds.
    pub since_boot: Duration,
    /// If the host may have been off for the difference: the lockfile's time at the first run after the reboot. Time stamps
    /// before it do not count the time that the host was off.
    pub rebooted_at: Option<Timestamp>,
}

/// A doubted clock that still runs evenly after this time is believed. NTP sets a clock within minutes of a boot.
pub const CONFIRMATION: Duration = Duration::from_secs(3600);

/// Clocks that differ by less agree: NTP steps and slews them by less.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Before this version of the lockfile existed, in seconds since 1970: such a clock is wrong.
const EARLIEST: i64 = 1_767_225_600; // 2026-01-01

impl Resolution {
    /// The lockfile at a moment: its clock is at that moment, and if it follows a confirmed clock, all of its time stamps
    /// are shifted. `believed_gap` is the longest time between two boots that needs no confirmation.
    pub fn at(&self, moment: &Moment, believed_gap: Duration) -> (Self, LockfileClock) {
        let mut shifted = self.clone();
        let Some(last) = shifted.last_clock(moment.time) else {
            return (shifted, LockfileClock::new(moment.time, moment, None));
        };
        let next = last.next(moment, believed_gap);
        if !next.shift.is_zero() {
            shifted.each_time(|time| {
                if next.from.is_none_or(|from| *time >= from) {
                    *time = plus(*time, next.shift);
                }
            });
        }
        (shifted, next.clock)
    }

    /// The lockfile's time at a moment. Ages are counted to it.
    pub fn time(&self, moment: &Moment, believed_gap: Duration) -> Timestamp {
        self.at(moment, believed_gap).1.at
    }

    /// Whether the clock of a moment is not believed.
    pub fn doubts(&self, moment: &Moment, believed_gap: Duration) -> bool {
        self.at(moment, believed_gap).1.doubted.is_some()
    }

    /// The clock of the last run; `None` in a lockfile without time stamps.
    ///
    /// If a time stamp is later than the recorded clock, another program or a user wrote it, and the newest one counts.
    /// The clock is wrong if it is before all of them. Otherwise the later ones are wrong, and count as now.
    fn last_clock(&mut self, now: Timestamp) -> Option<LockfileClock> {
        let newest = self.seen().max();
        if let Some(clock) = self.clock.as_ref().filter(|clock| newest.is_none_or(|newest| newest <= clock.at)) {
            return Some(clock.clone());
        }
        let is_wrong = now.as_second() < EARLIEST || self.seen().all(|seen| seen > now);
        if !is_wrong {
            self.each_time(|time| *time = (*time).min(now));
        }
        let at = if is_wrong { newest? } else { newest?.min(now) };
        Some(LockfileClock { at, boot: None, since_boot: Duration::ZERO, doubted: None })
    }

    /// When answers were received.
    fn seen(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.names.values().flat_map(NameRecord::seen)
    }

    pub(super) fn each_time(&mut self, mut change: impl FnMut(&mut Timestamp)) {
        for record in self.names.values_mut() {
            record.answers.values_mut().for_each(|answered| change(&mut answered.at));
            for seen in record.addresses.values_mut() {
                change(&mut seen.first);
                change(&mut seen.last);
            }
        }
    }
}

impl NameRecord {
    /// When its answers were received, and its addresses last seen.
    pub fn seen(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let answers = self.answers.values().map(|answered| answered.at);
        answers.chain(self.addresses.values().map(|seen| seen.last))
    }
}

/// A clock, and by how much the time stamps change that are not before `from`.
struct Next {
    clock: LockfileClock,
    shift: SignedDuration,
    from: Option<Timestamp>,
}

impl LockfileClock {
    fn new(at: Timestamp, moment: &Moment, doubted: Option<DoubtedClock>) -> Self {
        Self { at, boot: moment.boot.clone(), since_boot: whole_seconds(moment.since_boot), doubted }
    }

    /// The clock at a later moment.
    fn next(&self, moment: &Moment, believed_gap: Duration) -> Next {
        let now = moment.time;
        let since_boot = whole_seconds(moment.since_boot);
        let elapsed =
            since_boot.checked_sub(self.since_boot).filter(|_| self.boot.is_some() && self.boot == moment.boot);
        // A reboot takes a second or more: so no time stamp before it equals one after it.
        let expected = plus(self.at, signed(elapsed.unwrap_or(Duration::from_secs(1))));
        let ahead = now.duration_since(expected);
        // Until the clock of a new boot is confirmed, the time that the host was off is not known.
        let pending = self.doubted.and_then(|doubted| doubted.rebooted_at);
        let rebooted_at = pending.or_else(|| elapsed.is_none().then_some(expected));
        let believed = if rebooted_at.is_some() { believed_gap.max(CONFIRMATION) } else { TOLERANCE };
        let follow = |clock_time, shift, from| Next { clock: Self::new(clock_time, moment, None), shift, from };
        if ahead >= -signed(TOLERANCE) && ahead <= signed(believed) {
            let shift = if pending.is_some() { ahead.max(SignedDuration::ZERO) } else { SignedDuration::ZERO };
            return follow(now.max(self.at), shift, pending);
        }
        let was_wrong = expected.as_second() < EARLIEST;
        let confirmed = self.doubted.is_some_and(|doubted| match elapsed {
            Some(_) => doubted.is_confirmed_by(now, since_boot),
            None => doubted.is_confirmed_after_reboot(now, self.at, believed),
        });
        if now.as_second() >= EARLIEST && (was_wrong || confirmed) {
            let was_off = !ahead.is_negative() && !was_wrong;
            return follow(now, ahead, rebooted_at.filter(|_| was_off));
        }
        let first = DoubtedClock { time: now, since_boot, rebooted_at };
        let kept = self.doubted.filter(|doubted| elapsed.is_some() && doubted.runs_evenly(now, since_boot));
        let clock = Self::new(expected, moment, Some(kept.unwrap_or(first)));
        Next { clock, shift: SignedDuration::ZERO, from: None }
    }
}

impl DoubtedClock {
    /// Whether the clock was not set since, on the same boot.
    fn runs_evenly(&self, now: Timestamp, since_boot: Duration) -> bool {
        let elapsed = signed(since_boot.saturating_sub(self.since_boot));
        (now.duration_since(self.time) - elapsed).abs() <= signed(TOLERANCE)
    }

    /// Whether a second reading on the same boot agrees.
    fn is_confirmed_by(&self, now: Timestamp, since_boot: Duration) -> bool {
        now.duration_since(self.time) >= signed(CONFIRMATION) && self.runs_evenly(now, since_boot)
    }

    /// Whether a second reading on another boot agrees: it is later, on the same side of the lockfile's time, and not much
    /// further away from it.
    fn is_confirmed_after_reboot(&self, now: Timestamp, at: Timestamp, believed: Duration) -> bool {
        let (since, gap) = (now.duration_since(self.time), self.time.duration_since(at));
        let limit = gap.abs().saturating_mul(2).max(signed(believed));
        since >= signed(CONFIRMATION) && since <= limit && (now < at) == (self.time < at)
    }
}

fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

pub(super) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

pub(super) fn plus(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}
