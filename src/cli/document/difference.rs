//! Packets that are treated differently.

use schemars::JsonSchema;
use serde::Serialize;

use super::PacketDocument;
use super::packet::any_hooks;
use crate::net::{CtState, Family, PrefixSet};
use crate::ruleset::Difference;
use crate::space::PacketBox;

/// Packets of a flow that are treated differently.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Difference")]
pub(crate) struct DifferenceDocument {
    /// The flow that permits them, or did; `null` if no flow names them.
    pub(crate) flow: Option<String>,
    /// Whether it would be so if the policy were enforced: in fact, `mode: audit` accepts these packets before and after.
    pub(crate) if_enforced: bool,
    /// The packets, as boxes: the first of them, where they are many.
    pub(crate) packets: Vec<BoxDocument>,
    /// How many boxes are left out.
    pub(crate) more: usize,
    /// One of the packets.
    pub(crate) example: PacketDocument,
}

/// A list has up to so many boxes of a flow, and so many prefixes at each end of a box.
const MAX_BOXES: usize = 20;
const MAX_PREFIXES: usize = 100;

impl DifferenceDocument {
    /// A difference with a bounded list of packets.
    pub(crate) fn new(difference: &Difference, if_enforced: bool) -> Self {
        Self {
            flow: difference.flow.clone(),
            if_enforced,
            packets: difference.boxes.iter().take(MAX_BOXES).map(|one| BoxDocument::new(one, MAX_PREFIXES)).collect(),
            more: difference.boxes.len().saturating_sub(MAX_BOXES),
            example: PacketDocument::from(&difference.example),
        }
    }
}

/// A box: all packets with these values, and any value of what is missing. Ranges are written as `30000-32767`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Box")]
pub(crate) struct BoxDocument {
    /// Their hooks.
    #[schemars(schema_with = "any_hooks")]
    hooks: Vec<&'static str>,
    /// Their families.
    #[schemars(with = "Vec<Family>")]
    families: Vec<&'static str>,
    /// Their conntrack states.
    #[schemars(with = "Vec<CtState>")]
    states: Vec<&'static str>,
    /// Protocol numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    protocols: Option<Vec<String>>,
    /// Destination ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    dports: Option<Vec<String>>,
    /// Source ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    sports: Option<Vec<String>>,
    /// Types of ICMP messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    icmp_types: Option<Vec<String>>,
    /// Prefixes of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    from: Option<Vec<String>>,
    /// How many prefixes of the source are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "usize")]
    more_from: Option<usize>,
    /// Prefixes of the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    to: Option<Vec<String>>,
    /// How many prefixes of the destination are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "usize")]
    more_to: Option<usize>,
    /// Whether they go through the loopback interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    loopback: Option<bool>,
    /// The interfaces other than loopback that they go through, where not all: `veth*` stands for all with that
    /// beginning, `*` for all, and `!` before a name takes it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    interfaces: Option<Vec<String>>,
    /// Whether they are TCP segments that open a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    opens: Option<bool>,
}

impl From<&PacketBox> for BoxDocument {
    fn from(one: &PacketBox) -> Self {
        Self::new(one, usize::MAX)
    }
}

impl BoxDocument {
    /// A box with up to so many prefixes at each end.
    fn new(one: &PacketBox, max_prefixes: usize) -> Self {
        let prefixes = |set: &PrefixSet| set.prefixes().take(max_prefixes).map(|prefix| prefix.to_string()).collect();
        let more = |set: &Option<PrefixSet>| {
            let left_out = set.as_ref().map_or(0, |set| set.prefixes().skip(max_prefixes).count());
            (left_out > 0).then_some(left_out)
        };
        Self {
            hooks: one.hooks.iter().map(|hook| hook.name()).collect(),
            families: one.families.iter().map(|family| family.name()).collect(),
            states: one.states.iter().map(|state| state.name()).collect(),
            protocols: one.protocols.as_ref().map(|set| set.words()),
            dports: one.dports.as_ref().map(|set| set.words()),
            sports: one.sports.as_ref().map(|set| set.words()),
            icmp_types: one.icmp_types.as_ref().map(|set| set.words()),
            from: one.sources.as_ref().map(prefixes),
            more_from: more(&one.sources),
            to: one.destinations.as_ref().map(prefixes),
            more_to: more(&one.destinations),
            loopback: one.loopback(),
            interfaces: one.named_interfaces().map(|set| set.words()),
            opens: one.opens,
        }
    }
}
