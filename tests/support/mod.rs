//! Shared code of several tests.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are no part of the core")]
#![allow(clippy::print_stderr, reason = "a test says what it skips")]

pub mod bad_rulesets;
pub mod changes;
/// A policy of an edge host in a registered cluster: its name, and the text after its networks.
#[allow(unused_macros, reason = "each test binary uses its own part")]
macro_rules! registered_policy {
    ($name:literal, $more:literal) => {
        concat!(
            "version: 1\nname: ",
            $name,
            "\ntarget: edge-host\nregion: cn-hangzhou\nconnection: express-connect\ncni: calico-ipip\n\
             cluster: {kind: registered, version: \"1.30\", api-server: 10.0.0.10}\n\
             networks: {vpc: [192.168.0.0/16], hosts: [10.0.0.0/24], pods: [172.20.0.0/16]}\n\
             management: {from: [10.0.0.0/28]}\ndns: {servers: [10.0.0.53]}\n",
            $more
        )
    };
}

/// Skips a test if namespaces are not available.
#[allow(unused_macros, reason = "each test binary uses its own part")]
macro_rules! need_namespaces {
    () => {
        if let Err(reason) = $crate::support::netns::available() {
            return $crate::support::netns::skip(&reason);
        }
    };
}

/// Skips a test if no machine can be booted.
#[allow(unused_macros, reason = "each test binary uses its own part")]
macro_rules! need_systemd {
    () => {
        if let Err(reason) = $crate::support::systemd::available() {
            return $crate::support::systemd::skip(&reason);
        }
    };
}

/// Skips a test if FRR or BIRD is not installed.
#[allow(unused_macros, reason = "each test binary uses its own part")]
macro_rules! need_frr {
    () => {
        if let Err(reason) = $crate::support::frr::available() {
            return $crate::support::frr::skip(&reason);
        }
    };
}

pub mod compile;
pub mod dns_server;
pub mod frr;
pub mod lockfiles;
pub mod mutants;
pub mod netns;
pub mod probes;
pub mod programs;
pub mod random;
pub mod sample;
pub mod scenario;
pub mod systemd;
pub mod traffic;
