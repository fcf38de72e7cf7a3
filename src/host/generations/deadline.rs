//! Deadlines of unconfirmed changes.
//!
//! A deadline counts in time since boot, so setting the clock does not move it. A reboot ends it, because boot loads
//! the confirmed generation.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Pending, State};
use crate::host::clock::Moment;

impl Pending {
    /// A change to a generation, to be confirmed within a time from now.
    pub fn new(armed: u64, generation: u64, back_to: Option<u64>, delay: Duration, now: &Moment) -> Self {
        let ends = now.since_boot.saturating_add(delay);
        let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
        Self {
            armed,
            generation,
            back_to,
            deadline: now.time.checked_add(delay).unwrap_or(Timestamp::MAX),
            deadline_since_boot: u64::try_from(ends.as_millis()).unwrap_or(u64::MAX),
            boot: now.boot.clone(),
        }
    }

    /// The same change, with all of its time left.
    pub fn renewed(&self, delay: Duration, now: &Moment) -> Self {
        Self::new(self.armed, self.generation, self.back_to, delay, now)
    }

    /// The time left to confirm the change.
    pub fn time_left(&self, now: &Moment) -> Duration {
        Duration::from_millis(self.deadline_since_boot).saturating_sub(now.since_boot)
    }

    /// Whether the deadline has passed.
    pub fn has_expired(&self, now: &Moment) -> bool {
        self.time_left(now).is_zero()
    }

    /// Whether the host has rebooted since the deadline was set. `false` where the kernel does not show boot ids.
    pub fn is_from_earlier_boot(&self, now: &Moment) -> bool {
        matches!((&self.boot, &now.boot), (Some(then), Some(now)) if then != now)
    }

    /// Whether the host has not rebooted since the deadline was set. `false` where the kernel does not show boot ids.
    pub fn is_from_this_boot(&self, now: &Moment) -> bool {
        self.boot.is_some() && self.boot == now.boot
    }
}

impl State {
    /// Whether the last run left work: an interrupted change, or a pending one that must be undone.
    pub fn needs_recovery(&self, now: &Moment) -> bool {
        let must_go = |pending: &Pending| pending.has_expired(now) || pending.is_from_earlier_boot(now);
        self.switching.is_some() || self.pending.as_ref().is_some_and(must_go)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::generations::Switching;

    fn at(seconds: u64, boot: Option<&str>) -> Moment {
        let time = Timestamp::from_second(1_700_000_000).unwrap();
        Moment { time, since_boot: Duration::from_secs(seconds), boot: boot.map(str::to_owned) }
    }

    #[test]
    fn a_deadline_counts_in_time_since_boot() {
        let pending = Pending::new(1, 2, Some(1), Duration::from_secs(60), &at(100, Some("a")));
        assert_eq!((pending.deadline.as_second(), pending.deadline_since_boot), (1_700_000_060, 160_000));
        let set = Moment { time: Timestamp::MAX, ..at(130, Some("a")) };
        assert_eq!(pending.time_left(&set), Duration::from_secs(30));
        assert!(!pending.has_expired(&at(159, None)) && pending.has_expired(&at(160, None)));
        assert_eq!(pending.time_left(&at(1_000, None)), Duration::ZERO);
        let renewed = pending.renewed(Duration::from_secs(60), &at(130, Some("a")));
        assert_eq!((renewed.armed, renewed.generation, renewed.back_to), (1, 2, Some(1)));
        assert_eq!(renewed.time_left(&at(130, None)), Duration::from_secs(60));
    }

    #[test]
    fn a_delay_without_end_has_a_deadline() {
        let pending = Pending::new(1, 2, None, Duration::MAX, &at(100, None));
        assert_eq!((pending.deadline, pending.deadline_since_boot), (Timestamp::MAX, u64::MAX));
    }

    #[test]
    fn a_boot_is_known_by_its_id() {
        let armed = |boot| Pending::new(1, 2, None, Duration::from_secs(60), &at(0, boot));
        let seen = |then, now| {
            let now = at(0, now);
            (armed(then).is_from_earlier_boot(&now), armed(then).is_from_this_boot(&now))
        };
        assert_eq!(seen(Some("a"), Some("a")), (false, true));
        assert_eq!(seen(Some("a"), Some("b")), (true, false));
        // Neither is known.
        assert_eq!(seen(Some("a"), None), (false, false));
        assert_eq!(seen(None, Some("a")), (false, false));
        assert_eq!(seen(None, None), (false, false));
    }

    #[test]
    fn what_is_half_done_or_overdue_needs_recovery() {
        let mut state = State::default();
        assert!(!state.needs_recovery(&at(0, None)));
        state.pending = Some(Pending::new(1, 2, None, Duration::from_secs(60), &at(0, Some("a"))));
        assert!(!state.needs_recovery(&at(59, Some("a"))));
        assert!(state.needs_recovery(&at(60, Some("a"))));
        assert!(state.needs_recovery(&at(5, Some("b"))));
        state.pending = None;
        state.switching = Some(Switching { from: None, to: Some(1), pending: None, event: None });
        assert!(state.needs_recovery(&at(0, None)));
    }
}
