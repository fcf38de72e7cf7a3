//! Sets of integers as sorted, disjoint ranges: what sets of prefixes, ports and ICMP types are made of.

use std::fmt;
use std::sync::Arc;

/// An unsigned integer.
pub trait Bits: Copy + Ord + fmt::Debug {
    /// The smallest value.
    const MIN: Self;
    /// The largest value.
    const MAX: Self;
    /// The next value, unless this is the largest.
    fn next(self) -> Option<Self>;
    /// The value before, unless this is the smallest.
    fn previous(self) -> Option<Self>;
    /// The largest block that begins here and ends at `high` at the latest: the exponent of its size. The size of a block
    /// is a power of two, and it begins at a multiple of its size.
    fn block(self, high: Self) -> u32;
    /// The first value after a block that begins here, unless the block has the largest value.
    fn after(self, block: u32) -> Option<Self>;
}

macro_rules! bits {
    ($($type:ty),+) => {
        $(impl Bits for $type {
            const MIN: Self = <$type>::MIN;
            const MAX: Self = <$type>::MAX;
            fn next(self) -> Option<Self> { self.checked_add(1) }
            fn previous(self) -> Option<Self> { self.checked_sub(1) }
            fn block(self, high: Self) -> u32 {
                (high - self).checked_add(1).map_or(Self::BITS, Self::ilog2).min(self.trailing_zeros())
            }
            fn after(self, block: u32) -> Option<Self> {
                self.checked_add((1 as Self).checked_shl(block)?)
            }
        })+
    };
}

bits!(u8, u16, u32, u128);

/// A set of integers: inclusive ranges, sorted, disjoint, and with a gap between any two.
///
/// Equal sets have equal representations, so `==` is set equality. Cloning, and comparing with a clone, costs nothing:
/// sets of half a million ranges are passed around and never changed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges<T>(Arc<Vec<(T, T)>>);

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

impl<T> Ranges<T> {
    /// Ranges that are sorted and disjoint, with gaps between them.
    fn of(ranges: Vec<(T, T)>) -> Self {
        Self(Arc::new(ranges))
    }
}

impl<T: Bits> fmt::Debug for Ranges<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(low, high)| low..=high)).finish()
    }
}

/// Whether a value is in one of some inclusive ranges, in order and disjoint; logarithmic.
pub fn within<T: Bits>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|&(low, _)| low <= value);
    after > 0 && value <= ranges[after - 1].1
}

impl<T: Bits + fmt::Display> Ranges<T> {
    /// The ranges as people write them: `443`, `5000-5010`.
    pub fn words(&self) -> Vec<String> {
        self.iter().map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") }).collect()
    }
}

impl<T: Bits> FromIterator<(T, T)> for Ranges<T> {
    /// Collects inclusive ranges in any order, overlapping or not. The ends of each must be in order.
    fn from_iter<I: IntoIterator<Item = (T, T)>>(ranges: I) -> Self {
        let mut ranges: Vec<(T, T)> = ranges.into_iter().collect();
        merge(&mut ranges);
        ranges.shrink_to_fit();
        Self::of(ranges)
    }
}

/// Sorts inclusive ranges, and merges those that overlap or touch.
pub(super) fn merge<T: Bits>(ranges: &mut Vec<(T, T)>) {
    // Lists of registries and vendors are mostly sorted, and checking that costs one pass.
    if !ranges.is_sorted() {
        ranges.sort_unstable();
    }
    ranges.dedup_by(|(low, high), (_, last)| {
        let touches = last.next().is_none_or(|next| *low <= next);
        if touches {
            *last = (*last).max(*high);
        }
        touches
    });
}

impl<T: Bits> Ranges<T> {
    /// Every value.
    pub fn all() -> Self {
        Self::of(vec![(T::MIN, T::MAX)])
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The inclusive ranges, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (T, T)> + '_ {
        self.0.iter().copied()
    }

    /// The inclusive ranges, in order.
    pub fn as_slice(&self) -> &[(T, T)] {
        &self.0
    }

    /// Whether the value is in the set; logarithmic.
    pub fn contains(&self, value: T) -> bool {
        within(&self.0, value)
    }

    /// All values that are in either set.
    pub fn union(&self, other: &Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (_, true) => self.clone(),
            (true, false) => other.clone(),
            (false, false) => self.iter().chain(other.iter()).collect(),
        }
    }

    /// All values that are in both sets; linear at most, and logarithmic in a set of which little is needed.
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.as_slice(), other.as_slice());
        let mut common = Vec::new();
        while let (Some(&(low, high)), Some(&(other_low, other_high))) = (left.first(), right.first()) {
            if high < other_low {
                left = not_before(left, other_low);
            } else if other_high < low {
                right = not_before(right, low);
            } else {
                common.push((low.max(other_low), high.min(other_high)));
                if high < other_high { left = &left[1..] } else { right = &right[1..] }
            }
        }
        Self::of(common)
    }

    /// All values that are not in the set; linear.
    pub fn complement(&self) -> Self {
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        let mut from = Some(T::MIN);
        for (low, high) in self.iter() {
            if let (Some(start), Some(end)) = (from, low.previous())
                && start <= end
            {
                gaps.push((start, end));
            }
            from = high.next();
        }
        gaps.extend(from.map(|start| (start, T::MAX)));
        Self::of(gaps)
    }

    /// All values of this set that are not in the other; linear in this set, and logarithmic in what of the other is far
    /// from it.
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = other.as_slice();
        let mut left = Vec::new();
        for (low, high) in self.iter() {
            let mut from = Some(low);
            rest = not_before(rest, low);
            while let (Some(start), Some(&(other_low, other_high))) = (from, rest.first()) {
                if other_low > high {
                    break;
                }
                left.extend(other_low.previous().filter(|end| start <= *end).map(|end| (start, end)));
                from = other_high.next().filter(|next| *next <= high);
                // One that ends later may take from the next range, too.
                if other_high < high {
                    rest = &rest[1..];
                }
            }
            left.extend(from.map(|start| (start, high)));
        }
        Self::of(left)
    }

    /// The ranges of this set that the other does not have with exactly these ends; linear.
    pub fn changed_ranges(&self, other: &Self) -> Self {
        /// Large sets that differ in few ranges are compared in steps of so many.
        const STEP: usize = 256;
        let (mut mine, mut theirs) = (self.as_slice(), other.as_slice());
        if std::ptr::eq(mine, theirs) {
            return Self::default();
        }
        let mut changed = Vec::new();
        while let Some((range, rest)) = mine.split_first() {
            match (mine.get(..STEP), theirs.get(..STEP)) {
                (Some(one), Some(other)) if one == other => {
                    (mine, theirs) = (&mine[STEP..], &theirs[STEP..]);
                    continue;
                }
                _ => {}
            }
            let skipped = theirs.iter().take_while(|other| *other < range).count();
            theirs = &theirs[skipped..];
            mine = rest;
            match theirs.split_first() {
                Some((other, rest)) if other == range => theirs = rest,
                _ => changed.push(*range),
            }
        }
        Self::of(changed)
    }

    /// The fewest blocks that make up the set, in order: the first value of each, and the exponent of its size.
    pub fn blocks(&self) -> impl Iterator<Item = (T, u32)> + '_ {
        let (mut ranges, mut rest) = (self.0.iter(), None);
        std::iter::from_fn(move || {
            let (low, high) = rest.take().or_else(|| ranges.next().copied())?;
            let block = low.block(high);
            rest = low.after(block).filter(|next| *next <= high).map(|next| (next, high));
            Some((low, block))
        })
    }

    /// Whether both sets share a value; logarithmic in the larger set.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (few, many) = if self.0.len() < other.0.len() { (self, other) } else { (other, self) };
        let mut rest = many.as_slice();
        few.iter().any(|(low, high)| {
            rest = not_before(rest, low);
            rest.first().is_some_and(|(start, _)| *start <= high)
        })
    }

    /// Whether all values of this set are in the other; logarithmic in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        let mut rest = other.as_slice();
        self.iter().all(|(low, high)| {
            rest = not_before(rest, low);
            rest.first().is_some_and(|(start, end)| *start <= low && high <= *end)
        })
    }
}

/// The ranges that do not end before a value. The costs are the logarithm of how many do.
fn not_before<T: Bits>(ranges: &[(T, T)], value: T) -> &[(T, T)] {
    let ends_before = |range: &(T, T)| range.1 < value;
    let mut step = 1;
    while ranges.get(step - 1).is_some_and(ends_before) {
        step *= 2;
    }
    let rest = &ranges[step / 2..];
    &rest[rest[..rest.len().min(step)].partition_point(ends_before)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Subsets of three bits' worth of `u8`, at both ends of its space.
    fn samples() -> Vec<(Ranges<u8>, Vec<u8>)> {
        let values = [0, 1, 2, 3, 252, 253, 254, 255];
        (0..256usize)
            .map(|mask| {
                let chosen: Vec<u8> = (0..8).filter(|bit| mask >> bit & 1 == 1).map(|bit| values[bit]).collect();
                (chosen.iter().rev().map(|&value| (value, value)).collect(), chosen)
            })
            .collect()
    }

    fn members(set: &Ranges<u8>) -> Vec<u8> {
        (0..=255).filter(|&value| set.contains(value)).collect()
    }

    #[test]
    fn algebra_agrees_with_brute_force_at_both_ends() {
        let samples = samples();
        for (left, left_values) in &samples {
            assert_eq!(&members(left), left_values);
            assert_eq!(left.complement().complement(), *left);
            for (right, right_values) in &samples {
                let keep = |test: &dyn Fn(&u8) -> bool| (0..=255).filter(test).collect::<Vec<u8>>();
                let (l, r) = (|v: &u8| left_values.contains(v), |v: &u8| right_values.contains(v));
                assert_eq!(members(&left.union(right)), keep(&|v| l(v) || r(v)));
                assert_eq!(members(&left.intersection(right)), keep(&|v| l(v) && r(v)));
                assert_eq!(members(&left.difference(right)), keep(&|v| l(v) && !r(v)));
                let changed = left.iter().filter(|range| !right.iter().any(|other| other == *range));
                assert_eq!(left.changed_ranges(right), changed.collect());
                assert_eq!(left.is_subset(right), left_values.iter().all(r));
                assert_eq!(left.overlaps(right), left_values.iter().any(r));
            }
        }
    }

    #[test]
    fn large_sets_differ_where_they_differ() {
        let many = |without: &[u16]| -> Ranges<u16> {
            (0..3000u16)
                .filter(|value| !without.contains(value))
                .map(|value| (value * 20, value * 20 + value % 9))
                .collect()
        };
        let all = many(&[]);
        for missing in [&[][..], &[0], &[2999], &[255], &[256], &[257, 258, 1500], &[0, 1, 2, 511, 512, 2560]] {
            let less = many(missing);
            let expected: Vec<u16> = missing.iter().map(|value| value * 20).collect();
            let changed = all.changed_ranges(&less);
            assert_eq!(changed.iter().map(|(low, _)| low).collect::<Vec<_>>(), expected);
            assert_eq!(less.changed_ranges(&all), Ranges::default());
        }
    }

    #[test]
    fn blocks_are_the_subnets_that_another_library_finds() {
        let ends = [0, 1, 2, 3, 4, 7, 8, 9, 255, 256, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX];
        for (index, low) in ends.into_iter().enumerate() {
            for high in ends[index..].iter().copied() {
                let set: Ranges<u32> = [(low, high)].into_iter().collect();
                let found: Vec<(u32, u32)> = set.blocks().collect();
                let subnets = ipnet::Ipv4Subnets::new(low.into(), high.into(), 0);
                let expected = subnets.map(|net| (net.network().to_bits(), 32 - u32::from(net.prefix_len())));
                assert_eq!(found, expected.collect::<Vec<_>>(), "{low}-{high}");
                let v6: Ranges<u128> =
                    [(u128::from(low) << 96, (u128::from(high) << 96) + (u128::MAX >> 32))].into_iter().collect();
                let shifted: Vec<(u128, u32)> =
                    found.iter().map(|(low, block)| (u128::from(*low) << 96, block + 96)).collect();
                assert_eq!(v6.blocks().collect::<Vec<_>>(), shifted);
            }
        }
    }

    #[test]
    fn ranges_are_minimal() {
        let set: Ranges<u8> = [(5, 9), (0, 3), (4, 4), (200, 255), (100, 255)].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [(0, 9), (100, 255)]);
        assert_eq!(Ranges::<u8>::all().complement(), Ranges::default());
    }
}
