//! Boxes of packets, in readable form.

use std::fmt;

use crate::net::{
    Bits, CtState, Family, Hook, IcmpTypes, Interface, InterfacePattern, Interfaces, Packet, PacketEnd, Payload,
    PortSet, PrefixSet, Protocol, Ranges,
};

/// A box of packets: all combinations of the values of several sets. `None` is every value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketBox {
    /// Their hooks.
    pub hooks: Vec<Hook>,
    /// The interfaces that they go through.
    pub interfaces: Option<Interfaces>,
    /// Their conntrack states.
    pub states: Vec<CtState>,
    /// Their families.
    pub families: Vec<Family>,
    /// Protocol numbers.
    pub protocols: Option<Ranges<u8>>,
    /// Destination ports of TCP, UDP and SCTP.
    pub dports: Option<PortSet>,
    /// Types of ICMP messages.
    pub icmp_types: Option<IcmpTypes>,
    /// Source ports of TCP, UDP and SCTP.
    pub sports: Option<PortSet>,
    /// Whether TCP segments can only open a connection.
    pub opens: Option<bool>,
    /// Source addresses, of the families.
    pub sources: Option<PrefixSet>,
    /// Destination addresses, of the families.
    pub destinations: Option<PrefixSet>,
}

impl PacketBox {
    /// Whether the box has a packet.
    pub fn contains(&self, packet: &Packet) -> bool {
        fn has<T>(set: &Option<T>, test: impl FnOnce(&T) -> bool) -> bool {
            set.as_ref().is_none_or(test)
        }
        let kind = match packet.payload {
            Payload::Icmp { kind } => Some(kind),
            _ => None,
        };
        let opens = match packet.payload {
            Payload::Tcp { opens, .. } => Some(opens),
            _ => None,
        };
        self.hooks.contains(&packet.hook)
            && has(&self.interfaces, |interfaces| interfaces.contains(packet.interface))
            && self.states.contains(&packet.state)
            && self.families.contains(&packet.family())
            && has(&self.protocols, |protocols| protocols.contains(packet.protocol()))
            && has(&self.dports, |ports| packet.port(PacketEnd::Destination).is_none_or(|port| ports.contains(port)))
            && has(&self.sports, |ports| packet.port(PacketEnd::Source).is_none_or(|port| ports.contains(port)))
            && has(&self.icmp_types, |types| kind.is_none_or(|kind| types.contains(kind)))
            && has(&self.opens, |expected| opens.is_none_or(|opens| opens == *expected))
            && has(&self.sources, |set| set.contains(packet.source))
            && has(&self.destinations, |set| set.contains(packet.destination))
    }
}

/// The most prefixes of a set that a line shows; the rest is counted.
const MAX_SHOWN: usize = 8;

impl fmt::Display for PacketBox {
    /// `input, tcp/443 from 10.0.0.0/8 to 10.1.0.1`. The usual case is not mentioned: new or untracked packets that do
    /// not go through the loopback interface.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hooks: Vec<&str> = self.hooks.iter().copied().map(Hook::name).collect();
        write!(f, "{}, {}", hooks.join(" and "), self.traffic())?;
        if let Some(ports) = &self.sports {
            write!(f, " from port {}", listed(ports))?;
        }
        if self.sources.is_none() && self.destinations.is_none() {
            f.write_str(match self.families[..] {
                [Family::V4] => " of any IPv4 address",
                [Family::V6] => " of any IPv6 address",
                _ => " of any address",
            })?;
        }
        for (word, set) in [("from", &self.sources), ("to", &self.destinations)] {
            if let Some(set) = set {
                write!(f, " {word} {}", self.listed(set))?;
            }
        }
        match self.opens {
            Some(true) => f.write_str(", neither ack nor rst")?,
            Some(false) => f.write_str(", ack or rst")?,
            None => {}
        }
        if let Some(interfaces) = self.named_interfaces() {
            write!(f, ", through {interfaces}")?;
        }
        match self.loopback() {
            Some(true) => f.write_str(", through loopback")?,
            // Nothing is forwarded through it, and rules at the raw hooks do not match it.
            None if self.hooks.iter().any(|hook| matches!(hook, Hook::Input | Hook::Output)) => {
                f.write_str(", also through loopback")?;
            }
            _ => {}
        }
        match &self.states[..] {
            // Packets of known connections and invalid ones are accepted or dropped by rules of their own.
            [CtState::New, CtState::Untracked] => Ok(()),
            [CtState::New, CtState::Established, CtState::Related, CtState::Invalid, CtState::Untracked] => {
                f.write_str(", in any state")
            }
            states => {
                let names: Vec<&str> = states.iter().copied().map(CtState::name).collect();
                write!(f, ", {}", names.join(" or "))
            }
        }
    }
}

impl PacketBox {
    /// Whether they go through the loopback interface; `None` if some do.
    pub fn loopback(&self) -> Option<bool> {
        let interfaces = self.interfaces.as_ref()?;
        let only = Interfaces::from_iter([InterfacePattern::LOOPBACK]) == *interfaces;
        (only || !interfaces.contains(Interface::LOOPBACK)).then_some(only)
    }

    /// The interfaces other than loopback that they go through; `None` if that is any, or none.
    pub fn named_interfaces(&self) -> Option<Interfaces> {
        let loopback: Ranges<u128> = InterfacePattern::LOOPBACK.as_slice().iter().copied().collect();
        let named = self.interfaces.as_ref()?.numbers();
        // A set that has almost every name is shown by those that it lacks.
        let shown = match named.contains(Interface::default().number()) {
            true => named.union(&loopback),
            false => named.difference(&loopback),
        };
        (!shown.is_empty() && !shown.complement().is_empty()).then(|| shown.into())
    }

    /// The addresses of one of its ends in a line: those that are missing, if these are fewer.
    pub fn listed(&self, set: &PrefixSet) -> String {
        shortened(set, &self.families)
    }

    /// Protocols, destination ports and types: `tcp/443`, `tcp and udp/53`, `icmp type 8`, `any protocol`.
    pub fn traffic(&self) -> String {
        let mut words = match &self.protocols {
            None => "any protocol".to_owned(),
            Some(protocols) => {
                let names: Vec<String> = protocols.iter().map(protocol_words).collect();
                names.join(" and ")
            }
        };
        if let Some(ports) = &self.dports {
            let ports = listed(ports);
            words += if ports.starts_with("any") { " to port " } else { "/" };
            words += &ports;
        }
        if let Some(types) = &self.icmp_types {
            words += &format!(" type {}", listed(types));
        }
        words
    }
}

fn protocol_words((low, high): (u8, u8)) -> String {
    match Protocol::numbered(low).filter(|_| low == high) {
        Some(protocol) => protocol.name().to_owned(),
        None if low == high => format!("protocol {low}"),
        None => format!("protocols {low}-{high}"),
    }
}

/// Values between commas, or the values that are missing, if that is shorter.
fn listed<T: Bits + fmt::Display>(set: &Ranges<T>) -> String {
    let rest = set.complement();
    if rest.as_slice().len() < set.as_slice().len() {
        return format!("any but {}", rest.words().join(","));
    }
    set.words().join(",")
}

/// The prefixes of a set, or those that it lacks of the families, if these are fewer.
fn shortened(set: &PrefixSet, families: &[Family]) -> String {
    let rest =
        families.iter().fold(PrefixSet::default(), |all, family| all.union(&everything(*family))).difference(set);
    let (count, others) = (set.prefixes().count(), rest.prefixes().count());
    let (but, set, count) = if others < count { ("anything but ", &rest, others) } else { ("", set, count) };
    let mut words: Vec<String> = set.prefixes().take(MAX_SHOWN).map(|prefix| prefix.to_string()).collect();
    if let Some(more) = count.checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        words.push(format!("and {more} more"));
    }
    format!("{but}{}", words.join(", "))
}

/// All addresses of a family.
pub(super) fn everything(family: Family) -> PrefixSet {
    PrefixSet::from(match family {
        Family::V4 => (Ranges::all(), Ranges::default()),
        Family::V6 => (Ranges::default(), Ranges::all()),
    })
}
