//! Ways to change what is live: the program, and the steps that it is made of.

use std::fs;
use std::path::PathBuf;

use edgeward::catalog::Catalog;
use edgeward::host::netlink::{Changes, NetlinkSocket, SetChange, SetRef};
use edgeward::intent::{Declared, Intent};
use edgeward::live::{Change, Plan, carry_out};
use edgeward::lower::lower;
use edgeward::net::PrefixSet;
use edgeward::resolution::Resolution;
use edgeward::ruleset::{Ruleset, Set};
use edgeward::source::Source;
use rustix::thread::{MembarrierCommand, membarrier};

use super::site::{NAMES, Policy, SERVERS, Step, answers};
use crate::support::dns_server::{DnsServer, Entry, Zone};
use crate::support::netns::{Side, Topology};
use crate::support::random::intent;

/// Something that changes what is live. It has policy A and the answers of the first server in force when it is made.
pub trait Way {
    /// Makes a change; it is in force in the end.
    fn take(&mut self, step: Step);
}

/// The rulesets of both policies.
pub struct Compiler {
    intents: [Intent<Declared>; 2],
}

impl Compiler {
    /// Reads both policies.
    pub fn new() -> Self {
        let catalog = Catalog::embedded().unwrap();
        Self { intents: [Policy::A, Policy::B].map(|policy| intent(&policy.yaml(), &catalog)) }
    }

    /// A policy with the answers of a server.
    pub fn ruleset(&self, policy: Policy, server: usize) -> Ruleset {
        let mut lock = "version: 1\nnames:\n".to_owned();
        for name in NAMES {
            lock += &format!("- name: {name}\n  addresses:\n");
            for address in answers(server) {
                let seen = "first-seen: 2026-01-01T00:00:00Z, last-seen: 2026-01-01T00:00:00Z";
                lock += &format!("  - {{address: {address}, {seen}}}\n");
            }
        }
        let resolution = Resolution::parse(&Source::new("lock", &lock), &mut Default::default()).unwrap();
        lower(&self.intents[policy as usize].bind(&resolution).unwrap())
    }
}

/// Plans the way from what the kernel has, if anything, to a ruleset.
pub type Planner = fn(Option<&Ruleset>, &Ruleset) -> Plan;

/// The steps of a plan, without the program around them.
pub struct Steps<'a> {
    topology: &'a Topology,
    compiler: Compiler,
    planner: Planner,
    /// What the kernel has.
    table: Option<Ruleset>,
    /// What is in force, with the number of the server that gave the answers, and what was before.
    now: (Ruleset, usize),
    last: (Ruleset, usize),
}

impl<'a> Steps<'a> {
    /// Puts the first ruleset in force.
    pub fn new(topology: &'a Topology, planner: Planner) -> Self {
        let compiler = Compiler::new();
        let first = (compiler.ruleset(Policy::A, 0), 0);
        let (now, last) = (first.clone(), first.clone());
        let mut steps = Self { topology, compiler, planner, table: None, now, last };
        steps.bring(first);
        steps
    }

    fn bring(&mut self, next: (Ruleset, usize)) {
        let plan = (self.planner)(self.table.as_ref(), &next.0);
        assert!(plan.changes_verdicts(), "nothing would change");
        let nothing = PrefixSet::default();
        self.load(&plan.fill);
        self.change(plan.elements.iter().map(|(name, set)| (name, set, &nothing)));
        self.load(&plan.switch);
        self.change(plan.updates.iter().map(|(name, update)| (name, &update.new, &update.old.elements)));
        // Packets that are still among the old rules. The kernel waits for the end of all of them (`synchronize_rcu`).
        membarrier(MembarrierCommand::Global).unwrap();
        self.load(&plan.sweep);
        self.last = std::mem::replace(&mut self.now, next);
    }

    fn load(&mut self, changes: &[Change]) {
        if !changes.is_empty() {
            let structure = Changes { structure: changes, ..Changes::default() };
            self.topology.within(Side::UnderTest, || NetlinkSocket::open()?.carry_out(structure)).unwrap();
            self.table = carry_out(&self.table, changes).unwrap();
        }
    }

    /// Changes sets from the elements that they hold.
    fn change<'b>(&mut self, sets: impl Iterator<Item = (&'b String, &'b Set, &'b PrefixSet)>) {
        let mut changes = Vec::new();
        for (name, set, from) in sets {
            let known = self.table.as_mut().and_then(|table| table.sets.get_mut(name)).unwrap();
            known.elements.clone_from(&set.elements);
            let set_ref = SetRef { name, family: set.family, kind: set.kind };
            changes.push(SetChange { set: set_ref, from, to: &set.elements });
        }
        self.topology.within(Side::UnderTest, || NetlinkSocket::open()?.change(&changes)).unwrap();
    }
}

impl Way for Steps<'_> {
    fn take(&mut self, step: Step) {
        let next = match step {
            Step::Apply(policy) => (self.compiler.ruleset(policy, self.now.1), self.now.1),
            Step::Refresh(policy, server) => (self.compiler.ruleset(policy, server), server),
            Step::Rollback(_) => self.last.clone(),
        };
        self.bring(next);
    }
}

/// The program, in the namespace of the host.
pub struct Program<'a> {
    topology: &'a Topology,
    path: &'a str,
    folder: tempfile::TempDir,
    servers: [DnsServer; SERVERS],
    /// How many more prefixes there are in lists; each refresh changes one.
    more: Option<u32>,
    refreshed: u32,
}

impl<'a> Program<'a> {
    /// Starts the DNS servers on the host's own loopback, and puts the first ruleset in force.
    pub fn new(topology: &'a Topology, path: &'a str, more: Option<u32>) -> Self {
        let servers = std::array::from_fn(|server| serve(topology, server));
        let folder = tempfile::tempdir().unwrap();
        let program = Self { topology, path, folder, servers, more, refreshed: 0 };
        for policy in [Policy::A, Policy::B] {
            let text = match more {
                None => policy.yaml(),
                Some(_) => policy.yaml_with_list(&program.list(policy)),
            };
            fs::write(program.policy(policy), text).unwrap();
        }
        program.write_lists();
        program.run("resolve", Policy::A, &["--server", &program.server(0)]);
        program.run("apply", Policy::A, &["--state-dir", &program.file("state")]);
        program
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn policy(&self, policy: Policy) -> PathBuf {
        self.folder.path().join(format!("{policy:?}.yaml"))
    }

    fn list(&self, policy: Policy) -> String {
        self.file(&format!("{policy:?}.txt"))
    }

    fn write_lists(&self) {
        for policy in [Policy::A, Policy::B] {
            let list = self.more.map(|more| policy.list(more, self.refreshed));
            list.into_iter().for_each(|list| fs::write(self.list(policy), list).unwrap());
        }
    }

    fn server(&self, number: usize) -> String {
        self.servers[number].address().to_string()
    }

    /// Runs a verb on a policy; both policies have the same lockfile, for they have the same names.
    fn run(&self, verb: &str, policy: Policy, more: &[&str]) {
        let (policy, lock) = (self.policy(policy), self.file("lock.yaml"));
        edgeward(self.topology, self.path, &[&[verb, policy.to_str().unwrap(), "--lock", &lock], more].concat());
    }
}

impl Drop for Program<'_> {
    /// A server's end is a connection to itself, which takes its own namespace.
    fn drop(&mut self) {
        self.topology.within(Side::UnderTest, || self.servers.iter_mut().for_each(DnsServer::stop));
    }
}

impl Way for Program<'_> {
    fn take(&mut self, step: Step) {
        let state = self.file("state");
        match step {
            // Also a policy that a rollback has left.
            Step::Apply(policy) => self.run("apply", policy, &["--force", "--state-dir", &state]),
            Step::Refresh(policy, server) => {
                self.refreshed += 1;
                self.write_lists();
                // A list that has changed comes with `apply` only.
                let verb: &[&str] = if self.more.is_some() { &["apply", "--resolve", "--force"] } else { &["refresh"] };
                let more = ["--state-dir", &state, "--server", &self.server(server)];
                self.run(verb[0], policy, &[&verb[1..], &more].concat());
            }
            Step::Rollback(_) => edgeward(self.topology, self.path, &["rollback", "--state-dir", &state]),
        }
    }
}

/// Runs the program on the host under test.
///
/// # Panics
///
/// Where it does not end with 0.
pub fn edgeward(topology: &Topology, path: &str, arguments: &[&str]) {
    let output = topology.run_under_test(&[&[path], arguments].concat());
    let [said, complained] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{arguments:?}: {}\n{said}{complained}", output.status);
}

/// A DNS server on the host under test, with answers of its own.
fn serve(topology: &Topology, number: usize) -> DnsServer {
    let addresses: Vec<String> = answers(number).map(|address| address.to_string()).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let zone = NAMES.iter().fold(Zone::default(), |zone, name| zone.name(name, Entry::addresses(&addresses, 60)));
    // Its threads are in the namespace of the one that starts them.
    topology.within(Side::UnderTest, || zone.serve())
}
