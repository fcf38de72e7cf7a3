//! From flows to chains and sets.
//!
//! Which chains, rules and sets there are depends on the policy and the catalog alone, never on answers of DNS: a refresh
//! changes elements only. The cost of a packet does not grow with the number of prefixes: established traffic is
//! accepted by the first rules, a new packet is dispatched by protocol and port, and only the flows of that port look up
//! its address.

mod dispatch;
mod sets;

use crate::intent::{Addresses, End, Flow, Gateway, Intent, Resolved, Side};
use crate::net::{ChainPolicy, CtDirection, CtState, Family, Hook, PacketEnd, PrefixSet, Traffic, Verdict};
use crate::ruleset::{AUDIT_LOG, Action, Base, Chain, DENIED_COUNTER, Label, Log, Match, Rule, Ruleset};
use crate::site::Mode;

use dispatch::{Permit, dispatch, inline};
use sets::Sets;

/// Compiles flows into a ruleset.
pub fn lower(intent: &Intent<Resolved>) -> Ruleset {
    let mut lowering = Lowering { intent, ruleset: Ruleset::default(), sets: Sets::new(&intent.flows) };
    match &intent.gateway {
        None => lowering.edge_host(),
        Some(gateway) => lowering.gateway(gateway),
    }
    let Lowering { mut ruleset, sets, .. } = lowering;
    ruleset.title =
        format!("ruleset of the policy `{}`, target {}, catalog {}", intent.name, intent.target, intent.catalog);
    ruleset.sets = sets.into_used(&ruleset.used_sets());
    ruleset.counters = ruleset.used_counters();
    ruleset
}

/// A ruleset in the making.
struct Lowering<'a> {
    intent: &'a Intent<Resolved>,
    ruleset: Ruleset,
    sets: Sets,
}

/// A rule that decides without a flow.
fn structural(matches: Vec<Match>, verdict: Verdict, label: Label) -> Rule {
    Rule { label: Some(label), ..Rule::new(matches, Action::Verdict(verdict)) }
}

fn established() -> Rule {
    let seen = Match::State(vec![CtState::Established, CtState::Related]);
    structural(vec![seen], Verdict::Accept, Label::Established)
}

impl Lowering<'_> {
    fn chain(&mut self, name: &str, base: Option<Base>, rules: Vec<Rule>) {
        self.ruleset.chains.push(Chain { name: name.to_owned(), base, rules });
    }

    /// Logs, counts and denies what no flow permits.
    fn denial(&self, hook: Hook) -> [Rule; 2] {
        let rule = structural(Vec::new(), self.verdict(self.intent.denials.at(hook)), Label::Denied);
        [self.log(hook, Vec::new()), Rule { counter: Some(format!("{DENIED_COUNTER}{}", hook.name())), ..rule }]
    }

    /// The verdict of a denial; audit mode accepts.
    fn verdict(&self, denied: Verdict) -> Verdict {
        if self.intent.mode == Mode::Audit { Verdict::Accept } else { denied }
    }

    fn log(&self, hook: Hook, matches: Vec<Match>) -> Rule {
        let start = if self.intent.mode == Mode::Audit { AUDIT_LOG } else { "edgeward denied " };
        let prefix = format!("{start}{}: ", hook.name());
        Rule { log: Some(Log { prefix, rate: self.intent.log }), ..Rule::new(matches, Action::Continue) }
    }

    /// Counts and drops what conntrack calls invalid. In audit mode it is logged and accepted.
    fn invalid(&self, hook: Hook) -> Vec<Rule> {
        let matches = vec![Match::State(vec![CtState::Invalid])];
        let log = (self.intent.mode == Mode::Audit).then(|| self.log(hook, matches.clone()));
        let rule = structural(matches, self.verdict(Verdict::Drop), Label::Invalid);
        let rule = Rule { counter: Some(format!("invalid_{}", hook.name())), ..rule };
        log.into_iter().chain([rule]).collect()
    }

    fn edge_host(&mut self) {
        for (hook, side, end) in
            [(Hook::Input, Side::Inbound, PacketEnd::Source), (Hook::Output, Side::Outbound, PacketEnd::Destination)]
        {
            let flows = self.intent.flows.iter().filter(|flow| flow.side == side);
            let permits: Vec<Permit> = flows.flat_map(|flow| self.permits(flow, None, CtDirection::Original)).collect();
            let (untracked, tracked): (Vec<Permit>, Vec<Permit>) =
                permits.into_iter().partition(|permit| permit.untracked);
            self.notrack(if hook == Hook::Input { Hook::RawPrerouting } else { Hook::RawOutput }, &untracked);
            // Loopback first: the reply to our own reject reaches the local program through it. Untracked flows come
            // before the drop of invalid packets.
            let mut rules =
                vec![structural(vec![Match::Loopback(end)], Verdict::Accept, Label::Loopback), established()];
            rules.extend(untracked.iter().flat_map(inline));
            rules.extend(self.invalid(hook));
            rules.extend(dispatch(hook.name(), &tracked, &mut self.ruleset.chains));
            rules.extend(self.denial(hook));
            self.chain(hook.name(), Some(Base { hook, policy: self.policy() }), rules);
        }
    }

    /// The policy of base chains. No packet gets that far, but readers of the ruleset look there.
    fn policy(&self) -> ChainPolicy {
        if self.intent.mode == Mode::Enforce { ChainPolicy::Drop } else { ChainPolicy::Accept }
    }

    fn gateway(&mut self, gateway: &Gateway<Resolved>) {
        let everything = gateway.covers_everything();
        let covered = gateway.covered.all();
        let ends = self.sets.refer("zone_idc", &gateway.covered, "the data centre's own addresses");
        // The addresses that packets in a chain are known to have at their local end. Answers of DNS do not count: they
        // must not decide which rules there are.
        let known = gateway.covered.named.is_none().then_some(&covered);
        let mut entry = Vec::new();
        // Packets that are not covered are accepted in any case, so this may come first.
        if !everything && !gateway.stateless {
            entry.push(established());
        }
        let mut raw = Vec::new();
        for (name, side, end) in [
            ("forward_outbound", Side::Outbound, PacketEnd::Source),
            ("forward_inbound", Side::Inbound, PacketEnd::Destination),
        ] {
            let crossing = |side: Side| {
                let flows = self.intent.flows.iter().filter(move |flow| flow.side == side);
                flows.map(|flow| crossing(flow, gateway, &covered)).collect::<Vec<_>>()
            };
            let (flows, answered) = (crossing(side), crossing(side.reversed()));
            let mut permits: Vec<Permit> =
                flows.iter().flat_map(|flow| self.permits(flow, known, CtDirection::Original)).collect();
            // A reply goes against the direction of its flow: it passes the chain of the other side.
            if gateway.stateless {
                let answered = answered.iter().filter(|flow| !flow.untracked);
                permits.extend(answered.flat_map(|flow| self.permits(flow, known, CtDirection::Reply)));
            }
            for flow in flows.iter().filter(|flow| flow.untracked) {
                raw.extend(self.permits(flow, None, CtDirection::Original));
            }
            let mut rules = Vec::new();
            if everything && !gateway.stateless {
                rules.push(established());
            }
            if !everything && side == Side::Outbound {
                // What stays inside is not filtered; `forward_inbound` never sees it.
                rules.extend(ends.iter().map(|(family, set)| {
                    let inside = Match::Address(end.other(), *family, set.clone());
                    structural(vec![inside], Verdict::Accept, Label::Inside)
                }));
            }
            rules.extend(dispatch(name, &permits, &mut self.ruleset.chains));
            if !everything {
                rules.extend(self.denial(Hook::Forward));
            }
            self.chain(name, None, rules);
            entry.extend(ends.iter().map(|(family, set)| {
                let ours = Match::Address(end, *family, set.clone());
                let action = match everything {
                    true => Action::Jump(name.to_owned()),
                    false => Action::Goto(name.to_owned()),
                };
                Rule::new([ours], action)
            }));
        }
        if everything {
            entry.extend(self.denial(Hook::Forward));
        }
        if !gateway.stateless {
            self.notrack(Hook::RawPrerouting, &raw);
        }
        let policy = if everything { self.policy() } else { ChainPolicy::Accept };
        self.chain("forward", Some(Base { hook: Hook::Forward, policy }), entry);
    }

    /// Does not track the UDP of untracked flows: a tunnel would fill conntrack's table with one-way connections.
    fn notrack(&mut self, hook: Hook, permits: &[Permit]) {
        let rules: Vec<Rule> = permits
            .iter()
            .filter(|permit| {
                permit.untracked && matches!(&permit.traffic, Traffic::Some { udp, .. } if !udp.is_empty())
            })
            .flat_map(inline)
            .map(|rule| Rule { counter: None, action: Action::Notrack, ..rule })
            .collect();
        if !rules.is_empty() {
            self.chain(hook.name(), Some(Base { hook, policy: ChainPolicy::Accept }), rules);
        }
    }

    /// What permits the packets of a flow: one permit for each family and set.
    ///
    /// Packets in the chain are known to have one of the addresses `known` at their local end.
    fn permits(&mut self, flow: &Flow<Resolved>, known: Option<&PrefixSet>, direction: CtDirection) -> Vec<Permit> {
        let (local_end, peer_end) = flow.side.ends(direction);
        let implied = match (&flow.local, known) {
            (End::Ends(Addresses { fixed, named: None }), Some(known)) => known.is_subset(fixed),
            (End::Ends(_), _) => false,
            (End::Any, _) => true,
        };
        let local = if implied { None } else { Some(self.sets.local(flow, self.intent)) };
        let peer = match &flow.peers {
            End::Any => None,
            End::Ends(addresses) => Some(self.sets.peer(flow, addresses)),
        };
        let families: Vec<Family> = Family::BOTH
            .into_iter()
            .filter(|family| flow.family.is_none_or(|only| only == *family))
            .filter(|family| known.is_none_or(|known| !known.only(*family).is_empty()))
            .collect();
        let mut permits = Vec::new();
        for &family in &families {
            let of_family = |refs: &Option<Vec<(Family, String)>>| -> Vec<Option<String>> {
                match refs {
                    None => vec![None],
                    Some(refs) => refs.iter().filter(|(f, _)| *f == family).map(|(_, set)| Some(set.clone())).collect(),
                }
            };
            for local_set in of_family(&local) {
                for peer_set in of_family(&peer) {
                    let mut matches: Vec<Match> = Vec::new();
                    matches.extend(local_set.clone().map(|set| Match::Address(local_end, family, set)));
                    matches.extend(peer_set.map(|set| Match::Address(peer_end, family, set)));
                    if matches.is_empty() && flow.family.is_some() {
                        matches.push(Match::Family(family));
                    }
                    permits.push(Permit {
                        flow: flow.id.clone(),
                        family,
                        any_family: matches.is_empty() && families.len() == Family::BOTH.len(),
                        matches,
                        traffic: flow.traffic.clone(),
                        from_ports: flow.from_ports.clone(),
                        direction,
                        untracked: flow.untracked,
                    });
                }
            }
        }
        // Without an address to match, one rule serves both families.
        if permits.iter().all(|permit| permit.any_family) {
            permits.truncate(1);
        }
        let Some(interfaces) = &flow.interfaces else { return permits };
        // A rule for each: older versions of nft read no wildcard in a set.
        let arrives = |permit: &Permit| {
            let (end, permit) = (peer_end, permit.clone());
            interfaces.patterns().map(move |names| {
                let matches = [Match::Interface(end, names)].into_iter().chain(permit.matches.clone()).collect();
                Permit { matches, ..permit.clone() }
            })
        };
        permits.iter().flat_map(arrives).collect()
    }
}

/// The part of a flow that crosses the gateway: not what stays inside the data centre.
///
/// Sets that need no change are shared: each of thousands of flows may have the same thousands of hosts.
fn crossing(flow: &Flow<Resolved>, gateway: &Gateway<Resolved>, covered: &PrefixSet) -> Flow<Resolved> {
    let mut flow = flow.clone();
    if !gateway.covers_everything() {
        if let End::Ends(addresses) = &mut flow.peers {
            *addresses = addresses.map(|set| if set.overlaps(covered) { set.difference(covered) } else { set.clone() });
        }
        if let End::Ends(addresses) = &mut flow.local {
            let within = |set: &PrefixSet| if set.is_subset(covered) { set.clone() } else { set.intersection(covered) };
            *addresses = addresses.map(within);
        }
    }
    flow
}
