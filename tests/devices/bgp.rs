//! BGP sessions of a core switch with the generated configuration: a host with BIRD, whose rules are in force, and a virtual
//! border router with FRR.

use std::collections::BTreeSet;

use super::support::frr::{Bird, Router, wait};
use super::support::netns::row::Row;
use super::{PATH, Site};

/// The host announces its pods, and what it must not.
const BIRD: &str = "\
log stderr all;
router id 10.0.0.20;
protocol device {}
protocol static {
  ipv4;
  route 172.16.5.0/24 blackhole;
  route 0.0.0.0/0 blackhole;
  route 203.0.113.0/24 blackhole;
  route 10.9.0.0/16 blackhole;
  route 192.168.0.0/16 blackhole;
}
protocol bgp core {
  local 10.0.0.20 as 65010;
  neighbor 10.0.255.1 as 65001;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 1;
  ipv4 { import all; export all; };
}
";

/// The virtual border router announces the VPC, and what it must not.
const VBR: &str = "\
ip route 192.168.10.0/24 Null0
ip route 0.0.0.0/0 Null0
ip route 8.8.8.0/24 Null0
ip route 10.7.0.0/16 Null0
router bgp 45104
 no bgp ebgp-requires-policy
 neighbor 10.255.0.1 remote-as 65001
 neighbor 10.255.0.1 timers connect 1
 address-family ipv4 unicast
  redistribute static
  neighbor 10.255.0.1 default-originate
 exit-address-family
";

/// The prefixes that a router has learned from a neighbour and taken.
fn learned(router: &Router<'_>, neighbour: &str) -> BTreeSet<String> {
    let table = router.json("show bgp ipv4 unicast json");
    let routes = table["routes"].as_object().unwrap();
    let from = |paths: &serde_json::Value| {
        paths.as_array().unwrap().iter().any(|path| path["peerId"].as_str() == Some(neighbour))
    };
    routes.iter().filter(|(_, paths)| from(paths)).map(|(prefix, _)| prefix.clone()).collect()
}

fn set(prefixes: &[&str]) -> BTreeSet<String> {
    prefixes.iter().map(|prefix| (*prefix).to_owned()).collect()
}

/// The packets that the host's rules have denied on their way out.
fn denied(row: &Row) -> u64 {
    row.at(0).counters().get("denied_output").copied().unwrap_or_default()
}

#[test]
fn the_core_switch_takes_and_announces_what_is_intended() {
    need_namespaces!();
    need_frr!();
    let site = Site::new("express-connect-terway-edge", PATH);
    let row = Row::new(3);
    row.at(0).ip("addr add 10.0.0.20/8 dev next\n");
    row.at(1).ip("addr add 10.0.255.1/8 dev prev\n addr add 10.255.0.1/30 dev next\n");
    row.at(2).ip("addr add 10.255.0.2/30 dev prev\n");
    let (load, undo) = site.device("frr");
    let core = Router::start(row.at(1));
    core.load(&load).unwrap();
    let vbr = Router::start(row.at(2));
    vbr.load(VBR).unwrap();

    // A policy whose BGP peers are others does not let the host open the session.
    let other = Site::new("express-connect-terway-edge", PATH);
    other.replace("bgp-peers: [10.0.255.1, 10.0.255.2]", "bgp-peers: [10.0.255.9]");
    row.at(0).load(&other.print("compile", &[]));
    let bird = Bird::start(row.at(0), BIRD);
    wait("second attempt", || (denied(&row) >= 2).then_some(()));
    assert!(!bird.show("show protocols core").contains("Established"));
    assert_eq!(learned(&core, "10.0.0.20"), set(&[]));

    // With its own policy it does.
    row.at(0).load(&site.print("compile", &[]));
    wait("session of the host", || bird.show("show protocols core").contains("Established").then_some(()));
    // A neighbour says when it has announced all of its routes.
    for neighbour in ["10.0.0.20", "10.255.0.2"] {
        wait(&format!("end of the routes of {neighbour}"), || {
            let said = &core.json(&format!("show bgp neighbors {neighbour} json"))[neighbour];
            (said["gracefulRestartInfo"]["endOfRibRecv"]["ipv4Unicast"] == true).then_some(())
        });
    }
    let announced = set(&["10.0.0.0/8", "172.16.5.0/24"]);
    wait("hosts and pods at the VBR", || (learned(&vbr, "10.255.0.1") == announced).then_some(()));
    assert_eq!(learned(&core, "10.0.0.20"), set(&["172.16.5.0/24"]));
    assert_eq!(learned(&core, "10.255.0.2"), set(&["192.168.10.0/24"]));
    let neighbour = core.json("show bgp neighbors 10.0.0.20 json");
    let family = &neighbour["10.0.0.20"]["addressFamilyInfo"]["ipv4Unicast"];
    assert_eq!(family["prefixAllowedMax"], 110, "{family:#}");
    assert_eq!(learned(&vbr, "10.255.0.1"), announced);

    // More prefixes than the VBR takes. FRR 8.4 counts before it adds, so it notices with the second one beyond.
    let many: String = (0..120).map(|number| format!("  route 172.17.{number}.0/24 blackhole;\n")).collect();
    bird.configure(&BIRD.replace("  route 172.16.5.0/24 blackhole;\n", &many));
    let is_refused = || bird.show("show protocols all core").contains("Maximum number of prefixes reached");
    wait("end of a session with too many prefixes", || is_refused().then_some(()));
    bird.configure(BIRD);
    wait("the session again", || bird.show("show protocols core").contains("Established").then_some(()));

    core.load(&undo).unwrap();
    wait("end of the session", || (!bird.show("show protocols core").contains("Established")).then_some(()));
    let left = core.show("show running-config");
    let of_ours = |line: &&str| line.contains("edgeward") || line.contains("route ") || line.contains("neighbor");
    assert_eq!(left.lines().filter(of_ours).collect::<Vec<_>>(), Vec::<&str>::new(), "{left}");
}
