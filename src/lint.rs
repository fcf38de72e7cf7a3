//! Probable mistakes in a policy, found by comparing its flows in packet space.
//!
//! Names count as unknown: what is reported is true regardless of their addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::diag::{Code, Problems};
use crate::intent::{Addresses, Declared, End, Flow, Gateway, Intent, Origin, Part, PartKind, Resolved, Side};
use crate::net::{CtDirection, DomainName, Hook, PacketEnd, Prefix, PrefixSet, Traffic};
use crate::source::Span;
use crate::space::{Condition, Region, Space};

/// Special-purpose IPv4 prefixes (IANA registry: RFC 6890 and its successors): they are not on the internet.
const NOT_PUBLIC: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, \
    192.0.0.0/24, 192.0.2.0/24, 192.168.0.0/16, 198.18.0.0/15, 198.51.100.0/24, 203.0.113.0/24, 224.0.0.0/3";
/// The public IPv6 addresses (RFC 4291 section 2.4), and those of them for documentation (RFC 3849).
const PUBLIC_V6: (&str, &str) = ("2000::/3", "2001:db8::/32");
/// The most public IPv4 addresses, or IPv6 networks of 64 bits, that are not a wide opening.
const MAX_NARROW: u128 = 65_536;

/// Looks at the flows of a policy that has no errors; `cloud` are the addresses of the cloud's services.
pub fn lint(intent: &Intent<Declared>, cloud: &PrefixSet, problems: &mut Problems) {
    wide_openings(intent, cloud, problems);
    let names: BTreeMap<&DomainName, u32> = intent.names().into_keys().zip(0..).collect();
    let addresses = |parts: &[Part]| Addresses { fixed: stand_in(parts, &names), named: None };
    let flows: Vec<Flow<Resolved>> =
        intent.flows.iter().map(|flow| flow.with(|parts| End::Ends(addresses(parts)))).collect();
    let covered = intent.gateway.as_ref().map(|gateway| stand_in(&gateway.covered, &names));
    let ends = [PacketEnd::Source, PacketEnd::Destination];
    let covered = covered.as_ref().map(|covered| ends.map(|end| Condition::Address(end, covered)));
    let conditions: Vec<Condition<'_>> = flows.iter().map(|flow| flow.condition(CtDirection::Original)).collect();
    let space = Space::new(conditions.iter().chain(covered.iter().flatten()));
    let everything = intent.gateway.as_ref().is_some_and(Gateway::covers_everything);
    // What crosses a gateway has one end inside. What stays inside is not filtered.
    let filtered = match &covered {
        Some([from, to]) if !everything => {
            let [from, to] = [from, to].map(|end| space.region(end));
            from.or(to).minus(from.and(to))
        }
        _ => space.all(),
    };
    let region = |(flow, condition): (&Flow<Declared>, &Condition<'_>)| {
        let hook = if intent.gateway.is_some() { Hook::Forward } else { flow.side.hook() };
        space.region(condition).and(space.region(&Condition::Hook(hook))).and(filtered)
    };
    let regions: Vec<Region<'_>> = intent.flows.iter().zip(&conditions).map(region).collect();
    for (index, flow) in intent.flows.iter().enumerate() {
        // An operator can correct rows of the policy only.
        if let Origin::Policy(span) = flow.origin {
            compare(intent, &flows, &regions, index, span, problems);
        }
        // Thousands of rows may be compared with each other: the cache must not grow without bounds.
        if index % 64 == 63 {
            space.forget();
        }
    }
}

/// Compares an operator's flow with all others.
fn compare(
    intent: &Intent<Declared>,
    flows: &[Flow<Resolved>],
    regions: &[Region<'_>],
    index: usize,
    span: Span,
    problems: &mut Problems,
) {
    let (id, own) = (&intent.flows[index].id, regions[index]);
    if own.is_empty() {
        let message = format!("no packet can match the flow `{id}`");
        let help = "an IDC gateway filters what crosses it: remove the row, or list peers outside of the data centre, \
                    of a family that its hosts have";
        problems.push_with_help(Code::DeadFlow, span, message, help);
        return;
    }
    let others = || {
        let others = intent.flows.iter().zip(regions).enumerate();
        others.filter(|(other, _)| *other != index && related(&flows[index], &flows[*other]))
    };
    // Of two flows that permit the same, the later one is redundant.
    let covers = |other: usize, region: Region<'_>| own.is_within(region) && (other < index || region != own);
    if let Some((_, (other, _))) = others().find(|(other, (_, region))| covers(*other, **region)) {
        let message = format!("the flow `{id}` permits nothing beyond what `{}` permits", other.id);
        let help = if matches!(other.origin, Origin::Catalog { .. }) {
            "remove the row: the catalog has the flow already"
        } else {
            "remove the row, or narrow the other one"
        };
        problems.push_with_help(Code::CoveredFlow, span, message, help);
        return;
    }
    // Of two rows, the later one reports it, unless the other is reported as covered.
    let shared: BTreeSet<&str> = others()
        .filter(|(other, (flow, _))| *other < index || matches!(flow.origin, Origin::Catalog { .. }))
        .filter(|(_, (_, region))| !region.and(own).is_empty() && !region.is_within(own))
        .map(|(_, (flow, _))| flow.id.as_str())
        .collect();
    if !shared.is_empty() {
        let list: Vec<String> = shared.into_iter().map(|flow| format!("`{flow}`")).collect();
        let message = format!("the flow `{id}` shares packets with {}", list.join(", "));
        let help = "each packet is counted for one flow only; `edgeward explain` says which";
        problems.push_with_help(Code::OverlappingFlows, span, message, help);
    }
}

/// Whether flows may have packets in common: a cheap test, which most pairs fail.
fn related(one: &Flow<Resolved>, other: &Flow<Resolved>) -> bool {
    fn ends(flow: &Flow<Resolved>) -> [&End<Resolved>; 2] {
        match flow.side {
            Side::Inbound => [&flow.peers, &flow.local],
            Side::Outbound => [&flow.local, &flow.peers],
        }
    }
    let meet = |pair: (&End<Resolved>, &End<Resolved>)| match pair {
        (End::Ends(one), End::Ends(other)) => one.fixed.overlaps(&other.fixed),
        _ => true,
    };
    one.traffic.overlaps(&other.traffic) && ends(one).into_iter().zip(ends(other)).all(meet)
}

/// The addresses of an end. Each name is represented by addresses of its own at the very ends of both address spaces,
/// which no prefix has except those of all addresses.
///
/// So what is found holds regardless of the names' addresses: a flow covers a name of another one if it has the same
/// name, or all addresses.
fn stand_in(parts: &[Part], names: &BTreeMap<&DomainName, u32>) -> PrefixSet {
    let prefixes = parts.iter().flat_map(|part| match &part.kind {
        PartKind::Prefixes(set) => set.prefixes().collect::<Vec<_>>(),
        PartKind::Name { name, .. } => {
            let number = names.get(name).copied().unwrap_or_default();
            let v4 =
                [number & 0x00ff_ffff, !(number & 0x00ff_ffff)].map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)));
            let v6 = [u128::from(number), !u128::from(number)].map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)));
            v4.into_iter().chain(v6).map(Prefix::from).collect()
        }
    });
    prefixes.collect()
}

/// Reports flows that the policy, not the catalog, opens to a large part of the internet.
fn wide_openings(intent: &Intent<Declared>, cloud: &PrefixSet, problems: &mut Problems) {
    // A policy may list tens of thousands of prefixes: what is public is worked out once.
    let everywhere = public_addresses();
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

/// The addresses that are routed on the internet.
fn public_addresses() -> PrefixSet {
    let v4 = parsed("0.0.0.0/0").difference(&parsed(NOT_PUBLIC));
    v4.union(&parsed(PUBLIC_V6.0).difference(&parsed(PUBLIC_V6.1)))
}

/// Parses a constant of this file. A test parses them all.
fn parsed(text: &str) -> PrefixSet {
    text.parse().unwrap_or_default()
}

/// The size of a set: IPv4 addresses, and IPv6 networks of 64 bits.
fn size(set: &PrefixSet) -> u128 {
    let v4 = set.v4().iter().map(|(low, high)| u128::from(high - low) + 1);
    let v6 = set.v6().iter().map(|(low, high)| (high >> 64) - (low >> 64) + 1);
    v4.chain(v6).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_prefixes() {
        for text in [NOT_PUBLIC, PUBLIC_V6.0, PUBLIC_V6.1] {
            assert!(text.parse::<PrefixSet>().is_ok_and(|set| !set.is_empty()), "{text}");
        }
    }
}
