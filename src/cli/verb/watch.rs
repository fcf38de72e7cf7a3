//! `edgeward watch`: undoes a change at its deadline. `apply` starts it, in a session or a unit of its own.
//!
//! An older version that is waiting calls it, too, if it finds a state that it cannot read. So its arguments do not change,
//! and it succeeds where nothing is left to do.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::change;
use crate::cli::failure::Failure;
use crate::host::clock::pause;
use crate::host::generations::{Pending, Store};
use crate::host::kernel::Real;
use crate::host::operator::Operator;
use crate::host::rollout::{has_expired, time_left};
use crate::host::watch::{ProgramFile, detach};

/// How often it checks whether the change is still pending.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a failed attempt to undo the change.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// With the interval, it tries for an hour.
const MAX_ATTEMPTS: usize = 720;
const MAX_LOCK_WAIT: Duration = Duration::from_secs(600);

/// Undo a pending change at its deadline; `apply` starts it
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder with the generations
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// The number of the pending change
    armed: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = Store::look(&arguments.state_dir);
    // Before it detaches: `apply` relies on a watcher only once it has, so one that cannot read the state must fail here.
    let own = store.state()?.pending.filter(|pending| pending.armed == arguments.armed);
    let Some(own) = own else { return Ok(()) };
    let program = ProgramFile::current();
    let _ = detach();
    while let Some(rest) = remaining(&store, &own) {
        pause(rest.min(POLL_INTERVAL));
    }
    let mut done = undo(arguments, &program);
    for _ in 1..MAX_ATTEMPTS {
        if done.is_ok() {
            break;
        }
        pause(RETRY_INTERVAL);
        done = undo(arguments, &program);
    }
    done
}

/// The time until the deadline; `None` once it has expired, or if another process watches the pending change.
fn remaining(store: &Store, own: &Pending) -> Option<Duration> {
    let Ok(state) = store.state() else { return Some(time_left(own)).filter(|rest| !rest.is_zero()) };
    match &state.pending {
        Some(pending) if pending.armed == own.armed => Some(time_left(pending)),
        // Another change is about to replace this one, and may still fail.
        _ if state.switching.is_some() => Some(time_left(own)),
        _ => None,
    }
    .filter(|rest| !rest.is_zero())
}

fn undo(arguments: &Arguments, program: &ProgramFile) -> Result<(), Failure> {
    let folder = &arguments.state_dir;
    if let Err(error) = Store::look(folder).state() {
        // A newer version has written it, and knows this verb, too.
        let number = arguments.armed.to_string();
        let command = [OsStr::new("watch"), OsStr::new("--state-dir"), folder.as_os_str(), OsStr::new(&number)];
        return if program.run_successor(&command) { Ok(()) } else { Err(error.into()) };
    }
    let store = Store::hold(folder, MAX_LOCK_WAIT)?;
    let mut kernel = Real::default();
    let state = store.state()?;
    // The change may have been confirmed, or replaced by one with another deadline.
    if state.switching.is_none() && !state.pending.as_ref().is_some_and(has_expired) {
        return Ok(());
    }
    let mut rollout = change::rollout(&store, &mut kernel);
    rollout.by = Operator::watcher();
    rollout.recover(true)?;
    Ok(())
}
