//! `edgeward refresh`.

use std::path::{Path, PathBuf};

use super::apply::Order;
use super::lock::LockArguments;
use super::resolve;
use super::rollout::{GuardArguments, StateArguments};
use super::{Failure, PolicyTarget, load_catalog, load_policy, render};
use crate::diag::Severity;

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
    let resolved = resolve::update_lockfile(&arguments.policy, &loaded, &arguments.lock, &arguments.servers, false)?;
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
