//! The state as it is stored, with a checksum; and as far as it is known where the file is missing or damaged.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use serde::Serialize;
use serde_json::Value;

use super::retention::MAX_NUMBER;
use super::{Event, MadeBy, Record, State, StateVersion, Store, StoreError, io_error, rules_digest};
use crate::diag::shown;
use crate::emit;
use crate::host::files::{self, ReadError};

/// The key of the checksum. It covers all other keys and does not depend on the version, so that a newer version's state
/// is distinguished from a damaged one. A file without it, as earlier versions and people write it, is taken as it is.
const CHECKSUM: &str = "checksum";

/// A state with its checksum.
#[derive(Serialize)]
struct Sealed<'a> {
    #[serde(flatten)]
    state: &'a State,
    checksum: String,
}

/// Why a text is not a state of this version.
enum Unfit {
    Newer(String),
    Damaged(String),
}

/// The text of a state.
pub(super) fn text(state: &State) -> Result<String, serde_json::Error> {
    let checksum = checksum(&serde_json::to_value(state)?);
    Ok(serde_json::to_string_pretty(&Sealed { state, checksum })? + "\n")
}

fn checksum(state: &Value) -> String {
    let mut text = String::new();
    write_sorted(state, &mut text);
    emit::sha256(&text)
}

/// The order of the keys does not matter.
fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(keys) => {
            let sorted: BTreeMap<&String, &Value> = keys.iter().collect();
            for (key, value) in sorted {
                text.push_str(&format!("{{{key:?}:"));
                write_sorted(value, text);
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for value in values {
                write_sorted(value, text);
                text.push(',');
            }
            text.push(']');
        }
        value => text.push_str(&value.to_string()),
    }
}

fn parsed(text: &str) -> Result<State, Unfit> {
    let damaged = |error: serde_json::Error| Unfit::Damaged(error.to_string());
    let mut value: Value = serde_json::from_str(text).map_err(damaged)?;
    if let Some(sum) = value.as_object_mut().and_then(|keys| keys.remove(CHECKSUM))
        && sum != checksum(&value)
    {
        return Err(Unfit::Damaged("its checksum does not match".to_owned()));
    }
    if let Some(number) = value["version"].as_u64().filter(|number| *number > StateVersion::NEWEST) {
        return Err(Unfit::Newer(format!("version {number} is not known: a newer edgeward wrote it")));
    }
    let state: State = serde_json::from_value(value).map_err(damaged)?;
    state.checked().map_err(Unfit::Damaged)
}

impl Store {
    /// Reads the state. Where its file is missing or damaged, [`Store::damage`] says so afterwards, and the state is what a
    /// watcher holds in memory or what the events and the generations tell.
    pub(super) fn stored_state(&self) -> Result<State, StoreError> {
        self.check_folders()?;
        let path = self.state_file();
        let damage = match files::read_if_there(&path) {
            Ok(None) => format!("`{}` is missing", shown(&path)),
            Ok(Some(source)) => match parsed(source.text()) {
                Ok(state) => {
                    self.damage.take();
                    return Ok(match state.version {
                        StateVersion::One | StateVersion::Two => state.taken_over(|number| self.manifest(number).ok()),
                        StateVersion::Three => State { version: StateVersion::Four, ..state },
                        StateVersion::Four => state,
                    });
                }
                Err(Unfit::Newer(why)) => return Err(StoreError::Newer { path, why, folder: self.folder.clone() }),
                Err(Unfit::Damaged(why)) => format!("`{}` is damaged: {why}", shown(&path)),
            },
            Err(ReadError::Io(path, error))
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotADirectory) =>
            {
                return Err(ReadError::Io(path, error).into());
            }
            // A folder or bytes in its place, or a disk that cannot read it.
            Err(error) => format!("`{}` is damaged: {error}", shown(&path)),
        };
        let source = "what is in force, confirmed and pending is taken from `events.jsonl` and the generations";
        let damage = format!("{damage}; {source}");
        let held = self.held.borrow().as_ref().and_then(|held| held.as_of(self.events().last().unwrap_or(0)));
        if let Some(state) = held {
            self.damage.replace(Some(damage));
            return Ok(state);
        }
        let recovered = self.recovered()?;
        let was_never_used = recovered == State::default() && !path.exists();
        self.damage.replace(Some(damage).filter(|_| !was_never_used));
        Ok(recovered)
    }

    /// What is wrong with the file of the state, as of its last reading; `None` if it is whole.
    pub fn damage(&self) -> Option<String> {
        self.damage.borrow().clone()
    }

    /// The state as the events tell it, with the generations whose folders are there, whole or not. What no event confirms
    /// is not confirmed.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn recovered(&self) -> Result<State, StoreError> {
        let mut generations = BTreeMap::new();
        let mut last = 0;
        let around = self.generations();
        for name in files::names_in(&around).map_err(io_error("read", &around))? {
            let Some(number) = name.parse::<u64>().ok().filter(|number| *number <= MAX_NUMBER) else { continue };
            // Numbers are never reused, even where the files are damaged.
            last = last.max(number);
            // Without its ruleset it can be shown, but not loaded.
            let rules = self.ruleset(number).map(|ruleset| rules_digest(&ruleset)).unwrap_or_default();
            generations.insert(
                number,
                match self.manifest(number) {
                    Ok(manifest) => Record::of(&manifest, rules),
                    // What it was made from is not known. That it was applied is the cautious assumption: a refresh goes past
                    // rules that were found.
                    Err(_) => Record { made_by: MadeBy::Apply, ..Record::found(rules) },
                },
            );
        }
        let mut state = State { generations, ..State::default() };
        // A rollback needs to know which generations belong together, and the events which of them were undone.
        state.add_inputs(|number| self.manifest(number).ok());
        let oldest = state.generations.keys().next().copied();
        let mut state = State::of_events(state.generations, self.events_since(oldest).into_iter().rev());
        state.add_inputs(|number| self.manifest(number).ok());
        state.last = state.last.max(last);
        Ok(state)
    }

    /// The events that say something of a generation or of later ones, and at least one, the latest first: of each what
    /// [`State::of_events`] needs, because a host that has run for years has many.
    fn events_since(&self, oldest: Option<u64>) -> Vec<Event> {
        let Ok(events) = self.events().backwards() else { return Vec::new() };
        let mut found = Vec::new();
        // Where the file cannot be read further, no more is known.
        for event in events.map_while(Result::ok) {
            let is_before = event.left.as_ref().is_none_or(|left| oldest.is_none_or(|oldest| left.last < oldest));
            // What it opened and closed is most of it.
            let Event { number, at, event, from, to, left, .. } = event;
            found.push(Event { number, at, event, from, to, left, ..Event::default() });
            if is_before {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written_and_every_other_bit_is_noticed() {
        let state = State { last: 23, armed: 4, confirmed: Some(2), ..State::default() };
        let text = text(&state).unwrap();
        assert!(parsed(&text).is_ok_and(|read| read == state));
        for (at, bit) in (0..text.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            // Spaces between words may become other spaces.
            let read = parsed(&flipped);
            assert!(matches!(&read, Err(Unfit::Damaged(_))) || read.is_ok_and(|read| read == state), "{flipped}");
        }
    }

    #[test]
    fn a_state_without_a_checksum_is_taken_as_it_is_and_a_newer_one_is_known() {
        let mut value = serde_json::to_value(State::default()).unwrap();
        assert!(parsed(&value.to_string()).is_ok());
        value["version"] = 99.into();
        assert!(matches!(parsed(&value.to_string()), Err(Unfit::Newer(_))));
        value[CHECKSUM] = checksum(&value).into();
        assert!(matches!(parsed(&value.to_string()), Err(Unfit::Newer(_))));
        value["version"] = 98.into();
        assert!(matches!(parsed(&value.to_string()), Err(Unfit::Damaged(_))));
    }
}
