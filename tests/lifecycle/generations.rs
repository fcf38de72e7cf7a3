//! Generations: how they come about, are kept, left and returned to.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::host::{ELSEWHERE, Host, OFFICE};
use crate::support::netns::{Hook, Probe, Proto, Verdict};

#[test]
fn the_first_apply_records_what_it_did() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0).says(&["generation 1"]);
    assert!(host.lets_in(OFFICE));
    let kept = |name: &str| host.read(&format!("state/generations/1/{name}"));
    assert_eq!(kept("policy.yaml"), host.read("policy.yaml"));
    assert!(kept("policy.lock.yaml").contains("203.0.113.7"));
    let manifest: serde_json::Value = serde_json::from_str(&kept("manifest.json")).unwrap();
    assert_eq!(manifest["generation"], 1);
    assert_eq!(Host::loaded(&host.path("state/generations/1/ruleset.nft")), host.rules());
    // The catalog has four files; the events have one.
    assert_eq!(host.records().len(), 10, "{:?}", host.records().into_iter().map(|(path, _)| path).collect::<Vec<_>>());
    let mode = fs::metadata(host.path("state")).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0, "{mode:o}: others may write what root loads");
    host.edgeward("status").ends(0).says(&["generation 1 is in force", "denied_input", "mirror"]);
    host.edgeward("history").ends(0).says(&["1", "in force"]);
    for verb in ["status --format json", "history --format json"] {
        serde_json::from_str::<serde_json::Value>(&host.edgeward(verb).ends(0).out).unwrap();
    }
    host.edgeward("diff policy.yaml --against kernel").ends(0);
    host.edgeward("diff policy.yaml --against 1").ends(0);
}

#[test]
fn the_same_again_changes_nothing_and_says_so() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let before = (host.handles(), host.records());
    host.edgeward("apply policy.yaml").ends(0).says(&["nothing to change"]);
    host.edgeward("apply policy.yaml --force").ends(0).says(&["nothing to change"]);
    // Another text with the same meaning.
    host.write("policy.yaml", &(host.read("policy.yaml") + "# nothing\n"));
    host.edgeward("apply policy.yaml").ends(0);
    assert_eq!(host.handles(), before.0);
    host.edgeward("boot").ends(0);
    assert_eq!(host.handles(), before.0);
}

#[test]
fn a_dry_run_says_what_would_come_and_leaves_everything() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml --dry-run").ends(0).says(&["from now on all is denied but:", "ssh"]);
    assert!(!host.has_table() && host.records().is_empty());
    host.edgeward("apply policy.yaml").ends(0);
    let before = (host.handles(), host.records());
    host.edgeward("apply other.yaml --dry-run").ends(0).says(&["newly denied", "newly allowed", ELSEWHERE]);
    host.edgeward("apply other.yaml --dry-run --confirm-within 1s").ends(0);
    assert_eq!((host.handles(), host.records()), before);
}

#[test]
fn a_change_keeps_chains_and_counters() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let ssh = Probe::new(Hook::Input, Proto::Tcp, [10, 0, 0, 9], [10, 0, 0, 20], 22);
    let telnet = Probe::new(Hook::Input, Proto::Tcp, [10, 0, 0, 9], [10, 0, 0, 20], 23);
    assert_eq!(host.topology.probe_all(&[ssh, telnet, telnet]), [Verdict::Accept, Verdict::Drop, Verdict::Drop]);
    let counted = |name: &str| host.topology.counters()[name];
    assert_eq!((counted("flow_ssh"), counted("denied_input")), (1, 2));
    host.edgeward("apply other.yaml").ends(0).says(&["ssh"]);
    assert_eq!((counted("flow_ssh"), counted("denied_input")), (1, 2));
    assert_eq!(host.topology.probe(&ssh), Verdict::Drop);
    assert_eq!((counted("flow_ssh"), counted("denied_input")), (1, 3));
    host.edgeward("rollback").ends(0);
    assert_eq!(host.topology.probe(&ssh), Verdict::Accept);
    assert_eq!((counted("flow_ssh"), counted("denied_input")), (2, 3));
    let status = host.edgeward("status").ends(0).out;
    let row = status.lines().find(|line| line.starts_with("denied_input")).unwrap();
    assert_eq!(row.split_whitespace().nth(1), Some("3"), "{status}");
}

#[test]
fn rollback_goes_one_back_or_where_it_is_told() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("rollback").ends(2);
    host.edgeward("apply policy.yaml").ends(0);
    let first = host.rules();
    host.edgeward("apply other.yaml").ends(0);
    let second = host.rules();
    assert_ne!(first, second);
    host.edgeward("rollback").ends(0).says(&["generation 1"]);
    assert_eq!(host.rules(), first);
    host.edgeward("status").ends(0).says(&["generation 1 is in force"]);
    host.edgeward("rollback 2").ends(0).says(&["generation 2"]);
    assert_eq!(host.rules(), second);
    host.edgeward("rollback 2").ends(0).says(&["nothing to change"]);
    for wrong in ["rollback 3", "rollback 0", "rollback -1", "rollback x", "rollback 99999999999999999999"] {
        host.edgeward(wrong).ends(2);
    }
    assert_eq!(host.rules(), second);
    // And boot goes where it was told, too.
    host.edgeward("rollback 1").ends(0);
    host.nft("delete table inet edgeward");
    host.edgeward("boot").ends(0);
    assert_eq!(host.rules(), first);
}

#[test]
fn the_last_twenty_are_kept() {
    need_namespaces!();
    let host = Host::new();
    for number in 1..=26 {
        host.write("policy.yaml", &super::host::policy(&format!("10.0.{number}.0/24")));
        host.edgeward("apply policy.yaml").ends(0);
    }
    let kept = host.generations();
    assert_eq!((kept.len(), kept.last()), (20, Some(&26)), "{kept:?}");
    host.edgeward("rollback 1").ends(2);
    host.edgeward("rollback 7").ends(0);
    assert!(host.lets_in("10.0.7.0/24"));
    host.edgeward("diff policy.yaml --against 7").ends(1);
    // The one in force and the one that boot loads are never the ones to go.
    for number in 30..=32 {
        host.write("policy.yaml", &super::host::policy(&format!("10.0.{number}.0/24")));
        host.edgeward("apply policy.yaml --confirm-within 1h").ends(0);
    }
    host.edgeward("rollback").ends(0);
    assert!(host.lets_in("10.0.7.0/24"));
    assert!(host.generations().len() <= 21, "{:?}", host.generations());
}

#[test]
fn what_somebody_did_to_the_table_is_told_kept_and_put_right() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let whole = host.rules();
    // One rule more.
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    let tampered = host.rules();
    host.edgeward("status").ends(0).says(&["warning"]);
    host.edgeward("diff policy.yaml").ends(1).says(&["4444"]);
    assert_eq!(host.rules(), tampered);
    host.edgeward("apply policy.yaml").ends(0).says(&["generation 2"]);
    assert_eq!(host.rules(), whole);
    host.edgeward("history").ends(0).says(&["found"]);
    host.edgeward("rollback 2").ends(0);
    assert_eq!(host.rules(), tampered);
    // A user went back from it.
    host.edgeward("apply policy.yaml").ends(5).says(&["rollback", "--force"]);
    host.edgeward("apply policy.yaml --force").ends(0);
    assert_eq!(host.rules(), whole);
    // Elements less.
    let set = whole.lines().find_map(|line| line.trim().strip_prefix("set ")?.split(' ').next()).unwrap();
    host.nft(&format!("flush set inet edgeward {set}"));
    host.edgeward("status").ends(0).says(&["warning"]);
    host.edgeward("diff policy.yaml").ends(1);
    host.edgeward("apply policy.yaml").ends(0);
    assert_eq!(host.rules(), whole);
    // No table at all.
    host.nft("flush ruleset");
    host.edgeward("status").ends(0).says(&["warning", "gone"]);
    host.edgeward("history").ends(0);
    host.edgeward("diff policy.yaml").ends(1);
    host.edgeward("apply policy.yaml").ends(0);
    assert_eq!(host.rules(), whole);
    assert!(!whole.contains("4444"));
}

#[test]
fn what_edgeward_does_not_understand_is_shown_and_stays() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let whole = host.rules();
    host.nft("insert rule inet edgeward input meta skuid 5 accept");
    let before = (host.handles(), host.records());
    for verb in ["apply policy.yaml", "apply other.yaml", "apply policy.yaml --confirm-within 1m"] {
        host.edgeward(verb).ends(4).says(&["meta skuid", "--force"]);
        assert_eq!(host.handles(), before.0);
    }
    host.edgeward("status").ends(0).says(&["warning"]);
    host.edgeward("apply policy.yaml --force").ends(0);
    assert_eq!(host.rules(), whole);
}

#[test]
fn boot_loads_the_last_confirmed_generation() {
    need_namespaces!();
    let host = Host::new();
    let said = host.edgeward("boot").ends(0).said();
    assert!(!said.trim().is_empty() && !host.has_table());
    host.edgeward("apply policy.yaml").ends(0);
    let confirmed = host.rules();
    host.edgeward("apply other.yaml --confirm-within 1h").ends(0);
    host.kill_watchers();
    host.nft("flush ruleset");
    host.edgeward("boot").ends(0).says(&["generation 1"]);
    assert_eq!(host.rules(), confirmed);
    host.edgeward("boot").ends(0);
    assert_eq!(host.rules(), confirmed);
}

#[test]
fn boot_keeps_what_it_overwrites() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let whole = host.rules();
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    host.edgeward("boot").ends(0);
    assert_eq!(host.rules(), whole);
    host.edgeward("history").ends(0).says(&["found"]);
}

#[test]
fn a_mistyped_number_leaves_no_trace() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    let before = host.records();
    host.edgeward("rollback 7").ends(2);
    assert_eq!(host.records(), before);
}
