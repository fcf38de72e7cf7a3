//! The steps of a change, in the one order that every verb uses.

use std::ffi::OsStr;
use std::time::Duration;

use super::{ChangeOptions, Outcome, Rollout, RolloutError, chain};
use crate::host::clock::Moment;
use crate::host::files::Staged;
use crate::host::generations::State;
use crate::host::kernel::KernelError;
use crate::host::netlink::NetlinkError;
use crate::host::prime::{Primed, prime};
use crate::host::transition::{Transition, means};
use crate::host::watch::{self, Watcher};
use crate::live::Live;
use crate::ruleset::Ruleset;

/// The records of a change that is being carried out.
struct Records {
    /// The state in force, which says where the kernel is going.
    under_way: State,
    /// The state once the kernel is there.
    after: State,
    /// The text of `after`, on disk but not in force: a full disk cannot keep it from being put in force.
    staged: Staged,
}

impl Rollout<'_> {
    /// Brings the kernel and the records from one state to another.
    pub(super) fn converge(
        &mut self,
        before: &State,
        after: State,
        target: Option<(u64, &Ruleset)>,
        options: ChangeOptions,
    ) -> Result<(State, Outcome), RolloutError> {
        let after = after.pruned();
        let under_way = before.under_way(&after, target.map(|(number, _)| number));
        let staged = self.store.stage(&after)?;
        self.save(&under_way)?;
        let mut records = Records { under_way, after, staged };
        match self.prime_and_converge(&mut records, target.map(|(_, ruleset)| ruleset), options) {
            Ok(outcome) => Ok(self.commit(records, outcome)),
            Err(error) => {
                // Nothing has happened. Where that cannot be recorded, the next run finds out.
                let _ = self.store.save(&before.after_failure(&records.after));
                let _ = self.store.prune(before);
                Err(error)
            }
        }
    }

    /// Puts the state in force that says that the kernel has arrived.
    fn commit(&mut self, records: Records, mut outcome: Outcome) -> (State, Outcome) {
        let Records { after, staged, .. } = records;
        match self.store.commit(staged) {
            Ok(()) => {
                // Before the files of older generations go, which events are completed from.
                self.deliver(&after);
                // The next run removes files that stay.
                let _ = self.store.prune(&after);
            }
            Err(error) => outcome.warnings.push(format!(
                "the rules are in force, but that could not be recorded; the next run finds out: {}",
                chain(&error)
            )),
        }
        (after, self.delivered(outcome))
    }

    /// Prepares conntrack where these are the first rules, then starts the watcher and changes the rules.
    fn prime_and_converge(
        &mut self,
        records: &mut Records,
        ruleset: Option<&Ruleset>,
        options: ChangeOptions,
    ) -> Result<Outcome, RolloutError> {
        let (mut primed, mut planned) = (None, None);
        if !self.is_unreadable {
            let live = self.live()?;
            primed = ruleset.map(|ruleset| prime(self.kernel, live.as_ref(), ruleset)).transpose()?.flatten();
            // Preparing conntrack has changed the table.
            planned = primed.is_none().then(|| Transition::from(live, ruleset));
        }
        let changed = refuse_untracked(primed.as_ref(), options)
            .and_then(|()| self.arm(records, options.confirm_within))
            .and_then(|watcher| Ok(Outcome { watcher, ..self.converge_kernel(ruleset, planned, options.force)? }));
        if changed.is_err() && primed.is_some() {
            self.remove_priming_table(&records.under_way);
        }
        Ok(Outcome { primed, ..changed? })
    }

    /// Starts the watcher of a pending change, with all of its time left: the time to confirm begins with the rules,
    /// and not with the preparations.
    fn arm(&mut self, records: &mut Records, delay: Option<Duration>) -> Result<Option<Watcher>, RolloutError> {
        let (Some(delay), true) = (delay, records.after.pending.is_some()) else { return Ok(None) };
        records.after = records.after.with_deadline_from_now(delay, &Moment::now());
        records.under_way.pending.clone_from(&records.after.pending);
        records.staged = self.store.stage(&records.after)?;
        self.store.save(&records.under_way)?;
        self.watch(records.after.armed).map(Some)
    }

    /// Starts a watcher for an arming.
    pub(super) fn watch(&self, armed: u64) -> Result<Watcher, RolloutError> {
        let (number, name) = (armed.to_string(), format!("edgeward-rollback-{armed}-{}", std::process::id()));
        let command = ["watch", "--state-dir"].map(OsStr::new);
        let command = [command[0], command[1], self.store.folder().as_os_str(), OsStr::new(&number)];
        Ok(watch::arm(&name, &command)?)
    }

    /// Removes the table that only tracks, where there was none before it.
    fn remove_priming_table(&mut self, under_way: &State) {
        if under_way.switching.as_ref().is_some_and(|switching| switching.from.is_none()) {
            // It accepts every packet; where it stays, the next run removes it.
            let _ = self.converge_kernel(None, None, false);
        }
    }

    /// Brings the kernel to a ruleset, or to no table. The transition may be planned already.
    pub(super) fn converge_kernel(
        &mut self,
        ruleset: Option<&Ruleset>,
        planned: Option<Transition>,
        force: bool,
    ) -> Result<Outcome, RolloutError> {
        let planned = planned.map_or_else(|| Transition::plan(self.kernel, ruleset), Ok);
        match self.carry_out(ruleset, planned, force) {
            // A large set is not what it was recognised as, so all of it is made again.
            Err(RolloutError::Kernel(KernelError::Netlink(
                NetlinkError::Missing { .. } | NetlinkError::Exists { .. },
            ))) => {
                let planned = Transition::plan_replacing_sets(self.kernel, ruleset);
                self.carry_out(ruleset, planned, force)
            }
            converged => converged,
        }
    }

    /// Carries a transition out; replaces an unreadable table as a whole where that is forced.
    fn carry_out(
        &mut self,
        ruleset: Option<&Ruleset>,
        planned: Result<Transition, KernelError>,
        force: bool,
    ) -> Result<Outcome, RolloutError> {
        let mut outcome = Outcome::default();
        let transition = match planned {
            Ok(transition) => transition,
            Err(KernelError::Unreadable(_)) if force => {
                self.kernel.replace(&ruleset.cloned().unwrap_or_default())?;
                outcome.changed = true;
                outcome.warnings.push(
                    "the table was replaced as a whole: packets may have been lost, and counters start at zero"
                        .to_owned(),
                );
                return Ok(outcome);
            }
            Err(error) => return Err(error.into()),
        };
        outcome.changed = !transition.keeps_rules();
        if outcome.changed {
            transition.fill(self.kernel)?;
            transition.switch(self.kernel)?;
            self.verify(&transition, ruleset)?;
        }
        if let Err(error) = transition.sweep(self.kernel) {
            outcome.warnings.push(format!("unused objects stay in the table until the next run: {}", chain(&error)));
        }
        Ok(outcome)
    }

    /// Verifies that the kernel has what it was given, and restores the old rules where it does not.
    fn verify(&mut self, transition: &Transition, ruleset: Option<&Ruleset>) -> Result<(), RolloutError> {
        let live = self.live()?;
        let is_as_given = match ruleset {
            Some(ruleset) => means(live.as_ref(), Some(ruleset)),
            None => live.is_none_or(|live| live.meaning().rules().next().is_none()),
        };
        if is_as_given {
            return Ok(());
        }
        let before = transition.before.as_ref().map(Live::meaning);
        let back = Transition::plan(self.kernel, before.as_ref())?;
        back.fill(self.kernel)?;
        back.switch(self.kernel)?;
        back.sweep(self.kernel)?;
        Err(RolloutError::Differs)
    }
}

/// Refuses rules that would cut off an SSH session that conntrack does not track.
fn refuse_untracked(primed: Option<&Primed>, options: ChangeOptions) -> Result<(), RolloutError> {
    match primed {
        Some(primed) if primed.lacks_port(options.ssh_port) && !options.force => {
            Err(RolloutError::Untracked(primed.unknown.clone()))
        }
        _ => Ok(()),
    }
}
