//! `edgeward schema`.

use std::path::Path;

use crate::cli::context::load_catalog;
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::policy;

/// Print the JSON Schema of the policy file
///
/// For editors, and for programs that write policies. Every policy that `edgeward check` accepts is valid under it; not
/// every mistake that `edgeward check` finds can be written as a schema.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward schema > policy.schema.json")]
pub(crate) struct Arguments {}

pub(crate) fn run(folder: Option<&Path>) -> Result<(), Failure> {
    render::output(&render::document(policy::schema(&load_catalog(folder)?).as_value())?)
}
