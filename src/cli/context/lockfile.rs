//! The lockfile of a policy, and the policy with the addresses from it.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::{LoadedPolicy, PolicyTarget, at_least, load_policy, warn_of_age};
use crate::catalog::Catalog;
use crate::cli::failure::Failure;
use crate::cli::hint::{self, Hint};
use crate::cli::render;
use crate::diag::{Problems, Severity, shown};
use crate::explain::Meaning;
use crate::host::files;
use crate::host::streams;
use crate::intent::{Intent, Resolved, Unresolved};
use crate::net::PrefixSet;
use crate::policy;
use crate::resolution::Resolution;
use crate::source::Source;
use crate::wording::count;

/// Which lockfile.
#[derive(Debug, clap::Args)]
pub(crate) struct LockArguments {
    /// The lockfile with the addresses of names [default: the policy's path, ending in `.lock.yaml`]
    ///
    /// `edgeward resolve`, `edgeward apply --resolve` and `edgeward refresh` write it; everything else only reads it. `policies/edge.yaml` has the
    /// lockfile `policies/edge.lock.yaml`. A policy from standard input or another pipe has no default.
    #[arg(long, value_name = "FILE")]
    pub(crate) lock: Option<PathBuf>,
}

impl LockArguments {
    /// The lockfile of a policy; `None` for a stream without `--lock`.
    pub(crate) fn find(&self, policy: &Path) -> Option<PathBuf> {
        let beside = || (!streams::is_stream(policy)).then(|| policy.with_extension("lock.yaml"));
        self.lock.clone().or_else(beside)
    }

    /// As [`find`](Self::find), for a policy that needs a lockfile.
    pub(crate) fn path(&self, policy: &Path) -> Result<PathBuf, Failure> {
        self.find(policy).ok_or_else(|| no_lockfile("--lock"))
    }

    /// The command that asks DNS for the names of a policy.
    pub(crate) fn resolve_command(&self, policy: &Path) -> Hint {
        hint::command("resolve").policy(policy).lock(self.lock.as_deref())
    }

    /// The answers for a policy. A lockfile that was not named in the arguments may be missing: then no name has an
    /// address.
    pub(crate) fn resolution(&self, policy: &Path, loaded: &LoadedPolicy) -> Result<Resolution, Failure> {
        let resolution = match (&self.lock, loaded.intent.names().is_empty()) {
            (None, true) => None,
            (None, false) => load_if_exists(&self.path(policy)?, &loaded.cloud.metadata())?,
            (Some(path), _) => Some(parse(streams::read(path)?, &loaded.cloud.metadata())?),
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
        check_answers(&loaded, &resolution)?;
        let resolved = loaded.intent.bind(&resolution).map_err(|missing| self.unresolved(&missing, policy))?;
        Ok(BoundPolicy { loaded, resolution, resolved })
    }

    /// Says which names have no address.
    pub(crate) fn unresolved(&self, missing: &Unresolved, policy: &Path) -> Failure {
        let names: Vec<String> =
            missing.0.iter().map(|(name, flows)| format!("  {name} ({})", flows.join(", "))).collect();
        let lock = self.find(policy).map_or_else(String::new, |lock| format!(" in `{}`", shown(&lock)));
        Failure::unresolved(
            missing.0.iter().map(|(name, _)| name.clone()).collect(),
            anyhow!(
                "{} without an address{lock}:\n{}\n`{}` asks DNS for them",
                count(names.len(), "name"),
                names.join("\n"),
                self.resolve_command(policy),
            ),
        )
    }
}

/// Says that a policy from a stream has no lockfile beside it.
pub(crate) fn no_lockfile(option: &str) -> Failure {
    Failure::usage(anyhow!(
        "a policy from standard input or a pipe has no lockfile beside it: name the lockfile with `{option} FILE`"
    ))
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
    /// The policy file; `-` is standard input
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
        if let Some(lock) = self.lock.find(&self.policy) {
            let resolve = self.lock.resolve_command(&self.policy);
            warn_of_age(&lock, &resolve, &policy.loaded, &policy.resolution);
        }
        Ok(policy)
    }

    /// Reads and checks the policy, and reads its lockfile. Names may be without an address.
    pub(crate) fn load_unbound(&self, catalog: &Catalog) -> Result<(LoadedPolicy, Resolution), Failure> {
        let loaded = load_policy(&self.policy, catalog, self.target.target, Severity::Warning)?;
        let resolution = self.lock.resolution(&self.policy, &loaded)?;
        check_answers(&loaded, &resolution)?;
        Ok((loaded, resolution))
    }

    /// Binds what [`load_unbound`](Self::load_unbound) read.
    pub(crate) fn bind(&self, loaded: LoadedPolicy, resolution: Resolution) -> Result<BoundPolicy, Failure> {
        self.lock.bind_to(&self.policy, loaded, resolution)
    }
}

/// Checks that a policy may open the answers in its lockfile.
pub(crate) fn check_answers(loaded: &LoadedPolicy, resolution: &Resolution) -> Result<(), Failure> {
    let mut problems = Problems::default();
    let trust = loaded.policy.resolution_rules(&loaded.cloud).trust;
    policy::check_answers(&loaded.policy, &loaded.intent, resolution, &trust, &mut problems);
    match problems.has_errors() {
        true => Err(Failure::invalid(loaded.source.clone(), at_least(Severity::Warning, problems))),
        false => Ok(()),
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
