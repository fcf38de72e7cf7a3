//! The clock.

#![expect(clippy::disallowed_methods, reason = "this is the module that may")]

use jiff::{Timestamp, Unit};

/// The time, in whole seconds: lockfiles and messages need no more.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    // Rounding fails at the ends of representable time only.
    now.round(Unit::Second).unwrap_or(now)
}
