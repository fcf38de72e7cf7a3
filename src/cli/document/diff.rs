//! `diff`: packets that are treated differently, and why.

use schemars::JsonSchema;
use serde::Serialize;

use super::{BoxDocument, PacketDocument};
use crate::report::DocumentVersion;

/// What `edgeward diff --format json` prints: the packets that a policy treats differently than something else.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DiffDocument<'a> {
    /// The version of the document's format.
    pub(crate) version: DocumentVersion,
    /// The policy, by its file or its generation.
    pub(crate) policy: &'a str,
    /// What it is compared with.
    pub(crate) against: &'a str,
    /// Whether no packet is treated differently; the exit code is 0 then, and 1 otherwise.
    pub(crate) same_packets: bool,
    /// Whether the texts of the rulesets are the same.
    pub(crate) same_text: bool,
    /// The differences, by effect, cause and flow.
    pub(crate) differences: Vec<CausedDocument>,
}

/// Packets of a flow that are treated differently for one reason.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "CausedDifference")]
pub(crate) struct CausedDocument {
    /// What is different: `allowed` or `denied` (newly accepted, newly not), `silenced` (rejected before, dropped now),
    /// `answered` (the other way round), `untracked` or `tracked` (newly not tracked by conntrack, newly tracked).
    #[schemars(extend("enum" = ["allowed", "denied", "silenced", "answered", "untracked", "tracked"]))]
    pub(crate) effect: &'static str,
    /// Why: `policy`, `catalog`, `policy-or-catalog`, `dns`, `tampering` (edited by hand) or `unrecorded` (not known).
    #[schemars(extend("enum" = ["policy", "catalog", "policy-or-catalog", "dns", "tampering", "unrecorded"]))]
    pub(crate) cause: &'static str,
    /// The flow that permits the packets, or did; `null` if no flow names them.
    pub(crate) flow: Option<String>,
    /// Where the flow is written, `FILE:LINE:COLUMN` or `catalog`; `null` if that is not known.
    pub(crate) origin: Option<String>,
    /// The packets, as boxes.
    pub(crate) packets: Vec<BoxDocument>,
    /// One of the packets.
    pub(crate) example: PacketDocument,
}
