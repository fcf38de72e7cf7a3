//! A packet, as far as a ruleset can tell packets apart.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::prefix::Family;

/// Where in its way through the host a packet meets edgeward; each place has one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// To a socket of this host: hook input, priority filter (0).
    Input,
    /// From a socket of this host: hook output, priority filter (0).
    Output,
    /// Through this host: hook forward, priority filter (0).
    Forward,
    /// Where what comes in can be kept from conntrack: hook prerouting, priority raw (-300).
    RawPrerouting,
    /// Where what this host sends can be kept from conntrack: hook output, priority raw (-300).
    RawOutput,
}

impl Hook {
    /// All of them.
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

/// What conntrack says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CtState {
    /// The first packet of a flow.
    New,
    /// A packet of a flow that has been seen.
    Established,
    /// Belongs to a flow that has been seen: an ICMP error, the data connection of a helper.
    Related,
    /// Belongs to no flow and cannot begin one.
    Invalid,
    /// Not given to conntrack.
    Untracked,
}

impl CtState {
    /// The name that nftables has for it.
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

/// A protocol above IP that a ruleset names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP of IPv4.
    Icmp,
    /// ICMP of IPv6.
    Icmpv6,
    /// IPv4 in IP, protocol number 4 (RFC 2003).
    Ipip,
}

impl Protocol {
    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
            Protocol::Icmpv6 => "icmpv6",
            Protocol::Ipip => "ipip",
        }
    }

    /// The protocol number (IANA).
    pub fn number(self) -> u8 {
        match self {
            Protocol::Icmp => 1,
            Protocol::Ipip => 4,
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Icmpv6 => 58,
        }
    }
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// `tcp` or `udp`.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }

    /// The protocol.
    pub fn protocol(self) -> Protocol {
        match self {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        }
    }
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

/// What is above IP in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Payload {
    /// A TCP segment.
    Tcp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
        /// Whether it has neither ACK nor RST, so that it can only open a connection.
        opens: bool,
    },
    /// A UDP datagram.
    Udp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// A message of the ICMP of the packet's family.
    Icmp {
        /// Its type.
        kind: u8,
    },
    /// Any other protocol, by number.
    Other(u8),
}

/// A packet at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packet {
    /// Where it is judged.
    pub hook: Hook,
    /// Whether it came in through, or leaves through, the loopback interface.
    pub loopback: bool,
    /// Source address; of the same family as the destination.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// What is above IP.
    pub payload: Payload,
    /// What conntrack says of it.
    pub state: CtState,
}

impl Packet {
    /// The address family.
    pub fn family(&self) -> Family {
        Family::of(self.source)
    }

    /// The number of the protocol above IP.
    pub fn protocol(&self) -> u8 {
        match (self.payload, self.family()) {
            (Payload::Tcp { .. }, _) => Protocol::Tcp.number(),
            (Payload::Udp { .. }, _) => Protocol::Udp.number(),
            (Payload::Icmp { .. }, Family::V4) => Protocol::Icmp.number(),
            (Payload::Icmp { .. }, Family::V6) => Protocol::Icmpv6.number(),
            (Payload::Other(number), _) => number,
        }
    }

    /// Source and destination port, where the protocol has ports that rulesets look at.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.payload {
            Payload::Tcp { sport, dport, .. } | Payload::Udp { sport, dport } => Some((sport, dport)),
            Payload::Icmp { .. } | Payload::Other(_) => None,
        }
    }

    /// The port at one end, where the protocol has ports that rulesets look at.
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
        let place = if self.loopback { " (loopback)" } else { "" };
        write!(f, "{}{place}, ", self.hook.name())?;
        let (source, destination) = (self.source, self.destination);
        match self.payload {
            Payload::Tcp { sport, dport, .. } | Payload::Udp { sport, dport } => {
                let transport =
                    if matches!(self.payload, Payload::Tcp { .. }) { Transport::Tcp } else { Transport::Udp };
                let ends = [(source, sport), (destination, dport)].map(SocketAddr::from);
                write!(f, "{} {} to {}", transport.name(), ends[0], ends[1])?;
            }
            Payload::Icmp { kind } => {
                let name = if self.family() == Family::V4 { "icmp" } else { "icmpv6" };
                write!(f, "{name} type {kind} {source} to {destination}")?;
            }
            Payload::Other(number) => write!(f, "protocol {number} {source} to {destination}")?,
        }
        let answers = matches!(self.payload, Payload::Tcp { opens: false, .. });
        write!(f, "{}, {}", if answers { ", ack" } else { "" }, self.state.name())
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Goes on.
    Accept,
    /// Vanishes.
    Drop,
    /// Vanishes, and the sender is told (ICMP administratively prohibited).
    Reject,
}

impl Verdict {
    /// `accept`, `drop` or `reject`.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Accept => "accept",
            Verdict::Drop => "drop",
            Verdict::Reject => "reject",
        }
    }
}
