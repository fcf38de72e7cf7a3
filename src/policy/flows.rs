//! From rows to flows: the catalog's under their conditions, and the operator's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cloud::{CloudPrefixes, region_prefixes};
use super::syntax::{Allow, Policy};
use super::zones::{zone, zone_field};
use crate::catalog::{
    Direction, EndKind, EndRow, Endpoint, FlowRow, OssNames, RegionPrefixes, RegionRow, WhenEmpty, Zone,
};
use crate::diag::{Code, Problems};
use crate::intent::{Declared, End, Flow, Gateway, Origin, Part, PartKind, Side};
use crate::net::{Interfaces, Prefix, Traffic};
use crate::site::{ClusterKind, Covers, Site, Target};
use crate::source::Spanned;
use crate::yaml::{AddressOrName, PrefixOrName};

/// What a gateway of the policy covers.
pub(super) fn gateway(policy: &Policy, site: &Site) -> Gateway<Declared> {
    let mut covered = parts(policy, Zone::Hosts);
    let pods = parts(policy, Zone::Pods);
    if site.routed {
        covered.extend_from_slice(&pods);
    }
    let covers = policy.gateway.covers;
    // A registered cluster's control plane is in the data centre regardless of its prefix. If everything else is denied,
    // its packets must be filtered as well.
    if covers == Covers::Everything && site.cluster == ClusterKind::Registered {
        covered.push(host(&policy.cluster.api_server));
        covered.extend(parts(policy, Zone::ControlPlane));
    }
    Gateway { covered: covered.into(), pods: pods.into(), covers, stateless: policy.gateway.stateless }
}

/// The prefixes of a zone as parts of an end.
pub(super) fn parts(policy: &Policy, name: Zone) -> Vec<Part> {
    zone(policy, name).into_iter().map(written).collect()
}

/// The same for a row: a default comes from it, not from the policy.
fn parts_of(policy: &Policy, name: Zone, row: &FlowRow) -> Vec<Part> {
    let part = |prefix: Spanned<Prefix>| match prefix.is_written() {
        true => written(prefix),
        false => Part { origin: inferred_origin(row), ..written(prefix) },
    };
    zone(policy, name).into_iter().map(part).collect()
}

fn written(prefix: Spanned<Prefix>) -> Part {
    Part { kind: PartKind::Prefixes([prefix.value].into_iter().collect()), origin: Origin::Policy(prefix.span) }
}

fn host(written: &Spanned<AddressOrName>) -> Part {
    let kind = match &written.value {
        AddressOrName::Address(address) => PartKind::Prefixes([*address].into_iter().collect()),
        AddressOrName::Name(name) => PartKind::Name { name: name.clone(), optional: false },
    };
    Part { kind, origin: Origin::Policy(written.span) }
}

fn oss_names(policy: &Policy, region: &RegionRow) -> OssNames {
    if let Some(endpoint) = &policy.overrides.oss_endpoint {
        let endpoint = vec![endpoint.value.clone()];
        return OssNames { internal: endpoint.clone(), public: endpoint };
    }
    let row = region.oss(policy.overrides.oss_network);
    OssNames {
        internal: row.map(|row| row.endpoints.clone()).unwrap_or_default(),
        public: region.public_oss_endpoint().cloned().into_iter().collect(),
    }
}

/// What the catalog or the policy lacks, and which flows need it.
#[derive(Default)]
pub(super) struct Gaps {
    pub(super) zones: BTreeMap<Zone, BTreeSet<String>>,
    region: BTreeMap<(&'static str, &'static str), BTreeSet<String>>,
}

impl Gaps {
    /// Reports each gap once, with all flows that need it.
    pub(super) fn report(self, policy: &Policy, region: &RegionRow, problems: &mut Problems) {
        let list = |flows: &BTreeSet<String>| {
            let quoted: Vec<String> = flows.iter().map(|flow| format!("`{flow}`")).collect();
            quoted.join(", ")
        };
        for (zone, flows) in &self.zones {
            let field = zone_field(*zone);
            let message = match flows.is_empty() {
                true => format!("`{field}` is empty"),
                false => format!("`{field}` is empty, but needed by {}", list(flows)),
            };
            let help = format!("list its prefixes in `{field}`, for example `[10.0.0.0/8]`");
            problems.push_with_help(Code::MissingZone, policy.networks.span, message, help);
        }
        for ((what, field), flows) in &self.region {
            let message = format!("the catalog has no {what} for `{}`, needed by {}", region.id.value, list(flows));
            let help = format!("set `overrides.{field}`");
            problems.push_with_help(Code::RegionDataMissing, policy.region.span, message, help);
        }
    }
}

/// Turns catalog rows into flows of one site.
pub(super) struct Builder<'a> {
    policy: &'a Policy,
    site: &'a Site,
    region: &'a RegionRow,
    oss: OssNames,
    pub(super) gaps: Gaps,
}

impl<'a> Builder<'a> {
    pub(super) fn new(policy: &'a Policy, site: &'a Site, region: &'a RegionRow) -> Self {
        Self { policy, site, region, oss: oss_names(policy, region), gaps: Gaps::default() }
    }

    /// The flows of a row; none if it permits nothing.
    pub(super) fn flows(&mut self, row: &FlowRow, problems: &mut Problems) -> Vec<Flow<Declared>> {
        if row.has_endpoint_ports() {
            return self.flows_by_port(row, problems);
        }
        let traffic = row.traffic(self.site.version, &self.policy.own_ports());
        if traffic.is_none() {
            // None of its ports is used in this version of the cluster.
            return Vec::new();
        }
        let peers = self.end(row, &row.peers, problems);
        self.sides(row, row.id.value.clone(), peers, &traffic, problems)
    }

    /// The flows of a row whose peers have ports of their own. Together in one flow, each port would be permitted at
    /// every address.
    fn flows_by_port(&mut self, row: &FlowRow, problems: &mut Problems) -> Vec<Flow<Declared>> {
        let mut by_port: BTreeMap<u16, Vec<Part>> = BTreeMap::new();
        for endpoint in &self.policy.cluster.agent_endpoints {
            let written = Spanned { value: endpoint.value.host.clone(), span: endpoint.span };
            by_port.entry(endpoint.value.port).or_default().push(host(&written));
        }
        let flows = by_port.into_iter().flat_map(|(port, peers)| {
            self.sides(row, row.id_of_port(port), End::Ends(peers.into()), &Traffic::tcp(port), problems)
        });
        flows.collect()
    }

    /// The flow of a row in each of its directions; none if one of its ends is empty.
    fn sides(
        &mut self,
        row: &FlowRow,
        id: String,
        peers: End<Declared>,
        traffic: &Traffic,
        problems: &mut Problems,
    ) -> Vec<Flow<Declared>> {
        let local = self.local(row, problems);
        if [&peers, &local].into_iter().any(|end| matches!(end, End::Ends(parts) if parts.is_empty())) {
            return Vec::new();
        }
        let sides: &[Side] = match row.direction {
            Direction::Inbound => &[Side::Inbound],
            Direction::Outbound => &[Side::Outbound],
            Direction::Both => &[Side::Inbound, Side::Outbound],
        };
        let from_ports = row.source_ports();
        let from_pods = self.is_from_pods(row);
        let flow = |&side: &Side| Flow {
            id: id.clone(),
            purpose: row.purpose.clone(),
            side,
            local: local.clone(),
            peers: peers.clone(),
            traffic: traffic.clone(),
            from_ports: from_ports.clone(),
            interfaces: pod_interfaces(self.policy).filter(|_| from_pods && side == Side::Inbound),
            family: row.family,
            untracked: row.untracked,
            origin: catalog_origin(row),
        };
        sides.iter().map(flow).collect()
    }

    /// Whether the peers of a row are a host's pods and the cluster's Services, and nothing else.
    fn is_from_pods(&self, row: &FlowRow) -> bool {
        let mut held = row.peers.iter().filter(|end| end.when.holds(self.site));
        self.site.target == Target::EdgeHost
            && held.all(|end| matches!(self.zone_of(&end.kind), Some(Zone::Pods | Zone::Services)))
    }

    /// The local end: on an edge host the zone `hosts` is the host itself, regardless of its addresses.
    fn local(&mut self, row: &FlowRow, problems: &mut Problems) -> End<Declared> {
        let on_host = self.site.target == Target::EdgeHost;
        if row.local.is_empty() {
            return if on_host { End::Any } else { End::Ends(parts(self.policy, Zone::Hosts).into()) };
        }
        let mut held = row.local.iter().filter(|end| end.when.holds(self.site));
        if on_host && held.any(|end| self.zone_of(&end.kind) == Some(Zone::Hosts)) {
            return End::Any;
        }
        self.end(row, &row.local, problems)
    }

    /// The zone that an end stands for: the one in its place if it is empty.
    fn zone_of(&self, end: &EndKind) -> Option<Zone> {
        let EndKind::Zone { zone: first, fallback, .. } = *end else { return None };
        Some(fallback.filter(|_| zone(self.policy, first).is_empty()).unwrap_or(first))
    }

    fn end(&mut self, row: &FlowRow, ends: &[EndRow], problems: &mut Problems) -> End<Declared> {
        let mut parts = Vec::new();
        for end in ends.iter().filter(|end| end.when.holds(self.site)) {
            match &end.kind {
                EndKind::Any => return End::Any,
                kind => parts.extend(self.parts(row, kind, problems)),
            }
        }
        End::Ends(parts.into())
    }

    fn parts(&mut self, row: &FlowRow, end: &EndKind, problems: &mut Problems) -> Vec<Part> {
        match end {
            EndKind::Any => Vec::new(),
            EndKind::Zone { optional, .. } => {
                let Some(used) = self.zone_of(end) else { return Vec::new() };
                let parts = parts_of(self.policy, used, row);
                // The services are a part of the VPC then.
                let is_none = used == Zone::CloudServices && self.policy.is_inside_vpc();
                if parts.is_empty() && !optional && !is_none {
                    self.empty(row, used, problems);
                }
                parts
            }
            EndKind::Name { template, optional } => self.names(row, template, *optional),
            EndKind::Region(which) => self.region_prefixes(&row.id.value, *which),
            EndKind::Endpoint(which) => self.hosts(row, *which, problems),
            EndKind::Prefix(prefix) => {
                let kind = PartKind::Prefixes([*prefix].into_iter().collect());
                vec![Part { kind, origin: catalog_origin(row) }]
            }
        }
    }

    fn names(&mut self, row: &FlowRow, template: &str, optional: bool) -> Vec<Part> {
        let part = |name| Part { kind: PartKind::Name { name, optional }, origin: catalog_origin(row) };
        match self.region.expand(template, &self.oss) {
            Ok(names) => names.into_iter().map(part).collect(),
            Err(placeholder) => {
                let public = placeholder == "{oss-public}";
                let what = if public { "public OSS endpoint" } else { "internal OSS endpoint" };
                self.gaps.region.entry((what, "oss-endpoint")).or_default().insert(row.id.value.clone());
                Vec::new()
            }
        }
    }

    fn empty(&mut self, row: &FlowRow, zone: Zone, problems: &mut Problems) {
        let flow = &row.id.value;
        match row.when_empty {
            WhenEmpty::Skip => {}
            WhenEmpty::Error => {
                self.gaps.zones.entry(zone).or_default().insert(flow.clone());
            }
            WhenEmpty::Warn => {
                let field = zone_field(zone);
                let message = format!("`{field}` is empty: the flow `{flow}` permits nothing to or from it");
                let help = format!("list the prefixes in `{field}` if the site has any");
                problems.push_with_help(Code::EmptyPeers, self.policy.networks.span, message, help);
            }
        }
    }

    fn hosts(&mut self, row: &FlowRow, which: Endpoint, problems: &mut Problems) -> Vec<Part> {
        let cluster = &self.policy.cluster;
        let hosts = match which {
            Endpoint::ApiServer => std::slice::from_ref(&cluster.api_server),
            Endpoint::RavenGateways => &cluster.raven_gateways,
            Endpoint::TunnelServers => &cluster.tunnel_servers,
            // Their row has the word `endpoint` for their ports, so it is built by port.
            Endpoint::AgentEndpoints => return Vec::new(),
        };
        if hosts.is_empty() && row.when_empty != WhenEmpty::Skip {
            let message = format!("`cluster.{which}` is empty: the flow `{}` permits nothing", row.id.value);
            let help = format!("list the addresses of the cluster's load balancer in `cluster.{which}`");
            problems.push_with_help(Code::EmptyPeers, self.policy.connection.span, message, help);
        }
        hosts.iter().map(host).collect()
    }

    fn region_prefixes(&mut self, flow: &str, which: RegionPrefixes) -> Vec<Part> {
        match region_prefixes(self.policy, self.region, which) {
            CloudPrefixes::InsideVpc => Vec::new(),
            CloudPrefixes::Missing if which.is_optional() => Vec::new(),
            CloudPrefixes::Policy(listed) => listed.iter().copied().map(written).collect(),
            CloudPrefixes::Catalog(prefixes, origin) => {
                vec![Part { kind: PartKind::Prefixes(prefixes.iter().copied().collect()), origin }]
            }
            CloudPrefixes::Missing => {
                let (what, field) = (which.plural(), which.word());
                self.gaps.region.entry((what, field)).or_default().insert(flow.to_owned());
                Vec::new()
            }
        }
    }
}

/// The interfaces that may bring packets of pods; none if any may.
fn pod_interfaces(policy: &Policy) -> Option<Interfaces> {
    let listed = &policy.networks.value.pod_interfaces;
    (!listed.is_empty()).then(|| listed.iter().map(|names| names.value).collect())
}

fn catalog_origin(row: &FlowRow) -> Origin {
    Origin::Catalog {
        source: row.source.value.clone(),
        section: row.section.clone(),
        retrieved: row.retrieved.to_string(),
        inferred: row.inferred,
    }
}

/// The origin of what a row means, but does not say.
fn inferred_origin(row: &FlowRow) -> Origin {
    let (source, section) = (row.source.value.clone(), row.section.clone());
    Origin::Catalog { source, section, retrieved: row.retrieved.to_string(), inferred: true }
}

/// The operator's flows, sorted by id: the order of the rows has no meaning.
pub(super) fn operators_flows(policy: &Policy, target: Target, hosts: &Arc<[Part]>) -> Vec<Flow<Declared>> {
    let mut rows: Vec<&Allow> = policy.allow.iter().collect();
    rows.sort_by(|a, b| a.id.value.0.cmp(&b.id.value.0));
    rows.into_iter().map(|row| operators_flow(row, target, hosts)).collect()
}

fn operators_flow(row: &Allow, target: Target, hosts: &Arc<[Part]>) -> Flow<Declared> {
    let peers = row.written_peers().iter().map(|peer| match &peer.value {
        PrefixOrName::Prefix(prefix) => written(Spanned { value: *prefix, span: peer.span }),
        PrefixOrName::Name(name) => Part {
            kind: PartKind::Name { name: name.clone(), optional: row.optional },
            origin: Origin::Policy(peer.span),
        },
    });
    let listed = row.peers_file.iter().filter_map(|file| {
        let list = file.value.list.as_ref()?;
        Some(Part { kind: PartKind::Prefixes(list.addresses.clone()), origin: Origin::Policy(file.span) })
    });
    Flow {
        id: row.id.value.0.clone(),
        purpose: row.purpose.clone().unwrap_or_default(),
        side: row.direction,
        local: match target {
            Target::EdgeHost => End::Any,
            Target::IdcGateway => End::Ends(Arc::clone(hosts)),
        },
        peers: End::Ends(peers.chain(listed).collect()),
        traffic: Traffic::union_of(row.ports.value.iter()),
        from_ports: None,
        interfaces: None,
        family: None,
        untracked: false,
        origin: Origin::Policy(row.id.span),
    }
}
