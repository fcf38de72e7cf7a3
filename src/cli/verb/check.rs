//! `edgeward check`.

use std::path::{Path, PathBuf};

use crate::catalog::Catalog;
use crate::cli::context::{
    LoadedPolicy, LockArguments, PolicyTarget, at_least, load_catalog, load_if_exists, load_policy, warn_of_age,
};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::{Problems, Severity};
use crate::lint::lint;

/// Check policies and report all problems in them
///
/// Reads the policies, the lists of peers that they name, and the age of their lockfiles: no DNS, no kernel. Problems
/// have a file, a line and a code that docs/diagnostics.md explains. The exit code is 2 if a policy has an error;
/// warnings and notes do not change it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward check /etc/edgeward/policy.yaml
  edgeward check --target idc-gateway policies/*.yaml")]
pub(crate) struct Arguments {
    /// The policy files
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<PathBuf>,
    #[command(flatten)]
    target: PolicyTarget,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let mut failures: Option<Failure> = None;
    // A policy with errors does not keep the others from being checked.
    for path in &arguments.policies {
        if let Err(failure) = check(path, &catalog, &arguments.target) {
            failures = Some(match failures {
                None => failure,
                Some(earlier) => earlier.and(failure),
            });
        }
    }
    failures.map_or(Ok(()), Err)
}

fn check(path: &Path, catalog: &Catalog, target: &PolicyTarget) -> Result<(), Failure> {
    let loaded = load_policy(path, catalog, target.target, Severity::Note)?;
    let lock = LockArguments { lock: None }.path(path);
    if let Some(resolution) = load_if_exists(&lock, &loaded.cloud.metadata())? {
        warn_of_age(path, &lock, &loaded, &resolution);
    }
    let LoadedPolicy { source, intent, .. } = loaded;
    let mut problems = Problems::default();
    lint(&intent, &catalog.cloud.services(), &mut problems);
    render::diagnostics(&source, &at_least(Severity::Note, problems));
    render::output(&format!(
        "{}: valid; {}, {} to resolve\n",
        source.name,
        render::count(intent.flows.len(), "flow"),
        render::count(intent.names().len(), "name")
    ))
}
