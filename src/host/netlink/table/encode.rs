//! Rules as expressions, the same that nft makes of the text that `emit` writes.

use std::borrow::Cow;

use super::expression::{Comparison, Decision, Expression, Load, SetName};
use super::field::{Location, location};
use super::numbers::{
    FAMILIES, LOOPBACK_INDEX, NOT_OPENING_FLAGS, REJECT_CODE, REJECT_KIND, seconds_of_unit, state_bit,
};
use super::set::Key;
use crate::net::{Family, Protocol, Ranges, Verdict};
use crate::nft::{DEFAULT_BURST, Field};
use crate::ruleset::{Action, Match, Rule, SetKind};

/// A set or verdict map between braces. It is created before its rule.
#[derive(Debug)]
pub struct NewSet<'a> {
    /// Its number in the transaction.
    pub id: u32,
    pub kind: SetKind,
    pub is_map: bool,
    /// nft's number for the type of its keys, and their length in bytes.
    pub key: (u32, u32),
    pub elements: Vec<NewElement<'a>>,
}

/// A key, or an end of an interval of keys.
#[derive(Debug)]
pub struct NewElement<'a> {
    pub key: Vec<u8>,
    pub is_end: bool,
    /// Whether it begins an interval up to the top.
    pub is_open: bool,
    /// The chain to jump to, in a map.
    pub chain: Option<&'a str>,
}

/// A rule in the form of the kernel.
#[derive(Debug, Default)]
pub struct EncodedRule<'a> {
    pub sets: Vec<NewSet<'a>>,
    pub expressions: Vec<Expression<'a>>,
}

/// Encodes a rule. Its sets get the numbers from `next_id` on.
pub fn encode<'a>(rule: &'a Rule, next_id: &mut u32) -> EncodedRule<'a> {
    let mut writer = RuleWriter { rule: EncodedRule::default(), family: None, protocol: None, next_id };
    rule.matches.iter().for_each(|condition| writer.condition(condition));
    if let Some(log) = &rule.log {
        let (rate, seconds) = (log.rate.count.into(), seconds_of_unit(log.rate.per));
        writer.push(Expression::Limit { rate, seconds, burst: DEFAULT_BURST });
        writer.push(Expression::Log(Cow::Borrowed(&log.prefix)));
    }
    if let Some(counter) = &rule.counter {
        writer.push(Expression::Counter(Cow::Borrowed(counter)));
    }
    writer.action(&rule.action);
    writer.rule
}

struct RuleWriter<'a, 'i> {
    rule: EncodedRule<'a>,
    /// What is known of the packets that the rule matches so far.
    family: Option<Family>,
    protocol: Option<Protocol>,
    next_id: &'i mut u32,
}

impl<'a> RuleWriter<'a, '_> {
    fn push(&mut self, expression: Expression<'a>) {
        self.rule.expressions.push(expression);
    }

    fn equal(&mut self, value: Vec<u8>) {
        self.push(Expression::Compare(Comparison::Equal, value.into()));
    }

    fn family(&mut self, family: Family) {
        self.load_any(location(Field::Family).load);
        let number = FAMILIES.iter().find(|(known, _)| *known == family).map(|(_, number)| *number);
        self.equal(number.into_iter().collect());
        self.family = Some(family);
    }

    fn protocol(&mut self, number: u8) {
        self.load_any(location(Field::Protocol).load);
        self.equal(vec![number]);
        self.protocol = Protocol::numbered(number);
    }

    fn load_any(&mut self, load: Load) {
        self.push(Expression::Load(load));
    }

    /// Loads a field, of packets that have it.
    fn load(&mut self, field: Field) {
        let Location { load, family, protocol, .. } = location(field);
        if let Some(family) = family.filter(|family| self.family != Some(*family)) {
            self.family(family);
        }
        if let Some(protocol) = protocol.filter(|protocol| self.protocol != Some(*protocol)) {
            self.protocol(protocol.number());
        }
        self.load_any(load);
    }

    fn condition(&mut self, condition: &'a Match) {
        match condition {
            Match::Loopback(end) => {
                self.load(Field::Interface(*end));
                self.equal(LOOPBACK_INDEX.to_ne_bytes().into());
            }
            Match::Interface(end, names) => {
                let field = Field::InterfaceName(*end);
                self.load(field);
                let name = names.to_string();
                let value = match name.strip_suffix('*') {
                    Some(beginning) => beginning.as_bytes().to_vec(),
                    None => {
                        let mut bytes = name.into_bytes();
                        bytes.resize(location(field).length, 0);
                        bytes
                    }
                };
                self.equal(value);
            }
            Match::State(states) => {
                self.load(Field::CtState);
                let bits = states.iter().fold(0, |bits, state| bits | state_bit(*state));
                self.any_bit(bits.to_ne_bytes().into());
            }
            Match::Family(family) => self.family(*family),
            Match::Address(end, family, set) => {
                self.load(Field::Address(*family, *end));
                self.push(Expression::Lookup(SetName::Known(Cow::Borrowed(set))));
            }
            Match::Port(transport, end, ports) => self.numbers(Field::Port(*transport, *end), ports),
            Match::Icmp(family, types) => self.numbers(Field::IcmpType(*family), types),
            Match::Protocol(number) => self.protocol(*number),
            Match::NotOpening => {
                self.load(Field::TcpFlags);
                self.any_bit(vec![NOT_OPENING_FLAGS]);
            }
        }
    }

    fn any_bit(&mut self, bits: Vec<u8>) {
        let zero = vec![0; bits.len()];
        self.push(Expression::Mask(bits.into()));
        self.push(Expression::Compare(Comparison::NotEqual, zero.into()));
    }

    fn numbers<T: Key>(&mut self, field: Field, numbers: &Ranges<T>) {
        self.load(field);
        match numbers.as_slice() {
            [(low, high)] if low == high => self.equal(low.write()),
            [(low, high)] => {
                self.push(Expression::Compare(Comparison::AtLeast, low.write().into()));
                self.push(Expression::Compare(Comparison::AtMost, high.write().into()));
            }
            several => {
                let set = self.set(field, several.iter().map(|range| (*range, None)).collect());
                self.push(Expression::Lookup(set));
            }
        }
    }

    fn action(&mut self, action: &'a Action) {
        match action {
            Action::Continue => {}
            Action::Verdict(Verdict::Accept) => self.push(Expression::Decide(Decision::Accept)),
            Action::Verdict(Verdict::Drop) => self.push(Expression::Decide(Decision::Drop)),
            Action::Verdict(Verdict::Reject) => {
                self.push(Expression::Reject { kind: REJECT_KIND, code: REJECT_CODE });
            }
            Action::Jump(chain) => self.push(Expression::Decide(Decision::Jump(Cow::Borrowed(chain)))),
            Action::Goto(chain) => self.push(Expression::Decide(Decision::Goto(Cow::Borrowed(chain)))),
            Action::Notrack => self.push(Expression::Notrack),
            Action::ByProtocol(chains) => {
                let chains = chains.iter().map(|(number, chain)| ((*number, *number), Some(chain.as_str())));
                self.map(Field::Protocol, chains.collect());
            }
            Action::ByPort { protocol, end, chains } => {
                let chains = chains.iter().map(|(range, chain)| (*range, Some(chain.as_str())));
                self.map(Field::Port(*protocol, *end), chains.collect());
            }
        }
    }

    fn map<T: Key>(&mut self, field: Field, entries: Vec<((T, T), Option<&'a str>)>) {
        self.load(field);
        let map = self.set(field, entries);
        self.push(Expression::Map(map));
    }

    /// Adds a set without a name, or a map: ranges in order, each with its chain in a map.
    fn set<T: Key>(&mut self, field: Field, ranges: Vec<((T, T), Option<&'a str>)>) -> SetName<'a> {
        let id = *self.next_id;
        *self.next_id = id.wrapping_add(1);
        let is_map = ranges.iter().any(|(_, chain)| chain.is_some());
        let is_single = ranges.iter().all(|((low, high), _)| low == high);
        let element = |key: T, is_open, chain| NewElement { key: key.write(), is_end: false, is_open, chain };
        let end = |key: T| NewElement { key: key.write(), is_end: true, is_open: false, chain: None };
        let elements = match is_single {
            true => ranges.into_iter().map(|((key, _), chain)| element(key, false, chain)).collect(),
            false => {
                // nft begins with an end, which no interval comes before.
                let first = ranges.first().filter(|((low, _), _)| *low != T::MIN).map(|_| end(T::MIN));
                let starts: Vec<T> = ranges.iter().map(|((low, _), _)| *low).collect();
                let both = ranges.into_iter().zip(starts.into_iter().skip(1).map(Some).chain([None]));
                let intervals = both.flat_map(|(((low, high), chain), following)| {
                    // The next interval also ends one that it touches.
                    [
                        Some(element(low, high == T::MAX, chain)),
                        high.next().filter(|end| following != Some(*end)).map(end),
                    ]
                });
                first.into_iter().chain(intervals.flatten()).collect()
            }
        };
        let kind = if is_single { SetKind::Hosts } else { SetKind::Prefixes };
        let length = u32::try_from(location(field).length).unwrap_or(u32::MAX);
        self.rule.sets.push(NewSet { id, kind, is_map, key: (type_of(field), length), elements });
        SetName::New(id)
    }
}

/// nft's number for the type of a field (`enum datatypes` of its `datatype.h`).
fn type_of(field: Field) -> u32 {
    match field {
        Field::Protocol => 12,
        Field::Port(..) => 13,
        Field::IcmpType(Family::V4) => 14,
        Field::IcmpType(Family::V6) => 29,
        // No set in a rule has them.
        _ => 0,
    }
}
