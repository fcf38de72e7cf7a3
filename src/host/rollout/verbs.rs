//! What a user can do to the rules in force: apply, roll back, undo, confirm, extend, boot.

use std::time::Duration;

use super::{ChangeOptions, Outcome, Rollout, RolloutError, chain, holds, named};
use crate::host::generations::{Generation, State, StoreError, WayBack, Why};
use crate::host::kernel::KernelError;
use crate::host::prime::only_tracks;
use crate::host::transition::means;
use crate::live::{Change, Live};
use crate::ruleset::Ruleset;

impl Rollout<'_> {
    /// Brings the kernel to a new generation.
    ///
    /// `before` is what [`Rollout::recover`] returned.
    ///
    /// # Errors
    /// The kernel has the old rules, and the state says so.
    pub fn apply(
        &mut self,
        before: &State,
        generation: Generation,
        ruleset: &Ruleset,
        options: ChangeOptions,
    ) -> Result<(State, Outcome), RolloutError> {
        let number = generation.manifest.generation;
        let after = self.transition(|stamp| before.after_apply(&generation, options.confirm_within, stamp));
        let (after, notes) = self.with_whole_way_back(after);
        self.store.write(number, &generation)?;
        // Its text may be larger than all else.
        drop(generation);
        self.kernel.recall(ruleset);
        let (state, outcome) = self.converge(before, after, Some((number, ruleset)), options)?;
        Ok((state, outcome.with(notes)))
    }

    /// Brings the kernel back to an older generation, or to no table.
    ///
    /// # Errors
    /// As [`Rollout::apply`]; the generation's files are damaged.
    pub fn rollback(
        &mut self,
        before: &State,
        to: Option<u64>,
        options: ChangeOptions,
    ) -> Result<(State, Outcome), RolloutError> {
        let ruleset = to.map(|number| self.ruleset(number)).transpose()?;
        let after = self.transition(|stamp| before.after_rollback(to, options.confirm_within, stamp));
        let (after, notes) = self.with_whole_way_back(after);
        let (state, outcome) = self.converge(before, after, to.zip(ruleset.as_ref()), options)?;
        Ok((state, outcome.with(notes)))
    }

    /// The state with a way back that can be gone: the generation that would come back may be damaged.
    fn with_whole_way_back(&self, after: State) -> (State, Vec<String>) {
        let found = self.store.way_back(&after);
        if found.damage.is_empty() {
            return (after, Vec::new());
        }
        let notes = way_back_notes(&found);
        (after.with_way_back(found.number()), notes)
    }

    /// Undoes a pending change: what was in force before it comes back, or where that is damaged what boot would load. The
    /// kernel comes first: the rules are restored even where the records cannot be written.
    ///
    /// # Errors
    /// The kernel still has the change, or the state still says that it does.
    pub fn undo(&mut self, before: &State, why: Why) -> Result<(State, Outcome), RolloutError> {
        if before.pending.is_none() {
            return Ok((before.clone(), Outcome::default()));
        }
        let found = self.store.way_back(before);
        let ruleset = found.to.as_ref().map(|(_, ruleset)| ruleset);
        let before = before.with_way_back(found.number());
        let after = self.transition(|stamp| before.after_undo(why, stamp));
        // If this run ends before the records say that the change is undone, the next one undoes it, too, and does not
        // confirm what the kernel does not have any more. A full disk does not stop the undoing.
        let _ = self.store.save(&before.with_expired_deadline());
        let mut outcome = self.undo_in_kernel(ruleset)?.with(way_back_notes(&found));
        if let Some(Err(error)) = found.number().map(|number| self.store.restore(number)) {
            outcome.warnings.push(chain(&error));
        }
        self.save(&after)?;
        if let Err(error) = self.store.prune(&after) {
            outcome.warnings.push(chain(&error));
        }
        Ok((after, self.delivered(outcome)))
    }

    /// Undoes a pending change in the kernel. The records say nothing of it yet, or there is no place for them.
    ///
    /// # Errors
    /// The kernel still has the change.
    pub fn undo_in_kernel(&mut self, ruleset: Option<&Ruleset>) -> Result<Outcome, RolloutError> {
        ruleset.into_iter().for_each(|ruleset| self.kernel.recall(ruleset));
        self.converge_kernel(ruleset, None, true)
    }

    /// Removes the table for good: boot loads nothing either.
    ///
    /// # Errors
    /// The kernel still has the table, or the state still says that it does.
    pub fn remove(&mut self, before: &State) -> Result<(State, Outcome), RolloutError> {
        let after = self.transition(|stamp| before.after_removal(stamp));
        if !self.is_unreadable {
            return self.converge(before, after, None, ChangeOptions { force: true, ..ChangeOptions::default() });
        }
        self.kernel.change(&[Change::DeleteTable], &[])?;
        self.save(&after)?;
        Ok((after, self.delivered(Outcome { changed: true, ..Outcome::default() })))
    }

    /// Confirms the pending change, if the kernel has it, and boot could load it.
    ///
    /// # Errors
    /// It has not, or the state cannot be written; the change is still pending.
    pub fn confirm(&mut self, before: &State) -> Result<(State, Outcome), RolloutError> {
        self.require_pending_rules(before)?;
        let after = self.transition(|stamp| before.after_confirm(stamp));
        self.save(&after)?;
        // The next run removes files that stay.
        let _ = self.store.prune(&after);
        Ok((after, self.delivered(Outcome::default())))
    }

    fn require_pending_rules(&mut self, state: &State) -> Result<(), RolloutError> {
        let Some(number) = state.pending.as_ref().map(|pending| pending.generation) else { return Ok(()) };
        let facts = self.store.manifest(number).ok().and_then(|manifest| manifest.policy);
        let differs = |why| Err(RolloutError::NotInForce { number, why, policy: facts.map(|facts| facts.path) });
        let ruleset = match self.ruleset(number) {
            Ok(ruleset) => ruleset,
            Err(error) => return differs(format!("boot could not load it: {}", chain(&error))),
        };
        match self.live() {
            Ok(live) if means(live.as_ref(), Some(&ruleset)) => Ok(()),
            Ok(None) => differs("the kernel has no table any more, and every packet is accepted".to_owned()),
            Ok(Some(_)) | Err(KernelError::Unreadable(_)) => {
                differs("another program has changed the table in the kernel".to_owned())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sets a new deadline for the pending change.
    ///
    /// # Errors
    /// The old deadline applies.
    pub fn extend(&mut self, before: &State, delay: Duration) -> Result<(State, Outcome), RolloutError> {
        if before.pending.is_none() {
            return Ok((before.clone(), Outcome::default()));
        }
        let after = self.transition(|stamp| before.after_extend(delay, stamp));
        let (after, notes) = self.with_whole_way_back(after);
        // Until the new watcher is up, the old one takes this for a change under way, and waits.
        self.save(&before.under_way(&after, before.current))?;
        let watcher = match self.watch(after.armed) {
            Ok(watcher) => watcher,
            Err(error) => {
                self.save(&before.after_failure(&after))?;
                return Err(error);
            }
        };
        self.save(&after)?;
        let outcome = Outcome { watcher: Some(watcher), ..Outcome::default() }.with(notes);
        Ok((after, self.delivered(outcome)))
    }

    /// Records that the rules in force were applied again.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn acknowledge(&mut self, before: &State) -> Result<(), RolloutError> {
        let after = before.after_acknowledgement();
        if after != *before {
            self.save(&after)?;
        }
        Ok(())
    }

    /// Loads the confirmed generation after a reboot, or an older one where that is damaged. No other record is needed.
    ///
    /// Returns its number, or `None` where none was ever confirmed.
    ///
    /// # Errors
    /// None of the confirmed generations can be loaded, or the state cannot be written.
    pub fn boot(&mut self) -> Result<(Option<u64>, Outcome), RolloutError> {
        let mut outcome = Outcome::default();
        let (saved, newer) = match self.store.state() {
            Ok(state) => (state, None),
            // Its records stay as they are, but the host must not be without rules.
            Err(error @ StoreError::Newer { .. }) => (self.store.recovered()?, Some(error)),
            Err(error) => return Err(error.into()),
        };
        let mut found = self.store.newest_whole(&saved);
        outcome.warnings.extend(found.damage.iter().map(|error| chain(error)));
        let Some((number, ruleset)) = found.to else {
            let damage = (!found.damage.is_empty()).then(|| found.damage.swap_remove(0));
            return newer.or(damage).map_or(Ok((None, outcome)), |error| Err(error.into()));
        };
        self.kernel.recall(&ruleset);
        if let Some(newer) = newer {
            self.converge_kernel(Some(&ruleset), None, true)?;
            return Err(newer.into());
        }
        let live = self.kernel.table().ok().flatten().map(Live);
        let state = self.keep_foreign_rules(saved.clone(), live.as_ref(), &ruleset, &mut outcome.warnings);
        let had = state.current.filter(|_| live.is_some());
        let converged = self.converge_kernel(Some(&ruleset), None, true)?;
        outcome.changed = converged.changed;
        outcome.warnings.extend(converged.warnings);
        let state = self.transition(|stamp| state.after_boot(number, stamp));
        if state != saved || self.store.damage().is_some() {
            self.save(&state)?;
        } else {
            self.deliver(&state);
        }
        if outcome.changed {
            let with_boot = self.transition(|stamp| state.with_boot(had, stamp));
            // A full disk is no reason to report a failure: the rules are in force.
            if let Err(error) = self.save(&with_boot) {
                outcome.warnings.push(format!("the boot could not be recorded: {}", chain(&error)));
            }
        }
        Ok((Some(number), self.delivered(outcome)))
    }

    /// Saves rules of another program that boot would replace.
    fn keep_foreign_rules(
        &mut self,
        state: State,
        live: Option<&Live>,
        loaded: &Ruleset,
        warnings: &mut Vec<String>,
    ) -> State {
        let Some(table) = live else { return state };
        let is_known = means(live, Some(loaded))
            || means(live, None)
            || only_tracks(table)
            || holds(self.store, live, state.current);
        if is_known {
            return state;
        }
        match self.adopt(&state, table) {
            Ok((after, note)) => {
                warnings.push(note);
                after
            }
            Err(error) => {
                // A full disk is no reason to boot without rules.
                warnings.push(chain(&error));
                state
            }
        }
    }
}

/// What is to be said where another generation comes back than was meant to.
fn way_back_notes(found: &WayBack) -> Vec<String> {
    let mut notes: Vec<String> = found.damage.iter().map(|error| chain(error)).collect();
    if !notes.is_empty() {
        notes.push(match found.number() {
            Some(number) => format!("{} takes its place", named(Some(number))),
            None => {
                "no confirmed generation is whole, so the table goes and every packet is accepted; `edgeward apply \
                     POLICY` brings rules into force"
                    .to_owned()
            }
        });
    }
    notes
}
