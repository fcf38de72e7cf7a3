//! The program is removed, replaced, or runs in a container, while a change is pending or about to be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::host::{ELSEWHERE, Host, OFFICE, Run, soon};

const PROGRAM: &str = env!("CARGO_BIN_EXE_edgeward");

#[test]
fn uninstall_undoes_what_is_pending_and_keeps_what_is_confirmed() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let confirmed = host.rules();
    host.edgeward("apply other.yaml --confirm-within 1h").ends(0);
    host.edgeward("uninstall").ends(0).says(&[
        "generation 2 was not confirmed, and is undone: generation 1 is in force again",
        "generation 1 stays in force until the host reboots",
        "nft delete table inet edgeward",
    ]);
    assert_eq!(host.rules(), confirmed);
    assert!(soon(|| host.watchers().is_empty()));
    host.edgeward("history").ends(0).says(&["the package is being"]);
    let again = host.edgeward("uninstall").ends(0).says(&["generation 1 stays in force"]).said();
    assert!(!again.contains("undone"), "{again}");
    assert_eq!(host.rules(), confirmed);
}

#[test]
fn uninstall_removes_the_rules_only_if_told_and_for_good() {
    need_namespaces!();
    let host = Host::new();
    host.nft("add table inet others");
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --confirm-within 1h").ends(0);
    host.edgeward("uninstall --remove-rules").ends(0).says(&["generation 2", "generation 1 is removed", "accepted"]);
    assert!(!host.has_table());
    assert!(host.nft("list tables").contains("inet others"));
    host.edgeward("boot").ends(0).says(&["nothing to load"]);
    assert!(!host.has_table());
    let document = host.edgeward("uninstall --remove-rules --format json").ends(0).out;
    assert!(document.contains("\"changed\": false") && document.contains("\"generation\": null"), "{document}");
    // It is no verdict on the policy.
    host.edgeward("apply policy.yaml").ends(0);
    assert!(host.lets_in(OFFICE));
}

#[test]
fn uninstall_is_not_stopped_by_what_others_did() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("uninstall").ends(0).says(&["does not exist", "no rules"]);
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --confirm-within 1h").ends(0);
    host.nft("add rule inet edgeward input meta mark 7 accept");
    host.nft("add rule inet edgeward input numgen random mod 2 0 accept");
    host.edgeward("uninstall").ends(0).says(&["generation 2 was not confirmed"]);
    assert!(host.lets_in(OFFICE) && !host.lets_in(ELSEWHERE));
    host.nft("add rule inet edgeward input numgen random mod 2 0 accept");
    host.edgeward("uninstall --remove-rules").ends(0);
    assert!(!host.has_table());
    // The state folder was removed first.
    host.edgeward("apply policy.yaml").ends(0);
    fs::remove_dir_all(host.path("state")).unwrap();
    host.edgeward("uninstall").ends(0).says(&["stays until the host reboots"]);
    assert!(host.has_table());
    host.edgeward("uninstall --remove-rules").ends(0).says(&["the table is removed"]);
    assert!(!host.has_table());
}

/// Applies a change to be confirmed with a copy of the program, which is removed then.
fn apply_and_remove_the_program(host: &Host, confirm_within: &str) {
    let copy = host.path("edgeward");
    fs::copy(PROGRAM, &copy).unwrap();
    let mut apply = Command::new(&copy);
    apply.args(["apply", "other.yaml", "--state-dir", "state", "--confirm-within", confirm_within]);
    host.run(apply.current_dir(host.folder.path()).env("NO_COLOR", "1")).ends(0);
    fs::remove_file(&copy).unwrap();
    assert!(host.lets_in(ELSEWHERE));
}

#[test]
fn a_change_is_undone_although_the_program_is_gone() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let former = host.rules();
    apply_and_remove_the_program(&host, "3s");
    assert!(soon(|| host.rules() == former));
}

#[test]
fn a_watcher_that_cannot_read_a_newer_state_leaves_it_to_the_newer_program() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let former = host.rules();
    apply_and_remove_the_program(&host, "4s");
    let version = host.state()["version"].to_string();
    let mut state = host.state();
    state["version"] = 999.into();
    host.write("state/state.json", &format!("{state:#}"));
    host.edgeward("status").ends(4).says(&["version 999"]);
    // The newer program knows both.
    let newer = format!(
        "#!/bin/sh\nsed -i 's/\"version\": 999/\"version\": {version}/' \"$3/state.json\"\nexec {PROGRAM} \"$@\"\n"
    );
    host.write("edgeward", &newer);
    fs::set_permissions(host.path("edgeward"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(soon(|| host.rules() == former));
    assert!(soon(|| host.watchers().is_empty()));
    host.edgeward("status").ends(0).says(&["generation 1 is in force"]);
}

/// Applies the other policy in a container of the network namespace under test, with an argument in addition.
fn in_container(host: &Host, unshare: &str, init: &str, argument: &str) -> Run {
    let apply = format!("$EDGEWARD apply other.yaml --state-dir state --confirm-within 1h {argument}");
    host.script(&format!("cp /bin/sh init; unshare {unshare} {init} -c '{apply}; code=$?; exit $code'"))
}

#[test]
fn in_a_container_a_deadline_is_refused_and_not_promised() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let (rules, records) = (host.rules(), host.records());
    for unshare in ["--pid --fork --mount-proc", "--pid --fork", "--cgroup"] {
        for argument in ["", "--force", "--dry-run"] {
            in_container(&host, unshare, "sh", argument).ends(5).says(&[
                "--confirm-within",
                "container",
                "on the host",
            ]);
            assert!(host.rules() == rules && host.records() == records, "{unshare} {argument}");
        }
    }
    let refused = in_container(&host, "--pid --fork --mount-proc", "sh", "--format json").ends(5).out;
    assert!(refused.contains("\"check\": \"watcher\""), "{refused}");
    // Without a deadline, nothing is promised.
    host.script("unshare --pid --fork --mount-proc $EDGEWARD apply other.yaml --state-dir state").ends(0);
    assert!(host.lets_in(ELSEWHERE));
    host.script("unshare --pid --fork --mount-proc $EDGEWARD rollback --state-dir state --confirm-within 1h").ends(5);
    assert!(host.lets_in(ELSEWHERE));
}

#[test]
fn where_an_init_system_runs_or_the_rules_go_with_the_container_a_deadline_is_kept() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    in_container(&host, "--pid --fork --mount-proc", "./init", "").ends(0).says(&["pending"]);
    host.edgeward("rollback").ends(0);
    let inner = "unshare --net $EDGEWARD apply policy.yaml --state-dir inner --confirm-within 1h";
    host.script(&format!("unshare --pid --fork --mount-proc sh -c '{inner}; true'")).says(&["pending"]);
    // The network of the machine is there for longer than any container: also under an init system.
    if !Path::new("/proc/sys/net/core/netdev_max_backlog").exists() {
        return;
    }
    let dry =
        format!("{PROGRAM} apply policy.yaml --state-dir state --confirm-within 1h --dry-run; code=$?; exit $code");
    let mut command = Command::new("timeout");
    command.args(["60", "unshare", "--pid", "--fork", "--mount-proc", "./init", "-c", &dry]);
    let run = Run::of(&command.current_dir(host.folder.path()).env("NO_COLOR", "1").output().unwrap());
    run.ends(5).says(&["the network of its host"]);
}
