//! `edgeward compile`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Failure, PolicyTarget, load_catalog, load_policy, render};
use crate::diag::{Problems, Severity};
use crate::emit;
use crate::host::files;
use crate::intent::{Declared, Intent, Unresolved};
use crate::lower::lower;
use crate::resolution::Resolution;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy file
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    target: PolicyTarget,
    /// The lockfile with the addresses of names [default: the policy's name with `.lock.yaml`]
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// nft text or nft JSON
    #[arg(long, value_enum, default_value_t)]
    format: RulesetFormat,
    /// Write to a file, whole or not at all, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum RulesetFormat {
    /// For `nft -f`.
    #[default]
    Nft,
    /// For `nft -j -f`.
    Json,
}

pub(super) fn run(arguments: &Arguments, catalog: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(catalog)?;
    let (_, intent) = load_policy(&arguments.policy, &catalog, arguments.target.target, Severity::Warning)?;
    let lock = arguments.lock.clone().unwrap_or_else(|| default_lock(&arguments.policy));
    let resolution = load_resolution(&lock, arguments.lock.is_some(), &intent)?;
    let resolved = intent.bind(&resolution).map_err(|missing| unresolved(&missing, &arguments.policy, &lock))?;
    let ruleset = lower(&resolved);
    let text = match arguments.format {
        RulesetFormat::Nft => emit::nft(&ruleset),
        RulesetFormat::Json => emit::json(&ruleset).map_err(|error| Failure::System(error.into()))?,
    };
    match &arguments.output {
        None => render::output(&text),
        Some(path) => files::write(path, &text).map_err(|error| {
            Failure::System(anyhow::Error::from(error).context(format!("cannot write `{}`", path.display())))
        }),
    }
}

/// `policies/edge.yaml` has the lockfile `policies/edge.lock.yaml`.
fn default_lock(policy: &Path) -> PathBuf {
    policy.with_extension("lock.yaml")
}

/// Reads the lockfile; where it is only presumed it may be missing, and then no name has an address.
fn load_resolution(path: &Path, wanted: bool, intent: &Intent<Declared>) -> Result<Resolution, Failure> {
    if intent.names().is_empty() && !wanted {
        return Ok(Resolution::default());
    }
    let source = if wanted { Some(files::read(path)?) } else { files::read_if_there(path)? };
    let Some(source) = source else { return Ok(Resolution::default()) };
    let mut problems = Problems::default();
    let resolution = Resolution::parse(&source, &mut problems);
    render::diagnostics(&source, problems.into_sorted(), Severity::Warning);
    resolution.ok_or(Failure::Reported)
}

fn unresolved(missing: &Unresolved, policy: &Path, lock: &Path) -> Failure {
    let names: Vec<String> = missing.0.iter().map(|(name, flows)| format!("  {name} ({})", flows.join(", "))).collect();
    Failure::Unresolved(anyhow::anyhow!(
        "{} names have no address in `{}`:\n{}\n`edgeward resolve {}` asks DNS for them",
        names.len(),
        lock.display(),
        names.join("\n"),
        policy.display(),
    ))
}
