//! nft JSON: what `nft -j -f` loads, in the types of the crate `nftables`.
//!
//! It uses only what the crate and nft 1.0.6 agree on; a test loads it. Where the crate has a type for a word, that
//! type is used; all other words are those of [`crate::nft`].

use std::borrow::Cow;
use std::collections::HashSet;

use nftables::expr::{
    CT, Expression, Meta, MetaKey, NamedExpression, Payload, PayloadField, Prefix as JsonPrefix, Range, SetItem,
};
use nftables::schema::{Chain as JsonChain, Counter, NfListObject, Rule as JsonRule, Set as JsonSet, SetFlag};
use nftables::schema::{NfCmd, SetType, SetTypeValue, Table};
use nftables::stmt::{self, JumpTarget, Limit, Reject, RejectType, Statement, VerdictMap};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook, RejectCode};

use serde_json::{Value, json};

use crate::net::{Bits, ChainPolicy, Family, PacketEnd, Prefix, Ranges, Verdict};
use crate::nft::{
    Attachment, CT_STATES, DEFAULT_BURST, Field, LOOPBACK, NETWORK_PROTOCOLS, NOT_OPENING, NetfilterHook, RATE_UNITS,
    TCP_FLAGS,
};
use crate::ruleset::{Action, Chain, Log, Match, Rule, Ruleset, Set, SetKind, TABLE};

const FAMILY: NfFamily = NfFamily::INet;

/// Writes a ruleset as one transaction that replaces the table.
///
/// # Errors
/// Never in practice: the values are numbers and strings.
pub fn json(ruleset: &Ruleset) -> Result<String, serde_json::Error> {
    let table = || NfListObject::Table(Table { family: FAMILY, name: TABLE.into(), handle: None });
    let mut commands = Vec::new();
    let mut push = |command: NfCmd| serde_json::to_value(command).map(|value| commands.push(value));
    push(NfCmd::Add(table()))?;
    push(NfCmd::Delete(table()))?;
    push(NfCmd::Add(table()))?;
    for name in &ruleset.counters {
        let (name, table) = (name.as_str().into(), TABLE.into());
        let counter = Counter { family: FAMILY, table, name, handle: None, packets: None, bytes: None };
        push(NfCmd::Add(NfListObject::Counter(counter)))?;
    }
    for (name, set) in &ruleset.sets {
        push(NfCmd::Add(NfListObject::Set(Box::new(set_object(name, set)))))?;
    }
    for chain in &ruleset.chains {
        push(NfCmd::Add(NfListObject::Chain(chain_object(chain))))?;
    }
    for chain in &ruleset.chains {
        for rule in &chain.rules {
            commands.push(rule_command(chain, rule)?);
        }
    }
    let mut text = serde_json::to_string_pretty(&json!({"nftables": commands}))?;
    text.push('\n');
    Ok(text)
}

fn rule_command(chain: &Chain, rule: &Rule) -> Result<Value, serde_json::Error> {
    let mut command = serde_json::to_value(NfCmd::Add(NfListObject::Rule(JsonRule {
        family: FAMILY,
        table: TABLE.into(),
        chain: chain.name.as_str().into(),
        expr: rule_statements(rule).into(),
        comment: rule.label.as_ref().map(|label| Cow::Borrowed(label.comment())),
        ..JsonRule::default()
    })))?;
    // The crate writes this statement as a string, and nft reads it as an object only.
    if let (Action::Notrack, Some(Value::Array(statements))) = (&rule.action, command.pointer_mut("/add/rule/expr")) {
        statements.push(json!({"notrack": null}));
    }
    Ok(command)
}

fn set_object<'a>(name: &'a str, set: &Set) -> JsonSet<'a> {
    let elem: Vec<Expression> = set.kind.elements(&set.elements).map(element).collect();
    JsonSet {
        family: FAMILY,
        table: TABLE.into(),
        name: name.into(),
        set_type: SetTypeValue::Single(match set.family {
            Family::V4 => SetType::Ipv4Addr,
            Family::V6 => SetType::Ipv6Addr,
        }),
        flags: (set.kind == SetKind::Prefixes).then(|| HashSet::from([SetFlag::Interval])),
        elem: (!elem.is_empty()).then(|| elem.into()),
        ..JsonSet::default()
    }
}

fn element(prefix: Prefix) -> Expression<'static> {
    let net = prefix.net();
    let address = Expression::String(net.network().to_string().into());
    if net.prefix_len() == net.max_prefix_len() {
        return address;
    }
    let prefix = JsonPrefix { addr: Box::new(address), len: net.prefix_len().into() };
    Expression::Named(NamedExpression::Prefix(prefix))
}

fn chain_object(chain: &Chain) -> JsonChain<'_> {
    let attachment = chain.base.map(|base| Attachment::of(base.hook));
    JsonChain {
        family: FAMILY,
        table: TABLE.into(),
        name: chain.name.as_str().into(),
        _type: attachment.map(|_| NfChainType::Filter),
        hook: attachment.map(|Attachment { hook, .. }| match hook {
            NetfilterHook::Prerouting => NfHook::Prerouting,
            NetfilterHook::Input => NfHook::Input,
            NetfilterHook::Forward => NfHook::Forward,
            NetfilterHook::Output => NfHook::Output,
        }),
        prio: attachment.map(|Attachment { priority, .. }| priority.number()),
        policy: chain.base.map(|base| match base.policy {
            ChainPolicy::Accept => NfChainPolicy::Accept,
            ChainPolicy::Drop => NfChainPolicy::Drop,
        }),
        ..JsonChain::default()
    }
}

fn rule_statements(rule: &Rule) -> Vec<Statement<'_>> {
    let mut statements: Vec<Statement> = rule.matches.iter().map(match_statement).collect();
    if let Some(Log { prefix, rate }) = &rule.log {
        statements.push(Statement::Limit(Limit {
            rate: rate.count,
            rate_unit: None,
            per: Some(RATE_UNITS.word(rate.per).into()),
            burst: Some(DEFAULT_BURST),
            burst_unit: None,
            inv: None,
        }));
        let mut log = stmt::Log::new(None);
        log.prefix = Some(prefix.as_str().into());
        statements.push(Statement::Log(Some(log)));
    }
    statements.extend(rule.counter.iter().map(|name| Statement::Counter(stmt::Counter::Named(name.as_str().into()))));
    statements.extend(action_statement(&rule.action));
    statements
}

/// What a match or a verdict map looks at.
fn field(field: Field) -> Expression<'static> {
    let (part, name) = field.words();
    let meta = |key| NamedExpression::Meta(Meta { key });
    Expression::Named(match field {
        Field::Interface(PacketEnd::Source) => meta(MetaKey::Iif),
        Field::Interface(PacketEnd::Destination) => meta(MetaKey::Oif),
        Field::InterfaceName(PacketEnd::Source) => meta(MetaKey::Iifname),
        Field::InterfaceName(PacketEnd::Destination) => meta(MetaKey::Oifname),
        Field::Family => meta(MetaKey::Nfproto),
        Field::Protocol => meta(MetaKey::L4proto),
        Field::CtState => NamedExpression::CT(CT { key: name.into(), family: None, dir: None }),
        Field::Address(..) | Field::Port(..) | Field::IcmpType(_) | Field::TcpFlags => {
            let field = PayloadField { protocol: part.into(), field: name.into() };
            NamedExpression::Payload(Payload::PayloadField(field))
        }
    })
}

fn text(text: &str) -> Expression<'_> {
    Expression::String(text.into())
}

fn match_statement(condition: &Match) -> Statement<'_> {
    let equal = |left, right| Statement::Match(stmt::Match { left: field(left), right, op: stmt::Operator::EQ });
    let any_of = |left, words: Vec<&'static str>| {
        let right = Expression::List(words.into_iter().map(text).collect());
        Statement::Match(stmt::Match { left: field(left), right, op: stmt::Operator::IN })
    };
    match condition {
        Match::Loopback(end) => equal(Field::Interface(*end), text(LOOPBACK)),
        Match::Interface(end, names) => equal(Field::InterfaceName(*end), Expression::String(names.to_string().into())),
        Match::State(states) => any_of(Field::CtState, states.iter().map(|state| CT_STATES.word(*state)).collect()),
        Match::Family(family) => equal(Field::Family, text(NETWORK_PROTOCOLS.word(*family))),
        Match::Address(end, family, set) => {
            equal(Field::Address(*family, *end), Expression::String(format!("@{set}").into()))
        }
        Match::Port(transport, end, ports) => equal(Field::Port(*transport, *end), numbers(ports)),
        Match::Icmp(family, types) => equal(Field::IcmpType(*family), numbers(types)),
        Match::Protocol(number) => equal(Field::Protocol, Expression::Number((*number).into())),
        Match::NotOpening => any_of(Field::TcpFlags, NOT_OPENING.map(|flag| TCP_FLAGS.word(flag)).into()),
    }
}

fn range<T: Bits + Into<u32>>((low, high): (T, T)) -> Expression<'static> {
    if low == high {
        return Expression::Number(low.into());
    }
    Expression::Range(Box::new(Range { range: [Expression::Number(low.into()), Expression::Number(high.into())] }))
}

/// One number or range as it is, several as an anonymous set.
fn numbers<T: Bits + Into<u32>>(set: &Ranges<T>) -> Expression<'static> {
    match set.as_slice() {
        [only] => range(*only),
        all => {
            let items = all.iter().copied().map(|item| SetItem::Element(range(item))).collect();
            Expression::Named(NamedExpression::Set(items))
        }
    }
}

fn action_statement(action: &Action) -> Option<Statement<'_>> {
    let target = |chain: &str| JumpTarget { target: chain.to_owned().into() };
    let jump = |key, chain: &String| SetItem::MappingStatement(key, Statement::Jump(target(chain)));
    let vmap =
        |key, items| Statement::VerdictMap(VerdictMap { key, data: Expression::Named(NamedExpression::Set(items)) });
    Some(match action {
        Action::Continue | Action::Notrack => return None,
        Action::Verdict(Verdict::Accept) => Statement::Accept(None),
        Action::Verdict(Verdict::Drop) => Statement::Drop(None),
        Action::Verdict(Verdict::Reject) => {
            Statement::Reject(Some(Reject::new(Some(RejectType::ICMPX), Some(RejectCode::AdminProhibited))))
        }
        Action::Jump(chain) => Statement::Jump(target(chain)),
        Action::Goto(chain) => Statement::Goto(target(chain)),
        Action::ByProtocol(chains) => {
            let items = chains.iter().map(|(number, chain)| jump(Expression::Number((*number).into()), chain));
            vmap(field(Field::Protocol), items.collect())
        }
        Action::ByPort { protocol, end, chains } => {
            let items = chains.iter().map(|(ports, chain)| jump(range(*ports), chain));
            vmap(field(Field::Port(*protocol, *end)), items.collect())
        }
    })
}
