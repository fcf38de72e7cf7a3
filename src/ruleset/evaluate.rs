//! What chains, sets, maps and verdicts mean. The only place that knows.

use super::{Action, Chain, Match, Rule, Ruleset};
use crate::net::{Hook, Packet, Verdict};
use crate::space::{Condition, Packets, Region, Space};

/// What a ruleset does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// What becomes of it.
    pub verdict: Verdict,
    /// The chain that decided; `None` where no chain of the ruleset is at the packet's hook.
    pub chain: Option<&'a Chain>,
    /// The rule that decided; `None` where the chain's policy did.
    pub rule: Option<&'a Rule>,
    /// Whether it is kept from conntrack.
    pub untracked: bool,
}

/// What a ruleset does with some packets that fare alike.
#[derive(Clone, Copy, Debug)]
pub struct Fate<'a, 's> {
    /// The packets.
    pub packets: Region<'s>,
    /// What becomes of them.
    pub verdict: Verdict,
    /// The rule that decides, with its chain; `None` where a chain's policy does, or no chain is at their hook.
    pub rule: Option<(&'a Chain, &'a Rule)>,
}

/// What a ruleset does with all packets.
#[derive(Clone, Debug)]
pub struct Fates<'a, 's> {
    /// By rule, in the order in which rules are met; no packet is in two, and every packet is in one.
    pub decided: Vec<Fate<'a, 's>>,
    /// The packets that are kept from conntrack, by the rule that does so.
    pub spared: Vec<(&'a Rule, Region<'s>)>,
}

impl<'s> Fates<'_, 's> {
    /// The packets that are kept from conntrack.
    pub fn untracked(&self, space: &'s Space<'s>) -> Region<'s> {
        space.union(self.spared.iter().map(|(_, packets)| *packets))
    }
}

impl Ruleset {
    /// Walks a packet through the ruleset.
    pub fn evaluate(&self, packet: &Packet) -> Outcome<'_> {
        self.explain(packet, |_, _| ())
    }

    /// Walks a packet through the ruleset and reports each rule whose matches hold, with its chain, in order.
    pub fn explain<'a>(&'a self, packet: &Packet, mut matched: impl FnMut(&'a Chain, &'a Rule)) -> Outcome<'a> {
        let Some((entry, drops)) = self.entry(packet.hook) else {
            return Outcome { verdict: Verdict::Accept, chain: None, rule: None, untracked: false };
        };
        let mut outcome = Outcome {
            verdict: if drops { Verdict::Drop } else { Verdict::Accept },
            chain: Some(entry),
            rule: None,
            untracked: false,
        };
        self.walk(entry, packet, &mut |chain, rule, _| {
            matched(chain, rule);
            match rule.action {
                Action::Verdict(verdict) => {
                    outcome = Outcome { verdict, chain: Some(chain), rule: Some(rule), ..outcome };
                }
                Action::Notrack => outcome.untracked = true,
                _ => {}
            }
        });
        outcome
    }

    /// Walks all packets of a space through the ruleset.
    pub fn fates<'a, 's>(&'a self, space: &'s Space<'s>) -> Fates<'a, 's> {
        let mut fates = Fates { decided: Vec::new(), spared: Vec::new() };
        for hook in Hook::ALL {
            let here = space.region(&Condition::Hook(hook));
            let undecided = |packets, verdict| Fate { packets, verdict, rule: None };
            let Some((entry, drops)) = self.entry(hook) else {
                fates.decided.push(undecided(here, Verdict::Accept));
                continue;
            };
            let rest = self.walk(entry, here, &mut |chain, rule, packets| match rule.action {
                Action::Verdict(verdict) => {
                    fates.decided.push(Fate { packets: *packets, verdict, rule: Some((chain, rule)) });
                }
                Action::Notrack => fates.spared.push((rule, *packets)),
                _ => {}
            });
            let verdict = if drops { Verdict::Drop } else { Verdict::Accept };
            fates.decided.extend(rest.map(|packets| undecided(packets, verdict)));
        }
        fates
    }

    /// Every condition that packets may meet on their way: what cuts a space for [`Ruleset::fates`].
    pub fn conditions(&self) -> impl Iterator<Item = Condition<'_>> {
        self.rules().flat_map(|rule| {
            let keys: Vec<Condition> = match &rule.action {
                Action::ByProtocol(chains) => chains.keys().map(|number| Condition::Protocol(*number)).collect(),
                Action::ByPort { protocol, end, chains } => {
                    let key = |(range, _)| Condition::Port(*protocol, *end, std::slice::from_ref(range));
                    chains.iter().map(|(range, target)| key((range, target))).collect()
                }
                _ => Vec::new(),
            };
            rule.matches.iter().map(|condition| self.condition(condition)).chain(keys)
        })
    }

    /// The base chain at a hook, and whether its policy is drop.
    fn entry(&self, hook: Hook) -> Option<(&Chain, bool)> {
        let chain = self.base_chain(hook)?;
        Some((chain, chain.base?.drops))
    }

    /// Sends packets through a chain. Each rule is reported with those packets for which its matches hold; those
    /// that fall off the end come back.
    fn walk<'a, P: Packets>(
        &'a self,
        chain: &'a Chain,
        mut packets: P,
        matched: &mut impl FnMut(&'a Chain, &'a Rule, &P),
    ) -> Option<P> {
        // What a `goto` leaves undecided does not come back to this chain, but to the one that called it.
        let mut gone: Option<P> = None;
        for rule in &chain.rules {
            let (held, mut left) = self.split(rule, packets);
            if let Some(held) = held {
                matched(chain, rule, &held);
                let back = match &rule.action {
                    Action::Continue | Action::Notrack => Some(held),
                    Action::Verdict(_) => None,
                    Action::Jump(target) => self.enter(target, held, matched),
                    Action::Goto(target) => {
                        gone = join(gone, self.enter(target, held, matched));
                        None
                    }
                    Action::ByProtocol(chains) => {
                        let keys = chains.iter().map(|(number, target)| (Condition::Protocol(*number), target));
                        self.dispatch(keys, held, matched)
                    }
                    Action::ByPort { protocol, end, chains } => {
                        let keys = chains.iter().map(|(range, target)| {
                            (Condition::Port(*protocol, *end, std::slice::from_ref(range)), target)
                        });
                        self.dispatch(keys, held, matched)
                    }
                };
                left = join(left, back);
            }
            match left {
                Some(left) => packets = left,
                None => return gone,
            }
        }
        join(gone, Some(packets))
    }

    fn enter<'a, P: Packets>(
        &'a self,
        target: &str,
        packets: P,
        matched: &mut impl FnMut(&'a Chain, &'a Rule, &P),
    ) -> Option<P> {
        match self.chain(target) {
            Some(chain) => self.walk(chain, packets, matched),
            None => Some(packets),
        }
    }

    /// Sends packets to the chain of their key; those without come back, and so do those that no chain decides.
    fn dispatch<'a, P: Packets>(
        &'a self,
        keys: impl Iterator<Item = (Condition<'a>, &'a String)>,
        packets: P,
        matched: &mut impl FnMut(&'a Chain, &'a Rule, &P),
    ) -> Option<P> {
        let (keys, targets): (Vec<Condition<'_>>, Vec<&String>) = keys.unzip();
        let (parts, others) = packets.spread(&keys);
        let sent = parts.into_iter().zip(targets).filter_map(|(part, target)| self.enter(target, part?, matched));
        let back: Vec<P> = sent.collect();
        P::join(back.into_iter().chain(others))
    }

    /// The packets for which all matches of a rule hold, and the others.
    fn split<P: Packets>(&self, rule: &Rule, packets: P) -> (Option<P>, Option<P>) {
        let (mut held, mut others) = (packets, None);
        for condition in &rule.matches {
            let (still, not) = held.split(&self.condition(condition));
            others = join(others, not);
            match still {
                Some(still) => held = still,
                None => return (None, others),
            }
        }
        (Some(held), others)
    }

    /// What a match asks of a packet.
    fn condition<'a>(&'a self, condition: &'a Match) -> Condition<'a> {
        match condition {
            Match::Loopback(end) => Condition::Loopback(*end),
            Match::State(states) => Condition::State(states),
            Match::Family(family) => Condition::Family(*family),
            Match::Address(end, family, set) => match self.sets.get(set) {
                Some(set) if set.family == *family => Condition::Address(*end, &set.elements),
                _ => Condition::never(),
            },
            Match::Port(transport, end, ports) => Condition::Port(*transport, *end, ports.as_slice()),
            Match::Icmp(family, types) => Condition::Icmp(*family, types),
            Match::Protocol(number) => Condition::Protocol(*number),
            Match::NotOpening => Condition::NotOpening,
        }
    }
}

fn join<P: Packets>(left: Option<P>, right: Option<P>) -> Option<P> {
    P::join([left, right].into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::super::{Base, Set, SetKind};
    use super::*;
    use crate::net::{CtState, Family, PacketEnd, Payload};

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
                    Some(Base { hook: Hook::Input, drops: true }),
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
