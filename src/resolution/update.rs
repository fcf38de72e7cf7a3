//! How answers change what is known: the failure rules.
//!
//! | what DNS says | addresses of the family |
//! |---|---|
//! | addresses | those are seen now; others leave when they were last seen longer than `linger` ago |
//! | no data, while the other family has addresses | leave when they were last seen longer than `linger` ago |
//! | no data for either family, no such name | stay up to `max-stale` after the newest was last seen |
//! | anything else: no answer at all | stay up to `max-stale` after the newest was last seen |
//!
//! An authority that says "no such name" may be as broken as one that says nothing, so a name as a whole is retired
//! by `max-stale` alone, and then the compile fails for it: it neither opens nor closes in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::reply::{Answer, Question, Reply};
use super::trust::{Distrust, Trust};
use super::{AnswerKind, Answered, NameRecord, Resolution, Seen};
use crate::net::{DomainName, Family};

/// How long what is known outlives the answers, and how much of it is believed.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How long an address stays after answers no longer have it.
    pub linger: Duration,
    /// How long the last answers of a silent server stay.
    pub max_stale: Duration,
    /// More addresses than this in one answer are not believed.
    pub max_addresses: usize,
    /// Which addresses are believed.
    pub trust: Trust,
}

/// What one run did to a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What DNS said, by family.
    pub replies: BTreeMap<Family, Reply>,
    /// Who said it.
    pub servers: BTreeMap<Family, SocketAddr>,
    /// Addresses that are new.
    pub added: BTreeSet<IpAddr>,
    /// Addresses that the answers have, as before.
    pub kept: BTreeSet<IpAddr>,
    /// Addresses that no answer of this run has, and that stay.
    pub lingering: BTreeSet<IpAddr>,
    /// Addresses that have left.
    pub expired: BTreeSet<IpAddr>,
    /// Addresses that are not believed.
    pub refused: BTreeMap<IpAddr, Distrust>,
    /// An answer with too many addresses, not believed as a whole: how many.
    pub too_many: Option<usize>,
    /// When the addresses that stay go stale, where nothing answers until then.
    pub stale_at: Option<Timestamp>,
}

impl Change {
    /// Whether DNS gave the name addresses in this run that are believed.
    pub fn answered(&self) -> bool {
        !self.added.is_empty() || !self.kept.is_empty()
    }
}

/// What one run did, by name.
pub type Summary = BTreeMap<DomainName, Change>;

/// Brings what is known up to date; a pure function of its arguments, and of nothing in their order.
///
/// Names that were not asked for leave: the policy no longer has them.
pub fn update(
    old: &Resolution,
    answers: &[(Question, Answer)],
    now: Timestamp,
    rules: &Rules,
) -> (Resolution, Summary) {
    // Two clocks, or one that was set back: what was seen in the future is as good as seen now.
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
    let believed: BTreeMap<Family, Believed> =
        replies.iter().map(|(&family, answer)| (family, believe(name, family, answer, rules, &mut change))).collect();
    let name_answers = believed.values().any(|believed| matches!(believed, Believed::Addresses { .. }));
    for family in Family::BOTH {
        let known: BTreeMap<IpAddr, Seen> = before
            .addresses
            .iter()
            .filter(|(address, _)| Family::of(**address) == family)
            .map(|(a, s)| (*a, *s))
            .collect();
        let reply = believed.get(&family).unwrap_or(&Believed::Nothing);
        if let (Some(kind), Some(answer)) = (reply.kind(), replies.get(&family)) {
            let chain = match &answer.reply {
                Reply::Addresses { chain, .. } => chain.clone(),
                _ => Vec::new(),
            };
            record.answers.insert(family, Answered { kind, at: now, server: answer.server, chain });
        }
        match reply {
            Believed::Addresses { addresses, ttl } => {
                for address in addresses {
                    let first = known.get(address).map_or(now, |seen| seen.first);
                    let list = if known.contains_key(address) { &mut change.kept } else { &mut change.added };
                    list.insert(*address);
                    record.addresses.insert(*address, Seen { first: first.min(now), last: now, ttl: Some(*ttl) });
                }
                linger(known, now, rules.linger, &mut record, &mut change);
            }
            Believed::NoData if name_answers => linger(known, now, rules.linger, &mut record, &mut change),
            Believed::NoData | Believed::NxDomain | Believed::Nothing => {
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

/// Keeps the addresses that answers no longer have for as long as they linger.
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

/// The part of an answer that is believed.
enum Believed {
    Addresses { addresses: BTreeSet<IpAddr>, ttl: u32 },
    NoData,
    NxDomain,
    Nothing,
}

impl Believed {
    fn kind(&self) -> Option<AnswerKind> {
        match self {
            Believed::Addresses { .. } => Some(AnswerKind::Addresses),
            Believed::NoData => Some(AnswerKind::NoData),
            Believed::NxDomain => Some(AnswerKind::NxDomain),
            Believed::Nothing => None,
        }
    }
}

fn believe(name: &DomainName, family: Family, answer: &Answer, rules: &Rules, change: &mut Change) -> Believed {
    change.replies.insert(family, answer.reply.clone());
    change.servers.extend(answer.server.map(|server| (family, server)));
    match &answer.reply {
        Reply::Addresses { addresses, ttl, .. } => {
            let mut good = BTreeSet::new();
            for &address in addresses.iter().filter(|address| Family::of(**address) == family) {
                match rules.trust.distrusts(name, address) {
                    Some(why) => {
                        change.refused.insert(address, why);
                    }
                    None => {
                        good.insert(address);
                    }
                }
            }
            if good.len() > rules.max_addresses {
                change.too_many = Some(good.len());
                return Believed::Nothing;
            }
            // An answer of which nothing is believed says nothing: what was known stays.
            if good.is_empty() { Believed::Nothing } else { Believed::Addresses { addresses: good, ttl: *ttl } }
        }
        Reply::NoData => Believed::NoData,
        Reply::NxDomain => Believed::NxDomain,
        Reply::ServFail | Reply::Refused | Reply::Timeout | Reply::Truncated | Reply::Loop | Reply::Broken(_) => {
            Believed::Nothing
        }
    }
}
