//! An axis of numbers, cut at the edges of sets.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::net::{Bits, Ranges, within};

/// Inclusive runs of classes, in order and disjoint.
pub type Runs = Vec<(u32, u32)>;

/// Sorted, distinct numbers as runs.
pub fn runs(mut classes: Vec<u32>) -> Runs {
    classes.sort_unstable();
    classes.into_iter().map(|class| (class, class)).collect::<Ranges<u32>>().as_slice().to_vec()
}

/// An axis of numbers, cut into classes. Two numbers of one class are in the same sets.
#[derive(Debug)]
pub struct Classes<'a, T> {
    /// The classes of each set.
    members: BTreeMap<&'a [(T, T)], Runs>,
    /// The first number of each interval, and its class. An interval ends before the next.
    starts: Vec<(T, u32)>,
    /// A number of each class.
    representatives: Vec<T>,
    /// In how many sets the classes are, in all.
    memberships: usize,
    /// The intervals by class, if they have been needed.
    by_class: OnceCell<Vec<u32>>,
}

impl<'a, T: Bits> Classes<'a, T> {
    /// Cuts an axis at the edges of sets. A class is represented by a number of `preferred`, if it has one.
    pub fn new(sets: BTreeSet<&'a [(T, T)]>, preferred: &[T]) -> Self {
        let mut this = Self::by_membership(&sets).unwrap_or_else(|| Self::by_interval(&sets));
        for &value in preferred.iter().rev() {
            let class = this.class(value);
            this.representatives[class as usize] = value;
        }
        this
    }

    /// The fewest classes: numbers of the same sets are of one class, wherever they are. `None` if there are too many
    /// combinations of sets.
    fn by_membership(sets: &BTreeSet<&'a [(T, T)]>) -> Option<Self> {
        let mut streams = edges(sets);
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
            if memberships.size > MAX_MEMBERSHIPS {
                return None;
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
        let mut of_classes = 0;
        for Membership { inside, class, .. } in &memberships.known {
            of_classes += class.map_or(0, |_| inside.len());
            let classes = class.iter().flat_map(|class| inside.iter().map(|set| (*set, *class)));
            classes.for_each(|(set, class)| by_set[set as usize].push(class));
        }
        let members = sets.iter().copied().zip(by_set.into_iter().map(runs)).collect();
        Some(Self { members, starts, representatives, memberships: of_classes, by_class: OnceCell::new() })
    }

    /// A class for each interval between two edges: more classes than needed, but no list of the sets that each is in.
    fn by_interval(sets: &BTreeSet<&'a [(T, T)]>) -> Self {
        let mut edges: Vec<T> = sets
            .iter()
            .flat_map(|set| set.iter())
            .flat_map(|(low, high)| [Some(*low), high.next()].into_iter().flatten())
            .chain([T::MIN])
            .collect();
        edges.sort_unstable();
        edges.dedup();
        let at = |value: T| edges.partition_point(|edge| *edge < value) as u32;
        let after = |high: T| high.next().map_or(edges.len() as u32, at);
        let run = |&(low, high): &(T, T)| (at(low), after(high) - 1);
        let members: BTreeMap<&'a [(T, T)], Runs> =
            sets.iter().map(|set| (*set, set.iter().map(run).collect())).collect();
        let inside = members.values().flatten().map(|(low, high)| (high - low) as usize + 1).sum();
        let starts = edges.iter().copied().zip(0..).collect();
        Self { members, starts, representatives: edges, memberships: inside, by_class: OnceCell::new() }
    }

    /// In how many sets the classes are, in all. A diagram that looks at this axis first and then at the sets' other
    /// axes has about so many nodes.
    pub fn memberships(&self) -> usize {
        self.memberships
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
        if self.count() <= MAX_SCANNED {
            let of_them = (0..self.starts.len()).filter(|&interval| within(classes, self.starts[interval].1));
            return of_them.filter_map(|interval| self.interval(interval)).collect();
        }
        // Of many classes few are asked for at a time, or all but few, and often: the others are not looked at.
        let asked: u32 = classes.iter().map(|(low, high)| high - low + 1).sum();
        if asked as usize > self.count() / 2 {
            return self.values(&self.others(classes)).complement();
        }
        let by_class = self.by_class.get_or_init(|| {
            let mut intervals: Vec<u32> = (0..self.starts.len() as u32).collect();
            intervals.sort_by_key(|&interval| self.starts[interval as usize].1);
            intervals
        });
        let class = |interval: &u32| self.starts[*interval as usize].1;
        let of_them = classes.iter().flat_map(|&(low, high)| {
            let from = by_class.partition_point(|interval| class(interval) < low);
            by_class[from..].iter().take_while(move |interval| class(interval) <= high)
        });
        of_them.filter_map(|&interval| self.interval(interval as usize)).collect()
    }

    /// All classes but some.
    fn others(&self, classes: &Runs) -> Runs {
        let last = self.count() as u32 - 1;
        let starts = [0].into_iter().chain(classes.iter().map(|&(_, high)| high + 1));
        let ends = classes.iter().map(|&(low, _)| low.checked_sub(1)).chain([Some(last)]);
        starts.zip(ends).filter_map(|(low, high)| Some((low, high?))).filter(|(low, high)| low <= high).collect()
    }

    /// The first and last number of an interval.
    fn interval(&self, number: usize) -> Option<(T, T)> {
        let end = match self.starts.get(number + 1) {
            Some((next, _)) => next.previous()?,
            None => T::MAX,
        };
        Some((self.starts[number].0, end))
    }
}

/// The most members of all combinations of sets: some megabytes.
const MAX_MEMBERSHIPS: usize = 1_000_000;

/// Of up to so many classes, all intervals are looked at for the numbers of some.
const MAX_SCANNED: usize = 256;

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
    /// The members of all of them together.
    size: usize,
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
        Self { known: vec![Membership::default()], numbers: BTreeMap::from([(Vec::new(), 0)]), size: 0 }
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
            self.size += inside.len();
            self.known.push(Membership { inside: inside.clone(), ..Membership::default() });
            self.known.len() - 1
        });
        self.known[from].across.insert(set, to);
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways to cut an axis agree on what each set is, and on what is alike.
    #[test]
    fn intervals_are_finer_than_memberships() {
        let sets: Vec<Vec<(u16, u16)>> = vec![
            vec![(0, u16::MAX)],
            vec![(0, 9), (20, 29), (65_530, u16::MAX)],
            vec![(5, 24)],
            (0..600).map(|number| (100 * number, 100 * number + 7)).collect(),
            Vec::new(),
        ];
        let keys: BTreeSet<&[(u16, u16)]> = sets.iter().map(Vec::as_slice).collect();
        let few = Classes::by_membership(&keys).unwrap();
        let fine = Classes::by_interval(&keys);
        assert!(few.count() <= MAX_SCANNED && fine.count() > MAX_SCANNED, "{} and {}", few.count(), fine.count());
        for set in &sets {
            for classes in [&few, &fine] {
                let runs = classes.members(set);
                assert_eq!(classes.values(runs).as_slice(), set);
                assert_eq!(classes.values(&classes.others(runs)).complement().as_slice(), set);
            }
        }
        for value in 0..=u16::MAX {
            for (number, classes) in [&few, &fine].into_iter().enumerate() {
                let class = classes.class(value);
                let found = keys.iter().filter(|set| within(classes.members(set), class)).count();
                let meant = keys.iter().filter(|set| within(set, value)).count();
                assert_eq!(found, meant, "{number}: {value}");
            }
        }
    }

    #[test]
    fn many_combinations_become_intervals() {
        let sets: Vec<Vec<(u32, u32)>> = (0..2_500).map(|number| vec![(number, number + 2_500)]).collect();
        let keys: BTreeSet<&[(u32, u32)]> = sets.iter().map(Vec::as_slice).collect();
        assert!(Classes::by_membership(&keys).is_none());
        let classes = Classes::new(keys, &[4_000]);
        assert_eq!(classes.values(classes.members(&sets[7])).as_slice(), &sets[7]);
        assert_eq!(classes.representative(classes.class(4_000) as usize), 4_000);
    }
}
