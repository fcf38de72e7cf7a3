//! Destinations looked up in a table as a device does: the longest prefix wins.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::exported::{Exported, ExportedRoute};
use crate::net::{Prefix, PrefixSet};

/// A table in the order of its destinations. A lookup costs as much as the routes inside of the destination are many, not
/// as the table is long.
pub(super) struct Lookup<'a> {
    sorted: Vec<&'a ExportedRoute>,
    by_destination: BTreeMap<IpNet, &'a ExportedRoute>,
}

/// Where a part of a destination goes.
pub(super) struct Part<'a> {
    /// The part; never empty.
    pub(super) destinations: PrefixSet,
    /// The route that it goes by.
    pub(super) by: Option<&'a ExportedRoute>,
    /// The route that it would go by without that one.
    pub(super) otherwise: Option<&'a ExportedRoute>,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(exported: &'a Exported) -> Self {
        let mut sorted: Vec<&ExportedRoute> = exported.routes.iter().collect();
        sorted.sort_by_key(|route| route.prefix);
        let by_destination = sorted.iter().map(|route| (route.prefix.net(), *route)).collect();
        Self { sorted, by_destination }
    }

    /// The route to exactly a destination.
    pub(super) fn exact(&self, destination: Prefix) -> Option<&'a ExportedRoute> {
        self.by_destination.get(&destination.net()).copied()
    }

    /// The parts of a destination.
    pub(super) fn parts(&self, destination: Prefix) -> Vec<Part<'a>> {
        let mut wider = self.wider(destination.net());
        let (by, otherwise) = (wider.next(), wider.next());
        // The routes inside, each after those that hold it; and what has a longer prefix inside of each, and of all.
        let inside = self.inside(destination.net());
        let mut holes: Vec<Vec<Prefix>> = vec![Vec::new(); inside.len()];
        let mut own_holes = Vec::new();
        let mut holders: Vec<Option<usize>> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        for (at, route) in inside.iter().enumerate() {
            while open.last().is_some_and(|last| !inside[*last].prefix.net().contains(&route.prefix.net())) {
                open.pop();
            }
            match open.last() {
                Some(holder) => holes[*holder].push(route.prefix),
                None => own_holes.push(route.prefix),
            }
            holders.push(open.last().copied());
            open.push(at);
        }
        let without =
            |whole: Prefix, holes: Vec<Prefix>| PrefixSet::from_iter([whole]).difference(&holes.into_iter().collect());
        let mut parts = vec![Part { destinations: without(destination, own_holes), by, otherwise }];
        for ((route, holes), holder) in inside.iter().zip(holes).zip(holders) {
            let otherwise = holder.map_or(by, |holder| Some(inside[holder]));
            parts.push(Part { destinations: without(route.prefix, holes), by: Some(route), otherwise });
        }
        parts.retain(|part| !part.destinations.is_empty());
        parts
    }

    /// The routes that hold a destination, or are exactly to it: the longest prefix first.
    fn wider(&self, net: IpNet) -> impl Iterator<Item = &'a ExportedRoute> {
        let lengths = (0..=net.prefix_len()).rev();
        let cut = move |length| IpNet::new(net.addr(), length).ok().map(|net| net.trunc());
        lengths.filter_map(move |length| self.by_destination.get(&cut(length)?).copied())
    }

    /// The routes to parts of a destination, in the order of their addresses and lengths.
    fn inside(&self, net: IpNet) -> Vec<&'a ExportedRoute> {
        let from = self.sorted.partition_point(|route| route.prefix.net().network() < net.network());
        let until = |route: &&&ExportedRoute| route.prefix.net().network() <= net.broadcast();
        let longer = |route: &&ExportedRoute| route.prefix.net().prefix_len() > net.prefix_len();
        self.sorted[from..].iter().take_while(until).copied().filter(longer).collect()
    }
}
