//! nft text: what `nft -f` loads and a person reviews.

use std::fmt::Display;

use sha2::{Digest, Sha256};

use crate::live::Change;
use crate::net::{Bits, CtState, Family, Hook, PacketEnd, PrefixSet, Protocol, Ranges, Transport, Verdict};
use crate::ruleset::{Action, Base, Chain, Log, Match, Rule, Ruleset, Set, SetKind, TABLE};

/// Lines of elements end near this column: nft repeats the whole line of an error.
const WIDTH: usize = 100;

/// Writes a ruleset as one transaction that replaces the table.
///
/// The first two lines make the deletion work on the first load, too: nft 1.0.6 has no `destroy`.
///
/// The third line is a checksum of the lines below it, as `tail -n +4 FILE | sha256sum` shows it: [`is_intact`].
pub fn nft(ruleset: &Ruleset) -> String {
    let commands = table(ruleset);
    let checksum = sha256(&commands);
    format!(
        "# edgeward: {}\n\
         # Generated: edit the policy, not this file. `nft -f` replaces the whole table in one transaction.\n\
         {CHECKSUM}{checksum}\n{commands}",
        ruleset.title
    )
}

/// What stands before the checksum.
const CHECKSUM: &str = "# SHA-256 of the lines below: ";

/// The SHA-256 of a text, as `sha256sum` shows it.
pub fn sha256(text: &str) -> String {
    hexadecimal(&Sha256::digest(text))
}

/// Bytes as two digits each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a ruleset's text is as [`nft`] wrote it; `None` where its third line is no checksum.
pub fn is_intact(text: &str) -> Option<bool> {
    let mut lines = text.splitn(4, '\n');
    let [title, hint, sum, commands] = [(); 4].map(|()| lines.next());
    let sum = sum?.strip_prefix(CHECKSUM)?;
    let comments = [title, hint].into_iter().flatten().all(|line| line.starts_with('#'));
    Some(comments && sha256(commands?) == sum.trim_end())
}

fn table(ruleset: &Ruleset) -> String {
    let mut text = format!("\ntable inet {TABLE} {{}}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
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

/// Writes a change to a live table, as one transaction.
pub fn changes(changes: &[Change]) -> String {
    changes.iter().map(|change| change_text(change) + "\n").collect()
}

fn change_text(change: &Change) -> String {
    match change {
        Change::AddTable => format!("add table inet {TABLE}"),
        Change::AddCounter(name) => format!("add counter inet {TABLE} {name}"),
        Change::AddSet { name, family, kind } => {
            let flags = if *kind == SetKind::Prefixes { " flags interval;" } else { "" };
            format!("create set inet {TABLE} {name} {{ type {};{flags} }}", element_type(*family))
        }
        Change::AddChain { name, base: None } => format!("add chain inet {TABLE} {name}"),
        Change::AddChain { name, base: Some(base) } => {
            format!("add chain inet {TABLE} {name} {{ {} }}", base_text(*base))
        }
        Change::FlushChain(name) => format!("flush chain inet {TABLE} {name}"),
        Change::AddRule { chain, rule } => format!("add rule inet {TABLE} {chain} {}", self::rule(rule)),
        Change::DeleteChain(name) => format!("delete chain inet {TABLE} {name}"),
        Change::DeleteSet(name) => format!("delete set inet {TABLE} {name}"),
        Change::DeleteCounter(name) => format!("delete counter inet {TABLE} {name}"),
        Change::DeleteTable => format!("delete table inet {TABLE}"),
    }
}

fn element_type(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    }
}

fn base_text(base: Base) -> String {
    let (hook, priority) = match base.hook {
        Hook::Input | Hook::Output | Hook::Forward => (base.hook.name(), "filter"),
        Hook::RawPrerouting => ("prerouting", "raw"),
        Hook::RawOutput => ("output", "raw"),
    };
    let policy = if base.drops { "drop" } else { "accept" };
    format!("type filter hook {hook} priority {priority}; policy {policy};")
}

fn push_set(text: &mut String, name: &str, set: &Set) {
    let kind = element_type(set.family);
    text.push('\n');
    if !set.note.is_empty() {
        text.push_str(&format!("\t# {}\n", set.note));
    }
    text.push_str(&format!("\tset {name} {{\n\t\ttype {kind}\n"));
    if set.kind == SetKind::Prefixes {
        text.push_str("\t\tflags interval\n");
    }
    if set.elements != PrefixSet::default() {
        push_elements(text, set);
    }
    text.push_str("\t}\n");
}

fn push_elements(text: &mut String, set: &Set) {
    const INDENT: &str = "\n\t\t\t";
    text.push_str("\t\telements = {");
    let mut column = WIDTH;
    for (index, element) in set.kind.elements(&set.elements).enumerate() {
        if index > 0 {
            text.push(',');
        }
        let before = text.len();
        if column >= WIDTH {
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
    let mut words: Vec<String> = rule.matches.iter().map(match_text).collect();
    if let Some(Log { prefix, count, per }) = &rule.log {
        words.push(format!("limit rate {count}/{per} log prefix \"{prefix}\""));
    }
    words.extend(rule.counter.iter().map(|counter| format!("counter name \"{counter}\"")));
    words.extend(action_text(&rule.action));
    words.extend(rule.comment.iter().map(|comment| format!("comment \"{comment}\"")));
    words.join(" ")
}

fn match_text(condition: &Match) -> String {
    match condition {
        Match::Loopback(PacketEnd::Source) => "iif \"lo\"".to_owned(),
        Match::Loopback(PacketEnd::Destination) => "oif \"lo\"".to_owned(),
        Match::State(states) => {
            let names: Vec<&str> = states.iter().copied().map(CtState::name).collect();
            format!("ct state {}", names.join(","))
        }
        Match::Family(Family::V4) => "meta nfproto ipv4".to_owned(),
        Match::Family(Family::V6) => "meta nfproto ipv6".to_owned(),
        Match::Address(end, family, set) => {
            let header = super::header(*family);
            format!("{header} {} @{set}", address_field(*end))
        }
        Match::Port(transport, end, ports) => format!("{} {} {}", transport.name(), port_field(*end), numbers(ports)),
        Match::Icmp(Family::V4, types) => format!("icmp type {}", numbers(types)),
        Match::Icmp(Family::V6, types) => format!("icmpv6 type {}", numbers(types)),
        Match::Protocol(number) => format!("meta l4proto {}", protocol(*number)),
        Match::NotOpening => "tcp flags rst,ack".to_owned(),
    }
}

fn address_field(end: PacketEnd) -> &'static str {
    match end {
        PacketEnd::Source => "saddr",
        PacketEnd::Destination => "daddr",
    }
}

fn port_field(end: PacketEnd) -> &'static str {
    match end {
        PacketEnd::Source => "sport",
        PacketEnd::Destination => "dport",
    }
}

/// One number as it is, several as an anonymous set.
fn numbers<T: Bits + Display>(set: &Ranges<T>) -> String {
    match &set.words()[..] {
        [word] => word.clone(),
        words => format!("{{ {} }}", words.join(", ")),
    }
}

fn range<T: PartialEq + Display>((low, high): (T, T)) -> String {
    if low == high { low.to_string() } else { format!("{low}-{high}") }
}

/// Words of nft's own grammar where it has them: a name of `/etc/protocols` may not be there on a small system.
fn protocol(number: u8) -> String {
    let known = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp, Protocol::Icmpv6];
    match known.into_iter().find(|protocol| protocol.number() == number) {
        Some(Protocol::Tcp) => Transport::Tcp.name().to_owned(),
        Some(Protocol::Udp) => Transport::Udp.name().to_owned(),
        Some(Protocol::Icmp) => "icmp".to_owned(),
        Some(Protocol::Icmpv6) => "icmpv6".to_owned(),
        Some(Protocol::Ipip) | None => number.to_string(),
    }
}

fn action_text(action: &Action) -> Option<String> {
    let jump = |key: String, chain: &String| format!("{key} : jump {chain}");
    Some(match action {
        Action::Continue => return None,
        Action::Verdict(Verdict::Accept) => "accept".to_owned(),
        Action::Verdict(Verdict::Drop) => "drop".to_owned(),
        // Not a TCP reset: at the output hook the program would wait for its own time-out.
        Action::Verdict(Verdict::Reject) => "reject with icmpx admin-prohibited".to_owned(),
        Action::Jump(chain) => format!("jump {chain}"),
        Action::Goto(chain) => format!("goto {chain}"),
        Action::Notrack => "notrack".to_owned(),
        Action::ByProtocol(chains) => {
            let jumps: Vec<String> = chains.iter().map(|(number, chain)| jump(protocol(*number), chain)).collect();
            format!("meta l4proto vmap {{ {} }}", jumps.join(", "))
        }
        Action::ByPort { protocol, end, chains } => {
            let jumps: Vec<String> = chains.iter().map(|(ports, chain)| jump(range(*ports), chain)).collect();
            format!("{} {} vmap {{ {} }}", protocol.name(), port_field(*end), jumps.join(", "))
        }
    })
}
