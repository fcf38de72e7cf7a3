//! From regions to boxes. Boxes that differ on one axis only are merged.

use std::collections::BTreeMap;

use super::axes::{Axis, STATES};
use super::classes::Runs;
use super::diagram::{self, NodeId};
use super::packet_box::everything;
use super::{PacketBox, Space};
use crate::net::{CtState, Family, Hook, PacketEnd, PrefixSet, Ranges};

/// The classes on each axis; `None` stands for all.
type Cells = [Option<Runs>; Axis::ALL.len()];

pub(super) fn boxes(space: &Space<'_>, node: NodeId) -> Vec<PacketBox> {
    let mut found = Vec::new();
    paths(space, node, &mut Cells::default(), &mut found);
    let merged = merge(found);
    merge_families(merged.iter().map(|cells| readable(space, cells)).collect())
}

/// One box for each path through a diagram. Edges to the same node are one path.
fn paths(space: &Space<'_>, node: NodeId, cells: &mut Cells, found: &mut Vec<Cells>) {
    if node == diagram::ALL {
        found.push(cells.clone());
    }
    let Some((axis, edges)) = space.diagrams.borrow().edges(node) else { return };
    let mut paths_by_node: BTreeMap<NodeId, Runs> = BTreeMap::new();
    let mut from = 0;
    for &(end, next) in edges.iter() {
        if next != diagram::NONE {
            paths_by_node.entry(next).or_default().push((from, end.min(space.axes.count(axis)) - 1));
        }
        from = end;
    }
    for (next, classes) in paths_by_node {
        cells[axis as usize] = Some(classes);
        paths(space, next, cells, found);
        cells[axis as usize] = None;
    }
}

/// Merges boxes that differ on one axis, until none do.
fn merge(mut found: Vec<Cells>) -> Vec<Cells> {
    loop {
        let before = found.len();
        // The last axes vary most.
        for axis in Axis::ALL.into_iter().rev() {
            let mut alike: BTreeMap<Cells, Vec<Option<Runs>>> = BTreeMap::new();
            for mut cells in found {
                let own = cells[axis as usize].take();
                alike.entry(cells).or_default().push(own);
            }
            found = alike
                .into_iter()
                .map(|(mut cells, own)| {
                    // A box without bounds on the axis has all values.
                    let all: Option<Vec<Runs>> = own.into_iter().collect();
                    cells[axis as usize] =
                        all.map(|runs| runs.concat().into_iter().collect::<Ranges<u32>>().as_slice().to_vec());
                    cells
                })
                .collect();
        }
        if found.len() == before {
            return found;
        }
    }
}

fn readable(space: &Space<'_>, cells: &Cells) -> PacketBox {
    let classes = |axis: Axis| cells[axis as usize].as_ref();
    let listed = |axis: Axis| -> Vec<usize> {
        let all = vec![(0, space.axes.count(axis) - 1)];
        let runs = classes(axis).unwrap_or(&all);
        runs.iter().flat_map(|&(low, high)| low as usize..=high as usize).collect()
    };
    let flag = |axis: Axis| match &listed(axis)[..] {
        [one] => Some(*one == 1),
        _ => None,
    };
    let families: Vec<Family> = listed(Axis::Family).into_iter().map(|class| Family::BOTH[class]).collect();
    let addresses = |end: PacketEnd| {
        let of = |family: &Family| {
            let runs = classes(Axis::of_address(end, *family))?;
            Some(space.axes.addresses_in(end, *family, runs))
        };
        let bounded: Vec<Option<PrefixSet>> = families.iter().map(of).collect();
        join(&families, bounded)
    };
    let full =
        |runs: Option<&Runs>, axis: Axis| runs.filter(|runs| runs[..] != [(0, space.axes.count(axis) - 1)]).cloned();
    let at = |axis: Axis| full(classes(axis), axis);
    let mut states: Vec<CtState> = listed(Axis::State).into_iter().map(|class| STATES[class]).collect();
    states.sort_unstable();
    PacketBox {
        hooks: listed(Axis::Hook).into_iter().map(|class| Hook::ALL[class]).collect(),
        interfaces: at(Axis::Interface).map(|runs| space.axes.interfaces_in(&runs)),
        states,
        protocols: at(Axis::Protocol).map(|runs| space.axes.protocols_in(&runs)),
        dports: at(Axis::Dport).map(|runs| space.axes.ports_in(PacketEnd::Destination, &runs)),
        icmp_types: at(Axis::IcmpType).map(|runs| space.axes.icmp_types_in(&runs)),
        sports: at(Axis::Sport).map(|runs| space.axes.ports_in(PacketEnd::Source, &runs)),
        opens: flag(Axis::Opens),
        sources: addresses(PacketEnd::Source),
        destinations: addresses(PacketEnd::Destination),
        families,
    }
}

/// The addresses of several families together; `None` if no family is bounded.
fn join(families: &[Family], bounded: Vec<Option<PrefixSet>>) -> Option<PrefixSet> {
    if bounded.iter().all(Option::is_none) {
        return None;
    }
    let sets = families.iter().zip(bounded).map(|(family, set)| set.unwrap_or_else(|| everything(*family)));
    sets.reduce(|all, set| all.union(&set))
}

/// Merges two boxes that differ in family and addresses only: no packet has ends of different families.
fn merge_families(found: Vec<PacketBox>) -> Vec<PacketBox> {
    let mut alike: BTreeMap<PacketBox, Vec<PacketBox>> = BTreeMap::new();
    for new in found {
        let plain = PacketBox { families: Vec::new(), sources: None, destinations: None, ..new.clone() };
        let merged = alike.entry(plain).or_default();
        match merged.iter_mut().find(|old| old.families.iter().all(|family| !new.families.contains(family))) {
            Some(old) => *old = both_families(old, &new),
            None => merged.push(new),
        }
    }
    let mut merged: Vec<PacketBox> = alike.into_values().flatten().collect();
    merged.sort();
    merged
}

fn both_families(left: &PacketBox, right: &PacketBox) -> PacketBox {
    let spread = |set: &Option<PrefixSet>, families: &[Family]| match set {
        Some(set) => set.clone(),
        None => families.iter().map(|family| everything(*family)).fold(PrefixSet::default(), |a, b| a.union(&b)),
    };
    let both = |one: &Option<PrefixSet>, other: &Option<PrefixSet>| {
        (one.is_some() || other.is_some()).then(|| spread(one, &left.families).union(&spread(other, &right.families)))
    };
    let mut families = [&left.families[..], &right.families[..]].concat();
    families.sort_unstable();
    PacketBox {
        sources: both(&left.sources, &right.sources),
        destinations: both(&left.destinations, &right.destinations),
        families,
        ..left.clone()
    }
}
