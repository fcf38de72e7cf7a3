//! `--confirm-within`: what is not confirmed is undone, whether or not the session that applied it is still there.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::host::{ELSEWHERE, Host, MIRROR, OFFICE, OPERATOR, Session, eventually, soon, zone};
use crate::support::netns::Side;

#[test]
fn without_confirmation_the_former_generation_comes_back() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let former = host.rules();
    let begin = Instant::now();
    host.edgeward("apply other.yaml --confirm-within 5s").ends(0).says(&["pending", "edgeward confirm"]);
    assert!(host.lets_in(ELSEWHERE) && !host.lets_in(OFFICE));
    host.edgeward("status").ends(0).says(&["pending"]);
    assert!(soon(|| host.rules() == former));
    assert!(begin.elapsed() >= Duration::from_secs(4), "too early: {:?}", begin.elapsed());
    assert!(soon(|| host.watchers().is_empty()));
    let status = host.edgeward("status").ends(0).says(&["generation 1 is in force", "generation 2 was undone"]).said();
    assert!(!status.contains("pending"), "{status}");
    host.edgeward("history").ends(0).says(&["undone"]);
    host.edgeward("confirm").ends(5).says(&["generation 2"]);
}

#[test]
fn a_change_after_the_table_was_removed_falls_back_to_what_was_confirmed() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let confirmed = host.rules();
    host.nft("flush ruleset");
    host.edgeward("apply other.yaml --confirm-within 3s").ends(0).says(&["generation 1 comes back"]);
    assert!(host.lets_in(ELSEWHERE));
    assert!(soon(|| host.rules() == confirmed));
}

#[test]
fn a_rollback_to_the_pending_generation_does_not_confirm_it() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --confirm-within 60s").ends(0);
    host.edgeward("rollback 2").ends(5).says(&["generation 2", "edgeward confirm"]);
    host.edgeward("status").ends(0).says(&["pending"]);
    host.edgeward("rollback").ends(0).says(&["generation 1 is in force"]);
}

#[test]
fn what_is_confirmed_from_anywhere_stays() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml --confirm-within 5s").ends(0);
    // Another session: other folder, no terminal, the state directory in other words.
    let mut confirm = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    confirm.args(["confirm", "--state-dir"]).arg(host.path("state/../state")).current_dir("/");
    host.run(&mut confirm).ends(0).says(&["generation 1"]);
    assert!(!eventually(Duration::from_millis(6500), || !host.has_table()));
    assert!(host.watchers().is_empty());
    host.edgeward("confirm").ends(0);
    host.nft("flush ruleset");
    host.edgeward("boot").ends(0);
    assert!(host.has_table());
}

#[test]
fn the_first_apply_goes_back_to_no_table() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml --confirm-within 3s").ends(0);
    assert!(host.has_table());
    assert!(soon(|| !host.has_table()));
    host.edgeward("status").ends(0).says(&["no table"]);
    host.edgeward("boot").ends(0);
    assert!(!host.has_table());
}

#[test]
fn arming_again_extends_the_time() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --confirm-within 4s").ends(0);
    host.edgeward("apply other.yaml --confirm-within 12s").ends(0);
    assert!(!eventually(Duration::from_millis(4500), || host.lets_in(OFFICE)), "the old deadline still counts");
    assert!(soon(|| host.lets_in(OFFICE)), "the new deadline does not count");
    assert!(soon(|| host.watchers().is_empty()));
    // To the former generation, not to the one that was first pending.
    host.edgeward("status").ends(0).says(&["generation 1 is in force"]);
}

#[test]
fn one_change_takes_the_place_of_a_pending_one_and_both_go() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.write("third.yaml", &super::host::policy("10.0.2.0/24"));
    host.write("third.lock.yaml", &host.read("policy.lock.yaml"));
    host.edgeward("apply other.yaml --confirm-within 4s").ends(0);
    host.edgeward("apply third.yaml --confirm-within 12s").ends(0);
    assert!(!eventually(Duration::from_millis(4500), || !host.lets_in("10.0.2.0/24")));
    assert!(soon(|| host.lets_in(OFFICE)));
    host.edgeward("apply third.yaml").ends(5);
    host.edgeward("apply other.yaml").ends(5);
}

#[test]
fn nothing_else_comes_in_while_a_change_is_pending() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --confirm-within 1h").ends(0);
    let before = host.rules();
    for verb in ["apply policy.yaml", "apply other.yaml"] {
        host.edgeward(verb).ends(5).says(&["pending", "confirm"]);
    }
    assert_eq!(host.rules(), before);
    // To undo it needs no deadline.
    host.edgeward("rollback").ends(0).says(&["generation 1"]);
    assert!(host.lets_in(OFFICE));
    assert!(soon(|| host.watchers().is_empty()), "a watcher stays for an hour");
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("confirm").ends(5);
}

#[test]
fn a_policy_that_was_undone_is_not_applied_by_mistake() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --confirm-within 1s").ends(0);
    assert!(soon(|| host.lets_in(OFFICE)));
    host.edgeward("apply other.yaml").ends(5).says(&["--confirm-within", "--force"]);
    let server = host.topology.within(Side::UnderTest, || zone(&["203.0.113.7"]).serve_without_tcp());
    host.edgeward(&format!("refresh other.yaml --server {}", server.address()))
        .ends(0)
        .says(&["the policy `other.yaml`"]);
    // The confirmed policy gets new answers, and the undone one stays undone.
    let server = host.topology.within(Side::UnderTest, || zone(&["203.0.113.8"]).serve_without_tcp());
    host.edgeward(&format!("refresh other.yaml --server {}", server.address())).ends(0);
    assert!(host.lets_in(OFFICE) && host.rules().contains("203.0.113.8"));
    host.edgeward("apply other.yaml").ends(5);
    assert!(host.lets_in(OFFICE));
    host.edgeward("refresh policy.yaml").ends(3);
    host.edgeward("apply other.yaml --confirm-within 1m").ends(0);
    host.edgeward("confirm").ends(0);
    assert!(host.lets_in(ELSEWHERE));
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml").ends(0);
}

#[test]
fn a_lockout_is_over_although_the_shell_was_killed() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let former = host.rules();
    let session = Session::open(&host, OPERATOR, "10.0.0.20:22", "10.0.0.20:22");
    host.edgeward("apply other.yaml").ends(5).says(&[&session.source().to_string()]);
    assert_eq!(host.rules(), former);
    // A shell with a process group of its own, which dies as soon as the rules are there.
    let script = format!(
        "'{}' apply other.yaml --force --confirm-within 6s --state-dir state; kill -9 0",
        env!("CARGO_BIN_EXE_edgeward")
    );
    let mut shell = Command::new("setsid");
    shell.args(["--wait", "sh", "-c", &script]).current_dir(host.folder.path()).process_group(0);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    host.topology.within(Side::UnderTest, || shell.status()).unwrap();
    assert!(host.lets_in(ELSEWHERE));
    assert!(soon(|| host.rules() == former), "still locked out");
    assert!(session.is_alive());
}

#[test]
fn the_watcher_holds_nothing_of_who_started_it() {
    need_namespaces!();
    let host = Host::new();
    let mut apply = host.command(["apply", "policy.yaml", "--confirm-within", "30s"]);
    // With pipes: `output` returns only when the last process that holds them is gone.
    host.run(&mut apply).ends(0);
    let watchers = host.watchers();
    assert_eq!(watchers.len(), 1, "the watcher holds standard output");
    let proc = |name: &str| format!("/proc/{}/{name}", watchers[0]);
    let status = std::fs::read_to_string(proc("stat")).unwrap();
    let fields: Vec<&str> = status.rsplit(')').next().unwrap().split_whitespace().collect();
    let (session, terminal) = (fields[3], fields[4]);
    let mine = std::fs::read_to_string("/proc/self/stat").unwrap();
    let mine: Vec<&str> = mine.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_ne!(session, mine[3], "it is of the session that SSH ends");
    assert_eq!(terminal, "0", "it has a terminal");
    let folder = std::fs::read_link(proc("cwd")).unwrap();
    assert_ne!(folder, host.folder.path(), "it keeps the operator's folder busy");
    host.edgeward("rollback").ends(0);
    assert!(!host.has_table());
}

#[test]
fn a_killed_watcher_is_made_up_for_by_the_next_command() {
    need_namespaces!();
    for verb in ["confirm", "apply policy.yaml", "boot"] {
        let host = Host::new();
        host.edgeward("apply policy.yaml").ends(0);
        host.edgeward("apply other.yaml --confirm-within 3s").ends(0);
        host.kill_watchers();
        std::thread::sleep(Duration::from_millis(3200));
        host.edgeward("status").ends(0).says(&["warning", "pending"]);
        host.edgeward("history").ends(0);
        assert!(host.lets_in(ELSEWHERE), "{verb}: who only looks changes nothing");
        host.edgeward(verb);
        assert!(host.lets_in(OFFICE), "{verb}");
    }
}

#[test]
fn a_refresh_undoes_what_is_overdue_although_dns_fails() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --confirm-within 3s").ends(0);
    host.kill_watchers();
    std::thread::sleep(Duration::from_millis(3200));
    host.edgeward("refresh policy.yaml --server 127.0.0.1:1").ends(3);
    assert!(host.lets_in(OFFICE));
}

#[test]
fn a_reboot_ends_what_is_pending() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let former = host.rules();
    host.edgeward("apply other.yaml --confirm-within 1h").ends(0);
    // No process, no rules, another boot.
    host.kill_watchers();
    host.nft("flush ruleset");
    let mut state = host.state();
    state["pending"]["boot"] = "11111111-2222-3333-4444-555555555555".into();
    host.write("state/state.json", &state.to_string());
    host.edgeward("boot").ends(0);
    assert_eq!(host.rules(), former);
    host.edgeward("confirm").ends(5);
    host.edgeward("apply other.yaml").ends(5);
    assert_eq!(host.rules(), former);
}

#[test]
fn a_reboot_without_boot_is_noticed_by_every_other_command() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --confirm-within 1h").ends(0);
    host.kill_watchers();
    host.nft("flush ruleset");
    let mut state = host.state();
    state["pending"]["boot"] = "11111111-2222-3333-4444-555555555555".into();
    host.write("state/state.json", &state.to_string());
    host.edgeward("confirm").ends(5);
    assert!(!host.lets_in(ELSEWHERE));
}

#[test]
fn refreshed_sets_are_pending_too() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let former = host.rules();
    host.edgeward("apply other.yaml --confirm-within 8s").ends(0);
    let server = host.topology.within(Side::UnderTest, || zone(&["203.0.113.99"]).serve_without_tcp());
    host.edgeward(&format!("refresh other.yaml --server {}", server.address())).ends(0);
    assert!(host.rules().contains("203.0.113.99"), "{MIRROR}");
    host.edgeward("status").ends(0).says(&["pending"]);
    assert!(soon(|| host.rules() == former));
}

#[test]
fn only_times_are_times() {
    need_namespaces!();
    let host = Host::new();
    for time in ["0s", "3", "", "-1s", "1.5s", "99999999999d", "2 m", "soon"] {
        host.run(&mut host.command(["apply", "policy.yaml", &format!("--confirm-within={time}")])).ends(2);
    }
    assert!(!host.has_table() && host.records().is_empty());
}

#[test]
fn the_same_rules_can_be_armed_although_nothing_changes() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let before = host.handles();
    host.edgeward("apply policy.yaml --confirm-within 1s").ends(0).says(&["nothing to change"]);
    assert!(host.watchers().is_empty());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(host.handles(), before);
}

#[test]
fn a_rollback_can_be_pending() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml").ends(0);
    host.edgeward("rollback 1 --confirm-within 4s").ends(0).says(&["pending"]);
    assert!(host.lets_in(OFFICE));
    assert!(soon(|| host.lets_in(ELSEWHERE)));
    // The records follow the kernel.
    assert!(soon(|| host.watchers().is_empty()));
    host.edgeward("status").ends(0).says(&["generation 2 is in force"]);
}
