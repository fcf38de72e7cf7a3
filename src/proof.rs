//! The proof that a ruleset is what a policy means: every packet has the same disposition under both.

use std::collections::BTreeMap;

use crate::intent::{Intent, Resolved};
use crate::net::{Disposition, Packet};
use crate::ruleset::Ruleset;
use crate::space::{Condition, Space};

/// A packet that a ruleset treats differently from what the policy means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{packet}: {found}, but the policy means {meant}")]
pub struct Counterexample<'a> {
    /// The packet.
    pub packet: Packet,
    /// What the policy means.
    pub meant: Disposition<'a>,
    /// What the ruleset does.
    pub found: Disposition<'a>,
}

/// Compares what a ruleset does with what a policy means, over all packets.
///
/// # Errors
/// A packet that shows the difference.
pub fn prove<'a>(intent: &'a Intent<Resolved>, ruleset: &'a Ruleset) -> Result<(), Counterexample<'a>> {
    let specification = intent.specification();
    let conditions: Vec<Condition<'_>> = ruleset.conditions().collect();
    let space = Space::new(specification.conditions().chain(&conditions));

    let mut numbers: BTreeMap<Disposition<'a>, u32> = BTreeMap::new();
    let mut number = |disposition| {
        let next = numbers.len() as u32;
        *numbers.entry(disposition).or_insert(next)
    };
    let clauses = specification.clauses.iter();
    let meant = space.function(clauses.map(|clause| (space.region(&clause.condition), number(clause.disposition))));
    let groups = ruleset.partition(&space).into_iter();
    let found = space.function(groups.map(|group| (group.packets, number(group.disposition))));
    match meant.differs(found).witness() {
        None => Ok(()),
        Some(packet) => {
            let (meant, found) = (specification.disposition(&packet), ruleset.evaluate(&packet));
            Err(Counterexample { packet, meant, found })
        }
    }
}
