//! Flows compared with each other, held against a comparison of all pairs in packet space.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write;

use edgeward::catalog::Catalog;
use edgeward::diag::{Code, Problems};
use edgeward::intent::{Declared, Flow, Gateway, Intent, Origin, Resolved};
use edgeward::lint::lint;
use edgeward::net::{CtDirection, Hook, PacketEnd};
use edgeward::resolution::Resolution;
use edgeward::source::{Source, Span};
use edgeward::space::{Condition, Region, Space};
use support::random::{Dice, intent, policy_text};

/// Peers and services that meet, nest and touch, also with those of the catalog's flows.
const PEERS: [&str; 20] = [
    "203.0.113.0/24",
    "203.0.113.0/25",
    "203.0.113.128/25",
    "203.0.113.7",
    "203.0.113.200",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.200.0.0/16",
    "192.168.0.0/16",
    "192.168.0.0/17",
    "192.168.10.0/24",
    "100.100.0.0/16",
    "172.20.1.0/24",
    "0.0.0.0/0",
    "'::/0'",
    "'2001:db8:c::/48'",
    "'2001:db8:c:1::/64'",
    "mirror.example.com",
    "a.example.org",
    "b.example.org",
];
const PORTS: [&str; 13] = [
    "tcp/443",
    "tcp/443-444",
    "tcp/400-500",
    "tcp/450-600",
    "tcp/1-65535",
    "tcp/6443",
    "tcp/10250",
    "udp/53",
    "udp/8472",
    "udp/1-65535",
    "udp/1-100",
    "icmp",
    "ipip",
];

/// A random policy with up to fifteen rows, most with few peers and services.
fn crowded(dice: &mut Dice) -> String {
    let yaml = policy_text(dice).yaml();
    let mut yaml = yaml.split("\nallow:").next().unwrap_or_default().to_owned() + "\nallow:\n";
    for row in 0..=dice.below(15) {
        let direction = dice.pick(&["inbound", "outbound"]);
        let most = 1 + dice.below(3);
        let [peers, ports] = [&PEERS[..], &PORTS[..]].map(|from| {
            let mut some = dice.some(from, most);
            some.truncate(most);
            some.join(", ")
        });
        let _ = writeln!(yaml, "- {{id: row-{row}, direction: {direction}, peers: [{peers}], ports: [{ports}]}}");
    }
    yaml
}

/// The policy with an address of its own for each name, outside of all prefixes except those of all addresses.
fn bound(declared: &Intent<Declared>) -> Intent<Resolved> {
    let mut yaml = String::from("version: 1\nnames:\n- {name: unused.example.com, addresses: []}\n");
    for (number, name) in declared.names().keys().enumerate() {
        let _ = writeln!(yaml, "- name: {name}\n  addresses:");
        for address in [format!("1.1.{number}.1"), format!("'2001:beef::{number:x}'")] {
            let seen = "first-seen: 2026-01-01T00:00:00Z, last-seen: 2026-01-01T00:00:00Z";
            let _ = writeln!(yaml, "  - {{address: {address}, {seen}}}");
        }
    }
    let mut problems = Problems::default();
    let resolution = Resolution::parse(&Source::new("names.lock.yaml", &yaml), &mut problems);
    declared.bind(&resolution.unwrap_or_else(|| panic!("{problems:#?}\n{yaml}"))).unwrap()
}

/// What is found if every flow is compared with every other one.
fn of_all_pairs(declared: &Intent<Declared>) -> BTreeSet<(Span, Code, String)> {
    let resolved = bound(declared);
    let ends = [PacketEnd::Source, PacketEnd::Destination];
    let covered = resolved.gateway.as_ref().map(|gateway| {
        ends.map(|end| {
            let halves = [Some(&gateway.covered.fixed), gateway.covered.named.as_ref()].into_iter().flatten();
            Condition::Any(halves.map(|set| Condition::Address(end, set)).collect())
        })
    });
    let conditions: Vec<Condition<'_>> =
        resolved.flows.iter().map(|flow| flow.condition(CtDirection::Original)).collect();
    let space = Space::new(conditions.iter().chain(covered.iter().flatten()));
    let filtered = match &covered {
        Some(covered) if !declared.gateway.as_ref().is_some_and(Gateway::covers_everything) => {
            let [from, to] = covered.each_ref().map(|end| space.region(end));
            from.or(to).minus(from.and(to))
        }
        _ => space.all(),
    };
    let region = |(flow, condition): (&Flow<Declared>, &Condition<'_>)| {
        let hook = if declared.gateway.is_some() { Hook::Forward } else { flow.side.hook() };
        space.region(condition).and(space.region(&Condition::Hook(hook))).and(filtered)
    };
    let regions: Vec<Region<'_>> = declared.flows.iter().zip(&conditions).map(region).collect();
    // The catalog's flows come before the operator's.
    let mut flows: Vec<(&Flow<Declared>, Region<'_>)> = declared.flows.iter().zip(regions).collect();
    flows.sort_by_key(|(flow, _)| matches!(flow.origin, Origin::Policy(_)));
    let covering = |index: usize| {
        let (_, own) = flows[index];
        let covers = |&(other, (_, region)): &(usize, &(_, Region<'_>))| {
            other != index && own.is_within(*region) && (other < index || *region != own)
        };
        flows.iter().enumerate().find(covers).map(|(_, (flow, _))| *flow)
    };
    let mut found = BTreeSet::new();
    let mut others: Vec<(&Flow<Declared>, Region<'_>)> = Vec::new();
    for (index, &(flow, own)) in flows.iter().enumerate() {
        let id = &flow.id;
        let Origin::Policy(span) = flow.origin else {
            others.push((flow, own));
            continue;
        };
        if own.is_empty() {
            found.insert((span, Code::DeadFlow, format!("no packet can match the flow `{id}`")));
        } else if let Some(other) = covering(index) {
            let message = format!("the flow `{id}` permits nothing beyond what `{}` permits", other.id);
            found.insert((span, Code::CoveredFlow, message));
        } else {
            let shared = others.iter().filter(|(_, region)| !region.and(own).is_empty() && !region.is_within(own));
            let shared: Vec<&str> = shared.map(|(flow, _)| flow.id.as_str()).collect();
            let listed: BTreeSet<&str> = shared.iter().take(8).copied().collect();
            let mut listed: Vec<String> = listed.into_iter().map(|id| format!("`{id}`")).collect();
            if shared.len() > 8 {
                listed.push("and others".to_owned());
            }
            if !listed.is_empty() {
                let message = format!("the flow `{id}` shares packets with {}", listed.join(", "));
                found.insert((span, Code::OverlappingFlows, message));
            }
            others.push((flow, own));
        }
    }
    found
}

#[test]
fn what_is_found_is_what_a_comparison_of_all_pairs_finds() {
    let catalog = Catalog::embedded().unwrap();
    let mut counts = [Code::DeadFlow, Code::CoveredFlow, Code::OverlappingFlows].map(|code| (code, 0));
    let mut long_lists = 0;
    for seed in 0..450 {
        let yaml = crowded(&mut Dice::new(seed));
        let declared = intent(&yaml, &catalog);
        let mut problems = Problems::default();
        lint(&declared, &catalog.cloud.services(), &mut problems);
        let found = problems.into_sorted().into_iter().filter(|found| found.code != Code::WideOpening);
        let found: BTreeSet<_> = found.map(|found| (found.span, found.code, found.message)).collect();
        assert_eq!(found, of_all_pairs(&declared), "seed {seed}\n{yaml}");
        for (code, count) in &mut counts {
            *count += found.iter().filter(|(_, found, _)| found == code).count();
        }
        long_lists += found.iter().filter(|(.., message)| message.ends_with("and others")).count();
    }
    assert!(counts.iter().all(|(_, count)| *count > 100) && long_lists > 10, "{counts:?}, {long_lists}");
}
