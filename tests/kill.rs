//! `kill -9` at any instant of any verb: the kernel has the old rules or the new ones, and the next command works.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout
)]

#[macro_use]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use edgeward::host::generations::Store;
use edgeward::host::kernel::{Kernel, Real};
use edgeward::host::transition::means;
use edgeward::live::Live;
use edgeward::ruleset::Ruleset;
use support::dns_server::{DnsServer, Entry, Zone};
use support::netns::{Side, Topology};
use support::random::Dice;

/// How many runs must be killed before their end, and how many are tried at most.
const KILLS: usize = 200;
const RUNS: usize = 800;

const POLICY: &str = registered_policy!(
    "registered-site",
    "resolve: {timeout: 500ms, attempts: 1, linger: 1s}
allow:
- {id: mirror, direction: outbound, peers: [mirror.example.com, 10.9.0.0/16], ports: [tcp/443]}
"
);

struct Site {
    folder: tempfile::TempDir,
    servers: [DnsServer; 2],
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let other = POLICY.replace("10.9.0.0/16", "10.8.0.0/16, 10.7.0.0/24").replace("10.0.0.53", "10.0.0.54");
        fs::write(folder.path().join("one.yaml"), POLICY).unwrap();
        fs::write(folder.path().join("other.yaml"), other).unwrap();
        let server = |address| Zone::default().name("mirror.example.com", Entry::addresses(&[address], 60)).serve();
        Self { folder, servers: ["203.0.113.7", "203.0.113.8"].map(server) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.path("state")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
        command.args(words).arg("--state-dir").arg(self.state()).current_dir(self.folder.path());
        command.env_remove("SSH_CONNECTION").stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// A verb that changes something, or may.
    fn verb(&self, dice: &mut Dice) -> Vec<String> {
        let server = dice.pick(&self.servers).address().to_string();
        let words: &[&str] = match dice.below(8) {
            0 | 1 => &["apply", "one.yaml", "--force"],
            2 | 3 => &["apply", "other.yaml", "--force"],
            4 => &["apply", "other.yaml", "--confirm-within", "1h"],
            5 => &["confirm"],
            6 => &["rollback"],
            _ => &["refresh", "one.yaml", "--force", "--server", &server],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

fn live() -> Option<Live> {
    Real::default().table().unwrap().map(Live)
}

/// Every ruleset that is written down. Of a generation that no state names, a run that was killed may have removed a part.
fn written(state: &Path) -> Vec<Ruleset> {
    let store = Store::look(state);
    let named = store.state().unwrap().generations;
    let folders = fs::read_dir(state.join("generations")).unwrap();
    let numbers = folders.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let read = |number: u64| store.ruleset(number).map_err(|error| assert!(!named.contains_key(&number), "{error}"));
    numbers.filter_map(|number| read(number).ok()).collect()
}

/// The numbers of the events that are written down, the first one first.
fn written_events(state: &Path) -> Vec<u64> {
    let events = Store::look(state).events().backwards().unwrap();
    let mut numbers: Vec<u64> = events.map(|event| event.unwrap().number).collect();
    numbers.reverse();
    numbers
}

#[test]
fn after_a_kill_the_rules_are_complete_and_the_next_run_works() {
    need_namespaces!();
    let topology = Topology::edge_host("10.0.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap());
    topology.within(Side::UnderTest, || {
        let site = Site::new();
        let mut dice = Dice::new(1);
        let resolved = ["one.yaml", "other.yaml"].map(|policy| {
            let server = site.servers[0].address().to_string();
            Command::new(env!("CARGO_BIN_EXE_edgeward"))
                .args(["resolve", policy, "--server", &server])
                .current_dir(site.folder.path())
                .output()
                .unwrap()
        });
        assert!(resolved.iter().all(|output| output.status.success()), "{resolved:?}");
        assert!(site.run(&["apply", "one.yaml"]).status.success());
        // How long each verb takes, learned from its runs: kills fall at any time from before the first step to after the last one, also when the host gets busier.
        let mut lengths: BTreeMap<String, Duration> = BTreeMap::new();
        let (mut killed, mut changed) = (0, 0);
        for run in 0..RUNS {
            if killed == KILLS {
                break;
            }
            let before = live().expect("a table").meaning();
            let words = site.verb(&mut dice);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let length = lengths.entry(words[0].to_owned()).or_insert(Duration::from_millis(100));
            let begin = Instant::now();
            let mut child = site.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let at = *length * dice.below(1200) as u32 / 1000;
            let ended = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break Some(status);
                }
                if begin.elapsed() >= at {
                    child.kill().unwrap();
                    break child.wait().unwrap().code().is_some().then_some(ExitStatus::default());
                }
                thread::sleep(Duration::from_micros(200));
            };
            let elapsed = begin.elapsed();
            // A run that was killed late says that the verb takes longer than was thought; one that ended says how long.
            *length = match ended {
                Some(_) => (*length * 3 + elapsed) / 4,
                None => (*length).max(elapsed) * 51 / 50,
            };
            killed += usize::from(ended.is_none());
            let now = live().unwrap_or_else(|| panic!("{run}: {words:?} left no table"));
            let is_old = means(Some(&now), Some(&before));
            let is_new = || written(&site.state()).iter().any(|ruleset| means(Some(&now), Some(ruleset)));
            assert!(is_old || is_new(), "{run}: {words:?} left neither the old rules nor the new");
            changed += usize::from(!is_old);
            let status = site.run(&["status", "--format", "json"]);
            assert!(status.status.success(), "{run}: {words:?}: {status:?}");
            if dice.below(6) == 0 {
                let next = site.run(&["rollback"]);
                // There may be no generation before the present one.
                assert!(matches!(next.status.code(), Some(0 | 2)), "{run}: {words:?}: {next:?}");
                let next = site.run(&["apply", "one.yaml", "--confirm-within", "1h"]);
                assert!(next.status.success(), "{run}: {words:?}: {next:?}");
                let next = site.run(&["confirm"]);
                assert!(next.status.success(), "{run}: {words:?}: {next:?}");
                let state = Store::look(&site.state()).state().unwrap();
                let ruleset = Store::look(&site.state()).ruleset(state.current.unwrap()).unwrap();
                assert!(means(live().as_ref(), Some(&ruleset)), "{run}: {words:?}");
                assert_eq!((state.switching, state.pending, state.confirmed), (None, None, state.current));
                assert!(state.generations.len() <= 20);
                let events: Vec<u64> = written_events(&site.state());
                assert_eq!(events, (1..=events.len() as u64).collect::<Vec<_>>(), "{run}: {words:?}");
            }
        }
        println!("{killed} runs were killed before their end; of all that were tried, {changed} had changed the rules");
        assert!(killed == KILLS && changed > 20, "{killed} killed, {changed} changed");
        // The watchers of pending changes have nothing left to do.
        let _ = site.run(&["confirm"]);
    });
}
