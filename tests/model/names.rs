//! What a lockfile may and must hold: docs/resolution.md as a table of times. Independent of `edgeward::resolution`.
//!
//! Elapsed time is not always known, as after a reboot with a wrong clock. So each address has two ages: the time that has
//! passed for certain, and the time that may have passed. Between the two, an address may be there or not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The policy's `linger` and `max-stale`, in seconds.
pub const LINGER: i64 = 3600;
pub const MAX_STALE: i64 = 2 * 24 * 3600;
/// A doubted clock is believed after this time.
const HOUR: i64 = 3600;
/// Steps take real time, too, and lockfiles count whole seconds: this close to a limit, both are right.
const SLACK: i64 = 120;

/// A moment of a sequence, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// While the host was running.
    pub running: i64,
    /// With the time that it was off. Later moments have later ones.
    pub total: i64,
    pub boot: u32,
    /// When the clock was wrong last, in running time.
    pub wrong_at: Option<i64>,
}

/// An address in a lockfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The last answer with it, in total time: no more than this can have passed.
    at: i64,
    /// Its age when the lockfile was written, of which the lockfile is certain.
    age: i64,
    /// Whether it is in the lockfile for certain.
    is_certain: bool,
}

/// A name of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// Stands for all names of the catalog: they have the same answers at all times.
    Catalog,
    Mirror,
    Backup,
}

impl Name {
    pub const ALL: [Name; 3] = [Name::Catalog, Name::Mirror, Name::Backup];

    pub fn text(self) -> &'static str {
        match self {
            Name::Catalog => "cs-anony-vpc.cn-hangzhou.aliyuncs.com",
            Name::Mirror => "mirror.example.com",
            Name::Backup => "backup.example.com",
        }
    }
}

/// What DNS says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These addresses of both families; none of a family is NODATA for that family.
    Addresses(BTreeSet<IpAddr>),
    NxDomain,
    ServFail,
    Refused,
}

impl Answer {
    fn has_addresses(&self) -> bool {
        matches!(self, Answer::Addresses(addresses) if !addresses.is_empty())
    }

    /// Whether it is written to the lockfile.
    fn says_something(&self) -> bool {
        matches!(self, Answer::Addresses(_) | Answer::NxDomain)
    }
}

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub seen: BTreeMap<IpAddr, Seen>,
    /// The last answer that says something.
    newest: Option<Moment>,
}

/// A lockfile.
#[derive(Clone, Debug, Default)]
pub struct Lock {
    pub names: BTreeMap<Name, Known>,
    /// The run that wrote it.
    written: Option<Moment>,
    /// Since when, in running time, its clock may be behind: it was not written for longer than `linger` before a reboot,
    /// or the clock was wrong after it.
    doubted: Option<i64>,
}

impl Lock {
    /// As a run reads it: on the boot of the last run, the time since then has passed for certain.
    fn at(&self, now: &Moment) -> Self {
        let mut lock = self.clone();
        let Some(written) = &self.written else { return lock };
        if written.boot == now.boot {
            let passed = now.running - written.running;
            lock.names.values_mut().flat_map(|known| known.seen.values_mut()).for_each(|seen| seen.age += passed);
            let runs_evenly = |since: i64| now.wrong_at.is_none_or(|wrong| wrong < since);
            lock.doubted = self.doubted.filter(|since| now.running - since < HOUR + SLACK || !runs_evenly(*since));
        } else if now.total - written.total > LINGER - SLACK || now.wrong_at == Some(now.running) {
            lock.doubted = Some(now.running);
        }
        lock
    }

    /// Whether the addresses of a name must, and may, be said to be nearly stale.
    pub fn is_aging(&self, names: &BTreeSet<Name>, now: &Moment) -> [bool; 2] {
        let aged = self.at(now);
        let of = |age: &dyn Fn(&Seen) -> i64, limit: i64| {
            let known = names.iter().filter_map(|name| aged.names.get(name));
            known.filter_map(|known| known.seen.values().map(age).min()).any(|age| age > limit)
        };
        let limit = MAX_STALE / 4 * 3;
        [of(&|seen| seen.age, limit + SLACK), of(&|seen| now.total - seen.at, limit - SLACK)]
    }

    pub fn has(&self, name: Name) -> bool {
        self.names.get(&name).is_some_and(|known| !known.seen.is_empty())
    }
}

/// The addresses of a lockfile that was read.
pub type Addresses = BTreeMap<Name, BTreeSet<IpAddr>>;

pub fn addresses(lock: &Lock) -> Addresses {
    lock.names.iter().map(|(name, known)| (*name, known.seen.keys().copied().collect())).collect()
}

/// The newer answers to each name that either has; ours, if both are of the same time. What was received on this boot is
/// newer than what was received before it, and on one boot the order is known. Else, if the clock of one of them may be
/// behind, it is not certain which ones are newer.
pub fn newer(ours: &Lock, theirs: &Lock, now: &Moment) -> Lock {
    let is_doubted = [ours, theirs].map(|lock| lock.at(now).doubted.is_some()).contains(&true);
    // An age counts from the later of the two runs: it may be more.
    let later = ours.written.iter().chain(&theirs.written).max_by_key(|written| written.total);
    let (written, doubted) = (later.copied(), ours.doubted.or(theirs.doubted));
    let mut both = Lock { names: ours.names.clone(), written, doubted };
    for (name, known) in &theirs.names {
        match both.names.get_mut(name) {
            Some(own) if is_doubted && !is_order_known(own, known, [ours, theirs], now) => *own = either(own, known),
            Some(own) if total(known) <= total(own) => {}
            _ => drop(both.names.insert(*name, known.clone())),
        }
    }
    both
}

/// Either of two lockfiles with the same addresses: nobody knows which one.
pub fn possibly(ours: &Lock, theirs: &Lock) -> Lock {
    if addresses(ours) != addresses(theirs) {
        return ours.clone();
    }
    let later = ours.written.iter().chain(&theirs.written).max_by_key(|written| written.total);
    let (written, doubted) = (later.copied(), ours.doubted.or(theirs.doubted));
    let names = ours.names.iter().map(|(name, own)| (*name, either(own, &theirs.names[name])));
    Lock { names: names.collect(), written, doubted }
}

fn total(known: &Known) -> Option<i64> {
    known.newest.map(|newest| newest.total)
}

fn is_order_known(own: &Known, other: &Known, locks: [&Lock; 2], now: &Moment) -> bool {
    let (Some(own), Some(other)) = (own.newest, other.newest) else { return true };
    let is_of = |lock: &Lock| lock.written.is_some_and(|written| written.boot == own.boot);
    [own.boot, other.boot].contains(&now.boot) || own.boot == other.boot && locks.into_iter().all(is_of)
}

fn either(ours: &Known, theirs: &Known) -> Known {
    let mut seen: BTreeMap<IpAddr, Seen> = BTreeMap::new();
    for (address, one) in ours.seen.iter().chain(&theirs.seen) {
        let is_in_both = ours.seen.contains_key(address) && theirs.seen.contains_key(address);
        let other = seen.get(address).unwrap_or(one);
        let is_certain = is_in_both && one.is_certain && other.is_certain;
        let weaker = Seen { at: one.at.min(other.at), age: one.age.min(other.age), is_certain };
        seen.insert(*address, weaker);
    }
    let newest = if total(theirs) > total(ours) { theirs.newest } else { ours.newest };
    Known { seen, newest }
}

/// The outcome of a run that asked DNS.
pub struct Asked {
    /// What must be known afterwards, and what may be.
    must: Lock,
    may: Lock,
    /// The names without an address in this run.
    pub unanswered: BTreeSet<Name>,
}

impl Asked {
    /// Asks for names; all of them are required.
    pub fn new(known: &Lock, names: &BTreeSet<Name>, zone: &BTreeMap<Name, Answer>, now: &Moment) -> Self {
        let aged = known.at(now);
        // Only answers are written.
        let is_written = names.iter().any(|name| zone[name].says_something());
        let (written, doubted) = if is_written { (Some(*now), aged.doubted) } else { (known.written, known.doubted) };
        let empty = Lock { names: BTreeMap::new(), written, doubted };
        let mut asked = Self { must: empty.clone(), may: empty, unanswered: BTreeSet::new() };
        for &name in names {
            let answer = &zone[&name];
            let before = aged.names.get(&name).cloned().unwrap_or_default();
            let [mut must, mut may] = [false, true].map(|possibly| after(&before, answer, now, possibly));
            if !is_written {
                for (address, seen) in may.seen.iter_mut().chain(&mut must.seen) {
                    *seen = known.names[&name].seen[address];
                }
            }
            if !answer.has_addresses() {
                asked.unanswered.insert(name);
            }
            // A new name without an answer is not written.
            if known.names.contains_key(&name) || may != Known::default() {
                asked.must.names.insert(name, must);
                asked.may.names.insert(name, may);
            }
        }
        asked
    }

    /// Whether DNS gave an address to any name.
    pub fn has_answers(&self, names: &BTreeSet<Name>) -> bool {
        self.unanswered.len() < names.len()
    }

    /// The lockfile, as one that was read says it where both are right.
    ///
    /// # Errors
    /// The one that was read is wrong.
    pub fn settled(&self, read: Option<&Addresses>) -> Result<Lock, String> {
        let Some(read) = read else { return Ok(self.must.clone()) };
        let mut lock = Lock { names: BTreeMap::new(), ..self.may.clone() };
        for (name, may) in &self.may.names {
            let must = &self.must.names[name];
            let has = read.get(name).ok_or_else(|| format!("the lockfile has no {name:?}"))?;
            if let Some(missing) = must.seen.keys().find(|address| !has.contains(address)) {
                return Err(format!("the lockfile lost {missing} of {name:?}: {:?}", must.seen[missing]));
            }
            if let Some(extra) = has.iter().find(|address| !may.seen.contains_key(address)) {
                return Err(format!("the lockfile has {extra} of {name:?}, which is too old or was never seen"));
            }
            let seen = may.seen.iter().filter(|(address, _)| has.contains(address));
            let seen = seen.map(|(address, seen)| (*address, Seen { is_certain: true, ..*seen })).collect();
            lock.names.insert(*name, Known { seen, newest: may.newest });
        }
        match read.keys().find(|name| !self.may.names.contains_key(name)) {
            Some(name) => Err(format!("the lockfile has {name:?}, which the policy does not name")),
            None => Ok(lock),
        }
    }
}

/// What is known of a name after an answer: all that must be, or all that may be.
fn after(before: &Known, answer: &Answer, now: &Moment, possibly: bool) -> Known {
    let mut known = Known { seen: BTreeMap::new(), newest: before.newest };
    let keeps = |seen: Seen, limit: i64| match possibly {
        true => seen.age <= limit + SLACK,
        false => now.total - seen.at < limit - SLACK,
    };
    for is_v4 in [true, false] {
        let of_family = before.seen.iter().filter(|(address, _)| address.is_ipv4() == is_v4);
        let of_family: BTreeMap<IpAddr, Seen> = of_family
            .filter(|(_, seen)| seen.is_certain || possibly)
            .map(|(address, seen)| (*address, *seen))
            .collect();
        match answer {
            Answer::Addresses(addresses) if !addresses.is_empty() => {
                known.seen.extend(of_family.into_iter().filter(|(_, seen)| keeps(*seen, LINGER)));
                let seen = Seen { at: now.total, age: 0, is_certain: true };
                known.seen.extend(addresses.iter().filter(|it| it.is_ipv4() == is_v4).map(|it| (*it, seen)));
            }
            // No single answer empties a list: all of them stay, or none.
            _ if of_family.values().any(|seen| keeps(*seen, MAX_STALE)) => known.seen.extend(of_family),
            _ => {}
        }
    }
    if answer.says_something() {
        known.newest = Some(*now);
    }
    known
}
