//! The rules of a security group, as values: what the ECS API can say.

use std::fmt;

pub use crate::catalog::Way;
use crate::net::{Family, Prefix, Protocol};
use crate::yaml::{by_word, words};

/// The protocols that a rule can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP of IPv4, with all its types.
    Icmp,
    /// ICMP of IPv6, with all its types.
    Icmpv6,
    /// Generic routing encapsulation.
    Gre,
    /// Every protocol.
    All,
}

impl IpProtocol {
    /// Every value.
    pub const ALL: &[IpProtocol] = &[Self::Tcp, Self::Udp, Self::Icmp, Self::Icmpv6, Self::Gre, Self::All];

    /// The word as written: those of the protocols are the names that policies have for them.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => Protocol::Tcp.name(),
            Self::Udp => Protocol::Udp.name(),
            Self::Icmp => Protocol::Icmp.name(),
            Self::Icmpv6 => Protocol::Icmpv6.name(),
            Self::Gre => Protocol::Gre.name(),
            Self::All => "all",
        }
    }
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

by_word!(IpProtocol, "The protocols that a rule can name.", IpProtocol::ALL, IpProtocol::word);

words! {
    /// What a rule does with its packets.
    pub enum Permission {
        /// They pass.
        Accept = "accept",
        /// They are dropped without an answer.
        Drop = "drop",
    }
}

/// Ports of TCP or UDP, both ends inclusive; `None` for all of a protocol, which the API writes `-1/-1`.
pub type PortRange = Option<(u16, u16)>;

/// A port range as the API has it: `10250/10250`, `-1/-1`.
pub fn port_range(ports: PortRange) -> String {
    ports.map_or_else(|| "-1/-1".to_owned(), |(first, last)| format!("{first}/{last}"))
}

/// A rule of a security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where its packets go.
    pub way: Way,
    /// Their protocol.
    pub protocol: IpProtocol,
    /// Their destination ports.
    pub ports: PortRange,
    /// The addresses at the other end: destinations of egress, sources of ingress.
    pub remote: Prefix,
    /// Of the addresses of the group's own members, those that it applies to, where not all. Rules of a policy have none.
    pub own: Option<Prefix>,
    /// Their source ports, where not all. Rules of a policy have none.
    pub source_ports: PortRange,
    /// What it does with them.
    pub permission: Permission,
    /// From 1 to 100. Of the rules for a packet those with the lowest number decide, and of these one that drops.
    pub priority: u8,
}

/// The priority of the rules of a policy: no other rule comes before them.
pub const FIRST: u8 = 1;
/// The number of the last priority.
pub const LAST: u8 = 100;

impl Rule {
    /// The family of its packets.
    pub fn family(&self) -> Family {
        self.remote.family()
    }

    /// Its prefix as the API has it: an address is a prefix, too.
    pub fn cidr(&self) -> String {
        self.remote.net().to_string()
    }
}

impl fmt::Display for Rule {
    /// `egress tcp 10250/10250 to 10.0.0.0/8`; what it does and its priority only where they are not the usual ones.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (towards, own) = match self.way {
            Way::Egress => ("to", "from"),
            Way::Ingress => ("from", "to"),
        };
        let ports = port_range(self.ports);
        write!(f, "{} {} {ports} {towards} {}", self.way, self.protocol, self.cidr())?;
        if let Some(prefix) = self.own {
            write!(f, " {own} {}", prefix.net())?;
        }
        if self.source_ports.is_some() {
            write!(f, " source ports {}", port_range(self.source_ports))?;
        }
        if self.permission == Permission::Drop {
            f.write_str(" drop")?;
        }
        if self.priority == FIRST { Ok(()) } else { write!(f, " priority {}", self.priority) }
    }
}
