//! Others in the same kernel, and the program beside itself: two at once, and killed half way.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::host::{ELSEWHERE, Host, OFFICE, zone};
use crate::support::netns::{Hook, Probe, Proto, Side};

/// What Docker, kube-proxy and an operator leave in a kernel.
const NEIGHBOURS: &str = r#"
table ip nat {
    chain DOCKER { iifname "docker0" counter return; }
    chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; fib daddr type local counter jump DOCKER; }
    chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; oifname != "docker0" ip saddr 172.17.0.0/16 counter masquerade; }
}
table ip filter {
    counter seen { packets 7 bytes 700 }
    quota allowance { over 10 mbytes }
    set KUBE-CLUSTER-IP { type ipv4_addr . inet_proto . inet_service; elements = { 10.96.0.1 . tcp . 443, 10.96.0.10 . udp . 53 }; }
    set recent { type ipv4_addr; flags dynamic; size 100; }
    map KUBE-SERVICES { type ipv4_addr . inet_service : verdict; elements = { 10.96.0.1 . 443 : goto KUBE-SVC }; }
    chain KUBE-SVC { numgen random mod 2 vmap { 0 : accept, 1 : accept }; }
    chain DOCKER-USER { counter return; }
    chain FORWARD { type filter hook forward priority filter; policy drop; counter jump DOCKER-USER; }
    chain INPUT { type filter hook input priority filter; policy accept; counter name "seen"; meta mark & 0x00004000 == 0x00004000 counter drop; ip daddr . tcp dport vmap @KUBE-SERVICES; }
}
table inet edgeward2 { chain input { type filter hook input priority 5; policy accept; tcp dport 22 counter accept; }; }
table ip6 edgeward { chain input { type filter hook input priority 5; policy accept; counter; }; }
table arp edgeward { chain in { type filter hook input priority 0; policy accept; }; }
"#;

fn others(host: &Host) -> String {
    let tables = host.nft("list tables");
    let others = tables.lines().filter(|line| *line != "table inet edgeward");
    let tables: String = others.map(|table| host.nft(&format!("-a list {table}"))).collect();
    tables + &ipset(host, &["save"]).unwrap_or_default()
}

/// Runs the program ipset, whose sets stand beside nftables; `None` where it is not installed.
fn ipset(host: &Host, arguments: &[&str]) -> Option<String> {
    let output = host.topology.run_under_test(&[&["sh", "-c", "exec ipset \"$@\"", "sh"], arguments].concat());
    let is_absent = output.status.code() == Some(127) && std::env::var_os("REQUIRE_IPSET").is_none();
    assert!(is_absent || output.status.success(), "{output:?}");
    (!is_absent).then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn tables_of_others_are_the_same_before_and_after_every_command() {
    need_namespaces!();
    let host = Host::new();
    host.topology.load(NEIGHBOURS).unwrap();
    let sets = ipset(&host, &["create", "blocked", "hash:net", "counters"])
        .and_then(|_| ipset(&host, &["add", "blocked", "203.0.113.0/24", "packets", "7", "bytes", "700"]))
        .and_then(|_| ipset(&host, &["save"]));
    assert!(sets.is_none_or(|sets| sets.contains("203.0.113.0/24 packets 7 bytes 700")));
    host.topology.probe(&Probe::new(Hook::Input, Proto::Tcp, [10, 0, 0, 9], [10, 0, 0, 20], 22));
    let before = others(&host);
    assert!(before.contains("packets 8 bytes"), "{before}");
    let server = host.topology.within(Side::UnderTest, || zone(&["203.0.113.8"]).serve_without_tcp());
    let refresh = format!("refresh policy.yaml --server {}", server.address());
    let lines = [
        ("boot", 0),
        ("apply policy.yaml --dry-run", 0),
        ("apply policy.yaml", 0),
        ("apply other.yaml --confirm-within 1m", 0),
        ("rollback", 0),
        ("apply other.yaml --force", 0),
        ("confirm", 0),
        ("rollback 1", 0),
        ("status", 0),
        ("history", 0),
        ("diff policy.yaml", 0),
    ];
    // The DNS server is asked over loopback, which the neighbours count, too: its packets are the last.
    for (line, code) in lines {
        host.edgeward(line).ends(code);
        assert_eq!(others(&host), before, "{line}");
    }
    host.nft("insert rule inet edgeward input meta skuid 5 accept");
    host.edgeward("apply policy.yaml --force").ends(0);
    host.nft("delete table inet edgeward");
    host.edgeward("boot").ends(0);
    assert_eq!(others(&host), before);
    host.edgeward(&refresh).ends(0);
    let uncounted = |text: &str| {
        let words = text.split_whitespace().map(|word| if word.parse::<u64>().is_ok() { "#" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(uncounted(&others(&host)), uncounted(&before));
}

#[test]
fn two_at_once_are_never_mixed() {
    need_namespaces!();
    let host = Host::new();
    for round in 0..20 {
        let codes: Vec<Option<i32>> = thread::scope(|scope| {
            let runs = ["apply policy.yaml", "apply other.yaml"].map(|line| scope.spawn(|| host.edgeward(line)));
            runs.map(|run| run.join().unwrap().code).to_vec()
        });
        assert_eq!(codes, [Some(0), Some(0)], "round {round}");
        assert!(host.lets_in(OFFICE) != host.lets_in(ELSEWHERE), "round {round}");
        let current = host.state()["current"].as_u64().unwrap();
        let recorded = host.read(&format!("state/generations/{current}/policy.yaml"));
        assert!(host.lets_in(if recorded.contains(ELSEWHERE) { ELSEWHERE } else { OFFICE }), "round {round}");
        assert_eq!(host.state()["pending"], serde_json::Value::Null);
    }
    host.edgeward("status").ends(0).says(&["in force, as it was applied"]);
    let current = host.state()["current"].as_u64().unwrap();
    let kept = host.path(&format!("state/generations/{current}/ruleset.nft"));
    assert_eq!(Host::loaded(&kept), host.rules());
}

#[test]
fn all_verbs_at_once_leave_one_truth() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let verbs = [
        "apply policy.yaml",
        "apply other.yaml",
        "status",
        "confirm",
        "rollback",
        "history",
        "boot",
        "diff policy.yaml",
    ];
    for _ in 0..3 {
        thread::scope(|scope| {
            let runs = verbs.map(|verb| scope.spawn(|| host.edgeward(verb)));
            for (verb, run) in verbs.iter().zip(runs) {
                let run = run.join().unwrap();
                // What was rolled back is not applied again just like that.
                assert!(matches!(run.code, Some(0..=2 | 5)) && !run.err.contains("panicked"), "{verb}: {run:?}");
            }
        });
    }
    host.edgeward("status").ends(0).says(&["in force, as it was applied"]);
}

#[test]
fn a_killed_apply_leaves_the_old_rules_or_the_new() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let office = host.rules();
    let begin = Instant::now();
    host.edgeward("apply other.yaml").ends(0);
    // As long as this host takes for one, with what else it has to do.
    let whole = begin.elapsed();
    let elsewhere = host.rules();
    let sets = |text: &str| text.matches("\tset ").count();
    let (mut done, mut killed) = (0, 0);
    for step in 0..240 {
        if step >= 24 && done > 0 && killed > 5 {
            break;
        }
        let (line, wanted) = if step % 2 == 0 { ("policy.yaml", &office) } else { ("other.yaml", &elsewhere) };
        let mut apply = std::process::Command::new(env!("CARGO_BIN_EXE_edgeward"));
        apply.args(["apply", line, "--state-dir", "state"]).current_dir(host.folder.path());
        apply.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).env_remove("SSH_CONNECTION");
        let mut child = host.topology.within(Side::UnderTest, || apply.spawn()).unwrap();
        thread::sleep(whole * (step % 24) / 16);
        // It may have ended by itself.
        let _ = child.kill();
        if child.wait().unwrap().success() {
            done += 1
        } else {
            killed += 1
        }
        // A child of its own may still be at work.
        thread::sleep(Duration::from_millis(50));
        assert!(host.lets_in(OFFICE) != host.lets_in(ELSEWHERE), "step {step}");
        host.edgeward("status").ends(0);
        host.edgeward(&format!("apply {line}")).ends(0);
        assert_eq!(&host.rules(), wanted, "step {step}");
        assert_eq!(sets(&host.rules()), sets(wanted));
        host.edgeward("status").ends(0).says(&["in force, as it was applied"]);
    }
    assert!(done > 0 && killed > 5, "{done} done, {killed} killed");
}

#[test]
fn a_killed_boot_is_made_up_for_by_the_next() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let whole = host.rules();
    for step in 0..8 {
        host.nft("flush ruleset");
        let mut boot = std::process::Command::new(env!("CARGO_BIN_EXE_edgeward"));
        boot.args(["boot", "--state-dir", "state"]).current_dir(host.folder.path());
        boot.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = host.topology.within(Side::UnderTest, || boot.spawn()).unwrap();
        thread::sleep(Duration::from_millis(step * 5));
        let _ = child.kill();
        child.wait().unwrap();
        thread::sleep(Duration::from_millis(30));
        // New sets that no rule knows yet do no harm.
        assert!(!host.rules().contains("chain") || host.rules() == whole, "step {step}: half a table");
        host.edgeward("boot").ends(0);
        assert_eq!(host.rules(), whole, "step {step}");
    }
}
