//! Which packets of a conversation a flow permits: protocols, ports, ICMP types.

use std::collections::BTreeSet;
use std::fmt;

use super::prefix::Family;
use super::protocol::{Protocol, Transport};
use super::ranges::Ranges;

/// A set of ports of TCP, UDP or SCTP.
pub type PortSet = Ranges<u16>;

/// A set of ICMP or ICMPv6 types.
pub type IcmpTypes = Ranges<u8>;

/// The protocols of a flow, with their ports and types.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Traffic {
    /// Every protocol.
    Any,
    /// What is listed.
    Some {
        /// TCP destination ports.
        tcp: PortSet,
        /// UDP destination ports.
        udp: PortSet,
        /// SCTP destination ports.
        sctp: PortSet,
        /// ICMP types of IPv4.
        icmp: IcmpTypes,
        /// ICMP types of IPv6.
        icmpv6: IcmpTypes,
        /// Protocols by number that have neither ports nor types.
        protocols: BTreeSet<u8>,
    },
}

/// Why a text is not a protocol and port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrafficError {
    /// It is neither a known word nor has a slash.
    #[error("`{0}` is not a protocol and port")]
    Malformed(String),
    /// The part before the slash is not a protocol with ports.
    #[error("`{0}` is not a protocol with ports")]
    Protocol(String),
    /// The part after the slash is not a port.
    #[error("`{0}` is not a port from 1 to 65535")]
    Port(String),
    /// The first port is above the last.
    #[error("the range `{0}` is reversed")]
    Reversed(String),
    /// The part after `protocol/` is not the number of a protocol.
    #[error("`{0}` is not a protocol number from 0 to 255")]
    Number(String),
    /// A number stands for a protocol whose ports or types are matched.
    #[error("protocol {} is `{}`, which is written by its name", .0.number(), .0.name())]
    Parts(Protocol),
}

/// What [`Traffic::parse`] reads, for help texts.
pub const TRAFFIC_FORMS: &str =
    "`tcp/443`, `udp/5000-5010`, `sctp/38412`, `icmp`, `ipip`, `gre`, `esp`, `ah`, `vrrp` or `protocol/89`";

/// Errors (RFC 792: unreachable, time exceeded, parameter problem; RFC 4443 section 3).
const ICMP_ERRORS: ([u8; 3], (u8, u8)) = ([3, 11, 12], (1, 4));
/// Echo reply and request (RFC 792; RFC 4443 section 4).
const ICMP_ECHO: ([u8; 2], (u8, u8)) = ([0, 8], (128, 129));
/// Router and neighbour solicitation and advertisement (RFC 4861), and multicast listener messages (RFC 2710 and
/// RFC 3810): switches with MLD snooping lose neighbour discovery without those. Redirects are left out.
const NEIGHBOUR_DISCOVERY: [(u8, u8); 2] = [(130, 136), (143, 143)];

/// The port of DHCP servers (RFC 2131 section 4.1).
const DHCP_SERVER: u16 = 67;
/// Protocol number of IGMP (RFC 3376 section 4).
const IGMP: u8 = 2;

/// Reads a port from 1 to 65535: digits, and no leading zero.
///
/// # Errors
/// It is not such a port.
pub fn parse_port(text: &str) -> Result<u16, TrafficError> {
    let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten().ok_or_else(|| TrafficError::Port(text.to_owned()))
}

/// Reads the number of a protocol: digits, and no leading zero.
fn parse_number(text: &str) -> Result<u8, TrafficError> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    plain.then(|| text.parse().ok()).flatten().ok_or_else(|| TrafficError::Number(text.to_owned()))
}

fn ports(text: &str) -> Result<PortSet, TrafficError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_port(first)?, parse_port(last)?);
    if first > last {
        return Err(TrafficError::Reversed(text.to_owned()));
    }
    Ok(PortSet::from_iter([(first, last)]))
}

impl Traffic {
    /// No traffic, to build a union from.
    pub fn none() -> Self {
        Self::of_types(IcmpTypes::default(), IcmpTypes::default())
    }

    /// One TCP port.
    pub fn tcp(port: u16) -> Self {
        Self::of_ports(Transport::Tcp, PortSet::from_iter([(port, port)]))
    }

    fn of_types(icmp: IcmpTypes, icmpv6: IcmpTypes) -> Self {
        let [tcp, udp, sctp] = Default::default();
        Traffic::Some { tcp, udp, sctp, icmp, icmpv6, protocols: BTreeSet::new() }
    }

    fn of_ports(transport: Transport, ports: PortSet) -> Self {
        let mut traffic = Self::none();
        if let Traffic::Some { tcp, udp, sctp, .. } = &mut traffic {
            match transport {
                Transport::Tcp => *tcp = ports,
                Transport::Udp => *udp = ports,
                Transport::Sctp => *sctp = ports,
            }
        }
        traffic
    }

    /// One protocol that has neither ports nor types.
    pub fn of_protocol(number: u8) -> Self {
        let mut traffic = Self::none();
        if let Traffic::Some { protocols, .. } = &mut traffic {
            protocols.insert(number);
        }
        traffic
    }

    /// Reads what operators write: `tcp/443`, `udp/5000-5010`, `sctp/38412`, `icmp`, `vrrp`, `protocol/89`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, TrafficError> {
        let Some((before, after)) = text.split_once('/') else {
            return match Protocol::named(text) {
                Some(Protocol::Icmp) => Ok(Self::of_types(IcmpTypes::all(), IcmpTypes::all())),
                Some(protocol) if !protocol.has_parts() => Ok(Self::of_protocol(protocol.number())),
                _ => Err(TrafficError::Malformed(text.to_owned())),
            };
        };
        if before == "protocol" {
            let number = parse_number(after)?;
            let known = Protocol::numbered(number).filter(|protocol| protocol.has_parts());
            return known.map_or_else(|| Ok(Self::of_protocol(number)), |protocol| Err(TrafficError::Parts(protocol)));
        }
        let transport = Protocol::named(before).and_then(Transport::of);
        let transport = transport.ok_or_else(|| TrafficError::Protocol(before.to_owned()))?;
        Ok(Self::of_ports(transport, ports(after)?))
    }

    /// Reads what the catalog writes: what operators write, `any`, and groups of ICMP types.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse_catalog(text: &str) -> Result<Self, TrafficError> {
        let single = |kinds: &[u8]| kinds.iter().map(|&kind| (kind, kind)).collect();
        match text {
            "any" => Ok(Traffic::Any),
            "icmp-errors" => Ok(Self::of_types(single(&ICMP_ERRORS.0), [ICMP_ERRORS.1].into_iter().collect())),
            "icmp-echo" => Ok(Self::of_types(single(&ICMP_ECHO.0), [ICMP_ECHO.1].into_iter().collect())),
            "neighbour-discovery" => {
                Ok(Self::of_types(IcmpTypes::default(), NEIGHBOUR_DISCOVERY.into_iter().collect()))
            }
            _ => Self::parse(text),
        }
    }

    /// The traffic that is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::union_of([self, other].into_iter())
    }

    /// The traffic that is in any of several: one pass over all, since a row may have thousands of ports.
    pub fn union_of<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let mut numbers = BTreeSet::new();
        for traffic in all.clone() {
            match traffic {
                Traffic::Any => return Traffic::Any,
                Traffic::Some { protocols, .. } => numbers.extend(protocols),
            }
        }
        let sets = all.filter_map(|traffic| match traffic {
            Traffic::Any => None,
            Traffic::Some { tcp, udp, sctp, icmp, icmpv6, .. } => Some(([tcp, udp, sctp], [icmp, icmpv6])),
        });
        let ports = |index: usize| sets.clone().flat_map(move |(ports, _)| ports[index].iter()).collect();
        let types = |index: usize| sets.clone().flat_map(move |(_, types)| types[index].iter()).collect();
        Traffic::Some {
            tcp: ports(0),
            udp: ports(1),
            sctp: ports(2),
            icmp: types(0),
            icmpv6: types(1),
            protocols: numbers,
        }
    }

    /// The ports of a protocol: none in any traffic, which does not name them.
    pub fn ports(&self, transport: Transport) -> Option<&PortSet> {
        let Traffic::Some { tcp, udp, sctp, .. } = self else { return None };
        let ports = match transport {
            Transport::Tcp => tcp,
            Transport::Udp => udp,
            Transport::Sctp => sctp,
        };
        Some(ports).filter(|ports| !ports.is_empty())
    }

    /// The protocols whose ports it names, with the ports.
    pub fn transports(&self) -> impl Iterator<Item = (Transport, &PortSet)> {
        Transport::ALL.into_iter().filter_map(|transport| Some((transport, self.ports(transport)?)))
    }

    /// Whether some packet may be in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (
            Traffic::Some { icmp, icmpv6, protocols, .. },
            Traffic::Some { icmp: icmp2, icmpv6: icmpv62, protocols: protocols2, .. },
        ) = (self, other)
        else {
            return true;
        };
        self.transports().any(|(transport, ports)| other.ports(transport).is_some_and(|others| ports.overlaps(others)))
            || icmp.overlaps(icmp2)
            || icmpv6.overlaps(icmpv62)
            || !protocols.is_disjoint(protocols2)
    }

    /// The protocols with their ports and types, one by one, as operators would write them: `tcp/443`, `icmp type 8`.
    pub fn words(&self) -> Vec<String> {
        let Traffic::Some { icmp, icmpv6, protocols, .. } = self else { return vec!["any".to_owned()] };
        let mut words = Vec::new();
        for (transport, ports) in self.transports() {
            words.extend(ports.words().into_iter().map(|ports| format!("{}/{ports}", transport.name())));
        }
        for (name, kinds) in [("icmp", icmp), ("icmpv6", icmpv6)] {
            words.extend(kinds.iter().map(|range| match range {
                (0, 255) => name.to_owned(),
                (low, high) if low == high => format!("{name} type {low}"),
                (low, high) => format!("{name} types {low}-{high}"),
            }));
        }
        words.extend(protocols.iter().map(|&number| match Protocol::numbered(number) {
            Some(protocol) => protocol.name().to_owned(),
            None => format!("protocol/{number}"),
        }));
        words
    }

    /// Whether all of it is exchanged by two hosts, none sent to a group.
    pub fn is_between_two(&self) -> bool {
        let Traffic::Some { udp, icmp, icmpv6, protocols, .. } = self else { return false };
        udp.is_empty() && icmp.is_empty() && icmpv6.is_empty() && protocols.is_empty()
    }

    /// Whether some of it is sent by hosts that have no address yet: to DHCP servers, and IGMP.
    pub fn may_lack_source(&self) -> bool {
        let Traffic::Some { udp, protocols, .. } = self else { return true };
        udp.contains(DHCP_SERVER) || protocols.contains(&IGMP)
    }

    /// Whether no packet is of it.
    pub fn is_none(&self) -> bool {
        *self == Self::none()
    }

    /// Whether all of it is of protocols with ports.
    pub fn has_ports_only(&self) -> bool {
        matches!(self, Traffic::Some { icmp, icmpv6, protocols, .. }
            if icmp.is_empty() && icmpv6.is_empty() && protocols.is_empty())
    }

    /// What of it exists in a family: messages of ICMP belong to IPv4, those of ICMPv6 to IPv6.
    #[must_use]
    pub fn only(&self, family: Family) -> Self {
        let mut traffic = self.clone();
        if let Traffic::Some { icmp, icmpv6, .. } = &mut traffic {
            match family {
                Family::V4 => *icmpv6 = IcmpTypes::default(),
                Family::V6 => *icmp = IcmpTypes::default(),
            }
        }
        traffic
    }

    /// The only family that has such packets: messages of ICMP belong to IPv4, those of ICMPv6 to IPv6.
    pub fn family(&self) -> Option<Family> {
        let Traffic::Some { icmp, icmpv6, protocols, .. } = self else { return None };
        if self.transports().next().is_some() || !protocols.is_empty() {
            return None;
        }
        match (icmp.is_empty(), icmpv6.is_empty()) {
            (false, true) => Some(Family::V4),
            (true, false) => Some(Family::V6),
            _ => None,
        }
    }
}

impl fmt::Display for Traffic {
    /// What operators would write, separated by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_shown_as_written() {
        for text in [
            "tcp/443",
            "udp/5000-5010",
            "sctp/38412",
            "tcp/1-65535",
            "ipip",
            "gre",
            "esp",
            "ah",
            "vrrp",
            "protocol/0",
            "protocol/89",
            "protocol/255",
        ] {
            assert_eq!(Traffic::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Traffic::parse("icmp").unwrap().to_string(), "icmp, icmpv6");
        assert_eq!(Traffic::parse("protocol/112"), Traffic::parse("vrrp"));
    }

    #[test]
    fn a_family_has_its_own_messages() {
        let icmp = Traffic::parse("icmp").unwrap();
        assert_eq!(icmp.only(Family::V4).to_string(), "icmp");
        assert_eq!(icmp.only(Family::V6).to_string(), "icmpv6");
        assert!(icmp.only(Family::V4).only(Family::V6).is_none());
        let tcp = Traffic::parse("tcp/443").unwrap();
        assert_eq!((tcp.only(Family::V6), tcp.is_none()), (tcp.clone(), false));
        assert_eq!(Traffic::Any.only(Family::V4), Traffic::Any);
    }

    #[test]
    fn invalid_ports_say_what_is_wrong() {
        let error = |text: &str| Traffic::parse(text).unwrap_err();
        for text in
            ["tcp/0", "tcp/65536", "tcp/", "tcp/08", "tcp/+80", "tcp/http", "tcp/1-", "tcp/-1", "tcp/1-2-3", "tcp/ 80"]
        {
            assert!(matches!(error(text), TrafficError::Port(_)), "{text}");
        }
        assert!(matches!(error("udp/5010-5000"), TrafficError::Reversed(_)));
        for text in ["dccp/80", "vrrp/80", "icmp/8"] {
            assert!(matches!(error(text), TrafficError::Protocol(_)), "{text}");
        }
        for text in ["protocol/256", "protocol/", "protocol/01", "protocol/+1", "protocol/esp", "protocol/1-2"] {
            assert!(matches!(error(text), TrafficError::Number(_)), "{text}");
        }
        for number in [1, 6, 17, 58, 132] {
            assert!(matches!(error(&format!("protocol/{number}")), TrafficError::Parts(_)), "{number}");
        }
        for text in ["443", "any", "tcp", "", "icmp-echo", "icmpv6", "sctp"] {
            assert!(matches!(error(text), TrafficError::Malformed(_)), "{text}");
        }
    }
}
