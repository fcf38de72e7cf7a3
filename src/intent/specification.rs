//! What a policy says of every packet, by the book: the specification that rulesets must agree with.
//!
//! It knows nothing of chains and sets. Clauses are asked one after the other, and the first that is about a packet
//! decides.

use super::{Addresses, End, Flow, Gateway, Intent, Resolved, Side};
use crate::net::{CtState, Family, Hook, Packet, PacketEnd, Traffic, Transport, Verdict};
use crate::site::Mode;
use crate::space::Condition;

/// What the specification says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision<'a> {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The flow that permits it, where one does.
    pub flow: Option<&'a str>,
}

/// One sentence of the specification.
#[derive(Clone, Debug)]
pub struct Clause<'a> {
    /// The packets that it is about.
    pub condition: Condition<'a>,
    /// What it says of them.
    pub decision: Decision<'a>,
}

/// What a policy says of every packet.
#[derive(Clone, Debug)]
pub struct Specification<'a> {
    /// The clauses; together they are about every packet.
    pub clauses: Vec<Clause<'a>>,
    /// The packets that are kept from conntrack.
    pub untracked: Condition<'a>,
}

impl<'a> Specification<'a> {
    /// What becomes of a packet.
    pub fn decide(&self, packet: &Packet) -> Decision<'a> {
        let decided = self.clauses.iter().find(|clause| clause.condition.holds(packet));
        decided.map_or(Decision { verdict: Verdict::Accept, flow: None }, |clause| clause.decision)
    }

    /// Every condition in it.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition<'a>> {
        self.clauses.iter().map(|clause| &clause.condition).chain([&self.untracked])
    }
}

const SEEN: &[CtState] = &[CtState::Established, CtState::Related];
const INVALID: &[CtState] = &[CtState::Invalid];

fn accept<'a>(condition: Condition<'a>, flow: Option<&'a str>) -> Clause<'a> {
    Clause { condition, decision: Decision { verdict: Verdict::Accept, flow } }
}

impl Intent<Resolved> {
    /// The verdict on a packet.
    pub fn admits(&self, packet: &Packet) -> Decision<'_> {
        self.specification().decide(packet)
    }

    /// What the policy says of every packet.
    pub fn specification(&self) -> Specification<'_> {
        let mut clauses = match &self.gateway {
            None => self.edge_host(),
            Some(gateway) => self.gateway(gateway),
        };
        for hook in Hook::ALL {
            let verdict = if self.mode == Mode::Audit { Verdict::Accept } else { self.denials.at(hook) };
            clauses.push(Clause { condition: Condition::Hook(hook), decision: Decision { verdict, flow: None } });
        }
        let untracked = match &self.gateway {
            Some(gateway) if gateway.stateless => Condition::never(),
            _ => {
                Condition::Any(self.flows.iter().filter(|flow| flow.untracked).map(|flow| self.spared(flow)).collect())
            }
        };
        Specification { clauses, untracked }
    }

    fn edge_host(&self) -> Vec<Clause<'_>> {
        let mut clauses = Vec::new();
        let elsewhere = [Hook::Forward, Hook::RawPrerouting, Hook::RawOutput].map(Condition::Hook);
        clauses.push(accept(Condition::Any(elsewhere.into()), None));
        let loopback = [PacketEnd::Source, PacketEnd::Destination].map(Condition::Loopback);
        clauses.push(accept(Condition::Any(loopback.into()), None));
        clauses.push(accept(Condition::State(SEEN), None));
        for flow in &self.flows {
            let own = Condition::Hook(flow.side.hook());
            let fit = if flow.untracked { Condition::always() } else { !Condition::State(INVALID) };
            clauses.push(accept(Condition::All(vec![own, fit, flow.condition(false)]), Some(&flow.id)));
        }
        if self.mode == Mode::Enforce {
            // What belongs to no flow is dropped without a word: an answer could be an amplifier.
            let decision = Decision { verdict: Verdict::Drop, flow: None };
            clauses.push(Clause { condition: Condition::State(INVALID), decision });
        }
        clauses
    }

    fn gateway<'a>(&'a self, gateway: &'a Gateway<Resolved>) -> Vec<Clause<'a>> {
        let mut clauses = vec![accept(!Condition::Hook(Hook::Forward), None)];
        let ours = gateway.judged();
        if !gateway.everything {
            clauses.push(accept(!ours.clone(), None));
        }
        if !gateway.stateless {
            clauses.push(accept(Condition::All(vec![ours, Condition::State(SEEN)]), None));
        }
        // Several flows may permit a packet. The one to name is found among those that its source begins, or answers,
        // before those that its destination answers for; flows of any traffic come last.
        for side in [Side::Outbound, Side::Inbound] {
            let flows = |side: Side, any: bool| {
                self.flows.iter().filter(move |flow| flow.side == side && any == (flow.traffic == Traffic::Any))
            };
            let permit = |flow: &'a Flow<Resolved>, reply| accept(flow.condition(reply), Some(&flow.id));
            clauses.extend(flows(side, false).map(|flow| permit(flow, false)));
            if gateway.stateless {
                // Each direction of an untracked flow is a flow of its own.
                let answered = flows(side.reversed(), false).filter(|flow| !flow.untracked);
                clauses.extend(answered.map(|flow| permit(flow, true)));
            }
            clauses.extend(flows(side, true).map(|flow| permit(flow, false)));
        }
        clauses
    }

    /// The packets of an untracked flow that conntrack is spared: UDP, which tunnels are made of.
    fn spared<'a>(&'a self, flow: &'a Flow<Resolved>) -> Condition<'a> {
        let inward = self.gateway.is_some() || flow.side == Side::Inbound;
        let hook = Condition::Hook(if inward { Hook::RawPrerouting } else { Hook::RawOutput });
        let udp = match &flow.traffic {
            Traffic::Some { udp, .. } => Condition::Port(Transport::Udp, PacketEnd::Destination, udp.as_slice()),
            Traffic::Any => Condition::never(),
        };
        let judged = self.gateway.as_ref().map(Gateway::judged);
        Condition::All([hook, udp, flow.condition(false)].into_iter().chain(judged).collect())
    }
}

impl Gateway<Resolved> {
    /// The packets that the gateway answers for: one end is covered, and the other not unless all are judged.
    fn judged(&self) -> Condition<'_> {
        let [from, to] = [PacketEnd::Source, PacketEnd::Destination].map(|end| self.covered.at(end));
        let inside = Condition::All(vec![from.clone(), to.clone()]);
        let ours = Condition::Any(vec![from, to]);
        if self.everything { ours } else { Condition::All(vec![ours, !inside]) }
    }
}

impl Addresses {
    /// The packets whose address is among these.
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

/// What a flow asks of a packet, one thing beside the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// That its peer is one of the flow's.
    Peer,
    /// That its local end is one of the flow's.
    Local,
    /// That it is of the flow's protocols and ports.
    Traffic,
    /// That its source port is one of the flow's.
    SourcePort,
    /// That it is of the flow's family.
    Family,
    /// That it can be an answer.
    Answer,
    /// That conntrack does not call it invalid.
    Valid,
    /// That the other side begins.
    Direction,
}

impl Flow<Resolved> {
    /// The packets that the flow permits to the side that begins; or, as its reply, to the other side. TCP segments
    /// that open a connection are no reply.
    pub fn condition(&self, reply: bool) -> Condition<'_> {
        Condition::All(self.aspects(reply).into_iter().map(|(_, condition)| condition).collect())
    }

    fn aspects(&self, reply: bool) -> Vec<(Aspect, Condition<'_>)> {
        let (begins, answers) = match reply {
            false => (PacketEnd::Source, PacketEnd::Destination),
            true => (PacketEnd::Destination, PacketEnd::Source),
        };
        let (local, peer) = self.side.ends(reply);
        let mut all = vec![
            (Aspect::Local, self.local.at(local)),
            (Aspect::Peer, self.peers.at(peer)),
            (Aspect::Traffic, permitted(&self.traffic, answers)),
        ];
        all.extend(self.family.map(|family| (Aspect::Family, Condition::Family(family))));
        all.extend(self.from_ports.as_ref().map(|ports| {
            let from = |transport| Condition::Port(transport, begins, ports.as_slice());
            (Aspect::SourcePort, Condition::Any([Transport::Tcp, Transport::Udp].map(from).into()))
        }));
        if reply {
            let other = !Condition::Protocol(Transport::Tcp.protocol().number());
            all.push((Aspect::Answer, Condition::Any(vec![other, Condition::NotOpening])));
        }
        all
    }

    /// What a packet lacks to be one of the flow's, or one of its answers.
    pub fn lacks(&self, packet: &Packet, reply: bool) -> Vec<Aspect> {
        let missing = self.aspects(reply).into_iter().filter(|(_, condition)| !condition.holds(packet));
        let invalid = packet.hook != Hook::Forward && packet.state == CtState::Invalid && !self.untracked;
        missing.map(|(aspect, _)| aspect).chain(invalid.then_some(Aspect::Valid)).collect()
    }
}

/// The packets of some traffic, whose ports are at an end.
fn permitted(traffic: &Traffic, end: PacketEnd) -> Condition<'_> {
    let Traffic::Some { tcp, udp, icmp, icmpv6, protocols } = traffic else { return Condition::always() };
    let ports = [(Transport::Tcp, tcp), (Transport::Udp, udp)].into_iter().filter(|(_, ports)| !ports.is_empty());
    let types = [(Family::V4, icmp), (Family::V6, icmpv6)].into_iter().filter(|(_, types)| !types.is_empty());
    let ports = ports.map(|(transport, ports)| Condition::Port(transport, end, ports.as_slice()));
    let types = types.map(|(family, types)| Condition::Icmp(family, types));
    Condition::Any(ports.chain(types).chain(protocols.iter().map(|number| Condition::Protocol(*number))).collect())
}
