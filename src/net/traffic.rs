//! Which packets of a conversation a flow permits: protocols, ports, ICMP types.

use std::collections::BTreeSet;
use std::fmt;

use super::packet::Protocol;
use super::prefix::Family;
use super::ranges::Ranges;

/// A set of TCP or UDP ports.
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
        /// ICMP types of IPv4.
        icmp: IcmpTypes,
        /// ICMP types of IPv6.
        icmpv6: IcmpTypes,
        /// Protocols by number that have no ports.
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
}

/// What [`Traffic::parse`] reads, for help texts.
pub const TRAFFIC_FORMS: &str = "`tcp/443`, `udp/5000-5010`, `icmp` or `ipip`";

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
        Traffic::Some {
            tcp: PortSet::default(),
            udp: PortSet::default(),
            icmp: IcmpTypes::default(),
            icmpv6: IcmpTypes::default(),
            protocols: BTreeSet::new(),
        }
    }

    /// One TCP port.
    pub fn tcp(port: u16) -> Self {
        Self::with(|tcp, _, _, _, _| *tcp = PortSet::from_iter([(port, port)]))
    }

    fn with(fill: impl FnOnce(&mut PortSet, &mut PortSet, &mut IcmpTypes, &mut IcmpTypes, &mut BTreeSet<u8>)) -> Self {
        let (mut tcp, mut udp, mut icmp, mut icmpv6) = Default::default();
        let mut protocols = BTreeSet::new();
        fill(&mut tcp, &mut udp, &mut icmp, &mut icmpv6, &mut protocols);
        Traffic::Some { tcp, udp, icmp, icmpv6, protocols }
    }

    /// Reads what operators write: `tcp/443`, `udp/5000-5010`, `icmp`, `ipip`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, TrafficError> {
        match text {
            "icmp" => Ok(Self::with(|_, _, icmp, icmpv6, _| (*icmp, *icmpv6) = (IcmpTypes::all(), IcmpTypes::all()))),
            "ipip" => Ok(Self::with(|_, _, _, _, protocols| protocols.extend([Protocol::Ipip.number()]))),
            _ => match text.split_once('/') {
                Some(("tcp", range)) => ports(range).map(|range| Self::with(|tcp, _, _, _, _| *tcp = range)),
                Some(("udp", range)) => ports(range).map(|range| Self::with(|_, udp, _, _, _| *udp = range)),
                Some((protocol, _)) => Err(TrafficError::Protocol(protocol.to_owned())),
                None => Err(TrafficError::Malformed(text.to_owned())),
            },
        }
    }

    /// Reads what the catalog writes: what operators write, `any`, and groups of ICMP types.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse_catalog(text: &str) -> Result<Self, TrafficError> {
        let single = |kinds: &[u8]| kinds.iter().map(|&kind| (kind, kind)).collect();
        match text {
            "any" => Ok(Traffic::Any),
            "icmp-errors" => Ok(Self::with(|_, _, icmp, icmpv6, _| {
                (*icmp, *icmpv6) = (single(&ICMP_ERRORS.0), [ICMP_ERRORS.1].into_iter().collect());
            })),
            "icmp-echo" => Ok(Self::with(|_, _, icmp, icmpv6, _| {
                (*icmp, *icmpv6) = (single(&ICMP_ECHO.0), [ICMP_ECHO.1].into_iter().collect());
            })),
            "neighbour-discovery" => {
                Ok(Self::with(|_, _, _, icmpv6, _| *icmpv6 = NEIGHBOUR_DISCOVERY.into_iter().collect()))
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
            Traffic::Some { tcp, udp, icmp, icmpv6, .. } => Some((tcp, udp, icmp, icmpv6)),
        });
        Traffic::Some {
            tcp: sets.clone().flat_map(|(tcp, ..)| tcp.iter()).collect(),
            udp: sets.clone().flat_map(|(_, udp, ..)| udp.iter()).collect(),
            icmp: sets.clone().flat_map(|(_, _, icmp, _)| icmp.iter()).collect(),
            icmpv6: sets.flat_map(|(.., icmpv6)| icmpv6.iter()).collect(),
            protocols: numbers,
        }
    }

    /// Whether some packet may be in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (
            Traffic::Some { tcp, udp, icmp, icmpv6, protocols },
            Traffic::Some { tcp: tcp2, udp: udp2, icmp: icmp2, icmpv6: icmpv62, protocols: protocols2 },
        ) = (self, other)
        else {
            return true;
        };
        tcp.overlaps(tcp2)
            || udp.overlaps(udp2)
            || icmp.overlaps(icmp2)
            || icmpv6.overlaps(icmpv62)
            || !protocols.is_disjoint(protocols2)
    }

    /// The protocols with their ports and types, one by one, as operators would write them: `tcp/443`, `icmp type 8`.
    pub fn words(&self) -> Vec<String> {
        let Traffic::Some { tcp, udp, icmp, icmpv6, protocols } = self else { return vec!["any".to_owned()] };
        let mut words = Vec::new();
        for (name, ports) in [("tcp", tcp), ("udp", udp)] {
            words.extend(ports.words().into_iter().map(|ports| format!("{name}/{ports}")));
        }
        for (name, kinds) in [("icmp", icmp), ("icmpv6", icmpv6)] {
            words.extend(kinds.iter().map(|range| match range {
                (0, 255) => name.to_owned(),
                (low, high) if low == high => format!("{name} type {low}"),
                (low, high) => format!("{name} types {low}-{high}"),
            }));
        }
        words.extend(protocols.iter().map(|&number| match number == Protocol::Ipip.number() {
            true => "ipip".to_owned(),
            false => format!("protocol {number}"),
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
        let Traffic::Some { tcp, udp, icmp, icmpv6, protocols } = self else { return None };
        if !(tcp.is_empty() && udp.is_empty() && protocols.is_empty()) {
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
        for text in ["tcp/443", "udp/5000-5010", "ipip", "tcp/1-65535"] {
            assert_eq!(Traffic::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Traffic::parse("icmp").unwrap().to_string(), "icmp, icmpv6");
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
        assert!(matches!(error("sctp/80"), TrafficError::Protocol(_)));
        for text in ["443", "any", "tcp", "", "icmp-echo"] {
            assert!(matches!(error(text), TrafficError::Malformed(_)), "{text}");
        }
    }
}
