//! The policy file as it is written: only its form. `check` reads what the fields mean together.

use std::net::IpAddr;

use crate::catalog::{OssNetwork, OwnPorts};
use crate::diag::{Code, Problems};
use crate::intent::Side;
use crate::net::{DomainName, InterfacePattern, Nat64Prefix, Prefix, Rate, RateUnit, Traffic};
use crate::resolution::FormatVersion;
use crate::site::{
    CloudAccess, ClusterKind, ClusterVersion, Connection, Covers, Feature, Mode, Phase, ProxyMode, Scope, Target,
};
use crate::source::Spanned;
use crate::yaml::{AddressOrName, PrefixOrName, record};

pub use super::path::Path;
pub use super::scalars::{
    Attempts, Denial, FlowId, HostPort, MaxAddresses, MaxGathered, PeersFile, PeersList, PolicyName, Port,
    WrittenDuration, parse_duration,
};

record! {
    /// A policy of edgeward: what a host or gateway of one site permits.
    pub struct Policy {
        /// The version of the format: 1.
        pub version: FormatVersion,
        /// The policy's name: `[a-z][a-z0-9-]{0,31}`.
        pub name: Spanned<PolicyName>,
        /// Where the rules run; `--target` overrides it.
        pub target: Target,
        /// A region id of the catalog, such as `cn-hangzhou`.
        pub region: Spanned<String>,
        /// How the site reaches the cloud.
        pub connection: Spanned<Connection>,
        /// How registry and OSS are reached over a leased line: at the catalog's prefixes, or inside the VPC.
        pub cloud_access: Spanned<CloudAccess> = Spanned::unwritten(CloudAccess::Catalog),
        /// The container network: a CNI of the catalog.
        pub cni: Spanned<String>,
        /// The optional services of the cloud that the site uses, over a leased line.
        pub features: Vec<Spanned<Feature>>,
        /// Whether hosts are being installed or upgraded.
        pub phase: Phase = Phase::Steady,
        /// How much an IDC gateway permits.
        pub scope: Spanned<Scope> = Spanned::unwritten(Scope::Fine),
        /// Whether packets that no flow permits are denied, or only logged and counted.
        pub mode: Mode = Mode::Enforce,
        /// The cluster that the site joins.
        pub cluster: Cluster,
        /// The zones: prefixes of the site and of its VPC.
        pub networks: Spanned<Networks>,
        /// How kube-proxy serves Services on the hosts.
        pub kube_proxy: KubeProxy,
        /// Who may manage the hosts.
        pub management: Option<Spanned<Management>>,
        /// The DNS servers of the hosts.
        pub dns: Option<Spanned<Dns>>,
        /// How names are resolved.
        pub resolve: Resolve,
        /// How packets that no flow permits are denied.
        pub deny: Deny,
        /// What an IDC gateway covers.
        pub gateway: GatewayPolicy,
        /// Data for regions that the catalog knows only in part.
        pub overrides: Overrides,
        /// The log of denied packets.
        pub log: Log,
        /// The devices between the data centre and the cloud, for `edgeward routes` and
        /// `edgeward security-group`.
        pub path: Path,
        /// The operator's own flows.
        pub allow: Vec<Allow>,
    }
}

record! {
    /// The cluster that the site joins.
    pub struct Cluster {
        /// Its kind.
        pub kind: ClusterKind,
        /// Its version, in quotes.
        pub version: ClusterVersion,
        /// The address or name of the API server.
        pub api_server: Spanned<AddressOrName>,
        /// The port at which a registered cluster's API server is reached.
        pub api_server_port: Spanned<Port> = Spanned::unwritten(Port(API_SERVER_PORT)),
        /// Raven's cloud gateways, by address or name; public connection only.
        pub raven_gateways: Vec<Spanned<AddressOrName>>,
        /// Tunnel servers, by address or name; public connection and old clusters only.
        pub tunnel_servers: Vec<Spanned<AddressOrName>>,
        /// Where a registered cluster's agent connects to, each with its port: `10.50.0.9:5533`.
        pub agent_endpoints: Vec<Spanned<HostPort>>,
        /// Whether the hosts synchronise their clocks without the cloud's NTP names.
        pub self_host_ntp: bool = false,
    }
}

record! {
    /// The zones: prefixes of the site and of its VPC.
    pub struct Networks {
        /// The VPC.
        pub vpc: Vec<Spanned<Prefix>>,
        /// The cluster's vSwitches; they narrow the VPC as the peer of kubelet and node-exporter.
        pub vswitches: Vec<Spanned<Prefix>>,
        /// The vSwitches of pods; terway-edge and registered clusters.
        pub pod_vswitches: Vec<Spanned<Prefix>>,
        /// The hosts of the site.
        pub hosts: Vec<Spanned<Prefix>>,
        /// The edge container prefixes.
        pub pods: Vec<Spanned<Prefix>>,
        /// The cluster's Service prefixes.
        pub services: Vec<Spanned<Prefix>>,
        /// The cloud's services, as reached over a leased line: `[100.64.0.0/10]` if it is not given.
        pub cloud_services: Option<Spanned<Vec<Spanned<Prefix>>>>,
        /// The BGP peers of the site.
        pub bgp_peers: Vec<Spanned<Prefix>>,
        /// The control-plane hosts of a registered cluster; all hosts if empty.
        pub control_plane: Vec<Spanned<Prefix>>,
        /// If given, only these interfaces may bring packets of pods and Services to a host: `cni0`, `veth*`.
        pub pod_interfaces: Vec<Spanned<InterfacePattern>>,
    }
}

record! {
    /// How kube-proxy serves Services on the hosts.
    pub struct KubeProxy {
        /// Its mode: of these, only IPVS brings packets to the hooks of an edge host that would else be forwarded.
        pub mode: ProxyMode = ProxyMode::Iptables,
        /// With `mode: ipvs`: who reaches which NodePorts.
        pub node_ports: Option<Spanned<NodePorts>>,
    }
}

record! {
    /// Who reaches which NodePorts of the hosts.
    pub struct NodePorts {
        /// The prefixes of the clients.
        pub from: Spanned<Vec<Spanned<Prefix>>>,
        /// Protocols and ports: `tcp/30080`, `udp/30000-32767`.
        pub ports: Spanned<Vec<Traffic>>,
    }
}

record! {
    /// Who may manage the hosts.
    pub struct Management {
        /// The prefixes from which SSH is permitted.
        pub from: Vec<Spanned<Prefix>>,
        /// The port of SSH.
        pub ssh_port: Port = Port(SSH_PORT),
    }
}

record! {
    /// The DNS servers of the hosts.
    pub struct Dns {
        /// Their addresses.
        pub servers: Vec<Spanned<IpAddr>>,
    }
}

record! {
    /// How names are resolved.
    pub struct Resolve {
        /// How long to wait for the answer to one query.
        pub timeout: WrittenDuration = WrittenDuration::seconds(2),
        /// How often a query is sent to each server.
        pub attempts: Attempts = Attempts(2),
        /// How long an address is kept that answers no longer have.
        pub linger: Spanned<WrittenDuration> = Spanned::unwritten(WrittenDuration::hours(24)),
        /// How long the last answers are kept while no server answers.
        pub max_stale: Spanned<WrittenDuration> = Spanned::unwritten(WrittenDuration::hours(7 * 24)),
        /// Public names that may resolve to private addresses.
        pub allow_private: Vec<Spanned<DomainName>>,
        /// The prefixes of the site's NAT64: `64:ff9b::/96`.
        pub nat64: Vec<Nat64Prefix>,
        /// An answer with more addresses is not accepted.
        pub max_addresses: MaxAddresses = MaxAddresses(64),
        /// How many addresses of one family a name keeps; those last seen longest ago are dropped.
        pub max_gathered: Spanned<MaxGathered> = Spanned::unwritten(MaxGathered(256)),
    }
}

record! {
    /// How packets that no flow permits are denied.
    pub struct Deny {
        /// To the host.
        pub inbound: Denial = Denial::Drop,
        /// From the host.
        pub outbound: Denial = Denial::Reject,
        /// Through the gateway.
        pub forward: Denial = Denial::Reject,
    }
}

record! {
    /// What an IDC gateway covers.
    pub struct GatewayPolicy {
        /// Whose packets it denies.
        pub covers: Covers = Covers::Hosts,
        /// Whether replies are recognised by their ports instead of by conntrack.
        pub stateless: bool = false,
    }
}

record! {
    /// Data for regions that the catalog knows only in part; it replaces the catalog's.
    pub struct Overrides {
        /// Prefixes of the image registry.
        pub registry: Option<Spanned<Vec<Spanned<Prefix>>>>,
        /// Prefixes of OSS.
        pub oss: Option<Spanned<Vec<Spanned<Prefix>>>>,
        /// The OSS endpoint.
        pub oss_endpoint: Option<Spanned<DomainName>>,
        /// Which OSS network of a finance region is used over a leased line.
        pub oss_network: OssNetwork = OssNetwork::Internal,
    }
}

record! {
    /// The log of denied packets.
    pub struct Log {
        /// How many are logged.
        pub rate: Rate = Rate { count: 10, per: RateUnit::Second },
    }
}

record! {
    /// A flow of the operator's own.
    pub struct Allow {
        /// Its name: `[a-z][a-z0-9-]{0,62}`.
        pub id: Spanned<FlowId>,
        /// Who opens it.
        pub direction: Side,
        /// The other end: prefixes, addresses and names. Required without `peers-file`.
        pub peers: Option<Spanned<Vec<Spanned<PrefixOrName>>>>,
        /// A file with more prefixes, addresses and ranges, one per line; relative to the policy's folder.
        pub peers_file: Option<Spanned<PeersFile>>,
        /// Protocols and destination ports: `tcp/443`, `udp/5000-5010`, `sctp/38412`; protocols without ports: `icmp`,
        /// `ipip`, `gre`, `esp`, `ah`, `vrrp`, or any other by number, `protocol/89`.
        pub ports: Spanned<Vec<Traffic>>,
        /// Whether the policy compiles while a name has no address.
        pub optional: bool = false,
        /// What it is for.
        pub purpose: Option<String>,
    }
}

impl Allow {
    /// The peers that the policy itself lists.
    pub fn written_peers(&self) -> &[Spanned<PrefixOrName>] {
        self.peers.as_ref().map_or(&[], |peers| &peers.value)
    }
}

/// The default port of SSH (RFC 4251 section 7).
pub const SSH_PORT: u16 = 22;

/// The default port of the API server (kube-apiserver's `--secure-port`).
pub const API_SERVER_PORT: u16 = 6443;

impl Policy {
    /// The ports that the policy gives.
    pub fn own_ports(&self) -> OwnPorts {
        let node_ports = self.node_ports().map(|section| Traffic::union_of(section.ports.value.iter()));
        OwnPorts {
            ssh: self.ssh_port(),
            api_server: self.cluster.api_server_port.value.0,
            node_ports: node_ports.unwrap_or_else(Traffic::none),
        }
    }

    /// The NodePorts of the policy.
    pub fn node_ports(&self) -> Option<&NodePorts> {
        self.kube_proxy.node_ports.as_ref().map(|section| &section.value)
    }

    /// The port of SSH on the hosts.
    pub fn ssh_port(&self) -> u16 {
        self.management.as_ref().map_or(SSH_PORT, |section| section.value.ssh_port.0)
    }

    /// Whether SSH is permitted from anywhere: by `management.from`, or by an `allow` row that names the port, as for a
    /// jump host that is known by its name only.
    pub fn permits_ssh(&self) -> bool {
        let port = self.ssh_port();
        let opens = |row: &Allow| {
            let names_port = |traffic: &Traffic| matches!(traffic, Traffic::Some { tcp, .. } if tcp.contains(port));
            row.direction == Side::Inbound && !row.optional && row.ports.value.iter().any(names_port)
        };
        self.management.iter().any(|section| !section.value.from.is_empty()) || self.allow.iter().any(opens)
    }

    /// Reads the files with peers. `read` gets the id of the row and the path; its error is a message.
    pub fn read_lists(
        &mut self,
        read: &mut dyn FnMut(&str, &str) -> Result<PeersList, String>,
        problems: &mut Problems,
    ) {
        for row in &mut self.allow {
            let Some(file) = &mut row.peers_file else { continue };
            match read(&row.id.value.0, &file.value.path) {
                Ok(list) => file.value.list = Some(list),
                Err(message) => {
                    let help =
                        "write one prefix, address or range per line, such as `10.0.0.0/8`; `#` starts a comment";
                    problems.push_with_help(Code::PeersFile, file.span, message, help);
                }
            }
        }
    }
}
