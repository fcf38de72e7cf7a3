//! How answers change a lockfile: the failure rules.
//!
//! | reply | addresses of the family |
//! |---|---|
//! | addresses | these are kept; others are dropped once they were last seen more than `linger` ago |
//! | no data, while the other family has addresses | dropped once they were last seen more than `linger` ago |
//! | no data for either family, no such name | kept for `max-stale` after the newest was last seen |
//! | anything else: no answer at all | kept for `max-stale` after the newest was last seen |
//!
//! A server that says "no such name" may be as broken as one that does not answer. So a name as a whole expires only by
//! `max-stale`, and then the compile fails: nothing is permitted or denied silently.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::reply::{Answer, Question, Reply};
use super::trust::{Distrust, Trust};
use super::{AnswerKind, Answered, NameRecord, Resolution, Seen};
use crate::net::{DomainName, Family};

/// How long addresses are kept, and which are accepted.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How long an address is kept that answers no longer have.
    pub linger: Duration,
    /// How long the last answers are kept while no server answers.
    pub max_stale: Duration,
    /// An answer with more addresses is not accepted.
    pub max_addresses: usize,
    /// Which addresses are accepted.
    pub trust: Trust,
}

/// What one run changed for a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The replies, by family.
    pub replies: BTreeMap<Family, Reply>,
    /// The servers that sent them.
    pub servers: BTreeMap<Family, SocketAddr>,
    /// New addresses.
    pub added: BTreeSet<IpAddr>,
    /// Known addresses that the answers still have.
    pub kept: BTreeSet<IpAddr>,
    /// Addresses that no answer of this run has, but that are kept.
    pub lingering: BTreeSet<IpAddr>,
    /// Addresses that were dropped.
    pub expired: BTreeSet<IpAddr>,
    /// Addresses that were not accepted.
    pub refused: BTreeMap<IpAddr, Distrust>,
    /// The number of addresses of an answer that was not accepted because it had too many.
    pub too_many: Option<usize>,
    /// When the kept addresses expire, if no server answers before.
    pub stale_at: Option<Timestamp>,
}

impl Change {
    /// Whether this run got addresses that were accepted.
    pub fn answered(&self) -> bool {
        !self.added.is_empty() || !self.kept.is_empty()
    }
}

/// What one run changed, by name.
pub type Summary = BTreeMap<DomainName, Change>;

/// Applies answers; a pure function of its arguments that does not depend on their order.
///
/// Names without a query are dropped: the policy no longer has them.
pub fn update(
    old: &Resolution,
    answers: &[(Question, Answer)],
    now: Timestamp,
    rules: &Rules,
) -> (Resolution, Summary) {
    // Timestamps in the future (two clocks, or one that was set back) count as now.
    let mut by_name: BTreeMap<&DomainName, BTreeMap<Family, &Answer>> = BTreeMap::new();
    for (question, answer) in answers {
        by_name.entry(&question.name).or_default().insert(question.family, answer);
    }
    let mut names = BTreeMap::new();
    let mut summary = Summary::new();
    for (name, replies) in by_name {
        let before = old.names.get(name).cloned().unwrap_or_default();
        let (record, change) = update_name(name, before, &replies, now, rules);
        names.insert(name.clone(), record);
        summary.insert(name.clone(), change);
    }
    (Resolution { names }, summary)
}

fn update_name(
    name: &DomainName,
    before: NameRecord,
    replies: &BTreeMap<Family, &Answer>,
    now: Timestamp,
    rules: &Rules,
) -> (NameRecord, Change) {
    let mut change = Change::default();
    let mut record = NameRecord { answers: before.answers, addresses: BTreeMap::new() };
    let accepted: BTreeMap<Family, Accepted> =
        replies.iter().map(|(&family, answer)| (family, accept(name, family, answer, rules, &mut change))).collect();
    let name_answers = accepted.values().any(|accepted| matches!(accepted, Accepted::Addresses { .. }));
    for family in Family::BOTH {
        let known: BTreeMap<IpAddr, Seen> = before
            .addresses
            .iter()
            .filter(|(address, _)| Family::of(**address) == family)
            .map(|(a, s)| (*a, *s))
            .collect();
        let reply = accepted.get(&family).unwrap_or(&Accepted::Nothing);
        if let (Some(kind), Some(answer)) = (reply.kind(), replies.get(&family)) {
            let chain = match &answer.reply {
                Reply::Addresses { chain, .. } => chain.clone(),
                _ => Vec::new(),
            };
            record.answers.insert(family, Answered { kind, at: now, server: answer.server, chain });
        }
        match reply {
            Accepted::Addresses { addresses, ttl } => {
                for address in addresses {
                    let first = known.get(address).map_or(now, |seen| seen.first);
                    let list = if known.contains_key(address) { &mut change.kept } else { &mut change.added };
                    list.insert(*address);
                    record.addresses.insert(*address, Seen { first: first.min(now), last: now, ttl: Some(*ttl) });
                }
                linger(known, now, rules.linger, &mut record, &mut change);
            }
            Accepted::NoData if name_answers => linger(known, now, rules.linger, &mut record, &mut change),
            Accepted::NoData | Accepted::NxDomain | Accepted::Nothing => {
                let newest = known.values().map(|seen| seen.last).max();
                let stale_at = newest.and_then(|newest| newest.checked_add(rules.max_stale).ok());
                if stale_at.is_some_and(|stale_at| stale_at < now) {
                    change.expired.extend(known.into_keys());
                    continue;
                }
                change.stale_at = [change.stale_at, stale_at].into_iter().flatten().min();
                change.lingering.extend(known.keys());
                record.addresses.extend(known);
            }
        }
    }
    (record, change)
}

/// Keeps addresses that answers no longer have until `linger` has passed.
fn linger(
    known: BTreeMap<IpAddr, Seen>,
    now: Timestamp,
    linger: Duration,
    record: &mut NameRecord,
    change: &mut Change,
) {
    for (address, seen) in known {
        if record.addresses.contains_key(&address) {
            continue;
        }
        let age = now.duration_since(seen.last);
        if SignedDuration::try_from(linger).is_ok_and(|linger| age > linger) {
            change.expired.insert(address);
        } else {
            change.lingering.insert(address);
            record.addresses.insert(address, seen);
        }
    }
}

/// The accepted part of an answer.
enum Accepted {
    Addresses { addresses: BTreeSet<IpAddr>, ttl: u32 },
    NoData,
    NxDomain,
    Nothing,
}

impl Accepted {
    fn kind(&self) -> Option<AnswerKind> {
        match self {
            Accepted::Addresses { .. } => Some(AnswerKind::Addresses),
            Accepted::NoData => Some(AnswerKind::NoData),
            Accepted::NxDomain => Some(AnswerKind::NxDomain),
            Accepted::Nothing => None,
        }
    }
}

fn accept(name: &DomainName, family: Family, answer: &Answer, rules: &Rules, change: &mut Change) -> Accepted {
    change.replies.insert(family, answer.reply.clone());
    change.servers.extend(answer.server.map(|server| (family, server)));
    match &answer.reply {
        Reply::Addresses { addresses, ttl, .. } => {
            let mut valid = BTreeSet::new();
            for &address in addresses.iter().filter(|address| Family::of(**address) == family) {
                match rules.trust.distrusts(name, address) {
                    Some(why) => {
                        change.refused.insert(address, why);
                    }
                    None => {
                        valid.insert(address);
                    }
                }
            }
            if valid.len() > rules.max_addresses {
                change.too_many = Some(valid.len());
                return Accepted::Nothing;
            }
            // An answer without a single accepted address is no answer: known addresses are kept.
            if valid.is_empty() { Accepted::Nothing } else { Accepted::Addresses { addresses: valid, ttl: *ttl } }
        }
        Reply::NoData => Accepted::NoData,
        Reply::NxDomain => Accepted::NxDomain,
        Reply::ServFail | Reply::Refused | Reply::Timeout | Reply::Truncated | Reply::Loop | Reply::Broken(_) => {
            Accepted::Nothing
        }
    }
}
