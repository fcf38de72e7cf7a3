//! What a site permits, described a second time: a list of flows and a predicate on packets. Written from
//! docs/policy.md and the catalog's documents, and independent of the code.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edgeward::net::{CtState, Hook, Packet, Payload, Verdict};
use ipnet::IpNet;

use crate::regions::Region;

pub const VPC: &str = "192.168.0.0/16 2001:db8:c::/48";
pub const VSWITCHES: &str = "192.168.10.0/24 192.168.12.0/23 2001:db8:c:10::/64";
pub const POD_VSWITCHES: &str = "192.168.25.0/24 2001:db8:c:25::/64";
pub const HOSTS: &str = "10.1.0.0/16 10.3.7.0/24 2001:db8:a::/48";
pub const PODS: &str = "172.20.0.0/16 2001:db8:b::/48";
pub const SERVICES: &str = "172.30.0.0/20 2001:db8:d::/112";
pub const CLOUD_SERVICES: &str = "100.0.0.0/8 2001:db8:e::/48";
pub const CONTROL_PLANE: &str = "10.1.0.100 10.3.7.16/28 2001:db8:a:1::/64";
pub const BGP_PEERS: &str = "10.1.255.1 203.0.113.9 2001:db8:9::9";
pub const MANAGEMENT: &str = "10.1.0.0/28 198.51.100.0/28 2001:db8:5::/64";
pub const SSH_PORT: u16 = 2222;
pub const DNS: &str = "10.1.0.53 192.0.2.53 2001:db8:53::53";
pub const RAVEN: &str = "203.0.113.40 2001:db8:40::40";
pub const TUNNELS: &str = "203.0.113.50 2001:db8:50::50";
/// Where the agent of a registered cluster connects to: on one port a name and two addresses, on another an address.
const AGENT: [(&str, u16); 4] =
    [("10.50.0.9", 5533), ("2001:db8:c:50::9", 5533), ("agent.example.com", 5533), ("203.0.113.60", 8443)];
const ANYWHERE: &str = "0.0.0.0/0 ::/0";

/// First and last address; `IpAddr` orders every v4 address before every v6 one, so ranges never mix families.
pub type Range = (IpAddr, IpAddr);

/// Reads prefixes and addresses.
pub fn ranges(text: &str) -> Vec<Range> {
    let net = |word: &str| word.parse::<IpNet>().unwrap_or_else(|_| IpNet::from(word.parse::<IpAddr>().unwrap()));
    text.split_whitespace().map(net).map(|net| (net.network(), net.broadcast())).collect()
}

pub fn within(ranges: &[Range], address: IpAddr) -> bool {
    ranges.iter().any(|&(first, last)| first <= address && address <= last)
}

/// One combination of what the matrix runs over.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    pub region: Region,
    pub registered: bool,
    pub public: bool,
    pub cni: &'static str,
    pub version: &'static str,
    pub install: bool,
    pub gateway: bool,
    pub broad: bool,
    /// `covers: everything`.
    pub everything: bool,
    pub stateless: bool,
    pub audit: bool,
    /// Whether the policy names vSwitches.
    pub narrow: bool,
    pub own_ntp: bool,
    /// Whether the policy has endpoints of a registered cluster's agent.
    pub agent: bool,
    /// Whether the cloud's services are endpoints inside the VPC; the region then has no prefixes.
    pub private_link: bool,
    /// The fields of `overrides`.
    pub overrides: &'static str,
}

impl Site {
    /// An edge host of an ACK Edge cluster with Flannel, over a leased line.
    pub fn new(region: Region) -> Self {
        Self {
            region,
            registered: false,
            public: false,
            cni: "flannel",
            version: "1.30",
            install: false,
            gateway: false,
            broad: false,
            everything: false,
            stateless: false,
            audit: false,
            narrow: false,
            own_ntp: false,
            agent: false,
            private_link: false,
            overrides: "",
        }
    }

    /// Whether the cluster is older than 1.26, so that it speaks on port 80, too.
    fn old(&self) -> bool {
        ["1.9", "1.24", "1.25.16-aliyun.1"].contains(&self.version)
    }

    fn bgp(&self) -> bool {
        ["terway-edge", "calico-bgp", "cilium-bgp"].contains(&self.cni)
    }

    /// A registered cluster's API server is a host of the IDC; the other kind's has an address in the VPC or a name.
    fn api_server(&self) -> &'static str {
        match (self.registered, self.old()) {
            (true, true) => "10.1.0.100",
            (true, false) => "2001:db8:a::100",
            (false, true) => "192.168.10.20",
            (false, false) => "api.example.com",
        }
    }

    /// The API server of a registered cluster may be at the port of a load balancer.
    fn api_port(&self) -> u16 {
        if self.registered && self.old() { 16443 } else { 6443 }
    }

    /// The policy file.
    pub fn policy(&self) -> String {
        let list = |text: &str| {
            let quoted: Vec<String> = text.split_whitespace().map(|word| format!("\"{word}\"")).collect();
            format!("[{}]", quoted.join(", "))
        };
        let word = |flag, yes: &'static str, no: &'static str| if flag { yes } else { no };
        let mut networks = vec![("hosts", HOSTS)];
        networks.extend((!self.public).then_some(("vpc", VPC)));
        networks.extend((self.narrow && !self.public).then_some(("vswitches", VSWITCHES)));
        networks.extend((self.narrow && self.bgp()).then_some(("pod-vswitches", POD_VSWITCHES)));
        networks.extend((self.narrow && self.registered).then_some(("control-plane", CONTROL_PLANE)));
        networks.extend((!self.gateway || self.bgp()).then_some(("pods", PODS)));
        networks.extend((!self.gateway).then_some(("services", SERVICES)));
        networks.extend((self.broad && !self.private_link).then_some(("cloud-services", CLOUD_SERVICES)));
        networks.extend(self.bgp().then_some(("bgp-peers", BGP_PEERS)));
        let networks: String = networks.iter().map(|(zone, text)| format!("  {zone}: {}\n", list(text))).collect();

        let mut text = format!(
            "version: 1\nname: matrix\ntarget: {}\nregion: {}\nconnection: {}\ncni: {}\nphase: {}\nmode: {}\n",
            word(self.gateway, "idc-gateway", "edge-host"),
            self.region.id,
            word(self.public, "public", "express-connect"),
            self.cni,
            word(self.install, "install", "steady"),
            word(self.audit, "audit", "enforce"),
        );
        text += word(self.private_link, "cloud-access: private-link\n", "");
        let (kind, api) = (word(self.registered, "registered", "ack-edge"), self.api_server());
        text += &format!("cluster:\n  kind: {kind}\n  version: \"{}\"\n  api-server: \"{api}\"\n", self.version);
        if self.api_port() != 6443 {
            text += &format!("  api-server-port: {}\n", self.api_port());
        }
        if self.public {
            text += &format!("  raven-gateways: {}\n", list(&format!("{RAVEN} raven.example.com")));
        }
        if self.public && self.old() {
            text += &format!("  tunnel-servers: {}\n", list(&format!("{TUNNELS} tunnel.example.com")));
        }
        if self.agent {
            let endpoint = |(host, port): (&str, u16)| match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            };
            text += &format!("  agent-endpoints: {}\n", list(&AGENT.map(endpoint).join(" ")));
        }
        text += word(self.own_ntp, "  self-host-ntp: true\n", "");
        text += &format!("networks:\n{networks}");
        text += &format!(
            "management: {{from: {}, ssh-port: {SSH_PORT}}}\ndns: {{servers: {}}}\n",
            list(MANAGEMENT),
            list(DNS)
        );
        if self.gateway {
            text += word(self.broad, "scope: broad\n", "scope: fine\n");
            let covers = word(self.everything, "everything", "hosts");
            text += &format!("gateway: {{covers: {covers}, stateless: {}}}\n", self.stateless);
        }
        if !self.overrides.is_empty() {
            text += &format!("overrides: {{{}}}\n", self.overrides);
        }
        text
    }
}

/// What a flow consists of; ports are destination ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    Tcp(u16, u16),
    Udp(u16, u16),
    Protocol(u8),
    Any,
}

impl Traffic {
    /// The first and last port.
    pub fn ports(self) -> Option<(u16, u16)> {
        match self {
            Traffic::Tcp(low, high) | Traffic::Udp(low, high) => Some((low, high)),
            Traffic::Protocol(_) | Traffic::Any => None,
        }
    }

    fn holds(self, payload: Payload, reply: bool) -> bool {
        let port = |sport, dport| if reply { sport } else { dport };
        match (self, payload) {
            (Traffic::Any, _) => true,
            (Traffic::Tcp(low, high), Payload::Tcp { sport, dport, .. })
            | (Traffic::Udp(low, high), Payload::Udp { sport, dport }) => (low..=high).contains(&port(sport, dport)),
            (Traffic::Protocol(number), Payload::Other(other)) => number == other,
            _ => false,
        }
    }
}

/// One permitted conversation, as begun.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The flow's id in docs/policy.md; empty if any id will do.
    pub id: &'static str,
    pub inbound: bool,
    pub local: Vec<Range>,
    pub peers: Vec<Range>,
    pub traffic: Traffic,
}

const VXLAN: Traffic = Traffic::Udp(8472, 8472);

/// What a site permits.
pub struct Model {
    pub site: Site,
    pub flows: Vec<Flow>,
    /// The names that must be resolved, their made-up addresses, and whether the compile goes on without them.
    pub names: BTreeMap<String, ([IpAddr; 2], bool)>,
    /// The IDC side of a gateway.
    pub idc: Vec<Range>,
}

impl Model {
    pub fn new(site: Site) -> Self {
        let zone = if site.bgp() { format!("{HOSTS} {PODS}") } else { HOSTS.to_owned() };
        let mut model = Self { site, flows: Vec::new(), names: BTreeMap::new(), idc: ranges(&zone) };
        match (site.registered, site.public) {
            (true, _) => model.registered(),
            (false, true) => model.public(),
            (false, false) => model.express_connect(),
        }
        model.baseline();
        model
    }

    /// The IDC end of a flow: this host itself, or the part of the site inside of the gateway.
    fn local(&self, behind_gateway: &str) -> Vec<Range> {
        ranges(if self.site.gateway { behind_gateway } else { ANYWHERE })
    }

    fn flow(&mut self, id: &'static str, ways: &str, local: &[Range], peers: &[Range], traffic: &[Traffic]) {
        for (&traffic, way) in traffic.iter().flat_map(|traffic| ways.split(' ').map(move |way| (traffic, way))) {
            self.flows.push(Flow { id, inbound: way == "in", local: local.into(), peers: peers.into(), traffic });
        }
    }

    /// The addresses of names, or of the addresses that stand in their place.
    fn resolve(&mut self, words: &str) -> Vec<Range> {
        let mut found = Vec::new();
        for word in words.split_whitespace() {
            if word.parse::<IpNet>().is_ok() || word.parse::<IpAddr>().is_ok() {
                found.extend(ranges(word));
                continue;
            }
            let next = u8::try_from(self.names.len()).unwrap();
            let internal =
                word.split('.').any(|label| ["-vpc", "-internal", "-intranet"].iter().any(|end| label.ends_with(end)));
            let fresh: [IpAddr; 2] = match self.site.private_link && internal {
                true => [
                    Ipv4Addr::new(192, 168, 200, next).into(),
                    Ipv6Addr::new(0x2001, 0xdb8, 0xc, 200, 0, 0, 0, next.into()).into(),
                ],
                false => [
                    Ipv4Addr::new(198, 18, next, 7).into(),
                    Ipv6Addr::new(0x2001, 0xdb8, 0xf, next.into(), 0, 0, 0, 7).into(),
                ],
            };
            // "this name alone is optional: it does not exist in all regions"
            let optional = word.starts_with("dockerauth-ee-vpc.");
            let (addresses, _) = *self.names.entry(word.to_owned()).or_insert((fresh, optional));
            found.extend(addresses.map(|address| (address, address)));
        }
        found
    }

    fn ports(&self) -> (Traffic, Vec<Traffic>) {
        let (web, tls) = (Traffic::Tcp(80, 80), Traffic::Tcp(443, 443));
        if self.site.old() { (web, vec![web, tls]) } else { (tls, vec![tls]) }
    }

    /// The vSwitches, else the VPC.
    fn narrowed(&self) -> &'static str {
        if self.site.narrow { VSWITCHES } else { VPC }
    }

    fn express_connect(&mut self) {
        let Site { region: Region { id, registry, oss, internal, .. }, cni, gateway, .. } = self.site;
        let terway = cni == "terway-edge";
        let hosts = self.local(HOSTS);
        let pods = if terway && self.site.narrow { POD_VSWITCHES } else { "" };
        let cloud = ranges(&format!("{} {pods}", self.narrowed()));
        self.flow("kubelet", "in", &hosts, &cloud, &[Traffic::Tcp(10250, 10250), Traffic::Tcp(10255, 10255)]);
        self.flow("node-exporter", "in", &hosts, &cloud, &[Traffic::Tcp(9100, 9100), Traffic::Tcp(9445, 9445)]);
        if cni == "flannel" {
            self.flow("flannel-vxlan", "in out", &hosts, &ranges(&format!("{VPC} {HOSTS}")), &[VXLAN]);
        }
        let (management, packages) = self.ports();
        let peers = self.resolve(&format!("cs-anony-vpc.{id}.aliyuncs.com"));
        self.flow("control-plane", "out", &hosts, &peers, &[management]);

        let both = if terway { self.local(&format!("{HOSTS} {PODS}")) } else { hosts.clone() };
        let names: String =
            internal.split_whitespace().map(|end| format!("aliacs-k8s-{id}.{end}.aliyuncs.com ")).collect();
        let peers = self.resolve(&format!("{names} {oss}"));
        self.flow("oss-packages", "out", &both, &peers, &packages);
        let peers = self.resolve(&format!(
            "dockerauth-vpc.{id}.aliyuncs.com dockerauth-ee-vpc.{id}.aliyuncs.com \
             registry-{id}-vpc.ack.aliyuncs.com {registry} {oss}"
        ));
        self.flow("image-registry", "out", &both, &peers, &[Traffic::Tcp(443, 443)]);
        let peers = self.resolve(self.site.api_server());
        self.flow("api-server", "out", &both, &peers, &[Traffic::Tcp(6443, 6443)]);
        self.ntp(&hosts);
        if terway {
            self.flow("bgp", "in out", &hosts, &ranges(BGP_PEERS), &[Traffic::Tcp(179, 179)]);
        }
        if terway && gateway {
            self.flow("", "in out", &ranges(PODS), &ranges(VPC), &[Traffic::Any]);
        }
    }

    fn public(&mut self) {
        let Region { id, public, .. } = self.site.region;
        let (hosts, siblings) = (self.local(HOSTS), ranges(HOSTS));
        self.flow("kubelet", "in out", &hosts, &siblings, &[Traffic::Tcp(10250, 10250), Traffic::Tcp(10255, 10255)]);
        self.flow("node-exporter", "in out", &hosts, &siblings, &[Traffic::Tcp(9100, 9100), Traffic::Tcp(9445, 9445)]);
        self.flow("flannel-vxlan", "in out", &hosts, &siblings, &[VXLAN]);
        let (management, packages) = self.ports();
        if self.site.install {
            let peers = self.resolve(&format!("aliacs-k8s-{id}.{public}.aliyuncs.com"));
            self.flow("oss-packages", "out", &hosts, &peers, &packages);
        }
        let peers = self.resolve(&format!("cs-anony.aliyuncs.com cs-anony.{id}.aliyuncs.com"));
        self.flow("control-plane", "out", &hosts, &peers, &[management]);
        let peers = self.resolve(self.site.api_server());
        self.flow("api-server", "out", &hosts, &peers, &[Traffic::Tcp(6443, 6443)]);
        let peers = self.resolve(&format!("{RAVEN} raven.example.com"));
        self.flow("raven", "out", &hosts, &peers, &[Traffic::Tcp(10280, 10284), Traffic::Udp(4500, 4500)]);
        if self.site.old() {
            let peers = self.resolve(&format!("{TUNNELS} tunnel.example.com"));
            self.flow("tunnel-server", "out", &hosts, &peers, &[Traffic::Tcp(10262, 10263)]);
        }
        let joint = if id == "cn-zhangjiakou" { '-' } else { '.' };
        let peers = self.resolve(&format!(
            "dockerauth{joint}{id}.aliyuncs.com dockerauth-ee.{id}.aliyuncs.com registry-{id}.ack.aliyuncs.com"
        ));
        self.flow("image-registry", "out", &hosts, &peers, &[Traffic::Tcp(443, 443)]);
        self.ntp(&hosts);
    }

    fn ntp(&mut self, hosts: &[Range]) {
        if !self.site.own_ntp {
            let peers = self.resolve("ntp1.aliyun.com cn.ntp.org.cn");
            self.flow("ntp", "out", hosts, &peers, &[Traffic::Udp(123, 123)]);
        }
    }

    fn registered(&mut self) {
        let (hosts, cloud) = (self.local(HOSTS), self.narrowed());
        let routed = self.local(&format!("{HOSTS} {PODS}"));
        let tunnel = ranges(&format!("{HOSTS} {cloud}"));
        let bgp = ranges(&format!("{HOSTS} {BGP_PEERS}"));
        match self.site.cni {
            "flannel-vxlan" => self.flow("flannel-vxlan", "in out", &hosts, &tunnel, &[VXLAN]),
            "cilium-vxlan" => self.flow("cilium-vxlan", "in out", &hosts, &tunnel, &[VXLAN]),
            "calico-ipip" => self.flow("calico-ipip", "in out", &hosts, &tunnel, &[Traffic::Protocol(4)]),
            // Named as the row of ACK Edge.
            _ => self.flow("bgp", "in out", &hosts, &bgp, &[Traffic::Tcp(179, 179)]),
        }
        if self.site.bgp() && self.site.narrow {
            let peers = ranges(&format!("{POD_VSWITCHES} {VSWITCHES}"));
            self.flow("", "in out", &routed, &peers, &[Traffic::Any]);
        }
        let port = self.site.api_port();
        let (server, api) = (ranges(self.site.api_server()), Traffic::Tcp(port, port));
        self.flow("api-server", "in", &server, &tunnel, &[api]);
        self.flow("api-server", "out", &hosts, &server, &[api]);
        // The control plane: any of the hosts, where the policy does not say which.
        let (masters, own) = match self.site.narrow {
            true => (ranges(CONTROL_PLANE), ranges(CONTROL_PLANE)),
            false => (ranges(HOSTS), hosts.clone()),
        };
        let siblings = ranges(HOSTS);
        if self.site.narrow {
            self.flow("api-servers", "in", &masters, &siblings, &[api]);
            self.flow("api-servers", "out", &hosts, &masters, &[api]);
        }
        self.flow("kubelet", "in", &hosts, &masters, &[Traffic::Tcp(10250, 10250)]);
        self.flow("kubelet", "out", &own, &tunnel, &[Traffic::Tcp(10250, 10250)]);
        self.flow("etcd", "in out", &own, &masters, &[Traffic::Tcp(2379, 2380)]);
        match self.site.cni {
            "calico-ipip" | "calico-bgp" => {
                self.flow("typha", "in out", &hosts, &siblings, &[Traffic::Tcp(5473, 5473)])
            }
            "cilium-vxlan" | "cilium-bgp" => {
                self.flow("cilium-health", "in out", &hosts, &tunnel, &[Traffic::Tcp(4240, 4240)]);
            }
            _ => {}
        }
        if self.site.agent {
            self.agent(&hosts, if self.site.bgp() { &routed } else { &hosts });
        }
    }

    /// The endpoints of the agent, each with its own port, and the registry with the names and prefixes of ACK Edge.
    fn agent(&mut self, hosts: &[Range], agents: &[Range]) {
        for (id, own) in [("agent-5533", 5533), ("agent-8443", 8443)] {
            let words: Vec<&str> = AGENT.iter().filter(|(_, port)| *port == own).map(|(host, _)| *host).collect();
            let peers = self.resolve(&words.join(" "));
            self.flow(id, "out", agents, &peers, &[Traffic::Tcp(own, own)]);
        }
        let Region { id, registry, oss, .. } = self.site.region;
        let peers = self.resolve(&format!(
            "dockerauth-vpc.{id}.aliyuncs.com dockerauth-ee-vpc.{id}.aliyuncs.com \
             registry-{id}-vpc.ack.aliyuncs.com {registry} {oss}"
        ));
        self.flow("image-registry", "out", hosts, &peers, &[Traffic::Tcp(443, 443)]);
    }

    /// The baseline rows that have peers, and `scope: broad`.
    fn baseline(&mut self) {
        let (hosts, idc) = (self.local(HOSTS), if self.site.gateway { self.idc.clone() } else { ranges(ANYWHERE) });
        self.flow("", "in", &hosts, &ranges(MANAGEMENT), &[Traffic::Tcp(SSH_PORT, SSH_PORT)]);
        self.flow("", "out", &idc, &ranges(DNS), &[Traffic::Tcp(53, 53), Traffic::Udp(53, 53)]);
        if !self.site.gateway {
            self.flow("", "in out", &idc, &ranges(&format!("{PODS} {SERVICES}")), &[Traffic::Any]);
        }
        if self.site.broad {
            let services = if self.site.private_link { "" } else { CLOUD_SERVICES };
            self.flow("", "in out", &idc, &ranges(&format!("{VPC} {services}")), &[Traffic::Any]);
        }
    }

    fn permits(&self, flow: &Flow, packet: &Packet, reply: bool) -> bool {
        let (local, peer) = match flow.inbound != reply {
            true => (packet.destination, packet.source),
            false => (packet.source, packet.destination),
        };
        let hook = if flow.inbound { Hook::Input } else { Hook::Output };
        (self.site.gateway || packet.hook == hook)
            && flow.traffic.holds(packet.payload, reply)
            && within(&flow.local, local)
            && within(&flow.peers, peer)
    }

    /// The verdict that the model expects on a packet.
    pub fn expect(&self, packet: &Packet) -> Expected {
        let crossing = match packet.hook {
            Hook::Forward => self.site.gateway,
            Hook::Input | Hook::Output => !self.site.gateway,
            // These chains decide nothing.
            Hook::RawPrerouting | Hook::RawOutput => false,
        };
        let ends = [packet.source, packet.destination].map(|end| within(&self.idc, end));
        let left_alone = self.site.gateway && !self.site.everything && ends[0] == ends[1];
        if !crossing || left_alone || packet.is_loopback() {
            return Expected { verdict: Verdict::Accept, flows: Vec::new(), by_flow: false };
        }
        let opening = matches!(packet.payload, Payload::Tcp { opens: true, .. });
        let answers = |flow: &Flow| flow.traffic != VXLAN && !opening && self.permits(flow, packet, true);
        let replies = self.site.stateless;
        let permits = |flow: &&Flow| self.permits(flow, packet, false) || replies && answers(flow);
        let matching: Vec<&Flow> = self.flows.iter().filter(permits).collect();
        let ported = |flow: &&&Flow| flow.traffic != Traffic::Any;
        let flows: Vec<&str> = matching.iter().filter(ported).map(|flow| flow.id).collect();

        let seen = matches!(packet.state, CtState::Established | CtState::Related);
        let invalid = packet.state == CtState::Invalid && !self.site.gateway;
        let ours = !self.site.gateway || ends[0] || ends[1];
        let baseline = ours && self.icmp(packet)
            || ours && seen && !self.site.stateless
            || !invalid && !self.site.gateway && dhcp(packet);
        let untracked = matching.iter().any(|flow| flow.traffic == VXLAN);
        let permitted = baseline || untracked || !invalid && !matching.is_empty();
        let verdict = match packet.hook {
            _ if permitted || self.site.audit => Verdict::Accept,
            Hook::Output if invalid => Verdict::Drop,
            Hook::Input => Verdict::Drop,
            Hook::Output | Hook::Forward => Verdict::Reject,
            Hook::RawPrerouting | Hook::RawOutput => Verdict::Accept,
        };
        Expected { verdict, by_flow: permitted && !baseline && !flows.is_empty(), flows }
    }

    /// Errors and echo; on an edge host neighbour discovery and multicast listener discovery, too.
    fn icmp(&self, packet: &Packet) -> bool {
        match (packet.payload, packet.source) {
            (Payload::Icmp { kind }, IpAddr::V4(_)) => [0, 3, 8, 11, 12].contains(&kind),
            (Payload::Icmp { kind: 1..=4 | 128 | 129 }, IpAddr::V6(_)) => true,
            (Payload::Icmp { kind: 130..=136 | 143 }, IpAddr::V6(_)) => !self.site.gateway,
            _ => false,
        }
    }
}

/// The verdict that the model expects on a packet.
#[derive(Debug)]
pub struct Expected {
    pub verdict: Verdict,
    /// The flows with ports that the packet belongs to; empty text for rows without a name.
    flows: Vec<&'static str>,
    /// Whether one of them decides.
    by_flow: bool,
}

impl Expected {
    /// Whether a verdict, credited to a flow or to something else, is the right one. A flow is credited only with its
    /// own packets, and one of any traffic only where none with ports matches.
    pub fn met_by(&self, verdict: Verdict, credited: Option<&str>) -> bool {
        let own = credited.is_some_and(|flow| self.flows.contains(&flow));
        let unnamed = !self.by_flow || self.flows.contains(&"");
        verdict == self.verdict && (own || unnamed && credited.is_none_or(|flow| !NAMED.contains(&flow)))
    }
}

/// The flows by id.
const NAMED: [&str; 19] = [
    "kubelet",
    "node-exporter",
    "flannel-vxlan",
    "cilium-vxlan",
    "calico-ipip",
    "control-plane",
    "oss-packages",
    "image-registry",
    "api-server",
    "bgp",
    "ntp",
    "raven",
    "tunnel-server",
    "api-servers",
    "etcd",
    "typha",
    "cilium-health",
    "agent-5533",
    "agent-8443",
];

/// The DHCP client of an edge host.
fn dhcp(packet: &Packet) -> bool {
    let Payload::Udp { sport, dport } = packet.payload else { return false };
    match (packet.hook, packet.source.is_ipv4()) {
        (Hook::Input, true) => (sport, dport) == (67, 68),
        (Hook::Output, true) => (sport, dport) == (68, 67),
        (Hook::Input, false) => (sport, dport) == (547, 546) && within(&ranges("fe80::/10"), packet.destination),
        (Hook::Output, false) => {
            (sport, dport) == (546, 547) && within(&ranges("fe80::/10 ff02::1:2"), packet.destination)
        }
        (Hook::Forward | Hook::RawPrerouting | Hook::RawOutput, _) => false,
    }
}
