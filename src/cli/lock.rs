//! The lockfile as commands find and use it.

use std::path::{Path, PathBuf};

use super::{Failure, render};
use crate::diag::{Problems, Severity};
use crate::host::files;
use crate::intent::{Declared, Intent, Resolved, Unresolved};
use crate::resolution::Resolution;

/// Which lockfile.
#[derive(Debug, clap::Args)]
pub(super) struct LockArguments {
    /// The lockfile with the addresses of names [default: the policy's name with `.lock.yaml`]
    #[arg(long, value_name = "FILE")]
    pub(super) lock: Option<PathBuf>,
}

impl LockArguments {
    /// `policies/edge.yaml` has the lockfile `policies/edge.lock.yaml`.
    pub(super) fn path(&self, policy: &Path) -> PathBuf {
        self.lock.clone().unwrap_or_else(|| policy.with_extension("lock.yaml"))
    }

    /// The lockfile of a policy. Where it is only presumed, it may be missing, and then no name has an address.
    pub(super) fn resolution(&self, policy: &Path, intent: &Intent<Declared>) -> Result<Resolution, Failure> {
        let path = self.path(policy);
        let resolution = match (&self.lock, intent.names().is_empty()) {
            (None, true) => None,
            (None, false) => load_if_there(&path)?,
            (Some(_), _) => Some(parse(&files::read(&path)?)?),
        };
        Ok(resolution.unwrap_or_default())
    }

    /// Replaces the names of a policy by the addresses of its lockfile.
    pub(super) fn bind(&self, policy: &Path, intent: &Intent<Declared>) -> Result<Intent<Resolved>, Failure> {
        self.bind_to(&self.resolution(policy, intent)?, policy, intent)
    }

    /// Replaces the names of a policy by addresses that came from its lockfile.
    pub(super) fn bind_to(
        &self,
        resolution: &Resolution,
        policy: &Path,
        intent: &Intent<Declared>,
    ) -> Result<Intent<Resolved>, Failure> {
        intent.bind(resolution).map_err(|missing| unresolved(&missing, policy, &self.path(policy)))
    }
}

/// Reads a lockfile; `None` where there is none. A damaged one is an error, and never as good as none.
pub(super) fn load_if_there(path: &Path) -> Result<Option<Resolution>, Failure> {
    files::read_if_there(path)?.map(|source| parse(&source)).transpose()
}

fn parse(source: &crate::source::Source) -> Result<Resolution, Failure> {
    let mut problems = Problems::default();
    let resolution = Resolution::parse(source, &mut problems);
    render::diagnostics(source, problems.into_sorted(), Severity::Warning);
    resolution.ok_or(Failure::Told(2))
}

fn unresolved(missing: &Unresolved, policy: &Path, lock: &Path) -> Failure {
    let names: Vec<String> = missing.0.iter().map(|(name, flows)| format!("  {name} ({})", flows.join(", "))).collect();
    Failure::Unresolved(anyhow::anyhow!(
        "{} of the policy's names have no address in `{}`:\n{}\n`edgeward resolve {}` asks DNS for them",
        names.len(),
        lock.display(),
        names.join("\n"),
        policy.display(),
    ))
}
