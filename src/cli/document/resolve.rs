//! `resolve`: what DNS says of the names of a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::report::DocumentVersion;

/// What `edgeward resolve --format json` prints: the names of a policy, and what DNS said.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct ResolveDocument {
    /// The version of the document's format.
    pub(crate) version: DocumentVersion,
    /// The name of the policy.
    pub(crate) policy: String,
    /// The lockfile.
    pub(crate) lockfile: PathBuf,
    /// The names, sorted.
    pub(crate) names: Vec<NameDocument>,
}

/// A name.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Name")]
pub(crate) struct NameDocument {
    /// The name.
    pub(crate) name: String,
    /// What DNS said, in words: one part for A records, one for AAAA records.
    pub(crate) said: String,
    /// The DNS servers that answered, with their ports, by the family that they were asked for: `v4`, `v6`.
    pub(crate) servers: BTreeMap<&'static str, String>,
    /// Addresses that are new in the lockfile.
    pub(crate) added: BTreeSet<IpAddr>,
    /// Addresses of the lockfile that an answer has again.
    pub(crate) kept: BTreeSet<IpAddr>,
    /// Addresses of the lockfile that no answer has any more, and that stay for `resolve.linger` or, if the query failed,
    /// until it is answered.
    pub(crate) lingering: BTreeSet<IpAddr>,
    /// Addresses that left the lockfile, because they lingered long enough.
    pub(crate) expired: BTreeSet<IpAddr>,
    /// Addresses that left the lockfile, because the name has more than `resolve.max-gathered`.
    pub(crate) dropped: BTreeSet<IpAddr>,
    /// Addresses that an answer has and that are not believed.
    pub(crate) refused: Vec<RefusedDocument>,
    /// How many addresses an answer has that was refused for having more than `resolve.max-addresses`; `null` if none was.
    pub(crate) too_many: Option<usize>,
    /// When the addresses are older than `resolve.max-stale`, unless DNS answers; `null` if DNS answered.
    pub(crate) stale_at: Option<Timestamp>,
    /// The addresses in the lockfile after the run.
    pub(crate) addresses: Vec<IpAddr>,
}

/// An address that is not believed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Refused")]
pub(crate) struct RefusedDocument {
    /// The address.
    pub(crate) address: IpAddr,
    /// The reason.
    pub(crate) why: String,
}
