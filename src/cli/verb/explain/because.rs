//! Why a packet fares as it does, in sentences and as data.

use serde_json::{Value, json};

use super::{Answer, Case, would_be_denied};
use crate::emit;
use crate::explain::{Matched, NearMiss, Permission};
use crate::intent::{Aspect, Declared, End, Origin, PartKind, Side};
use crate::net::{CtDirection, Family, Packet, PortSet, Verdict};
use crate::report::{Reason, place};
use crate::ruleset::{Label, Trace};

impl Case<'_> {
    /// Why, from the rule to what it rests on.
    pub(crate) fn because(&self, answer: &Answer<'_>) -> Vec<Reason> {
        let mut because = vec![self.decision(answer)];
        if would_be_denied(&answer.trace) {
            let verdict = match answer.trace.rule.and_then(|rule| rule.label.as_ref()) {
                Some(Label::Invalid) => Verdict::Drop,
                _ => self.meaning.resolved.denials.at(answer.packet.hook),
            };
            let sentence = format!("with `mode: enforce` the verdict would be {}", verdict.name());
            because.push(Reason::new("audit", sentence, json!({"verdict": verdict.name()})));
        }
        for permission in &answer.permissions {
            because.extend(self.permission(permission));
        }
        because.extend(answer.near_misses.iter().map(|miss| self.near_miss(miss, &answer.packet)));
        because
    }

    /// What decided.
    fn decision(&self, answer: &Answer<'_>) -> Reason {
        let Trace { chain, rule, .. } = answer.trace;
        match (chain, rule) {
            (None, _) => {
                let target = self.meaning.resolved.target;
                let hook = answer.packet.hook.name();
                let sentence = format!("an {target} has no chain at the hook {hook}: other tables decide");
                Reason::new("no-chain", sentence, json!({"hook": hook}))
            }
            (Some(chain), None) => {
                let sentence =
                    format!("no rule of `{}` decides, so its policy does: other tables may say more", chain.name);
                Reason::new("chain-policy", sentence, json!({"chain": chain.name}))
            }
            (Some(chain), Some(rule)) => {
                let text = emit::rule(rule);
                let sentence = format!("{}: {text}", chain.name);
                Reason::new("rule", sentence, json!({"chain": chain.name, "rule": text, "path": answer.chains}))
            }
        }
    }

    /// A row that permits the packet, and what in it has the packet's addresses.
    fn permission(&self, permission: &Permission<'_>) -> Vec<Reason> {
        let (flow, is_reply) = (permission.flow, permission.direction == CtDirection::Reply);
        let answers = if is_reply { ", as an answer" } else { "" };
        let purpose = if flow.purpose.is_empty() { String::new() } else { format!(": {}", flow.purpose) };
        let sentence = format!("{} ({}{answers}){purpose}", flow.id, flow.side.name());
        let details =
            json!({"flow": flow.id, "direction": flow.side.name(), "purpose": flow.purpose, "answer": is_reply});
        let mut because =
            vec![Reason::new("flow", sentence, details), self.evidence.origin("row", &flow.id, &flow.origin)];
        for (word, end) in [("local end", &permission.local), ("peer", &permission.peers)] {
            because.extend(end.iter().map(|matched| self.matched(word, matched)));
        }
        because
    }

    /// A part of an end that has an address of the packet.
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
                Reason::new("name", format!("{word} {address}: {name}"), Value::Null)
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
            Aspect::Family => {
                let family = flow.family.map(Family::name).unwrap_or_default();
                (this.to_owned(), format!("only over {family}"))
            }
            Aspect::Answer => {
                ("answers like this".to_owned(), "not without ACK or RST: this one opens a connection".to_owned())
            }
            Aspect::Valid => (this.to_owned(), "not what conntrack calls invalid".to_owned()),
            Aspect::Direction => (this.to_owned(), format!("only {}", flow.side.name())),
        };
        // The line to edit, where there is one.
        let end = if miss.lacks == Aspect::Local { &flow.local } else { &flow.peers };
        let parts = if let End::Ends(parts) = end { &parts[..] } else { &[] };
        let written = parts.iter().map(|part| &part.origin).find(|origin| matches!(origin, Origin::Policy(_)));
        let origin = written.filter(|_| matches!(miss.lacks, Aspect::Peer | Aspect::Local)).unwrap_or(&flow.origin);
        let sentence = format!("`{}` permits {permits}, but {only} ({})", flow.id, place(self.evidence.policy, origin));
        Reason::new("near-miss", sentence, json!({"flow": flow.id, "lacks": aspect_word(miss.lacks)}))
    }

    /// The parts of an end as they were written, names with their addresses.
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
        Aspect::Family => "family",
        Aspect::Answer => "answer",
        Aspect::Valid => "valid",
        Aspect::Direction => "direction",
    }
}

/// How many things of a kind a sentence names.
const NAMED: usize = 6;

fn shortened(mut words: Vec<String>, between: &str) -> String {
    if let Some(more) = words.len().checked_sub(NAMED).filter(|more| *more > 0) {
        words.truncate(NAMED);
        words.push(format!("and {more} more"));
    }
    words.join(between)
}
