//! Random valid policies, and random packets that matter to a ruleset.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

use edgeward::catalog::Catalog;
use edgeward::diag::Problems;
use edgeward::intent::{Declared, Intent};
use edgeward::net::{CtState, Hook, Interface, Packet, Payload};
use edgeward::policy;
use edgeward::resolution::Resolution;
use edgeward::ruleset::{Action, Match, Ruleset};
use edgeward::source::Source;

/// A generator of small numbers (xorshift64*), so that a seed is all it takes to see a failure again.
pub struct Dice(u64);

impl Dice {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// Heads or tails.
    pub fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// At least `least` of several, in random order.
    pub fn some<T: Clone>(&mut self, from: &[T], least: usize) -> Vec<T> {
        let mut left = from.to_vec();
        let count = least + self.below(from.len() - least + 1);
        (0..count).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }
}

/// The lists of a policy that may stand in any order, and the rest of it.
#[derive(Clone, Debug)]
pub struct PolicyText {
    head: String,
    lists: Vec<(&'static str, Vec<String>)>,
    allow: Vec<AllowText>,
}

#[derive(Clone, Debug)]
struct AllowText {
    id: String,
    direction: &'static str,
    peers: Vec<String>,
    ports: Vec<String>,
}

const HOSTS: [&str; 5] = ["10.0.0.0/8", "10.1.0.0/16", "10.2.3.0/24", "10.9.9.9", "'2001:db8:a::/48'"];
/// Not all of them inside the hosts.
const CONTROL_PLANE: [&str; 4] = ["10.1.0.0/28", "10.9.9.9", "10.77.0.1", "'2001:db8:a:1::/64'"];
const VPC: [&str; 4] = ["192.168.0.0/16", "192.168.0.0/17", "172.30.0.0/16", "'2001:db8:c::/48'"];
const VSWITCHES: [&str; 3] = ["192.168.10.0/24", "192.168.20.0/23", "'2001:db8:c:1::/64'"];
const PODS: [&str; 3] = ["172.20.0.0/16", "172.22.0.0/15", "'2001:db8:b::/48'"];
const PEERS: [&str; 9] = [
    "203.0.113.0/24",
    "203.0.113.7",
    "10.200.0.0/16",
    "192.168.0.0/16",
    "0.0.0.0/0",
    "'::/0'",
    "mirror.example.com",
    "a.example.org",
    "172.20.1.0/24",
];
const PORTS: [&str; 15] = [
    "tcp/443",
    "tcp/1-65535",
    "tcp/400-500",
    "udp/53",
    "udp/8472",
    "udp/5000-5010",
    "icmp",
    "ipip",
    "gre",
    "vrrp",
    "protocol/89",
    "sctp/38412",
    "sctp/400-500",
    "tcp/65535",
    "udp/1",
];

/// A policy without errors, of any kind there is.
pub fn policy_text(dice: &mut Dice) -> PolicyText {
    let edge = dice.flip();
    let leased = !edge || dice.flip();
    let cni = *match (edge, leased) {
        (true, true) => dice.pick(&["flannel", "terway-edge"]),
        (true, false) => &"flannel",
        (false, _) => dice.pick(&["flannel-vxlan", "calico-ipip", "cilium-vxlan", "calico-bgp", "cilium-bgp"]),
    };
    let gateway = dice.flip();
    let region = *dice.pick(&["cn-hangzhou", "cn-zhangjiakou", "eu-central-1", "cn-shanghai-finance-1"]);
    let version = *dice.pick(&["1.24", "1.26", "1.30"]);
    let phase = if leased || region != "cn-shanghai-finance-1" { *dice.pick(&["steady", "install"]) } else { "steady" };
    let scope = if gateway && leased { *dice.pick(&["fine", "broad"]) } else { "fine" };
    let (kind, connection) =
        (if edge { "ack-edge" } else { "registered" }, if leased { "express-connect" } else { "public" });
    let target = if gateway { "idc-gateway" } else { "edge-host" };
    let mode = *dice.pick(&["enforce", "enforce", "enforce", "audit"]);
    let features = if leased { dice.some(&["log", "monitoring"], 0).join(", ") } else { String::new() };
    let api = *dice.pick(&["10.0.0.20", "192.168.10.20", "api.example.com"]);
    let agent = match !edge && dice.flip() {
        true => ", agent-endpoints: ['10.50.0.9:5533', 'agent.example.com:8443', '[2001:db8:c::9]:5533']",
        false => "",
    };
    let mut head = format!(
        "version: 1\nname: random\ntarget: {target}\nregion: {region}\nconnection: {connection}\ncni: {cni}\n\
         phase: {phase}\nscope: {scope}\nmode: {mode}\nfeatures: [{features}]\n\
         cluster: {{kind: {kind}, version: '{version}', api-server: {api}, self-host-ntp: {}{}{agent}}}\n\
         deny: {{inbound: {}, outbound: {}, forward: {}}}\n\
         gateway: {{covers: {}, stateless: {}}}\n",
        dice.flip(),
        if leased { "" } else { ", raven-gateways: [203.0.113.9, raven.example.com]" },
        dice.pick(&["drop", "reject"]),
        dice.pick(&["drop", "reject"]),
        dice.pick(&["drop", "reject"]),
        dice.pick(&["hosts", "everything"]),
        dice.flip(),
    );
    let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<String>>();
    let ssh_from = owned(dice.some(&["10.0.0.0/24", "198.51.100.0/24", "'2001:db8:a:1::/64'"], 0));
    let dns = owned(dice.some(&["10.0.0.53", "192.168.10.53", "'2001:db8:c::53'"], 0));
    let _ = writeln!(head, "management: {{from: [{}], ssh-port: {}}}", ssh_from.join(", "), dice.pick(&[22, 2222]));
    let _ = writeln!(head, "dns: {{servers: [{}]}}", dns.join(", "));
    let routed = matches!(cni, "terway-edge" | "calico-bgp" | "cilium-bgp");
    let lists = vec![
        ("hosts", owned(dice.some(&HOSTS, 1))),
        ("vpc", owned(dice.some(&VPC, usize::from(leased)))),
        ("vswitches", owned(dice.some(&VSWITCHES, 0))),
        ("control-plane", owned(if edge { Vec::new() } else { dice.some(&CONTROL_PLANE, 0) })),
        ("pod-vswitches", owned(dice.some(&["192.168.30.0/24"], 0))),
        ("pods", owned(dice.some(&PODS, usize::from(!gateway || routed)))),
        ("services", owned(dice.some(&["172.21.0.0/20", "'2001:db8:5::/112'"], 0))),
        ("cloud-services", owned(dice.some(&["100.0.0.0/8"], usize::from(scope == "broad")))),
        ("pod-interfaces", owned(dice.some(&["cni0", "flannel.1", "'veth*'", "vetha", "'v*'", "eth0"], 0))),
        ("bgp-peers", owned(dice.some(&["10.0.255.1", "10.0.255.2", "192.0.2.1"], 1))),
    ];
    let services = &lists.iter().find(|(zone, _)| *zone == "services").expect("a zone").1;
    if !services.is_empty() && dice.flip() {
        let from = dice.some(&["10.0.9.0/24", "198.51.100.0/25", "'2001:db8:a:9::/64'"], 1).join(", ");
        let ports = dice.some(&["tcp/30080", "udp/30000-32767", "sctp/31000"], 1).join(", ");
        let node_ports =
            if dice.flip() { format!(", node-ports: {{from: [{from}], ports: [{ports}]}}") } else { String::new() };
        let _ = writeln!(head, "kube-proxy: {{mode: ipvs{node_ports}}}");
    }
    let allow = (0..dice.below(5)).map(|index| AllowText {
        id: format!("row-{}", 9 - index),
        direction: dice.pick::<&str>(&["inbound", "outbound"]),
        peers: owned(dice.some(&PEERS, 1)),
        ports: owned(dice.some(&PORTS, 1)),
    });
    let mut allow: Vec<AllowText> = allow.collect();
    // Ranges of ports that overlap so much that rules match the port.
    let (overlapping, direction) = (if dice.below(5) == 0 { 20 } else { 0 }, *dice.pick(&["inbound", "outbound"]));
    allow.extend((0..overlapping).map(|index| AllowText {
        id: format!("many-{index}"),
        direction,
        peers: owned(vec![dice.pick::<&str>(&PEERS)]),
        ports: vec![format!("{}/{}-{}", dice.pick(&["tcp", "tcp", "udp"]), 30_000 + index, 30_020 + index)],
    }));
    PolicyText { head, lists, allow }
}

impl PolicyText {
    /// The same policy with its lists in another order.
    pub fn shuffled(&self, dice: &mut Dice) -> Self {
        let mut other = self.clone();
        for (_, list) in &mut other.lists {
            *list = dice.some(list, list.len());
        }
        for row in &mut other.allow {
            row.peers = dice.some(&row.peers, row.peers.len());
            row.ports = dice.some(&row.ports, row.ports.len());
        }
        other.allow = dice.some(&other.allow, other.allow.len());
        other
    }

    /// The policy file.
    pub fn yaml(&self) -> String {
        let mut text = self.head.clone();
        text.push_str("networks:\n");
        for (zone, list) in &self.lists {
            let _ = writeln!(text, "  {zone}: [{}]", list.join(", "));
        }
        text.push_str(if self.allow.is_empty() { "allow: []\n" } else { "allow:\n" });
        for AllowText { id, direction, peers, ports } in &self.allow {
            let (peers, ports) = (peers.join(", "), ports.join(", "));
            let _ = writeln!(text, "- {{id: {id}, direction: {direction}, peers: [{peers}], ports: [{ports}]}}");
        }
        text
    }
}

/// The meaning of a policy that must be good.
pub fn intent(yaml: &str, catalog: &Catalog) -> Intent<Declared> {
    let mut problems = Problems::default();
    policy::parse(&Source::new("random.yaml", yaml), &mut problems)
        .and_then(|policy| policy::check(&policy, catalog, None, &mut problems))
        .unwrap_or_else(|| panic!("{problems:#?}\n{yaml}"))
}

/// Answers for the names of a policy: one to three addresses each, neighbours among them, some in the cloud.
pub fn resolution(intent: &Intent<Declared>, dice: &mut Dice) -> Resolution {
    const ANSWERS: [&str; 8] = [
        "100.100.7.7",
        "100.100.7.8",
        "203.0.113.7",
        "203.0.113.8",
        "10.9.9.9",
        "'2001:db8:f::1'",
        "'2001:db8:f::2'",
        "198.51.100.1",
    ];
    let mut yaml = String::from("version: 1\nnames:\n- {name: unused.example.com, addresses: []}\n");
    for name in intent.names().keys() {
        let _ = writeln!(yaml, "- name: {name}\n  addresses:");
        for address in dice.some(&ANSWERS, 1).into_iter().take(3) {
            let _ = writeln!(
                yaml,
                "  - {{address: {address}, first-seen: 2026-01-01T00:00:00Z, last-seen: 2026-01-01T00:00:00Z}}"
            );
        }
    }
    let mut problems = Problems::default();
    Resolution::parse(&Source::new("random.lock.yaml", &yaml), &mut problems).unwrap_or_else(|| panic!("{problems:#?}"))
}

/// The values at which the verdict of a ruleset can change.
pub struct CutPoints {
    /// Addresses of v4.
    pub v4: Vec<IpAddr>,
    /// Addresses of v6.
    pub v6: Vec<IpAddr>,
    /// Ports of TCP and UDP.
    pub ports: Vec<u16>,
    types: Vec<u8>,
    /// Loopback, one that no rule names, and those that rules name, with neighbours.
    interfaces: Vec<Interface>,
}

impl CutPoints {
    /// Collects the ends of everything that the ruleset matches, and their neighbours.
    pub fn of(ruleset: &Ruleset) -> Self {
        let mut addresses: BTreeSet<IpAddr> =
            ["8.8.8.8", "127.0.0.1", "2001:4860::8", "::1"].iter().map(|text| text.parse().unwrap()).collect();
        for (low, high) in ruleset.sets.values().flat_map(|set| set.elements.ranges().collect::<Vec<_>>()) {
            addresses.extend([low, high]);
            addresses.extend(neighbours(low));
            addresses.extend(neighbours(high));
        }
        let mut ports: BTreeSet<u16> = [0, 1, 80, 31_337, 65_535].into();
        let mut interfaces: BTreeSet<Interface> = [Interface::default(), Interface::LOOPBACK].into();
        let mut types: BTreeSet<u8> = [0, 8, 13, 255].into();
        for rule in ruleset.chains.iter().flat_map(|chain| &chain.rules) {
            if let Action::ByPort { chains, .. } = &rule.action {
                ports.extend(chains.iter().flat_map(|((low, high), _)| around(*low, *high)));
            }
            for condition in &rule.matches {
                match condition {
                    Match::Port(_, _, set) => ports.extend(set.iter().flat_map(|(low, high)| around(low, high))),
                    Match::Interface(_, names) => {
                        let [(low, high)] = *names.as_slice() else { continue };
                        interfaces.extend([low, high, low - 1, high + 1].map(Interface::from_number));
                    }
                    Match::Icmp(_, set) => {
                        types.extend(
                            set.iter()
                                .flat_map(|(low, high)| [low, high, low.saturating_sub(1), high.saturating_add(1)]),
                        );
                    }
                    _ => {}
                }
            }
        }
        let (v4, v6) = addresses.into_iter().partition(IpAddr::is_ipv4);
        Self {
            v4,
            v6,
            ports: ports.into_iter().collect(),
            types: types.into_iter().collect(),
            interfaces: interfaces.into_iter().collect(),
        }
    }

    /// A packet made of them.
    pub fn packet(&self, dice: &mut Dice) -> Packet {
        let addresses = if dice.below(3) > 0 { &self.v4 } else { &self.v6 };
        let (sport, dport) = (*dice.pick(&self.ports), *dice.pick(&self.ports));
        let payload = match dice.below(9) {
            0..=3 => Payload::Tcp { sport, dport, opens: dice.flip() },
            4 | 5 => Payload::Udp { sport, dport },
            6 => Payload::Icmp { kind: *dice.pick(&self.types) },
            7 => Payload::Sctp { sport, dport },
            // The ICMP of the other family is a protocol like any other.
            _ => Payload::Other(*dice.pick(&[0, 4, 47, 50, 89, 112, if addresses[0].is_ipv4() { 58 } else { 1 }, 255])),
        };
        Packet {
            hook: *dice.pick(&[Hook::Input, Hook::Output, Hook::Forward, Hook::Forward]),
            interface: *dice.pick(&self.interfaces),
            source: *dice.pick(addresses),
            destination: *dice.pick(addresses),
            payload,
            state: *dice.pick(&[
                CtState::New,
                CtState::New,
                CtState::New,
                CtState::Established,
                CtState::Related,
                CtState::Invalid,
                CtState::Untracked,
            ]),
        }
    }
}

/// The addresses before and after an address.
pub fn neighbours(address: IpAddr) -> Vec<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits();
            [bits.wrapping_sub(1), bits.wrapping_add(1)].map(|bits| IpAddr::V4(bits.into())).to_vec()
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            [bits.wrapping_sub(1), bits.wrapping_add(1)].map(|bits| IpAddr::V6(bits.into())).to_vec()
        }
    }
}

fn around(low: u16, high: u16) -> [u16; 4] {
    [low, high, low.saturating_sub(1).max(1), high.saturating_add(1)]
}
