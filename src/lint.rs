//! Probable mistakes in a policy, found by comparing what its flows permit.
//!
//! Names count as unknown: what is reported is true regardless of their addresses.

mod compare;
mod index;
mod region;

use std::collections::BTreeSet;

use crate::diag::{Code, Problems};
use crate::intent::{Declared, End, Intent, Origin, PartKind, Side};
use crate::net::{PrefixSet, Special, Traffic};
use crate::source::Span;

use compare::Comparison;

/// The most public IPv4 addresses, or IPv6 networks of 64 bits, that are not a wide opening.
const MAX_NARROW: u128 = 65_536;

/// Looks at the flows of a policy that has no errors; `cloud` are the addresses of the cloud's services.
pub fn lint(intent: &Intent<Declared>, cloud: &PrefixSet, problems: &mut Problems) {
    wide_openings(intent, cloud, problems);
    Comparison::new(intent).report(problems);
}

/// Reports flows that the policy, not the catalog, opens to a large part of the internet.
fn wide_openings(intent: &Intent<Declared>, cloud: &PrefixSet, problems: &mut Problems) {
    // A policy may list tens of thousands of prefixes: what is public is worked out once.
    let everywhere = Special::public();
    let outside_the_cloud = everywhere.difference(cloud);
    let mut seen = BTreeSet::new();
    for flow in &intent.flows {
        // `scope: broad` opens the cloud's services, and has its own warning about public ones.
        let broad = flow.traffic == Traffic::Any && matches!(flow.origin, Origin::Catalog { .. });
        let public = if broad { &outside_the_cloud } else { &everywhere };
        let End::Ends(parts) = &flow.peers else { continue };
        let written = parts.iter().filter_map(|part| match (&part.kind, &part.origin) {
            (PartKind::Prefixes(set), Origin::Policy(span)) => Some((size(&set.intersection(public)), *span)),
            _ => None,
        });
        // One report for all parts, at the widest.
        let written: Vec<(u128, Span)> = written.collect();
        let total = written.iter().fold(0u128, |sum, (public, _)| sum.saturating_add(*public));
        let Some((_, span)) = written.iter().max_by_key(|(public, span)| (*public, std::cmp::Reverse(*span))) else {
            continue;
        };
        if total > MAX_NARROW && seen.insert(*span) {
            let word = if flow.side == Side::Inbound { "from" } else { "to" };
            let message =
                format!("the flow `{}` is open {word} more than 65,536 public addresses, or IPv6 networks", flow.id);
            let help = "list the prefixes that are really needed";
            problems.push_with_help(Code::WideOpening, *span, message, help);
        }
    }
}

/// The size of a set: IPv4 addresses, and IPv6 networks of 64 bits.
fn size(set: &PrefixSet) -> u128 {
    let v4 = set.v4().iter().map(|(low, high)| u128::from(high - low) + 1);
    let v6 = set.v6().iter().map(|(low, high)| (high >> 64) - (low >> 64) + 1);
    v4.chain(v6).sum()
}
