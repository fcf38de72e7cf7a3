//! Decision diagrams: sets of cells, and functions of cells, each kept once.
//!
//! A diagram asks the class of a packet on one axis after the other, in the order of [`Axis`]; axes that make no
//! difference are left out. Equal sets are the same node, so that equality costs nothing.

#![allow(clippy::disallowed_types, reason = "these hash maps are looked into, never walked through")]

use std::collections::HashMap;
use std::rc::Rc;

use super::axes::Axis;
use super::classes::Runs;

/// A set of cells: the place of its diagram's first question.
pub(super) type Node = u32;

/// No cell.
pub(super) const NONE: Node = 0;
/// Every cell.
pub(super) const ALL: Node = 1;

/// What a function has for a cell where it is defined: one of many labels. Nodes of labels count from the other end.
pub(super) fn label(number: u32) -> Node {
    Node::MAX - number
}

/// Ends (exclusive) of runs of classes, in order, and where they lead.
pub(super) type Edges = Rc<[(u32, Node)]>;

/// A question: where the class on an axis is below the end of an edge, and of no edge before, the edge's node decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    axis: Axis,
    /// Ends (exclusive) in order, and nodes; neighbours differ.
    edges: Edges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// The cells of both; of a set and a label, the function with the label in the set.
    And,
    /// The cells of either.
    Or,
    /// The cells of the left that the right does not have.
    Minus,
    /// The function that is the left where that is defined, and else the right.
    Else,
    /// The cells that two functions have different labels for.
    Differ,
}

/// All diagrams of a space.
#[derive(Debug, Default)]
pub(super) struct Diagrams {
    /// The nodes behind `NONE` and `ALL`.
    questions: Vec<Question>,
    known: HashMap<Question, Node>,
    done: HashMap<(Operation, Node, Node), Node>,
}

impl Diagrams {
    fn question(&self, node: Node) -> Option<&Question> {
        self.questions.get((node as usize).checked_sub(2)?)
    }

    /// The axis that a set asks first, and its edges; `None` where it asks nothing.
    pub(super) fn edges(&self, node: Node) -> Option<(Axis, Edges)> {
        self.question(node).map(|question| (question.axis, Rc::clone(&question.edges)))
    }

    /// The cells whose class on an axis is in some runs; the axis has `count` classes.
    pub(super) fn classes(&mut self, axis: Axis, runs: &Runs, count: u32) -> Node {
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
        self.ask(axis, edges)
    }

    fn ask(&mut self, axis: Axis, edges: Vec<(u32, Node)>) -> Node {
        let mut merged: Vec<(u32, Node)> = Vec::with_capacity(edges.len());
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
                let question = Question { axis, edges: merged.into() };
                let next = self.questions.len() as Node + 2;
                let node = *self.known.entry(question.clone()).or_insert(next);
                if node == next {
                    self.questions.push(question);
                }
                node
            }
        }
    }

    /// Combines two sets.
    pub(super) fn apply(&mut self, operation: Operation, left: Node, right: Node) -> Node {
        match (operation, left, right) {
            (Operation::And, NONE, _) | (Operation::And, _, NONE) => return NONE,
            (Operation::And, ALL, other) | (Operation::And, other, ALL) => return other,
            (Operation::Or, ALL, _) | (Operation::Or, _, ALL) => return ALL,
            (Operation::Or, NONE, other) | (Operation::Or, other, NONE) => return other,
            (Operation::Minus, NONE, _) | (Operation::Minus, _, ALL) => return NONE,
            (Operation::Minus, left, NONE) => return left,
            (Operation::Minus, left, right) if left == right => return NONE,
            (Operation::And | Operation::Or | Operation::Else, left, right) if left == right => return left,
            (Operation::Else, NONE, other) | (Operation::Else, other, NONE) => return other,
            (Operation::Differ, left, right) if left == right => return NONE,
            (Operation::Else, left, _) if self.question(left).is_none() => return left,
            _ => {}
        }
        let key = match operation {
            Operation::And | Operation::Or | Operation::Differ => (operation, left.min(right), left.max(right)),
            Operation::Minus | Operation::Else => (operation, left, right),
        };
        if let Some(&node) = self.done.get(&key) {
            return node;
        }
        let axis = [left, right].into_iter().filter_map(|node| Some(self.question(node)?.axis)).min();
        let Some(axis) = axis else {
            // Two labels: sets without a question have been combined above.
            return match operation {
                Operation::Differ => ALL,
                Operation::Else => left,
                Operation::And | Operation::Or | Operation::Minus => NONE,
            };
        };
        let (lefts, rights) = (self.on(axis, left), self.on(axis, right));
        let mut edges = Vec::with_capacity(lefts.len() + rights.len());
        let (mut i, mut j) = (0, 0);
        while let (Some(&(end, a)), Some(&(other_end, b))) = (lefts.get(i), rights.get(j)) {
            edges.push((end.min(other_end), self.apply(operation, a, b)));
            (i, j) = (i + usize::from(end <= other_end), j + usize::from(other_end <= end));
        }
        let node = self.ask(axis, edges);
        self.done.insert(key, node);
        node
    }

    /// The edges of a set on an axis; one edge where it does not ask that axis first.
    fn on(&self, axis: Axis, node: Node) -> Edges {
        match self.question(node) {
            Some(question) if question.axis == axis => Rc::clone(&question.edges),
            _ => Rc::new([(u32::MAX, node)]),
        }
    }

    /// Forgets what sets were combined to; the sets themselves stay.
    pub(super) fn forget(&mut self) {
        self.done = HashMap::new();
    }

    /// How many questions there are.
    pub(super) fn questions(&self) -> usize {
        self.questions.len()
    }

    /// Whether a set has the cell.
    pub(super) fn contains(&self, mut node: Node, cell: impl Fn(Axis) -> u32) -> bool {
        while let Some(question) = self.question(node) {
            let class = cell(question.axis);
            let edge = question.edges.partition_point(|&(end, _)| end <= class);
            node = question.edges.get(edge).map_or(NONE, |&(_, node)| node);
        }
        node == ALL
    }
}
