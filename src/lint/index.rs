//! Boxes that are found by what they enclose or meet.

use std::cell::Cell;

use super::region::{AXES, Bounds};

/// A box, and the number of the flow that it is part of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) bounds: Bounds,
    pub(super) owner: usize,
}

/// Boxes as a tree: those of a node are near each other, by position and size, and a node that cannot have an answer is
/// not entered.
#[derive(Debug)]
pub(super) struct Index {
    entries: Vec<Entry>,
    /// A node is followed by all of its left half, then by all of its right half.
    nodes: Vec<Node>,
    /// How many nodes and entries have been looked at so far: a measure of the work.
    looked: Cell<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// What encloses all entries.
    bounds: Bounds,
    /// The smallest owner.
    first: usize,
    /// How many entries there are.
    count: usize,
    /// The node with the right half; none if the entries are not split.
    right: Option<usize>,
}

/// So few entries are not split.
const LEAF: usize = 8;

/// A node, or an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// The bounds of the entry, or what encloses those of all entries.
    bounds: &'a Bounds,
    /// The owner of the entry, or the smallest one.
    pub(super) owner: usize,
    /// Whether it is an entry.
    pub(super) is_entry: bool,
}

impl Seen<'_> {
    /// Whether it encloses a box. If a node does not, none of its entries does.
    pub(super) fn encloses(&self, inner: &Bounds) -> bool {
        self.bounds.iter().zip(inner).all(|(outer, inner)| outer.0 <= inner.0 && inner.1 <= outer.1)
    }

    /// Whether it meets a box. If a node does not, none of its entries does.
    pub(super) fn meets(&self, other: &Bounds) -> bool {
        self.bounds.iter().zip(other).all(|(one, other)| one.0 <= other.1 && other.0 <= one.1)
    }
}

impl Index {
    pub(super) fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut entries: Vec<Entry> = entries.into_iter().collect();
        let mut nodes = Vec::new();
        split(&mut entries, 0, &mut nodes);
        Self { entries, nodes, looked: Cell::new(0) }
    }

    /// Visits nodes and entries, of two halves first the one with the smallest owner. A node is entered if the answer is
    /// yes.
    pub(super) fn visit(&self, enter: &mut dyn FnMut(Seen<'_>) -> bool) {
        self.visit_node(0, &self.entries, enter);
    }

    fn visit_node(&self, number: usize, entries: &[Entry], enter: &mut dyn FnMut(Seen<'_>) -> bool) {
        let Some(node) = self.nodes.get(number) else { return };
        self.looked.set(self.looked.get() + 1);
        if !enter(Seen { bounds: &node.bounds, owner: node.first, is_entry: false }) {
            return;
        }
        let Some(right) = node.right else {
            self.looked.set(self.looked.get() + entries.len());
            for Entry { bounds, owner } in entries {
                enter(Seen { bounds, owner: *owner, is_entry: true });
            }
            return;
        };
        let left = number + 1;
        let (lefts, rights) = entries.split_at(self.nodes[left].count);
        let mut halves = [(left, lefts), (right, rights)];
        halves.sort_by_key(|(half, _)| self.nodes[*half].first);
        halves.into_iter().for_each(|(half, entries)| self.visit_node(half, entries, enter));
    }

    /// How many nodes and entries have been looked at so far.
    pub(super) fn looked(&self) -> usize {
        self.looked.get()
    }
}

/// Splits entries at the median of one bound after the other, and adds their nodes.
fn split(entries: &mut [Entry], depth: usize, nodes: &mut Vec<Node>) {
    let Some(first) = entries.first() else { return };
    let node = Node { bounds: first.bounds, first: first.owner, count: entries.len(), right: None };
    let node = entries.iter().fold(node, |mut node, entry| {
        for (all, own) in node.bounds.iter_mut().zip(&entry.bounds) {
            *all = (all.0.min(own.0), all.1.max(own.1));
        }
        Node { first: node.first.min(entry.owner), ..node }
    });
    let number = nodes.len();
    nodes.push(node);
    if entries.len() <= LEAF {
        return;
    }
    let bound = |entry: &Entry, which: usize| {
        let (low, high) = entry.bounds[which / 2];
        if which.is_multiple_of(2) { low } else { high }
    };
    // A bound that is the same in all entries would not separate any.
    let varies = |which: &usize| entries.iter().any(|entry| bound(entry, *which) != bound(&entries[0], *which));
    let which = (depth..depth + 2 * AXES).map(|which| which % (2 * AXES)).find(varies);
    let (middle, which) = (entries.len() / 2, which.unwrap_or_default());
    entries.select_nth_unstable_by_key(middle, |entry| (bound(entry, which), entry.owner));
    let (left, right) = entries.split_at_mut(middle);
    split(left, which + 1, nodes);
    nodes[number].right = Some(nodes.len());
    split(right, which + 1, nodes);
}
