//! Every file, every damage, every moment.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use edgeward::host::clock::Moment as Now;
use serde_json::{Value, json};

use super::host::{ELSEWHERE, Host, OFFICE, Run, policy, soon};
use crate::support::netns::Side;
use crate::support::random::Dice;

/// The management of the generation before the confirmed one.
pub const FIRST: &str = "10.0.2.0/24";

/// What happens to a file.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    Removed,
    Empty,
    Half,
    Flipped,
    Longer,
    Folder,
}

const DAMAGES: [Damage; 6] =
    [Damage::Removed, Damage::Empty, Damage::Half, Damage::Flipped, Damage::Longer, Damage::Folder];

/// Does something to files that a watcher may write at the same time: again, where it came between.
pub fn insist(work: impl Fn() -> io::Result<()>) {
    const BETWEEN: [io::ErrorKind; 3] =
        [io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::AlreadyExists, io::ErrorKind::IsADirectory];
    for _ in 0..100 {
        match work() {
            Err(error) if BETWEEN.contains(&error.kind()) => thread::sleep(Duration::from_millis(10)),
            done => return done.unwrap(),
        }
    }
    work().unwrap();
}

impl Damage {
    /// Damages a file, or for [`Damage::Removed`] a folder.
    pub fn happen(self, path: &Path, dice: &mut Dice) {
        if path.is_dir() {
            return insist(|| fs::remove_dir_all(path));
        }
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Removed => return fs::remove_file(path).unwrap(),
            Self::Empty => bytes.clear(),
            Self::Half => bytes.truncate(bytes.len() / 2),
            Self::Flipped => {
                let at = dice.below(bytes.len());
                bytes[at] ^= 1 << dice.below(8);
            }
            Self::Longer => bytes.push(u8::try_from(dice.below(256)).unwrap()),
            Self::Folder => {
                return insist(|| {
                    if path.is_file() {
                        fs::remove_file(path)?;
                    }
                    fs::create_dir(path)
                });
            }
        }
        fs::write(path, bytes).unwrap();
    }
}

/// When it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    BeforeTheChange,
    RightAfter,
    WhilePending,
    /// The run that makes the change was killed, before or after its rules came into force; its watcher lives.
    UnderWay,
    WithoutWatcher,
    AfterReboot,
}

const MOMENTS: [Moment; 6] = [
    Moment::BeforeTheChange,
    Moment::RightAfter,
    Moment::WhilePending,
    Moment::UnderWay,
    Moment::WithoutWatcher,
    Moment::AfterReboot,
];

#[derive(Clone, Debug)]
struct Case {
    moment: Moment,
    /// Below the state folder; the folder itself where it is empty.
    file: PathBuf,
    damage: Damage,
    seed: u64,
}

/// Files below a folder, relative to it, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(current).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path.strip_prefix(folder).unwrap().to_owned()) }
        }
    }
    found.sort();
    found
}

/// The policies of a host: two that are confirmed one after the other, and one on trial.
fn write_policies(host: &Host) {
    let row = "- {id: sites, direction: inbound, peers-file: sites.txt, ports: [tcp/443], purpose: sites}\n";
    host.write("sites.txt", "198.51.100.0/24\n");
    for (name, management) in [("first", FIRST), ("policy", OFFICE), ("other", ELSEWHERE)] {
        host.write(&format!("{name}.yaml"), &(policy(management) + row));
        host.write(&format!("{name}.lock.yaml"), &host.read("policy.lock.yaml"));
    }
}

/// The state folders and rules that every case begins with.
struct Begin {
    /// Generations 1 and 2 are confirmed, 2 is in force.
    confirmed: PathBuf,
    /// Generation 3 is pending besides, and its deadline has passed.
    overdue: PathBuf,
    rules: [String; 3],
    /// The same as nft lists them, to be loaded.
    listings: [String; 3],
}

pub fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

impl Begin {
    fn new(host: &Host) -> Self {
        write_policies(host);
        let list = || host.nft("list table inet edgeward");
        let mut rules = Vec::new();
        let mut listings = Vec::new();
        for line in ["apply first.yaml", "apply policy.yaml"] {
            host.edgeward(line).ends(0);
            rules.push(host.rules());
            listings.push(list());
        }
        copy(&host.path("state"), &host.path("confirmed"));
        host.edgeward("apply other.yaml --confirm-within 8s").ends(0);
        host.kill_watchers();
        rules.push(host.rules());
        listings.push(list());
        assert!(host.lets_in(ELSEWHERE), "the watcher was faster");
        copy(&host.path("state"), &host.path("overdue"));
        // Its deadline passes.
        thread::sleep(Duration::from_secs(8));
        Self {
            confirmed: host.path("confirmed"),
            overdue: host.path("overdue"),
            rules: rules.try_into().unwrap(),
            listings: listings.try_into().unwrap(),
        }
    }

    /// Every file, every damage, every moment; or of the damages at each moment a third, so that each file suffers each of
    /// them at some moment.
    fn cases(&self, all: bool) -> Vec<Case> {
        let mut cases = Vec::new();
        let turn = usize::try_from(seed()).unwrap();
        for (at, moment) in (turn..).zip(MOMENTS) {
            let folder = if moment == Moment::BeforeTheChange { &self.confirmed } else { &self.overdue };
            for (which, file) in files(folder).into_iter().enumerate() {
                let is_chosen = |number: &usize| all || (number + at + which).is_multiple_of(3);
                let chosen = (0..DAMAGES.len()).filter(is_chosen);
                cases.extend(chosen.map(|number| {
                    let damage = DAMAGES[number];
                    Case { moment, file: file.clone(), damage, seed: 0 }
                }));
            }
            if matches!(moment, Moment::RightAfter | Moment::WhilePending | Moment::UnderWay) {
                for folder in ["", "generations", "generations/2", "generations/3"] {
                    cases.push(Case { moment, file: folder.into(), damage: Damage::Removed, seed: 0 });
                }
            }
        }
        for (case, seed) in cases.iter_mut().zip(seed()..) {
            case.seed = seed;
        }
        cases
    }
}

/// Chooses the damages where not all are tried, and where in a file a bit flips.
fn seed() -> u64 {
    std::env::var("EDGEWARD_DAMAGE_SEED").map_or(1, |seed| seed.parse().unwrap())
}

/// Brings a host to the begin of a case.
fn prepare(host: &Host, begin: &Begin, folder: &Path, generation: usize) {
    host.kill_watchers();
    host.nft("flush ruleset");
    copy(folder, &host.path("state"));
    let listing = host.path("listing.nft");
    fs::write(&listing, &begin.listings[generation - 1]).unwrap();
    Run::of(&host.topology.run_under_test(&["nft", "-f", listing.to_str().unwrap()])).ends(0);
}

/// Makes a settled state that of a run that was killed while it brought the pending change into force. Returns the number of
/// its deadline.
fn make_under_way(host: &Host, left: Duration) -> String {
    let mut state = host.state();
    let events = host.read("state/events.jsonl");
    let (before, last) = events.trim_end().rsplit_once('\n').unwrap();
    let mut event: Value = serde_json::from_str(last).unwrap();
    for fact in ["policy", "newly-allowed", "newly-denied", "left-out", "audit", "mode-change", "open", "not-known"] {
        event.as_object_mut().unwrap().remove(fact);
    }
    let ends = Now::now().since_boot + left;
    state["pending"]["deadline-since-boot"] = u64::try_from(ends.as_millis()).unwrap().into();
    state["last-event"] = (event["number"].as_u64().unwrap() - 1).into();
    state["events"] = json!([]);
    state["current"] = 2.into();
    state["switching"] = json!({"from": 2, "to": 3, "pending": null, "event": event});
    host.write("state/state.json", &state.to_string());
    host.write("state/events.jsonl", &format!("{before}\n"));
    state["pending"]["armed"].to_string()
}

/// Starts the watcher of the pending change, and waits until it can be relied on.
fn start_watcher(host: &Host, armed: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    command.arg("watch").arg("--state-dir").args([host.path("state").as_os_str(), armed.as_ref()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watcher = host.topology.within(Side::UnderTest, || command.spawn()).unwrap();
    let mut word = [0; 5];
    watcher.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ready");
    watcher
}

/// What a verb said and did.
fn describe(run: &Run) -> String {
    format!("exit {:?}\n{}", run.code, run.said())
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// The rules that a case must end with.
fn require(host: &Host, begin: &Begin, expected: &[usize], after: &str) -> Result<(), String> {
    let rules = host.rules();
    check(expected.iter().any(|generation| begin.rules[generation - 1] == rules), || {
        format!("the rules are not those of generations {expected:?} {after}:\n{rules}")
    })
}

fn run_case(host: &Host, begin: &Begin, case: &Case) -> Result<(), String> {
    let mut dice = Dice::new(case.seed);
    let file = host.path("state").join(&case.file);
    // What is in force before a watcher undoes the change stays whole in its memory.
    let has_lost_the_second = case.file == Path::new("generations/2/ruleset.nft");
    match case.moment {
        Moment::BeforeTheChange => {
            prepare(host, begin, &begin.confirmed, 2);
            case.damage.happen(&file, &mut dice);
            let run = host.edgeward("apply other.yaml --confirm-within 1s");
            check(run.code == Some(0), || format!("apply: {}", describe(&run)))?;
            check(soon(|| host.rules() == begin.rules[1]), || format!("not undone: {}", describe(&run)))?;
        }
        Moment::RightAfter | Moment::WhilePending => {
            prepare(host, begin, &begin.confirmed, 2);
            let run = host.edgeward("apply other.yaml --confirm-within 2s").ends(0);
            if case.moment == Moment::WhilePending {
                thread::sleep(Duration::from_millis(1200));
            }
            case.damage.happen(&file, &mut dice);
            check(soon(|| host.rules() == begin.rules[1]), || format!("not undone: {}", describe(&run)))?;
        }
        Moment::UnderWay => {
            prepare(host, begin, &begin.overdue, if dice.below(2) == 0 { 2 } else { 3 });
            let armed = make_under_way(host, Duration::from_secs(2));
            let mut watcher = start_watcher(host, &armed);
            case.damage.happen(&file, &mut dice);
            let ended = soon(|| watcher.try_wait().unwrap().is_some());
            check(ended, || "the watcher stays".to_owned())?;
            require(host, begin, &[2], "after the deadline")?;
        }
        Moment::WithoutWatcher => {
            prepare(host, begin, &begin.overdue, 3);
            case.damage.happen(&file, &mut dice);
            let verb = [
                "confirm",
                "rollback",
                "apply policy.yaml",
                "apply policy.yaml --force",
                "boot",
                "refresh policy.yaml",
                "uninstall",
            ];
            let verb = verb[dice.below(verb.len())];
            let run = host.edgeward(verb);
            let expected = if has_lost_the_second { [1, 2] } else { [2, 2] };
            require(host, begin, &expected, &format!("after `{verb}`: {}", describe(&run)))?;
        }
        Moment::AfterReboot => {
            prepare(host, begin, &begin.overdue, 3);
            host.nft("flush ruleset");
            case.damage.happen(&file, &mut dice);
            let run = host.edgeward("boot");
            let expected = if has_lost_the_second { 1 } else { 2 };
            require(host, begin, &[expected], &format!("after `boot`: {}", describe(&run)))?;
        }
    }
    check(soon(|| host.watchers().is_empty()), || "a watcher stays".to_owned())?;
    next_commands(host, begin, case, &mut dice)
}

/// The next commands work, or say what is damaged and which command works.
fn next_commands(host: &Host, begin: &Begin, case: &Case, dice: &mut Dice) -> Result<(), String> {
    let verbs = [
        "status",
        "history",
        "rollback 1",
        "boot",
        "confirm",
        "uninstall",
        "diff policy.yaml",
        "diff policy.yaml --against 1",
        "diff first.yaml --against 2",
        "diff 1 --against 2",
        "apply policy.yaml --dry-run",
        "rollback --dry-run",
    ];
    let verb = verbs[dice.below(verbs.len())];
    let run = host.edgeward(verb);
    // A difference, and nothing to confirm.
    let is_well = match run.code {
        Some(0) => true,
        Some(1) => verb.starts_with("diff"),
        Some(5) => verb == "confirm" || verb == "apply policy.yaml --dry-run",
        _ => false,
    };
    check(is_well || matches!(run.code, Some(2 | 4)), || format!("{verb}: {}", describe(&run)))?;
    if !is_well {
        let damaged = case.file.components().next_back().map_or("state".into(), |name| name.as_os_str().to_owned());
        // The files of a catalog have one checksum.
        let damaged = match case.file.starts_with("catalogs") {
            true => case.file.parent().unwrap().as_os_str().to_owned(),
            false => damaged,
        };
        let is_said = run.said().contains(damaged.to_str().unwrap()) || run.said().contains("generation 1");
        check(is_said, || format!("{verb} does not name {damaged:?}: {}", describe(&run)))?;
    }
    let run = host.edgeward("apply policy.yaml");
    let is_refused = run.code == Some(5) && run.said().contains("--force");
    let run = if is_refused { host.edgeward("apply policy.yaml --force") } else { run };
    check(run.code == Some(0), || format!("apply: {}", describe(&run)))?;
    require(host, begin, &[2], &format!("after `apply`: {}", describe(&run)))?;
    // That the change was undone is still reported.
    let run = host.edgeward("status --check");
    let is_well = run.code == Some(0) || run.code == Some(1) && run.out.lines().all(|line| line.starts_with("undone:"));
    check(is_well, || format!("status: {}", describe(&run)))?;
    host.nft("flush ruleset");
    let run = host.edgeward("boot");
    check(run.code == Some(0), || format!("boot: {}", describe(&run)))?;
    require(host, begin, &[2], "after the last boot")
}

/// So many hosts at a time: most of their time is spent waiting for deadlines.
const HOSTS: usize = 12;

#[test]
fn whatever_is_damaged_whenever_the_old_rules_come_back() {
    need_namespaces!();
    let first = Host::new();
    let begin = Begin::new(&first);
    let only = std::env::var("EDGEWARD_DAMAGE_ONLY").unwrap_or_default();
    let all = std::env::var_os("EDGEWARD_DAMAGE_ALL").is_some() || !only.is_empty();
    let cases: Vec<Case> = begin.cases(all).into_iter().filter(|case| format!("{case:?}").contains(&only)).collect();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..HOSTS {
            scope.spawn(|| {
                let host = Host::new();
                write_policies(&host);
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = run_case(&host, &begin, case) {
                        failures.lock().unwrap().push(format!("{case:?}\n{why}"));
                    }
                }
                host.kill_watchers();
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} cases:\n\n{}", failures.len(), cases.len(), failures.join("\n\n"));
    // The namespace of the begin is used until here.
    first.topology.within(Side::UnderTest, || {});
}
