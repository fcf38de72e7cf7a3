//! Two lockfiles of the same names.
//!
//! Which of two answers is newer is decided by elapsed time where that is known: a clock that was wrong after a reboot must
//! not have older answers win.
//!
//! | the answers | the newer one |
//! |---|---|
//! | both of one boot | the one with the later time since boot, which nothing can set |
//! | one of the present boot | that one |
//! | of earlier boots | the one with the later time stamp: the order of boots is not known |

use std::cmp::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::clock::{TOLERANCE, plus, signed};
use super::{LockfileClock, Moment, NameRecord, Resolution};

impl Resolution {
    /// The newer record of each name that either has; ours, if both are of the same time. All ages stay as they are.
    /// `believed_gap` is as for [`Resolution::at`].
    #[must_use]
    pub fn newer_of(self, other: &Self, now: &Moment, believed_gap: Duration) -> Self {
        let is_newer = |theirs: &NameRecord, ours: Option<&NameRecord>| {
            let ours = ours.and_then(|ours| self.dated(ours));
            other.dated(theirs).is_some_and(|theirs| ours.is_none_or(|ours| theirs.order(&ours, now).is_gt()))
        };
        let is_taken = |name: &_| other.names.get(name).is_some_and(|theirs| is_newer(theirs, self.names.get(name)));
        let (taken, kept): (Vec<_>, Vec<_>) =
            self.names.keys().chain(other.names.keys()).cloned().partition(|name| is_taken(name));
        if taken.is_empty() {
            let mut ours = self;
            for name in kept {
                ours.names.entry(name).or_default();
            }
            return ours;
        }
        // Each lockfile has a time of its own, so the stamps of one become those of the other.
        let clocks = [&self.clock, &other.clock].map(Option::as_ref);
        let is_ours_later = LockfileClock::order(clocks[0], clocks[1], now).is_ge();
        let (ours, theirs) = match is_ours_later {
            true => (self.clone(), other.in_the_time_of(&self, now, believed_gap)),
            false => (self.in_the_time_of(other, now, believed_gap), other.clone()),
        };
        let of = |from: &Self, name| from.names.get(&name).cloned().unwrap_or_default();
        let kept = kept.into_iter().map(|name| (name.clone(), of(&ours, name)));
        let taken = taken.into_iter().map(|name| (name.clone(), of(&theirs, name)));
        let clock = if is_ours_later { ours.clock.clone() } else { theirs.clock.clone() };
        Self { clock, names: kept.chain(taken).collect() }
    }

    /// When a server last answered for a name; `None` if none ever did.
    fn dated<'a>(&'a self, record: &NameRecord) -> Option<Dated<'a>> {
        let at = record.seen().max()?;
        let of_boot = self.clock.as_ref().and_then(|clock| Some((clock.boot.as_deref()?, clock.since_boot_at(at)?)));
        Some(Dated { at, of_boot })
    }

    /// The same lockfile with the time stamps that another one would have given, so that no age changes.
    fn in_the_time_of(&self, other: &Self, now: &Moment, believed_gap: Duration) -> Self {
        let ahead = other.time(now, believed_gap).duration_since(self.time(now, believed_gap));
        let latest = other.clock.as_ref().map_or(Timestamp::MAX, |clock| clock.at);
        let shift = if ahead.abs() <= signed(TOLERANCE) { SignedDuration::ZERO } else { ahead };
        let mut moved = self.clone();
        moved.each_time(|time| *time = plus(*time, shift).min(latest));
        moved
    }
}

/// When an answer was received.
struct Dated<'a> {
    /// By the lockfile's time.
    at: Timestamp,
    /// The boot, and the time since it; `None` if the answer is older than the boot of the lockfile's last run.
    of_boot: Option<(&'a str, SignedDuration)>,
}

impl Dated<'_> {
    fn order(&self, other: &Self, now: &Moment) -> Ordering {
        order((self.of_boot, self.at), (other.of_boot, other.at), now)
    }
}

/// The order of two moments by the boot and the time since it, else by time stamps.
fn order<T: Ord>(
    (ours, our_time): (Option<(&str, T)>, Timestamp),
    (theirs, their_time): (Option<(&str, T)>, Timestamp),
    now: &Moment,
) -> Ordering {
    let is_present = |of_boot: &Option<(&str, T)>| {
        of_boot.as_ref().is_some_and(|(boot, _)| now.boot.as_deref().is_some_and(|now| now == *boot))
    };
    match (&ours, &theirs) {
        (Some((our_boot, ours)), Some((their_boot, theirs))) if our_boot == their_boot => ours.cmp(theirs),
        _ if is_present(&ours) != is_present(&theirs) => is_present(&ours).cmp(&is_present(&theirs)),
        _ => our_time.cmp(&their_time),
    }
}

impl LockfileClock {
    /// The time since boot at a moment of the lockfile's time; `None` if that is before the boot.
    fn since_boot_at(&self, time: Timestamp) -> Option<SignedDuration> {
        let since_boot = signed(self.since_boot).saturating_sub(self.at.duration_since(time));
        // After a reboot with a doubted clock, the lockfile's time has gone on without the time that the host was off.
        let first = self.doubted.and_then(|doubted| doubted.rebooted_at);
        let is_of_boot = first.map_or(!since_boot.is_negative(), |first| time >= first);
        is_of_boot.then_some(since_boot)
    }

    /// The order of the last runs of two lockfiles. One without a clock counts as earlier.
    fn order(ours: Option<&Self>, theirs: Option<&Self>, now: &Moment) -> Ordering {
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => order((ours.of_boot(), ours.at), (theirs.of_boot(), theirs.at), now),
            (ours, theirs) => ours.is_some().cmp(&theirs.is_some()),
        }
    }

    /// The boot of the last run, and the time since it.
    fn of_boot(&self) -> Option<(&str, Duration)> {
        Some((self.boot.as_deref()?, self.since_boot))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};

    use crate::resolution::{LockfileClock, Moment, NameRecord, Resolution, Seen};

    const GAP: Duration = Duration::from_secs(24 * 3600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    /// Names with an address and the second of its last answer.
    fn of(names: &[(&str, &str, i64)]) -> Resolution {
        let record = |address: &str, second| {
            let seen = Seen { first: at(second), last: at(second), ttl: None };
            NameRecord { addresses: [(address.parse().unwrap(), seen)].into(), ..NameRecord::default() }
        };
        let names = names.iter().map(|(name, address, second)| (name.parse().unwrap(), record(address, *second)));
        Resolution { clock: None, names: names.collect() }
    }

    /// The same, by a run of a boot whose clock is right.
    fn by(boot: &str, second: i64, since_boot: u64, names: &[(&str, &str, i64)]) -> Resolution {
        let (boot, since_boot) = (Some(boot.to_owned()), Duration::from_secs(since_boot));
        Resolution { clock: Some(LockfileClock { at: at(second), boot, since_boot, doubted: None }), ..of(names) }
    }

    fn moment(boot: &str, second: i64, since_boot: u64) -> Moment {
        Moment { time: at(second), since_boot: Duration::from_secs(since_boot), boot: Some(boot.to_owned()) }
    }

    #[test]
    fn the_newer_record_of_each_name_counts() {
        let now = moment("a", 20, 20);
        let ours = of(&[("a.example", "10.0.0.1", 10), ("b.example", "10.0.0.1", 10), ("c.example", "10.0.0.1", 10)]);
        let theirs = of(&[("a.example", "10.0.0.2", 9), ("b.example", "10.0.0.2", 10), ("c.example", "10.0.0.2", 11)]);
        let both = of(&[("a.example", "10.0.0.1", 10), ("b.example", "10.0.0.1", 10), ("c.example", "10.0.0.2", 11)]);
        assert_eq!(ours.newer_of(&theirs, &now, GAP), both);
        assert_eq!(Resolution::default().newer_of(&theirs, &now, GAP), theirs);
        assert_eq!(theirs.clone().newer_of(&Resolution::default(), &now, GAP), theirs);
    }

    /// What a run without answers makes of a lockfile: its clock goes on.
    fn run(known: &Resolution, now: &Moment) -> LockfileClock {
        known.at(now, GAP).1
    }

    #[test]
    fn after_a_reboot_with_a_wrong_clock_the_answers_of_the_present_boot_are_newer() {
        let old = by("a", 1000, 5000, &[("a.example", "10.0.0.1", 1000), ("b.example", "10.0.0.1", 1000)]);
        // Another lockfile of the same names, written an hour later.
        let later = by("a", 4600, 8600, &[("a.example", "10.0.0.2", 4600), ("b.example", "10.0.0.2", 4600)]);
        // The host boots with a clock in 1970, and one name is answered. The lockfile's time goes on without the clock.
        let wrong = |since_boot| Moment { time: Timestamp::UNIX_EPOCH, ..moment("b", 0, since_boot) };
        let mut new = Resolution { clock: Some(run(&old, &wrong(60))), ..old };
        let stamp = new.clock.as_ref().unwrap().at;
        assert!(stamp < at(4600) && new.clock.as_ref().unwrap().doubted.is_some());
        new.names.get_mut(&"a.example".parse().unwrap()).unwrap().addresses =
            [("10.0.0.3".parse().unwrap(), Seen { first: stamp, last: stamp, ttl: None })].into();
        let now = wrong(90);
        for merged in [later.clone().newer_of(&new, &now, GAP), new.clone().newer_of(&later, &now, GAP)] {
            let known = |name: &str| -> Vec<String> {
                merged.addresses(&name.parse().unwrap()).map(|address| address.to_string()).collect()
            };
            assert_eq!([known("a.example"), known("b.example")], [["10.0.0.3"], ["10.0.0.2"]]);
            // No age has changed: a minute later, an answer without it does not let it expire.
            let (present, clock) = merged.at(&now, GAP);
            let age = |name: &str| {
                let seen = present.names[&name.parse().unwrap()].addresses.values().next().unwrap();
                clock.at.duration_since(seen.last)
            };
            assert_eq!(age("a.example"), SignedDuration::from_secs(30));
            assert!(age("b.example") < SignedDuration::from_mins(5), "{}", age("b.example"));
        }
    }

    #[test]
    fn on_one_boot_the_time_since_boot_decides() {
        // The clock was two hours ahead when `theirs` was written, and is right again.
        let ours = by("a", 1000, 600, &[("a.example", "10.0.0.1", 1000)]);
        let theirs = by("a", 8000, 500, &[("a.example", "10.0.0.2", 8000)]);
        let now = moment("a", 1010, 610);
        assert_eq!(ours.clone().newer_of(&theirs, &now, GAP), ours);
        let merged = theirs.newer_of(&ours, &now, GAP);
        assert_eq!(merged, ours);
    }

    #[test]
    fn lockfiles_without_clocks_are_compared_by_their_time_stamps() {
        let now = moment("a", 20, 20);
        let with = by("a", 15, 15, &[("a.example", "10.0.0.1", 10)]);
        let without = of(&[("a.example", "10.0.0.2", 11)]);
        // That is of the present boot for certain only in the one with a clock.
        assert_eq!(without.clone().newer_of(&with, &now, GAP), with);
        assert_eq!(of(&[]).newer_of(&without, &now, GAP), without);
    }
}
