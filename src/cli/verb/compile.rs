//! `edgeward compile`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::cli::context::{BoundArguments, load_catalog};
use crate::cli::failure::Failure;
use crate::cli::prove::prove_text;
use crate::cli::render;
use crate::emit;
use crate::lower::lower;
use crate::source::Source;

/// Print the ruleset of a policy; use neither network nor kernel
///
/// The addresses of names come from the lockfile. The same policy, lockfile and catalog give the same bytes on every
/// host. Before anything is printed it is read back and proved: for every packet, the ruleset decides what the policy
/// means.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward compile policy.yaml
  edgeward compile policy.yaml --output /etc/edgeward.nft
  edgeward compile policy.yaml --format json | jq .")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    /// nft text or nft JSON
    #[arg(long, value_enum, default_value_t)]
    format: RulesetFormat,
    /// Write to a file in place of standard output; on failure the file stays as it was
    ///
    /// A file that exists keeps its mode. A link that another user can change is not followed. `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum RulesetFormat {
    /// For `nft -f`
    #[default]
    Nft,
    /// For `nft -j -f`
    Json,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let resolved = arguments.policy.load_with_age(&catalog)?.resolved;
    let ruleset = lower(&resolved);
    let text = match arguments.format {
        RulesetFormat::Nft => emit::nft(&ruleset),
        RulesetFormat::Json => emit::json(&ruleset).map_err(Failure::system)?,
    };
    let text = Source::new("the ruleset", text);
    prove_text(&resolved, &text)?;
    render::output_to(arguments.output.as_deref(), text.text())
}
