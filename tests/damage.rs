//! A state folder that is damaged at any moment of a pending change: at its deadline the host has the old rules or the
//! newest whole confirmed ones, and the next command works.
//!
//! Every file of the folder is removed, cut to nothing and to half, changed in one bit, made longer by one byte and replaced
//! by a folder, at every moment: before the change, right after it, while it is pending, while it is under way and its run
//! was killed, after its watcher was killed, and after a reboot.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are no part of the core")]

#[macro_use]
mod support;

#[path = "damage/cases.rs"]
mod cases;
#[path = "lifecycle/host.rs"]
#[allow(dead_code, reason = "the tests of the life of the rules use all of it")]
mod host;
#[path = "damage/verbs.rs"]
mod verbs;
