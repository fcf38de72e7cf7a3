//! Putting generations into a kernel, and what an interrupted run leaves.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)]

#[macro_use]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use edgeward::catalog::Catalog;
use edgeward::emit;
use edgeward::host::clock::{self, Moment};
use edgeward::host::generations::{
    Changes, Generation, Inputs, MadeBy, Manifest, PROGRAM, Pending, State, Store, Version, Why, rules_digest,
};
use edgeward::host::kernel::{Kernel, KernelError, Memory, Real};
use edgeward::host::netlink::{Counter, FlowEnds, SetChange, SetRef};
use edgeward::host::operator::Operator;
use edgeward::host::rollout::{ChangeOptions, Rollout, RolloutError, generation_in_kernel};
use edgeward::host::sessions::{LiveConnection, SessionsError, Sockets, TrackedFlow, Tuple};
use edgeward::host::transition::{Transition, means};
use edgeward::live::{Change, Live};
use edgeward::lower::lower;
use edgeward::net::{Family, PrefixSet, Transport};
use edgeward::ruleset::{Ruleset, SetKind};
use support::netns::{Side, Topology};
use support::random::{Dice, intent, policy_text, resolution};

/// Two rulesets of one policy with different answers, and one of another policy.
fn rulesets(seed: u64) -> [Ruleset; 3] {
    let (mut dice, catalog) = (Dice::new(seed), Catalog::embedded().unwrap());
    let declared = intent(&policy_text(&mut dice).yaml(), &catalog);
    let other = intent(&policy_text(&mut dice).yaml(), &catalog);
    [&declared, &declared, &other].map(|declared| lower(&declared.bind(&resolution(declared, &mut dice)).unwrap()))
}

fn generation(number: u64, ruleset: &Ruleset) -> Generation {
    let manifest = Manifest {
        version: Version,
        generation: number,
        made: clock::now(),
        by: "a test".to_owned(),
        made_by: MadeBy::Apply,
        message: None,
        program: PROGRAM.to_owned(),
        policy: None,
        sha256: Default::default(),
    };
    Generation::new(manifest, emit::nft(ruleset), rules_digest(ruleset), Inputs::default())
}

fn hold(folder: &Path) -> Store {
    Store::hold(folder, Duration::from_secs(5)).unwrap()
}

fn apply(store: &Store, kernel: &mut dyn Kernel, ruleset: &Ruleset) -> Result<State, RolloutError> {
    let mut rollout = Rollout::new(store, kernel, Operator::named("a test"), &|_, _| Changes::none());
    let (state, _) = rollout.recover(false)?;
    let outcome = rollout.apply(&state, generation(state.last + 1, ruleset), ruleset, ChangeOptions::default());
    outcome.map(|(state, _)| state)
}

/// A kernel under a process that ends, as with kill -9, before a transaction.
struct Mortal<'a> {
    kernel: &'a mut Memory,
    lives: usize,
}

impl Mortal<'_> {
    fn step(&mut self) {
        assert!(self.lives > 0, "the end");
        self.lives -= 1;
    }
}

impl Kernel for Mortal<'_> {
    fn table(&mut self) -> Result<Option<Ruleset>, KernelError> {
        self.kernel.table()
    }

    fn recall(&mut self, ruleset: &Ruleset) {
        self.kernel.recall(ruleset);
    }

    fn change(&mut self, structure: &[Change], elements: &[SetChange<'_>]) -> Result<(), KernelError> {
        self.step();
        self.kernel.change(structure, elements)
    }

    fn check(&mut self, structure: &[Change]) -> Result<(), KernelError> {
        self.kernel.check(structure)
    }

    fn replace(&mut self, ruleset: &Ruleset) -> Result<(), KernelError> {
        self.step();
        self.kernel.replace(ruleset)
    }

    fn counters(&mut self) -> Result<std::collections::BTreeMap<String, Counter>, KernelError> {
        self.kernel.counters()
    }

    fn sockets(&mut self) -> Result<Sockets, SessionsError> {
        self.kernel.sockets()
    }

    fn flows(&mut self) -> Result<Option<Vec<TrackedFlow>>, SessionsError> {
        self.kernel.flows()
    }

    fn track(&mut self, flow: FlowEnds) -> Result<(), KernelError> {
        self.step();
        self.kernel.track(flow)
    }
}

/// A kernel that says yes to all changes of the structure, and makes none.
struct Liar(Memory);

impl Kernel for Liar {
    fn table(&mut self) -> Result<Option<Ruleset>, KernelError> {
        self.0.table()
    }

    fn recall(&mut self, _: &Ruleset) {}

    fn change(&mut self, _: &[Change], _: &[SetChange<'_>]) -> Result<(), KernelError> {
        Ok(())
    }

    fn check(&mut self, _: &[Change]) -> Result<(), KernelError> {
        Ok(())
    }

    fn replace(&mut self, _: &Ruleset) -> Result<(), KernelError> {
        Ok(())
    }

    fn counters(&mut self) -> Result<std::collections::BTreeMap<String, Counter>, KernelError> {
        self.0.counters()
    }

    fn sockets(&mut self) -> Result<Sockets, SessionsError> {
        self.0.sockets()
    }

    fn flows(&mut self) -> Result<Option<Vec<TrackedFlow>>, SessionsError> {
        self.0.flows()
    }

    fn track(&mut self, flow: FlowEnds) -> Result<(), KernelError> {
        self.0.track(flow)
    }
}

#[test]
fn a_kernel_that_lies_is_caught_by_reading_back() {
    let [one, _, other] = rulesets(20);
    let folder = tempfile::tempdir().unwrap();
    let mut kernel = host();
    apply(&hold(folder.path()), &mut kernel, &one).unwrap();
    let mut liar = Liar(kernel);
    let error = apply(&hold(folder.path()), &mut liar, &other).unwrap_err();
    assert!(matches!(error, RolloutError::Differs), "{error}");
    assert!(means(liar.0.table.map(Live).as_ref(), Some(&one)));
    assert_eq!(hold(folder.path()).state().unwrap().current, Some(1));
}

/// The next run finds one of two rulesets, reports which, and continues.
fn assert_goes_on(folder: &Path, kernel: &mut Memory, candidates: [Option<&Ruleset>; 2], next: &Ruleset) {
    let live = kernel.table.clone().map(Live);
    let store = hold(folder);
    let found: Vec<bool> = candidates.iter().map(|next| means(live.as_ref(), *next)).collect();
    let only_tracks = live.as_ref().is_some_and(edgeward::host::prime::only_tracks);
    assert!(found.contains(&true) || only_tracks, "neither the old rules nor the new");
    // A read-only look reports which.
    let there = generation_in_kernel(&store, &store.state().unwrap(), live.as_ref())
        .map(|number| store.ruleset(number).unwrap());
    assert!(only_tracks || means(live.as_ref(), there.as_ref()), "the records do not tell what the kernel has");
    let mut rollout = Rollout::new(&store, kernel, Operator::named("a test"), &|_, _| Changes::none());
    let (state, _) = rollout.recover(false).unwrap();
    let recorded = state.current.map(|number| store.ruleset(number).unwrap());
    assert!(means(kernel.table.clone().map(Live).as_ref(), recorded.as_ref()), "the state is not the kernel's");
    assert_eq!(state.switching, None);
    assert!(state.generations.values().all(|record| record.made_by != MadeBy::Found), "{state:#?}");
    let state = apply(&store, kernel, next).unwrap();
    let live = kernel.table.clone().map(Live).unwrap();
    assert!(means(Some(&live), Some(next)));
    // Nothing is left over, neither in the kernel nor on the disk.
    let rest = Transition::from(Some(live.clone()), Some(next));
    assert_eq!((rest.keeps_rules(), rest.left_over()), (true, 0));
    let mut folders: Vec<u64> = std::fs::read_dir(folder.join("generations"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    folders.sort_unstable();
    assert_eq!(folders, state.generations.keys().copied().collect::<Vec<_>>());
    assert_eq!((state.current, state.confirmed), (Some(state.last), Some(state.last)));
    assert_true_story(&store, state.current);
    // A run that ends between the state and the file: the next one appends what is missing.
    let path = store.events().path().to_owned();
    let text = std::fs::read_to_string(&path).unwrap();
    let cut = text.trim_end().rfind('\n').map_or(0, |at| at + 1);
    std::fs::write(&path, &text[..cut]).unwrap();
    Rollout::new(&store, kernel, Operator::named("a test"), &|_, _| Changes::none()).recover(false).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

/// The events have no gap and no double, and each begins where the one before it ended.
fn assert_true_story(store: &Store, current: Option<u64>) {
    let mut events: Vec<_> = store.events().backwards().unwrap().map(Result::unwrap).collect();
    events.reverse();
    let mut in_force = None;
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.number, index as u64 + 1, "{events:#?}");
        assert_eq!(event.from, in_force, "{events:#?}");
        in_force = event.to;
    }
    assert_eq!(in_force, current, "{events:#?}");
}

/// A connection from outside that is older than the rules.
fn ssh() -> Sockets {
    let connection = LiveConnection {
        local: "10.0.0.20:22".parse().unwrap(),
        peer: "10.0.0.9:55410".parse().unwrap(),
        transport: Transport::Tcp,
        inbound: Some(true),
        loopback: false,
        source: "tcp",
    };
    Sockets { connections: vec![connection], ..Sockets::default() }
}

/// A host with a connection that conntrack does not know. Conntrack is already in use, so a gateway has nothing to wait
/// for.
fn host() -> Memory {
    let tuple = |source: &str, destination: &str| Tuple {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        ports: None,
    };
    let (original, reply) = (tuple("10.0.0.7", "10.0.0.8"), tuple("10.0.0.8", "10.0.0.7"));
    let flow = TrackedFlow { protocol: 1, original, reply, replied: true, tcp_established: false };
    Memory { sockets: ssh(), flows: vec![flow], ..Memory::default() }
}

#[test]
fn whenever_a_run_ends_the_next_one_goes_on() {
    let mut ends = 0;
    for seed in 0..6 {
        let [one, answers, other] = rulesets(seed);
        for (before, next) in [(None, &one), (Some(&one), &answers), (Some(&one), &other), (Some(&other), &one)] {
            for lives in 0.. {
                let folder = tempfile::tempdir().unwrap();
                let mut kernel = host();
                if let Some(before) = before {
                    apply(&hold(folder.path()), &mut kernel, before).unwrap();
                }
                let run = || {
                    let mut mortal = Mortal { kernel: &mut kernel, lives };
                    apply(&hold(folder.path()), &mut mortal, next)
                };
                let ended = catch_unwind(AssertUnwindSafe(run));
                assert_goes_on(folder.path(), &mut kernel, [before, Some(next)], &answers);
                match ended {
                    Err(_) => ends += 1,
                    Ok(state) => {
                        state.unwrap();
                        break;
                    }
                }
            }
        }
    }
    assert!(ends > 50, "{ends}");
}

#[test]
fn a_change_whose_undoing_was_interrupted_is_undone_and_not_found_again() {
    let [one, _, other] = rulesets(0);
    let mut ends = 0;
    for lives in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let mut kernel = host();
        apply(&hold(folder.path()), &mut kernel, &one).unwrap();
        let mut pending = apply(&hold(folder.path()), &mut kernel, &other).unwrap();
        // As `--confirm-within` leaves it, but without a watcher.
        pending.confirmed = Some(1);
        pending.pending = Some(Pending::new(1, 2, Some(1), Duration::from_secs(3600), &Moment::now()));
        hold(folder.path()).save(&pending).unwrap();
        let run = || {
            let (store, mut mortal) = (hold(folder.path()), Mortal { kernel: &mut kernel, lives });
            let mut rollout = Rollout::new(&store, &mut mortal, Operator::named("a test"), &|_, _| Changes::none());
            let (state, _) = rollout.recover(false).unwrap();
            drop(rollout.undo(&state, Why::ByHand).unwrap());
        };
        let ended = catch_unwind(AssertUnwindSafe(run));
        let store = hold(folder.path());
        let mut rollout = Rollout::new(&store, &mut kernel, Operator::named("a test"), &|_, _| Changes::none());
        let (state, _) = rollout.recover(false).unwrap();
        assert_eq!((state.current, state.confirmed, &state.pending, state.undone), (Some(1), Some(1), &None, Some(2)));
        assert!(means(kernel.table.clone().map(Live).as_ref(), Some(&one)));
        assert_true_story(&store, Some(1));
        match ended {
            Err(_) => ends += 1,
            Ok(()) => break,
        }
    }
    assert!(ends > 1, "{ends}");
}

#[test]
fn whatever_the_kernel_refuses_the_old_rules_stay() {
    let mut refusals = 0;
    for seed in 20..26 {
        let [one, answers, other] = rulesets(seed);
        for (before, next) in [(None, &one), (Some(&one), &answers), (Some(&one), &other)] {
            for fails_after in 0.. {
                let folder = tempfile::tempdir().unwrap();
                let mut kernel = host();
                if let Some(before) = before {
                    apply(&hold(folder.path()), &mut kernel, before).unwrap();
                }
                kernel.fails_after = Some(fails_after);
                let done = apply(&hold(folder.path()), &mut kernel, next);
                kernel.fails_after = None;
                match done {
                    Err(RolloutError::Kernel(KernelError::NotPermitted) | RolloutError::Prime(_)) => refusals += 1,
                    Err(error) => panic!("{error}"),
                    Ok(state) => {
                        assert!(means(kernel.table.clone().map(Live).as_ref(), Some(next)));
                        assert_eq!(state, Store::look(folder.path()).state().unwrap());
                        break;
                    }
                }
                let live = kernel.table.clone().map(Live);
                let tracking = live.as_ref().is_some_and(edgeward::host::prime::only_tracks);
                assert!(tracking || means(live.as_ref(), before) || live.unwrap().meaning().chains.is_empty());
                assert_eq!(hold(folder.path()).state().unwrap().switching, None);
                assert_goes_on(folder.path(), &mut kernel, [before, None], &other);
            }
        }
    }
    assert!(refusals > 30, "{refusals}");
}

#[test]
fn conntrack_is_told_of_connections_that_are_older_than_the_rules() {
    let [one, _, other] = (0..).map(rulesets).find(|[one, ..]| is_edge_host(one)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut kernel = host();
    apply(&hold(folder.path()), &mut kernel, &one).unwrap();
    let flow = kernel.flows.last().unwrap();
    assert_eq!(flow.original.source.to_string(), "10.0.0.9");
    assert_eq!((kernel.flows.len() - 1, flow.original.ports, flow.replied), (1, Some((55410, 22)), true));
    // From now on conntrack tracks packets itself.
    kernel.flows.clear();
    apply(&hold(folder.path()), &mut kernel, &other).unwrap();
    assert_eq!(kernel.flows, []);
}

#[test]
fn a_session_that_conntrack_does_not_know_is_not_cut_off() {
    let [one, ..] = (0..).map(rulesets).find(|[one, ..]| is_edge_host(one)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = hold(folder.path());
    let mut kernel = Memory { refuses_flows: true, ..host() };
    let options = ChangeOptions { ssh_port: 22, ..ChangeOptions::default() };
    let mut rollout = Rollout::new(&store, &mut kernel, Operator::named("a test"), &|_, _| Changes::none());
    let (state, _) = rollout.recover(false).unwrap();
    let refused = rollout.apply(&state, generation(1, &one), &one, options);
    assert!(matches!(&refused, Err(RolloutError::Untracked(unknown)) if unknown.len() == 1), "{refused:?}");
    assert_eq!(rollout.store.state().unwrap().current, None);
    let (_, outcome) =
        rollout.apply(&state, generation(1, &one), &one, ChangeOptions { force: true, ..options }).unwrap();
    assert_eq!(outcome.primed.unwrap().unknown, ssh().connections);
    assert!(means(kernel.table.map(Live).as_ref(), Some(&one)));
}

fn is_edge_host(ruleset: &Ruleset) -> bool {
    ruleset.chain("input").is_some()
}

#[test]
fn what_others_put_into_the_table_can_come_back() {
    let [one, answers, other] = rulesets(3);
    let folder = tempfile::tempdir().unwrap();
    let store = hold(folder.path());
    let mut kernel = Memory { flows: host().flows, ..Memory::default() };
    apply(&store, &mut kernel, &one).unwrap();
    kernel.replace(&other).unwrap();
    let state = apply(&store, &mut kernel, &answers).unwrap();
    assert_eq!((state.current, state.generations[&2].made_by), (Some(3), MadeBy::Found));
    let mut rollout = Rollout::new(&store, &mut kernel, Operator::named("a test"), &|_, _| Changes::none());
    rollout.rollback(&state, Some(2), ChangeOptions::default()).unwrap();
    assert!(means(kernel.table.map(Live).as_ref(), Some(&other)));
}

#[test]
fn generations_are_kept_and_forgotten() {
    let [one, answers, _] = rulesets(5);
    let folder = tempfile::tempdir().unwrap();
    let store = hold(folder.path());
    let mut kernel = Memory { flows: host().flows, ..Memory::default() };
    for round in 0..30 {
        apply(&store, &mut kernel, if round % 2 == 0 { &one } else { &answers }).unwrap();
    }
    let state = store.state().unwrap();
    assert_eq!(state.generations.keys().copied().collect::<Vec<_>>(), (11..=30).collect::<Vec<_>>());
    assert_eq!(std::fs::read_dir(folder.path().join("generations")).unwrap().count(), 20);
    // Damaged and missing generations have different errors, and neither is loaded.
    assert!(store.ruleset(10).map(drop).unwrap_err().to_string().contains("there is no generation 10"));
    let path = folder.path().join("generations/11/ruleset.nft");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("accept", "drop", 1)).unwrap();
    let damaged = Store::look(folder.path()).ruleset(11);
    assert!(damaged.is_err_and(|error| error.to_string().contains("is damaged")));
}

#[test]
fn a_number_that_has_no_next_is_damage() {
    let [one, ..] = rulesets(5);
    let folder = tempfile::tempdir().unwrap();
    let mut kernel = Memory { flows: host().flows, ..Memory::default() };
    apply(&hold(folder.path()), &mut kernel, &one).unwrap();
    let path = folder.path().join("state.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for field in ["last", "armed"] {
        let count = if field == "last" { 1 } else { 0 };
        let text = text.lines().filter(|line| !line.contains("checksum")).collect::<String>().replace(",}", "}");
        let damaged = text.replacen(&format!("\"{field}\": {count}"), &format!("\"{field}\": {}", u64::MAX), 1);
        assert_ne!(damaged, text);
        std::fs::write(&path, damaged).unwrap();
        let store = hold(folder.path());
        assert_eq!(store.state().unwrap().last, 1, "the events say what the file does not");
        assert!(store.damage().unwrap().contains("is damaged"), "{field}");
    }
    // Nor is a folder with such a name a generation.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(folder.path().join("generations").join(u64::MAX.to_string())).unwrap();
    assert!(apply(&hold(folder.path()), &mut kernel, &one).unwrap().last < 10);
}

#[test]
fn boot_takes_an_older_generation_where_the_last_is_damaged() {
    let [one, answers, other] = rulesets(7);
    let folder = tempfile::tempdir().unwrap();
    let store = hold(folder.path());
    let mut kernel = Memory { flows: host().flows, ..Memory::default() };
    for ruleset in [&one, &answers, &other] {
        apply(&store, &mut kernel, ruleset).unwrap();
    }
    std::fs::write(folder.path().join("generations/3/ruleset.nft"), "table inet edgeward {\n").unwrap();
    kernel.table = None;
    // Another run, which has not read it before.
    drop(store);
    let store = hold(folder.path());
    let mut rollout = Rollout::new(&store, &mut kernel, Operator::named("a test"), &|_, _| Changes::none());
    let (loaded, outcome) = rollout.boot().unwrap();
    assert_eq!((loaded, outcome.warnings.len()), (Some(2), 1), "{:?}", outcome.warnings);
    assert!(means(kernel.table.map(Live).as_ref(), Some(&answers)));
}

/// Requests to the real kernel and to the one in memory, and whether they succeeded.
fn exercise(kernel: &mut dyn Kernel) -> Vec<String> {
    let [one, answers, other] = rulesets(11);
    let mut log = Vec::new();
    let mut note = |what: &str, done: Result<(), KernelError>| {
        let end = match done {
            Ok(()) => "done",
            Err(_) => "refused",
        };
        log.push(format!("{what}: {end}"));
    };
    let add_set = |name: &str| Change::AddSet { name: name.to_owned(), family: Family::V4, kind: SetKind::Prefixes };
    let (ten, low): (PrefixSet, PrefixSet) = ("10.0.0.0/8".parse().unwrap(), "10.0.0.0/9".parse().unwrap());
    let nothing = PrefixSet::default();
    let set = SetRef { name: "some_v4", family: Family::V4, kind: SetKind::Prefixes };
    note("a set without a table", kernel.change(&[add_set("some_v4")], &[]));
    note("elements without a table", kernel.change(&[], &[SetChange { set, from: &nothing, to: &ten }]));
    note("a table with a set", kernel.change(&[Change::AddTable, add_set("some_v4")], &[]));
    note("the set again", kernel.change(&[add_set("other_v4"), add_set("some_v4")], &[]));
    assert_eq!(kernel.table().unwrap().unwrap().sets.len(), 1);
    note("elements", kernel.change(&[], &[SetChange { set, from: &nothing, to: &ten }]));
    note("an overlap", kernel.change(&[], &[SetChange { set, from: &nothing, to: &low }]));
    note("what is not there", kernel.change(&[], &[SetChange { set, from: &low, to: &nothing }]));
    note(
        "another kind",
        kernel.change(&[], &[SetChange { set: SetRef { kind: SetKind::Hosts, ..set }, from: &nothing, to: &low }]),
    );
    note(
        "another set",
        kernel.change(&[], &[SetChange { set: SetRef { name: "none_v4", ..set }, from: &nothing, to: &low }]),
    );
    note("in its place", kernel.change(&[], &[SetChange { set, from: &ten, to: &low }]));
    assert_eq!(kernel.table().unwrap().unwrap().sets["some_v4"].elements, low);
    note("a chain that is not there", kernel.change(&[Change::FlushChain("none".to_owned())], &[]));
    note(
        "a counter twice",
        kernel.change(&[Change::AddCounter("c".to_owned()), Change::AddCounter("c".to_owned())], &[]),
    );
    note("no table", kernel.change(&[Change::DeleteTable], &[]));
    note("no table again", kernel.change(&[Change::DeleteTable], &[]));
    assert_eq!(kernel.table().unwrap(), None);
    for (number, next) in [Some(&one), Some(&answers), Some(&other), None, Some(&one)].into_iter().enumerate() {
        let transition = Transition::plan(kernel, next).unwrap();
        note(&format!("{number}: fill"), transition.fill(kernel));
        assert_eq!(Live(kernel.table().unwrap().unwrap_or_default()).meaning(), transition.meaning());
        note(&format!("{number}: switch"), transition.switch(kernel));
        note(&format!("{number}: sweep"), transition.sweep(kernel));
        assert!(means(kernel.table().unwrap().map(Live).as_ref(), next), "{number}");
        let counters: Vec<String> = kernel.counters().unwrap().into_keys().collect();
        let expected: Vec<String> = next.iter().flat_map(|next| next.counters.clone()).collect();
        assert_eq!(counters, expected, "{number}");
    }
    for name in one.sets.keys().take(1) {
        note("a set in use", kernel.change(&[Change::DeleteSet(name.clone())], &[]));
    }
    note("a counter in use", kernel.change(&[Change::DeleteCounter("denied_output".to_owned())], &[]));
    note("in its place", kernel.replace(&other));
    assert!(means(kernel.table().unwrap().map(Live).as_ref(), Some(&other)));
    log
}

#[test]
fn the_kernel_in_memory_is_like_the_real_one() {
    let imagined = exercise(&mut Memory::default());
    assert!(imagined.iter().filter(|line| line.ends_with("refused")).count() >= 9, "{imagined:#?}");
    need_namespaces!();
    let topology = Topology::edge_host("10.0.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap());
    let real = topology.within(Side::UnderTest, || exercise(&mut Real::default()));
    assert_eq!(imagined, real);
}
