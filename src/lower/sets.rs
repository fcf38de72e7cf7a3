//! The names and elements of sets.

use std::collections::{BTreeMap, BTreeSet};

use crate::intent::{Addresses, End, Flow, Intent, Resolved, Side};
use crate::net::Family;
use crate::ruleset::{Set, SetKind};

/// The sets that rules refer to.
///
/// Ids of flows have no underscore, and `zone_…` has one before the family's: no id can take the name of a zone's set.
pub(super) struct Sets {
    sets: BTreeMap<String, Set>,
    /// Flows whose inbound and outbound peers differ.
    two_sided: BTreeSet<String>,
}

impl Sets {
    pub(super) fn new(flows: &[Flow<Resolved>]) -> Self {
        let mut known: BTreeMap<(&str, Side), &End<Resolved>> = BTreeMap::new();
        let mut two_sided = BTreeSet::new();
        for flow in flows {
            known.insert((&flow.id, flow.side), &flow.peers);
            if known.get(&(&flow.id, flow.side.reversed())).is_some_and(|others| **others != flow.peers) {
                two_sided.insert(flow.id.clone());
            }
        }
        Self { sets: BTreeMap::new(), two_sided }
    }

    /// The sets of some addresses: in each family one of prefixes and one of resolved hosts, as needed.
    ///
    /// Hosts have a set in both families regardless of what DNS answered: later answers must change elements only.
    pub(super) fn refer(&mut self, base: &str, addresses: &Addresses, note: &str) -> Vec<(Family, String)> {
        let mut refs = Vec::new();
        for family in Family::BOTH {
            let fixed = Some(addresses.fixed.only(family)).filter(|set| !set.is_empty());
            let named = addresses.named.as_ref().map(|set| set.only(family));
            for (infix, kind, elements) in [("", SetKind::Prefixes, fixed), ("_names", SetKind::Hosts, named)] {
                let Some(elements) = elements else { continue };
                let name = format!("{base}{infix}_{}", family.name());
                refs.push((family, name.clone()));
                // The first row of a flow says what the flow is for.
                self.sets.entry(name).or_insert(Set { family, kind, elements, note: note.to_owned() });
            }
        }
        refs
    }

    pub(super) fn peer(&mut self, flow: &Flow<Resolved>, addresses: &Addresses) -> Vec<(Family, String)> {
        let base = match self.two_sided.contains(&flow.id) {
            false => flow.id.clone(),
            true => format!("{}_{}", flow.id, side_word(flow.side)),
        };
        self.refer(&base, addresses, &flow.purpose)
    }

    pub(super) fn local(&mut self, flow: &Flow<Resolved>, intent: &Intent<Resolved>) -> Vec<(Family, String)> {
        let End::Ends(addresses) = &flow.local else { return Vec::new() };
        match &intent.gateway {
            Some(_) if *addresses == intent.hosts => self.refer("zone_hosts", addresses, "the data centre's hosts"),
            Some(gateway) if *addresses == gateway.pods => self.refer("zone_pods", addresses, "the data centre's pods"),
            _ => self.refer(&format!("{}_{}_local", flow.id, side_word(flow.side)), addresses, &flow.purpose),
        }
    }

    /// The sets with these names.
    pub(super) fn into_used(self, used: &BTreeSet<&str>) -> BTreeMap<String, Set> {
        self.sets.into_iter().filter(|(name, _)| used.contains(name.as_str())).collect()
    }
}

fn side_word(side: Side) -> &'static str {
    match side {
        Side::Inbound => "in",
        Side::Outbound => "out",
    }
}
