//! `edgeward check`.

use std::path::{Path, PathBuf};

use super::{Failure, Loaded, PolicyTarget, load_catalog, load_policy, render};
use crate::diag::Severity;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy files
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<PathBuf>,
    #[command(flatten)]
    target: PolicyTarget,
}

pub(super) fn run(arguments: &Arguments, catalog: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(catalog)?;
    let mut worst = Ok(());
    for path in &arguments.policies {
        match load_policy(path, &catalog, arguments.target.target, Severity::Note) {
            Ok(Loaded { source, intent, .. }) => {
                let (flows, names) = (intent.flows.len(), intent.names().len());
                render::output(&format!("{}: good; {flows} flows, {names} names to resolve\n", source.name))?;
            }
            // The others are checked, too; a policy error outranks nothing else here, so the last one stands.
            Err(failure @ (Failure::Usage(_) | Failure::System(_))) => {
                let _ = failure.report();
                worst = Err(Failure::Reported);
            }
            Err(failure) => worst = Err(failure),
        }
    }
    worst
}
