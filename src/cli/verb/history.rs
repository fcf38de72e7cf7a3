//! `edgeward history`.

mod text;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};

use crate::cli::context::{ListFormat, StateArguments};
use crate::cli::document::{
    ChangesDocument, EventDocument, GenerationDocument, HistoryDocument, PolicyDocument, WhoDocument,
};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::host::clock;
use crate::host::generations::{Event, EventKind, Manifest, Record, State, Store, StoreError};
use crate::policy::syntax::parse_duration;
use crate::report::DocumentVersion;

/// List the generations that are kept, and what happened: who changed the rules, when and why
///
/// A generation is a ruleset that was applied, with its policy and lockfile. The list says who made it, what it opened and
/// closed, which one is in force, which one is pending, and which one boot loads. The events follow, the latest first:
/// every change since the first `apply`, also those that were undone. With GEN, both are about that generation, with the
/// packets that it opened and closed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward history
  edgeward history 7
  edgeward history --since 2026-11-24 --limit 100
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
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Since>,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// A time that events are shown from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Time(Timestamp),
    Ago(SignedDuration),
}

fn parse_since(text: &str) -> Result<Since, String> {
    let ago = || parse_duration(text).and_then(|ago| SignedDuration::try_from(ago).ok()).map(Since::Ago);
    let time = || text.parse().ok().map(Since::Time);
    let day = || {
        let day: civil::Date = text.parse().ok()?;
        Some(Since::Time(day.to_zoned(TimeZone::UTC).ok()?.timestamp()))
    };
    let since = ago().or_else(time).or_else(day);
    since.ok_or_else(|| "expected `2026-11-24`, `2026-11-24T08:00:00Z`, or a time before now: `2h`, `7d`".to_owned())
}

impl Since {
    fn time(self) -> Timestamp {
        match self {
            Self::Time(time) => time,
            Self::Ago(ago) => clock::now().checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

/// How many events are shown.
const MAX_TEXT_EVENTS: usize = 20;
const MAX_JSON_EVENTS: usize = 200;
/// The events that made the generations are looked for among so many of the latest.
const MAX_SEARCHED: usize = 10_000;
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
    /// The events that made the generations.
    makers: BTreeMap<u64, Event>,
    /// The manifests of the generations; an error for one that is damaged.
    manifests: BTreeMap<u64, Result<Manifest, StoreError>>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = arguments.state.read();
    let state = store.state()?;
    let history = History::read(&store, &state, arguments);
    if let Some(number) = arguments.generation
        && !state.generations.contains_key(&number)
        && history.events.is_empty()
    {
        return Err(Failure::usage(StoreError::NoGeneration { number, folder: store.folder().to_owned() }));
    }
    render::output(&match arguments.format {
        ListFormat::Text => history.text(),
        ListFormat::Json => render::document(&history.document())?,
    })
}

impl<'a> History<'a> {
    /// Reads the events from the latest on, until there are enough.
    fn read(store: &'a Store, state: &'a State, arguments: &Arguments) -> Self {
        let (only, since) = (arguments.generation, arguments.since.map(Since::time));
        let default = if arguments.format == ListFormat::Json { MAX_JSON_EVENTS } else { MAX_TEXT_EVENTS };
        let limit = arguments.limit.unwrap_or(if since.is_some() { usize::MAX } else { default });
        let manifests = state.generations.keys().map(|number| (*number, store.manifest(*number))).collect();
        let mut history =
            Self { store, state, only, events: Vec::new(), has_more: false, makers: BTreeMap::new(), manifests };
        let mut older = 0;
        for (index, event) in latest_events(store, state).enumerate() {
            let is_recent = since.is_none_or(|since| event.at >= since);
            older = if is_recent { 0 } else { older + 1 };
            let concerns = |number| [event.generation, event.from, event.to].contains(&Some(number));
            let is_shown = is_recent && only.is_none_or(concerns);
            history.has_more |= is_shown && history.events.len() == limit;
            let is_done = history.has_more || older > MAX_OLDER;
            if is_done && (history.has_makers() || index > MAX_SEARCHED) {
                break;
            }
            history.note_maker(&event);
            if is_shown && history.events.len() < limit {
                history.events.push(event);
            }
        }
        history
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

    /// Whether the events that made the generations are all known.
    fn has_makers(&self) -> bool {
        self.generations().all(|(number, _)| self.makers.contains_key(&number))
    }

    /// Keeps the event that made a generation.
    fn note_maker(&mut self, event: &Event) {
        let makes = matches!(event.event, EventKind::Apply | EventKind::Refresh | EventKind::Found);
        let number = event.to.filter(|number| makes && self.state.generations.contains_key(number));
        if let Some(number) = number {
            self.makers.entry(number).or_insert_with(|| event.clone());
        }
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
        }
    }

    fn generation(&self, number: u64, record: &Record) -> GenerationDocument<'_> {
        let manifest = self.manifests.get(&number).and_then(|manifest| manifest.as_ref().ok());
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
            loaded_at_boot: self.state.confirmed == Some(number),
            confirmed: record.confirmed,
            undone: record.rolled_back,
            applied: record.applied,
            before: record.before,
            event: maker.map(|event| event.number),
            changes: facts.map(|facts| ChangesDocument::from(&facts.changes)).unwrap_or_default(),
            folder: self.store.generation(number),
        }
    }
}

/// The events from the latest to the first: those that wait in the state, then those of the file.
fn latest_events(store: &Store, state: &State) -> impl Iterator<Item = Event> {
    let log = store.events();
    let file = log.backwards();
    if let Err(error) = &file {
        render::warning(&format!("cannot read `{}`: {error}", log.path().display()));
    }
    let last = log.last().unwrap_or(0);
    let waiting = state.events.iter().rev().filter(move |event| event.number > last).cloned();
    waiting.chain(file.into_iter().flatten().map_while(Result::ok))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let time = |text: &str| parse_since(text).map(|since| since.time().to_string());
        assert_eq!(time("2026-11-24").unwrap(), "2026-11-24T00:00:00Z");
        assert_eq!(time("2026-11-24T08:00:00+02:00").unwrap(), "2026-11-24T06:00:00Z");
        assert_eq!(parse_since("2h"), Ok(Since::Ago(SignedDuration::from_hours(2))));
        for text in ["", "yesterday", "2", "2026-13-01", "08:00"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
