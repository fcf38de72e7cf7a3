//! `edgeward init`.

use std::path::Path;

use crate::catalog::{Catalog, OssNetwork, RegionRow};
use crate::cli::context::load_catalog;
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::one_of;
use crate::site::{ClusterKind, Connection, Target};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A region id of the catalog, `cn-hangzhou`
    #[arg(long)]
    region: String,
    /// express-connect or public
    #[arg(long, value_parser = parse::<Connection>)]
    connection: Connection,
    /// The container network, `flannel`
    #[arg(long)]
    cni: String,
    /// edge-host or idc-gateway
    #[arg(long, value_parser = parse::<Target>, default_value = "edge-host")]
    target: Target,
    /// The policy's name
    #[arg(long, default_value = "my-site")]
    name: String,
}

fn parse<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.parse()
}

pub(crate) fn run(arguments: &Arguments, catalog: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(catalog)?;
    let region = catalog.region(&arguments.region).ok_or_else(|| {
        let help = catalog.suggest_region(&arguments.region);
        Failure::Usage(anyhow::anyhow!("`{}` is not a region of the catalog; {help}", arguments.region))
    })?;
    let cluster = cluster_kind(&catalog, arguments)?;
    if !crate::catalog::is_id(&arguments.name) || arguments.name.len() > 32 {
        let name = &arguments.name;
        return Err(Failure::Usage(anyhow::anyhow!("`{name}` is not the name of a policy: `[a-z][a-z0-9-]{{0,31}}`")));
    }
    render::output(&starter(arguments, region, cluster, &catalog))
}

/// The cluster kind that offers the CNI over the connection.
fn cluster_kind(catalog: &Catalog, arguments: &Arguments) -> Result<ClusterKind, Failure> {
    let Arguments { cni, connection, .. } = arguments;
    let offers = |kind: &ClusterKind| catalog.cni(cni, *kind, *connection).is_some();
    ClusterKind::ALL.iter().copied().find(offers).ok_or_else(|| {
        let offered: Vec<&str> =
            ClusterKind::ALL.iter().flat_map(|kind| catalog.offered_cnis(*kind, *connection)).collect();
        Failure::Usage(anyhow::anyhow!("the CNI `{cni}` is not offered over `{connection}`; {}", one_of(&offered)))
    })
}

fn starter(arguments: &Arguments, region: &RegionRow, cluster: ClusterKind, catalog: &Catalog) -> String {
    let Arguments { connection, cni, target, name, .. } = arguments;
    let leased = *connection == Connection::ExpressConnect;
    let edge = cluster == ClusterKind::AckEdge;
    let routed = catalog.cni(cni, cluster, *connection).is_some_and(|row| row.routed);
    let on_host = *target == Target::EdgeHost;
    let mut text = format!(
        "\
# A policy for edgeward. Fill in what is marked FILL IN, then run `edgeward check`.
version: 1
name: {name}
target: {target}
region: {id}
connection: {connection}
cni: {cni}
phase: steady            # install: hosts are being installed or upgraded
scope: fine              # broad: an IDC gateway over a leased line opens the whole VPC and all cloud services
mode: enforce            # audit: what would be denied is logged, counted and accepted

cluster:
  kind: {cluster}
  version:               # FILL IN, in quotes: \"1.30\"
  api-server:            # FILL IN: its address or name (the cluster's page in the console, Basic Information)
",
        id = region.id.value,
    );
    if !leased {
        text.push_str(
            "  raven-gateways: []     # EXTERNAL-IP of the Services x-raven-proxy-svc-gw-cloud-xxx and \
             x-raven-tunnel-svc-gw-cloud-xxx\n",
        );
    }
    if edge {
        text.push_str("  self-host-ntp: false   # true: the hosts keep their clocks without the cloud's NTP names\n");
    }
    text.push_str("\nnetworks:\n");
    let zone_with = |text: &mut String, name: &str, value: &str, comment: &str| {
        text.push_str(&format!("  {:<22} # {comment}\n", format!("{name}: {value}")));
    };
    let zone = |text: &mut String, wanted: bool, name: &str, comment: &str| {
        let mark = if wanted { "FILL IN: " } else { "" };
        zone_with(text, name, "[]", &format!("{mark}{comment}"));
    };
    zone(&mut text, true, "hosts", "the prefixes of the site's hosts, `[10.0.0.0/8]`");
    zone(&mut text, on_host || routed, "pods", "the edge container prefixes");
    zone(&mut text, false, "services", "the cluster's Service prefixes");
    if leased {
        zone(&mut text, true, "vpc", "the VPC's prefixes");
        zone(&mut text, false, "vswitches", "the cluster's vSwitches, where they shall narrow the VPC");
        zone_with(&mut text, "cloud-services", "[100.0.0.0/8]", "where the cloud's services answer over a leased line");
    }
    if !edge {
        zone(&mut text, false, "pod-vswitches", "the vSwitches of pods");
    }
    if routed {
        zone(&mut text, true, "bgp-peers", "the switches or route reflectors that the hosts speak BGP with");
    }
    text.push_str(
        "
management:
  from: []               # the prefixes from which SSH is permitted; without one, nobody gets in
  ssh-port: 22
dns:
  servers: []            # the DNS servers of the hosts; without one, they resolve nothing
",
    );
    text.push_str(&overrides(region, leased, edge));
    text.push_str(
        "
allow: []
# Flows of your own, for instance:
# - id: package-mirror
#   direction: outbound
#   peers: [mirrors.example.com, 10.0.9.0/24]
#   ports: [tcp/80, tcp/443]
#   purpose: packages of the operating system
# - id: ntp-server
#   direction: outbound
#   peers: [10.0.0.123]
#   ports: [udp/123]
#   purpose: the site's own NTP
",
    );
    if !leased {
        let oss = region.oss(OssNetwork::Internal).and_then(|row| row.public_endpoint.as_ref());
        let oss = oss.map_or_else(|| "OSS-ENDPOINT".to_owned(), ToString::to_string);
        text.push_str(&format!(
            "\
# - id: image-layers
#   direction: outbound
#   peers: [BUCKET.{oss}]
#   ports: [tcp/443]
#   purpose: image layers may come from OSS hosts that no document names; the container runtime's errors name them
"
        ));
    }
    if leased {
        text.push_str(
            "\
# - id: cloud-dns
#   direction: outbound
#   peers: [100.100.2.136, 100.100.2.138]
#   ports: [udp/53, tcp/53]
#   purpose: Cloud DNS of the VPC
",
        );
    }
    text
}

/// The data that the catalog lacks for the region, as blanks.
fn overrides(region: &RegionRow, leased: bool, edge: bool) -> String {
    let row = region.oss(OssNetwork::Internal);
    let mut lines = Vec::new();
    if edge && leased && region.registry.is_none() {
        lines.push("  registry: []           # FILL IN: the catalog has no registry prefixes of this region");
    }
    if edge && leased && row.is_none() {
        lines.push("  oss: []                # FILL IN: the catalog has no OSS prefixes of this region");
        lines.push("  oss-endpoint:          # FILL IN: nor its internal OSS endpoint");
    }
    if edge && !leased && row.is_none_or(|row| row.public_endpoint.is_none()) {
        lines.push("  oss-endpoint:          # FILL IN for `phase: install`: the region's public OSS endpoint");
    }
    if lines.is_empty() { String::new() } else { format!("overrides:\n{}\n", lines.join("\n")) }
}
