//! `edgeward refresh`.

use std::path::{Path, PathBuf};

use crate::cli::context::{
    GuardArguments, KernelArguments, LockArguments, PolicyTarget, StateArguments, load_catalog, load_policy,
};
use crate::cli::converge::Order;
use crate::cli::failure::Failure;
use crate::cli::verb::resolve;
use crate::cli::{render, report};
use crate::diag::Severity;
use crate::host::generations::MadeBy;
use crate::host::rollout::needs_recovery;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The policy file
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    target: PolicyTarget,
    #[command(flatten)]
    lock: LockArguments,
    #[command(flatten)]
    servers: resolve::ServerArguments,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    #[command(flatten)]
    guard: GuardArguments,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let loaded = load_policy(&arguments.policy, &catalog, arguments.target.target, Severity::Warning)?;
    // What was left pending or half done comes first: it may be why DNS does not answer.
    if needs_recovery(&arguments.state.look().state()?) {
        let mut kernel = arguments.kernel.kernel();
        report::recover(&mut report::rollout(&arguments.state.hold()?, &mut kernel), arguments.guard.force)?;
    }
    let resolved = resolve::update_lockfile(&arguments.policy, &loaded, &arguments.lock, &arguments.servers, false)?;
    render::output(&resolved.changes())?;
    // Names that failed keep their addresses, and are no reason to keep the others from their new ones.
    let failed = resolved.failed(&loaded).err();
    let (bound, failed) = match (arguments.lock.bind(&arguments.policy, loaded), failed) {
        (Ok(bound), failed) => (bound, failed.map(Failure::told)),
        (Err(_), Some(failed)) | (Err(failed), None) => return Err(failed),
    };
    if failed.is_none() || resolved.answered() {
        let Arguments { guard, kernel, state, .. } = arguments;
        Order { bound: &bound, catalog: &catalog, verb: MadeBy::Refresh, guard, kernel }.carry_out(&state.hold()?)?;
    } else {
        render::note("no name was answered; the rules stay as they are");
    }
    failed.map_or(Ok(()), Err)
}
