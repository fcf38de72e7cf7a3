//! What statements mean: the one place where the words of nft become matches and actions.

use std::collections::BTreeMap;

use super::elements::number;
use super::form::{Item, Right, RuleForm, Statement, Word};
use super::names::{icmp_type, icmpv6_type, identifier, log_prefix, plain_text, port, protocol};
use super::{Reading, malformed, quoted, unknown};
use crate::diag::Diagnostic;
use crate::net::{Bits, CtState, Family, PacketEnd, Ranges, Rate, RateUnit, Transport, Verdict};
use crate::ruleset::{Action, Label, Log, Match, Rule};
use crate::source::{Span, Spanned};

/// What a rule refers to, and where it does.
pub struct Need {
    pub span: Span,
    pub what: Needed,
}

/// Something that the table must have.
pub enum Needed {
    Set(String, Family),
    Counter(String),
    Chain(String),
    /// A chain that no forwarded packet comes to.
    NoForwarding,
}

/// What a match or a verdict map may look at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Loopback(PacketEnd),
    Family,
    Protocol,
    State,
    Address(Family, PacketEnd),
    Port(Transport, PacketEnd),
    IcmpType(Family),
    TcpFlags,
}

/// The fields by the words that nft has for them.
const FIELDS: &[((&str, &str), Field)] = &[
    (("meta", "iif"), Field::Loopback(PacketEnd::Source)),
    (("meta", "oif"), Field::Loopback(PacketEnd::Destination)),
    (("meta", "nfproto"), Field::Family),
    (("meta", "l4proto"), Field::Protocol),
    (("ct", "state"), Field::State),
    (("ip", "saddr"), Field::Address(Family::V4, PacketEnd::Source)),
    (("ip", "daddr"), Field::Address(Family::V4, PacketEnd::Destination)),
    (("ip6", "saddr"), Field::Address(Family::V6, PacketEnd::Source)),
    (("ip6", "daddr"), Field::Address(Family::V6, PacketEnd::Destination)),
    (("tcp", "sport"), Field::Port(Transport::Tcp, PacketEnd::Source)),
    (("tcp", "dport"), Field::Port(Transport::Tcp, PacketEnd::Destination)),
    (("udp", "sport"), Field::Port(Transport::Udp, PacketEnd::Source)),
    (("udp", "dport"), Field::Port(Transport::Udp, PacketEnd::Destination)),
    (("icmp", "type"), Field::IcmpType(Family::V4)),
    (("icmpv6", "type"), Field::IcmpType(Family::V6)),
    (("tcp", "flags"), Field::TcpFlags),
];

/// What two words of nft look at.
pub fn field(header: &str, name: &str, span: Span) -> Reading<Spanned<Field>> {
    match FIELDS.iter().find(|(words, _)| *words == (header, name)) {
        Some((_, field)) => Ok(Spanned { value: *field, span }),
        None => {
            let message = format!("edgeward never looks at {}", quoted(&format!("{header} {name}")));
            Err(unknown(span, message, "remove the rule, or say it with matches that edgeward has"))
        }
    }
}

/// What every burst is: nft's default, which edgeward never changes.
const BURST: &str = "5";

/// Reads a rule, and adds to `needs` what it refers to.
///
/// The order of its statements is part of what it means: a match behind a counter does not keep packets from being
/// counted. [`Rule`] has one order (matches, log, counter, action), so no other is taken.
pub fn rule(form: &RuleForm<'_>, needs: &mut Vec<Need>) -> Reading<Rule> {
    let mut rule = Rule::new([], Action::Continue);
    // A limit that waits for its log.
    let mut limit: Option<(Span, Rate)> = None;
    for Spanned { value, span } in &form.statements {
        let span = *span;
        if rule.action != Action::Continue {
            return Err(unknown(span, "a statement behind the one that decides", "let the rule end with its verdict"));
        }
        if let Some((place, ..)) = limit.filter(|_| !matches!(value, Statement::Log { .. })) {
            return Err(limit_alone(place));
        }
        match value {
            Statement::Match { key, exact, right } => {
                if rule.log.is_some() || rule.counter.is_some() {
                    let help = "write matches first: edgeward counts and logs what all of them hold for";
                    return Err(unknown(span, "a match behind a counter or a log", help));
                }
                rule.matches.push(condition(key.value, *exact, right, span, needs)?);
            }
            Statement::Limit { .. } | Statement::Log { .. } if rule.counter.is_some() || rule.log.is_some() => {
                let help = "write one log, before the counter";
                return Err(unknown(span, "a log behind a counter or another log", help));
            }
            Statement::Limit { count, per, burst } => limit = Some((span, rate(count, per, burst.as_ref())?)),
            Statement::Log { prefix } => {
                let Some((_, rate)) = limit.take() else {
                    let help = "write `limit rate 10/second` before it";
                    return Err(unknown(span, "a log without a limit", help));
                };
                rule.log = Some(Log { prefix: log_prefix(prefix)?.to_owned(), rate });
            }
            Statement::Counter(name) => {
                if rule.counter.is_some() {
                    return Err(unknown(span, "a second counter in one rule", "leave one of them out"));
                }
                let counter = identifier(name)?;
                needs.push(Need { span: name.span, what: Needed::Counter(counter.clone()) });
                rule.counter = Some(counter);
            }
            statement => {
                if rule.log.is_some() {
                    let help = "decide in a rule of its own: beyond the limit this one does not match";
                    return Err(unknown(span, "a verdict in a rule that logs", help));
                }
                rule.action = action(statement, span, needs)?;
            }
        }
    }
    if let Some((place, ..)) = limit {
        return Err(limit_alone(place));
    }
    if form.statements.is_empty() {
        return Err(malformed(form.span, "a rule without statements", "leave it out"));
    }
    let comment = form.comment.as_ref().map(plain_text).transpose()?;
    rule.label = comment.map(|comment| Label::of_comment(comment, &rule));
    Ok(rule)
}

fn limit_alone(span: Span) -> Box<Diagnostic> {
    let help = "write `log prefix` directly behind it: edgeward limits nothing else";
    unknown(span, "a limit without a log behind it", help)
}

fn rate(count: &Word<'_>, per: &Word<'_>, burst: Option<&Word<'_>>) -> Reading<Rate> {
    let Some(number) = number(&count.value).filter(|number| *number > 0) else {
        let message = format!("{} is not a rate", quoted(&count.value));
        return Err(malformed(count.span, message, "write a whole number of packets, 1 at least"));
    };
    let Some(unit) = RateUnit::named(&per.value) else {
        let message = format!("{} is not a unit of time that edgeward knows", quoted(&per.value));
        return Err(unknown(per.span, message, "write `second`, `minute`, `hour` or `day`"));
    };
    if let Some(burst) = burst.filter(|burst| burst.value != BURST) {
        let message = format!("a burst of {}", quoted(&burst.value));
        return Err(unknown(burst.span, message, "leave it out: edgeward's bursts are nft's default, 5 packets"));
    }
    Ok(Rate { count: number, per: unit })
}

fn action(statement: &Statement<'_>, span: Span, needs: &mut Vec<Need>) -> Reading<Action> {
    Ok(match statement {
        Statement::Accept => Action::Verdict(Verdict::Accept),
        Statement::Drop => Action::Verdict(Verdict::Drop),
        Statement::Reject { kind, code } => match (&*kind.value, &*code.value) {
            ("icmpx", "admin-prohibited") => Action::Verdict(Verdict::Reject),
            (kind, code) => {
                let message = format!("a reject with {}", quoted(&format!("{kind} {code}")));
                return Err(unknown(span, message, "write `reject with icmpx admin-prohibited`"));
            }
        },
        Statement::Notrack => Action::Notrack,
        Statement::Jump(target) => Action::Jump(chain(target, needs)?),
        Statement::Goto(target) => Action::Goto(chain(target, needs)?),
        Statement::VerdictMap { key, entries } => verdict_map(*key, entries, span, needs)?,
        Statement::Match { .. } | Statement::Limit { .. } | Statement::Log { .. } | Statement::Counter(_) => {
            return Err(unknown(span, "a statement that decides nothing", "write a verdict"));
        }
    })
}

fn chain(target: &Word<'_>, needs: &mut Vec<Need>) -> Reading<String> {
    let name = identifier(target)?;
    needs.push(Need { span: target.span, what: Needed::Chain(name.clone()) });
    Ok(name)
}

fn verdict_map(
    key: Spanned<Field>,
    entries: &[(Item<'_>, Spanned<Statement<'_>>)],
    span: Span,
    needs: &mut Vec<Need>,
) -> Reading<Action> {
    if entries.is_empty() {
        return Err(malformed(span, "a verdict map without entries", "leave the rule out"));
    }
    let mut target = |verdict: &Spanned<Statement<'_>>| match &verdict.value {
        Statement::Jump(target) => chain(target, needs),
        _ => Err(unknown(verdict.span, "an entry of a verdict map that does not jump", "jump to a chain that decides")),
    };
    let twice = |span| {
        let help = "give each key one chain: edgeward's keys never overlap";
        malformed(span, "a key that another entry of the verdict map has, too", help)
    };
    match key.value {
        Field::Protocol => {
            let mut chains = BTreeMap::new();
            for (item, verdict) in entries {
                if chains.insert(one_protocol(item)?, target(verdict)?).is_some() {
                    return Err(twice(item.span()));
                }
            }
            Ok(Action::ByProtocol(chains))
        }
        Field::Port(protocol, end) => {
            let mut chains = Vec::with_capacity(entries.len());
            for (item, verdict) in entries {
                chains.push((range(item, port)?, target(verdict)?, item.span()));
            }
            chains.sort_by_key(|(range, ..)| *range);
            if let Some(pair) = chains.windows(2).find(|pair| pair[1].0.0 <= pair[0].0.1) {
                return Err(twice(pair[0].2.max(pair[1].2)));
            }
            let chains = chains.into_iter().map(|(range, chain, _)| (range, chain)).collect();
            Ok(Action::ByPort { protocol, end, chains })
        }
        _ => {
            let help = "write a map of `meta l4proto`, or of ports of `tcp` or `udp`";
            Err(unknown(key.span, "a verdict map of something else than protocols and ports", help))
        }
    }
}

fn condition(field: Field, exact: bool, right: &Right<'_>, span: Span, needs: &mut Vec<Need>) -> Reading<Match> {
    let word = match right {
        Right::One(Item { low, high: None }) => Some(&*low.value),
        _ => None,
    };
    let wanted = match (field, right) {
        (Field::Loopback(end), _) if word == Some("lo") => {
            needs.push(Need { span, what: Needed::NoForwarding });
            return Ok(Match::Loopback(end));
        }
        (Field::Loopback(_), _) => "compare it with `lo`: edgeward tells no other interfaces apart",
        (Field::Family, _) if word == Some("ipv4") => return Ok(Match::Family(Family::V4)),
        (Field::Family, _) if word == Some("ipv6") => return Ok(Match::Family(Family::V6)),
        (Field::Family, _) => "compare it with `ipv4` or `ipv6`",
        (Field::Protocol, Right::One(item)) => return one_protocol(item).map(Match::Protocol),
        (Field::Protocol, Right::Among(items)) if items.len() == 1 => {
            return one_protocol(&items[0]).map(Match::Protocol);
        }
        (Field::Protocol, _) => "compare it with one protocol, in a rule for each",
        // A packet has one state, so a set says the same as flags; all of several flags it never has.
        (Field::State, Right::One(item)) => return states(std::slice::from_ref(item)).map(Match::State),
        (Field::State, Right::Flags(items)) if !exact => return states(items).map(Match::State),
        (Field::State, Right::Among(items)) => return states(items).map(Match::State),
        (Field::State, _) => "write `ct state established,related`",
        (Field::Address(family, end), Right::Named(name)) => {
            let set = identifier(name)?;
            needs.push(Need { span: name.span, what: Needed::Set(set.clone(), family) });
            return Ok(Match::Address(end, family, set));
        }
        (Field::Address(..), _) => "put the addresses into a set, and write `@` and its name",
        (Field::Port(transport, end), Right::One(_) | Right::Among(_)) => {
            return Ok(Match::Port(transport, end, ranges(right, port)?));
        }
        (Field::IcmpType(family), Right::One(_) | Right::Among(_)) => {
            let read = if family == Family::V4 { icmp_type } else { icmpv6_type };
            return Ok(Match::Icmp(family, ranges(right, read)?));
        }
        (Field::Port(..) | Field::IcmpType(_), _) => "compare it with a number, a range, or several between braces",
        // One of the flags is set. A set between braces asks for segments that have one of them and no other flag.
        (Field::TcpFlags, Right::Flags(items)) if !exact && are_ack_and_rst(items) => return Ok(Match::NotOpening),
        (Field::TcpFlags, _) => "write `tcp flags rst,ack`",
    };
    let words = FIELDS.iter().find(|(_, one)| *one == field).map(|((header, name), _)| format!("{header} {name}"));
    let message = format!("a comparison of {} that edgeward does not make", quoted(&words.unwrap_or_default()));
    Err(unknown(span, message, wanted))
}

/// States in the order in which nft lists them, each once.
fn states(items: &[Item<'_>]) -> Reading<Vec<CtState>> {
    const ALL: [CtState; 5] =
        [CtState::Invalid, CtState::Established, CtState::Related, CtState::New, CtState::Untracked];
    let mut found = [false; ALL.len()];
    for item in items {
        let index = ALL.iter().position(|state| item.high.is_none() && state.name() == item.low.value);
        let Some(index) = index else {
            let message = format!("{} is not a state of conntrack that edgeward knows", quoted(&item.low.value));
            return Err(unknown(
                item.span(),
                message,
                "write `new`, `established`, `related`, `invalid` or `untracked`",
            ));
        };
        found[index] = true;
    }
    Ok(ALL.into_iter().zip(found).filter(|(_, found)| *found).map(|(state, _)| state).collect())
}

fn one_protocol(item: &Item<'_>) -> Reading<u8> {
    match range(item, protocol)? {
        (low, high) if low == high => Ok(low),
        _ => Err(unknown(item.span(), "a range of protocols", "write one protocol at a time")),
    }
}

fn are_ack_and_rst(items: &[Item<'_>]) -> bool {
    let is = |item: &Item<'_>, flag| item.high.is_none() && item.low.value == flag;
    matches!(items, [one, other] if is(one, "ack") && is(other, "rst") || is(one, "rst") && is(other, "ack"))
}

/// One value or several; in an anonymous set nft lets them overlap, and joins them.
fn ranges<T: Bits>(right: &Right<'_>, read: fn(&Word<'_>) -> Reading<T>) -> Reading<Ranges<T>> {
    match right {
        Right::One(item) => Ok([range(item, read)?].into_iter().collect()),
        Right::Among(items) => items.iter().map(|item| range(item, read)).collect(),
        Right::Named(_) | Right::Flags(_) => Ok(Ranges::default()),
    }
}

fn range<T: Bits>(item: &Item<'_>, read: fn(&Word<'_>) -> Reading<T>) -> Reading<(T, T)> {
    let low = read(&item.low)?;
    let high = item.high.as_ref().map_or(Ok(low), read)?;
    if low > high {
        return Err(malformed(item.span(), "a range that runs backwards", "write the smaller end first"));
    }
    Ok((low, high))
}
