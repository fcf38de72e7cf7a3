//! The status for people.

use super::kept::{KeptPolicy, NameAge};
use super::{Checked, Status};
use crate::cli::document::{StatusCheck, TableState};
use crate::cli::preflight::{self, OtherFilters};
use crate::cli::{change, hint, render};
use crate::host::clock;
use crate::host::netlink::Counter;
use crate::host::rollout::{has_expired, named};
use crate::report::{duration, paragraph};
use crate::ruleset::{FLOW_COUNTER, TABLE};
use crate::wording::count;

fn warning(sentence: &str) -> String {
    format!("{} {sentence}", render::red("warning:"))
}

impl Checked<'_> {
    pub(super) fn text(&self) -> String {
        let mut lines = self.status.table_lines();
        // That nothing was ever applied is said already.
        let is_news = |check| check != StatusCheck::NoRules;
        lines.extend(self.attention.iter().filter(|one| is_news(one.check)).map(|one| warning(&one.message)));
        lines.extend(self.status.origin_lines());
        lines.extend(self.status.change_lines());
        lines.extend(self.kept.iter().flat_map(|kept| age_line(kept)));
        lines.extend(self.status.counter_lines());
        lines.extend(self.kept.iter().flat_map(|kept| name_lines(kept)));
        lines.extend(self.status.set_lines());
        lines.extend(self.status.filter_lines());
        lines.join("\n") + "\n"
    }

    /// What needs attention, one line each; if nothing does, that.
    pub(super) fn check_text(&self) -> String {
        if self.attention.is_empty() {
            return format!("all is well: {} is in force, as it was applied\n", named(self.status.current));
        }
        self.attention.iter().map(|one| format!("{}: {}\n", one.check.word(), one.message)).collect()
    }
}

impl Status {
    /// What the table is, if it is as expected.
    fn table_lines(&self) -> Vec<String> {
        match self.table {
            TableState::Absent => vec![format!("no table `inet {TABLE}`: every packet is accepted")],
            TableState::AsApplied => vec![format!("{} is in force, as it was applied", named(self.current))],
            TableState::Gone | TableState::Changed | TableState::Unreadable | TableState::Unknown => Vec::new(),
        }
    }

    /// The policy in force, its age and its author.
    fn origin_lines(&self) -> Vec<String> {
        let Some(manifest) = &self.manifest else { return Vec::new() };
        let policy = manifest.policy.as_ref().map(|policy| {
            let path = render::policy_place(policy);
            format!("policy `{}` ({path}), target {}, mode {}", policy.name, policy.target, policy.mode)
        });
        let age = duration(clock::now().duration_since(manifest.made));
        policy.into_iter().chain([format!("made {age} ago ({}) by {}", manifest.made, manifest.by)]).collect()
    }

    /// What boot loads, what is pending, and what is under way.
    fn change_lines(&self) -> Vec<String> {
        let mut lines = vec![format!("boot loads {}", named(self.boot.number()))];
        let switching = self.state.switching.iter().filter(|_| self.is_under_way);
        lines.extend(switching.map(|switching| format!("a change to {} is running", named(switching.to))));
        let pending = self.state.pending.iter().filter(|pending| !has_expired(pending));
        lines.extend(pending.map(change::pending_sentence));
        lines
    }

    fn counter_lines(&self) -> Vec<String> {
        if self.counters.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![format!("\n{:<40} {:>14} {:>18}", "counted", "packets", "bytes")];
        let is_flow = |(name, _): &(&String, &Counter)| name.starts_with(FLOW_COUNTER);
        let (flows, denied): (Vec<_>, Vec<_>) = self.counters.iter().partition(is_flow);
        let short = |name: &str| name.strip_prefix(FLOW_COUNTER).unwrap_or(name).to_owned();
        let (counted, silent): (Vec<_>, Vec<_>) = flows.into_iter().partition(|(_, counter)| counter.packets > 0);
        lines.extend(
            denied
                .into_iter()
                .chain(counted)
                .map(|(name, counter)| format!("{:<40} {:>14} {:>18}", short(name), counter.packets, counter.bytes)),
        );
        let silent: Vec<String> = silent.into_iter().map(|(name, _)| short(name)).collect();
        if !silent.is_empty() {
            lines.push(one_paragraph(&format!("no packet yet: {}", silent.join(", "))));
        }
        lines
    }

    /// How many elements the sets have. A list of all is in the JSON.
    fn set_lines(&self) -> Vec<String> {
        let filled: Vec<(&String, usize)> =
            self.sets.iter().map(|(name, elements)| (name, *elements)).filter(|(_, elements)| *elements > 0).collect();
        let Some((largest, most)) = filled.iter().max_by_key(|(_, elements)| *elements) else { return Vec::new() };
        let all = filled.iter().map(|(_, elements)| elements).sum();
        vec![format!(
            "\n{} in {}, most of them in `{largest}` ({most}); `{}` lists all",
            count(all, "element"),
            count(filled.len(), "set"),
            hint::command("status").option("format", "json"),
        )]
    }

    fn filter_lines(&self) -> Vec<String> {
        let OtherFilters { chains, warnings } = &self.others;
        if chains.is_empty() && warnings.is_empty() {
            return Vec::new();
        }
        let mut lines = vec!["\nother packet filters that see the same packets".to_owned()];
        lines.extend(chains.iter().map(|(hook, chain)| format!("  {}", preflight::describe(*hook, chain))));
        lines.extend(warnings.iter().map(|sentence| format!("  {}", warning(sentence))));
        lines
    }
}

/// A paragraph without its last line break.
fn one_paragraph(text: &str) -> String {
    paragraph("", text, "  ").trim_end().to_owned()
}

/// When DNS answered last.
fn age_line(kept: &KeptPolicy) -> Option<String> {
    let (answered, age) = (kept.answered?, kept.age?);
    Some(format!("DNS answered last {} ago ({answered})", duration(age)))
}

fn name_lines(kept: &KeptPolicy) -> Vec<String> {
    if kept.names.is_empty() {
        return Vec::new();
    }
    // What the last answers had needs no line of its own.
    let newest = kept.names.iter().filter_map(|row| row.seen).map(|(_, age)| age).min();
    let is_fresh = |row: &&NameAge| row.seen.map(|(_, age)| age) == newest && newest.is_some();
    let (fresh, others): (Vec<&NameAge>, Vec<&NameAge>) = kept.names.iter().partition(is_fresh);
    let mut lines = Vec::new();
    if let Some(age) = newest {
        let addresses = fresh.iter().map(|row| row.addresses).sum();
        let (names, addresses) = (count(fresh.len(), "name"), count(addresses, "address"));
        lines.push(format!("\n{names} with {addresses}, seen {} ago", duration(age)));
    }
    if others.is_empty() {
        return lines;
    }
    lines.push(format!("{:<62} {:>9}  {}", "other names", "addresses", "seen"));
    lines.extend(others.into_iter().map(|row| {
        let seen = row.seen.map_or_else(|| "never".to_owned(), |(_, age)| format!("{} ago", duration(age)));
        format!("{:<62} {:>9}  {seen}", row.name, row.addresses)
    }));
    lines
}
