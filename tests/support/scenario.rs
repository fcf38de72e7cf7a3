//! A policy, the place where its ruleset runs, and probes with their expected verdicts: the files in `scenarios`.
//!
//! ```text
//! policy  express-connect-flannel              a policy of `policies`
//! edit    cni: flannel => cni: terway-edge     a part of its text, and its replacement (`\n`: a new line)
//! target  idc-gateway                          in place of the policy's target
//! host    10.0.0.20 2001:db8::20               the host under test, or
//! inside  10.0.0.0/8 2001:db8:a::/48           the inside prefixes of the gateway under test
//! replies-count                                counters may count more than probes: replies pass the same rules
//!
//! the rows of `support::probes`
//! ```

use std::fs;
use std::path::PathBuf;

use edgeward::intent::{Intent, Resolved};
use edgeward::site::Target;
use edgeward::source::Source;

use super::compile::resolved;
use super::netns::Topology;
use super::probes::{self, Host, Row};

/// Where the ruleset runs.
#[derive(Clone, Debug)]
pub enum Place {
    /// On a host.
    Host(Host),
    /// On a gateway in front of these prefixes.
    Gateway(Vec<String>),
}

impl Place {
    /// On a host with these addresses.
    ///
    /// # Panics
    ///
    /// Where they are none.
    pub fn host(v4: &str, v6: &str) -> Self {
        Place::Host(Host { v4: v4.parse().expect("a v4 address"), v6: v6.parse().expect("a v6 address") })
    }

    /// The host's addresses, where it is one.
    pub fn as_host(&self) -> Option<Host> {
        match self {
            Place::Host(host) => Some(*host),
            Place::Gateway(_) => None,
        }
    }

    /// Makes namespaces with one such place under test.
    pub fn topology(&self) -> Topology {
        match self {
            Place::Host(host) => Topology::edge_host(host.v4, host.v6),
            Place::Gateway(inside) => Topology::gateway(&inside.iter().map(String::as_str).collect::<Vec<_>>()),
        }
    }
}

/// A scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The policy's text.
    pub policy: String,
    /// The text of the lockfile beside it, where there is one.
    pub lock: Option<String>,
    /// The target, where it is not the policy's.
    pub target: Option<Target>,
    /// Where the ruleset runs.
    pub place: Place,
    /// Whether the policy is tested as it stands, so that every flow of it has to have a row.
    pub is_whole: bool,
    /// Whether counters may count more than the probes.
    pub replies_count: bool,
    /// The probes.
    pub rows: Vec<Row>,
}

impl Scenario {
    /// Reads the scenario of a name.
    ///
    /// # Panics
    ///
    /// Where it is malformed, or an edit finds nothing to replace.
    pub fn load(name: &str) -> Self {
        let text = read(&format!("tests/support/scenarios/{name}.txt")).expect("the scenario");
        let (mut policy, mut lock, mut target, mut place) = (String::new(), None, None, None);
        let (mut is_whole, mut replies_count, mut rows) = (true, false, String::new());
        for line in text.lines() {
            let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let rest = rest.trim();
            match word {
                "policy" => {
                    policy = read(&format!("policies/{rest}.yaml")).expect("the policy");
                    lock = read(&format!("policies/{rest}.lock.yaml"));
                }
                "edit" => {
                    let (old, new) = rest.split_once(" => ").expect("an edit has an arrow");
                    let new = new.replace("\\n", "\n");
                    assert!(policy.contains(old), "the policy has no `{old}`");
                    policy = policy.replace(old, &new);
                    is_whole = false;
                }
                "target" => {
                    target = Some(rest.parse().expect("a target"));
                    is_whole = false;
                }
                "host" => {
                    let (v4, v6) = rest.split_once(' ').expect("two addresses");
                    place = Some(Place::host(v4, v6));
                }
                "inside" => place = Some(Place::Gateway(rest.split_whitespace().map(str::to_owned).collect())),
                "replies-count" => replies_count = true,
                _ => {
                    rows.push_str(line);
                    rows.push('\n');
                }
            }
        }
        let place = place.expect("a scenario has a place");
        let rows = probes::parse(&rows, place.as_host());
        Self { policy, lock, target, place, is_whole, replies_count, rows }
    }

    /// Binds the policy to its lockfile.
    ///
    /// # Panics
    ///
    /// Where either is wrong.
    pub fn intent(&self) -> Intent<Resolved> {
        let policy = Source::new("policy.yaml", &self.policy);
        let lock = self.lock.as_deref().map(|lock| Source::new("policy.lock.yaml", lock));
        resolved(&policy, lock.as_ref(), self.target).unwrap_or_else(|errors| panic!("{errors}"))
    }
}

/// The names of the files in a folder of the repository that end so, without that end, sorted.
pub fn names(folder: &str, ending: &str) -> Vec<String> {
    let files = fs::read_dir(path(folder)).expect("the folder");
    let mut names: Vec<String> = files
        .filter_map(|file| file.expect("a file").file_name().to_str()?.strip_suffix(ending).map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn read(file: &str) -> Option<String> {
    fs::read_to_string(path(file)).ok()
}

/// From the root of the repository.
fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}
