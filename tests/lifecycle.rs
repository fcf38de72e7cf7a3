//! The life of rules on a host: `apply`, `refresh`, `confirm`, `rollback`, `status`, `history` and `boot`, as the
//! contract has them, with the program as it is built, real kernels and real packets.
//!
//! Each test has a network namespace and a state directory of its own; nothing touches the machine's own rules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are no part of the core")]

#[macro_use]
mod support;

#[path = "lifecycle/failures.rs"]
mod failures;
#[path = "lifecycle/generations.rs"]
mod generations;
#[path = "lifecycle/host.rs"]
mod host;
#[path = "lifecycle/neighbours.rs"]
mod neighbours;
#[path = "lifecycle/pending.rs"]
mod pending;
#[path = "lifecycle/refreshes.rs"]
mod refreshes;
#[path = "lifecycle/safety.rs"]
mod safety;
