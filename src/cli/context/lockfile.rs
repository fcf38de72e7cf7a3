//! The lockfile of a policy, and the policy with the addresses from it.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::{LoadedPolicy, PolicyTarget, at_least, load_policy, warn_of_age};
use crate::catalog::Catalog;
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::{Problems, Severity};
use crate::explain::Meaning;
use crate::host::files;
use crate::intent::{Intent, Resolved, Unresolved};
use crate::net::PrefixSet;
use crate::resolution::Resolution;
use crate::source::Source;

/// Which lockfile.
#[derive(Debug, clap::Args)]
pub(crate) struct LockArguments {
    /// The lockfile with the addresses of names [default: the policy's path, ending in `.lock.yaml`]
    ///
    /// `edgeward resolve`, `edgeward apply --resolve` and `edgeward refresh` write it; everything else only reads it. `policies/edge.yaml` has the
    /// lockfile `policies/edge.lock.yaml`.
    #[arg(long, value_name = "FILE")]
    pub(crate) lock: Option<PathBuf>,
}

impl LockArguments {
    /// The lockfile of a policy.
    pub(crate) fn path(&self, policy: &Path) -> PathBuf {
        self.lock.clone().unwrap_or_else(|| policy.with_extension("lock.yaml"))
    }

    /// The answers for a policy. A lockfile that was not named in the arguments may be missing: then no name has an
    /// address.
    fn resolution(&self, policy: &Path, loaded: &LoadedPolicy) -> Result<Resolution, Failure> {
        let resolution = match (&self.lock, loaded.intent.names().is_empty()) {
            (None, true) => None,
            (None, false) => load_if_exists(&self.path(policy), &loaded.cloud.metadata())?,
            (Some(path), _) => Some(parse(files::read(path)?, &loaded.cloud.metadata())?),
        };
        Ok(resolution.unwrap_or_default())
    }

    /// Replaces the names of a policy by the addresses of its lockfile.
    pub(crate) fn bind(&self, policy: &Path, loaded: LoadedPolicy) -> Result<BoundPolicy, Failure> {
        let resolution = self.resolution(policy, &loaded)?;
        self.bind_to(policy, loaded, resolution)
    }

    /// Replaces the names of a policy by addresses that are known already.
    pub(crate) fn bind_to(
        &self,
        policy: &Path,
        loaded: LoadedPolicy,
        resolution: Resolution,
    ) -> Result<BoundPolicy, Failure> {
        let resolved =
            loaded.intent.bind(&resolution).map_err(|missing| unresolved(&missing, policy, &self.path(policy)))?;
        Ok(BoundPolicy { loaded, resolution, resolved })
    }
}

/// A policy with the addresses of its names.
pub(crate) struct BoundPolicy {
    /// The policy as it was written.
    pub(crate) loaded: LoadedPolicy,
    /// The answers of DNS.
    pub(crate) resolution: Resolution,
    /// The policy with addresses in place of names.
    pub(crate) resolved: Intent<Resolved>,
}

impl BoundPolicy {
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
    pub(crate) lock: LockArguments,
}

impl BoundArguments {
    /// Reads, checks and binds the policy. Warnings are shown.
    pub(crate) fn load(&self, catalog: &Catalog) -> Result<BoundPolicy, Failure> {
        let (loaded, resolution) = self.load_unbound(catalog)?;
        self.bind(loaded, resolution)
    }

    /// As [`load`](Self::load); answers that are stale or nearly so are a warning.
    pub(crate) fn load_with_age(&self, catalog: &Catalog) -> Result<BoundPolicy, Failure> {
        let policy = self.load(catalog)?;
        warn_of_age(&self.policy, &self.lock.path(&self.policy), &policy.loaded, &policy.resolution);
        Ok(policy)
    }

    /// Reads and checks the policy, and reads its lockfile. Names may be without an address.
    pub(crate) fn load_unbound(&self, catalog: &Catalog) -> Result<(LoadedPolicy, Resolution), Failure> {
        let loaded = load_policy(&self.policy, catalog, self.target.target, Severity::Warning)?;
        let resolution = self.lock.resolution(&self.policy, &loaded)?;
        Ok((loaded, resolution))
    }

    /// Binds what [`load_unbound`](Self::load_unbound) read.
    pub(crate) fn bind(&self, loaded: LoadedPolicy, resolution: Resolution) -> Result<BoundPolicy, Failure> {
        self.lock.bind_to(&self.policy, loaded, resolution)
    }
}

/// Reads a lockfile; `None` if there is none. A damaged lockfile is an error, and not treated as a missing one.
pub(crate) fn load_if_exists(path: &Path, refused: &PrefixSet) -> Result<Option<Resolution>, Failure> {
    files::read_if_there(path)?.map(|source| parse(source, refused)).transpose()
}

fn parse(source: Source, refused: &PrefixSet) -> Result<Resolution, Failure> {
    let mut problems = Problems::default();
    let resolution = Resolution::parse_refusing(&source, refused, &mut problems);
    let diagnostics = at_least(Severity::Warning, problems);
    match resolution {
        None => Err(Failure::invalid(source, diagnostics)),
        Some(resolution) => {
            render::diagnostics(&source, &diagnostics);
            Ok(resolution)
        }
    }
}

fn unresolved(missing: &Unresolved, policy: &Path, lock: &Path) -> Failure {
    let names: Vec<String> = missing.0.iter().map(|(name, flows)| format!("  {name} ({})", flows.join(", "))).collect();
    Failure::unresolved(
        missing.0.iter().map(|(name, _)| name.clone()).collect(),
        anyhow!(
            "{} without an address in `{}`:\n{}\n`edgeward resolve {}` asks DNS for them",
            render::count(names.len(), "name"),
            lock.display(),
            names.join("\n"),
            policy.display(),
        ),
    )
}
