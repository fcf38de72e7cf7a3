//! Recovery, which begins every run: what the last run left, and what other programs did to the table.

use super::{Rollout, RolloutError, chain, holds, recall};
use crate::host::clock::Moment;
use crate::host::generations::{Generation, Pending, State, StoreError, Why, named};
use crate::host::kernel::KernelError;
use crate::host::prime::only_tracks;
use crate::host::transition::{Transition, means};
use crate::live::{Change, Live};

impl Rollout<'_> {
    /// Recovers from an interrupted run and undoes a change that was not confirmed in time. Rules that another program
    /// put into the table become a generation, so that they can be restored.
    ///
    /// Returns the state, and notes for the user.
    ///
    /// # Errors
    /// The records or the kernel cannot be read; nothing has changed.
    pub fn recover(&mut self, force: bool) -> Result<(State, Vec<String>), RolloutError> {
        // What the user says is about the change that follows.
        let note = std::mem::take(&mut self.note);
        let recovered = self.recover_records(force);
        self.note = note;
        recovered
    }

    fn recover_records(&mut self, force: bool) -> Result<(State, Vec<String>), RolloutError> {
        let mut notes = Vec::new();
        let saved = self.store.state()?;
        // Before this run writes into folders that are gone, too.
        self.store.wait_for_restoration(&saved);
        recall(self.store, self.kernel, &saved);
        let live = match self.live() {
            Ok(live) => self.without_priming_table(live)?,
            // It is replaced as a whole, so nothing in it matters.
            Err(KernelError::Unreadable(_)) if force => {
                self.is_unreadable = true;
                let state = self.undo_overdue(State { switching: None, ..saved }, &mut notes)?;
                return Ok((state, notes));
            }
            Err(error) => return Err(error.into()),
        };
        let state = self.resolve_interruption(saved.clone(), live.as_ref(), &mut notes);
        let state = self.keep_what_is_undone(state, live.as_ref(), &mut notes);
        let pending = state.pending.clone();
        let mut state = self.undo_overdue(state, &mut notes)?;
        let undone = pending.filter(|_| state.pending.is_none());
        if live.is_none() && undone.as_ref().is_some_and(|undone| undone.is_from_earlier_boot(&Moment::now())) {
            // The reboot has emptied the kernel, and boot has loaded nothing.
            state.current = None;
        }
        // To undo a change is to change the table.
        let live = if undone.is_some() { self.live()? } else { live };
        let state = self.reconcile(state, live.as_ref(), &mut notes)?;
        if let Some(live) = &live {
            notes.extend(self.remove_leftovers(live, &state)?);
        }
        if state == saved && self.store.damage().is_none() {
            // What an earlier run could not write.
            self.deliver(&state);
            return Ok((state, notes));
        }
        let state = state.pruned();
        self.save(&state)?;
        // A later run removes files that stay.
        let _ = self.store.prune(&state);
        Ok((state, notes))
    }

    /// Removes the table that only tracks, which a run left that ended between preparing conntrack and the rules. It
    /// accepts every packet.
    fn without_priming_table(&mut self, live: Option<Live>) -> Result<Option<Live>, KernelError> {
        if live.as_ref().is_some_and(only_tracks) {
            self.kernel.change(&[Change::DeleteTable], &[])?;
            return Ok(None);
        }
        Ok(live)
    }

    /// Finds out whether an interrupted change took effect.
    fn resolve_interruption(&self, state: State, live: Option<&Live>, notes: &mut Vec<String>) -> State {
        let took_effect = state.switching.as_ref().is_some_and(|switching| {
            let (from, to) = (switching.from, switching.to);
            // A change that may have taken effect must not lose its deadline where its files are damaged.
            let is_on_trial = |to| state.pending.as_ref().is_some_and(|pending| pending.generation == to);
            let may_hold = |to| is_on_trial(to) && self.store.ruleset(to).is_err();
            from != to && (holds(self.store, live, to) || to.is_some_and(may_hold)) && !holds(self.store, live, from)
        });
        match self.transition(|stamp| state.after_interruption(took_effect, stamp)) {
            Some((after, note)) => {
                notes.push(note);
                after
            }
            None => state,
        }
    }

    /// Brings the state in line with the table before that is undone with the change: what another program made of it
    /// becomes a generation of its own.
    fn keep_what_is_undone(&mut self, state: State, live: Option<&Live>, notes: &mut Vec<String>) -> State {
        let now = Moment::now();
        let is_undone = |pending: &Pending| pending.has_expired(&now) && !pending.is_from_earlier_boot(&now);
        if !state.pending.as_ref().is_some_and(is_undone) {
            return state;
        }
        let back = self.store.way_back(&state).to;
        if means(live, back.as_ref().map(|(_, ruleset)| ruleset)) {
            // It is back already: by a run that ended before it could record that, or by the watcher, which had no place to.
            return state;
        }
        self.reconcile(state.clone(), live, notes).unwrap_or_else(|error| {
            // A full disk is no reason to leave an unconfirmed change in force.
            notes.push(format!("the rules that the kernel had are not kept: {}", chain(&error)));
            state
        })
    }

    /// Undoes a change that was not confirmed in time, or before the host rebooted.
    fn undo_overdue(&mut self, state: State, notes: &mut Vec<String>) -> Result<State, RolloutError> {
        let Some(pending) = &state.pending else { return Ok(state) };
        let now = Moment::now();
        let is_from_earlier_boot = pending.is_from_earlier_boot(&now);
        let why = match is_from_earlier_boot {
            true => Why::Reboot,
            false if pending.has_expired(&now) => Why::NotInTime,
            false => return Ok(state),
        };
        notes.push(format!("{} was undone: {}", named(Some(pending.generation)), why.sentence()));
        if is_from_earlier_boot {
            // The kernel has what boot has loaded, or nothing.
            return Ok(self.transition(|stamp| state.after_undo(why, stamp)));
        }
        let (undone, outcome) = self.undo(&state, why)?;
        notes.extend(outcome.warnings);
        Ok(undone)
    }

    /// Brings the state in line with the table, where another program has changed or deleted that.
    fn reconcile(&mut self, state: State, live: Option<&Live>, notes: &mut Vec<String>) -> Result<State, RolloutError> {
        let (state, note) = match live {
            _ if holds(self.store, live, state.current) => return Ok(state),
            Some(live) => self.adopt(&state, live)?,
            None => self.transition(|stamp| state.after_loss(stamp)),
        };
        notes.push(note);
        Ok(state)
    }

    /// Saves rules that were found in the kernel as a generation.
    pub(super) fn adopt(&mut self, state: &State, live: &Live) -> Result<(State, String), StoreError> {
        let number = state.next_number();
        let is_damaged = state.current.is_some_and(|number| self.store.ruleset(number).is_err());
        let found = self.transition(|stamp| Generation::found(number, live, stamp.by.to_string(), stamp.now.time));
        self.store.write(number, &found)?;
        Ok(self.transition(|stamp| state.after_adoption(&found.rules, is_damaged, stamp)))
    }

    /// Removes what an interrupted change left in the table.
    fn remove_leftovers(&mut self, live: &Live, state: &State) -> Result<Option<String>, RolloutError> {
        let rest = Transition::from(Some(live.clone()), state.current.map(|_| live.meaning()).as_ref());
        // Without a generation in force the whole table is left over.
        if rest.left_over() == 0 && state.current.is_some() {
            return Ok(None);
        }
        rest.sweep(self.kernel)?;
        Ok(Some("removed leftovers of an interrupted change".to_owned()))
    }
}
