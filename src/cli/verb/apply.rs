//! `edgeward apply`.

use std::path::Path;

use crate::cli::context::{BoundArguments, GuardArguments, KernelArguments, StateArguments, load_catalog};
use crate::cli::converge::Convergence;
use crate::cli::failure::Failure;
use crate::host::generations::MadeBy;

/// Bring this host's rules to a policy, without losing packets or locking anyone out
///
/// The policy is compiled with its lockfile; DNS is not asked. The new ruleset is proved, the connections of this host
/// are checked against it, and it is kept as a generation. Then one transaction switches the rules of `table inet
/// edgeward`; no other table is changed. With `--confirm-within` the change is undone unless `edgeward confirm`
/// follows.
///
/// Root or CAP_NET_ADMIN is required.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward apply /etc/edgeward/policy.yaml --dry-run
  edgeward apply /etc/edgeward/policy.yaml --confirm-within 2m
  edgeward confirm")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    guard: GuardArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    /// Show what would change and what would refuse the change; change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let Arguments { policy, state, guard, kernel, dry_run } = arguments;
    let catalog = load_catalog(folder)?;
    let policy = policy.load(&catalog)?;
    let convergence = Convergence { policy: &policy, catalog: &catalog, verb: MadeBy::Apply, guard, kernel };
    match dry_run {
        true => convergence.dry_run(state),
        false => convergence.run(&state.lock()?),
    }
}
