//! What stored generations were compiled from: catalog, policy, lists and lockfile, as they were.

use std::path::Path;

use anyhow::anyhow;
use serde_json::Value;

use super::damage::WRONG_CHECKSUM;
use super::{LoadedPolicy, Wholeness, load_catalog, load_with};
use crate::catalog::{self, Catalog, FILES};
use crate::cli::failure::Failure;
use crate::diag::{Problems, Severity, shown};
use crate::host::generations::{LOCKFILE, POLICY, PolicyFacts, Store, StoreError};
use crate::host::lists;
use crate::net::{Family, PrefixSet};
use crate::policy::syntax::PeersList;
use crate::resolution::Resolution;

/// The catalog of a generation. Earlier versions did not store it: then the chosen one is used, if it is the same.
pub(crate) fn kept_catalog(
    store: &Store,
    number: u64,
    facts: &PolicyFacts,
    chosen: Option<&Path>,
) -> Result<Catalog, Failure> {
    let catalog = kept_or_chosen_catalog(store, facts, chosen)?;
    if catalog.digest == facts.catalog { Ok(catalog) } else { Err(not_stored(number, facts, chosen)) }
}

/// The catalog of a generation; the chosen one, whichever it is, where an earlier version did not store it.
pub(crate) fn kept_or_chosen_catalog(
    store: &Store,
    facts: &PolicyFacts,
    chosen: Option<&Path>,
) -> Result<Catalog, Failure> {
    let digest = &facts.catalog;
    let Some(files) = store.catalog_files(digest, FILES)? else { return load_catalog(chosen) };
    if catalog::digest(&files) != *digest {
        return Err(StoreError::Damaged { path: store.catalog(digest), why: WRONG_CHECKSUM.to_owned() }.into());
    }
    // It is as it was written, so this version does not accept it.
    Catalog::parse(files, None).map_err(|error| Failure::invalid(error.source, error.diagnostics))
}

/// Says that the chosen catalog cannot stand in for that of a generation.
pub(crate) fn not_stored(number: u64, facts: &PolicyFacts, chosen: Option<&Path>) -> Failure {
    let other = chosen.map_or_else(|| "the built-in catalog".to_owned(), |folder| format!("`{}`", shown(folder)));
    Failure::system(anyhow!(
        "generation {number} was made with the catalog {}, which is missing in the state folder, and {other} is another one",
        facts.catalog
    ))
}

/// The policy of a generation with its answers and its lists, checked with a catalog.
///
/// `None` if this version refuses its answers. Damage is a failure with exit code 4, because it is no mistake of the user;
/// problems that this version or this catalog finds in the policy are a failure, too.
pub(crate) fn kept_policy(
    store: &Store,
    number: u64,
    facts: &PolicyFacts,
    catalog: &Catalog,
) -> Result<Option<(LoadedPolicy, Resolution)>, Failure> {
    let mut damage = Wholeness::of(store).damage_of_inputs(number).into_iter().map(Failure::from);
    match damage.next() {
        Some(first) => Err(damage.fold(first, Failure::and)),
        None => whole_policy(store, number, facts, catalog),
    }
}

/// The same of a generation whose files were found to be whole.
pub(crate) fn whole_policy(
    store: &Store,
    number: u64,
    facts: &PolicyFacts,
    catalog: &Catalog,
) -> Result<Option<(LoadedPolicy, Resolution)>, Failure> {
    let mut source = store.policy(number)?;
    source.name = format!("generation {number}: {POLICY}");
    let mut lists = |id: &str, _: &str| kept_list(store, number, facts, id);
    let loaded = load_with(source, &facts.path, catalog, facts.target.parse().ok(), Severity::Error, &mut lists)?;
    let resolution = match store.text(number, LOCKFILE) {
        // It is missing only where the policy has no names.
        Ok(source) => Resolution::parse_refusing(&source, &loaded.cloud.metadata(), &mut Problems::default()),
        Err(_) => Some(Resolution::default()),
    };
    Ok(resolution.map(|resolution| (loaded, resolution)))
}

/// The answers of a generation; `None` if it has none, or damaged ones.
pub(crate) fn kept_answers(store: &Store, number: u64, refused: &PrefixSet) -> Option<Resolution> {
    Resolution::parse_refusing(&store.text(number, LOCKFILE).ok()?, refused, &mut Problems::default())
}

/// The list of an `allow` row. Earlier versions did not store it: then it is what was compiled from it.
fn kept_list(store: &Store, number: u64, facts: &PolicyFacts, id: &str) -> Result<PeersList, String> {
    let rows = facts.lists.as_array().into_iter().flatten();
    let row = rows.into_iter().find(|row| row["flow"] == id).unwrap_or(&Value::Null);
    let entries = row["entries"].as_u64().unwrap_or_default();
    let sha256 = row["sha256"].as_str().unwrap_or_default().to_owned();
    let addresses = match row["stored"].as_str() {
        None => compiled_list(store, number, id).map_err(|error| error.to_string())?,
        // It was found to be whole.
        Some(stored) => {
            let list = lists::read_file(&store.list(stored));
            list.map_err(|error| format!("{:#}", anyhow::Error::from(error)))?.addresses
        }
    };
    Ok(PeersList { addresses, entries, sha256 })
}

/// The prefixes of an `allow` row, from a generation's ruleset.
fn compiled_list(store: &Store, number: u64, id: &str) -> Result<PrefixSet, StoreError> {
    let ruleset = store.ruleset(number)?;
    let sets = Family::BOTH.map(|family| ruleset.sets.get(&format!("{id}_{}", family.name())));
    Ok(PrefixSet::union_of(sets.into_iter().flatten().map(|set| &set.elements)))
}
