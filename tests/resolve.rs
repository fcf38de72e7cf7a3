//! `edgeward resolve` and `hosts`, whole, against a server that misbehaves on request.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]
#![allow(clippy::print_stderr, reason = "what is skipped")]

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
    assert!(said.contains("the addresses of 2 names in ") && said.contains("stale at "), "{said}");
    assert_eq!(site.lock(), lock);
    assert_eq!(ends(site.run("compile", &[]), 0), compiled);
    let said = ends(site.run("resolve", &["--offline"]), 0);
    assert!(said.contains("mirror.example.com: 3 addresses stay"), "{said}");
    assert_eq!(site.lock(), lock);
}

/// A site that moves from the catalog's prefixes to endpoints inside the VPC: what it knows is an error until DNS is
/// asked, and is dropped then.
#[test]
fn answers_of_the_time_before_private_link_are_dropped() {
    let site = Site::new();
    let before = fs::read_to_string("fixtures/invalid/answer-outside-vpc.yaml").unwrap();
    fs::write(site.policy(), before.replace("dns:", "resolve: {timeout: 200ms, attempts: 1}\ndns:")).unwrap();
    let lock = fs::read_to_string("fixtures/invalid/answer-outside-vpc.lock.yaml").unwrap();
    fs::write(site.policy().with_extension("lock.yaml"), &lock).unwrap();
    let said = ends(site.run("compile", &[]), 2);
    assert!(said.contains("error[answer-outside-vpc]") && said.contains("(and 5 more)"), "{said}");
    let inside = |zone: Zone, (at, row): (usize, &str)| {
        let name = row.trim_end_matches(':').trim();
        let address = if name.contains("-vpc") || name.contains("-internal") { "192.168.3" } else { "203.0.113" };
        zone.name(name, Entry::addresses(&[&format!("{address}.{at}")], 60))
    };
    let names = lock.lines().filter_map(|line| line.strip_prefix("- name: ")).enumerate();
    let server = names.fold(Zone::default(), inside).serve();
    let said = ends(site.resolve(&server, &[]), 0);
    assert!(said.contains("100.118.28.45") && said.contains("outside of `networks.vpc`"), "{said}");
    assert!(!site.lock().contains("address: 100."), "{}", site.lock());
    let compiled = ends(site.run("compile", &[]), 0);
    assert!(compiled.contains("192.168.3.") && !compiled.contains(" 100.1"), "{compiled}");
    // A server outside of the VPC has the old answers: none of them is opened.
    fs::remove_file(site.policy().with_extension("lock.yaml")).unwrap();
    let old = Zone::default().name("cs-anony-vpc.cn-hangzhou.aliyuncs.com", Entry::addresses(&["100.103.42.233"], 60));
    let said = ends(site.resolve(&old.serve(), &[]), 3);
    assert!(said.contains("100.103.42.233") && said.contains("outside of `networks.vpc`"), "{said}");
}

#[test]
fn offline_no_server_is_blamed() {
    let site = Site::new();
    let said = ends(site.run("resolve", &["--offline"]), 3);
    let expected =
        "and DNS was not asked:\n         backup.example.com\n         mirror.example.com\n       `edgeward resolve ";
    let (_, again) = said.split_once(expected).unwrap_or_else(|| panic!("{said}"));
    assert!(again.ends_with("/site.yaml` asks for them\n") && !again.contains("--offline"), "{said}");
    assert!(!said.contains("answer"), "{said}");
    let output = site.run("resolve", &["--offline", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["names"].as_array().unwrap().iter().all(|row| row["said"] == "DNS was not asked"), "{document}");
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
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["version"], 1);
    let rows = &document["names"];
    assert_eq!(rows[2]["name"], "mirror.example.com");
    assert_eq!(rows[2]["added"][0], "203.0.113.7");
}

/// The library that gives a program another clock; `None`, with a word, where it is not installed.
fn libfaketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    if found.is_none() {
        let required = std::env::var_os("REQUIRE_FAKETIME").is_some_and(|value| value == "1");
        assert!(!required, "REQUIRE_FAKETIME=1, but libfaketime is not installed");
        eprintln!("skipped: libfaketime is not installed");
    }
    found
}

/// Some days ago, and half a minute, which no rounding changes.
fn ago(days: i64) -> jiff::Timestamp {
    jiff::Timestamp::now() - jiff::SignedDuration::from_secs(days * 24 * 3600 + 30)
}

/// The lines of a lockfile that are addresses of a name.
fn addresses(lock: &str, name: &str) -> Vec<String> {
    let rows = lock.split("- name: ").find(|row| row.starts_with(name)).unwrap();
    let addresses = rows.lines().filter_map(|line| line.trim().strip_prefix("- {address: "));
    addresses.map(|line| line.split(',').next().unwrap().to_owned()).collect()
}

#[test]
fn a_wrong_clock_neither_expires_nor_keeps_an_address() {
    let Some(faketime) = libfaketime() else { return };
    let site = Site::new();
    let zone = |address| {
        let name = |zone: Zone, name| zone.name(name, Entry::addresses(&[address], 60));
        name(name(Zone::default(), "mirror.example.com"), "backup.example.com").serve()
    };
    let resolve = |server: &DnsServer, clock: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
        command.arg("resolve").arg(site.policy()).args(["--server", &server.address().to_string()]);
        if !clock.is_empty() {
            command.env("LD_PRELOAD", &faketime).env("FAKETIME", clock).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        text(&command.output().unwrap().stderr)
    };
    let (first, second) = (zone("203.0.113.21"), zone("203.0.113.22"));
    let mut silent = zone("203.0.113.23");
    silent.stop();
    let both = ["203.0.113.21", "203.0.113.22"];
    assert!(!resolve(&first, "").contains("not believed"));
    // For one run in which the name fails, moves, or stays.
    for clock in ["@1970-01-01 00:01:00", "@2040-01-01 00:00:00"] {
        for server in [&silent, &second, &first] {
            let said = resolve(server, clock);
            assert!(said.contains("the clock is not believed"), "{said}");
        }
        assert_eq!(addresses(&site.lock(), "mirror"), both, "at {clock}");
        assert!(!resolve(&second, "").contains("not believed"));
        assert_eq!(addresses(&site.lock(), "mirror"), both, "after {clock}");
        let lock = site.lock();
        assert!(!lock.contains("2040-") && !lock.contains("1970-"), "no time stamp is wrong: {lock}");
    }
    // After two reboots that agree, it is later indeed.
    let path = site.folder.path().join("site.lock.yaml");
    for (clock, boot) in [("@2040-01-01 00:00:00", "1"), ("@2040-01-02 00:00:00", "2")] {
        let lock = site.lock();
        let start = lock.find("boot: \"").unwrap() + 7;
        let id = format!("0000000{boot}-0000-4000-8000-000000000000");
        fs::write(&path, lock.replace(&lock[start..start + 36], &id)).unwrap();
        assert_eq!(addresses(&site.lock(), "mirror"), both);
        resolve(&second, clock);
    }
    assert_eq!(addresses(&site.lock(), "mirror"), ["203.0.113.22"]);
    assert!(site.lock().contains("last-seen: 2040-01-02T00:00:0"));
}

#[test]
fn a_name_that_gathers_too_many_addresses_is_reported() {
    let site = Site::new();
    let policy = POLICY.replace("attempts: 1}", "attempts: 1, max-addresses: 1, max-gathered: 1}");
    fs::write(site.policy(), policy).unwrap();
    let zone = |address| {
        let entry = |address| Entry::addresses(&[address], 60);
        Zone::default().name("mirror.example.com", entry(address)).name("backup.example.com", entry(address)).serve()
    };
    ends(site.resolve(&zone("203.0.113.21"), &[]), 0);
    let said = ends(site.resolve(&zone("203.0.113.22"), &[]), 0);
    assert!(said.contains("mirror.example.com has more addresses than `resolve.max-gathered` permits (1); the oldest address is dropped"), "{said}");
    assert_eq!(addresses(&site.lock(), "mirror"), ["203.0.113.22"]);
}

#[test]
fn a_run_without_an_answer_writes_nothing() {
    let site = Site::new();
    let mut server = good().serve();
    server.stop();
    ends(site.resolve(&server, &[]), 3);
    assert!(!site.folder.path().join("site.lock.yaml").exists());
    // By hand, with a row for one of three names, in another form than edgeward's.
    let seen = ago(6);
    let lock = format!(
        "version: 1\nnames:\n- {{name: mirror.example.com, addresses: [{{address: 203.0.113.7, first-seen: {seen}, \
         last-seen: {seen}}}]}}\n"
    );
    let path = site.folder.path().join("site.lock.yaml");
    fs::write(&path, &lock).unwrap();
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    ends(site.resolve(&server, &[]), 3);
    assert_eq!((site.lock(), fs::metadata(&path).unwrap().modified().unwrap()), (lock, written));
}

#[test]
fn where_dns_cannot_be_reached_each_server_has_one_line() {
    let site = Site::new();
    let mut servers = [good().serve(), good().serve()];
    ends(site.resolve(&servers[0], &[]), 0);
    servers.iter_mut().for_each(DnsServer::stop);
    let [first, second] = servers.map(|server| server.address().to_string());
    let output = site.run("resolve", &["--server", &first, "--server", &second]);
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert!(said.starts_with("error: no DNS server answered:\n"), "{said}");
    for server in [first, second] {
        assert_eq!(said.matches(&server).count(), 1, "{said}");
    }
    assert!(said.contains(": Connection refused (os error 111)"), "{said}");
    assert!(said.contains("check that these servers answer"), "{said}");
    assert_eq!(said.lines().count(), 5, "{said}");
    fs::remove_file(site.folder.path().join("site.lock.yaml")).unwrap();
    let said = ends(site.run("resolve", &["--server", "127.0.0.1:1"]), 3);
    assert!(said.contains("backup.example.com and 1 other name have no known address"), "{said}");
}

#[test]
fn old_answers_are_said_before_they_are_used() {
    let site = Site::new();
    let lock = |days: i64| {
        let seen = ago(days);
        let row = |name| {
            format!(
                "- {{name: {name}, addresses: [{{address: 203.0.113.7, first-seen: {seen}, last-seen: {seen}}}]}}\n"
            )
        };
        let rows = row("backup.example.com") + &row("mirror.example.com");
        fs::write(site.folder.path().join("site.lock.yaml"), format!("version: 1\nnames:\n{rows}")).unwrap();
    };
    lock(5);
    let compiled = text(&site.run("compile", &[]).stdout);
    for (days, expected) in [
        (5, None),
        (6, Some("nearly as old as `resolve.max-stale` (7 d): those of mirror.example.com were seen 6 d ago;")),
        (9, Some("older than `resolve.max-stale` (7 d): those of mirror.example.com were seen 9 d ago;")),
    ] {
        lock(days);
        for verb in ["check", "compile"] {
            let output = site.run(verb, &[]);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{said}");
            match expected {
                None => assert!(!said.contains("max-stale"), "{said}"),
                Some(expected) => {
                    assert!(said.contains("the addresses of 2 names") && said.contains(expected), "{said}")
                }
            }
            assert!(verb == "check" || text(&output.stdout) == compiled, "the age changes no byte of the ruleset");
        }
    }
}
