//! Runs a sequence: each step is done to a real host and to the model, and then the two are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::names::{Answer, Moment, Name};
use super::rules::{Apply, Disk, Event, Inputs, Model, Number, Policy, Table};
use super::steps::{DAY, Step, Wrong, pool};
use super::text;
use super::world::World;

/// What every step takes, so that no two of them are in the same second.
const PAUSE: i64 = 2;

pub struct Sequence {
    world: World,
    model: Model,
    /// The meanings of tables that another program has changed.
    foreign: Vec<String>,
    /// What somebody has applied.
    applied: BTreeSet<Inputs>,
    tables: BTreeMap<String, String>,
    /// How many events were compared.
    told: usize,
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
        let disk = Disk { policy: None, list: None, catalog: 1, lock: Default::default() };
        world.write_policy(&policy);
        let model = Model::new(Disk { policy: Some(policy), ..disk }, zone);
        Self { world, model, foreign: Vec::new(), applied: BTreeSet::new(), tables: BTreeMap::new(), told: 0 }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.pass(PAUSE);
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
                said.ends(code)?;
            }
            Step::Confirm => self.edgeward("confirm").ends(self.model.confirm())?,
            Step::Rollback { back, is_trial, dry_run } => {
                let to = back.map(|back| self.model.last.saturating_sub(back.into()));
                let confirm_within = is_trial.then_some(600);
                let mut line = "rollback".to_owned();
                line.extend(to.map(|to| format!(" {to}")));
                line.extend(confirm_within.map(|time| format!(" --confirm-within {time}s")));
                line.extend(dry_run.then_some(" --dry-run"));
                let expected = self.model.rollback(to, confirm_within, *dry_run);
                self.edgeward(&line).ends(expected)?;
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
                if *boots {
                    self.edgeward("boot").ends(self.model.load_confirmed())?;
                    self.compare()?;
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
            Step::Boot => self.edgeward("boot").ends(self.model.load_confirmed())?,
            Step::Insert => self.insert(),
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
        let run = self.world.edgeward(line);
        Said { line: line.to_owned(), code: run.code, said: run.said }
    }

    fn apply(&mut self, how: Apply) -> Result<(), String> {
        let mut line = "apply policy.yaml".to_owned();
        if how.resolve {
            line += &format!(" --resolve --server {}", self.world.server());
        }
        line.extend(how.confirm_within.map(|time| format!(" --confirm-within {time}s")));
        line.extend(how.with_catalog.then_some(" --catalog newer"));
        line.extend(how.force.then_some(" --force"));
        line.extend(how.dry_run.then_some(" --dry-run"));
        let last = self.model.last;
        let said = self.edgeward(&line);
        let read = self.world.lockfiles();
        let code = self.with_zone(|model| model.apply(how, &read))?;
        let new = self.model.generations.range(last + 1..).filter_map(|(_, new)| new.inputs());
        self.applied.extend(new);
        said.ends(code)
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
        self.model.watch();
        Ok(())
    }

    /// The watcher that waits for a deadline by real time does not notice that time has passed; this one does.
    fn watch(&mut self) -> Result<(), String> {
        if self.model.pending.is_some() {
            let armed = &self.state()["pending"]["armed"];
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

    fn insert(&mut self) {
        if self.model.kernel == Table::None {
            return;
        }
        let port = (4000 + self.foreign.len()).to_string();
        self.world.nft(&["insert", "rule", "inet", "edgeward", "input", "tcp", "dport", &port, "accept"]);
        let listing = self.world.listing().unwrap_or_default();
        self.model.kernel = Table::Foreign(self.foreign.len() as u64);
        self.foreign.push(text::meaning(&listing).unwrap());
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
            Table::Foreign(number) => self.foreign[*number as usize].clone(),
            Table::Of(inputs, addresses) => {
                if !self.applied.contains(inputs) {
                    return Err(format!("nobody applied {inputs:?}"));
                }
                same("what nft lists", &seen(&listing), &words_of(inputs, addresses))?;
                let key = format!("{inputs:?}{addresses:?}");
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
        let run = self.world.edgeward("history --format json");
        let history: Value =
            serde_json::from_str(&run.said).map_err(|error| format!("history: {error}: {}", run.said))?;
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
        let event = |line: &str| {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            let number = |key: &str| event[key].as_u64();
            let kind = event["event"].as_str().unwrap_or_default().to_owned();
            Event { kind, generation: number("generation"), from: number("from"), to: number("to") }
        };
        let new: Vec<Event> = text.lines().skip(self.told).map(event).collect();
        self.told += new.len();
        same("events", &new, &std::mem::take(&mut self.model.events))
    }

    /// Only what a generation needs is in the folder, and all of it.
    fn compare_folder(&self) -> Result<(), String> {
        let model = &self.model;
        same("generations", &self.world.numbers("state/generations"), &model.kept().collect::<Vec<Number>>())?;
        let inputs: Vec<Inputs> = model.kept().filter_map(|number| model.generations[&number].inputs()).collect();
        let catalogs: BTreeSet<u8> = inputs.iter().map(|it| it.catalog).collect();
        let lists: BTreeSet<u8> = inputs.iter().filter_map(|it| it.list).collect();
        same("catalogs", &self.world.names("state/catalogs").len(), &catalogs.len())?;
        same("lists", &self.world.names("state/lists").len(), &lists.len())
    }
}

/// A run of the program, and what it was asked.
struct Said {
    line: String,
    code: Option<i32>,
    said: String,
}

impl Said {
    fn ends(self, code: i32) -> Result<(), String> {
        let Self { line, code: is, said } = self;
        if is == Some(code) && !said.contains("panicked") {
            return Ok(());
        }
        Err(format!("`edgeward {line}` ended with {is:?}, expected {code}:\n{said}"))
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
    let addresses = [Name::Mirror, Name::Backup].into_iter().flat_map(pool).map(|address| address.to_string());
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
