//! The policy in force: the age of its addresses, and whether the files on disk are still those that it was made from.

use std::path::Path;

use anyhow::anyhow;
use jiff::{SignedDuration, Timestamp};

use super::{Status, remedy};
use crate::cli::context::{AgeLimits, kept_or_chosen_catalog, kept_policy, last_seen};
use crate::cli::disk::{Differing, InForce, OnDisk, restore_command};
use crate::cli::failure::{Exit, Failure};
use crate::cli::hint::Hint;
use crate::host::clock::Moment;
use crate::host::generations::Store;
use crate::host::streams;
use crate::resolution::NameRecord;

/// What the records have of the policy in force.
pub(super) struct Kept {
    /// Whether there is a policy on disk to compare.
    pub(super) has_file: bool,
    /// What differs on disk.
    pub(super) differing: Vec<Differing>,
    /// The command that puts what is on disk into force.
    pub(super) apply: Hint,
    /// The command that restores the policy in force on disk, if there is one to compare.
    pub(super) restore: Option<String>,
    /// When a run last got answers from DNS; `None` without names, or if that is not recorded.
    pub(super) answered: Option<Timestamp>,
    /// How long ago that was.
    pub(super) age: Option<SignedDuration>,
    pub(super) limits: AgeLimits,
    /// The names, sorted.
    pub(super) names: Vec<NameAge>,
}

/// The age of a name's addresses.
pub(super) struct NameAge {
    pub(super) name: String,
    pub(super) addresses: usize,
    /// When an answer last had one of them, and how long ago that was; `None` without addresses.
    pub(super) seen: Option<(Timestamp, SignedDuration)>,
}

impl Kept {
    /// Reads the policy in force; `None` if there is none. It is compared with `policy`, or with the file that it was
    /// read from.
    pub(super) fn read(
        store: &Store,
        status: &Status,
        policy: Option<&Path>,
        catalog: Option<&Path>,
    ) -> Result<Option<Self>, Failure> {
        let Some(number) = status.current else { return Ok(None) };
        let damaged = || {
            let remedy = remedy(store, &status.state, status.current);
            anyhow!("what generation {number} was made from cannot be read, so its age is not known; {remedy}")
        };
        if status.manifest.is_none() {
            store.manifest(number).map_err(|error| Failure::from(error).with(damaged()))?;
        }
        let facts = status.manifest.as_ref().and_then(|manifest| manifest.policy.as_ref());
        let Some(facts) = facts else { return Ok(None) };
        // It is no mistake of the user.
        let kept = kept_or_chosen_catalog(store, facts, catalog)
            .and_then(|catalog| kept_policy(store, number, facts, &catalog))
            .map_err(|failure| failure.at(Exit::System).with(damaged()))?;
        let (loaded, resolution) = kept.ok_or_else(|| Failure::system(damaged()))?;
        // A stream cannot be read again.
        let policy = policy.or(Some(&*facts.path).filter(|path| !streams::is_stream(path)));
        let on_disk = OnDisk { policy, target: None, catalog };
        let differing = on_disk.differences(InForce { facts, loaded: &loaded }, false);
        // By the lockfile's clock, which a wrong clock of the host does not bend.
        let linger = loaded.policy.resolve.linger.value.0;
        // Earlier versions and users write lockfiles without a clock.
        let newest = || resolution.names.values().flat_map(NameRecord::seen).max();
        let answered = resolution.clock.as_ref().map(|clock| clock.at).or_else(newest);
        let moment = Moment::now();
        let (at_present, clock) = resolution.at(&moment, linger);
        // Without one, there is nothing to count elapsed time from but the dates themselves.
        let now = if resolution.clock.is_some() { clock.at } else { clock.at.max(moment.time) };
        let names = loaded.intent.names().into_keys().map(|name| NameAge {
            name: name.to_string(),
            addresses: at_present.addresses(name).count(),
            seen: last_seen(&at_present, name).map(|seen| (seen, now.duration_since(seen))),
        });
        Ok(Some(Self {
            has_file: policy.is_some(),
            differing,
            apply: on_disk.command(),
            restore: policy.map(|path| restore_command(store, number, path)),
            answered,
            age: answered.map(|answered| now.duration_since(answered)),
            limits: AgeLimits::of(&loaded),
            names: names.collect(),
        }))
    }

    /// The name whose addresses are oldest.
    pub(super) fn oldest(&self) -> Option<(&NameAge, SignedDuration)> {
        let ages = self.names.iter().filter_map(|name| Some((name, name.seen?.1)));
        ages.max_by_key(|(_, age)| *age)
    }
}
