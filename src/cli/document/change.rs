//! What verbs that change rules print: `apply`, `refresh`, `confirm`, `rollback` and `boot`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::DifferenceDocument;
use crate::cli::failure::Refusal;
use crate::host::generations::Pending;
use crate::host::rollout::time_left;
use crate::report::DocumentVersion;

/// What `edgeward apply`, `refresh`, `confirm`, `rollback` and `boot` print with `--format json`.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ChangeDocument {
    /// The version of the document's format.
    pub(crate) version: DocumentVersion,
    /// Whether this run changed the rules in the kernel or addresses in their sets, or which generation is in force,
    /// loaded at boot or pending, or the deadline of the pending one. The same run again has `false`, unless it sets a new
    /// deadline. With `--dry-run`: whether it would.
    pub(crate) changed: bool,
    /// Whether `--dry-run` was given: nothing was changed.
    pub(crate) dry_run: bool,
    /// The generation that is in force after the run; `null` for none.
    pub(crate) generation: Option<u64>,
    /// The change that is undone unless it is confirmed; `null` for none.
    pub(crate) pending: Option<PendingDocument>,
    /// The safety checks that refused the change; the exit code is 5 unless this is empty.
    pub(crate) refused: Vec<Refusal>,
    /// The names that DNS gave no address for in this run, or that have none; the exit code is 3 or higher unless this is
    /// empty.
    pub(crate) unresolved: Vec<String>,
    /// The packets that are accepted now and were not before.
    pub(crate) newly_allowed: Vec<DifferenceDocument>,
    /// The packets that were accepted before and are not any more.
    pub(crate) newly_denied: Vec<DifferenceDocument>,
}

/// A change that is undone unless it is confirmed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Pending")]
pub(crate) struct PendingDocument {
    /// The generation.
    generation: u64,
    /// The generation that comes back; `null` for no table: every packet is accepted.
    back_to: Option<u64>,
    /// When it is undone, by the clock of the time when the deadline was set.
    deadline: Timestamp,
    /// The time left, in seconds. Setting the clock does not change it.
    seconds_left: u64,
}

impl From<&Pending> for PendingDocument {
    fn from(pending: &Pending) -> Self {
        Self {
            generation: pending.generation,
            back_to: pending.back_to,
            deadline: pending.deadline,
            seconds_left: time_left(pending).as_secs(),
        }
    }
}
