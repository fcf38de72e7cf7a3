//! Deadlines of pending changes, by the clocks of this host.

use std::time::Duration;

use crate::host::clock::Moment;
use crate::host::generations::{Pending, State};

/// Whether the last run left work: an interrupted change, or a pending one that must be undone.
pub fn needs_recovery(state: &State) -> bool {
    state.needs_recovery(&Moment::now())
}

/// Whether the time to confirm a change has expired.
pub fn has_expired(pending: &Pending) -> bool {
    pending.has_expired(&Moment::now())
}

/// The time left to confirm a change.
pub fn time_left(pending: &Pending) -> Duration {
    pending.time_left(&Moment::now())
}
