//! The proof that a ruleset is what a policy means: for every packet there is, the same verdict by the same flow.

use std::collections::BTreeMap;
use std::fmt;

use crate::intent::{Decision, Intent, Resolved};
use crate::net::Packet;
use crate::ruleset::Ruleset;
use crate::space::{Condition, Region, Space};

/// A packet that fares otherwise than the policy means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{packet}: {found}, but the policy means {meant}")]
pub struct Counterexample {
    /// The packet.
    pub packet: Packet,
    /// What the policy means.
    pub meant: Treatment,
    /// What the ruleset does.
    pub found: Treatment,
}

/// What becomes of a packet, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Treatment(String);

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Treatment {
    fn new(decision: Decision<'_>, untracked: bool) -> Self {
        let flow = decision.flow.map(|flow| format!(" as `{flow}`")).unwrap_or_default();
        let untracked = if untracked { ", kept from conntrack" } else { "" };
        Self(format!("{}{flow}{untracked}", decision.verdict.name()))
    }
}

/// Compares what a ruleset does with what a policy means, over all packets.
///
/// # Errors
/// A packet that shows the difference.
pub fn prove(intent: &Intent<Resolved>, ruleset: &Ruleset) -> Result<(), Counterexample> {
    let specification = intent.specification();
    let conditions: Vec<Condition<'_>> = ruleset.conditions().collect();
    let space = Space::new(specification.conditions().chain(&conditions));

    let mut meant: BTreeMap<Decision<'_>, Region<'_>> = BTreeMap::new();
    let mut rest = space.all();
    for clause in &specification.clauses {
        let about = space.region(&clause.condition);
        add(&mut meant, clause.decision, rest.and(about));
        rest = rest.minus(about);
    }
    let fates = ruleset.fates(&space);
    let mut found: BTreeMap<Decision<'_>, Region<'_>> = BTreeMap::new();
    for fate in &fates.decided {
        let flow = fate.rule.and_then(|(_, rule)| rule.flow());
        add(&mut found, Decision { verdict: fate.verdict, flow }, fate.packets);
    }

    let none = space.none();
    let differing = found.keys().chain(meant.keys()).find_map(|decision| {
        let [here, there] = [&found, &meant].map(|regions| regions.get(decision).copied().unwrap_or(none));
        here.minus(there).witness().or_else(|| there.minus(here).witness())
    });
    let spared = space.region(&specification.untracked);
    let differing = differing
        .or_else(|| spared.minus(fates.untracked).witness())
        .or_else(|| fates.untracked.minus(spared).witness());
    let Some(packet) = differing else { return Ok(()) };
    let outcome = ruleset.evaluate(&packet);
    let decision = Decision { verdict: outcome.verdict, flow: outcome.rule.and_then(|rule| rule.flow()) };
    Err(Counterexample {
        packet,
        meant: Treatment::new(specification.decide(&packet), specification.untracked.holds(&packet)),
        found: Treatment::new(decision, outcome.untracked),
    })
}

fn add<'a, 's>(regions: &mut BTreeMap<Decision<'a>, Region<'s>>, decision: Decision<'a>, region: Region<'s>) {
    regions.entry(decision).and_modify(|all| *all = all.or(region)).or_insert(region);
}
