//! From the policy as written to its intent, with the checks across fields.

use std::collections::BTreeSet;

use super::cloud;
use super::dead;
use super::flows::{Builder, gateway, operators_flows, parts};
use super::notes;
use super::syntax::{API_SERVER_PORT, Allow, KubeProxy, Networks, NodePorts, Policy};
use super::zones::{overlapping, prefixes, widest, zone, zone_field};
use crate::catalog::{Catalog, Endpoint, FlowRow, RegionRow, SiteCondition, Zone};
use crate::diag::{Code, Problems, one_of, suggest};
use crate::intent::{Declared, Denials, Flow, Intent};
use crate::net::{Prefix, PrefixSet, Special, Traffic};
use crate::site::{ClusterKind, Connection, ProxyMode, Scope, Site, Target};
use crate::source::{Span, Spanned};
use crate::yaml::AddressOrName;

/// Turns a policy into flows; `target` replaces the policy's own.
///
/// Every problem is recorded; `None` if one of them is an error.
pub fn check(
    policy: &Policy,
    catalog: &Catalog,
    target: Option<Target>,
    problems: &mut Problems,
) -> Option<Intent<Declared>> {
    let target = target.unwrap_or(policy.target);
    policy.check_resolve(problems);
    let Some(region) = find_region(&policy.region, catalog, problems) else {
        // The flows depend on the region's row; these checks do not.
        check_offer(policy.cluster.kind, policy.connection, &policy.cni, catalog, problems);
        check_networks(&policy.networks.value, policy.cluster.kind, problems);
        check_dns(policy, target, problems);
        dead::check_hosts(policy, problems);
        check_node_ports(&policy.kube_proxy, problems);
        dead::check_next_hops(&policy.path, problems);
        cloud::check_fields(policy, problems);
        check_allow(&policy.allow, catalog, problems);
        return None;
    };
    let site = site(policy, catalog, target, problems);
    check_networks(&policy.networks.value, policy.cluster.kind, problems);
    check_cluster(policy, &site, catalog, problems);
    check_dns(policy, target, problems);
    dead::check_hosts(policy, problems);
    check_node_ports(&policy.kube_proxy, problems);
    dead::check_next_hops(&policy.path, problems);
    cloud::check_fields(policy, problems);
    cloud::check(policy, &site, region, catalog, problems);
    let mut builder = Builder::new(policy, &site, region);
    let mut flows: Vec<Flow<Declared>> = catalog.flows_of(&site).flat_map(|row| builder.flows(row, problems)).collect();
    check_allow(&policy.allow, catalog, problems);
    let hosts = parts(policy, Zone::Hosts).into();
    flows.extend(operators_flows(policy, target, &hosts));
    // A packet is attributed to the flow that names its port before one that permits everything.
    flows.sort_by_key(|flow| flow.traffic == Traffic::Any);
    if policy.networks.value.hosts.is_empty() {
        builder.gaps.zones.entry(Zone::Hosts).or_default();
    }
    if policy.is_inside_vpc() && policy.networks.value.vpc.is_empty() {
        builder.gaps.zones.entry(Zone::Vpc).or_default();
    }
    builder.gaps.report(policy, region, problems);
    notes::check(policy, &site, catalog, problems);
    let gateway = (target == Target::IdcGateway).then(|| gateway(policy, &site));
    (!problems.has_errors()).then(|| Intent {
        name: policy.name.value.0.clone(),
        catalog: catalog.digest.clone(),
        target,
        mode: policy.mode,
        denials: Denials {
            input: policy.deny.inbound.into(),
            output: policy.deny.outbound.into(),
            forward: policy.deny.forward.into(),
        },
        log: policy.log.rate,
        hosts,
        gateway,
        flows,
    })
}

/// The region's row; records a problem if there is none.
pub(super) fn find_region<'a>(
    written: &Spanned<String>,
    catalog: &'a Catalog,
    problems: &mut Problems,
) -> Option<&'a RegionRow> {
    let region = catalog.region(&written.value);
    if region.is_none() {
        let message = format!("`{}` is not a region of the catalog", written.value);
        problems.push_with_help(Code::UnknownRegion, written.span, message, catalog.suggest_region(&written.value));
    }
    region
}

/// The facts about the site of a policy, of the catalog's CNI row among them. Problems of them are recorded.
pub fn site(policy: &Policy, catalog: &Catalog, target: Target, problems: &mut Problems) -> Site {
    let (cluster, connection, cni) = (policy.cluster.kind, policy.connection.value, &policy.cni);
    let row = catalog.cni(&cni.value, cluster, connection);
    check_offer(cluster, policy.connection, cni, catalog, problems);
    let scope = policy.scope.value;
    if !scope.is_offered(target, connection) {
        let message = "`broad` is available only on an IDC gateway over a leased line";
        let help = "write `scope: fine`, or give the edge hosts a separate policy";
        problems.push_with_help(Code::ScopeNotOffered, policy.scope.span, message, help);
    }
    Site {
        target,
        region: policy.region.value.clone(),
        connection,
        cluster,
        version: policy.cluster.version,
        cni: cni.value.clone(),
        routed: row.is_some_and(|row| row.routed),
        phase: policy.phase,
        scope,
        self_host_ntp: policy.cluster.self_host_ntp,
        agent: !policy.cluster.agent_endpoints.is_empty(),
        kube_proxy: policy.kube_proxy.mode,
        features: policy.features.iter().map(|feature| feature.value).collect(),
    }
}

/// Whether the cluster kind offers the CNI over the connection.
pub(super) fn check_offer(
    cluster: ClusterKind,
    connection: Spanned<Connection>,
    cni: &Spanned<String>,
    catalog: &Catalog,
    problems: &mut Problems,
) {
    if cluster == ClusterKind::Registered && connection.value == Connection::Public {
        let message = "a registered cluster joins over a leased line only";
        let help = "write `connection: express-connect`, or `kind: ack-edge`";
        problems.push_with_help(Code::ConnectionNotOffered, connection.span, message, help);
    } else if catalog.cni(&cni.value, cluster, connection.value).is_none() {
        let (id, offered) = (&cni.value, catalog.offered_cnis(cluster, connection.value));
        let none = format!("the catalog has no CNI of `{cluster}` clusters over `{}`", connection.value);
        let help = |help: String| if offered.is_empty() { none } else { help };
        if catalog.cni_ids().contains(&id.as_str()) {
            let message = format!("the CNI `{id}` is not offered by `{cluster}` clusters over `{}`", connection.value);
            problems.push_with_help(Code::CniNotOffered, cni.span, message, help(one_of(&offered)));
        } else {
            problems.push_with_help(
                Code::UnknownValue,
                cni.span,
                format!("unknown CNI `{id}`"),
                help(suggest(id, &offered)),
            );
        }
    }
}

/// Reports every prefix of a zone that overlaps one of another zone; returns whether there was one.
fn overlap(networks: &Networks, one: Zone, other: Zone, code: Code, help: &str, problems: &mut Problems) -> bool {
    let others = widest(networks.zone(other));
    let mut found = false;
    for prefix in networks.zone(one) {
        if let Some(twin) = overlapping(prefix.value, &others) {
            let (one, other) = (zone_field(one), zone_field(other));
            let message = format!("`{}` of `{one}` overlaps `{twin}` of `{other}`", prefix.value);
            problems.push_with_help(code, prefix.span, message, help);
            found = true;
        }
    }
    found
}

/// The checks among the zones.
pub(super) fn check_networks(networks: &Networks, cluster: ClusterKind, problems: &mut Problems) {
    dead::check_networks(networks, problems);
    const HOSTS_HELP: &str =
        "the prefixes of hosts and cloud must be disjoint: traffic between them is filtered by address";
    for cloud in [Zone::Vpc, Zone::Vswitches, Zone::PodVswitches, Zone::CloudServices] {
        overlap(networks, Zone::Hosts, cloud, Code::HostsOverlap, HOSTS_HELP, problems);
    }
    const PODS_HELP: &str = "give the pods a prefix of their own; inside the VPC only if no vSwitch uses it";
    let registered = cluster == ClusterKind::Registered;
    let mut vswitches = false;
    for cloud in [Zone::Vswitches, Zone::PodVswitches] {
        vswitches |= overlap(networks, Zone::Pods, cloud, Code::PodsOverlap, PODS_HELP, problems);
    }
    if !vswitches {
        let code = if registered { Code::PodsInsideVpc } else { Code::PodsOverlap };
        for other in [Zone::Vpc, Zone::Hosts] {
            overlap(networks, Zone::Pods, other, code, PODS_HELP, problems);
        }
    }
    overlap(networks, Zone::Pods, Zone::CloudServices, Code::PodsOverlap, PODS_HELP, problems);
    // The zone `services` permits every protocol, so it must not include anything else.
    const SERVICES_HELP: &str =
        "write the cluster's Service prefix (`--service-cluster-ip-range`), which nothing else uses";
    for other in [Zone::Hosts, Zone::Pods, Zone::Vpc, Zone::Vswitches, Zone::PodVswitches, Zone::CloudServices] {
        if overlap(networks, Zone::Services, other, Code::ServicesOverlap, SERVICES_HELP, problems) {
            break;
        }
    }
    let vpc = prefixes(&networks.vpc);
    for switches in [Zone::Vswitches, Zone::PodVswitches] {
        for prefix in networks.zone(switches) {
            if !vpc.is_empty() && !PrefixSet::from_iter([prefix.value]).is_subset(&vpc) {
                let message = format!("`{}` of `{}` is not inside `networks.vpc`", prefix.value, zone_field(switches));
                let help = "list all prefixes of the VPC in `networks.vpc`";
                problems.push_with_help(Code::VswitchOutsideVpc, prefix.span, message, help);
            }
        }
    }
}

fn check_cluster(policy: &Policy, site: &Site, catalog: &Catalog, problems: &mut Problems) {
    let cluster = &policy.cluster;
    for (endpoint, first) in [
        (Endpoint::RavenGateways, cluster.raven_gateways.first().map(|host| host.span)),
        (Endpoint::TunnelServers, cluster.tunnel_servers.first().map(|host| host.span)),
        (Endpoint::AgentEndpoints, cluster.agent_endpoints.first().map(|host| host.span)),
    ] {
        if let (Some(span), Some((reason, help))) = (first, unused(endpoint, site, catalog)) {
            problems.push_with_help(Code::UnusedField, span, reason, help);
        }
    }
    for feature in &policy.features {
        if !catalog.flows_of(site).any(|row| row.when.feature == Some(feature.value)) {
            let message = format!("the feature `{}` has no flow over `{}`", feature.value, site.connection);
            let help =
                "remove it: the catalog knows its addresses over a leased line only; a row of `allow` permits others";
            problems.push_with_help(Code::UnusedField, feature.span, message, help);
        }
    }
    let port = cluster.api_server_port;
    if port.value.0 != API_SERVER_PORT && !catalog.flows_of(site).any(FlowRow::has_api_server_port) {
        let message =
            format!("the API server of a cluster of the kind `{}` is at port {API_SERVER_PORT}", site.cluster);
        let help = "remove `api-server-port`, or correct `cluster.kind`";
        problems.push_with_help(Code::UnusedField, port.span, message, help);
    }
    let hosts = prefixes(&policy.networks.value.hosts);
    if let AddressOrName::Address(address) = cluster.api_server.value
        && site.cluster == ClusterKind::Registered
        && !hosts.contains(address)
    {
        let message = format!("the API server `{address}` of a registered cluster is not inside `networks.hosts`");
        let help = "its control plane is in the data centre: add its prefix to `networks.hosts`";
        problems.push_with_help(Code::ApiServerOutsideHosts, cluster.api_server.span, message, help);
    }
    let outside = |prefix: &&Spanned<Prefix>| !PrefixSet::from_iter([prefix.value]).is_subset(&hosts);
    if let Some(prefix) = policy.networks.value.control_plane.iter().find(outside)
        && site.cluster == ClusterKind::Registered
    {
        let message = format!("`{}` of `networks.control-plane` is not inside `networks.hosts`", prefix.value);
        let help = "add it to `networks.hosts`: flows among the hosts do not include it";
        problems.push_with_help(Code::ControlPlaneOutsideHosts, prefix.span, message, help);
    }
    if site.target == Target::EdgeHost {
        let section = |span: Option<Span>| span.unwrap_or(policy.name.span);
        if !policy.permits_ssh() {
            let span = section(policy.management.as_ref().map(|section| section.span));
            let message = "SSH is not permitted from anywhere: `management.from` is empty";
            let help = "write `management: {from: [10.0.0.0/24]}` with the prefixes from which you manage the hosts";
            problems.push_with_help(Code::NoManagement, span, message, help);
        }
        if zone(policy, Zone::DnsServers).is_empty() {
            let span = section(policy.dns.as_ref().map(|section| section.span));
            let message = "no DNS server is permitted: `dns.servers` is empty";
            problems.push_with_help(Code::NoDns, span, message, "write `dns: {servers: [10.0.0.53]}`");
        }
    }
    let shared = cloud::shared();
    let public = catalog.cloud.services().difference(&shared);
    let has_public = |prefix: &&Spanned<Prefix>| PrefixSet::from_iter([prefix.value]).overlaps(&public);
    if let (Scope::Broad, Some(wide)) =
        (site.scope, policy.networks.value.zone(Zone::CloudServices).iter().find(has_public))
    {
        let message = format!("`{}` includes public addresses outside of `{shared}`", wide.value);
        let help = format!("write `{shared}`, which includes every prefix of the catalog, or `scope: fine`");
        problems.push_with_help(Code::BroadPublic, wide.span, message, help);
    }
    if site.connection == Connection::Public && site.cluster == ClusterKind::AckEdge {
        let message = "image layers may be stored on OSS hosts that no document names";
        let help = "if image pulls fail, add an `allow` row for the host in the error of the container runtime";
        problems.push_with_help(Code::UnnamedLayers, policy.connection.span, message, help);
    }
}

/// Refuses NodePorts that permit nothing, or more than NodePorts.
fn check_node_ports(kube_proxy: &KubeProxy, problems: &mut Problems) {
    let Some(section) = &kube_proxy.node_ports else { return };
    let NodePorts { from, ports } = &section.value;
    if kube_proxy.mode != ProxyMode::Ipvs {
        let message = format!(
            "`kube-proxy.node-ports` has no effect in the mode `{}`: packets to NodePorts have another address or port \
             before a rule sees them",
            kube_proxy.mode
        );
        let help = "remove it, or write `mode: ipvs`; an endpoint on the network of the host needs an `allow` row for \
                    its own port";
        problems.push_with_help(Code::UnusedField, section.span, message, help);
        return;
    }
    for (what, span, is_empty) in
        [("from", from.span, from.value.is_empty()), ("ports", ports.span, ports.value.is_empty())]
    {
        if is_empty {
            let message = format!("`kube-proxy.node-ports.{what}` is empty: it would permit nothing");
            let help = "add entries, or remove `node-ports`; the range of the ports is kube-apiserver's \
                        `--service-node-port-range`";
            problems.push_with_help(Code::EmptyList, span, message, help);
        }
    }
    if !Traffic::union_of(ports.value.iter()).has_ports_only() {
        let message = "a NodePort is a port of TCP, UDP or SCTP";
        problems.push_with_help(Code::InvalidPort, ports.span, message, "write `[tcp/30080, udp/30000-32767]`");
    }
}

/// Refuses DNS servers on the host itself. The packets of a stub resolver go to other servers, and those must be opened.
fn check_dns(policy: &Policy, target: Target, problems: &mut Problems) {
    for server in policy.dns.iter().flat_map(|section| &section.value.servers) {
        let address = server.value;
        if !matches!(Special::of(address), Some(Special::Loopback | Special::Unspecified)) {
            continue;
        }
        let why = match target {
            Target::EdgeHost => "the servers that its stub resolver asks would be denied",
            Target::IdcGateway => "no packet to it crosses a gateway",
        };
        let message = format!("`{address}` is the host itself: {why}");
        let help = format!(
            "write the servers that the stub asks: `resolvectl status` or /run/systemd/resolve/resolv.conf lists those of \
             systemd-resolved, its configuration those of dnsmasq or unbound; `edgeward resolve --server {address}` asks \
             the stub itself"
        );
        problems.push_with_help(Code::LoopbackDns, server.span, message, help);
    }
}

/// Why no flow of the site uses these hosts, and what to do about it; `None` if one does.
fn unused(endpoint: Endpoint, site: &Site, catalog: &Catalog) -> Option<(String, &'static str)> {
    let conditions: Vec<&SiteCondition> =
        catalog.flows.iter().filter(|row| row.has(endpoint)).map(|row| &row.when).collect();
    if conditions.iter().any(|when| when.holds(site)) {
        return None;
    }
    let connection = conditions.iter().find_map(|when| when.connection.filter(|needed| *needed != site.connection));
    let before = conditions.iter().filter_map(|when| when.version_before).max();
    const HELP: &str = "remove the list, or correct `connection` or `version`";
    if let Some(kind) = conditions.iter().find_map(|when| when.cluster.filter(|needed| *needed != site.cluster)) {
        let help = "remove the list, or correct `cluster.kind`";
        return Some((format!("`cluster.{endpoint}` is used by clusters of the kind `{kind}` only"), help));
    }
    let message = match (connection, before.filter(|before| *before <= site.version)) {
        (Some(connection), _) => format!("`cluster.{endpoint}` is used over `{connection}` only"),
        (None, Some(version)) => format!("`cluster.{endpoint}` is used by clusters before {version} only"),
        (None, None) => format!("no flow of this policy uses `cluster.{endpoint}`"),
    };
    Some((message, HELP))
}

/// The checks among the operator's rows.
pub(super) fn check_allow(rows: &[Allow], catalog: &Catalog, problems: &mut Problems) {
    rows.iter().for_each(|row| dead::check_row(row, problems));
    let mut earlier = BTreeSet::new();
    for row in rows {
        let id = row.id.value.0.as_str();
        if !earlier.insert(id) {
            let message = format!("duplicate id `{id}`");
            let help = "merge the two rows, or rename one: counters and explanations are listed by id";
            problems.push_with_help(Code::DuplicateId, row.id.span, message, help);
        }
        if catalog.flows.iter().any(|flow| flow.can_have_id(id)) {
            let message = format!("`{id}` is a flow of the catalog");
            let help = format!("choose another id, such as `my-{id}`: counters and explanations are listed by id");
            problems.push_with_help(Code::DuplicateId, row.id.span, message, help);
        }
        if let Some(file) = &row.peers_file {
            match &file.value.list {
                Some(list) if list.addresses.is_empty() => {
                    let message = format!("`{}` has no entries: the flow `{id}` would permit nothing", file.value.path);
                    problems.push_with_help(Code::EmptyList, file.span, message, "add entries, or remove the row");
                }
                Some(_) => {}
                // The reader has reported why it could not read the file.
                None if problems.has_errors() => {}
                None => problems.push(Code::PeersFile, file.span, "the file was not read"),
            }
        }
        let peers = row.peers.as_ref().map(|peers| ("peers", peers.span, peers.value.is_empty()));
        let no_peers = row.peers_file.is_none().then_some(("peers", row.id.span, true));
        let ports = ("ports", row.ports.span, row.ports.value.is_empty());
        for (what, span, empty) in peers.or(no_peers).into_iter().chain([ports]) {
            if empty {
                let message = format!("`{what}` is empty: the flow `{id}` would permit nothing");
                problems.push_with_help(
                    Code::EmptyList,
                    span,
                    message,
                    format!("add entries to `{what}`, or remove the row"),
                );
            }
        }
    }
}
