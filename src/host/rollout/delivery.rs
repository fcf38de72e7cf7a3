//! Events of a state that is on disk: from there to their file, and to the system's journal.

use super::{Outcome, Rollout, chain};
use crate::diag::shown;
use crate::host::generations::{Changes, Event, EventFacts, EventPolicy, POLICY, State, StoreError, named};
use crate::host::journal;

impl Rollout<'_> {
    /// Puts a state in force, and delivers its events.
    pub(super) fn save(&mut self, state: &State) -> Result<(), StoreError> {
        self.store.save(state)?;
        self.deliver(state);
        Ok(())
    }

    /// Delivers the events of a state that is on disk. Where that fails the state still has them, and the next run
    /// delivers them; a change never waits for it.
    pub(super) fn deliver(&mut self, state: &State) {
        let log = self.store.events();
        let delivered = match log.append(&state.events, |event| self.completed(event)) {
            Ok(new) => {
                let _ = self.store.announce(&new);
                new
            }
            Err(error) => {
                let path = shown(log.path());
                let waiting = "they are kept in `state.json` until it can be";
                self.undelivered = Some(format!("events cannot be written to `{path}`; {waiting}: {}", chain(&error)));
                self.store.announce(&state.events).into_iter().map(|event| self.completed(event)).collect()
            }
        };
        delivered.iter().for_each(journal::send);
    }

    /// What is to be said of the delivery, once.
    pub fn delivery_warning(&mut self) -> Option<String> {
        let why = self.undelivered.take().filter(|_| !self.has_complained);
        self.has_complained |= why.is_some();
        why
    }

    /// The outcome, with what is to be said of the delivery.
    pub(super) fn delivered(&mut self, mut outcome: Outcome) -> Outcome {
        outcome.warnings.extend(self.delivery_warning());
        outcome
    }

    /// An event with what the files of its generations say.
    fn completed(&self, event: Event) -> Event {
        if event.facts.is_some() {
            return event;
        }
        let policy = event.to.and_then(|number| self.store.manifest(number).ok()).and_then(|manifest| {
            let policy = manifest.policy?;
            let sha256 = manifest.sha256.get(POLICY).cloned();
            Some(EventPolicy { name: policy.name, sha256, catalog: policy.catalog })
        });
        let changes = self.changes(&event);
        Event { facts: Some(EventFacts { policy, changes }), ..event }
    }

    /// What an event has opened and closed.
    fn changes(&self, event: &Event) -> Changes {
        if event.from == event.to || !event.changes_rules() {
            return Changes::none();
        }
        let ruleset = |number: Option<u64>| number.map(|number| self.store.ruleset(number)).transpose();
        match (ruleset(event.from), ruleset(event.to)) {
            (Ok(before), Ok(after)) => (self.compare)(before.as_ref(), after.as_ref()),
            (Err(error), _) => Changes::not_known(format!("{}: {}", named(event.from), chain(&error))),
            (_, Err(error)) => Changes::not_known(format!("{}: {}", named(event.to), chain(&error))),
        }
    }
}
