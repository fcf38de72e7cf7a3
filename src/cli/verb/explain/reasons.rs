//! Why a packet is accepted or denied, in sentences and as data.

use super::{Explainer, Explanation, denied_if_enforced};
use crate::emit;
use crate::explain::{Matched, NearMiss, Permission};
use crate::intent::{Aspect, Declared, End, Origin, PartKind, Side};
use crate::net::{CtDirection, Family, Packet, PortSet, Verdict};
use crate::report::{About, Reason, place};
use crate::ruleset::{Label, Trace};

impl Explainer<'_> {
    /// The reasons, from the rule to what the flow is based on.
    pub(super) fn reasons(&self, explanation: &Explanation<'_>) -> Vec<Reason> {
        let mut reasons = vec![self.decision(explanation)];
        if denied_if_enforced(&explanation.trace) {
            let verdict = match explanation.trace.rule.and_then(|rule| rule.label.as_ref()) {
                Some(Label::Invalid) => Verdict::Drop,
                _ => self.meaning.resolved.denials.at(explanation.packet.hook),
            };
            let sentence = format!("with `mode: enforce` the verdict would be {}", verdict.name());
            reasons.push(Reason::new(sentence, About::Audit { verdict: verdict.name() }));
        }
        for permission in &explanation.permissions {
            reasons.extend(self.permission(permission));
        }
        reasons.extend(explanation.near_misses.iter().map(|miss| self.near_miss(miss, &explanation.packet)));
        reasons
    }

    /// The rule, or the policy of the chain, that gave the verdict.
    fn decision(&self, explanation: &Explanation<'_>) -> Reason {
        let Trace { chain, rule, .. } = explanation.trace;
        match (chain, rule) {
            (None, _) => {
                let target = self.meaning.resolved.target;
                let hook = explanation.packet.hook.name();
                let sentence = format!("an {target} has no chain at the hook {hook}: other tables decide");
                Reason::new(sentence, About::NoChain { hook })
            }
            (Some(chain), None) => {
                let sentence = format!(
                    "no rule of `{}` gives a verdict, so the policy of the chain does; other tables may still deny it",
                    chain.name
                );
                Reason::new(sentence, About::ChainPolicy { chain: chain.name.clone() })
            }
            (Some(chain), Some(rule)) => {
                let rule = emit::rule(rule);
                let sentence = format!("{}: {rule}", chain.name);
                let path = explanation.chains.iter().map(|&chain| chain.to_owned()).collect();
                Reason::new(sentence, About::Rule { chain: chain.name.clone(), rule, path })
            }
        }
    }

    /// A row that permits the packet, and the parts of it that contain the packet's addresses.
    fn permission(&self, permission: &Permission<'_>) -> Vec<Reason> {
        let (flow, is_reply) = (permission.flow, permission.direction == CtDirection::Reply);
        let answers = if is_reply { ", as an answer" } else { "" };
        let purpose = if flow.purpose.is_empty() { String::new() } else { format!(": {}", flow.purpose) };
        let sentence = format!("{} ({}{answers}){purpose}", flow.id, flow.side.name());
        let about = About::Flow {
            flow: flow.id.clone(),
            direction: flow.side.name(),
            purpose: flow.purpose.clone(),
            answer: is_reply,
        };
        let mut reasons = vec![Reason::new(sentence, about), self.evidence.origin("row", &flow.id, &flow.origin)];
        for (word, end) in [("local end", &permission.local), ("peer", &permission.peers)] {
            reasons.extend(end.iter().map(|matched| self.matched(word, matched)));
        }
        reasons
    }

    /// A part of an end that contains an address of the packet.
    fn matched(&self, word: &str, matched: &Matched<'_>) -> Reason {
        let address = matched.address;
        match (&matched.part.kind, matched.answer) {
            (PartKind::Name { name, .. }, Some((record, seen))) => {
                self.evidence.answer(word, address, name, &matched.part.origin, record, seen)
            }
            (PartKind::Prefixes(set), _) => {
                let prefix = set.prefixes().find(|prefix| prefix.net().contains(&address));
                let prefix = prefix.map(|prefix| prefix.to_string()).unwrap_or_default();
                self.evidence.origin(&format!("{word} {address} in"), &prefix, &matched.part.origin)
            }
            (PartKind::Name { name, .. }, None) => {
                let origin = Box::new(self.evidence.origin("name", name.as_str(), &matched.part.origin));
                let about = About::Name {
                    name: name.to_string(),
                    address,
                    first_seen: None,
                    last_seen: None,
                    age_seconds: None,
                    ttl: None,
                    server: None,
                    origin,
                };
                Reason::new(format!("{word} {address}: {name}"), about)
            }
        }
    }

    fn near_miss(&self, miss: &NearMiss<'_>, packet: &Packet) -> Reason {
        let flow = miss.flow;
        let (peer, from, to) = match flow.side {
            Side::Inbound => (packet.source, "from", "to"),
            Side::Outbound => (packet.destination, "to", "from"),
        };
        let this = if packet.ports().is_some() { "this port" } else { "this protocol" };
        let (permits, only) = match miss.lacks {
            Aspect::Peer => (this.to_owned(), format!("only {from} {}", self.ends(&flow.peers))),
            Aspect::Local => (this.to_owned(), format!("only {to} {}", self.ends(&flow.local))),
            Aspect::Traffic => (format!("packets {from} {peer}"), format!("only {}", flow.traffic)),
            Aspect::SourcePort => {
                let ports: Vec<String> = flow.from_ports.iter().flat_map(PortSet::words).collect();
                (this.to_owned(), format!("only from port {}", ports.join(", ")))
            }
            Aspect::Interface => {
                let through = flow.interfaces.as_ref().map(ToString::to_string).unwrap_or_default();
                (this.to_owned(), format!("only through {through}"))
            }
            Aspect::Family => {
                let family = flow.family.map(Family::name).unwrap_or_default();
                (this.to_owned(), format!("only over {family}"))
            }
            Aspect::Answer => {
                ("answers like this".to_owned(), "not without ACK or RST: this one opens a connection".to_owned())
            }
            Aspect::Valid => (this.to_owned(), "not if conntrack calls the packet invalid".to_owned()),
            Aspect::Direction => (this.to_owned(), format!("only {}", flow.side.name())),
        };
        // The line of the policy to edit, if the flow has one.
        let end = if miss.lacks == Aspect::Local { &flow.local } else { &flow.peers };
        let parts = if let End::Ends(parts) = end { &parts[..] } else { &[] };
        let written = parts.iter().map(|part| &part.origin).find(|origin| matches!(origin, Origin::Policy(_)));
        let origin = written.filter(|_| matches!(miss.lacks, Aspect::Peer | Aspect::Local)).unwrap_or(&flow.origin);
        let sentence = format!("`{}` permits {permits}, but {only} ({})", flow.id, place(self.evidence.policy, origin));
        Reason::new(sentence, About::NearMiss { flow: flow.id.clone(), lacks: aspect_word(miss.lacks) })
    }

    /// The parts of an end as they are written, names with their addresses.
    fn ends(&self, end: &End<Declared>) -> String {
        let End::Ends(parts) = end else { return "anywhere".to_owned() };
        let written = |kind: &PartKind| match kind {
            PartKind::Prefixes(set) => set.prefixes().map(|prefix| prefix.to_string()).collect(),
            PartKind::Name { name, .. } => {
                let addresses: Vec<String> =
                    self.meaning.resolution.addresses(name).map(|address| address.to_string()).collect();
                let known = if addresses.is_empty() { "no address".to_owned() } else { shortened(addresses, ", ") };
                vec![format!("{name} ({known})")]
            }
        };
        let mut words: Vec<String> = parts.iter().flat_map(|part| written(&part.kind)).collect();
        words.dedup();
        shortened(words, ", ")
    }
}

fn aspect_word(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Peer => "peer",
        Aspect::Local => "local-end",
        Aspect::Traffic => "traffic",
        Aspect::SourcePort => "source-port",
        Aspect::Interface => "interface",
        Aspect::Family => "family",
        Aspect::Answer => "answer",
        Aspect::Valid => "valid",
        Aspect::Direction => "direction",
    }
}

/// A sentence lists up to so many things.
const MAX_LISTED: usize = 6;

fn shortened(mut words: Vec<String>, between: &str) -> String {
    if let Some(more) = words.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        words.truncate(MAX_LISTED);
        words.push(format!("and {more} more"));
    }
    words.join(between)
}
