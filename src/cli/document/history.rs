//! `history`: the generations that are kept, and what happened.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::PolicyDocument;
use crate::report::DocumentVersion;

/// What `edgeward history --format json` prints: the generations that are kept, and the events.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct HistoryDocument<'a> {
    /// The version of the document's format.
    pub(crate) version: DocumentVersion,
    /// The generations that are kept, the oldest first.
    pub(crate) generations: Vec<GenerationDocument<'a>>,
    /// The events, the oldest first.
    pub(crate) events: Vec<EventDocument>,
}

/// A generation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Generation")]
pub(crate) struct GenerationDocument<'a> {
    /// Its number.
    pub(crate) generation: u64,
    /// When it was made; `null` if its files are damaged.
    pub(crate) made: Option<Timestamp>,
    /// Who made it; `null` if its files are damaged.
    pub(crate) by: Option<String>,
    /// What made it: `apply`, `refresh`, or `found`: another program had put the rules into the kernel.
    pub(crate) made_by: &'static str,
    /// Its policy; `null` if it was found in the kernel, or if its files are damaged.
    pub(crate) policy: Option<PolicyDocument<'a>>,
    /// Whether it is in force.
    pub(crate) in_force: bool,
    /// Whether it is undone unless it is confirmed.
    pub(crate) pending: bool,
    /// Whether boot loads it.
    pub(crate) loaded_at_boot: bool,
    /// When it was confirmed first; `null` if it was not.
    pub(crate) confirmed: Option<Timestamp>,
    /// When it was undone, or left by `rollback`; `null` if it was not.
    pub(crate) undone: Option<Timestamp>,
    /// The folder with its files.
    pub(crate) folder: PathBuf,
}

/// An event.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(crate) struct EventDocument {
    /// When.
    pub(crate) at: Timestamp,
    /// Who.
    pub(crate) by: String,
    /// What happened, in a sentence.
    pub(crate) what: String,
}
