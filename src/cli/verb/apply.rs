//! `edgeward apply`.

use std::path::Path;

use crate::cli::context::{BoundArguments, GuardArguments, KernelArguments, StateArguments, load_catalog};
use crate::cli::converge::Order;
use crate::cli::failure::Failure;
use crate::host::generations::MadeBy;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    guard: GuardArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    /// Say what would change and what speaks against it; change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let bound = arguments.policy.load(&catalog)?;
    let order = Order {
        bound: &bound,
        catalog: &catalog,
        verb: MadeBy::Apply,
        guard: &arguments.guard,
        kernel: &arguments.kernel,
    };
    match arguments.dry_run {
        true => order.rehearse(&arguments.state),
        false => order.carry_out(&arguments.state.hold()?),
    }
}
