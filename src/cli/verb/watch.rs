//! `edgeward watch`: undoes a change at its deadline. `apply` starts it, in a session or a unit of its own.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::failure::Failure;
use crate::cli::report;
use crate::host::clock::pause;
use crate::host::generations::{Pending, Store};
use crate::host::kernel::Real;
use crate::host::rollout::{has_expired, time_left};
use crate::host::watch::detach;

/// How often it looks whether the change is still pending.
const TICK: Duration = Duration::from_secs(1);
/// Between attempts where the kernel or the disk says no, and how many there are: an hour's worth.
const PAUSE: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 720;
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder with the generations
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// The number of the arming
    armed: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = Store::look(&arguments.state_dir);
    // Only who stands on its own feet is relied on, and only who can read what it is to watch.
    let own = store.state()?.pending.filter(|pending| pending.armed == arguments.armed);
    let Some(own) = own else {
        return Err(Failure::System(anyhow::anyhow!(
            "arming {} is not pending: nobody is to watch it",
            arguments.armed
        )));
    };
    let _ = detach();
    while let Some(rest) = waits(&store, &own) {
        pause(rest.min(TICK));
    }
    let mut done = undo(arguments);
    for _ in 1..ATTEMPTS {
        if done.is_ok() {
            break;
        }
        pause(PAUSE);
        done = undo(arguments);
    }
    done
}

/// How long there is to wait; `None` where the time is over, or another one watches.
fn waits(store: &Store, own: &Pending) -> Option<Duration> {
    let Ok(state) = store.state() else { return Some(time_left(own)).filter(|rest| !rest.is_zero()) };
    match &state.pending {
        Some(pending) if pending.armed == own.armed => Some(time_left(pending)),
        // A change is on its way in this one's place. Whether it gets there is not known yet.
        _ if state.switching.is_some() => Some(time_left(own)),
        _ => None,
    }
    .filter(|rest| !rest.is_zero())
}

fn undo(arguments: &Arguments) -> Result<(), Failure> {
    let store = Store::hold(&arguments.state_dir, PATIENCE)?;
    let mut kernel = Real::default();
    let state = store.state()?;
    // Nothing may be pending by now, or another change with another deadline.
    if state.switching.is_none() && !state.pending.as_ref().is_some_and(has_expired) {
        return Ok(());
    }
    report::rollout(&store, &mut kernel).recover(true)?;
    Ok(())
}
