//! The changes that a transaction consists of, and what the kernel does with them.

use super::targets;
use crate::net::{Family, PrefixSet};
use crate::ruleset::{Base, Chain, Match, Rule, Ruleset, Set, SetKind};

/// One change to the structure of the table. Several of them are one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Creates the table, if there is none.
    AddTable,
    /// Creates a counter, if there is none of the name.
    AddCounter(String),
    /// Creates an empty set. There must be none of the name.
    AddSet {
        /// Its live name.
        name: String,
        /// The family of its elements.
        family: Family,
        /// How the kernel stores it.
        kind: SetKind,
    },
    /// Creates a chain, or sets the policy of an existing base chain.
    AddChain {
        /// Its name.
        name: String,
        /// What makes it a base chain.
        base: Option<Base>,
    },
    /// Deletes the rules of a chain.
    FlushChain(String),
    /// Appends a rule to a chain.
    AddRule {
        /// The chain.
        chain: String,
        /// The rule, with live names of sets and chains.
        rule: Box<Rule>,
    },
    /// Deletes an empty chain that no rule jumps to.
    DeleteChain(String),
    /// Deletes a set that no rule matches.
    DeleteSet(String),
    /// Deletes a counter that no rule uses.
    DeleteCounter(String),
    /// Deletes the table with everything in it.
    DeleteTable,
}

/// Why the kernel refuses a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Something does not exist (ENOENT).
    #[error("there is no {0}")]
    Missing(String),
    /// Something exists already (EEXIST).
    #[error("there is already {0}")]
    Exists(String),
    /// Something is still in use (EBUSY).
    #[error("{0} is in use")]
    Busy(String),
}

/// Applies a transaction to a table as the kernel would: all of it, or nothing.
///
/// # Errors
/// Why the kernel would refuse the first change that it refuses.
pub fn carry_out(table: &Option<Ruleset>, changes: &[Change]) -> Result<Option<Ruleset>, Misfit> {
    changes.iter().try_fold(table.clone(), one)
}

fn one(table: Option<Ruleset>, change: &Change) -> Result<Option<Ruleset>, Misfit> {
    let missing = |what: String| Misfit::Missing(what);
    if *change == Change::AddTable {
        return Ok(Some(table.unwrap_or_default()));
    }
    let Some(mut table) = table else { return Err(missing("table".to_owned())) };
    match change {
        Change::AddTable => {}
        Change::DeleteTable => return Ok(None),
        Change::AddCounter(name) => drop(table.counters.insert(name.clone())),
        Change::AddSet { name, family, kind } => {
            let set = Set { family: *family, kind: *kind, elements: PrefixSet::default(), note: String::new() };
            if table.sets.insert(name.clone(), set).is_some() {
                return Err(Misfit::Exists(format!("a set `{name}`")));
            }
        }
        Change::AddChain { name, base } => match table.chains.iter_mut().find(|chain| chain.name == *name) {
            None => table.chains.push(Chain { name: name.clone(), base: *base, rules: Vec::new() }),
            Some(chain) if chain.base.map(|base| base.hook) == base.map(|base| base.hook) => chain.base = *base,
            Some(_) => return Err(Misfit::Exists(format!("another chain `{name}`"))),
        },
        Change::FlushChain(name) => chain(&mut table, name)?.rules.clear(),
        Change::AddRule { chain: name, rule } => {
            for target in targets(&rule.action) {
                table.chain(target).ok_or_else(|| missing(format!("chain `{target}`")))?;
            }
            for condition in &rule.matches {
                if let Match::Address(_, family, set) = condition {
                    let known = table.sets.get(set).filter(|known| known.family == *family);
                    known.ok_or_else(|| missing(format!("set `{set}`")))?;
                }
            }
            if let Some(counter) = rule.counter.as_ref().filter(|name| !table.counters.contains(*name)) {
                return Err(missing(format!("counter `{counter}`")));
            }
            chain(&mut table, name)?.rules.push((**rule).clone());
        }
        Change::DeleteChain(name) => {
            let called = table.rules().any(|rule| targets(&rule.action).contains(&name.as_str()));
            if called || !chain(&mut table, name)?.rules.is_empty() {
                return Err(Misfit::Busy(format!("the chain `{name}`")));
            }
            table.chains.retain(|chain| chain.name != *name);
        }
        Change::DeleteSet(name) => {
            if table.used_sets().contains(name.as_str()) {
                return Err(Misfit::Busy(format!("the set `{name}`")));
            }
            table.sets.remove(name).ok_or_else(|| missing(format!("set `{name}`")))?;
        }
        Change::DeleteCounter(name) => {
            if table.used_counters().contains(name) {
                return Err(Misfit::Busy(format!("the counter `{name}`")));
            }
            if !table.counters.remove(name) {
                return Err(missing(format!("counter `{name}`")));
            }
        }
    }
    Ok(Some(table))
}

fn chain<'a>(table: &'a mut Ruleset, name: &str) -> Result<&'a mut Chain, Misfit> {
    let found = table.chains.iter_mut().find(|chain| chain.name == name);
    found.ok_or_else(|| Misfit::Missing(format!("chain `{name}`")))
}
