//! The units in a machine of their own: that they work under their hardening, and in their order.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::dns_server::{DnsServer, Entry, Zone};
use support::systemd::{Machine, said, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_edgeward");
const SERVICES: [&str; 3] = ["edgeward-boot.service", "edgeward.service", "edgeward-refresh.service"];
const TIMER: &str = "edgeward-refresh.timer";
/// Where `make install` puts the units.
const UNITS: &str = "/usr/local/lib/systemd/system";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server of its `dns` is on the machine's loopback interface.
const POLICY: &str = registered_policy!(
    "machine",
    "resolve: {timeout: 300ms, attempts: 1}
allow:
- {id: mirror, direction: outbound, peers: [mirror.example.com], ports: [tcp/443]}
"
);

/// A machine with edgeward installed and a policy, that is off.
fn machine() -> Machine {
    let machine = Machine::new().unwrap();
    machine.install(PROGRAM);
    machine.write("/etc/edgeward/policy.yaml", POLICY);
    machine
}

/// Puts a script in the program's place, and the program into `libexec`.
fn stand_in(machine: &Machine, script: &str) {
    let [program, moved] = ["/usr/local/bin/edgeward", "/usr/local/libexec/edgeward"].map(|path| machine.path(path));
    if !moved.exists() {
        fs::create_dir_all(moved.parent().unwrap()).unwrap();
        fs::rename(&program, moved).unwrap();
    }
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
}

fn machine_with_stand_in() -> Machine {
    let mut machine = machine();
    stand_in(&machine, include_str!("support/systemd/stand_in.sh"));
    machine.start().unwrap();
    machine
}

/// The DNS server that the policy names, in the machine; UDP alone, since it is stopped from outside.
fn serve_names(machine: &Machine, address: &str) -> DnsServer {
    machine.succeed(&["ip", "address", "replace", "10.0.0.53/32", "dev", "lo"]);
    let zone = || Zone::default().name("mirror.example.com", Entry::addresses(&[address, "2001:db8::7"], 60));
    machine.within(|| zone().serve_at("10.0.0.53:53".parse().unwrap(), false))
}

fn has_table(machine: &Machine) -> bool {
    machine.run(&["nft", "list", "table", "inet", "edgeward"]).status.success()
}

/// Whether a service starts, which may have been started before.
fn starts(machine: &Machine, service: &str) -> bool {
    // It may have been started more often than systemd likes.
    machine.succeed(&["systemctl", "reset-failed"]);
    machine.run(&["systemctl", "restart", service]).status.success()
}

#[track_caller]
fn start(machine: &Machine, service: &str) {
    assert!(starts(machine, service), "{}", machine.journal(service));
}

/// The lines of a service without any one of which it would start, as far as can be told in a while.
fn blamed(machine: &Machine, service: &str) -> Vec<String> {
    let text = fs::read_to_string(machine.path(&format!("{UNITS}/{service}"))).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let is_judged =
        |line: &str| line.contains('=') && !["#", "Exec", "Type"].iter().any(|start| line.starts_with(start));
    // What stands in /etc comes before what is installed.
    let other = format!("/etc/systemd/system/{service}");
    let starts_without = |index: &usize| {
        machine.write(&other, &[&lines[..*index], &lines[index + 1..]].concat().join("\n"));
        machine.succeed(&["systemctl", "daemon-reload"]);
        starts(machine, service)
    };
    let begin = Instant::now();
    let first = lines.iter().position(|line| *line == "[Service]").unwrap();
    let judged = (first..lines.len()).filter(|index| is_judged(lines[*index]));
    let judged = judged.take_while(|_| begin.elapsed() < PATIENCE);
    let blamed = judged.filter(starts_without).map(|index| lines[index].to_owned()).collect();
    fs::remove_file(machine.path(&other)).unwrap();
    machine.succeed(&["systemctl", "daemon-reload"]);
    blamed
}

#[test]
fn services_may_do_what_their_verbs_do() {
    need_systemd!();
    let machine = machine_with_stand_in();
    let _server = serve_names(&machine, "203.0.113.7");
    // In this order: the first lockfile is written by apply.
    for service in ["edgeward.service", "edgeward-refresh.service", "edgeward-boot.service"] {
        let started = starts(&machine, service);
        assert!(started, "{}it fails because of {:?}", machine.journal(service), blamed(&machine, service));
        assert!(has_table(&machine), "{service}");
        machine.succeed(&["nft", "delete", "table", "inet", "edgeward"]);
    }
    assert!(fs::read_to_string(machine.path("/etc/edgeward/policy.lock.yaml")).unwrap().contains("203.0.113.7"));
    assert_eq!(machine.failed(), [""; 0]);
}

#[test]
fn the_line_that_breaks_a_service_is_named() {
    need_systemd!();
    let machine = machine_with_stand_in();
    let service = "edgeward-boot.service";
    let unit = machine.path(&format!("{UNITS}/{service}"));
    let text = fs::read_to_string(&unit).unwrap();
    let line = "PrivateUsers=yes";
    fs::write(&unit, text.replace("[Service]\n", &format!("[Service]\n{line}\n"))).unwrap();
    machine.succeed(&["systemctl", "daemon-reload"]);
    assert!(!starts(&machine, service));
    assert_eq!(blamed(&machine, service), [line]);
}

#[test]
fn services_may_do_nothing_else() {
    need_systemd!();
    let machine = machine_with_stand_in();
    let script = include_str!("support/systemd/forbidden.sh");
    let tried = script.lines().filter(|line| line.starts_with("try ")).count();
    let permitted = |text: &str| text.lines().filter(|line| line.starts_with("permitted: ")).count();
    machine.write("/usr/local/libexec/forbidden", script);
    machine.succeed(&["mkdir", "-p", "/var/lib/edgeward"]);
    let freely = machine.succeed(&["sh", "/usr/local/libexec/forbidden"]);
    assert_eq!(permitted(&freely), tried, "{freely}");
    for path in ["/etc/forbidden", "/var/forbidden", "/root/forbidden", "/run/forbidden"] {
        machine.succeed(&["rm", path]);
    }
    machine.succeed(&["umount", "/srv"]);
    stand_in(&machine, &format!("#!/bin/sh\n{script}"));
    for service in SERVICES {
        start(&machine, service);
        let journal = machine.journal(service);
        // Boot asks no DNS.
        let expected = usize::from(service != "edgeward-boot.service");
        assert_eq!(permitted(&journal), expected, "{service}: {journal}");
        assert!(expected == 0 || journal.contains("/dev/udp"), "{journal}");
    }
}

/// Loads the last confirmed generation, for any verb.
const LOADER: &str = "#!/bin/sh\nexec nft -f /var/lib/edgeward/ruleset.nft\n";

/// A machine that is on, with a generation, and with units that are enabled but not started yet.
fn machine_with_generation(units: &[&str]) -> Machine {
    let mut machine = machine();
    stand_in(&machine, LOADER);
    machine.write("/var/lib/edgeward/ruleset.nft", "table inet edgeward {\n}\n");
    machine.start().unwrap();
    for unit in units {
        machine.succeed(&["systemctl", "enable", unit]);
    }
    machine
}

#[test]
fn rules_stand_before_the_network_and_behind_who_flushes_them() {
    need_systemd!();
    let mut machine = machine_with_generation(&["edgeward-boot.service", "nftables.service"]);
    machine.write("/etc/nftables.conf", "flush ruleset\ntable inet others {\n}\n");
    // Both are slow, so that only their order helps, and a service of the network looks as early as it may.
    for (service, seconds) in [("edgeward-boot", "0.3"), ("nftables", "0.6")] {
        let folder = format!("/etc/systemd/system/{service}.service.d");
        machine.write(&format!("{folder}/slow.conf"), &format!("[Service]\nExecStartPre=sleep {seconds}\n"));
    }
    let look = "nft list table inet edgeward; nft list table inet others";
    let network = format!(
        "[Unit]\nDefaultDependencies=no\nAfter=network-pre.target\nBefore=network.target\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=sh -ec '{look}'\n\
         [Install]\nWantedBy=sysinit.target\n"
    );
    machine.write("/etc/systemd/system/network.service", &network);
    machine.succeed(&["systemctl", "enable", "network.service"]);
    machine.reboot().unwrap();
    assert_eq!(machine.failed(), [""; 0], "{}", machine.journal("network.service"));
    let active = machine.succeed(&["systemctl", "is-active", "network.service", "edgeward-boot.service"]);
    assert_eq!(active, "active\nactive\n");
    let journal = machine.succeed(&["journalctl", "--no-pager", "--boot"]);
    assert!(!journal.contains("ordering cycle"), "{journal}");
}

#[test]
fn who_restarts_nftables_does_not_leave_the_host_open() {
    need_systemd!();
    let units = ["edgeward-boot.service", "nftables.service"];
    let mut machine = machine_with_generation(&units);
    machine.reboot().unwrap();
    assert!(has_table(&machine));
    for verb in ["restart", "reload"] {
        machine.succeed(&["nft", "add", "table", "inet", "flushed"]);
        machine.succeed(&["systemctl", verb, "nftables.service"]);
        assert!(!machine.run(&["nft", "list", "table", "inet", "flushed"]).status.success(), "{verb}");
        // The job of the other unit need not be over when this one's is.
        assert!(until(PATIENCE, || has_table(&machine)), "{verb}");
    }
}

#[test]
fn to_stop_the_units_opens_nothing() {
    need_systemd!();
    let machine = machine_with_generation(&[]);
    for service in ["edgeward-boot.service", "edgeward.service"] {
        start(&machine, service);
        machine.succeed(&["systemctl", "stop", service]);
        assert!(has_table(&machine));
    }
}

#[test]
fn what_refresh_leaves_in_the_background_runs_on() {
    need_systemd!();
    let machine = machine_with_generation(&[]);
    stand_in(&machine, "#!/bin/sh\nsetsid sleep 1h &\n");
    for _ in 0..2 {
        start(&machine, "edgeward-refresh.service");
        assert_eq!(said(&machine.run(&["systemctl", "is-active", "edgeward-refresh.service"])), "inactive\n");
    }
    assert_eq!(machine.succeed(&["pgrep", "--count", "--exact", "sleep"]), "2\n");
}

#[test]
fn a_host_without_a_policy_and_a_generation_has_no_failed_units() {
    need_systemd!();
    let mut machine = machine_with_generation(&["edgeward-boot.service", "edgeward.service", TIMER]);
    for path in ["/etc/edgeward/policy.yaml", "/var/lib/edgeward/ruleset.nft"] {
        fs::remove_file(machine.path(path)).unwrap();
    }
    stand_in(&machine, "#!/bin/sh\n[ $1 = boot ]\n");
    machine.reboot().unwrap();
    machine.succeed(&["systemctl", "start", "edgeward-refresh.service"]);
    assert_eq!(machine.failed(), [""; 0]);
    let active = said(&machine.run(&["systemctl", "is-active", "edgeward-boot.service", "edgeward.service"]));
    assert_eq!(active, "active\ninactive\n");
}

#[test]
fn the_timer_starts_refresh_again_also_when_names_fail() {
    need_systemd!();
    let mut machine = machine_with_generation(&[TIMER]);
    machine.write(
        "/etc/systemd/system/edgeward-refresh.timer.d/fast.conf",
        "[Timer]\nOnBootSec=\nOnBootSec=0\nOnUnitActiveSec=1s\nRandomizedDelaySec=0\n",
    );
    // DNS has no answer until the file is there.
    stand_in(&machine, "#!/bin/sh\necho asked\n[ -e /etc/edgeward/answers ] || exit 3\n");
    machine.reboot().unwrap();
    let runs = || machine.journal("edgeward-refresh.service").lines().filter(|line| *line == "asked").count();
    let has_failed = || machine.failed() == ["edgeward-refresh.service"];
    assert!(until(PATIENCE, || runs() >= 2 && has_failed()), "{} runs, {:?}", runs(), machine.failed());
    machine.write("/etc/edgeward/answers", "");
    assert!(until(PATIENCE, || machine.failed().is_empty()));
}

// ── with the program itself ──────────────────────────────────────────────────────────────────────────────────────

const POLICY_FILE: &str = "/etc/edgeward/policy.yaml";

/// A machine that is on, with a policy that its unit has applied as generation 1, and with enabled units.
fn machine_with_rules() -> (Machine, DnsServer) {
    let mut machine = machine();
    machine.start().unwrap();
    let server = serve_names(&machine, "203.0.113.7");
    for unit in ["edgeward-boot.service", "edgeward.service", TIMER] {
        machine.succeed(&["systemctl", "enable", unit]);
    }
    start(&machine, "edgeward.service");
    assert_eq!(in_force(&machine), (json!("as-applied"), json!(1), json!(null)), "{}", said_by_all(&machine));
    (machine, server)
}

/// How the table stands to the records, the generation in force, and the one that is pending.
fn in_force(machine: &Machine) -> (Value, Value, Value) {
    let status: Value = serde_json::from_str(&machine.succeed(&["edgeward", "status", "--format", "json"])).unwrap();
    let pending = if status["pending"].is_null() { json!(null) } else { status["pending"]["generation"].clone() };
    (status["table"].clone(), status["generation"].clone(), pending)
}

fn said_by_all(machine: &Machine) -> String {
    SERVICES.map(|service| machine.journal(service)).concat()
}

/// Lets more people in, and waits for a word of confirmation.
fn apply_another_policy(machine: &Machine, confirm_within: &str) {
    machine.write(POLICY_FILE, &POLICY.replace("10.0.0.0/28", "10.0.0.0/27"));
    machine.succeed(&["edgeward", "apply", POLICY_FILE, "--confirm-within", confirm_within]);
    assert_eq!(in_force(machine), (json!("as-applied"), json!(2), json!(2)));
}

#[test]
fn the_verbs_work_in_their_units() {
    need_systemd!();
    let (mut machine, server) = machine_with_rules();
    start(&machine, "edgeward-refresh.service");
    machine.succeed(&["systemctl", "reload", "edgeward.service"]);
    start(&machine, "edgeward-boot.service");
    assert_eq!(in_force(&machine), (json!("as-applied"), json!(1), json!(null)));
    machine.write(POLICY_FILE, &POLICY.replace("10.0.0.0/28", "10.0.0.0/27"));
    machine.succeed(&["systemctl", "reload", "edgeward.service"]);
    assert_eq!(in_force(&machine), (json!("as-applied"), json!(2), json!(null)));
    drop(server);
    assert!(!starts(&machine, "edgeward-refresh.service"));
    assert!(machine.journal("edgeward-refresh.service").contains("status=3"), "{}", said_by_all(&machine));
    // Boot needs no DNS. The policy is applied with the addresses that are known, and its unit says that DNS failed.
    machine.reboot().unwrap();
    assert_eq!(machine.failed(), ["edgeward.service"], "{}", said_by_all(&machine));
    assert!(machine.journal("edgeward.service").contains("status=3"), "{}", said_by_all(&machine));
    assert_eq!(in_force(&machine), (json!("as-applied"), json!(2), json!(null)));
    assert!(
        machine.journal("edgeward-boot.service").contains("generation 2 is in force\n"),
        "{}",
        said_by_all(&machine)
    );
}

#[test]
fn a_pending_change_that_was_refreshed_is_undone_in_time() {
    need_systemd!();
    let (machine, server) = machine_with_rules();
    apply_another_policy(&machine, "8s");
    drop(server);
    let _server = serve_names(&machine, "203.0.113.8");
    start(&machine, "edgeward-refresh.service");
    assert_eq!(in_force(&machine), (json!("as-applied"), json!(3), json!(3)), "{}", said_by_all(&machine));
    let is_undone = || in_force(&machine) == (json!("as-applied"), json!(1), json!(null));
    assert!(until(PATIENCE, is_undone), "{:?} {}", in_force(&machine), said_by_all(&machine));
}

#[test]
fn a_service_undoes_what_nobody_confirms_and_only_that() {
    need_systemd!();
    let (machine, _server) = machine_with_rules();
    machine.write(POLICY_FILE, &POLICY.replace("10.0.0.0/28", "10.0.0.0/27"));
    let apply = |time: &str| machine.succeed(&["edgeward", "apply", POLICY_FILE, "--confirm-within", time]);
    let said = apply("8s");
    let begin = Instant::now();
    assert!(said.contains(".service` of systemd watches"), "{said}");
    let watcher = watcher(&said);
    assert_eq!(machine.succeed(&["systemctl", "is-active", &watcher]), "active\n");
    // Nothing of the program is left in the session: its end takes nothing along.
    let pid = machine.succeed(&["pgrep", "-x", "edgeward"]);
    let cgroup = machine.succeed(&["cat", &format!("/proc/{}/cgroup", pid.trim())]);
    assert!(cgroup.contains(&watcher), "{cgroup}");
    let is_undone = || in_force(&machine) == (json!("as-applied"), json!(1), json!(null));
    assert!(until(PATIENCE, is_undone), "{:?}", in_force(&machine));
    assert!(begin.elapsed() >= Duration::from_secs(7), "{:?}", begin.elapsed());
    // Armed again, the first watcher finds another deadline; confirmed, the second finds nothing to do.
    apply("5s");
    apply("15s");
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(in_force(&machine), (json!("as-applied"), json!(3), json!(3)), "{}", said_by_all(&machine));
    machine.succeed(&["edgeward", "confirm"]);
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(in_force(&machine), (json!("as-applied"), json!(3), json!(null)));
}

/// The unit of the watcher that `apply` names.
fn watcher(said: &str) -> String {
    let unit = said.split('`').find(|word| word.starts_with("edgeward-rollback-") && word.ends_with(".service"));
    assert!(unit.is_some(), "{said}");
    unit.unwrap().to_owned()
}

/// Whether the kernel lets in those of the confirmed policy and no more. The program need not be there.
fn has_confirmed_rules(machine: &Machine) -> bool {
    let table = machine.succeed(&["nft", "list", "table", "inet", "edgeward"]);
    table.contains("10.0.0.0/28") && !table.contains("10.0.0.0/27")
}

#[test]
fn a_pending_change_is_undone_although_the_program_was_removed_or_replaced() {
    need_systemd!();
    let (machine, _server) = machine_with_rules();
    let path = "/usr/local/bin/edgeward";
    let program = machine.path(path);
    let kept = machine.path("/usr/local/libexec/edgeward");
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::hard_link(&program, &kept).unwrap();
    assert!(has_confirmed_rules(&machine));
    // Removed, as by a package.
    apply_another_policy(&machine, "4s");
    assert!(!has_confirmed_rules(&machine));
    fs::remove_file(&program).unwrap();
    assert!(until(PATIENCE, || has_confirmed_rules(&machine)), "{}", said_by_all(&machine));
    // Replaced by something that does not work.
    fs::hard_link(&kept, &program).unwrap();
    machine.succeed(&["edgeward", "apply", POLICY_FILE, "--confirm-within", "4s"]);
    fs::remove_file(&program).unwrap();
    stand_in(&machine, "#!/bin/sh\nexit 1\n");
    assert!(!has_confirmed_rules(&machine));
    assert!(until(PATIENCE, || has_confirmed_rules(&machine)), "{}", said_by_all(&machine));
}

#[test]
fn what_is_said_to_be_a_service_and_is_none_is_not_relied_on() {
    need_systemd!();
    let (machine, _server) = machine_with_rules();
    // A program that ends well and does nothing.
    machine.write("/usr/local/sbin/systemd-run", "#!/bin/sh\nexit 0\n");
    machine.succeed(&["chmod", "755", "/usr/local/sbin/systemd-run"]);
    machine.write(POLICY_FILE, &POLICY.replace("10.0.0.0/28", "10.0.0.0/27"));
    let said = machine.succeed(&["edgeward", "apply", POLICY_FILE, "--confirm-within", "4s"]);
    assert!(!said.contains("of systemd watches"), "{said}");
    assert!(!has_confirmed_rules(&machine));
    assert!(until(PATIENCE, || has_confirmed_rules(&machine)), "{}", said_by_all(&machine));
}

#[test]
fn a_watcher_that_is_killed_is_started_again() {
    need_systemd!();
    let (machine, _server) = machine_with_rules();
    machine.write(POLICY_FILE, &POLICY.replace("10.0.0.0/28", "10.0.0.0/27"));
    let said = machine.succeed(&["edgeward", "apply", POLICY_FILE, "--confirm-within", "6s"]);
    machine.succeed(&["systemctl", "kill", "--signal=KILL", &watcher(&said)]);
    let is_undone = || in_force(&machine) == (json!("as-applied"), json!(1), json!(null));
    assert!(until(PATIENCE, is_undone), "{:?} {}", in_force(&machine), machine.journal(&watcher(&said)));
}

#[test]
fn a_watcher_needs_neither_the_state_folder_nor_a_terminal() {
    need_systemd!();
    let (machine, _server) = machine_with_rules();
    machine.write(POLICY_FILE, &POLICY.replace("10.0.0.0/28", "10.0.0.0/27"));
    let said = machine.succeed(&["edgeward", "apply", POLICY_FILE, "--confirm-within", "4s"]);
    machine.succeed(&["systemctl", "kill", "--signal=HUP", &watcher(&said)]);
    machine.succeed(&["rm", "-r", "/var/lib/edgeward"]);
    assert!(!has_confirmed_rules(&machine));
    let is_undone = || {
        machine.path("/var/lib/edgeward/state.json").exists()
            && in_force(&machine) == (json!("as-applied"), json!(1), json!(null))
    };
    assert!(until(PATIENCE, is_undone), "{}", machine.journal(&watcher(&said)));
}

#[test]
fn a_reboot_undoes_a_pending_change_for_good() {
    need_systemd!();
    let (mut machine, _server) = machine_with_rules();
    apply_another_policy(&machine, "1h");
    machine.reboot().unwrap();
    assert_eq!(in_force(&machine), (json!("as-applied"), json!(1), json!(null)), "{}", said_by_all(&machine));
    // The policy is still there, and is not taken for a confirmation.
    assert_eq!(machine.failed(), ["edgeward.service"]);
    assert!(machine.journal("edgeward.service").contains("it was not confirmed"), "{}", said_by_all(&machine));
}

#[test]
fn events_are_in_the_journal_with_their_fields() {
    need_systemd!();
    let mut machine = Machine::new().unwrap();
    machine.install(PROGRAM);
    machine.write("/etc/edgeward/policy.yaml", POLICY);
    machine.start().unwrap();
    let _server = serve_names(&machine, "203.0.113.7");
    machine.succeed(&["edgeward", "apply", "/etc/edgeward/policy.yaml", "--resolve", "--force", "-m", "OPS-7"]);
    let read = || {
        let lines = machine.run(&["journalctl", "-o", "json", "EDGEWARD_EVENT=apply"]);
        let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
        lines.lines().next().map(|line| serde_json::from_str::<Value>(line).unwrap())
    };
    assert!(until(PATIENCE, || read().is_some()));
    let line = read().unwrap();
    let expected = [
        ("SYSLOG_IDENTIFIER", "edgeward"),
        ("EDGEWARD_MESSAGE", "OPS-7"),
        ("EDGEWARD_GENERATION", "1"),
        ("EDGEWARD_USER", "root"),
        ("EDGEWARD_FORCED", "1"),
        ("PRIORITY", "5"),
    ];
    for (field, value) in expected {
        assert_eq!(line[field], value, "{line}");
    }
}
