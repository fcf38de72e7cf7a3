//! Runs a sequence: each step is done to a real host and to the model, and then the two are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::names::{Addresses, Answer, Lock, Moment, Name};
use super::rules::{Apply, Disk, Event, Inputs, Model, Number, Policy, Table, Who};
use super::steps::{DAY, LockChange, STRANGER, Step, Wrong, pool};
use super::text;
use super::world::World;

#[path = "kills.rs"]
mod kills;

pub use kills::Victim;

/// What every step takes, so that no two of them are in the same second.
const PAUSE: i64 = 2;

pub struct Sequence {
    world: World,
    model: Model,
    /// How many rules other programs have added.
    added: u16,
    /// A copy of the lockfile.
    copy: Option<(String, Lock)>,
    /// When each boot began, in running time.
    booted: Vec<i64>,
    /// How many steps were done.
    done: usize,
    /// What somebody has applied.
    applied: BTreeSet<Inputs>,
    /// The meanings of tables.
    tables: BTreeMap<(Inputs, Addresses, BTreeSet<u16>), String>,
    /// How many events were compared.
    told: usize,
    /// Whether a killed run may have left files that the next change removes.
    may_have_leftovers: bool,
}

/// Does the steps in order.
///
/// # Errors
/// The number of the step after which the host is not as the model says, and what differs.
pub fn run(steps: &[Step], faketime: &Path) -> Result<(), (usize, String)> {
    let mut sequence = Sequence::new(faketime);
    for (index, step) in steps.iter().enumerate() {
        sequence.step(step).map_err(|problem| (index, problem + &sequence.remains()))?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, expected: &T) -> Result<(), String> {
    if is == expected { Ok(()) } else { Err(format!("{what}: {is:?}, expected {expected:?}")) }
}

impl Sequence {
    fn new(faketime: &Path) -> Self {
        let catalog = Answer::Addresses([text::catalog_names()[Name::Catalog.text()]].into());
        let first = |name| Answer::Addresses([pool(name)[0]].into());
        let zone: BTreeMap<Name, Answer> =
            [(Name::Catalog, catalog), (Name::Mirror, first(Name::Mirror)), (Name::Backup, first(Name::Backup))].into();
        let world = World::new(faketime, &zone);
        world.choose_catalog(1);
        let policy = Policy { management: 0, audit: false, mirror: false, backup: false, sites: false, remark: 0 };
        let disk = Disk { policy: None, list: None, catalog: 1, lock: Lock::default(), is_lock_damaged: false };
        world.write_policy(&policy);
        let model = Model::new(Disk { policy: Some(policy), ..disk }, zone);
        let (applied, tables, booted) = (BTreeSet::new(), BTreeMap::new(), vec![0]);
        Self {
            world,
            model,
            added: 0,
            copy: None,
            booted,
            done: 0,
            applied,
            tables,
            told: 0,
            may_have_leftovers: false,
        }
    }

    /// Somebody else is at work: with or without sudo, at the console or through SSH, with a message or without one.
    fn next_user(&mut self) {
        let (alice, office) = (|| "alice".to_owned(), |last: u8| format!("198.51.100.{last}"));
        self.model.who = match self.done % 4 {
            0 => Who::Root,
            1 => Who::Sudo(alice()),
            2 => Who::Ssh(office(9), None),
            _ => Who::Ssh(office(8), Some(alice())),
        };
        self.model.message = (!self.done.is_multiple_of(3)).then(|| format!("reason-{}", self.done));
        self.done += 1;
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.pass(PAUSE);
        self.next_user();
        match step {
            Step::Edit(policy) => {
                self.model.disk.policy = *policy;
                match policy {
                    Some(policy) => self.world.write_policy(policy),
                    None => self.world.write("policy.yaml", "version: 1\nname"),
                }
            }
            Step::List(list) => {
                self.model.disk.list = *list;
                match list {
                    Some(list) => self.world.write(text::LIST, &text::list(*list)),
                    None => self.world.remove(text::LIST),
                }
            }
            Step::Catalog(number) => {
                self.model.disk.catalog = *number;
                self.world.choose_catalog(*number);
            }
            Step::Dns(name, answer) => {
                self.model.zone.insert(*name, answer.clone());
                self.world.serve(&self.model.zone);
            }
            Step::Reach(is_reachable) => self.world.is_reachable = *is_reachable,
            Step::Apply(how) => self.apply(*how)?,
            Step::Trial(how) => self.trial(*how)?,
            Step::Resolve => {
                let said = self.edgeward(&format!("resolve policy.yaml --server {}", self.world.server()));
                let read = self.world.lockfiles();
                let code = self.with_zone(|model| model.resolve(&read))?;
                said.ends(code)?;
            }
            Step::Refresh => {
                let said = self.edgeward(&format!("refresh policy.yaml --server {}", self.world.server()));
                let read = self.world.lockfiles();
                let code = self.with_zone(|model| model.refresh(&read))?;
                if !self.is_unreadable(&said) {
                    said.ends(code)?;
                }
            }
            Step::Confirm => {
                let said = self.edgeward("confirm");
                said.ends(self.model.confirm())?;
            }
            Step::Rollback { back, is_trial, force, dry_run } => {
                let to = back.map(|back| self.model.last.saturating_sub(back.into()));
                let confirm_within = is_trial.then_some(600);
                let mut line = "rollback".to_owned();
                line.extend(to.map(|to| format!(" {to}")));
                line.extend(confirm_within.map(|time| format!(" --confirm-within {time}s")));
                line.extend(force.then_some(" --force"));
                line.extend(dry_run.then_some(" --dry-run"));
                let said = self.edgeward(&line);
                said.ends(self.model.rollback(to, confirm_within, *force, *dry_run))?;
            }
            Step::Pass { seconds, is_watched } => {
                self.world.wrong_by = 0;
                self.pass(*seconds);
                if *is_watched {
                    self.watch()?;
                }
            }
            Step::Reboot { off, wrong_by, boots, applies } => {
                self.world.boot(*off);
                self.set_clock(*wrong_by);
                self.model.reboot();
                self.model.now.total += off;
                self.booted.push(self.model.now.running);
                if *boots {
                    self.load_confirmed()?;
                    self.compare()?;
                    self.next_user();
                }
                if *applies {
                    let plain = Apply {
                        resolve: true,
                        confirm_within: None,
                        with_catalog: false,
                        force: false,
                        dry_run: false,
                    };
                    self.apply(plain)?;
                }
            }
            Step::Clock(wrong) => self.set_clock(*wrong),
            Step::Boot => self.load_confirmed()?,
            Step::Status => self.status()?,
            Step::Kill(victim, delay) => return self.kill(*victim, *delay),
            Step::Lockfile(change) => self.change_lockfile(*change),
            Step::Insert => self.insert(),
            Step::Element { name, address, is_added } => self.change_element(*name, *address, *is_added),
            Step::Unknown => {
                if self.model.kernel != Table::None {
                    let rule = ["insert", "rule", "inet", "edgeward", "input", "ct", "label", "set", "1", "accept"];
                    self.world.nft(&rule);
                    self.model.kernel = Table::Unreadable;
                }
            }
            Step::Delete => {
                if self.model.kernel != Table::None {
                    self.world.nft(&["delete", "table", "inet", "edgeward"]);
                    self.model.kernel = Table::None;
                }
            }
        }
        self.compare()
    }

    /// What to look at after a failure.
    fn remains(&self) -> String {
        let lock = fs::read_to_string(self.world.path("policy.lock.yaml")).unwrap_or_default();
        let is_of_own = |row: &&str| !row.contains("aliyun");
        let rows: Vec<&str> = lock.split("- name: ").filter(is_of_own).collect();
        let Model { now, pending, current, confirmed, .. } = &self.model;
        let moment = format!("{now:?}, {pending:?}, in force {current:?}, confirmed {confirmed:?}");
        let state = self.state();
        let [pending, current] = ["pending", "current"].map(|key| state[key].to_string());
        let moment =
            format!("{moment}\nstate.json: {pending}, in force {current}, watchers {:?}", self.world.watchers());
        format!("\n{moment}\nthe lockfile, with the clock at {}:\n{}", self.world.clock(), rows.concat())
    }

    fn pass(&mut self, seconds: i64) {
        self.world.pass(seconds);
        let Moment { running, total, boot: _, wrong_at } = &mut self.model.now;
        *running += seconds;
        *total += seconds;
        if self.world.wrong_by != 0 {
            *wrong_at = Some(*running);
        }
    }

    fn set_clock(&mut self, wrong: Wrong) {
        let now = self.world.clock();
        self.world.wrong_by = match wrong {
            Wrong::Right => 0,
            Wrong::In1970 => 60 - now,
            Wrong::In2040 => 2_208_988_800 - now,
            Wrong::Days(days) => days * DAY,
        };
        if self.world.wrong_by != 0 {
            self.model.now.wrong_at = Some(self.model.now.running);
        }
    }

    /// The model with what DNS says now.
    fn with_zone<T>(&mut self, change: impl FnOnce(&mut Model) -> T) -> T {
        let zone = self.model.zone.clone();
        if !self.world.is_reachable {
            self.model.zone.values_mut().for_each(|answer| *answer = Answer::ServFail);
        }
        let changed = change(&mut self.model);
        self.model.zone = zone;
        changed
    }

    fn edgeward(&self, line: &str) -> Said {
        let line = self.with_message(line);
        let run = self.world.edgeward(&line, &self.model.who);
        Said { line, code: run.code, out: run.out, said: run.said }
    }

    /// The command line with what its user says about it.
    fn with_message(&self, line: &str) -> String {
        let verb = line.split(' ').next().unwrap_or_default();
        let message = self.model.message.iter().filter(|_| ["apply", "refresh", "confirm", "rollback"].contains(&verb));
        message.fold(line.to_owned(), |line, message| format!("{line} --message {message}"))
    }

    fn load_confirmed(&mut self) -> Result<(), String> {
        self.model.message = None;
        let said = self.edgeward("boot");
        said.ends(self.model.load_confirmed())
    }

    /// What needs attention, and the exit code that says so.
    fn status(&self) -> Result<(), String> {
        let said = self.edgeward("status --check --format json");
        let status: Value =
            serde_json::from_str(&said.out).map_err(|error| format!("status: {error}: {}", said.said))?;
        let rows = status["reasons"].as_array().cloned().unwrap_or_default();
        let mut is: Vec<&str> = rows.iter().filter_map(|row| row["check"].as_str()).collect();
        let since_boot = |running: i64, boot: u32| running - self.booted[boot as usize];
        let (expected, may_be_stale) = self.model.reasons(since_boot);
        said.ends(i32::from(!is.is_empty()))?;
        is.retain(|reason| *reason != "stale" || !may_be_stale);
        same("what needs attention", &is, &expected)
    }

    fn apply(&mut self, how: Apply) -> Result<(), String> {
        let last = self.model.last;
        let said = self.edgeward(&how.line(&self.world.server()));
        let read = self.world.lockfiles();
        let code = self.with_zone(|model| model.apply(how, &read))?;
        let new = self.model.generations.range(last + 1..).filter_map(|(_, new)| new.inputs());
        self.applied.extend(new);
        if how.dry_run && how.resolve && self.is_unreadable(&said) {
            return Ok(());
        }
        said.ends(code)
    }

    /// Whether a run could not read the table. Whether a name still has an address is not always known, and then no lockfile
    /// was written that says it.
    fn is_unreadable(&self, said: &Said) -> bool {
        self.model.kernel == Table::Unreadable && said.code == Some(4)
    }

    fn trial(&mut self, how: Apply) -> Result<(), String> {
        self.apply(how)?;
        if self.model.pending.is_none() {
            return Ok(());
        }
        // libfaketime may hold up a watcher for a minute; then another one does its work. tests/lifecycle/pending.rs has
        // watchers with the clock of the host.
        let begin = Instant::now();
        let armed = self.state()["armed"].to_string();
        let is_watched = || self.world.watchers().iter().any(|(_, deadline)| *deadline == armed);
        while is_watched() && begin.elapsed() < Duration::from_secs(3) {
            std::thread::sleep(Duration::from_millis(20));
        }
        if is_watched() {
            self.edgeward(&format!("watch {armed}"));
        }
        self.model.now.running += PAUSE;
        self.model.now.total += PAUSE;
        (self.model.who, self.model.message) = (Who::Watcher, None);
        self.model.watch();
        Ok(())
    }

    /// The watcher that waits for a deadline by real time does not notice that time has passed; this one does.
    fn watch(&mut self) -> Result<(), String> {
        if self.model.pending.is_some() {
            let armed = &self.state()["pending"]["armed"];
            (self.model.who, self.model.message) = (Who::Watcher, None);
            self.model.watch();
            if self.model.pending.is_none() {
                return self.edgeward(&format!("watch {armed}")).ends(0);
            }
        }
        Ok(())
    }

    fn state(&self) -> Value {
        let text = fs::read_to_string(self.world.path("state/state.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// What somebody does to the lockfile beside the policy.
    fn change_lockfile(&mut self, change: LockChange) {
        let text = fs::read_to_string(self.world.path("policy.lock.yaml")).ok();
        let disk = &mut self.model.disk;
        match change {
            LockChange::Remove => {
                self.world.remove("policy.lock.yaml");
                (disk.lock, disk.is_lock_damaged) = (Lock::default(), false);
            }
            LockChange::Copy => {
                self.copy = text.filter(|_| !disk.is_lock_damaged).map(|text| (text, disk.lock.clone()));
            }
            LockChange::Restore => {
                if let Some((text, lock)) = &self.copy {
                    self.world.write("policy.lock.yaml", text);
                    (disk.lock, disk.is_lock_damaged) = (lock.clone(), false);
                }
            }
            LockChange::Damage => {
                self.world.write("policy.lock.yaml", "version: 1\nnames: [");
                (disk.lock, disk.is_lock_damaged) = (Lock::default(), true);
            }
        }
    }

    fn insert(&mut self) {
        let Table::Of(.., ports) = &mut self.model.kernel else { return };
        let port = 4000 + self.added;
        self.added += 1;
        ports.insert(port);
        self.world.nft(&["insert", "rule", "inet", "edgeward", "input", "tcp", "dport", &port.to_string(), "accept"]);
        self.learn();
    }

    /// Another program adds an address to a set of names, or removes one.
    fn change_element(&mut self, name: Name, address: IpAddr, is_added: bool) {
        let Table::Of(inputs, addresses, _) = &mut self.model.kernel else { return };
        if !inputs.policy.names().contains(&name) {
            return;
        }
        let known = addresses.entry(name).or_default();
        let changed = match is_added {
            true => known.insert(address),
            false => known.len() > 1 && known.remove(&address),
        };
        if !changed {
            return;
        }
        let plain = format!("{}_names_v{}", text::row(name), if address.is_ipv4() { 4 } else { 6 });
        let listing = self.world.listing().unwrap_or_default();
        let sets = listing.lines().filter_map(|line| line.trim().strip_prefix("set ")?.strip_suffix(" {"));
        let set = sets.into_iter().find(|set| set.split('.').next() == Some(&*plain)).expect("the set of a row");
        let verb = if is_added { "add" } else { "delete" };
        self.world.nft(&[verb, "element", "inet", "edgeward", set, "{", &address.to_string(), "}"]);
        self.learn();
    }

    /// Keeps the meaning of a table with rules that no policy has.
    fn learn(&mut self) {
        let Table::Of(inputs, addresses, ports) = &self.model.kernel else { return };
        let listing = self.world.listing().unwrap_or_default();
        if !ports.is_empty() {
            let meaning = text::meaning(&listing).unwrap();
            self.tables.insert((*inputs, addresses.clone(), ports.clone()), meaning);
        }
    }

    /// Compares the kernel and the records with the model.
    fn compare(&mut self) -> Result<(), String> {
        self.compare_kernel()?;
        self.compare_events()?;
        self.compare_history()?;
        self.compare_folder()
    }

    fn compare_kernel(&mut self) -> Result<(), String> {
        let listing = self.world.listing();
        let Some(listing) = listing else {
            return same("the kernel's table", &Table::None, &self.model.kernel);
        };
        let expected = match &self.model.kernel {
            Table::None => return Err("there is a table, and there should be none".to_owned()),
            Table::Unreadable => {
                return match text::meaning(&listing) {
                    Ok(_) => Err("the table can be read, and should have something unknown in it".to_owned()),
                    Err(_) => Ok(()),
                };
            }
            Table::Of(inputs, addresses, ports) => {
                if !self.applied.contains(inputs) {
                    return Err(format!("nobody applied {inputs:?}"));
                }
                same("what nft lists", &seen(&listing), &words_of(inputs, addresses))?;
                let key = (*inputs, addresses.clone(), ports.clone());
                self.tables.entry(key).or_insert_with(|| text::table(inputs, addresses)).clone()
            }
        };
        let meaning = text::meaning(&listing)?;
        if meaning == expected { Ok(()) } else { Err(difference(&meaning, &expected)) }
    }

    fn compare_history(&self) -> Result<(), String> {
        if !self.model.has_state {
            return Ok(());
        }
        let run = self.world.edgeward("history --format json", &Who::Root);
        let history: Value =
            serde_json::from_str(&run.said).map_err(|error| format!("history: {error}: {}", run.said))?;
        same("missing events", &history["missing-events"], &Value::Array(Vec::new()))?;
        let rows = history["generations"].as_array().cloned().unwrap_or_default();
        let is: Vec<_> = rows.iter().map(role).collect();
        let model = &self.model;
        let expected = model.kept().map(|number| {
            let generation = &model.generations[&number];
            let is_pending = model.pending.is_some_and(|pending| pending.generation == number);
            Role {
                number,
                made_by: format!("{:?}", generation.made_by).to_lowercase(),
                in_force: model.current == Some(number),
                pending: is_pending,
                loaded_at_boot: model.confirmed == Some(number),
                undone: generation.is_rejected,
            }
        });
        let expected: Vec<_> = expected.collect();
        if is == expected {
            return Ok(());
        }
        let differs = is.iter().zip(&expected).find(|(is, expected)| is != expected);
        Err(format!("history: {differs:?} (is, expected); {} and {} rows", is.len(), expected.len()))
    }

    /// Each step that changed something has told it, once and in order; the others have told nothing.
    fn compare_events(&mut self) -> Result<(), String> {
        let text = fs::read_to_string(self.world.path("state/events.jsonl")).unwrap_or_default();
        let expected = std::mem::take(&mut self.model.events);
        let mut events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect();
        // A killed run may have left some that are only in the state.
        let last = events.last().map_or(0, |event| event["number"].as_u64().unwrap_or_default());
        let waiting = self.state()["events"].as_array().cloned().unwrap_or_default();
        events.extend(waiting.into_iter().filter(|event| event["number"].as_u64() > Some(last)));
        let new = events.iter().skip(self.told).enumerate();
        let is: Vec<Event> = new.map(|(index, line)| event(line, expected.get(index))).collect();
        self.told += is.len();
        same("events", &is, &expected)
    }

    /// Only what a generation needs is in the folder, and all of it.
    fn compare_folder(&mut self) -> Result<(), String> {
        let model = &self.model;
        let kept: Vec<Number> = model.kept().collect();
        let inputs: Vec<Inputs> = model.kept().filter_map(|number| model.generations[&number].inputs()).collect();
        let catalogs: BTreeSet<u8> = inputs.iter().map(|it| it.catalog).collect();
        let lists: BTreeSet<u8> = inputs.iter().filter_map(|it| it.list).collect();
        let is = [
            self.world.names("state/generations"),
            self.world.names("state/catalogs"),
            self.world.names("state/lists"),
        ];
        let [is, expected] = [is.map(|names| names.len()), [kept.len(), catalogs.len(), lists.len()]];
        self.may_have_leftovers &= is != expected;
        if self.may_have_leftovers
            && is.iter().zip(expected).all(|(is, expected)| (expected..=expected + 1).contains(is))
        {
            return Ok(());
        }
        same("generations", &self.world.numbers("state/generations"), &kept)?;
        same("generations, catalogs and lists", &is, &expected)
    }
}

/// A run of the program, and what it was asked.
#[derive(Clone)]
struct Said {
    line: String,
    code: Option<i32>,
    out: String,
    said: String,
}

impl Said {
    fn ends(self, code: i32) -> Result<(), String> {
        let Self { line, code: is, said, .. } = self;
        if is == Some(code) && !said.contains("panicked") {
            return Ok(());
        }
        Err(format!("`edgeward {line}` ended with {is:?}, expected {code}:\n{said}"))
    }
}

/// An event as its line says it.
fn event(event: &Value, expected: Option<&Event>) -> Event {
    // What it has opened and closed is added when it is written to the file.
    let is_waiting = event.get("newly-allowed").is_none();
    let number = |key: &str| event[key].as_u64();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let flows = |key: &str| -> BTreeSet<String> {
        let rows = event[key].as_array().into_iter().flatten();
        rows.map(|row| row["flow"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let by = &event["by"];
    let is_by = |who: &Who| {
        let (sudo, ssh) = (text(&by["sudo-user"]), text(&by["ssh-client"]));
        match who {
            // Where the tests run, there may be a session, or a unit.
            Who::Root => sudo.is_none(),
            Who::Sudo(user) => sudo.as_ref() == Some(user),
            Who::Ssh(client, user) => ssh.as_ref() == Some(client) && sudo == *user && by["unit"].is_null(),
            Who::Watcher => sudo.is_none() && ssh.is_none() && by["unit"].is_string(),
        }
    };
    let known = expected.map(|expected| expected.changes.clone());
    let expected = expected.map(|expected| expected.who.clone()).filter(|who| by["user"] == "root" && is_by(who));
    Event {
        kind: text(&event["event"]).unwrap_or_default(),
        generation: number("generation"),
        from: number("from"),
        to: number("to"),
        who: expected.unwrap_or_else(|| Who::Sudo(by.to_string())),
        message: text(&event["message"]),
        changes: match known {
            Some(known) if is_waiting => known,
            _ => (flows("newly-allowed"), flows("newly-denied")),
        },
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Role {
    number: Number,
    made_by: String,
    in_force: bool,
    pending: bool,
    loaded_at_boot: bool,
    undone: bool,
}

fn role(row: &Value) -> Role {
    let is = |key: &str| row[key].as_bool().unwrap_or_default();
    Role {
        number: row["generation"].as_u64().unwrap_or_default(),
        made_by: row["made-by"].as_str().unwrap_or_default().to_owned(),
        in_force: is("in-force"),
        pending: is("pending"),
        loaded_at_boot: is("loaded-at-boot"),
        undone: !row["undone"].is_null(),
    }
}

/// The words of a listing that differ from one step to another. Whoever reads the listing sees the same.
fn seen(listing: &str) -> BTreeSet<String> {
    let addresses = [Name::Mirror, Name::Backup].into_iter().flat_map(pool).chain([STRANGER.parse().unwrap()]);
    let addresses = addresses.map(|address| address.to_string());
    let numbers = (0..4).flat_map(|number| [text::management(number), text::list(number), text::prefix(number)]);
    let universe: BTreeSet<String> = addresses.chain(numbers).chain(["audit".to_owned()]).collect();
    let words: BTreeSet<&str> = listing.split(|c: char| c.is_whitespace() || ",{}\"".contains(c)).collect();
    universe.into_iter().filter(|word| words.contains(word.as_str())).collect()
}

/// Those words of a table.
fn words_of(inputs: &Inputs, addresses: &super::names::Addresses) -> BTreeSet<String> {
    let own = addresses.iter().filter(|(name, _)| **name != Name::Catalog);
    let addresses = own.flat_map(|(_, them)| them).map(ToString::to_string);
    let catalog = Some(inputs.catalog).filter(|number| *number > 0).map(text::prefix);
    let rest = [Some(text::management(inputs.policy.management)), catalog, inputs.list.map(text::list)];
    let mode = inputs.policy.audit.then(|| "audit".to_owned());
    addresses.chain(rest.into_iter().flatten()).chain(mode).collect()
}

fn difference(is: &str, expected: &str) -> String {
    let (is, expected): (Vec<&str>, Vec<&str>) = (is.lines().collect(), expected.lines().collect());
    let more: Vec<&&str> = is.iter().filter(|line| !expected.contains(line)).take(10).collect();
    let less: Vec<&&str> = expected.iter().filter(|line| !is.contains(line)).take(10).collect();
    format!("the kernel's table has {more:?}, and not {less:?}")
}
