//! `explain`: what happens to packets, and why.

use schemars::JsonSchema;
use serde::Serialize;

use super::PacketDocument;
use crate::net::{Hook, Verdict};
use crate::report::{DocumentVersion, Reason};

/// What `edgeward explain --format json` prints: one packet, or the probes of a file.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ExplainDocument<'a> {
    /// One packet.
    Packet {
        /// The version of the document's format.
        version: DocumentVersion,
        /// What happens to the packet.
        #[serde(flatten)]
        explanation: ExplanationDocument<'a>,
    },
    /// With `--probes`.
    Probes(ProbesDocument<'a>),
}

/// What happens to a packet.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Explanation")]
pub(crate) struct ExplanationDocument<'a> {
    /// The verdict.
    #[schemars(with = "Verdict")]
    pub(crate) verdict: &'static str,
    /// The flow that permits the packet; `null` if none does.
    pub(crate) flow: Option<&'a str>,
    /// The base chain that decides; `null` if edgeward has no chain at the hook.
    #[schemars(with = "Option<Hook>")]
    pub(crate) chain: Option<&'static str>,
    /// The packet.
    pub(crate) packet: PacketDocument,
    /// The reasons, from the rule to the policy or the document.
    pub(crate) because: Vec<Reason>,
}

/// The probes of a file.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Probes")]
pub(crate) struct ProbesDocument<'a> {
    /// The version of the document's format.
    pub(crate) version: DocumentVersion,
    /// The probes, in the order of the file.
    pub(crate) probes: Vec<ProbeDocument<'a>>,
    /// How many are not as expected.
    pub(crate) failed: usize,
}

/// A probe.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Probe")]
pub(crate) struct ProbeDocument<'a> {
    /// What happens to its packet.
    #[serde(flatten)]
    pub(crate) explanation: ExplanationDocument<'a>,
    /// What the file expects.
    pub(crate) expected: ExpectedDocument<'a>,
    /// Whether that is what happens.
    pub(crate) as_expected: bool,
}

/// What a probe expects.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Expected")]
pub(crate) struct ExpectedDocument<'a> {
    /// The verdict.
    #[schemars(with = "Verdict")]
    pub(crate) verdict: &'static str,
    /// The flow that has to permit the packet; `null` if any may.
    pub(crate) flow: Option<&'a str>,
}
