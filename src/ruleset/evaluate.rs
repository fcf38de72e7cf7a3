//! What chains, sets, maps and verdicts mean. No other code knows it.

use std::collections::BTreeMap;

use super::{Action, Chain, Match, Rule, Ruleset};
use crate::net::{Disposition, Hook, Packet, Verdict};
use crate::space::{Condition, Packets, Region, Space};

/// What a ruleset does with one packet, and which rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace<'a> {
    /// What happens to the packet.
    pub disposition: Disposition<'a>,
    /// The chain that decides; `None` if the ruleset has no chain at the packet's hook.
    pub chain: Option<&'a Chain>,
    /// The rule that decides; `None` if the chain's policy does.
    pub rule: Option<&'a Rule>,
}

/// Packets with the same disposition, decided by the same rules.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a, 's> {
    /// The packets.
    pub packets: Region<'s>,
    /// What happens to them.
    pub disposition: Disposition<'a>,
    /// The rule that decides, with its chain; `None` if a chain's policy does, or no chain is at their hook.
    pub rule: Option<(&'a Chain, &'a Rule)>,
    /// The rule that keeps them from being tracked, if one does.
    pub notrack: Option<&'a Rule>,
}

impl<'a, 's> Group<'a, 's> {
    fn undecided(packets: Region<'s>, verdict: Verdict) -> Self {
        Self { packets, disposition: Disposition::of(verdict), rule: None, notrack: None }
    }

    /// Splits the group by the first `notrack` rule that its packets meet.
    fn split(mut self, notrack: &[(&'a Rule, Region<'s>)]) -> Vec<Self> {
        let mut groups = Vec::new();
        for (rule, region) in notrack {
            let disposition = Disposition { tracked: false, ..self.disposition };
            groups.push(Self { packets: self.packets.and(*region), disposition, notrack: Some(rule), ..self });
            self.packets = self.packets.minus(*region);
        }
        groups.push(self);
        groups.retain(|group| !group.packets.is_empty());
        groups
    }
}

impl Ruleset {
    /// What happens to a packet.
    pub fn evaluate(&self, packet: &Packet) -> Disposition<'_> {
        self.trace(packet, |_, _| ()).disposition
    }

    /// Sends a packet through the ruleset and reports each rule whose matches hold, with its chain, in order.
    pub fn trace<'a>(&'a self, packet: &Packet, mut matched: impl FnMut(&'a Chain, &'a Rule)) -> Trace<'a> {
        let mut trace = Trace { disposition: Disposition::of(Verdict::Accept), chain: None, rule: None };
        let Some((entry, policy)) = self.entry(packet.hook) else { return trace };
        (trace.disposition.verdict, trace.chain) = (policy, Some(entry));
        let course = Course { ruleset: self, chain: |name: &str| self.chain(name) };
        course.walk(entry, packet, &mut |chain, rule, _| {
            matched(chain, rule);
            match rule.action {
                Action::Verdict(verdict) => {
                    let disposition = Disposition { verdict, flow: rule.flow(), ..trace.disposition };
                    trace = Trace { disposition, chain: Some(chain), rule: Some(rule) };
                }
                Action::Notrack => trace.disposition.tracked = false,
                _ => {}
            }
        });
        trace
    }

    /// Sends all packets of a space through the ruleset. The groups are in the order of the rules; every packet is in
    /// exactly one.
    pub fn partition<'a, 's>(&'a self, space: &'s Space<'s>) -> Vec<Group<'a, 's>> {
        let mut groups = Vec::new();
        // There may be ten thousand chains: they are not searched for each jump.
        let chains: BTreeMap<&str, &Chain> = self.chains.iter().map(|chain| (chain.name.as_str(), chain)).collect();
        let course = Course { ruleset: self, chain: |name: &str| chains.get(name).copied() };
        for hook in Hook::ALL {
            let here = space.region(&Condition::Hook(hook));
            let Some((entry, policy)) = self.entry(hook) else {
                groups.push(Group::undecided(here, Verdict::Accept));
                continue;
            };
            let (mut decided, mut notrack) = (Vec::new(), Vec::new());
            let rest = course.walk(entry, here, &mut |chain, rule, packets| match rule.action {
                Action::Verdict(verdict) => {
                    let disposition = Disposition { flow: rule.flow(), ..Disposition::of(verdict) };
                    decided.push(Group { packets: *packets, disposition, rule: Some((chain, rule)), notrack: None });
                }
                Action::Notrack => notrack.push((rule, *packets)),
                _ => {}
            });
            decided.extend(rest.map(|packets| Group::undecided(packets, policy)));
            groups.extend(decided.into_iter().flat_map(|group| group.split(&notrack)));
        }
        groups
    }

    /// Every condition that packets may meet: what [`Ruleset::partition`] needs a space to be cut by.
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

    /// The base chain at a hook, and the verdict of its policy.
    fn entry(&self, hook: Hook) -> Option<(&Chain, Verdict)> {
        let chain = self.base_chain(hook)?;
        Some((chain, chain.base?.policy.verdict()))
    }

    /// The condition that a match is.
    fn condition<'a>(&'a self, condition: &'a Match) -> Condition<'a> {
        match condition {
            Match::Loopback(end) => Condition::loopback(*end),
            Match::Interface(end, names) => Condition::Interface(*end, names.as_slice()),
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

/// The way of packets through the chains of a ruleset.
struct Course<'a, F> {
    ruleset: &'a Ruleset,
    /// Finds a chain by its name.
    chain: F,
}

impl<'a, F: Fn(&str) -> Option<&'a Chain>> Course<'a, F> {
    /// Sends packets through a chain. Each rule is reported with the packets for which its matches hold; packets that
    /// no rule decides are returned.
    fn walk<P: Packets>(
        &self,
        chain: &'a Chain,
        mut packets: P,
        matched: &mut impl FnMut(&'a Chain, &'a Rule, &P),
    ) -> Option<P> {
        // What a `goto` leaves undecided returns to the caller of this chain, not to this chain.
        let mut gone: Option<P> = None;
        let mut rules = &chain.rules[..];
        while !rules.is_empty() {
            // Rules that decide are taken together: one by one, each would traverse all packets that are left.
            let deciding = rules.iter().take_while(|rule| matches!(rule.action, Action::Verdict(_))).count();
            let (now, later) = rules.split_at(deciding.max(1));
            let all = (Condition::always(), self.matches_of(now));
            let (parts, mut left) = packets.spread([all].into_iter());
            for ((_, number), held) in parts {
                let rule = &now[number];
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
                        let key = |(number, target): (&u8, &'a String)| (Condition::Protocol(*number), target.as_str());
                        self.dispatch(chains.iter().map(key), held, matched)
                    }
                    Action::ByPort { protocol, end, chains } => {
                        let port = |range| Condition::Port(*protocol, *end, std::slice::from_ref(range));
                        let key = |(range, target): &'a (_, String)| (port(range), target.as_str());
                        self.dispatch(chains.iter().map(key), held, matched)
                    }
                };
                left = join(left, back);
            }
            match left {
                Some(left) => (packets, rules) = (left, later),
                None => return gone,
            }
        }
        join(gone, Some(packets))
    }

    fn enter<P: Packets>(
        &self,
        target: &str,
        packets: P,
        matched: &mut impl FnMut(&'a Chain, &'a Rule, &P),
    ) -> Option<P> {
        match (self.chain)(target) {
            Some(chain) => self.walk(chain, packets, matched),
            None => Some(packets),
        }
    }

    /// Sends packets to the chain of their key. Those without one, and those that no chain decides, are returned.
    fn dispatch<P: Packets>(
        &self,
        keys: impl Iterator<Item = (Condition<'a>, &'a str)>,
        packets: P,
        matched: &mut impl FnMut(&'a Chain, &'a Rule, &P),
    ) -> Option<P> {
        let mut by_target: BTreeMap<&str, Vec<Condition<'a>>> = BTreeMap::new();
        for (key, target) in keys {
            by_target.entry(target).or_default().push(key);
        }
        let chains: Vec<Option<&'a Chain>> = by_target.keys().map(|target| (self.chain)(target)).collect();
        // A chain that only decides is not entered: its rules are taken together with those of the others.
        let deciding = |chain: &Option<&'a Chain>| {
            chain.filter(|chain| chain.rules.iter().all(|rule| matches!(rule.action, Action::Verdict(_))))
        };
        let groups = by_target.into_values().zip(&chains).map(|(keys, chain)| {
            let rules = deciding(chain).map_or(&[][..], |chain| &chain.rules);
            let whole = deciding(chain).is_none().then(Condition::always);
            (Condition::Any(keys), self.matches_of(rules).chain(whole))
        });
        let (parts, others) = packets.spread(groups);
        let sent = parts.into_iter().filter_map(|((target, number), part)| {
            match (deciding(&chains[target]), chains[target]) {
                (Some(chain), _) => {
                    matched(chain, &chain.rules[number], &part);
                    None
                }
                (None, Some(chain)) => self.walk(chain, part, matched),
                (None, None) => Some(part),
            }
        });
        let back: Vec<P> = sent.collect();
        P::join(back.into_iter().chain(others))
    }

    /// The condition of each rule: that all of its matches hold.
    fn matches_of(&self, rules: &'a [Rule]) -> impl Iterator<Item = Condition<'a>> {
        rules.iter().map(|rule| match &rule.matches[..] {
            [one] => self.ruleset.condition(one),
            matches => Condition::All(matches.iter().map(|condition| self.ruleset.condition(condition)).collect()),
        })
    }
}

fn join<P: Packets>(left: Option<P>, right: Option<P>) -> Option<P> {
    P::join([left, right].into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::super::{Base, Set, SetKind};
    use super::*;
    use crate::net::{ChainPolicy, CtState, Family, Interface, PacketEnd, Payload};

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
                    Some(Base { hook: Hook::Input, policy: ChainPolicy::Drop }),
                    vec![Rule::new([inside.clone()], action), Rule::new([], Action::Verdict(Verdict::Accept))],
                ),
            ],
            ..Ruleset::default()
        };
        let packet = Packet {
            hook: Hook::Input,
            interface: Interface::default(),
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
