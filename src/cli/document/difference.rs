//! Packets that are treated differently.

use schemars::JsonSchema;
use serde::Serialize;

use super::PacketDocument;
use crate::net::{CtState, Family, Hook, PrefixSet};
use crate::ruleset::Difference;
use crate::space::PacketBox;

/// Packets of a flow that are treated differently.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Difference")]
pub(crate) struct DifferenceDocument {
    /// The flow that permits them, or did; `null` if no flow names them.
    pub(crate) flow: Option<String>,
    /// The packets, as boxes.
    pub(crate) packets: Vec<BoxDocument>,
    /// One of the packets.
    pub(crate) example: PacketDocument,
}

impl From<&Difference> for DifferenceDocument {
    fn from(difference: &Difference) -> Self {
        Self {
            flow: difference.flow.clone(),
            packets: difference.boxes.iter().map(BoxDocument::from).collect(),
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
    #[schemars(with = "Vec<Hook>")]
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
    /// Prefixes of the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    to: Option<Vec<String>>,
    /// Whether they go through the loopback interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    loopback: Option<bool>,
    /// Whether they are TCP segments that open a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    opens: Option<bool>,
}

impl From<&PacketBox> for BoxDocument {
    fn from(one: &PacketBox) -> Self {
        let prefixes = |set: &PrefixSet| set.prefixes().map(|prefix| prefix.to_string()).collect();
        Self {
            hooks: one.hooks.iter().map(|hook| hook.name()).collect(),
            families: one.families.iter().map(|family| family.name()).collect(),
            states: one.states.iter().map(|state| state.name()).collect(),
            protocols: one.protocols.as_ref().map(|set| set.words()),
            dports: one.dports.as_ref().map(|set| set.words()),
            sports: one.sports.as_ref().map(|set| set.words()),
            icmp_types: one.icmp_types.as_ref().map(|set| set.words()),
            from: one.sources.as_ref().map(prefixes),
            to: one.destinations.as_ref().map(prefixes),
            loopback: one.loopback,
            opens: one.opens,
        }
    }
}
