//! `hosts`: the addresses of names.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::DocumentVersion;

/// What `edgeward hosts --format json` prints: the names of a policy with their addresses.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct HostsDocument<'a> {
    /// The version of the document's format.
    pub(crate) version: DocumentVersion,
    /// The name of the policy.
    pub(crate) policy: &'a str,
    /// The names, sorted.
    pub(crate) hosts: Vec<HostDocument<'a>>,
}

/// A name with its addresses.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Host")]
pub(crate) struct HostDocument<'a> {
    /// The name.
    pub(crate) name: &'a str,
    /// Its addresses in the lockfile; empty for an optional name without one.
    pub(crate) addresses: Vec<IpAddr>,
}
