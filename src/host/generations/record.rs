//! The records of generations, as files have them. Times are UTC.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::Event;
use super::standing::{Pending, Standing};

/// Which generation is in force, and which others are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    /// The format's version.
    pub version: StateVersion,
    /// The number of the newest generation. Numbers are never reused.
    pub last: u64,
    /// How many deadlines were set.
    pub armed: u64,
    /// The generation that the kernel was brought to; `None` for no table.
    pub current: Option<u64>,
    /// The generation that boot loads.
    pub confirmed: Option<u64>,
    /// The change that is undone unless it is confirmed.
    pub pending: Option<Pending>,
    /// The generation that was undone last, until rules are applied again: `edgeward confirm` reports it.
    pub undone: Option<u64>,
    /// A change that is under way, or was interrupted.
    pub switching: Option<Switching>,
    /// The generations that are kept.
    pub generations: BTreeMap<u64, Record>,
    /// The number of the latest event. Numbers are never reused.
    #[serde(default)]
    pub last_event: u64,
    /// The latest events, the oldest first: those that may not be in `events.jsonl` yet. What is here has happened.
    pub events: Vec<Event>,
}

impl State {
    /// What it says, without its lists.
    pub fn standing(&self) -> Standing {
        let Self { last, armed, current, confirmed, undone, .. } = *self;
        Standing { last, armed, current, confirmed, pending: self.pending.clone(), undone }
    }
}

/// The version of the state's format. Versions 1 to 3 are read and taken over ([`State::taken_over`]), version 4 is
/// written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum StateVersion {
    /// Without [`Record::inputs`], [`Record::applied`] and what follows from them.
    One,
    /// With all events, which have no numbers.
    Two,
    /// Without a checksum.
    Three,
    /// As described here.
    #[default]
    Four,
}

impl StateVersion {
    /// The number of the newest version.
    pub const NEWEST: u64 = 4;
}

impl TryFrom<u32> for StateVersion {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        match number {
            1 => Ok(StateVersion::One),
            2 => Ok(StateVersion::Two),
            3 => Ok(StateVersion::Three),
            4 => Ok(StateVersion::Four),
            number => Err(format!("version {number} is not known: a newer edgeward wrote it")),
        }
    }
}

impl From<StateVersion> for u32 {
    fn from(version: StateVersion) -> u32 {
        match version {
            StateVersion::One => 1,
            StateVersion::Two => 2,
            StateVersion::Three => 3,
            StateVersion::Four => 4,
        }
    }
}

/// The version of a format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Version;

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, String> {
        match number {
            1 => Ok(Version),
            number => Err(format!("version {number} is not known to this version of edgeward")),
        }
    }
}

impl From<Version> for u32 {
    fn from(_: Version) -> u32 {
        1
    }
}

/// A change under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Switching {
    /// The generation that the kernel had; `None` for no table.
    pub from: Option<u64>,
    /// The generation that it is to have; `None` for no table.
    pub to: Option<u64>,
    /// The change that was pending before.
    pub pending: Option<Pending>,
    /// The event that the change is, if it takes effect.
    #[serde(default)]
    pub event: Option<Box<Event>>,
}

/// What created a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MadeBy {
    /// A user applied a policy.
    Apply,
    /// DNS answered differently.
    Refresh,
    /// It was found in the kernel: another program had put it there, or its record was lost.
    Found,
}

impl MadeBy {
    /// The word that files and messages use.
    pub fn name(self) -> &'static str {
        match self {
            MadeBy::Apply => "apply",
            MadeBy::Refresh => "refresh",
            MadeBy::Found => "found",
        }
    }
}

/// What happened to a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Record {
    /// What created it.
    pub made_by: MadeBy,
    /// The digest of its rules, which does not depend on the answers of DNS.
    pub rules: String,
    /// A digest of what it was compiled from, except for the answers of DNS: policy, catalog, lists and target
    /// ([`Manifest::inputs`]). `None` if it was found in the kernel.
    #[serde(default)]
    pub inputs: Option<String>,
    /// The generation that `apply` made and that this one refreshes; itself, if `apply` made it. `None` if it was found
    /// in the kernel.
    #[serde(default)]
    pub applied: Option<u64>,
    /// What was in force when [`Record::applied`] was applied, or when it was found in the kernel.
    #[serde(default)]
    pub before: Option<u64>,
    /// The number of the event that made it; `None` in records of earlier versions.
    #[serde(default)]
    pub event: Option<u64>,
    /// The catalog that it refers to, by its digest.
    #[serde(default)]
    pub catalog: Option<String>,
    /// The lists that it refers to, by the SHA-256 of their stored text.
    #[serde(default)]
    pub lists: BTreeSet<String>,
    /// When it was confirmed first.
    pub confirmed: Option<Timestamp>,
    /// When it was undone: by hand, or because it was not confirmed.
    pub rolled_back: Option<Timestamp>,
}

/// The origin of a generation; written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// The format's version: 1.
    pub version: Version,
    /// Its number.
    pub generation: u64,
    /// When it was created.
    pub made: Timestamp,
    /// By which user.
    pub by: String,
    /// What created it.
    pub made_by: MadeBy,
    /// What the user wrote about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// By which version of the program.
    pub program: String,
    /// From which policy; `None` where the ruleset was found in the kernel.
    pub policy: Option<PolicyFacts>,
    /// SHA-256 of the other files of the generation, by name. Not of the lockfile: a refresh that changes no address still updates
    /// when each was seen.
    pub sha256: BTreeMap<String, String>,
}

/// The policy of a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PolicyFacts {
    /// Its name.
    pub name: String,
    /// The file that it was read from.
    pub path: PathBuf,
    /// The target that it was compiled for.
    pub target: String,
    /// `enforce` or `audit`.
    pub mode: String,
    /// The digest of the catalog.
    pub catalog: String,
    /// The files with peers: the flow, the path, the number of entries, the SHA-256 of the file, and as `stored` that of
    /// the text in the state folder.
    pub lists: Value,
    /// The origin of every part of every set, by flow.
    pub origins: Value,
}
