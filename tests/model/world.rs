//! A host for one sequence of steps: a network namespace, its own boots and clocks, a DNS server, and the program.
//!
//! Time passes by time namespaces, which have their own `CLOCK_BOOTTIME`, and libfaketime, which shifts the clock. The id
//! of the boot is a file that is mounted over the kernel's, in the mount namespace of the sequence's thread.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use edgeward::catalog::FILES;
use rustix::thread::UnshareFlags;
use serde_json::Value;
use tempfile::TempDir;

use super::names::{Addresses, Answer, Name};
use super::rules::{Number, Policy, Read, Who};
use super::text;
use crate::support::dns_server::{DnsServer, Entry, Zone};
use crate::support::netns::{Side, Topology};
use hickory_net::proto::op::ResponseCode;

/// What a run of a program left.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    /// That, and the messages.
    pub said: String,
}

pub struct World {
    topology: Topology,
    folder: TempDir,
    faketime: PathBuf,
    server: DnsServer,
    /// Whether the server can be reached.
    pub is_reachable: bool,
    /// What the time namespace adds to the time since boot, and libfaketime to the clock, in seconds.
    boot_offset: i64,
    clock_offset: i64,
    /// By how much the clock is wrong.
    pub wrong_by: i64,
    boots: u32,
}

/// The library that gives a program another clock.
pub fn libfaketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

/// Gives the calling thread, and what it starts, mounts of its own.
fn leave_mounts() {
    #[expect(deprecated, reason = "unsound only for CLONE_FILES; its successor is `unsafe`")]
    rustix::thread::unshare(UnshareFlags::NEWNS).unwrap();
    mount(&["--make-rprivate", "/"]);
}

fn mount(arguments: &[&str]) {
    assert!(Command::new("mount").args(arguments).status().unwrap().success(), "mount {arguments:?}");
}

fn uptime() -> i64 {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec
}

impl World {
    /// On a thread of its own.
    pub fn new(faketime: &Path, zone: &BTreeMap<Name, Answer>) -> Self {
        leave_mounts();
        let topology = Topology::edge_host("10.0.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let server = topology.within(Side::UnderTest, || zone_of(zone).serve_without_tcp());
        let mut world = Self {
            topology,
            folder,
            faketime: faketime.to_owned(),
            server,
            is_reachable: true,
            boot_offset: 0,
            clock_offset: 0,
            wrong_by: 0,
            boots: 0,
        };
        world.boot(0);
        mount(&["--bind", world.path("boot_id").to_str().unwrap(), "/proc/sys/kernel/random/boot_id"]);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.path(name));
    }

    pub fn choose_catalog(&self, number: u8) {
        fs::create_dir_all(self.path("newer")).unwrap();
        for (file, text) in FILES.into_iter().zip(text::catalog(number)) {
            self.write(&format!("newer/{file}"), &text);
        }
    }

    pub fn write_policy(&self, policy: &Policy) {
        self.write("policy.yaml", &text::policy(policy));
    }

    pub fn serve(&mut self, zone: &BTreeMap<Name, Answer>) {
        self.server = self.topology.within(Side::UnderTest, || zone_of(zone).serve_without_tcp());
    }

    /// The right time, in seconds since 1970.
    pub fn clock(&self) -> i64 {
        jiff::Timestamp::now().as_second() + self.clock_offset
    }

    /// Time passes, by all clocks.
    pub fn pass(&mut self, seconds: i64) {
        self.boot_offset += seconds;
        self.clock_offset += seconds;
    }

    /// The next boot, some time after the last one. Processes and the kernel's tables are gone.
    pub fn boot(&mut self, off: i64) {
        self.clock_offset += off;
        self.kill_watchers();
        self.nft(&["flush", "ruleset"]);
        self.boots += 1;
        self.boot_offset = 60 - uptime();
        self.write("boot_id", &format!("{:08x}-0000-4000-8000-000000000000\n", self.boots));
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--time", "--boottime", &self.boot_offset.to_string(), "--", program]);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("NO_COLOR", "1").env_remove("SSH_CONNECTION").env_remove("SUDO_USER");
        command.env("LD_PRELOAD", &self.faketime).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.env("FAKETIME", format!("{:+}", self.clock_offset + self.wrong_by));
        command
    }

    /// Runs the program as a user; it is over after a minute.
    pub fn edgeward(&self, line: &str, who: &Who) -> Run {
        let mut command = self.program(line, who);
        let output = self.topology.within(Side::UnderTest, || command.output()).unwrap();
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Run { code: output.status.code(), said: format!("{out}{err}"), out }
    }

    /// Runs the program, and kills it after some time. What it has started lives on.
    pub fn edgeward_killed(&self, line: &str, who: &Who, delay: Duration) {
        let mut command = self.program(line, who);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = self.topology.within(Side::UnderTest, || command.spawn()).unwrap();
        std::thread::sleep(delay);
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        for pid in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            let _ = Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status();
        }
        child.wait().unwrap();
    }

    fn program(&self, line: &str, who: &Who) -> Command {
        let mut command = self.command("timeout");
        command.args(["--kill-after=1", "60", env!("CARGO_BIN_EXE_edgeward")]);
        command.args(line.split_whitespace());
        if !line.starts_with("resolve") {
            command.args(["--state-dir", "state"]);
        }
        let (ssh, sudo) = match who {
            Who::Root | Who::Watcher => (None, None),
            Who::Sudo(user) => (None, Some(user)),
            Who::Ssh(client, user) => (Some(format!("{client} 55410 10.0.0.20 22")), user.as_ref()),
        };
        command.envs(ssh.map(|ssh| ("SSH_CONNECTION", ssh))).envs(sudo.map(|sudo| ("SUDO_USER", sudo)));
        command
    }

    /// Where DNS is asked.
    pub fn server(&self) -> String {
        match self.is_reachable {
            true => self.server.address().to_string(),
            false => "127.0.0.1:1".to_owned(),
        }
    }

    pub fn nft(&self, words: &[&str]) -> String {
        let words: Vec<&str> = ["nft"].into_iter().chain(words.iter().copied()).collect();
        let output = self.topology.run_under_test(&words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The table as nft lists it; `None` where there is none.
    pub fn listing(&self) -> Option<String> {
        let output = self.topology.run_under_test(&["nft", "-s", "list", "table", "inet", "edgeward"]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The lockfiles.
    pub fn lockfiles(&self) -> Read {
        // A killed run may have left others.
        let state = fs::read_to_string(self.path("state/state.json")).unwrap_or_default();
        let state: Value = serde_json::from_str(&state).unwrap_or_default();
        let is_named = |number: &Number| state["generations"].get(number.to_string()).is_some();
        let kept = self.numbers("state/generations").into_iter().filter(is_named).filter_map(|number| {
            let lock = fs::read_to_string(self.path(&format!("state/generations/{number}/policy.lock.yaml")));
            Some((number, addresses(&lock.ok()?)))
        });
        let disk = fs::read_to_string(self.path("policy.lock.yaml")).ok();
        Read { disk: disk.map(|text| addresses(&text)), kept: kept.collect() }
    }

    /// The generations in the state folder.
    pub fn numbers(&self, folder: &str) -> Vec<Number> {
        let mut numbers: Vec<Number> = self.names(folder).iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The names in a folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Ends the watchers of this state folder, as a reboot does.
    pub fn kill_watchers(&self) {
        for (pid, _) in self.watchers() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }

    /// The watchers of this state folder: process and deadline.
    pub fn watchers(&self) -> Vec<(u32, String)> {
        let folder = self.folder.path().to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let watcher = |pid: u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let words: Vec<&str> = line.trim_end_matches('\0').split('\0').collect();
            let is_ours = line.contains("edgeward") && line.contains(folder);
            is_ours.then(|| (pid, words.last().copied().unwrap_or_default().to_owned()))
        };
        pids.filter_map(watcher).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill_watchers();
    }
}

/// The addresses of a lockfile, as a reader of its lines sees them.
fn addresses(text: &str) -> Addresses {
    let rows = text.split("- name: ").skip(1);
    let of = |name: Name| {
        let row = rows.clone().find(|row| row.lines().next().is_some_and(|line| line.trim() == name.text()))?;
        let lines = row.lines().filter_map(|line| line.trim().strip_prefix("- {address: "));
        let addresses = lines.map(|line| line.split(',').next().unwrap().trim_matches('"').parse().unwrap());
        Some((name, addresses.collect()))
    };
    Name::ALL.into_iter().filter_map(of).collect()
}

fn zone_of(answers: &BTreeMap<Name, Answer>) -> Zone {
    let zone = text::catalog_names().iter().filter(|_| matches!(answers[&Name::Catalog], Answer::Addresses(_)));
    let zone = zone.fold(Zone::default(), |zone, (name, address)| {
        zone.name(name, Entry::addresses(&[address.to_string().as_str()], 60))
    });
    [Name::Mirror, Name::Backup].into_iter().fold(zone, |zone, name| {
        let entry = match &answers[&name] {
            Answer::Addresses(addresses) if addresses.is_empty() => Entry::nothing(),
            Answer::Addresses(addresses) => {
                let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                Entry::addresses(&texts.iter().map(String::as_str).collect::<Vec<_>>(), 60)
            }
            Answer::NxDomain => Entry::code(ResponseCode::NXDomain),
            Answer::ServFail => Entry::code(ResponseCode::ServFail),
            Answer::Refused => Entry::code(ResponseCode::Refused),
        };
        zone.name(name.text(), entry)
    })
}
