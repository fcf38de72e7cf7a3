//! The inputs of generations that several of them share: catalogs and lists of peers, stored once, by their digests.
//!
//! ```text
//! DIR/catalogs/DIGEST/sources.yaml, …   the files of a catalog, as they were
//! DIR/lists/SHA256                      the addresses of a list, sorted and merged, one prefix per line
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::{Manifest, POLICY, State, Store, StoreError, io_error};
use crate::emit;
use crate::host::files::{self, Insecure};
use crate::source::Source;

const CATALOGS: &str = "catalogs";
const LISTS: &str = "lists";

/// The text of a catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogFiles {
    /// Its digest, as manifests have it.
    pub digest: String,
    /// Its files: name and text.
    pub files: Vec<(String, String)>,
}

/// What a generation is compiled from, as texts.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The policy; `None` if the ruleset was found in the kernel.
    pub policy: Option<String>,
    /// The lockfile, if the policy has names.
    pub lockfile: Option<String>,
    /// The catalog.
    pub catalog: Option<CatalogFiles>,
    /// The lists of peers, one prefix per line.
    pub lists: Vec<String>,
}

impl Manifest {
    /// A digest of what the generation was compiled from, except for the answers of DNS; `None` if it has no policy.
    pub fn inputs(&self) -> Option<String> {
        let facts = self.policy.as_ref()?;
        let lists = rows(&facts.lists).map(|row| format!("\n{} {}", word(row, "flow"), word(row, "sha256")));
        let policy = self.sha256.get(POLICY)?;
        let text = format!("{policy}\n{}\n{}{}", facts.catalog, facts.target, lists.collect::<String>());
        Some(emit::sha256(&text))
    }

    /// The names of its lists in the state folder; none if it was made by a version that did not store them.
    pub fn stored_lists(&self) -> BTreeSet<String> {
        let facts = self.policy.iter();
        facts.flat_map(|facts| rows(&facts.lists)).filter_map(|row| Some(row["stored"].as_str()?.to_owned())).collect()
    }
}

fn rows(lists: &Value) -> impl Iterator<Item = &Value> {
    lists.as_array().into_iter().flatten()
}

fn word<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

impl Store {
    /// The folder of a catalog.
    pub fn catalog(&self, digest: &str) -> PathBuf {
        self.folder.join(CATALOGS).join(digest)
    }

    /// The file of a list.
    pub fn list(&self, sha256: &str) -> PathBuf {
        self.folder.join(LISTS).join(sha256)
    }

    /// Whether everything that a generation was compiled from is stored.
    pub fn has_inputs(&self, manifest: &Manifest) -> bool {
        let Some(facts) = &manifest.policy else { return false };
        let lists = manifest.stored_lists();
        self.catalog(&facts.catalog).is_dir()
            && rows(&facts.lists).all(|row| lists.contains(word(row, "stored")))
            && lists.iter().all(|list| self.list(list).is_file())
    }

    /// Reads files of a catalog; `None` if the catalog is not stored.
    ///
    /// # Errors
    /// A file of it is missing or cannot be read.
    pub fn catalog_files<const N: usize>(
        &self,
        digest: &str,
        names: [&str; N],
    ) -> Result<Option<[Source; N]>, StoreError> {
        let folder = self.catalog(digest);
        if !folder.is_dir() {
            return Ok(None);
        }
        let mut sources = Vec::new();
        for name in names {
            sources.push(files::read(&folder.join(name))?);
        }
        Ok(sources.try_into().ok())
    }

    /// All of a catalog; `None` if a file cannot be read.
    pub(super) fn whole_catalog(&self, digest: &str) -> Option<CatalogFiles> {
        let folder = self.catalog(digest);
        let names = files::names_in(&folder).ok().filter(|names| !names.is_empty())?;
        let read = |name: String| Some((name.clone(), files::read(&folder.join(name)).ok()?.into_text()));
        Some(CatalogFiles { digest: digest.to_owned(), files: names.into_iter().map(read).collect::<Option<_>>()? })
    }

    /// Updates when the addresses of a generation were seen. Its ruleset does not depend on that.
    ///
    /// # Errors
    /// The folder cannot be written to; the old lockfile stays.
    pub fn write_lockfile(&self, number: u64, text: &str) -> Result<(), StoreError> {
        let path = self.generation(number).join(super::LOCKFILE);
        // The folder may be on a read-only file system.
        if files::read_if_there(&path).is_ok_and(|stored| stored.is_some_and(|stored| stored.text() == text)) {
            return Ok(());
        }
        files::make_room(&path);
        files::write(&path, text).map_err(io_error("write", &path))
    }

    /// Checks that no other user can change the folder or the generations, for instance by links to other folders.
    pub(super) fn check_folders(&self) -> Result<(), StoreError> {
        // The folder itself may be a link.
        let own = files::canonical(&self.folder).unwrap_or_else(|_| self.folder.clone());
        let insecure = [own, self.generations()].iter().find_map(|folder| files::insecurity(folder));
        insecure.map_or(Ok(()), |insecure| Err(StoreError::Insecure(insecure)))
    }

    /// The folders of catalogs and lists that other users can change. What is in them is read nevertheless, because
    /// manifests have its digests; nothing is written there.
    pub fn insecure_inputs(&self) -> impl Iterator<Item = Insecure> + '_ {
        [CATALOGS, LISTS].into_iter().filter_map(|name| files::insecurity(&self.folder.join(name)))
    }

    /// Stores the catalog and the lists of a generation, unless they are stored.
    pub(super) fn write_inputs(&self, inputs: &Inputs) -> Result<(), StoreError> {
        if let Some(catalog) = &inputs.catalog {
            self.write_catalog(catalog)?;
        }
        for list in &inputs.lists {
            let path = self.list(&emit::sha256(list));
            if !files::read_if_there(&path).is_ok_and(|stored| stored.is_some_and(|stored| stored.text() == list)) {
                self.make_folder_of(LISTS)?;
                files::make_room(&path);
                files::write(&path, list).map_err(io_error("write", &path))?;
            }
        }
        Ok(())
    }

    fn write_catalog(&self, catalog: &CatalogFiles) -> Result<(), StoreError> {
        let path = self.catalog(&catalog.digest);
        let is_stored = |(name, text): &(String, String)| {
            files::read_if_there(&path.join(name))
                .is_ok_and(|stored| stored.is_some_and(|stored| stored.text() == text))
        };
        if catalog.files.iter().all(is_stored) {
            return Ok(());
        }
        self.make_folder_of(CATALOGS)?;
        files::remove_folder(&path).map_err(io_error("remove", &path))?;
        let texts: Vec<(&str, &str)> = catalog.files.iter().map(|(name, text)| (&**name, &**text)).collect();
        files::write_folder(&path, &texts).map_err(io_error("write", &path))
    }

    fn make_folder_of(&self, name: &str) -> Result<(), StoreError> {
        let folder = self.folder.join(name);
        if let Some(insecure) = files::insecurity(&folder) {
            return Err(StoreError::Insecure(insecure));
        }
        match folder.is_dir() {
            true => Ok(()),
            false => files::make_private_folder(&folder).map_err(io_error("create the folder", &folder)),
        }
    }

    /// Removes catalogs and lists that no generation refers to.
    pub(super) fn prune_inputs(&self, state: &State) -> Result<(), StoreError> {
        let records = || state.generations.values();
        let catalogs: BTreeSet<&String> = records().filter_map(|record| record.catalog.as_ref()).collect();
        let lists: BTreeSet<&String> = records().flat_map(|record| &record.lists).collect();
        for (name, referenced) in [(CATALOGS, catalogs), (LISTS, lists)] {
            let folder = self.folder.join(name);
            if files::insecurity(&folder).is_some() {
                continue;
            }
            for entry in files::names_in(&folder).map_err(io_error("read", &folder))? {
                if !referenced.contains(&entry) {
                    let path = folder.join(entry);
                    files::remove(&path).map_err(io_error("remove", &path))?;
                }
            }
        }
        Ok(())
    }
}
