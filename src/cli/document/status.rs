//! `status`: what is in force, and what needs attention.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::PendingDocument;
use crate::host::generations::PolicyFacts;
use crate::report::DocumentVersion;
use crate::site::{Mode, Target};

/// What `edgeward status --format json` prints: the rules in force, and what needs attention.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StatusDocument<'a> {
    /// The version of the document's format.
    pub(crate) version: DocumentVersion,
    /// What needs attention; empty if all is well. With `--check` the exit code is 1 unless this is empty.
    pub(crate) reasons: Vec<AttentionDocument>,
    /// The kernel's table, compared with the generation that was applied.
    pub(crate) table: TableState,
    /// Whether all elements of large sets were read (`--deep`).
    pub(crate) deep: bool,
    /// The generation that is in force, by the records; `null` for none.
    pub(crate) generation: Option<u64>,
    /// The generation that boot loads, an older one if the confirmed one is damaged; `null` for none.
    pub(crate) loaded_at_boot: Option<u64>,
    /// When the generation in force was made; `null` without one.
    pub(crate) made: Option<Timestamp>,
    /// The user who made it; `null` without one.
    pub(crate) by: Option<&'a str>,
    /// Its policy; `null` without one: nothing is in force, or rules that were found in the kernel; or if its manifest is
    /// damaged.
    pub(crate) policy: Option<PolicyDocument<'a>>,
    /// The change that is undone unless it is confirmed; `null` for none.
    pub(crate) pending: Option<PendingDocument>,
    /// Whether a change is under way, or was interrupted.
    pub(crate) switching: bool,
    /// Whether the files on disk are those that the generation was compiled from; `null` if it has no policy, or if that
    /// cannot be read.
    pub(crate) on_disk: Option<DiskDocument>,
    /// The addresses of the names in force; `null` if it has no policy, or if that cannot be read.
    pub(crate) lockfile: Option<LockfileDocument<'a>>,
    /// The number of elements of each set in the kernel's table, by the set's name. Empty if the table cannot be read.
    pub(crate) sets: BTreeMap<String, usize>,
    /// What the counters of the table have counted, by their names: `flow_ID`, `denied_HOOK`, `invalid_HOOK`.
    pub(crate) counters: BTreeMap<&'a str, CounterDocument>,
    /// Chains of other tables that see the same packets.
    pub(crate) others: Vec<ChainDocument<'a>>,
    /// Other packet filters that may interfere, in sentences.
    pub(crate) warnings: &'a [String],
}

/// The kernel's table, compared with the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Table")]
pub(crate) enum TableState {
    /// There is none, and there should be none.
    Absent,
    /// It is as it was applied.
    AsApplied,
    /// A generation was applied, and the table no longer exists: every packet is accepted.
    Gone,
    /// Another program has changed or created it, or the record of it was lost.
    Changed,
    /// It contains something that edgeward does not know.
    Unreadable,
    /// Whether it is as it was applied is not known: the ruleset of the generation is missing or damaged.
    Unknown,
}

/// What needs attention.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Attention")]
pub(crate) struct AttentionDocument {
    /// What was checked.
    pub(crate) check: StatusCheck,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

/// What `status` checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StatusCheck {
    /// No generation is in force: every packet is accepted.
    NoRules,
    /// The file with the state is missing or damaged, or other users can change a folder of the records.
    Records,
    /// The table is not as it was applied: it is gone, changed or unreadable; or that is not known.
    Table,
    /// Files of the generation in force, or of the one that a pending change goes back to, are missing or damaged, or this
    /// version does not accept them.
    Generation,
    /// The deadline of a pending change has passed, and nothing has undone it.
    PendingOverdue,
    /// A change was interrupted.
    Interrupted,
    /// Events cannot be written to their file, or wait for that.
    Events,
    /// The last change was undone, by its deadline or by a reboot.
    Undone,
    /// Boot loads another generation than the one in force, although nothing is pending.
    Boot,
    /// The addresses of a name are older than three quarters of `resolve.max-stale`; or that is not known, because the clock
    /// is not believed and no answer had them since the host booted.
    Stale,
    /// The policy on disk is not the one in force.
    Policy,
    /// The catalog is not the one in force.
    Catalog,
    /// A list of peers on disk is not the one in force.
    List,
}

impl StatusCheck {
    /// The word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NoRules => "no-rules",
            Self::Records => "records",
            Self::Table => "table",
            Self::Generation => "generation",
            Self::PendingOverdue => "pending-overdue",
            Self::Interrupted => "interrupted",
            Self::Events => "events",
            Self::Undone => "undone",
            Self::Boot => "boot",
            Self::Stale => "stale",
            Self::Policy => "policy",
            Self::Catalog => "catalog",
            Self::List => "list",
        }
    }
}

/// The policy of a generation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Policy")]
pub(crate) struct PolicyDocument<'a> {
    /// Its name.
    name: &'a str,
    /// The file that it was read from.
    path: PathBuf,
    /// What it was compiled for.
    #[schemars(with = "Target")]
    target: &'a str,
    /// Whether it denies packets.
    #[schemars(with = "Mode")]
    mode: &'a str,
}

impl<'a> From<&'a PolicyFacts> for PolicyDocument<'a> {
    fn from(facts: &'a PolicyFacts) -> Self {
        let PolicyFacts { name, path, target, mode, .. } = facts;
        Self { name, path: path.clone(), target, mode }
    }
}

/// Whether the files on disk are those in force.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "OnDisk")]
pub(crate) struct DiskDocument {
    /// Whether the policy is. If it cannot be read, it is not. `null` if it was applied from a pipe; `--policy` compares it
    /// with a file.
    pub(crate) policy: Option<bool>,
    /// Whether the catalog is.
    pub(crate) catalog: bool,
    /// Whether the lists of peers are; `null` unless the policy is the one in force, because only then they are compared.
    pub(crate) lists: Option<bool>,
}

/// The addresses of names.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Lockfile")]
pub(crate) struct LockfileDocument<'a> {
    /// When a run last got answers from DNS; `null` if the policy has no names.
    pub(crate) answered: Option<Timestamp>,
    /// How long ago that was, in seconds. A wrong clock does not change it.
    pub(crate) age_seconds: Option<i64>,
    /// `resolve.max-stale` in seconds.
    pub(crate) max_stale_seconds: i64,
    /// The names, sorted.
    pub(crate) names: Vec<NameAgeDocument<'a>>,
}

/// The age of a name's addresses.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "NameAge")]
pub(crate) struct NameAgeDocument<'a> {
    /// The name.
    pub(crate) name: &'a str,
    /// The number of its addresses.
    pub(crate) addresses: usize,
    /// When an answer last had one of them; `null` without addresses.
    pub(crate) last_seen: Option<Timestamp>,
    /// How long ago that was, in seconds; `null` without addresses. A wrong clock does not change it.
    pub(crate) age_seconds: Option<i64>,
    /// Whether they are older than `resolve.max-stale`.
    pub(crate) stale: bool,
}

/// A counter.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Counter")]
pub(crate) struct CounterDocument {
    /// Packets.
    pub(crate) packets: u64,
    /// Bytes.
    pub(crate) bytes: u64,
}

/// A chain of another table.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Chain")]
pub(crate) struct ChainDocument<'a> {
    /// The family of its table.
    pub(crate) family: &'a str,
    /// Its table.
    pub(crate) table: &'a str,
    /// Its name.
    pub(crate) chain: &'a str,
    /// Its hook.
    pub(crate) hook: &'a str,
    /// Its priority: chains with a lower one come first.
    pub(crate) priority: i32,
    /// What happens to packets that none of its rules decides.
    #[schemars(extend("enum" = ["accept", "drop"]))]
    pub(crate) policy: &'a str,
    /// The programs that probably made it.
    pub(crate) owners: Vec<String>,
    /// When it sees packets: `before` edgeward, `after` it, or `beside` it, at the same priority.
    #[schemars(extend("enum" = ["before", "after", "beside"]))]
    pub(crate) order: &'a str,
}
