//! The lockfile as commands find and use it, and policies with the answers in it.

use std::path::{Path, PathBuf};

use crate::catalog::Catalog;
use crate::cli::context::{Loaded, PolicyTarget, load_policy};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::{Problems, Severity};
use crate::explain::Meaning;
use crate::host::files;
use crate::intent::{Intent, Resolved, Unresolved};
use crate::resolution::Resolution;

/// Which lockfile.
#[derive(Debug, clap::Args)]
pub(crate) struct LockArguments {
    /// The lockfile with the addresses of names [default: the policy's name with `.lock.yaml`]
    #[arg(long, value_name = "FILE")]
    pub(crate) lock: Option<PathBuf>,
}

impl LockArguments {
    /// `policies/edge.yaml` has the lockfile `policies/edge.lock.yaml`.
    pub(crate) fn path(&self, policy: &Path) -> PathBuf {
        self.lock.clone().unwrap_or_else(|| policy.with_extension("lock.yaml"))
    }

    /// Replaces the names of a policy by the addresses of its lockfile. Where the lockfile is only presumed, it may be
    /// missing, and then no name has an address.
    pub(crate) fn bind(&self, policy: &Path, loaded: Loaded) -> Result<Bound, Failure> {
        let path = self.path(policy);
        let resolution = match (&self.lock, loaded.intent.names().is_empty()) {
            (None, true) => None,
            (None, false) => load_if_there(&path)?,
            (Some(_), _) => Some(parse(&files::read(&path)?)?),
        };
        let resolution = resolution.unwrap_or_default();
        let resolved = loaded.intent.bind(&resolution).map_err(|missing| unresolved(&missing, policy, &path))?;
        Ok(Bound { loaded, resolution, resolved })
    }
}

/// A policy with its answers.
pub(crate) struct Bound {
    /// The policy.
    pub(crate) loaded: Loaded,
    /// The answers.
    pub(crate) resolution: Resolution,
    /// What both mean together.
    pub(crate) resolved: Intent<Resolved>,
}

impl Bound {
    /// What verdicts are explained with.
    pub(crate) fn meaning(&self) -> Meaning<'_> {
        Meaning { declared: &self.loaded.intent, resolved: &self.resolved, resolution: &self.resolution }
    }
}

/// Which policy, for which target, with which lockfile.
#[derive(Debug, clap::Args)]
pub(crate) struct BoundArguments {
    /// The policy file
    #[arg(value_name = "POLICY")]
    pub(crate) policy: PathBuf,
    #[command(flatten)]
    pub(crate) target: PolicyTarget,
    #[command(flatten)]
    lock: LockArguments,
}

impl BoundArguments {
    /// Reads, checks and binds the policy; warnings are shown.
    pub(crate) fn load(&self, catalog: &Catalog) -> Result<Bound, Failure> {
        let loaded = load_policy(&self.policy, catalog, self.target.target, Severity::Warning)?;
        self.lock.bind(&self.policy, loaded)
    }
}

/// Reads a lockfile; `None` where there is none. A damaged one is an error, and never as good as none.
pub(crate) fn load_if_there(path: &Path) -> Result<Option<Resolution>, Failure> {
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
