//! The model: what must be in force after each step, from the promises of the design and docs/operations.md. It has no
//! files, no kernel and no text, and uses nothing of the crate.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{self, Addresses, Answer, Asked, Lock, Moment, Name};
use super::openings::{self, Changes};

pub type Number = u64;

/// A policy that can be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Policy {
    /// The management network.
    pub management: u8,
    pub audit: bool,
    /// Its `allow` rows.
    pub mirror: bool,
    pub backup: bool,
    pub sites: bool,
    /// A comment: another text, the same rules.
    pub remark: u8,
}

impl Policy {
    pub fn names(&self) -> BTreeSet<Name> {
        let rows = [(true, Name::Catalog), (self.mirror, Name::Mirror), (self.backup, Name::Backup)];
        rows.into_iter().filter_map(|(has, name)| has.then_some(name)).collect()
    }
}

/// What a user puts into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inputs {
    pub policy: Policy,
    /// The catalog; 0 is the built-in one.
    pub catalog: u8,
    /// The list of peers, if the policy has one.
    pub list: Option<u8>,
}

impl Inputs {
    /// The same rules have the same key, whatever DNS says.
    fn rules(mut self) -> Self {
        self.policy.remark = 0;
        self
    }
}

/// What the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    None,
    /// Of a policy, with addresses, and with the ports of rules that another program has added.
    Of(Inputs, Addresses, BTreeSet<u16>),
    /// It has something in it that edgeward does not know.
    Unreadable,
}

impl Table {
    fn of(inputs: Inputs, lock: &Lock) -> Self {
        Self::Of(inputs, names::addresses(lock), BTreeSet::new())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeBy {
    Apply,
    Refresh,
    Found,
}

#[derive(Clone, Debug)]
pub struct Generation {
    pub made_by: MadeBy,
    pub table: Table,
    pub lock: Lock,
    /// The apply that it continues, and what was in force before that.
    applied: Number,
    before: Option<Number>,
    was_confirmed: bool,
    pub is_rejected: bool,
    pub is_kept: bool,
}

impl Generation {
    pub fn inputs(&self) -> Option<Inputs> {
        match self.table {
            Table::Of(inputs, ..) if self.made_by != MadeBy::Found => Some(inputs),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub generation: Number,
    pub back_to: Option<Number>,
    /// In running time.
    deadline: i64,
    boot: u32,
}

/// What is on disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// `None`: not a policy.
    pub policy: Option<Policy>,
    /// `None`: there is no list.
    pub list: Option<u8>,
    /// The catalog of `--catalog`.
    pub catalog: u8,
    pub lock: Lock,
    /// Whether the lockfile is no lockfile.
    pub is_lock_damaged: bool,
}

/// What a run left in lockfiles: beside the policy, and in the generation that is refreshed now.
#[derive(Default)]
pub struct Read {
    pub disk: Option<Addresses>,
    pub kept: BTreeMap<Number, Addresses>,
}

/// How `apply` is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apply {
    pub resolve: bool,
    /// Seconds.
    pub confirm_within: Option<i64>,
    pub with_catalog: bool,
    pub force: bool,
    pub dry_run: bool,
}

impl Apply {
    /// The command line.
    pub fn line(self, server: &str) -> String {
        let mut line = "apply policy.yaml".to_owned();
        if self.resolve {
            line += &format!(" --resolve --server {server}");
        }
        line.extend(self.confirm_within.map(|time| format!(" --confirm-within {time}s")));
        line.extend(self.with_catalog.then_some(" --catalog newer"));
        line.extend(self.force.then_some(" --force"));
        line.extend(self.dry_run.then_some(" --dry-run"));
        line
    }
}

/// Who runs the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// root, from nowhere in particular.
    #[default]
    Root,
    /// Through sudo.
    Sudo(String),
    /// From an SSH client, perhaps through sudo.
    Ssh(String, Option<String>),
    /// The process that undoes a change at its deadline.
    Watcher,
}

/// What history has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: String,
    pub generation: Option<Number>,
    pub from: Option<Number>,
    pub to: Option<Number>,
    pub who: Who,
    pub message: Option<String>,
    pub changes: Changes,
}

#[derive(Clone)]
pub struct Model {
    /// Since the last look.
    pub events: Vec<Event>,
    /// Who runs the program now, and what they say about it.
    pub who: Who,
    pub message: Option<String>,
    pub now: Moment,
    pub disk: Disk,
    pub zone: BTreeMap<Name, Answer>,
    pub kernel: Table,
    pub generations: BTreeMap<Number, Generation>,
    pub current: Option<Number>,
    pub confirmed: Option<Number>,
    pub pending: Option<Pending>,
    undone: bool,
    /// Whether there is a folder with a state.
    pub has_state: bool,
    pub last: Number,
}

const DONE: i32 = 0;
const INVALID: i32 = 2;
const UNRESOLVED: i32 = 3;
const SYSTEM: i32 = 4;
const REFUSED: i32 = 5;

type Code = Result<i32, String>;

impl Model {
    pub fn new(disk: Disk, zone: BTreeMap<Name, Answer>) -> Self {
        Self {
            events: Vec::new(),
            who: Who::Root,
            message: None,
            now: Moment::default(),
            disk,
            zone,
            kernel: Table::None,
            generations: BTreeMap::new(),
            current: None,
            confirmed: None,
            pending: None,
            undone: false,
            has_state: false,
            last: 0,
        }
    }

    /// What `apply` would compile; `None` if something is not valid.
    fn inputs(&self, with_catalog: bool) -> Option<Inputs> {
        let policy = self.disk.policy?;
        let list = if policy.sites { Some(self.disk.list?) } else { None };
        Some(Inputs { policy, catalog: if with_catalog { self.disk.catalog } else { 0 }, list })
    }

    /// The generation that a refresh works with.
    fn base(&self) -> Option<Number> {
        self.pending.map(|pending| pending.generation).or(self.confirmed)
    }

    fn table_of(&self, number: Option<Number>) -> Table {
        number.map_or(Table::None, |number| self.generations[&number].table.clone())
    }

    pub fn resolve(&mut self, read: &Read) -> Code {
        let Some(inputs) = self.inputs(false).filter(|_| !self.disk.is_lock_damaged) else { return Ok(INVALID) };
        let asked = Asked::new(&self.disk.lock, &inputs.policy.names(), &self.zone, &self.now);
        self.disk.lock = asked.settled(read.disk.as_ref())?;
        Ok(if asked.unanswered.is_empty() { DONE } else { UNRESOLVED })
    }

    pub fn apply(&mut self, how: Apply, read: &Read) -> Code {
        let inputs = self.inputs(how.with_catalog).filter(|_| !self.disk.is_lock_damaged);
        let Some(inputs) = inputs else { return Ok(INVALID) };
        let names = inputs.policy.names();
        let mut lock = self.disk.lock.clone();
        let mut code = DONE;
        if how.resolve {
            // A failure of DNS closes nothing: what is in force is known, too.
            let in_force = self.base().map(|number| self.generations[&number].lock.clone()).unwrap_or_default();
            let asked = Asked::new(&names::newer(&lock, &in_force, &self.now), &names, &self.zone, &self.now);
            lock = asked.settled(read.disk.as_ref().filter(|_| !how.dry_run))?;
            if !asked.unanswered.is_empty() {
                code = UNRESOLVED;
            }
            if !how.dry_run {
                self.disk.lock = lock.clone();
            }
        }
        lock.names.retain(|name, _| names.contains(name));
        if !names.iter().all(|name| lock.has(*name)) {
            return Ok(UNRESOLVED);
        }
        let table = Table::of(inputs, &lock);
        if how.dry_run {
            return Ok(match self.refuses(inputs, how) {
                _ if self.kernel == Table::Unreadable => SYSTEM,
                true => REFUSED,
                false => code,
            });
        }
        let is_unreadable = self.kernel == Table::Unreadable;
        if !self.recover(how.force) {
            return Ok(SYSTEM);
        }
        if self.pending.is_some() && how.confirm_within.is_none() {
            return Ok(REFUSED);
        }
        if !is_unreadable && self.is_in_force(inputs, &table) {
            if let (Some(pending), Some(delay)) = (self.pending, how.confirm_within) {
                self.tell("extend", self.current, self.current, self.current);
                self.pending = Some(Pending { deadline: self.now.running + delay, boot: self.now.boot, ..pending });
            } else if how.confirm_within.is_some() {
                self.undone = false;
            }
            // Its ages are those of the newest answers.
            let current = self.current.and_then(|number| self.generations.get_mut(&number));
            if let Some(current) = current {
                current.lock = names::newer(&current.lock, &lock, &self.now);
            }
            return Ok(code);
        }
        if self.refuses(inputs, how) {
            return Ok(REFUSED);
        }
        let number = self.add(MadeBy::Apply, table, lock, None);
        self.tell("apply", Some(number), self.current, Some(number));
        self.bring_into_force(Some(number), how.confirm_within);
        self.prune();
        Ok(code)
    }

    pub fn refresh(&mut self, read: &Read) -> Code {
        if self.is_overdue() && !self.recover(false) {
            return Ok(SYSTEM);
        }
        let Some(base) = self.base() else { return Ok(INVALID) };
        let from = self.generations[&base].clone();
        let Some(inputs) = from.inputs() else { return Ok(INVALID) };
        let names = inputs.policy.names();
        let is_same = self.inputs(false) == Some(inputs);
        if is_same && self.disk.is_lock_damaged {
            return Ok(INVALID);
        }
        let known = if is_same { names::newer(&self.disk.lock, &from.lock, &self.now) } else { from.lock.clone() };
        let asked = Asked::new(&known, &names, &self.zone, &self.now);
        let code = if asked.unanswered.is_empty() { DONE } else { UNRESOLVED };
        let reaches_kernel = asked.has_answers(&names);
        let newest = read.kept.range(self.last + 1..).next_back().map(|(_, addresses)| addresses);
        let read = if is_same { read.disk.as_ref() } else { newest.or_else(|| read.kept.get(&base)) };
        let reads = is_same || reaches_kernel && self.kernel != Table::Unreadable;
        let lock = asked.settled(read.filter(|_| reads))?;
        if is_same {
            self.disk.lock = lock.clone();
        }
        if !names.iter().all(|name| lock.has(*name)) || !reaches_kernel {
            return Ok(UNRESOLVED);
        }
        if !self.recover(false) {
            return Ok(SYSTEM);
        }
        let table = Table::of(inputs, &lock);
        if self.is_in_force(inputs, &table) {
            self.generations.entry(base).and_modify(|generation| generation.lock = lock);
            return Ok(code);
        }
        let number = self.add(MadeBy::Refresh, table, lock, Some(base));
        self.tell("refresh", Some(number), self.current, Some(number));
        let left = self.pending.map(|pending| pending.deadline - self.now.running);
        self.bring_into_force(Some(number), left);
        self.prune();
        Ok(code)
    }

    pub fn confirm(&mut self) -> i32 {
        if !self.has_state {
            return INVALID;
        }
        if self.is_overdue() {
            self.recover(true);
        }
        if let Some(pending) = self.pending {
            // What is not in the kernel cannot be kept.
            if self.kernel != self.table_of(Some(pending.generation)) {
                return REFUSED;
            }
            self.pending = None;
            self.tell("confirm", self.current, self.current, self.current);
            self.confirm_number(self.current);
            self.prune();
            return DONE;
        }
        if self.undone { REFUSED } else { DONE }
    }

    /// `back`: how many generations before the newest; `None` for the last other policy.
    pub fn rollback(&mut self, to: Option<Number>, confirm_within: Option<i64>, force: bool, dry_run: bool) -> i32 {
        if !self.has_state || to.is_some_and(|to| !self.generations.get(&to).is_some_and(|it| it.is_kept)) {
            return INVALID;
        }
        let was_pending = self.pending.is_some();
        let is_unreadable = self.kernel == Table::Unreadable;
        if !dry_run && !self.recover(force) {
            return SYSTEM;
        }
        if to.is_none() && was_pending && self.pending.is_none() {
            // Its deadline had passed, and nothing else was to be undone.
            return DONE;
        }
        let to = match (to, self.pending) {
            (Some(to), Some(pending)) if to == pending.generation => return REFUSED,
            (Some(to), _) => to,
            (None, Some(_)) if dry_run => return DONE,
            (None, Some(_)) => {
                self.undo();
                return DONE;
            }
            (None, None) => match self.previous() {
                Some(to) => to,
                None => return INVALID,
            },
        };
        if dry_run || self.current == Some(to) && self.pending.is_none() && !is_unreadable {
            return DONE;
        }
        let order = |number: Number| self.generations[&number].applied;
        if let Some(from) = self.current.filter(|from| order(to) < order(*from)) {
            self.each_sibling(from, |it| it.is_rejected = true);
        }
        self.tell("rollback", Some(to), self.current, Some(to));
        self.bring_into_force(Some(to), confirm_within);
        self.prune();
        DONE
    }

    /// The last generation of another policy, catalog or list, regardless of refreshes.
    pub fn previous(&self) -> Option<Number> {
        let current = &self.generations[&self.current?];
        if current.made_by == MadeBy::Found && self.confirmed != self.current {
            return self.confirmed;
        }
        let mut at = self.kept_at(current.before);
        while let Some(number) = at {
            let earlier = &self.generations[&number];
            if earlier.inputs().is_none() || earlier.inputs() != current.inputs() {
                return Some(number);
            }
            at = self.kept_at(earlier.before).filter(|before| *before < number);
        }
        None
    }

    /// The generation itself, or if it was dropped another one of the same apply, or the one before that.
    fn kept_at(&self, mut number: Option<Number>) -> Option<Number> {
        while let Some(wanted) = number {
            let generation = &self.generations[&wanted];
            if generation.is_kept {
                return Some(wanted);
            }
            let of_same = |(_, other): &(&Number, &Generation)| {
                other.is_kept && other.made_by != MadeBy::Found && other.applied == generation.applied
            };
            if let Some((sibling, _)) = self.generations.range(..wanted).rev().find(of_same) {
                return Some(*sibling);
            }
            number = generation.before;
        }
        None
    }

    /// `edgeward boot`: the confirmed generation, and nothing else.
    pub fn load_confirmed(&mut self) -> i32 {
        let Some(confirmed) = self.confirmed else { return DONE };
        let table = self.table_of(Some(confirmed));
        let known = [&table, &Table::None, &Table::Unreadable, &self.table_of(self.current)];
        if !known.contains(&&self.kernel) {
            self.adopt();
        }
        let had = self.current.filter(|_| matches!(self.kernel, Table::Of(..)));
        if let Some(pending) = self.pending {
            self.reject_undone(pending);
        }
        self.current = Some(confirmed);
        if self.kernel != table {
            self.tell("boot", Some(confirmed), had, Some(confirmed));
        }
        self.kernel = table;
        DONE
    }

    pub fn reboot(&mut self) {
        self.now.boot += 1;
        self.kernel = Table::None;
    }

    /// The watcher of a pending change looks at the clock.
    pub fn watch(&mut self) {
        if self.is_overdue() {
            self.recover(true);
        }
    }

    fn is_overdue(&self) -> bool {
        self.pending.is_some_and(|pending| pending.boot != self.now.boot || pending.deadline <= self.now.running)
    }

    /// How every change begins: with what the last run, a reboot or another program left. `false` if that cannot be
    /// read; a forced change replaces it.
    pub fn recover(&mut self, force: bool) -> bool {
        // What is said is about the change that follows.
        let message = self.message.take();
        let is_done = self.kernel != Table::Unreadable || force;
        if is_done {
            self.recover_records();
        }
        self.message = message;
        is_done
    }

    fn recover_records(&mut self) {
        let is_unreadable = self.kernel == Table::Unreadable;
        if let Some(pending) = self.pending.filter(|_| self.is_overdue()) {
            if pending.boot == self.now.boot {
                // What goes with it is kept.
                if self.kernel != self.table_of(pending.back_to) {
                    self.reconcile();
                }
                self.undo();
            } else {
                self.reject_undone(pending);
                self.current = if self.kernel == Table::None { None } else { pending.back_to };
            }
        }
        if !is_unreadable {
            self.reconcile();
            self.prune();
        }
    }

    fn reconcile(&mut self) {
        match self.kernel {
            _ if self.kernel == self.table_of(self.current) => {}
            Table::None => {
                self.tell("lost", self.current, self.current, None);
                self.current = None;
            }
            Table::Unreadable => {}
            Table::Of(..) => self.adopt(),
        }
    }

    /// Keeps what another program made of the table.
    fn adopt(&mut self) {
        let number = self.add(MadeBy::Found, self.kernel.clone(), Lock::default(), None);
        self.tell("found", Some(number), self.current, Some(number));
        self.current = Some(number);
    }

    /// The time to confirm the pending change is over.
    pub fn expire(&mut self) {
        let now = self.now.running;
        self.pending.iter_mut().for_each(|pending| pending.deadline = now);
    }

    /// A run has found that another one was interrupted.
    pub fn interrupt(&mut self, target: Option<Number>) {
        let message = self.message.take();
        self.tell("interrupted", target, self.current, self.current);
        self.message = message;
    }

    fn undo(&mut self) {
        let Some(pending) = self.pending else { return };
        self.reject_undone(pending);
        self.kernel = self.table_of(pending.back_to);
        self.current = pending.back_to;
    }

    fn tell(&mut self, kind: &str, generation: Option<Number>, from: Option<Number>, to: Option<Number>) {
        let changes = match from == to {
            true => Changes::default(),
            false => openings::changes(&self.table_of(from), &self.table_of(to)),
        };
        let (kind, who, message) = (kind.to_owned(), self.who.clone(), self.message.clone());
        self.events.push(Event { kind, generation, from, to, who, message, changes });
    }

    fn reject_undone(&mut self, pending: Pending) {
        self.tell("undo", Some(pending.generation), self.current, pending.back_to);
        self.pending = None;
        self.undone = true;
        for (number, generation) in &mut self.generations {
            let was_on_trial = !generation.was_confirmed && generation.made_by != MadeBy::Found;
            if was_on_trial && Some(*number) != pending.back_to {
                generation.is_rejected = true;
            }
        }
        if let Some(back_to) = pending.back_to {
            self.each_sibling(back_to, |it| it.is_rejected = false);
        }
    }

    /// Whether a plain apply would put back what was undone or left.
    fn refuses(&self, inputs: Inputs, how: Apply) -> bool {
        let is_same = |it: &Generation| it.inputs().is_some_and(|other| other.rules() == inputs.rules());
        let is_current = self.current.is_some_and(|number| is_same(&self.generations[&number]));
        if how.force || how.confirm_within.is_some() || is_current {
            return false;
        }
        let has_result = |it: &&Generation| it.is_kept && is_same(it) && (it.is_rejected || it.was_confirmed);
        self.generations.values().rev().find(has_result).is_some_and(|it| it.is_rejected)
    }

    fn is_in_force(&self, inputs: Inputs, table: &Table) -> bool {
        let is_settled = self.confirmed == self.current || self.pending.is_some();
        let current = self.current.map(|number| &self.generations[&number]);
        is_settled && current.is_some_and(|current| current.inputs() == Some(inputs) && current.table == *table)
    }

    fn add(&mut self, made_by: MadeBy, table: Table, lock: Lock, base: Option<Number>) -> Number {
        self.last += 1;
        self.has_state = true;
        let number = self.last;
        let (applied, before) = match base.map(|base| &self.generations[&base]) {
            Some(base) => (base.applied, base.before),
            None if made_by == MadeBy::Found => (number, self.current),
            None => (number, self.confirmed),
        };
        let rest = (false, false, true);
        let (was_confirmed, is_rejected, is_kept) = rest;
        let new = Generation { made_by, table, lock, applied, before, was_confirmed, is_rejected, is_kept };
        self.generations.insert(number, new);
        number
    }

    fn bring_into_force(&mut self, to: Option<Number>, confirm_within: Option<i64>) {
        self.undone = false;
        let in_force = self.current.or(self.confirmed);
        let back_to = self.pending.map_or(in_force, |pending| pending.back_to);
        self.pending = confirm_within.zip(to).map(|(delay, generation)| Pending {
            generation,
            back_to,
            deadline: self.now.running + delay,
            boot: self.now.boot,
        });
        self.current = to;
        self.kernel = self.table_of(to);
        if self.pending.is_none() {
            self.confirm_number(to);
        }
    }

    fn confirm_number(&mut self, number: Option<Number>) {
        self.confirmed = number;
        let Some(number) = number else { return };
        self.each_sibling(number, |it| it.is_rejected = false);
        self.generations.entry(number).and_modify(|it| it.was_confirmed = true);
    }

    fn each_sibling(&mut self, number: Number, change: impl Fn(&mut Generation)) {
        let Generation { applied, made_by, .. } = self.generations[&number];
        for (other, generation) in &mut self.generations {
            let is_sibling = made_by != MadeBy::Found && generation.made_by != MadeBy::Found;
            if *other == number || is_sibling && generation.applied == applied {
                change(generation);
            }
        }
    }

    /// Twenty are kept, at most five of them made by refreshes; never without what is in force, what boot loads, or what
    /// comes back at the deadline.
    fn prune(&mut self) {
        let pending = self.pending.iter().flat_map(|pending| [Some(pending.generation), pending.back_to]);
        let needed: BTreeSet<Number> = [self.current, self.confirmed].into_iter().chain(pending).flatten().collect();
        loop {
            let kept: Vec<Number> = self.kept().collect();
            let is_refresh = |number: &Number| self.generations[number].made_by == MadeBy::Refresh;
            let refreshes = kept.iter().filter(|number| is_refresh(number)).count();
            let mut free = kept.iter().filter(|number| !needed.contains(number));
            let refresh = free.clone().find(|number| is_refresh(number)).filter(|_| refreshes > 5);
            let Some(oldest) = refresh.or_else(|| free.next().filter(|_| kept.len() > 20)).copied() else { return };
            self.generations.entry(oldest).and_modify(|it| it.is_kept = false);
        }
    }

    pub fn kept(&self) -> impl Iterator<Item = Number> + '_ {
        self.generations.iter().filter(|(_, it)| it.is_kept).map(|(number, _)| *number)
    }
}

/// What needs attention.
impl Model {
    /// The reasons of `status --check`, and whether `stale` may be there or not.
    pub fn reasons(&self, since_boot: impl Fn(i64, u32) -> i64) -> (Vec<&'static str>, bool) {
        let mut reasons = Vec::new();
        let in_force = self.table_of(self.current);
        match (&self.kernel, self.current) {
            (Table::None, None) => reasons.push("no-rules"),
            _ if self.kernel == in_force => {}
            _ => reasons.push("table"),
        }
        let is_late = |pending: Pending| {
            since_boot(pending.deadline, pending.boot) <= since_boot(self.now.running, self.now.boot)
        };
        let rest = [
            (self.pending.is_some_and(is_late), "pending-overdue"),
            (self.undone, "undone"),
            (self.pending.is_none() && self.current.is_some() && self.current != self.confirmed, "boot"),
        ];
        reasons.extend(rest.into_iter().filter_map(|(is_so, reason)| is_so.then_some(reason)));
        let Some(current) = self.current.map(|number| &self.generations[&number]) else { return (reasons, false) };
        let Some(inputs) = current.inputs() else { return (reasons, false) };
        let [must, may] = current.lock.is_aging(&inputs.policy.names(), &self.now);
        reasons.extend(must.then_some("stale"));
        let same_policy = self.disk.policy == Some(inputs.policy);
        let rest = [
            (same_policy && inputs.policy.sites && self.disk.list != inputs.list, "list"),
            (!same_policy, "policy"),
            (inputs.catalog != 0, "catalog"),
        ];
        reasons.extend(rest.into_iter().filter_map(|(is_so, reason)| is_so.then_some(reason)));
        (reasons, may && !must)
    }
}
