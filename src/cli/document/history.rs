//! `history`: the generations that are kept, and the events.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::PolicyDocument;
use crate::host::generations::{Changes, Event, EventPolicy, FlowChange, Overridden};
use crate::host::operator::Operator;
use crate::report::DocumentVersion;

/// What `edgeward history --format json` prints: the generations that are kept, and the latest events.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct HistoryDocument<'a> {
    /// The version of the document's format.
    pub(crate) version: DocumentVersion,
    /// The generations that are kept, the oldest first.
    pub(crate) generations: Vec<GenerationDocument<'a>>,
    /// The latest events, the oldest first.
    pub(crate) events: Vec<EventDocument>,
    /// Whether there are earlier events that are not listed.
    pub(crate) more_events: bool,
    /// The numbers that are missing among the events that were read, the oldest first. No event is ever left out, so what
    /// is missing was removed from the file.
    pub(crate) missing_events: Vec<MissingDocument>,
    /// How many of the lines that were read are no events. A power failure may leave a part of a line.
    pub(crate) damaged_lines: usize,
}

/// Events that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Missing")]
pub(crate) struct MissingDocument {
    /// The number of the first one.
    pub(crate) first: u64,
    /// The number of the last one.
    pub(crate) last: u64,
}

/// A generation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Generation")]
pub(crate) struct GenerationDocument<'a> {
    /// Its number.
    pub(crate) generation: u64,
    /// When it was created; `null` if its manifest is damaged.
    pub(crate) made: Option<Timestamp>,
    /// By whom, as a text; `null` if its manifest is damaged.
    pub(crate) by: Option<String>,
    /// By whom; `null` if its event is not known.
    pub(crate) who: Option<WhoDocument>,
    /// What created it: `apply`, `refresh`, or `found` for rules that were found in the kernel: another program put them
    /// there, or their record was lost.
    pub(crate) made_by: String,
    /// The message of `--message`; `null` for none.
    pub(crate) message: Option<String>,
    /// Its policy; `null` for rules that were found in the kernel, or if its manifest is damaged.
    pub(crate) policy: Option<PolicyDocument<'a>>,
    /// Whether it is in force.
    pub(crate) in_force: bool,
    /// Whether it is in force but not confirmed.
    pub(crate) pending: bool,
    /// Whether boot loads it. If the confirmed generation is damaged, that is another one.
    pub(crate) loaded_at_boot: bool,
    /// When it was confirmed first; `null` if it never was.
    pub(crate) confirmed: Option<Timestamp>,
    /// When it was undone or left by a rollback; `null` if it was not.
    pub(crate) undone: Option<Timestamp>,
    /// The generation that `apply` made and that this one refreshes; itself, if `apply` made it.
    pub(crate) applied: Option<u64>,
    /// What was in force when that one was applied, or when this one was found in the kernel; `null` for none.
    pub(crate) before: Option<u64>,
    /// The number of the event that made it; `null` if it is not known.
    pub(crate) event: Option<u64>,
    /// What it opened and closed, compared with what was in force before.
    #[serde(flatten)]
    pub(crate) changes: ChangesDocument,
    /// What is missing or damaged of its files, in sentences; empty if nothing is.
    pub(crate) damage: Vec<String>,
    /// The folder with its files.
    pub(crate) folder: PathBuf,
}

/// Who did something.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Who")]
pub(crate) struct WhoDocument {
    /// The user that ran the program.
    user: String,
    /// The user that called sudo; `null` for none.
    sudo_user: Option<String>,
    /// The address that the SSH session came from; `null` for none.
    ssh_client: Option<String>,
    /// The unit of systemd that ran the program, or `watch` for the process that undoes a change; `null` for none.
    unit: Option<String>,
}

/// An event.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Event")]
pub(crate) struct EventDocument {
    /// Its number. Numbers are never reused.
    number: u64,
    /// When, by the clock of that time.
    at: Timestamp,
    /// What it is: `apply`, `refresh`, `confirm`, `rollback`, `undo`, `extend`, `boot`, `found`, `lost`, `interrupted`
    /// or `other`.
    event: &'static str,
    /// What happened, as a sentence.
    what: String,
    /// Why a change was undone; `null` for other events.
    why: Option<&'static str>,
    /// By whom, as a text.
    by: String,
    /// By whom.
    who: WhoDocument,
    /// The message of `--message`; `null` for none.
    message: Option<String>,
    /// The generation that it is about; `null` for none.
    generation: Option<u64>,
    /// The generation in force before; `null` for none.
    from: Option<u64>,
    /// The generation in force since; `null` for none.
    to: Option<u64>,
    /// The policy in force since; `null` for none, or if it is not known.
    policy: Option<EventPolicyDocument>,
    /// Until when the change has to be confirmed; `null` for no deadline.
    deadline: Option<Timestamp>,
    /// Whether `--force` was given.
    forced: bool,
    /// The safety checks that `--force` overrode.
    overridden: Vec<OverriddenDocument>,
    /// What it opened and closed.
    #[serde(flatten)]
    changes: ChangesDocument,
}

/// The policy of an event.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "EventPolicy")]
pub(crate) struct EventPolicyDocument {
    /// Its name.
    name: String,
    /// SHA-256 of its text; `null` if it is not known.
    sha256: Option<String>,
    /// The digest of the catalog.
    catalog: String,
}

/// A safety check that was overridden.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Overridden")]
pub(crate) struct OverriddenDocument {
    /// The check, as in `refused` of `apply`.
    check: String,
    /// What it found.
    message: String,
}

/// What a change opened and closed. The lists are bounded.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Changes")]
pub(crate) struct ChangesDocument {
    /// What is permitted since, by flow; `null` if it is not known.
    newly_allowed: Option<Vec<FlowChangeDocument>>,
    /// What is denied since, by flow; `null` if it is not known.
    newly_denied: Option<Vec<FlowChangeDocument>>,
    /// How many flows are left out of the two lists.
    left_out: u64,
    /// Whether the rules since are in audit mode: what is newly denied is only logged.
    audit: bool,
    /// What begins or ends for packets that no flow permits: `enforcement-starts` or `enforcement-ends` (they are denied),
    /// `audit-starts` or `audit-ends` (they are only logged); `null` for neither.
    mode_change: Option<&'static str>,
    /// The flows that are open since enforcement or audit started, sorted; the last entry may be `N more`.
    open: Vec<String>,
    /// Why the two lists are not known; `null` if they are.
    not_known: Option<String>,
}

/// The packets of a flow.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "FlowChange")]
pub(crate) struct FlowChangeDocument {
    /// The flow; `null` for packets that no flow permits.
    flow: Option<String>,
    /// Descriptions of the packets.
    packets: Vec<String>,
    /// How many descriptions are left out.
    more: u64,
}

impl From<&Operator> for WhoDocument {
    fn from(operator: &Operator) -> Self {
        let Operator { user, sudo_user, ssh_client, unit } = operator.clone();
        Self { user, sudo_user, ssh_client, unit }
    }
}

impl From<&Event> for EventDocument {
    fn from(event: &Event) -> Self {
        let facts = event.facts.as_ref();
        let overridden = event.overridden.iter().cloned();
        Self {
            number: event.number,
            at: event.at,
            event: event.event.name(),
            what: event.what.clone(),
            why: event.why.map(|why| why.name()),
            by: event.by.to_string(),
            who: WhoDocument::from(&event.by),
            message: event.message.clone(),
            generation: event.generation,
            from: event.from,
            to: event.to,
            policy: facts.and_then(|facts| facts.policy.clone()).map(EventPolicyDocument::from),
            deadline: event.deadline,
            forced: event.forced,
            overridden: overridden.map(|Overridden { check, message }| OverriddenDocument { check, message }).collect(),
            changes: facts.map(|facts| ChangesDocument::from(&facts.changes)).unwrap_or_default(),
        }
    }
}

impl From<EventPolicy> for EventPolicyDocument {
    fn from(EventPolicy { name, sha256, catalog }: EventPolicy) -> Self {
        Self { name, sha256, catalog }
    }
}

impl From<&Changes> for ChangesDocument {
    fn from(changes: &Changes) -> Self {
        let list = |list: &Option<Vec<FlowChange>>| {
            let flow = |FlowChange { flow, packets, more }| FlowChangeDocument { flow, packets, more };
            list.clone().map(|list| list.into_iter().map(flow).collect())
        };
        Self {
            newly_allowed: list(&changes.newly_allowed),
            newly_denied: list(&changes.newly_denied),
            left_out: changes.left_out,
            audit: changes.audit,
            mode_change: changes.mode_change.map(|change| change.name()),
            open: changes.open.clone(),
            not_known: changes.not_known.clone(),
        }
    }
}
