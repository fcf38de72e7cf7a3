//! Regions as people read them: boxes, each a product of sets.

use std::collections::BTreeMap;

use super::Space;
use super::axes::{Axis, Runs, STATES};
use super::diagram::{self, Node};
use crate::net::{CtState, Family, Hook, IcmpTypes, Packet, PacketEnd, Payload, PortSet, PrefixSet, Ranges};

/// A box of packets: all that have a value of each set. `None` stands for every value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketBox {
    /// Where they are judged.
    pub hooks: Vec<Hook>,
    /// Whether they go through the loopback interface.
    pub loopback: Option<bool>,
    /// What conntrack says of them.
    pub states: Vec<CtState>,
    /// Their families.
    pub families: Vec<Family>,
    /// Protocol numbers.
    pub protocols: Option<Ranges<u8>>,
    /// Destination ports of TCP and UDP.
    pub dports: Option<PortSet>,
    /// Types of ICMP messages.
    pub icmp_types: Option<IcmpTypes>,
    /// Source ports of TCP and UDP.
    pub sports: Option<PortSet>,
    /// Whether TCP segments can only open a connection.
    pub opens: Option<bool>,
    /// Source addresses; of the families.
    pub sources: Option<PrefixSet>,
    /// Destination addresses; of the families.
    pub destinations: Option<PrefixSet>,
}

impl PacketBox {
    /// Whether the box has a packet.
    pub fn contains(&self, packet: &Packet) -> bool {
        fn has<T>(set: &Option<T>, test: impl FnOnce(&T) -> bool) -> bool {
            set.as_ref().is_none_or(test)
        }
        let kind = match packet.payload {
            Payload::Icmp { kind } => Some(kind),
            _ => None,
        };
        let opens = match packet.payload {
            Payload::Tcp { opens, .. } => Some(opens),
            _ => None,
        };
        self.hooks.contains(&packet.hook)
            && has(&self.loopback, |loopback| *loopback == packet.loopback)
            && self.states.contains(&packet.state)
            && self.families.contains(&packet.family())
            && has(&self.protocols, |protocols| protocols.contains(packet.protocol()))
            && has(&self.dports, |ports| packet.port(PacketEnd::Destination).is_none_or(|port| ports.contains(port)))
            && has(&self.sports, |ports| packet.port(PacketEnd::Source).is_none_or(|port| ports.contains(port)))
            && has(&self.icmp_types, |types| kind.is_none_or(|kind| types.contains(kind)))
            && has(&self.opens, |wanted| opens.is_none_or(|opens| opens == *wanted))
            && has(&self.sources, |set| set.contains(packet.source))
            && has(&self.destinations, |set| set.contains(packet.destination))
    }
}

/// The classes on each axis; `None` stands for all.
type Cells = [Option<Runs>; Axis::ALL.len()];

pub(super) fn boxes(space: &Space<'_>, node: Node) -> Vec<PacketBox> {
    let mut found = Vec::new();
    paths(space, node, &mut Cells::default(), &mut found);
    let merged = merge(found);
    merge_families(merged.iter().map(|cells| readable(space, cells)).collect())
}

/// One box for each way through a diagram; edges to one node are one way.
fn paths(space: &Space<'_>, node: Node, cells: &mut Cells, found: &mut Vec<Cells>) {
    if node == diagram::ALL {
        found.push(cells.clone());
    }
    let Some((axis, edges)) = space.diagrams.borrow().edges(node) else { return };
    let mut ways: BTreeMap<Node, Runs> = BTreeMap::new();
    let mut from = 0;
    for &(end, next) in edges.iter() {
        if next != diagram::NONE {
            ways.entry(next).or_default().push((from, end.min(space.axes.count(axis)) - 1));
        }
        from = end;
    }
    for (next, classes) in ways {
        cells[axis as usize] = Some(classes);
        paths(space, next, cells, found);
        cells[axis as usize] = None;
    }
}

/// Makes one box of those that differ on one axis, as long as there are such.
fn merge(mut found: Vec<Cells>) -> Vec<Cells> {
    loop {
        let before = found.len();
        // What is asked last varies most.
        for axis in Axis::ALL.into_iter().rev() {
            let mut alike: BTreeMap<Cells, Vec<Option<Runs>>> = BTreeMap::new();
            for mut cells in found {
                let own = cells[axis as usize].take();
                alike.entry(cells).or_default().push(own);
            }
            found = alike
                .into_iter()
                .map(|(mut cells, own)| {
                    // A box without bounds on the axis has all of it.
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
        loopback: flag(Axis::Loopback),
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

/// All addresses of a family.
fn everything(family: Family) -> PrefixSet {
    PrefixSet::from(match family {
        Family::V4 => (Ranges::all(), Ranges::default()),
        Family::V6 => (Ranges::default(), Ranges::all()),
    })
}

/// The addresses of several families together; `None` where no family is bounded.
fn join(families: &[Family], bounded: Vec<Option<PrefixSet>>) -> Option<PrefixSet> {
    if bounded.iter().all(Option::is_none) {
        return None;
    }
    let sets = families.iter().zip(bounded).map(|(family, set)| set.unwrap_or_else(|| everything(*family)));
    sets.reduce(|all, set| all.union(&set))
}

/// Makes one box of two that differ in family and addresses: ends of different families never meet in a packet.
fn merge_families(found: Vec<PacketBox>) -> Vec<PacketBox> {
    let mut merged: Vec<PacketBox> = Vec::new();
    for new in found {
        let alike = |old: &&mut PacketBox| {
            let plain =
                |it: &PacketBox| PacketBox { families: Vec::new(), sources: None, destinations: None, ..it.clone() };
            old.families.iter().all(|family| !new.families.contains(family)) && plain(old) == plain(&new)
        };
        let Some(old) = merged.iter_mut().find(alike) else {
            merged.push(new);
            continue;
        };
        let families = [&old.families[..], &new.families[..]].concat();
        let both = |left: &Option<PrefixSet>, right: &Option<PrefixSet>| {
            let spread = |set: &Option<PrefixSet>, families: &[Family]| match set {
                Some(set) => set.clone(),
                None => {
                    families.iter().map(|family| everything(*family)).fold(PrefixSet::default(), |a, b| a.union(&b))
                }
            };
            let union = spread(left, &old.families).union(&spread(right, &new.families));
            (left.is_some() || right.is_some()).then_some(union)
        };
        *old = PacketBox {
            sources: both(&old.sources, &new.sources),
            destinations: both(&old.destinations, &new.destinations),
            families,
            ..old.clone()
        };
        old.families.sort_unstable();
    }
    merged.sort();
    merged
}
