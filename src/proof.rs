//! The proof that a ruleset is what a policy means: for every packet there is, the same verdict by the same flow.

use std::collections::BTreeMap;
use std::fmt;

use crate::intent::{Decision, Intent, Resolved};
use crate::net::Packet;
use crate::ruleset::Ruleset;
use crate::space::{Condition, Space};

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

    // Decisions by number: a label for each that the policy or the ruleset comes to.
    let mut numbers: BTreeMap<Decision<'_>, u32> = BTreeMap::new();
    let mut number = |decision| {
        let next = numbers.len() as u32;
        *numbers.entry(decision).or_insert(next)
    };
    let clauses = specification.clauses.iter();
    let meant = space.function(clauses.map(|clause| (space.region(&clause.condition), number(clause.decision))));
    let fates = ruleset.fates(&space);
    let found = space.function(fates.decided.iter().map(|fate| {
        let flow = fate.rule.and_then(|(_, rule)| rule.flow());
        (fate.packets, number(Decision { verdict: fate.verdict, flow }))
    }));
    let spared = space.region(&specification.untracked);
    let untracked = fates.untracked(&space);
    let differing = meant.differs(found).or(spared.minus(untracked)).or(untracked.minus(spared)).witness();
    let Some(packet) = differing else { return Ok(()) };
    let outcome = ruleset.evaluate(&packet);
    let decision = Decision { verdict: outcome.verdict, flow: outcome.rule.and_then(|rule| rule.flow()) };
    Err(Counterexample {
        packet,
        meant: Treatment::new(specification.decide(&packet), specification.untracked.holds(&packet)),
        found: Treatment::new(decision, outcome.untracked),
    })
}
