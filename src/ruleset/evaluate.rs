//! What chains, sets, maps and verdicts mean. The only place that knows.

use super::{Action, BaseHook, Chain, Match, PacketEnd, Rule, Ruleset};
use crate::net::{Packet, Payload, Verdict};

/// What a ruleset does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The chain that decided; `None` where no chain of the ruleset is at the packet's hook.
    pub chain: Option<&'a Chain>,
    /// The rule that decided; `None` where the chain's policy did.
    pub rule: Option<&'a Rule>,
}

/// How a walk through a chain ends.
enum Walk<'a> {
    Decided(Verdict, &'a Chain, &'a Rule),
    /// The end of the chain, or of one that it went to for good.
    Undecided,
}

impl Ruleset {
    /// Walks a packet through the ruleset.
    pub fn evaluate(&self, packet: &Packet) -> Outcome<'_> {
        let hook = BaseHook::Filter(packet.hook);
        let entry = self.chains.iter().find_map(|chain| Some((chain, chain.base.filter(|base| base.hook == hook)?)));
        let Some((chain, base)) = entry else {
            return Outcome { verdict: Verdict::Accept, chain: None, rule: None };
        };
        match self.walk(chain, packet) {
            Walk::Decided(verdict, chain, rule) => Outcome { verdict, chain: Some(chain), rule: Some(rule) },
            Walk::Undecided => {
                let verdict = if base.drops { Verdict::Drop } else { Verdict::Accept };
                Outcome { verdict, chain: Some(chain), rule: None }
            }
        }
    }

    fn walk<'a>(&'a self, chain: &'a Chain, packet: &Packet) -> Walk<'a> {
        for rule in &chain.rules {
            if !rule.matches.iter().all(|condition| self.holds(condition, packet)) {
                continue;
            }
            let (target, returns) = match &rule.action {
                Action::Continue | Action::Notrack => continue,
                Action::Verdict(verdict) => return Walk::Decided(*verdict, chain, rule),
                Action::Jump(target) => (Some(target), true),
                Action::Goto(target) => (Some(target), false),
                Action::ByProtocol(chains) => (chains.get(&packet.protocol()), true),
                Action::ByPort { protocol, end, chains } => {
                    let port =
                        (packet.protocol() == protocol.protocol().number()).then(|| port(packet, *end)).flatten();
                    let holds = |&&((low, high), _): &&((u16, u16), String)| {
                        port.is_some_and(|port| low <= port && port <= high)
                    };
                    (chains.iter().find(holds).map(|(_, target)| target), true)
                }
            };
            let Some(target) = target.and_then(|name| self.chain(name)) else { continue };
            match self.walk(target, packet) {
                Walk::Undecided if returns => {}
                walk => return walk,
            }
        }
        Walk::Undecided
    }

    fn holds(&self, condition: &Match, packet: &Packet) -> bool {
        match condition {
            Match::Loopback(_) => packet.loopback,
            Match::State(states) => states.contains(&packet.state),
            Match::Family(family) => packet.family() == *family,
            Match::Address(end, family, set) => {
                let address = match end {
                    PacketEnd::Source => packet.source,
                    PacketEnd::Destination => packet.destination,
                };
                packet.family() == *family && self.sets.get(set).is_some_and(|set| set.elements.contains(address))
            }
            Match::Port(transport, end, ports) => {
                packet.protocol() == transport.protocol().number()
                    && port(packet, *end).is_some_and(|port| ports.contains(port))
            }
            Match::Icmp(family, types) => match packet.payload {
                Payload::Icmp { kind } => packet.family() == *family && types.contains(kind),
                Payload::Tcp { .. } | Payload::Udp { .. } | Payload::Other(_) => false,
            },
            Match::Protocol(number) => packet.protocol() == *number,
            Match::NotOpening => matches!(packet.payload, Payload::Tcp { opens: false, .. }),
        }
    }
}

fn port(packet: &Packet, end: PacketEnd) -> Option<u16> {
    packet.ports().map(|(source, destination)| match end {
        PacketEnd::Source => source,
        PacketEnd::Destination => destination,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Base, Set, SetKind};
    use super::*;
    use crate::net::{CtState, Family, Hook};

    fn rule(matches: Vec<Match>, action: Action) -> Rule {
        Rule { matches, log: None, counter: None, action, comment: None }
    }

    #[test]
    fn jump_returns_and_goto_does_not() {
        let set = Set {
            family: Family::V4,
            kind: SetKind::Prefixes,
            elements: "10.0.0.0/8".parse().unwrap(),
            note: String::new(),
        };
        let inside = Match::Address(PacketEnd::Source, Family::V4, "inside".to_owned());
        let chain = |name: &str, base, rules| Chain { name: name.to_owned(), base, rules };
        let ruleset = |action| Ruleset {
            sets: [("inside".to_owned(), set.clone())].into(),
            chains: vec![
                chain("empty", None, Vec::new()),
                chain(
                    "input",
                    Some(Base { hook: BaseHook::Filter(Hook::Input), drops: true }),
                    vec![rule(vec![inside.clone()], action), rule(Vec::new(), Action::Verdict(Verdict::Accept))],
                ),
            ],
            ..Ruleset::default()
        };
        let packet = Packet {
            hook: Hook::Input,
            loopback: false,
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.0.0.2".parse().unwrap(),
            payload: Payload::Other(99),
            state: CtState::New,
        };
        let verdict = |action, packet: &Packet| ruleset(action).evaluate(packet).verdict;
        assert_eq!(verdict(Action::Jump("empty".to_owned()), &packet), Verdict::Accept);
        assert_eq!(verdict(Action::Goto("empty".to_owned()), &packet), Verdict::Drop);
        let outside = Packet { source: "11.0.0.1".parse().unwrap(), ..packet };
        assert_eq!(verdict(Action::Goto("empty".to_owned()), &outside), Verdict::Accept);
        let forwarded = Packet { hook: Hook::Forward, ..packet };
        assert_eq!(verdict(Action::Goto("empty".to_owned()), &forwarded), Verdict::Accept);
    }
}
