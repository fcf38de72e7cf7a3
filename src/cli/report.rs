//! What the verbs share that change or show the rules in force.

use std::time::Duration;

use crate::cli::failure::Failure;
use crate::cli::render;
use crate::host::generations::{Pending, State, Store};
use crate::host::kernel::Kernel;
use crate::host::operator;
use crate::host::rollout::{Outcome, Rollout, named, time_left};
use crate::host::watch::Watcher;
use crate::report::duration;

/// The rules in force and their records, as the user who runs this changes them.
pub(crate) fn rollout<'a>(store: &'a Store, kernel: &'a mut dyn Kernel) -> Rollout<'a> {
    Rollout::new(store, kernel, operator::name())
}

/// Makes good what the last run left, and tells of it.
pub(crate) fn recover(rollout: &mut Rollout<'_>, force: bool) -> Result<State, Failure> {
    let (state, notes) = rollout.recover(force)?;
    notes.iter().for_each(|note| render::note(note));
    Ok(state)
}

/// Shows what a change has brought besides the rules.
pub(crate) fn tell(outcome: &Outcome) {
    for warning in &outcome.warnings {
        render::warning(warning);
    }
    let Some(primed) = &outcome.primed else { return };
    if primed.added > 0 {
        render::note(&format!(
            "conntrack was not at work here; it knows of {} now that began before",
            render::count(primed.added, "connection")
        ));
    }
    for connection in &primed.unknown {
        render::warning(&format!(
            "conntrack does not know the {} connection from {} to {}; it may break",
            connection.transport.name(),
            connection.local,
            connection.peer
        ));
    }
}

/// Says what is in force now, what is pending, and who watches.
pub(crate) fn report(sentence: &str, state: &State, watcher: Option<&Watcher>) -> Result<(), Failure> {
    let mut text = format!("{sentence}\n");
    text.extend(state.pending.iter().map(|pending| deadline(pending) + "\n"));
    text.extend(watcher.map(|watcher| self::watcher(watcher) + "\n"));
    render::output(&text)
}

/// What is pending, and until when.
pub(crate) fn deadline(pending: &Pending) -> String {
    // To whole seconds, upwards: nobody who typed `2s` is told of one.
    let left = time_left(pending).saturating_add(Duration::from_millis(999));
    let left = jiff::SignedDuration::try_from(left).unwrap_or(jiff::SignedDuration::MAX);
    format!(
        "{} is pending: {} comes back in {} ({}) unless `edgeward confirm` keeps it",
        named(Some(pending.generation)),
        named(pending.back_to),
        duration(left),
        pending.deadline,
    )
}

/// Who undoes a pending change.
pub(crate) fn watcher(watcher: &Watcher) -> String {
    match watcher {
        Watcher::Timer(unit) => format!("the timer `{unit}` of systemd watches"),
        Watcher::Process(id) => format!("the process {id} watches; it needs neither this terminal nor this session"),
    }
}
