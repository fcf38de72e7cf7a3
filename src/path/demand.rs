//! What the flows of a policy need from the line: the addresses at its cloud end.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use crate::catalog::Zone;
use crate::intent::{Declared, Extent, Intent, Member, MemberKind, Opening, Origin};
use crate::net::{DomainName, Family, PrefixSet};
use crate::policy::addresses;
use crate::policy::syntax::Policy;
use crate::resolution::{NameRecord, Resolution, Seen};

/// A part of the cloud's end of a flow.
#[derive(Clone, Debug)]
pub struct Demand<'a> {
    /// The id of the flow.
    pub flow: &'a str,
    /// Its addresses on the line; at least one.
    pub addresses: PrefixSet,
    /// The addresses at the other end, in the data centre.
    pub local: Rc<PrefixSet>,
    /// Where the part comes from.
    pub origin: &'a Origin,
    /// The name, if the addresses are answers of DNS, with what the lockfile has of it.
    pub name: Option<Name<'a>>,
}

/// A name with answers.
#[derive(Clone, Debug)]
pub struct Name<'a> {
    /// The name.
    pub name: &'a DomainName,
    /// What the lockfile has of it.
    pub record: &'a NameRecord,
    /// Its addresses that are on the line.
    pub addresses: Vec<(IpAddr, Seen)>,
}

/// The addresses of a flow to which no route of the line leads: they are reached another way, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The id of the flow.
    pub flow: String,
    /// The addresses.
    pub addresses: PrefixSet,
    /// The names that have them.
    pub names: Vec<DomainName>,
}

/// The zones that the line connects.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The VPC with its vSwitches.
    pub(super) vpc: PrefixSet,
    /// The cloud's services.
    pub(super) services: PrefixSet,
    /// Hosts and pods of the data centre.
    pub(super) inside: PrefixSet,
}

impl Line {
    pub(super) fn of(policy: &Policy) -> Self {
        Self {
            vpc: addresses(policy, &[Zone::Vpc, Zone::Vswitches, Zone::PodVswitches]),
            services: addresses(policy, &[Zone::CloudServices]),
            inside: addresses(policy, &[Zone::Hosts, Zone::Pods]),
        }
    }

    /// Everything at the cloud's end.
    pub(super) fn cloud(&self) -> PrefixSet {
        self.vpc.union(&self.services)
    }
}

/// What the openings of a gateway's intent need, in their order; and what of them is not on the line.
pub(super) fn demands<'a>(
    intent: &'a Intent<Declared>,
    resolution: &'a Resolution,
    line: &Line,
) -> (Vec<Demand<'a>>, Vec<Elsewhere>) {
    let cloud = line.cloud();
    let mut found = Vec::new();
    let mut elsewhere: BTreeMap<&str, Elsewhere> = BTreeMap::new();
    for opening in intent.openings(resolution) {
        for demand in parts(&opening, line) {
            let rest = demand.addresses.difference(&cloud).difference(&line.inside);
            if !rest.is_empty() {
                let entry = elsewhere.entry(demand.flow).or_insert_with(|| Elsewhere {
                    flow: demand.flow.to_owned(),
                    addresses: PrefixSet::default(),
                    names: Vec::new(),
                });
                entry.addresses = entry.addresses.union(&rest);
                let name = demand.name.as_ref().map(|name| name.name.clone());
                entry.names.extend(name.filter(|name| !entry.names.contains(name)));
            }
            found.extend(demand.on(&cloud));
        }
    }
    (found, elsewhere.into_values().collect())
}

fn parts<'a>(opening: &Opening<'a>, line: &Line) -> Vec<Demand<'a>> {
    let flow = opening.flow;
    // An end that is not in the data centre does not use the line, and no packet has ends of two families.
    let local = Rc::new(match &opening.local {
        Extent::AllBut(except) => line.inside.difference(except),
        extent => all(extent).intersection(&line.inside),
    });
    let is_open = |family: Family| !local.only(family).is_empty();
    let part = |member: &Member<'a>| {
        let name = match &member.kind {
            MemberKind::Prefixes(_) => None,
            MemberKind::Name { name, record, addresses, .. } => {
                let known = addresses.iter().filter(|(address, _)| is_open(Family::of(*address)));
                Some(Name { name, record: (*record)?, addresses: known.copied().collect() })
            }
        };
        let all = member.addresses();
        let open: Vec<PrefixSet> =
            Family::BOTH.into_iter().filter(|family| is_open(*family)).map(|family| all.only(family)).collect();
        let (addresses, local) = (PrefixSet::union_of(open.iter()), Rc::clone(&local));
        Some(Demand { flow, addresses, local, origin: member.origin, name })
    };
    opening.peers.members().iter().filter_map(part).collect()
}

fn all(extent: &Extent<'_>) -> PrefixSet {
    let sets: Vec<PrefixSet> = extent.members().iter().map(Member::addresses).collect();
    PrefixSet::union_of(sets.iter())
}

impl Demand<'_> {
    /// The part that is inside a set; `None` if none is.
    fn on(mut self, set: &PrefixSet) -> Option<Self> {
        self.addresses = self.addresses.intersection(set);
        if let Some(name) = &mut self.name {
            name.addresses.retain(|(address, _)| set.contains(*address));
        }
        (!self.addresses.is_empty()).then_some(self)
    }
}
