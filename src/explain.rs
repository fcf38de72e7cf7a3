//! Why a packet is accepted or denied: the flow that permits it, with all its origins, or its near misses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::intent::{Aspect, Declared, End, Flow, Intent, Origin, Part, PartKind, Resolved, icmp_types};
use crate::net::{CtDirection, Hook, Packet, Payload, Special, Traffic};
use crate::resolution::{NameRecord, Resolution, Seen};

/// A flow that permits a packet, and the parts of its ends that the packet's addresses are in.
#[derive(Clone, Debug)]
pub struct Permission<'a> {
    /// The flow.
    pub flow: &'a Flow<Declared>,
    /// The packet's direction within the flow.
    pub direction: CtDirection,
    /// The parts of the local end that match; none if that is every address.
    pub local: Vec<Matched<'a>>,
    /// The parts of the other end that match; none if that is every address.
    pub peers: Vec<Matched<'a>>,
}

/// A part of an end that has an address of the packet.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'a> {
    /// The part.
    pub part: &'a Part,
    /// The address.
    pub address: IpAddr,
    /// If the part is a name: its record in the lockfile, and when it had the address.
    pub answer: Option<(&'a NameRecord, Seen)>,
}

/// A flow that would permit a packet except for one thing.
#[derive(Clone, Copy, Debug)]
pub struct NearMiss<'a> {
    /// The flow.
    pub flow: &'a Flow<Declared>,
    /// What does not fit.
    pub lacks: Aspect,
}

impl NearMiss<'_> {
    /// Whether it is worth mentioning: a flow for ICMP from anywhere says nothing about TCP, nor a list of IPv4 peers about
    /// an IPv6 packet.
    fn is_relevant(&self, packet: &Packet) -> bool {
        let of_family = |end: &End<Declared>| match end {
            End::Any => true,
            End::Ends(parts) => parts.iter().any(|part| match &part.kind {
                PartKind::Prefixes(set) => !set.only(packet.family()).is_empty(),
                PartKind::Name { .. } => true,
            }),
        };
        match self.lacks {
            Aspect::Traffic => {
                let icmp = matches!(packet.payload, Payload::Icmp { .. })
                    && !icmp_types(&self.flow.traffic, packet.family()).is_empty();
                matches!(self.flow.peers, End::Ends(_)) || icmp
            }
            // No row could name the address of the other side.
            Aspect::Peer => of_family(&self.flow.peers) && self.could_have(packet),
            Aspect::Local => of_family(&self.flow.local),
            // A flow of any traffic exists in both directions, unless there is a reason.
            Aspect::Direction => self.flow.traffic != Traffic::Any && matches!(self.flow.peers, End::Ends(_)),
            _ => true,
        }
    }

    /// Whether the flow could have the packet's other end as a peer.
    fn could_have(&self, packet: &Packet) -> bool {
        let (_, peer) = self.flow.side.ends(CtDirection::Original);
        let special = Special::of(packet.address(peer));
        special.is_none_or(|special| self.flow.side.can_have_peer(special, &self.flow.traffic))
    }

    /// How far the flow is from the packet. A flow of the packet's port is nearer than one of its peer, and that is nearer
    /// than one of any traffic between two networks. Among equals, rows of the operator come first.
    fn distance(&self, packet: &Packet) -> (u8, bool) {
        let far = match (&self.flow.traffic, self.lacks) {
            (_, Aspect::Valid | Aspect::Answer | Aspect::Direction) => 0,
            (Traffic::Any, _) => 4,
            (traffic, Aspect::Traffic) => match packet.payload {
                other if other.transport().is_some_and(|(transport, ..)| traffic.ports(transport).is_some()) => 2,
                Payload::Icmp { .. } if !icmp_types(&self.flow.traffic, packet.family()).is_empty() => 1,
                _ => 3,
            },
            _ => 1,
        };
        (far, matches!(self.flow.origin, Origin::Catalog { .. }))
    }
}

/// A policy before and after its names were resolved, with the answers of DNS.
#[derive(Clone, Copy, Debug)]
pub struct Meaning<'a> {
    /// Before.
    pub declared: &'a Intent<Declared>,
    /// After.
    pub resolved: &'a Intent<Resolved>,
    /// The answers.
    pub resolution: &'a Resolution,
}

/// The rows of each flow. Thousands of flows may be looked up among thousands.
#[derive(Clone, Debug)]
pub struct Rows<'a>(BTreeMap<&'a str, Vec<Row<'a>>>);

/// A row before and after names were resolved.
type Row<'a> = (&'a Flow<Declared>, &'a Flow<Resolved>);

impl<'a> Rows<'a> {
    /// Those of a flow.
    pub fn of(&self, flow: &str) -> &[Row<'a>] {
        self.0.get(flow).map_or(&[], Vec::as_slice)
    }
}

impl<'a> Meaning<'a> {
    /// The rows of each flow.
    pub fn rows(&self) -> Rows<'a> {
        let mut rows = BTreeMap::<&str, Vec<_>>::new();
        for (declared, resolved) in self.flows() {
            rows.entry(&declared.id).or_default().push((declared, resolved));
        }
        Rows(rows)
    }

    /// Those rows of a flow that permit a packet.
    pub fn permissions(&self, rows: &Rows<'a>, flow: &str, packet: &Packet) -> Vec<Permission<'a>> {
        let stateless = self.filters_replies();
        rows.of(flow)
            .iter()
            .filter_map(|&(declared, resolved)| {
                let holds = |direction| resolved.condition(direction).holds(packet);
                let direction = if begins(declared, packet) && holds(CtDirection::Original) {
                    CtDirection::Original
                } else if stateless && !declared.untracked && holds(CtDirection::Reply) {
                    CtDirection::Reply
                } else {
                    return None;
                };
                let (local, peer) = declared.side.ends(direction);
                let local = self.matched(&declared.local, packet.address(local));
                let peers = self.matched(&declared.peers, packet.address(peer));
                Some(Permission { flow: declared, direction, local, peers })
            })
            .collect()
    }

    /// The flows that would permit a packet except for one thing, the nearest first.
    pub fn near_misses(&self, packet: &Packet) -> Vec<NearMiss<'a>> {
        let mut misses: Vec<NearMiss<'a>> = self
            .flows()
            .filter_map(|(flow, resolved)| Some(NearMiss { flow, lacks: self.only_lack(flow, resolved, packet)? }))
            .filter(|miss| miss.is_relevant(packet))
            .collect();
        misses.sort_by_key(|miss| miss.distance(packet));
        misses
    }

    /// The one thing that a packet lacks to be of a flow, or to be one of its replies.
    fn only_lack(&self, flow: &Flow<Declared>, resolved: &Flow<Resolved>, packet: &Packet) -> Option<Aspect> {
        if packet.hook == Hook::Forward {
            let one = |direction| match resolved.lacks(packet, direction)[..] {
                [lack] => Some(lack),
                _ => None,
            };
            let answers = self.filters_replies() && !flow.untracked;
            return one(CtDirection::Original).or_else(|| answers.then(|| one(CtDirection::Reply)).flatten());
        }
        // The host sends what the other side has to begin, or the other way round.
        let other_way = !begins(flow, packet);
        let turned = Flow { side: resolved.side.reversed(), ..resolved.clone() };
        match (other_way, &(if other_way { &turned } else { resolved }).lacks(packet, CtDirection::Original)[..]) {
            (false, [lack]) => Some(*lack),
            (true, []) => Some(Aspect::Direction),
            _ => None,
        }
    }

    /// Whether replies have rules of their own.
    fn filters_replies(&self) -> bool {
        self.resolved.gateway.as_ref().is_some_and(|gateway| gateway.stateless)
    }

    fn flows(&self) -> impl Iterator<Item = Row<'a>> + use<'a> {
        // `bind` keeps the flows and their order.
        self.declared.flows.iter().zip(&self.resolved.flows)
    }

    fn matched(&self, end: &'a End<Declared>, address: IpAddr) -> Vec<Matched<'a>> {
        let End::Ends(parts) = end else { return Vec::new() };
        let resolution = self.resolution;
        let found = parts.iter().filter_map(|part| match &part.kind {
            PartKind::Prefixes(set) => set.contains(address).then_some(Matched { part, address, answer: None }),
            PartKind::Name { name, .. } => {
                let record = resolution.names.get(name)?;
                let seen = record.addresses.get(&address)?;
                Some(Matched { part, address, answer: Some((record, *seen)) })
            }
        });
        found.collect()
    }
}

/// Whether packets of the side that begins a flow are seen at the packet's hook.
fn begins(flow: &Flow<Declared>, packet: &Packet) -> bool {
    packet.hook == Hook::Forward || packet.hook == flow.side.hook()
}
