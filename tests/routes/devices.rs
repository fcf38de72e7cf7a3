//! What random policies give devices to read: the kernel and FRR take every line, and have exactly the routes of the plan.

use std::collections::BTreeSet;
use std::process::Command;

use edgeward::catalog::Element;
use edgeward::path::{RouteList, Syntax};
use edgeward::report::Evidence;
use edgeward::site::Scope;
use edgeward::source::Source;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::support::netns::row::Row;
use super::support::random::{self, Dice, policy_text};
use super::{CATALOG, Site};

const PATH: &str = "path:\n  hosts: {asn: 65010}\n  core-switch: {next-hop: 10.255.0.2, next-hop-v6: \"fd00:ff::2\", asn: 65001}\n  \
                    vbr: {asn: 45104}\n";

/// Runs something with the core switch's file and the one that takes it away, and its destinations.
fn with_files(seed: u64, sites: usize, syntax: Syntax, mut work: impl FnMut(&str, &str, BTreeSet<String>)) {
    let mut dice = Dice::new(seed);
    for _ in 0..sites {
        let text = policy_text(&mut dice).yaml() + PATH;
        let site = Site::new(&text, |intent| random::resolution(intent, &mut dice));
        let plan = site.plan(Scope::Fine);
        let source = Source::new("site.yaml", text);
        let (max_stale, now) = (SignedDuration::MAX, Timestamp::UNIX_EPOCH);
        let evidence = Evidence { policy: &source, documents: &CATALOG.documents, max_stale, now };
        let list = RouteList { policy: "random", plan: &plan, element: None, evidence };
        let core = plan.tables.iter().filter(|table| table.element == Element::CoreSwitch);
        let routes = core.flat_map(|table| &table.routes).filter(|route| !route.row.standing);
        let destinations = routes.map(|route| route.prefix.net().to_string()).collect();
        work(&list.device(syntax, false).unwrap(), &list.device(syntax, true).unwrap(), destinations);
    }
}

#[test]
fn the_kernel_has_the_routes_of_random_policies_and_loses_them() {
    need_namespaces!();
    let row = Row::new(2);
    let router = row.at(0);
    router.ip("addr add 10.255.0.1/30 dev next\n addr add fd00:ff::1/64 dev next nodad\n");
    let table = || ["-4", "-6"].map(|family| router.print(&["ip", family, "route"], "").unwrap()).concat();
    let before = table();
    let mut loaded = 0;
    with_files(17, 25, Syntax::Iproute2, |load, undo, destinations| {
        router.print(&["ip", "-batch", "-"], load).unwrap();
        let mut found = BTreeSet::new();
        for (family, length) in [("-4", "/32"), ("-6", "/128")] {
            let text = router.print(&["ip", "-j", family, "route", "show", "proto", "237"], "").unwrap();
            let routes: Value = serde_json::from_str(&text).unwrap();
            for route in routes.as_array().unwrap() {
                let destination = route["dst"].as_str().unwrap();
                found.insert(destination.to_owned() + if destination.contains('/') { "" } else { length });
            }
        }
        assert_eq!(found, destinations, "{load}");
        loaded += found.len();
        router.print(&["ip", "-batch", "-"], undo).unwrap();
        assert_eq!(table(), before, "{undo}");
    });
    assert!(loaded > 50, "{loaded}");
}

#[test]
fn frr_takes_the_lines_of_random_policies() {
    need_frr!();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("core.conf");
    let (mut routes, mut sessions) = (0, 0);
    with_files(19, 40, Syntax::Frr, |load, undo, destinations| {
        for text in [load, undo] {
            std::fs::write(&file, text).unwrap();
            let output = Command::new("vtysh").arg("-C").arg("-f").arg(&file).output().unwrap();
            assert!(output.status.success() && output.stdout.is_empty(), "{output:?}\n{text}");
            assert!(!String::from_utf8_lossy(&output.stderr).contains('%'), "{output:?}\n{text}");
        }
        let of = |text: &str, start: [&str; 2]| {
            let lines = text.lines().filter_map(|line| start.iter().find_map(|start| line.strip_prefix(start)));
            lines.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        assert_eq!(of(load, ["ip route ", "ipv6 route "]), destinations);
        assert_eq!(of(undo, ["no ip route ", "no ipv6 route "]), destinations);
        routes += destinations.len();
        sessions += usize::from(load.contains("bgp listen range"));
    });
    assert!(routes > 50 && sessions > 3, "{routes} {sessions}");
}
