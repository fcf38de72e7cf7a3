//! The host whose ruleset changes: its policies, the changes, and the flood that meets all of them.

use std::fmt::Write;
use std::iter;
use std::net::Ipv4Addr;

use super::flood::Flood;
use super::judge::{Fate, Judge, Stream};
use crate::support::netns::{Hook, Probe, Proto, Topology, Verdict};
use crate::support::random::Dice;

/// The host's address.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 20);

/// An address that the names of the policies always have.
const NAMED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// One that they never have.
const STRANGER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 8);
/// The names.
pub const NAMES: [&str; 2] = ["push.example.com", "mirror.example.com"];

/// How many more addresses the names have, by DNS server: sets that grow and shrink.
const ANSWERS: [u8; SERVERS] = [2, 50, 7, 25];
/// How many servers there are; the first has the number 0.
pub const SERVERS: usize = 4;

/// The prefixes. Each policy permits three quarters of them, 20,001, and both permit half.
const PREFIXES: u32 = 26_668;

/// Packets in each of the smaller parts of the flood.
const FEW: u32 = 4000;

/// The DSCP of what is said on established connections; the numbers below are the flood's.
pub const TALK: u8 = 63;

/// Two policies that permit and deny the flood alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Permits the connections that are established.
    A,
    /// Permits something else in place of them, and every fourth prefix is another one.
    B,
}

/// A change of what is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Puts a policy in force.
    Apply(Policy),
    /// Asks one of the DNS servers for the names of the policy in force.
    Refresh(Policy, usize),
    /// Goes back to what was in force before the last step: this policy.
    Rollback(Policy),
}

/// Begins and ends at policy A. Every step changes something.
pub const ROUND: [Step; 10] = [
    Step::Apply(Policy::B),
    Step::Rollback(Policy::A),
    Step::Refresh(Policy::A, 1),
    Step::Apply(Policy::B),
    Step::Refresh(Policy::B, 2),
    Step::Apply(Policy::A),
    Step::Rollback(Policy::B),
    Step::Refresh(Policy::B, 3),
    Step::Apply(Policy::A),
    Step::Refresh(Policy::A, 0),
];

impl Step {
    /// Whether what the step brings is in force: packets pass that nothing else permits.
    pub fn is_in_force(self, topology: &Topology) -> bool {
        let policy = match self {
            Step::Apply(policy) | Step::Refresh(policy, _) | Step::Rollback(policy) => policy,
        };
        let own = (0..PREFIXES).find(|index| policy.permits(*index) && !policy.other().permits(*index));
        let answered = match self {
            Step::Refresh(_, server) => answers(server).last(),
            _ => None,
        };
        let sources = own.map(|index| inside_and_after(index)[0]).into_iter().chain(answered);
        let probes: Vec<Probe> = sources.map(|source| inbound(Proto::Udp, source, 5000)).collect();
        topology.probe_all(&probes).iter().all(|verdict| *verdict == Verdict::Accept)
    }
}

/// The addresses that a server gives for the names, the last of which no other server gives.
pub fn answers(server: usize) -> impl Iterator<Item = Ipv4Addr> {
    let own = (0..ANSWERS[server]).map(move |index| Ipv4Addr::new(198, 51, 100, 60 * server as u8 + index));
    iter::once(NAMED).chain(own)
}

/// An address in a prefix, and one just after it, in no prefix.
pub fn inside_and_after(index: u32) -> [Ipv4Addr; 2] {
    let (low, length) = prefix(index);
    let size = 1 << (32 - length);
    [low + index * 7 % size, low + size].map(Ipv4Addr::from)
}

/// Address and length of a prefix; no two of them touch.
fn prefix(index: u32) -> (u32, u32) {
    (0x2000_0000 + index * 512, 24 + index % 8)
}

impl Policy {
    fn other(self) -> Self {
        if self == Policy::A { Policy::B } else { Policy::A }
    }

    fn permits(self, prefix: u32) -> bool {
        prefix % 4 != if self == Policy::A { 1 } else { 2 }
    }

    /// The policy file.
    pub fn yaml(self) -> String {
        self.text(&self.prefixes(",\n  "), "")
    }

    /// The policy file, with its prefixes in a list beside it.
    pub fn yaml_with_list(self, list: &str) -> String {
        self.text("", &format!(", peers-file: {list}"))
    }

    /// The list: its prefixes, and `more` that no packet comes from. Lists of different numbers differ in one line.
    pub fn list(self, more: u32, number: u32) -> String {
        let mut list = self.prefixes("\n");
        for index in (0..=more).filter(|index| *index != number) {
            let _ = writeln!(list, "{}/{}", Ipv4Addr::from(0x8000_0000 + index * 1024), 24 + index % 9);
        }
        list
    }

    fn prefixes(self, after: &str) -> String {
        let mut prefixes = String::new();
        for index in (0..PREFIXES).filter(|index| self.permits(*index)) {
            let (low, length) = prefix(index);
            let _ = write!(prefixes, "{}/{length}{after}", Ipv4Addr::from(low));
        }
        prefixes
    }

    fn text(self, peers: &str, list: &str) -> String {
        let [push, mirror] = NAMES;
        let own = match self {
            Policy::A => {
                "- {id: talk, direction: inbound, peers: [192.0.2.0/24], ports: [tcp/7000, udp/7000]}\n\
                 - {id: talk-out, direction: outbound, peers: [192.0.2.0/24], ports: [tcp/7001]}\n"
            }
            Policy::B => "- {id: other, direction: inbound, peers: [192.0.2.0/24], ports: [tcp/7002]}\n",
        };
        let ports = "ports: [tcp/5000, udp/5000]";
        format!(
            "version: 1\n\
             name: traffic\n\
             target: edge-host\n\
             region: cn-hangzhou\n\
             connection: express-connect\n\
             cni: flannel-vxlan\n\
             cluster: {{kind: registered, version: '1.30', api-server: 192.168.0.10}}\n\
             networks: {{vpc: [10.0.0.0/8], hosts: [192.168.0.0/24], pods: [172.20.0.0/16]}}\n\
             management: {{from: [192.168.0.0/28]}}\n\
             dns: {{servers: [192.168.0.53]}}\n\
             resolve: {{linger: 1s}}\n\
             allow:\n\
             - {{id: in, direction: inbound, peers: [{peers}{push}]{list}, {ports}}}\n\
             - {{id: out, direction: outbound, peers: [64.0.0.0/16, {mirror}], {ports}}}\n\
             {own}"
        )
    }
}

fn inbound(proto: Proto, source: Ipv4Addr, port: u16) -> Probe {
    Probe::new(Hook::Input, proto, source, HOST, port)
}

fn outbound(proto: Proto, destination: Ipv4Addr) -> Probe {
    Probe::new(Hook::Output, proto, HOST, destination, 5000)
}

/// What the flood is made of.
fn parts() -> [(&'static str, Fate, Vec<Probe>); 12] {
    let common = (0..PREFIXES).filter(|index| Policy::A.permits(*index) && Policy::B.permits(*index));
    let (inside, after): (Vec<Ipv4Addr>, Vec<Ipv4Addr>) = common.map(|index| inside_and_after(index).into()).unzip();
    let from = |proto, port, sources: &[Ipv4Addr]| -> Vec<Probe> {
        sources.iter().map(|source| inbound(proto, *source, port)).collect()
    };
    let to = |proto, destinations: &[Ipv4Addr]| -> Vec<Probe> {
        destinations.iter().map(|destination| outbound(proto, *destination)).collect()
    };
    let row = |low: [u8; 4]| -> Vec<Ipv4Addr> {
        let low = u32::from_be_bytes(low);
        (low..low + FEW).map(Ipv4Addr::from).collect()
    };
    let [named, stranger] = [NAMED, STRANGER].map(|address| vec![address; FEW as usize]);
    let (udp, tcp) = (Proto::Udp, Proto::Tcp);
    [
        ("udp from prefixes", Fate::Allowed, from(udp, 5000, &inside)),
        ("tcp from prefixes", Fate::Allowed, from(tcp, 5000, &inside)),
        ("tcp from a name", Fate::Allowed, from(tcp, 5000, &named)),
        ("vxlan, not tracked", Fate::Allowed, from(udp, 8472, &row([10, 10, 0, 0]))),
        ("udp from between prefixes", Fate::Denied, from(udp, 5000, &after)),
        ("tcp from between prefixes", Fate::Denied, from(tcp, 5000, &after)),
        ("tcp to another port", Fate::Denied, from(tcp, 5001, &inside[..FEW as usize])),
        ("udp from beside a name", Fate::Denied, from(udp, 5000, &stranger)),
        ("udp to a prefix", Fate::Allowed, to(udp, &row([64, 0, 0, 0]))),
        ("tcp to a name", Fate::Allowed, to(tcp, &named)),
        ("udp to just after a prefix", Fate::Denied, to(udp, &row([64, 1, 0, 0]))),
        ("tcp to beside a name", Fate::Denied, to(tcp, &stranger)),
    ]
}

/// The host in front of a world, without a ruleset.
pub fn topology() -> Topology {
    Topology::edge_host(HOST, "2001:db8::20".parse().unwrap())
}

/// The flood, and a judge that knows it.
pub fn judged_flood(topology: &Topology) -> (Judge<'_>, Flood) {
    let (mut flood, mut streams) = (Flood::default(), Vec::new());
    for (dscp, (name, fate, probes)) in (1..).zip(parts()) {
        let stream = Stream { dscp, name, hook: probes[0].hook, fate };
        flood.add(&stream, &probes);
        streams.push(stream);
    }
    flood.mix(&mut Dice::new(1));
    streams.extend([Hook::Input, Hook::Output].map(|hook| Stream {
        dscp: TALK,
        name: "talk",
        hook,
        fate: Fate::Heard,
    }));
    (Judge::new(topology, streams), flood)
}
