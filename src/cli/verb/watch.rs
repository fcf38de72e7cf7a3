//! `edgeward watch`: undoes a change at its deadline. `apply` starts it, in a session or a unit of its own.
//!
//! From the moment on that `apply` relies on it, it holds in memory what it needs: the state, and the generation that comes
//! back with all of its files. What happens to the state folder later cannot stop it. While it waits, it writes that
//! generation again where its files are damaged, so that a change that is undone by hand leads to the same generation.
//!
//! An older version that is waiting calls it, too, if it finds a state that it cannot read. So its arguments do not change,
//! and it succeeds where nothing is left to do.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::change;
use crate::cli::failure::Failure;
use crate::diag::shown;
use crate::host::clock::pause;
use crate::host::files::Watched;
use crate::host::generations::{Held, Pending, Store, StoreError};
use crate::host::journal;
use crate::host::kernel::Real;
use crate::host::operator::Operator;
use crate::host::rollout::{has_expired, named, time_left};
use crate::host::watch::{ProgramFile, detach};

/// How often it checks whether the change is still pending.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a failed attempt to undo the change.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// With the interval, it tries for an hour.
const MAX_ATTEMPTS: usize = 720;
/// A run that holds the lock longer than this is stuck, and the kernel does not wait for it.
const MAX_LOCK_WAIT: Duration = Duration::from_secs(60);

/// Undo a pending change at its deadline; `apply` starts it
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder with the generations
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// The number of the pending change
    armed: u64,
}

/// The change that is watched.
struct Watch {
    folder: PathBuf,
    own: Pending,
    held: Held,
    /// Shows that it waits.
    mark: Option<Watched>,
    program: ProgramFile,
    /// Whether it is undone in the kernel, but not in the records.
    is_undone: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = Store::look(&arguments.state_dir);
    // Before it detaches: `apply` relies on a watcher only once it has, so one that cannot read the state must fail here.
    let state = store.state()?;
    let own = state.pending.clone().filter(|pending| pending.armed == arguments.armed);
    let Some(own) = own else { return Ok(()) };
    let held = store.hold_way_back(state);
    let mark = store.mark_watched();
    let folder = arguments.state_dir.clone();
    let mut watch = Watch { folder, own, held, mark, program: ProgramFile::current(), is_undone: false };
    let _ = detach();
    while let Some(rest) = watch.remaining() {
        pause(rest.min(POLL_INTERVAL));
    }
    let mut done = watch.undo();
    for _ in 1..MAX_ATTEMPTS {
        if done.is_ok() {
            break;
        }
        pause(RETRY_INTERVAL);
        done = watch.undo();
    }
    done
}

impl Watch {
    /// The time until the deadline; `None` once it has expired, or if another process watches the pending change.
    fn remaining(&mut self) -> Option<Duration> {
        let store = Store::look(&self.folder);
        store.fall_back_to(&self.held);
        let left = match store.state() {
            // A newer version has written it, and may have confirmed the change. That is found out at the deadline.
            Err(_) => time_left(&self.own),
            Ok(state) => match &state.pending {
                Some(pending) if pending.armed == self.own.armed => {
                    let left = time_left(pending);
                    self.held.update(state);
                    // Where that is not possible, the rules come back from memory.
                    let _ = self.held.number().map(|number| store.restore(number));
                    // The folder may be another one since.
                    self.mark = store.mark_watched();
                    left
                }
                // Another change is about to replace this one, and may still fail.
                _ if state.switching.is_some() => time_left(&self.own),
                _ => return None,
            },
        };
        Some(left).filter(|left| !left.is_zero())
    }

    /// Undoes the change, in the kernel and in the records.
    fn undo(&mut self) -> Result<(), Failure> {
        let undone = self.undo_with_records();
        if let Err(failure) = &undone
            && !self.is_undone
            && !self.is_settled()
        {
            self.undo_in_kernel(failure)?;
        }
        undone
    }

    /// Whether the change was confirmed, or replaced by one with another deadline.
    fn is_settled(&self) -> bool {
        let store = Store::look(&self.folder);
        store.fall_back_to(&self.held);
        match store.state() {
            Ok(state) => state.switching.is_none() && !state.pending.as_ref().is_some_and(has_expired),
            // The events are as in this version.
            Err(StoreError::Newer { .. }) => store.recovered().is_ok_and(|state| self.held.is_followed_by(&state)),
            Err(_) => false,
        }
    }

    fn undo_with_records(&self) -> Result<(), Failure> {
        let look = Store::look(&self.folder);
        if let Err(error) = look.state() {
            let number = self.own.armed.to_string();
            let command =
                [OsStr::new("watch"), OsStr::new("--state-dir"), self.folder.as_os_str(), OsStr::new(&number)];
            // A newer version has written it, and knows this verb, too.
            let is_newer = matches!(error, StoreError::Newer { .. });
            return if is_newer && self.program.run_successor(&command) { Ok(()) } else { Err(error.into()) };
        }
        let store = Store::hold(&self.folder, MAX_LOCK_WAIT)?;
        store.fall_back_to(&self.held);
        // The lock keeps it from being confirmed from here on.
        if self.is_settled() {
            return Ok(());
        }
        let mut kernel = Real::default();
        let mut rollout = change::rollout(&store, &mut kernel);
        rollout.by = Operator::watcher();
        let (state, notes) = rollout.recover(true)?;
        // Also where the change had not taken effect.
        state.current.map_or(Ok(()), |number| store.restore(number))?;
        // That it was undone is an event. What else is said is not.
        if notes.len() > 1 {
            notes.iter().for_each(|note| journal::warn(note));
        }
        Ok(())
    }

    /// Undoes the change in the kernel alone: the records cannot be written, or read.
    fn undo_in_kernel(&mut self, failure: &Failure) -> Result<(), Failure> {
        let mut kernel = Real::default();
        let store = Store::look(&self.folder);
        let outcome = change::rollout(&store, &mut kernel).undo_in_kernel(self.held.ruleset())?;
        self.is_undone = true;
        if outcome.changed {
            self.held.take_effect();
        }
        journal::warn(&format!(
            "{} was not confirmed in time, and {} is in force again, but that cannot be recorded in `{}`: {}",
            named(Some(self.own.generation)),
            named(self.held.number()),
            shown(&self.folder),
            failure.sentence()
        ));
        Ok(())
    }
}
