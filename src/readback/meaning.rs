//! What statements mean. Only here do forms become matches and actions.

use std::collections::BTreeMap;

use super::decimal::decimal;
use super::form::{Operand, Operator, Right, RuleForm, Statement, Word};
use super::names::{icmp_type, icmpv6_type, identifier, log_prefix, plain_text, port, protocol};
use super::problem::{Reading, malformed, quoted, unknown};
use crate::diag::Diagnostic;
use crate::net::{Bits, CtState, Family, Ranges, Rate, Verdict};
use crate::nft::{
    CT_STATES, DEFAULT_BURST, Field, LOOPBACK, NETWORK_PROTOCOLS, NOT_OPENING, RATE_UNITS, REJECT_CODE, REJECT_TYPE,
    TCP_FLAGS,
};
use crate::ruleset::{Action, Label, Log, Match, Rule};
use crate::source::{Span, Spanned};

/// What a rule requires of its table, and where it does.
pub struct Requirement {
    pub span: Span,
    pub required: Required,
}

/// Something that a table must have.
pub enum Required {
    /// A set of a family.
    Set(String, Family),
    /// A counter.
    Counter(String),
    /// A chain to jump to.
    Chain(String),
    /// No forwarded packet reaches the rule.
    NoForwarding,
}

/// Reads a rule, and adds to `requirements` what it requires of its table.
///
/// The order of statements matters: a match after a counter does not change what is counted. [`Rule`] has one order
/// (matches, log, counter, action), so no other is accepted.
pub fn rule(form: &RuleForm<'_>, requirements: &mut Vec<Requirement>) -> Reading<Rule> {
    if form.statements.is_empty() {
        return Err(malformed(form.span, "a rule without statements", "remove it"));
    }
    let mut reader = RuleReader { rule: Rule::new([], Action::Continue), limit: None, requirements };
    for Spanned { value, span } in &form.statements {
        reader.statement(value, *span)?;
    }
    if let Some(limit) = reader.limit {
        return Err(limit.unused());
    }
    let mut rule = reader.rule;
    let comment = form.comment.as_ref().map(plain_text).transpose()?;
    rule.label = comment.map(|comment| Label::of_comment(comment, &rule));
    Ok(rule)
}

/// A rule of which some statements have been read.
struct RuleReader<'r> {
    rule: Rule,
    /// A limit whose log has not been read yet.
    limit: Option<Limit>,
    requirements: &'r mut Vec<Requirement>,
}

/// A limit: packets per unit of time, and its place.
#[derive(Clone, Copy)]
struct Limit {
    rate: Rate,
    span: Span,
}

impl RuleReader<'_> {
    fn require(&mut self, span: Span, required: Required) {
        self.requirements.push(Requirement { span, required });
    }

    fn statement(&mut self, statement: &Statement<'_>, span: Span) -> Reading<()> {
        if self.rule.action != Action::Continue {
            return Err(unknown(span, "a statement after the verdict", "end the rule with its verdict"));
        }
        if let Some(limit) = self.limit.filter(|_| !matches!(statement, Statement::Log { .. })) {
            return Err(limit.unused());
        }
        let (is_logged, is_counted) = (self.rule.log.is_some(), self.rule.counter.is_some());
        match statement {
            Statement::Match { .. } if is_logged || is_counted => {
                let help = "write matches first: edgeward counts and logs only what all of them match";
                return Err(unknown(span, "a match after a counter or a log", help));
            }
            Statement::Match { key, operator, right } => {
                let condition = self.condition(key.value, *operator, right, span)?;
                self.rule.matches.push(condition);
            }
            Statement::Limit { .. } | Statement::Log { .. } if is_logged || is_counted => {
                return Err(unknown(span, "a log after a counter or another log", "write one log, before the counter"));
            }
            Statement::Limit { count, per, burst } => self.limit = Some(limit(count, per, burst.as_ref(), span)?),
            Statement::Log { prefix } => {
                let limit = self.limit.take();
                let Limit { rate, .. } = limit
                    .ok_or_else(|| unknown(span, "a log without a limit", "write `limit rate 10/second` before it"))?;
                self.rule.log = Some(Log { prefix: log_prefix(prefix)?.to_owned(), rate });
            }
            Statement::Counter(_) if is_counted => {
                return Err(unknown(span, "a second counter in one rule", "remove one of them"));
            }
            Statement::Counter(name) => {
                let counter = identifier(name)?;
                self.require(name.span, Required::Counter(counter.clone()));
                self.rule.counter = Some(counter);
            }
            _ if is_logged => {
                let help = "use a rule of its own for the verdict: above the rate this rule does not match";
                return Err(unknown(span, "a verdict in a rule that logs", help));
            }
            Statement::Accept => self.rule.action = Action::Verdict(Verdict::Accept),
            Statement::Drop => self.rule.action = Action::Verdict(Verdict::Drop),
            Statement::Reject { kind, code } => self.rule.action = reject(kind, code, span)?,
            Statement::Notrack => self.rule.action = Action::Notrack,
            Statement::Jump(target) => self.rule.action = Action::Jump(self.chain(target)?),
            Statement::Goto(target) => self.rule.action = Action::Goto(self.chain(target)?),
            Statement::VerdictMap { key, entries } => self.rule.action = self.verdict_map(*key, entries, span)?,
        }
        Ok(())
    }

    fn chain(&mut self, target: &Word<'_>) -> Reading<String> {
        let name = identifier(target)?;
        self.require(target.span, Required::Chain(name.clone()));
        Ok(name)
    }

    fn verdict_map(
        &mut self,
        key: Spanned<Field>,
        entries: &[(Operand<'_>, Spanned<Statement<'_>>)],
        span: Span,
    ) -> Reading<Action> {
        if entries.is_empty() {
            return Err(malformed(span, "an empty verdict map", "remove the rule"));
        }
        let mut target = |verdict: &Spanned<Statement<'_>>| match &verdict.value {
            Statement::Jump(target) => self.chain(target),
            _ => Err(unknown(verdict.span, "a verdict map entry that is not a jump", "jump to a chain that decides")),
        };
        let twice = |span| {
            let help = "give each key one chain: keys must not overlap";
            malformed(span, "the key overlaps another key of the verdict map", help)
        };
        match key.value {
            Field::Protocol => {
                let mut chains = BTreeMap::new();
                for (key, verdict) in entries {
                    if chains.insert(one_protocol(key)?, target(verdict)?).is_some() {
                        return Err(twice(key.span()));
                    }
                }
                Ok(Action::ByProtocol(chains))
            }
            Field::Port(protocol, end) => {
                let mut chains = Vec::with_capacity(entries.len());
                for (key, verdict) in entries {
                    chains.push((range(key, port)?, target(verdict)?, key.span()));
                }
                chains.sort_by_key(|(range, ..)| *range);
                if let Some(pair) = chains.windows(2).find(|pair| pair[1].0.0 <= pair[0].0.1) {
                    return Err(twice(pair[0].2.max(pair[1].2)));
                }
                let chains = chains.into_iter().map(|(range, chain, _)| (range, chain)).collect();
                Ok(Action::ByPort { protocol, end, chains })
            }
            _ => {
                let help = "use a map of `meta l4proto`, or of ports of `tcp`, `udp` or `sctp`";
                Err(unknown(key.span, "unsupported key of a verdict map", help))
            }
        }
    }

    fn condition(&mut self, field: Field, operator: Operator, right: &Right<'_>, span: Span) -> Reading<Match> {
        let word = match right {
            Right::One(Operand { low, high: None }) => Some(&*low.value),
            _ => None,
        };
        let help = match (field, right) {
            (Field::Interface(end), _) if word == Some(LOOPBACK) => {
                self.require(span, Required::NoForwarding);
                return Ok(Match::Loopback(end));
            }
            (Field::Interface(_), _) => "compare it with `lo`; other interfaces by name, with `iifname`",
            (Field::InterfaceName(end), _) => match word.and_then(|word| word.parse().ok()) {
                Some(names) => {
                    self.require(span, Required::NoForwarding);
                    return Ok(Match::Interface(end, names));
                }
                None => "compare it with one name in quotes, such as `\"cni0\"` or `\"veth*\"`",
            },
            (Field::Family, _) => match word.and_then(|word| NETWORK_PROTOCOLS.value(word)) {
                Some(family) => return Ok(Match::Family(family)),
                None => "compare it with `ipv4` or `ipv6`",
            },
            (Field::Protocol, Right::One(protocol)) => return one_protocol(protocol).map(Match::Protocol),
            (Field::Protocol, Right::Among(protocols)) if protocols.len() == 1 => {
                return one_protocol(&protocols[0]).map(Match::Protocol);
            }
            (Field::Protocol, _) => "compare it with one protocol, in a rule for each",
            // A packet has one state, so a set means the same as flags. `==` asks for all flags, which no packet has.
            (Field::CtState, Right::One(state)) => return states(std::slice::from_ref(state)).map(Match::State),
            (Field::CtState, Right::Flags(all)) if operator == Operator::In => return states(all).map(Match::State),
            (Field::CtState, Right::Among(all)) => return states(all).map(Match::State),
            (Field::CtState, _) => "write `ct state established,related`",
            (Field::Address(family, end), Right::Named(name)) => {
                let set = identifier(name)?;
                self.require(name.span, Required::Set(set.clone(), family));
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
            // At least one of the flags is set. A set between braces would match segments with one of them and no other.
            (Field::TcpFlags, Right::Flags(flags)) if operator == Operator::In && cannot_open(flags) => {
                return Ok(Match::NotOpening);
            }
            (Field::TcpFlags, _) => "write `tcp flags rst,ack`",
        };
        let (part, name) = field.words();
        Err(unknown(span, format!("unsupported comparison of `{part} {name}`"), help))
    }
}

impl Limit {
    /// The problem with a limit that is not followed by a log.
    fn unused(self) -> Box<Diagnostic> {
        let help = "write `log prefix` directly after it: edgeward limits nothing else";
        unknown(self.span, "a limit without a log", help)
    }
}

fn limit(count: &Word<'_>, per: &Word<'_>, burst: Option<&Word<'_>>, span: Span) -> Reading<Limit> {
    let Some(number) = decimal(&count.value).filter(|number| *number > 0) else {
        let message = format!("{} is not a rate", quoted(&count.value));
        return Err(malformed(count.span, message, "write a whole number of packets, at least 1"));
    };
    let Some(unit) = RATE_UNITS.value(&per.value) else {
        let message = format!("unsupported unit of time {}", quoted(&per.value));
        return Err(unknown(per.span, message, "write `second`, `minute`, `hour` or `day`"));
    };
    if let Some(burst) = burst.filter(|burst| decimal(&burst.value) != Some(DEFAULT_BURST)) {
        let message = format!("unsupported burst of {}", quoted(&burst.value));
        let help = format!("remove it: edgeward uses nft's default, {DEFAULT_BURST} packets");
        return Err(unknown(burst.span, message, &help));
    }
    Ok(Limit { rate: Rate { count: number, per: unit }, span })
}

fn reject(kind: &Word<'_>, code: &Word<'_>, span: Span) -> Reading<Action> {
    if (&*kind.value, &*code.value) == (REJECT_TYPE, REJECT_CODE) {
        return Ok(Action::Verdict(Verdict::Reject));
    }
    let message = format!("unsupported reject with {}", quoted(&format!("{} {}", kind.value, code.value)));
    Err(unknown(span, message, "write `reject with icmpx type admin-prohibited`"))
}

/// States in the order in which nft lists them, each once.
fn states(operands: &[Operand<'_>]) -> Reading<Vec<CtState>> {
    let mut found = Vec::with_capacity(operands.len());
    for operand in operands {
        let state = single(operand).and_then(|word| CT_STATES.value(word)).ok_or_else(|| {
            let message = format!("unsupported conntrack state {}", quoted(&operand.low.value));
            unknown(operand.span(), message, "write `new`, `established`, `related`, `invalid` or `untracked`")
        })?;
        found.push(state);
    }
    Ok(CT_STATES.values().filter(|state| found.contains(state)).collect())
}

/// The word of an operand that is not a range.
fn single<'w>(operand: &'w Operand<'_>) -> Option<&'w str> {
    operand.high.is_none().then_some(&*operand.low.value)
}

fn one_protocol(operand: &Operand<'_>) -> Reading<u8> {
    match range(operand, protocol)? {
        (low, high) if low == high => Ok(low),
        _ => Err(unknown(operand.span(), "a range of protocols", "write one protocol at a time")),
    }
}

/// Whether flags are those of segments that cannot open a connection, each once, in any order.
fn cannot_open(flags: &[Operand<'_>]) -> bool {
    let found: Vec<_> = flags.iter().map(|flag| single(flag).and_then(|word| TCP_FLAGS.value(word))).collect();
    found.len() == NOT_OPENING.len() && NOT_OPENING.iter().all(|flag| found.contains(&Some(*flag)))
}

/// One value or range, or several. In an anonymous set they may overlap: nft joins them.
fn ranges<T: Bits>(right: &Right<'_>, read: fn(&Word<'_>) -> Reading<T>) -> Reading<Ranges<T>> {
    match right {
        Right::One(operand) => Ok([range(operand, read)?].into_iter().collect()),
        Right::Among(operands) => operands.iter().map(|operand| range(operand, read)).collect(),
        Right::Named(_) | Right::Flags(_) => Ok(Ranges::default()),
    }
}

fn range<T: Bits>(operand: &Operand<'_>, read: fn(&Word<'_>) -> Reading<T>) -> Reading<(T, T)> {
    let low = read(&operand.low)?;
    let high = operand.high.as_ref().map_or(Ok(low), read)?;
    if low > high {
        return Err(malformed(operand.span(), "a reversed range", "write the smaller end first"));
    }
    Ok((low, high))
}
