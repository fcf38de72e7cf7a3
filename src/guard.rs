//! What a ruleset must not deny: the connections by which an operator reaches the host, and by which the host reaches
//! what it depends on.
//!
//! [`Ruleset::evaluate`] is asked about the packet that would open each connection. That conntrack knows a connection
//! today does not help an operator who has to reconnect tomorrow.

use std::net::{IpAddr, SocketAddr};

use crate::intent::{Declared, End, Intent, Origin, Part, Side};
use crate::net::{CtState, Hook, Interface, Packet, Payload, Prefix, Traffic, Transport, Verdict};
use crate::policy::syntax::Policy;
use crate::resolution::Resolution;
use crate::ruleset::Ruleset;
use crate::site::{Mode, Target};
use crate::yaml::AddressOrName;

const DNS_PORT: u16 = 53;
/// The first dynamic port (RFC 6335), as the port of a client. No row of the catalog names a source port above it.
const CLIENT_PORT: u16 = 49152;

/// Why a connection must be permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It is a live SSH session.
    Session,
    /// Operators come from there: `management.from`.
    Management,
    /// It is a DNS server.
    Dns,
    /// It is the API server.
    ApiServer,
}

/// A connection that must be permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Why.
    pub need: Need,
    /// What it is, for readers.
    pub what: String,
    /// The packet that opens it.
    pub packet: Packet,
}

/// A connection of this host, as its socket shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// TCP or UDP.
    pub transport: Transport,
    /// The end on this host.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// Who opened it.
    pub side: Side,
}

impl Session {
    /// The packet that would open it again.
    pub fn opening(&self) -> Packet {
        let (from, to) = match self.side {
            Side::Inbound => (self.peer, self.local),
            Side::Outbound => (self.local, self.peer),
        };
        opening(self.side.hook(), self.transport, from, to)
    }
}

fn opening(hook: Hook, transport: Transport, from: SocketAddr, to: SocketAddr) -> Packet {
    let payload = Payload::opening(transport, from.port(), to.port());
    let (source, destination) = (from.ip(), to.ip());
    Packet { hook, interface: Interface::default(), source, destination, payload, state: CtState::New }
}

/// What a policy's operator depends on: `management.from`, `dns.servers`, `cluster.api-server`.
///
/// A prefix is represented by its first and last address. The other end is one of the site's hosts: on an edge host no
/// rule matches it, and a gateway covers all of them alike.
pub fn requirements(policy: &Policy, intent: &Intent<Declared>, resolution: &Resolution) -> Vec<Requirement> {
    let target = intent.target;
    let hosts: Vec<Prefix> = policy.networks.value.hosts.iter().map(|prefix| prefix.value).collect();
    let host_like = |address: IpAddr| {
        let same = hosts.iter().map(|prefix| prefix.net().network()).find(|host| host.is_ipv4() == address.is_ipv4());
        // Without a host of the family there is no such connection.
        same.filter(|host| *host != address)
    };
    let mut requirements = Vec::new();
    let mut outbound = |need: Need, what: String, transport: Transport, address: IpAddr, port: u16| {
        let hook = if target == Target::EdgeHost { Hook::Output } else { Hook::Forward };
        if let Some(host) = host_like(address) {
            let (from, to) = (SocketAddr::new(host, CLIENT_PORT), SocketAddr::new(address, port));
            requirements.push(Requirement { need, what, packet: opening(hook, transport, from, to) });
        }
    };
    for server in policy.dns.iter().flat_map(|section| &section.value.servers) {
        for transport in [Transport::Udp, Transport::Tcp] {
            let what = format!("the DNS server {}", server.value);
            outbound(Need::Dns, what, transport, server.value, DNS_PORT);
        }
    }
    let addresses: Vec<IpAddr> = match &policy.cluster.api_server.value {
        AddressOrName::Address(address) => vec![*address],
        AddressOrName::Name(name) => resolution.addresses(name).collect(),
    };
    // The catalog has the port, and whether hosts of this kind use the API server.
    let is_api_server = |part: &Part| part.origin == Origin::Policy(policy.cluster.api_server.span);
    let flows = intent.flows.iter().filter(|flow| match &flow.peers {
        End::Ends(parts) => flow.side == Side::Outbound && parts.iter().any(is_api_server),
        End::Any => false,
    });
    let ports = flows.filter_map(|flow| match &flow.traffic {
        Traffic::Some { tcp, .. } => tcp.iter().next().map(|(first, _)| first),
        Traffic::Any => None,
    });
    for (port, address) in ports.flat_map(|port| addresses.iter().map(move |address| (port, *address))) {
        // A control-plane node of the site is not reached through the gateway, nor by itself.
        if !hosts.iter().any(|prefix| prefix.net().contains(&address)) {
            outbound(Need::ApiServer, format!("the API server {address}"), Transport::Tcp, address, port);
        }
    }
    if target == Target::EdgeHost {
        for prefix in policy.management.iter().flat_map(|section| &section.value.from) {
            let ends = [prefix.value.net().network(), prefix.value.net().broadcast()];
            for from in &ends[..if ends[0] == ends[1] { 1 } else { 2 }] {
                let Some(host) = host_like(*from) else { continue };
                let to = SocketAddr::new(host, policy.ssh_port());
                let packet = opening(Hook::Input, Transport::Tcp, SocketAddr::new(*from, CLIENT_PORT), to);
                let what = format!("SSH from `management.from` ({})", prefix.value);
                requirements.push(Requirement { need: Need::Management, what, packet });
            }
        }
    }
    requirements
}

/// Whether the policy of an edge host denies SSH from everywhere: it enforces, and `management.from` is empty.
pub fn denies_management(policy: &Policy, intent: &Intent<Declared>) -> bool {
    intent.target == Target::EdgeHost && intent.mode == Mode::Enforce && !policy.permits_ssh()
}

/// The requirements that a ruleset denies.
pub fn denied<'a>(ruleset: &Ruleset, requirements: &'a [Requirement]) -> Vec<(&'a Requirement, Verdict)> {
    let verdict = |required: &'a Requirement| (required, ruleset.evaluate(&required.packet).verdict);
    requirements.iter().map(verdict).filter(|(_, verdict)| *verdict != Verdict::Accept).collect()
}

/// The rules that a refresh starts from.
#[derive(Clone, Copy, Debug)]
pub struct InForce<'a> {
    /// The ruleset.
    pub ruleset: &'a Ruleset,
    /// What the policy required with the answers that the ruleset was made with.
    pub requirements: &'a [Requirement],
}

impl InForce<'_> {
    /// Whether these rules accept a packet.
    pub fn accepts(&self, packet: &Packet) -> bool {
        self.ruleset.evaluate(packet).verdict == Verdict::Accept
    }

    /// Whether these rules met a requirement: they accept its packet, or, because a name may have got another address
    /// since, everything that was needed for the same purpose.
    pub fn met(&self, requirement: &Requirement) -> bool {
        let mut same = self.requirements.iter().filter(|other| other.need == requirement.need).peekable();
        self.accepts(&requirement.packet) || (same.peek().is_some() && same.all(|other| self.accepts(&other.packet)))
    }
}
