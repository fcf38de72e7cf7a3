//! nft text: what `nft -f` loads and a person reviews.

use std::fmt::Display;

use super::checksum::checksum_line;
use crate::net::{Bits, PrefixSet, Ranges, Verdict};
use crate::nft::{
    Attachment, CHAIN_POLICIES, CHAIN_TYPES, CT_STATES, ChainType, Field, INTERVAL, LOOPBACK, NETFILTER_HOOKS,
    NETWORK_PROTOCOLS, NOT_OPENING, OWN_FAMILY, RATE_UNITS, REJECT_CODE, REJECT_TYPE, SET_TYPES, STATEMENTS,
    StatementKind, TABLE_FAMILIES, TCP_FLAGS, protocol_keyword,
};
use crate::ruleset::{Action, Base, Chain, Log, Match, Rule, Ruleset, Set, SetKind, TABLE};

/// Lines of elements end near this column: nft repeats the whole line of an error.
const MAX_COLUMN: usize = 100;

/// Writes a ruleset as one transaction that replaces the table.
///
/// The table is declared before it is deleted, so that the deletion also works on the first load: nft 1.0.6 has no
/// `destroy`.
///
/// The third line is a checksum of the lines below it, as `tail -n +4 FILE | sha256sum` shows it:
/// [`is_intact`](super::is_intact).
pub fn nft(ruleset: &Ruleset) -> String {
    let commands = table(ruleset);
    let checksum = checksum_line(&commands);
    format!(
        "# edgeward: {}\n\
         # Generated: edit the policy, not this file. `nft -f` replaces the whole table in one transaction.\n\
         {checksum}\n{commands}",
        ruleset.title
    )
}

/// The family and the name of edgeward's table.
fn own_table() -> String {
    format!("{} {TABLE}", TABLE_FAMILIES.word(OWN_FAMILY))
}

fn table(ruleset: &Ruleset) -> String {
    let own = own_table();
    let mut text = format!("\ntable {own} {{}}\ndelete table {own}\ntable {own} {{\n");
    for counter in &ruleset.counters {
        text.push_str(&format!("\tcounter {counter} {{ }}\n"));
    }
    for (name, set) in &ruleset.sets {
        push_set(&mut text, name, set);
    }
    for chain in &ruleset.chains {
        push_chain(&mut text, chain);
    }
    text.push_str("}\n");
    text
}

fn base_text(base: Base) -> String {
    let Attachment { hook, priority } = Attachment::of(base.hook);
    format!(
        "type {} hook {} priority {}; policy {};",
        CHAIN_TYPES.word(ChainType::Filter),
        NETFILTER_HOOKS.word(hook),
        // nft before 0.9.1 does not know the names.
        priority.number(),
        CHAIN_POLICIES.word(base.policy)
    )
}

fn push_set(text: &mut String, name: &str, set: &Set) {
    text.push('\n');
    if !set.note.is_empty() {
        text.push_str(&format!("\t# {}\n", set.note));
    }
    text.push_str(&format!("\tset {name} {{\n\t\ttype {}\n", SET_TYPES.word(set.family)));
    if set.kind == SetKind::Prefixes {
        text.push_str(&format!("\t\tflags {INTERVAL}\n"));
    }
    if set.elements != PrefixSet::default() {
        push_elements(text, set);
    }
    text.push_str("\t}\n");
}

fn push_elements(text: &mut String, set: &Set) {
    const INDENT: &str = "\n\t\t\t";
    text.push_str("\t\telements = {");
    let mut column = MAX_COLUMN;
    for (index, element) in set.kind.elements(&set.elements).enumerate() {
        if index > 0 {
            text.push(',');
        }
        let before = text.len();
        if column >= MAX_COLUMN {
            text.push_str(INDENT);
            column = 0;
        } else {
            text.push(' ');
        }
        element.push_to(text);
        column += text.len() - before;
    }
    text.push_str("\n\t\t}\n");
}

fn push_chain(text: &mut String, chain: &Chain) {
    text.push_str(&format!("\n\tchain {} {{\n", chain.name));
    if let Some(base) = chain.base {
        text.push_str(&format!("\t\t{}\n", base_text(base)));
    }
    for rule in &chain.rules {
        text.push_str(&format!("\t\t{}\n", self::rule(rule)));
    }
    text.push_str("\t}\n");
}

/// A rule as nft reads and lists it.
pub fn rule(rule: &Rule) -> String {
    let mut parts: Vec<String> = rule.matches.iter().map(match_text).collect();
    parts.extend(rule.log.iter().map(log_text));
    let counter = STATEMENTS.word(StatementKind::Counter);
    parts.extend(rule.counter.iter().map(|name| format!("{counter} name \"{name}\"")));
    parts.extend(action_text(&rule.action));
    parts.extend(rule.label.iter().map(|label| format!("comment \"{}\"", label.comment())));
    parts.join(" ")
}

fn log_text(Log { prefix, rate }: &Log) -> String {
    let [limit, log] = [StatementKind::Limit, StatementKind::Log].map(|kind| STATEMENTS.word(kind));
    format!("{limit} rate {}/{} {log} prefix \"{prefix}\"", rate.count, RATE_UNITS.word(rate.per))
}

fn match_text(condition: &Match) -> String {
    match condition {
        // nft lists interfaces without `meta`.
        Match::Loopback(end) => format!("{} \"{LOOPBACK}\"", Field::Interface(*end).words().1),
        Match::Interface(end, names) => format!("{} \"{names}\"", Field::InterfaceName(*end).words().1),
        Match::State(states) => {
            let names: Vec<&str> = states.iter().map(|state| CT_STATES.word(*state)).collect();
            format!("{} {}", field(Field::CtState), names.join(","))
        }
        Match::Family(family) => format!("{} {}", field(Field::Family), NETWORK_PROTOCOLS.word(*family)),
        Match::Address(end, family, set) => format!("{} @{set}", field(Field::Address(*family, *end))),
        Match::Port(transport, end, ports) => format!("{} {}", field(Field::Port(*transport, *end)), numbers(ports)),
        Match::Icmp(family, types) => format!("{} {}", field(Field::IcmpType(*family)), numbers(types)),
        Match::Protocol(number) => format!("{} {}", field(Field::Protocol), protocol(*number)),
        Match::NotOpening => {
            format!("{} {}", field(Field::TcpFlags), NOT_OPENING.map(|flag| TCP_FLAGS.word(flag)).join(","))
        }
    }
}

fn field(field: Field) -> String {
    let (part, name) = field.words();
    format!("{part} {name}")
}

/// One number or range as it is, several as an anonymous set.
fn numbers<T: Bits + Display>(set: &Ranges<T>) -> String {
    match &set.words()[..] {
        [word] => word.clone(),
        words => format!("{{ {} }}", words.join(", ")),
    }
}

fn range<T: PartialEq + Display>((low, high): (T, T)) -> String {
    if low == high { low.to_string() } else { format!("{low}-{high}") }
}

fn protocol(number: u8) -> String {
    protocol_keyword(number).map_or_else(|| number.to_string(), str::to_owned)
}

fn action_text(action: &Action) -> Option<String> {
    let word = |kind| STATEMENTS.word(kind);
    Some(match action {
        Action::Continue => return None,
        Action::Verdict(Verdict::Accept) => word(StatementKind::Accept).to_owned(),
        Action::Verdict(Verdict::Drop) => word(StatementKind::Drop).to_owned(),
        // Not a TCP reset: at the output hook the program would wait until its own timeout.
        Action::Verdict(Verdict::Reject) => {
            // nft before 1.0 wants the word `type`; later ones read it, too, and list the statement without it.
            format!("{} with {REJECT_TYPE} type {REJECT_CODE}", word(StatementKind::Reject))
        }
        Action::Jump(chain) => format!("{} {chain}", word(StatementKind::Jump)),
        Action::Goto(chain) => format!("{} {chain}", word(StatementKind::Goto)),
        Action::Notrack => word(StatementKind::Notrack).to_owned(),
        Action::ByProtocol(chains) => {
            verdict_map(Field::Protocol, chains.iter().map(|(number, chain)| (protocol(*number), chain)))
        }
        Action::ByPort { protocol, end, chains } => {
            let entries = chains.iter().map(|(ports, chain)| (range(*ports), chain));
            verdict_map(Field::Port(*protocol, *end), entries)
        }
    })
}

fn verdict_map<'a>(key: Field, entries: impl Iterator<Item = (String, &'a String)>) -> String {
    let [map, jump] = [StatementKind::VerdictMap, StatementKind::Jump].map(|kind| STATEMENTS.word(kind));
    let entries: Vec<String> = entries.map(|(key, chain)| format!("{key} : {jump} {chain}")).collect();
    format!("{} {map} {{ {} }}", field(key), entries.join(", "))
}
