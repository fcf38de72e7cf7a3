//! `edgeward diff`.

mod against;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::cli::context::{BoundArguments, KernelArguments, StateArguments, load_catalog};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::lower::lower;

/// Show the packets that are treated differently than under another ruleset or policy, and why
///
/// Both rulesets are compared for every possible packet, not line by line. Each difference has its flow, the place in
/// the policy, and its cause: the policy, the catalog, DNS, or a change by hand. The exit code is 0 if no packet is
/// treated differently, even if the texts differ, and 1 otherwise.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward diff /etc/edgeward/policy.yaml
  edgeward diff /etc/edgeward/policy.yaml --against 7
  edgeward diff new.yaml --against old.yaml --format json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    /// What the policy is compared with: `kernel`, the number of a generation, or a file with a ruleset (nft text or
    /// JSON) or another policy
    #[arg(long, value_name = "WHAT", default_value = "kernel")]
    against: PathBuf,
    /// The lockfile of the other policy [default: the other policy's path, ending in `.lock.yaml`]
    #[arg(long, value_name = "FILE")]
    against_lock: Option<PathBuf>,
    /// The catalog of the other policy, in place of this one's; `built-in` for the one without `--catalog`
    #[arg(long, value_name = "DIR")]
    against_catalog: Option<PathBuf>,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    /// Packets as text or JSON, or the lines of the two texts
    #[arg(long, value_enum, default_value_t)]
    format: DiffFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    /// Packets, for people
    #[default]
    Text,
    /// Packets, for programs
    Json,
    /// A unified diff of the rulesets' texts
    Nft,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let policy = arguments.policy.load(&catalog)?;
    let new = lower(&policy.resolved);
    let comparison = against::compare(arguments, folder, &catalog, &policy, new)?;
    let differences = comparison.differences();
    render::output(&match arguments.format {
        DiffFormat::Text => comparison.text(&differences, &policy),
        DiffFormat::Json => render::document(&comparison.document(&differences, &policy))?,
        DiffFormat::Nft => comparison.unified(&policy),
    })?;
    if differences.is_empty() { Ok(()) } else { Err(Failure::different()) }
}
