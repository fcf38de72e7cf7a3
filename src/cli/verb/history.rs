//! `edgeward history`.

mod text;
mod time;
mod trail;

use std::collections::BTreeMap;

use crate::cli::context::{ListFormat, StateArguments, Wholeness, records};
use crate::cli::document::{
    ChangesDocument, EventDocument, GenerationDocument, HistoryDocument, MissingDocument, PolicyDocument, WhoDocument,
};
use crate::cli::failure::{Failure, chosen};
use crate::cli::render;
use crate::host::generations::{Event, EventKind, Manifest, Record, State, Store, StoreError};
use crate::host::rollout::chain;
use crate::report::DocumentVersion;

/// List the generations that are kept, and what happened: who changed the rules, when and why
///
/// A generation is a ruleset that was applied, with its policy and lockfile. The list says who made it, what it opened and
/// closed, which one is in force, which one is pending, and which one boot loads. The events follow, the latest first:
/// every change since the first `apply`, also those that were undone. With GEN, both are about that generation, with the
/// packets that it opened and closed. Events are numbered on their own; if some are missing from their file, or lines of it
/// cannot be read, it says so.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward history
  edgeward history 7
  edgeward history --since 2026-11-24 --until 2026-11-24
  edgeward history --since 7d --limit 100
  edgeward history --format json | jq '.events[] | select(.forced)'")]
pub(crate) struct Arguments {
    /// Only this generation, in detail
    #[arg(value_name = "GEN")]
    generation: Option<u64>,
    #[command(flatten)]
    state: StateArguments,
    /// Show so many events at most [default: 20, and 200 with `--format json`]
    ///
    /// With `--since`, the default is all.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Show events since this time: `2026-11-24`, `2026-11-24T08:00:00Z` (UTC), or `2h`, `7d` before now
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<time::Limit>,
    /// Show events until this time, written in the same ways; of a day, until its end
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<time::Limit>,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// How many events are shown.
const MAX_TEXT_EVENTS: usize = 20;
const MAX_JSON_EVENTS: usize = 200;
/// Events are not sorted by time where the clock was set. So many older ones in a row end the search.
const MAX_OLDER: usize = 1000;

/// The generations that are kept, and the events that are shown.
struct History<'a> {
    store: &'a Store,
    state: &'a State,
    /// The generation that it is about; all, if `None`.
    only: Option<u64>,
    /// The latest first.
    events: Vec<Event>,
    has_more: bool,
    /// Events that are missing among those that were read, the latest first.
    missing: Vec<MissingDocument>,
    /// How many lines of their file cannot be read.
    damaged: usize,
    /// The events that made the generations.
    makers: BTreeMap<u64, Event>,
    /// The manifests of the generations that have one.
    manifests: BTreeMap<u64, Manifest>,
    /// What is missing or damaged of the generations that are shown, in sentences.
    damage: BTreeMap<u64, Vec<String>>,
    /// The generation that boot loads.
    at_boot: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = arguments.state.read();
    let state = records(&store)?;
    let history = History::read(&store, &state, arguments);
    if let Some(number) = arguments.generation
        && !state.generations.contains_key(&number)
        && history.events.is_empty()
    {
        return chosen(Err(StoreError::NoGeneration { number, folder: store.folder().to_owned() }));
    }
    render::output(&match arguments.format {
        ListFormat::Text => history.text(),
        ListFormat::Json => render::document(&history.document())?,
    })
}

impl<'a> History<'a> {
    /// Reads the events from the latest on, until there are enough.
    fn read(store: &'a Store, state: &'a State, arguments: &Arguments) -> Self {
        let only = arguments.generation;
        let (since, until) = (arguments.since.map(time::Limit::begin), arguments.until.map(time::Limit::end));
        let default = if arguments.format == ListFormat::Json { MAX_JSON_EVENTS } else { MAX_TEXT_EVENTS };
        let limit = arguments.limit.unwrap_or(if since.is_some() { usize::MAX } else { default });
        let numbers = || state.generations.keys().copied();
        let manifests = numbers().filter_map(|number| Some((number, store.manifest(number).ok()?))).collect();
        let (mut events, mut has_more, mut older) = (Vec::new(), false, 0);
        let mut trail = trail::of(store, state);
        for event in trail.by_ref() {
            let is_recent = since.is_none_or(|since| event.at >= since);
            older = if is_recent { 0 } else { older + 1 };
            let is_in_time = is_recent && until.is_none_or(|until| event.at <= until);
            let concerns = |number| [event.generation, event.from, event.to].contains(&Some(number));
            let is_shown = is_in_time && only.is_none_or(concerns);
            has_more |= is_shown && events.len() == limit;
            if has_more || older > MAX_OLDER {
                break;
            }
            events.extend(Some(event).filter(|_| is_shown));
        }
        let (missing, damaged) = (trail.missing, trail.damaged);
        let mut wholeness = Wholeness::of(store);
        let mut damage = |number| wholeness.damage(number).iter().map(|error| chain(error)).collect();
        let is_shown = |number: &u64| only.is_none_or(|only| only == *number);
        let mut history = Self {
            store,
            state,
            only,
            events,
            has_more,
            missing,
            damaged,
            makers: BTreeMap::new(),
            manifests,
            damage: numbers().filter(is_shown).map(|number| (number, damage(number))).collect(),
            at_boot: store.newest_whole(state).number(),
        };
        history.makers = history.generations().filter_map(|(number, record)| history.maker(number, record)).collect();
        history
    }

    /// The event that made a generation.
    fn maker(&self, number: u64, record: &Record) -> Option<(u64, Event)> {
        let made = |event: &Event| {
            matches!(event.event, EventKind::Apply | EventKind::Refresh | EventKind::Found) && event.to == Some(number)
        };
        let waiting = self.state.events.iter().find(|event| Some(event.number) == record.event);
        let recorded = || self.store.events().find(record.event?).ok()?;
        let found = waiting.cloned().or_else(recorded).filter(made);
        // Records of earlier versions do not have its number.
        let found = found.or_else(|| self.events.iter().find(|event| made(event)).cloned());
        Some((number, found?))
    }

    /// The generations that are shown.
    fn generations(&self) -> impl DoubleEndedIterator<Item = (u64, &Record)> {
        let is_shown = |number: u64| self.only.is_none_or(|only| only == number);
        self.state
            .generations
            .iter()
            .map(|(number, record)| (*number, record))
            .filter(move |(number, _)| is_shown(*number))
    }

    fn is_pending(&self, number: u64) -> bool {
        self.state.pending.as_ref().is_some_and(|pending| pending.generation == number)
    }

    fn document(&self) -> HistoryDocument<'_> {
        HistoryDocument {
            version: DocumentVersion,
            generations: self.generations().map(|(number, record)| self.generation(number, record)).collect(),
            events: self.events.iter().rev().map(EventDocument::from).collect(),
            more_events: self.has_more,
            missing_events: self.missing.iter().rev().copied().collect(),
            damaged_lines: self.damaged,
        }
    }

    fn generation(&self, number: u64, record: &Record) -> GenerationDocument<'_> {
        let manifest = self.manifests.get(&number);
        let maker = self.makers.get(&number);
        let facts = maker.and_then(|event| event.facts.as_ref());
        GenerationDocument {
            generation: number,
            made: manifest.map(|manifest| manifest.made),
            by: manifest.map(|manifest| manifest.by.clone()),
            who: maker.map(|event| WhoDocument::from(&event.by)),
            made_by: record.made_by.name().to_owned(),
            message: manifest.and_then(|manifest| manifest.message.clone()),
            policy: manifest.and_then(|manifest| manifest.policy.as_ref()).map(PolicyDocument::from),
            in_force: self.state.current == Some(number),
            pending: self.is_pending(number),
            loaded_at_boot: self.at_boot == Some(number),
            confirmed: record.confirmed,
            undone: record.rolled_back,
            applied: record.applied,
            before: record.before,
            event: maker.map(|event| event.number),
            changes: facts.map(|facts| ChangesDocument::from(&facts.changes)).unwrap_or_default(),
            damage: self.damage.get(&number).cloned().unwrap_or_default(),
            folder: self.store.generation(number),
        }
    }
}
