//! What a change of the rules allows and denies: for people, for programs, and in one line.

use std::collections::BTreeSet;

use super::plan::{After, Counts, Plan};
use super::stances::{Stances, compared};
use crate::cli::document::DifferenceDocument;
use crate::net::{Hook, Verdict};
use crate::ruleset::{Difference, Effect, Ruleset, Stance};

/// A plan shows up to so many boxes of a flow.
pub(crate) const MAX_PLAN_BOXES: usize = 10;
/// A summary names up to so many flows of each kind.
const MAX_FLOWS: usize = 20;

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
    /// Those that are allowed, then those that are denied.
    differences: Vec<Difference>,
}

/// The consequences in few words, for events and for results of one line. Every list is bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// What is newly allowed: ids of flows, `all other packets`, `packets of no flow`; at the end `N more`.
    pub(crate) allowed: Vec<String>,
    /// What is newly denied, likewise.
    pub(crate) denied: Vec<String>,
    /// Whether the new rules are in audit mode: what is denied is only logged.
    pub(crate) is_audit: bool,
}

impl Consequences {
    /// What becomes allowed and denied if `after` replaces `before`. This compares all packets, which may take a
    /// second with large sets.
    pub(crate) fn of(before: &Ruleset, after: &Ruleset) -> Self {
        let mut differences = compared(&[before, after], |_, _| Verdict::Drop);
        differences.retain(|difference| matches!(difference.effect, Effect::Allowed | Effect::Denied));
        let is_gateway = [before, after].iter().any(|ruleset| ruleset.base_chain(Hook::Forward).is_some());
        Self { stances: Stances::of(before, after), is_gateway, counts: Counts::of(before, after), differences }
    }

    /// Whether nothing is newly allowed or denied, and the mode is the same.
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

    /// The consequences in few words.
    pub(crate) fn summary(&self) -> Summary {
        Summary { allowed: self.words(Effect::Allowed), denied: self.words(Effect::Denied), is_audit: self.is_audit() }
    }

    /// What has an effect: flows by their ids, then what no flow permits.
    fn words(&self, effect: Effect) -> Vec<String> {
        let flows: BTreeSet<&str> =
            self.with_effect(effect).filter_map(|difference| difference.flow.as_deref()).collect();
        let mut words: Vec<String> = flows.iter().take(MAX_FLOWS).map(|flow| (*flow).to_owned()).collect();
        if let Some(more) = flows.len().checked_sub(MAX_FLOWS).filter(|more| *more > 0) {
            words.push(format!("{more} more"));
        }
        if self.with_effect(effect).any(|difference| difference.flow.is_none()) {
            words.push(self.other_packets(effect).to_owned());
        }
        words
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
    pub(crate) fn parts(&self, after: After<'_>) -> [String; 2] {
        let plan = Plan {
            stances: self.stances,
            differences: &self.differences,
            counts: self.counts,
            max_boxes: MAX_PLAN_BOXES,
            cause: &|_| String::new(),
            origin: &|_| String::new(),
        };
        let [body, totals] = plan.parts(after);
        [if self.is_none() { "no packet is treated differently\n".to_owned() } else { body }, totals]
    }
}

impl Summary {
    /// The summary as one line: `newly allowed: ssh; newly denied: all other packets`.
    pub(crate) fn sentence(&self) -> String {
        let parts = [("newly allowed", &self.allowed), ("newly denied", &self.denied)];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(_, words)| !words.is_empty())
            .map(|(title, words)| format!("{title}: {}", words.join(", ")))
            .collect();
        match (parts.is_empty(), self.is_audit) {
            (true, _) => "no packet is treated differently".to_owned(),
            (false, false) => parts.join("; "),
            (false, true) => format!("mode is audit, nothing is denied; if enforced, {}", parts.join("; ")),
        }
    }
}
