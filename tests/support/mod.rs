//! What several tests share.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are no part of the core")]
#![allow(clippy::print_stderr, reason = "a test says what it skips")]

pub mod bad_rulesets;
/// Skips a test where there are no namespaces.
#[allow(unused_macros, reason = "each test binary uses its own part")]
macro_rules! need_namespaces {
    () => {
        if let Err(reason) = $crate::support::netns::available() {
            return $crate::support::netns::skip(&reason);
        }
    };
}

/// Skips a test where no machine can be booted.
#[allow(unused_macros, reason = "each test binary uses its own part")]
macro_rules! need_systemd {
    () => {
        if let Err(reason) = $crate::support::systemd::available() {
            return $crate::support::systemd::skip(&reason);
        }
    };
}

pub mod compile;
pub mod dns_server;
pub mod netns;
pub mod probes;
pub mod programs;
pub mod random;
pub mod sample;
pub mod scenario;
pub mod systemd;
pub mod traffic;
