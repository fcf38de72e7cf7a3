//! What verbs work on: catalog, policy and lockfile, loaded and checked.

mod age;
mod damage;
mod kept;
mod lockfile;
mod options;

use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use crate::catalog::{Catalog, CloudFacts, ELEMENTS, FILES};
use crate::cli::failure::Failure;
use crate::cli::{hint, render};
use crate::diag::{Diagnostic, Problems, Severity, shown};
use crate::host::streams::{self, STREAM};
use crate::host::{clock, files, lists};
use crate::intent::{Declared, Intent};
use crate::policy::{self, syntax::PeersList, syntax::Policy};
use crate::report::Evidence;
use crate::site::Target;
use crate::source::Source;

pub(crate) use age::{AgeLimits, age_warning, last_seen, warn_of_age};
pub(crate) use damage::Wholeness;
pub(crate) use kept::{kept_answers, kept_catalog, kept_or_chosen_catalog, kept_policy, not_stored, whole_policy};
pub(crate) use lockfile::{BoundArguments, BoundPolicy, LockArguments, check_answers, load_if_exists, no_lockfile};
pub(crate) use options::{
    GuardArguments, KernelArguments, ListFormat, MAX_LOCK_WAIT, MessageArguments, PolicyTarget, StateArguments, records,
};

/// Reads the catalog that the user chose.
pub(crate) fn load_catalog(folder: Option<&Path>) -> Result<Catalog, Failure> {
    let catalog = match folder {
        None => Catalog::embedded(),
        Some(folder) => {
            check_folder(folder)?;
            let [sources, cloud, regions, flows] = FILES.map(|name| folder.join(name));
            let cloud = files::read_if_there(&cloud)?.unwrap_or_else(Catalog::embedded_cloud);
            let elements = files::read_if_there(&folder.join(ELEMENTS))?;
            Catalog::parse([files::read(&sources)?, cloud, files::read(&regions)?, files::read(&flows)?], elements)
        }
    };
    catalog.map_err(|error| Failure::invalid(error.source, error.diagnostics))
}

/// Checks that a catalog is a folder: otherwise its files would be reported one by one.
fn check_folder(folder: &Path) -> Result<(), Failure> {
    match files::is_folder(folder) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let message = format!("the catalog `{}` is a file; `--catalog` expects a folder", shown(folder));
            Err(Failure::system(anyhow::Error::msg(message)))
        }
        Err(error) => {
            let message = format!("cannot read the catalog folder `{}`", shown(folder));
            Err(Failure::system(anyhow::Error::from(error).context(message)))
        }
    }
}

/// A policy that has been read and checked.
pub(crate) struct LoadedPolicy {
    pub(crate) source: Source,
    pub(crate) policy: Policy,
    pub(crate) intent: Intent<Declared>,
    /// The file that it was read from; `-` for a stream.
    pub(crate) path: PathBuf,
    pub(crate) cloud: CloudFacts,
    /// What was shown: warnings and notes.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl LoadedPolicy {
    /// What explains where the policy's parts come from, as of now.
    pub(crate) fn evidence<'a>(&'a self, catalog: &'a Catalog) -> Evidence<'a> {
        Evidence {
            policy: &self.source,
            documents: &catalog.documents,
            max_stale: SignedDuration::try_from(self.policy.resolve.max_stale.value.0).unwrap_or(SignedDuration::MAX),
            now: clock::now(),
        }
    }
}

/// Reads and checks a policy. Problems of the given severity and above are shown.
pub(crate) fn load_policy(
    path: &Path,
    catalog: &Catalog,
    target: Option<Target>,
    from: Severity,
) -> Result<LoadedPolicy, Failure> {
    load_text(streams::read(path)?, path, catalog, target, from)
}

/// As [`load_policy`], of a text that has been read from a path.
pub(crate) fn load_text(
    source: Source,
    path: &Path,
    catalog: &Catalog,
    target: Option<Target>,
    from: Severity,
) -> Result<LoadedPolicy, Failure> {
    let folder = lists_folder(path);
    let origin = if streams::is_stream(path) { Path::new(STREAM) } else { path };
    load_with(source, origin, catalog, target, from, &mut |_, path| {
        let file = folder.join(path);
        let list = lists::read_file(&file).map_err(|error| {
            let way = error.may_be_published().then(|| {
                let make = hint::command("aggregate").option("input-format", "published").policy(&file);
                format!("; `{}` makes a list of what others publish", make.option("output", "LIST"))
            });
            let error = format!("{:#}", anyhow::Error::from(error)).replace('\n', "; ");
            error + &way.unwrap_or_default()
        })?;
        Ok(PeersList { addresses: list.addresses, entries: list.entries, sha256: list.sha256 })
    })
}

/// The folder that the lists of a policy are relative to: that of the policy, or the current one if it is a stream.
pub(crate) fn lists_folder(policy: &Path) -> &Path {
    policy.parent().filter(|_| !streams::is_stream(policy)).unwrap_or(Path::new(""))
}

/// As [`load_policy`], of a text that has been read, and with a function that gives the contents of files with peers.
fn load_with(
    source: Source,
    path: &Path,
    catalog: &Catalog,
    target: Option<Target>,
    from: Severity,
    lists: &mut dyn FnMut(&str, &str) -> Result<PeersList, String>,
) -> Result<LoadedPolicy, Failure> {
    let mut problems = Problems::default();
    let loaded = policy::load_with(&source, catalog, target, lists, &mut problems);
    let diagnostics = at_least(from, problems);
    match loaded {
        None => Err(Failure::invalid(source, diagnostics)),
        Some((policy, intent)) => {
            render::diagnostics(&source, &diagnostics);
            let (path, cloud) = (path.to_owned(), catalog.cloud.clone());
            Ok(LoadedPolicy { source, policy, intent, path, cloud, diagnostics })
        }
    }
}

/// The diagnostics of a severity and above.
pub(crate) fn at_least(from: Severity, problems: Problems) -> Vec<Diagnostic> {
    let diagnostics = problems.into_sorted().into_iter();
    diagnostics.filter(|diagnostic| diagnostic.code.severity() >= from).collect()
}
