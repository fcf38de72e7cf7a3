//! Replacing a ruleset in a kernel while packets pass: fill, switch, sweep.
//!
//! **Fill** creates new sets and chains, which no packet reaches yet. **Switch** is one transaction that sends packets
//! there: it puts one `goto` into each base chain, and is the only one that changes verdicts. **Sweep** deletes what no
//! packet reaches any more. No base chain is deleted. Of sets that rules match, only elements are changed: of sets of
//! hosts, and single ones of large sets of prefixes.
//!
//! Under a flood each of these matters. If a table or a base chain is replaced, packets are lost or let through. If a rule
//! with a verdict map is deleted, its map is empty at once (kernel, `nft_map_deactivate`), while packets still pass it.

mod change;

use std::collections::{BTreeMap, BTreeSet};

use crate::net::{ChainPolicy, Hook, Prefix, PrefixSet};
use crate::ruleset::{Action, Base, Chain, Match, Rule, Ruleset, Set, SetKind};

pub use change::{Change, Misfit, carry_out};

/// A table as the kernel has it. Sets and chains have live names: the plain name of the ruleset, for chains and where a
/// name was taken with a number, as in `input_tcp.12`. Base chains have plain names. Their rules are in a numbered chain of
/// the same name, to which each has one `goto`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live(pub Ruleset);

/// The plain name of a live one.
pub fn plain_name(live: &str) -> &str {
    parts(live).0
}

/// The plain name and the number of a live name.
fn parts(live: &str) -> (&str, Option<u64>) {
    let numbered = live.rsplit_once('.').and_then(|(plain, number)| Some((plain, number.parse().ok()?)));
    numbered.map_or((live, None), |(plain, number)| (plain, Some(number)))
}

/// The steps from one ruleset to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// New sets, counters, chains with their rules and, if there is none, the table. Changes no verdict.
    pub fill: Vec<Change>,
    /// Elements of the new sets, by live name.
    pub elements: BTreeMap<String, Set>,
    /// Elements to add to and delete from live sets, if the rules stay. One transaction.
    pub updates: BTreeMap<String, Update>,
    /// The one transaction that changes rules. Empty if the rules stay.
    pub switch: Vec<Change>,
    /// Deletes what is not needed any more. Changes no verdict.
    pub sweep: Vec<Change>,
}

/// What changes in a live set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The set as it is.
    pub old: Set,
    /// The set as it should be.
    pub new: Set,
}

impl Plan {
    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the treatment of packets may change.
    pub fn changes_verdicts(&self) -> bool {
        !self.switch.is_empty() || !self.updates.is_empty()
    }
}

impl Live {
    /// What the table means: the ruleset with plain names, without what no packet reaches, and without base chains that
    /// were emptied because they cannot be deleted.
    pub fn meaning(&self) -> Ruleset {
        let mut ruleset = self.reached();
        let bodies: Vec<(String, String)> = ruleset.chains.iter().filter_map(body).collect();
        for (base, body) in &bodies {
            let rules = ruleset.chain(body).map(|chain| chain.rules.clone()).unwrap_or_default();
            if let Some(chain) = ruleset.chains.iter_mut().find(|chain| chain.name == *base) {
                // Rules of others before the `goto` still come first.
                chain.rules.pop();
                chain.rules.extend(rules);
            }
        }
        ruleset.chains.retain(|chain| !bodies.iter().any(|(_, body)| *body == chain.name) && !is_emptied(chain));
        let sets = plain_names(ruleset.sets.keys());
        let chains = plain_names(ruleset.chains.iter().map(|chain| &chain.name));
        let plain = |names: &BTreeMap<String, String>, name: &str| names.get(name).map_or(name, |name| name).to_owned();
        ruleset.sets = ruleset.sets.into_iter().map(|(name, set)| (plain(&sets, &name), set)).collect();
        rename(&mut ruleset, |name| plain(&sets, name), |name| plain(&chains, name));
        sort(&mut ruleset);
        ruleset.without_notes()
    }

    /// The table without chains, sets and counters that no packet reaches.
    fn reached(&self) -> Ruleset {
        let mut ruleset = self.0.clone();
        let mut reached: BTreeSet<String> = BTreeSet::new();
        let bases = self.0.chains.iter().filter(|chain| chain.base.is_some());
        let mut waiting: Vec<&str> = bases.map(|chain| chain.name.as_str()).collect();
        while let Some(name) = waiting.pop() {
            if reached.insert(name.to_owned())
                && let Some(chain) = self.0.chain(name)
            {
                waiting.extend(chain.rules.iter().flat_map(|rule| targets(&rule.action)));
            }
        }
        ruleset.chains.retain(|chain| reached.contains(&chain.name));
        let used: BTreeSet<String> = ruleset.used_sets().into_iter().map(str::to_owned).collect();
        ruleset.sets.retain(|name, _| used.contains(name));
        ruleset.counters = ruleset.used_counters();
        ruleset
    }

    /// The steps to a ruleset; `exists` says whether the kernel has the table. New chains, and new sets whose name is
    /// taken, get a number that the table does not use.
    pub fn plan(&self, exists: bool, target: &Ruleset) -> Plan {
        self.plan_with(exists, target, adds_few)
    }

    /// As [`Live::plan`], but sets of prefixes that differ are replaced, not updated: another program may have added the
    /// same addresses as other elements.
    pub fn plan_replacing_sets(&self, exists: bool, target: &Ruleset) -> Plan {
        self.plan_with(exists, target, |_, _| false)
    }

    fn plan_with(&self, exists: bool, target: &Ruleset, adds_few: fn(&PrefixSet, &PrefixSet) -> bool) -> Plan {
        let (now, target) = (self.meaning(), target.clone().without_notes());
        let same_rules = now.chains == sorted_like(&target, &now).chains && now.counters == target.counters;
        let same_sets = || {
            let pairs = || now.sets.values().zip(target.sets.values());
            now.sets.keys().eq(target.sets.keys())
                && pairs().all(|(old, new)| old == new || is_updated(old, new, adds_few))
        };
        match exists && same_rules && same_sets() {
            true => self.plan_updates(&now, &target),
            false => self.plan_rules(exists, &now, &target),
        }
    }

    /// The live names of the sets that packets reach, by plain name. Rules match every set of the meaning, so each has
    /// one.
    fn live_names(&self) -> BTreeMap<String, String> {
        plain_names(self.reached().sets.keys()).into_iter().map(|(live, plain)| (plain, live)).collect()
    }

    /// The steps if rules and sets stay, and only elements change.
    fn plan_updates(&self, now: &Ruleset, target: &Ruleset) -> Plan {
        let names = self.live_names();
        let pairs = now.sets.iter().zip(target.sets.values()).filter(|((_, old), new)| old != new);
        let updates =
            pairs.map(|((name, old), new)| (names[name].clone(), Update { old: old.clone(), new: new.clone() }));
        Plan { updates: updates.collect(), sweep: self.sweep(&self.reached()), ..Plan::default() }
    }

    /// The steps to other rules.
    fn plan_rules(&self, exists: bool, now: &Ruleset, target: &Ruleset) -> Plan {
        let taken = self.0.sets.keys().chain(self.0.chains.iter().map(|chain| &chain.name));
        let number = taken.filter_map(|name| parts(name).1).max().map_or(1, |last| last.saturating_add(1));
        let mut plan = Plan::default();
        if !exists {
            plan.fill.push(Change::AddTable);
        }
        plan.fill.extend(target.counters.difference(&self.0.counters).cloned().map(Change::AddCounter));
        let names = self.fill_sets(now, target, number, &mut plan);
        let mut live = target.clone();
        let live_set = |name: &str| names.get(name).cloned().unwrap_or_else(|| name.to_owned());
        rename(&mut live, live_set, |name| format!("{name}.{number}"));
        live.sets = names.iter().map(|(plain, name)| (name.clone(), target.sets[plain].clone())).collect();
        // The rules of base chains go into numbered chains, too.
        let take_base = |chain: &mut Chain| Some((plain_name(&chain.name).to_owned(), chain.base.take()?));
        let bases: Vec<(String, Base)> = live.chains.iter_mut().filter_map(take_base).collect();
        plan.fill.extend(live.chains.iter().map(|chain| Change::AddChain { name: chain.name.clone(), base: None }));
        plan.fill.extend(live.chains.iter().flat_map(|chain| {
            let rules = chain.rules.iter().cloned();
            rules.map(|rule| Change::AddRule { chain: chain.name.clone(), rule: Box::new(rule) })
        }));
        plan.switch = self.switch(&bases, number);
        live.chains.extend(bases.iter().map(|(name, base)| Chain {
            name: name.clone(),
            base: Some(*base),
            rules: vec![to_body(name, number)],
        }));
        let after = self.after_switch(live);
        plan.sweep = after.sweep(&after.reached());
        plan
    }

    /// Adds the sets that have to be created to a plan, and returns the live names of all. A live set that is as it
    /// should be is kept.
    fn fill_sets(&self, now: &Ruleset, target: &Ruleset, number: u64, plan: &mut Plan) -> BTreeMap<String, String> {
        let kept = self.live_names();
        let mut names = BTreeMap::new();
        for (name, set) in &target.sets {
            let live = match kept.get(name).filter(|_| now.sets.get(name) == Some(set)) {
                Some(live) => live.clone(),
                None => {
                    let is_taken = self.0.sets.contains_key(name);
                    let live = if is_taken { format!("{name}.{number}") } else { name.clone() };
                    plan.fill.push(Change::AddSet { name: live.clone(), family: set.family, kind: set.kind });
                    plan.elements.insert(live.clone(), set.clone());
                    live
                }
            };
            names.insert(name.clone(), live);
        }
        names
    }

    /// The table with new sets and chains, after the switch to them.
    fn after_switch(&self, new: Ruleset) -> Self {
        let mut after = self.clone();
        after.0.chains.retain(|chain| new.chain(&chain.name).is_none());
        let emptied = after.0.chains.iter_mut().filter(|chain| chain.base.is_some());
        emptied.for_each(|chain| chain.rules.clear());
        after.0.chains.extend(new.chains);
        after.0.sets.extend(new.sets);
        after.0.counters.extend(new.counters);
        after
    }

    /// Sends packets to the new chains. Base chains that are not needed stay, empty.
    fn switch(&self, bases: &[(String, Base)], number: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, base) in bases {
            changes.push(Change::AddChain { name: name.clone(), base: Some(*base) });
        }
        let old = || self.0.chains.iter().filter_map(|chain| Some((chain, chain.base?)));
        for (chain, base) in old().filter(|(chain, _)| !bases.iter().any(|(name, _)| *name == chain.name)) {
            let base = Base { policy: ChainPolicy::Accept, ..base };
            changes.push(Change::AddChain { name: chain.name.clone(), base: Some(base) });
        }
        changes.extend(old().map(|(chain, _)| Change::FlushChain(chain.name.clone())));
        changes.extend(bases.iter().map(|(name, _)| {
            let rule = Box::new(to_body(name, number));
            Change::AddRule { chain: name.clone(), rule }
        }));
        changes
    }

    /// Deletes the chains, sets and counters that no packet reaches.
    fn sweep(&self, reached: &Ruleset) -> Vec<Change> {
        let unreached = || self.0.chains.iter().filter(|chain| reached.chain(&chain.name).is_none());
        let filled = unreached().filter(|chain| !chain.rules.is_empty());
        let flushed = filled.map(|chain| Change::FlushChain(chain.name.clone()));
        let chains = unreached().map(|chain| Change::DeleteChain(chain.name.clone()));
        let sets = self.0.sets.keys().filter(|name| !reached.sets.contains_key(*name)).cloned().map(Change::DeleteSet);
        let counters = self.0.counters.difference(&reached.counters).cloned().map(Change::DeleteCounter);
        flushed.chain(chains).chain(sets).chain(counters).collect()
    }
}

/// The most elements that are added to a large set. The kernel (Linux 6.18) searches all elements for the place of each;
/// in the time of some twenty it fills a new set.
const MAX_ADDED: usize = 16;

/// The most ranges of a large set that are deleted, and that are added.
const MAX_CHANGED: usize = 1024;

/// Whether a live set is updated in place, not replaced.
///
/// A hash always is. A set of intervals is if filling a new one takes seconds, and no added element shares an address with
/// a deleted one: before January 2026, the kernel's lookup of an address may return the interval that is not yet active
/// and miss the one that is still valid (commit 7e43e0a1141d).
fn is_updated(old: &Set, new: &Set, adds_few: fn(&PrefixSet, &PrefixSet) -> bool) -> bool {
    match (old.kind, new.kind) {
        _ if old.family != new.family => false,
        (SetKind::Hosts, SetKind::Hosts) => true,
        (SetKind::Prefixes, SetKind::Prefixes) => old.is_large() && adds_few(&old.elements, &new.elements),
        (SetKind::Prefixes | SetKind::Hosts, _) => false,
    }
}

/// Whether few elements are added to a set of intervals, and none that overlaps a deleted one.
fn adds_few(old: &PrefixSet, new: &PrefixSet) -> bool {
    let (deleted, added) = (old.changed_ranges(new), new.changed_ranges(old));
    if deleted.range_count().max(added.range_count()) > MAX_CHANGED {
        return false;
    }
    // Some elements of a range that has grown or shrunk stay.
    let [deleted, added] = [deleted, added].map(|set| set.prefixes().collect::<BTreeSet<Prefix>>());
    let really_deleted: PrefixSet = deleted.difference(&added).copied().collect();
    let really_added: Vec<Prefix> = added.difference(&deleted).copied().collect();
    really_added.len() <= MAX_ADDED && !really_deleted.overlaps(&really_added.into_iter().collect())
}

/// The one rule of a base chain: a `goto` to the chain that has its rules.
fn to_body(base: &str, number: u64) -> Rule {
    Rule::new([], Action::Goto(format!("{base}.{number}")))
}

/// The plain names of live ones. A name that two would share is not changed.
fn plain_names<'a>(live: impl Iterator<Item = &'a String> + Clone) -> BTreeMap<String, String> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    live.clone().for_each(|name| *count.entry(plain_name(name)).or_default() += 1);
    live.map(|name| {
        let plain = plain_name(name);
        (name.clone(), if count[plain] == 1 { plain.to_owned() } else { name.clone() })
    })
    .collect()
}

/// A base chain and the chain that has its rules, if it ends with a `goto` there.
fn body(chain: &Chain) -> Option<(String, String)> {
    let rule = chain.rules.last()?;
    let Action::Goto(target) = &rule.action else { return None };
    let is_plain = rule.matches.is_empty() && rule.log.is_none() && rule.counter.is_none();
    let is_its = chain.base.is_some() && parts(target).1.is_some() && plain_name(target) == chain.name;
    (is_plain && is_its).then(|| (chain.name.clone(), target.clone()))
}

/// A base chain that has been emptied decides nothing.
fn is_emptied(chain: &Chain) -> bool {
    chain.rules.is_empty() && chain.base.is_some_and(|base| base.policy == ChainPolicy::Accept)
}

/// A ruleset with its chains in the order of another one. The order of chains has no meaning.
fn sorted_like(ruleset: &Ruleset, other: &Ruleset) -> Ruleset {
    let place = |name: &str| other.chains.iter().position(|chain| chain.name == name);
    let mut sorted = ruleset.clone();
    sorted.chains.sort_by_key(|chain| place(&chain.name).unwrap_or(usize::MAX));
    sorted
}

/// Puts every chain after those that it leads to, in an order that does not depend on which was created first.
fn sort(ruleset: &mut Ruleset) {
    const ORDER: [Hook; 5] = [Hook::RawPrerouting, Hook::Input, Hook::RawOutput, Hook::Output, Hook::Forward];
    fn visit<'a>(ruleset: &'a Ruleset, chain: &'a Chain, seen: &mut BTreeSet<&'a str>, sorted: &mut Vec<Chain>) {
        if seen.insert(&chain.name) {
            for target in chain.rules.iter().flat_map(|rule| targets(&rule.action)) {
                if let Some(chain) = ruleset.chain(target) {
                    visit(ruleset, chain, seen, sorted);
                }
            }
            sorted.push(chain.clone());
        }
    }
    let (mut seen, mut sorted) = (BTreeSet::new(), Vec::new());
    for hook in ORDER {
        let bases = ruleset.chains.iter().filter(|chain| chain.base.is_some_and(|base| base.hook == hook));
        bases.for_each(|chain| visit(ruleset, chain, &mut seen, &mut sorted));
    }
    ruleset.chains = sorted;
}

/// Renames chains, and the sets and chains that rules refer to.
fn rename(ruleset: &mut Ruleset, set: impl Fn(&str) -> String, chain: impl Fn(&str) -> String) {
    for one in &mut ruleset.chains {
        one.name = chain(&one.name);
        for rule in &mut one.rules {
            for condition in &mut rule.matches {
                if let Match::Address(_, _, name) = condition {
                    *name = set(name);
                }
            }
            match &mut rule.action {
                Action::Jump(target) | Action::Goto(target) => *target = chain(target),
                Action::ByProtocol(targets) => targets.values_mut().for_each(|target| *target = chain(target)),
                Action::ByPort { chains, .. } => chains.iter_mut().for_each(|(_, target)| *target = chain(target)),
                Action::Continue | Action::Verdict(_) | Action::Notrack => {}
            }
        }
    }
}

/// The chains that an action leads to.
fn targets(action: &Action) -> Vec<&str> {
    match action {
        Action::Jump(target) | Action::Goto(target) => vec![target],
        Action::ByProtocol(chains) => chains.values().map(String::as_str).collect(),
        Action::ByPort { chains, .. } => chains.iter().map(|(_, target)| target.as_str()).collect(),
        Action::Continue | Action::Verdict(_) | Action::Notrack => Vec::new(),
    }
}
