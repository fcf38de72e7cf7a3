//! Static routes in the kernel and in FRR: loaded twice, taken away, and nothing else touched.

use std::collections::BTreeSet;

use serde_json::Value;

use super::support::frr::Router;
use super::support::netns::lan::Member;
use super::support::netns::row::Row;
use super::{PATH, Site};

/// The link to the cloud, and routes of others.
const CORE: &str = "addr add 10.255.0.1/30 dev next\n addr add fd00:ff::1/64 dev next nodad\n \
                    route add default via 10.255.0.2\n route add 100.0.0.0/8 via 10.255.0.2\n \
                    route add 100.118.28.0/25 via 10.255.0.2 proto static\n \
                    route add 100.118.28.0/24 via 10.255.0.2 proto static metric 5\n \
                    route add fd00:1:2::/48 via fd00:ff::2 proto static\n";

/// All routes of the main tables, as text.
fn table(router: Member<'_>) -> String {
    let of = |family: &str| router.print(&["ip", family, "route"], "").unwrap();
    of("-4") + &of("-6")
}

/// The destinations of the routes of a protocol, with their lengths, in order.
fn of_protocol(router: Member<'_>, protocol: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (family, length) in [("-4", "/32"), ("-6", "/128")] {
        let text = router.print(&["ip", "-j", family, "route", "show", "proto", protocol], "").unwrap();
        let routes: Value = serde_json::from_str(&text).unwrap();
        for route in routes.as_array().unwrap() {
            let via = if family == "-4" { "10.255.0.2" } else { "fd00:ff::2" };
            assert_eq!(route["gateway"], via, "{route}");
            let destination = route["dst"].as_str().unwrap();
            found.push(destination.to_owned() + if destination.contains('/') { "" } else { length });
        }
    }
    found.sort();
    found
}

fn batch(router: Member<'_>, text: &str) -> Result<String, String> {
    router.print(&["ip", "-batch", "-"], text)
}

#[test]
fn a_batch_of_ip_is_loaded_twice_and_taken_away() {
    need_namespaces!();
    let site = Site::dual_stack("express-connect-flannel", PATH);
    let (load, undo) = site.device("iproute2");
    let row = Row::new(2);
    let router = row.at(0);
    router.ip(CORE);
    let before = table(router);
    let destinations = site.destinations();
    assert!(destinations.len() > 12 && destinations.contains(&"fd00:1::/48".to_owned()), "{destinations:?}");
    batch(router, &load).unwrap();
    assert_eq!(of_protocol(router, "237"), destinations);
    let loaded = table(router);
    batch(router, &load).unwrap();
    assert_eq!(table(router), loaded, "a second time changes nothing");
    batch(router, &undo).unwrap();
    assert_eq!(table(router), before, "only the routes of the file are taken away");
    batch(router, &undo).unwrap();
    // A batch that was interrupted.
    let half: String =
        load.lines().filter(|line| line.contains("100.103.")).map(|line| line.to_owned() + "\n").collect();
    batch(router, &half).unwrap();
    assert_ne!(table(router), before);
    batch(router, &undo).unwrap();
    assert_eq!(table(router), before);
}

#[test]
fn ip_takes_no_placeholder() {
    need_namespaces!();
    let row = Row::new(2);
    let router = row.at(0);
    router.ip(CORE);
    let before = table(router);
    let (load, undo) = Site::new("express-connect-flannel", "").device("iproute2");
    for text in [&load, &undo] {
        assert!(text.contains("# Not complete: ") && text.contains("<FILL IN path.core-switch.next-hop>"), "{text}");
        // Line by line: a batch ends with the first.
        let lines: BTreeSet<&str> = text.lines().filter(|line| line.starts_with("route")).collect();
        assert!(lines.len() > 10);
        lines.iter().for_each(|line| assert!(batch(router, line).is_err(), "{line}"));
    }
    assert_eq!(table(router), before);
}

#[test]
fn frr_loads_routes_and_sessions_twice_and_loses_them() {
    need_namespaces!();
    need_frr!();
    let flannel = Site::dual_stack("express-connect-flannel", PATH);
    let terway = Site::dual_stack("express-connect-terway-edge", PATH);
    terway.replace("pods: [172.16.0.0/12]", "pods: [172.16.0.0/12, \"fd00:172::/56\"]");
    let row = Row::new(2);
    row.at(0).ip("addr add 10.255.0.1/30 dev next\n addr add fd00:ff::1/64 dev next nodad\n");
    let router = Router::start(row.at(0));
    // What others configured.
    router
        .load(
            "ip route 100.118.28.0/25 10.255.0.2\nip prefix-list own seq 5 permit 10.0.0.0/8\n\
             router bgp 65001\n neighbor 192.0.2.1 remote-as 65099\n address-family ipv4 unicast\n  network 10.8.0.0/16\n",
        )
        .unwrap();
    let before = router.show("show running-config");
    for site in [flannel, terway] {
        let (load, undo) = site.device("frr");
        router.load(&load).unwrap();
        let loaded = router.show("show running-config");
        let mut expected = site.destinations();
        expected.push("100.118.28.0/25".to_owned());
        expected.sort();
        let routes = loaded.lines().filter(|line| line.starts_with("ip route ") || line.starts_with("ipv6 route "));
        let mut found: Vec<String> = routes.map(|line| line.split(' ').nth(2).unwrap().to_owned()).collect();
        found.sort();
        assert_eq!(found, expected, "{loaded}");
        router.load(&load).unwrap();
        assert_eq!(router.show("show running-config"), loaded, "a second time changes nothing");
        router.load(&undo).unwrap();
        assert_eq!(router.show("show running-config"), before, "only the lines of the file are taken away");
    }
}

/// One word would be the name of an interface to FRR.
#[test]
fn frr_takes_no_placeholder() {
    need_namespaces!();
    need_frr!();
    let row = Row::new(1);
    let router = Router::start(row.at(0));
    let before = router.show("show running-config");
    router.load("ip route 100.118.28.0/24 FILL-IN\nno ip route 100.118.28.0/24 FILL-IN\n").unwrap();
    let (load, _) = Site::new("express-connect-terway-edge", "").device("frr");
    // Comments are several lines.
    let text = load.replace("\n! ", " ");
    for field in ["core-switch.next-hop", "core-switch.asn", "hosts.asn", "vbr.asn"] {
        assert!(load.contains(&format!("<FILL IN path.{field}>")), "{field}: {load}");
        assert!(text.contains(&format!("path.{field} (the ")), "{field}: {load}");
    }
    let said = router.load(&load).unwrap_err();
    assert!(said.contains("Unknown command"), "{said}");
    // Filters without sessions have no effect.
    let after = router.show("show running-config");
    let more: Vec<&str> = after.lines().filter(|line| !before.contains(line)).collect();
    assert!(more.iter().all(|line| line.starts_with("ip prefix-list edgeward-")), "{more:?}");
}
