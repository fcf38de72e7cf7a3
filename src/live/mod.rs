//! A ruleset in the place of another one, in a kernel that judges packets all the while: fill, switch, sweep.
//!
//! New sets are made and filled while no rule knows of them. One transaction then changes all rules; it is the only one
//! that changes verdicts. What nothing refers to any more is swept away in a third. No base chain is deleted, and no
//! set is changed that rules look into, but for the elements of sets of hosts. Replacing a table, or a base chain, is one
//! transaction to nft and not to packets: under a flood some are lost, and some let through.

mod change;

use std::collections::{BTreeMap, BTreeSet};

use crate::ruleset::{Action, Base, Chain, Match, Ruleset, Set, SetKind};

pub use change::{Change, Misfit, carry_out};

/// A table as the kernel has it. Its sets have live names: the name that rulesets know, and where that was taken a
/// number behind a dot.
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
    /// New sets, counters and, where there is none, the table. Changes no verdict.
    pub fill: Vec<Change>,
    /// Elements of the new sets, by live name.
    pub elements: BTreeMap<String, Set>,
    /// Elements of live sets of hosts that come and go: what is left where the rules stay. One transaction.
    pub updates: BTreeMap<String, Update>,
    /// The one transaction that changes rules. Empty where the rules stay.
    pub switch: Vec<Change>,
    /// What is not needed any more. Changes no verdict.
    pub sweep: Vec<Change>,
}

/// What changes in a live set of hosts.
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
    /// What the table means: the ruleset under the names that rulesets know, without sets that no rule looks into and
    /// without base chains that have been emptied because they could not be deleted.
    pub fn meaning(&self) -> Ruleset {
        let used = self.0.used_sets();
        let mut ruleset = self.0.clone();
        ruleset.sets = used
            .iter()
            .filter_map(|name| Some((plain_name(name).to_owned(), self.0.sets.get(*name)?.clone())))
            .collect();
        rename_sets(&mut ruleset, |name| plain_name(name).to_owned());
        ruleset.chains.retain(|chain| !is_emptied(chain));
        ruleset.counters = ruleset.used_counters();
        ruleset.without_notes()
    }

    /// The steps to a ruleset. Sets that are made get a number that no set of the table has, where their name is taken.
    pub fn plan(&self, exists: bool, wanted: &Ruleset) -> Plan {
        let now = self.meaning();
        let wanted = wanted.clone().without_notes();
        let same_rules = now.chains == sorted_like(&wanted, &now).chains && now.counters == wanted.counters;
        let changed_only_hosts = || {
            let names = |ruleset: &Ruleset| ruleset.sets.keys().cloned().collect::<Vec<_>>();
            names(&now) == names(&wanted)
                && now.sets.iter().zip(&wanted.sets).all(|((_, old), (_, new))| {
                    old == new || old.kind == SetKind::Hosts && new.kind == SetKind::Hosts && old.family == new.family
                })
        };
        // Every set of the meaning is one that rules look into, so it has a live name; and both have the same sets here.
        let live_names = self.live_names();
        if exists && same_rules && changed_only_hosts() {
            let updates = now.sets.iter().filter(|(name, old)| wanted.sets[*name] != **old).map(|(name, old)| {
                (live_names[name].clone(), Update { old: old.clone(), new: wanted.sets[name].clone() })
            });
            return Plan { updates: updates.collect(), sweep: sweep(&self.0), ..Plan::default() };
        }
        // A live set is kept where it is what is wanted; all others are made anew.
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        let number = self.0.sets.keys().filter_map(|name| parts(name).1).max().map_or(1, |last| last.saturating_add(1));
        let mut plan = Plan::default();
        if !exists {
            plan.fill.push(Change::AddTable);
        }
        plan.fill.extend(wanted.counters.difference(&self.0.counters).cloned().map(Change::AddCounter));
        for (name, set) in &wanted.sets {
            if let Some(live) = live_names.get(name).filter(|_| now.sets.get(name) == Some(set)) {
                names.insert(name.clone(), live.clone());
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
        rename_sets(&mut target, |name| names.get(name).cloned().unwrap_or_else(|| name.to_owned()));
        target.sets = names.iter().map(|(plain, live)| (live.clone(), wanted.sets[plain].clone())).collect();
        plan.switch = self.switch(&target);
        // What is there once the rules are switched, and not wanted.
        let mut after = self.0.clone();
        after.chains.clone_from(&target.chains);
        after.sets.extend(target.sets.clone());
        after.counters.extend(target.counters.iter().cloned());
        plan.sweep = sweep(&after);
        plan
    }

    /// The live names of the sets that rules look into.
    fn live_names(&self) -> BTreeMap<String, String> {
        self.0.used_sets().into_iter().map(|name| (plain_name(name).to_owned(), name.to_owned())).collect()
    }

    /// Every chain is emptied and filled in one transaction; chains that are not wanted are deleted, but for base
    /// chains, which stay, empty.
    fn switch(&self, target: &Ruleset) -> Vec<Change> {
        let mut changes = Vec::new();
        let wanted: BTreeSet<&str> = target.chains.iter().map(|chain| chain.name.as_str()).collect();
        for chain in &target.chains {
            changes.push(Change::AddChain { name: chain.name.clone(), base: chain.base });
        }
        let unwanted = || self.0.chains.iter().filter(|chain| !wanted.contains(chain.name.as_str()));
        for (chain, base) in unwanted().filter_map(|chain| Some((chain, chain.base?))) {
            let base = Base { drops: false, ..base };
            changes.push(Change::AddChain { name: chain.name.clone(), base: Some(base) });
        }
        changes.extend(self.0.chains.iter().map(|chain| Change::FlushChain(chain.name.clone())));
        for chain in &target.chains {
            let rules = chain.rules.iter().cloned();
            changes.extend(rules.map(|rule| Change::AddRule { chain: chain.name.clone(), rule: Box::new(rule) }));
        }
        // A chain stands behind those that it jumps to, and all are empty by now.
        let deleted = unwanted().filter(|chain| chain.base.is_none());
        changes.extend(deleted.map(|chain| Change::DeleteChain(chain.name.clone())));
        changes
    }
}

/// Deletes the sets and counters of a table that none of its rules refers to.
fn sweep(table: &Ruleset) -> Vec<Change> {
    let (sets, counters) = (table.used_sets(), table.used_counters());
    let sets = table.sets.keys().filter(|name| !sets.contains(name.as_str())).cloned().map(Change::DeleteSet);
    let counters = table.counters.difference(&counters).cloned().map(Change::DeleteCounter);
    sets.chain(counters).collect()
}

/// A base chain that has been emptied decides nothing.
fn is_emptied(chain: &Chain) -> bool {
    chain.rules.is_empty() && chain.base.is_some_and(|base| !base.drops)
}

/// A ruleset with its chains in the order of another one, as far as that has them: chains are called by name, and their
/// order means nothing.
fn sorted_like(ruleset: &Ruleset, other: &Ruleset) -> Ruleset {
    let place = |name: &str| other.chains.iter().position(|chain| chain.name == name);
    let mut sorted = ruleset.clone();
    sorted.chains.sort_by_key(|chain| place(&chain.name).unwrap_or(usize::MAX));
    sorted
}

fn rename_sets(ruleset: &mut Ruleset, rename: impl Fn(&str) -> String) {
    for rule in ruleset.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
        for condition in &mut rule.matches {
            if let Match::Address(_, _, set) = condition {
                *set = rename(set);
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
