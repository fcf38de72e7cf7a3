//! Rulesets in the kernel: real packets through network namespaces, against what the policies promise.
//!
//! Three verdicts on every packet must agree: of the hand-written tables in `support/scenarios`, of
//! [`Ruleset::evaluate`], and of the kernel. Nothing here touches the host's own network.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests are no part of the core")]

#[macro_use]
mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Duration;

use edgeward::catalog::Catalog;
use edgeward::emit;
use edgeward::lower::lower;
use edgeward::net::Verdict as Meant;
use edgeward::ruleset::{Match, Ruleset};

use support::netns::{Probe, Proto, Side, Topology, Verdict, bound};
use support::probes::{counted, surprises};
use support::programs::{Conversation, DROPPED, PATIENCE, REJECTED, ask, assert_refused, assert_unheard};
use support::random::{Dice, intent, policy_text, resolution};
use support::sample::{Sampler, packet};
use support::scenario::{Place, Scenario, names};

/// Makes the tests of every scenario; its file has the same name with hyphens.
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        const SCENARIOS: &[&str] = &[$(stringify!($name)),+];

        $(mod $name {
            #[test]
            fn artefacts_load() {
                super::artefacts_load(&super::scenario(stringify!($name)));
            }

            #[test]
            fn probes_meet_their_verdicts() {
                super::probes_meet_their_verdicts(&super::scenario(stringify!($name)));
            }

            #[test]
            fn kernel_and_evaluate_agree() {
                super::kernel_and_evaluate_agree(&super::scenario(stringify!($name)));
            }
        })+
    };
}

scenarios! {
    express_connect_flannel,
    express_connect_flannel_audit,
    express_connect_flannel_denials,
    express_connect_flannel_gateway,
    express_connect_terway_edge,
    express_connect_terway_edge_gateway,
    idc_gateway_broad,
    idc_gateway_broad_audit,
    idc_gateway_broad_stateless,
    idc_gateway_fine,
    idc_gateway_fine_stateless,
    protocols,
    protocols_stateless,
    public_flannel,
    public_flannel_gateway,
    registered_calico_bgp,
    registered_calico_bgp_gateway,
    registered_calico_ipip,
}

fn scenario(name: &str) -> Scenario {
    Scenario::load(&name.replace('_', "-"))
}

#[test]
fn every_policy_and_every_scenario_is_tested() {
    let scenarios: Vec<String> = SCENARIOS.iter().map(|name| name.replace('_', "-")).collect();
    assert_eq!(names("tests/support/scenarios", ".txt"), scenarios);
    for policy in names("policies", ".yaml").iter().filter(|name| !name.ends_with(".lock")) {
        assert!(scenarios.contains(policy), "`{policy}` has no scenario of its own");
    }
}

/// A folder with the policy of a scenario, and its lockfile.
fn folder_of(scenario: &Scenario) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("policy.yaml"), &scenario.policy).unwrap();
    if let Some(lock) = &scenario.lock {
        fs::write(folder.path().join("policy.lock.yaml"), lock).unwrap();
    }
    folder
}

/// Runs `edgeward compile` on a scenario's policy.
fn compiled(scenario: &Scenario, format: &str) -> String {
    let folder = folder_of(scenario);
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    command.current_dir(folder.path()).args(["compile", "policy.yaml", "--format", format]);
    if let Some(target) = scenario.target {
        command.args(["--target", &target.to_string()]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Makes the place of a scenario with its ruleset in force.
fn enforced(scenario: &Scenario) -> Topology {
    let topology = scenario.place.topology();
    topology.load(&compiled(scenario, "nft")).unwrap();
    topology
}

/// What nft lists in the namespace under test, without what counters count.
fn listed(topology: &Topology, what: &[&str]) -> String {
    let output = topology.run_under_test(&[&["nft", "--stateless", "list"], what].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const OURS: [&str; 3] = ["table", "inet", "edgeward"];
const FOREIGN: [&str; 3] = ["table", "ip", "foreign"];

fn artefacts_load(scenario: &Scenario) {
    let (text, json) = (compiled(scenario, "nft"), compiled(scenario, "json"));
    for _ in 0..2 {
        assert_eq!(compiled(scenario, "nft"), text);
        assert_eq!(compiled(scenario, "json"), json);
    }
    need_namespaces!();
    let [by_text, by_json] = [(); 2].map(|()| scenario.place.topology());
    by_text.load("table ip foreign { chain c { type filter hook input priority 7; counter; }; }").unwrap();
    let foreign = listed(&by_text, &FOREIGN);

    by_text.check(&text).unwrap();
    by_json.check_json(&json).unwrap();
    for topology in [&by_text, &by_json] {
        assert!(!listed(topology, &["tables"]).contains("edgeward"), "a check must change nothing");
    }
    // Twice: the first load finds no table, every later one has to replace it.
    for _ in 0..2 {
        by_text.load(&text).unwrap();
        by_json.load_json(&json).unwrap();
        assert_eq!(listed(&by_text, &OURS), listed(&by_json, &OURS));
    }
    assert_eq!(listed(&by_text, &FOREIGN), foreign);
}

/// Counters that other packets than probes pass: the kernel's own errors about untracked packets, and its neighbours.
const NOISY: [&str; 2] = ["flow_icmp", "flow_neighbour-discovery"];

/// Counters that no row can be about: its probe would have to be multicast or for the host's link-local address, see
/// `local_paths::link`, or the flow's names have no address.
const OUT_OF_REACH: [&str; 3] = ["flow_neighbour-discovery", "flow_dhcpv6", "flow_image-layers"];

/// Describes the counters, zero at first, that count something else than they have to.
fn miscounts(topology: &Topology, expected: &BTreeMap<String, u64>, at_least: bool) -> Vec<String> {
    // On a busy host, what is dropped may be counted later than what others answer to.
    let is_counted = |seen: &BTreeMap<String, u64>| {
        expected.iter().all(|(name, expected)| seen.get(name).is_none_or(|seen| seen >= expected))
    };
    let mut counters = topology.counters();
    for _ in 0..200 {
        if is_counted(&counters) {
            break;
        }
        thread::sleep(Duration::from_millis(10));
        counters = topology.counters();
    }
    let wrong = expected.iter().filter_map(|(name, expected)| {
        let Some(seen) = counters.remove(name) else { return Some(format!("there is no counter `{name}`")) };
        let exact = !at_least && !NOISY.contains(&name.as_str());
        (seen < *expected || exact && seen != *expected).then(|| format!("{name}: {expected} expected, {seen} seen"))
    });
    let mut wrong: Vec<String> = wrong.collect();
    counters.retain(|name, seen| *seen > 0 && !at_least && !NOISY.contains(&name.as_str()));
    wrong.extend(counters.iter().map(|(name, seen)| format!("{name}: none expected, {seen} seen")));
    wrong
}

fn probes_meet_their_verdicts(scenario: &Scenario) {
    need_namespaces!();
    let topology = enforced(scenario);
    let expected = counted(&scenario.rows);
    assert_none(&surprises(&topology, &scenario.rows));
    assert_none(&miscounts(&topology, &expected, scenario.replies_count));
    for name in topology.counters().keys().filter(|name| scenario.is_whole && !OUT_OF_REACH.contains(&name.as_str())) {
        assert!(expected.contains_key(name), "no row is about `{name}`");
    }
}

/// Asserts that there is nothing to complain of.
#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

/// The probes of one ruleset in [`kernel_and_evaluate_agree`].
const PROBES: usize = 4000;

fn kernel_and_evaluate_agree(scenario: &Scenario) {
    need_namespaces!();
    let intent = scenario.intent();
    let ruleset = lower(&intent);
    assert_eq!(emit::nft(&ruleset), compiled(scenario, "nft"), "the binary compiles something else");
    let probes = Sampler::new(&scenario.place, &intent, &ruleset).draw(PROBES, &mut Dice::new(1));
    let [verdicts, counts] = disagreements(&enforced(scenario), &ruleset, &probes);
    assert_none(&[verdicts, counts].concat());
    // Probes with the same verdict would prove nothing.
    let met = evaluated_counters(&ruleset, &probes);
    for name in counted(&scenario.rows).keys() {
        assert!(met.contains_key(name), "no probe met `{name}`");
    }
}

/// How many probes each counter has to count, as `evaluate` has it.
fn evaluated_counters(ruleset: &Ruleset, probes: &[Probe]) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for probe in probes {
        if let Some(counter) = ruleset.trace(&packet(probe), |_, _| ()).rule.and_then(|rule| rule.counter.clone()) {
            *counters.entry(counter).or_default() += 1;
        }
    }
    counters
}

/// Sends probes through the kernel and through `evaluate`, and describes every difference in verdicts, and in counters.
fn disagreements(topology: &Topology, ruleset: &Ruleset, probes: &[Probe]) -> [Vec<String>; 2] {
    let mut verdicts = Vec::new();
    let mut replies_pass = false;
    for (probe, seen) in probes.iter().zip(topology.probe_all(probes)) {
        let meant = match ruleset.evaluate(&packet(probe)).verdict {
            Meant::Accept => Verdict::Accept,
            Meant::Drop => Verdict::Drop,
            Meant::Reject => Verdict::Reject,
        };
        replies_pass |= probe.proto == Proto::TcpReply && meant == Verdict::Accept;
        if seen != meant {
            verdicts.push(format!("{probe}: {meant:?} by `evaluate`, {seen:?} by the kernel"));
        }
    }
    // Without conntrack, and where it calls a packet invalid, answers pass the rules that count probes.
    let mut conditions = ruleset.chains.iter().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.matches);
    let tracks = conditions.any(|condition| matches!(condition, Match::State(_)));
    let counts = miscounts(topology, &evaluated_counters(ruleset, probes), replies_pass || !tracks);
    [verdicts, counts]
}

/// How many random policies are loaded; `EDGEWARD_POLICIES` sets another number.
fn policies() -> u64 {
    env::var("EDGEWARD_POLICIES").ok().and_then(|text| text.parse().ok()).unwrap_or(25)
}

#[test]
fn kernel_and_evaluate_agree_on_random_policies() {
    need_namespaces!();
    let catalog = Catalog::embedded().unwrap();
    for seed in 0..policies() {
        let mut dice = Dice::new(seed);
        let declared = intent(&policy_text(&mut dice).yaml(), &catalog);
        let resolved = declared.bind(&resolution(&declared, &mut dice)).unwrap();
        let ruleset = lower(&resolved);
        let place = match &resolved.gateway {
            None => Place::host("10.2.3.7", "2001:db8:a::7"),
            Some(gateway) => Place::Gateway(gateway.covered.all().prefixes().map(|it| it.net().to_string()).collect()),
        };
        let probes = Sampler::new(&place, &resolved, &ruleset).draw(500, &mut dice);
        let disagreements = || {
            let topology = place.topology();
            topology.load(&emit::nft(&ruleset)).unwrap();
            disagreements(&topology, &ruleset, &probes)
        };
        let [verdicts, counts] = disagreements();
        assert!(verdicts.is_empty(), "seed {seed}:\n{}", verdicts.join("\n"));
        // On a busy host the kernel now and then sends a packet of its own, and that is counted. What is counted wrong is
        // wrong the next time, too.
        let again = if counts.is_empty() { Vec::new() } else { disagreements().concat() };
        assert!(again.is_empty(), "seed {seed}:\n{}\nand before:\n{}", again.join("\n"), counts.join("\n"));
    }
}

/// What the kernel does is compared with what the policy means, packet by packet.
#[test]
fn a_change_in_the_kernel_is_seen() {
    need_namespaces!();
    let scenario = scenario("express_connect_flannel");
    let topology = enforced(&scenario);
    let folder = folder_of(&scenario);
    let policy = folder.path().join("policy.yaml");
    let diff = || {
        let output = topology.run_under_test(&[env!("CARGO_BIN_EXE_edgeward"), "diff", policy.to_str().unwrap()]);
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), out, err)
    };
    let nft = |command: &str| topology.load(command).unwrap();
    let (code, said, err) = diff();
    assert_eq!(code, Some(0), "{said}{err}");

    nft("add element inet edgeward ssh_v4 { 203.0.113.0/24 }");
    let (code, said, _) = diff();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("newly denied"), "{said}");
    assert!(said.contains("input, tcp/22 from 203.0.113.0/24\n"), "{said}");
    nft("delete element inet edgeward ssh_v4 { 203.0.113.0/24 }");
    assert_eq!(diff().0, Some(0));

    // A rule that edgeward has no words for is not passed over.
    nft("insert rule inet edgeward input ip ttl 3 accept");
    let (code, said, err) = diff();
    assert_eq!((code, said.as_str()), (Some(4), ""), "{err}");
    let place = "rule 1 of the chain `input` has a match on 1 byte at offset 8 of the network header";
    assert!(err.contains(place) && err.contains("`nft list table inet edgeward` shows it"), "{err}");

    nft("delete table inet edgeward; add table inet edgeward");
    assert_eq!(diff().0, Some(1));
    nft("delete table inet edgeward");
    let (code, said, err) = diff();
    assert_eq!(code, Some(1), "{said}");
    assert!(err.contains("the kernel has no table"), "{err}");
}

/// Every way to break a ruleset, as text of the artefact and what stands in its place, and a probe that must notice.
const MUTATIONS: [(&str, &str, &str); 10] = [
    ("\t\t\t192.168.10.20\n", "\t\t\t192.168.10.21\n", "out tcp  10.0.0.20 → 192.168.10.20:6443"),
    ("198.51.100.7, 198.51.100.8, ", "198.51.100.7, ", "out udp  10.0.0.20 → 198.51.100.8:123"),
    ("\t\t\t172.21.0.0/20\n", "\t\t\t172.21.0.0/19\n", "in  tcp  172.21.16.0 → 10.0.0.20:8080"),
    ("9445 : jump input_tcp_9100", "9446 : jump input_tcp_9100", "in  tcp  192.168.0.9 → 10.0.0.20:9446"),
    ("ip saddr @ssh_v4 ", "", "in  tcp  9.255.255.255 → 10.0.0.20:22"),
    ("\"denied_input\" drop", "\"denied_input\" accept", "in  tcp  2001:4860::8 → [2001:db8::20]:443"),
    ("\"denied_input\" drop", "\"denied_input\" reject", "in  ipip 192.168.0.9 → 10.0.0.20"),
    ("reject with icmpx type admin-prohibited", "drop", "out udp  10.0.0.20 → 8.8.8.8:443"),
    ("udp sport 67 counter", "counter", "in  udp  10.0.0.2:68 → 10.0.0.20:68"),
    (
        "ct state invalid counter name \"invalid_output\" drop",
        "counter",
        "out tcp-reply 10.0.0.20:10250 → 192.168.0.9:40000",
    ),
];

#[test]
fn every_mutation_is_noticed() {
    need_namespaces!();
    let scenario = scenario("express_connect_flannel");
    let (text, intent) = (compiled(&scenario, "nft"), scenario.intent());
    let ruleset = lower(&intent);
    let random = Sampler::new(&scenario.place, &intent, &ruleset).draw(PROBES, &mut Dice::new(1));
    let topology = scenario.place.topology();
    for (old, new, noticed_by) in MUTATIONS {
        assert!(text.contains(old), "the ruleset has no `{old}`");
        let mutant = text.replacen(old, new, 1);
        topology.load(&mutant).unwrap();
        let surprises = surprises(&topology, &scenario.rows);
        let noticed = surprises.iter().any(|surprise| surprise.starts_with(&format!("{noticed_by}: ")));
        assert!(noticed, "`{old}` → `{new}` went unnoticed by {noticed_by}:\n{}", surprises.join("\n"));
        topology.load(&mutant).unwrap();
        assert!(!disagreements(&topology, &ruleset, &random).is_empty(), "{noticed_by} seen by no random probe");
    }
}

#[test]
fn programs_on_an_edge_host() {
    need_namespaces!();
    let scenario = scenario("express_connect_flannel");
    let topology = enforced(&scenario);
    let (host, world) = (Side::UnderTest, Side::Outside);

    let mut out = Conversation::open(&topology, (host, "10.0.0.20"), (world, "192.168.10.20:6443")).unwrap();
    let mut ssh = Conversation::open(&topology, (world, "10.0.0.9"), (host, "10.0.0.20:22")).unwrap();
    let mut v6 = Conversation::open(&topology, (host, "2001:db8::20"), (world, "[2001:db8:1::10]:443")).unwrap();
    for _ in 0..2 {
        out.speak().unwrap();
        ssh.speak().unwrap();
        v6.speak().unwrap();
        // A second load of the same ruleset interrupts no connection.
        topology.load(&compiled(&scenario, "nft")).unwrap();
    }
    assert_refused(&topology, (host, "10.0.0.20"), (world, "192.168.10.21:6443"), REJECTED);
    assert_refused(&topology, (host, "10.0.0.20"), (world, "192.168.10.20:443"), REJECTED);
    assert_refused(&topology, (world, "192.168.0.9"), (host, "10.0.0.20:2222"), DROPPED);
    assert_refused(&topology, (world, "10.0.1.9"), (host, "10.0.0.20:22"), DROPPED);

    ask(&topology, (host, "10.0.0.20"), (world, "10.0.0.53:53")).unwrap();
    let denied = ask(&topology, (host, "10.0.0.20"), (world, "8.8.8.8:53")).unwrap_err();
    assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied, "{denied}");
    assert_unheard(&topology, (world, "8.8.8.8"), (host, "10.0.0.20:53"));

    // Loopback is always open.
    Conversation::open(&topology, (host, "127.0.0.1"), (host, "127.0.0.1:9999")).unwrap().speak().unwrap();
    Conversation::open(&topology, (host, "::1"), (host, "[::1]:9999")).unwrap().speak().unwrap();
    ask(&topology, (host, "10.0.0.20"), (host, "10.0.0.20:9999")).unwrap();
}

#[test]
fn programs_behind_a_gateway() {
    need_namespaces!();
    for name in ["idc_gateway_fine", "idc_gateway_fine_stateless"] {
        let topology = enforced(&scenario(name));
        let (idc, cloud) = (Side::Inside, Side::Outside);
        let open = |client, server| Conversation::open(&topology, client, server).unwrap().speak().unwrap();
        open((idc, "10.1.2.3"), (cloud, "192.168.10.20:6443"));
        open((cloud, "192.168.10.9"), (idc, "10.1.2.3:10250"));
        open((cloud, "198.51.100.9"), (idc, "10.1.2.3:22"));
        assert_refused(&topology, (idc, "10.1.2.3"), (cloud, "192.168.10.20:443"), REJECTED);
        assert_refused(&topology, (cloud, "192.168.11.9"), (idc, "10.1.2.3:10250"), REJECTED);
        ask(&topology, (idc, "10.1.2.3"), (cloud, "192.168.10.53:53")).unwrap();
        assert_unheard(&topology, (idc, "10.1.2.3"), (cloud, "8.8.8.8:53"));
    }
}

/// A table after edgeward's that counts what conntrack did with tunnel packets.
const WATCH: &str = "
    table inet watch {
        counter tracked_in { }
        counter untracked_in { }
        counter tracked_out { }
        counter untracked_out { }
        chain input {
            type filter hook input priority filter + 1;
            udp dport 8472 ct state untracked counter name untracked_in accept
            udp dport 8472 counter name tracked_in
        }
        chain output {
            type filter hook output priority filter + 1;
            udp dport 8472 ct state untracked counter name untracked_out accept
            udp dport 8472 counter name tracked_out
        }
    }";

#[test]
fn conntrack_never_sees_the_tunnel() {
    need_namespaces!();
    let topology = enforced(&scenario("public_flannel"));
    topology.load(WATCH).unwrap();
    let (host, world) = (Side::UnderTest, Side::Outside);
    for (host_address, peer) in [("10.20.0.20", "10.20.0.9"), ("2001:db8:20::20", "2001:db8:20::9")] {
        let tunnel = |address: &str| SocketAddr::new(address.parse().unwrap(), 8472);
        // What answers comes from a port of its own, so that `ask` would not hear it.
        for (from, to) in [((world, peer), (host, host_address)), ((host, host_address), (world, peer))] {
            let receiver = topology.within(to.0, || bound(|| UdpSocket::bind(tunnel(to.1)))).unwrap();
            receiver.set_read_timeout(Some(PATIENCE)).unwrap();
            let sender = topology.within(from.0, || UdpSocket::bind((from.1, 0))).unwrap();
            sender.send_to(b"frame", tunnel(to.1)).unwrap();
            assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 5);
        }
    }
    let counters = topology.counters();
    let watched = ["untracked_in", "untracked_out", "tracked_in", "tracked_out", "flow_flannel-vxlan"];
    assert_eq!(watched.map(|name| counters[name]), [2, 2, 0, 0, 4]);
}

#[test]
fn dhcpv6_asks_all_servers_on_the_link() {
    need_namespaces!();
    let topology = enforced(&scenario("public_flannel"));
    let send = |sport: u16, dport: u16| {
        topology.within(Side::UnderTest, || {
            let client = bound(|| UdpSocket::bind(("::", sport))).unwrap();
            client.send_to(b"solicit", ("ff02::1:2%eth0", dport))
        })
    };
    send(546, 547).unwrap();
    for (sport, dport) in [(545, 547), (546, 546)] {
        assert_eq!(send(sport, dport).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
    let counters = topology.counters();
    assert_eq!([counters["flow_dhcpv6"], counters["denied_output"]], [1, 2]);
}
