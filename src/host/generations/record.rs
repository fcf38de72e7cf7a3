//! What is written down of generations. Times are UTC.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which generation is in force, and which others there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    /// The format's version: 1.
    pub version: Version,
    /// The number of the generation that was made last; numbers are never given twice.
    pub last: u64,
    /// How many times a change was armed.
    pub armed: u64,
    /// What the kernel was brought to; `None` where that is no table.
    pub current: Option<u64>,
    /// What boot loads.
    pub confirmed: Option<u64>,
    /// A change that is undone unless somebody confirms it.
    pub pending: Option<Pending>,
    /// The generation that was undone last, until somebody applies something: whoever wants to confirm it has to hear of
    /// it.
    pub undone: Option<u64>,
    /// A change that is being carried out, or was broken off.
    pub switching: Option<Switching>,
    /// The generations that are kept.
    pub generations: BTreeMap<u64, Record>,
    /// What happened, the oldest first.
    pub events: Vec<Event>,
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
            number => Err(format!("version {number} is not known to this edgeward")),
        }
    }
}

impl From<Version> for u32 {
    fn from(_: Version) -> u32 {
        1
    }
}

/// A change that nobody has confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pending {
    /// The number of its arming: what tells its watcher from those of earlier armings.
    pub armed: u64,
    /// What the kernel was brought to.
    pub generation: u64,
    /// What comes back; `None` where that is no table.
    pub back_to: Option<u64>,
    /// When, for people.
    pub deadline: Timestamp,
    /// When, in milliseconds since this machine was started: no setting of the clock changes it.
    pub deadline_since_boot: u64,
    /// The start of the machine that it was armed in, where that is known.
    pub boot: Option<String>,
}

/// A change on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Switching {
    /// What the kernel had; `None` where that was no table.
    pub from: Option<u64>,
    /// What it is to have.
    pub to: Option<u64>,
    /// What was pending before.
    pub pending: Option<Pending>,
}

/// What created a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MadeBy {
    /// A user applied a policy.
    Apply,
    /// DNS answered differently.
    Refresh,
    /// Another program had put it into the kernel, where edgeward found it.
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
    /// What tells its rules from others, whatever DNS has answered.
    pub rules: String,
    /// When somebody confirmed it.
    pub confirmed: Option<Timestamp>,
    /// When it was undone: for nobody had confirmed it, or by hand.
    pub rolled_back: Option<Timestamp>,
}

/// Something that happened to the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Whose doing it was.
    pub by: String,
    /// What.
    pub what: String,
}

/// Where a generation comes from; written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// The format's version: 1.
    pub version: Version,
    /// Its number.
    pub generation: u64,
    /// When it was made.
    pub made: Timestamp,
    /// By whom.
    pub by: String,
    /// What created it.
    pub made_by: MadeBy,
    /// With which version of the program.
    pub program: String,
    /// Of which policy; `None` where the ruleset was found in the kernel.
    pub policy: Option<PolicyFacts>,
    /// SHA-256 of the files beside it, by name.
    pub sha256: BTreeMap<String, String>,
}

/// What a generation's policy is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PolicyFacts {
    /// Its name.
    pub name: String,
    /// The file that it was read from.
    pub path: PathBuf,
    /// What it was compiled for.
    pub target: String,
    /// `enforce` or `audit`.
    pub mode: String,
    /// The digest of the catalog.
    pub catalog: String,
    /// The files with peers: their entries and SHA-256, by flow.
    pub lists: Value,
    /// Where every part of every set comes from, by flow.
    pub origins: Value,
}
