//! `edgeward refresh`.

use std::path::{Path, PathBuf};

use super::resolve::{self, ServerArguments};
use crate::cli::context::{
    GuardArguments, KernelArguments, LockArguments, PolicyTarget, StateArguments, load_catalog, load_policy,
};
use crate::cli::converge::Convergence;
use crate::cli::failure::Failure;
use crate::cli::{change, render};
use crate::diag::Severity;
use crate::host::generations::MadeBy;
use crate::host::rollout::needs_recovery;

/// Ask DNS, and change only the addresses that differ
///
/// Writes the answers to the lockfile and applies the policy with them. A name that DNS does not answer keeps its known
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
    /// The policy file
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
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let Arguments { policy: path, target, lock, servers, state, kernel, guard } = arguments;
    let catalog = load_catalog(folder)?;
    let loaded = load_policy(path, &catalog, target.target, Severity::Warning)?;
    // Recovery comes first: an expired or interrupted change may be why DNS does not answer.
    if needs_recovery(&state.read().state()?) {
        let mut kernel = kernel.kernel();
        change::recover(&mut change::rollout(&state.lock()?, &mut kernel), guard.force)?;
    }
    let update = resolve::update_lockfile(path, &loaded, lock, servers, false)?;
    render::output(&update.changes())?;
    // A name that failed keeps its addresses, and does not stop the others from getting new ones.
    let unresolved = update.check_required(&loaded).err();
    let (policy, unresolved) = match (lock.bind(path, loaded), unresolved) {
        (Ok(policy), unresolved) => (policy, unresolved),
        (Err(_), Some(failure)) | (Err(failure), None) => return Err(failure),
    };
    let done = if unresolved.is_none() || update.has_answers() {
        let convergence = Convergence { policy: &policy, catalog: &catalog, verb: MadeBy::Refresh, guard, kernel };
        state.lock().and_then(|store| convergence.run(&store))
    } else {
        render::note("no name was answered; the rules stay as they are");
        Ok(())
    };
    match (unresolved, done) {
        (None, done) => done,
        (Some(unresolved), Ok(())) => Err(unresolved),
        (Some(unresolved), Err(failure)) => Err(unresolved.and(failure)),
    }
}
