//! Generations: the rulesets that were applied, each in its folder, and which of them is in force.
//!
//! ```text
//! DIR/state.json                 which generation the kernel has, which one boot loads, what is pending
//! DIR/generations/7/policy.yaml, policy.lock.yaml, ruleset.nft, manifest.json
//! DIR/events.jsonl                 every event
//! DIR/catalogs/, DIR/lists/        the catalogs and lists of peers that they were compiled from
//! ```
//!
//! The kernel and the folder cannot change in one step. So before the kernel is touched, a generation is written in full,
//! and the state says where the kernel is going. After a crash, a comparison of the kernel with both ends shows what it
//! has. The next state is on disk by then, too, and only has to be renamed, which a full disk does not prevent.

mod changes;
mod deadline;
mod event;
mod events;
mod inputs;
mod record;
mod retention;
mod standing;
mod stored;
mod transitions;
mod way_back;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::files::{self, Insecure, Lock, LockError, ReadError, Staged};
use crate::diag::shown;
use crate::emit;
use crate::live::Live;
use crate::net::{Bits, Ranges};
use crate::readback;
use crate::ruleset::{Ruleset, SetKind};
use crate::source::Source;

pub use changes::{Changes, FlowChange, ModeChange};
pub use event::{Event, EventFacts, EventKind, EventPolicy, Note, Overridden, Why, named};
pub use events::EventLog;
pub use inputs::{CatalogFiles, Inputs};
pub use record::{MadeBy, Manifest, PolicyFacts, Record, State, StateVersion, Switching, Version};
pub use standing::{Pending, Standing};
pub use transitions::Stamp;
pub use way_back::{Held, WayBack};

/// The files of a generation.
pub const POLICY: &str = "policy.yaml";
/// The answers of DNS.
pub const LOCKFILE: &str = "policy.lock.yaml";
/// The ruleset that nft loads.
pub const RULESET: &str = "ruleset.nft";
/// The origin of the generation.
pub const MANIFEST: &str = "manifest.json";

/// Why generations cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refuses.
    #[error("cannot {what} `{}`", shown(.path))]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The folder is not locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Another user can change what is in the folder.
    #[error("the state folder cannot be relied on; nothing was changed.\n{0}")]
    Insecure(Insecure),
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file is not as edgeward wrote it, or not of this version.
    #[error("`{}` is damaged: {why}", shown(.path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file is gone.
    #[error("`{}` is missing", shown(.path))]
    Missing {
        /// The file or folder.
        path: PathBuf,
    },
    /// A newer version has written the state.
    #[error(
        "`{}` cannot be used: {why}; the rules in the kernel stay. Run that version, or `mv '{}' '{}.newer'` and apply the \
         policy again",
        shown(.path),
        shown(.folder),
        shown(.folder)
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What is not known.
        why: String,
        /// The state folder.
        folder: PathBuf,
    },
    /// There is no such generation.
    #[error("there is no generation {number} in `{}`", shown(.folder))]
    NoGeneration {
        /// The number.
        number: u64,
        /// The state folder.
        folder: PathBuf,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { what, path, source }
}

/// The folder with the generations.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// The lock against other runs, for changes.
    lock: Option<Lock>,
    /// Rulesets that were read. They stay valid, because a generation is written once.
    rulesets: RefCell<BTreeMap<u64, Ruleset>>,
    /// The number of the last event that was there before this run, or that this run has announced.
    announced: Cell<u64>,
    /// What was wrong with the file of the state when it was read last.
    damage: RefCell<Option<String>>,
    /// What a watcher has in memory.
    held: RefCell<Option<Held>>,
}

impl Store {
    /// The folder without its lock, for reading. It need not exist.
    pub fn look(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            lock: None,
            rulesets: RefCell::default(),
            announced: Cell::default(),
            damage: RefCell::default(),
            held: RefCell::default(),
        }
    }

    /// As [`Store::hold_saying`], silently.
    ///
    /// # Errors
    /// As [`Store::hold_saying`].
    pub fn hold(folder: &Path, patience: Duration) -> Result<Self, StoreError> {
        Self::hold_saying(folder, patience, &mut |_| {})
    }

    /// Creates the folder if it does not exist, and locks it; waits for other runs until its patience ends, and says so.
    ///
    /// # Errors
    /// The folder cannot be created, other users can change it, or another run keeps its lock.
    pub fn hold_saying(folder: &Path, patience: Duration, say: &mut dyn FnMut(&str)) -> Result<Self, StoreError> {
        // A folder that exists may be on a read-only file system.
        if !folder.is_dir() {
            files::make_private_folder(folder).map_err(io_error("create the folder", folder))?;
        }
        // The watcher of a change has another working directory.
        let folder = files::own_folder(folder).map_err(io_error("use", folder))?;
        let store = Self::look(&folder);
        store.check_folders()?;
        let lock = files::lock_folder(&folder, patience, say)?;
        // Also where this run has nothing to write.
        files::sweep(&folder);
        Ok(Self { lock: Some(lock), ..store })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether another run holds the lock at this moment. `false` if that cannot be determined.
    pub fn is_busy(&self) -> bool {
        self.lock.is_none() && files::is_locked(&self.folder)
    }

    fn state_file(&self) -> PathBuf {
        self.folder.join("state.json")
    }

    /// The folder of all generations.
    fn generations(&self) -> PathBuf {
        self.folder.join("generations")
    }

    /// The folder of a generation.
    pub fn generation(&self, number: u64) -> PathBuf {
        self.generations().join(number.to_string())
    }

    /// Reads the state; the empty one where there is none. Where its file is damaged, [`Store::damage`] says so, and the
    /// state is as far as it is known otherwise.
    ///
    /// # Errors
    /// The folder cannot be read, or a newer version has written the state.
    pub fn state(&self) -> Result<State, StoreError> {
        let state = self.stored_state()?;
        Ok(if self.lock.is_some() { self.with_new_events(state) } else { state })
    }

    /// Writes the state.
    ///
    /// # Errors
    /// The folder cannot be written to; the old state stays.
    pub fn save(&self, state: &State) -> Result<(), StoreError> {
        self.commit(self.stage(state)?)
    }

    /// Writes the state in full, but leaves the old one in force.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn stage(&self, state: &State) -> Result<Staged, StoreError> {
        debug_assert!(self.lock.is_some(), "only a run that holds the lock changes the state");
        let path = self.state_file();
        let text = stored::text(state).map_err(|error| io_error("write", &path)(error.into()))?;
        files::make_room(&path);
        files::stage(&path, &text).map_err(io_error("write", &path))
    }

    /// Puts a staged state in force.
    ///
    /// # Errors
    /// The folder cannot be written to; the old state stays.
    pub fn commit(&self, staged: Staged) -> Result<(), StoreError> {
        staged.commit().map_err(io_error("write", &self.state_file()))
    }

    /// Writes the files of a generation: all, or none.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, number: u64, generation: &Generation) -> Result<(), StoreError> {
        let path = self.generation(number);
        self.rulesets.borrow_mut().remove(&number);
        let around = self.generations();
        if !around.is_dir() {
            files::make_private_folder(&around).map_err(io_error("create the folder", &around))?;
        }
        // An interrupted run may have left one that no state names.
        files::remove_folder(&path).map_err(io_error("remove", &path))?;
        self.write_inputs(&generation.inputs)?;
        let manifest = serde_json::to_string_pretty(&generation.manifest)
            .map_err(|error| io_error("write", &path)(error.into()))?;
        let mut texts = vec![(RULESET, generation.ruleset.as_str()), (MANIFEST, manifest.as_str())];
        texts.extend(generation.inputs.policy.as_deref().map(|policy| (POLICY, policy)));
        texts.extend(generation.inputs.lockfile.as_deref().map(|lockfile| (LOCKFILE, lockfile)));
        files::write_folder(&path, &texts).map_err(io_error("write", &path))
    }

    /// Reads the ruleset of a generation.
    ///
    /// # Errors
    /// There is no such generation, or its file is not as it was written.
    pub fn ruleset(&self, number: u64) -> Result<Ruleset, StoreError> {
        if let Some(held) = self.held_ruleset(number) {
            return Ok(held);
        }
        if let Some(known) = self.rulesets.borrow().get(&number) {
            return Ok(known.clone());
        }
        let ruleset = self.read_ruleset(number)?;
        self.rulesets.borrow_mut().insert(number, ruleset.clone());
        Ok(ruleset)
    }

    fn read_ruleset(&self, number: u64) -> Result<Ruleset, StoreError> {
        let source = self.text(number, RULESET)?;
        let path = self.generation(number).join(RULESET);
        let damaged = |why: String| StoreError::Damaged { path, why };
        match emit::is_intact(source.text()) {
            Some(true) => readback::read(&source).map_err(|diagnostic| damaged(diagnostic.message)),
            Some(false) | None => Err(self.wrong_checksum(number, RULESET)),
        }
    }

    /// Reads the manifest of a generation.
    ///
    /// # Errors
    /// There is no such generation, or its file is damaged.
    pub fn manifest(&self, number: u64) -> Result<Manifest, StoreError> {
        let source = self.text(number, MANIFEST)?;
        serde_json::from_str(source.text()).map_err(|error| StoreError::Damaged {
            path: self.generation(number).join(MANIFEST),
            why: error.to_string(),
        })
    }

    /// Reads a file of a generation.
    ///
    /// # Errors
    /// There is no such generation, or the file cannot be read.
    pub fn text(&self, number: u64, file: &str) -> Result<Source, StoreError> {
        let found = files::read_if_there(&self.generation(number).join(file))?;
        found.ok_or_else(|| match self.generation(number).is_dir() {
            true => StoreError::Missing { path: self.generation(number).join(file) },
            false => StoreError::NoGeneration { number, folder: self.folder.clone() },
        })
    }

    /// Reads the policy of a generation.
    ///
    /// # Errors
    /// There is none, or it is not as it was written: what it says now must not be compiled.
    pub fn policy(&self, number: u64) -> Result<Source, StoreError> {
        let source = self.text(number, POLICY)?;
        match self.manifest(number)?.sha256.get(POLICY) {
            Some(sum) if *sum == emit::sha256(source.text()) => Ok(source),
            _ => Err(self.wrong_checksum(number, POLICY)),
        }
    }

    /// Checks the ruleset of a generation by its checksum, without reading what it means.
    ///
    /// # Errors
    /// There is no such generation, or its file is not as it was written.
    pub fn check_ruleset(&self, number: u64) -> Result<(), StoreError> {
        match emit::is_intact(self.text(number, RULESET)?.text()) {
            Some(true) => Ok(()),
            Some(false) | None => Err(self.wrong_checksum(number, RULESET)),
        }
    }

    fn wrong_checksum(&self, number: u64, file: &str) -> StoreError {
        let why = "its checksum does not match".to_owned();
        StoreError::Damaged { path: self.generation(number).join(file), why }
    }

    /// Removes the files of generations that the state does not name, and what crashes have left.
    ///
    /// # Errors
    /// The folder cannot be read or written to.
    pub fn prune(&self, state: &State) -> Result<(), StoreError> {
        let around = self.generations();
        self.rulesets.borrow_mut().retain(|number, _| state.generations.contains_key(number));
        let known: BTreeSet<String> = state.generations.keys().map(u64::to_string).collect();
        for name in files::names_in(&around).map_err(io_error("read", &around))? {
            let is_ours = name.parse::<u64>().is_ok() || name.starts_with(files::UNFINISHED);
            if is_ours && !known.contains(&name) {
                let path = around.join(name);
                files::remove_folder(&path).map_err(io_error("remove", &path))?;
            }
        }
        files::sweep(&self.folder);
        state.generations.keys().for_each(|number| files::sweep(&self.generation(*number)));
        self.prune_inputs(state)
    }
}

/// The files of a generation.
#[derive(Clone, Debug)]
pub struct Generation {
    /// What it was compiled from.
    pub inputs: Inputs,
    /// The ruleset as nft text.
    pub ruleset: String,
    /// The digest of its rules: [`rules_digest`].
    pub rules: String,
    /// Its origin.
    pub manifest: Manifest,
}

impl Generation {
    /// A generation with the digests of its files.
    pub fn new(manifest: Manifest, ruleset: String, rules: String, inputs: Inputs) -> Self {
        let texts = [(RULESET, Some(&ruleset)), (POLICY, inputs.policy.as_ref())];
        let sha256 =
            texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), emit::sha256(text?)))).collect();
        Self { manifest: Manifest { sha256, ..manifest }, ruleset, rules, inputs }
    }

    /// A generation of the rules that were found in the kernel.
    pub fn found(number: u64, live: &Live, by: String, made: Timestamp) -> Self {
        let title = "ruleset found in the kernel".to_owned();
        let manifest = Manifest {
            version: Version,
            generation: number,
            made,
            by,
            made_by: MadeBy::Found,
            message: None,
            program: PROGRAM.to_owned(),
            policy: None,
            sha256: BTreeMap::new(),
        };
        let ruleset = Ruleset { title, ..live.meaning() };
        Self::new(manifest, emit::nft(&ruleset), rules_digest(&ruleset), Inputs::default())
    }
}

/// The digest of rules and of the prefixes that the policy and the catalog put into their sets. Answers of DNS do not
/// change it.
pub fn rules_digest(ruleset: &Ruleset) -> String {
    let mut rules = Ruleset { title: String::new(), ..ruleset.clone().without_notes() };
    let mut digest = Sha256::new();
    for (name, set) in &mut rules.sets {
        let elements = std::mem::take(&mut set.elements);
        if set.kind == SetKind::Prefixes {
            digest.update(format!("{name} {}\n", elements.range_count()));
            add(&mut digest, elements.v4(), u32::to_be_bytes);
            add(&mut digest, elements.v6(), u128::to_be_bytes);
        }
    }
    digest.update(emit::nft(&rules));
    emit::hexadecimal(&digest.finalize())
}

/// Adds ranges as numbers: to format half a million of them as text takes ten times as long.
fn add<T: Bits, const N: usize>(digest: &mut Sha256, ranges: &Ranges<T>, bytes: fn(T) -> [u8; N]) {
    for piece in ranges.as_slice().chunks(4096) {
        let piece: Vec<u8> = piece.iter().flat_map(|&(low, high)| [low, high]).flat_map(bytes).collect();
        digest.update(piece);
    }
}

/// The name and version of this program in manifests.
pub const PROGRAM: &str = concat!("edgeward ", env!("CARGO_PKG_VERSION"));
