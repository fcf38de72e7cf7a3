//! An axis of numbers, cut at the edges of sets.

use std::collections::{BTreeMap, BTreeSet};

use crate::net::{Bits, Ranges, within};

/// Inclusive runs of classes, in order and disjoint.
pub type Runs = Vec<(u32, u32)>;

/// Sorted, distinct numbers as runs.
pub fn runs(mut classes: Vec<u32>) -> Runs {
    classes.sort_unstable();
    classes.into_iter().map(|class| (class, class)).collect::<Ranges<u32>>().as_slice().to_vec()
}

/// An axis of numbers, cut into classes. Two numbers are of one class if every set has both or neither.
#[derive(Debug)]
pub struct Classes<'a, T> {
    /// The classes of each set.
    members: BTreeMap<&'a [(T, T)], Runs>,
    /// The first number of each interval, and its class. An interval ends before the next.
    starts: Vec<(T, u32)>,
    /// A number of each class.
    representatives: Vec<T>,
}

impl<'a, T: Bits> Classes<'a, T> {
    /// Cuts an axis at the edges of sets. A class is represented by a number of `preferred`, if it has one.
    pub fn new(sets: BTreeSet<&'a [(T, T)]>, preferred: &[T]) -> Self {
        let mut streams = edges(&sets);
        let mut starts: Vec<(T, u32)> = Vec::new();
        let mut representatives = Vec::new();
        let mut memberships = Memberships::new();
        let (mut current, mut at) = (0, Some(T::MIN));
        while let Some(start) = at {
            for stream in &mut streams {
                while let Some((_, set)) = stream.next.filter(|&(edge, _)| edge == start) {
                    current = memberships.across(current, set);
                    stream.advance();
                }
            }
            let class = *memberships.known[current].class.get_or_insert_with(|| {
                representatives.push(start);
                representatives.len() as u32 - 1
            });
            if starts.last().is_none_or(|&(_, last)| last != class) {
                starts.push((start, class));
            }
            at = streams.iter().filter_map(|stream| stream.next.map(|(edge, _)| edge)).min();
        }
        let mut by_set: Vec<Vec<u32>> = vec![Vec::new(); sets.len()];
        for Membership { inside, class, .. } in &memberships.known {
            let classes = class.iter().flat_map(|class| inside.iter().map(|set| (*set, *class)));
            classes.for_each(|(set, class)| by_set[set as usize].push(class));
        }
        let members = sets.into_iter().zip(by_set.into_iter().map(runs)).collect();
        let mut this = Self { members, starts, representatives };
        for &value in preferred.iter().rev() {
            let class = this.class(value);
            this.representatives[class as usize] = value;
        }
        this
    }

    /// How many classes there are.
    pub fn count(&self) -> usize {
        self.representatives.len()
    }

    /// The class of a number.
    pub fn class(&self, value: T) -> u32 {
        let after = self.starts.partition_point(|&(start, _)| start <= value);
        self.starts[after - 1].1
    }

    /// A number of a class.
    pub fn representative(&self, class: usize) -> T {
        self.representatives[class]
    }

    /// The classes of a set. The axis must have been cut at it.
    pub fn members(&self, set: &[(T, T)]) -> &Runs {
        &self.members[set]
    }

    /// The numbers of some classes.
    pub fn values(&self, classes: &Runs) -> Ranges<T> {
        let ends = self.starts.iter().skip(1).map(|&(next, _)| next.previous()).chain([Some(T::MAX)]);
        let intervals = self.starts.iter().zip(ends).filter(|((_, class), _)| within(classes, *class));
        intervals.filter_map(|(&(start, _), end)| Some((start, end?))).collect()
    }
}

/// Sets of at least so many ranges are traversed in place: their edges are neither copied nor sorted.
const MIN_IN_PLACE: usize = 4096;
/// The most sets that are traversed in place: each is asked at every edge.
const MAX_IN_PLACE: usize = 8;

/// The edges of sets, in order, with the numbers of the sets, in several streams.
fn edges<'a, T: Bits>(sets: &BTreeSet<&'a [(T, T)]>) -> Vec<EdgeStream<'a, T>> {
    let is_large = |set: &[(T, T)]| set.len() >= MIN_IN_PLACE;
    let few_are_large = sets.iter().filter(|set| is_large(set)).count() <= MAX_IN_PLACE;
    let mut streams = Vec::new();
    let mut others: Vec<(T, u32)> = Vec::new();
    for (id, set) in (0..).zip(sets) {
        let own = RangeEdges { ranges: set.iter(), end: None };
        match few_are_large && is_large(set) {
            true => streams.push(EdgeStream::new(EdgeSource::Set(own, id))),
            false => others.extend(own.map(|edge| (edge, id))),
        }
    }
    others.sort_unstable();
    streams.push(EdgeStream::new(EdgeSource::Sorted(others.into_iter())));
    streams
}

/// Edges with the numbers of their sets, in order.
struct EdgeStream<'a, T> {
    next: Option<(T, u32)>,
    rest: EdgeSource<'a, T>,
}

enum EdgeSource<'a, T> {
    Set(RangeEdges<'a, T>, u32),
    Sorted(std::vec::IntoIter<(T, u32)>),
}

/// The first value of each range, and the first one after it. Ranges of a set never touch, so no two are the same.
struct RangeEdges<'a, T> {
    ranges: std::slice::Iter<'a, (T, T)>,
    end: Option<T>,
}

impl<T: Bits> Iterator for RangeEdges<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.end.take().or_else(|| {
            let (low, high) = self.ranges.next()?;
            self.end = high.next();
            Some(*low)
        })
    }
}

impl<'a, T: Bits> EdgeStream<'a, T> {
    fn new(rest: EdgeSource<'a, T>) -> Self {
        let mut this = Self { next: None, rest };
        this.advance();
        this
    }

    fn advance(&mut self) {
        self.next = match &mut self.rest {
            EdgeSource::Set(ends, id) => ends.next().map(|edge| (edge, *id)),
            EdgeSource::Sorted(edges) => edges.next(),
        };
    }
}

/// Which sets the numbers between two edges are in. Each combination of sets is stored once.
struct Memberships {
    known: Vec<Membership>,
    numbers: BTreeMap<Vec<u32>, usize>,
}

/// A combination of sets that numbers are in.
#[derive(Default)]
struct Membership {
    /// The sets, in order.
    inside: Vec<u32>,
    /// The class of these numbers, once there is one.
    class: Option<u32>,
    /// The membership after an edge of a set, by set: there are few memberships, and a million edges.
    across: BTreeMap<u32, usize>,
}

impl Memberships {
    /// The first one, with the number 0, is outside of all sets.
    fn new() -> Self {
        Self { known: vec![Membership::default()], numbers: BTreeMap::from([(Vec::new(), 0)]) }
    }

    /// The membership after an edge of a set.
    fn across(&mut self, from: usize, set: u32) -> usize {
        if let Some(known) = self.known[from].across.get(&set) {
            return *known;
        }
        let mut inside = self.known[from].inside.clone();
        match inside.binary_search(&set) {
            Ok(index) => drop(inside.remove(index)),
            Err(index) => inside.insert(index, set),
        }
        let to = *self.numbers.entry(inside).or_insert_with_key(|inside| {
            self.known.push(Membership { inside: inside.clone(), ..Membership::default() });
            self.known.len() - 1
        });
        self.known[from].across.insert(set, to);
        to
    }
}
