//! The generations as users applied them: which one a refresh works with, and which one was applied before.

use super::{Generation, MadeBy, Manifest, Record, State};
use crate::host::generations::StateVersion;

impl State {
    /// The generation that a refresh works with: the one that is pending, else the one that boot loads.
    pub fn base(&self) -> Option<u64> {
        self.pending.as_ref().map(|pending| pending.generation).or(self.confirmed)
    }

    /// The record of a new generation, with its place among the others.
    pub(super) fn record_of(&self, generation: &Generation) -> Record {
        let record = Record::of(&generation.manifest, generation.rules.clone());
        let base = self.base().and_then(|number| self.generations.get(&number));
        let (applied, before) = match (record.made_by, base) {
            (MadeBy::Refresh, Some(base)) => (base.applied, base.before),
            // A pending change that this one replaces was never confirmed.
            _ => (Some(generation.manifest.generation), self.confirmed),
        };
        Record { applied, before, ..record }
    }

    /// The generation that `rollback` goes back to: the last one whose policy, catalog, lists or target were others than
    /// those in force, regardless of the refreshes between. From there, it goes further back.
    pub fn previous(&self) -> Option<u64> {
        let current = self.generations.get(&self.current?)?;
        if current.made_by == MadeBy::Found && self.confirmed != self.current {
            // Another program has changed what was confirmed.
            return self.confirmed;
        }
        let mut earlier = current.before;
        while let Some(number) = earlier {
            let record = self.generations.get(&number)?;
            if record.inputs.is_none() || record.inputs != current.inputs {
                return Some(number);
            }
            earlier = record.before.filter(|before| *before < number);
        }
        None
    }

    /// The generations that `apply` and refreshes made of one policy, by the number of one of them.
    pub(super) fn siblings(&mut self, number: u64) -> impl Iterator<Item = (&u64, &mut Record)> {
        let applied = self.generations.get(&number).and_then(|record| record.applied);
        let is_sibling =
            move |other: &(&u64, &mut Record)| *other.0 == number || applied.is_some() && other.1.applied == applied;
        self.generations.iter_mut().filter(is_sibling)
    }

    /// The number of the `apply` that a generation goes back to; its own, if it was found in the kernel.
    pub(super) fn applied(&self, number: u64) -> u64 {
        self.generations.get(&number).and_then(|record| record.applied).unwrap_or(number)
    }

    /// A state of version 1 or 2 as one of version 4: its events get numbers. In version 1, the manifests say what each
    /// generation was compiled from; that a refresh continues the newest `apply` before it is an assumption.
    #[must_use]
    pub fn taken_over(self, manifest: impl Fn(u64) -> Option<Manifest>) -> Self {
        let version = self.version;
        let mut state = Self { version: StateVersion::Four, ..self };
        if version == StateVersion::One {
            state.add_inputs(manifest);
        }
        state.events = (1..).zip(state.events).map(|(number, event)| event.taken_over(number)).collect();
        state.last_event = state.events.last().map_or(0, |event| event.number);
        state
    }

    /// Adds what the manifests say to records that lack it, and links them by their numbers.
    pub(in crate::host::generations) fn add_inputs(&mut self, manifest: impl Fn(u64) -> Option<Manifest>) {
        let (mut applied, mut before, mut last) = (None, None, None);
        for (&number, record) in &mut self.generations {
            if record.made_by == MadeBy::Found {
                continue;
            }
            if let Some(manifest) = manifest(number) {
                let known = Record::of(&manifest, String::new());
                (record.inputs, record.catalog, record.lists) = (known.inputs, known.catalog, known.lists);
            }
            if record.made_by == MadeBy::Apply || applied.is_none() {
                (applied, before) = (Some(number), last);
            }
            (record.applied, record.before) = (applied, before);
            // No generation was applied on top of one that was undone.
            if record.rolled_back.is_none() {
                last = Some(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::json;

    use crate::host::clock::Moment;
    use crate::host::generations::{
        Generation, Inputs, MadeBy, Manifest, Note, PolicyFacts, Stamp, State, StateVersion, Version, Why,
    };
    use crate::host::operator::Operator;

    fn manifest(number: u64, made_by: MadeBy, policy: &str) -> Manifest {
        let facts = PolicyFacts {
            name: "edge".to_owned(),
            path: "policy.yaml".into(),
            target: "edge-host".to_owned(),
            mode: "enforce".to_owned(),
            catalog: "catalog".to_owned(),
            lists: json!([]),
            origins: json!([]),
        };
        Manifest {
            version: Version,
            generation: number,
            made: Timestamp::UNIX_EPOCH,
            by: String::new(),
            made_by,
            message: None,
            program: String::new(),
            policy: Some(facts),
            sha256: [("policy.yaml".to_owned(), policy.to_owned())].into(),
        }
    }

    fn then<T>(transition: impl FnOnce(Stamp<'_>) -> T) -> T {
        let now = Moment { time: Timestamp::UNIX_EPOCH, since_boot: Duration::ZERO, boot: None };
        transition(Stamp { by: &Operator::named("alice"), now: &now, note: &Note::default() })
    }

    fn with(state: &State, made_by: MadeBy, policy: &str) -> State {
        let inputs = Inputs { policy: Some(policy.to_owned()), ..Inputs::default() };
        let manifest = manifest(state.next_number(), made_by, policy);
        let new = Generation::new(manifest, String::new(), policy.to_owned(), inputs);
        then(|stamp| state.after_apply(&new, None, stamp)).pruned()
    }

    fn applied(state: &State, policy: &str) -> State {
        with(state, MadeBy::Apply, policy)
    }

    fn refreshed(state: &State, policy: &str, times: usize) -> State {
        (0..times).fold(state.clone(), |state, _| with(&state, MadeBy::Refresh, policy))
    }

    fn back(state: &State) -> State {
        then(|stamp| state.after_rollback(state.previous(), None, stamp))
    }

    #[test]
    fn a_rollback_skips_refreshes() {
        let state = refreshed(&applied(&State::default(), "one"), "one", 2);
        assert_eq!((state.current, state.previous()), (Some(3), None));
        let state = refreshed(&applied(&refreshed(&applied(&state, "two"), "two", 1), "three"), "three", 1);
        assert_eq!((state.current, state.previous()), (Some(7), Some(5)));
        let state = back(&state);
        assert_eq!((state.current, state.previous()), (Some(5), Some(3)));
        // The ones that it has left are rejected, with their refreshes.
        let rejected = |state: &State| {
            let rejected = state.generations.iter().filter(|(_, record)| record.rolled_back.is_some());
            rejected.map(|(number, _)| *number).collect::<Vec<_>>()
        };
        assert_eq!(rejected(&state), [6, 7]);
        // A refresh goes neither forward nor back. Of too many refreshes the oldest are dropped.
        let state = refreshed(&state, "two", 3);
        assert_eq!((state.current, state.base(), state.previous()), (Some(10), Some(10), Some(1)));
        let state = back(&state);
        assert_eq!((state.current, state.previous(), rejected(&state)), (Some(1), None, vec![4, 5, 6, 7, 8, 9, 10]));
        // What is applied then was applied on top of it; going forward accepts again.
        assert_eq!(applied(&state, "four").previous(), Some(1));
        let state = then(|stamp| state.after_rollback(Some(6), None, stamp));
        assert_eq!((state.previous(), rejected(&state)), (Some(5), vec![4, 5, 8, 9, 10]));
    }

    #[test]
    fn a_rollback_on_trial_that_is_undone_rejects_nothing() {
        let state = applied(&applied(&State::default(), "one"), "two");
        let trial = then(|stamp| state.after_rollback(Some(1), Some(Duration::ZERO), stamp));
        assert!(trial.generations[&2].rolled_back.is_some());
        let state = then(|stamp| trial.after_undo(Why::ByHand, stamp));
        assert_eq!((state.current, state.generations[&2].rolled_back), (Some(2), None));
    }

    #[test]
    fn dropped_refreshes_leave_the_way_back() {
        let mut state = refreshed(&applied(&State::default(), "good"), "good", 7);
        state = refreshed(&applied(&state, "bad"), "bad", 40);
        let number = state.previous().unwrap();
        assert_eq!((state.generations[&number].applied, state.generations.len()), (Some(1), 7));
        for policy in 0..30 {
            state = refreshed(&applied(&state, &policy.to_string()), &policy.to_string(), 3);
            assert!(state.generations.contains_key(&state.previous().unwrap()));
        }
    }

    #[test]
    fn the_same_text_again_is_no_other_policy() {
        let state = applied(&applied(&applied(&State::default(), "one"), "two"), "two");
        assert_eq!(state.previous(), Some(1));
    }

    #[test]
    fn what_another_program_did_is_left_first() {
        let state = applied(&applied(&State::default(), "one"), "two");
        let (state, _) = then(|stamp| state.after_adoption("others", false, stamp));
        assert_eq!((state.current, state.base(), state.previous()), (Some(3), Some(2), Some(2)));
        let lost = then(|stamp| state.after_loss(stamp)).0;
        assert_eq!((lost.base(), lost.previous()), (Some(2), None));
    }

    #[test]
    fn a_state_of_version_1_is_taken_over() {
        let state = refreshed(&applied(&applied(&State::default(), "one"), "two"), "two", 2);
        let mut old = State { version: StateVersion::One, ..state.clone() };
        for record in old.generations.values_mut() {
            (record.inputs, record.applied, record.before, record.catalog) = (None, None, None, None);
        }
        let texts = ["one", "two", "two", "two"];
        let manifests = |number: u64| {
            let text = texts[usize::try_from(number).unwrap() - 1];
            Some(manifest(number, MadeBy::Apply, &crate::emit::sha256(text)))
        };
        let taken_over = old.taken_over(manifests);
        assert_eq!(taken_over.previous(), Some(1));
        assert_eq!(taken_over, state);
        // Also through its file.
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        let other = text.replacen("\"version\":4", "\"version\":5", 1);
        assert!(serde_json::from_str::<State>(&other).unwrap_err().to_string().contains("version 5 is not known"));
    }
}
