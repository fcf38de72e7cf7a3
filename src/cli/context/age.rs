//! The age of the answers in a lockfile.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::LoadedPolicy;
use crate::cli::hint::Hint;
use crate::cli::render;
use crate::diag::shown;
use crate::host::clock;
use crate::net::DomainName;
use crate::report::duration;
use crate::resolution::Resolution;
use crate::wording::count;

/// Warns if answers are stale or nearly so: older than three quarters of `resolve.max-stale`. `resolve` is
/// the command that asks DNS.
///
/// What is printed or loaded does not depend on it: the same policy, catalog and lockfile give the same bytes.
pub(crate) fn warn_of_age(lock: &Path, resolve: &Hint, loaded: &LoadedPolicy, resolution: &Resolution) {
    if let Some(warning) = age_warning(lock, resolve, loaded, resolution) {
        render::warning(&warning);
    }
}

/// The warning of [`warn_of_age`].
pub(crate) fn age_warning(
    lock: &Path,
    resolve: &Hint,
    loaded: &LoadedPolicy,
    resolution: &Resolution,
) -> Option<String> {
    let AgeLimits { stale: limit, aging } = AgeLimits::of(loaded);
    let old = old_names(loaded, resolution, aging, clock::now());
    let (age, name) = old.iter().max()?;
    let than = if *age > limit { "older than" } else { "nearly as old as" };
    Some(format!(
        "the addresses of {} in `{}` are {than} `resolve.max-stale` ({}): those of {name} were seen {} ago; `{resolve}` \
         asks DNS",
        count(old.len(), "name"),
        shown(lock),
        duration(limit),
        duration(*age),
    ))
}

/// How old the addresses of a name may be, and from which age on that is worth a warning: three quarters of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AgeLimits {
    /// `resolve.max-stale`.
    pub(crate) stale: SignedDuration,
    /// Three quarters of it.
    pub(crate) aging: SignedDuration,
}

impl AgeLimits {
    /// The limits of a policy.
    pub(crate) fn of(loaded: &LoadedPolicy) -> Self {
        let stale = SignedDuration::try_from(loaded.policy.resolve.max_stale.value.0).unwrap_or(SignedDuration::MAX);
        Self { stale, aging: stale / 4 * 3 }
    }
}

/// When an answer last had an address of a name that the lockfile has.
pub(crate) fn last_seen(resolution: &Resolution, name: &DomainName) -> Option<Timestamp> {
    resolution.names.get(name)?.addresses.values().map(|seen| seen.last).max()
}

/// The names whose newest address is older than this, and how old it is.
fn old_names<'a>(
    loaded: &'a LoadedPolicy,
    resolution: &Resolution,
    limit: SignedDuration,
    now: Timestamp,
) -> Vec<(SignedDuration, &'a DomainName)> {
    let age = |name: &DomainName| Some(now.duration_since(last_seen(resolution, name)?));
    let names = loaded.intent.names().into_keys();
    names.filter_map(|name| Some((age(name).filter(|age| *age > limit)?, name))).collect()
}
