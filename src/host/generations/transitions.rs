//! How the records change: from a state, what was done, who did it and when, to the next state. Without I/O.

mod chain;
mod replay;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::event::{from_to, named};
use super::{Event, EventKind, Generation, MadeBy, Manifest, Note, Pending, Record, State, Switching, Why};
use crate::host::clock::Moment;
use crate::host::operator::Operator;

/// Who changes the records, when, and what the user says about it.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The user.
    pub by: &'a Operator,
    /// The moment.
    pub now: &'a Moment,
    /// The message, and what is overridden.
    pub note: &'a Note,
}

impl Stamp<'_> {
    /// An event of now, without its number.
    fn event(self, event: EventKind, what: String, from: Option<u64>, to: Option<u64>) -> Event {
        let Note { message, forced, overridden } = self.note.clone();
        let (at, by) = (self.now.time, self.by.clone());
        Event { at, by, event, what, message, forced, overridden, generation: to, from, to, ..Event::default() }
    }
}

impl State {
    /// The state once the kernel has a new generation.
    #[must_use]
    pub fn after_apply(&self, generation: &Generation, confirm_within: Option<Duration>, stamp: Stamp<'_>) -> Self {
        let (number, made_by) = (generation.manifest.generation, generation.manifest.made_by);
        let mut after = self.clone();
        after.last = number;
        let record = self.record_of(generation);
        after.generations.insert(number, record);
        after.bring_into_force(self, Some(number), confirm_within, stamp);
        after.note_maker(number);
        let kind = if made_by == MadeBy::Refresh { EventKind::Refresh } else { EventKind::Apply };
        let what = format!("{}: {}", made_by.name(), named(Some(number)));
        after.log_change(stamp.event(kind, what, self.current, Some(number)));
        after
    }

    /// The state once the kernel has an older generation again, or no table.
    #[must_use]
    pub fn after_rollback(&self, to: Option<u64>, confirm_within: Option<Duration>, stamp: Stamp<'_>) -> Self {
        let mut after = self.clone();
        after.leave(self.current, to, stamp.now.time);
        after.bring_into_force(self, to, confirm_within, stamp);
        let what = from_to("rollback", self.current, to);
        after.log_change(stamp.event(EventKind::Rollback, what, self.current, to));
        after
    }

    /// The state once a pending change is undone; the same state where none is pending.
    #[must_use]
    pub fn after_undo(&self, why: Why, stamp: Stamp<'_>) -> Self {
        let Some(Pending { generation, back_to, .. }) = self.pending else { return self.clone() };
        let mut after =
            State { pending: None, switching: None, current: back_to, undone: Some(generation), ..self.clone() };
        after.reject_unconfirmed(back_to, stamp.now.time);
        let what = format!("{}: {}", from_to("rollback", Some(generation), back_to), why.sentence());
        let event = stamp.event(EventKind::Undo, what, self.current, back_to);
        after.log(Event { why: Some(why), generation: Some(generation), ..event });
        after
    }

    /// The state once the table is removed from the kernel for good. No policy is rejected by that.
    #[must_use]
    pub fn after_removal(&self, stamp: Stamp<'_>) -> Self {
        let mut after =
            State { pending: None, switching: None, current: None, confirmed: None, undone: None, ..self.clone() };
        let what = format!("removal of {}", named(self.current));
        after.log(stamp.event(EventKind::Remove, what, self.current, None));
        after
    }

    /// The state once the pending change is confirmed.
    #[must_use]
    pub fn after_confirm(&self, stamp: Stamp<'_>) -> Self {
        let mut after = self.clone();
        after.pending = None;
        after.confirm(self.current, stamp.now.time);
        let what = format!("{} is confirmed", named(self.current));
        after.log(stamp.event(EventKind::Confirm, what, self.current, self.current));
        after.pruned()
    }

    /// The state once the pending change has a new deadline; the same state where none is pending.
    #[must_use]
    pub fn after_extend(&self, delay: Duration, stamp: Stamp<'_>) -> Self {
        let Some(pending) = &self.pending else { return self.clone() };
        let mut after = self.clone();
        after.armed += 1;
        after.pending = Some(Pending { armed: after.armed, ..pending.renewed(delay, stamp.now) });
        let what = format!("{} has a new deadline", named(Some(pending.generation)));
        after.log_change(stamp.event(EventKind::Extend, what, self.current, self.current));
        after
    }

    /// The state once the rules in force are applied again, which settles what was undone before.
    #[must_use]
    pub fn after_acknowledgement(&self) -> Self {
        State { undone: None, ..self.clone() }
    }

    /// The state once rules that were found in the kernel are saved as the next generation, and what to say. Another program
    /// has put them there; or they are those of a generation whose files are damaged, or of which the record is lost.
    #[must_use]
    pub fn after_adoption(&self, rules: &str, is_damaged: bool, stamp: Stamp<'_>) -> (Self, String) {
        let number = self.next_number();
        let mut after = State { last: number, current: Some(number), ..self.clone() };
        after.generations.insert(number, Record { before: self.current, ..Record::found(rules.to_owned()) });
        after.note_maker(number);
        let (former, new) = (named(self.current), named(Some(number)));
        let what = match self.current {
            Some(_) if is_damaged => {
                format!("the files of {former} are damaged; the rules that the kernel has are kept as {new}")
            }
            Some(_) => format!("the kernel had other rules than {former}; they are kept as {new}"),
            None => format!("the kernel had rules of which there is no record; they are kept as {new}"),
        };
        after.log(stamp.event(EventKind::Found, what.clone(), self.current, Some(number)));
        (after, what)
    }

    /// The state once the table is found to be gone from the kernel, and what to say.
    #[must_use]
    pub fn after_loss(&self, stamp: Stamp<'_>) -> (Self, String) {
        let mut after = State { current: None, ..self.clone() };
        let what = format!("the kernel has lost its table, which held {}", named(self.current));
        let event = stamp.event(EventKind::Lost, what.clone(), self.current, None);
        after.log(Event { generation: self.current, ..event });
        (after, what)
    }

    /// The state once it is known whether an interrupted change took effect, and what to say; `None` where no change
    /// was interrupted.
    #[must_use]
    pub fn after_interruption(&self, took_effect: bool, stamp: Stamp<'_>) -> Option<(Self, String)> {
        let Switching { from, to, pending, event } = self.switching.clone()?;
        let mut after = State { switching: None, ..self.clone() };
        if took_effect {
            after.undone = None;
            after.leave(from, to, stamp.now.time);
            after.settle_on(to, stamp);
            if let Some(event) = event {
                after.log(*event);
            }
        } else {
            after.pending = pending;
            after.drop_untried(from, to);
        }
        let end = if took_effect { "after" } else { "before" };
        let what = format!("a change to {} was interrupted {end} it took effect", named(to));
        let in_force = if took_effect { to } else { from };
        let event = stamp.event(EventKind::Interrupted, what.clone(), in_force, in_force);
        after.log(Event { generation: to, ..event });
        Some((after, what))
    }

    /// The state once boot has loaded a generation, which undoes what is pending and ends a change under way.
    #[must_use]
    pub fn after_boot(&self, loaded: u64, stamp: Stamp<'_>) -> Self {
        let mut before = self.clone();
        if let Some(Switching { from, to, pending, .. }) = before.switching.take() {
            before.pending = before.pending.or(pending);
            if before.pending.is_none() {
                before.drop_untried(from, to);
            }
        }
        let is_running = |pending: &Pending| pending.is_from_this_boot(stamp.now);
        let why = if before.pending.as_ref().is_some_and(is_running) { Why::Boot } else { Why::Reboot };
        State { current: Some(loaded), ..before.after_undo(why, stamp) }
    }

    /// The state with the event that boot has loaded what is in force now, in the place of what the kernel had.
    #[must_use]
    pub fn with_boot(&self, from: Option<u64>, stamp: Stamp<'_>) -> Self {
        let mut after = self.clone();
        let what = format!("boot: {}", named(self.current));
        after.log(stamp.event(EventKind::Boot, what, from, self.current));
        after
    }

    /// The state to save while the kernel is on its way to `after`, whose target is `to`.
    ///
    /// It has both ends of the way, and the generations as they were; a new one has not been tried yet.
    #[must_use]
    pub fn under_way(&self, after: &Self, to: Option<u64>) -> Self {
        let new = after.generations.iter().filter(|(number, _)| !self.generations.contains_key(number));
        let mut generations = self.generations.clone();
        let untried = |record: &Record| Record { confirmed: None, rolled_back: None, ..record.clone() };
        generations.extend(new.map(|(number, record)| (*number, untried(record))));
        let event = after.events.iter().find(|event| event.number > self.last_event).cloned().map(Box::new);
        State {
            switching: Some(Switching { from: self.current, to, pending: self.pending.clone(), event }),
            current: self.current,
            confirmed: self.confirmed,
            generations,
            undone: self.undone,
            // It has not happened yet.
            last_event: self.last_event,
            events: self.events.clone(),
            ..after.clone()
        }
    }

    /// The state once a change to `after` has failed without effect: as before, but its numbers are used up.
    #[must_use]
    pub fn after_failure(&self, after: &Self) -> Self {
        State { last: after.last, armed: after.armed, ..self.clone() }
    }

    /// The state with all of the time to confirm, counted from now; the same state where nothing is pending.
    #[must_use]
    pub fn with_deadline_from_now(&self, delay: Duration, now: &Moment) -> Self {
        let mut after = self.clone();
        after.pending = self.pending.as_ref().map(|pending| pending.renewed(delay, now));
        if let (Some(event), Some(pending)) = (after.events.last_mut(), &after.pending) {
            event.deadline = Some(pending.deadline);
            event.left.iter_mut().for_each(|left| left.pending = Some(pending.clone()));
        }
        after
    }

    /// The state in which the time to confirm the pending change is over.
    #[must_use]
    pub fn with_expired_deadline(&self) -> Self {
        let pending = self.pending.clone().map(|pending| Pending { deadline_since_boot: 0, ..pending });
        State { pending, ..self.clone() }
    }

    /// Puts a generation in force, for good or until its deadline.
    ///
    /// A change on top of a pending one falls back to where that one falls back to. Where another program has removed the
    /// table, it falls back to what boot would load. No table needs no deadline: it accepts every packet.
    fn bring_into_force(&mut self, before: &Self, to: Option<u64>, confirm_within: Option<Duration>, stamp: Stamp<'_>) {
        self.switching = None;
        self.undone = None;
        self.pending = confirm_within.zip(to).map(|(delay, generation)| {
            self.armed += 1;
            let in_force = before.current.or(before.confirmed);
            let back_to = before.pending.as_ref().map_or(in_force, |pending| pending.back_to);
            Pending::new(self.armed, generation, back_to, delay, stamp.now)
        });
        self.settle_on(to, stamp);
    }

    /// Records that the kernel goes from one generation to another. Going back to an older policy rejects the newer one,
    /// with its refreshes: the unit that applies the policy at boot must not bring it back.
    fn leave(&mut self, from: Option<u64>, to: Option<u64>, now: Timestamp) {
        let is_older = |from: &u64| to.is_none_or(|to| self.applied(to) < self.applied(*from));
        if let Some(from) = from.filter(is_older) {
            for (_, record) in self.siblings(from) {
                record.rolled_back.get_or_insert(now);
            }
        }
    }

    /// Records that what was never confirmed is undone, and what is in force since. Refreshes on top of a change go with it.
    /// What was found in the kernel was never on trial.
    fn reject_unconfirmed(&mut self, back_to: Option<u64>, now: Timestamp) {
        let unconfirmed = self.generations.iter_mut().filter(|(number, record)| {
            Some(**number) != back_to && record.confirmed.is_none() && record.made_by != MadeBy::Found
        });
        for (_, record) in unconfirmed {
            record.rolled_back.get_or_insert(now);
        }
        // A rollback on trial had rejected it.
        if let Some(back_to) = back_to {
            self.accept(back_to);
        }
    }

    /// Drops the target of a change without effect, if it is a new generation: the last one, and never in force.
    fn drop_untried(&mut self, from: Option<u64>, to: Option<u64>) {
        let is_untried = |record: &Record| {
            record.made_by != MadeBy::Found && record.confirmed.is_none() && record.rolled_back.is_none()
        };
        if let Some(number) = to.filter(|number| to != from && *number == self.last)
            && self.generations.get(&number).is_some_and(is_untried)
        {
            self.generations.remove(&number);
        }
    }

    /// Records that the kernel has a generation, and confirms it unless a change is pending.
    fn settle_on(&mut self, to: Option<u64>, stamp: Stamp<'_>) {
        self.current = to;
        if self.pending.is_none() {
            self.confirm(to, stamp.now.time);
        }
    }

    /// Has boot load a generation, or nothing.
    fn confirm(&mut self, to: Option<u64>, now: Timestamp) {
        self.confirmed = to;
        let Some(number) = to else { return };
        self.accept(number);
        if let Some(record) = self.generations.get_mut(&number) {
            record.confirmed.get_or_insert(now);
        }
    }

    /// Records that a generation, with its refreshes, is not rejected any more.
    fn accept(&mut self, number: u64) {
        for (_, record) in self.siblings(number) {
            record.rolled_back = None;
        }
    }

    /// Adds the event of a change, which may have to be confirmed.
    fn log_change(&mut self, event: Event) {
        let deadline = self.pending.as_ref().map(|pending| pending.deadline);
        self.log(Event { deadline, ..event });
    }

    /// Records that the next event is the one that made a generation.
    fn note_maker(&mut self, number: u64) {
        let event = self.last_event + 1;
        self.generations.entry(number).and_modify(|record| record.event = Some(event));
    }

    /// Adds an event.
    fn log(&mut self, event: Event) {
        self.last_event += 1;
        let left = Some(self.standing());
        self.events.push(Event { number: self.last_event, left, ..event });
    }
}

impl Record {
    /// The record of a generation that was found in the kernel.
    pub fn found(rules: String) -> Self {
        Self {
            made_by: MadeBy::Found,
            rules,
            inputs: None,
            applied: None,
            before: None,
            event: None,
            catalog: None,
            lists: BTreeSet::new(),
            confirmed: None,
            rolled_back: None,
        }
    }

    /// The record of a generation as its manifest describes it, without its place among the others.
    pub fn of(manifest: &Manifest, rules: String) -> Self {
        let catalog = manifest.policy.as_ref().map(|policy| policy.catalog.clone());
        let (made_by, inputs, lists) = (manifest.made_by, manifest.inputs(), manifest.stored_lists());
        Self { made_by, inputs, catalog, lists, ..Self::found(rules) }
    }
}

#[cfg(test)]
mod tests;
