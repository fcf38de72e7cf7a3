//! A host with a policy, a state directory and the program.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgeward::emit;
use edgeward::live::Live;
use edgeward::readback;
use edgeward::resolution::Resolution;
use edgeward::source::Source;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::dns_server::{Entry, Zone};
use crate::support::lockfiles::completed;
use crate::support::netns::{Side, Topology, bound};
use crate::support::programs::connect_from;

/// Where the policies' management stands, and a host there.
pub const OFFICE: &str = "10.0.0.0/24";
pub const ELSEWHERE: &str = "10.0.1.0/24";
pub const OPERATOR: &str = "10.0.0.9";
/// The host under test.
pub const HOST: [&str; 2] = ["10.0.0.20", "2001:db8::20"];

/// Names of the policy, and what they resolve to.
const NAMES: [(&str, &[&str]); 8] = [
    ("aliacs-k8s-cn-hangzhou.oss-cn-hangzhou-internal.aliyuncs.com", &["100.118.28.45"]),
    ("cn.ntp.org.cn", &["198.51.100.123"]),
    ("cs-anony-vpc.cn-hangzhou.aliyuncs.com", &["100.103.42.233"]),
    ("dockerauth-ee-vpc.cn-hangzhou.aliyuncs.com", &["100.103.0.11"]),
    ("dockerauth-vpc.cn-hangzhou.aliyuncs.com", &["100.103.0.10"]),
    ("mirror.example.com", &["203.0.113.7"]),
    ("ntp1.aliyun.com", &["198.51.100.7", "198.51.100.8"]),
    ("registry-cn-hangzhou-vpc.ack.aliyuncs.com", &["100.103.0.12", "100.103.0.13"]),
];
/// The one of them that tests change.
pub const MIRROR: &str = "mirror.example.com";

/// A policy with its management somewhere; answers that are gone do not linger.
pub fn policy(management: &str) -> String {
    format!(
        r#"version: 1
name: edge
target: edge-host
region: cn-hangzhou
connection: express-connect
cni: flannel
mode: enforce
cluster: {{kind: ack-edge, version: "1.30", api-server: 192.168.10.20}}
networks: {{vpc: [192.168.0.0/16], hosts: [10.0.0.0/8], pods: [172.20.0.0/16], cloud-services: [100.0.0.0/8]}}
management: {{from: [{management}]}}
dns: {{servers: [10.0.0.53]}}
resolve: {{timeout: 1s, attempts: 1, linger: 1h}}
allow:
- {{id: mirror, direction: outbound, peers: [{MIRROR}], ports: [tcp/8443], purpose: packages}}
"#
    )
}

/// The answers of two hours ago, as a lockfile that was written now; names that the catalog adds to the policy have made-up answers.
fn lock() -> String {
    let text = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (now, seen) = (text(Timestamp::now()), text(Timestamp::now().checked_sub(2.hours()).unwrap()));
    let address =
        |address: &&str| format!("  - {{address: \"{address}\", first-seen: {seen}, last-seen: {seen}, ttl: 60}}\n");
    let name = |(name, addresses): &(&str, &[&str])| {
        format!("- name: {name}\n  addresses:\n{}", addresses.iter().map(address).collect::<String>())
    };
    let known = format!(
        "version: 1\nclock: {{at: {now}, since-boot: 0}}\nnames:\n{}",
        NAMES.iter().map(name).collect::<String>()
    );
    completed(&Source::new("policy.yaml", policy(OFFICE)), &known, None)
}

/// The zone with the same answers, but for the mirror.
pub fn zone(mirror: &[&str]) -> Zone {
    let known = Resolution::parse(&Source::new("policy.lock.yaml", lock()), &mut Default::default()).unwrap();
    let others = known.names.iter().filter(|(name, _)| name.as_str() != MIRROR);
    let zone = others.fold(Zone::default(), |zone, (name, record)| {
        let them: Vec<String> = record.addresses.keys().map(ToString::to_string).collect();
        let them: Vec<&str> = them.iter().map(String::as_str).collect();
        zone.name(name.as_str(), Entry::addresses(&them, 60))
    });
    if mirror.is_empty() { zone } else { zone.name(MIRROR, Entry::addresses(mirror, 60)) }
}

/// What a run of a program left.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    pub fn of(output: &Output) -> Self {
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Self { code: output.status.code(), out, err }
    }

    /// Asserts the exit code, and that nothing panicked.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    /// Asserts that each of these words stands in what was said.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        let said = self.said();
        for word in words {
            assert!(said.contains(word), "{word:?} is not in:\n{said}");
        }
        self
    }

    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// How long something is waited for that must come. It comes at once, unless the host is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that must come, and says whether it did.
pub fn soon(holds: impl FnMut() -> bool) -> bool {
    eventually(PATIENCE, holds)
}

/// Waits for something, and says whether it came.
pub fn eventually(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        if holds() {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    holds()
}

/// Sets are named after generations; under the names of a fresh ruleset, equal rules are equal text. What edgeward does
/// not understand stays as it is.
fn meaning(listing: &str) -> String {
    if listing.is_empty() {
        return String::new();
    }
    readback::read(&Source::new("kernel", listing))
        .map_or_else(|_| listing.to_owned(), |table| emit::nft(&Live(table).meaning()))
}

pub struct Host {
    pub topology: Topology,
    pub folder: TempDir,
}

impl Host {
    /// A host with `policy.yaml` for the office, `other.yaml` for elsewhere, and their lockfiles.
    pub fn new() -> Self {
        Self::at(Topology::edge_host(HOST[0].parse().unwrap(), HOST[1].parse().unwrap()))
    }

    pub fn at(topology: Topology) -> Self {
        let host = Self { topology, folder: tempfile::tempdir().unwrap() };
        host.write("policy.yaml", &policy(OFFICE));
        host.write("other.yaml", &policy(ELSEWHERE));
        for name in ["policy.lock.yaml", "other.lock.yaml"] {
            host.write(name, &lock());
        }
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes the built-in catalog to a folder, with one text of its regions replaced.
    pub fn write_catalog(&self, name: &str, from: &str, to: &str) {
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/catalog");
        fs::create_dir(self.path(name)).unwrap();
        for file in edgeward::catalog::FILES {
            let text = fs::read_to_string(built_in.join(file)).unwrap();
            assert!(file != "regions.yaml" || text.contains(from), "{from}");
            self.write(&format!("{name}/{file}"), &text.replace(from, to));
        }
    }

    /// The program, for the namespace under test; it is over after a minute.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", "60", env!("CARGO_BIN_EXE_edgeward")]).args(arguments);
        command.args(["--state-dir", "state"]).current_dir(self.folder.path());
        command.env("NO_COLOR", "1").env_remove("SSH_CONNECTION");
        command
    }

    pub fn run(&self, command: &mut Command) -> Run {
        Run::of(&self.topology.within(Side::UnderTest, || command.output()).unwrap())
    }

    /// Runs a line of words.
    pub fn edgeward(&self, line: &str) -> Run {
        self.run(&mut self.command(line.split_whitespace()))
    }

    /// Runs a script with a mount namespace of its own; `$EDGEWARD` is the program.
    pub fn script(&self, text: &str) -> Run {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", "60", "unshare", "--mount", "sh", "-uc", text]);
        command.env("EDGEWARD", env!("CARGO_BIN_EXE_edgeward")).env("NO_COLOR", "1").env_remove("SSH_CONNECTION");
        self.run(command.current_dir(self.folder.path()))
    }

    pub fn nft(&self, line: &str) -> String {
        let words: Vec<&str> = ["nft"].into_iter().chain(line.split_whitespace()).collect();
        let run = Run::of(&self.topology.run_under_test(&words));
        run.ends(0).out
    }

    /// What the table means, under the names that a fresh ruleset has; empty where there is none.
    pub fn rules(&self) -> String {
        meaning(&Run::of(&self.topology.run_under_test(&["nft", "-s", "list", "table", "inet", "edgeward"])).out)
    }

    /// The table with the handles of chains, rules and sets: the same text means that none was created again.
    pub fn handles(&self) -> String {
        self.nft("-a -s -t list table inet edgeward")
    }

    pub fn has_table(&self) -> bool {
        !self.rules().is_empty()
    }

    /// Whether the rules in the kernel have the management here.
    pub fn lets_in(&self, management: &str) -> bool {
        self.rules().contains(management)
    }

    /// The state without its checksum, so that it can be changed and written again.
    pub fn state(&self) -> Value {
        let mut state: Value = serde_json::from_str(&self.read("state/state.json")).unwrap();
        state.as_object_mut().unwrap().remove("checksum").unwrap();
        state
    }

    /// Everything in the state directory, with its text.
    pub fn records(&self) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("state")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = fs::read_to_string(&path).unwrap();
                    found.push((path, text));
                }
            }
        }
        found.sort();
        found
    }

    pub fn generations(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.path("state/generations")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut numbers: Vec<u64> = names.map(|name| name.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// The processes that still run for this state directory.
    pub fn watchers(&self) -> Vec<u32> {
        let folder = self.folder.path().to_str().unwrap().to_owned();
        let is_ours = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("edgeward") && line.contains(&folder)
        };
        let entries =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        entries.filter(is_ours).collect()
    }

    /// Ends those processes, which are this test's own.
    pub fn kill_watchers(&self) {
        for pid in self.watchers() {
            assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        }
        assert!(soon(|| self.watchers().is_empty()));
    }

    /// A ruleset file of the kind that `compile` writes, as the kernel sees it in a namespace of its own.
    pub fn loaded(path: &Path) -> String {
        let other = Topology::edge_host(HOST[0].parse().unwrap(), HOST[1].parse().unwrap());
        other.load(&fs::read_to_string(path).unwrap()).unwrap();
        meaning(&Run::of(&other.run_under_test(&["nft", "-s", "list", "table", "inet", "edgeward"])).out)
    }
}

/// A connection that is never idle, until it is dropped.
pub struct Session {
    client: TcpStream,
    _server: TcpStream,
    /// Without one, no process has the port.
    listener: Option<TcpListener>,
    silent: Arc<AtomicBool>,
}

impl Session {
    /// Opens one between an address of the world and a listener under test.
    pub fn open(host: &Host, from: &str, listener: &str, to: &str) -> Self {
        let listener: SocketAddr = listener.parse().unwrap();
        let listener = host.topology.within(Side::UnderTest, || bound(|| TcpListener::bind(listener))).unwrap();
        let (from, to): (IpAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        // IPv6 on a new link may take a moment.
        let client = (0..10).find_map(|_| host.topology.within(Side::Outside, || connect_from(from, to)).ok()).unwrap();
        let server = listener.accept().unwrap().0;
        let mut session = Self::talking(client, server);
        session.listener = Some(listener);
        session
    }

    /// Opens one from the host to the world.
    pub fn outward(host: &Host, to: &str) -> Self {
        let (from, to): (IpAddr, SocketAddr) = (HOST[0].parse().unwrap(), to.parse().unwrap());
        let listener = host.topology.within(Side::Outside, || bound(|| TcpListener::bind(to))).unwrap();
        let client = host.topology.within(Side::UnderTest, || connect_from(from, to)).unwrap();
        Self::talking(client, listener.accept().unwrap().0)
    }

    fn talking(client: TcpStream, server: TcpStream) -> Self {
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let silent = Arc::new(AtomicBool::new(false));
        let (stop, mut sender, mut receiver) =
            (Arc::clone(&silent), client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            for _ in 0..600 {
                if stop.load(Ordering::Relaxed) || sender.write_all(b"x").is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        thread::spawn(move || {
            let mut heard = [0; 16];
            // To the end of the connection: who is silent may speak again.
            while receiver.read(&mut heard).is_ok_and(|length| length > 0) {
                // The echo of a terminal.
                if receiver.write_all(b"y").is_err() {
                    break;
                }
            }
        });
        Self { client, _server: server, listener: None, silent }
    }

    /// Its source, as the server sees it.
    pub fn source(&self) -> SocketAddr {
        self.client.local_addr().unwrap()
    }

    /// Stops listening, as an sshd that is restarted.
    pub fn close_listener(&mut self) {
        self.listener = None;
    }

    pub fn hush(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Whether an echo comes back for what is sent from now on.
    pub fn is_alive(&self) -> bool {
        let mut client = &self.client;
        let mut heard = [0; 4096];
        client.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        while client.read(&mut heard).is_ok_and(|length| length == heard.len()) {}
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"z").is_ok() && client.read(&mut heard).is_ok_and(|length| length > 0)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hush();
    }
}
