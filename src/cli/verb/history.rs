//! `edgeward history`.

use serde_json::{Value, json};

use crate::cli::context::{ListFormat, StateArguments};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::host::generations::{Event, Record, State, Store};

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
        ListFormat::Json => render::document(&document(&store, &state))?,
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

fn document(store: &Store, state: &State) -> Value {
    let generation = |(number, record): (&u64, &Record)| {
        let manifest = store.manifest(*number).ok();
        let policy = manifest.as_ref().and_then(|manifest| manifest.policy.as_ref());
        json!({
            "generation": number,
            "made": manifest.as_ref().map(|manifest| manifest.made.to_string()),
            "by": manifest.as_ref().map(|manifest| &manifest.by),
            "made-by": record.made_by,
            "policy": policy.map(render::policy_json),
            "in-force": state.current == Some(*number),
            "pending": state.pending.as_ref().is_some_and(|pending| pending.generation == *number),
            "loaded-at-boot": state.confirmed == Some(*number),
            "confirmed": record.confirmed.map(|at| at.to_string()),
            "undone": record.rolled_back.map(|at| at.to_string()),
            "folder": store.generation(*number),
        })
    };
    let event = |event: &Event| json!({"at": event.at.to_string(), "by": event.by.to_string(), "what": event.what});
    json!({
        "generations": state.generations.iter().map(generation).collect::<Vec<_>>(),
        "events": state.events.iter().map(event).collect::<Vec<_>>(),
    })
}
