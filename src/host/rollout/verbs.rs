//! What a user can do to the rules in force: apply, roll back, undo, confirm, extend, boot.

use std::time::Duration;

use super::{ChangeOptions, Outcome, Rollout, RolloutError, chain, holds};
use crate::host::generations::{Generation, State, Why};
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
        self.store.write(number, &generation)?;
        // Its text may be larger than all else.
        drop(generation);
        self.kernel.recall(ruleset);
        self.converge(before, after, Some((number, ruleset)), options)
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
        self.converge(before, after, to.zip(ruleset.as_ref()), options)
    }

    /// Undoes a pending change. The kernel comes first: the rules are restored even where the records cannot be written.
    ///
    /// # Errors
    /// The kernel still has the change, or the state still says that it does.
    pub fn undo(&mut self, before: &State, why: Why) -> Result<(State, Outcome), RolloutError> {
        let Some(pending) = &before.pending else { return Ok((before.clone(), Outcome::default())) };
        let ruleset = pending.back_to.map(|number| self.ruleset(number)).transpose()?;
        let after = self.transition(|stamp| before.after_undo(why, stamp));
        // If this run ends before the records say that the change is undone, the next one undoes it, too, and does not
        // confirm what the kernel does not have any more. A full disk does not stop the undoing.
        let _ = self.store.save(&before.with_expired_deadline());
        let mut outcome = self.converge_kernel(ruleset.as_ref(), None, true)?;
        self.save(&after)?;
        if let Err(error) = self.store.prune(&after) {
            outcome.warnings.push(chain(&error));
        }
        Ok((after, self.delivered(outcome)))
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
        self.kernel.change(&[Change::DeleteTable])?;
        self.save(&after)?;
        Ok((after, self.delivered(Outcome { changed: true, ..Outcome::default() })))
    }

    /// Confirms the pending change.
    ///
    /// # Errors
    /// The state cannot be written; the change is still pending.
    pub fn confirm(&mut self, before: &State) -> Result<(State, Outcome), RolloutError> {
        let after = self.transition(|stamp| before.after_confirm(stamp));
        self.save(&after)?;
        // The next run removes files that stay.
        let _ = self.store.prune(&after);
        Ok((after, self.delivered(Outcome::default())))
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
        Ok((after, self.delivered(Outcome { watcher: Some(watcher), ..Outcome::default() })))
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
        let saved = self.store.state()?;
        let mut outcome = Outcome::default();
        let Some((number, ruleset)) = self.newest_intact(&saved, &mut outcome.warnings)? else {
            return Ok((None, outcome));
        };
        let live = self.kernel.table().ok().flatten().map(Live);
        let state = self.keep_foreign_rules(saved.clone(), live.as_ref(), &ruleset, &mut outcome.warnings);
        let had = state.current.filter(|_| live.is_some());
        let converged = self.converge_kernel(Some(&ruleset), None, true)?;
        outcome.changed = converged.changed;
        outcome.warnings.extend(converged.warnings);
        let state = self.transition(|stamp| state.after_boot(number, stamp));
        if state != saved {
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

    /// The confirmed generation, or the newest older one that was confirmed and is not damaged; `None` where none was
    /// ever confirmed.
    fn newest_intact(
        &mut self,
        state: &State,
        warnings: &mut Vec<String>,
    ) -> Result<Option<(u64, Ruleset)>, RolloutError> {
        let was_confirmed = state.generations.iter().filter(|(_, record)| record.confirmed.is_some());
        let older = was_confirmed.map(|(number, _)| *number).rev().filter(|number| Some(*number) < state.confirmed);
        let mut damage = None;
        for number in state.confirmed.into_iter().chain(older) {
            match self.ruleset(number) {
                Ok(ruleset) => return Ok(Some((number, ruleset))),
                Err(error) => {
                    warnings.push(chain(&error));
                    damage.get_or_insert(error);
                }
            }
        }
        damage.map_or(Ok(None), |error| Err(error.into()))
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
