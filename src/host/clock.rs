//! The clocks of this host.

#![expect(clippy::disallowed_methods, reason = "this is the module that may")]

use std::time::Duration;

use jiff::{Timestamp, Unit};

pub use crate::resolution::Moment;

impl Moment {
    /// Reads the clocks.
    pub fn now() -> Self {
        Self { time: now(), since_boot: since_boot(), boot: boot_id() }
    }
}

/// The time of day in whole seconds: lockfiles and messages need no more.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    // Rounding fails at the ends of representable time only.
    now.round(Unit::Second).unwrap_or(now)
}

/// The time since the host booted, including suspend. Setting the clock does not change it.
pub fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Neither is negative.
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// The random id of this boot; `None` where the kernel does not show it, as in a unit of systemd with `ProcSubset=pid`.
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// Waits.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
