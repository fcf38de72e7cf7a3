//! What is open, conversation by conversation: the list that reports, routes and other devices' rules are made from.
//!
//! An opening has both ends as they were written, with the addresses that the lockfile has for their names, and the
//! origin of every part. It knows nothing of chains and sets, and a test holds it against [`Intent::specification`].

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Addresses, Declared, End, Flow, Intent, Origin, Part, PartKind, Side};
use crate::net::{DomainName, Family, Interfaces, PortSet, PrefixSet, Traffic};
use crate::resolution::{NameRecord, Resolution, Seen};

/// A conversation that is open, begun by one side.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The id of its flow.
    pub flow: &'a str,
    /// What it is for; empty if the policy does not say.
    pub purpose: &'a str,
    /// Who begins.
    pub side: Side,
    /// The end at the host or in the data centre.
    pub local: Extent<'a>,
    /// The other end.
    pub peers: Extent<'a>,
    /// Protocols and destination ports.
    pub traffic: Traffic,
    /// Source ports, where they are fixed.
    pub from_ports: Option<&'a PortSet>,
    /// The interfaces through which the peers' packets arrive, where not all.
    pub interfaces: Option<&'a Interfaces>,
    /// The family, where the conversation exists in one only; ends and traffic have nothing of the other. A name may
    /// have addresses of both, regardless of its answers.
    pub family: Option<Family>,
    /// Whether replies belong to a connection. The packets of an untracked flow are permitted regardless of what
    /// conntrack says, and each direction has an opening of its own.
    pub tracked: bool,
    /// Where the flow comes from.
    pub origin: &'a Origin,
}

/// The addresses of one end.
#[derive(Clone, Debug)]
pub enum Extent<'a> {
    /// The host itself, regardless of its address; the policy lists these for its hosts.
    Host(Vec<Member<'a>>),
    /// Every address except these.
    AllBut(PrefixSet),
    /// These.
    Members(Vec<Member<'a>>),
}

/// A part of an end, with its addresses.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// What it is.
    pub kind: MemberKind<'a>,
    /// Where it comes from.
    pub origin: &'a Origin,
}

/// What a part of an end is.
#[derive(Clone, Debug)]
pub enum MemberKind<'a> {
    /// Prefixes of the policy or the catalog; at least one.
    Prefixes(PrefixSet),
    /// A name.
    Name {
        /// The name.
        name: &'a DomainName,
        /// Whether the compile goes on where it has no address.
        optional: bool,
        /// What the lockfile has of it.
        record: Option<&'a NameRecord>,
        /// Its addresses that are open, in order; none where it has no answer.
        addresses: Vec<(IpAddr, Seen)>,
    },
}

impl Member<'_> {
    /// The addresses of the part.
    pub fn addresses(&self) -> PrefixSet {
        match &self.kind {
            MemberKind::Prefixes(set) => set.clone(),
            MemberKind::Name { addresses, .. } => addresses.iter().map(|(address, _)| *address).collect(),
        }
    }
}

impl<'a> Extent<'a> {
    /// The parts; none where it is every address except some.
    pub fn members(&self) -> &[Member<'a>] {
        match self {
            Extent::Host(members) | Extent::Members(members) => members,
            Extent::AllBut(_) => &[],
        }
    }

    fn is_void(&self) -> bool {
        matches!(self, Extent::Members(members) if members.is_empty())
    }
}

impl Intent<Declared> {
    /// What is open, in the order of the flows: one item for each flow and direction. Names have the addresses of the
    /// resolution; those without an answer are listed without address.
    ///
    /// A gateway that covers hosts only decides on packets with one end inside, and its openings hold nothing else:
    /// peers that are inside are left out, and a flow without other peers is no opening. A flow whose local end is
    /// partly outside of what the gateway covers gives two items where it also has peers inside.
    pub fn openings<'a>(&'a self, resolution: &'a Resolution) -> impl Iterator<Item = Opening<'a>> {
        let crossed = self.gateway.as_ref().filter(|gateway| !gateway.covers_everything()).map(|gateway| Covered {
            parts: &gateway.covered,
            addresses: Addresses::of(&gateway.covered, resolution).all(),
        });
        self.flows.iter().flat_map(move |flow| {
            let ends = Ends { intent: self, flow, resolution };
            let pairs = match &crossed {
                None => vec![(ends.local(), ends.peers())],
                Some(covered) => vec![
                    (ends.local().inside(covered, true), ends.peers().outside(covered, true)),
                    (ends.local().outside(covered, false), ends.peers().inside(covered, false)),
                ],
            };
            let openings: Vec<Opening<'a>> =
                pairs.into_iter().filter_map(|pair| flow.opening(pair, crossed.as_ref())).collect();
            openings
        })
    }
}

impl Intent<Declared> {
    /// How many flows are open, each in one direction or both. It does not depend on the answers of DNS.
    pub fn open_flows(&self) -> usize {
        self.openings(&Resolution::default()).map(|opening| opening.flow).collect::<BTreeSet<_>>().len()
    }
}

impl Flow<Declared> {
    /// The flow between two ends; none if no packet can go from one to the other.
    fn opening<'a>(
        &'a self,
        (local, peers): (Extent<'a>, Extent<'a>),
        crossed: Option<&Covered<'_>>,
    ) -> Option<Opening<'a>> {
        let exists = |family: &Family| {
            self.family.is_none_or(|only| only == *family)
                && !self.traffic.only(*family).is_none()
                && crossed.is_none_or(|covered| covered.is_crossed(*family))
                && local.may_be(*family)
                && peers.may_be(*family)
        };
        let families: Vec<Family> = Family::BOTH.into_iter().filter(exists).collect();
        let (local, peers, traffic, family) = match families[..] {
            [] => return None,
            [family] => (local.only(family), peers.only(family), self.traffic.only(family), Some(family)),
            _ => (local, peers, self.traffic.clone(), None),
        };
        (!local.is_void() && !peers.is_void()).then_some(Opening {
            flow: &self.id,
            purpose: &self.purpose,
            side: self.side,
            local,
            peers,
            traffic,
            from_ports: self.from_ports.as_ref(),
            interfaces: self.interfaces.as_ref(),
            family,
            tracked: !self.untracked,
            origin: &self.origin,
        })
    }
}

/// What a gateway covers.
struct Covered<'a> {
    parts: &'a [Part],
    addresses: PrefixSet,
}

impl Covered<'_> {
    /// Whether packets of a family may have one end inside and one outside.
    fn is_crossed(&self, family: Family) -> bool {
        !self.addresses.only(family).is_empty() && !self.addresses.has_every_address(family)
    }
}

/// The ends of a flow as extents.
struct Ends<'a> {
    intent: &'a Intent<Declared>,
    flow: &'a Flow<Declared>,
    resolution: &'a Resolution,
}

impl<'a> Ends<'a> {
    fn local(&self) -> Extent<'a> {
        match (&self.flow.local, &self.intent.gateway) {
            (End::Any, None) => Extent::Host(self.members(&self.intent.hosts)),
            (end, _) => self.extent(end),
        }
    }

    fn peers(&self) -> Extent<'a> {
        self.extent(&self.flow.peers)
    }

    fn extent(&self, end: &'a End<Declared>) -> Extent<'a> {
        match end {
            End::Any => Extent::AllBut(PrefixSet::default()),
            End::Ends(parts) => Extent::Members(self.members(parts)),
        }
    }

    fn members(&self, parts: &'a [Part]) -> Vec<Member<'a>> {
        let member = |part: &'a Part| {
            let kind = match &part.kind {
                PartKind::Prefixes(set) => MemberKind::Prefixes(set.clone()),
                PartKind::Name { name, optional } => {
                    let record = self.resolution.names.get(name);
                    let known = record.into_iter().flat_map(|record| &record.addresses);
                    let addresses = known.map(|(address, seen)| (*address, *seen)).collect();
                    MemberKind::Name { name, optional: *optional, record, addresses }
                }
            };
            Member { kind, origin: &part.origin }
        };
        parts.iter().map(member).filter(|member| member.is_listed(true)).collect()
    }
}

impl<'a> Member<'a> {
    /// Whether it belongs into a list: a name without address does where names are kept.
    fn is_listed(&self, keep_names: bool) -> bool {
        match &self.kind {
            MemberKind::Prefixes(set) => !set.is_empty(),
            MemberKind::Name { addresses, .. } => keep_names || !addresses.is_empty(),
        }
    }

    /// The part with its addresses of one family only.
    fn only(self, family: Family) -> Self {
        let kind = match self.kind {
            MemberKind::Prefixes(set) => MemberKind::Prefixes(set.only(family)),
            MemberKind::Name { name, optional, record, addresses } => {
                let addresses = addresses.into_iter().filter(|(address, _)| Family::of(*address) == family).collect();
                MemberKind::Name { name, optional, record, addresses }
            }
        };
        Self { kind, ..self }
    }

    /// Whether it may have addresses of a family. A name may, regardless of its answers.
    fn may_be(&self, family: Family) -> bool {
        match &self.kind {
            MemberKind::Prefixes(set) => !set.only(family).is_empty(),
            MemberKind::Name { .. } => true,
        }
    }

    /// The part with those of its addresses only that are, or are not, in a set.
    fn narrowed(self, set: &PrefixSet, inside: bool) -> Self {
        let kind = match self.kind {
            MemberKind::Prefixes(own) => MemberKind::Prefixes(match (inside, own.overlaps(set)) {
                (true, _) => own.intersection(set),
                (false, true) => own.difference(set),
                (false, false) => own,
            }),
            MemberKind::Name { name, optional, record, addresses } => {
                let addresses = addresses.into_iter().filter(|(address, _)| set.contains(*address) == inside).collect();
                MemberKind::Name { name, optional, record, addresses }
            }
        };
        Self { kind, ..self }
    }
}

impl<'a> Extent<'a> {
    /// Whether it may have addresses of a family. The host may, regardless of the addresses that the policy lists.
    fn may_be(&self, family: Family) -> bool {
        match self {
            Extent::Host(_) => true,
            Extent::AllBut(except) => !except.has_every_address(family),
            Extent::Members(members) => members.iter().any(|member| member.may_be(family)),
        }
    }

    /// What of it is of a family. Names stay, also without such an address.
    fn only(self, family: Family) -> Self {
        let members = |members: Vec<Member<'a>>| {
            let members = members.into_iter().map(|member| member.only(family));
            members.filter(|member| member.is_listed(true)).collect()
        };
        match self {
            Extent::Host(hosts) => Extent::Host(members(hosts)),
            Extent::AllBut(except) => Extent::AllBut(except.only(family)),
            Extent::Members(parts) => Extent::Members(members(parts)),
        }
    }

    /// What of it a gateway covers. Names without such an address stay where they are to be kept.
    fn inside(self, covered: &Covered<'a>, keep_names: bool) -> Self {
        match self {
            Extent::Host(members) => Extent::Host(members),
            Extent::Members(members) => Extent::Members(narrowed(members, &covered.addresses, true, keep_names)),
            Extent::AllBut(except) => {
                let parts = covered.parts.iter().filter_map(|part| match &part.kind {
                    PartKind::Prefixes(set) => {
                        Some(Member { kind: MemberKind::Prefixes(set.difference(&except)), origin: &part.origin })
                    }
                    // Only a gateway that covers everything covers a name, and its openings are not narrowed.
                    PartKind::Name { .. } => None,
                });
                Extent::Members(parts.filter(|member| member.is_listed(keep_names)).collect())
            }
        }
    }

    /// What of it a gateway does not cover.
    fn outside(self, covered: &Covered<'a>, keep_names: bool) -> Self {
        match self {
            Extent::Host(members) => Extent::Host(members),
            Extent::Members(members) => Extent::Members(narrowed(members, &covered.addresses, false, keep_names)),
            Extent::AllBut(except) => Extent::AllBut(except.union(&covered.addresses)),
        }
    }
}

fn narrowed<'a>(members: Vec<Member<'a>>, set: &PrefixSet, inside: bool, keep_names: bool) -> Vec<Member<'a>> {
    let members = members.into_iter().map(|member| member.narrowed(set, inside));
    members.filter(|member| member.is_listed(keep_names)).collect()
}
