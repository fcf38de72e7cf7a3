//! What the records keep, and for how long.

use std::collections::BTreeSet;

use super::{MadeBy, Record, State};

/// The most generations that are kept.
const MAX_GENERATIONS: usize = 20;
/// The most of them that a refresh made: DNS answers change by the hour, and would push out what users applied.
const MAX_REFRESHES: usize = 5;
/// The most events that wait in the state where `events.jsonl` cannot be written.
const MAX_EVENTS: usize = 1000;
/// The largest number of a generation or of a deadline: there is always a next one.
pub const MAX_NUMBER: u64 = u64::MAX / 2;

impl State {
    /// The number of the next generation. Numbers are never reused.
    pub fn next_number(&self) -> u64 {
        self.last + 1
    }

    /// The state, if its numbers have successors.
    ///
    /// # Errors
    /// A number is larger than edgeward assigns.
    pub fn checked(self) -> Result<Self, String> {
        let largest = self.generations.keys().copied().chain([self.last, self.armed, self.last_event]).max();
        match largest.filter(|number| *number > MAX_NUMBER) {
            Some(number) => Err(format!("the number {number} is out of range")),
            None => Ok(self),
        }
    }

    /// Drops the oldest generations that nothing refers to, down to what is kept, and the oldest of too many events that
    /// could not be appended to the file.
    #[must_use]
    pub fn pruned(mut self) -> Self {
        let referenced = self.referenced();
        while let Some(number) = self.superfluous(&referenced) {
            self.forget(number);
        }
        let excess = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..excess);
        self
    }

    /// Drops a generation. What was applied on top of it is then on top of another generation of the same policy, or of
    /// the one before that.
    fn forget(&mut self, number: u64) {
        let Some(record) = self.generations.remove(&number) else { return };
        let is_sibling = |other: &Record| other.applied.is_some() && other.applied == record.applied;
        let sibling = self.generations.range(..number).rev().find(|(_, other)| is_sibling(other));
        let instead = sibling.map_or(record.before, |(number, _)| Some(*number));
        for other in self.generations.values_mut().filter(|other| other.before == Some(number)) {
            other.before = instead;
        }
    }

    /// The next generation to drop: the oldest refresh where there are too many of them, else the oldest of all.
    fn superfluous(&self, referenced: &BTreeSet<u64>) -> Option<u64> {
        let is_refresh = |number: &u64| self.generations[number].made_by == MadeBy::Refresh;
        let refreshes = self.generations.keys().filter(|number| is_refresh(number)).count();
        let mut droppable = self.generations.keys().filter(|number| !referenced.contains(number));
        let oldest_refresh = droppable.clone().find(|number| is_refresh(number)).filter(|_| refreshes > MAX_REFRESHES);
        let oldest = || droppable.next().filter(|_| self.generations.len() > MAX_GENERATIONS);
        oldest_refresh.or_else(oldest).copied()
    }

    /// The generations that the state refers to: in force, loaded at boot, pending, or an end of a change under way.
    fn referenced(&self) -> BTreeSet<u64> {
        let pending = self.pending.iter().flat_map(|pending| [Some(pending.generation), pending.back_to]);
        let switching = self.switching.iter().flat_map(|switching| {
            let back_to = switching.pending.as_ref().and_then(|pending| pending.back_to);
            [switching.from, switching.to, back_to]
        });
        [self.current, self.confirmed].into_iter().chain(pending).chain(switching).flatten().collect()
    }
}
