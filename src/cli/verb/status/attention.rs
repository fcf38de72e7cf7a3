//! What needs attention.

use std::path::Path;

use super::Status;
use super::kept::Kept;
use crate::cli::change;
use crate::cli::disk::Part;
use crate::cli::document::{AttentionDocument, StatusCheck, TableState};
use crate::cli::hint::{self, Hint};
use crate::host::rollout::{has_expired, named};
use crate::host::streams;
use crate::report::duration;
use crate::ruleset::TABLE;
use crate::wording::count;

/// What needs attention, the most urgent first.
pub(super) fn of(status: &Status, kept: Option<&Kept>) -> Vec<AttentionDocument> {
    let mut found = Vec::new();
    found.extend(status.damage.iter().map(|damage| AttentionDocument {
        check: StatusCheck::Records,
        message: format!("{damage}. The next command that changes something writes it again"),
    }));
    found.extend(table(status));
    found.extend(records(status));
    if let Some(kept) = kept {
        found.extend(stale(kept, policy(status)));
        found.extend(kept.differing.iter().filter_map(|differing| {
            let check = match differing.part {
                Part::Policy => StatusCheck::Policy,
                Part::Catalog => StatusCheck::Catalog,
                Part::List => StatusCheck::List,
                Part::Target => return None,
            };
            let mut message = format!("{} is not the one in force; `{}` applies it", differing.name, kept.apply);
            // After a rollback the file has the policy that was left.
            if let Some(restore) = kept.restore.as_ref().filter(|_| check == StatusCheck::Policy) {
                message.push_str(&format!(", `{restore}` restores the one in force"));
            }
            Some(AttentionDocument { check, message })
        }));
    }
    found
}

/// The policy that was applied, for commands; a placeholder where it was not read from a file.
fn policy(status: &Status) -> &Path {
    let facts = status.manifest.as_ref().and_then(|manifest| manifest.policy.as_ref());
    facts.map(|facts| &*facts.path).filter(|path| !streams::is_stream(path)).unwrap_or(Path::new("POLICY"))
}

/// The command that compares the kernel with what was applied, as it was then.
fn diff(status: &Status) -> Hint {
    let has_policy = status.manifest.as_ref().is_some_and(|manifest| manifest.policy.is_some());
    let diff = match status.current.filter(|_| has_policy) {
        Some(number) => hint::command("diff").word(number),
        None => hint::command("diff").policy(policy(status)),
    };
    // What was found by reading all elements is only found again by reading them all.
    if status.deep { diff.word("--deep") } else { diff }
}

fn table(status: &Status) -> Option<AttentionDocument> {
    let current = named(status.current);
    let message = match status.table {
        TableState::AsApplied => return None,
        TableState::Absent => {
            let message = format!(
                "no table `inet {TABLE}`: every packet is accepted. `{}` brings the rules of a policy into force",
                hint::command("apply").word("--resolve").word("POLICY").option("confirm-within", "2m")
            );
            return Some(AttentionDocument { check: StatusCheck::NoRules, message });
        }
        TableState::Gone => format!(
            "the table `inet {TABLE}` is gone: every packet is accepted. {current} was applied last; `{}` loads the \
             generation that was confirmed last",
            hint::command("boot")
        ),
        TableState::Changed if status.current.is_none() => {
            format!("the table `inet {TABLE}` was not applied by edgeward")
        }
        TableState::Changed => format!(
            "another program has changed the table `inet {TABLE}` since {current} was applied; `{}` shows the difference",
            diff(status)
        ),
        TableState::Unreadable => format!(
            "the table `inet {TABLE}` contains something that edgeward did not write; `{}` shows the line",
            diff(status)
        ),
    };
    Some(AttentionDocument { check: StatusCheck::Table, message })
}

/// Changes that were not brought to an end, or were undone.
fn records(status: &Status) -> Vec<AttentionDocument> {
    let state = &status.state;
    let mut found = Vec::new();
    let mut add = |check, message| found.push(AttentionDocument { check, message });
    if let Some(pending) = state.pending.as_ref().filter(|pending| has_expired(pending)) {
        let pending = named(Some(pending.generation));
        add(
            StatusCheck::PendingOverdue,
            format!("{pending} is pending, and its deadline has expired; the next command undoes it"),
        );
    }
    if let Some(switching) = state.switching.as_ref().filter(|_| !status.is_under_way) {
        let message = format!("a change to {} was interrupted; the next command recovers", named(switching.to));
        add(StatusCheck::Interrupted, message);
    }
    if let Some(message) = status.undelivered.clone() {
        add(StatusCheck::Events, message);
    }
    if let Some(undone) = state.undone {
        add(StatusCheck::Undone, change::undone_sentence(state, undone));
    }
    let is_settled = state.pending.is_none() && state.switching.is_none();
    if is_settled && state.current.is_some() && state.current != state.confirmed {
        let message = format!(
            "boot loads {}, and not {}, which is in force; apply the policy again",
            named(state.confirmed),
            named(state.current)
        );
        add(StatusCheck::Boot, message);
    }
    found
}

fn stale(kept: &Kept, policy: &Path) -> Option<AttentionDocument> {
    let old = kept.names.iter().filter(|name| name.seen.is_some_and(|(_, age)| age > kept.limits.aging)).count();
    let (oldest, age) = kept.oldest().filter(|_| old > 0)?;
    let than = if age > kept.limits.stale { "older than" } else { "nearly as old as" };
    let message = format!(
        "the addresses of {} are {than} `resolve.max-stale` ({}): those of {} were seen {} ago; `{}` asks \
         DNS",
        count(old, "name"),
        duration(kept.limits.stale),
        oldest.name,
        duration(age),
        hint::command("refresh").policy(policy),
    );
    Some(AttentionDocument { check: StatusCheck::Stale, message })
}
