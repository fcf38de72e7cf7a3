//! How answers change a lockfile: the failure rules.
//!
//! | reply | addresses of the family |
//! |---|---|
//! | addresses | these are kept; others are dropped once they were last seen more than `linger` ago |
//! | no data, while the other family has addresses | dropped once they were last seen more than `linger` ago |
//! | no data for either family, no such name | kept for `max-stale` after the newest was last seen |
//! | anything else: no answer at all | kept for `max-stale` after the newest was last seen |
//!
//! Addresses that the rules no longer accept are dropped with every reply: the policy has changed.
//!
//! After an answer, a name has at most `max_gathered` addresses of a family: those last seen longest ago are dropped.
//!
//! A server that says "no such name" may be as broken as one that does not answer. So a name as a whole expires only by
//! `max-stale`, and then the compile fails: nothing is permitted or denied silently.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::reply::{Answer, Question, Reply};
use super::trust::{Distrust, Trust};
use super::{AnswerKind, Answered, LockfileClock, Moment, NameRecord, Resolution, Seen};
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
    /// The most addresses of a family that a name keeps. Those of the newest answer are always kept.
    pub max_gathered: usize,
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
    /// Addresses that were dropped because the name gathered too many: those last seen longest ago.
    pub dropped: BTreeSet<IpAddr>,
    /// Addresses that were not accepted.
    pub refused: BTreeMap<IpAddr, Distrust>,
    /// The number of addresses of an answer that was not accepted because it had too many.
    pub too_many: Option<usize>,
    /// When the kept addresses expire, if no server answers before.
    pub stale_at: Option<Timestamp>,
}

impl Change {
    /// Whether this run got an answer that the lockfile records.
    fn is_recorded(&self) -> bool {
        self.answered() || self.replies.values().any(|reply| matches!(reply, Reply::NoData | Reply::NxDomain))
    }

    /// Whether this run got addresses that were accepted.
    pub fn answered(&self) -> bool {
        !self.added.is_empty() || !self.kept.is_empty()
    }
}

/// What one run changed, by name.
pub type Summary = BTreeMap<DomainName, Change>;

/// Applies answers; a pure function of its arguments that does not depend on their order.
///
/// Names without a query are dropped: the policy no longer has them. If there is no answer and nothing expires, the result
/// equals `old`.
pub fn update(
    old: &Resolution,
    answers: &[(Question, Answer)],
    moment: &Moment,
    rules: &Rules,
) -> (Resolution, Summary) {
    let (known, clock) = old.at(moment, rules.linger);
    let mut by_name: BTreeMap<&DomainName, BTreeMap<Family, &Answer>> = BTreeMap::new();
    for (question, answer) in answers {
        by_name.entry(&question.name).or_default().insert(question.family, answer);
    }
    let mut names = BTreeMap::new();
    let mut summary = Summary::new();
    for (name, replies) in by_name {
        let before = known.names.get(name).cloned();
        let is_new = before.is_none();
        let (record, change) = update_name(name, before.unwrap_or_default(), &replies, clock.at, rules);
        // Without an answer there is nothing to record of a new name.
        if !is_new || record != NameRecord::default() {
            names.insert(name.clone(), record);
        }
        summary.insert(name.clone(), change);
    }
    // The clock changes with every run; without an answer this alone is no reason to write the lockfile.
    let is_unchanged = names == old.names
        && !summary.values().any(Change::is_recorded)
        && !is_doubt_recorded(old, &clock, moment, rules);
    let clock = if is_unchanged { old.clock.clone() } else { Some(clock) };
    (Resolution { clock, names }, summary)
}

/// Whether a lockfile without new answers must record that its clock is doubted, or no longer: only then can the clock be
/// confirmed. It must if addresses would be stale by that clock, or if the clock is slow.
fn is_doubt_recorded(old: &Resolution, clock: &LockfileClock, moment: &Moment, rules: &Rules) -> bool {
    let was_doubted = old.clock.as_ref().and_then(|old| old.doubted);
    let is_stale = |seen: &Seen| stale_at(seen.last, rules).is_some_and(|stale| stale < moment.time);
    let addresses = || old.names.values().flat_map(|record| record.addresses.values());
    match clock.doubted {
        None => was_doubted.is_some(),
        doubted if doubted == was_doubted => false,
        Some(_) => addresses().next().is_some() && (moment.time < clock.at || addresses().any(is_stale)),
    }
}

fn stale_at(last: Timestamp, rules: &Rules) -> Option<Timestamp> {
    last.checked_add(rules.max_stale).ok()
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
        let known = accepted_before(name, family, &before.addresses, rules, &mut change);
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
                linger(known, family, now, rules, &mut record, &mut change);
            }
            Accepted::NoData if name_answers => linger(known, family, now, rules, &mut record, &mut change),
            Accepted::NoData | Accepted::NxDomain | Accepted::Nothing => {
                let newest = known.values().map(|seen| seen.last).max();
                let stale_at = newest.and_then(|newest| stale_at(newest, rules));
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

/// The known addresses of a family. The policy may have changed since they were accepted.
fn accepted_before(
    name: &DomainName,
    family: Family,
    addresses: &BTreeMap<IpAddr, Seen>,
    rules: &Rules,
    change: &mut Change,
) -> BTreeMap<IpAddr, Seen> {
    let mut known = BTreeMap::new();
    for (address, seen) in addresses.iter().filter(|(address, _)| Family::of(**address) == family) {
        match rules.trust.distrusts(name, *address) {
            None => drop(known.insert(*address, *seen)),
            Some(why) => drop(change.refused.insert(*address, why)),
        }
    }
    known
}

/// Keeps addresses that answers no longer have until `linger` has passed, if there are not too many.
fn linger(
    known: BTreeMap<IpAddr, Seen>,
    family: Family,
    now: Timestamp,
    rules: &Rules,
    record: &mut NameRecord,
    change: &mut Change,
) {
    let answered = record.addresses.keys().filter(|address| Family::of(**address) == family).count();
    let (mut lingering, expired): (Vec<_>, Vec<_>) =
        known.into_iter().filter(|(address, _)| !record.addresses.contains_key(address)).partition(|(_, seen)| {
            SignedDuration::try_from(rules.linger).is_ok_and(|limit| now.duration_since(seen.last) <= limit)
        });
    change.expired.extend(expired.into_iter().map(|(address, _)| address));
    lingering.sort_unstable_by_key(|(address, seen)| (Reverse(seen.last), *address));
    let free = rules.max_gathered.saturating_sub(answered).min(lingering.len());
    change.dropped.extend(lingering.drain(free..).map(|(address, _)| address));
    change.lingering.extend(lingering.iter().map(|(address, _)| address));
    record.addresses.extend(lingering);
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
