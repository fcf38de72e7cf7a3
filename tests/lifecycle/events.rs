//! What is recorded: every event, who did it, and what it opened and closed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::{Value, json};

use super::host::*;
use super::refreshes::{refresh, serve};

/// The events in the file, the first one first.
fn events(host: &Host) -> Vec<Value> {
    host.read("state/events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(host: &Host) -> Vec<String> {
    events(host).iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

fn history(host: &Host, options: &str) -> Value {
    let run = host.edgeward(&format!("history --format json {options}")).ends(0);
    serde_json::from_str(&run.out).unwrap()
}

#[track_caller]
fn assert_no_gaps(host: &Host) {
    let numbers: Vec<u64> = events(host).iter().map(|event| event["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn refreshes_do_not_push_out_who_changed_what() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml --confirm-within 1h").ends(0);
    host.run(&mut host.command(["confirm", "-m", "seen from the office"])).ends(0);
    host.run(&mut host.command(["apply", "other.yaml", "--force", "--message", "OPS-142: the office moves"])).ends(0);
    host.edgeward("rollback --force").ends(0);
    // As many events as a name that changes by the hour gives in months.
    let folder = host.path("state/events.jsonl");
    let mut text = host.read("state/events.jsonl");
    let first = events(&host).len() as u64;
    let last = text.lines().last().unwrap().to_owned();
    for number in first + 1..first + 12_000 {
        let mut event: Value = serde_json::from_str(&last).unwrap();
        (event["number"], event["event"]) = (number.into(), "refresh".into());
        text += &format!("{event}\n");
    }
    fs::write(&folder, text).unwrap();
    for address in ["203.0.113.8", "203.0.113.9"] {
        refresh(&host, &serve(&host, zone(&[address]))).ends(0);
    }
    assert_no_gaps(&host);
    let found = events(&host);
    assert_eq!(found.len(), 12_005);
    assert_eq!(kinds(&host)[..4], ["apply", "confirm", "apply", "rollback"]);
    assert_eq!((&found[1]["message"], &found[1]["by"]["user"]), (&json!("seen from the office"), &json!("root")));
    assert_eq!(found[2]["message"], "OPS-142: the office moves");
    assert_eq!((&found[2]["forced"], &found[2]["from"], &found[2]["to"]), (&json!(true), &json!(1), &json!(2)));
    assert_eq!(found[0]["policy"]["name"], "edge");
    assert_eq!(found[0]["newly-denied"][0]["packets"], json!(["all other packets"]));
    assert!(found[12_003]["newly-allowed"].to_string().contains("mirror"), "{}", found[12_003]);
    let mode = fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A refresh that changes nothing is no event.
    refresh(&host, &serve(&host, zone(&["203.0.113.9"]))).ends(0).says(&["nothing to change"]);
    assert_eq!(events(&host).len(), 12_005);
    // The history finds what made the generations, and shows as much as is asked for.
    let shown = history(&host, "--limit 3");
    assert_eq!(shown["events"].as_array().unwrap().len(), 3);
    assert_eq!((&shown["more-events"], &shown["events"][2]["number"]), (&json!(true), &json!(12_005)));
    let second = &shown["generations"][1];
    assert_eq!((&second["message"], &second["applied"]), (&json!("OPS-142: the office moves"), &json!(2)));
    assert_eq!((&second["event"], &second["who"]["user"]), (&json!(3), &json!("root")));
    assert_eq!(history(&host, "--since 2000-01-01")["events"].as_array().unwrap().len(), 12_005);
    assert_eq!(history(&host, "--since 2100-01-01")["events"], json!([]));
    let text = host.edgeward("history").ends(0).says(&["OPS-142: the office moves", "generation 2", "newly allowed:"]);
    assert!(text.out.lines().all(|line| line.chars().count() <= 100), "{}", text.out);
    host.edgeward("history 2").ends(0).says(&["generation 2", "message: OPS-142"]);
    host.edgeward("history 99").ends(2).says(&["no generation 99"]);
}

#[test]
fn who_is_known_through_sudo_and_from_which_address() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    // sudo drops the variable: only the session's shell was started with it.
    let run = host.run(
        std::process::Command::new("env")
            .args(["SSH_CONNECTION=198.51.100.9 55410 10.0.0.20 22", "sh", "-c"])
            .arg("env -u SSH_CONNECTION SUDO_USER=alice $EDGEWARD apply other.yaml --state-dir state --force; true")
            .env("EDGEWARD", env!("CARGO_BIN_EXE_edgeward"))
            .current_dir(host.folder.path()),
    );
    run.ends(0);
    let found = events(&host);
    let who = json!({"user": "root", "sudo-user": "alice", "ssh-client": "198.51.100.9"});
    assert_eq!(found[1]["by"], who);
    assert!(found[1]["overridden"].as_array().is_some());
    let text = "root (alice by sudo, from 198.51.100.9)";
    host.edgeward("history").ends(0).says(&[text]);
    let shown = history(&host, "");
    assert_eq!((&shown["generations"][1]["by"], &shown["events"][1]["by"]), (&json!(text), &json!(text)));
    assert_eq!(shown["events"][1]["who"]["ssh-client"], "198.51.100.9");
}

#[test]
fn what_the_watcher_undoes_says_why_and_what_that_closes() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --force --confirm-within 1s -m trial").ends(0);
    assert!(soon(|| kinds(&host).contains(&"undo".to_owned())));
    let found = events(&host);
    let [tried, undone] = [&found[1], &found[2]];
    assert!(tried["deadline"].is_string() && tried["message"] == "trial", "{tried}");
    assert_eq!((&undone["why"], &undone["by"]["unit"]), (&json!("not-in-time"), &json!("watch")));
    assert_eq!((&undone["from"], &undone["to"], &undone["message"]), (&json!(2), &json!(1), &json!(null)));
    assert_eq!(tried["newly-allowed"], undone["newly-denied"], "{tried} {undone}");
    assert!(!undone["newly-denied"].as_array().unwrap().is_empty());
}

#[test]
fn an_event_whose_rules_are_damaged_says_that_they_are_not_known() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --force --confirm-within 1h").ends(0);
    host.write("state/generations/2/ruleset.nft", "table inet edgeward {\n");
    host.edgeward("rollback").ends(0);
    // Nothing says any more that generation 2 is what the kernel has.
    assert_eq!(kinds(&host), ["apply", "apply", "found", "undo"]);
    let found = &events(&host)[2];
    assert_eq!((&found["newly-allowed"], &found["newly-denied"]), (&json!(null), &json!(null)));
    assert!(found["not-known"].as_str().unwrap().contains("checksum"), "{found}");
    assert!(events(&host)[3]["newly-denied"].is_array());
}

#[test]
fn an_events_file_that_cannot_be_written_stops_nothing_and_loses_nothing() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let (file, aside) = (host.path("state/events.jsonl"), host.path("aside"));
    fs::rename(&file, &aside).unwrap();
    host.write("theirs", "");
    symlink(host.path("theirs"), &file).unwrap();
    host.edgeward("apply other.yaml --force --confirm-within 1h").ends(0).says(&["events cannot be written"]);
    host.edgeward("confirm").ends(0).says(&["events cannot be written"]);
    let said = host.edgeward("rollback --force").ends(0).said();
    assert_eq!(said.matches("events cannot be written").count(), 1, "{said}");
    assert!(said.contains("warning: events cannot be written"), "{said}");
    assert!(host.lets_in(OFFICE) && host.read("theirs").is_empty(), "a link is not followed");
    host.edgeward("history").ends(0).says(&["generation 2 is confirmed", "rollback from generation 2"]);
    fs::rename(&aside, &file).unwrap();
    // A part of a line, as a power failure leaves it.
    fs::write(&file, host.read("state/events.jsonl") + "{\"number\":2,\"at\":\"2026").unwrap();
    host.edgeward("apply other.yaml --force").ends(0);
    let numbers: Vec<u64> = history(&host, "")["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    // Removed by hand: later events are written.
    fs::remove_file(&file).unwrap();
    host.edgeward("rollback --force").ends(0);
    assert_eq!(events(&host).last().unwrap()["number"], 6);
    // So are those after the state is lost, with numbers that go on.
    fs::remove_file(host.path("state/state.json")).unwrap();
    host.edgeward("apply other.yaml --force").ends(0);
    assert!(events(&host).windows(2).all(|pair| pair[0]["number"].as_u64() < pair[1]["number"].as_u64()));
    assert!(events(&host).last().unwrap()["number"].as_u64() > Some(6));
}

#[test]
fn messages_are_one_line_of_bounded_length() {
    need_namespaces!();
    let host = Host::new();
    let invisible =
        ["a\nb", "\u{1b}[31mred", "a\u{202e}b", "a\u{2028}", "\u{85}a", "a\u{200b}b", "\u{feff}a", "a\u{2066}"];
    for message in invisible.map(str::to_owned).into_iter().chain([String::new(), " ".to_owned(), "x".repeat(501)]) {
        let run = host.run(&mut host.command(["apply", "policy.yaml", "--message", &message]));
        let said = run.ends(2).says(&["--message"]).said();
        // What cannot be seen is not shown either.
        assert!(!said.contains(&message) || message.trim().is_empty() || message.len() > 500, "{said:?}");
        assert!(!said.chars().any(|c| c != '\n' && edgeward::diag::is_invisible(c)), "{said:?}");
    }
    let run = host.run(&mut host.command(["apply", "policy.yaml", "--message=a\u{1b}[2J\nb"])).ends(2);
    assert!(run.said().contains("a\\u{1b}[2J\\nb"), "{}", run.said());
    assert!(!host.has_table() && !host.path("state").exists());
    host.run(&mut host.command(["apply", "policy.yaml", "--message", &"ü".repeat(500)])).ends(0);
    host.run(&mut host.command(["apply", "policy.yaml", "-m", "again"])).ends(0).says(&["was not recorded"]);
    assert_eq!(events(&host).len(), 1);
    host.run(&mut host.command(["history"])).ends(0).says(&["üüü"]);
}

/// What the history says is missing, and how many lines it cannot read.
fn missing(host: &Host) -> (Value, Value) {
    let shown = history(host, "");
    (shown["missing-events"].clone(), shown["damaged-lines"].clone())
}

#[test]
fn what_is_missing_from_the_events_is_said() {
    need_namespaces!();
    let host = Host::new();
    for policy in ["policy.yaml", "other.yaml", "policy.yaml", "other.yaml", "policy.yaml"] {
        host.edgeward(&format!("apply {policy} --force")).ends(0);
    }
    assert_eq!(missing(&host), (json!([]), json!(0)));
    let file = host.path("state/events.jsonl");
    let whole = host.read("state/events.jsonl");
    let lines: Vec<&str> = whole.lines().collect();
    // Lines are gone, also the last one: that is still in the state.
    fs::write(&file, [lines[0], lines[3], ""].join("\n")).unwrap();
    assert_eq!(missing(&host), (json!([{"first": 2, "last": 3}]), json!(0)));
    host.edgeward("history").ends(0).says(&["warning: events 2 to 3 are missing from", "event 5, apply: generation 5"]);
    // A line is damaged.
    fs::write(&file, whole.replacen("\"number\":2,", "\"nummer\":2,", 1).replacen("{\"number\":4", "{\"number\"4", 1))
        .unwrap();
    assert_eq!(missing(&host), (json!([{"first": 2, "last": 2}, {"first": 4, "last": 4}]), json!(2)));
    let said = host.edgeward("history").ends(0).says(&["event 4 is missing from", "2 lines of"]).said();
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
    // The file is emptied, or gone.
    fs::write(&file, "").unwrap();
    assert_eq!(missing(&host), (json!([{"first": 1, "last": 4}]), json!(0)));
    fs::remove_file(&file).unwrap();
    host.edgeward("history").ends(0).says(&["events 1 to 4 are missing from"]);
    // As much as is read is checked: what is older is not.
    fs::write(&file, lines[2..].join("\n") + "\n").unwrap();
    assert_eq!(history(&host, "--limit 2")["missing-events"], json!([]));
    assert_eq!(missing(&host).0, json!([{"first": 1, "last": 2}]));
}

#[test]
fn a_history_can_end_in_the_past() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let line = host.read("state/events.jsonl");
    let mut event: Value = serde_json::from_str(&line).unwrap();
    let mut text = String::new();
    for (number, at) in (1..).zip(["11-23T23:59:59", "11-24T00:00:00", "11-24T23:59:59", "11-25T00:00:00"]) {
        (event["number"], event["at"]) = (number.into(), format!("2026-{at}Z").into());
        text += &format!("{event}\n");
    }
    host.write("state/events.jsonl", &text);
    let numbers = |options: &str| -> Vec<u64> {
        let shown = history(&host, options);
        shown["events"].as_array().unwrap().iter().map(|event| event["number"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers("--since 2026-11-24 --until 2026-11-24"), [2, 3]);
    assert_eq!(numbers("--until 2026-11-24T00:00:00Z"), [1, 2]);
    assert_eq!(numbers("--until 2026-11-24 --limit 1"), [3]);
    assert_eq!(history(&host, "--until 2026-11-24 --limit 1")["more-events"], true);
    assert_eq!(numbers("--until 2020-01-01"), [0; 0]);
    host.edgeward("history --until yesterday").ends(2).says(&["2026-11-24"]);
}

#[test]
fn rules_of_another_program_are_kept_before_the_deadline_removes_them() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --force --confirm-within 4s").ends(0);
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    assert!(soon(|| kinds(&host).contains(&"undo".to_owned())));
    assert_eq!(kinds(&host), ["apply", "apply", "found", "undo"]);
    let found = events(&host);
    assert_eq!([&found[2]["from"], &found[2]["to"], &found[3]["from"], &found[3]["to"]], [2, 3, 3, 1]);
    assert!(host.read("state/generations/3/ruleset.nft").contains("4444"));
    assert!(host.lets_in(OFFICE) && !host.rules().contains("4444"));
    let shown = history(&host, "");
    assert_eq!(
        (&shown["generations"][2]["made-by"], &shown["generations"][2]["undone"]),
        (&json!("found"), &json!(null))
    );
    // They can be had again.
    host.edgeward("rollback 3 --force").ends(0);
    assert!(host.rules().contains("4444") && host.lets_in(ELSEWHERE));
}

#[test]
fn found_rules_have_a_place_among_the_generations() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    host.edgeward("apply other.yaml --force").ends(0);
    let shown = history(&host, "");
    let found = &shown["generations"][1];
    assert_eq!((&found["made-by"], &found["before"], &found["event"]), (&json!("found"), &json!(1), &json!(2)));
    host.edgeward("history 2").ends(0).says(&["in force before: generation 1"]);
    // From there, the way back goes on.
    host.edgeward("rollback 2 --force").ends(0);
    host.edgeward("rollback --force").ends(0);
    assert_eq!(host.state()["current"], 1);
}

#[test]
fn the_events_of_earlier_versions_are_taken_over() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --force").ends(0);
    let mut state = host.state();
    state["version"] = 2.into();
    state.as_object_mut().unwrap().remove("last-event");
    let old = |at: &str, what: &str| json!({"at": at, "by": "root (bob by sudo)", "what": what});
    state["events"] = json!([
        old("2026-01-01T00:00:00Z", "apply: generation 1"),
        old("2026-01-02T00:00:00Z", "apply: generation 2"),
        old("2026-01-03T00:00:00Z", "generation 2 is confirmed"),
    ]);
    host.write("state/state.json", &state.to_string());
    fs::remove_file(host.path("state/events.jsonl")).unwrap();
    host.edgeward("history").ends(0).says(&["generation 2 is confirmed", "bob by sudo"]);
    host.edgeward("rollback --force").ends(0);
    assert_no_gaps(&host);
    assert_eq!(kinds(&host), ["apply", "apply", "confirm", "rollback"]);
    assert_eq!(events(&host)[2]["by"], json!({"user": "root", "sudo-user": "bob"}));
    assert_eq!(host.state()["version"], 4);
}

#[test]
fn each_event_is_a_line_in_the_journal() {
    need_namespaces!();
    let host = Host::new();
    let socket = UnixDatagram::bind(host.path("log")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let received = || {
        let mut bytes = [0; 9000];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    // syslog, where there is no systemd.
    let script =
        "mount -t tmpfs none /run && mount -t tmpfs none /dev && mknod /dev/null c 1 3 && ln -s $PWD/log /dev/log
        $EDGEWARD apply policy.yaml --state-dir state --message 'the first rules'";
    host.script(script).ends(0);
    let line = received();
    assert!(line.starts_with("<29>edgeward[") && line.contains("]: apply: generation 1, by root"), "{line}");
    assert!(line.ends_with("; message: the first rules"), "{line}");
    // The journal's protocol.
    let script =
        "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && ln -s $PWD/log /run/systemd/journal/socket
        $EDGEWARD apply other.yaml --state-dir state --force";
    host.script(script).ends(0);
    let fields = received();
    let expected = [
        "PRIORITY=5",
        "SYSLOG_IDENTIFIER=edgeward",
        "EDGEWARD_EVENT=apply",
        "EDGEWARD_NUMBER=2",
        "EDGEWARD_GENERATION=2",
        "EDGEWARD_FROM=1",
        "EDGEWARD_TO=2",
        "EDGEWARD_USER=root",
        "EDGEWARD_FORCED=1",
    ];
    for field in expected {
        assert!(fields.lines().any(|line| line == field), "{field}: {fields}");
    }
    assert!(fields.starts_with("MESSAGE=apply: generation 2, by root") && fields.ends_with('\n'), "{fields}");
    // A reader that does not read stops nothing.
    let full = UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send_to(b"x", host.path("log")).is_ok() {}
    host.script(&script.replace("other.yaml", "policy.yaml")).ends(0);
    assert_eq!(events(&host).len(), 3);
}
