//! Rulesets compared as if all of them were enforced, and what really happens where the mode changes.

use std::collections::BTreeSet;

use crate::host::generations::ModeChange;
use crate::net::{Hook, Verdict};
use crate::ruleset::{Action, Difference, Effect, Label, Ruleset, Stance, differences};

/// The most flows that are named.
const MAX_OPEN: usize = 20;

/// What happens to packets that no flow permits, before and after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stances {
    /// What the rules before do with them.
    pub(crate) before: Stance,
    /// What the rules after do with them.
    pub(crate) after: Stance,
}

impl Stances {
    pub(super) fn of(before: &Ruleset, after: &Ruleset) -> Self {
        Self { before: before.stance(), after: after.stance() }
    }

    /// Whether either side denies packets; otherwise nothing differs unless it is enforced.
    pub(super) fn are_real(self) -> bool {
        self.before == Stance::Enforce || self.after == Stance::Enforce
    }

    /// Whether every packet is denied from now on but for what flows permit: an allowlist begins.
    pub(crate) fn begins(self) -> bool {
        self.before != Stance::Enforce && self.after == Stance::Enforce
            || self.before == Stance::Open && self.after == Stance::Audit
    }

    /// Whether every packet is accepted from now on: an allowlist ends.
    pub(crate) fn ends(self) -> bool {
        self.before == Stance::Enforce && self.after != Stance::Enforce
            || self.before == Stance::Audit && self.after == Stance::Open
    }

    /// The flows that are open where an allowlist begins, sorted; at the end `and N more`.
    pub(super) fn open(self, after: &Ruleset) -> Vec<String> {
        if !self.begins() {
            return Vec::new();
        }
        let flows: BTreeSet<&str> = after
            .rules()
            .filter(|rule| rule.action == Action::Verdict(Verdict::Accept))
            .filter_map(|rule| match &rule.label {
                Some(Label::Flow(flow)) => Some(flow.as_str()),
                _ => None,
            })
            .collect();
        let mut words: Vec<String> = flows.iter().take(MAX_OPEN).map(|flow| (*flow).to_owned()).collect();
        if let Some(more) = flows.len().checked_sub(MAX_OPEN).filter(|more| *more > 0) {
            words.push(format!("{more} more"));
        }
        words
    }

    /// What begins or ends, for the records.
    pub(super) fn change(self) -> Option<ModeChange> {
        match (self.before, self.after) {
            (Stance::Open | Stance::Audit, Stance::Enforce) => Some(ModeChange::EnforcementStarts),
            (Stance::Enforce, Stance::Open | Stance::Audit) => Some(ModeChange::EnforcementEnds),
            (Stance::Open, Stance::Audit) => Some(ModeChange::AuditStarts),
            (Stance::Audit, Stance::Open) => Some(ModeChange::AuditEnds),
            _ => None,
        }
    }

    /// Whether packets of no flow that change in this way are simply all that flows do not permit.
    pub(super) fn is_everything_else(self, effect: Effect) -> bool {
        match effect {
            Effect::Allowed => self.ends(),
            Effect::Denied => self.begins(),
            _ => false,
        }
    }
}

/// Compares the first with the last of several versions, as [`differences`] does, with those in audit mode as if they
/// were enforced; `denials` gives the verdict of a version (by its index) on what its policy does not permit. Where the
/// mode changes, what is really allowed or denied by that is also there, without a flow:
///
/// | from | to | allowed | denied |
/// |---|---|---|---|
/// | audit | enforce | as if the audit had been enforced | what was accepted |
/// | enforce | audit | all that was denied | as if the audit were enforced |
/// | open | audit | – | as if the audit were enforced |
pub(super) fn compared(versions: &[&Ruleset], denials: impl Fn(usize, Hook) -> Verdict) -> Vec<Difference> {
    let [first, .., last] = versions else { return Vec::new() };
    let real = match (first.stance(), last.stance()) {
        (Stance::Audit, Stance::Enforce) => Some(Effect::Denied),
        (Stance::Enforce, Stance::Audit) => Some(Effect::Allowed),
        _ => None,
    };
    if versions.iter().all(|version| version.stance() != Stance::Audit) {
        return differences(versions);
    }
    let enforced: Vec<Ruleset> = versions
        .iter()
        .enumerate()
        .map(|(index, version)| (*version).clone().enforced(|hook| denials(index, hook)))
        .collect();
    let mut found = differences(&enforced.iter().collect::<Vec<_>>());
    if let Some(real) = real {
        found.retain(|difference| difference.effect != real);
        found.extend(differences(versions).into_iter().filter(|difference| difference.effect == real));
        found.sort_by(|one, other| (one.effect, one.step, &one.flow).cmp(&(other.effect, other.step, &other.flow)));
    }
    found
}
