//! What needs attention.

use std::path::Path;

use super::Status;
use super::kept::{Kept, KeptPolicy};
use crate::cli::change;
use crate::cli::disk::Part;
use crate::cli::document::{AttentionDocument, StatusCheck, TableState};
use crate::cli::hint::{self, Hint};
use crate::diag::shown;
use crate::host::rollout::{chain, has_expired, named};
use crate::host::streams;
use crate::report::duration;
use crate::ruleset::TABLE;
use crate::wording::count;

/// What needs attention, the most urgent first.
pub(super) fn of(status: &Status, kept: &Kept, remedy: &str) -> Vec<AttentionDocument> {
    let mut found = Vec::new();
    found.extend(status.records_damage.iter().map(|damage| AttentionDocument {
        check: StatusCheck::Records,
        message: format!("{damage}. The next command that changes something writes it again"),
    }));
    let insecure = status.insecure.iter().cloned();
    found.extend(insecure.map(|message| AttentionDocument { check: StatusCheck::Records, message }));
    found.extend(table(status));
    found.extend(generation(status, kept, remedy));
    found.extend(way_back(status));
    found.extend(records(status));
    if let Some(kept) = kept.policy() {
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
        TableState::Unknown => {
            format!(
                "whether the table `inet {TABLE}` is that of {current} is not known: its ruleset is missing or damaged"
            )
        }
        TableState::Changed if status.current.is_none() => format!(
            "`{}` has no record of the table `inet {TABLE}`: it was applied with another `--state-dir`, the record was \
             lost, or another program made it; `{}` puts the rules of a policy in its place",
            shown(&status.folder),
            hint::command("apply").word("--resolve").word("POLICY").option("confirm-within", "2m")
        ),
        TableState::Changed if status.records_damage.is_some() => format!(
            "the table `inet {TABLE}` is not that of {current}, which is in force by what is left of the records; `{}` \
             shows the difference",
            diff(status)
        ),
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

/// What is missing or damaged of the generation in force.
fn generation(status: &Status, kept: &Kept, remedy: &str) -> Option<AttentionDocument> {
    let mut what = status.damage.clone();
    if let Kept::NotKnown(why) = kept {
        what.extend(why.clone());
        what.push("the age of its addresses is not known".to_owned());
    }
    let message = format!("{}; {remedy}", what.join("; "));
    (!what.is_empty()).then_some(AttentionDocument { check: StatusCheck::Generation, message })
}

/// That undoing the pending change does not lead to what was in force before it.
fn way_back(status: &Status) -> Option<AttentionDocument> {
    let damage: Vec<String> = status.way_back.damage.iter().map(|error| chain(error)).collect();
    let instead = match status.way_back.number() {
        None => "the table goes and every packet is accepted".to_owned(),
        number => format!("{} comes back", named(number)),
    };
    let message = format!("{}; {instead} if the pending change is not confirmed", damage.join("; "));
    (!damage.is_empty()).then_some(AttentionDocument { check: StatusCheck::Generation, message })
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
    let at_boot = status.boot.number();
    if is_settled && state.current.is_some() && state.current != at_boot {
        let is_damaged = state.current == state.confirmed;
        let message = format!(
            "boot loads {}, and not {}, which is in force{}; apply the policy again",
            named(at_boot),
            named(state.current),
            if is_damaged { " but damaged" } else { "" },
        );
        add(StatusCheck::Boot, message);
    }
    found
}

fn stale(kept: &KeptPolicy, policy: &Path) -> Option<AttentionDocument> {
    let old = kept.names.iter().filter(|name| name.seen.is_some_and(|(_, age)| age > kept.limits.aging)).count();
    if let (Some(doubt), 0) = (&kept.doubt, old) {
        let message = format!(
            "the addresses of {} may be as old as `resolve.max-stale` ({}): no answer had them since this host booted, and \
             its clock, which shows {}, is not believed until it has run evenly for an hour; `{}` asks DNS",
            count(doubt.names, "name"),
            duration(kept.limits.stale),
            doubt.shows,
            hint::command("refresh").policy(policy),
        );
        return Some(AttentionDocument { check: StatusCheck::Stale, message });
    }
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
