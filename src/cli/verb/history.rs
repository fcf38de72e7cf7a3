//! `edgeward history`.

use serde_json::{Value, json};

use crate::cli::context::{ListFormat, StateArguments};
use crate::cli::failure::Failure;
use crate::cli::{manifest, render};
use crate::host::generations::{Record, State, Store};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// Events that the text shows; JSON has all that are kept.
const SHOWN: usize = 20;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = arguments.state.look();
    let state = store.state()?;
    render::output(&match arguments.format {
        ListFormat::Text => text(&store, &state),
        ListFormat::Json => render::document(&document(&store, &state))?,
    })
}

/// What a generation is now.
fn words(state: &State, number: u64, record: &Record) -> Vec<String> {
    let mut words = Vec::new();
    if state.current == Some(number) {
        words.push("in force".to_owned());
    }
    if state.pending.as_ref().is_some_and(|pending| pending.generation == number) {
        words.push("pending".to_owned());
    }
    if state.confirmed == Some(number) {
        words.push("loaded at boot".to_owned());
    }
    words.extend(record.rolled_back.map(|at| format!("undone {at}")));
    words
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
                    format!("  `{}` ({}, {})", policy.name, policy.path.display(), policy.mode)
                });
                format!("{}  {:<7}  by {}{policy}", manifest.made, record.made_by.name(), manifest.by)
            }
            Err(error) => format!("{error}"),
        };
        let words = words(state, *number, record).join(", ");
        lines.push(format!("{number:>6}  {row}{}{}", if words.is_empty() { "" } else { "  " }, render::bold(&words)));
    }
    lines.push(String::new());
    let recent = state.events.len().saturating_sub(SHOWN);
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
            "policy": policy.map(manifest::summary),
            "in-force": state.current == Some(*number),
            "pending": state.pending.as_ref().is_some_and(|pending| pending.generation == *number),
            "loaded-at-boot": state.confirmed == Some(*number),
            "confirmed": record.confirmed.map(|at| at.to_string()),
            "undone": record.rolled_back.map(|at| at.to_string()),
            "folder": store.generation(*number),
        })
    };
    let event = |event: &crate::host::generations::Event| json!({"at": event.at.to_string(), "by": event.by, "what": event.what});
    json!({
        "generations": state.generations.iter().map(generation).collect::<Vec<_>>(),
        "events": state.events.iter().map(event).collect::<Vec<_>>(),
    })
}
