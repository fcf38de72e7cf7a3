//! Rules on a host over time: `apply`, `refresh`, `confirm`, `rollback`, `status`, `history` and `boot`, as
//! docs/operations.md describes them, with the built program, the real kernel and real packets.
//!
//! Each test has its own network namespace and state directory. The host's own rules are not touched.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are no part of the core")]

#[macro_use]
mod support;

#[path = "lifecycle/applied.rs"]
mod applied;
#[path = "lifecycle/back.rs"]
mod back;
#[path = "lifecycle/events.rs"]
mod events;
#[path = "lifecycle/failures.rs"]
mod failures;
#[path = "lifecycle/generations.rs"]
mod generations;
#[path = "lifecycle/hints.rs"]
mod hints;
#[path = "lifecycle/host.rs"]
mod host;
#[path = "lifecycle/neighbours.rs"]
mod neighbours;
#[path = "lifecycle/pending.rs"]
mod pending;
#[path = "lifecycle/plans.rs"]
mod plans;
#[path = "lifecycle/refreshes.rs"]
mod refreshes;
#[path = "lifecycle/removal.rs"]
mod removal;
#[path = "lifecycle/safety.rs"]
mod safety;
