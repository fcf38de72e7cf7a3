//! A generation on its way into the kernel and into the records, so that a run that ends anywhere leaves the old rules
//! or the new ones, and a folder from which the next run goes on.
//!
//! The order is always the same: the generation's files; the state that says where the kernel is on its way to; whoever
//! undoes the change at its deadline; new sets; the switch; a look at what the kernel has now; the state that says that
//! it is there; the sweep. Up to the switch nothing has happened to packets, and behind it nothing can fail that the
//! next run does not make good.

use std::ffi::OsStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::clock;
use super::files::Staged;
use super::generations::{Event, Generation, MadeBy, Pending, Record, State, Store, StoreError, Switching};
use super::kernel::{Kernel, KernelError};
use super::netlink::NetlinkError;
use super::prime::{PrimeError, Primed, only_tracks, prime};
use super::sessions::LiveConnection;
use super::transition::{Transition, means};
use super::watch::{self, WatchError, Watcher};
use crate::live::{Change, Live};
use crate::ruleset::Ruleset;

/// Why a change is undone that the last run of the machine left pending.
const STARTED_ANEW: &str = "the machine was started anew before somebody confirmed it";

/// Why the kernel was not brought to a generation.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The records cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel cannot be read or changed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Conntrack could not be prepared.
    #[error("conntrack could not be prepared for the first rules; nothing was changed")]
    Prime(#[from] PrimeError),
    /// Nobody would undo the change.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// What the kernel has is not what it was given.
    #[error("the kernel has other rules than it was given; those from before were put back")]
    Differs,
    /// The session that applies the rules would be cut off.
    #[error(
        "conntrack does not know of connections of this host, SSH among them, and the rules would take their next packet \
         for one that opens a connection: {}; nothing was changed. Press a key in each of these sessions and try again, \
         or take the risk with `--force`",
        listed(.0)
    )]
    Untracked(Vec<LiveConnection>),
}

fn listed(connections: &[LiveConnection]) -> String {
    let ends = connections.iter().take(5).map(|connection| format!("{} to {}", connection.peer, connection.local));
    ends.collect::<Vec<_>>().join(", ")
}

/// How a change is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChangeOptions {
    /// After so long without a word of confirmation it is undone.
    pub confirm_within: Option<Duration>,
    /// A table with unknown things in it is replaced as a whole, and connections that conntrack does not know are
    /// taken for granted.
    pub force: bool,
    /// The port of SSH, whose connections conntrack has to know.
    pub ssh_port: u16,
}

/// What a change has done.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Whether the rules or their elements changed.
    pub changed: bool,
    /// What was done for connections older than the rules.
    pub primed: Option<Primed>,
    /// Who undoes it.
    pub watcher: Option<Watcher>,
    /// What went wrong without harm.
    pub warnings: Vec<String>,
}

/// The kernel and the records of it.
pub struct Rollout<'a> {
    /// The records.
    pub store: &'a Store,
    /// The kernel.
    pub kernel: &'a mut dyn Kernel,
    /// Whose doing it is.
    pub by: String,
    /// Whether the table has something in it that edgeward does not know, so that nothing else is known of it.
    pub is_unreadable: bool,
}

impl<'a> Rollout<'a> {
    /// The kernel and its records, as a user changes them.
    pub fn new(store: &'a Store, kernel: &'a mut dyn Kernel, by: String) -> Self {
        Self { store, kernel, by, is_unreadable: false }
    }

    /// Makes good what the last run left: finds out whether a change that was broken off took place, and undoes one
    /// whose time is over. What the kernel has besides becomes a generation of its own, so that it can come back.
    ///
    /// Returns the state, and what there is to tell.
    ///
    /// # Errors
    /// The records or the kernel cannot be read; nothing has changed.
    pub fn recover(&mut self, force: bool) -> Result<(State, Vec<String>), RolloutError> {
        let mut notes = Vec::new();
        let mut state = self.store.state()?;
        let read = state.clone();
        recall(self.store, self.kernel, &state);
        let live = match self.kernel.table() {
            Ok(table) => table.map(Live),
            // It is replaced as a whole, and nothing can be said of it.
            Err(KernelError::Unreadable(_)) if force => {
                self.is_unreadable = true;
                state.switching = None;
                return self.settle_pending(state, notes);
            }
            Err(error) => return Err(error.into()),
        };
        let live = match live.as_ref().filter(|live| only_tracks(live)) {
            // Of a run that was ended between preparing conntrack and the rules; it accepts everything.
            Some(_) => {
                self.kernel.change(&[Change::DeleteTable])?;
                None
            }
            None => live,
        };
        if let Some(Switching { from, to, pending }) = state.switching.take() {
            let took_place = from != to && has(self.store, live.as_ref(), to) && !has(self.store, live.as_ref(), from);
            let end = if took_place { "took place" } else { "did not take place" };
            let words = format!("a change to {} was broken off, and {end}", named(to));
            if took_place {
                self.arrive(&mut state, to);
            } else {
                state.pending = pending;
                let is_new = |number: &u64| *number == state.last && to != from;
                if let Some(number) = to.filter(is_new) {
                    state.generations.remove(&number);
                }
            }
            self.tell(&mut state, words.clone());
            notes.push(words);
        }
        let (mut state, mut notes) = self.settle_pending(state, notes)?;
        if live.is_none() && state.pending.is_none() && read.pending.is_some() {
            // A start of the machine has emptied the kernel.
            state.current = None;
        }
        let live = if state.current == read.current { live } else { self.kernel.table()?.map(Live) };
        match &live {
            _ if has(self.store, live.as_ref(), state.current) => {}
            Some(live) => notes.push(self.adopt(&mut state, live)?),
            None => {
                let words = format!("the kernel has no table any more; it was brought to {}", named(state.current));
                state.current = None;
                self.tell(&mut state, words.clone());
                notes.push(words);
            }
        }
        if let Some(live) = &live {
            notes.extend(self.sweep(live, &state)?);
        }
        if state != read {
            state.forget();
            self.store.save(&state)?;
            // Files that stay are removed by a later run.
            let _ = self.store.prune(&state);
        }
        Ok((state, notes))
    }

    /// Sweeps what a run that was broken off has left in the table.
    fn sweep(&mut self, live: &Live, state: &State) -> Result<Option<String>, RolloutError> {
        let rest = Transition::from(Some(live.clone()), state.current.map(|_| live.meaning()).as_ref());
        // Without a generation the whole table is left over.
        if rest.left_over() == 0 && state.current.is_some() {
            return Ok(None);
        }
        rest.sweep(self.kernel)?;
        Ok(Some("what a change that was broken off has left in the table is swept".to_owned()))
    }

    /// Undoes a change whose time is over.
    fn settle_pending(&mut self, state: State, mut notes: Vec<String>) -> Result<(State, Vec<String>), RolloutError> {
        let Some(pending) = &state.pending else { return Ok((state, notes)) };
        let is_from_before = is_from_before(pending);
        let why = match is_from_before {
            true => STARTED_ANEW,
            false if has_expired(pending) => "nobody confirmed it in time",
            false => return Ok((state, notes)),
        };
        notes.push(format!("{} was undone: {why}", named(Some(pending.generation))));
        if is_from_before {
            // What boot has loaded is in force, or nothing is.
            let mut state = state;
            self.give_up(&mut state, why);
            return Ok((state, notes));
        }
        let (undone, outcome) = self.undo(&state, why)?;
        notes.extend(outcome.warnings);
        Ok((undone, notes))
    }

    /// The ruleset of a generation, which the kernel's table may hold from now on.
    fn ruleset(&mut self, number: u64) -> Result<Ruleset, StoreError> {
        let ruleset = self.store.ruleset(number)?;
        self.kernel.recall(&ruleset);
        Ok(ruleset)
    }

    /// Makes a generation of what somebody else has put into the kernel.
    fn adopt(&mut self, state: &mut State, live: &Live) -> Result<String, RolloutError> {
        state.last += 1;
        let number = state.last;
        let generation = Generation::found(number, live, self.by.clone(), clock::now());
        self.store.write(number, &generation)?;
        let words = format!(
            "the kernel had other rules than {}; they are kept as {}",
            named(state.current),
            named(Some(number))
        );
        let record = Record { made_by: MadeBy::Found, rules: generation.rules, confirmed: None, rolled_back: None };
        state.generations.insert(number, record);
        state.current = Some(number);
        self.tell(state, words.clone());
        Ok(words)
    }

    /// Brings the kernel to a generation whose files are new.
    ///
    /// `state` is what [`Rollout::recover`] returned.
    ///
    /// # Errors
    /// The kernel has the old rules, and the state says so.
    pub fn apply(
        &mut self,
        state: &State,
        generation: Generation,
        ruleset: &Ruleset,
        options: ChangeOptions,
    ) -> Result<(State, Outcome), RolloutError> {
        let number = generation.manifest.generation;
        let made_by = generation.manifest.made_by;
        let mut after = state.clone();
        after.last = number;
        let record = Record { made_by, rules: generation.rules.clone(), confirmed: None, rolled_back: None };
        after.generations.insert(number, record);
        self.aim(&mut after, state, Some(number), options);
        self.tell(&mut after, format!("{}: {}", made_by.name(), named(Some(number))));
        self.store.write(number, &generation)?;
        // Its text may be larger than all else.
        drop(generation);
        self.kernel.recall(ruleset);
        self.carry(state, after, Some((number, ruleset)), options)
    }

    /// Brings the kernel back to an older generation, or to no table.
    ///
    /// # Errors
    /// As [`Rollout::apply`]; the generation's files are damaged.
    pub fn rollback(
        &mut self,
        state: &State,
        to: Option<u64>,
        options: ChangeOptions,
    ) -> Result<(State, Outcome), RolloutError> {
        let ruleset = to.map(|number| self.ruleset(number)).transpose()?;
        let mut after = state.clone();
        // Whoever goes back rejects what came since; a timer is not to bring it back.
        if let Some(left) = state.current.filter(|left| Some(*left) > to)
            && let Some(record) = after.generations.get_mut(&left)
        {
            record.rolled_back.get_or_insert(clock::now());
        }
        self.aim(&mut after, state, to, options);
        self.tell(&mut after, format!("rollback from {} to {}", named(state.current), named(to)));
        self.carry(state, after, to.zip(ruleset.as_ref()), options)
    }

    /// Says what is to hold when the kernel has got to a generation.
    fn aim(&self, after: &mut State, before: &State, to: Option<u64>, options: ChangeOptions) {
        after.switching = None;
        after.undone = None;
        match (options.confirm_within, to) {
            (Some(delay), Some(generation)) => {
                let back_to = before.pending.as_ref().map_or(before.current, |pending| pending.back_to);
                after.armed += 1;
                after.pending = Some(pending(after.armed, generation, back_to, delay));
                after.current = to;
            }
            _ => {
                after.pending = None;
                self.arrive(after, to);
            }
        }
    }

    /// Says that the kernel has a generation, and that boot may load it, unless it is still to be confirmed.
    fn arrive(&self, state: &mut State, to: Option<u64>) {
        state.current = to;
        if state.pending.is_none() {
            state.confirmed = to;
            if let Some(record) = to.and_then(|number| state.generations.get_mut(&number)) {
                record.confirmed.get_or_insert(clock::now());
                record.rolled_back = None;
            }
        }
    }

    /// Undoes a change that nobody has confirmed: the kernel first, whatever becomes of the records.
    ///
    /// # Errors
    /// The kernel still has the change, or the records do not say that it has not.
    pub fn undo(&mut self, state: &State, why: &str) -> Result<(State, Outcome), RolloutError> {
        let Some(Pending { back_to, .. }) = state.pending else { return Ok((state.clone(), Outcome::default())) };
        let ruleset = back_to.map(|number| self.ruleset(number)).transpose()?;
        let mut after = state.clone();
        self.give_up(&mut after, why);
        let mut outcome = self.bring(ruleset.as_ref(), None, true)?;
        self.store.save(&after)?;
        if let Err(error) = self.store.prune(&after) {
            outcome.warnings.push(chain(&error));
        }
        Ok((after, outcome))
    }

    /// Writes down that a pending change is undone.
    fn give_up(&self, state: &mut State, why: &str) {
        let Some(Pending { generation, back_to, .. }) = state.pending.take() else { return };
        state.switching = None;
        state.current = back_to;
        state.undone = Some(generation);
        // What was put on top of it, by a refresh, goes with it.
        let unconfirmed = state.generations.iter_mut().filter(|(number, record)| {
            Some(**number) != back_to && record.confirmed.is_none() && record.made_by != MadeBy::Found
        });
        for (_, record) in unconfirmed {
            record.rolled_back.get_or_insert(clock::now());
        }
        self.tell(state, format!("rollback from {} to {}: {why}", named(Some(generation)), named(back_to)));
    }

    /// Sets a new deadline for a change that is pending already.
    ///
    /// # Errors
    /// The old deadline stands.
    pub fn extend(&mut self, state: &State, delay: Duration) -> Result<(State, Outcome), RolloutError> {
        let Some(Pending { generation, back_to, .. }) = state.pending else {
            return Ok((state.clone(), Outcome::default()));
        };
        let mut after = state.clone();
        after.armed += 1;
        after.pending = Some(pending(after.armed, generation, back_to, delay));
        self.tell(&mut after, format!("{} has a new deadline", named(Some(generation))));
        // Until the new watcher stands by, the old one takes it for a change on its way, and stays.
        let switching = Switching { from: state.current, to: state.current, pending: state.pending.clone() };
        self.store.save(&State { switching: Some(switching), ..after.clone() })?;
        let watcher = match self.watch(after.armed, delay) {
            Ok(watcher) => watcher,
            Err(error) => {
                self.store.save(&State { armed: after.armed, ..state.clone() })?;
                return Err(error);
            }
        };
        self.store.save(&after)?;
        Ok((after, Outcome { watcher: Some(watcher), ..Outcome::default() }))
    }

    /// Takes note that somebody has applied what is in force.
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn acknowledge(&mut self, state: &State) -> Result<(), RolloutError> {
        if state.undone.is_some() {
            self.store.save(&State { undone: None, ..state.clone() })?;
        }
        Ok(())
    }

    /// Confirms what is pending.
    ///
    /// # Errors
    /// The state cannot be written; it is pending still.
    pub fn confirm(&mut self, state: &State) -> Result<State, RolloutError> {
        let mut after = state.clone();
        after.pending = None;
        self.arrive(&mut after, state.current);
        self.tell(&mut after, format!("{} is confirmed", named(state.current)));
        after.forget();
        self.store.save(&after)?;
        // Files that stay are removed by the next run.
        let _ = self.store.prune(&after);
        Ok(after)
    }

    /// Loads the last confirmed generation after a start of the machine, without any other record being needed.
    ///
    /// Returns its number, or `None` where none was ever confirmed.
    ///
    /// # Errors
    /// None of the confirmed generations could be loaded, or the state cannot be written.
    pub fn boot(&mut self) -> Result<(Option<u64>, Outcome), RolloutError> {
        let mut state = self.store.state()?;
        let mut outcome = Outcome::default();
        let confirmed = state.generations.iter().filter(|(_, record)| record.confirmed.is_some());
        // An older one is better than none.
        let older = confirmed.map(|(number, _)| *number).rev().filter(|number| Some(*number) < state.confirmed);
        let mut found = None;
        let mut damaged = None;
        for number in state.confirmed.into_iter().chain(older) {
            match self.ruleset(number) {
                Ok(ruleset) => {
                    found = Some((number, ruleset));
                    break;
                }
                Err(error) => {
                    outcome.warnings.push(chain(&error));
                    damaged.get_or_insert(error);
                }
            }
        }
        let Some((number, ruleset)) = found else {
            return damaged.map_or(Ok((None, outcome)), |error| Err(error.into()));
        };
        let read = state.clone();
        if let Ok(Some(table)) = self.kernel.table() {
            let live = Live(table);
            let is_known =
                means(Some(&live), Some(&ruleset)) || only_tracks(&live) || has(self.store, Some(&live), state.current);
            if !is_known && !means(Some(&live), None) {
                // A disk that is full is no reason to boot without rules.
                outcome.warnings.push(match self.adopt(&mut state, &live) {
                    Ok(words) => words,
                    Err(error) => chain(&error),
                });
            }
        }
        let brought = self.bring(Some(&ruleset), None, true)?;
        outcome.changed = brought.changed;
        outcome.warnings.extend(brought.warnings);
        if let Some(pending) = &state.pending {
            // Somebody may have called it on a machine that runs: whoever flushes all tables, for one.
            let why = if is_of_now(pending) { "boot loads what is confirmed" } else { STARTED_ANEW };
            self.give_up(&mut state, why);
        }
        state.switching = None;
        state.current = Some(number);
        if state != read {
            self.store.save(&state)?;
        }
        Ok((Some(number), outcome))
    }

    /// Carries a change out, from the state before it to the state after it.
    fn carry(
        &mut self,
        before: &State,
        mut after: State,
        to: Option<(u64, &Ruleset)>,
        options: ChangeOptions,
    ) -> Result<(State, Outcome), RolloutError> {
        after.forget();
        let number = to.map(|(number, _)| number);
        let on_the_way = State {
            switching: Some(Switching { from: before.current, to: number, pending: before.pending.clone() }),
            current: before.current,
            confirmed: before.confirmed,
            // All of them: what is forgotten at the end is still there.
            generations: before.generations.iter().chain(&after.generations).map(|(n, r)| (*n, r.clone())).collect(),
            ..after.clone()
        };
        let staged = self.store.stage(&after)?;
        self.store.save(&on_the_way)?;
        let carried = self.carry_to(on_the_way, &mut after, staged, to.map(|(_, ruleset)| ruleset), options);
        let (mut outcome, staged) = match carried {
            Ok(outcome) => outcome,
            Err(error) => {
                // Nothing has happened, and the state may say so; where it cannot, the next run finds out.
                let _ = self.store.save(&State { last: after.last, armed: after.armed, ..before.clone() });
                let _ = self.store.prune(before);
                return Err(error);
            }
        };
        match self.store.commit(staged) {
            Ok(()) => drop(self.store.prune(&after)),
            Err(error) => outcome.warnings.push(format!(
                "the rules are in force, and that could not be written down; the next run finds out: {}",
                chain(&error)
            )),
        }
        Ok((after, outcome))
    }

    fn carry_to(
        &mut self,
        mut on_the_way: State,
        after: &mut State,
        mut staged: Staged,
        ruleset: Option<&Ruleset>,
        options: ChangeOptions,
    ) -> Result<(Outcome, Staged), RolloutError> {
        let (mut primed, mut planned) = (None, None);
        if !self.is_unreadable {
            let live = self.kernel.table()?.map(Live);
            primed = ruleset.map(|ruleset| prime(self.kernel, live.as_ref(), ruleset)).transpose()?.flatten();
            // Where conntrack was prepared there is another table now.
            planned = primed.is_none().then(|| Transition::from(live, ruleset));
        }
        let go_on = || {
            if let Some(primed) = &primed
                && primed.lacks_port(options.ssh_port)
                && !options.force
            {
                return Err(RolloutError::Untracked(primed.unknown.clone()));
            }
            let mut watcher = None;
            if let (Some(delay), Some(old)) = (options.confirm_within, &after.pending) {
                // The time to confirm begins with the rules, and not with what goes before them.
                let renewed = pending(old.armed, old.generation, old.back_to, delay);
                after.pending = Some(renewed.clone());
                on_the_way.pending = Some(renewed);
                staged = self.store.stage(after)?;
                self.store.save(&on_the_way)?;
                watcher = Some(self.watch(on_the_way.armed, delay)?);
            }
            Ok(Outcome { watcher, ..self.bring(ruleset, planned, options.force)? })
        };
        match go_on() {
            Ok(outcome) => Ok((Outcome { primed, ..outcome }, staged)),
            Err(error) => {
                if primed.is_some() {
                    self.take_back_priming(&on_the_way);
                }
                Err(error)
            }
        }
    }

    /// Removes the table that only tracks, where there was none before it.
    fn take_back_priming(&mut self, state: &State) {
        if state.switching.as_ref().is_some_and(|switching| switching.from.is_none()) {
            // It accepts everything; where it stays, the next run removes it.
            let _ = self.bring(None, None, false);
        }
    }

    /// Brings the kernel to a ruleset, or to no table, and looks whether it is there. The way may be planned already.
    fn bring(
        &mut self,
        ruleset: Option<&Ruleset>,
        planned: Option<Transition>,
        force: bool,
    ) -> Result<Outcome, RolloutError> {
        let planned = planned.map_or_else(|| Transition::plan(self.kernel, ruleset), Ok);
        match self.carry_through(ruleset, planned, force) {
            // A large set is not what it was taken for. From now on all of it is read.
            Err(RolloutError::Kernel(KernelError::Netlink(
                NetlinkError::Missing { .. } | NetlinkError::Exists { .. },
            ))) => {
                let planned = Transition::plan_anew(self.kernel, ruleset);
                self.carry_through(ruleset, planned, force)
            }
            brought => brought,
        }
    }

    fn carry_through(
        &mut self,
        ruleset: Option<&Ruleset>,
        planned: Result<Transition, KernelError>,
        force: bool,
    ) -> Result<Outcome, RolloutError> {
        let mut outcome = Outcome::default();
        let transition = match planned {
            Ok(transition) => transition,
            Err(KernelError::Unreadable(_)) if force => {
                outcome.changed = true;
                outcome.warnings.push(
                    "the table was replaced as a whole: packets may have been lost, and counters are at zero"
                        .to_owned(),
                );
                self.kernel.replace(&ruleset.cloned().unwrap_or_default())?;
                return Ok(outcome);
            }
            Err(error) => return Err(error.into()),
        };
        outcome.changed = !transition.keeps_rules();
        if outcome.changed {
            transition.fill(self.kernel)?;
            transition.switch(self.kernel)?;
            let live = self.kernel.table()?.map(Live);
            let is_there = match ruleset {
                Some(ruleset) => means(live.as_ref(), Some(ruleset)),
                None => live.is_none_or(|live| live.meaning().rules().next().is_none()),
            };
            if !is_there {
                let before = transition.before.as_ref().map(Live::meaning);
                let back = Transition::plan(self.kernel, before.as_ref())?;
                back.fill(self.kernel)
                    .and_then(|()| back.switch(self.kernel))
                    .and_then(|()| back.sweep(self.kernel))?;
                return Err(RolloutError::Differs);
            }
        }
        if let Err(error) = transition.sweep(self.kernel) {
            outcome.warnings.push(format!("what is not needed any more stays until the next run: {}", chain(&error)));
        }
        Ok(outcome)
    }

    fn watch(&self, armed: u64, delay: Duration) -> Result<Watcher, RolloutError> {
        let (number, name) = (armed.to_string(), format!("edgeward-rollback-{armed}-{}", std::process::id()));
        let command = ["watch", "--state-dir"].map(OsStr::new);
        let command = [command[0], command[1], self.store.folder().as_os_str(), OsStr::new(&number)];
        Ok(watch::arm(&name, &command, delay)?)
    }

    fn tell(&self, state: &mut State, what: String) {
        state.events.push(Event { at: clock::now(), by: self.by.clone(), what });
    }
}

/// Tells the kernel which rulesets its table may hold, by the records.
pub fn recall(store: &Store, kernel: &mut dyn Kernel, state: &State) {
    let switching = state.switching.iter().flat_map(|switching| [switching.from, switching.to]);
    let back_to = state.pending.as_ref().and_then(|pending| pending.back_to);
    for number in switching.chain([state.current, back_to]).flatten() {
        // That it is damaged is said where it is needed.
        let _ = store.ruleset(number).map(|ruleset| kernel.recall(&ruleset));
    }
}

/// Where the kernel is: at the generation that the state names, unless a change was broken off that took place.
pub fn generation_in_kernel(store: &Store, state: &State, live: Option<&Live>) -> Option<u64> {
    match &state.switching {
        Some(switching) if !has(store, live, state.current) && has(store, live, switching.to) => switching.to,
        _ => state.current,
    }
}

/// Whether the kernel's table is a generation's.
fn has(store: &Store, live: Option<&Live>, number: Option<u64>) -> bool {
    match number {
        None => means(live, None),
        Some(number) => store.ruleset(number).is_ok_and(|ruleset| means(live, Some(&ruleset))),
    }
}

/// A generation as messages call it.
pub fn named(number: Option<u64>) -> String {
    number.map_or_else(|| "no table".to_owned(), |number| format!("generation {number}"))
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn pending(armed: u64, generation: u64, back_to: Option<u64>, delay: Duration) -> Pending {
    let boot = clock::boot_id();
    let ends = clock::since_boot().saturating_add(delay);
    let deadline = clock::now()
        .checked_add(SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX))
        .unwrap_or(Timestamp::MAX);
    let deadline_since_boot = u64::try_from(ends.as_millis()).unwrap_or(u64::MAX);
    Pending { armed, generation, back_to, deadline, deadline_since_boot, boot }
}

/// Whether the last run has left something to make good: a change half way, or one whose time is over.
pub fn needs_recovery(state: &State) -> bool {
    let is_to_go = |pending: &Pending| has_expired(pending) || is_from_before(pending);
    state.switching.is_some() || state.pending.as_ref().is_some_and(is_to_go)
}

/// Whether the machine was started anew since a change was armed, as far as the kernel tells.
fn is_from_before(pending: &Pending) -> bool {
    matches!((&pending.boot, clock::boot_id()), (Some(then), Some(now)) if *then != now)
}

/// Whether the machine has run since a change was armed, as far as the kernel tells.
fn is_of_now(pending: &Pending) -> bool {
    pending.boot.is_some() && pending.boot == clock::boot_id()
}

/// Whether the time for a word of confirmation is over.
pub fn has_expired(pending: &Pending) -> bool {
    time_left(pending).is_zero()
}

/// How long there is left to confirm a change.
pub fn time_left(pending: &Pending) -> Duration {
    Duration::from_millis(pending.deadline_since_boot).saturating_sub(clock::since_boot())
}
