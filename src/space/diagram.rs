//! Decision diagrams: sets of cells, and functions of cells, each stored once.
//!
//! A diagram looks at the class of a packet on one axis after the other, in the order of [`Axis`], and skips axes that
//! make no difference. Equal sets are the same node, so comparing them costs nothing.

#![allow(clippy::disallowed_types, reason = "nothing iterates over these hash maps")]

use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::axes::Axis;
use super::classes::Runs;

/// A set of cells: the number of its diagram's first node.
pub(super) type NodeId = u32;

/// No cell.
pub(super) const NONE: NodeId = 0;
/// Every cell.
pub(super) const ALL: NodeId = 1;

/// The node of a label: the value of a function. Labels are numbered from the other end.
pub(super) fn label(number: u32) -> NodeId {
    NodeId::MAX - number
}

/// Edges in order: the end (exclusive) of a run of classes, and the node that it leads to.
pub(super) type Edges = Rc<[(u32, NodeId)]>;

/// A node that looks at an axis: of its edges, the first one that ends above the packet's class is followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct InnerNode {
    axis: Axis,
    /// Two neighbours never lead to the same node.
    edges: Edges,
}

/// A set along an axis.
enum OnAxis {
    /// Its first node looks at the axis.
    Cut(Edges),
    /// Its first node looks at another: one edge for all classes.
    Whole([(u32, NodeId); 1]),
}

impl OnAxis {
    fn edges(&self) -> &[(u32, NodeId)] {
        match self {
            OnAxis::Cut(edges) => edges,
            OnAxis::Whole(edge) => edge,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SetOperation {
    /// The cells of both. Of a set and a label: the function that has the label in the set.
    And,
    /// The cells of either.
    Or,
    /// The cells of the left that are not in the right.
    Minus,
    /// The function that is the left where that is defined, else the right.
    Else,
    /// The cells for which two functions have different labels.
    Differ,
}

/// All diagrams of a space.
#[derive(Debug)]
pub(super) struct Diagrams {
    /// The place of each axis: nodes lead to nodes of axes with higher ranks.
    ranks: [u8; Axis::ALL.len()],
    /// The nodes that follow `NONE` and `ALL`.
    inner: Vec<InnerNode>,
    known: FxHashMap<InnerNode, NodeId>,
    /// The results of operations.
    done: FxHashMap<(SetOperation, NodeId, NodeId), NodeId>,
}

impl Diagrams {
    pub(super) fn new(ranks: [u8; Axis::ALL.len()]) -> Self {
        Self { ranks, inner: Vec::new(), known: FxHashMap::default(), done: FxHashMap::default() }
    }

    fn inner_node(&self, node: NodeId) -> Option<&InnerNode> {
        self.inner.get((node as usize).checked_sub(2)?)
    }

    /// The first axis that a set looks at, and its edges; `None` if it looks at none.
    pub(super) fn edges(&self, node: NodeId) -> Option<(Axis, Edges)> {
        self.inner_node(node).map(|inner| (inner.axis, Rc::clone(&inner.edges)))
    }

    /// The cells whose class on an axis is in some runs; the axis has `count` classes.
    pub(super) fn classes(&mut self, axis: Axis, runs: &Runs, count: u32) -> NodeId {
        let mut edges = Vec::with_capacity(2 * runs.len() + 1);
        let mut from = 0;
        for &(low, high) in runs {
            if low > from {
                edges.push((low, NONE));
            }
            edges.push((high + 1, ALL));
            from = high + 1;
        }
        if from < count {
            edges.push((count, NONE));
        }
        self.add(axis, edges)
    }

    fn add(&mut self, axis: Axis, edges: Vec<(u32, NodeId)>) -> NodeId {
        let mut merged: Vec<(u32, NodeId)> = Vec::with_capacity(edges.len());
        for (end, node) in edges {
            match merged.last_mut() {
                Some(last) if last.1 == node => last.0 = end,
                _ => merged.push((end, node)),
            }
        }
        match merged[..] {
            [] => NONE,
            [(_, only)] => only,
            _ => {
                let inner = InnerNode { axis, edges: merged.into() };
                let next = self.inner.len() as NodeId + 2;
                let node = *self.known.entry(inner.clone()).or_insert(next);
                if node == next {
                    self.inner.push(inner);
                }
                node
            }
        }
    }

    /// Combines two sets.
    pub(super) fn apply(&mut self, operation: SetOperation, left: NodeId, right: NodeId) -> NodeId {
        match (operation, left, right) {
            (SetOperation::And, NONE, _) | (SetOperation::And, _, NONE) => return NONE,
            (SetOperation::And, ALL, other) | (SetOperation::And, other, ALL) => return other,
            (SetOperation::Or, ALL, _) | (SetOperation::Or, _, ALL) => return ALL,
            (SetOperation::Or, NONE, other) | (SetOperation::Or, other, NONE) => return other,
            (SetOperation::Minus, NONE, _) | (SetOperation::Minus, _, ALL) => return NONE,
            (SetOperation::Minus, left, NONE) => return left,
            (SetOperation::Minus, left, right) if left == right => return NONE,
            (SetOperation::And | SetOperation::Or | SetOperation::Else, left, right) if left == right => return left,
            (SetOperation::Else, NONE, other) | (SetOperation::Else, other, NONE) => return other,
            (SetOperation::Differ, left, right) if left == right => return NONE,
            (SetOperation::Else, left, _) if self.inner_node(left).is_none() => return left,
            _ => {}
        }
        let key = match operation {
            SetOperation::And | SetOperation::Or | SetOperation::Differ => {
                (operation, left.min(right), left.max(right))
            }
            SetOperation::Minus | SetOperation::Else => (operation, left, right),
        };
        if let Some(&node) = self.done.get(&key) {
            return node;
        }
        let axes = [left, right].into_iter().filter_map(|node| Some(self.inner_node(node)?.axis));
        let axis = axes.min_by_key(|axis| self.ranks[*axis as usize]);
        let Some(axis) = axis else {
            // Two labels: `NONE` and `ALL` have been handled above.
            return match operation {
                SetOperation::Differ => ALL,
                SetOperation::Else => left,
                SetOperation::And | SetOperation::Or | SetOperation::Minus => NONE,
            };
        };
        let on_axis = (self.on(axis, left), self.on(axis, right));
        let (lefts, rights) = (on_axis.0.edges(), on_axis.1.edges());
        let mut edges = Vec::with_capacity(lefts.len() + rights.len());
        let (mut i, mut j) = (0, 0);
        while let (Some(&(end, a)), Some(&(other_end, b))) = (lefts.get(i), rights.get(j)) {
            edges.push((end.min(other_end), self.apply(operation, a, b)));
            (i, j) = (i + usize::from(end <= other_end), j + usize::from(other_end <= end));
        }
        let node = self.add(axis, edges);
        self.done.insert(key, node);
        node
    }

    fn on(&self, axis: Axis, node: NodeId) -> OnAxis {
        match self.inner_node(node) {
            Some(inner) if inner.axis == axis => OnAxis::Cut(Rc::clone(&inner.edges)),
            _ => OnAxis::Whole([(u32::MAX, node)]),
        }
    }

    /// The cells that are in a set for some class on these axes: the set as if no condition looked at them.
    pub(super) fn regardless_of(&mut self, axes: &[Axis], node: NodeId) -> NodeId {
        self.regardless(axes, node, &mut FxHashMap::default())
    }

    fn regardless(&mut self, axes: &[Axis], node: NodeId, known: &mut FxHashMap<NodeId, NodeId>) -> NodeId {
        let Some((axis, edges)) = self.edges(node) else { return node };
        if let Some(&found) = known.get(&node) {
            return found;
        }
        let edges: Vec<(u32, NodeId)> =
            edges.iter().map(|&(end, next)| (end, self.regardless(axes, next, known))).collect();
        let found = match axes.contains(&axis) {
            true => edges.iter().fold(NONE, |all, &(_, next)| self.apply(SetOperation::Or, all, next)),
            false => self.add(axis, edges),
        };
        known.insert(node, found);
        found
    }

    /// Forgets the results of operations; the sets stay.
    pub(super) fn forget(&mut self) {
        self.done = FxHashMap::default();
    }

    /// How many nodes there are.
    pub(super) fn count(&self) -> usize {
        self.inner.len()
    }

    /// Whether a set has the cell.
    pub(super) fn contains(&self, mut node: NodeId, cell: impl Fn(Axis) -> u32) -> bool {
        while let Some(inner) = self.inner_node(node) {
            let class = cell(inner.axis);
            let edge = inner.edges.partition_point(|&(end, _)| end <= class);
            node = inner.edges.get(edge).map_or(NONE, |&(_, node)| node);
        }
        node == ALL
    }
}
