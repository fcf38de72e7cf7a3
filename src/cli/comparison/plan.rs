//! What a change does, as text for people: what the mode means, what is open, what is newly allowed and denied, and the
//! totals at the end.

use std::collections::BTreeSet;

use super::stances::Stances;
use crate::cli::hint::Hint;
use crate::cli::render;
use crate::intent::{Declared, Intent};
use crate::net::{ChainPolicy, Hook, PrefixSet};
use crate::report::{Length, brief, paragraph};
use crate::resolution::Resolution;
use crate::ruleset::{Base, Chain, Difference, Effect, Ruleset, SetKind, Stance, differences};
use crate::wording::{count, for_number};

/// A plan has up to so many lines before its totals.
pub(super) const MAX_LINES: usize = 180;
/// Up to so many boxes are shown of packets that no flow names.
const MAX_OTHER_BOXES: usize = 4;

/// The rules after a change.
#[derive(Clone, Copy)]
pub(crate) struct After<'a> {
    /// The rules.
    pub(crate) ruleset: &'a Ruleset,
    /// The policy that they are compiled from, with its answers, if it is known.
    pub(crate) policy: Option<(&'a Intent<Declared>, &'a Resolution)>,
}

/// How many addresses come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Addresses of names that are new, and that are gone.
    pub(super) addresses: [usize; 2],
    /// Prefixes of the policy and the catalog, likewise.
    pub(super) prefixes: [usize; 2],
}

impl Counts {
    pub(super) fn of(before: &Ruleset, after: &Ruleset) -> Self {
        let addresses = |ruleset: &Ruleset| {
            let hosts = ruleset.sets.values().filter(|set| set.kind == SetKind::Hosts).map(|set| &set.elements);
            PrefixSet::union_of(hosts.collect::<Vec<_>>().into_iter())
        };
        let (old, new) = (addresses(before), addresses(after));
        // A prefix that one flow has already is new to another.
        let prefixes = |one: &Ruleset, other: &Ruleset| -> usize {
            let sets = one.sets.iter().filter(|(_, set)| set.kind == SetKind::Prefixes);
            let missing = sets.map(|(name, set)| match other.sets.get(name) {
                Some(others) => set.elements.difference(&others.elements).prefixes().count(),
                None => set.elements.prefixes().count(),
            });
            missing.sum()
        };
        Self {
            addresses: [new.difference(&old), old.difference(&new)].map(|set| set.addresses().count()),
            prefixes: [prefixes(after, before), prefixes(before, after)],
        }
    }

    /// `13 addresses come, 2 go`; nothing where none does.
    fn sentences(self) -> Vec<String> {
        let sentence = |thing: &str, [come, go]: [usize; 2]| {
            let coming = format!("{} {}", count(come, thing), for_number(come, "comes", "come"));
            match (come, go) {
                (0, 0) => None,
                (_, 0) => Some(coming),
                (0, _) => Some(format!("{} {}", count(go, thing), for_number(go, "goes", "go"))),
                _ => Some(format!("{coming}, {go} {}", for_number(go, "goes", "go"))),
            }
        };
        let addresses = sentence("address", self.addresses);
        addresses.into_iter().chain(sentence("prefix", self.prefixes)).collect()
    }
}

/// The text of a change.
pub(super) struct Plan<'a> {
    pub(super) stances: Stances,
    /// What is treated differently, with the audited side as if it were enforced.
    pub(super) differences: &'a [Difference],
    pub(super) counts: Counts,
    /// How many boxes of a flow are shown.
    pub(super) max_boxes: usize,
    /// How many lines there are before the totals.
    pub(super) max_lines: usize,
    /// The command that prints all packets.
    pub(super) packets: &'a Hint,
    /// The command that lists all that is open, if there is one.
    pub(super) flows: Option<&'a Hint>,
    /// What follows the title of a difference: its cause.
    pub(super) cause: &'a dyn Fn(&Difference) -> String,
    /// What follows its flow: the origin.
    pub(super) origin: &'a dyn Fn(&Difference) -> String,
}

/// What an allowlist opens that begins.
struct Open {
    /// One line for each conversation.
    rows: Vec<String>,
    /// How much it is.
    total: String,
}

impl Plan<'_> {
    /// The plan in two parts: at most 200 lines, and the totals.
    pub(super) fn parts(&self, after: After<'_>) -> [String; 2] {
        let open = self.stances.begins().then(|| Open::of(after));
        [self.body(after, open.as_ref()), self.totals(open.as_ref())]
    }

    /// Everything but the totals, in lines of at most 100 columns. It never has more than 200 lines: what is left out is
    /// counted.
    fn body(&self, after: After<'_>, open: Option<&Open>) -> String {
        let mut lines = self.statement(after);
        if let Some(open) = open {
            lines.extend(open.rows.iter().cloned());
            let is_cut = open.rows.iter().any(|row| row.ends_with(" more"));
            lines.push(passing(after));
            lines.extend(self.flows.filter(|_| is_cut).map(|flows| format!("`{flows}` lists every address")));
        }
        let mut last = None;
        for difference in self.shown() {
            let head = format!("{}{}", render::bold(self.title(difference.effect)), (self.cause)(difference));
            if last.as_ref() != Some(&head) {
                lines.extend((!lines.is_empty()).then(String::new));
                lines.push(head.clone());
                last = Some(head);
            }
            lines.extend(self.group(difference));
        }
        if let Some(more) = lines.len().checked_sub(self.max_lines).filter(|more| *more > 0) {
            lines.truncate(self.max_lines);
            lines.push(format!("and {}; `{}` has all packets", count(more, "more line"), self.packets));
            let flows = self.flows.filter(|_| open.is_some());
            lines.extend(flows.map(|flows| format!("`{flows}` lists all that is open")));
        }
        lines.iter().map(|line| wrapped(line)).collect()
    }

    /// The differences but for those that a sentence says.
    fn shown(&self) -> impl Iterator<Item = &Difference> {
        let replaced = self.stances.begins() || self.stances.ends();
        self.differences.iter().filter(move |difference| match difference.effect {
            Effect::Allowed | Effect::Denied => {
                difference.flow.is_some() || !self.stances.is_everything_else(difference.effect)
            }
            _ => !replaced,
        })
    }

    /// What holds for all packets from now on.
    fn statement(&self, after: After<'_>) -> Vec<String> {
        let scope = scope(after);
        let lines: &[&str] = match (self.stances.before, self.stances.after) {
            (Stance::Open, Stance::Enforce) => &[&format!("from now on all{scope} is denied but:")],
            (Stance::Audit, Stance::Enforce) => &[
                "mode changes from audit to enforce: what was only logged is denied",
                &format!("from now on all{scope} is denied but:"),
            ],
            (Stance::Open, Stance::Audit) => &[AUDIT, &format!("if it is enforced, all{scope} is denied but:")],
            (Stance::Audit, Stance::Audit) => &[AUDIT],
            (Stance::Enforce, Stance::Audit) => &[
                "from now on every packet is accepted",
                "mode changes from enforce to audit: what was denied is only logged",
            ],
            (Stance::Enforce, Stance::Open) => &["from now on every packet is accepted"],
            (Stance::Audit, Stance::Open) => {
                &["every packet is accepted, as in audit mode; nothing is logged any more"]
            }
            _ => &[],
        };
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    fn title(&self, effect: Effect) -> &'static str {
        match (effect, self.stances.before, self.stances.after) {
            // The other side is what is really in force.
            (Effect::Denied, Stance::Enforce, Stance::Audit) => "newly denied, once it is enforced again",
            (Effect::Allowed, Stance::Audit, Stance::Enforce) => "newly permitted, compared with the audited policy",
            _ => title(effect),
        }
    }

    /// The flow of a difference, its packets, and an example.
    fn group(&self, difference: &Difference) -> Vec<String> {
        let sign = match difference.effect {
            Effect::Allowed => "+",
            Effect::Denied => "-",
            _ => "~",
        };
        let flow = difference.flow.as_deref().unwrap_or("no flow");
        let mut lines = vec![format!("  {flow}{}", (self.origin)(difference))];
        let boxes = difference.with_others.as_ref().unwrap_or(&difference.boxes);
        let count = boxes.len();
        if difference.with_others.is_some() {
            lines[0] += "; other flows permit a part of it, too";
        }
        if difference.flow.is_none() && count > MAX_OTHER_BOXES {
            lines[0] = format!("  everything else, in {count} groups of packets");
        } else {
            lines.extend(boxes.iter().take(self.max_boxes).map(|one| format!("    {sign} {one}")));
            if let Some(more) = count.checked_sub(self.max_boxes).filter(|more| *more > 0) {
                lines.push(format!("    and {more} more; `{}` has all", self.packets));
            }
        }
        lines.push(format!("      such as {}", difference.example));
        lines
    }

    /// The totals, as the last lines: flows and addresses.
    fn totals(&self, open: Option<&Open>) -> String {
        let mut parts: Vec<String> = open.iter().map(|open| open.total.clone()).collect();
        let flows = |effect: Effect| {
            let of_effect = self.shown().filter(|difference| difference.effect == effect);
            of_effect.map(|difference| difference.flow.as_deref()).collect::<BTreeSet<_>>()
        };
        let (allowed, denied) = (flows(Effect::Allowed), flows(Effect::Denied));
        let named = |flows: &BTreeSet<Option<&str>>| flows.iter().flatten().count();
        let counted = |number: usize| (number > 0).then(|| count(number, "flow"));
        match (counted(named(&allowed)), counted(named(&denied))) {
            (Some(allowed), Some(_)) => parts.push(format!("{allowed} newly allowed, {} newly denied", named(&denied))),
            (Some(allowed), None) => parts.push(format!("{allowed} newly allowed")),
            (None, Some(denied)) => parts.push(format!("{denied} newly denied")),
            (None, None) => {}
        }
        for (flows, word) in [(allowed, "allowed"), (denied, "denied")] {
            parts.extend(flows.contains(&None).then(|| format!("packets of no flow newly {word}")));
        }
        let others: BTreeSet<Option<&str>> = self
            .shown()
            .filter(|difference| !matches!(difference.effect, Effect::Allowed | Effect::Denied))
            .map(|difference| difference.flow.as_deref())
            .collect();
        parts.extend((!others.is_empty()).then(|| "other changes without effect on what is allowed".to_owned()));
        parts.extend(self.counts.sentences());
        if self.stances.ends() {
            parts.insert(0, "every packet is accepted".to_owned());
        }
        paragraph("", &parts.join("; "), "")
    }
}

/// What is said of rules in audit mode.
pub(super) const AUDIT: &str = "mode is audit: nothing is denied; the plan shows what enforcing it would do";

/// The effect in words.
pub(super) fn title(effect: Effect) -> &'static str {
    match effect {
        Effect::Allowed => "newly allowed",
        Effect::Denied => "newly denied",
        Effect::Silenced => "dropped, no longer rejected",
        Effect::Answered => "rejected, no longer dropped",
        Effect::Untracked => "no longer tracked by conntrack",
        Effect::Tracked => "tracked by conntrack now",
    }
}

/// What the rules filter, as it stands after `all`: nothing for a host.
fn scope(after: After<'_>) -> &'static str {
    let Some(forward) = after.ruleset.base_chain(Hook::Forward) else { return "" };
    match covers_everything(after, forward) {
        true => " that is forwarded",
        false => " between the data centre and other addresses",
    }
}

fn covers_everything(after: After<'_>, forward: &Chain) -> bool {
    match after.policy.and_then(|(intent, _)| intent.gateway.as_ref()) {
        Some(gateway) => gateway.covers_everything(),
        None => forward.base.is_some_and(|base| base.policy == ChainPolicy::Drop),
    }
}

/// What passes without a row of its own.
fn passing(after: After<'_>) -> String {
    let forward = after.ruleset.base_chain(Hook::Forward);
    let is_stateless = after.policy.is_some_and(|(intent, _)| intent.gateway.as_ref().is_some_and(|it| it.stateless));
    let replies = if is_stateless { "replies, told by their source ports," } else { "replies" };
    match forward.map(|forward| covers_everything(after, forward)) {
        None => "replies and loopback pass; forwarded packets, such as those of pods, are not filtered".to_owned(),
        Some(true) => format!("{replies} pass; the gateway's own connections are not filtered"),
        Some(false) => {
            format!("{replies} pass; what stays inside, and the gateway's own connections, are not filtered")
        }
    }
}

impl Open {
    /// What is open after a change: the conversations of the policy, or without one what the flows of the rules permit.
    fn of(after: After<'_>) -> Self {
        let total =
            |flows, rest: &str| format!("{} {} open{rest}", count(flows, "flow"), for_number(flows, "is", "are"));
        match after.policy {
            Some((intent, resolution)) => {
                let rows: Vec<String> =
                    brief(intent, resolution, Length::Line).iter().map(|row| format!("  {row}")).collect();
                let flows: BTreeSet<&str> = intent.openings(resolution).map(|opening| opening.flow).collect();
                let total = total(flows.len(), &format!(", in {}", count(rows.len(), "conversation")));
                Self { rows, total }
            }
            None => {
                let permitted = permitted(after.ruleset);
                let rows = permitted.iter().flat_map(|difference| {
                    let flow = difference.flow.as_deref().unwrap_or_default();
                    difference.boxes.iter().map(move |one| format!("  {flow}: {one}"))
                });
                Self { rows: rows.collect(), total: total(permitted.len(), "") }
            }
        }
    }
}

/// What the flows of a ruleset permit.
fn permitted(ruleset: &Ruleset) -> Vec<Difference> {
    let hooks =
        [Hook::Input, Hook::Output, Hook::Forward].into_iter().filter(|hook| ruleset.base_chain(*hook).is_some());
    let closed = |hook: Hook| Chain {
        name: hook.name().to_owned(),
        base: Some(Base { hook, policy: ChainPolicy::Drop }),
        rules: Vec::new(),
    };
    let closed = Ruleset { chains: hooks.map(closed).collect(), ..Ruleset::default() };
    let mut found = differences(&[&closed, ruleset]);
    found.retain(|difference| difference.effect == Effect::Allowed && difference.flow.is_some());
    found
}

/// A line as a paragraph that keeps its margin. A command stays whole, so that it can be pasted.
fn wrapped(line: &str) -> String {
    if line.is_empty() || line.contains("`edgeward ") {
        return format!("{line}\n");
    }
    paragraph("", line, "    ")
}
