//! A packet, with the properties that a ruleset can match.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::interface::Interface;
use super::prefix::Family;
use super::protocol::{Protocol, Transport};

/// A netfilter hook where edgeward has a base chain, with the one priority of that chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// To a socket of this host: hook input, priority filter (0).
    Input,
    /// From a socket of this host: hook output, priority filter (0).
    Output,
    /// Through this host: hook forward, priority filter (0).
    Forward,
    /// Where `notrack` applies to what arrives: hook prerouting, priority raw (-300).
    RawPrerouting,
    /// Where `notrack` applies to what this host sends: hook output, priority raw (-300).
    RawOutput,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Hook; 5] = [Hook::Input, Hook::Output, Hook::Forward, Hook::RawPrerouting, Hook::RawOutput];

    /// The name of edgeward's base chain there.
    pub fn name(self) -> &'static str {
        match self {
            Hook::Input => "input",
            Hook::Output => "output",
            Hook::Forward => "forward",
            Hook::RawPrerouting => "raw_prerouting",
            Hook::RawOutput => "raw_output",
        }
    }
}

/// The conntrack state of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CtState {
    /// The first packet of a connection.
    New,
    /// A packet of a known connection.
    Established,
    /// Belongs to a known connection: an ICMP error, the data connection of a helper.
    Related,
    /// Belongs to no connection and cannot open one.
    Invalid,
    /// Not tracked (`notrack`).
    Untracked,
}

impl CtState {
    /// The word that nftables uses.
    pub fn name(self) -> &'static str {
        match self {
            CtState::New => "new",
            CtState::Established => "established",
            CtState::Related => "related",
            CtState::Invalid => "invalid",
            CtState::Untracked => "untracked",
        }
    }
}

/// The direction of a packet within its connection, in conntrack's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CtDirection {
    /// From the side that opens the connection.
    Original,
    /// From the other side.
    Reply,
}

/// One of the two ends of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PacketEnd {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Destination,
}

impl PacketEnd {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            PacketEnd::Source => PacketEnd::Destination,
            PacketEnd::Destination => PacketEnd::Source,
        }
    }
}

/// The payload of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Payload {
    /// A TCP segment.
    Tcp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
        /// Whether neither ACK nor RST is set: such a segment can only open a connection.
        opens: bool,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// A packet of SCTP.
    Sctp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// An ICMP message: ICMPv6 in an IPv6 packet.
    Icmp {
        /// Its type.
        kind: u8,
    },
    /// Any other protocol, by number.
    Other(u8),
}

impl Payload {
    /// What begins a conversation between two ports.
    pub fn opening(transport: Transport, sport: u16, dport: u16) -> Self {
        match transport {
            Transport::Tcp => Payload::Tcp { sport, dport, opens: true },
            Transport::Udp => Payload::Udp { sport, dport },
            Transport::Sctp => Payload::Sctp { sport, dport },
        }
    }

    /// Its protocol and its ports, if it has some: source and destination.
    pub fn transport(self) -> Option<(Transport, u16, u16)> {
        match self {
            Payload::Tcp { sport, dport, .. } => Some((Transport::Tcp, sport, dport)),
            Payload::Udp { sport, dport } => Some((Transport::Udp, sport, dport)),
            Payload::Sctp { sport, dport } => Some((Transport::Sctp, sport, dport)),
            Payload::Icmp { .. } | Payload::Other(_) => None,
        }
    }
}

/// A packet at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packet {
    /// The hook.
    pub hook: Hook,
    /// The interface through which it arrived, or leaves. What is forwarded has none here.
    pub interface: Interface,
    /// Source address; of the same family as the destination.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// The payload of the IP packet.
    pub payload: Payload,
    /// Its conntrack state.
    pub state: CtState,
}

impl Packet {
    /// Whether it arrived or leaves through the loopback interface.
    pub fn is_loopback(&self) -> bool {
        self.interface == Interface::LOOPBACK
    }

    /// The address family.
    pub fn family(&self) -> Family {
        Family::of(self.source)
    }

    /// The number of the protocol above IP.
    pub fn protocol(&self) -> u8 {
        match (self.payload, self.family()) {
            (Payload::Tcp { .. }, _) => Protocol::Tcp.number(),
            (Payload::Udp { .. }, _) => Protocol::Udp.number(),
            (Payload::Sctp { .. }, _) => Protocol::Sctp.number(),
            (Payload::Icmp { .. }, Family::V4) => Protocol::Icmp.number(),
            (Payload::Icmp { .. }, Family::V6) => Protocol::Icmpv6.number(),
            (Payload::Other(number), _) => number,
        }
    }

    /// Source and destination port, for the protocols whose ports rulesets match.
    pub fn ports(&self) -> Option<(u16, u16)> {
        self.payload.transport().map(|(_, source, destination)| (source, destination))
    }

    /// The port at one end, for the protocols whose ports rulesets match.
    pub fn port(&self, end: PacketEnd) -> Option<u16> {
        self.ports().map(|(source, destination)| match end {
            PacketEnd::Source => source,
            PacketEnd::Destination => destination,
        })
    }

    /// The address at one end.
    pub fn address(&self, end: PacketEnd) -> IpAddr {
        match end {
            PacketEnd::Source => self.source,
            PacketEnd::Destination => self.destination,
        }
    }
}

impl fmt::Display for Packet {
    /// `input, tcp 10.0.0.1:40000 to 10.0.0.2:22, new`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interface.name() {
            None => write!(f, "{}, ", self.hook.name())?,
            Some(_) if self.is_loopback() => write!(f, "{} (loopback), ", self.hook.name())?,
            Some(name) => write!(f, "{} (through {name}), ", self.hook.name())?,
        }
        let (source, destination) = (self.source, self.destination);
        match (self.payload.transport(), self.payload) {
            (Some((transport, sport, dport)), _) => {
                let ends = [(source, sport), (destination, dport)].map(SocketAddr::from);
                write!(f, "{} {} to {}", transport.name(), ends[0], ends[1])?;
            }
            (None, Payload::Icmp { kind }) => {
                let name = if self.family() == Family::V4 { "icmp" } else { "icmpv6" };
                write!(f, "{name} type {kind} {source} to {destination}")?;
            }
            (None, _) => match Protocol::numbered(self.protocol()) {
                Some(protocol) => write!(f, "{} {source} to {destination}", protocol.name())?,
                None => write!(f, "protocol {} {source} to {destination}", self.protocol())?,
            },
        }
        let answers = matches!(self.payload, Payload::Tcp { opens: false, .. });
        write!(f, "{}, {}", if answers { ", ack" } else { "" }, self.state.name())
    }
}
