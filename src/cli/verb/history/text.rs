//! The history for people.

use super::History;
use crate::cli::document::MissingDocument;
use crate::cli::render;
use crate::diag::{legible, shown};
use crate::host::generations::{Changes, Event, MadeBy, Record, named};
use crate::report::paragraph;
use crate::wording::count;

/// What the details of a generation or an event begin with.
const INDENT: &str = "    ";

impl History<'_> {
    pub(super) fn text(&self) -> String {
        if self.state.generations.is_empty() && self.events.is_empty() {
            return format!("`{}` has no generations: nothing was applied yet\n", shown(self.store.folder()));
        }
        let mut text = String::new();
        for (number, record) in self.generations().rev() {
            text += &self.generation_text(number, record);
        }
        if let Some(number) = self.only.filter(|number| !self.state.generations.contains_key(number)) {
            text += &format!("the files of generation {number} are not kept any more\n\n");
        }
        let begin = format!("{} ", render::red("warning:"));
        text.extend(self.warnings().iter().map(|warning| paragraph(&begin, &legible(warning), "  ")));
        if self.events.is_empty() {
            return text;
        }
        text += &format!("{}\n", render::bold("events, the latest first"));
        text.extend(self.events.iter().map(event_text));
        if self.has_more {
            text += "there are earlier ones: `--limit N` and `--since TIME` show them\n";
        }
        text
    }

    /// What is wrong with the file of the events.
    fn warnings(&self) -> Vec<String> {
        let log = self.store.events();
        let path = shown(log.path());
        let missing = self.missing.iter().map(|MissingDocument { first, last }| match first == last {
            true => format!("event {first} is missing from `{path}`"),
            false => format!("events {first} to {last} are missing from `{path}`"),
        });
        let missing = missing.map(|what| format!("{what}: it was removed, or a new file was begun"));
        let damaged = (self.damaged > 0).then(|| format!("{} of `{path}` cannot be read", count(self.damaged, "line")));
        missing.chain(damaged).collect()
    }

    fn generation_text(&self, number: u64, record: &Record) -> String {
        let roles = self.roles(number, record).join(", ");
        let separator = if roles.is_empty() { "" } else { "  " };
        let mut text = format!("generation {number}{separator}{}\n", render::bold(&roles));
        let mut add = |line: &str| text += &paragraph(INDENT, &legible(line), "  ");
        self.damage.get(&number).into_iter().flatten().for_each(|damage| add(damage));
        let Some(manifest) = self.manifests.get(&number) else { return text + "\n" };
        let maker = self.makers.get(&number);
        let origin = match (record.made_by, record.applied) {
            (MadeBy::Refresh, Some(applied)) => format!("refresh of generation {applied}"),
            (MadeBy::Found, _) => {
                let why = maker.map(|event| format!(" ({})", event.what)).unwrap_or_default();
                format!("found in the kernel{why}")
            }
            (made_by, _) => made_by.name().to_owned(),
        };
        add(&format!("{origin}, {}, by {}", manifest.made, manifest.by));
        if let Some(policy) = &manifest.policy {
            add(&format!("policy `{}` ({}, {})", policy.name, render::policy_place(policy), policy.mode));
        }
        if let Some(message) = &manifest.message {
            add(&format!("message: {message}"));
        }
        if record.made_by != MadeBy::Refresh {
            add(&format!("in force before: {}", named(record.before)));
        }
        if let Some(changes) = maker.and_then(|event| event.facts.as_ref()).map(|facts| &facts.changes) {
            text.extend(changes_lines(changes, self.only.is_some()).iter().map(|line| paragraph(INDENT, line, "  ")));
        }
        text + "\n"
    }

    /// What a generation is at present.
    fn roles(&self, number: u64, record: &Record) -> Vec<String> {
        let roles = [
            (self.state.current == Some(number), "in force"),
            (self.is_pending(number), "pending"),
            (self.at_boot == Some(number), "loaded at boot"),
        ];
        let mut roles: Vec<String> =
            roles.into_iter().filter(|(is_so, _)| *is_so).map(|(_, role)| role.to_owned()).collect();
        roles.extend(record.rolled_back.map(|at| format!("undone {at}")));
        roles
    }
}

/// An event: when and what, then who, and what it opened and closed.
fn event_text(event: &Event) -> String {
    // The number by its name: generations have numbers, too.
    let begin = format!("  {}  event {}, ", event.at, event.number);
    let mut text = paragraph(&begin, &legible(&event.what), "        ");
    let mut add = |line: &str| text += &paragraph("        ", line, "  ");
    let deadline = event.deadline.map(|deadline| format!("; to be confirmed until {deadline}")).unwrap_or_default();
    let forced = if event.forced { "; forced" } else { "" };
    add(&legible(&format!("by {}{deadline}{forced}", event.by)));
    if let Some(message) = &event.message {
        add(&legible(&format!("message: {message}")));
    }
    for overridden in &event.overridden {
        add(&legible(&format!("overridden ({}): {}", overridden.check, overridden.message)));
    }
    let changes = event.facts.as_ref().map(|facts| &facts.changes);
    changes.into_iter().flat_map(|changes| changes_lines(changes, false)).for_each(|line| add(&line));
    text
}

/// What a change opened and closed: the flows, or also their packets.
fn changes_lines(changes: &Changes, with_packets: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if with_packets {
        lines.extend(changes.mode_sentence());
        for (title, list) in changes.lists() {
            lines.push(title.to_owned());
            for change in list {
                let more = if change.more > 0 { format!("; {} more", change.more) } else { String::new() };
                let name = change.flow.as_deref().map(|flow| format!("{flow}: ")).unwrap_or_default();
                lines.push(format!("  {name}{}{more}", change.packets.join("; ")));
            }
        }
        if changes.left_out > 0 {
            let number = usize::try_from(changes.left_out).unwrap_or(usize::MAX);
            lines.push(format!("and {}", count(number, "more flow")));
        }
    } else {
        lines = changes.sentences();
    }
    lines.extend(changes.not_known.iter().map(|why| format!("what it opened and closed is not known: {why}")));
    lines.iter().map(|line| legible(line)).collect()
}
