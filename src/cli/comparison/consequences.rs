//! What a change of the rules allows and denies: for people, for programs, and in one line.

use super::plan::{After, Counts, Plan};
use super::stances::{Stances, compared};
use crate::cli::document::DifferenceDocument;
use crate::cli::hint::Hint;
use crate::net::{Hook, Verdict};
use crate::ruleset::{Difference, Effect, Ruleset, Stance};

/// A plan shows up to so many boxes of a flow.
pub(crate) const MAX_PLAN_BOXES: usize = 10;
/// What a rollback prints before it acts fits on a screen.
const MAX_ROLLBACK_BOXES: usize = 4;
const MAX_ROLLBACK_LINES: usize = 30;

/// What becomes newly allowed and newly denied if one ruleset replaces another.
///
/// Rules in audit mode are compared as if they were enforced. Where the mode changes, what is really allowed or denied by
/// that is part of it: from audit to enforce, all that no flow permits is newly denied. `Ruleset::default()` stands for a
/// host without a table, on either side.
#[derive(Clone, Debug)]
pub(crate) struct Consequences {
    stances: Stances,
    is_gateway: bool,
    counts: Counts,
    /// The flows that are open where an allowlist begins.
    open: Vec<String>,
    /// Those that are allowed, those that are denied, then the others.
    differences: Vec<Difference>,
}

impl Consequences {
    /// What becomes allowed and denied if `after` replaces `before`. This compares all packets, which may take a
    /// second with large sets.
    pub(crate) fn of(before: &Ruleset, after: &Ruleset) -> Self {
        let differences = compared(&[before, after], |_, _| Verdict::Drop);
        let is_gateway = [before, after].iter().any(|ruleset| ruleset.base_chain(Hook::Forward).is_some());
        let stances = Stances::of(before, after);
        Self { stances, is_gateway, counts: Counts::of(before, after), open: stances.open(after), differences }
    }

    /// Whether no packet is treated differently, and the mode is the same.
    pub(crate) fn is_none(&self) -> bool {
        self.differences.is_empty() && self.stances.before == self.stances.after
    }

    /// What is newly allowed, for programs.
    pub(crate) fn newly_allowed(&self) -> Vec<DifferenceDocument> {
        self.documents(Effect::Allowed, self.stances.before)
    }

    /// What is newly denied, for programs.
    pub(crate) fn newly_denied(&self) -> Vec<DifferenceDocument> {
        self.documents(Effect::Denied, self.stances.after)
    }

    /// The packets with an effect; where the denying side is in audit mode, they are accepted anyway.
    fn documents(&self, effect: Effect, denying: Stance) -> Vec<DifferenceDocument> {
        let document = |difference| DifferenceDocument::new(difference, denying == Stance::Audit);
        self.with_effect(effect).map(document).collect()
    }

    pub(super) fn with_effect(&self, effect: Effect) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(move |difference| difference.effect == effect)
    }

    /// The change in one line.
    pub(crate) fn sentence(&self) -> String {
        let sentences = self.changes().sentences();
        match (sentences.is_empty(), self.is_none()) {
            (false, _) => sentences.join("; "),
            (true, true) => "no packet is treated differently".to_owned(),
            (true, false) => "nothing else is allowed or denied than before".to_owned(),
        }
    }

    pub(super) fn stances(&self) -> Stances {
        self.stances
    }

    pub(super) fn open(&self) -> &[String] {
        &self.open
    }

    /// Whether packets of no flow that change in this way are simply all that flows do not permit.
    pub(super) fn is_everything_else(&self, effect: Effect) -> bool {
        self.stances.is_everything_else(effect)
    }

    /// Whether the new rules are in audit mode.
    pub(super) fn is_audit(&self) -> bool {
        self.stances.after == Stance::Audit
    }

    /// What packets without a flow are called.
    pub(super) fn other_packets(&self, effect: Effect) -> &'static str {
        match (self.stances.is_everything_else(effect), self.is_gateway) {
            (true, false) => "all other packets",
            (true, true) => "all other packets that the gateway covers",
            (false, _) => "packets of no flow",
        }
    }

    /// The consequences as text for people, in two parts: at most 200 lines, and the totals.
    pub(crate) fn parts(&self, after: After<'_>, packets: &Hint, flows: Option<&Hint>) -> [String; 2] {
        let plan = Plan {
            stances: self.stances,
            differences: &self.differences,
            counts: self.counts,
            max_boxes: MAX_ROLLBACK_BOXES,
            max_lines: MAX_ROLLBACK_LINES,
            packets,
            flows,
            cause: &|_| String::new(),
            origin: &|_| String::new(),
        };
        let [body, totals] = plan.parts(after);
        [if self.is_none() { "no packet is treated differently\n".to_owned() } else { body }, totals]
    }
}
