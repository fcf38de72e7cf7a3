//! Large sets that a table may hold, by the records. They are recognised by their number of elements and by samples.
//!
//! The kernel takes 12 s to list half a million intervals (Linux 6.18; the time grows with the square of their number),
//! and a microsecond to look up one address.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::host::netlink::{NetlinkError, NetlinkSocket, SetRef};
use crate::live::plain_name;
use crate::net::{Bits, PrefixSet, Ranges};
use crate::ruleset::{Ruleset, Set, SetKind};

/// The most ranges of a set whose ends are looked up, and the most ranges that differ from another set of its size.
const MAX_SAMPLES: usize = 128;

/// A set of up to so many elements is read where the kernel does not count them: 0.3 s.
const MAX_READ_UNCOUNTED: usize = 100_000;

/// The large sets of known rulesets.
#[derive(Debug, Default)]
pub struct Recalled(BTreeMap<String, Vec<Known>>);

/// A set, its number of elements, and the number that the kernel reports.
#[derive(Debug)]
struct Known {
    set: Set,
    elements: usize,
    counted: usize,
}

impl Recalled {
    /// Adds the large sets of a ruleset.
    pub fn add(&mut self, ruleset: &Ruleset) {
        for (name, set) in ruleset.sets.iter().filter(|(_, set)| set.is_large()) {
            let known = self.0.entry(name.clone()).or_default();
            if !known.iter().any(|known| known.set == *set) {
                let elements = match set.kind {
                    SetKind::Prefixes => set.elements.v4().blocks().count() + set.elements.v6().blocks().count(),
                    SetKind::Hosts => set.elements.addresses().count(),
                };
                // The kernel stores a start and an end of each interval, and reports half their number. An interval up to
                // the top has no end. (A set that nft filled has one more element, and is read.)
                let tops = [Ipv4Addr::BROADCAST.into(), IpAddr::from(Ipv6Addr::from_bits(u128::MAX))];
                let is_open = set.kind == SetKind::Prefixes && tops.iter().any(|top| set.elements.contains(*top));
                known.push(Known { set: set.clone(), elements, counted: elements - usize::from(is_open) });
            }
        }
    }

    /// Forgets the candidates for a live set.
    pub fn forget(&mut self, live: &str) {
        self.0.remove(plain_name(live));
    }

    /// The known set that a live set is; `None` if it is none of them.
    ///
    /// # Errors
    /// The set cannot be read.
    pub fn recognise(&self, kernel: &mut NetlinkSocket, live: SetRef<'_>) -> Result<Option<PrefixSet>, NetlinkError> {
        let Some(known) = self.0.get(plain_name(live.name)) else { return Ok(None) };
        let count = kernel.count(live)?;
        let is_likely = |known: &&Known| {
            (known.set.family, known.set.kind) == (live.family, live.kind)
                && count.map_or(known.elements > MAX_READ_UNCOUNTED, |count| known.counted == count as usize)
        };
        let likely: Vec<&PrefixSet> = known.iter().filter(is_likely).map(|known| &known.set.elements).collect();
        for one in &likely {
            // The differences from the other candidates are looked up: random samples would miss a single address.
            let differences = likely.iter().flat_map(|other| [one.changed_ranges(other), other.changed_ranges(one)]);
            let samples: Vec<IpAddr> =
                iter::once((*one).clone()).chain(differences).flat_map(|set| ends(&set)).collect();
            if kernel.agrees(live, samples.into_iter().map(|address| (address, one.contains(address))))? {
                return Ok(Some((*one).clone()));
            }
        }
        Ok(None)
    }
}

/// The first and last addresses of some of the ranges, and their neighbours. The first and the last range are always
/// among them.
fn ends(set: &PrefixSet) -> Vec<IpAddr> {
    let v4 = around(set.v4()).into_iter().map(|bits| Ipv4Addr::from_bits(bits).into());
    v4.chain(around(set.v6()).into_iter().map(|bits| Ipv6Addr::from_bits(bits).into())).collect()
}

fn around<T: Bits>(ranges: &Ranges<T>) -> Vec<T> {
    let ranges = ranges.as_slice();
    let chance = RandomState::new();
    let places: Vec<usize> = match ranges.len() <= MAX_SAMPLES {
        true => (0..ranges.len()).collect(),
        // Both ends, where changes are likely, and random ones. The remainder is less than the length of a slice.
        false => [0, ranges.len() - 1]
            .into_iter()
            .chain((2..MAX_SAMPLES).map(|sample| (chance.hash_one(sample) % ranges.len() as u64) as usize))
            .collect(),
    };
    let ends = places.into_iter().filter_map(|place| ranges.get(place));
    ends.flat_map(|(low, high)| [low.previous(), Some(*low), Some(*high), high.next()]).flatten().collect()
}
