//! What the events tell about a state that is lost.

use std::collections::BTreeMap;

use crate::host::generations::{Event, EventKind, MadeBy, Record, Standing, State};

impl State {
    /// The state that the events have left, from the first to the last, with the records of the generations that are whole.
    ///
    /// Only what an event says is taken for confirmed. Events of earlier versions do not say it, so a generation that was
    /// on trial is never taken for one that was not.
    #[must_use]
    pub(in crate::host::generations) fn of_events(
        generations: BTreeMap<u64, Record>,
        events: impl Iterator<Item = Event>,
    ) -> Self {
        let mut state = Self { generations, ..Self::default() };
        for event in events {
            state.replay(&event);
        }
        let newest = state.generations.keys().next_back().copied();
        state.last = state.last.max(newest.unwrap_or_default());
        state
    }

    fn replay(&mut self, event: &Event) {
        self.last_event = self.last_event.max(event.number);
        let Some(Standing { last, armed, current, confirmed, pending, undone }) = event.left.clone() else { return };
        // Those that were made later have not been on trial yet.
        let later = self.generations.split_off(&(last + 1));
        match event.event {
            EventKind::Apply | EventKind::Refresh | EventKind::Found => self.note_made(event),
            EventKind::Undo => self.reject_unconfirmed(event.to, event.at),
            EventKind::Rollback => self.leave(event.from, event.to, event.at),
            _ => {}
        }
        self.confirmed = confirmed;
        if pending.is_none() && current == confirmed {
            self.confirm(confirmed, event.at);
        }
        self.generations.extend(later);
        (self.last, self.armed, self.current, self.pending, self.undone) = (last, armed, current, pending, undone);
    }

    /// Completes the record of the generation that an event made.
    fn note_made(&mut self, event: &Event) {
        let Some(record) = event.to.and_then(|number| self.generations.get_mut(&number)) else { return };
        record.event = Some(event.number);
        record.made_by = match event.event {
            EventKind::Refresh => MadeBy::Refresh,
            EventKind::Found => MadeBy::Found,
            _ => MadeBy::Apply,
        };
        if record.made_by == MadeBy::Found {
            record.before = event.from;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::host::clock::Moment;
    use crate::host::generations::{Generation, Inputs, Manifest, Note, Stamp, Version, Why};
    use crate::host::operator::Operator;

    fn then<T>(transition: impl FnOnce(Stamp<'_>) -> T) -> T {
        let now = Moment { time: Timestamp::UNIX_EPOCH, since_boot: Duration::ZERO, boot: None };
        transition(Stamp { by: &Operator::named("alice"), now: &now, note: &Note::default() })
    }

    fn applied(state: &State, confirm_within: Option<Duration>) -> State {
        let manifest = Manifest {
            version: Version,
            generation: state.next_number(),
            made: Timestamp::UNIX_EPOCH,
            by: String::new(),
            made_by: MadeBy::Apply,
            message: None,
            program: String::new(),
            policy: None,
            sha256: BTreeMap::new(),
        };
        let new = Generation::new(manifest, String::new(), format!("rules {}", state.last), Inputs::default());
        then(|stamp| state.after_apply(&new, confirm_within, stamp))
    }

    /// What remains of a state of which only the generations and the events are left.
    fn lost(state: &State) -> State {
        let bare = |record: &Record| Record { confirmed: None, rolled_back: None, event: None, ..record.clone() };
        let generations = state.generations.iter().map(|(number, record)| (*number, bare(record))).collect();
        State { events: state.events.clone(), ..State::of_events(generations, state.events.clone().into_iter()) }
    }

    #[test]
    fn the_events_tell_what_was_in_force_confirmed_and_pending() {
        let minute = Some(Duration::from_secs(60));
        let two = applied(&applied(&State::default(), None), None);
        let pending = applied(&two, minute);
        let undone = then(|stamp| pending.after_undo(Why::ByHand, stamp));
        let confirmed = then(|stamp| pending.after_confirm(stamp));
        let back = then(|stamp| confirmed.after_rollback(Some(1), None, stamp));
        let trial = then(|stamp| confirmed.after_rollback(Some(1), minute, stamp));
        let removed = then(|stamp| confirmed.after_removal(stamp));
        for state in [two, pending, undone, confirmed, back, trial, removed] {
            assert_eq!(lost(&state), state);
        }
    }

    #[test]
    fn what_no_event_confirms_is_not_confirmed() {
        let mut state = applied(&applied(&State::default(), None), None);
        for event in &mut state.events {
            event.left = None;
        }
        let lost = lost(&state);
        assert_eq!((lost.current, lost.confirmed, lost.last, lost.last_event), (None, None, 2, 2));
        assert!(lost.generations.values().all(|record| record.confirmed.is_none()));
    }
}
