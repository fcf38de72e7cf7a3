//! `explain` as a command: output, exit codes, and the probes of the cases.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const CASES: &str = "fixtures/cases";
const EDGE: &str = "fixtures/cases/10-edge-host-flannel/policy.yaml";

/// Runs `explain` with arguments between blanks; exit code, standard output, standard error.
fn explain(policy: &str, arguments: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("NO_COLOR", "1").args(["explain", policy]);
    let output = command.args(arguments.split_whitespace()).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!err.contains("panicked"), "{err}");
    (output.status.code().unwrap(), out, err)
}

fn json(policy: &str, arguments: &str) -> Value {
    let (code, out, err) = explain(policy, &format!("{arguments} --format json"));
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

/// The reasons of one kind.
fn because<'a>(answer: &'a Value, kind: &str) -> Vec<&'a Value> {
    answer["because"].as_array().unwrap().iter().filter(|reason| reason["kind"] == kind).collect()
}

const KUBELET: &str = "--from 192.168.0.9 --to 10.0.0.20 --proto tcp --dport 10250";

#[test]
fn an_accepted_packet_has_its_flow_and_where_that_comes_from() {
    let answer = json(EDGE, KUBELET);
    assert_eq!(
        (&answer["verdict"], &answer["flow"], &answer["chain"]),
        (&"accept".into(), &"kubelet".into(), &"input".into())
    );
    assert_eq!(because(&answer, "rule")[0]["chain"], "input_tcp_10250");
    assert_eq!(because(&answer, "catalog")[0]["document"], "express-connect");
    let policy = because(&answer, "policy")[0];
    let line = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(EDGE)).unwrap();
    let line = line.lines().nth(policy["line"].as_u64().unwrap() as usize - 1).unwrap().to_owned();
    let column = policy["column"].as_u64().unwrap() as usize;
    assert!(line[column - 1..].starts_with("192.168.0.0/16"), "{line}: column {column}");
}

#[test]
fn a_name_has_the_age_of_its_answer() {
    let answer = json(EDGE, "--from 10.0.0.20 --to 198.51.100.7 --proto udp --dport 123");
    let name = because(&answer, "name")[0];
    assert_eq!((&name["name"], &name["last-seen"]), (&"ntp1.aliyun.com".into(), &"2026-11-21T02:00:00Z".into()));
    assert!(name["age-seconds"].is_u64());
    // An address of both a name and a prefix is attributed to both.
    let answer = json(EDGE, "--from 10.0.0.20 --to 100.118.28.45 --proto tcp --dport 443");
    assert_eq!(answer["flow"], "oss-packages");
    assert_eq!((because(&answer, "name").len(), because(&answer, "catalog").len()), (1, 2));
}

#[test]
fn a_denied_packet_has_the_flows_that_nearly_permit_it() {
    let (code, out, _) = explain(EDGE, "--from 203.0.113.9 --to 10.0.0.20 --proto tcp --dport 10250");
    assert_eq!(code, 0);
    assert!(out.starts_with("drop: input, tcp 203.0.113.9:40000 to 10.0.0.20:10250, new\n"), "{out}");
    assert!(out.contains("`kubelet` permits this port, but only from 192.168.0.0/16"), "{out}");
    let answer = json(EDGE, "--hook input --from 10.0.0.9 --to 10.0.0.20 --proto tcp --dport 23");
    assert_eq!((&answer["verdict"], &answer["flow"]), (&"drop".into(), &Value::Null));
    let nearest = because(&answer, "near-miss")[0];
    assert_eq!((&nearest["flow"], &nearest["lacks"]), (&"ssh".into(), &"traffic".into()));
    let answer = json(EDGE, "--hook input --from 10.0.0.9 --to 10.0.0.20 --proto tcp --dport 22 --state invalid");
    assert_eq!(because(&answer, "near-miss")[0]["lacks"], "valid");
}

#[test]
fn what_is_expected_decides_the_exit_code() {
    for (expected, code) in [("accept", 0), ("drop", 1), ("reject", 1)] {
        let (found, out, err) = explain(EDGE, &format!("{KUBELET} --expect {expected}"));
        assert_eq!(found, code, "{err}");
        assert!(out.starts_with("accept by kubelet"), "{out}");
        assert_eq!(err.contains("expected"), code == 1, "{err}");
    }
}

#[test]
fn the_direction_is_inferred_or_required() {
    for (arguments, hook) in [
        (KUBELET, "input"),
        ("--from 10.0.0.20 --to 192.168.10.20 --proto tcp --dport 6443", "output"),
        ("--from 172.20.0.3 --to 10.0.0.20 --proto udp --dport 1", "input"),
        ("--from 127.0.0.1 --to 127.0.0.1 --proto udp --dport 1", "output"),
        ("--from 10.0.0.20 --to 10.0.0.20 --proto udp --dport 1", "output"),
        ("--from 10.0.0.20 --to 10.0.0.9 --proto udp --dport 1 --hook output", "output"),
        ("--target idc-gateway --from 10.0.0.20 --to 10.0.0.9 --proto udp --dport 1", "forward"),
    ] {
        assert_eq!(json(EDGE, arguments)["packet"]["hook"], hook, "{arguments}");
    }
    for arguments in [
        "--from 10.0.0.20 --to 10.0.0.9 --proto tcp --dport 22",
        "--from 203.0.113.1 --to 203.0.113.2 --proto tcp --dport 22",
        "--from 10.0.0.20 --to 203.0.113.2 --proto tcp",
        "--from 10.0.0.20 --to 2001:db8::1 --proto icmp",
        "--from 10.0.0.20 --to 203.0.113.2 --proto icmpv6",
        "--from 10.0.0.20 --to 203.0.113.2 --proto 300",
        "--from 10.0.0.20 --to 203.0.113.2 --proto ipip --dport 3",
        "--from 010.0.0.20 --to 203.0.113.2 --proto ipip",
        "--from 10.0.0.20 --proto ipip",
    ] {
        let (code, out, err) = explain(EDGE, arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments}: {err}");
        assert!(err.starts_with("error: "), "{err}");
    }
}

/// With `route_localnet`, which kube-proxy sets, a neighbour's packet to 127.0.0.1 passes the hook input, and has not
/// come through the loopback interface.
#[test]
fn a_loopback_address_does_not_prove_the_loopback_interface() {
    let verdict = |arguments: &str| {
        let answer = json(EDGE, &format!("{arguments} --proto tcp --dport 10249"));
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        (word(&answer["packet"]["hook"]), answer["packet"]["loopback"].as_bool().unwrap(), word(&answer["verdict"]))
    };
    for (arguments, expected) in [
        ("--hook input --from 10.0.7.7 --to 127.0.0.1", ("input", false, "drop")),
        ("--hook input --from 10.0.7.7 --to 127.0.0.1 --interface lo", ("input", true, "accept")),
        ("--interface eth0 --from 10.0.7.7 --to 127.0.0.1", ("input", false, "drop")),
        ("--hook input --from 127.0.0.1 --to 10.0.0.20", ("input", true, "accept")),
        ("--hook input --from 127.0.0.1 --to 127.0.0.1 --interface eth0", ("input", false, "drop")),
        ("--hook output --from 10.0.0.20 --to 127.0.0.1", ("output", true, "accept")),
        ("--hook output --from 127.0.0.1 --to 10.0.7.7", ("output", false, "reject")),
        ("--from 127.0.0.1 --to 127.0.0.9", ("output", true, "accept")),
        ("--from 10.0.0.20 --to 10.0.0.20", ("output", true, "accept")),
        ("--hook input --from ::1 --to ::1", ("input", true, "accept")),
        ("--interface lo --from 10.0.0.20 --to 10.0.0.21", ("output", true, "accept")),
    ] {
        let (hook, loopback, found) = verdict(arguments);
        assert_eq!((hook.as_str(), loopback, found.as_str()), expected, "{arguments}");
    }
    for (arguments, message) in [
        ("--from 10.0.7.7 --to 127.0.0.1", "give the hook, or the interface"),
        ("--from 127.0.0.1 --to 10.0.7.7", "give the hook, or the interface"),
        ("--from 10.0.7.7 --to 127.0.0.1 --interface sixteen-bytes-xy", "1 to 15 bytes"),
        ("--target idc-gateway --from 10.0.7.7 --to 192.168.0.1 --interface eth0", "passes two interfaces"),
    ] {
        let (code, out, err) = explain(EDGE, &format!("{arguments} --proto tcp --dport 10249"));
        assert_eq!((code, out.as_str()), (2, ""), "{arguments}: {err}");
        assert!(err.contains(message), "{arguments}: {err}");
    }
}

#[test]
fn probes_of_the_cases_are_met() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = fs::read_dir(root.join(CASES)).unwrap().map(|entry| entry.unwrap().path());
    let mut held = 0;
    for case in cases.filter(|case| case.join("probes.yaml").exists()) {
        let (policy, probes) = (case.join("policy.yaml"), case.join("probes.yaml"));
        let arguments = format!("--probes {}", probes.display());
        let (code, out, err) = explain(policy.to_str().unwrap(), &arguments);
        assert_eq!(code, 0, "{}: {out}{err}", case.display());
        held += out.lines().filter(|line| line.starts_with("ok ")).count();
        let count = fs::read_to_string(probes).unwrap().matches("expect:").count();
        assert!(out.ends_with(&format!("\n{count} probes, 0 not as expected\n")), "{out}");
    }
    assert!(held > 25, "{held} probes");
}

#[test]
fn a_probe_that_is_not_met_fails_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probes.yaml");
    let probe = "from: 192.168.0.9, to: 10.0.0.20, proto: tcp, dport: 10250";
    let run = |rows: &[&str]| {
        let rows: Vec<String> = rows.iter().map(|row| format!("- {{{row}, {probe}}}\n")).collect();
        fs::write(&file, format!("version: 1\nprobes:\n{}", rows.concat())).unwrap();
        explain(EDGE, &format!("--probes {}", file.display()))
    };
    let (code, out, _) = run(&["expect: accept", "expect: drop", "expect: accept, flow: ssh"]);
    assert_eq!(code, 1);
    let failed: Vec<&str> = out.lines().filter(|line| line.starts_with("FAIL")).collect();
    assert_eq!(failed.len(), 2, "{out}");
    assert!(failed[1].contains("expected accept by ssh, found accept by kubelet"), "{out}");
    assert!(out.ends_with("3 probes, 2 not as expected\n"), "{out}");
    // A file without probes proves nothing, and `explain` says so.
    fs::write(&file, "version: 1\nprobes: []\n").unwrap();
    let (code, _, err) = explain(EDGE, &format!("--probes {}", file.display()));
    assert_eq!(code, 2, "{err}");
    let (code, _, err) = explain(EDGE, &format!("--probes {} {KUBELET}", file.display()));
    assert_eq!(code, 2, "{err}");
}

#[test]
fn an_audit_says_what_enforcing_would_do() {
    let answer = json("fixtures/cases/50-audit/policy.yaml", "--from 203.0.113.9 --to 10.0.0.20 --proto tcp --dport 1");
    assert_eq!((&answer["verdict"], &answer["flow"]), (&"accept".into(), &Value::Null));
    assert_eq!(because(&answer, "audit")[0]["verdict"], "drop");
}
