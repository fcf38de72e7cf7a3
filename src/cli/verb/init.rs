//! `edgeward init`.

use std::path::Path;

use anyhow::anyhow;

use crate::catalog::{Catalog, NeedRow, OssNetwork, RegionRow};
use crate::cli::context::load_catalog;
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::one_of;
use crate::policy::syntax::API_SERVER_PORT;
use crate::site::{ClusterKind, ClusterVersion, Connection, Phase, ProxyMode, Scope, Target};

/// Print a commented starter policy
///
/// The policy is complete except for what only the operator knows; these fields are marked FILL IN. It has blanks for
/// what the catalog does not know of the region.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward init --region cn-hangzhou --connection express-connect --cni flannel > policy.yaml
  edgeward check policy.yaml")]
pub(crate) struct Arguments {
    /// A region id of the catalog, such as `cn-hangzhou`
    #[arg(long)]
    region: String,
    /// express-connect or public
    #[arg(long, value_parser = str::parse::<Connection>)]
    connection: Connection,
    /// The container network, `flannel`
    #[arg(long)]
    cni: String,
    /// edge-host or idc-gateway
    #[arg(long, value_parser = str::parse::<Target>, default_value = "edge-host")]
    target: Target,
    /// The policy's name
    #[arg(long, default_value = "my-site")]
    name: String,
}

pub(crate) fn run(arguments: &Arguments, catalog: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(catalog)?;
    let region = catalog.region(&arguments.region).ok_or_else(|| {
        let help = catalog.suggest_region(&arguments.region);
        Failure::usage(anyhow!("`{}` is not a region of the catalog; {help}", arguments.region))
    })?;
    let cluster = cluster_kind(&catalog, arguments)?;
    if !crate::catalog::is_id(&arguments.name) || arguments.name.len() > 32 {
        let name = &arguments.name;
        return Err(Failure::usage(anyhow!("`{name}` is not a valid policy name: `[a-z][a-z0-9-]{{0,31}}`")));
    }
    render::output(&starter(arguments, region, cluster, &catalog))
}

/// The first kind of cluster that offers the CNI over the connection.
fn cluster_kind(catalog: &Catalog, arguments: &Arguments) -> Result<ClusterKind, Failure> {
    let Arguments { cni, connection, .. } = arguments;
    let offers = |kind: &ClusterKind| catalog.cni(cni, *kind, *connection).is_some();
    ClusterKind::ALL.iter().copied().find(offers).ok_or_else(|| {
        let offered: Vec<&str> =
            ClusterKind::ALL.iter().flat_map(|kind| catalog.offered_cnis(*kind, *connection)).collect();
        Failure::usage(anyhow!("the CNI `{cni}` is not offered over `{connection}`; {}", one_of(&offered)))
    })
}

/// What shapes a starter policy.
struct Site<'a> {
    arguments: &'a Arguments,
    catalog: &'a Catalog,
    region: &'a RegionRow,
    cluster: ClusterKind,
    /// Whether the cloud is reached over a leased line.
    leased: bool,
    /// Whether it is an ACK Edge cluster; else a registered one.
    edge: bool,
    /// Whether pods are reached by routes of the site, announced over BGP.
    routed: bool,
}

fn starter(arguments: &Arguments, region: &RegionRow, cluster: ClusterKind, catalog: &Catalog) -> String {
    let Arguments { connection, cni, .. } = arguments;
    let site = Site {
        arguments,
        catalog,
        region,
        cluster,
        leased: *connection == Connection::ExpressConnect,
        edge: cluster == ClusterKind::AckEdge,
        routed: catalog.cni(cni, cluster, *connection).is_some_and(|row| row.routed),
    };
    [site.head(), site.networks(), ACCESS.to_owned(), site.overrides(), site.allow(), site.features().to_owned()]
        .concat()
}

const ACCESS: &str = "
management:
  from: []               # FILL IN: the prefixes from which SSH is permitted; without one, SSH is denied
  ssh-port: 22
dns:
  servers: []            # FILL IN: the DNS servers of the hosts; without one, DNS is denied; no stub on 127.0.0.53
";

const ALLOW: &str = "
allow: []
# Flows of your own, for instance:
# - id: package-mirror
#   direction: outbound
#   peers: [mirrors.example.com, 10.0.9.0/24]
#   ports: [tcp/80, tcp/443]
#   purpose: packages of the operating system
";

/// Not of registered clusters, which the catalog has a row for.
const OWN_NTP: &str = "\
# - id: ntp-server
#   direction: outbound
#   peers: [10.0.0.123]
#   ports: [udp/123]
#   purpose: the site's own NTP
";

/// Later than every version that a row has a condition on.
const LATEST: ClusterVersion = ClusterVersion { major: u32::MAX, minor: 0 };

/// Commented rows, with a peer to replace.
fn need(need: &NeedRow) -> String {
    let (peer, ports, purpose) = (&need.peer, need.traffic(), &need.purpose);
    let row = |(id, direction)| {
        format!(
            "# - id: {id}\n#   direction: {direction}\n#   peers: [{peer}]\n#   ports: [{ports}]\n#   purpose: {purpose}\n"
        )
    };
    need.rows().into_iter().map(row).collect()
}

impl Site<'_> {
    fn head(&self) -> String {
        let Arguments { connection, cni, target, name, .. } = self.arguments;
        let (id, cluster) = (&self.region.id.value, self.cluster);
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
mode: audit              # what would be denied is logged, counted and accepted; enforce denies it

cluster:
  kind: {cluster}
  version:               # FILL IN, in quotes: \"1.30\"
  api-server:            # FILL IN: its address or name (the cluster's page in the console, Basic Information)
"
        );
        if !self.edge {
            text.push_str(&format!(
                "  api-server-port: {API_SERVER_PORT}  # where it is reached, perhaps the port of a load balancer\n"
            ));
        }
        if !self.leased {
            text.push_str(
                "  raven-gateways: []     # EXTERNAL-IP of the Services x-raven-proxy-svc-gw-cloud-xxx and \
                 x-raven-tunnel-svc-gw-cloud-xxx\n",
            );
        }
        if self.edge {
            text.push_str(
                "  self-host-ntp: false   # true: the hosts keep their clocks without the cloud's NTP names\n",
            );
        } else {
            text.push_str(
                "  agent-endpoints: []    # address and port of each, as in the cluster's import manifest: \
                 `[\"10.50.0.9:5533\"]`\n",
            );
        }
        text
    }

    fn networks(&self) -> String {
        let on_host = self.arguments.target == Target::EdgeHost;
        let zone_with =
            |name: &str, value: &str, comment: &str| format!("  {:<22} # {comment}\n", format!("{name}: {value}"));
        let zone = |required: bool, name: &str, comment: &str| {
            let mark = if required { "FILL IN: " } else { "" };
            zone_with(name, "[]", &format!("{mark}{comment}"))
        };
        let mut text = "\nnetworks:\n".to_owned();
        text += &zone(true, "hosts", "the prefixes of the site's hosts, `[10.0.0.0/8]`");
        text += &zone(on_host || self.routed, "pods", "the edge container prefixes");
        text += &zone(false, "services", "the cluster's Service prefixes");
        if self.leased {
            text += &zone(true, "vpc", "the VPC's prefixes");
            text += &zone(false, "vswitches", "the cluster's vSwitches, to narrow down the VPC");
            let comment = "where the cloud's services answer over a leased line; a site that uses these addresses itself \
                           removes this line, and writes `cloud-access: private-link` below `connection`";
            text += &zone_with("cloud-services", "[100.64.0.0/10]", comment);
        }
        if !self.edge {
            text += &zone(false, "control-plane", "the hosts of the cluster's control plane; empty: any of the hosts");
        }
        if !self.edge || self.routed {
            text += &zone(false, "pod-vswitches", "the vSwitches of pods");
        }
        if self.routed {
            text += &zone(true, "bgp-peers", "the switches or route reflectors that the hosts speak BGP with");
        }
        text
    }

    /// Blanks for the data of the region that the catalog lacks.
    fn overrides(&self) -> String {
        let Self { region, leased, edge, .. } = *self;
        let row = region.oss(OssNetwork::Internal);
        let mut lines = Vec::new();
        if edge && leased && region.registry.is_none() {
            lines.push("  registry:              # FILL IN: the catalog has no registry prefixes of this region");
        }
        if edge && leased && row.is_none() {
            lines.push("  oss:                   # FILL IN: the catalog has no OSS prefixes of this region");
        }
        if edge && leased && row.is_none_or(|row| row.endpoints.is_empty()) {
            lines.push("  oss-endpoint:          # FILL IN: the catalog has no internal OSS endpoint of this region");
        }
        if edge && !leased && self.region.public_oss_endpoint().is_none() {
            lines.push("  oss-endpoint:          # FILL IN for `phase: install`: the region's public OSS endpoint");
        }
        if lines.is_empty() { String::new() } else { format!("overrides:\n{}\n", lines.join("\n")) }
    }

    /// What a site may use in addition.
    fn features(&self) -> &'static str {
        match self.leased {
            true => "# features: [log, monitoring]   # opens Log Service and monitoring of the cloud\n",
            false => "",
        }
    }

    /// The rows for what the catalog knows nothing about.
    fn needs(&self) -> String {
        let Arguments { target, connection, cni, .. } = self.arguments;
        let site = crate::site::Site {
            target: *target,
            region: self.region.id.value.clone(),
            connection: *connection,
            cluster: self.cluster,
            version: LATEST,
            cni: cni.clone(),
            routed: self.routed,
            phase: Phase::Steady,
            scope: Scope::Fine,
            self_host_ntp: false,
            agent: false,
            kube_proxy: ProxyMode::Iptables,
            features: Vec::new(),
        };
        let (optional, required): (Vec<_>, Vec<_>) = self.catalog.needs_of(&site).partition(|row| row.optional);
        let rows = |rows: Vec<&NeedRow>| rows.into_iter().map(need).collect::<String>();
        let own = if required.is_empty() { OWN_NTP.to_owned() } else { rows(required) };
        own + &rows(optional)
    }

    fn allow(&self) -> String {
        let rows = ALLOW.to_owned() + &self.needs();
        if self.leased {
            let servers = &self.catalog.cloud.dns.servers.value;
            let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
            return format!(
                "\
{rows}# - id: cloud-dns
#   direction: outbound
#   peers: [{}]
#   ports: [udp/53, tcp/53]
#   purpose: Cloud DNS of the VPC
",
                servers.join(", ")
            );
        }
        let oss = self.region.public_oss_endpoint();
        let oss = oss.map_or_else(|| "OSS-ENDPOINT".to_owned(), ToString::to_string);
        format!(
            "\
{rows}# - id: image-layers
#   direction: outbound
#   peers: [BUCKET.{oss}]
#   ports: [tcp/443]
#   purpose: image layers may come from OSS hosts that no document names; the container runtime's errors name them
"
        )
    }
}
