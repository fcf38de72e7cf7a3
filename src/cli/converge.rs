//! Brings the kernel to a policy, for `apply` and `refresh`.

mod base;
mod manifest;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::anyhow;

use crate::catalog::Catalog;
use crate::cli::change::Report;
use crate::cli::comparison::{Comparison, Consequences, MAX_PLAN_BOXES, changes};
use crate::cli::context::{
    BoundPolicy, GuardArguments, KernelArguments, StateArguments, kept_answers, kept_catalog, kept_policy,
};
use crate::cli::disk::restore_command;
use crate::cli::failure::{Check, Failure, Refusal};
use crate::cli::hint::{self, Hint};
use crate::cli::preflight::{Findings, GuardedPolicy};
use crate::cli::prove::prove_text;
use crate::cli::{change, preflight, render};
use crate::emit;
use crate::host::clock::Moment;
use crate::host::generations::{Generation, MadeBy, Manifest, Record, State, Store, rules_digest};
use crate::host::rollout::{ChangeOptions, Rollout, named, needs_recovery, time_left};
use crate::host::streams;
use crate::host::transition::{Transition, means};
use crate::live::Live;
use crate::lower::lower;
use crate::resolution::Resolution;
use crate::ruleset::Ruleset;
use crate::source::Source;

pub(crate) use base::Base;
use manifest::Compiled;

/// A policy that the kernel is to be brought to, and how.
pub(crate) struct Convergence<'a> {
    /// The policy with its addresses.
    pub(crate) policy: &'a BoundPolicy,
    /// Its catalog.
    pub(crate) catalog: &'a Catalog,
    /// The generation that is refreshed; `None` if the policy is applied.
    pub(crate) base: Option<&'a Base>,
    /// How the change is guarded.
    pub(crate) guard: &'a GuardArguments,
    /// How the kernel is read.
    pub(crate) kernel: &'a KernelArguments,
}

/// A ruleset that has been proved.
struct Proved {
    ruleset: Ruleset,
    text: String,
    rules: String,
}

impl Convergence<'_> {
    /// Compiles the policy, and proves the text that will be kept.
    fn compile(&self) -> Result<Proved, Failure> {
        let resolved = &self.policy.resolved;
        let ruleset = match self.base {
            None => lower(resolved),
            Some(base) => base.with_addresses(resolved, rules_digest),
        };
        let text = Source::new("the ruleset", emit::nft(&ruleset));
        prove_text(resolved, &text)?;
        let rules = rules_digest(&ruleset);
        Ok(Proved { ruleset, text: text.into_text(), rules })
    }

    /// The file that the policy was read from.
    fn path(&self) -> &Path {
        self.base.map_or(&self.policy.loaded.path, |base| &base.facts.path)
    }

    /// Checks what the rules would deny. If only addresses change, what the rules in force deny already was decided when
    /// they were applied: `--force` holds for refreshes, and for the unit that applies the same policy at boot.
    fn preflight(&self, ruleset: &Ruleset, in_force: &Ruleset, known: Option<&Resolution>) -> Findings {
        let BoundPolicy { loaded, resolution, .. } = self.policy;
        let policy = GuardedPolicy { policy: &loaded.policy, intent: &loaded.intent, resolution };
        match known {
            None => preflight::check(ruleset, Some(&policy), Some(in_force)),
            Some(known) => preflight::check_refresh(ruleset, &policy, in_force, known),
        }
    }

    /// The answers of the generation in force, if it has the same policy, catalog and lists as the new one.
    fn known_answers(&self, store: &Store, state: &State, new: &Record) -> Option<Resolution> {
        if let Some(base) = self.base {
            return Some(base.resolution.clone());
        }
        let (number, loaded) = (state.current?, &self.policy.loaded);
        if new.inputs.is_none() || state.generations.get(&number)?.inputs != new.inputs {
            return None;
        }
        if loaded.intent.names().is_empty() {
            return Some(Resolution::default());
        }
        kept_answers(store, number, &loaded.cloud.metadata())
    }

    /// The dry run: shows what would change and what would refuse the change.
    pub(crate) fn dry_run(&self, state: &StateArguments, report: &mut Report) -> Result<(), Failure> {
        let store = state.read();
        let records = store.state()?;
        report.found(&records);
        let Proved { ruleset, text, rules } = self.compile()?;
        let mut kernel = self.kernel.kernel();
        let (comparison, live) = Comparison::with_kernel(&store, &mut kernel, self.catalog, self.policy, &ruleset)?;
        // Both compare all packets.
        let [body, totals] = if report.is_json() {
            report.differ(&comparison.consequences());
            Default::default()
        } else {
            let packets = hint::command("diff").policy_of_run().option("format", "json");
            comparison.parts(&comparison.differences(self.policy), self.policy, MAX_PLAN_BOXES, &packets)
        };
        report.say(&body);
        let generation = self.generation(text, rules.clone(), records.next_number());
        let is_in_force = is_in_force(&store, &records, &ruleset, &generation) && means(live.as_ref(), Some(&ruleset));
        let has_new_deadline = records.pending.is_some() && self.guard.confirm_within.is_some();
        report.changed(!is_in_force || has_new_deadline || needs_recovery(&records));
        let in_force = live.as_ref().map(Live::meaning).unwrap_or_default();
        let new = Record::of(&generation.manifest, rules);
        let known = self.known_answers(&store, &records, &new);
        let findings = self.preflight(&ruleset, &in_force, known.as_ref());
        preflight::show_filters(&preflight::other_filters(&ruleset));
        let checked = change::refuse_unwatched(self.guard.confirm_within)
            .and_then(|()| preflight::enforce(&findings, self.guard.force))
            .and_then(|_| self.refuse_undone(&store, &records, &new).map(drop))
            .and_then(|()| Ok(Transition::from(live, Some(&ruleset)).check(&mut kernel)?));
        // The totals stand last, where a reader looks first; only a refusal comes after them.
        report.say(&totals);
        let pending = store.with_way_back(&records).pending;
        let pending = pending.as_ref().map(|pending| change::pending_sentence(pending) + "\n");
        let next = (checked.is_ok() && !is_in_force).then(|| {
            let command = match self.guard.confirm_within {
                Some(_) => hint::again("apply", &["dry-run", "format"]),
                None => trial(&["dry-run", "format"]),
            };
            format!("nothing was changed; `{command}` puts it into force\n")
        });
        pending.into_iter().chain(next).for_each(|line| report.say(&line));
        checked
    }

    /// Brings the kernel to the policy.
    pub(crate) fn run(&self, store: &Store, report: &mut Report) -> Result<(), Failure> {
        report.found(&store.state()?);
        let mut kernel = self.kernel.kernel();
        let force = self.guard.force;
        let mut rollout = change::rollout(store, &mut kernel);
        // Recovery is needed even if the policy does not compile. With large sets both take a while, so they overlap.
        let (proved, recovered) = in_parallel(|| self.compile(), || change::recover(&mut rollout, force, report));
        let Proved { ruleset, text, rules } = proved?;
        let state = recovered?;
        if let Some(base) = self.base.filter(|base| state.base() != Some(base.number)) {
            render::note(&format!(
                "{} was replaced while DNS was asked; nothing was changed, and the next refresh starts from {}",
                named(Some(base.number)),
                named(state.base())
            ));
            return Ok(());
        }
        let confirm_within = self.confirm_within(store, &state)?;
        change::refuse_unwatched(confirm_within)?;
        let number = state.next_number();
        let generation = self.generation(text, rules.clone(), number);
        if !rollout.is_unreadable && is_in_force(store, &state, &ruleset, &generation) {
            return self.settle(&mut rollout, &state, &generation, report);
        }
        let new = Record::of(&generation.manifest, rules);
        let mut overridden = match confirm_within {
            None => self.refuse_undone(store, &state, &new)?,
            Some(_) => Vec::new(),
        };
        // Recovery has kept what the kernel has, unless that cannot be read.
        let before = state.current.and_then(|number| store.ruleset(number).ok());
        let first = Ruleset::default();
        let in_force = before.as_ref().unwrap_or(&first);
        let known = self.known_answers(store, &state, &new);
        overridden.extend(preflight::enforce(&self.preflight(&ruleset, in_force, known.as_ref()), force)?);
        // The timer of `refresh` would repeat it every few minutes.
        if self.base.is_none() {
            preflight::show_filters(&preflight::other_filters(&ruleset));
        }
        let options = ChangeOptions { confirm_within, force, ssh_port: self.policy.loaded.policy.ssh_port() };
        // The event needs them, too, and waits for them.
        let consequences = OnceLock::new();
        let compared = || consequences.get_or_init(|| Consequences::of(in_force, &ruleset));
        let compare = |from: Option<&Ruleset>, to: Option<&Ruleset>| match (from, to) {
            (from, Some(to)) if from == before.as_ref() && *to == ruleset => compared().changes(),
            others => changes(others.0, others.1),
        };
        (rollout.note, rollout.compare) = (self.guard.note(overridden), &compare);
        let (consequences, applied) = in_parallel(compared, || rollout.apply(&state, generation, &ruleset, options));
        let (state, outcome) = applied?;
        change::show_notices(&outcome);
        let what = match outcome.changed {
            false => "the rules were in force already".to_owned(),
            true => consequences.sentence(),
        };
        let name = &self.policy.loaded.intent.name;
        let sentence = format!("generation {number} of `{name}` is in force: {what}");
        report.differ(consequences);
        change::print_result(report, &sentence, &state, &outcome);
        Ok(())
    }

    /// The generation that the policy becomes.
    fn generation(&self, ruleset: String, rules: String, number: u64) -> Generation {
        let (policy, path, catalog) = (self.policy, self.path(), self.catalog);
        let made_by = if self.base.is_some() { MadeBy::Refresh } else { MadeBy::Apply };
        let message = self.guard.note.message.clone();
        manifest::generation(Compiled { policy, path, catalog, ruleset, rules, message }, made_by, number)
    }

    /// Ends a run that has nothing to change in the kernel: a pending change gets its new deadline, a refreshed generation
    /// its new lockfile.
    fn settle(
        &self,
        rollout: &mut Rollout<'_>,
        state: &State,
        generation: &Generation,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let name = &self.policy.loaded.intent.name;
        if let (Some(number), Some(lockfile)) = (state.current, &generation.inputs.lockfile) {
            // Ages count from the newest answers. A lockfile that is applied without asking DNS may be the older one.
            let newest = match self.base {
                Some(_) => Some(lockfile.clone()),
                None => self.newest_answers(rollout.store, number),
            };
            if let Some(newest) = newest {
                rollout.store.write_lockfile(number, &newest)?;
            }
        }
        if let (Some(pending), Some(delay)) = (&state.pending, self.guard.confirm_within) {
            let number = pending.generation;
            rollout.note = self.guard.note(Vec::new());
            let (state, outcome) = rollout.extend(state, delay)?;
            let sentence = format!("generation {number} of `{name}` is in force already");
            change::print_result(report, &sentence, &state, &outcome);
            return Ok(());
        }
        if self.guard.confirm_within.is_some() {
            rollout.acknowledge(state)?;
        }
        self.guard.note.note_unused();
        report.say(&format!("nothing to change: {} is what `{name}` means\n", named(state.current)));
        Ok(())
    }

    /// The newer of the policy's answers and those that a generation has, as a lockfile; `None` if those have other
    /// addresses.
    fn newest_answers(&self, store: &Store, number: u64) -> Option<String> {
        let (own, linger) = (&self.policy.resolution, self.policy.loaded.policy.resolve.linger.value.0);
        let kept = kept_answers(store, number, &self.policy.loaded.cloud.metadata()).unwrap_or_default();
        let newest = own.clone().newer_of(&kept, &Moment::now(), linger);
        let has_same = |name| newest.addresses(name).eq(own.addresses(name));
        newest.names.keys().all(has_same).then(|| newest.yaml())
    }

    /// Until when the change has to be confirmed. While another change is pending, a refresh inherits its deadline, and
    /// an apply without a deadline of its own is refused.
    fn confirm_within(&self, store: &Store, state: &State) -> Result<Option<Duration>, Failure> {
        match (&store.with_way_back(state).pending, self.guard.confirm_within) {
            (Some(pending), None) if self.base.is_some() => Ok(Some(time_left(pending).max(Duration::from_millis(1)))),
            (Some(pending), None) => Err(Failure::refused(
                Check::Pending,
                anyhow!(
                    "{}; nothing was changed. `{}` undoes it now, and `--confirm-within` replaces it with this change",
                    change::pending_sentence(pending),
                    hint::command("rollback"),
                ),
            )),
            (_, given) => Ok(given),
        }
    }

    /// Refuses what was undone because it was not confirmed, and what a user went back from: a reboot, after which the
    /// policy is applied again, would bring it back. A refresh keeps the rules that it finds. Returns what is overridden by
    /// force.
    fn refuse_undone(&self, store: &Store, state: &State, new: &Record) -> Result<Vec<Refusal>, Failure> {
        if self.base.is_some() || self.guard.confirm_within.is_some() {
            return Ok(Vec::new());
        }
        let is_same = |record: &Record| record.rules == new.rules || record.inputs == new.inputs;
        if state.current.and_then(|number| state.generations.get(&number)).is_some_and(is_same) {
            return Ok(Vec::new());
        }
        // The same may have been applied several times; the latest result counts.
        let has_result = |record: &Record| record.rolled_back.is_some() || record.confirmed.is_some();
        let last = state.generations.iter().rev().find(|(_, record)| is_same(record) && has_result(record));
        let Some((number, Record { rolled_back: Some(at), confirmed, .. })) = last else { return Ok(Vec::new()) };
        let why = match confirmed {
            None => "was undone because it was not confirmed",
            Some(_) => "was left by `edgeward rollback`",
        };
        let path = self.path();
        let restored = state
            .current
            .filter(|_| !streams::is_stream(path))
            .map(|current| format!("; `{}` restores the policy in force", restore_command(store, current, path)));
        let failure = Failure::refused(
            Check::Undone,
            anyhow!(
                "these are the rules of generation {number}, which {why} ({at}); nothing was changed{}. `{}` tries them \
                 again and `{}` keeps them; `--force` applies them without a deadline",
                restored.unwrap_or_default(),
                trial(&["force", "format"]),
                hint::command("confirm"),
            ),
        );
        if self.guard.force { Ok(failure.refusals) } else { Err(failure) }
    }
}

/// The command of this run without some of its options, and with a time to confirm the change.
fn trial(without: &[&str]) -> Hint {
    hint::again("apply", without).option("confirm-within", "2m")
}

/// Runs a computation without side effects on another thread while `own` runs here, or after it if the system has no
/// thread left.
fn in_parallel<T: Send, U>(other: impl Fn() -> T + Sync, own: impl FnOnce() -> U) -> (T, U) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, &other);
        let own = own();
        match thread {
            Ok(thread) => (thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), own),
            Err(_) => (other(), own),
        }
    })
}

/// Whether a generation is in force already, and is what boot loads or what is pending: the rules, and what they were
/// compiled from.
fn is_in_force(store: &Store, state: &State, ruleset: &Ruleset, generation: &Generation) -> bool {
    let Some((number, record)) = state.current.and_then(|number| Some((number, state.generations.get(&number)?)))
    else {
        return false;
    };
    let inputs = generation.manifest.inputs();
    let is_recorded = state.confirmed == Some(number) || state.pending.is_some();
    is_recorded
        && inputs.is_some()
        && record.inputs == inputs
        && store
            .manifest(number)
            .is_ok_and(|manifest| store.has_inputs(&manifest) && is_usable(store, number, &manifest))
        && store.ruleset(number).is_ok_and(|current| means(Some(&Live(current)), Some(ruleset)))
}

/// Whether what a generation was compiled from is as it was, for the refreshes to come. Where it is not, the policy is kept
/// again as a new generation.
fn is_usable(store: &Store, number: u64, manifest: &Manifest) -> bool {
    let usable = |facts| kept_policy(store, number, facts, &kept_catalog(store, number, facts, None)?);
    manifest.policy.as_ref().is_some_and(|facts| matches!(usable(facts), Ok(Some(_))))
}
