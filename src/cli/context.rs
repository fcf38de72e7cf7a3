//! What verbs work on: catalog, policy and lockfile, loaded and checked.

mod lockfile;
mod options;

use std::path::Path;

use jiff::SignedDuration;

use crate::catalog::{Catalog, FILES};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::{Problems, Severity};
use crate::host::generations::{LOCKFILE, POLICY, Store};
use crate::host::{clock, files, lists};
use crate::intent::{Declared, Intent};
use crate::net::{Family, PrefixSet};
use crate::policy::{self, syntax::PeersList, syntax::Policy};
use crate::report::Evidence;
use crate::resolution::Resolution;
use crate::ruleset::Ruleset;
use crate::site::Target;
use crate::source::Source;

pub(crate) use lockfile::{Bound, BoundArguments, LockArguments, load_if_there};
pub(crate) use options::{GuardArguments, KernelArguments, ListFormat, PolicyTarget, StateArguments};

/// Reads the catalog that the user chose.
pub(crate) fn load_catalog(folder: Option<&Path>) -> Result<Catalog, Failure> {
    let catalog = match folder {
        None => Catalog::embedded(),
        Some(folder) => {
            let [sources, regions, flows] = FILES.map(|name| files::read(&folder.join(name)));
            Catalog::parse([sources?, regions?, flows?])
        }
    };
    catalog.map_err(|error| {
        render::diagnostics(&error.source, error.diagnostics, Severity::Note);
        Failure::Told(2)
    })
}

/// A policy that has been read and checked.
pub(crate) struct Loaded {
    pub(crate) source: Source,
    pub(crate) policy: Policy,
    pub(crate) intent: Intent<Declared>,
}

impl Loaded {
    /// What the origins of the policy's parts are explained with, now.
    pub(crate) fn evidence<'a>(&'a self, catalog: &'a Catalog) -> Evidence<'a> {
        Evidence {
            policy: &self.source,
            documents: &catalog.documents,
            max_stale: SignedDuration::try_from(self.policy.resolve.max_stale.value.0).unwrap_or(SignedDuration::MAX),
            now: clock::now(),
        }
    }
}

/// Reads and checks a policy; what is wrong or worth knowing is shown, down to a severity.
pub(crate) fn load_policy(
    path: &Path,
    catalog: &Catalog,
    target: Option<Target>,
    shown: Severity,
) -> Result<Loaded, Failure> {
    load_source(files::read(path)?, catalog, target, shown)
}

/// As [`load_policy`], of a text that has been read.
pub(crate) fn load_source(
    source: Source,
    catalog: &Catalog,
    target: Option<Target>,
    shown: Severity,
) -> Result<Loaded, Failure> {
    let folder = Path::new(&source.name).parent().unwrap_or(Path::new("")).to_owned();
    load_with(source, catalog, target, shown, &mut |_, path| {
        let list = lists::read_file(&folder.join(path))
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)).replace('\n', "; "))?;
        Ok(PeersList { addresses: list.addresses, entries: list.entries, sha256: list.sha256 })
    })
}

/// As [`load_source`], with somebody else who knows the files with peers.
pub(crate) fn load_with(
    source: Source,
    catalog: &Catalog,
    target: Option<Target>,
    shown: Severity,
    lists: &mut dyn FnMut(&str, &str) -> Result<PeersList, String>,
) -> Result<Loaded, Failure> {
    let mut problems = Problems::default();
    let loaded = policy::load_with(&source, catalog, target, lists, &mut problems);
    render::diagnostics(&source, problems.into_sorted(), shown);
    loaded.map(|(policy, intent)| Loaded { source, policy, intent }).ok_or(Failure::Told(2))
}

/// The policy of a generation with its answers, as this version and catalog take it; lists are kept as the sets that they
/// became.
pub(crate) fn kept_policy(store: &Store, number: u64, target: &str, catalog: &Catalog) -> Option<(Loaded, Resolution)> {
    let mut source = store.text(number, POLICY).ok()?;
    source.name = format!("generation {number}: {POLICY}");
    let ruleset = store.ruleset(number).ok()?;
    let mut lists = |id: &str, _: &str| Ok(kept_list(&ruleset, id));
    let loaded = load_with(source, catalog, target.parse().ok(), Severity::Error, &mut lists).ok()?;
    let resolution = match store.text(number, LOCKFILE) {
        Ok(source) => Resolution::parse(&source, &mut Problems::default())?,
        Err(_) => Resolution::default(),
    };
    Some((loaded, resolution))
}

/// The prefixes of a flow of the operator's, as a generation's ruleset has them.
fn kept_list(ruleset: &Ruleset, id: &str) -> PeersList {
    let sets = Family::BOTH.map(|family| ruleset.sets.get(&format!("{id}_{}", family.name())));
    let addresses = PrefixSet::union_of(sets.into_iter().flatten().map(|set| &set.elements));
    PeersList { addresses, ..PeersList::default() }
}
