//! Brings the kernel to a policy, for `apply` and `refresh`.

use std::time::Duration;

use crate::catalog::Catalog;
use crate::cli::context::{Bound, GuardArguments, KernelArguments, StateArguments};
use crate::cli::failure::Failure;
use crate::cli::preflight::{Prospect, Purpose, judge};
use crate::cli::verb::compile;
use crate::cli::verb::diff::{Compared, flows, summary};
use crate::cli::{manifest, preflight, render, report};
use crate::emit;
use crate::host::clock;
use crate::host::generations::{MadeBy, Record, State, Store, rules_digest};
use crate::host::operator;
use crate::host::rollout::{ChangeOptions, named, time_left};
use crate::host::transition::means;
use crate::live::Live;
use crate::lower::lower;
use crate::ruleset::Ruleset;
use crate::source::Source;

/// What the kernel is to be brought to, and how.
pub(crate) struct Order<'a> {
    /// The policy with its answers.
    pub(crate) bound: &'a Bound,
    /// Its catalog.
    pub(crate) catalog: &'a Catalog,
    /// [`MadeBy::Apply`] or [`MadeBy::Refresh`].
    pub(crate) verb: MadeBy,
    /// How the change is guarded.
    pub(crate) guard: &'a GuardArguments,
    /// How the kernel is read.
    pub(crate) kernel: &'a KernelArguments,
}

impl Order<'_> {
    /// The ruleset as a value and as text, proved.
    fn ruleset(&self) -> Result<(Ruleset, String), Failure> {
        let ruleset = lower(&self.bound.resolved);
        let written = Source::new("the ruleset", emit::nft(&ruleset));
        compile::proved(&self.bound.resolved, &written)?;
        Ok((ruleset, written.into_text()))
    }

    fn prospect(&self, ruleset: &Ruleset) -> Prospect {
        let Bound { loaded, resolution, .. } = self.bound;
        preflight::prospect(ruleset, Some(&Purpose { policy: &loaded.policy, intent: &loaded.intent, resolution }))
    }

    /// Says what would change.
    pub(crate) fn rehearse(&self, state: &StateArguments) -> Result<(), Failure> {
        let (ruleset, _) = self.ruleset()?;
        let store = state.look();
        let records = store.state()?;
        let compared = Compared::with_kernel(&store, &mut self.kernel.kernel(), self.catalog, self.bound, &ruleset)?;
        render::output(&summary(&compared, self.bound))?;
        if let Some(pending) = &records.pending {
            render::note(&report::deadline(pending));
        }
        let prospect = self.prospect(&ruleset);
        preflight::tell(&preflight::others(&ruleset));
        judge(&prospect, self.guard.force)?;
        refuse_undone(&records, &rules_digest(&ruleset), self.verb, self.guard)
    }

    /// Brings the kernel to the policy.
    pub(crate) fn carry_out(&self, store: &Store) -> Result<(), Failure> {
        let mut kernel = self.kernel.kernel();
        let force = self.guard.force;
        let mut rollout = report::rollout(store, &mut kernel);
        // What the last run left has to be made good whatever comes next, and where sets are large both take a while.
        let (proved, recovered) = meanwhile(|| self.ruleset(), || report::recover(&mut rollout, force));
        let (ruleset, text) = proved?;
        let state = recovered?;
        let name = &self.bound.loaded.intent.name;
        // A refresh keeps what is pending pending; whoever applies has to say what is to become of it.
        let confirm_within = match (&state.pending, self.guard.confirm_within) {
            (Some(pending), None) if self.verb == MadeBy::Refresh => {
                Some(time_left(pending).max(Duration::from_millis(1)))
            }
            (Some(pending), None) => {
                return Err(Failure::Refused(anyhow::anyhow!(
                    "{}; nothing was changed. `edgeward rollback` undoes it now, and `--confirm-within` puts this \
                     change in its place",
                    report::deadline(pending)
                )));
            }
            (_, given) => given,
        };
        if !rollout.is_unreadable && is_in_force(store, &state, &ruleset) {
            if let (Some(pending), Some(delay)) = (&state.pending, self.guard.confirm_within) {
                let number = pending.generation;
                let (state, outcome) = rollout.extend(&state, delay)?;
                return report::report(
                    &format!("generation {number} of `{name}` is in force already"),
                    &state,
                    outcome.watcher.as_ref(),
                );
            }
            if confirm_within.is_some() {
                rollout.acknowledge(&state)?;
            }
            let current = named(state.current);
            return render::output(&format!("nothing to change: {current} is what `{name}` means\n"));
        }
        let rules = rules_digest(&ruleset);
        if confirm_within.is_none() {
            refuse_undone(&state, &rules, self.verb, self.guard)?;
        }
        judge(&self.prospect(&ruleset), force)?;
        // A timer would say it again and again.
        if self.verb == MadeBy::Apply {
            preflight::tell(&preflight::others(&ruleset));
        }
        let number = state.last + 1;
        let facts = (number, operator::name(), clock::now());
        let generation = manifest::generation(self.bound, self.catalog, text, rules, self.verb, facts);
        let options = ChangeOptions { confirm_within, force, ssh_port: self.bound.loaded.policy.ssh_port() };
        let before = state.current.map(|number| store.ruleset(number)).transpose()?;
        let flows = || before.as_ref().map(|before| flows(before, &ruleset));
        let (flows, applied) = meanwhile(flows, || rollout.apply(&state, generation, &ruleset, options));
        let (state, outcome) = applied?;
        report::tell(&outcome);
        let what = match flows {
            None => "these are the first rules".to_owned(),
            Some(_) if !outcome.changed => "the rules were in force already".to_owned(),
            Some(flows) => flows,
        };
        report::report(
            &format!("generation {number} of `{name}` is in force: {what}"),
            &state,
            outcome.watcher.as_ref(),
        )
    }
}

/// Does one thing while another is done, which reads and counts only; after it where the system has no thread to spare.
fn meanwhile<T: Send, U>(other: impl Fn() -> T + Sync, own: impl FnOnce() -> U) -> (T, U) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, &other);
        let own = own();
        match thread {
            Ok(thread) => (thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), own),
            Err(_) => (other(), own),
        }
    })
}

/// Whether the kernel, and boot, have a ruleset already.
fn is_in_force(store: &Store, state: &State, wanted: &Ruleset) -> bool {
    let Some(current) = state.current else { return false };
    let is_policy = state.generations.get(&current).is_some_and(|record| record.made_by != MadeBy::Found);
    let is_settled = state.confirmed == Some(current) || state.pending.is_some();
    is_policy && is_settled && store.ruleset(current).is_ok_and(|ruleset| means(Some(&Live(ruleset)), Some(wanted)))
}

/// Refuses rules that were undone because nobody confirmed them, and a timer those that somebody has gone back from:
/// they would come back at night.
fn refuse_undone(state: &State, rules: &str, verb: MadeBy, guard: &GuardArguments) -> Result<(), Failure> {
    if guard.force || guard.confirm_within.is_some() {
        return Ok(());
    }
    let current = state.current.and_then(|number| state.generations.get(&number));
    if current.is_some_and(|record| record.rules == rules) {
        return Ok(());
    }
    // The last word on these rules counts.
    let had_fate = |record: &Record| record.rolled_back.is_some() || record.confirmed.is_some();
    let last = state.generations.iter().rev().find(|(_, record)| record.rules == rules && had_fate(record));
    let Some((number, record)) = last else { return Ok(()) };
    let Some(at) = record.rolled_back else { return Ok(()) };
    let (why, way) = match record.confirmed {
        None => (
            "which was undone at {at} because nobody confirmed it",
            "Try it with `edgeward apply --confirm-within 2m` and `edgeward confirm`; `--force` applies it for good",
        ),
        Some(_) if verb == MadeBy::Refresh => (
            "which somebody went back from at {at}",
            "`edgeward apply` applies it again; or put the policy of the generation in force in its place",
        ),
        Some(_) => return Ok(()),
    };
    Err(Failure::Refused(anyhow::anyhow!(
        "these are the rules of generation {number}, {}; nothing was changed. {way}",
        why.replace("{at}", &at.to_string())
    )))
}
