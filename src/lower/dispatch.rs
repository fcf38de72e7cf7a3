//! From permits to rules, dispatched by protocol and port.

mod ports;

use std::collections::BTreeMap;

use crate::net::{CtDirection, Family, IcmpTypes, PacketEnd, PortSet, Protocol, Traffic, Transport, Verdict};
use crate::ruleset::{Action, Chain, FLOW_COUNTER, Label, Match, Rule};

use ports::by_port;

/// One combination of sets, protocols and ports by which a flow permits packets.
#[derive(Clone, Debug)]
pub(super) struct Permit {
    pub(super) flow: String,
    /// The family of the sets, if any is matched.
    pub(super) family: Family,
    /// No address is matched: the permit is for both families.
    pub(super) any_family: bool,
    /// The matches other than protocol and ports.
    pub(super) matches: Vec<Match>,
    pub(super) traffic: Traffic,
    pub(super) from_ports: Option<PortSet>,
    /// The source ports of replies are the flow's destination ports.
    pub(super) direction: CtDirection,
    pub(super) untracked: bool,
}

impl Permit {
    fn rule(&self, extra: impl IntoIterator<Item = Match>) -> Rule {
        let matches: Vec<Match> = self.matches.iter().cloned().chain(extra).collect();
        Rule {
            counter: Some(format!("{FLOW_COUNTER}{}", self.flow)),
            label: Some(Label::Flow(self.flow.clone())),
            ..Rule::new(matches, Action::Verdict(Verdict::Accept))
        }
    }

    /// The end of a packet whose port is the flow's destination port.
    fn service_end(&self) -> PacketEnd {
        match self.direction {
            CtDirection::Original => PacketEnd::Destination,
            CtDirection::Reply => PacketEnd::Source,
        }
    }

    /// The matches on a packet with ports other than the flow's destination port.
    fn transport_matches(&self, transport: Transport) -> Vec<Match> {
        let from = self.from_ports.clone().map(|ports| Match::Port(transport, self.service_end().other(), ports));
        // Without conntrack a reply is recognised by its port, which its sender chooses: at least it must not open a
        // connection.
        let is_tcp_reply = self.direction == CtDirection::Reply && transport == Transport::Tcp;
        let reply = is_tcp_reply.then_some(Match::NotOpening);
        from.into_iter().chain(reply).collect()
    }

    fn families(&self) -> &[Family] {
        match (self.any_family, self.family) {
            (true, _) => &Family::BOTH,
            (false, Family::V4) => &[Family::V4],
            (false, Family::V6) => &[Family::V6],
        }
    }

    /// The rules for ICMP and for protocols without ports, by protocol number.
    fn portless(&self) -> Vec<(u8, Rule)> {
        let Traffic::Some { icmp, icmpv6, protocols, .. } = &self.traffic else { return Vec::new() };
        let mut rules: Vec<(u8, Rule)> = Vec::new();
        for family in self.families() {
            let (types, number) = match family {
                Family::V4 => (icmp, Protocol::Icmp.number()),
                Family::V6 => (icmpv6, Protocol::Icmpv6.number()),
            };
            if !types.is_empty() {
                rules.push((number, self.rule([Match::Icmp(*family, types.clone())])));
            }
        }
        rules.extend(protocols.iter().map(|&number| (number, self.rule([Match::Protocol(number)]))));
        rules
    }
}

/// The rules of a permit in one place, each with all of its matches.
pub(super) fn inline(permit: &Permit) -> Vec<Rule> {
    if permit.traffic == Traffic::Any {
        return vec![permit.rule([])];
    }
    let with_ports = permit.traffic.transports().map(|(transport, ports)| {
        let port = Match::Port(transport, permit.service_end(), ports.clone());
        let rule = permit.rule([]);
        // Every packet passes these rules, and matching a port costs less than looking up a set.
        let matches = [port].into_iter().chain(permit.transport_matches(transport)).chain(rule.matches).collect();
        Rule { matches, ..rule }
    });
    with_ports.chain(permit.portless().into_iter().map(|(_, rule)| rule)).collect()
}

/// The rules that send packets to the permits of their protocol and port. Adds the chains that they lead to.
pub(super) fn dispatch(chain: &str, permits: &[Permit], chains: &mut Vec<Chain>) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut by_protocol = BTreeMap::new();
    for transport in Transport::ALL {
        let mut maps = Vec::new();
        for (end, word) in [(PacketEnd::Destination, ""), (PacketEnd::Source, "reply_")] {
            let permits: Vec<(&Permit, PortSet)> = permits
                .iter()
                .filter(|permit| permit.service_end() == end)
                .filter_map(|permit| Some((permit, permit.traffic.ports(transport)?.clone())))
                .collect();
            let stem = format!("{chain}_{}_{word}", transport.name());
            maps.extend(by_port(&stem, transport, end, &permits, chains));
        }
        if !maps.is_empty() {
            let name = format!("{chain}_{}", transport.name());
            chains.push(Chain { name: name.clone(), base: None, rules: maps });
            by_protocol.insert(transport.protocol().number(), name);
        }
    }
    let mut portless: BTreeMap<u8, Vec<Rule>> = BTreeMap::new();
    for (number, mut rule) in permits.iter().flat_map(Permit::portless) {
        // The dispatch has matched the protocol. All types of ICMP need no match either, if an address gives the family.
        // Without an address, the match on the type gives it.
        let addressed = rule.matches.len() > 1;
        rule.matches.retain(|condition| match condition {
            Match::Protocol(_) => false,
            Match::Icmp(_, types) => !(addressed && *types == IcmpTypes::all()),
            _ => true,
        });
        add(portless.entry(number).or_default(), rule);
    }
    for (number, rules) in portless {
        let name = format!("{chain}_{}", protocol_word(number));
        chains.push(Chain { name: name.clone(), base: None, rules });
        by_protocol.insert(number, name);
    }
    if !by_protocol.is_empty() {
        rules.push(Rule::new([], Action::ByProtocol(by_protocol)));
    }
    for permit in permits.iter().filter(|permit| permit.traffic == Traffic::Any) {
        add(&mut rules, permit.rule([]));
    }
    rules
}

/// Adds a rule unless it is there: a reply without ports looks like its flow.
fn add(rules: &mut Vec<Rule>, rule: Rule) {
    if !rules.contains(&rule) {
        rules.push(rule);
    }
}

fn protocol_word(number: u8) -> String {
    Protocol::numbered(number).map_or_else(|| format!("protocol_{number}"), |protocol| protocol.name().to_owned())
}
