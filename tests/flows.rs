//! `edgeward flows`: the list is what the specification permits, it has each conversation of docs/policy.md once, and
//! every format can be read by what it is for.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::disallowed_types)]

#[macro_use]
mod support;

#[path = "flows/families.rs"]
mod families;
#[path = "flows/formats.rs"]
mod formats;
#[path = "flows/packets.rs"]
mod packets;
#[path = "flows/plan.rs"]
mod plan;
#[path = "flows/tables.rs"]
mod tables;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use edgeward::catalog::Catalog;
use edgeward::diag::Problems;
use edgeward::intent::{Declared, Intent};
use edgeward::policy::{self, syntax::Policy};
use edgeward::report::{Evidence, FlowList};
use edgeward::resolution::Resolution;
use edgeward::site::Target;
use edgeward::source::Source;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::embedded().unwrap());

/// A policy with its answers, and its text.
struct Site {
    source: Source,
    policy: Policy,
    intent: Intent<Declared>,
    resolution: Resolution,
}

impl Site {
    /// A policy of the repository with its lockfile; `None` where it is not for the target.
    fn read(path: &Path, target: Option<Target>) -> Option<Self> {
        let lock = fs::read_to_string(path.with_extension("lock.yaml"));
        let lock = lock.map(|text| parsed(&text)).unwrap_or_default();
        Self::new(&path.display().to_string(), &fs::read_to_string(path).unwrap(), lock, target)
    }

    fn new(name: &str, text: &str, resolution: Resolution, target: Option<Target>) -> Option<Self> {
        let source = Source::new(name, text);
        let (policy, intent) = policy::load(&source, &CATALOG, target, &mut Problems::default())?;
        Some(Self { source, policy, intent, resolution })
    }

    fn list(&self) -> FlowList<'_> {
        let evidence = Evidence {
            policy: &self.source,
            documents: &CATALOG.documents,
            max_stale: SignedDuration::from_hours(7 * 24),
            now: "2026-11-21T12:00:00Z".parse::<Timestamp>().unwrap(),
        };
        FlowList { intent: &self.intent, resolution: &self.resolution, evidence }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.list().json().unwrap()).unwrap()
    }
}

fn parsed(lock: &str) -> Resolution {
    let mut problems = Problems::default();
    Resolution::parse(&Source::new("lock", lock), &mut problems).unwrap_or_else(|| panic!("{problems:#?}"))
}

/// The policies of `policies/`.
fn examples() -> Vec<PathBuf> {
    let is_policy = |path: &PathBuf| {
        let name = path.display().to_string();
        name.ends_with(".yaml") && !name.ends_with(".lock.yaml")
    };
    let mut paths: Vec<PathBuf> = fs::read_dir("policies").unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(is_policy);
    paths.sort();
    assert!(paths.len() >= 6, "{paths:?}");
    paths
}

/// The examples, and the policies of `fixtures/cases`.
fn all_policies() -> Vec<PathBuf> {
    let cases = fs::read_dir("fixtures/cases").unwrap().map(|entry| entry.unwrap().path().join("policy.yaml"));
    examples().into_iter().chain(cases).collect()
}
