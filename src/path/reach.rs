//! Whether every conversation has a way there and back: destinations are looked up in the tables, as a device does.

use std::collections::BTreeMap;

use super::demand::Line;
use super::table::{Plan, Table};
use crate::catalog::{Element, RouteDirection, Towards};
use crate::intent::{End, Intent, Resolved};
use crate::net::{Family, PrefixSet};
use crate::policy::syntax::Policy;

/// A conversation that has no way across a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// The device.
    pub element: Element,
    /// Where its packets go.
    pub direction: RouteDirection,
    /// The id of the flow.
    pub flow: String,
    /// The destinations to which no route, or a route the wrong way, leads.
    pub destinations: PrefixSet,
}

impl Table<'_> {
    /// The destinations that the device sends in a direction.
    pub fn sent(&self, direction: RouteDirection) -> PrefixSet {
        let set = |direction: RouteDirection| -> PrefixSet {
            self.routes.iter().filter(|route| route.direction == direction).map(|route| route.prefix).collect()
        };
        let other = if direction == RouteDirection::Up { RouteDirection::Down } else { RouteDirection::Up };
        // The more specific route wins. Where both have one, neither direction is certain.
        let contested = set(other).intersection(&set(direction));
        let wins = |direction: RouteDirection, destinations: &PrefixSet| -> PrefixSet {
            destinations.prefixes().filter(|part| self.longest(*part) == Some(direction)).collect()
        };
        set(direction).difference(&contested).union(&wins(direction, &contested))
    }

    /// The direction of the most specific route to a prefix that no route is more specific than.
    fn longest(&self, destination: crate::net::Prefix) -> Option<RouteDirection> {
        let holding = self.routes.iter().filter(|route| route.prefix.net().contains(&destination.net()));
        holding.max_by_key(|route| route.prefix.net().prefix_len()).map(|route| route.direction)
    }

    /// Whether the device needs routes in a direction: a VPC knows its own vSwitches, a core switch its own servers.
    fn routes_towards(&self, direction: RouteDirection) -> bool {
        self.routes.iter().any(|route| route.direction == direction && route.row.next_hop != Towards::Servers)
    }
}

impl Plan<'_> {
    /// The conversations of an intent that the tables do not carry there and back; none in a plan that is right.
    pub fn unreachable(&self, policy: &Policy, intent: &Intent<Resolved>) -> Vec<Unreachable> {
        let line = Line::of(policy);
        let cloud = line.cloud();
        let pods: PrefixSet = policy.networks.value.pods.iter().map(|prefix| prefix.value).collect();
        let mut missing: BTreeMap<(Element, RouteDirection, &str), PrefixSet> = BTreeMap::new();
        for table in &self.tables {
            for direction in RouteDirection::ALL.iter().filter(|direction| table.routes_towards(**direction)) {
                let sent = table.sent(*direction);
                for flow in &intent.flows {
                    let (End::Ends(local), End::Ends(peers)) = (&flow.local, &flow.peers) else { continue };
                    let (local, peers) = (local.all().intersection(&line.inside), peers.all().intersection(&cloud));
                    // Flows between ends of the data centre, and those over another way, do not use the line; and no
                    // packet has ends of two families.
                    let crossing = |family: &Family| !peers.only(*family).is_empty() && !local.only(*family).is_empty();
                    // Pods in a tunnel have the addresses of their hosts on the line.
                    let hidden = if self.bgp.is_none() { pods.clone() } else { PrefixSet::default() };
                    let destinations = match direction {
                        RouteDirection::Up => peers.clone(),
                        RouteDirection::Down => local.difference(&hidden),
                    };
                    let lost = destinations.difference(&sent);
                    let lost: Vec<PrefixSet> = Family::BOTH
                        .iter()
                        .filter(|family| crossing(family))
                        .map(|family| lost.only(*family))
                        .collect();
                    let lost = PrefixSet::union_of(lost.iter());
                    if !lost.is_empty() {
                        let entry = missing.entry((table.element, *direction, &flow.id)).or_default();
                        *entry = entry.union(&lost);
                    }
                }
            }
        }
        let unreachable = missing.into_iter().map(|((element, direction, flow), destinations)| Unreachable {
            element,
            direction,
            flow: flow.to_owned(),
            destinations,
        });
        unreachable.collect()
    }
}
