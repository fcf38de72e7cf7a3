//! The events from the latest to the first, and which of them are missing. Numbers are never left out, so a gap, like a
//! line that cannot be read, shows that the file was changed.

use crate::cli::document::MissingDocument;
use crate::cli::render;
use crate::diag::shown;
use crate::host::generations::{Event, State, Store};

/// The events that were read so far.
pub(super) struct Trail<E> {
    events: E,
    /// The number that the next event has, if none is missing.
    expected: u64,
    /// The events that are missing, the latest first.
    pub(super) missing: Vec<MissingDocument>,
    /// How many lines cannot be read.
    pub(super) damaged: usize,
    is_over: bool,
}

/// The events from the latest to the first: those that wait in the state, then those of the file. `None` is a line that
/// cannot be read.
pub(super) fn of(store: &Store, state: &State) -> Trail<impl Iterator<Item = Option<Event>>> {
    let log = store.events();
    let lines = log.lines_backwards();
    if let Err(error) = &lines {
        render::warning(&format!("cannot read `{}`: {error}", shown(log.path())));
    }
    // Where it cannot be read, that is said already, and nothing is known about what is missing.
    let expected = if lines.is_ok() { state.last_event } else { 0 };
    let last = log.last().unwrap_or(0);
    let waiting = state.events.iter().rev().filter(move |event| event.number > last).cloned().map(Some);
    Trail::new(waiting.chain(lines.into_iter().flatten().map_while(Result::ok)), expected)
}

impl<E: Iterator<Item = Option<Event>>> Trail<E> {
    fn new(events: E, expected: u64) -> Self {
        Self { events, expected, missing: Vec::new(), damaged: 0, is_over: false }
    }

    fn miss(&mut self, first: u64) {
        if first <= self.expected {
            self.missing.push(MissingDocument { first, last: self.expected });
        }
    }
}

impl<E: Iterator<Item = Option<Event>>> Iterator for Trail<E> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while !self.is_over {
            match self.events.next() {
                Some(Some(event)) => {
                    self.miss(event.number.saturating_add(1));
                    self.expected = event.number.saturating_sub(1);
                    return Some(event);
                }
                Some(None) => self.damaged += 1,
                None => {
                    self.is_over = true;
                    self.miss(1);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[Option<u64>], expected: u64) -> (Vec<(u64, u64)>, usize) {
        let event = |number: &Option<u64>| number.map(|number| Event { number, ..Event::default() });
        let mut trail = Trail::new(events.iter().map(event), expected);
        assert_eq!(trail.by_ref().count(), events.iter().flatten().count());
        (trail.missing.iter().map(|missing| (missing.first, missing.last)).collect(), trail.damaged)
    }

    #[test]
    fn gaps_and_damage_are_noticed() {
        assert_eq!(read(&[Some(3), Some(2), Some(1)], 3), (vec![], 0));
        assert_eq!(read(&[Some(6), None, Some(4), Some(1)], 8), (vec![(7, 8), (5, 5), (2, 3)], 1));
        assert_eq!(read(&[], 4), (vec![(1, 4)], 0));
        assert_eq!(read(&[], 0), (vec![], 0));
        // Another run has added some since, or the state is lost.
        assert_eq!(read(&[Some(2), Some(1)], 0), (vec![], 0));
        // A part of a line that was written again.
        assert_eq!(read(&[Some(2), None, Some(1)], 2), (vec![], 1));
    }
}
