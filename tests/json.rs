//! What verbs print with `--format json`: the real program in namespaces, validated against the schemas that it prints;
//! and docs/json.md, which lists every key of the schemas.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests are no part of the core")]

#[macro_use]
mod support;

#[path = "json/attention.rs"]
mod attention;
#[path = "json/changes.rs"]
mod changes;
#[path = "lifecycle/host.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod host;
#[path = "json/page.rs"]
mod page;
#[path = "json/reports.rs"]
mod reports;
#[path = "json/schemas.rs"]
mod schemas;
