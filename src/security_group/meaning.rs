//! What the rules of a security group mean, as packets.

use std::collections::BTreeMap;

use super::rule::{IpProtocol, Permission, PortRange, Rule, Way};
use crate::net::{CtState, Family, Hook, PacketEnd, Prefix, PrefixSet, Protocol, Transport};
use crate::policy::path::GroupType;
use crate::space::{Condition, Region, Space};

/// Rules that differ in their prefixes at the other end only, and have the same label.
struct Bundle {
    label: usize,
    rule: Rule,
    ports: Option<[(u16, u16); 1]>,
    source_ports: Option<[(u16, u16); 1]>,
    remote: PrefixSet,
    own: Option<PrefixSet>,
}

/// The packets that a security group admits.
pub(super) struct Meaning {
    kind: GroupType,
    /// In the order in which they decide.
    bundles: Vec<Bundle>,
}

type Key = (u8, bool, usize, Way, IpProtocol, PortRange, PortRange, Option<Prefix>);

impl Meaning {
    /// What some rules mean, each with a label.
    pub(super) fn of<'r>(kind: GroupType, rules: impl Iterator<Item = (usize, &'r Rule)>) -> Self {
        // Small priorities win, and of rules with the same one those that drop.
        let key = |label: usize, rule: &Rule| -> Key {
            let accepts = rule.permission == Permission::Accept;
            (rule.priority, accepts, label, rule.way, rule.protocol, rule.ports, rule.source_ports, rule.own)
        };
        let mut groups: BTreeMap<Key, (&Rule, Vec<Prefix>)> = BTreeMap::new();
        for (label, rule) in rules {
            groups.entry(key(label, rule)).or_insert((rule, Vec::new())).1.push(rule.remote);
        }
        let bundles = groups.into_iter().map(|((_, _, label, ..), (rule, remote))| Bundle {
            label,
            rule: rule.clone(),
            ports: rule.ports.map(|ports| [ports]),
            source_ports: rule.source_ports.map(|ports| [ports]),
            remote: remote.into_iter().collect(),
            own: rule.own.map(|prefix| [prefix].into_iter().collect()),
        });
        Self { kind, bundles: bundles.collect() }
    }

    /// The conditions of the rules.
    pub(super) fn conditions(&self) -> impl Iterator<Item = Condition<'_>> {
        self.bundles.iter().map(Bundle::condition)
    }

    /// The packets that pass.
    pub(super) fn admitted<'s>(&self, space: &'s Space<'_>, edge: &Edge<'_>) -> Region<'s> {
        // What no rule decides is denied, but a basic group lets everything out.
        let mut admitted = match self.kind {
            GroupType::Basic => space.region(&edge.crossing(Way::Egress)),
            GroupType::Enterprise => space.none(),
        };
        let order = |one: &Bundle, other: &Bundle| {
            (one.rule.priority, one.rule.permission) == (other.rule.priority, other.rule.permission)
        };
        for bundles in self.bundles.chunk_by(order).rev() {
            let decided = space.union(bundles.iter().map(|bundle| bundle.region(space, edge)));
            admitted = match bundles.first().map(|bundle| bundle.rule.permission) {
                Some(Permission::Drop) => admitted.minus(decided),
                _ => admitted.or(decided),
            };
        }
        admitted
    }

    /// Packets that pass, divided among the labels of the rules that let them pass; `None` where no rule does.
    pub(super) fn by_label<'s>(
        &self,
        space: &'s Space<'_>,
        edge: &Edge<'_>,
        packets: Region<'s>,
    ) -> Vec<(Option<usize>, Region<'s>)> {
        let accepting: Vec<&Bundle> =
            self.bundles.iter().filter(|bundle| bundle.rule.permission == Permission::Accept).collect();
        let regions: Vec<Region<'s>> = accepting.iter().map(|bundle| bundle.region(space, edge)).collect();
        let (parts, rest) = packets.among(&regions);
        let mut labelled: BTreeMap<Option<usize>, Region<'s>> = BTreeMap::new();
        let parts = parts.into_iter().map(|(number, part)| (accepting.get(number).map(|bundle| bundle.label), part));
        for (label, part) in parts.chain([(None, rest)]).filter(|(_, part)| !part.is_empty()) {
            labelled.entry(label).and_modify(|known| *known = known.or(part)).or_insert(part);
        }
        labelled.into_iter().collect()
    }
}

impl Bundle {
    fn condition(&self) -> Condition<'_> {
        let (own, remote) = ends(self.rule.way);
        let mut all = vec![Condition::Address(remote, &self.remote), self.protocol()];
        all.extend(self.own.as_ref().map(|set| Condition::Address(own, set)));
        Condition::All(all)
    }

    fn protocol(&self) -> Condition<'_> {
        let transport = |transport: Transport| {
            let ends = [(PacketEnd::Destination, &self.ports), (PacketEnd::Source, &self.source_ports)];
            Condition::All(ends.map(|(end, ports)| of_port(transport, end, ports)).into())
        };
        let of_family = |family, protocol: Protocol| {
            Condition::All(vec![Condition::Family(family), Condition::Protocol(protocol.number())])
        };
        match self.rule.protocol {
            IpProtocol::Tcp => transport(Transport::Tcp),
            IpProtocol::Udp => transport(Transport::Udp),
            IpProtocol::Icmp => of_family(Family::V4, Protocol::Icmp),
            IpProtocol::Icmpv6 => of_family(Family::V6, Protocol::Icmpv6),
            IpProtocol::Gre => Condition::Protocol(Protocol::Gre.number()),
            IpProtocol::All => Condition::always(),
        }
    }

    fn region<'s>(&self, space: &'s Space<'_>, edge: &Edge<'_>) -> Region<'s> {
        space.region(&edge.crossing(self.rule.way)).and(space.region(&self.condition()))
    }
}

/// The packets of a protocol with a port of a range at an end.
fn of_port(transport: Transport, end: PacketEnd, ports: &Option<[(u16, u16); 1]>) -> Condition<'_> {
    match ports {
        Some(ports) => Condition::Port(transport, end, ports),
        None => Condition::Protocol(transport.protocol().number()),
    }
}

/// The packet's end that is in the VPC, and the other.
pub(super) fn ends(way: Way) -> (PacketEnd, PacketEnd) {
    match way {
        Way::Egress => (PacketEnd::Source, PacketEnd::Destination),
        Way::Ingress => (PacketEnd::Destination, PacketEnd::Source),
    }
}

/// The edge of the VPC: the packets with one end inside and the other outside that open a conversation. Replies pass
/// because a security group is stateful, and packets within the VPC are not a policy's matter.
pub(super) struct Edge<'a>(pub(super) &'a PrefixSet);

const NEW: &[CtState] = &[CtState::New];

impl<'a> Edge<'a> {
    /// The packets that cross it one way.
    pub(super) fn crossing(&self, way: Way) -> Condition<'a> {
        let (own, remote) = ends(way);
        let outside = !Condition::Address(remote, self.0);
        Condition::All(vec![
            Condition::Hook(Hook::Forward),
            Condition::State(NEW),
            Condition::Address(own, self.0),
            outside,
        ])
    }
}
