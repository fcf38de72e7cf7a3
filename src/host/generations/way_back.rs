//! The way back from a change: which generation is loaded in its place, and what a watcher holds in memory of it.

use std::rc::Rc;
use std::time::Duration;

use super::{Generation, Inputs, LOCKFILE, POLICY, RULESET, State, Store, StoreError, Switching, rules_digest};
use crate::host::files::Watched;
use crate::host::operator::Operator;
use crate::host::{clock, files};
use crate::live::Live;
use crate::ruleset::Ruleset;
use crate::source::Source;

/// How often it is looked whether a watcher has written a damaged generation again, and how long is waited between: it
/// looks every second.
const MAX_LOOKS: usize = 100;
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Where undoing the pending change leads.
#[derive(Debug, Default)]
pub struct WayBack {
    /// The generation that comes back; `None` for no table.
    pub to: Option<(u64, Ruleset)>,
    /// Why the ones before it in line do not.
    pub damage: Vec<StoreError>,
}

impl WayBack {
    /// The number of the generation that comes back.
    pub fn number(&self) -> Option<u64> {
        self.to.as_ref().map(|(number, _)| *number)
    }
}

impl State {
    /// The generations that may be loaded in the place of others: the first choice, the one that boot loads, older ones that
    /// were confirmed, the newest first; and where those are damaged, too, newer ones that a rollback has left.
    fn in_line(&self, first: Option<u64>) -> Vec<u64> {
        let was_confirmed = |number: &u64| self.generations[number].confirmed.is_some();
        // After a removal boot loads nothing.
        let Some(confirmed) = self.confirmed else { return first.into_iter().collect() };
        let older = self.generations.range(..confirmed).rev().map(|(number, _)| *number).filter(was_confirmed);
        let newer = self.generations.range(confirmed + 1..).map(|(number, _)| *number).filter(was_confirmed);
        let mut line: Vec<u64> = first.into_iter().chain([confirmed]).collect();
        line.dedup();
        line.extend(older.chain(newer).filter(|number| Some(*number) != first));
        line
    }

    /// The state with another generation to come back if the pending change is undone.
    #[must_use]
    pub fn with_way_back(&self, back_to: Option<u64>) -> Self {
        let mut after = self.clone();
        after.pending.iter_mut().for_each(|pending| pending.back_to = back_to);
        after
    }
}

impl Store {
    /// The generation that boot loads: the confirmed one, or the next in line where that is damaged.
    pub fn newest_whole(&self, state: &State) -> WayBack {
        self.wait_for_restoration(state);
        self.first_whole(state.in_line(state.confirmed))
    }

    /// Where undoing the pending change leads, at its deadline or by hand: to what was in force before it, or where that is
    /// damaged to what boot would load.
    pub fn way_back(&self, state: &State) -> WayBack {
        self.wait_for_restoration(state);
        let back_to = state.pending.as_ref().and_then(|pending| pending.back_to);
        back_to.map(|number| self.first_whole(state.in_line(Some(number)))).unwrap_or_default()
    }

    /// The state with a pending change that goes back to where undoing it leads.
    pub fn with_way_back(&self, state: &State) -> State {
        state.with_way_back(self.way_back(state).number())
    }

    /// Waits for the watcher of the pending change, which writes the generation that comes back again where that is damaged.
    /// Otherwise a change that is undone by hand would lead elsewhere than at its deadline.
    pub fn wait_for_restoration(&self, state: &State) {
        let Some(pending) = &state.pending else { return };
        let Some(back_to) = pending.back_to.filter(|_| !pending.is_from_earlier_boot(&clock::Moment::now())) else {
            return;
        };
        let generations = self.generations();
        // The mark of a watcher goes with the folder, and it makes the folder again.
        let may_be_restored = || files::is_watched(&generations) || !generations.is_dir();
        for _ in 0..MAX_LOOKS {
            if self.ruleset(back_to).is_ok() || !may_be_restored() {
                break;
            }
            clock::pause(LOOK_INTERVAL);
        }
    }

    fn first_whole(&self, line: Vec<u64>) -> WayBack {
        let mut found = WayBack::default();
        for number in line {
            match self.ruleset(number) {
                Ok(ruleset) => {
                    found.to = Some((number, ruleset));
                    break;
                }
                Err(error) => found.damage.push(error),
            }
        }
        found
    }

    /// Reads what a watcher needs to undo the pending change of a state without the folder.
    pub fn hold_way_back(&self, state: State) -> Held {
        let back = self.way_back(&state).to.map(|(number, ruleset)| {
            let whole = self.whole_generation(number, &ruleset);
            let is_complete = whole.is_some();
            // The rules come back even if nothing says any more where they were from.
            let files = whole.unwrap_or_else(|| {
                Generation::found(number, &Live(ruleset.clone()), Operator::watcher().to_string(), clock::now())
            });
            Rc::new(Back { number, ruleset, files, is_complete })
        });
        Held { state, back }
    }

    /// A generation with its files; `None` if its manifest is damaged.
    fn whole_generation(&self, number: u64, ruleset: &Ruleset) -> Option<Generation> {
        let text = |name| self.text(number, name).ok().map(Source::into_text);
        let manifest = self.manifest(number).ok()?;
        let catalog = manifest.policy.as_ref().and_then(|facts| self.whole_catalog(&facts.catalog));
        let lists = manifest.stored_lists();
        let lists = lists.iter().filter_map(|list| Some(files::read(&self.list(list)).ok()?.into_text())).collect();
        let inputs = Inputs { policy: text(POLICY), lockfile: text(LOCKFILE), catalog, lists };
        Some(Generation { inputs, ruleset: text(RULESET)?, rules: rules_digest(ruleset), manifest })
    }

    /// Shows other runs that a watcher may act on the folder, until the mark is dropped; `None` where that cannot be shown.
    pub fn mark_watched(&self) -> Option<Watched> {
        files::mark_watched(&self.generations()).ok()
    }

    /// Waits for watchers that have nothing left to do; `false` if one is there after all patience. A folder that was removed
    /// before they have seen that would be made again by them at the deadline, with the rules.
    pub fn wait_for_watchers(&self, patience: Duration) -> bool {
        files::wait_for_watchers(&self.generations(), patience)
    }

    /// Has this store fall back to what is in memory, where the folder is damaged.
    pub fn fall_back_to(&self, held: &Held) {
        self.held.replace(Some(held.clone()));
    }

    /// The ruleset of a generation that is in memory.
    pub(super) fn held_ruleset(&self, number: u64) -> Option<Ruleset> {
        let held = self.held.borrow();
        held.as_ref()?.back.as_ref().filter(|back| back.number == number).map(|back| back.ruleset.clone())
    }

    /// Writes a generation again that is in memory, where its files are not as they were. It needs no lock: no run writes
    /// the files of a generation that a pending change goes back to.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn restore(&self, number: u64) -> Result<(), StoreError> {
        let held = self.held.borrow();
        let back = held.as_ref().and_then(|held| held.back.as_ref()).filter(|back| back.number == number);
        let Some(Back { files, is_complete, .. }) = back.map(AsRef::as_ref) else { return Ok(()) };
        let is_as = |name, text: &str| self.text(number, name).is_ok_and(|stored| stored.text() == text);
        let inputs = &files.inputs;
        let has_all_files = || {
            self.manifest(number).is_ok_and(|manifest| manifest == files.manifest)
                && inputs.policy.as_ref().is_none_or(|policy| is_as(POLICY, policy))
                && inputs.lockfile.as_ref().is_none_or(|lockfile| is_as(LOCKFILE, lockfile))
        };
        let is_whole = match is_complete {
            true => is_as(RULESET, &files.ruleset) && has_all_files(),
            // What is left of the other files is not replaced by less.
            false => self.check_ruleset(number).is_ok(),
        };
        if is_whole {
            return self.write_inputs(inputs);
        }
        self.write(number, files)
    }
}

/// What a watcher holds in memory from the moment on that it can be relied on.
#[derive(Clone, Debug)]
pub struct Held {
    state: State,
    /// What comes back; `None` for no table.
    back: Option<Rc<Back>>,
}

/// A generation in memory.
#[derive(Clone, Debug)]
struct Back {
    number: u64,
    ruleset: Ruleset,
    files: Generation,
    /// Whether all of its files were read. Otherwise it has its rules alone.
    is_complete: bool,
}

impl Held {
    /// The state, unless there are later events than it knows.
    pub(super) fn as_of(&self, last_event: u64) -> Option<State> {
        (last_event <= self.last_event()).then(|| self.state.clone())
    }

    /// Whether the events have settled the pending change.
    pub fn is_followed_by(&self, recovered: &State) -> bool {
        let armed = |state: &State| state.pending.as_ref().map(|pending| pending.armed);
        recovered.last_event > self.last_event() && armed(recovered) != armed(&self.state)
    }

    /// The number of the event that made the change pending.
    fn last_event(&self) -> u64 {
        let under_way = self.state.switching.iter().filter_map(|switching| switching.event.as_ref());
        under_way.map(|event| event.number).max().unwrap_or(self.state.last_event)
    }

    /// Takes a later state with the same pending change.
    pub fn update(&mut self, state: State) {
        self.state = state;
    }

    /// Notes that the change had taken effect, which the state may not say yet.
    pub fn take_effect(&mut self) {
        let Some(Switching { to, event, .. }) = self.state.switching.take() else { return };
        self.state.current = to;
        if let Some(event) = event {
            self.state.last_event = event.number;
            self.state.events.push(*event);
        }
    }

    /// The ruleset that comes back; `None` for no table.
    pub fn ruleset(&self) -> Option<&Ruleset> {
        self.back.as_ref().map(|back| &back.ruleset)
    }

    /// The number of the generation that comes back.
    pub fn number(&self) -> Option<u64> {
        self.back.as_ref().map(|back| back.number)
    }
}
