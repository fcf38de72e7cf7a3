//! `status`: what it knows, and what needs attention.

use std::fs;
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json as value};

use super::host::{ELSEWHERE, Host, MIRROR, policy, soon};
use super::schemas::json;

/// The words of the reasons.
fn words(status: &Value) -> Vec<&str> {
    status["reasons"].as_array().unwrap().iter().map(|reason| reason["check"].as_str().unwrap()).collect()
}

/// What `status --check` finds, in both formats.
#[track_caller]
fn found(host: &Host, expected: &[&str]) -> Value {
    let code = i32::from(!expected.is_empty());
    let status = json(host, "status --check", code);
    assert_eq!(words(&status), expected, "{:#}", status["reasons"]);
    // Without `--check` it is a report, and no failure.
    assert_eq!(words(&json(host, "status", 0)), expected);
    host.edgeward("status").ends(0);
    let text = host.edgeward("status --check").ends(code).out;
    match expected {
        [] => assert!(text.starts_with("all is well: generation ") && text.lines().count() == 1, "{text}"),
        expected => {
            let lines: Vec<&str> = text.lines().map(|line| line.split_once(": ").unwrap().0).collect();
            assert_eq!(lines, expected, "{text}");
        }
    }
    status
}

#[test]
fn a_host_is_well_or_it_says_why_not() {
    need_namespaces!();
    let host = Host::new();
    found(&host, &["no-rules"]);
    host.edgeward("apply policy.yaml").ends(0);
    let well = found(&host, &[]);
    assert_eq!((&well["table"], &well["generation"]), (&"as-applied".into(), &1.into()));
    assert_eq!(well["on-disk"], value!({"policy": true, "catalog": true, "lists": true}));
    assert_eq!(well["sets"]["mirror_names_v4"], 1);
    let names = well["lockfile"]["names"].as_array().unwrap();
    let mirror = names.iter().find(|row| row["name"] == MIRROR).unwrap();
    assert_eq!((&mirror["addresses"], &mirror["stale"]), (&1.into(), &false.into()));
    let age = mirror["age-seconds"].as_i64().unwrap();
    assert!((7200..7800).contains(&age), "{mirror}");
    assert_eq!(well["lockfile"]["max-stale-seconds"], 7 * 86_400);
    host.edgeward("status").ends(0).says(&["DNS answered last", "names with 10 addresses, seen 2 h", "elements in "]);
    // In time, a pending change is no reason.
    host.edgeward("apply other.yaml --confirm-within 5m").ends(0);
    found(&host, &[]);
    host.edgeward("confirm").ends(0);
    found(&host, &[]);
}

#[test]
fn a_table_that_is_not_as_applied_needs_attention() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    assert_eq!(found(&host, &["table"])["table"], "changed");
    host.nft("insert rule inet edgeward input meta mark 7 ct label set 1 accept");
    let unreadable = found(&host, &["table"]);
    assert_eq!((&unreadable["table"], &unreadable["sets"]), (&"unreadable".into(), &value!({})));
    host.nft("delete table inet edgeward");
    assert_eq!(found(&host, &["table"])["table"], "gone");
    host.edgeward("boot").ends(0);
    found(&host, &[]);
    // What boot loads is what is in force.
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    host.edgeward("apply other.yaml --confirm-within 5m").ends(0);
    host.edgeward("rollback").ends(0);
    assert!(words(&json(&host, "status --check", 1)).contains(&"boot"));
}

#[test]
fn events_that_cannot_be_written_need_attention() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let (file, aside) = (host.path("state/events.jsonl"), host.path("aside"));
    fs::rename(&file, &aside).unwrap();
    // Its last event is in the state, and waits for a file.
    found(&host, &["events"]);
    fs::create_dir(&file).unwrap();
    found(&host, &["events"]);
    fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink(&aside, &file).unwrap();
    found(&host, &["events"]);
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    let status = found(&host, &["events"]);
    let message = status["reasons"][0]["message"].as_str().unwrap();
    assert!(message.contains("events.jsonl`: it is not a regular file"), "{message}");
    fs::remove_file(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    found(&host, &[]);
}

#[test]
fn changes_that_came_to_nothing_need_attention() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --confirm-within 5m").ends(0);
    host.edgeward("rollback").ends(0);
    found(&host, &["undone"]);
    host.edgeward("apply policy.yaml --confirm-within 5m").ends(0);
    found(&host, &[]);
    host.edgeward("apply other.yaml --confirm-within 1s --force").ends(0);
    host.kill_watchers();
    thread::sleep(Duration::from_millis(1100));
    found(&host, &["pending-overdue"]);
    host.edgeward("confirm").ends(5);
    found(&host, &["undone"]);
    // As if a run had ended in the middle.
    let mut state = host.state();
    state["undone"] = Value::Null;
    state["switching"] = value!({"from": 1, "to": 2, "pending": null});
    host.write("state/state.json", &state.to_string());
    found(&host, &["interrupted"]);
    // While another run holds the lock, it is that run which is changing the rules.
    let run = host.script("flock state/lock \"$EDGEWARD\" status --check --state-dir state; flock state/lock \"$EDGEWARD\" status --state-dir state");
    run.ends(0).says(&["all is well", "a change to generation 2 is running"]);
}

#[test]
fn files_that_are_not_those_in_force_need_attention() {
    need_namespaces!();
    let host = Host::new();
    host.write("office.txt", "10.9.0.0/24\n");
    let with_list = policy("10.0.0.0/24")
        + "- {id: office, direction: inbound, peers-file: office.txt, ports: [tcp/9000], purpose: office}\n";
    host.write("policy.yaml", &with_list);
    host.edgeward("apply policy.yaml").ends(0);
    found(&host, &[]);
    host.write("office.txt", "10.9.0.0/24 # the same\n");
    found(&host, &[]);
    host.write("office.txt", "10.9.8.0/24\n");
    assert_eq!(found(&host, &["list"])["on-disk"]["lists"], false);
    host.write("policy.yaml", &policy(ELSEWHERE));
    let other = found(&host, &["policy"]);
    assert_eq!(other["on-disk"], value!({"policy": false, "catalog": true, "lists": null}));
    host.edgeward("status --check").ends(1).says(&["edgeward apply --resolve", "policy.yaml"]);
    fs::remove_file(host.path("policy.yaml")).unwrap();
    found(&host, &["policy"]);
    // Another file may be the one that counts.
    host.write("elsewhere.yaml", &with_list);
    host.write("office.txt", "10.9.0.0/24\n");
    assert_eq!(words(&json(&host, "status --check --policy elsewhere.yaml", 0)), [""; 0]);
    host.write_catalog("newer", "vips: [100.118.28.0/24, ", "vips: [100.118.28.0/24, 100.99.77.0/24, ");
    let newer = json(&host, "status --check --policy elsewhere.yaml --catalog newer", 1);
    assert_eq!((words(&newer), &newer["on-disk"]["catalog"]), (vec!["catalog"], &false.into()));
}

#[test]
fn a_policy_from_a_pipe_has_no_file_to_compare() {
    need_namespaces!();
    let host = Host::new();
    let run = host.script(
        "\"$EDGEWARD\" apply /dev/stdin --lock policy.lock.yaml --state-dir state < policy.yaml && \
         \"$EDGEWARD\" status --check --format json --state-dir state < /dev/null",
    );
    let run = run.ends(0);
    let status: Value = serde_json::from_str(&run.out[run.out.find('{').unwrap()..]).unwrap();
    assert_eq!(status["on-disk"], value!({"policy": null, "catalog": true, "lists": null}), "{}", run.said());
}

#[test]
fn old_addresses_need_attention() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let kept = "state/generations/1/policy.lock.yaml";
    let fresh = host.read(kept);
    let text = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let ago = |hours: i64| text(Timestamp::now().checked_sub(SignedDuration::from_hours(hours)).unwrap());
    let seen = fresh.lines().find(|line| line.contains("last-seen")).unwrap();
    let seen = seen.split("last-seen: ").nth(1).unwrap().split([',', '}']).next().unwrap().to_owned();
    let aged = |hours: i64| {
        let old = ago(hours);
        let line = |line: &str| match line.contains("203.0.113.7") {
            true => line.replace(&seen, &old) + "\n",
            false => line.to_owned() + "\n",
        };
        host.write(kept, &fresh.lines().map(line).collect::<String>());
    };
    aged(5 * 24);
    found(&host, &[]);
    aged(6 * 24);
    let aging = found(&host, &["stale"]);
    assert!(aging["reasons"][0]["message"].as_str().unwrap().contains("nearly as old as"), "{}", aging["reasons"]);
    aged(8 * 24);
    let stale = found(&host, &["stale"]);
    // A lockfile without a clock has the times of its answers.
    let without_clock: String =
        host.read(kept).lines().filter(|line| !line.starts_with("clock")).map(|line| format!("{line}\n")).collect();
    host.write(kept, &without_clock);
    assert!(json(&host, "status", 0)["lockfile"]["age-seconds"].is_u64());
    let names = stale["lockfile"]["names"].as_array().unwrap();
    let old: Vec<&Value> = names.iter().filter(|row| row["stale"] == true).map(|row| &row["name"]).collect();
    assert_eq!(old, [MIRROR]);
}

/// A clock that is not believed after a reboot says that addresses may be older than is counted.
#[test]
fn addresses_whose_age_is_in_doubt_need_attention() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let kept = "state/generations/1/policy.lock.yaml";
    let text = |hours: i64| {
        let time = Timestamp::now().checked_sub(SignedDuration::from_hours(hours)).unwrap();
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let fresh = host.read(kept);
    let seen = fresh.lines().find(|line| line.contains("last-seen")).unwrap();
    let seen = seen.split("last-seen: ").nth(1).unwrap().split([',', '}']).next().unwrap().to_owned();
    // Another boot wrote it, and the host was off since.
    let written_before = |hours: i64| {
        let line = |line: &str| match line.starts_with("clock:") {
            true => format!(
                "clock: {{at: {}, boot: 00000000-0000-4000-8000-000000000000, since-boot: 7200}}\n",
                text(hours)
            ),
            false => line.replace(&seen, &text(hours + 2)) + "\n",
        };
        host.write(kept, &fresh.lines().map(line).collect::<String>());
    };
    written_before(3 * 24);
    found(&host, &[]);
    for hours in [6 * 24, 10 * 24, -3 * 24] {
        written_before(hours);
        let doubted = found(&host, &["stale"]);
        let message = doubted["reasons"][0]["message"].as_str().unwrap();
        assert!(message.contains("is not believed") && message.contains("edgeward refresh"), "{message}");
    }
}

/// What cannot be determined is never called well.
#[test]
fn what_is_not_known_is_not_well() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let check = |line: &str| host.edgeward(line).ends(1);
    let well = "all is well";
    let manifest = host.read("state/generations/1/manifest.json");
    let kept = host.read("state/generations/1/policy.yaml");
    // The policy in force cannot be read, so it cannot be compared.
    host.write("state/generations/1/policy.yaml", "version: 7\n");
    assert!(!check("status --check").says(&["policy.yaml` is damaged"]).out.contains(well));
    let json = check("status --check --format json");
    assert!(serde_json::from_str::<Value>(&json.out).unwrap()["lockfile"].is_null());
    host.edgeward("status").ends(0).says(&["generation 1 is in force", "policy.yaml` is damaged"]);
    host.write("state/generations/1/policy.yaml", &kept);
    host.write("state/generations/1/manifest.json", "{");
    let json = check("status --check --format json").says(&["manifest.json` is damaged"]);
    assert!(serde_json::from_str::<Value>(&json.out).unwrap()["lockfile"].is_null());
    host.write("state/generations/1/manifest.json", &manifest);
    // Without permission to read the kernel.
    let run = host.script(
        "setpriv --bounding-set=-net_admin --inh-caps=-net_admin -- \"$EDGEWARD\" status --check --state-dir state",
    );
    assert!(run.ends(4).out.is_empty());
    host.edgeward("status --check").ends(0);
    assert!(soon(|| host.watchers().is_empty()));
}
