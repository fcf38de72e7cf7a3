//! A comparison as text, as JSON and as a unified diff.

use super::Comparison;
use super::plan::{After, Counts, MAX_LINES, Plan};
use crate::cli::context::{BoundPolicy, LoadedPolicy};
use crate::cli::document::{BoxDocument, CausedDocument, DiffDocument, PacketDocument};
use crate::cli::hint::{self, Hint};
use crate::cli::render;
use crate::diag::{escaped_but, legible};
use crate::explain::Rows;
use crate::intent::Origin;
use crate::report::{DocumentVersion, place};
use crate::ruleset::{Difference, Effect, Stance};

/// The text shows up to so many boxes of a flow; JSON has all.
const MAX_SHOWN_BOXES: usize = 50;

impl Comparison {
    /// The packets that are treated differently, for people: at most 200 lines, then the totals.
    pub(crate) fn text(&self, differences: &[Difference], new: &BoundPolicy) -> String {
        let packets = hint::again("diff", &["format"]).option("format", "json");
        let [body, totals] = self.parts(differences, new, MAX_SHOWN_BOXES, &packets);
        format!("{body}{totals}")
    }

    /// The text in two parts: what is different, and the totals.
    pub(crate) fn parts(
        &self,
        differences: &[Difference],
        new: &BoundPolicy,
        max_boxes: usize,
        packets: &Hint,
    ) -> [String; 2] {
        let names = format!("`{}` against `{}`", legible(&new.loaded.source.name), legible(&self.name));
        let stances = self.stances();
        if self.is_same(differences) {
            let [before, after] = &self.texts;
            let result = match before == after {
                true => "no difference",
                false => "no packet is treated differently; only the text differs (`--format nft` shows it)",
            };
            return [format!("{names}: {result}\n"), String::new()];
        }
        let origins = Origins::new(self.policy.as_ref(), new);
        let flows = hint::command("flows").policy(&new.loaded.path);
        let plan = Plan {
            stances,
            differences,
            counts: Counts::of(&self.first, self.last()),
            max_boxes,
            max_lines: MAX_LINES,
            packets,
            flows: Some(&flows),
            cause: &|difference| format!(" ({})", self.steps[difference.step].0.sentence()),
            origin: &|difference| origins.of(difference).map(|place| format!(" ({place})")).unwrap_or_default(),
        };
        let after = After { ruleset: self.last(), policy: Some((&new.loaded.intent, &new.resolution)) };
        let accepting = if stances.before == Stance::Open { ", where every packet is accepted" } else { "" };
        let are = if stances.are_real() { "are" } else { "would be" };
        let [body, totals] = plan.parts(after);
        [format!("{names}{accepting}: packets {are} treated differently\n\n{body}"), format!("\n{totals}")]
    }

    /// The packets that are treated differently, for programs.
    pub(crate) fn document<'a>(&'a self, differences: &[Difference], new: &'a BoundPolicy) -> DiffDocument<'a> {
        let origins = Origins::new(self.policy.as_ref(), new);
        let row = |difference: &Difference| CausedDocument {
            effect: effect_word(difference.effect),
            cause: self.steps[difference.step].0.word(),
            flow: difference.flow.clone(),
            origin: origins.of(difference),
            packets: difference.boxes.iter().map(BoxDocument::from).collect(),
            example: PacketDocument::from(&difference.example),
        };
        let [before, after] = &self.texts;
        DiffDocument {
            version: DocumentVersion,
            policy: &new.loaded.source.name,
            against: &self.name,
            same_packets: self.is_same(differences),
            same_text: before == after,
            differences: differences.iter().map(row).collect(),
        }
    }

    /// The lines that differ in the rulesets' texts.
    pub(crate) fn unified(&self, new: &BoundPolicy) -> String {
        let [before, after] = &self.texts;
        let diff = similar::TextDiff::from_lines(before, after);
        let unified = diff.unified_diff().context_radius(3).header(&self.name, &new.loaded.source.name).to_string();
        let paint = |line: &str| match line.as_bytes().first() {
            Some(b'+') => render::green(line),
            Some(b'-') => render::red(line),
            _ => line.to_owned(),
        };
        unified.lines().map(|line| paint(&printable(line)) + "\n").collect()
    }
}

/// Where the packets of differences come from: the policy that permits them, or did.
struct Origins<'a> {
    old: Option<(&'a BoundPolicy, Rows<'a>)>,
    new: (&'a BoundPolicy, Rows<'a>),
}

impl<'a> Origins<'a> {
    fn new(old: Option<&'a BoundPolicy>, new: &'a BoundPolicy) -> Self {
        let with_rows = |policy: &'a BoundPolicy| (policy, policy.meaning().rows());
        Self { old: old.map(with_rows), new: with_rows(new) }
    }

    /// The line that has the peer of the packets, or the row of their flow.
    fn of(&self, difference: &Difference) -> Option<String> {
        let flow = difference.flow.as_deref()?;
        let old = self.old.as_ref().filter(|_| difference.effect == Effect::Denied);
        let (policy, rows) = old.unwrap_or(&self.new);
        let LoadedPolicy { source, .. } = &policy.loaded;
        let permissions = policy.meaning().permissions(rows, flow, &difference.example);
        let parts = permissions.iter().flat_map(|permission| permission.peers.iter().chain(&permission.local));
        let written = parts.map(|matched| &matched.part.origin).find(|origin| matches!(origin, Origin::Policy(_)));
        let row = || rows.of(flow).first().map(|(row, _)| &row.origin);
        Some(place(source, written.or_else(row)?))
    }
}

fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Allowed => "allowed",
        Effect::Denied => "denied",
        Effect::Silenced => "silenced",
        Effect::Answered => "answered",
        Effect::Untracked => "untracked",
        Effect::Tracked => "tracked",
    }
}

/// A line of a file, of any length, without characters that would change the terminal.
fn printable(line: &str) -> String {
    escaped_but(line, |c| c == '\t')
}
