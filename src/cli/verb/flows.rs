//! `edgeward flows`.

use std::path::Path;

use clap::ValueEnum;

use crate::cli::context::{BoundArguments, load_catalog};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::report::FlowList;

/// List every conversation that a policy opens, with both ends, ports, purpose and source
///
/// This is the list that a firewall team asks for. Names are shown with the addresses of the lockfile. Names without an
/// address are listed, too, but if one of them is not optional the exit code is 3. Nothing is asked of the network or
/// the kernel.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward flows policy.yaml
  edgeward flows policy.yaml --target idc-gateway --format csv > flows.csv
  edgeward flows policy.yaml --format json | jq '.flows[].flow'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    /// The shape of the list; text and markdown cut long lists short, json and csv do not
    #[arg(long, value_enum, default_value_t)]
    format: FlowsFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FlowsFormat {
    /// A table for people
    #[default]
    Text,
    /// For programs
    Json,
    /// For a spreadsheet
    Csv,
    /// A table of GitHub Flavored Markdown, for a ticket
    Markdown,
}

pub(crate) fn run(arguments: &Arguments, catalog: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(catalog)?;
    let (loaded, resolution) = arguments.policy.load_unbound(&catalog)?;
    let list = FlowList { intent: &loaded.intent, resolution: &resolution, evidence: loaded.evidence(&catalog) };
    render::output(&match arguments.format {
        FlowsFormat::Text => list.text(),
        FlowsFormat::Json => list.json().map_err(Failure::system)?,
        FlowsFormat::Csv => list.csv(),
        FlowsFormat::Markdown => list.markdown(),
    })?;
    // The list is shown without these addresses. A program that makes rules from it must learn that they are missing.
    arguments.policy.bind(loaded, resolution).map(|_| ())
}
