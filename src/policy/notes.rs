//! What a policy leaves to its operator: zones that nothing reads, and what the catalog does not know.

use std::collections::{BTreeMap, BTreeSet};

use super::syntax::{Allow, Policy};
use super::zones::{prefixes, zone, zone_field};
use crate::catalog::{Catalog, EndKind, Zone};
use crate::diag::{Code, Problems};
use crate::intent::Side;
use crate::net::{Prefix, PrefixSet};
use crate::site::{Connection, Scope, Site, Target};
use crate::source::Spanned;
use crate::yaml::PrefixOrName;

/// Reports what needs no change, but perhaps a row.
pub(super) fn check(policy: &Policy, site: &Site, catalog: &Catalog, problems: &mut Problems) {
    if catalog.cni(&site.cni, site.cluster, site.connection).is_none() {
        // An error of its own; the flows would be those of another cluster.
        return;
    }
    check_unread(policy, site, catalog, problems);
    check_left_out(policy, site, catalog, problems);
    check_needs(policy, site, catalog, problems);
    check_pod_source(policy, site, problems);
    check_node_ports(policy, site, problems);
    check_public(policy, site, problems);
}

/// The zones that the catalog's rows read, on a host or on a gateway: one policy may be compiled for both.
fn read_zones(policy: &Policy, site: &Site, catalog: &Catalog) -> BTreeSet<Zone> {
    let mut read = BTreeSet::from([Zone::Hosts]);
    if site.connection == Connection::ExpressConnect {
        // Answers to the cloud's internal names are accepted inside these only.
        read.extend([Zone::Vpc, Zone::CloudServices]);
    }
    for target in Target::ALL {
        let scope = if *target == site.target { site.scope } else { Scope::Fine };
        let site = Site { target: *target, scope, ..site.clone() };
        for row in catalog.flows_of(&site) {
            let ends = row.local.iter().chain(&row.peers).filter(|end| end.when.holds(&site));
            for end in ends {
                if let EndKind::Zone { zone: first, fallback, .. } = end.kind {
                    read.insert(first);
                    read.extend(fallback.filter(|_| zone(policy, first).is_empty()));
                }
            }
        }
    }
    read
}

/// Notes zones that are filled and that no flow reads.
fn check_unread(policy: &Policy, site: &Site, catalog: &Catalog, problems: &mut Problems) {
    let read = read_zones(policy, site, catalog);
    let networks = &policy.networks.value;
    for zone in Zone::ALL.iter().filter(|zone| !read.contains(zone)) {
        if let Some(first) = networks.zone(*zone).first() {
            let (field, cluster, cni) = (zone_field(*zone), site.cluster, &site.cni);
            let message = format!("`{field}` permits nothing: no flow reads it");
            let help = format!(
                "remove it, or correct what the site is: a cluster of the kind `{cluster}` with the CNI `{cni}` over \
                 `{}`",
                site.connection
            );
            problems.push_with_help(Code::UnusedZone, first.span, message, help);
        }
    }
}

/// Notes zones that a flow reads beside one that narrows its peers, and that are empty while the other one is filled.
fn check_left_out(policy: &Policy, site: &Site, catalog: &Catalog, problems: &mut Problems) {
    let mut left_out: BTreeMap<(Zone, Zone), BTreeSet<&str>> = BTreeMap::new();
    let filled = |kind: &EndKind| match *kind {
        EndKind::Zone { zone: narrow, fallback: Some(_), .. } if !zone(policy, narrow).is_empty() => Some(narrow),
        _ => None,
    };
    let empty = |kind: &EndKind| match *kind {
        EndKind::Zone { zone: other, optional: true, .. } if zone(policy, other).is_empty() => Some(other),
        _ => None,
    };
    for row in catalog.flows_of(site) {
        let kinds = || row.peers.iter().filter(|end| end.when.holds(site)).map(|end| &end.kind);
        for (narrow, other) in
            kinds().filter_map(filled).flat_map(|one| kinds().filter_map(empty).map(move |it| (one, it)))
        {
            left_out.entry((narrow, other)).or_default().insert(row.id.value.as_str());
        }
    }
    for ((narrow, other), flows) in left_out {
        let (narrow, other) = (zone_field(narrow), zone_field(other));
        let flows: Vec<String> = flows.into_iter().map(|flow| format!("`{flow}`")).collect();
        let message =
            format!("`{other}` is empty, and `{narrow}` is not: {} take nothing from pods there", flows.join(", "));
        let help = format!("list the vSwitches of pods in `{other}`: Metrics Server and Prometheus are pods");
        problems.push_with_help(Code::NoPodVswitches, policy.networks.span, message, help);
    }
}

/// Notes that any interface may bring the packets of pods. A policy that does not compile opens nothing.
fn check_pod_source(policy: &Policy, site: &Site, problems: &mut Problems) {
    let networks = &policy.networks.value;
    let Some(pods) = networks.pods.first() else { return };
    if site.target == Target::EdgeHost && networks.pod_interfaces.is_empty() && !problems.has_errors() {
        let message = "a packet is taken for one of a pod by its source address alone, whichever interface brings it";
        let help = "list the interfaces of the CNI in `networks.pod-interfaces`, such as `[cni0, flannel.1]` or \
                    `[\"veth*\"]`; without it, only `rp_filter` 1 keeps out neighbours that write the address of a pod, \
                    not 0 or 2";
        problems.push_with_help(Code::PodSource, pods.span, message, help);
    }
}

/// Notes clients of NodePorts whose address may be the host's own: what IPVS sends on for them leaves the host with it.
fn check_node_ports(policy: &Policy, site: &Site, problems: &mut Problems) {
    let Some(node_ports) = policy.node_ports().filter(|_| site.target == Target::EdgeHost) else { return };
    let hosts = prefixes(&policy.networks.value.hosts);
    let overlaps = |client: &&Spanned<Prefix>| PrefixSet::from_iter([client.value]).overlaps(&hosts);
    if let Some(client) = node_ports.from.value.iter().find(overlaps).filter(|_| !problems.has_errors()) {
        let message = format!(
            "`{}` overlaps `networks.hosts`: the flow `ipvs-endpoints` also permits what programs of such a host send to \
             other hosts",
            client.value
        );
        let help = "narrow `kube-proxy.node-ports.from` to the clients, if no host is one";
        problems.push_with_help(Code::NodePortClients, client.span, message, help);
    }
}

/// Warns of rows for addresses of the VPC over the public network, which does not lead there.
fn check_public(policy: &Policy, site: &Site, problems: &mut Problems) {
    if site.connection != Connection::Public {
        return;
    }
    let inside = |peer: Prefix| {
        let peer = PrefixSet::from_iter([peer]);
        let zones = [Zone::Vpc, Zone::Vswitches, Zone::PodVswitches].into_iter();
        zones.map(|one| (one, prefixes(policy.networks.value.zone(one)))).find(|(_, zone)| peer.is_subset(zone))
    };
    for peer in policy.allow.iter().flat_map(Allow::written_peers) {
        let PrefixOrName::Prefix(prefix) = peer.value else { continue };
        if let Some((zone, _)) = inside(prefix) {
            let message = format!(
                "`{prefix}` is inside `{}`: over the public network, pods and hosts of the data centre and those of the \
                 VPC cannot reach each other",
                zone_field(zone)
            );
            let help = "remove the peer, write the public address of the service, or join the two by a leased line";
            problems.push_with_help(Code::PublicPods, peer.span, message, help);
        }
    }
}

/// Notes what only the operator can name, unless a row of the policy is about it.
fn check_needs(policy: &Policy, site: &Site, catalog: &Catalog, problems: &mut Problems) {
    for need in catalog.needs_of(site).filter(|need| !need.optional) {
        let needed = need.traffic();
        let meets = |row: &&Allow| {
            row.id.value.0 == need.id.value || row.ports.value.iter().any(|traffic| traffic.overlaps(&needed))
        };
        let mut outbound = policy.allow.iter().filter(|row| row.direction == Side::Outbound);
        if !outbound.any(|row| meets(&row)) {
            let message = format!("the catalog does not know {}, and no row of `allow` does", need.purpose);
            let help = format!("add a row with your own peers to `allow`: `{}`", need.allow_rows().join("\n"));
            problems.push_with_help(Code::UnlistedNeed, policy.name.span, message, help);
        }
    }
}
