//! How routes are derived: destinations, next hops, and why they are there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::cover::{cover, widened};
use super::demand::{Demand, Line, Name};
use super::table::{Cause, HopKind, NextHop, Route, TooSmall, Widening};
use crate::catalog::{Catalog, Element, RouteDirection, RouteRow, Towards, Zone};
use crate::intent::Origin;
use crate::net::{Family, Prefix, PrefixSet};
use crate::policy::path::{CloudId, Path, TransitKind};
use crate::policy::syntax::Policy;
use crate::policy::{addresses, zone};
use crate::site::Scope;
use crate::source::Spanned;

/// Whether a path has the device: between VBR and VPC there may be none, and a VPN has no leased line.
pub(super) fn is_there(element: Element, transit: TransitKind) -> bool {
    match element {
        Element::CoreSwitch | Element::Vpc => true,
        Element::Vbr => transit != TransitKind::Vpn,
        Element::Transit => !matches!(transit, TransitKind::Direct | TransitKind::Vpn),
    }
}

/// Derives the routes of one plan.
pub(super) struct Builder<'a, 'b> {
    pub(super) policy: &'a Policy,
    pub(super) path: &'a Path,
    pub(super) scope: Scope,
    pub(super) widening: Widening,
    pub(super) needed: &'b [Demand<'a>],
    pub(super) line: &'b Line,
}

impl<'a> Builder<'a, '_> {
    pub(super) fn limit(&self, element: Element, catalog: &Catalog) -> Option<u32> {
        let limits = &catalog.elements.limits;
        match element {
            Element::Vbr => Some(self.path.vbr.max_routes.map_or(limits.vbr_routes.0, |max| max.value.0)),
            Element::Vpc => Some(limits.vpc_routes.0),
            Element::CoreSwitch | Element::Transit => None,
        }
    }

    /// The destinations of a row in order, each with whether it is an answer of DNS.
    pub(super) fn destinations(&self, row: &RouteRow) -> Vec<(Prefix, bool)> {
        // Of the cloud's services, the fine scope routes what the flows need; all other zones are routed as they are.
        let mut fixed = addresses(self.policy, &self.whole_zones(row));
        let mut answers = BTreeSet::new();
        if row.zones.iter().any(|zone| self.is_narrowed(*zone)) {
            let services = &self.line.services;
            let needed = || self.needed.iter().filter(|demand| demand.addresses.overlaps(services));
            let written = needed().filter(|demand| demand.name.is_none());
            let sets: Vec<PrefixSet> = written.map(|demand| demand.addresses.intersection(services)).collect();
            fixed = PrefixSet::union_of([&fixed].into_iter().chain(&sets));
            let names = needed().filter_map(|demand| demand.name.as_ref());
            let known = names.flat_map(|name| &name.addresses).map(|(address, _)| *address);
            answers.extend(known.filter(|address| !fixed.contains(*address) && services.contains(*address)));
        }
        let answers = answers.into_iter().map(|address| (Prefix::from(address), true));
        let mut all: Vec<(Prefix, bool)> = fixed.prefixes().map(|prefix| (prefix, false)).chain(answers).collect();
        all.sort_by_key(|(prefix, _)| *prefix);
        all
    }

    fn is_narrowed(&self, zone: Zone) -> bool {
        self.scope == Scope::Fine && zone == Zone::CloudServices
    }

    /// The zones that are routed as they are. A vSwitch that is not inside `networks.vpc` belongs to the VPC anyway.
    fn whole_zones(&self, row: &RouteRow) -> Vec<Zone> {
        let expanded = |zone: Zone| match zone {
            Zone::Vpc => vec![Zone::Vpc, Zone::Vswitches, Zone::PodVswitches],
            _ => vec![zone],
        };
        row.zones.iter().copied().filter(|zone| !self.is_narrowed(*zone)).flat_map(expanded).collect()
    }

    /// The destinations, widened as far as that was asked for. `fixed` routes of the table are not among them.
    pub(super) fn fitted(
        &self,
        element: Element,
        mut destinations: Vec<(Prefix, bool)>,
        fixed: usize,
    ) -> Result<Vec<(Prefix, bool)>, TooSmall> {
        let own = [Zone::Hosts, Zone::Pods, Zone::Services, Zone::Management, Zone::DnsServers];
        let forbidden = addresses(self.policy, &own);
        if let Some(length) = self.widening.names {
            let widen = |prefix: Prefix| {
                let address = prefix.net().network();
                let host_bits = 32 - length.min(32);
                widened(address, prefix.net().max_prefix_len() - host_bits, &forbidden)
            };
            let written: PrefixSet =
                destinations.iter().filter(|(_, from_dns)| !from_dns).map(|(prefix, _)| *prefix).collect();
            let wide: PrefixSet =
                destinations.iter().filter(|(_, from_dns)| *from_dns).map(|(prefix, _)| widen(*prefix)).collect();
            // A widened route may hold others, which then need none of their own.
            let all = written.union(&wide);
            let holds = |prefix: &Prefix| PrefixSet::from_iter([*prefix]).is_subset(&written);
            destinations = all.prefixes().map(|prefix| (prefix, !holds(&prefix))).collect();
        }
        if let Some(max) = self.widening.max_entries {
            let too_small = TooSmall { element, max };
            let left =
                max.checked_sub(fixed).filter(|left| *left > 0 || destinations.is_empty()).ok_or(too_small.clone())?;
            if destinations.len() > left {
                let set: PrefixSet = destinations.iter().map(|(prefix, _)| *prefix).collect();
                let answers: PrefixSet =
                    destinations.iter().filter(|(_, from_dns)| *from_dns).map(|(prefix, _)| *prefix).collect();
                let mut all = cover(&set, left, &forbidden).ok_or(too_small)?;
                all.sort();
                let depends = |prefix: &Prefix| PrefixSet::from_iter([*prefix]).intersection(&set).is_subset(&answers);
                destinations = all.into_iter().map(|prefix| (prefix, depends(&prefix))).collect();
            }
        }
        Ok(destinations)
    }

    pub(super) fn finish(&self, row: &'a RouteRow, prefixes: Vec<(Prefix, bool)>) -> Vec<Route<'a>> {
        let routes = prefixes.into_iter().map(|(prefix, from_dns)| Route {
            direction: row.direction,
            prefix,
            next_hop: self.next_hop(row, prefix.family()),
            flows: BTreeSet::new(),
            row,
            causes: Vec::new(),
            from_dns,
        });
        let mut routes: Vec<Route<'a>> = routes.collect();
        self.attribute(row, &self.whole_zones(row), &mut routes);
        routes
    }

    /// Says of each route which flows need it, and why it has its destination.
    fn attribute(&self, row: &'a RouteRow, zones: &[Zone], routes: &mut [Route<'a>]) {
        for prefix in zones.iter().flat_map(|one| zone(self.policy, *one)) {
            for route in within(routes, prefix.value) {
                route.causes.push(Cause::Zone(prefix.value, Origin::Policy(prefix.span)));
            }
        }
        match row.direction {
            RouteDirection::Down => {
                for route in routes {
                    let destination = PrefixSet::from_iter([route.prefix]);
                    let family = route.prefix.family();
                    // No packet has ends of two families.
                    let led = self.needed.iter().filter(|demand| {
                        demand.local.overlaps(&destination) && !demand.addresses.only(family).is_empty()
                    });
                    route.flows.extend(led.map(|demand| demand.flow));
                }
            }
            RouteDirection::Up => self.needed.iter().for_each(|demand| demand.attribute(routes)),
        }
    }

    fn next_hop(&self, row: &RouteRow, family: Family) -> NextHop {
        let Path { core_switch, vbr, transit, vpc, .. } = self.path;
        let id = |id: &Option<CloudId>| id.as_ref().map(|id| id.0.clone());
        let address = |address: &Option<Spanned<IpAddr>>| {
            let address = address.as_ref().map(|address| address.value);
            address.filter(|address| Family::of(*address) == family).map(|address| address.to_string())
        };
        let (kind, id) = match (row.next_hop, transit.kind) {
            (Towards::Servers, _) => (HopKind::Servers, None),
            (Towards::CoreSwitch, _) => (HopKind::CoreSwitch, address(&vbr.idc_ip)),
            // The core switch sees an address, the devices of the cloud see ids.
            (Towards::Vbr, kind) if row.element.value == Element::CoreSwitch => {
                let hop = if kind == TransitKind::Vpn { HopKind::Vpn } else { HopKind::Vbr };
                let own = [&core_switch.next_hop, &core_switch.next_hop_v6, &vbr.cloud_ip];
                (hop, own.into_iter().find_map(address))
            }
            (Towards::Vbr, TransitKind::Cen) => (HopKind::Vbr, id(&transit.vbr_attachment).or_else(|| id(&vbr.id))),
            (Towards::Vbr, _) => (HopKind::Vbr, id(&vbr.id)),
            (Towards::Vpc, TransitKind::Ecr) => (HopKind::Vpc, id(&transit.vpc_association).or_else(|| id(&vpc.id))),
            (Towards::Vpc, TransitKind::Cen) => (HopKind::Vpc, id(&transit.vpc_attachment).or_else(|| id(&vpc.id))),
            (Towards::Vpc, _) => (HopKind::Vpc, id(&vpc.id)),
            (Towards::Transit, TransitKind::Direct) if row.direction == RouteDirection::Up => {
                (HopKind::Vpc, id(&vpc.id))
            }
            (Towards::Transit, TransitKind::Direct) => (HopKind::Vbr, id(&vbr.id)),
            // The route table of a VPC names the association, not the router.
            (Towards::Transit, TransitKind::Ecr) if row.element.value == Element::Vpc => {
                (HopKind::Ecr, id(&transit.vpc_association).or_else(|| id(&transit.id)))
            }
            (Towards::Transit, TransitKind::Ecr) => (HopKind::Ecr, id(&transit.id)),
            (Towards::Transit, TransitKind::Cen) if row.element.value == Element::Vpc => {
                (HopKind::Cen, id(&transit.vpc_attachment).or_else(|| id(&transit.id)))
            }
            (Towards::Transit, TransitKind::Cen) => (HopKind::Cen, id(&transit.id)),
            (Towards::Transit, TransitKind::CenBasic) => (HopKind::CenBasic, id(&transit.id)),
            (Towards::Transit, TransitKind::Vpn) => (HopKind::Vpn, id(&transit.id)),
        };
        NextHop { kind, id }
    }
}

impl<'a> Demand<'a> {
    fn attribute(&self, routes: &mut [Route<'a>]) {
        match &self.name {
            None => {
                for prefix in self.addresses.prefixes() {
                    for route in within(routes, prefix) {
                        route.flows.insert(self.flow);
                        let known =
                            |cause: &Cause<'_>| matches!(cause, Cause::Prefixes(origin) if *origin == self.origin);
                        if !route.causes.iter().any(|cause| matches!(cause, Cause::Zone(..)) || known(cause)) {
                            route.causes.push(Cause::Prefixes(self.origin));
                        }
                    }
                }
            }
            Some(Name { name, record, addresses }) => {
                for (address, seen) in addresses {
                    for route in within(routes, Prefix::from(*address)) {
                        route.flows.insert(self.flow);
                        let known = |cause: &Cause<'_>| matches!(cause, Cause::Answer { name: other, address: at, .. } if other == name && at == address);
                        if route.from_dns && !route.causes.iter().any(known) {
                            let (address, seen, origin) = (*address, *seen, self.origin);
                            route.causes.push(Cause::Answer { address, name, record, seen, origin });
                        }
                    }
                }
            }
        }
    }
}

/// The routes, which are in the order of their prefixes and disjoint, that overlap a prefix.
fn within<'r, 'a>(routes: &'r mut [Route<'a>], prefix: Prefix) -> impl Iterator<Item = &'r mut Route<'a>> {
    let net = prefix.net();
    let first = routes.partition_point(|route| route.prefix.net().broadcast() < net.network());
    routes[first..].iter_mut().take_while(move |route| route.prefix.net().network() <= net.broadcast())
}
