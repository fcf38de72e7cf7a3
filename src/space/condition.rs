//! Conditions on packets: matches of rules and clauses of a policy are translated to these.

use crate::net::{
    CtState, Family, Hook, IcmpTypes, InterfacePattern, Packet, PacketEnd, Payload, PrefixSet, Transport, within,
};

/// A condition on a packet.
///
/// It has two readings that must agree: [`Condition::holds`] tests one packet, and a [`Region`](super::Region) has all
/// packets for which it holds.
#[derive(Clone, Debug)]
pub enum Condition<'a> {
    /// The packet is at this hook.
    Hook(Hook),
    /// It arrived through one of these interfaces (`Source`), or leaves through one (`Destination`); the numbers of
    /// their names, in order and disjoint.
    Interface(PacketEnd, &'a [(u128, u128)]),
    /// Its conntrack state is one of these.
    State(&'a [CtState]),
    /// It is of this family.
    Family(Family),
    /// Its address at one end is in the set.
    Address(PacketEnd, &'a PrefixSet),
    /// It is of this protocol, and its port at one end is in one of these inclusive ranges, in order and disjoint.
    Port(Transport, PacketEnd, &'a [(u16, u16)]),
    /// It is an ICMP message of the family with one of these types.
    Icmp(Family, &'a IcmpTypes),
    /// It has this protocol number.
    Protocol(u8),
    /// It is a TCP segment that cannot open a connection: ACK or RST is set.
    NotOpening,
    /// All of these hold. An empty list always holds.
    All(Vec<Condition<'a>>),
    /// One of these holds. An empty list never holds.
    Any(Vec<Condition<'a>>),
    /// This does not hold.
    Not(Box<Condition<'a>>),
}

/// The loopback interface.
pub(super) static LOOPBACK: InterfacePattern = InterfacePattern::LOOPBACK;

/// The hooks at which a packet has an input interface, and those at which it has an output interface.
pub(super) const IN_HOOKS: [Hook; 3] = [Hook::Input, Hook::Forward, Hook::RawPrerouting];
pub(super) const OUT_HOOKS: [Hook; 3] = [Hook::Output, Hook::Forward, Hook::RawOutput];

impl<'a> Condition<'a> {
    /// The condition that always holds.
    pub fn always() -> Self {
        Condition::All(Vec::new())
    }

    /// The condition that never holds.
    pub fn never() -> Self {
        Condition::Any(Vec::new())
    }

    /// The condition that the packet goes through the loopback interface.
    pub fn loopback(end: PacketEnd) -> Self {
        Condition::Interface(end, LOOPBACK.as_slice())
    }

    /// Whether the condition holds for a packet.
    pub fn holds(&self, packet: &Packet) -> bool {
        match self {
            Condition::Hook(hook) => packet.hook == *hook,
            Condition::Interface(end, interfaces) => {
                interface_hooks(*end).contains(&packet.hook) && within(interfaces, packet.interface.number())
            }
            Condition::State(states) => states.contains(&packet.state),
            Condition::Family(family) => packet.family() == *family,
            Condition::Address(end, set) => set.contains(packet.address(*end)),
            Condition::Port(transport, end, ports) => {
                packet.protocol() == transport.protocol().number()
                    && packet.port(*end).is_some_and(|port| within(ports, port))
            }
            Condition::Icmp(family, types) => match packet.payload {
                Payload::Icmp { kind } => packet.family() == *family && types.contains(kind),
                _ => false,
            },
            Condition::Protocol(number) => packet.protocol() == *number,
            Condition::NotOpening => matches!(packet.payload, Payload::Tcp { opens: false, .. }),
            Condition::All(parts) => parts.iter().all(|part| part.holds(packet)),
            Condition::Any(parts) => parts.iter().any(|part| part.holds(packet)),
            Condition::Not(part) => !part.holds(packet),
        }
    }

    /// Visits the conditions that have no parts.
    pub(super) fn leaves(&self, visit: &mut impl FnMut(&Condition<'a>)) {
        match self {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| part.leaves(visit)),
            Condition::Not(part) => part.leaves(visit),
            leaf => visit(leaf),
        }
    }
}

impl std::ops::Not for Condition<'_> {
    type Output = Self;

    fn not(self) -> Self {
        Condition::Not(Box::new(self))
    }
}

pub(super) fn interface_hooks(end: PacketEnd) -> [Hook; 3] {
    match end {
        PacketEnd::Source => IN_HOOKS,
        PacketEnd::Destination => OUT_HOOKS,
    }
}
