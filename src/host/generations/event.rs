//! Events in the life of the rules: the lines of `events.jsonl`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::standing::Standing;
use crate::host::operator::Operator;

/// An event. The state has those that may not be in the file yet, without what the files of generations say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// Its number, from 1. Numbers are never reused.
    #[serde(default)]
    pub number: u64,
    /// When, by the clock of that time.
    pub at: Timestamp,
    /// What kind of event it is.
    #[serde(default)]
    pub event: EventKind,
    /// What happened, as a sentence.
    pub what: String,
    /// Why a change was undone.
    #[serde(default)]
    pub why: Option<Why>,
    /// Who did it.
    pub by: Operator,
    /// What the user wrote about it.
    #[serde(default)]
    pub message: Option<String>,
    /// The generation that it is about.
    #[serde(default)]
    pub generation: Option<u64>,
    /// What was in force before; `None` for no table.
    #[serde(default)]
    pub from: Option<u64>,
    /// What has been in force since; `None` for no table.
    #[serde(default)]
    pub to: Option<u64>,
    /// The time until which the change has to be confirmed.
    #[serde(default)]
    pub deadline: Option<Timestamp>,
    /// Whether the user forced it.
    #[serde(default)]
    pub forced: bool,
    /// The checks that refused it, and were overridden.
    #[serde(default)]
    pub overridden: Vec<Overridden>,
    /// What the state says after it; `None` in events of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Standing>,
    /// What the files of the generations say. `None` where they have not been read yet, and in events of earlier versions.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub facts: Option<EventFacts>,
}

/// What an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A user applied a policy.
    Apply,
    /// DNS answered differently.
    Refresh,
    /// A change was confirmed.
    Confirm,
    /// A user went back to an older generation.
    Rollback,
    /// A pending change was undone.
    Undo,
    /// A pending change got a new deadline.
    Extend,
    /// The host booted, and the confirmed rules were loaded.
    Boot,
    /// The rules were removed from the kernel.
    Remove,
    /// The kernel had rules that are not those of the generation in force, or of which there was no record.
    Found,
    /// The table was gone.
    Lost,
    /// A change was interrupted.
    Interrupted,
    /// What this version does not know.
    #[default]
    #[serde(other)]
    Other,
}

impl EventKind {
    /// The word that files and messages use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Refresh => "refresh",
            Self::Confirm => "confirm",
            Self::Rollback => "rollback",
            Self::Undo => "undo",
            Self::Extend => "extend",
            Self::Boot => "boot",
            Self::Remove => "remove",
            Self::Found => "found",
            Self::Lost => "lost",
            Self::Interrupted => "interrupted",
            Self::Other => "other",
        }
    }

    /// The kind of an event of version 1 or 2, by its sentence.
    fn of_sentence(what: &str) -> Self {
        let starts = [("apply: ", Self::Apply), ("refresh: ", Self::Refresh)];
        let ends = [(" is confirmed", Self::Confirm), (" has a new deadline", Self::Extend)];
        let contents = [
            ("the kernel had other rules", Self::Found),
            ("the kernel has lost its table", Self::Lost),
            (" was interrupted ", Self::Interrupted),
        ];
        let start = starts.iter().find(|(start, _)| what.starts_with(start));
        let found = start.or_else(|| ends.iter().find(|(end, _)| what.ends_with(end)));
        let found = found.or_else(|| contents.iter().find(|(content, _)| what.contains(content)));
        match found {
            Some((_, kind)) => *kind,
            None if what.starts_with("rollback from ") && what.contains(": ") => Self::Undo,
            None if what.starts_with("rollback from ") => Self::Rollback,
            None => Self::Other,
        }
    }
}

/// Why a pending change is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Its deadline has passed.
    NotInTime,
    /// The host rebooted.
    Reboot,
    /// A user undid it.
    ByHand,
    /// `edgeward boot` ran on a running host.
    Boot,
    /// The package is removed.
    Removal,
    /// What this version does not know.
    #[serde(other)]
    Other,
}

impl Why {
    /// The word that files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotInTime => "not-in-time",
            Self::Reboot => "reboot",
            Self::ByHand => "by-hand",
            Self::Boot => "boot",
            Self::Removal => "removal",
            Self::Other => "other",
        }
    }

    /// The reason as messages give it.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotInTime => "it was not confirmed in time",
            Self::Reboot => "the host rebooted before it was confirmed",
            Self::ByHand => "by hand",
            Self::Boot => "boot loads what is confirmed",
            Self::Removal => "the package is being removed",
            Self::Other => "the reason is not known",
        }
    }
}

/// A check that refused a change, and was overridden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overridden {
    /// The word of the check.
    pub check: String,
    /// What it found.
    pub message: String,
}

/// What a user says about a change, and what the change overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// What the user wrote.
    pub message: Option<String>,
    /// Whether the change is forced.
    pub forced: bool,
    /// The checks that are overridden.
    pub overridden: Vec<Overridden>,
}

/// What the files of the generations say about an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EventFacts {
    /// The policy in force since; `None` where there is none.
    pub policy: Option<EventPolicy>,
    /// The packets that were treated differently since.
    #[serde(flatten)]
    pub changes: Changes,
}

/// The policy of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPolicy {
    /// Its name.
    pub name: String,
    /// SHA-256 of its text.
    pub sha256: Option<String>,
    /// The digest of the catalog.
    pub catalog: String,
}

impl Event {
    /// An event of version 1 or 2 as one of version 3.
    pub(super) fn taken_over(self, number: u64) -> Self {
        Self { number, event: EventKind::of_sentence(&self.what), ..self }
    }

    /// Whether rules came into force, or went.
    pub fn changes_rules(&self) -> bool {
        !matches!(self.event, EventKind::Confirm | EventKind::Extend | EventKind::Interrupted)
    }

    /// The event as a sentence, with who did it and what it changed.
    pub fn sentence(&self) -> String {
        let mut text = format!("{}, by {}", self.what, self.by);
        if let Some(deadline) = self.deadline {
            text += &format!("; to be confirmed until {deadline}");
        }
        if self.forced {
            text += "; forced";
        }
        let changes = self.facts.iter().flat_map(|facts| facts.changes.sentences());
        text.extend(changes.map(|sentence| format!("; {sentence}")));
        if let Some(message) = &self.message {
            text += &format!("; message: {message}");
        }
        text
    }
}

/// A generation as messages call it.
pub fn named(number: Option<u64>) -> String {
    number.map_or_else(|| "no table".to_owned(), |number| format!("generation {number}"))
}

/// The sentence of a change from one generation to another.
pub(super) fn from_to(what: &str, from: Option<u64>, to: Option<u64>) -> String {
    format!("{what} from {} to {}", named(from), named(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_earlier_versions_get_their_kind() {
        let kind = EventKind::of_sentence;
        assert_eq!(kind("apply: generation 3"), EventKind::Apply);
        assert_eq!(kind("refresh: generation 3"), EventKind::Refresh);
        assert_eq!(kind("generation 3 is confirmed"), EventKind::Confirm);
        assert_eq!(kind("generation 3 has a new deadline"), EventKind::Extend);
        assert_eq!(kind("rollback from generation 3 to no table"), EventKind::Rollback);
        assert_eq!(kind("rollback from generation 3 to generation 2: by hand"), EventKind::Undo);
        assert_eq!(
            kind("the kernel had other rules than generation 3; they are kept as generation 4"),
            EventKind::Found
        );
        assert_eq!(kind("the kernel has lost its table, which held generation 3"), EventKind::Lost);
        assert_eq!(kind("a change to generation 3 was interrupted after it took effect"), EventKind::Interrupted);
        assert_eq!(kind("?"), EventKind::Other);
    }

    #[test]
    fn an_event_is_read_as_it_was_written_and_a_newer_one_as_far_as_it_is_known() {
        let event = Event {
            number: 3,
            event: EventKind::Undo,
            why: Some(Why::NotInTime),
            facts: Some(EventFacts { policy: None, changes: Changes::none() }),
            ..Event::default()
        };
        let text = serde_json::to_string(&event).unwrap();
        assert!(text.contains(r#""why":"not-in-time""#) && text.contains(r#""newly-denied":[]"#), "{text}");
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        let newer =
            r#"{"number":4,"at":"2026-01-01T00:00:00Z","event":"moon","what":"x","why":"y","by":{"user":"a","b":1}}"#;
        let newer: Event = serde_json::from_str(newer).unwrap();
        assert_eq!((newer.event, newer.why, newer.facts), (EventKind::Other, Some(Why::Other), None));
        // As version 2 has it.
        let old: Event =
            serde_json::from_str(r#"{"at":"2026-01-01T00:00:00Z","by":"a","what":"apply: generation 1"}"#).unwrap();
        assert_eq!((old.number, old.taken_over(7).number), (0, 7));
    }
}
