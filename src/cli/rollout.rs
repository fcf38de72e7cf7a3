//! What the verbs share that change or show the rules in force.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Failure, Loaded, load_with, render};
use crate::catalog::Catalog;
use crate::diag::{Problems, Severity};
use crate::host::generations::{LOCKFILE, POLICY, Pending, State, Store, StoreError};
use crate::host::kernel::{Kernel, KernelError, Real};
use crate::host::operator;
use crate::host::rollout::{Made, Rollout, RolloutError, left, named};
use crate::host::watch::Watcher;
use crate::net::{Family, PrefixSet};
use crate::policy::syntax::{PeersList, parse_duration};
use crate::resolution::Resolution;
use crate::ruleset::Ruleset;

/// A run holds the folder for the time of a change, some seconds at most where sets are large.
const PATIENCE: Duration = Duration::from_secs(60);
/// Less is no time to type a word; more is no guard.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Where generations are.
#[derive(Debug, clap::Args)]
pub(super) struct StateArguments {
    /// The folder with the generations
    #[arg(long, value_name = "DIR", default_value = "/var/lib/edgeward")]
    pub(super) state_dir: PathBuf,
}

impl StateArguments {
    /// Holds the folder against other runs.
    pub(super) fn hold(&self) -> Result<Store, Failure> {
        Ok(Store::hold(&self.state_dir, PATIENCE)?)
    }

    /// Holds the folder, where it is there.
    pub(super) fn hold_if_there(&self) -> Result<Option<Store>, Failure> {
        match self.state_dir.try_exists() {
            Ok(true) => self.hold().map(Some),
            Ok(false) => Ok(None),
            Err(error) => {
                let context = format!("cannot find `{}`", self.state_dir.display());
                Err(Failure::System(anyhow::Error::from(error).context(context)))
            }
        }
    }

    /// Looks at the folder.
    pub(super) fn look(&self) -> Store {
        Store::look(&self.state_dir)
    }
}

/// How the kernel is read.
#[derive(Debug, clap::Args)]
pub(super) struct KernelArguments {
    /// Read all elements of large sets back, and not only their number and some of them: 12 s for half a million
    #[arg(long)]
    pub(super) deep: bool,
}

impl KernelArguments {
    /// The kernel of this network namespace.
    pub(super) fn kernel(&self) -> Real {
        Real::new(self.deep)
    }
}

/// How a change is guarded.
#[derive(Debug, clap::Args)]
pub(super) struct GuardArguments {
    /// Undo the change unless `edgeward confirm` follows within this time: `90s`, `2m`, `1h`
    #[arg(long, value_name = "TIME", value_parser = parse_deadline)]
    pub(super) confirm_within: Option<Duration>,
    /// Go on where a safety check says no
    #[arg(long)]
    pub(super) force: bool,
}

fn parse_deadline(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).filter(|duration| (SHORTEST..=LONGEST).contains(duration));
    duration.ok_or_else(|| "a time from 1s to 7d is wanted, with its unit: `90s`, `2m`, `1h`".to_owned())
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::System(error.into())
    }
}

/// As any failure of the records; but that somebody names a generation that is not there is a mistake of theirs.
pub(super) fn chosen<T>(found: Result<T, StoreError>) -> Result<T, Failure> {
    found.map_err(|error| match error {
        StoreError::NoGeneration { .. } => Failure::Usage(error.into()),
        error => error.into(),
    })
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::Unreadable(unusable) => {
                render::diagnostics(&unusable.source, vec![unusable.diagnostic], Severity::Error);
                Failure::System(anyhow::anyhow!(
                    "the kernel's table `inet edgeward` has something in it that edgeward did not make; nothing was \
                     changed. Delete the rule, or `edgeward apply --force` replaces the whole table"
                ))
            }
            error => Failure::System(error.into()),
        }
    }
}

impl From<RolloutError> for Failure {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Store(error) => error.into(),
            RolloutError::Kernel(error) => error.into(),
            RolloutError::Untracked(_) => Failure::Refused(error.into()),
            error => Failure::System(error.into()),
        }
    }
}

/// The rules in force and their records, as the user who runs this changes them.
pub(super) fn rollout<'a>(store: &'a Store, kernel: &'a mut dyn Kernel) -> Rollout<'a> {
    Rollout { store, kernel, by: operator::name(), is_unreadable: false }
}

/// Makes good what the last run left, and tells of it.
pub(super) fn settle(rollout: &mut Rollout<'_>, force: bool) -> Result<State, Failure> {
    let (state, notes) = rollout.settle(force)?;
    notes.iter().for_each(|note| render::note(note));
    Ok(state)
}

/// Shows what a change has brought besides the rules.
pub(super) fn tell(made: &Made) {
    for warning in &made.warnings {
        render::warning(warning);
    }
    let Some(primed) = &made.primed else { return };
    if primed.told > 0 {
        render::note(&format!(
            "conntrack was not at work here; it knows of {} now that began before",
            render::count(primed.told, "connection")
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
pub(super) fn report(sentence: &str, state: &State, watcher: Option<&Watcher>) -> Result<(), Failure> {
    let mut text = format!("{sentence}\n");
    text.extend(state.pending.iter().map(|pending| deadline(pending) + "\n"));
    text.extend(watcher.map(|watcher| self::watcher(watcher) + "\n"));
    render::output(&text)
}

/// The policy of a generation with its answers, as this version and catalog take it; lists are kept as the sets that they
/// became.
pub(super) fn kept_policy(store: &Store, number: u64, target: &str, catalog: &Catalog) -> Option<(Loaded, Resolution)> {
    let mut source = store.text(number, POLICY).ok()?;
    source.name = format!("generation {number}: {POLICY}");
    let ruleset = store.ruleset(number).ok()?;
    let mut lists = |id: &str, _: &str| Ok(kept_list(&ruleset, id));
    let loaded = load_with(source, catalog, target.parse().ok(), Severity::Error, &mut lists).ok()?;
    let resolution = match store.text(number, LOCKFILE) {
        Ok(source) => Resolution::parse(&source, &mut Problems::default())?,
        Err(_) => Resolution::default(),
    };
    Some((loaded, resolution))
}

/// The prefixes of a flow of the operator's, as a generation's ruleset has them.
fn kept_list(ruleset: &Ruleset, id: &str) -> PeersList {
    let sets = Family::BOTH.map(|family| ruleset.sets.get(&format!("{id}_{}", family.name())));
    let addresses = PrefixSet::union_of(sets.into_iter().flatten().map(|set| &set.elements));
    PeersList { addresses, ..PeersList::default() }
}

/// What is pending, and until when.
pub(super) fn deadline(pending: &Pending) -> String {
    // To whole seconds, upwards: nobody who typed `2s` is told of one.
    let left = left(pending).saturating_add(Duration::from_millis(999));
    let left = jiff::SignedDuration::try_from(left).unwrap_or(jiff::SignedDuration::MAX);
    format!(
        "{} is pending: {} comes back in {} ({}) unless `edgeward confirm` keeps it",
        named(Some(pending.generation)),
        named(pending.back_to),
        render::span(left),
        pending.deadline,
    )
}

/// Who undoes a pending change.
pub(super) fn watcher(watcher: &Watcher) -> String {
    match watcher {
        Watcher::Timer(unit) => format!("the timer `{unit}` of systemd watches"),
        Watcher::Process(id) => format!("the process {id} watches; it needs neither this terminal nor this session"),
    }
}

/// A path that means the same wherever a process stands.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
