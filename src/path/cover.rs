//! The fewest extra addresses with which a list of prefixes fits into a table of a given size.
//!
//! Exact: dynamic programming over the tree of prefixes. A prefix of the result is either one that was given, or the
//! smallest that holds two neighbours; any other could be replaced by one of these with fewer extra addresses. With `n`
//! prefixes and a budget of `k` it takes at most `n · k` steps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::net::{Family, Prefix, PrefixSet};

/// Prefixes of one family, left-aligned in 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    bits: u128,
    length: u8,
}

/// The number of addresses beyond those that are needed; `None` where no choice is permitted.
type Cost = Option<u128>;

enum Tree {
    Leaf(Block),
    Fork {
        own: Block,
        /// The lowest cost with at most `k + 1` prefixes.
        costs: Vec<Cost>,
        /// How many of them are in the first half; 0 for the prefix of the fork itself.
        first: Vec<usize>,
        halves: Box<[Tree; 2]>,
    },
}

const FREE: &[Cost] = &[Some(0)];

impl Tree {
    /// The costs with 1, 2, … prefixes. More than the list has do not help.
    fn costs(&self) -> &[Cost] {
        match self {
            Tree::Leaf(_) => FREE,
            Tree::Fork { costs, .. } => costs,
        }
    }

    /// The cost with at most `count` prefixes, at least one.
    fn cost(&self, count: usize) -> Cost {
        let costs = self.costs();
        count.min(costs.len()).checked_sub(1).and_then(|at| costs[at])
    }

    fn choose(&self, count: usize, chosen: &mut Vec<Block>) {
        match self {
            Tree::Leaf(block) => chosen.push(*block),
            Tree::Fork { own, first, halves, .. } => {
                let count = count.min(first.len());
                match first[count - 1] {
                    0 => chosen.push(*own),
                    part => {
                        halves[0].choose(part, chosen);
                        halves[1].choose(count - part, chosen);
                    }
                }
            }
        }
    }
}

/// The tree of some blocks, which are in order and disjoint; at least one.
struct Grower<'a> {
    width: u8,
    budget: usize,
    is_forbidden: &'a dyn Fn(Block) -> bool,
}

impl Grower<'_> {
    fn grow(&self, blocks: &[Block]) -> Tree {
        let [first, .., last] = blocks else { return Tree::Leaf(blocks[0]) };
        let length = ((first.bits ^ last.bits).leading_zeros() as u8).min(self.width);
        let own = Block { bits: first.bits & mask(length), length };
        let bit = 1u128 << (127 - length);
        let middle = blocks.partition_point(|block| block.bits & bit == 0);
        let halves = Box::new([self.grow(&blocks[..middle]), self.grow(&blocks[middle..])]);
        let most = blocks.len().min(self.budget);
        let needed = blocks.iter().fold(0u128, |sum, block| sum.saturating_add(self.size(*block)));
        let widened = (!(self.is_forbidden)(own)).then(|| self.size(own) - needed);
        let (mut costs, mut firsts) = (vec![widened], vec![0]);
        let [left, right] = &*halves;
        for count in 2..=most {
            let (mut best, mut part) = (costs[count - 2], firsts[count - 2]);
            // More than each half has do not help, so only the meaningful splits are looked at.
            let low = count.saturating_sub(right.costs().len()).max(1);
            for one in low..=left.costs().len().min(count - 1) {
                if let (Some(a), Some(b)) = (left.cost(one), right.cost(count - one))
                    && best.is_none_or(|best| a.saturating_add(b) < best)
                {
                    (best, part) = (Some(a.saturating_add(b)), one);
                }
            }
            costs.push(best);
            firsts.push(part);
        }
        Tree::Fork { own, costs, first: firsts, halves }
    }

    fn size(&self, block: Block) -> u128 {
        1u128.checked_shl(u32::from(self.width - block.length)).unwrap_or(u128::MAX)
    }
}

fn mask(length: u8) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - u32::from(length)) }
}

fn block(prefix: Prefix) -> Block {
    let net = prefix.net();
    let bits = match net.network() {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    Block { bits, length: net.prefix_len() }
}

fn prefix(family: Family, block: Block) -> Option<Prefix> {
    let address = match family {
        Family::V4 => Ipv4Addr::from_bits((block.bits >> 96) as u32).into(),
        Family::V6 => IpAddr::from(Ipv6Addr::from_bits(block.bits)),
    };
    let net = IpNet::new(address, block.length).ok()?;
    Some(match net {
        IpNet::V4(net) => net.into(),
        IpNet::V6(net) => net.into(),
    })
}

/// The prefixes of a set with as few extra addresses as possible, at most `most` of them, none of which overlaps a
/// forbidden address that the set does not have itself. `None` if that many are not enough.
pub fn cover(set: &PrefixSet, most: usize, forbidden: &PrefixSet) -> Option<Vec<Prefix>> {
    let forbidden = forbidden.difference(set);
    let trees = Family::BOTH.map(|family| {
        let blocks: Vec<Block> = set.only(family).prefixes().map(block).collect();
        let forbidden = forbidden.only(family);
        let width = if family == Family::V4 { 32 } else { 128 };
        let is_forbidden = |block: Block| {
            prefix(family, block).is_some_and(|prefix| PrefixSet::from_iter([prefix]).overlaps(&forbidden))
        };
        let grower = Grower { width, budget: most, is_forbidden: &is_forbidden };
        (!blocks.is_empty()).then(|| grower.grow(&blocks))
    });
    let mut chosen = Vec::new();
    match trees {
        [None, None] => {}
        [Some(tree), None] => take(Family::V4, &tree, most, &mut chosen)?,
        [None, Some(tree)] => take(Family::V6, &tree, most, &mut chosen)?,
        [Some(v4), Some(v6)] => {
            let cost = |part: &usize| Some(v4.cost(*part)?.saturating_add(v6.cost(most - part)?));
            let (_, part) = (1..most).filter_map(|part| Some((cost(&part)?, part))).min()?;
            take(Family::V4, &v4, part, &mut chosen)?;
            take(Family::V6, &v6, most - part, &mut chosen)?;
        }
    }
    Some(chosen)
}

fn take(family: Family, tree: &Tree, most: usize, chosen: &mut Vec<Prefix>) -> Option<()> {
    tree.cost(most)?;
    let mut blocks = Vec::new();
    tree.choose(most, &mut blocks);
    chosen.extend(blocks.into_iter().filter_map(|block| prefix(family, block)));
    Some(())
}

/// The shortest prefix of at least `length` bits that holds an address and nothing forbidden.
pub fn widened(address: IpAddr, length: u8, forbidden: &PrefixSet) -> Prefix {
    let own = Prefix::from(address);
    let lengths = length..own.net().prefix_len();
    let wide = lengths.filter_map(|length| {
        let Block { bits, .. } = block(own);
        prefix(Family::of(address), Block { bits: bits & mask(length), length })
    });
    let permitted = |prefix: &Prefix| !PrefixSet::from_iter([*prefix]).overlaps(forbidden);
    wide.into_iter().find(permitted).unwrap_or(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All sets of at most `most` prefixes inside 10.0.0.0/28, by brute force: the lowest number of extra addresses.
    fn brute(needed: u32, forbidden: u32, most: usize) -> Option<u32> {
        let blocks: Vec<u32> = (0..=4u32)
            .flat_map(|bits| (0..16u32 >> bits).map(move |at| ((1u32 << (1 << bits)) - 1) << (at << bits)))
            .collect();
        fn search(blocks: &[u32], left: u32, taken: u32, forbidden: u32, most: usize) -> Option<u32> {
            if left == 0 {
                return Some(taken.count_ones());
            }
            if most == 0 {
                return None;
            }
            let lowest = left & left.wrapping_neg();
            let holding = blocks.iter().filter(|block| *block & lowest != 0 && *block & forbidden == 0);
            holding.filter_map(|block| search(blocks, left & !block, taken | block, forbidden, most - 1)).min()
        }
        search(&blocks, needed, 0, forbidden & !needed, most).map(|all| all - needed.count_ones())
    }

    fn set(mask: u32) -> PrefixSet {
        let address = |bit: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + bit));
        (0..16).filter(|bit| mask >> bit & 1 == 1).map(address).collect()
    }

    #[test]
    fn no_choice_has_fewer_extra_addresses() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as u32 & 0xffff
        };
        let (mut solved, mut impossible) = (0, 0);
        for _ in 0..1_500 {
            let (needed, forbidden) = (next() & next() | 1, next() & next() & next());
            for most in 1..6 {
                let found = cover(&set(needed), most, &set(forbidden));
                let expected = brute(needed, forbidden, most);
                let extra = found.as_ref().map(|prefixes| {
                    assert!(prefixes.len() <= most);
                    let all: PrefixSet = prefixes.iter().copied().collect();
                    assert!(set(needed).is_subset(&all) && !all.overlaps(&set(forbidden & !needed)));
                    all.difference(&set(needed)).addresses().count() as u32
                });
                assert_eq!(extra, expected, "{needed:016b} {forbidden:016b} {most}");
                if extra.is_some() { solved += 1 } else { impossible += 1 }
            }
        }
        assert!(solved > 1_000 && impossible > 100, "{solved} {impossible}");
    }

    #[test]
    fn both_families_share_the_budget() {
        let set: PrefixSet = "10.0.0.0/32, 10.0.0.3/32, 10.0.0.8/32, 2001:db8::/64, 2001:db8:0:2::/64".parse().unwrap();
        let shown = |most| {
            let all = cover(&set, most, &PrefixSet::default())?;
            Some(all.iter().map(|prefix| prefix.net().to_string()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(shown(1), None);
        assert_eq!(shown(3).unwrap(), "10.0.0.0/28 2001:db8::/64 2001:db8:0:2::/64");
        assert_eq!(shown(4).unwrap(), "10.0.0.0/30 10.0.0.8/32 2001:db8::/64 2001:db8:0:2::/64");
        assert_eq!(shown(9).unwrap().split(' ').count(), 5);
    }

    #[test]
    fn a_widened_address_stops_short_of_what_is_forbidden() {
        let address: IpAddr = "100.103.0.10".parse().unwrap();
        assert_eq!(widened(address, 24, &PrefixSet::default()).net().to_string(), "100.103.0.0/24");
        let forbidden: PrefixSet = "100.103.0.128/25".parse().unwrap();
        assert_eq!(widened(address, 24, &forbidden).net().to_string(), "100.103.0.0/25");
        let forbidden: PrefixSet = "100.103.0.11/32".parse().unwrap();
        assert_eq!(widened(address, 24, &forbidden).net().to_string(), "100.103.0.10/32");
    }
}
