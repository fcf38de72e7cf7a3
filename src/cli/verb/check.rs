//! `edgeward check`.

use std::path::{Path, PathBuf};

use crate::cli::context::{Loaded, PolicyTarget, load_catalog, load_policy};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::{Problems, Severity};
use crate::lint::lint;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The policy files
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<PathBuf>,
    #[command(flatten)]
    target: PolicyTarget,
}

pub(crate) fn run(arguments: &Arguments, catalog: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(catalog)?;
    let mut worst: Option<Failure> = None;
    for path in &arguments.policies {
        match load_policy(path, &catalog, arguments.target.target, Severity::Note) {
            Ok(Loaded { source, intent, .. }) => {
                let mut problems = Problems::default();
                lint(&intent, &mut problems);
                render::diagnostics(&source, problems.into_sorted(), Severity::Note);
                let (flows, names) = (intent.flows.len(), intent.names().len());
                render::output(&format!(
                    "{}: good; {}, {} to resolve\n",
                    source.name,
                    render::count(flows, "flow"),
                    render::count(names, "name")
                ))?;
            }
            // The others are checked, too. A file that cannot be read is the graver failure: it tells nothing.
            Err(failure) => {
                worst = [Some(failure.told()), worst].into_iter().flatten().max_by_key(Failure::code);
            }
        }
    }
    worst.map_or(Ok(()), Err)
}
