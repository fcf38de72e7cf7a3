//! What the expressions of a rule mean.
//!
//! nft writes a match on an address or a port as two: one that the packet has such a field (its family, its protocol),
//! and one on the field. The first kind is a match of its own only where no other needs it, as nft lists it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::expression::{Comparison, Decision, Expression, Load, SetName, Unsupported, unsupported};
use super::field::{both_ports, field, in_words, location};
use super::numbers::{
    FAMILIES, LOOPBACK_INDEX, NOT_OPENING_FLAGS, REJECT_CODE, REJECT_KIND, state_bit, unit_of_seconds,
};
use super::set::{AnonymousSet, Key, ListedSet, ListedSets};
use crate::host::netlink::wire;
use crate::net::{CtState, Family, PacketEnd, Ranges, Rate, Verdict};
use crate::nft::{CT_STATES, DEFAULT_BURST, Field};
use crate::ruleset::{Action, Label, Log, Match, Rule};

/// `NFTNL_UDATA_RULE_COMMENT` of libnftnl
const COMMENT: u8 = 0;

/// Reads the expressions of a rule, and its user data.
pub fn rule(expressions: &[u8], user_data: &[u8], sets: &ListedSets) -> Result<Rule, Unsupported> {
    let mut reader = RuleReader::new(sets);
    for (_, expression) in wire::attributes(expressions) {
        reader.expression(Expression::read(expression)?)?;
    }
    let mut rule = reader.finish()?;
    let comment = wire::user_data(user_data, COMMENT).and_then(wire::as_text);
    rule.label = comment.map(|comment| Label::of_comment(comment, &rule));
    Ok(rule)
}

/// What the register has.
enum Register<'a> {
    Nothing,
    Loaded(Load),
    Masked(Load, Cow<'a, [u8]>),
    /// It is at least that much.
    From(Load, Cow<'a, [u8]>),
}

/// What is known of the packets that a rule matches so far, and which match says so.
struct Known<T> {
    value: Option<T>,
    said_by: Option<usize>,
}

struct RuleReader<'a> {
    sets: &'a ListedSets,
    rule: Rule,
    /// The matches; `None` where others imply one.
    matches: Vec<Option<Match>>,
    register: Register<'a>,
    family: Known<Family>,
    protocol: Known<u8>,
    /// A limit that no log has followed yet.
    limit: Option<Rate>,
}

impl<'a> RuleReader<'a> {
    fn new(sets: &'a ListedSets) -> Self {
        Self {
            sets,
            rule: Rule::new([], Action::Continue),
            matches: Vec::new(),
            register: Register::Nothing,
            family: Known { value: None, said_by: None },
            protocol: Known { value: None, said_by: None },
            limit: None,
        }
    }

    fn finish(mut self) -> Result<Rule, Unsupported> {
        if self.limit.is_some() {
            return Err(unsupported("a limit without a log"));
        }
        self.rule.matches = self.matches.into_iter().flatten().collect();
        let is_empty = self.rule == Rule::new([], Action::Continue);
        if is_empty || !matches!(self.register, Register::Nothing) {
            return Err(unsupported("no statement, or an incomplete one"));
        }
        Ok(self.rule)
    }

    fn expression(&mut self, expression: Expression<'a>) -> Result<(), Unsupported> {
        if self.rule.action != Action::Continue {
            return Err(unsupported("a statement after the verdict"));
        }
        if self.limit.is_some() && !matches!(expression, Expression::Log(_)) {
            return Err(unsupported("a limit without a log"));
        }
        match expression {
            Expression::Load(_)
            | Expression::Compare(..)
            | Expression::Range(..)
            | Expression::Mask(_)
            | Expression::Lookup(_) => self.part_of_match(expression),
            _ if !matches!((&self.register, &expression), (Register::Nothing, _) | (_, Expression::Map(_))) => {
                Err(unsupported("a load without a comparison"))
            }
            other => self.statement(other),
        }
    }

    fn part_of_match(&mut self, expression: Expression<'a>) -> Result<(), Unsupported> {
        let register = std::mem::replace(&mut self.register, Register::Nothing);
        self.register = match (register, expression) {
            (Register::Nothing, Expression::Load(load)) => Register::Loaded(load),
            (Register::Loaded(load), Expression::Mask(mask)) => Register::Masked(load, mask),
            (Register::Loaded(load), Expression::Compare(Comparison::AtLeast, low)) => Register::From(load, low),
            (Register::Loaded(load), Expression::Compare(Comparison::Equal, value)) => {
                self.equal(load, &value)?;
                Register::Nothing
            }
            (Register::From(load, low), Expression::Compare(Comparison::AtMost, high))
            | (Register::Loaded(load), Expression::Range(low, high)) => {
                let condition = self.numbers(load, Numbers::Range(&low, &high))?;
                self.add(condition)?;
                Register::Nothing
            }
            (Register::Masked(load, mask), Expression::Compare(Comparison::NotEqual, zero))
                if zero.len() == mask.len() && zero.iter().all(|byte| *byte == 0) =>
            {
                let condition = self.flags(load, &mask)?;
                self.add(condition)?;
                Register::Nothing
            }
            (Register::Loaded(load), Expression::Lookup(set)) => {
                let condition = self.among(load, &set)?;
                self.add(condition)?;
                Register::Nothing
            }
            _ => return Err(unsupported("a comparison of an unknown kind")),
        };
        Ok(())
    }

    fn statement(&mut self, expression: Expression<'a>) -> Result<(), Unsupported> {
        let (is_logged, is_counted) = (self.rule.log.is_some(), self.rule.counter.is_some());
        match expression {
            Expression::Limit { .. } | Expression::Log(_) if is_logged || is_counted => {
                return Err(unsupported("a log after a counter or another log"));
            }
            Expression::Limit { rate, seconds, burst } => self.limit = Some(limit(rate, seconds, burst)?),
            Expression::Log(prefix) => {
                let rate = self.limit.take().ok_or_else(|| unsupported("a log without a limit"))?;
                self.rule.log = Some(Log { prefix: prefix.into_owned(), rate });
            }
            Expression::Counter(_) if is_counted => return Err(unsupported("a second counter")),
            Expression::Counter(name) => self.rule.counter = Some(name.into_owned()),
            _ if is_logged => return Err(unsupported("a log and a verdict in one rule")),
            Expression::Decide(decision) => self.rule.action = action(decision),
            Expression::Reject { kind: REJECT_KIND, code: REJECT_CODE } => {
                self.rule.action = Action::Verdict(Verdict::Reject);
            }
            Expression::Reject { .. } => {
                return Err(unsupported("a reject other than `reject with icmpx admin-prohibited`"));
            }
            Expression::Notrack => self.rule.action = Action::Notrack,
            Expression::Map(set) => self.rule.action = self.map(&set)?,
            // Cannot happen: parts of matches were handled before.
            _ => return Err(unsupported("an expression of an unknown kind")),
        }
        Ok(())
    }

    fn add(&mut self, condition: Match) -> Result<(), Unsupported> {
        if self.rule.log.is_some() || self.rule.counter.is_some() {
            return Err(unsupported("a match after a counter or a log"));
        }
        self.matches.push(Some(condition));
        Ok(())
    }

    /// The field that is loaded. The matches on its family and protocol are implied from now on.
    fn field(&mut self, load: Load) -> Result<Field, Unsupported> {
        let field = field(load, self.family.value, self.protocol.value)
            .ok_or_else(|| unsupported(format!("a match on {}", in_words(load))))?;
        let found = location(field);
        let mut implied = Vec::new();
        if found.family.is_some() {
            implied.extend(self.family.said_by.take());
        }
        if found.protocol.is_some() {
            implied.extend(self.protocol.said_by.take());
        }
        implied.into_iter().for_each(|place| self.matches[place] = None);
        Ok(field)
    }

    fn equal(&mut self, load: Load, value: &[u8]) -> Result<(), Unsupported> {
        if let (Some([source, destination]), &[a, b, c, d]) = (both_ports(load), value) {
            for (load, value) in [(source, [a, b]), (destination, [c, d])] {
                let condition = self.numbers(load, Numbers::Range(&value, &value))?;
                self.add(condition)?;
            }
            return Ok(());
        }
        let condition = self.numbers(load, Numbers::Range(value, value))?;
        match condition {
            Match::Family(family) => self.family = Known { value: Some(family), said_by: Some(self.matches.len()) },
            Match::Protocol(number) => {
                self.protocol = Known { value: Some(number), said_by: Some(self.matches.len()) };
            }
            _ => {}
        }
        self.add(condition)
    }

    fn set(&self, name: &SetName<'a>) -> (String, Option<&'a ListedSet>) {
        match name {
            SetName::Known(name) => (name.clone().into_owned(), self.sets.get(&**name)),
            // Only what is written has these.
            SetName::New(number) => (number.to_string(), None),
        }
    }

    fn among(&mut self, load: Load, name: &SetName<'a>) -> Result<Match, Unsupported> {
        let (name, set) = self.set(name);
        match set {
            Some(ListedSet::Anonymous(set)) => self.numbers(load, Numbers::Set(set)),
            Some(ListedSet::Named { family, .. }) => match self.field(load)? {
                Field::Address(of, end) if of == *family => Ok(Match::Address(end, of, name)),
                _ => Err(unsupported(format!("a comparison with the set `{name}`, which has other elements"))),
            },
            None => Err(unsupported(format!("an unknown set `{name}`"))),
        }
    }

    /// A match on a field with numbers, or with one word.
    fn numbers(&mut self, load: Load, numbers: Numbers<'_>) -> Result<Match, Unsupported> {
        let field = self.field(load)?;
        let other = || {
            let (part, name) = field.words();
            unsupported(format!("a comparison of `{part} {name}` that edgeward does not write"))
        };
        let one = numbers.one();
        Ok(match field {
            Field::Interface(end) if one == Some(&LOOPBACK_INDEX.to_ne_bytes()) => Match::Loopback(end),
            Field::InterfaceName(end) => interface(end, one.ok_or_else(other)?).ok_or_else(other)?,
            Field::Family => {
                let number = one.and_then(|value| <[u8; 1]>::try_from(value).ok());
                let family = FAMILIES.into_iter().find(|(_, known)| number == Some([*known]));
                Match::Family(family.ok_or_else(other)?.0)
            }
            Field::Protocol => match numbers.ranges::<u8>()?.as_slice() {
                [(low, high)] if low == high => Match::Protocol(*low),
                _ => return Err(other()),
            },
            Field::CtState => Match::State(numbers.states().ok_or_else(other)?),
            Field::Port(transport, end) => Match::Port(transport, end, numbers.ranges()?),
            Field::IcmpType(family) => Match::Icmp(family, numbers.ranges()?),
            Field::Interface(_) | Field::Address(..) | Field::TcpFlags => return Err(other()),
        })
    }

    fn flags(&mut self, load: Load, mask: &[u8]) -> Result<Match, Unsupported> {
        match self.field(load)? {
            Field::CtState => {
                let bits = <[u8; 4]>::try_from(mask).ok().map(u32::from_ne_bytes);
                bits.and_then(states).map(Match::State).ok_or_else(|| unsupported("an unknown conntrack state"))
            }
            Field::TcpFlags if mask == [NOT_OPENING_FLAGS] => Ok(Match::NotOpening),
            _ => Err(unsupported("a comparison of single bits")),
        }
    }

    fn map(&mut self, name: &SetName<'a>) -> Result<Action, Unsupported> {
        let Register::Loaded(load) = std::mem::replace(&mut self.register, Register::Nothing) else {
            return Err(unsupported("a verdict map without a key"));
        };
        let (name, set) = self.set(name);
        let Some(ListedSet::Anonymous(map)) = set else {
            return Err(unsupported(format!("a verdict map with the name `{name}`")));
        };
        match self.field(load)? {
            Field::Protocol => {
                let chains = map.chains::<u8>()?.into_iter();
                let one = |((low, high), chain)| (low == high).then_some((low, chain));
                let chains: Option<BTreeMap<u8, String>> = chains.map(one).collect();
                chains.map(Action::ByProtocol).ok_or_else(|| unsupported("a range of protocols"))
            }
            Field::Port(protocol, end) => Ok(Action::ByPort { protocol, end, chains: map.chains()? }),
            _ => Err(unsupported("a verdict map of another field than protocols and ports")),
        }
    }
}

/// What a field is compared with.
enum Numbers<'a> {
    Range(&'a [u8], &'a [u8]),
    Set(&'a AnonymousSet),
}

impl<'a> Numbers<'a> {
    /// The one value.
    fn one(&self) -> Option<&'a [u8]> {
        match self {
            Numbers::Range(low, high) if low == high => Some(low),
            _ => None,
        }
    }

    fn ranges<T: Key>(&self) -> Result<Ranges<T>, Unsupported> {
        match self {
            Numbers::Set(set) => set.ranges(),
            Numbers::Range(low, high) => {
                let range = T::read(low).zip(T::read(high)).filter(|(low, high)| low <= high);
                range
                    .map(|range| [range].into_iter().collect())
                    .ok_or_else(|| unsupported("a comparison with no value"))
            }
        }
    }

    /// States of conntrack, in the order in which nft lists them. A packet has one state.
    fn states(&self) -> Option<Vec<CtState>> {
        let bits = |key: &[u8]| {
            let bits = u32::from_ne_bytes(key.try_into().ok()?);
            (bits.count_ones() == 1).then_some(bits)
        };
        match self {
            Numbers::Range(..) => states(bits(self.one()?)?),
            Numbers::Set(set) => states(set.keys().ok()?.try_fold(0, |all, key| Some(all | bits(key)?))?),
        }
    }
}

fn states(bits: u32) -> Option<Vec<CtState>> {
    let known = CT_STATES.values().fold(0, |all, state| all | state_bit(state));
    (bits != 0 && bits & !known == 0)
        .then(|| CT_STATES.values().filter(|state| bits & state_bit(*state) != 0).collect())
}

/// A name with all its bytes, or the beginning of names.
fn interface(end: PacketEnd, value: &[u8]) -> Option<Match> {
    let name = str::from_utf8(value).ok()?;
    let names = match value.len() == location(Field::InterfaceName(end)).length {
        true => name.trim_end_matches('\0').to_owned(),
        false => format!("{name}*"),
    };
    Some(Match::Interface(end, names.parse().ok()?))
}

fn limit(rate: u64, seconds: u64, burst: u32) -> Result<Rate, Unsupported> {
    let count = u32::try_from(rate).ok().filter(|count| *count > 0);
    match (count.zip(unit_of_seconds(seconds)), burst == DEFAULT_BURST) {
        (Some((count, per)), true) => Ok(Rate { count, per }),
        (Some(_), false) => Err(unsupported(format!("a limit with a burst other than {DEFAULT_BURST} packets"))),
        (None, _) => Err(unsupported("a limit with an unknown rate")),
    }
}

fn action(decision: Decision<'_>) -> Action {
    match decision {
        Decision::Accept => Action::Verdict(Verdict::Accept),
        Decision::Drop => Action::Verdict(Verdict::Drop),
        Decision::Jump(chain) => Action::Jump(chain.into_owned()),
        Decision::Goto(chain) => Action::Goto(chain.into_owned()),
    }
}
