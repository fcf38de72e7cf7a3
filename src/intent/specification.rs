//! What a policy says of every packet: the specification that rulesets must agree with.
//!
//! It knows nothing of chains and sets. It is a list of clauses; the first that applies to a packet decides.

use super::{Addresses, End, Flow, Gateway, Intent, Resolved, Side};
use crate::net::{CtDirection, CtState, Disposition, Family, Hook, Packet, PacketEnd, Traffic, Transport, Verdict};
use crate::site::Mode;
use crate::space::Condition;

/// One sentence of the specification.
#[derive(Clone, Debug)]
pub struct Clause<'a> {
    /// The packets that it applies to.
    pub condition: Condition<'a>,
    /// What it says of them.
    pub disposition: Disposition<'a>,
}

/// What a policy says of every packet.
#[derive(Clone, Debug)]
pub struct Specification<'a> {
    /// The clauses. Every packet has one that applies to it.
    pub clauses: Vec<Clause<'a>>,
}

impl<'a> Specification<'a> {
    /// What happens to a packet.
    pub fn disposition(&self, packet: &Packet) -> Disposition<'a> {
        let clause = self.clauses.iter().find(|clause| clause.condition.holds(packet));
        clause.map_or(Disposition::of(Verdict::Accept), |clause| clause.disposition)
    }

    /// The conditions of the clauses.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition<'a>> {
        self.clauses.iter().map(|clause| &clause.condition)
    }
}

const SEEN: &[CtState] = &[CtState::Established, CtState::Related];
const INVALID: &[CtState] = &[CtState::Invalid];

fn accept(condition: Condition<'_>) -> Clause<'_> {
    Clause { condition, disposition: Disposition::of(Verdict::Accept) }
}

fn permit<'a>(flow: &'a Flow<Resolved>, condition: Condition<'a>) -> Clause<'a> {
    Clause { condition, disposition: Disposition::permitted(&flow.id) }
}

impl Intent<Resolved> {
    /// What happens to a packet.
    pub fn disposition(&self, packet: &Packet) -> Disposition<'_> {
        self.specification().disposition(packet)
    }

    /// What the policy says of every packet.
    pub fn specification(&self) -> Specification<'_> {
        let mut clauses = self.not_tracked();
        clauses.extend(match &self.gateway {
            None => self.edge_host(),
            Some(gateway) => self.gateway(gateway),
        });
        for hook in Hook::ALL {
            let verdict = if self.mode == Mode::Audit { Verdict::Accept } else { self.denials.at(hook) };
            clauses.push(Clause { condition: Condition::Hook(hook), disposition: Disposition::of(verdict) });
        }
        Specification { clauses }
    }

    /// The packets that are not tracked: the UDP of untracked flows, which is what tunnels consist of.
    fn not_tracked(&self) -> Vec<Clause<'_>> {
        if self.gateway.as_ref().is_some_and(|gateway| gateway.stateless) {
            return Vec::new();
        }
        let flows = self.flows.iter().filter(|flow| flow.untracked);
        let clause = |flow| Clause {
            condition: self.tunnel(flow),
            disposition: Disposition { tracked: false, ..Disposition::of(Verdict::Accept) },
        };
        flows.map(clause).collect()
    }

    fn tunnel<'a>(&'a self, flow: &'a Flow<Resolved>) -> Condition<'a> {
        let arrives = self.gateway.is_some() || flow.side == Side::Inbound;
        let hook = Condition::Hook(if arrives { Hook::RawPrerouting } else { Hook::RawOutput });
        let udp = match &flow.traffic {
            Traffic::Some { udp, .. } => Condition::Port(Transport::Udp, PacketEnd::Destination, udp.as_slice()),
            Traffic::Any => Condition::never(),
        };
        let filtered = self.gateway.as_ref().map(Gateway::filtered);
        Condition::All([hook, udp, flow.condition(CtDirection::Original)].into_iter().chain(filtered).collect())
    }

    fn edge_host(&self) -> Vec<Clause<'_>> {
        let mut clauses = Vec::new();
        let elsewhere = [Hook::Forward, Hook::RawPrerouting, Hook::RawOutput].map(Condition::Hook);
        clauses.push(accept(Condition::Any(elsewhere.into())));
        let loopback = [PacketEnd::Source, PacketEnd::Destination].map(Condition::loopback);
        clauses.push(accept(Condition::Any(loopback.into())));
        clauses.push(accept(Condition::State(SEEN)));
        for flow in &self.flows {
            let hook = Condition::Hook(flow.side.hook());
            let state = if flow.untracked { Condition::always() } else { !Condition::State(INVALID) };
            clauses.push(permit(flow, Condition::All(vec![hook, state, flow.condition(CtDirection::Original)])));
        }
        if self.mode == Mode::Enforce {
            // Never rejected: it belongs to no connection, and the reply could be part of an amplification attack.
            let disposition = Disposition::of(Verdict::Drop);
            clauses.push(Clause { condition: Condition::State(INVALID), disposition });
        }
        clauses
    }

    fn gateway<'a>(&'a self, gateway: &'a Gateway<Resolved>) -> Vec<Clause<'a>> {
        let mut clauses = vec![accept(!Condition::Hook(Hook::Forward))];
        let filtered = gateway.filtered();
        if !gateway.covers_everything() {
            clauses.push(accept(!filtered.clone()));
        }
        if !gateway.stateless {
            clauses.push(accept(Condition::All(vec![filtered, Condition::State(SEEN)])));
        }
        // Several flows may permit a packet. Those that its source begins or answers come before those of its
        // destination, and flows of any traffic come last.
        for side in [Side::Outbound, Side::Inbound] {
            let flows = |side: Side, any: bool| {
                self.flows.iter().filter(move |flow| flow.side == side && any == (flow.traffic == Traffic::Any))
            };
            let permit = |flow: &'a Flow<Resolved>, direction| permit(flow, gateway.crossing(flow, direction));
            clauses.extend(flows(side, false).map(|flow| permit(flow, CtDirection::Original)));
            if gateway.stateless {
                // Both directions of an untracked flow are flows of their own.
                let answered = flows(side.reversed(), false).filter(|flow| !flow.untracked);
                clauses.extend(answered.map(|flow| permit(flow, CtDirection::Reply)));
            }
            clauses.extend(flows(side, true).map(|flow| permit(flow, CtDirection::Original)));
        }
        clauses
    }
}

impl Gateway<Resolved> {
    /// The packets of a flow that cross the gateway. Its local end is inside: an API server or a control plane outside of
    /// the hosts is a peer like any other.
    fn crossing<'a>(&'a self, flow: &'a Flow<Resolved>, direction: CtDirection) -> Condition<'a> {
        let (local, _) = flow.side.ends(direction);
        let inside = match &flow.local {
            End::Any => false,
            End::Ends(addresses) => addresses.all().is_subset(&self.covered.all()),
        };
        let all = flow.condition(direction);
        if self.covers_everything() || inside { all } else { Condition::All(vec![all, self.covered.at(local)]) }
    }

    /// The packets that the gateway filters: one end is covered, and the other is not, unless everything is covered.
    fn filtered(&self) -> Condition<'_> {
        let [from, to] = [PacketEnd::Source, PacketEnd::Destination].map(|end| self.covered.at(end));
        let inside = Condition::All(vec![from.clone(), to.clone()]);
        let either = Condition::Any(vec![from, to]);
        if self.covers_everything() { either } else { Condition::All(vec![either, !inside]) }
    }
}

impl Addresses {
    /// The packets with one of these addresses at an end.
    fn at(&self, end: PacketEnd) -> Condition<'_> {
        let halves = [Some(&self.fixed), self.named.as_ref()].into_iter().flatten();
        Condition::Any(halves.map(|set| Condition::Address(end, set)).collect())
    }
}

impl End<Resolved> {
    fn at(&self, end: PacketEnd) -> Condition<'_> {
        match self {
            End::Any => Condition::always(),
            End::Ends(addresses) => addresses.at(end),
        }
    }
}

/// One of the things that a flow requires of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// The peer is one of the flow's.
    Peer,
    /// The local end is one of the flow's.
    Local,
    /// Protocol and port are the flow's.
    Traffic,
    /// It came through one of the flow's interfaces.
    Interface,
    /// The source port is one of the flow's.
    SourcePort,
    /// The family is the flow's.
    Family,
    /// A reply does not open a connection.
    Answer,
    /// Conntrack does not call the packet invalid.
    Valid,
    /// The other side begins.
    Direction,
}

impl Flow<Resolved> {
    /// The packets that the flow permits in one direction. A TCP segment that opens a connection is no reply.
    pub fn condition(&self, direction: CtDirection) -> Condition<'_> {
        Condition::All(self.aspects(direction).into_iter().map(|(_, condition)| condition).collect())
    }

    fn aspects(&self, direction: CtDirection) -> Vec<(Aspect, Condition<'_>)> {
        let (client, service) = match direction {
            CtDirection::Original => (PacketEnd::Source, PacketEnd::Destination),
            CtDirection::Reply => (PacketEnd::Destination, PacketEnd::Source),
        };
        let (local, peer) = self.side.ends(direction);
        let mut all = vec![
            (Aspect::Local, self.local.at(local)),
            (Aspect::Peer, self.peers.at(peer)),
            (Aspect::Traffic, permitted(&self.traffic, service)),
        ];
        all.extend(self.interfaces.as_ref().map(|interfaces| {
            let through = Condition::Interface(self.side.ends(direction).1, interfaces.numbers().as_slice());
            (Aspect::Interface, through)
        }));
        all.extend(self.family.map(|family| (Aspect::Family, Condition::Family(family))));
        all.extend(self.from_ports.as_ref().map(|ports| {
            let from = |transport| Condition::Port(transport, client, ports.as_slice());
            (Aspect::SourcePort, Condition::Any(Transport::ALL.map(from).into()))
        }));
        if direction == CtDirection::Reply {
            let other = !Condition::Protocol(Transport::Tcp.protocol().number());
            all.push((Aspect::Answer, Condition::Any(vec![other, Condition::NotOpening])));
        }
        all
    }

    /// What a packet lacks to be one of the flow in a direction.
    pub fn lacks(&self, packet: &Packet, direction: CtDirection) -> Vec<Aspect> {
        let missing = self.aspects(direction).into_iter().filter(|(_, condition)| !condition.holds(packet));
        let invalid = packet.hook != Hook::Forward && packet.state == CtState::Invalid && !self.untracked;
        missing.map(|(aspect, _)| aspect).chain(invalid.then_some(Aspect::Valid)).collect()
    }
}

/// The packets of some traffic whose service ports are at an end.
fn permitted(traffic: &Traffic, end: PacketEnd) -> Condition<'_> {
    let Traffic::Some { icmp, icmpv6, protocols, .. } = traffic else { return Condition::always() };
    let types = [(Family::V4, icmp), (Family::V6, icmpv6)].into_iter().filter(|(_, types)| !types.is_empty());
    let ports = traffic.transports().map(|(transport, ports)| Condition::Port(transport, end, ports.as_slice()));
    let types = types.map(|(family, types)| Condition::Icmp(family, types));
    Condition::Any(ports.chain(types).chain(protocols.iter().map(|number| Condition::Protocol(*number))).collect())
}
