//! From the policy as written to what it means, with the checks across fields.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::catalog::{
    Catalog, Direction, EndRow, Endpoint, FlowRow, OssNames, OssNetwork, Region, RegionPrefixes, WhenEmpty, Zone,
};
use crate::diag::{Code, Problems};
use crate::intent::{Declared, Denials, End, Flow, Gateway, Intent, Origin, Part, PartKind, Rate, RateUnit, Side};
use crate::net::{Family, PortSet, Prefix, PrefixSet, Traffic, Verdict};
use crate::site::{ClusterKind, ClusterVersion, Connection, Mode, Phase, Scope, Site, Target};
use crate::source::{Span, Spanned};
use crate::yaml::{AddressOrName, PrefixOrName};

use super::syntax::{Allow, AllowDirection, Covers, Networks, Policy};

/// The first cluster version without tunnel servers (public-network, "During ongoing cluster operations").
const NO_TUNNEL_SERVERS: ClusterVersion = ClusterVersion { major: 1, minor: 26 };
const SSH_PORT: u16 = 22;
const LOG_RATE: Rate = Rate { count: 10, per: RateUnit::Second };

/// Turns a policy into flows; `target` stands in place of the policy's own.
///
/// Every problem is recorded; `None` where one of them is an error.
pub fn check(
    policy: &Policy,
    catalog: &Catalog,
    target: Option<Target>,
    problems: &mut Problems,
) -> Option<Intent<Declared>> {
    let target = target.unwrap_or(policy.target);
    policy.check_resolve(problems);
    let Some(region) = catalog.region(&policy.region.value) else {
        let message = format!("`{}` is not a region of the catalog", policy.region.value.escape_debug());
        let help = catalog.suggest_region(&policy.region.value);
        problems.push_with_help(Code::UnknownRegion, policy.region.span, message, help);
        // What follows depends on the region's row, but not the checks of the networks.
        check_networks(policy, problems);
        return None;
    };
    let site = site(policy, catalog, target, problems);
    check_networks(policy, problems);
    check_cluster(policy, &site, problems);
    let mut builder = Builder { policy, site: &site, region, oss: oss_names(policy, region), gaps: Gaps::default() };
    let mut flows: Vec<Flow<Declared>> = catalog.flows_of(&site).flat_map(|row| builder.flows(row, problems)).collect();
    flows.extend(operators_flows(policy, catalog, target, problems));
    // The flow that names a packet's port is the one to blame or thank, before one that opens everything.
    flows.sort_by_key(|flow| flow.traffic == Traffic::Any);
    if policy.networks.value.hosts.is_empty() {
        builder.gaps.zones.entry(Zone::Hosts).or_default();
    }
    builder.gaps.report(policy, region, problems);
    let gateway = (target == Target::IdcGateway).then(|| gateway(policy, &site));
    (!problems.has_errors()).then(|| Intent {
        name: policy.name.value.0.clone(),
        target,
        mode: policy.mode.unwrap_or(Mode::Enforce),
        denials: Denials {
            input: policy.deny.inbound.map_or(Verdict::Drop, Verdict::from),
            output: policy.deny.outbound.map_or(Verdict::Reject, Verdict::from),
            forward: policy.deny.forward.map_or(Verdict::Reject, Verdict::from),
        },
        log: policy.log.rate.unwrap_or(LOG_RATE),
        gateway,
        flows,
    })
}

fn site(policy: &Policy, catalog: &Catalog, target: Target, problems: &mut Problems) -> Site {
    let (cluster, connection, cni) = (policy.cluster.kind, policy.connection.value, policy.cni.value);
    let row = catalog.cni(cni, cluster, connection);
    if cluster == ClusterKind::Registered && connection == Connection::Public {
        let message = "a registered cluster joins over a leased line only";
        let help = "write `connection: express-connect`, or `kind: ack-edge`";
        problems.push_with_help(Code::ConnectionNotOffered, policy.connection.span, message, help);
    } else if row.is_none() {
        let message = format!("the CNI `{cni}` is not offered by `{cluster}` clusters over `{connection}`");
        let offered = catalog.offered_cnis(cluster, connection);
        problems.push_with_help(Code::CniNotOffered, policy.cni.span, message, crate::diag::one_of(&offered));
    }
    let scope = policy.scope.map_or(Scope::Fine, |scope| scope.value);
    if let (Some(written), Scope::Broad) = (policy.scope, scope)
        && (target != Target::IdcGateway || connection != Connection::ExpressConnect)
    {
        let message = "`broad` exists on an IDC gateway over a leased line only";
        let help = "write `scope: fine`, or give edge hosts a policy of their own";
        problems.push_with_help(Code::ScopeNotOffered, written.span, message, help);
    }
    Site {
        target,
        region: policy.region.value.clone(),
        connection,
        cluster,
        version: policy.cluster.version,
        cni,
        routed: row.is_some_and(|row| row.routed),
        phase: policy.phase.unwrap_or(Phase::Steady),
        scope,
        self_host_ntp: policy.cluster.self_host_ntp.unwrap_or(false),
    }
}

fn prefixes(written: &[Spanned<Prefix>]) -> PrefixSet {
    written.iter().map(|prefix| prefix.value).collect()
}

/// The prefixes of a zone, with their places.
fn zone(policy: &Policy, zone: Zone) -> Vec<Spanned<Prefix>> {
    let networks: &Networks = &policy.networks.value;
    match zone {
        Zone::Vpc => networks.vpc.clone(),
        Zone::Vswitches => networks.vswitches.clone(),
        Zone::PodVswitches => networks.pod_vswitches.clone(),
        Zone::Hosts => networks.hosts.clone(),
        Zone::Pods => networks.pods.clone(),
        Zone::Services => networks.services.clone(),
        Zone::CloudServices => networks.cloud_services.clone(),
        Zone::BgpPeers => networks.bgp_peers.clone(),
        Zone::Management => policy.management.as_ref().map(|section| section.value.from.clone()).unwrap_or_default(),
        Zone::DnsServers => {
            let servers = policy.dns.iter().flat_map(|section| &section.value.servers);
            servers.map(|server| server.map(Prefix::from)).collect()
        }
    }
}

/// Where the policy would say a zone, for messages.
fn zone_field(zone: Zone) -> String {
    match zone {
        Zone::Management => "management.from".to_owned(),
        Zone::DnsServers => "dns.servers".to_owned(),
        _ => format!("networks.{zone}"),
    }
}

/// Reports every prefix of a zone that shares addresses with one of another zone; tells whether there was one.
fn overlap(policy: &Policy, one: Zone, other: Zone, code: Code, help: &str, problems: &mut Problems) -> bool {
    let others = zone(policy, other);
    let mut found = false;
    for prefix in zone(policy, one) {
        let set = PrefixSet::from_iter([prefix.value]);
        if let Some(twin) = others.iter().find(|twin| set.overlaps(&PrefixSet::from_iter([twin.value]))) {
            let (one, other) = (zone_field(one), zone_field(other));
            let message = format!("`{}` of `{one}` shares addresses with `{}` of `{other}`", prefix.value, twin.value);
            problems.push_with_help(code, prefix.span, message, help);
            found = true;
        }
    }
    found
}

fn check_networks(policy: &Policy, problems: &mut Problems) {
    const HOSTS_HELP: &str = "write the prefixes of each side so that they are disjoint: between hosts that are also \
                              cloud addresses nothing could be filtered";
    for cloud in [Zone::Vpc, Zone::Vswitches, Zone::PodVswitches, Zone::CloudServices] {
        overlap(policy, Zone::Hosts, cloud, Code::HostsOverlap, HOSTS_HELP, problems);
    }
    const PODS_HELP: &str = "pods need addresses of their own";
    let registered = policy.cluster.kind == ClusterKind::Registered;
    let mut vswitches = false;
    for cloud in [Zone::Vswitches, Zone::PodVswitches] {
        vswitches |= overlap(policy, Zone::Pods, cloud, Code::PodsOverlap, PODS_HELP, problems);
    }
    if !vswitches {
        let code = if registered { Code::PodsInsideVpc } else { Code::PodsOverlap };
        for other in [Zone::Vpc, Zone::Hosts] {
            overlap(policy, Zone::Pods, other, code, PODS_HELP, problems);
        }
    }
    let vpc = prefixes(&policy.networks.value.vpc);
    for switches in [Zone::Vswitches, Zone::PodVswitches] {
        for prefix in zone(policy, switches) {
            if !vpc.is_empty() && !PrefixSet::from_iter([prefix.value]).is_subset(&vpc) {
                let message = format!("`{}` of `{}` is not inside `networks.vpc`", prefix.value, zone_field(switches));
                let help = "a VPC may have several prefixes: list them all in `networks.vpc`";
                problems.push_with_help(Code::VswitchOutsideVpc, prefix.span, message, help);
            }
        }
    }
}

fn check_cluster(policy: &Policy, site: &Site, problems: &mut Problems) {
    let cluster = &policy.cluster;
    let leased = site.connection == Connection::ExpressConnect;
    let unused = [
        (&cluster.raven_gateways, leased, "Raven's gateways are used over the public network only"),
        (&cluster.tunnel_servers, leased, "tunnel servers are used over the public network only"),
        (
            &cluster.tunnel_servers,
            !leased && site.version >= NO_TUNNEL_SERVERS,
            "clusters from 1.26 on have no tunnel servers",
        ),
    ];
    for (machines, is_unused, message) in unused {
        if let (Some(first), true) = (machines.first(), is_unused) {
            problems.push_with_help(
                Code::UnusedField,
                first.span,
                message,
                "remove the list, or mend what it contradicts",
            );
        }
    }
    if let AddressOrName::Address(address) = cluster.api_server.value
        && site.cluster == ClusterKind::Registered
        && !prefixes(&policy.networks.value.hosts).contains(address)
    {
        let message = format!("the API server `{address}` of a registered cluster is not inside `networks.hosts`");
        let help = "its control plane is in the data centre: add its prefix to `networks.hosts`";
        problems.push_with_help(Code::ApiServerOutsideHosts, cluster.api_server.span, message, help);
    }
    if site.target == Target::EdgeHost {
        let section = |span: Option<Span>| span.unwrap_or(policy.name.span);
        if zone(policy, Zone::Management).is_empty() {
            let span = section(policy.management.as_ref().map(|section| section.span));
            let message = "no prefix may reach the host by SSH: `management.from` is empty";
            let help = "write `management: {from: [10.0.0.0/24]}` with the prefixes that you manage hosts from";
            problems.push_with_help(Code::NoManagement, span, message, help);
        }
        if zone(policy, Zone::DnsServers).is_empty() {
            let span = section(policy.dns.as_ref().map(|section| section.span));
            let message = "the host may ask no DNS server: `dns.servers` is empty";
            problems.push_with_help(Code::NoDns, span, message, "write `dns: {servers: [10.0.0.53]}`");
        }
    }
    // RFC 6598; what lies outside of it in 100.0.0.0/8 belongs to others on the internet.
    let [cloud, shared] = [8, 10].map(|length| Ipv4Net::new(Ipv4Addr::new(100, 64, 0, 0), length).map(Prefix::from));
    let foreign = PrefixSet::from_iter(cloud).difference(&PrefixSet::from_iter(shared));
    let public = |prefix: &&Spanned<Prefix>| PrefixSet::from_iter([prefix.value]).overlaps(&foreign);
    if let (Scope::Broad, Some(wide)) = (site.scope, policy.networks.value.cloud_services.iter().find(public)) {
        let message = format!("`{}` holds public addresses outside of 100.64.0.0/10", wide.value);
        let help = "`scope: fine` opens only the prefixes that the cluster needs";
        problems.push_with_help(Code::BroadPublic, wide.span, message, help);
    }
    if site.connection == Connection::Public && site.cluster == ClusterKind::AckEdge {
        let message = "image layers may come from OSS hosts that no document names";
        let help = "where pulls fail, add an `allow` row for the host that the container runtime reports";
        problems.push_with_help(Code::UnnamedLayers, policy.connection.span, message, help);
    }
}

fn gateway(policy: &Policy, site: &Site) -> Gateway<Declared> {
    let [hosts, pods]: [Vec<Part>; 2] =
        [Zone::Hosts, Zone::Pods].map(|name| zone(policy, name).into_iter().map(written).collect());
    let mut covered: Vec<Part> = hosts.clone();
    if site.routed {
        covered.extend_from_slice(&pods);
    }
    let everything = policy.gateway.covers == Some(Covers::Everything);
    // A registered cluster's API server is in the data centre, whatever prefix it has. Where all else is denied, its
    // packets must be judged, too.
    if everything && site.cluster == ClusterKind::Registered {
        covered.push(machine(&policy.cluster.api_server));
    }
    Gateway { covered, hosts, pods, everything, stateless: policy.gateway.stateless.unwrap_or(false) }
}

fn written(prefix: Spanned<Prefix>) -> Part {
    Part { kind: PartKind::Prefixes([prefix.value].into_iter().collect()), origin: Origin::Policy(prefix.span) }
}

fn machine(written: &Spanned<AddressOrName>) -> Part {
    let kind = match &written.value {
        AddressOrName::Address(address) => PartKind::Prefixes([*address].into_iter().collect()),
        AddressOrName::Name(name) => PartKind::Name { name: name.clone(), optional: false },
    };
    Part { kind, origin: Origin::Policy(written.span) }
}

fn oss_network(policy: &Policy) -> OssNetwork {
    policy.overrides.oss_network.map_or(OssNetwork::Internal, |network| network.value)
}

fn oss_names(policy: &Policy, region: &Region) -> OssNames {
    if let Some(endpoint) = &policy.overrides.oss_endpoint {
        let endpoint = vec![endpoint.value.clone()];
        return OssNames { internal: endpoint.clone(), public: endpoint };
    }
    let row = region.oss(oss_network(policy));
    OssNames {
        internal: row.map(|row| row.endpoints.clone()).unwrap_or_default(),
        public: row.and_then(|row| row.public_endpoint.clone()).into_iter().collect(),
    }
}

/// What the catalog or the policy lacks, and which flows need it.
#[derive(Default)]
struct Gaps {
    zones: BTreeMap<Zone, BTreeSet<String>>,
    region: BTreeMap<(&'static str, &'static str), BTreeSet<String>>,
}

impl Gaps {
    fn report(self, policy: &Policy, region: &Region, problems: &mut Problems) {
        let list = |flows: &BTreeSet<String>| {
            let quoted: Vec<String> = flows.iter().map(|flow| format!("`{flow}`")).collect();
            quoted.join(", ")
        };
        for (zone, flows) in &self.zones {
            let field = zone_field(*zone);
            let message = match flows.is_empty() {
                true => format!("`{field}` is empty"),
                false => format!("`{field}` is empty, and needed by {}", list(flows)),
            };
            let help = format!("write its prefixes: `{field}` is a list such as `[10.0.0.0/8]`");
            problems.push_with_help(Code::MissingZone, policy.networks.span, message, help);
        }
        for ((what, field), flows) in &self.region {
            let message = format!("the catalog has no {what} of `{}`, needed by {}", region.id.value, list(flows));
            let help = format!("supply it in `overrides.{field}`");
            problems.push_with_help(Code::RegionDataMissing, policy.region.span, message, help);
        }
    }
}

/// Turns catalog rows into flows of one site.
struct Builder<'a> {
    policy: &'a Policy,
    site: &'a Site,
    region: &'a Region,
    oss: OssNames,
    gaps: Gaps,
}

impl Builder<'_> {
    fn flows(&mut self, row: &FlowRow, problems: &mut Problems) -> Vec<Flow<Declared>> {
        let peers = self.end(row, &row.peers, problems);
        let local = self.local(row, problems);
        if [&peers, &local].into_iter().any(|end| matches!(end, End::Ends(parts) if parts.is_empty())) {
            return Vec::new();
        }
        let sides: &[Side] = match row.direction {
            Direction::Inbound => &[Side::Inbound],
            Direction::Outbound => &[Side::Outbound],
            Direction::Both => &[Side::Inbound, Side::Outbound],
        };
        let ssh_port = self.policy.management.as_ref().and_then(|section| section.value.ssh_port);
        let traffic = row.traffic(self.site.version, ssh_port.map_or(SSH_PORT, |port| port.0));
        let from_ports = (!row.from_ports.is_empty()).then(|| {
            row.from_ports.iter().fold(PortSet::default(), |all, word| match &word.traffic {
                Some(Traffic::Some { tcp, udp, .. }) => all.union(tcp).union(udp),
                _ => all,
            })
        });
        let flow = |&side: &Side| Flow {
            id: row.id.value.clone(),
            purpose: row.purpose.clone(),
            side,
            local: local.clone(),
            peers: peers.clone(),
            traffic: traffic.clone(),
            from_ports: from_ports.clone(),
            family: row.family.map(Family::from),
            untracked: row.untracked == Some(true),
            origin: catalog_origin(row),
        };
        sides.iter().map(flow).collect()
    }

    /// The local end: on an edge host the zone `hosts` is the host itself, whatever addresses it has.
    fn local(&mut self, row: &FlowRow, problems: &mut Problems) -> End<Declared> {
        let on_host = self.site.target == Target::EdgeHost;
        if row.local.is_empty() {
            return if on_host {
                End::Any
            } else {
                End::Ends(zone(self.policy, Zone::Hosts).into_iter().map(written).collect())
            };
        }
        if on_host && row.local.iter().any(|end| end.zone == Some(Zone::Hosts)) {
            return End::Any;
        }
        self.end(row, &row.local, problems)
    }

    fn end(&mut self, row: &FlowRow, ends: &[EndRow], problems: &mut Problems) -> End<Declared> {
        let mut parts = Vec::new();
        for end in ends.iter().filter(|end| end.when.as_ref().is_none_or(|when| when.holds(self.site))) {
            if end.any == Some(true) {
                return End::Any;
            }
            parts.extend(self.parts(row, end, problems));
        }
        End::Ends(parts)
    }

    fn parts(&mut self, row: &FlowRow, end: &EndRow, problems: &mut Problems) -> Vec<Part> {
        let flow = &row.id.value;
        if let Some(first) = end.zone {
            let second = end.r#else.filter(|_| zone(self.policy, first).is_empty());
            let parts: Vec<Part> = zone(self.policy, second.unwrap_or(first)).into_iter().map(written).collect();
            if parts.is_empty() {
                self.empty(row, second.unwrap_or(first), problems);
            }
            parts
        } else if let Some(template) = &end.name {
            let optional = end.optional == Some(true);
            match self.region.expand(template, &self.oss) {
                Ok(names) => names
                    .into_iter()
                    .map(|name| Part { kind: PartKind::Name { name, optional }, origin: catalog_origin(row) })
                    .collect(),
                Err(placeholder) => {
                    let what =
                        if placeholder == "{oss-public}" { "public OSS endpoint" } else { "internal OSS endpoint" };
                    self.gaps.region.entry((what, "oss-endpoint")).or_default().insert(flow.clone());
                    Vec::new()
                }
            }
        } else if let Some(which) = end.prefixes {
            self.region_prefixes(flow, which)
        } else if let Some(which) = end.endpoint {
            self.machines(row, which, problems)
        } else {
            let prefix = end.prefix.map(|prefix| PartKind::Prefixes([prefix].into_iter().collect()));
            prefix.map(|kind| Part { kind, origin: catalog_origin(row) }).into_iter().collect()
        }
    }

    fn empty(&mut self, row: &FlowRow, zone: Zone, problems: &mut Problems) {
        let flow = &row.id.value;
        match row.when_empty.unwrap_or(WhenEmpty::Error) {
            WhenEmpty::Skip => {}
            WhenEmpty::Error => {
                self.gaps.zones.entry(zone).or_default().insert(flow.clone());
            }
            WhenEmpty::Warn => {
                let field = zone_field(zone);
                let message = format!("`{field}` is empty: the flow `{flow}` opens nothing to it");
                let help = format!("list the prefixes in `{field}` where the site has them");
                problems.push_with_help(Code::EmptyPeers, self.policy.networks.span, message, help);
            }
        }
    }

    fn machines(&mut self, row: &FlowRow, which: Endpoint, problems: &mut Problems) -> Vec<Part> {
        let cluster = &self.policy.cluster;
        let machines = match which {
            Endpoint::ApiServer => std::slice::from_ref(&cluster.api_server),
            Endpoint::RavenGateways => &cluster.raven_gateways,
            Endpoint::TunnelServers => &cluster.tunnel_servers,
        };
        if machines.is_empty() {
            let message = format!("`cluster.{which}` is empty: the flow `{}` opens nothing", row.id.value);
            let help = format!("list the addresses of the cluster's load balancer in `cluster.{which}`");
            problems.push_with_help(Code::EmptyPeers, self.policy.connection.span, message, help);
        }
        machines.iter().map(machine).collect()
    }

    fn region_prefixes(&mut self, flow: &str, which: RegionPrefixes) -> Vec<Part> {
        let (overrides, row, what, field) = match which {
            RegionPrefixes::Registry => {
                let row = self.region.registry.as_ref().map(|row| (&row.prefixes, &row.source, &row.retrieved));
                (&self.policy.overrides.registry, row, "registry prefixes", "registry")
            }
            RegionPrefixes::Oss => {
                let row = self.region.oss(oss_network(self.policy));
                let row = row.map(|row| (&row.vips, &row.source, &row.retrieved));
                (&self.policy.overrides.oss, row, "OSS prefixes", "oss")
            }
        };
        if !overrides.is_empty() {
            return overrides.iter().copied().map(written).collect();
        }
        let Some((prefixes, source, retrieved)) = row else {
            self.gaps.region.entry((what, field)).or_default().insert(flow.to_owned());
            return Vec::new();
        };
        let origin = Origin::Catalog {
            source: source.value.clone(),
            section: None,
            retrieved: retrieved.clone(),
            inferred: false,
        };
        vec![Part { kind: PartKind::Prefixes(prefixes.iter().copied().collect()), origin }]
    }
}

fn catalog_origin(row: &FlowRow) -> Origin {
    Origin::Catalog {
        source: row.source.value.clone(),
        section: row.section.clone(),
        retrieved: row.retrieved.clone(),
        inferred: row.inferred == Some(true),
    }
}

/// The operator's flows, sorted by id so that the order of the rows means nothing.
fn operators_flows(policy: &Policy, catalog: &Catalog, target: Target, problems: &mut Problems) -> Vec<Flow<Declared>> {
    for (index, row) in policy.allow.iter().enumerate() {
        let id = &row.id.value.0;
        if policy.allow[..index].iter().any(|earlier| earlier.id.value == row.id.value) {
            problems.push(Code::DuplicateId, row.id.span, format!("the id `{id}` stands here a second time"));
        }
        if catalog.flows.iter().any(|flow| flow.id.value == *id) {
            let message = format!("`{id}` is a flow of the catalog");
            let help = format!("choose another id, `my-{id}`, so that counters and explanations tell the two apart");
            problems.push_with_help(Code::DuplicateId, row.id.span, message, help);
        }
        for (what, span, empty) in [
            ("peers", row.peers.span, row.peers.value.is_empty()),
            ("ports", row.ports.span, row.ports.value.is_empty()),
        ] {
            if empty {
                problems.push(Code::EmptyList, span, format!("`{what}` is empty: the flow `{id}` would open nothing"));
            }
        }
    }
    let mut rows: Vec<&Allow> = policy.allow.iter().collect();
    rows.sort_by(|a, b| a.id.value.0.cmp(&b.id.value.0));
    rows.into_iter().map(|row| operators_flow(policy, row, target)).collect()
}

fn operators_flow(policy: &Policy, row: &Allow, target: Target) -> Flow<Declared> {
    let peers = row.peers.value.iter().map(|peer| match &peer.value {
        PrefixOrName::Prefix(prefix) => written(Spanned { value: *prefix, span: peer.span }),
        PrefixOrName::Name(name) => Part {
            kind: PartKind::Name { name: name.clone(), optional: row.optional == Some(true) },
            origin: Origin::Policy(peer.span),
        },
    });
    Flow {
        id: row.id.value.0.clone(),
        purpose: row.purpose.clone().unwrap_or_default(),
        side: match row.direction {
            AllowDirection::Inbound => Side::Inbound,
            AllowDirection::Outbound => Side::Outbound,
        },
        local: match target {
            Target::EdgeHost => End::Any,
            Target::IdcGateway => End::Ends(zone(policy, Zone::Hosts).into_iter().map(written).collect()),
        },
        peers: End::Ends(peers.collect()),
        traffic: row.ports.value.iter().fold(Traffic::none(), |all, traffic| all.union(traffic)),
        from_ports: None,
        family: None,
        untracked: false,
        origin: Origin::Policy(row.id.span),
    }
}
