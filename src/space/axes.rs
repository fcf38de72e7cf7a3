//! The dimensions of packet space, each cut into classes: values that no condition distinguishes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::classes::{Classes, Runs};
use super::condition::{Condition, LOOPBACK};
use crate::net::{
    CtState, Family, Hook, IcmpTypes, Interface, Interfaces, Packet, PacketEnd, Payload, PortSet, PrefixSet, Protocol,
    Ranges,
};

/// A dimension of packet space.
///
/// The order is that of the nodes in a diagram, see [`Axes::ranks`]. What rules match first and what has few values comes
/// first. The destination port comes before the addresses, since most rules are about one service. The source port comes
/// after them: where replies have rules of their own, a peer has few services that reply, and these cases must not
/// multiply with those of the destination ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Axis {
    Hook,
    Interface,
    Family,
    State,
    Protocol,
    IcmpType,
    /// The destination port of TCP, UDP and SCTP.
    Dport,
    Destination4,
    Destination6,
    Source4,
    Source6,
    Sport,
    /// Whether a TCP segment can only open a connection.
    Opens,
}

impl Axis {
    pub(super) const ALL: [Axis; 13] = [
        Axis::Hook,
        Axis::Interface,
        Axis::Family,
        Axis::State,
        Axis::Protocol,
        Axis::IcmpType,
        Axis::Dport,
        Axis::Destination4,
        Axis::Destination6,
        Axis::Source4,
        Axis::Source6,
        Axis::Sport,
        Axis::Opens,
    ];

    pub(super) fn of_port(end: PacketEnd) -> Self {
        match end {
            PacketEnd::Source => Axis::Sport,
            PacketEnd::Destination => Axis::Dport,
        }
    }

    pub(super) fn of_address(end: PacketEnd, family: Family) -> Self {
        match (end, family) {
            (PacketEnd::Source, Family::V4) => Axis::Source4,
            (PacketEnd::Source, Family::V6) => Axis::Source6,
            (PacketEnd::Destination, Family::V4) => Axis::Destination4,
            (PacketEnd::Destination, Family::V6) => Axis::Destination6,
        }
    }
}

/// States in the order in which a witness prefers them. A state's index is its class.
pub(super) const STATES: [CtState; 5] =
    [CtState::New, CtState::Untracked, CtState::Established, CtState::Related, CtState::Invalid];

/// Each number as a set of itself.
static SINGLES: [[(u8, u8); 1]; 256] = {
    let mut singles = [[(0, 0)]; 256];
    let mut number = 0;
    while number < 256 {
        singles[number] = [(number as u8, number as u8)];
        number += 1;
    }
    singles
};

/// The set of one protocol number.
fn single(number: u8) -> &'static [(u8, u8)] {
    &SINGLES[usize::from(number)]
}

/// All axes, cut at the values of conditions.
#[derive(Debug)]
pub(super) struct Axes<'a> {
    interfaces: Classes<'a, u128>,
    protocols: Classes<'a, u8>,
    dports: Classes<'a, u16>,
    icmp: Classes<'a, u8>,
    sports: Classes<'a, u16>,
    source4: Classes<'a, u32>,
    source6: Classes<'a, u128>,
    destination4: Classes<'a, u32>,
    destination6: Classes<'a, u128>,
}

/// The values that a witness has if it may: addresses for documentation (RFC 5737, RFC 3849), ports that are not
/// registered, a protocol number for experiments (RFC 3692).
///
/// The two ends differ: a packet from an address to itself goes through the loopback interface.
const USUAL_PROTOCOLS: [u8; 6] = [6, 17, 1, 58, 4, 253];
/// Echo requests of either family.
const USUAL_TYPES: [u8; 2] = [8, 128];
const USUAL_SOURCE: (u32, u128, u16) = (0xcb00_7101, 0x2001_0db8_0000_0000_0000_0000_0000_0001, 40_000);
const USUAL_DESTINATION: (u32, u128, u16) = (0xc633_6401, 0x2001_0db8_0000_0000_0000_0000_0000_0002, 50_000);

/// With so many nodes any order of the axes is fast.
const MAX_NODES: usize = 20_000;

impl<'a> Axes<'a> {
    pub(super) fn new<'c>(conditions: impl IntoIterator<Item = &'c Condition<'a>>) -> Self
    where
        'a: 'c,
    {
        // Protocols with ports or types have classes of their own: other properties of a packet depend on them.
        let named = Protocol::ALL.into_iter().filter(|protocol| protocol.has_parts());
        let mut protocols: BTreeSet<&'a [(u8, u8)]> = named.map(|protocol| single(protocol.number())).collect();
        let (mut dports, mut sports, mut icmp) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let [mut source4, mut destination4]: [BTreeSet<&'a [(u32, u32)]>; 2] = Default::default();
        let [mut source6, mut destination6]: [BTreeSet<&'a [(u128, u128)]>; 2] = Default::default();
        let mut interfaces: BTreeSet<&'a [(u128, u128)]> = [LOOPBACK.as_slice()].into();
        for condition in conditions {
            condition.leaves(&mut |leaf| match leaf {
                Condition::Interface(_, names) => drop(interfaces.insert(*names)),
                Condition::Port(_, PacketEnd::Source, ports) => drop(sports.insert(*ports)),
                Condition::Port(_, PacketEnd::Destination, ports) => drop(dports.insert(*ports)),
                Condition::Icmp(_, types) => drop(icmp.insert(types.as_slice())),
                Condition::Protocol(number) => drop(protocols.insert(single(*number))),
                Condition::Address(end, set) => {
                    let (v4, v6) = match end {
                        PacketEnd::Source => (&mut source4, &mut source6),
                        PacketEnd::Destination => (&mut destination4, &mut destination6),
                    };
                    v4.insert(set.v4().as_slice());
                    v6.insert(set.v6().as_slice());
                }
                _ => {}
            });
        }
        let usual: Vec<u128> = usual_interfaces(&interfaces).map(Interface::number).collect();
        Self {
            interfaces: Classes::new(interfaces, &usual),
            protocols: Classes::new(protocols, &USUAL_PROTOCOLS),
            dports: Classes::new(dports, &[USUAL_DESTINATION.2]),
            icmp: Classes::new(icmp, &USUAL_TYPES),
            sports: Classes::new(sports, &[USUAL_SOURCE.2]),
            source4: Classes::new(source4, &[USUAL_SOURCE.0]),
            source6: Classes::new(source6, &[USUAL_SOURCE.1]),
            destination4: Classes::new(destination4, &[USUAL_DESTINATION.0]),
            destination6: Classes::new(destination6, &[USUAL_DESTINATION.1]),
        }
    }

    /// The place of each axis in the diagrams.
    ///
    /// It is that of [`Axis`], but the destination port comes after the addresses if there would be too many nodes: each
    /// class of ports has one for all peers that use it, and for all that reply from a port of their own. That is much
    /// if ranges of ports overlap, or if there are many replies, and each class of peers has few services.
    pub(super) fn ranks(&self) -> [u8; Axis::ALL.len()] {
        let ends = [
            (self.source4.count(), self.source4.memberships()),
            (self.destination4.count(), self.destination4.memberships()),
            (self.source6.count(), self.source6.memberships()),
            (self.destination6.count(), self.destination6.memberships()),
        ];
        let most = |numbers: [usize; 4]| numbers.into_iter().max().unwrap_or_default();
        let replies =
            if self.sports.count() > 1 { self.dports.count() * most(ends.map(|(count, _)| count)) } else { 0 };
        let ports_first = self.dports.memberships() + replies;
        let ports_last = ports_first > MAX_NODES.max(most(ends.map(|(_, memberships)| memberships)));
        let rank = |axis: Axis| match axis {
            Axis::Dport if ports_last => Axis::Source6 as u8,
            Axis::Destination4 | Axis::Destination6 | Axis::Source4 | Axis::Source6 if ports_last => axis as u8 - 1,
            _ => axis as u8,
        };
        Axis::ALL.map(rank)
    }

    /// How many classes an axis has.
    pub(super) fn count(&self, axis: Axis) -> u32 {
        let count = match axis {
            Axis::Hook => Hook::ALL.len(),
            Axis::Interface => self.interfaces.count(),
            Axis::Family | Axis::Opens => 2,
            Axis::State => STATES.len(),
            Axis::Protocol => self.protocols.count(),
            Axis::Dport => self.dports.count(),
            Axis::IcmpType => self.icmp.count(),
            Axis::Sport => self.sports.count(),
            Axis::Source4 => self.source4.count(),
            Axis::Source6 => self.source6.count(),
            Axis::Destination4 => self.destination4.count(),
            Axis::Destination6 => self.destination6.count(),
        };
        count as u32
    }

    /// The class of a packet on an axis. If a packet has no such property, any class will do.
    pub(super) fn class(&self, axis: Axis, packet: &Packet) -> u32 {
        match (axis, packet.source, packet.destination) {
            (Axis::Hook, ..) => hook_class(packet.hook),
            (Axis::Interface, ..) => self.interfaces.class(packet.interface.number()),
            (Axis::Family, ..) => family_class(packet.family()),
            (Axis::State, ..) => state_class(packet.state),
            (Axis::Protocol, ..) => self.protocols.class(packet.protocol()),
            (Axis::Dport, ..) => packet.port(PacketEnd::Destination).map_or(0, |port| self.dports.class(port)),
            (Axis::Sport, ..) => packet.port(PacketEnd::Source).map_or(0, |port| self.sports.class(port)),
            (Axis::IcmpType, ..) => match packet.payload {
                Payload::Icmp { kind } => self.icmp.class(kind),
                _ => 0,
            },
            (Axis::Opens, ..) => u32::from(matches!(packet.payload, Payload::Tcp { opens: true, .. })),
            (Axis::Source4, IpAddr::V4(address), _) => self.source4.class(address.to_bits()),
            (Axis::Source6, IpAddr::V6(address), _) => self.source6.class(address.to_bits()),
            (Axis::Destination4, _, IpAddr::V4(address)) => self.destination4.class(address.to_bits()),
            (Axis::Destination6, _, IpAddr::V6(address)) => self.destination6.class(address.to_bits()),
            (Axis::Source4 | Axis::Source6 | Axis::Destination4 | Axis::Destination6, ..) => 0,
        }
    }

    /// The classes of a set of ports. The axis must have been cut at it.
    pub(super) fn ports(&self, end: PacketEnd, ports: &[(u16, u16)]) -> &Runs {
        match end {
            PacketEnd::Source => self.sports.members(ports),
            PacketEnd::Destination => self.dports.members(ports),
        }
    }

    /// The classes of a set of interfaces.
    pub(super) fn interfaces(&self, names: &[(u128, u128)]) -> &Runs {
        self.interfaces.members(names)
    }

    /// The interfaces of some classes.
    pub(super) fn interfaces_in(&self, classes: &Runs) -> Interfaces {
        self.interfaces.values(classes).into()
    }

    /// The classes of a set of ICMP types.
    pub(super) fn icmp_types(&self, types: &IcmpTypes) -> &Runs {
        self.icmp.members(types.as_slice())
    }

    /// The class of a protocol number.
    pub(super) fn protocol(&self, number: u8) -> &Runs {
        self.protocols.members(single(number))
    }

    /// The classes of the addresses that a set has in a family.
    pub(super) fn addresses(&self, end: PacketEnd, family: Family, set: &PrefixSet) -> &Runs {
        match (end, family) {
            (PacketEnd::Source, Family::V4) => self.source4.members(set.v4().as_slice()),
            (PacketEnd::Source, Family::V6) => self.source6.members(set.v6().as_slice()),
            (PacketEnd::Destination, Family::V4) => self.destination4.members(set.v4().as_slice()),
            (PacketEnd::Destination, Family::V6) => self.destination6.members(set.v6().as_slice()),
        }
    }

    /// The protocol numbers of some classes.
    pub(super) fn protocols_in(&self, classes: &Runs) -> Ranges<u8> {
        self.protocols.values(classes)
    }

    /// The ports of some classes.
    pub(super) fn ports_in(&self, end: PacketEnd, classes: &Runs) -> PortSet {
        match end {
            PacketEnd::Source => self.sports.values(classes),
            PacketEnd::Destination => self.dports.values(classes),
        }
    }

    /// The ICMP types of some classes.
    pub(super) fn icmp_types_in(&self, classes: &Runs) -> IcmpTypes {
        self.icmp.values(classes)
    }

    /// The addresses of some classes.
    pub(super) fn addresses_in(&self, end: PacketEnd, family: Family, classes: &Runs) -> PrefixSet {
        let (v4, v6) = match (end, family) {
            (PacketEnd::Source, Family::V4) => (self.source4.values(classes), Ranges::default()),
            (PacketEnd::Source, Family::V6) => (Ranges::default(), self.source6.values(classes)),
            (PacketEnd::Destination, Family::V4) => (self.destination4.values(classes), Ranges::default()),
            (PacketEnd::Destination, Family::V6) => (Ranges::default(), self.destination6.values(classes)),
        };
        PrefixSet::from((v4, v6))
    }

    /// The packet of a cell: one class on each axis.
    pub(super) fn packet(&self, cell: impl Fn(Axis) -> u32) -> Packet {
        let at = |axis| cell(axis) as usize;
        let (sport, dport) = (self.sports.representative(at(Axis::Sport)), self.dports.representative(at(Axis::Dport)));
        let v6 = at(Axis::Family) == 1;
        let protocol = self.protocols.representative(at(Axis::Protocol));
        let icmp = if v6 { Protocol::Icmpv6 } else { Protocol::Icmp };
        let payload = match protocol {
            _ if protocol == Protocol::Tcp.number() => Payload::Tcp { sport, dport, opens: at(Axis::Opens) == 1 },
            _ if protocol == Protocol::Udp.number() => Payload::Udp { sport, dport },
            _ if protocol == Protocol::Sctp.number() => Payload::Sctp { sport, dport },
            _ if protocol == icmp.number() => Payload::Icmp { kind: self.icmp.representative(at(Axis::IcmpType)) },
            _ => Payload::Other(protocol),
        };
        let address = |v4: u32, v6_bits: u128| match v6 {
            false => IpAddr::from(Ipv4Addr::from_bits(v4)),
            true => IpAddr::from(Ipv6Addr::from_bits(v6_bits)),
        };
        Packet {
            hook: Hook::ALL[at(Axis::Hook)],
            interface: Interface::from_number(self.interfaces.representative(at(Axis::Interface))),
            source: address(
                self.source4.representative(at(Axis::Source4)),
                self.source6.representative(at(Axis::Source6)),
            ),
            destination: address(
                self.destination4.representative(at(Axis::Destination4)),
                self.destination6.representative(at(Axis::Destination6)),
            ),
            payload,
            state: STATES[at(Axis::State)],
        }
    }

    /// The classes of an axis that a witness prefers, in order.
    pub(super) fn usual(&self, axis: Axis) -> Vec<u32> {
        match axis {
            // TCP, UDP and ICMP before other protocols.
            Axis::Protocol => USUAL_PROTOCOLS.map(|number| self.protocols.class(number)).to_vec(),
            Axis::Opens => vec![1],
            Axis::Dport => vec![self.dports.class(USUAL_DESTINATION.2)],
            Axis::Sport => vec![self.sports.class(USUAL_SOURCE.2)],
            Axis::IcmpType => USUAL_TYPES.map(|kind| self.icmp.class(kind)).to_vec(),
            Axis::Source4 => vec![self.source4.class(USUAL_SOURCE.0)],
            Axis::Source6 => vec![self.source6.class(USUAL_SOURCE.1)],
            Axis::Destination4 => vec![self.destination4.class(USUAL_DESTINATION.0)],
            Axis::Destination6 => vec![self.destination6.class(USUAL_DESTINATION.1)],
            Axis::Interface => vec![self.interfaces.class(Interface::default().number())],
            Axis::Hook | Axis::Family | Axis::State => vec![0],
        }
    }
}

/// The interfaces that a witness prefers: one without a name in the rules, and of those with a common beginning one
/// with a number.
fn usual_interfaces(sets: &BTreeSet<&[(u128, u128)]>) -> impl Iterator<Item = Interface> {
    let several = sets.iter().copied().flatten().filter(|(low, high)| low < high);
    let numbered = several.filter_map(|(low, _)| format!("{}0", Interface::from_number(*low)).parse().ok());
    [Interface::default()].into_iter().chain(numbered)
}

pub(super) fn hook_class(hook: Hook) -> u32 {
    Hook::ALL.iter().position(|&other| other == hook).unwrap_or_default() as u32
}

pub(super) fn family_class(family: Family) -> u32 {
    u32::from(family == Family::V6)
}

pub(super) fn state_class(state: CtState) -> u32 {
    STATES.iter().position(|&other| other == state).unwrap_or_default() as u32
}
