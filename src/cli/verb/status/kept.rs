//! The policy in force: the age of its addresses, and whether the files on disk are still those that it was made from.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::Status;
use crate::cli::context::{AgeLimits, LoadedPolicy, kept_or_chosen_catalog, kept_policy, last_seen, whole_policy};
use crate::cli::disk::{Differing, InForce, OnDisk, restore_command};
use crate::cli::hint::Hint;
use crate::host::clock::Moment;
use crate::host::generations::{PolicyFacts, Store};
use crate::host::streams;
use crate::resolution::{NameRecord, Resolution};

/// What the records have of the policy in force.
pub(super) enum Kept {
    /// There is none.
    None,
    /// It cannot be read: the damage says why, or this sentence.
    NotKnown(Option<String>),
    Policy(Box<KeptPolicy>),
}

/// The policy in force.
pub(super) struct KeptPolicy {
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
    /// What is not known of their ages; `None` if they are known.
    pub(super) doubt: Option<Doubt>,
}

/// A clock that is not believed after a reboot, so that the time that the host was off is not counted yet.
pub(super) struct Doubt {
    /// What the clock shows.
    pub(super) shows: Timestamp,
    /// How many names have no answer since the reboot, and may have addresses that are nearly stale.
    pub(super) names: usize,
}

/// The age of a name's addresses.
pub(super) struct NameAge {
    pub(super) name: String,
    pub(super) addresses: usize,
    /// When an answer last had one of them, and how long ago that was; `None` without addresses.
    pub(super) seen: Option<(Timestamp, SignedDuration)>,
}

impl Kept {
    /// Reads the policy in force. It is compared with `policy`, or with the file that it was read from.
    pub(super) fn read(store: &Store, status: &Status, policy: Option<&Path>, catalog: Option<&Path>) -> Self {
        let Some(number) = status.current else { return Self::None };
        let Some(manifest) = &status.manifest else { return Self::NotKnown(None) };
        let Some(facts) = &manifest.policy else { return Self::None };
        // What was found to be whole is not looked at again.
        let read = if status.damage.is_empty() { whole_policy } else { kept_policy };
        let kept =
            kept_or_chosen_catalog(store, facts, catalog).and_then(|catalog| read(store, number, facts, &catalog));
        match kept {
            Ok(Some(kept)) => Self::Policy(Box::new(KeptPolicy::of(store, number, facts, kept, policy, catalog))),
            Ok(None) => {
                Self::NotKnown(Some(format!("this version does not accept the lockfile of generation {number}")))
            }
            Err(failure) => Self::NotKnown(Some(failure.sentence()).filter(|_| status.damage.is_empty())),
        }
    }

    pub(super) fn policy(&self) -> Option<&KeptPolicy> {
        if let Self::Policy(policy) = self { Some(policy) } else { None }
    }
}

impl KeptPolicy {
    fn of(
        store: &Store,
        number: u64,
        facts: &PolicyFacts,
        (loaded, resolution): (LoadedPolicy, Resolution),
        policy: Option<&Path>,
        catalog: Option<&Path>,
    ) -> Self {
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
        let (names, limits): (Vec<NameAge>, _) = (names.collect(), AgeLimits::of(&loaded));
        let doubt = clock.doubted.and_then(|doubted| {
            let (rebooted_at, off) = (doubted.rebooted_at?, moment.time.duration_since(clock.at));
            let may_be_old = |&(seen, age): &(Timestamp, SignedDuration)| {
                seen < rebooted_at && (off.is_negative() || age.saturating_add(off) > limits.aging)
            };
            let names = names.iter().filter(|name| name.seen.as_ref().is_some_and(may_be_old)).count();
            (names > 0).then_some(Doubt { shows: moment.time, names })
        });
        Self {
            has_file: policy.is_some(),
            differing,
            apply: on_disk.command(),
            restore: policy.map(|path| restore_command(store, number, path)),
            answered,
            age: answered.map(|answered| now.duration_since(answered)),
            limits,
            names,
            doubt,
        }
    }

    /// The name whose addresses are oldest.
    pub(super) fn oldest(&self) -> Option<(&NameAge, SignedDuration)> {
        let ages = self.names.iter().filter_map(|name| Some((name, name.seen?.1)));
        ages.max_by_key(|(_, age)| *age)
    }
}
