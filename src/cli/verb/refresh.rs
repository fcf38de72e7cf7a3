//! `edgeward refresh`.

use std::path::{Path, PathBuf};

use super::resolve::{LockfileMode, ServerArguments, update_known, update_lockfile};
use crate::cli::change::Report;
use crate::cli::context::{
    GuardArguments, KernelArguments, ListFormat, LockArguments, PolicyTarget, StateArguments, records,
};
use crate::cli::converge::{Base, Convergence};
use crate::cli::disk::{Differing, InForce, OnDisk};
use crate::cli::failure::{Failure, continued};
use crate::cli::{change, render};
use crate::host::generations::LOCKFILE;
use crate::host::rollout::needs_recovery;

/// Ask DNS, and change only the addresses that differ
///
/// Works with the generation in force: its policy, its catalog, its lists and its lockfile, as they were when they were
/// applied. If POLICY, the catalog or a list has changed since, it says so and does not put that into force; only `apply`
/// does. Otherwise the answers are also written to the lockfile of POLICY. A name that DNS does not answer keeps its known
/// addresses for `resolve.max-stale`, and the command ends with exit code 3. `edgeward-refresh.timer` runs it every few
/// minutes.
///
/// Root or CAP_NET_ADMIN is required.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward refresh /etc/edgeward/policy.yaml
  edgeward refresh /etc/edgeward/policy.yaml --server 10.0.0.53")]
pub(crate) struct Arguments {
    /// The policy file, or `-` for standard input; it is only compared with the policy in force
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    target: PolicyTarget,
    #[command(flatten)]
    lock: LockArguments,
    #[command(flatten)]
    servers: ServerArguments,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    #[command(flatten)]
    guard: GuardArguments,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let mut report = Report::new(arguments.format);
    let done = run_reporting(arguments, folder, &mut report);
    report.end(done)
}

fn run_reporting(arguments: &Arguments, folder: Option<&Path>, report: &mut Report) -> Result<(), Failure> {
    let Arguments { policy: path, lock, servers, state, kernel, guard, .. } = arguments;
    let store = state.read();
    let mut recorded = records(&store)?;
    report.found(&recorded);
    // Recovery comes first: an expired or interrupted change may be why DNS does not answer.
    if needs_recovery(&recorded) {
        let mut kernel = kernel.kernel();
        recorded = change::recover(&mut change::rollout(&state.lock()?, &mut kernel), guard.force, report)?;
    }
    let (base, loaded, known) = Base::load(&store, &recorded, path, folder)?;
    let on_disk = OnDisk { policy: Some(path), target: arguments.target.target, catalog: folder };
    let differences = on_disk.differences(InForce { facts: &base.facts, loaded: &loaded }, true);
    if !differences.is_empty() {
        show(&differences, &on_disk, base.number);
    }
    // A policy that came through a pipe need not be in a file.
    let is_kept = differences.is_empty() && (lock.lock.is_some() || path.exists());
    let update = match lock.find(path).filter(|_| is_kept) {
        Some(lock) => update_lockfile(lock, &loaded, &known, servers, LockfileMode::Write)?,
        None => {
            let kept = store.generation(base.number).join(LOCKFILE);
            update_known(kept, &loaded, &known, servers, LockfileMode::Ask)?
        }
    };
    report.say(&update.changes());
    let has_answers = update.has_answers();
    // A name that failed keeps its addresses, and does not stop the others from getting new ones.
    let (policy, unresolved) = update.bind(lock, path, loaded)?;
    let done = if unresolved.is_none() || has_answers {
        let convergence = Convergence { policy: &policy, catalog: &base.catalog, base: Some(&base), guard, kernel };
        state.lock().and_then(|store| convergence.run(&store, report))
    } else {
        render::note("no name was answered; the rules stay as they are");
        Ok(())
    };
    continued(unresolved, done)
}

/// Says what differs on disk, and which command puts it into force.
fn show(differences: &[Differing], on_disk: &OnDisk<'_>, number: u64) {
    let names: Vec<&str> = differences.iter().map(|differing| &*differing.name).collect();
    render::note(&format!(
        "only addresses are refreshed. Since generation {number} was made, this has changed: {}; `{}` puts it into force",
        names.join(", "),
        on_disk.command()
    ));
}
