//! A table of routes that a device has, held against the one that it needs.
//!
//! Destinations are looked up as the device does, by the longest prefix: a wider route with the right next hop is as good
//! as those that were derived, and a narrower one with another next hop takes packets away from them.

mod exported;
mod lookup;

pub use exported::{Exported, ExportedRoute, NotATable};

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use super::table::{Route, Table};
use crate::net::{Family, Prefix, PrefixSet};
use lookup::Lookup;

/// What a device has in place of the routes that it needs.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// How many routes it needs, without those that are taken for given.
    pub needed: usize,
    /// Needed routes, and the part of their destinations that no route leads to, or only a default route that leads
    /// elsewhere.
    pub missing: Vec<(&'a Route<'a>, PrefixSet)>,
    /// Needed routes, the part of their destinations that another route leads elsewhere, and that route.
    pub elsewhere: Vec<(&'a Route<'a>, PrefixSet, &'a ExportedRoute)>,
    /// Routes with the next hop of needed ones, without which no needed destination would be missed.
    pub superfluous: Vec<&'a ExportedRoute>,
    /// Families of which a needed route is missing and the table has none at all: it may be of the other family only.
    pub absent: Vec<Family>,
    /// Whether the policy gives no next hop for some routes, so that any next hop is taken for the right one.
    pub any_hop: bool,
}

impl Comparison<'_> {
    /// Whether all packets go where they should.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.elsewhere.is_empty()
    }
}

impl<'a> Table<'a> {
    /// Holds a table that a device has against this one. Routes to `exempt` are never superfluous.
    pub fn compare<'b>(&'b self, exported: &'b Exported, exempt: &PrefixSet) -> Comparison<'b>
    where
        'a: 'b,
    {
        let needed: Vec<&'b Route<'b>> = self.routes.iter().filter(|route| !route.row.standing).collect();
        let lookup = Lookup::new(exported);
        let mut comparison = Comparison {
            needed: needed.len(),
            missing: Vec::new(),
            elsewhere: Vec::new(),
            superfluous: Vec::new(),
            absent: Vec::new(),
            any_hop: needed.iter().any(|route| {
                let same = lookup.exact(route.prefix);
                let ends = |id: &String| same.is_some_and(|same| is_incomparable(same, id));
                route.next_hop.id.as_ref().is_none_or(ends)
            }),
        };
        let ours = hops(&needed, &lookup);
        // Routes without which a part of a needed destination would not go where it should.
        let mut missed = HashSet::new();
        for route in &needed {
            let mut missing = Vec::new();
            for part in lookup.parts(route.prefix) {
                match part.by {
                    Some(by) if leads(by, route) => {
                        if !part.otherwise.is_some_and(|otherwise| leads(otherwise, route)) {
                            missed.insert(by.prefix);
                        }
                    }
                    Some(by) if !by.is_default() => comparison.elsewhere.push((route, part.destinations, by)),
                    _ => missing.push(part.destinations),
                }
            }
            let missing = PrefixSet::union_of(missing.iter());
            if !missing.is_empty() {
                comparison.missing.push((route, missing));
            }
        }
        let written: HashSet<Prefix> = needed.iter().map(|route| route.prefix).collect();
        let is_superfluous = |route: &&ExportedRoute| {
            let is_ours = !route.is_default() && route.hops.iter().any(|hop| ours.contains(&canonical(hop)));
            is_ours
                && !written.contains(&route.prefix)
                && !PrefixSet::from_iter([route.prefix]).is_subset(exempt)
                && !missed.contains(&route.prefix)
        };
        let is_absent = |family: &Family| {
            !exported.has(*family) && comparison.missing.iter().any(|(route, _)| route.prefix.family() == *family)
        };
        comparison.absent = Family::BOTH.into_iter().filter(is_absent).collect();
        comparison.superfluous = exported.routes.iter().filter(is_superfluous).collect();
        comparison
    }
}

/// The next hops of the needed routes; where the policy does not give them, those of the same destinations in the table.
fn hops(needed: &[&Route<'_>], lookup: &Lookup<'_>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for route in needed {
        match &route.next_hop.id {
            Some(id) => drop(found.insert(canonical(id))),
            None => {
                found.extend(lookup.exact(route.prefix).iter().flat_map(|same| &same.hops).map(|hop| canonical(hop)))
            }
        }
    }
    found
}

/// Whether a route leads where a needed one should. Of several next hops that share packets, all must. The cloud calls the
/// end of a line by the id of an interface, which the policy does not have.
fn leads(by: &ExportedRoute, needed: &Route<'_>) -> bool {
    let all = |hops: &[String], id: &str| !hops.is_empty() && hops.iter().all(|hop| canonical(hop) == canonical(id));
    match &needed.next_hop.id {
        Some(id) if !is_incomparable(by, id) => all(&by.hops, id) || all(&by.resolved, id),
        _ => !by.is_default() && !by.is_discarded,
    }
}

/// What the ids of router interfaces begin with.
const ROUTER_INTERFACE: &str = "ri-";

/// Whether a policy gives an address where a device of the cloud has ids.
fn is_incomparable(by: &ExportedRoute, id: &str) -> bool {
    let is_address = |hop: &str| hop.parse::<IpAddr>().is_ok();
    is_address(id) && !by.hops.is_empty() && by.hops.iter().all(|hop| hop.starts_with(ROUTER_INTERFACE))
}

/// A next hop in the one form that is compared: an address may be written in several ways.
fn canonical(hop: &str) -> String {
    hop.parse().map_or_else(|_| hop.to_owned(), |address: IpAddr| address.to_string())
}
