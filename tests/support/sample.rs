//! Random probes for a ruleset, made of the values at which its verdict can change.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edgeward::intent::{Intent, Resolved};
use edgeward::net::{CtState, Hook as PacketHook, Interface, Packet, PacketEnd, Payload, PrefixSet, Transport};
use edgeward::ruleset::{Action, Match, Rule, Ruleset};

use super::netns::{EDGE_HOST_INTERFACE, Hook, PORTLESS, Probe, Proto};
use super::probes::{Flows, Host};
use super::random::{CutPoints, Dice, neighbours};
use super::scenario::Place;

/// Addresses and ports to draw from.
pub struct Sampler {
    points: CutPoints,
    leads: Vec<Lead>,
    /// The addresses on the near end: the host's, or those in the data centre and right beside it.
    near: Vec<IpAddr>,
    on_host: bool,
}

/// The cut points of one rule: what is drawn at large seldom meets its address and its port.
struct Lead {
    proto: Proto,
    sports: Vec<u16>,
    dports: Vec<u16>,
    /// The end of the packet that is in a set, and the set's cut points.
    far: Option<(PacketEnd, Vec<IpAddr>)>,
}

impl Sampler {
    /// Collects the cut points of a ruleset at its place.
    pub fn new(place: &Place, intent: &Intent<Resolved>, ruleset: &Ruleset) -> Self {
        let mut points = CutPoints::of(ruleset);
        let own = match place {
            Place::Host(Host { v4, v6 }) => vec![IpAddr::from(*v4), IpAddr::from(*v6)],
            Place::Gateway(_) => Vec::new(),
        };
        let usable = |address: &IpAddr| can_be_sent(*address) && !own.contains(address);
        points.v4.retain(usable);
        points.v6.retain(usable);
        let leads = leads(ruleset, usable);
        let mut near = own.clone();
        if let Some(gateway) = &intent.gateway {
            let covered = gateway.covered.all();
            let inside = points.v4.iter().chain(&points.v6).filter(|address| covered.contains(**address));
            near.extend(ends(&covered).into_iter().filter(usable).chain(inside.copied()));
        }
        Self { points, leads, near, on_host: !own.is_empty() }
    }

    /// Draws probes, none of which looks like a part of an earlier one's flow.
    pub fn draw(&self, count: usize, dice: &mut Dice) -> Vec<Probe> {
        let mut flows = Flows::default();
        let mut probes = Vec::with_capacity(count);
        // Bounded, for there are only so many probes with fixed ports.
        for _ in 0..count * 4 {
            let probe = self.probe(dice);
            if probes.len() < count && probe.from != probe.to && flows.begins(&probe) {
                probes.push(probe);
            }
        }
        probes
    }

    fn probe(&self, dice: &mut Dice) -> Probe {
        let strangers = if dice.below(3) > 0 { &self.points.v4 } else { &self.points.v6 };
        let mut far = *dice.pick(strangers);
        let (mut sport, mut dport) = (*dice.pick(&self.points.ports), *dice.pick(&self.points.ports));
        let mut fixed = dice.below(4) == 0;
        let mut inbound = dice.flip();
        let mut proto = match dice.below(10) {
            0..=4 => Proto::Tcp,
            5..=6 => Proto::Udp,
            7 => Proto::TcpReply,
            8 => Proto::IcmpEcho,
            _ => *dice.pick(&[Proto::Sctp, Proto::Portless(4), Proto::Portless(47), Proto::Portless(112)]),
        };
        if dice.flip() && !self.leads.is_empty() {
            let lead = dice.pick(&self.leads);
            if !lead.sports.is_empty() {
                (sport, fixed) = (*dice.pick(&lead.sports), true);
            }
            if !lead.dports.is_empty() {
                dport = *dice.pick(&lead.dports);
            }
            // Now and then the other way round, or with another protocol.
            let straight = dice.below(8) > 0;
            if let Some((end, addresses)) = &lead.far {
                far = *dice.pick(addresses);
                inbound = (*end == PacketEnd::Source) == straight;
            }
            if straight && !(lead.proto == Proto::Tcp && proto == Proto::TcpReply) {
                proto = lead.proto;
            }
        }
        let of_family = |pool: &[IpAddr]| -> Vec<IpAddr> {
            pool.iter().copied().filter(|address| address.is_ipv4() == far.is_ipv4()).collect()
        };
        let mut near = of_family(&self.near);
        if near.is_empty() {
            // A data centre of one family has strangers on both ends of the other.
            near = of_family(if far.is_ipv4() { &self.points.v4 } else { &self.points.v6 });
        }
        let near = *dice.pick(&near);
        let (from, to) = if inbound { (far, near) } else { (near, far) };
        let hook = match (self.on_host, inbound) {
            (false, _) => Hook::Forward,
            (true, true) => Hook::Input,
            (true, false) => Hook::Output,
        };
        let has_ports = matches!(proto, Proto::Tcp | Proto::TcpReply | Proto::Udp | Proto::Sctp);
        Probe { hook, proto, from, to, dport, sport: (fixed && has_ports).then_some(sport) }
    }
}

/// A lead for every set, every range of ports and every protocol without ports that a rule matches.
fn leads(ruleset: &Ruleset, usable: impl Fn(&IpAddr) -> bool) -> Vec<Lead> {
    let mut leads = Vec::new();
    let mut lead = |proto, rule: &Rule, dispatched: Option<(PacketEnd, (u16, u16))>| {
        let ports = |end_of_rule| {
            let matched = rule.matches.iter().filter_map(|condition| match condition {
                Match::Port(_, end, ports) if *end == end_of_rule => Some(ports.iter().collect::<Vec<_>>()),
                _ => None,
            });
            let dispatched = dispatched.filter(|(end, _)| *end == end_of_rule).map(|(_, range)| range);
            let around = |(low, high): (u16, u16)| [low, high, low.saturating_sub(1).max(1), high.saturating_add(1)];
            matched.flatten().chain(dispatched).flat_map(around).collect::<Vec<u16>>()
        };
        let (sports, dports) = (ports(PacketEnd::Source), ports(PacketEnd::Destination));
        let mut fars: Vec<Option<(PacketEnd, Vec<IpAddr>)>> = Vec::new();
        for condition in &rule.matches {
            let Match::Address(end, _, set) = condition else { continue };
            let addresses: Vec<IpAddr> = ends(&ruleset.sets[set].elements).into_iter().filter(&usable).collect();
            fars.extend((!addresses.is_empty()).then_some(Some((*end, addresses))));
        }
        if !rule.matches.iter().any(|condition| matches!(condition, Match::Address(..))) {
            fars.push(None);
        }
        let new = |far| Lead { proto, sports: sports.clone(), dports: dports.clone(), far };
        leads.extend(fars.into_iter().map(new));
    };
    for rule in ruleset.chains.iter().flat_map(|chain| &chain.rules) {
        if let Action::ByPort { protocol, end, chains } = &rule.action {
            for (range, name) in chains {
                let rules = ruleset.chain(name).into_iter().flat_map(|chain| &chain.rules);
                rules.for_each(|rule| lead(of_transport(*protocol), rule, Some((*end, *range))));
            }
        } else if let Action::ByProtocol(chains) = &rule.action {
            for (number, name) in chains.iter().filter(|(number, _)| PORTLESS.iter().any(|(_, other)| other == *number))
            {
                let rules = ruleset.chain(name).into_iter().flat_map(|chain| &chain.rules);
                rules.for_each(|rule| lead(Proto::Portless(*number), rule, None));
            }
        } else if let Some(Match::Port(transport, ..)) =
            rule.matches.iter().find(|condition| matches!(condition, Match::Port(..)))
        {
            lead(of_transport(*transport), rule, None);
        }
    }
    leads
}

fn of_transport(transport: Transport) -> Proto {
    match transport {
        Transport::Tcp => Proto::Tcp,
        Transport::Udp => Proto::Udp,
        Transport::Sctp => Proto::Sctp,
    }
}

/// The ends of a set's ranges, and their neighbours.
fn ends(set: &PrefixSet) -> Vec<IpAddr> {
    let ends = set.ranges().flat_map(|(low, high)| [low, high]);
    ends.flat_map(|end| [vec![end], neighbours(end)].concat()).collect()
}

/// Whether a probe may come from, and go to, an address in the harness' namespaces.
fn can_be_sent(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let special = v4.is_loopback() || v4.is_link_local() || v4 == Ipv4Addr::new(198, 18, 255, 254);
            (1..224).contains(&v4.octets()[0]) && !special
        }
        IpAddr::V6(v6) => {
            let special = v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local();
            !special && !v6.is_multicast() && v6 != Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1)
        }
    }
}

/// The packet that a probe is, as a ruleset sees it.
pub fn packet(probe: &Probe) -> Packet {
    // No ruleset here knows a port that the harness takes.
    let (sport, dport) = (probe.sport.unwrap_or(40_000), probe.dport);
    let payload = match (probe.proto, probe.from) {
        (Proto::Tcp, _) => Payload::Tcp { sport, dport, opens: true },
        (Proto::TcpReply, _) => Payload::Tcp { sport, dport, opens: false },
        (Proto::Udp, _) => Payload::Udp { sport, dport },
        (Proto::IcmpEcho, IpAddr::V4(_)) => Payload::Icmp { kind: 8 },
        (Proto::IcmpEcho, IpAddr::V6(_)) => Payload::Icmp { kind: 128 },
        (Proto::Sctp, _) => Payload::Sctp { sport, dport },
        (Proto::Portless(number), _) => Payload::Other(number),
    };
    Packet {
        hook: match probe.hook {
            Hook::Input => PacketHook::Input,
            Hook::Output => PacketHook::Output,
            Hook::Forward => PacketHook::Forward,
        },
        interface: match probe.hook {
            Hook::Input => EDGE_HOST_INTERFACE.parse().expect("a name"),
            Hook::Output | Hook::Forward => Interface::default(),
        },
        source: probe.from,
        destination: probe.to,
        payload,
        // Every probe begins a flow, and an answer to nothing cannot.
        state: if probe.proto == Proto::TcpReply { CtState::Invalid } else { CtState::New },
    }
}
