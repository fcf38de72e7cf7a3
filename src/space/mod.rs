//! Packet space: exact sets of packets, and the packets for which a condition holds.
//!
//! All conditions that are compared are known in advance. Their values cut each axis of packet space (addresses,
//! ports, protocol, state and so on) into classes: values that no condition distinguishes. That leaves finitely many
//! cells, and a set of packets is a decision diagram over the classes. Half a million prefixes cost one pass; the rest
//! works on a handful of classes. `docs/semantics.md` has the reasons and measurements.

mod axes;
mod boxes;
mod classes;
mod condition;
mod diagram;
mod packet_box;

use std::cell::RefCell;

use axes::{Axes, Axis, family_class, hook_class, state_class};
use classes::{Runs, runs};
use diagram::{Diagrams, NodeId, SetOperation};

use crate::net::{Family, Packet, Protocol};

pub use condition::Condition;
pub use packet_box::PacketBox;

/// A part of some packets, with the number of its group and that of its condition in the group.
type Part<P> = ((usize, usize), P);

/// Packets that are sent through a ruleset together: a single one, or a region.
pub trait Packets: Clone {
    /// Divides packets among the conditions of several groups: each belongs to the first condition that holds in a group
    /// whose key holds, too. Returns the parts with the numbers of their group and condition, in order, and the others.
    fn spread<'k, C: Iterator<Item = Condition<'k>>>(
        self,
        groups: impl Iterator<Item = (Condition<'k>, C)>,
    ) -> (Vec<Part<Self>>, Option<Self>);

    /// The union.
    fn join(parts: impl IntoIterator<Item = Self>) -> Option<Self>;
}

impl Packets for &Packet {
    fn spread<'k, C: Iterator<Item = Condition<'k>>>(
        self,
        groups: impl Iterator<Item = (Condition<'k>, C)>,
    ) -> (Vec<Part<Self>>, Option<Self>) {
        let held =
            groups.enumerate().filter(|(_, (key, _))| key.holds(self)).find_map(|(group, (_, mut conditions))| {
                Some((group, conditions.position(|condition| condition.holds(self))?))
            });
        match held {
            Some(own) => (vec![(own, self)], None),
            None => (Vec::new(), Some(self)),
        }
    }

    fn join(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        parts.into_iter().next()
    }
}

/// A packet space, cut by some conditions.
#[derive(Debug)]
pub struct Space<'a> {
    axes: Axes<'a>,
    diagrams: RefCell<Diagrams>,
}

/// A set of packets.
#[derive(Clone, Copy, Debug)]
pub struct Region<'s> {
    space: &'s Space<'s>,
    node: NodeId,
}

/// A function from packets to labels.
#[derive(Clone, Copy, Debug)]
pub struct Function<'s> {
    space: &'s Space<'s>,
    node: NodeId,
}

impl<'s> Function<'s> {
    /// The packets for which two functions have different labels, or only one has a label.
    pub fn differs(self, other: Self) -> Region<'s> {
        debug_assert!(std::ptr::eq(self.space, other.space), "functions of two spaces");
        Region { space: self.space, node: self.space.apply(SetOperation::Differ, self.node, other.node) }
    }
}

impl<'a> Space<'a> {
    /// Cuts packet space at the values of conditions. It has regions of these conditions, and of others that use the
    /// same sets.
    pub fn new<'c>(conditions: impl IntoIterator<Item = &'c Condition<'a>>) -> Self
    where
        'a: 'c,
    {
        let axes = Axes::new(conditions);
        let diagrams = RefCell::new(Diagrams::new(axes.ranks()));
        Self { axes, diagrams }
    }

    /// Every packet.
    pub fn all(&self) -> Region<'_> {
        Region { space: self, node: diagram::ALL }
    }

    /// No packet.
    pub fn none(&self) -> Region<'_> {
        Region { space: self, node: diagram::NONE }
    }

    /// The packets for which a condition holds.
    ///
    /// # Panics
    /// If the space was not cut at a set of the condition.
    pub fn region(&self, condition: &Condition<'_>) -> Region<'_> {
        Region { space: self, node: self.node(condition) }
    }

    /// The packets that are in one of many regions. Regions are united in halves: one by one, the first would be
    /// traversed again for each of the others.
    pub fn union<'s>(&'s self, regions: impl IntoIterator<Item = Region<'s>>) -> Region<'s> {
        let nodes: Vec<NodeId> = regions.into_iter().map(|region| region.node).collect();
        Region { space: self, node: self.halves(SetOperation::Or, &nodes) }
    }

    /// The function that gives a packet the label of the first region that it is in.
    pub fn function<'s>(&'s self, labelled: impl IntoIterator<Item = (Region<'s>, u32)>) -> Function<'s> {
        let label = |(region, number): (Region<'s>, u32)| self.both(region.node, diagram::label(number));
        let nodes: Vec<NodeId> = labelled.into_iter().map(label).collect();
        Function { space: self, node: self.halves(SetOperation::Else, &nodes) }
    }

    fn halves(&self, operation: SetOperation, nodes: &[NodeId]) -> NodeId {
        match nodes {
            [] => diagram::NONE,
            [one] => *one,
            _ => {
                let (left, right) = nodes.split_at(nodes.len() / 2);
                self.apply(operation, self.halves(operation, left), self.halves(operation, right))
            }
        }
    }

    /// Divides a set among others: each packet belongs to the first one that has it. Adds the parts with the numbers of
    /// the sets, from `from` on, and returns the packets that no set has.
    ///
    /// It works in halves: one by one, all packets that are left would be traversed for each set.
    fn divide(&self, node: NodeId, sets: &[NodeId], from: usize, parts: &mut Vec<(usize, NodeId)>) -> NodeId {
        let taken = self.both(node, self.halves(SetOperation::Or, sets));
        if taken != diagram::NONE {
            self.share(taken, sets, from, parts);
        }
        self.apply(SetOperation::Minus, node, taken)
    }

    /// Divides a set that is not empty and within the union of others.
    fn share(&self, node: NodeId, sets: &[NodeId], from: usize, parts: &mut Vec<(usize, NodeId)>) {
        let (left, right) = sets.split_at(sets.len() / 2);
        if left.is_empty() {
            parts.push((from, node));
            return;
        }
        let rest = self.divide(node, left, from, parts);
        if rest != diagram::NONE {
            self.share(rest, right, from + left.len(), parts);
        }
    }

    /// Drops the cached results of operations.
    pub fn forget(&self) {
        self.diagrams.borrow_mut().forget();
    }

    /// How many cells the space has: the product of the classes of all axes.
    pub fn cells(&self) -> f64 {
        Axis::ALL.iter().map(|&axis| f64::from(self.axes.count(axis))).product()
    }

    /// How many nodes the diagrams of all regions have so far: a measure of the work.
    pub fn nodes(&self) -> usize {
        self.diagrams.borrow().count()
    }

    fn apply(&self, operation: SetOperation, left: NodeId, right: NodeId) -> NodeId {
        self.diagrams.borrow_mut().apply(operation, left, right)
    }

    fn classes(&self, axis: Axis, runs: &Runs) -> NodeId {
        self.diagrams.borrow_mut().classes(axis, runs, self.axes.count(axis))
    }

    fn class(&self, axis: Axis, class: u32) -> NodeId {
        self.classes(axis, &vec![(class, class)])
    }

    fn both(&self, left: NodeId, right: NodeId) -> NodeId {
        self.apply(SetOperation::And, left, right)
    }

    fn family(&self, family: Family) -> NodeId {
        self.class(Axis::Family, family_class(family))
    }

    fn protocol(&self, number: u8) -> NodeId {
        self.classes(Axis::Protocol, self.axes.protocol(number))
    }

    fn node(&self, condition: &Condition<'_>) -> NodeId {
        match condition {
            Condition::Hook(hook) => self.class(Axis::Hook, hook_class(*hook)),
            Condition::Interface(end, interfaces) => {
                let hooks = condition::interface_hooks(*end).map(hook_class).to_vec();
                let within = self.classes(Axis::Interface, self.axes.interfaces(interfaces));
                self.both(self.classes(Axis::Hook, &runs(hooks)), within)
            }
            Condition::State(states) => {
                self.classes(Axis::State, &runs(states.iter().copied().map(state_class).collect()))
            }
            Condition::Family(family) => self.family(*family),
            Condition::Address(end, set) => Family::BOTH.into_iter().fold(diagram::NONE, |found, family| {
                let axis = Axis::of_address(*end, family);
                let within = self.classes(axis, self.axes.addresses(*end, family, set));
                self.apply(SetOperation::Or, found, self.both(self.family(family), within))
            }),
            Condition::Port(transport, end, ports) => {
                let within = self.classes(Axis::of_port(*end), self.axes.ports(*end, ports));
                self.both(self.protocol(transport.protocol().number()), within)
            }
            Condition::Icmp(family, types) => {
                let protocol = self.protocol(match family {
                    Family::V4 => Protocol::Icmp.number(),
                    Family::V6 => Protocol::Icmpv6.number(),
                });
                let within = self.classes(Axis::IcmpType, self.axes.icmp_types(types));
                self.both(self.both(self.family(*family), protocol), within)
            }
            Condition::Protocol(number) => self.protocol(*number),
            Condition::NotOpening => self.both(self.protocol(Protocol::Tcp.number()), self.class(Axis::Opens, 0)),
            Condition::All(parts) => parts.iter().fold(diagram::ALL, |found, part| self.both(found, self.node(part))),
            Condition::Any(parts) => {
                let nodes: Vec<NodeId> = parts.iter().map(|part| self.node(part)).collect();
                self.halves(SetOperation::Or, &nodes)
            }
            Condition::Not(part) => self.apply(SetOperation::Minus, diagram::ALL, self.node(part)),
        }
    }
}

impl<'s> Region<'s> {
    fn with(self, operation: SetOperation, other: Self) -> Self {
        debug_assert!(std::ptr::eq(self.space, other.space), "regions of two spaces");
        Self { node: self.space.apply(operation, self.node, other.node), ..self }
    }

    /// The packets that are in both regions.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.with(SetOperation::And, other)
    }

    /// The packets that are in either region.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.with(SetOperation::Or, other)
    }

    /// The packets of this region that are not in the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.with(SetOperation::Minus, other)
    }

    /// All packets between the same ends as those of the region, at the same hooks and in the same states,
    /// regardless of protocols, ports and types.
    #[must_use]
    pub fn any_traffic(self) -> Self {
        let axes = [Axis::Protocol, Axis::IcmpType, Axis::Dport, Axis::Sport, Axis::Opens];
        Self { node: self.space.diagrams.borrow_mut().regardless_of(&axes, self.node), ..self }
    }

    /// Divides the packets among regions: each belongs to the first region that has it. Returns the parts that are not
    /// empty, with the numbers of their regions in order, and the packets that no region has.
    pub fn among(self, regions: &[Self]) -> (Vec<(usize, Self)>, Self) {
        let nodes: Vec<NodeId> = regions.iter().map(|region| region.node).collect();
        let mut parts = Vec::new();
        let others = self.space.divide(self.node, &nodes, 0, &mut parts);
        let region = |node| Region { node, ..self };
        (parts.into_iter().map(|(number, node)| (number, region(node))).collect(), region(others))
    }

    /// Whether there is no packet in it.
    pub fn is_empty(self) -> bool {
        self.node == diagram::NONE
    }

    /// Whether all packets of this region are in the other.
    pub fn is_within(self, other: Self) -> bool {
        self.minus(other).is_empty()
    }

    /// Whether the region has a packet.
    pub fn contains(self, packet: &Packet) -> bool {
        self.space.diagrams.borrow().contains(self.node, |axis| self.space.axes.class(axis, packet))
    }

    /// A packet of the region, a common one if possible: new, TCP, between addresses for documentation.
    pub fn witness(self) -> Option<Packet> {
        let mut cell = Axis::ALL.map(|axis| self.space.axes.usual(axis)[0]);
        let diagrams = self.space.diagrams.borrow();
        let mut node = self.node;
        while let Some((axis, edges)) = diagrams.edges(node) {
            let leads = |class: u32| {
                let edge = edges.partition_point(|&(end, _)| end <= class);
                edges.get(edge).map(|&(_, next)| next).filter(|&next| next != diagram::NONE)
            };
            // Every node except `NONE` leads to `ALL`: any edge to another node will do.
            let usual = self.space.axes.usual(axis);
            let mut classes = usual.into_iter().chain(0..self.space.axes.count(axis));
            let (class, next) = classes.find_map(|class| Some((class, leads(class)?)))?;
            cell[axis as usize] = class;
            node = next;
        }
        (node == diagram::ALL).then(|| self.space.axes.packet(|axis| cell[axis as usize]))
    }

    /// The region as few, disjoint boxes.
    pub fn boxes(self) -> Vec<PacketBox> {
        boxes::boxes(self.space, self.node)
    }
}

impl PartialEq for Region<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl Packets for Region<'_> {
    fn spread<'k, C: Iterator<Item = Condition<'k>>>(
        self,
        groups: impl Iterator<Item = (Condition<'k>, C)>,
    ) -> (Vec<Part<Self>>, Option<Self>) {
        // Key and condition are one: the packets of a key may be many, those of a condition with it are few.
        let (mut numbers, mut regions) = (Vec::new(), Vec::new());
        for (group, (key, conditions)) in groups.enumerate() {
            let key = self.space.node(&key);
            for (number, condition) in conditions.enumerate() {
                numbers.push((group, number));
                regions.push(Region { node: self.space.both(key, self.space.node(&condition)), ..self });
            }
        }
        let (parts, others) = self.among(&regions);
        let parts = parts.into_iter().map(|(number, part)| (numbers[number], part)).collect();
        (parts, (!others.is_empty()).then_some(others))
    }

    fn join(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut parts = parts.into_iter().peekable();
        let space = parts.peek()?.space;
        Some(space.union(parts))
    }
}
