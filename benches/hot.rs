//! Benchmarks of single functions: `make bench`.
//!
//! A typical policy has a few kilobytes. What grows is the number of prefixes.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark reads files of the repository")]

use std::fs;
use std::net::Ipv4Addr;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use edgeward::catalog::Catalog;
use edgeward::diag::Problems;
use edgeward::intent::{Declared, Intent, Resolved};
use edgeward::lower::lower;
use edgeward::net::{Family, Prefix, PrefixSet};
use edgeward::proof::prove;
use edgeward::resolution::Resolution;
use edgeward::ruleset::{Ruleset, Set, SetKind, differences};
use edgeward::source::Source;
use edgeward::{emit, policy, readback};
use ipnet::{Ipv4Net, Ipv6Net};

fn main() {
    divan::main();
}

/// Policies of the repository, one per target.
const POLICIES: [&str; 2] = ["express-connect-flannel", "idc-gateway-fine"];

fn file(name: &str) -> Source {
    let path = format!("{}/policies/{name}", env!("CARGO_MANIFEST_DIR"));
    Source::new(name, fs::read_to_string(&path).unwrap())
}

fn resolved(name: &str) -> Intent<Resolved> {
    let mut problems = Problems::default();
    let policy = policy::parse(&file(&format!("{name}.yaml")), &mut problems).unwrap();
    let intent = policy::check(&policy, &Catalog::embedded().unwrap(), None, &mut problems).unwrap();
    let resolution = Resolution::parse(&file(&format!("{name}.lock.yaml")), &mut problems).unwrap();
    intent.bind(&resolution).unwrap()
}

/// So many prefixes as a policy lists them, without those that no packet has.
fn peers(count: usize) -> String {
    let prefixes =
        spread().map(|bits| v4(bits, 24)).filter(|prefix| matches!(prefix.addr().octets()[0], 1..=126 | 128..=223));
    let words: Vec<String> = prefixes.take(count).map(|prefix| Prefix::from(prefix).to_string()).collect();
    words.join(", ")
}

/// A policy with a port that is open to many prefixes.
fn wide(prefixes: usize) -> Intent<Declared> {
    let mut text = file("registered-calico-bgp.yaml").into_text();
    let peers = peers(prefixes);
    text += &format!("allow:\n- {{id: wide, direction: outbound, peers: [{peers}], ports: [tcp/443]}}\n");
    let mut problems = Problems::default();
    let policy = policy::parse(&Source::new("wide.yaml", &text), &mut problems).unwrap();
    policy::check(&policy, &Catalog::embedded().unwrap(), None, &mut problems).unwrap()
}

/// A ruleset with a set of 100,000 prefixes.
fn wide_ruleset() -> Ruleset {
    let mut ruleset = lower(&resolved(POLICIES[0]));
    let set = ruleset.sets.values_mut().find(|set| set.kind == SetKind::Prefixes).unwrap();
    set.elements = spread().take(100_000).map(|bits| Prefix::from(v4(bits, 24))).collect();
    ruleset
}

/// Pseudo-random numbers, the same in every run (the multiplier of Knuth's MMIX generator).
fn spread() -> impl Iterator<Item = u128> {
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u128::from(state >> 32)
    };
    std::iter::repeat_with(move || next() << 96 | next() << 64 | next() << 32 | next())
}

fn v4(bits: u128, length: u8) -> Ipv4Net {
    Ipv4Net::new(((bits >> 96) as u32).into(), length).unwrap()
}

#[divan::bench]
fn catalog_parse() -> Catalog {
    Catalog::embedded().unwrap()
}

#[divan::bench(args = POLICIES)]
fn policy_parse_and_check(bencher: Bencher, name: &str) {
    let (source, catalog) = (file(&format!("{name}.yaml")), Catalog::embedded().unwrap());
    bencher.counter(BytesCount::new(source.text().len())).bench(|| {
        let mut problems = Problems::default();
        let policy = policy::parse(black_box(&source), &mut problems).unwrap();
        policy::check(&policy, &catalog, None, &mut problems).unwrap()
    });
}

#[divan::bench(sample_count = 5)]
fn bind_10k_prefixes(bencher: Bencher) {
    let intent = wide(10_000);
    bencher.bench(|| intent.bind(&Resolution::default()).unwrap());
}

#[divan::bench(args = POLICIES)]
fn lower_flows(bencher: Bencher, name: &str) {
    let intent = resolved(name);
    bencher.bench(|| lower(black_box(&intent)));
}

#[divan::bench(args = POLICIES)]
fn emit_nft(bencher: Bencher, name: &str) {
    let ruleset = lower(&resolved(name));
    bencher.bench(|| emit::nft(black_box(&ruleset)));
}

#[divan::bench(args = POLICIES)]
fn emit_json(bencher: Bencher, name: &str) {
    let ruleset = lower(&resolved(name));
    bencher.bench(|| emit::json(black_box(&ruleset)).unwrap());
}

#[divan::bench(sample_count = 10)]
fn emit_nft_100k_prefixes(bencher: Bencher) {
    let ruleset = wide_ruleset();
    bencher.counter(BytesCount::new(emit::nft(&ruleset).len())).bench(|| emit::nft(black_box(&ruleset)));
}

#[divan::bench(sample_count = 10)]
fn emit_json_100k_prefixes(bencher: Bencher) {
    let ruleset = wide_ruleset();
    bencher.bench(|| emit::json(black_box(&ruleset)).unwrap());
}

/// More prefixes than any policy has: 500,000 IPv4 and 100,000 IPv6.
fn widest_ruleset() -> Ruleset {
    let mut ruleset = lower(&resolved(POLICIES[0]));
    let wide = |family: Family| match family {
        Family::V4 => (0..500_000).map(|index: u128| Prefix::from(v4(index << 106, 24))).collect(),
        Family::V6 => (0..100_000)
            .map(|index: u128| Prefix::from(Ipv6Net::new((index << 81).into(), 48).unwrap()))
            .collect::<PrefixSet>(),
    };
    for family in Family::BOTH {
        let is_of_family = |set: &&mut Set| set.kind == SetKind::Prefixes && set.family == family;
        let set = ruleset.sets.values_mut().find(is_of_family).unwrap();
        set.elements = wide(family);
    }
    ruleset
}

fn bench_readback(bencher: Bencher, text: &str) {
    let source = Source::new("readback", text);
    bencher.counter(BytesCount::new(text.len())).bench(|| readback::read(black_box(&source)).unwrap());
}

#[divan::bench(sample_count = 10)]
fn readback_nft_600k_prefixes(bencher: Bencher) {
    bench_readback(bencher, &emit::nft(&widest_ruleset()));
}

#[divan::bench(sample_count = 10)]
fn readback_json_600k_prefixes(bencher: Bencher) {
    bench_readback(bencher, &emit::json(&widest_ruleset()).unwrap());
}

#[divan::bench(args = POLICIES)]
fn readback_nft(bencher: Bencher, name: &str) {
    bench_readback(bencher, &emit::nft(&lower(&resolved(name))));
}

#[divan::bench(args = POLICIES)]
fn readback_json(bencher: Bencher, name: &str) {
    bench_readback(bencher, &emit::json(&lower(&resolved(name))).unwrap());
}

/// Prefixes in random order, with `shortest` bits or more.
fn million(make: fn(u128, u8) -> Prefix, shortest: u8, lengths: u128) -> Vec<Prefix> {
    spread().take(1_000_000).map(|bits| make(bits, shortest + (bits % lengths) as u8)).collect()
}

fn bench_million(bencher: Bencher, prefixes: Vec<Prefix>) {
    bencher
        .counter(ItemsCount::new(prefixes.len()))
        .bench(|| black_box(&prefixes).iter().copied().collect::<PrefixSet>());
}

#[divan::bench(sample_count = 10)]
fn prefix_set_from_1m_random_v4(bencher: Bencher) {
    bench_million(bencher, million(|bits, length| v4(bits, length).into(), 16, 17));
}

#[divan::bench(sample_count = 10)]
fn prefix_set_from_1m_random_v6(bencher: Bencher) {
    bench_million(bencher, million(|bits, length| Ipv6Net::new(bits.into(), length).unwrap().into(), 32, 33));
}

#[divan::bench(sample_count = 10)]
fn prefix_set_from_1m_sorted_v4(bencher: Bencher) {
    let set: PrefixSet = (0..1_000_000).map(|index| Prefix::from(v4(index << 105, 24))).collect();
    bench_million(bencher, set.prefixes().collect());
}

/// A policy with a port that is open to the prefixes of all regions, and one that is open to `more` other prefixes.
fn all_regions(more: usize) -> Intent<Resolved> {
    let catalog = Catalog::embedded().unwrap();
    let registry = catalog.regions.iter().filter_map(|region| region.registry.as_ref()).flat_map(|row| &row.prefixes);
    let oss = catalog.regions.iter().flat_map(|region| &region.oss).flat_map(|row| &row.vips);
    let peers: Vec<String> = registry.chain(oss).map(ToString::to_string).collect();
    let mut rows = format!("- {{id: regions, direction: outbound, peers: [{}], ports: [tcp/443]}}\n", peers.join(", "));
    if more > 0 {
        rows += &format!("- {{id: wide, direction: outbound, peers: [{}], ports: [tcp/8443]}}\n", self::peers(more));
    }
    with_rows(&rows)
}

/// An example with more rows in its list `allow`, which is the last of its fields.
fn with_rows(rows: &str) -> Intent<Resolved> {
    let text = file("express-connect-flannel.yaml").into_text() + rows;
    let mut problems = Problems::default();
    let policy = policy::parse(&Source::new("rows.yaml", &text), &mut problems).unwrap();
    let intent = policy::check(&policy, &Catalog::embedded().unwrap(), None, &mut problems).unwrap();
    let resolution = Resolution::parse(&file("express-connect-flannel.lock.yaml"), &mut problems).unwrap();
    intent.bind(&resolution).unwrap()
}

#[divan::bench(args = [0, 10_000, 100_000])]
fn prove_all_regions(bencher: Bencher, more: usize) {
    let intent = all_regions(more);
    let ruleset = lower(&intent);
    bencher.bench(|| prove(black_box(&intent), black_box(&ruleset)).unwrap());
}

/// The proof of a policy with so many rows of the operator, whose port ranges overlap.
#[divan::bench(args = [1_000, 4_000, 16_000], sample_count = 3)]
fn prove_rows(bencher: Bencher, rows: u32) {
    let row = |row: u32| {
        let (peer, low, high) = (Ipv4Addr::from_bits(0x0b00_0000 + 4 * row), row + 1, row + rows);
        format!("- {{id: more-{row}, direction: inbound, peers: [{peer}], ports: [tcp/{low}-{high}]}}\n")
    };
    let intent = with_rows(&(0..rows).map(row).collect::<String>());
    let ruleset = lower(&intent);
    bencher.bench(|| prove(black_box(&intent), black_box(&ruleset)).unwrap());
}

#[divan::bench(args = [0, 10_000, 100_000])]
fn differences_all_regions(bencher: Bencher, more: usize) {
    let (old, new) = (lower(&all_regions(more)), lower(&resolved(POLICIES[0])));
    bencher.bench(|| differences(&[black_box(&old), black_box(&new)]));
}
