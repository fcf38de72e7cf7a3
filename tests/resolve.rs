//! `edgeward resolve` and `hosts`, whole, against a server that misbehaves on request.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::dns_server::{DnsServer, Entry, Zone};

const POLICY: &str = registered_policy!(
    "registered-site",
    "resolve: {timeout: 200ms, attempts: 1}
allow:
- {id: mirror, direction: outbound, peers: [mirror.example.com, backup.example.com], ports: [tcp/443]}
- {id: extra, direction: outbound, peers: [extra.example.com], ports: [tcp/443], optional: true}
"
);

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("site.yaml"), POLICY).unwrap();
        Self { folder }
    }

    fn policy(&self) -> PathBuf {
        self.folder.path().join("site.yaml")
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.folder.path().join("site.lock.yaml")).unwrap()
    }

    fn run(&self, verb: &str, more: &[&str]) -> Output {
        edgeward(verb, &self.policy(), more)
    }

    fn resolve(&self, server: &DnsServer, more: &[&str]) -> Output {
        let address = server.address().to_string();
        self.run("resolve", &[&["--server", &address], more].concat())
    }
}

fn edgeward(verb: &str, policy: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edgeward")).arg(verb).arg(policy).args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn ends(output: Output, code: i32) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    out + &err
}

fn good() -> Zone {
    Zone::default()
        .name("mirror.example.com", Entry::addresses(&["203.0.113.7", "203.0.113.8", "2001:db8::7"], 300))
        .name("backup.example.com", Entry::addresses(&["203.0.113.9"], 60))
}

#[test]
fn answers_are_written_compiled_and_kept_when_the_server_is_gone() {
    let site = Site::new();
    ends(site.run("compile", &[]), 3);
    let mut server = good().serve();
    // The optional name does not exist, which is not a failure.
    let said = ends(site.resolve(&server, &[]), 0);
    assert!(said.contains("+ 203.0.113.7 (ttl 300) added") && said.contains("no such name"), "{said}");
    let lock = site.lock();
    assert!(lock.contains(&format!("server: \"{}\"", server.address())), "{lock}");
    let compiled = ends(site.run("compile", &[]), 0);
    assert!(compiled.contains("203.0.113.7, 203.0.113.8, 203.0.113.9"), "{compiled}");
    // With the server stopped nothing changes, and the message says how long the addresses stay valid.
    server.stop();
    let said = ends(site.resolve(&server, &[]), 3);
    assert!(said.contains("addresses stay, seen") && said.contains("stale at "), "{said}");
    assert_eq!(site.lock(), lock);
    assert_eq!(ends(site.run("compile", &[]), 0), compiled);
    let said = ends(site.run("resolve", &["--offline"]), 0);
    assert!(said.contains("mirror.example.com: 3 addresses stay"), "{said}");
    assert_eq!(site.lock(), lock);
}

#[test]
fn what_is_not_believed_is_reported_and_kept_out() {
    let site = Site::new();
    let server = Zone::default()
        .name("mirror.example.com", Entry::addresses(&["203.0.113.7", "10.0.0.99", "127.0.0.1"], 300))
        .name("backup.example.com", Entry::addresses(&["192.168.0.1"], 60))
        .serve();
    let said = ends(site.resolve(&server, &[]), 3);
    assert!(said.contains("! 10.0.0.99 refused: a private address"), "{said}");
    assert!(said.contains("! 127.0.0.1 refused: a loopback address"), "{said}");
    assert!(said.contains("backup.example.com: ") && said.contains("no address is known"), "{said}");
    let lock = site.lock();
    assert!(lock.contains("203.0.113.7") && !lock.contains("10.0.0.99") && !lock.contains("192.168.0.1"), "{lock}");
}

#[test]
fn a_damaged_lockfile_is_never_replaced() {
    let site = Site::new();
    let server = good().serve();
    let path = site.folder.path().join("site.lock.yaml");
    for damaged in ["version: 2\nnames: []\n", "version: 1\nnames:\n- {name: a.example.com, addresses: [1.2.3]}\n", "{"]
    {
        fs::write(&path, damaged).unwrap();
        let said = ends(site.resolve(&server, &[]), 2);
        assert!(said.contains("site.lock.yaml:"), "{said}");
        assert_eq!(site.lock(), damaged);
    }
}

#[test]
fn two_runs_at_once_leave_a_good_lockfile() {
    let site = Site::new();
    let server = good().serve();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| ends(site.resolve(&server, &[]), 0));
        }
    });
    ends(site.run("compile", &[]), 0);
    assert_eq!(fs::read_dir(site.folder.path()).unwrap().count(), 2);
}

#[test]
fn a_killed_run_leaves_the_old_or_the_new_lockfile() {
    let site = Site::new();
    let server = good().serve();
    ends(site.resolve(&server, &[]), 0);
    for microseconds in (0..60).map(|step| step * 200) {
        let mut run = Command::new(env!("CARGO_BIN_EXE_edgeward"))
            .arg("resolve")
            .arg(site.policy())
            .args(["--server", &server.address().to_string()])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_micros(microseconds));
        // It may have ended by itself.
        let _ = run.kill();
        run.wait().unwrap();
        ends(site.run("compile", &[]), 0);
    }
}

#[test]
fn hosts_are_pinned_to_what_the_firewall_allows() {
    let site = Site::new();
    ends(site.run("hosts", &[]), 3);
    let server = good().serve();
    ends(site.resolve(&server, &[]), 0);
    let hosts = ends(site.run("hosts", &[]), 0);
    assert!(hosts.contains("203.0.113.9\tbackup.example.com\n") && hosts.contains("2001:db8::7\tmirror.example.com\n"));
    let dnsmasq = ends(site.run("hosts", &["--format", "dnsmasq"]), 0);
    assert!(dnsmasq.contains("host-record=mirror.example.com,203.0.113.8\n"), "{dnsmasq}");
}

#[test]
fn programs_read_the_summary() {
    let site = Site::new();
    let server = good().serve();
    let output = site.resolve(&server, &["--format", "json"]);
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows[2]["name"], "mirror.example.com");
    assert_eq!(rows[2]["added"][0], "203.0.113.7");
}
