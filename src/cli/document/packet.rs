//! A packet.

use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::net::{CtState, Hook, Packet, Payload};

/// A packet. Ports are there for TCP, UDP and SCTP only.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Packet")]
pub(crate) struct PacketDocument {
    /// The hook that sees it.
    #[schemars(schema_with = "any_hook")]
    hook: &'static str,
    /// Its source address.
    from: IpAddr,
    /// Its destination address.
    to: IpAddr,
    /// Its protocol: `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or the number of another one.
    proto: ProtocolDocument,
    /// Its conntrack state.
    #[schemars(with = "CtState")]
    state: &'static str,
    /// Whether it goes through the loopback interface.
    loopback: bool,
    /// The name of its interface, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    interface: Option<String>,
    /// Its source port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u16")]
    sport: Option<u16>,
    /// Its destination port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u16")]
    dport: Option<u16>,
    /// Whether it is a TCP segment that opens a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    opens: Option<bool>,
    /// The type of an ICMP message.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u8")]
    icmp_type: Option<u8>,
}

/// The hooks of edgeward's chains; explained are packets at the first three of them.
pub(super) fn any_hook(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": Hook::ALL.map(Hook::name) })
}

/// Lists of them.
pub(super) fn any_hooks(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": any_hook(generator) })
}

/// A protocol.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum ProtocolDocument {
    /// Its word.
    Word(&'static str),
    /// Its number.
    Number(u8),
}

impl From<&Packet> for PacketDocument {
    fn from(packet: &Packet) -> Self {
        let (mut opens, mut icmp_type) = (None, None);
        let proto = match packet.payload {
            Payload::Tcp { opens: is_opening, .. } => {
                opens = Some(is_opening);
                ProtocolDocument::Word("tcp")
            }
            Payload::Udp { .. } => ProtocolDocument::Word("udp"),
            Payload::Sctp { .. } => ProtocolDocument::Word("sctp"),
            Payload::Icmp { kind } => {
                icmp_type = Some(kind);
                ProtocolDocument::Word(if packet.source.is_ipv4() { "icmp" } else { "icmpv6" })
            }
            Payload::Other(number) => ProtocolDocument::Number(number),
        };
        let ports = packet.ports();
        Self {
            hook: packet.hook.name(),
            from: packet.source,
            to: packet.destination,
            proto,
            state: packet.state.name(),
            loopback: packet.is_loopback(),
            interface: packet.interface.name().filter(|_| !packet.is_loopback()),
            sport: ports.map(|(sport, _)| sport),
            dport: ports.map(|(_, dport)| dport),
            opens,
            icmp_type,
        }
    }
}
