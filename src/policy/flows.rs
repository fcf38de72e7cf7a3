//! From rows to flows: the catalog's under their conditions, and the operator's own.

use std::collections::{BTreeMap, BTreeSet};

use super::syntax::{Allow, AllowDirection, Policy};
use super::zones::{zone, zone_field};
use crate::catalog::{
    Direction, EndRow, Endpoint, FlowRow, OssNames, OssNetwork, Region, RegionPrefixes, WhenEmpty, Zone,
};
use crate::diag::{Code, Problems};
use crate::intent::{Declared, End, Flow, Gateway, Origin, Part, PartKind, Side};
use crate::net::{Family, PortSet, Prefix, Traffic};
use crate::site::{ClusterKind, Covers, Site, Target};
use crate::source::Spanned;
use crate::yaml::{AddressOrName, PrefixOrName};

/// What a gateway of the policy answers for.
pub(super) fn gateway(policy: &Policy, site: &Site) -> Gateway<Declared> {
    let mut covered = parts(policy, Zone::Hosts);
    let pods = parts(policy, Zone::Pods);
    if site.routed {
        covered.extend_from_slice(&pods);
    }
    let covers = policy.gateway.covers.unwrap_or(Covers::Hosts);
    // A registered cluster's API server is in the data centre, whatever prefix it has. Where all else is denied, its
    // packets must be judged, too.
    if covers == Covers::Everything && site.cluster == ClusterKind::Registered {
        covered.push(machine(&policy.cluster.api_server));
    }
    Gateway { covered, pods, covers, stateless: policy.gateway.stateless.unwrap_or(false) }
}

/// The prefixes of a zone as parts of an end.
pub(super) fn parts(policy: &Policy, name: Zone) -> Vec<Part> {
    zone(policy, name).into_iter().map(written).collect()
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
pub(super) struct Gaps {
    pub(super) zones: BTreeMap<Zone, BTreeSet<String>>,
    region: BTreeMap<(&'static str, &'static str), BTreeSet<String>>,
}

impl Gaps {
    /// Reports each gap once, with all flows that need it.
    pub(super) fn report(self, policy: &Policy, region: &Region, problems: &mut Problems) {
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
pub(super) struct Builder<'a> {
    policy: &'a Policy,
    site: &'a Site,
    region: &'a Region,
    oss: OssNames,
    pub(super) gaps: Gaps,
}

impl<'a> Builder<'a> {
    pub(super) fn new(policy: &'a Policy, site: &'a Site, region: &'a Region) -> Self {
        Self { policy, site, region, oss: oss_names(policy, region), gaps: Gaps::default() }
    }

    /// The flows of a row: none where it opens nothing.
    pub(super) fn flows(&mut self, row: &FlowRow, problems: &mut Problems) -> Vec<Flow<Declared>> {
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
        let traffic = row.traffic(self.site.version, self.policy.ssh_port());
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
            return if on_host { End::Any } else { End::Ends(parts(self.policy, Zone::Hosts)) };
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
            let parts = parts(self.policy, second.unwrap_or(first));
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
pub(super) fn operators_flows(policy: &Policy, target: Target) -> Vec<Flow<Declared>> {
    let mut rows: Vec<&Allow> = policy.allow.iter().collect();
    rows.sort_by(|a, b| a.id.value.0.cmp(&b.id.value.0));
    rows.into_iter().map(|row| operators_flow(policy, row, target)).collect()
}

fn operators_flow(policy: &Policy, row: &Allow, target: Target) -> Flow<Declared> {
    let peers = row.written_peers().iter().map(|peer| match &peer.value {
        PrefixOrName::Prefix(prefix) => written(Spanned { value: *prefix, span: peer.span }),
        PrefixOrName::Name(name) => Part {
            kind: PartKind::Name { name: name.clone(), optional: row.optional == Some(true) },
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
        side: match row.direction {
            AllowDirection::Inbound => Side::Inbound,
            AllowDirection::Outbound => Side::Outbound,
        },
        local: match target {
            Target::EdgeHost => End::Any,
            Target::IdcGateway => End::Ends(parts(policy, Zone::Hosts)),
        },
        peers: End::Ends(peers.chain(listed).collect()),
        traffic: row.ports.value.iter().fold(Traffic::none(), |all, traffic| all.union(traffic)),
        from_ports: None,
        family: None,
        untracked: false,
        origin: Origin::Policy(row.id.span),
    }
}
