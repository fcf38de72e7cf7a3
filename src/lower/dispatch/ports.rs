//! From the ports of permits to a map of ports, and a chain for each of its keys.

use std::collections::{BTreeMap, BTreeSet};

use super::Permit;
use crate::net::{PacketEnd, PortSet, Transport};
use crate::ruleset::{Action, Chain, Match, Rule};

/// The most rules for each range of a permit, if no rule matches a port.
const MAX_RULES: usize = 8;

/// Ports from the first to the last, and the permits that have some of them, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    low: u16,
    high: u16,
    permits: BTreeSet<usize>,
}

/// The rule that sends packets to a chain by port. Ports with the same permits share a chain.
pub(super) fn by_port(
    stem: &str,
    transport: Transport,
    end: PacketEnd,
    permits: &[(&Permit, PortSet)],
    chains: &mut Vec<Chain>,
) -> Option<Rule> {
    let ports: Vec<&PortSet> = permits.iter().map(|(_, ports)| ports).collect();
    let mut shared: BTreeMap<BTreeSet<usize>, String> = BTreeMap::new();
    let mut targets = Vec::new();
    for Block { low, high, permits: here } in few_rules(&ports).unwrap_or_else(|| blocks(&ports)) {
        let whole = PortSet::from_iter([(low, high)]);
        let lacking = |&number: &usize| Some(whole.intersection(ports[number])).filter(|own| *own != whole);
        let is_shared = here.iter().all(|number| lacking(number).is_none());
        if let Some(name) = shared.get(&here).filter(|_| is_shared) {
            targets.push(((low, high), name.clone()));
            continue;
        }
        let name = if low == high { format!("{stem}{low}") } else { format!("{stem}{low}-{high}") };
        let rules = here.iter().map(|number| {
            let permit = permits[*number].0;
            let rule = permit.rule(permit.transport_matches(transport));
            // A port is compared faster than an address is looked up.
            let port = lacking(number).map(|own| Match::Port(transport, end, own));
            Rule { matches: port.into_iter().chain(rule.matches).collect(), ..rule }
        });
        chains.push(Chain { name: name.clone(), base: None, rules: rules.collect() });
        targets.push(((low, high), name.clone()));
        if is_shared {
            shared.insert(here, name);
        }
    }
    let action = Action::ByPort { protocol: transport, end, chains: targets };
    (!ports.is_empty()).then(|| Rule::new([], action))
}

/// The ports of permits, cut at the ends of all ranges. `None` if their chains would have too many rules: where many
/// ranges overlap, the rules grow with the square of the permits.
fn few_rules(ports: &[&PortSet]) -> Option<Vec<Block>> {
    let most = MAX_RULES * ports.iter().map(|ports| ports.as_slice().len()).sum::<usize>();
    let (mut pieces, mut distinct, mut rules) = (Vec::new(), BTreeSet::new(), 0);
    let mut cut = Cut::new(ports);
    while let Some((low, high)) = cut.advance() {
        if cut.here.is_empty() {
            continue;
        }
        pieces.push(Block { low, high, permits: cut.here.clone() });
        if !distinct.contains(&cut.here) {
            rules += cut.here.len();
            if rules > most {
                return None;
            }
            distinct.insert(cut.here.clone());
        }
    }
    Some(pieces)
}

/// The ports of permits, in blocks of pieces that are next to each other.
///
/// A block has at most twice as many permits as its first piece. So at least half of the permits of a block that is full
/// begin in it: the rules grow with the number of ranges. And a packet meets at most twice as many rules as with a chain
/// for the first piece.
fn blocks(ports: &[&PortSet]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // The most permits that the last block may have, while it is open.
    let mut most = None;
    let mut cut = Cut::new(ports);
    while let Some((low, high)) = cut.advance() {
        match (blocks.last_mut(), most) {
            _ if cut.here.is_empty() => most = None,
            (Some(block), Some(most)) if block.permits.len() + cut.begun.difference(&block.permits).count() <= most => {
                block.high = high;
                block.permits.extend(&cut.begun);
            }
            _ => {
                most = Some(2 * cut.here.len());
                blocks.push(Block { low, high, permits: cut.here.clone() });
            }
        }
    }
    blocks
}

/// A walk along the ports, from one end of a range to the next.
struct Cut {
    /// The ends of ranges that are ahead, the nearest last: the first port after the end, whether a range begins there,
    /// and the permit.
    ends: Vec<(u32, bool, usize)>,
    /// The permits that have the ports up to the next end.
    here: BTreeSet<usize>,
    /// Those of them that did not have the port before.
    begun: BTreeSet<usize>,
}

impl Cut {
    fn new(ports: &[&PortSet]) -> Self {
        let of_permit = |(permit, ports): (usize, &&PortSet)| {
            let ends = ports
                .as_slice()
                .iter()
                .map(move |&(low, high)| [(u32::from(low), true, permit), (u32::from(high) + 1, false, permit)]);
            ends.flatten().collect::<Vec<_>>()
        };
        let mut ends: Vec<(u32, bool, usize)> = ports.iter().enumerate().flat_map(of_permit).collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        Self { ends, here: BTreeSet::new(), begun: BTreeSet::new() }
    }

    /// Goes on to the next ports that are alike, the first and the last of them; `None` after the last end.
    fn advance(&mut self) -> Option<(u16, u16)> {
        self.begun.clear();
        let (low, ..) = *self.ends.last()?;
        while let Some((_, begins, permit)) = self.ends.pop_if(|(at, ..)| *at == low) {
            match begins {
                true => drop((self.here.insert(permit), self.begun.insert(permit))),
                false => drop(self.here.remove(&permit)),
            }
        }
        let (next, ..) = *self.ends.last()?;
        Some((u16::try_from(low).ok()?, u16::try_from(next - 1).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets of ports: `ranges` for each, drawn by a generator that repeats.
    fn sets(count: usize, ranges: usize, width: u64, seed: u64) -> Vec<PortSet> {
        let mut state = seed;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut range = || {
            let low = next(65_536) as u16;
            (low, low.saturating_add(next(width) as u16))
        };
        (0..count).map(|_| (0..ranges).map(|_| range()).collect()).collect()
    }

    fn ranges(sets: &[PortSet]) -> usize {
        sets.iter().map(|set| set.as_slice().len()).sum()
    }

    fn assert_right(blocks: &[Block], sets: &[PortSet], description: &str) {
        assert!(blocks.windows(2).all(|pair| pair[0].high < pair[1].low), "{description}: not in order");
        for (number, set) in sets.iter().enumerate() {
            let own = blocks.iter().filter(|block| block.permits.contains(&number));
            let whole: PortSet = own.map(|block| (block.low, block.high)).collect();
            assert!(set.is_subset(&whole), "{description}: ports of {number} are in no block");
        }
        for block in blocks {
            let whole = PortSet::from_iter([(block.low, block.high)]);
            let lacks = block.permits.iter().find(|number| !sets[**number].overlaps(&whole));
            assert_eq!(lacks, None, "{description}: {}-{}", block.low, block.high);
        }
    }

    #[test]
    fn rules_are_as_few_as_ranges() {
        for (count, ranges_each, width, seed) in [
            (1, 1, 1, 1),
            (40, 1, 30_000, 2),
            (400, 1, 65_536, 3),
            (400, 3, 2_000, 4),
            (300, 1, 1, 5),
            (90, 20, 9_000, 6),
        ] {
            let sets = sets(count, ranges_each, width, seed);
            let ports: Vec<&PortSet> = sets.iter().collect();
            let description = format!("{count} x {ranges_each}, up to {width} wide");
            let blocks = blocks(&ports);
            assert_right(&blocks, &sets, &description);
            let rules: usize = blocks.iter().map(|block| block.permits.len()).sum();
            assert!(rules <= 3 * ranges(&sets), "{description}: {rules} of {}", ranges(&sets));
            if let Some(pieces) = few_rules(&ports) {
                assert_right(&pieces, &sets, &description);
                let whole = |piece: &Block| PortSet::from_iter([(piece.low, piece.high)]);
                let all_have =
                    |piece: &Block| piece.permits.iter().all(|number| whole(piece).is_subset(ports[*number]));
                assert!(pieces.iter().all(all_have), "{description}");
            }
        }
    }

    #[test]
    fn a_packet_meets_at_most_twice_the_rules_of_the_first_port() {
        let sets = sets(500, 1, 40_000, 7);
        let ports: Vec<&PortSet> = sets.iter().collect();
        assert!(few_rules(&ports).is_none());
        for block in blocks(&ports) {
            let first = sets.iter().filter(|set| set.contains(block.low)).count();
            assert!(block.permits.len() <= 2 * first, "{}-{}: {}", block.low, block.high, block.permits.len());
        }
    }

    /// What the source ports of answers are for a thousand services: nothing is gained by matching them in rules.
    #[test]
    fn ports_that_do_not_overlap_have_chains_of_their_own() {
        let sets: Vec<PortSet> =
            (0..1_000).map(|number| PortSet::from_iter([(60 * number, 60 * number + 3)])).collect();
        let ports: Vec<&PortSet> = sets.iter().collect();
        assert_eq!(few_rules(&ports), Some(blocks(&ports)));
    }
}
