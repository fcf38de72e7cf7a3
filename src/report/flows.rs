//! The list that a firewall team asks for: every conversation that is open, with both ends. `docs/flows.md` has the
//! formats.

mod brief;
mod json;
mod people;
mod sheet;

pub use brief::{Length, brief};
pub use json::FlowsDocument;

use super::because::Evidence;
use crate::intent::{Declared, Extent, Intent, Member, MemberKind, Opening};
use crate::net::{Prefix, PrefixSet};
use crate::resolution::Resolution;

/// What a policy opens, with what is said about it.
#[derive(Clone, Copy, Debug)]
pub struct FlowList<'a> {
    /// The policy, with its names.
    pub intent: &'a Intent<Declared>,
    /// The addresses of the names.
    pub resolution: &'a Resolution,
    /// What the origins are explained with.
    pub evidence: Evidence<'a>,
}

impl<'a> FlowList<'a> {
    /// The rows of every format: one for each conversation and direction.
    fn rows(&self) -> impl Iterator<Item = Opening<'a>> {
        self.intent.openings(self.resolution)
    }

    /// Whether replies have openings of their own, by their ports.
    fn is_stateless(&self) -> bool {
        self.intent.gateway.as_ref().is_some_and(|gateway| gateway.stateless)
    }
}

/// Source ports with their protocols, as ports are written: `udp/68`.
fn source_ports(opening: &Opening<'_>) -> Option<Vec<String>> {
    let from = opening.from_ports?;
    let used = opening.traffic.transports().map(|(transport, _)| transport.name());
    Some(used.flat_map(|name| from.words().into_iter().map(move |ports| format!("{name}/{ports}"))).collect())
}

/// The prefixes of an end, those of its names among them: aggregated, in order.
fn prefixes(extent: &Extent<'_>) -> Vec<Prefix> {
    let sets: Vec<PrefixSet> = extent.members().iter().map(Member::addresses).collect();
    PrefixSet::union_of(sets.iter()).prefixes().collect()
}

/// Why a name has no address in a list.
fn no_address(kind: &MemberKind<'_>) -> Option<&'static str> {
    match kind {
        MemberKind::Name { addresses, record, .. } if addresses.is_empty() => {
            // What the lockfile has of it may be of the other family, or on the same side of a gateway.
            let known = record.is_some_and(|record| !record.addresses.is_empty());
            Some(if known { "no address that is open" } else { "no address in the lockfile" })
        }
        _ => None,
    }
}
