//! Flows that permit nothing, nothing of their own, or the same as others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use super::index::{Entry, Index};
use super::region::{AXES, Bounds, Ends, Filter, Product, Region, SERVICE, boxes, everywhere, peers, region};
use crate::diag::{Code, Problems};
use crate::intent::{Declared, End, Flow, Gateway, Intent, Origin, Part, PartKind};
use crate::net::{DomainName, PrefixSet};
use crate::source::Span;

/// The most flows that a note lists.
const MAX_LISTED: usize = 8;
/// Of a longer set, only so many ranges are counted.
const MAX_COUNTED: usize = 1_000;

/// The flows with what they permit: the catalog's, then the operator's, each in their order. Of two flows that permit
/// the same, the later one is redundant.
pub(super) struct Comparison<'a> {
    flows: Vec<(&'a Flow<Declared>, Region)>,
    /// How often each range occurs on the axes where flows differ.
    occurrences: BTreeMap<(usize, u128, u128), u32>,
    /// All flows.
    all: Index,
}

/// The place of an operator's flow. The operator can correct rows of the policy only.
fn place(flow: &Flow<Declared>) -> Option<Span> {
    match flow.origin {
        Origin::Policy(span) => Some(span),
        Origin::Catalog { .. } => None,
    }
}

impl<'a> Comparison<'a> {
    pub(super) fn new(intent: &'a Intent<Declared>) -> Self {
        let names: BTreeMap<&DomainName, u32> = intent.names().into_keys().zip(0..).collect();
        let filter = match &intent.gateway {
            None => Filter::Hooks,
            Some(gateway) if Gateway::covers_everything(gateway) => Filter::Everything,
            Some(gateway) => {
                let inside = stand_in(&gateway.covered, &names);
                Filter::Crossing { outside: everywhere().difference(&inside), inside }
            }
        };
        let (operators, catalogs): (Vec<_>, Vec<_>) = intent.flows.iter().partition(|flow| place(flow).is_some());
        let flows = catalogs.into_iter().chain(operators);
        let anywhere = Ends::new(&everywhere(), &filter);
        // By the place in memory of their parts: flows share them.
        let mut known: BTreeMap<*const Part, Rc<Ends>> = BTreeMap::new();
        let mut ends = |end: &End<Declared>| match end {
            End::Any => Rc::clone(&anywhere),
            End::Ends(parts) => {
                let new = || Ends::new(&stand_in(parts, &names), &filter);
                Rc::clone(known.entry(parts.as_ptr()).or_insert_with(new))
            }
        };
        let flows: Vec<_> = flows.map(|flow| (flow, region(flow, &filter, &mut ends))).collect();
        let mut occurrences = BTreeMap::new();
        for (flow, region) in &flows {
            for (axis, (low, high)) in region.0.iter().flat_map(|product| counted(flow, product)) {
                *occurrences.entry((axis, *low, *high)).or_default() += 1;
            }
        }
        let all = index(flows.iter().enumerate());
        Self { flows, occurrences, all }
    }

    /// Reports what is found of the operator's flows; returns how many nodes and entries were looked at, a measure of the
    /// work.
    pub(super) fn report(&self, problems: &mut Problems) -> usize {
        let mut others = Vec::new();
        for (number, (flow, region)) in self.flows.iter().enumerate() {
            match (place(flow), self.covering(number)) {
                (Some(span), _) if region.is_empty() => report_dead(flow, span, problems),
                (Some(span), Some(other)) => report_covered(flow, span, self.flows[other].0, problems),
                _ => others.push(number),
            }
        }
        // The packets that a covered flow shares are shared by the flow that covers it as well.
        let index = index(others.iter().map(|number| (*number, &self.flows[*number])));
        for number in others {
            let Some(span) = place(self.flows[number].0).filter(|_| !problems.is_full()) else { continue };
            let sharing = self.sharing(number, &index);
            if !sharing.is_empty() {
                let others: Vec<&Flow<Declared>> = sharing.into_iter().map(|other| self.flows[other].0).collect();
                report_overlapping(self.flows[number].0, span, &others, problems);
            }
        }
        self.all.looked() + index.looked()
    }

    /// The first flow that permits everything that an operator's flow permits.
    fn covering(&self, number: usize) -> Option<usize> {
        let (flow, own) = &self.flows[number];
        let (_, rarest) = place(flow).zip(self.rarest(flow, own))?;
        let covers = |other: usize| {
            let (_, region) = &self.flows[other];
            other != number && own.is_within(region) && (other < number || region != own)
        };
        let mut found: Option<usize> = None;
        self.all.visit(&mut |seen| {
            let enters = found.is_none_or(|found| seen.owner < found) && seen.encloses(&rarest);
            if enters && seen.is_entry && covers(seen.owner) {
                found = Some(seen.owner);
            }
            enters
        });
        found
    }

    /// The first earlier flows that share packets with a flow and permit others, too: up to one more than are listed. Of
    /// two flows, the later one reports it.
    fn sharing(&self, number: usize, index: &Index) -> BTreeSet<usize> {
        let (flow, own) = &self.flows[number];
        let (mut found, mut tested) = (BTreeSet::new(), BTreeSet::new());
        for bounds in own.0.iter().flat_map(|product| boxes(product, flow.side)) {
            index.visit(&mut |seen| {
                let last = found.last().copied().filter(|_| found.len() > MAX_LISTED);
                let enters = seen.owner < last.unwrap_or(number) && seen.meets(&bounds);
                if enters && seen.is_entry && tested.insert(seen.owner) {
                    let (_, region) = &self.flows[seen.owner];
                    if region.meets(own) && !region.is_within(own) {
                        found.insert(seen.owner);
                        if found.len() > MAX_LISTED + 1 {
                            found.pop_last();
                        }
                    }
                }
                enters
            });
        }
        found
    }

    /// A box of a region, with ranges that the fewest others have. What covers the region encloses this box.
    fn rarest(&self, flow: &Flow<Declared>, region: &Region) -> Option<Bounds> {
        let product = region.0.first()?;
        let mut bounds: Bounds = product.each_ref().map(|set| set.as_slice().first().copied().unwrap_or_default());
        let mut fewest = [u32::MAX; AXES];
        for (axis, range) in counted(flow, product) {
            let occurrences = self.occurrences.get(&(axis, range.0, range.1)).copied().unwrap_or_default();
            if occurrences < fewest[axis] {
                (fewest[axis], bounds[axis]) = (occurrences, *range);
            }
        }
        Some(bounds)
    }
}

/// The ranges of a flow's peers and services, with their axes.
fn counted<'a>(flow: &Flow<Declared>, product: &'a Product) -> impl Iterator<Item = (usize, &'a (u128, u128))> {
    let axes = [peers(flow.side), SERVICE];
    axes.into_iter().flat_map(|axis| product[axis].as_slice().iter().take(MAX_COUNTED).map(move |range| (axis, range)))
}

fn index<'a>(flows: impl Iterator<Item = (usize, &'a (&'a Flow<Declared>, Region))>) -> Index {
    let entries = flows.flat_map(|(owner, (flow, region))| {
        let bounds = region.0.iter().flat_map(|product| boxes(product, flow.side));
        bounds.map(move |bounds| Entry { bounds, owner })
    });
    Index::new(entries)
}

fn report_dead(flow: &Flow<Declared>, span: Span, problems: &mut Problems) {
    let message = format!("no packet can match the flow `{}`", flow.id);
    let help = "an IDC gateway filters what crosses it: remove the row, or list peers outside of the data centre, of a \
                family that its hosts have";
    problems.push_with_help(Code::DeadFlow, span, message, help);
}

fn report_covered(flow: &Flow<Declared>, span: Span, other: &Flow<Declared>, problems: &mut Problems) {
    let message = format!("the flow `{}` permits nothing beyond what `{}` permits", flow.id, other.id);
    let help = match place(other) {
        None => "remove the row: the catalog has the flow already",
        Some(_) => "remove the row, or narrow the other one",
    };
    problems.push_with_help(Code::CoveredFlow, span, message, help);
}

fn report_overlapping(flow: &Flow<Declared>, span: Span, others: &[&Flow<Declared>], problems: &mut Problems) {
    let ids: BTreeSet<&str> = others.iter().take(MAX_LISTED).map(|flow| flow.id.as_str()).collect();
    let mut list: Vec<String> = ids.into_iter().map(|id| format!("`{id}`")).collect();
    if others.len() > MAX_LISTED {
        list.push("and others".to_owned());
    }
    let message = format!("the flow `{}` shares packets with {}", flow.id, list.join(", "));
    let help = "each packet is counted for one flow only; `edgeward explain` says which";
    problems.push_with_help(Code::OverlappingFlows, span, message, help);
}

/// The addresses of an end. Each name is represented by addresses of its own at the very ends of both address spaces,
/// which no prefix has except those of all addresses.
///
/// So what is found holds regardless of the names' addresses: a flow covers a name of another one if it has the same
/// name, or all addresses.
fn stand_in(parts: &[Part], names: &BTreeMap<&DomainName, u32>) -> PrefixSet {
    let addresses = |part: &Part| match &part.kind {
        PartKind::Prefixes(set) => set.clone(),
        PartKind::Name { name, .. } => {
            let number = names.get(name).copied().unwrap_or_default();
            let v4 =
                [number & 0x00ff_ffff, !(number & 0x00ff_ffff)].map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)));
            let v6 = [u128::from(number), !u128::from(number)].map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)));
            v4.into_iter().chain(v6).collect()
        }
    };
    let sets: Vec<PrefixSet> = parts.iter().map(addresses).collect();
    PrefixSet::union_of(sets.iter())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::intent::{Denials, End, Side};
    use crate::net::{Rate, RateUnit, Traffic, Verdict};
    use crate::site::{Mode, Target};

    /// A policy of an edge host with rows of peers and services.
    fn policy(rows: impl Iterator<Item = (Vec<String>, String)>) -> Intent<Declared> {
        let row = |(number, (peers, service)): (usize, (Vec<String>, String))| {
            let span = Span { start: number, end: number };
            let part =
                |peer: String| Part { kind: PartKind::Prefixes(peer.parse().unwrap()), origin: Origin::Policy(span) };
            Flow {
                id: format!("row-{number}"),
                purpose: String::new(),
                side: Side::Inbound,
                local: End::Any,
                peers: End::Ends(peers.into_iter().map(part).collect()),
                traffic: Traffic::parse(&service).unwrap(),
                from_ports: None,
                interfaces: None,
                family: None,
                untracked: false,
                origin: Origin::Policy(span),
            }
        };
        Intent {
            name: String::new(),
            catalog: String::new(),
            target: Target::EdgeHost,
            mode: Mode::Enforce,
            denials: Denials { input: Verdict::Drop, output: Verdict::Drop, forward: Verdict::Drop },
            log: Rate { count: 1, per: RateUnit::Second },
            hosts: Arc::default(),
            gateway: None,
            flows: rows.enumerate().map(row).collect(),
        }
    }

    fn address(number: usize) -> String {
        Ipv4Addr::from_bits(0x0b00_0000 + 4 * number as u32).to_string()
    }

    /// Policies of so many rows, and what each row is reported as.
    fn shapes(rows: usize) -> Vec<(&'static str, Intent<Declared>, Option<Code>)> {
        let all = || 0..rows;
        let root = rows.isqrt();
        let one = |peer: String, service: String| (vec![peer], service);
        let port = |number: usize| format!("tcp/{}", 2 * number + 1);
        vec![
            ("distinct", policy(all().map(|row| one(address(row), port(row)))), None),
            ("one service", policy(all().map(|row| one(address(row), port(0)))), None),
            ("one peer", policy(all().map(|row| one(address(0), port(row)))), None),
            ("a grid", policy(all().map(|row| one(address(row % root), port(row / root)))), None),
            ("the same", policy(all().map(|_| one(address(0), port(0)))), Some(Code::CoveredFlow)),
            (
                "nested",
                policy(all().map(|row| one(address(0), format!("tcp/{}-{}", row + 1, 65_535 - row)))),
                Some(Code::CoveredFlow),
            ),
            (
                "nested, the widest last",
                policy(all().rev().map(|row| one(address(0), format!("tcp/{}-{}", row + 1, 65_535 - row)))),
                Some(Code::CoveredFlow),
            ),
            (
                "ranges that overlap",
                policy(all().map(|row| one(address(0), format!("tcp/{}-{}", row + 1, row + rows)))),
                Some(Code::OverlappingFlows),
            ),
            (
                "ranges that overlap, of different peers",
                policy(all().map(|row| one(address(row), format!("tcp/{}-{}", row + 1, row + rows)))),
                None,
            ),
            (
                "a peer of all",
                policy(all().map(|row| (vec!["12.0.0.1".to_owned(), address(row)], port(0)))),
                Some(Code::OverlappingFlows),
            ),
            (
                // Each of the last third has a peer that a third of the rows has, and a service that another third has.
                "a cross",
                policy(all().map(|row| match row % 3 {
                    0 => one("11.0.0.0/8".to_owned(), format!("tcp/{}", 4 * (row / 3) + 1)),
                    1 => one(Ipv4Addr::from_bits(0x0c00_0000 + row as u32).to_string(), "tcp/1-65535".to_owned()),
                    _ => one(address(row), format!("tcp/{}", 4 * (row / 3) + 3)),
                })),
                None,
            ),
        ]
    }

    /// The work per row grows with the logarithm of the number of rows, not with the number.
    #[test]
    fn thousands_of_rows_are_not_compared_with_each_other() {
        for rows in [1_000, 8_000] {
            for (shape, intent, code) in shapes(rows) {
                let mut problems = Problems::default();
                let looked = Comparison::new(&intent).report(&mut problems);
                let found = problems.into_sorted();
                assert!(found.iter().all(|found| Some(found.code) == code), "{shape}: {found:#?}");
                assert_eq!(found.len(), code.map_or(0, |_| 1_000.min(rows - 1)), "{shape}");
                let per_row = looked / rows;
                assert!(per_row <= 16 * rows.ilog2() as usize, "{shape}, {rows}: {per_row} for each row");
            }
        }
    }
}
