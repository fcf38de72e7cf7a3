//! `edgeward status`.

mod attention;
mod json;
mod kept;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::context::{KernelArguments, ListFormat, StateArguments, Wholeness};
use crate::cli::document::{AttentionDocument, TableState};
use crate::cli::failure::Failure;
use crate::cli::hint;
use crate::cli::preflight::{self, OtherFilters};
use crate::cli::render;
use crate::diag::shown;
use crate::host::clock::pause;
use crate::host::generations::{Manifest, State, Store, WayBack};
use crate::host::kernel::{Kernel, KernelError};
use crate::host::netlink::Counter;
use crate::host::rollout::{chain, generation_in_kernel, recall};
use crate::host::transition::means;
use crate::live::Live;
use crate::ruleset::Ruleset;
use crate::wording::{count, for_number};

use kept::{Kept, KeptPolicy};

/// Show which rules are in force, what they have counted, and what needs attention
///
/// Compares the kernel's table with the generation that was applied last, and says whether another program has changed
/// it. Lists the pending change with its deadline, the age of the addresses of each name, the elements of each set, the
/// packets and bytes of each flow and of each denial, and other packet filters that see the same packets. Says whether
/// the policy, the catalog and the lists on disk are those in force, and which files of the generation in force are missing
/// or damaged. Changes nothing, and asks no DNS.
///
/// With `--check` it prints only what needs attention, one line each. The exit code is 0 if nothing does, and 1
/// otherwise; if that cannot be determined it is 4.
///
/// Root or CAP_NET_ADMIN is required.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward status
  edgeward status --check
  edgeward status --format json | jq .table")]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    /// Fail with exit code 1 if something needs attention
    #[arg(long)]
    check: bool,
    /// Compare this policy with the one in force [default: the file that was applied]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// How many times a table that looks changed is read again, and after which time.
const MAX_REREADS: usize = 3;
const REREAD_INTERVAL: Duration = Duration::from_millis(200);

/// What is known of the rules in force.
struct Status {
    /// The folder of the records.
    folder: PathBuf,
    /// The records; a pending change goes back to a generation that is whole.
    state: State,
    /// What is wrong with the file of the records.
    records_damage: Option<String>,
    /// The folders within that other users can change, in sentences.
    insecure: Vec<String>,
    /// What is missing or damaged of the generation in force, in sentences.
    damage: Vec<String>,
    /// What boot loads.
    boot: WayBack,
    /// Where undoing the pending change leads.
    way_back: WayBack,
    /// Whether another run was changing the rules at this moment.
    is_under_way: bool,
    /// The generation that the kernel has reached, according to the records.
    current: Option<u64>,
    manifest: Option<Manifest>,
    table: TableState,
    /// Whether all elements were read.
    deep: bool,
    /// The number of elements of each set in the kernel.
    sets: BTreeMap<String, usize>,
    counters: BTreeMap<String, Counter>,
    others: OtherFilters,
    /// Why events cannot be written, or that some are not written yet.
    undelivered: Option<String>,
}

/// A status with what it means.
struct Checked<'a> {
    status: &'a Status,
    /// The policy in force; `None` if there is none, or if it cannot be read.
    kept: Option<&'a KeptPolicy>,
    attention: Vec<AttentionDocument>,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let store = arguments.state.read();
    let mut kernel = arguments.kernel.kernel();
    let deep = arguments.kernel.deep;
    let mut status = Status::read(&store, &mut kernel, deep)?;
    // While another run changes the rules, the kernel is ahead of the records.
    for _ in 0..MAX_REREADS {
        if !status.may_be_under_way() {
            break;
        }
        pause(REREAD_INTERVAL);
        status = Status::read(&store, &mut kernel, deep)?;
    }
    let kept = Kept::read(&store, &status, arguments.policy.as_deref(), folder);
    let attention = attention::of(&status, &kept, &remedy(&store, &status.state, status.current));
    let checked = Checked { status: &status, kept: kept.policy(), attention };
    render::output(&match (arguments.format, arguments.check) {
        (ListFormat::Json, _) => render::document(&checked.document())?,
        (ListFormat::Text, false) => checked.text(),
        (ListFormat::Text, true) => checked.check_text(),
    })?;
    match arguments.check && !checked.attention.is_empty() {
        true => Err(Failure::different()),
        false => Ok(()),
    }
}

impl Status {
    fn read(store: &Store, kernel: &mut dyn Kernel, deep: bool) -> Result<Self, Failure> {
        let state = store.state()?;
        recall(store, kernel, &state);
        let (live, readable) = match kernel.table() {
            Ok(table) => (table.map(Live), true),
            Err(KernelError::Unreadable(_)) => (None, false),
            Err(owned @ KernelError::Owned(_)) => {
                render::warning(&owned.to_string());
                (None, false)
            }
            Err(error) => return Err(error.into()),
        };
        let current = generation_in_kernel(store, &state, live.as_ref());
        let recorded = current.map(|number| store.ruleset(number)).transpose();
        let table = match (&live, &recorded) {
            _ if !readable => TableState::Unreadable,
            (None, Ok(None)) => TableState::Absent,
            // What it should be need not be known.
            (None, _) => TableState::Gone,
            (Some(_), Err(_)) => TableState::Unknown,
            (Some(_), Ok(recorded)) if means(live.as_ref(), recorded.as_ref()) => match recorded {
                Some(_) => TableState::AsApplied,
                None => TableState::Absent,
            },
            (Some(_), Ok(_)) => TableState::Changed,
        };
        let recorded = recorded.ok().flatten();
        let counters = kernel.counters()?;
        let live = live.map(|live| live.meaning());
        let sets = live.iter().flat_map(elements).collect();
        let ruleset = live.or(recorded).unwrap_or_default();
        let manifest = current.and_then(|number| store.manifest(number).ok());
        let others = preflight::other_filters(&ruleset);
        let is_busy = store.is_busy();
        let (is_under_way, undelivered) = (state.switching.is_some() && is_busy, undelivered(store, &state, is_busy));
        let folder = store.folder().to_owned();
        let records_damage = store.damage();
        let insecure = store.insecure_inputs().map(|insecure| insecure.to_string().replace('\n', " ")).collect();
        let damage = current.map(|number| Wholeness::of(store).damage(number)).unwrap_or_default();
        let damage = damage.iter().map(|error| chain(error)).collect();
        let (boot, way_back) = (store.newest_whole(&state), store.way_back(&state));
        let state = state.with_way_back(way_back.number());
        Ok(Self {
            folder,
            state,
            records_damage,
            insecure,
            damage,
            boot,
            way_back,
            is_under_way,
            current,
            manifest,
            table,
            deep,
            sets,
            counters,
            others,
            undelivered,
        })
    }

    /// Whether another run may be changing the rules at this moment.
    fn may_be_under_way(&self) -> bool {
        self.table == TableState::Changed || self.state.switching.is_some()
    }
}

/// Why events cannot be written to their file, or that some are not written yet; `None` if all is well. A run that is busy
/// writes them next.
fn undelivered(store: &Store, state: &State, is_busy: bool) -> Option<String> {
    let log = store.events();
    let path = shown(log.path());
    let last = log.check_writable().and_then(|()| log.last());
    match last {
        Err(error) => Some(format!("events cannot be written to `{path}`: {error}")),
        Ok(last) => {
            let waiting = state.events.iter().filter(|event| event.number > last).count();
            let is_late = waiting > 0 && !is_busy;
            is_late.then(|| {
                let (events, are) = (count(waiting, "event"), for_number(waiting, "is", "are"));
                format!(
                    "{events} {are} not in `{path}` yet; the next `edgeward refresh` or change writes what is missing"
                )
            })
        }
    }
}

/// The command that replaces a damaged generation in force.
fn remedy(store: &Store, state: &State, number: Option<u64>) -> String {
    if state.pending.is_some() {
        return format!("`{}` undoes the pending change", hint::command("rollback"));
    }
    let manifest = number.and_then(|number| store.manifest(number).ok());
    let path = manifest.and_then(|manifest| manifest.policy).map(|facts| facts.path);
    let path = path.as_deref().unwrap_or(Path::new("POLICY"));
    format!("`{}` makes a whole one", hint::command("apply").policy(path))
}

/// The number of elements of each set.
fn elements(ruleset: &Ruleset) -> impl Iterator<Item = (String, usize)> {
    ruleset.sets.iter().map(|(name, set)| (name.clone(), set.kind.elements(&set.elements).count()))
}
