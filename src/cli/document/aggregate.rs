//! `aggregate`: prefixes.

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::DocumentVersion;

/// What `edgeward aggregate --format json` prints: the fewest prefixes with the addresses of the lists.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct AggregateDocument {
    /// The version of the document's format.
    pub(crate) version: DocumentVersion,
    /// How many prefixes there are.
    pub(crate) count: usize,
    /// The prefixes, sorted, IPv4 first. No two of them overlap.
    pub(crate) prefixes: Vec<String>,
}
