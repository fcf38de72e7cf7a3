//! Laws that hold for every input: of sets, of rulesets, of the order of lists.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use edgeward::catalog::Catalog;
use edgeward::emit;
use edgeward::lower::lower;
use edgeward::net::{Prefix, PrefixSet};
use edgeward::proof::prove;
use edgeward::readback;
use edgeward::ruleset::Ruleset;
use edgeward::source::Source;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use iprange::IpRange;
use proptest::prelude::*;
use support::random::{CutPoints, Dice, intent, policy_text, resolution};

/// Prefixes that crowd together, so that they meet, touch and nest; the ends of the space among them.
fn v4_prefix() -> impl Strategy<Value = Ipv4Net> {
    let base = prop_oneof![Just(0u32), Just(0x0a00_0000), Just(0xffff_ff00), any::<u32>()];
    (base, 0u32..512, 0u8..=32).prop_map(|(base, offset, length)| {
        Ipv4Net::new(Ipv4Addr::from_bits(base.wrapping_add(offset)), length).unwrap().trunc()
    })
}

fn v6_prefix() -> impl Strategy<Value = Ipv6Net> {
    let base = prop_oneof![Just(0u128), Just(0x2001_0db8 << 96), Just(u128::MAX - 255), any::<u128>()];
    (base, 0u128..512, 0u8..=128).prop_map(|(base, offset, length)| {
        Ipv6Net::new(Ipv6Addr::from_bits(base.wrapping_add(offset)), length).unwrap().trunc()
    })
}

/// The oracle's prefixes, sorted: its own order is not ours.
fn sorted<N: Copy + Ord>(nets: impl Iterator<Item = N>) -> Vec<N> {
    let mut nets: Vec<N> = nets.collect();
    nets.sort();
    nets
}

fn v4_of(set: &PrefixSet) -> Vec<Ipv4Net> {
    let nets = set.prefixes().map(Prefix::net);
    nets.map(|net| if let IpNet::V4(net) = net { net } else { panic!("{net} is not v4") }).collect()
}

fn v6_of(set: &PrefixSet) -> Vec<Ipv6Net> {
    let nets = set.prefixes().map(Prefix::net);
    nets.map(|net| if let IpNet::V6(net) = net { net } else { panic!("{net} is not v6") }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prefix_sets_agree_with_the_iprange_crate_v4(
        left in prop::collection::vec(v4_prefix(), 0..24),
        right in prop::collection::vec(v4_prefix(), 0..24),
        probes in prop::collection::vec((0u32..600, any::<u32>()), 16),
    ) {
        let set = |nets: &[Ipv4Net]| nets.iter().copied().map(Prefix::from).collect::<PrefixSet>();
        let oracle = |nets: &[Ipv4Net]| {
            let mut range: IpRange<Ipv4Net> = nets.iter().copied().collect();
            range.simplify();
            range
        };
        let (a, b) = (set(&left), set(&right));
        let (x, y) = (oracle(&left), oracle(&right));
        prop_assert_eq!(v4_of(&a), sorted(x.iter()));
        prop_assert_eq!(v4_of(&a.union(&b)), sorted(x.merge(&y).iter()));
        prop_assert_eq!(v4_of(&a.intersection(&b)), sorted(x.intersect(&y).iter()));
        prop_assert_eq!(v4_of(&a.difference(&b)), sorted(x.exclude(&y).iter()));
        prop_assert_eq!(a.overlaps(&b), x.intersect(&y).iter().next().is_some());
        prop_assert_eq!(a.is_subset(&b), x.exclude(&y).iter().next().is_none());
        for (near, far) in probes {
            for bits in [near, 0x0a00_0000 + near, u32::MAX - near, far] {
                let address = Ipv4Addr::from_bits(bits);
                prop_assert_eq!(a.contains(address.into()), left.iter().any(|net| net.contains(&address)));
            }
        }
    }

    #[test]
    fn prefix_sets_agree_with_the_iprange_crate_v6(
        left in prop::collection::vec(v6_prefix(), 0..16),
        right in prop::collection::vec(v6_prefix(), 0..16),
    ) {
        let set = |nets: &[Ipv6Net]| nets.iter().copied().map(Prefix::from).collect::<PrefixSet>();
        let oracle = |nets: &[Ipv6Net]| {
            let mut range: IpRange<Ipv6Net> = nets.iter().copied().collect();
            range.simplify();
            range
        };
        let (a, b) = (set(&left), set(&right));
        let (x, y) = (oracle(&left), oracle(&right));
        prop_assert_eq!(v6_of(&a), sorted(x.iter()));
        prop_assert_eq!(v6_of(&a.union(&b)), sorted(x.merge(&y).iter()));
        prop_assert_eq!(v6_of(&a.intersection(&b)), sorted(x.intersect(&y).iter()));
        prop_assert_eq!(v6_of(&a.difference(&b)), sorted(x.exclude(&y).iter()));
    }

    #[test]
    fn prefix_sets_show_what_they_were_parsed_from(nets in prop::collection::vec(v4_prefix(), 0..16)) {
        let set: PrefixSet = nets.into_iter().map(Prefix::from).collect();
        prop_assert_eq!(set.to_string().parse::<PrefixSet>(), Ok(set));
    }
}

#[test]
fn adjacent_addresses_at_the_ends_of_the_space() {
    let set = |addresses: &[IpAddr]| addresses.iter().copied().collect::<PrefixSet>();
    let last = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
    assert_eq!(set(&[last, IpAddr::V6(Ipv6Addr::from_bits(u128::MAX - 1))]).prefixes().count(), 1);
    assert_eq!(set(&[last, IpAddr::V6(Ipv6Addr::from_bits(0))]).prefixes().count(), 2);
    assert_eq!(set(&["255.255.255.255".parse().unwrap(), "0.0.0.0".parse().unwrap()]).prefixes().count(), 2);
}

fn compiled(seed: u64, catalog: &Catalog) -> (String, edgeward::intent::Intent<edgeward::intent::Resolved>, Ruleset) {
    let mut dice = Dice::new(seed);
    let yaml = policy_text(&mut dice).yaml();
    let declared = intent(&yaml, catalog);
    let resolved = declared.bind(&resolution(&declared, &mut dice)).unwrap();
    let ruleset = lower(&resolved);
    (yaml, resolved, ruleset)
}

/// How many random policies the slower laws are held against; `EDGEWARD_POLICIES` sets another number.
fn policies() -> u64 {
    std::env::var("EDGEWARD_POLICIES").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

#[test]
fn intent_and_ruleset_agree_on_every_packet() {
    let catalog = Catalog::embedded().unwrap();
    let (mut accepted, mut denied) = (0u64, 0u64);
    for seed in 0..policies() {
        let (yaml, intent, ruleset) = compiled(seed, &catalog);
        let points = CutPoints::of(&ruleset);
        let mut dice = Dice::new(seed);
        for _ in 0..2_000 {
            let packet = points.packet(&mut dice);
            let meant = intent.disposition(&packet);
            let trace = ruleset.trace(&packet, |_, _| ());
            assert_eq!(meant, trace.disposition, "seed {seed}: {packet:#?}\n{yaml}");
            let counter = trace.rule.and_then(|rule| rule.counter.as_deref());
            let counted = counter.and_then(|name| name.strip_prefix("flow_"));
            assert_eq!(meant.flow, counted, "seed {seed}: {packet:#?}\n{yaml}");
            if meant.flow.is_some() {
                accepted += 1;
            } else {
                denied += u64::from(meant.verdict != edgeward::net::Verdict::Accept);
            }
        }
    }
    // Packets that are all treated alike would prove nothing.
    assert!(accepted > policies() * 50 && denied > policies() * 50, "{accepted} by flows, {denied} denied");
}

#[test]
fn every_random_policy_is_proved() {
    let catalog = Catalog::embedded().unwrap();
    for seed in 0..policies() {
        let (yaml, intent, ruleset) = compiled(seed, &catalog);
        let read = |text: &str| readback::read(&Source::new("emitted", text)).unwrap_or_else(|bad| panic!("{bad:?}"));
        let [text, json] = [emit::nft(&ruleset), emit::json(&ruleset).unwrap()].map(|text| read(&text));
        for ruleset in [&ruleset, &text, &json] {
            prove(&intent, ruleset).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}\n{yaml}"));
        }
        assert_eq!((&text, &json), (&ruleset.clone().without_notes(), &text), "seed {seed}");
    }
}

#[test]
fn a_ruleset_with_an_empty_set_is_caught() {
    let catalog = Catalog::embedded().unwrap();
    let (_, intent, mut ruleset) = compiled(2, &catalog);
    let set = ruleset.sets.values_mut().find(|set| !set.elements.is_empty()).unwrap();
    set.elements = PrefixSet::default();
    let wrong = prove(&intent, &ruleset).unwrap_err();
    // The verdict may be that of another flow that permits the packet, too.
    assert_ne!(wrong.meant, wrong.found, "{wrong}");
}

#[test]
fn the_order_of_lists_means_nothing() {
    let catalog = Catalog::embedded().unwrap();
    for seed in 0..policies() {
        let mut dice = Dice::new(seed);
        let policy = policy_text(&mut dice);
        let declared = intent(&policy.yaml(), &catalog);
        let answers = resolution(&declared, &mut dice);
        let text = emit::nft(&lower(&declared.bind(&answers).unwrap()));
        let shuffled = intent(&policy.shuffled(&mut dice).yaml(), &catalog);
        assert_eq!(text, emit::nft(&lower(&shuffled.bind(&answers).unwrap())), "seed {seed}");
    }
}

#[test]
fn answers_change_elements_and_nothing_else() {
    let catalog = Catalog::embedded().unwrap();
    for seed in 0..policies() {
        let mut dice = Dice::new(seed);
        let declared = intent(&policy_text(&mut dice).yaml(), &catalog);
        let [one, other] = [(), ()].map(|()| {
            let mut ruleset = lower(&declared.bind(&resolution(&declared, &mut dice)).unwrap());
            ruleset.sets.values_mut().for_each(|set| set.elements = PrefixSet::default());
            ruleset
        });
        assert_eq!(one, other, "seed {seed}");
    }
}
