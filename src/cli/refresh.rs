//! `edgeward refresh`.

use std::path::{Path, PathBuf};

use super::apply::Order;
use super::lock::LockArguments;
use super::resolve;
use super::rollout::{self, GuardArguments, StateArguments};
use super::{Failure, PolicyTarget, load_catalog, load_policy, render};
use crate::diag::Severity;
use crate::host::generations::Store;
use crate::host::kernel::Real;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
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
    guard: GuardArguments,
}

pub(super) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let loaded = load_policy(&arguments.policy, &catalog, arguments.target.target, Severity::Warning)?;
    // What was left pending or half done comes first: it may be why DNS does not answer.
    settle(&arguments.state.hold()?, arguments.guard.force)?;
    let resolved = resolve::update_lockfile(&arguments.policy, &loaded, &arguments.lock, &arguments.servers, false)?;
    render::output(&resolved.changes())?;
    // Names that failed keep their addresses, and are no reason to keep the others from their new ones.
    let failed = resolved.failed(&loaded).err();
    let bound = arguments.lock.bind(&arguments.policy, loaded);
    let bound = match (bound, failed) {
        (Ok(bound), None) => bound,
        (Ok(bound), Some(failed)) => {
            let failed = failed.told();
            if resolved.answered() {
                Order { bound: &bound, catalog: &catalog, verb: "refresh", guard: &arguments.guard }
                    .carry_out(&arguments.state.hold()?)?;
            } else {
                render::note("no name was answered; the rules stay as they are");
            }
            return Err(failed);
        }
        (Err(_), Some(failed)) => return Err(failed),
        (Err(unresolved), None) => return Err(unresolved),
    };
    Order { bound: &bound, catalog: &catalog, verb: "refresh", guard: &arguments.guard }
        .carry_out(&arguments.state.hold()?)
}

fn settle(store: &Store, force: bool) -> Result<(), Failure> {
    let mut kernel = Real::default();
    let (_, notes) = rollout::rollout(store, &mut kernel).settle(force)?;
    notes.iter().for_each(|note| render::note(note));
    Ok(())
}
