//! A plan whose switch replaces one rule in each base chain: a jump to all the others.
//!
//! A prototype. A transaction that deletes a rule with a verdict map (`tcp dport vmap …`) takes the elements out of the
//! map at the very moment at which the new rules begin to count (`nft_map_deactivate`), also for packets that are on
//! their way through the old ones, and those fall through to the denial at the end. Here the old rules, maps and sets
//! are whole for as long as a packet can be among them, and are swept when none can be.

use std::collections::BTreeMap;

use edgeward::live::{Change, Plan, Update};
use edgeward::ruleset::{Action, Chain, Match, Rule, Ruleset, Set, SetKind};

/// Plans the way to a ruleset from a table that such plans have made.
pub fn plan(table: Option<&Ruleset>, wanted: &Ruleset) -> Plan {
    let mut wanted = wanted.clone();
    for set in wanted.sets.values_mut() {
        set.note.clear();
    }
    let nothing = Ruleset::default();
    let old = table.unwrap_or(&nothing);
    let number = old.sets.keys().filter_map(|name| name.rsplit_once('.')?.1.parse::<u64>().ok()).max().unwrap_or(0);
    let same = numbered(&wanted, number);
    if let Some(updates) = updates(old, &same) {
        return Plan { updates, ..Plan::default() };
    }
    let new = numbered(&wanted, number + 1);
    let mut fill: Vec<Change> = table.is_none().then_some(Change::AddTable).into_iter().collect();
    fill.extend(new.counters.difference(&old.counters).cloned().map(Change::AddCounter));
    let sets = new.sets.iter();
    fill.extend(sets.map(|(name, set)| Change::AddSet { name: name.clone(), family: set.family, kind: set.kind }));
    let (bases, chains): (Vec<&Chain>, Vec<&Chain>) = new.chains.iter().partition(|chain| chain.base.is_some());
    fill.extend(chains.iter().map(|chain| Change::AddChain { name: chain.name.clone(), base: None }));
    fill.extend(chains.iter().flat_map(|chain| rules(chain)));
    let mut switch = Vec::new();
    for chain in bases {
        switch.push(Change::AddChain { name: chain.name.clone(), base: chain.base });
        switch.push(Change::FlushChain(chain.name.clone()));
        switch.extend(rules(chain));
    }
    let mut sweep: Vec<Change> = Vec::new();
    let chains = || old.chains.iter().filter(|chain| chain.base.is_none()).map(|chain| chain.name.clone());
    sweep.extend(chains().map(Change::FlushChain));
    sweep.extend(chains().map(Change::DeleteChain));
    sweep.extend(old.sets.keys().cloned().map(Change::DeleteSet));
    sweep.extend(old.counters.difference(&new.counters).cloned().map(Change::DeleteCounter));
    Plan { fill, elements: new.sets.clone(), switch, sweep, ..Plan::default() }
}

/// What changes where the rules stay, and with them all but the elements of sets of hosts.
fn updates(old: &Ruleset, new: &Ruleset) -> Option<BTreeMap<String, Update>> {
    let same_rules = new.chains.iter().all(|chain| old.chain(&chain.name) == Some(chain));
    if !same_rules || old.chains.len() != new.chains.len() || !old.sets.keys().eq(new.sets.keys()) {
        return None;
    }
    let differing = old.sets.iter().zip(new.sets.values()).filter(|((_, old), new)| old != new);
    let update = |((name, old), new): ((&String, &Set), &Set)| {
        let update = Update { old: old.clone(), new: new.clone() };
        (old.kind == SetKind::Hosts).then(|| (name.clone(), update))
    };
    differing.map(update).collect()
}

fn rules(chain: &Chain) -> impl Iterator<Item = Change> {
    chain.rules.iter().map(|rule| Change::AddRule { chain: chain.name.clone(), rule: Box::new(rule.clone()) })
}

/// A ruleset whose sets and chains have a number, and whose base chains only jump.
fn numbered(ruleset: &Ruleset, number: u64) -> Ruleset {
    let with_number = |name: &String| format!("{name}.{number}");
    let mut new = ruleset.clone();
    new.sets = ruleset.sets.iter().map(|(name, set)| (with_number(name), set.clone())).collect();
    for chain in &mut new.chains {
        chain.name = with_number(&chain.name);
        chain.base = None;
        for rule in &mut chain.rules {
            for condition in &mut rule.matches {
                if let Match::Address(_, _, set) = condition {
                    *set = with_number(set);
                }
            }
            match &mut rule.action {
                Action::Jump(chain) | Action::Goto(chain) => *chain = with_number(chain),
                Action::ByProtocol(chains) => chains.values_mut().for_each(|chain| *chain = with_number(chain)),
                Action::ByPort { chains, .. } => chains.iter_mut().for_each(|(_, chain)| *chain = with_number(chain)),
                Action::Continue | Action::Verdict(_) | Action::Notrack => {}
            }
        }
    }
    let bases = ruleset.chains.iter().filter(|chain| chain.base.is_some()).map(|chain| {
        let action = Action::Goto(with_number(&chain.name));
        let rule = Rule { matches: Vec::new(), log: None, counter: None, action, comment: None };
        Chain { name: chain.name.clone(), base: chain.base, rules: vec![rule] }
    });
    new.chains.extend(bases);
    new
}
