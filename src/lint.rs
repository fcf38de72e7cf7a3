//! What a policy says that it perhaps does not mean, found by comparing its flows in packets.
//!
//! Names are unknown here: a flow with names is taken for less than it permits where that is the careful guess, and
//! for more where more is.

use std::collections::BTreeSet;

use crate::diag::{Code, Problems};
use crate::intent::{Addresses, Declared, End, Flow, Intent, Origin, Part, PartKind, Resolved, Side};
use crate::net::{Hook, PacketEnd, PrefixSet, Traffic};
use crate::source::Span;
use crate::space::{Condition, Region, Space};

/// Special-purpose IPv4 prefixes (IANA registry: RFC 6890 and its successors): nobody on the internet has them.
const NOT_PUBLIC: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, \
    192.0.0.0/24, 192.0.2.0/24, 192.168.0.0/16, 198.18.0.0/15, 198.51.100.0/24, 203.0.113.0/24, 224.0.0.0/3";
/// Where public IPv6 addresses are (RFC 4291 section 2.4), but for the documentation's (RFC 3849).
const PUBLIC_V6: (&str, &str) = ("2000::/3", "2001:db8::/32");
/// More public IPv4 addresses, or IPv6 networks of 64 bits, than this are a wide opening.
const WIDE: u128 = 65_536;

/// Looks at the flows of a policy that has no errors.
pub fn lint(intent: &Intent<Declared>, problems: &mut Problems) {
    wide_openings(intent, problems);
    let flows: Vec<[Flow<Resolved>; 2]> = intent.flows.iter().map(|flow| [flow.at_least(), flow.at_most()]).collect();
    let covered = intent.gateway.as_ref().map(|gateway| fixed(&gateway.covered));
    let conditions: Vec<Condition<'_>> = flows.iter().flatten().map(|flow| flow.condition(false)).collect();
    let covered = covered
        .as_ref()
        .map(|covered| [PacketEnd::Source, PacketEnd::Destination].map(|end| Condition::Address(end, covered)));
    let space = Space::new(conditions.iter().chain(covered.iter().flatten()));
    let everything = intent.gateway.as_ref().is_some_and(|gateway| gateway.everything);
    // What crosses a gateway has one end inside; what stays inside is not judged.
    let judged = match &covered {
        Some([from, to]) if !everything => {
            let [from, to] = [from, to].map(|end| space.region(end));
            from.or(to).minus(from.and(to))
        }
        _ => space.all(),
    };
    let regions: Vec<[Region<'_>; 2]> = conditions
        .chunks(2)
        .zip(&intent.flows)
        .map(|(pair, flow)| {
            let hook = match (intent.gateway.is_some(), flow.side) {
                (true, _) => Hook::Forward,
                (false, Side::Inbound) => Hook::Input,
                (false, Side::Outbound) => Hook::Output,
            };
            let here = space.region(&Condition::Hook(hook)).and(judged);
            [0, 1].map(|bound| space.region(&pair[bound]).and(here))
        })
        .collect();
    for (index, flow) in intent.flows.iter().enumerate() {
        // Only rows of the operator can be mended by the operator.
        if let Origin::Policy(span) = flow.origin {
            compare(intent, &regions, index, span, problems);
        }
    }
}

/// Compares an operator's flow with all others.
fn compare(intent: &Intent<Declared>, regions: &[[Region<'_>; 2]], index: usize, span: Span, problems: &mut Problems) {
    let id = &intent.flows[index].id;
    let [_, most] = regions[index];
    if most.is_empty() {
        let message = format!("no packet can be of the flow `{id}`");
        let help = "an IDC gateway judges what crosses it: remove the row, or list peers outside of the data centre, \
                    of a family that its hosts have";
        problems.push_with_help(Code::DeadFlow, span, message, help);
        return;
    }
    // Of two flows that permit the same, the later one is superfluous.
    let others = || intent.flows.iter().zip(regions).enumerate().filter(|(other, _)| *other != index);
    let covers = |other: usize, [least, _]: &[Region<'_>; 2], most: Region<'_>| {
        most.is_within(*least) && (other < index || !least.is_within(regions[index][0]))
    };
    if let Some((_, (other, _))) = others().find(|(other, (_, bounds))| covers(*other, bounds, most)) {
        let message = format!("the flow `{id}` permits nothing that `{}` does not permit, too", other.id);
        let help = if matches!(other.origin, Origin::Catalog { .. }) {
            "remove the row: the catalog's flow is there already"
        } else {
            "remove the row, or narrow the other one"
        };
        problems.push_with_help(Code::CoveredFlow, span, message, help);
        return;
    }
    // Of two rows, the later one says it.
    let shared: BTreeSet<&str> = others()
        .filter(|(other, (flow, _))| *other < index || matches!(flow.origin, Origin::Catalog { .. }))
        .filter(|(other, (flow, [least, _]))| {
            let both = !least.and(regions[index][0]).is_empty();
            both && flow.purpose != intent.flows[index].purpose && !covers(index, &regions[index], regions[*other][1])
        })
        .map(|(_, (flow, _))| flow.id.as_str())
        .collect();
    if !shared.is_empty() {
        let list: Vec<String> = shared.into_iter().map(|flow| format!("`{flow}`")).collect();
        let message = format!("the flow `{id}` shares packets with {}", list.join(", "));
        let help = "each packet is counted for one flow only; `edgeward explain` says which";
        problems.push_with_help(Code::OverlappingFlows, span, message, help);
    }
}

/// Reports flows that the policy, not the catalog, opens to much of the internet.
fn wide_openings(intent: &Intent<Declared>, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for flow in &intent.flows {
        // A flow of the catalog for any traffic is between networks of the site, or has a warning of its own.
        if flow.traffic == Traffic::Any && matches!(flow.origin, Origin::Catalog { .. }) {
            continue;
        }
        let End::Ends(parts) = &flow.peers else { continue };
        let written = parts.iter().filter_map(|part| match (&part.kind, &part.origin) {
            (PartKind::Prefixes(set), Origin::Policy(span)) => Some((public(set), *span)),
            _ => None,
        });
        // The widest part stands for all.
        let written: Vec<(u128, Span)> = written.collect();
        let total = written.iter().fold(0u128, |sum, (public, _)| sum.saturating_add(*public));
        let Some((_, span)) = written.iter().max_by_key(|(public, span)| (*public, std::cmp::Reverse(*span))) else {
            continue;
        };
        if total > WIDE && seen.insert(*span) {
            let word = if flow.side == Side::Inbound { "from" } else { "to" };
            let message = format!("the flow `{}` is open {word} more than 65,536 public addresses", flow.id);
            let help = "list the prefixes that are really needed";
            problems.push_with_help(Code::WideOpening, *span, message, help);
        }
    }
}

/// The public addresses of a set: IPv4 addresses, and IPv6 networks of 64 bits.
fn public(set: &PrefixSet) -> u128 {
    let parsed = |text: &str| text.parse::<PrefixSet>().unwrap_or_default();
    let v6 = parsed(PUBLIC_V6.0).difference(&parsed(PUBLIC_V6.1));
    let v4 = set.difference(&parsed(NOT_PUBLIC));
    let v4 = v4.v4().iter().map(|(low, high)| u128::from(high - low) + 1);
    let networks = set.intersection(&v6);
    let networks: Vec<u128> = networks.v6().iter().map(|(low, high)| (high >> 64) - (low >> 64) + 1).collect();
    v4.chain(networks).sum()
}

fn fixed(parts: &[Part]) -> PrefixSet {
    let sets = parts.iter().filter_map(|part| match &part.kind {
        PartKind::Prefixes(set) => Some(set.prefixes()),
        PartKind::Name { .. } => None,
    });
    sets.flatten().collect()
}

impl Flow<Declared> {
    /// The flow, if its names had no addresses.
    fn at_least(&self) -> Flow<Resolved> {
        self.with(|parts| End::Ends(Addresses { fixed: fixed(parts), named: None }))
    }

    /// The flow, if its names had all addresses.
    fn at_most(&self) -> Flow<Resolved> {
        let has_name = |part: &Part| matches!(part.kind, PartKind::Name { .. });
        self.with(|parts| match parts.iter().any(has_name) {
            true => End::Any,
            false => End::Ends(Addresses { fixed: fixed(parts), named: None }),
        })
    }
}
