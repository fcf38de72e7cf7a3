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

    /// A state of version 1 as version 2. Its manifests say what each generation was compiled from; that a refresh
    /// continues the newest `apply` before it is an assumption.
    #[must_use]
    pub fn taken_over(self, manifest: impl Fn(u64) -> Option<Manifest>) -> Self {
        let mut state = Self { version: StateVersion::Two, ..self };
        state.add_inputs(manifest);
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
