//! `edgeward history`.

use std::collections::BTreeMap;

use crate::cli::context::{ListFormat, StateArguments};
use crate::cli::document::{EventDocument, GenerationDocument, HistoryDocument, PolicyDocument};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::host::generations::{Event, Manifest, Record, State, Store};
use crate::report::DocumentVersion;

/// List the generations that are kept
///
/// A generation is a ruleset that was applied, with its policy and lockfile. The list says which one is in force, which
/// one is pending, and which one boot loads, and ends with the latest events.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward history
  edgeward history --format json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// The text shows up to so many events; JSON has all that are kept.
const MAX_SHOWN_EVENTS: usize = 20;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = arguments.state.read();
    let state = store.state()?;
    render::output(&match arguments.format {
        ListFormat::Text => text(&store, &state),
        ListFormat::Json => render::document(&document(&store, &state, &manifests(&store, &state)))?,
    })
}

/// What a generation is at present.
fn roles(state: &State, number: u64, record: &Record) -> Vec<String> {
    let mut roles = Vec::new();
    if state.current == Some(number) {
        roles.push("in force".to_owned());
    }
    if state.pending.as_ref().is_some_and(|pending| pending.generation == number) {
        roles.push("pending".to_owned());
    }
    if state.confirmed == Some(number) {
        roles.push("loaded at boot".to_owned());
    }
    roles.extend(record.rolled_back.map(|at| format!("undone {at}")));
    roles
}

fn text(store: &Store, state: &State) -> String {
    if state.generations.is_empty() {
        return format!("`{}` has no generations: nothing was applied yet\n", store.folder().display());
    }
    let mut lines = Vec::new();
    for (number, record) in state.generations.iter().rev() {
        let row = match store.manifest(*number) {
            Ok(manifest) => {
                let policy = manifest.policy.as_ref().map_or_else(String::new, |policy| {
                    format!("  `{}` ({}, {})", policy.name, render::policy_place(policy), policy.mode)
                });
                format!("{}  {:<7}  by {}{policy}", manifest.made, record.made_by.name(), manifest.by)
            }
            Err(error) => format!("{error}"),
        };
        let roles = roles(state, *number, record).join(", ");
        lines.push(format!("{number:>6}  {row}{}{}", if roles.is_empty() { "" } else { "  " }, render::bold(&roles)));
    }
    lines.push(String::new());
    let recent = state.events.len().saturating_sub(MAX_SHOWN_EVENTS);
    lines.extend(state.events[recent..].iter().map(|event| format!("{}  {}  ({})", event.at, event.what, event.by)));
    lines.join("\n") + "\n"
}

fn document<'a>(store: &Store, state: &State, manifests: &'a BTreeMap<u64, Manifest>) -> HistoryDocument<'a> {
    let generation = |(number, record): (&u64, &Record)| {
        let manifest = manifests.get(number);
        GenerationDocument {
            generation: *number,
            made: manifest.map(|manifest| manifest.made),
            by: manifest.map(|manifest| manifest.by.to_string()),
            made_by: record.made_by.name(),
            policy: manifest.and_then(|manifest| manifest.policy.as_ref()).map(PolicyDocument::from),
            in_force: state.current == Some(*number),
            pending: state.pending.as_ref().is_some_and(|pending| pending.generation == *number),
            loaded_at_boot: state.confirmed == Some(*number),
            confirmed: record.confirmed,
            undone: record.rolled_back,
            folder: store.generation(*number),
        }
    };
    let event = |event: &Event| EventDocument { at: event.at, by: event.by.to_string(), what: event.what.clone() };
    HistoryDocument {
        version: DocumentVersion,
        generations: state.generations.iter().map(generation).collect(),
        events: state.events.iter().map(event).collect(),
    }
}

/// The manifests that are not damaged.
fn manifests(store: &Store, state: &State) -> BTreeMap<u64, Manifest> {
    let numbers = state.generations.keys();
    numbers.filter_map(|number| Some((*number, store.manifest(*number).ok()?))).collect()
}
