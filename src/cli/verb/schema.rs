//! `edgeward schema`.

use std::path::Path;

use anyhow::anyhow;

use crate::cli::context::load_catalog;
use crate::cli::failure::Failure;
use crate::cli::{document, render};
use crate::diag::did_you_mean;
use crate::policy;

/// Print the JSON Schema of the policy file, or of what a verb prints with `--format json`
///
/// For editors, and for programs that write policies or read results. Every policy that `edgeward check` accepts is valid
/// under the first; not every mistake that `edgeward check` finds can be written as a schema. docs/json.md describes what
/// verbs print.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward schema > policy.schema.json
  edgeward schema --of apply > apply.schema.json")]
pub(crate) struct Arguments {
    /// The schema of the JSON that this verb prints, in place of the policy's
    #[arg(long, value_name = "VERB")]
    of: Option<String>,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let schema = match &arguments.of {
        None => policy::schema(&load_catalog(folder)?),
        Some(verb) => document::schema_of(verb).ok_or_else(|| unknown(verb))?,
    };
    render::output(&render::document(schema.as_value())?)
}

fn unknown(verb: &str) -> Failure {
    let help = did_you_mean(verb, document::verbs()).map(|help| format!("; {help}")).unwrap_or_default();
    let verbs: Vec<&str> = document::verbs().collect();
    Failure::usage(anyhow!(
        "no schema describes what `{verb}` prints{help}; these verbs have one: {}",
        verbs.join(", ")
    ))
}
