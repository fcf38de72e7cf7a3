//! What verbs that change rules share: recovery, and what they say about a change.

mod report;

use std::time::Duration;

use jiff::SignedDuration;

use crate::cli::comparison::changes;
use crate::cli::failure::Failure;
use crate::cli::{hint, render};
use crate::host::generations::{Pending, State, Store};
use crate::host::kernel::Kernel;
use crate::host::operator::Operator;
use crate::host::rollout::{Outcome, Rollout, named, time_left};
use crate::host::watch::{Watcher, can_be_promised};
use crate::report::duration;
use crate::wording::count;

pub(crate) use report::Report;

/// The rules in force and their records, with the user who runs this as the author of changes.
pub(crate) fn rollout<'a>(store: &'a Store, kernel: &'a mut dyn Kernel) -> Rollout<'a> {
    Rollout::new(store, kernel, Operator::current(), &changes)
}

/// Recovers from an interrupted run, and shows what was done for that.
pub(crate) fn recover(rollout: &mut Rollout<'_>, force: bool, report: &mut Report) -> Result<State, Failure> {
    let (state, notes) = rollout.recover(force)?;
    notes.iter().for_each(|note| render::note(note));
    rollout.delivery_warning().iter().for_each(|warning| render::warning(warning));
    report.left(&state);
    Ok(state)
}

/// Refuses a change with a deadline where nothing would be left to undo it. `--force` does not override this.
pub(crate) fn refuse_unwatched(confirm_within: Option<Duration>) -> Result<(), Failure> {
    confirm_within.map_or(Ok(()), |_| Ok(can_be_promised()?))
}

/// Shows the warnings of a change, and what conntrack learned or does not know.
pub(crate) fn show_notices(outcome: &Outcome) {
    for warning in &outcome.warnings {
        render::warning(warning);
    }
    let Some(primed) = &outcome.primed else { return };
    if primed.added > 0 {
        render::note(&format!(
            "conntrack was not active here; {} that began before the change were added to it",
            count(primed.added, "connection")
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

/// Prints what is in force now, what is pending, and what will undo it.
pub(crate) fn print_result(report: &mut Report, sentence: &str, state: &State, outcome: &Outcome) {
    report.left(state);
    report.changed(outcome.changed);
    let mut text = format!("{sentence}\n");
    text.extend(state.pending.iter().map(|pending| pending_sentence(pending) + "\n"));
    text.extend(outcome.watcher.as_ref().map(|watcher| watcher_sentence(watcher) + "\n"));
    report.say(&text);
}

/// What is pending, and until when.
pub(crate) fn pending_sentence(pending: &Pending) -> String {
    // Rounded up to whole seconds: after `--confirm-within 2s`, `1 s` would look wrong.
    let left = time_left(pending).saturating_add(Duration::from_millis(999));
    let left = SignedDuration::try_from(left).unwrap_or(SignedDuration::MAX);
    let undone = match pending.back_to {
        Some(number) => format!("{} comes back", named(Some(number))),
        None => "the rules are removed and every packet is accepted".to_owned(),
    };
    format!(
        "{} is pending: {undone} in {} ({}) unless `{}` keeps it",
        named(Some(pending.generation)),
        duration(left),
        pending.deadline,
        hint::command("confirm"),
    )
}

/// That a change was undone, and what is in force.
pub(crate) fn undone_sentence(state: &State, undone: u64) -> String {
    let at = state.generations.get(&undone).and_then(|record| record.rolled_back);
    let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
    format!("{} was undone{at}, and {} is in force", named(Some(undone)), named(state.current))
}

fn watcher_sentence(watcher: &Watcher) -> String {
    match watcher {
        Watcher::Service(unit) => format!("the service `{unit}` of systemd watches the deadline"),
        Watcher::Process { id, session: None } => {
            format!("the process {id} watches the deadline; it does not depend on this terminal or this session")
        }
        Watcher::Process { id, session: Some(session) } => format!(
            "the process {id} watches the deadline; it is part of the login session `{session}`, and ends with it if \
             logind has `KillUserProcesses=yes`"
        ),
    }
}
