//! A ruleset in the place of another one, in a kernel that judges packets all the while: fill, switch, sweep.
//!
//! New sets and chains are made and filled while no packet meets them. One transaction then sends packets there; it is
//! the only one that changes verdicts, and all it puts into a base chain is one `goto`. What no packet meets any more is
//! swept away in a third. No base chain is deleted, and no set is changed that rules look into, but for the elements of
//! sets of hosts, and single ones of large sets of prefixes. Under a flood each of these matters: where a table or a base
//! chain is replaced, packets are lost and let through, and where a rule with a verdict map is deleted, its map is empty
//! (kernel, `nft_map_deactivate`) while packets are still on their way through it.

mod change;

use std::collections::{BTreeMap, BTreeSet};

use crate::net::{ChainPolicy, Hook, Prefix, PrefixSet};
use crate::ruleset::{Action, Base, Chain, Match, Rule, Ruleset, Set, SetKind};

pub use change::{Change, Misfit, carry_out};

/// A table as the kernel has it. Its sets have live names: the name that rulesets know, and where that was taken a
/// number behind a dot. So have its chains, those aside where packets come in: these lead to the chain of the same plain
/// name, which has their rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live(pub Ruleset);

/// The name that rulesets know a live set by.
pub fn plain_name(live: &str) -> &str {
    parts(live).0
}

/// The plain name, and the number behind it.
fn parts(live: &str) -> (&str, Option<u64>) {
    let numbered = live.rsplit_once('.').and_then(|(plain, number)| Some((plain, number.parse().ok()?)));
    numbered.map_or((live, None), |(plain, number)| (plain, Some(number)))
}

/// What brings a table from one ruleset to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// New sets, counters, chains with their rules and, where there is none, the table. Changes no verdict.
    pub fill: Vec<Change>,
    /// Elements of the new sets, by live name.
    pub elements: BTreeMap<String, Set>,
    /// Elements of live sets that come and go: what is left where the rules stay. One transaction.
    pub updates: BTreeMap<String, Update>,
    /// The one transaction that changes rules. Empty where the rules stay.
    pub switch: Vec<Change>,
    /// What is not needed any more. Changes no verdict.
    pub sweep: Vec<Change>,
}

/// What changes in a live set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The set as it is.
    pub old: Set,
    /// The set as it is to be.
    pub new: Set,
}

impl Plan {
    /// Whether the kernel is as it should be.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether anything changes that packets could notice.
    pub fn changes_verdicts(&self) -> bool {
        !self.switch.is_empty() || !self.updates.is_empty()
    }
}

impl Live {
    /// What the table means: the ruleset under the names that rulesets know, without what no packet meets and without
    /// base chains that have been emptied because they could not be deleted.
    pub fn meaning(&self) -> Ruleset {
        let mut ruleset = self.reached();
        let bodies: Vec<(String, String)> = ruleset.chains.iter().filter_map(body).collect();
        for (base, body) in &bodies {
            let rules = ruleset.chain(body).map(|chain| chain.rules.clone()).unwrap_or_default();
            if let Some(chain) = ruleset.chains.iter_mut().find(|chain| chain.name == *base) {
                // What somebody has put before the `goto` still comes first.
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

    /// The table without chains, sets and counters that no packet meets.
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

    /// The steps to a ruleset. What is made gets a number that nothing of the table has: chains always, sets where their
    /// name is taken.
    pub fn plan(&self, exists: bool, wanted: &Ruleset) -> Plan {
        self.plan_with(exists, wanted, few_come)
    }

    /// As [`Live::plan`], without a doubt about the elements that a set of prefixes has in the kernel: it is made anew
    /// where it is not what is wanted. Somebody else may have put the same addresses there as other elements.
    pub fn plan_anew(&self, exists: bool, wanted: &Ruleset) -> Plan {
        self.plan_with(exists, wanted, |_, _| false)
    }

    fn plan_with(&self, exists: bool, wanted: &Ruleset, few_come: fn(&PrefixSet, &PrefixSet) -> bool) -> Plan {
        let now = self.meaning();
        let wanted = wanted.clone().without_notes();
        let same_rules = now.chains == sorted_like(&wanted, &now).chains && now.counters == wanted.counters;
        let changed_only_elements = || {
            let names = |ruleset: &Ruleset| ruleset.sets.keys().cloned().collect::<Vec<_>>();
            names(&now) == names(&wanted)
                && now
                    .sets
                    .values()
                    .zip(wanted.sets.values())
                    .all(|(old, new)| old == new || is_updated(old, new, few_come))
        };
        // Every set of the meaning is one that rules look into, so it has a live name; and both have the same sets here.
        let reached = self.reached();
        let plain = plain_names(reached.sets.keys());
        let live_names: BTreeMap<&str, &str> =
            plain.iter().map(|(live, plain)| (plain.as_str(), live.as_str())).collect();
        if exists && same_rules && changed_only_elements() {
            let updates = now.sets.iter().filter(|(name, old)| wanted.sets[*name] != **old).map(|(name, old)| {
                (live_names[name.as_str()].to_owned(), Update { old: old.clone(), new: wanted.sets[name].clone() })
            });
            return Plan { updates: updates.collect(), sweep: self.sweep(&reached), ..Plan::default() };
        }
        let taken = self.0.sets.keys().chain(self.0.chains.iter().map(|chain| &chain.name));
        let number = taken.filter_map(|name| parts(name).1).max().map_or(1, |last| last.saturating_add(1));
        // A live set is kept where it is what is wanted; all others are made anew.
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        let mut plan = Plan::default();
        if !exists {
            plan.fill.push(Change::AddTable);
        }
        plan.fill.extend(wanted.counters.difference(&self.0.counters).cloned().map(Change::AddCounter));
        for (name, set) in &wanted.sets {
            if let Some(live) = live_names.get(name.as_str()).filter(|_| now.sets.get(name) == Some(set)) {
                names.insert(name.clone(), (*live).to_owned());
                continue;
            }
            let live = match self.0.sets.contains_key(name) {
                true => format!("{name}.{number}"),
                false => name.clone(),
            };
            plan.fill.push(Change::AddSet { name: live.clone(), family: set.family, kind: set.kind });
            plan.elements.insert(live.clone(), set.clone());
            names.insert(name.clone(), live);
        }
        let mut target = wanted.clone();
        let live_set = |name: &str| names.get(name).cloned().unwrap_or_else(|| name.to_owned());
        rename(&mut target, live_set, |name| format!("{name}.{number}"));
        target.sets = names.iter().map(|(plain, live)| (live.clone(), wanted.sets[plain].clone())).collect();
        // The rules of base chains stand in chains that these lead to.
        let bases =
            target.chains.iter_mut().filter_map(|chain| Some((plain_name(&chain.name).to_owned(), chain.base.take()?)));
        let bases: Vec<(String, Base)> = bases.collect();
        plan.fill.extend(target.chains.iter().map(|chain| Change::AddChain { name: chain.name.clone(), base: None }));
        plan.fill.extend(target.chains.iter().flat_map(|chain| {
            let rules = chain.rules.iter().cloned();
            rules.map(|rule| Change::AddRule { chain: chain.name.clone(), rule: Box::new(rule) })
        }));
        plan.switch = self.switch(&bases, number);
        // What is there once the rules are switched, and not wanted.
        target.chains.extend(bases.iter().map(|(name, base)| Chain {
            name: name.clone(),
            base: Some(*base),
            rules: vec![to_body(name, number)],
        }));
        let mut after = self.clone();
        after.0.chains.retain(|chain| !target.chains.iter().any(|new| new.name == chain.name));
        let emptied = after.0.chains.iter_mut().filter(|chain| chain.base.is_some());
        emptied.for_each(|chain| chain.rules.clear());
        after.0.chains.extend(target.chains.clone());
        after.0.sets.extend(target.sets.clone());
        after.0.counters.extend(target.counters.iter().cloned());
        plan.sweep = after.sweep(&after.reached());
        plan
    }

    /// Packets are sent to the new chains; base chains that are not wanted stay, empty.
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

    /// Deletes the chains, sets and counters that no packet meets.
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

/// Most elements that are put between those of a large set: the kernel (Linux 6.18) looks for the place of each among
/// all of them, and has filled a new set by the time it has found some twenty.
const MOST_PUT_IN: usize = 16;

/// Most ranges of a large set that go, and that come.
const MOST_CHANGED: usize = 1024;

/// Whether a live set is updated, so that no other need take its place.
///
/// A hash always is. Intervals only where there are so many that to fill them all takes seconds, and where nothing that
/// comes shares an address with what goes: before January 2026 the kernel takes what is still to come for what is there
/// while it looks for the interval of an address, and misses the interval that goes (commit 7e43e0a1141d).
fn is_updated(old: &Set, new: &Set, few_come: fn(&PrefixSet, &PrefixSet) -> bool) -> bool {
    match (old.kind, new.kind) {
        _ if old.family != new.family => false,
        (SetKind::Hosts, SetKind::Hosts) => true,
        (SetKind::Prefixes, SetKind::Prefixes) => old.is_large() && few_come(&old.elements, &new.elements),
        (SetKind::Prefixes | SetKind::Hosts, _) => false,
    }
}

/// Whether few elements come to a set of intervals, and none that overlaps one that goes.
fn few_come(old: &PrefixSet, new: &PrefixSet) -> bool {
    let (gone, come) = (old.changed_ranges(new), new.changed_ranges(old));
    if gone.range_count().max(come.range_count()) > MOST_CHANGED {
        return false;
    }
    // Of a range that has grown or shrunk some elements stay.
    let (gone, come): (BTreeSet<Prefix>, BTreeSet<Prefix>) = (gone.prefixes().collect(), come.prefixes().collect());
    let leaving: PrefixSet = gone.difference(&come).copied().collect();
    let coming: Vec<Prefix> = come.difference(&gone).copied().collect();
    coming.len() <= MOST_PUT_IN && !leaving.overlaps(&coming.into_iter().collect())
}

/// The one rule of a base chain: to the chain that has its rules.
fn to_body(base: &str, number: u64) -> Rule {
    Rule::new([], Action::Goto(format!("{base}.{number}")))
}

/// The plain names of live ones; a name stays as it is where two would become one.
fn plain_names<'a>(live: impl Iterator<Item = &'a String> + Clone) -> BTreeMap<String, String> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    live.clone().for_each(|name| *count.entry(plain_name(name)).or_default() += 1);
    live.map(|name| {
        let plain = plain_name(name);
        (name.clone(), if count[plain] == 1 { plain.to_owned() } else { name.clone() })
    })
    .collect()
}

/// A base chain and the chain that has its rules, where it ends by going there.
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

/// A ruleset with its chains in the order of another one, as far as that has them: chains are called by name, and their
/// order means nothing.
fn sorted_like(ruleset: &Ruleset, other: &Ruleset) -> Ruleset {
    let place = |name: &str| other.chains.iter().position(|chain| chain.name == name);
    let mut sorted = ruleset.clone();
    sorted.chains.sort_by_key(|chain| place(&chain.name).unwrap_or(usize::MAX));
    sorted
}

/// Puts every chain behind those that it leads to, in an order that does not depend on which was made first.
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

/// Gives other names to sets and chains, wherever they occur in rules, and to the chains themselves.
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
