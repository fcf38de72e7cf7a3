//! `edgeward rollback`.

use std::path::Path;

use anyhow::anyhow;

use crate::cli::change::{self, Report};
use crate::cli::comparison::{After, Consequences};
use crate::cli::context::{
    GuardArguments, KernelArguments, ListFormat, LoadedPolicy, StateArguments, Wholeness, kept_or_chosen_catalog,
    kept_policy, records,
};
use crate::cli::disk::restore_command;
use crate::cli::failure::{Check, Failure, Refusal, chosen};
use crate::cli::preflight::GuardedPolicy;
use crate::cli::{hint, preflight, render};
use crate::diag::{legible, shown};
use crate::host::files;
use crate::host::generations::{POLICY, PolicyFacts, State, Store, Why};
use crate::host::rollout::{ChangeOptions, chain, named, needs_recovery};
use crate::host::streams;
use crate::policy::syntax::SSH_PORT;
use crate::report::paragraph;
use crate::resolution::{NameRecord, Resolution};
use crate::ruleset::Ruleset;

/// Undo the change that is pending, or go back to an older generation
///
/// Without GEN it undoes the pending change. If none is pending, it goes back to the last generation whose policy,
/// catalog or lists were others, regardless of refreshes since; once more, it goes further back. What that opens and
/// closes is printed before anything changes. A generation has its own ruleset with the addresses of its time, which the
/// next refresh updates. The policy file is not changed, so put the older policy back as well.
///
/// Root or CAP_NET_ADMIN is required.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward rollback --dry-run
  edgeward rollback
  edgeward history
  edgeward rollback 7 --confirm-within 2m --message OPS-142")]
pub(crate) struct Arguments {
    /// The generation to go back to [default: the one before the pending change, else the last one with another policy,
    /// catalog or list]
    #[arg(value_name = "GEN")]
    generation: Option<u64>,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    #[command(flatten)]
    guard: GuardArguments,
    /// Print what would open and close, and what would refuse it; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// Where a rollback leads.
enum Destination {
    /// The pending change is undone: what was in force before it, or no table.
    Undo(Option<u64>),
    /// A generation that is kept.
    Generation(u64),
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let mut report = if arguments.dry_run { Report::dry_run(arguments.format) } else { Report::new(arguments.format) };
    let done = run_reporting(arguments, folder, &mut report);
    report.end(done)
}

fn run_reporting(arguments: &Arguments, folder: Option<&Path>, report: &mut Report) -> Result<(), Failure> {
    let store = match arguments.dry_run {
        true => Some(arguments.state.read()).filter(|store| store.folder().is_dir()),
        false => arguments.state.lock_if_exists()?,
    };
    let Some(store) = store else {
        let folder = shown(&arguments.state.state_dir);
        return Err(Failure::usage(anyhow!("`{folder}` does not exist: nothing was applied from it")));
    };
    if let Some(number) = arguments.generation {
        chosen(store.ruleset(number))?;
    }
    let state = records(&store)?;
    report.found(&state);
    if state.generations.is_empty() && state.current.is_none() {
        // Rules that the kernel may have are not touched, and not recorded either.
        let folder = shown(store.folder());
        return Err(Failure::usage(anyhow!("nothing was applied from `{folder}`, so there is nothing to go back to")));
    }
    if arguments.dry_run {
        let destination = destination(&store, &state, arguments.generation)?;
        report.changed(needs_recovery(&state) || !destination.is_in_force(&state));
        let kept = destination.policy(&store, folder);
        let [body, totals] = plan(&store, &state, &destination, kept.as_ref(), report)?;
        report.say(&body);
        let checked = match destination {
            Destination::Undo(_) => Ok(()),
            Destination::Generation(number) => check(&store, &state, number, arguments, kept.as_ref()).map(|_| ()),
        };
        // The totals stand last, where a reader looks first; only a refusal comes after them.
        report.say(&totals);
        checked?;
        report.say(&format!("nothing was changed; `{}` does it\n", hint::again("rollback", &["dry-run", "format"])));
        return Ok(());
    }
    let mut kernel = arguments.kernel.kernel();
    let mut rollout = change::rollout(&store, &mut kernel);
    let was_pending = state.pending;
    let state = change::recover(&mut rollout, arguments.guard.force, report)?;
    if let (None, Some(overdue), None) = (arguments.generation, &was_pending, &state.pending) {
        // Its deadline had passed, and it is what was to be undone. To go on would leave the policy before it, too.
        arguments.guard.note.note_unused();
        let undone = named(Some(overdue.generation));
        report.say(&format!("{undone} is undone: {} is in force\n", in_force(&state)));
        return Ok(());
    }
    let destination = destination(&store, &state, arguments.generation)?;
    if destination.is_in_force(&state) && !rollout.is_unreadable {
        arguments.guard.note.note_unused();
        report.say(&format!("nothing to change: {} is in force\n", named(state.current)));
        return Ok(());
    }
    let kept = destination.policy(&store, folder);
    // A rollback is not stopped by a plan that cannot be made.
    let shown = plan(&store, &state, &destination, kept.as_ref(), report);
    let shown = shown.map(|[body, totals]| report.say(&format!("{body}{totals}")));
    match destination {
        // No preflight: the deadline would do the same.
        Destination::Undo(_) => {
            rollout.note = arguments.guard.note(Vec::new());
            let undone = named(state.pending.as_ref().map(|pending| pending.generation));
            let (state, outcome) = rollout.undo(&state, Why::ByHand)?;
            change::show_notices(&outcome);
            report.left(&state);
            report.changed(outcome.changed);
            report.say(&format!("{undone} is undone: {} is in force\n", in_force(&state)));
            note_next_steps(&store, &state, kept.as_ref());
        }
        Destination::Generation(number) => {
            let (options, overridden) = check(&store, &state, number, arguments, kept.as_ref())?;
            rollout.note = arguments.guard.note(overridden);
            let (state, outcome) = rollout.rollback(&state, Some(number), options)?;
            change::show_notices(&outcome);
            change::print_result(report, &format!("generation {number} is in force again"), &state, &outcome);
            note_next_steps(&store, &state, kept.as_ref());
        }
    }
    shown
}

/// A generation's policy with its answers.
type KeptPolicy = (LoadedPolicy, Resolution);

impl Destination {
    /// The generation that it leads to; `None` for no table.
    fn number(&self) -> Option<u64> {
        match *self {
            Destination::Undo(back_to) => back_to,
            Destination::Generation(number) => Some(number),
        }
    }

    /// The policy of the generation that it leads to, if there is one that can be read. To undo a change, it is needed
    /// for the plan alone, so problems with it are no reason not to.
    fn policy(&self, store: &Store, folder: Option<&Path>) -> Option<KeptPolicy> {
        match *self {
            Destination::Generation(number) => policy_of(store, number, folder),
            Destination::Undo(None) => None,
            Destination::Undo(Some(number)) => {
                let facts = store.manifest(number).ok()?.policy?;
                read_policy(store, number, &facts, folder).ok().flatten()
            }
        }
    }

    /// Whether there is nothing to do.
    fn is_in_force(&self, state: &State) -> bool {
        matches!(self, Self::Generation(number) if state.current == Some(*number) && state.pending.is_none())
    }
}

/// Where the rollback leads that was asked for.
fn destination(store: &Store, state: &State, number: Option<u64>) -> Result<Destination, Failure> {
    if let Some(number) = number {
        // To go back to it would confirm it.
        if state.pending.as_ref().is_some_and(|pending| pending.generation == number) {
            return Err(Failure::refused(
                Check::Pending,
                anyhow!(
                    "generation {number} is the pending change; `{}` keeps it, `{}` undoes it",
                    hint::command("confirm"),
                    hint::command("rollback")
                ),
            ));
        }
        return Ok(Destination::Generation(number));
    }
    if state.pending.is_some() {
        return Ok(Destination::Undo(store.way_back(state).number()));
    }
    state.previous().map(Destination::Generation).ok_or_else(|| {
        let what = match state.current {
            None => "no generation is in force, so there is none before it".to_owned(),
            current => format!("there is no generation with another policy, catalog or list before {}", named(current)),
        };
        Failure::usage(anyhow!("{what}; `{}` lists the generations that are kept", hint::command("history")))
    })
}

/// Where the rollback goes: both generations, with what their users said about them.
fn title(store: &Store, from: Option<u64>, to: Option<u64>) -> String {
    let mut text = format!("from {} to {}:\n", named(from), named(to));
    for number in [from, to].into_iter().flatten() {
        let Ok(manifest) = store.manifest(number) else { continue };
        let mode = manifest.policy.as_ref().map(|policy| format!("mode {}, ", policy.mode)).unwrap_or_default();
        let message = manifest.message.as_ref().map(|message| format!("; message: {message}")).unwrap_or_default();
        let line = format!("{mode}{} of {} by {}{message}", manifest.made_by.name(), manifest.made, manifest.by);
        text += &paragraph(&format!("  {}  ", named(Some(number))), &legible(&line), "    ");
    }
    text
}

/// What the rollback opens and closes, compared with the generation in force: the plan, and its totals.
fn plan(
    store: &Store,
    state: &State,
    destination: &Destination,
    kept: Option<&KeptPolicy>,
    report: &mut Report,
) -> Result<[String; 2], Failure> {
    let to = destination.number();
    let title = title(store, state.current, to);
    let ruleset = |number: Option<u64>| number.map_or_else(|| Ok(Ruleset::default()), |number| store.ruleset(number));
    let (before, after) = match (ruleset(state.current), ruleset(to)) {
        (Ok(before), Ok(after)) => (before, after),
        // Damage of the generation in force is no reason to stay there.
        (Err(error), _) => return Ok([title, format!("what changes is not known: {error}\n")]),
        (_, Err(error)) => return Err(error.into()),
    };
    let consequences = Consequences::of(&before, &after);
    report.differ(&consequences);
    let policy = kept.map(|(loaded, resolution)| (&loaded.intent, resolution));
    let packets = match (to, state.current) {
        (Some(to), Some(from)) => hint::command("diff").word(to).option("against", from).option("format", "json"),
        _ => hint::again("rollback", &["dry-run", "format"]).word("--dry-run").option("format", "json"),
    };
    let flows = to.map(|to| hint::command("flows").policy(&store.generation(to).join(POLICY)).lock(None));
    let [body, totals] = consequences.parts(After { ruleset: &after, policy }, &packets, flows.as_ref());
    Ok([title + &body + "\n", totals])
}

/// Checks whether a generation would cut off connections that must not be; returns how to go back to it, and what is
/// overridden.
fn check(
    store: &Store,
    state: &State,
    number: u64,
    arguments: &Arguments,
    kept: Option<&KeptPolicy>,
) -> Result<(ChangeOptions, Vec<Refusal>), Failure> {
    let GuardArguments { confirm_within, force, .. } = arguments.guard;
    change::refuse_unwatched(confirm_within)?;
    let ruleset = store.ruleset(number)?;
    let in_force = state.current.and_then(|current| store.ruleset(current).ok());
    let guarded =
        kept.map(|(loaded, resolution)| GuardedPolicy { policy: &loaded.policy, intent: &loaded.intent, resolution });
    let overridden = preflight::enforce(&preflight::check(&ruleset, guarded.as_ref(), in_force.as_ref()), force)?;
    let ssh_port = guarded.map_or(SSH_PORT, |guarded| guarded.policy.ssh_port());
    Ok((ChangeOptions { confirm_within, force, ssh_port }, overridden))
}

/// Says what to do after a rollback: addresses of names are those of the generation's time, and the policy file has what
/// was left.
fn note_next_steps(store: &Store, state: &State, kept: Option<&KeptPolicy>) {
    if let Some((loaded, resolution)) = kept.filter(|(loaded, _)| !loaded.intent.names().is_empty()) {
        let refresh = match streams::is_stream(&loaded.path) {
            true => hint::command("refresh").word("POLICY"),
            false => hint::command("refresh").policy(&loaded.path),
        };
        let newest = resolution.names.values().flat_map(NameRecord::seen).max();
        let at = resolution.clock.as_ref().map(|clock| clock.at).or(newest);
        let at = at.map(|at| format!(" ({at})")).unwrap_or_default();
        render::note(&format!(
            "names have the addresses that DNS gave when that generation was in force{at}; `{refresh}` asks DNS now"
        ));
    }
    note_policy_on_disk(store, state);
}

/// Says how to restore the policy file, if it still has what was left.
fn note_policy_on_disk(store: &Store, state: &State) {
    let kept = |number| Some((number, store.manifest(number).ok()?.policy?.path, store.text(number, POLICY).ok()?));
    let Some((number, path, kept)) = state.current.and_then(kept) else { return };
    if !streams::is_stream(&path) && files::read(&path).is_ok_and(|file| file.text() != kept.text()) {
        let (file, restore) = (shown(&path), restore_command(store, number, &path));
        render::note(&format!(
            "`{file}` still has what was left; `{restore}` puts what is in force there, so that no one applies it again \
             by mistake"
        ));
    }
}

fn in_force(state: &State) -> String {
    match state.current {
        None => "no table, as before; every packet is accepted".to_owned(),
        current => named(current),
    }
}

/// The policy of a generation, for the plan and the preflight; `None` if it has no policy, or one that is damaged or that
/// this version does not accept.
fn policy_of(store: &Store, number: u64, folder: Option<&Path>) -> Option<KeptPolicy> {
    // Its ruleset is whole, and was proved at its time.
    let manifest = store.manifest(number);
    let facts = manifest.as_ref().ok().and_then(|manifest| manifest.policy.as_ref());
    let why = match (&manifest, facts) {
        (Err(_), _) => None,
        (Ok(_), None) => return None,
        (Ok(_), Some(facts)) => match read_policy(store, number, facts, folder) {
            Ok(Some(kept)) => return Some(kept),
            Ok(None) => Some("this version does not accept its lockfile".to_owned()),
            Err(failure) => Some(format!("this version does not accept its policy: {}", failure.sentence())),
        },
    };
    // What is damaged is no question of the version.
    let damage: Vec<String> = Wholeness::of(store).damage(number).iter().map(|error| chain(error)).collect();
    let why = why.filter(|_| damage.is_empty()).unwrap_or_else(|| damage.join("; "));
    let path = facts.map(|facts| &*facts.path).filter(|path| !streams::is_stream(path));
    let apply = hint::command("apply").policy(path.unwrap_or(Path::new("POLICY")));
    render::warning(&format!(
        "only live sessions were checked, and generation {number} cannot be refreshed: {why}; `{apply}` makes a whole one \
         of a policy"
    ));
    None
}

fn read_policy(
    store: &Store,
    number: u64,
    facts: &PolicyFacts,
    folder: Option<&Path>,
) -> Result<Option<KeptPolicy>, Failure> {
    kept_policy(store, number, facts, &kept_or_chosen_catalog(store, facts, folder)?)
}
