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

/// An axis of numbers, cut into classes: two numbers are of one class where every set has both or neither.
#[derive(Debug)]
pub struct Classes<'a, T> {
    /// The classes of each set.
    members: BTreeMap<&'a [(T, T)], Runs>,
    /// Where each interval begins, and its class; it ends where the next begins.
    starts: Vec<(T, u32)>,
    /// A number of each class.
    representatives: Vec<T>,
}

impl<'a, T: Bits> Classes<'a, T> {
    /// Cuts an axis at the edges of sets. A class is represented by a number of `preferred` where it has one.
    pub fn new(sets: BTreeSet<&'a [(T, T)]>, preferred: &[T]) -> Self {
        let mut streams = edges(&sets);
        let mut starts: Vec<(T, u32)> = Vec::new();
        let mut representatives = Vec::new();
        let mut places = Places::new();
        let (mut place, mut at) = (0, Some(T::MIN));
        while let Some(start) = at {
            for stream in &mut streams {
                while let Some((_, set)) = stream.next.filter(|&(edge, _)| edge == start) {
                    place = places.across(place, set);
                    stream.go_on();
                }
            }
            let class = *places.known[place].class.get_or_insert_with(|| {
                representatives.push(start);
                representatives.len() as u32 - 1
            });
            if starts.last().is_none_or(|&(_, last)| last != class) {
                starts.push((start, class));
            }
            at = streams.iter().filter_map(|stream| stream.next.map(|(edge, _)| edge)).min();
        }
        let mut by_set: Vec<Vec<u32>> = vec![Vec::new(); sets.len()];
        for Place { inside, class, .. } in &places.known {
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

    /// The classes of a set, which is one of those that the axis was cut with.
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

/// Sets of so many ranges are walked through as they are: their edges need be neither kept nor sorted.
const LARGE: usize = 4096;
/// Most of them: at each edge all are asked whether the next is theirs.
const MOST_LARGE: usize = 8;

/// Where sets begin or end, in order, with their numbers, in several streams.
fn edges<'a, T: Bits>(sets: &BTreeSet<&'a [(T, T)]>) -> Vec<Edges<'a, T>> {
    let is_large = |set: &[(T, T)]| set.len() >= LARGE;
    let few_are_large = sets.iter().filter(|set| is_large(set)).count() <= MOST_LARGE;
    let mut streams = Vec::new();
    let mut others: Vec<(T, u32)> = Vec::new();
    for (id, set) in (0..).zip(sets) {
        let ends = Ends { ranges: set.iter(), end: None };
        match few_are_large && is_large(set) {
            true => streams.push(Edges::new(Source::Set(ends, id))),
            false => others.extend(ends.map(|edge| (edge, id))),
        }
    }
    others.sort_unstable();
    streams.push(Edges::new(Source::Sorted(others.into_iter())));
    streams
}

/// Edges with the numbers of their sets, in order.
struct Edges<'a, T> {
    next: Option<(T, u32)>,
    behind: Source<'a, T>,
}

enum Source<'a, T> {
    Set(Ends<'a, T>, u32),
    Sorted(std::vec::IntoIter<(T, u32)>),
}

/// The first value of each range, and the first one behind it. A range of a set never touches the next, so no two are
/// the same.
struct Ends<'a, T> {
    ranges: std::slice::Iter<'a, (T, T)>,
    end: Option<T>,
}

impl<T: Bits> Iterator for Ends<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.end.take().or_else(|| {
            let (low, high) = self.ranges.next()?;
            self.end = high.next();
            Some(*low)
        })
    }
}

impl<'a, T: Bits> Edges<'a, T> {
    fn new(behind: Source<'a, T>) -> Self {
        let mut this = Self { next: None, behind };
        this.go_on();
        this
    }

    fn go_on(&mut self) {
        self.next = match &mut self.behind {
            Source::Set(ends, id) => ends.next().map(|edge| (edge, *id)),
            Source::Sorted(edges) => edges.next(),
        };
    }
}

/// The places between edges: two are one where they are inside the same sets.
struct Places {
    known: Vec<Place>,
    numbers: BTreeMap<Vec<u32>, usize>,
}

#[derive(Default)]
struct Place {
    /// The sets that it is inside of, in order.
    inside: Vec<u32>,
    /// Its class, once some number is there.
    class: Option<u32>,
    /// The places across the edges of sets, by set: there are few places, and a million edges between them.
    across: BTreeMap<u32, usize>,
}

impl Places {
    /// The first place, with the number 0, is outside of all sets.
    fn new() -> Self {
        Self { known: vec![Place::default()], numbers: BTreeMap::from([(Vec::new(), 0)]) }
    }

    /// The place across an edge of a set.
    fn across(&mut self, from: usize, set: u32) -> usize {
        if let Some(place) = self.known[from].across.get(&set) {
            return *place;
        }
        let mut inside = self.known[from].inside.clone();
        match inside.binary_search(&set) {
            Ok(place) => drop(inside.remove(place)),
            Err(place) => inside.insert(place, set),
        }
        let to = *self.numbers.entry(inside).or_insert_with_key(|inside| {
            self.known.push(Place { inside: inside.clone(), ..Place::default() });
            self.known.len() - 1
        });
        self.known[from].across.insert(set, to);
        to
    }
}
