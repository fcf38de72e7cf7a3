//! Damage of stored generations: which of their files are missing, or not as they were written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::PathBuf;

use serde_json::Value;

use crate::catalog::{self, FILES};
use crate::diag::Problems;
use crate::host::generations::{LOCKFILE, Manifest, PolicyFacts, Store, StoreError};
use crate::host::lists;
use crate::host::rollout::chain;
use crate::resolution::Resolution;

/// The check of the generations of a state folder. Catalogs and lists that several of them share are read once.
pub(crate) struct Wholeness<'a> {
    store: &'a Store,
    /// What is wrong with catalogs and lists, by their paths; `None` if nothing is.
    shared: BTreeMap<PathBuf, Option<Fault>>,
}

/// What is wrong with a file.
#[derive(Clone)]
enum Fault {
    Missing,
    Damaged(String),
}

impl<'a> Wholeness<'a> {
    pub(crate) fn of(store: &'a Store) -> Self {
        Self { store, shared: BTreeMap::new() }
    }

    /// What is missing or damaged of a generation; first the ruleset, which is all that boot and a rollback need.
    pub(crate) fn damage(&mut self, number: u64) -> Vec<StoreError> {
        match self.store.check_ruleset(number) {
            // Without its folder there is nothing else either.
            Err(error @ StoreError::NoGeneration { .. }) => vec![error],
            ruleset => {
                let mut found: Vec<StoreError> = ruleset.err().into_iter().collect();
                found.extend(self.damage_of_inputs(number));
                let facts = self.store.manifest(number).ok().and_then(|manifest| manifest.policy);
                found.extend(facts.and_then(|facts| self.catalog(&facts)));
                found
            }
        }
    }

    /// What is missing or damaged of what a generation was compiled from, but for its catalog: another one with the same
    /// digest serves as well.
    pub(crate) fn damage_of_inputs(&mut self, number: u64) -> Vec<StoreError> {
        let Manifest { policy: facts, .. } = match self.store.manifest(number) {
            Ok(manifest) => manifest,
            Err(error) => return vec![error],
        };
        // Rules that were found in the kernel have nothing else.
        let Some(facts) = facts else { return Vec::new() };
        let mut found: Vec<StoreError> = self.store.policy(number).err().into_iter().collect();
        found.extend(lockfile(self.store, number, &facts).err());
        found.extend(stored_lists(&facts).filter_map(|list| self.list(list)));
        found
    }

    fn catalog(&mut self, facts: &PolicyFacts) -> Option<StoreError> {
        let store = self.store;
        self.shared(store.catalog(&facts.catalog), || match store.catalog_files(&facts.catalog, FILES) {
            Ok(Some(files)) if catalog::digest(&files) == facts.catalog => None,
            Ok(Some(_)) => Some(Fault::Damaged(WRONG_CHECKSUM.to_owned())),
            Ok(None) => Some(Fault::Missing),
            Err(error) => Some(Fault::Damaged(chain(&error))),
        })
    }

    fn list(&mut self, sha256: &str) -> Option<StoreError> {
        let path = self.store.list(sha256);
        self.shared(path.clone(), || match lists::digest(&path) {
            Ok(digest) if digest == sha256 => None,
            Ok(_) => Some(Fault::Damaged(WRONG_CHECKSUM.to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(Fault::Missing),
            Err(error) => Some(Fault::Damaged(error.to_string())),
        })
    }

    fn shared(&mut self, path: PathBuf, check: impl FnOnce() -> Option<Fault>) -> Option<StoreError> {
        Some(match self.shared.entry(path.clone()).or_insert_with(check).clone()? {
            Fault::Missing => StoreError::Missing { path },
            Fault::Damaged(why) => StoreError::Damaged { path, why },
        })
    }
}

/// Why a file is damaged whose text has another digest.
pub(super) const WRONG_CHECKSUM: &str = "its checksum does not match";

/// The lists that are stored with a generation. Earlier versions did not store them.
fn stored_lists(facts: &PolicyFacts) -> impl Iterator<Item = &str> {
    facts.lists.as_array().into_iter().flatten().filter_map(|row| row["stored"].as_str())
}

/// Checks the answers of a generation. They have no checksum, because a refresh updates when each was seen; but its rules
/// have all of the addresses, and the manifest has them, too.
fn lockfile(store: &Store, number: u64, facts: &PolicyFacts) -> Result<(), StoreError> {
    let (mut has_names, mut addresses) = (false, BTreeSet::new());
    for name in parts(&facts.origins).filter(|part| part["name"].is_string()) {
        has_names = true;
        let listed = name["addresses"].as_array().into_iter().flatten();
        addresses.extend(listed.filter_map(|row| row["address"].as_str()));
    }
    if !has_names {
        return Ok(());
    }
    let source = store.text(number, LOCKFILE)?;
    let damaged = |why| Err(StoreError::Damaged { path: store.generation(number).join(LOCKFILE), why });
    let mut problems = Problems::default();
    let Some(resolution) = Resolution::parse(&source, &mut problems) else {
        let first = problems.into_sorted().into_iter().next();
        return damaged(first.map_or_else(|| "it is not a lockfile".to_owned(), |problem| problem.message));
    };
    let known = resolution.names.values().flat_map(|record| record.addresses.keys());
    let known: BTreeSet<String> = known.map(ToString::to_string).collect();
    match addresses.into_iter().find(|address| !known.contains(*address)) {
        Some(lost) => damaged(format!("it does not have {lost}, which the rules have")),
        None => Ok(()),
    }
}

/// The parts of the ends of all flows, as a manifest has them.
fn parts(origins: &Value) -> impl Iterator<Item = &Value> {
    let flows = origins.as_array().into_iter().flatten();
    let ends = flows.flat_map(|flow| [&flow["local"], &flow["peers"]]);
    ends.filter_map(Value::as_array).flatten()
}
