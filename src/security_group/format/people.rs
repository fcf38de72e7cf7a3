//! The rules as text and as Markdown, for people.

use super::{GroupRules, ports};
use crate::diag::legible;
use crate::policy::path::GroupType;
use crate::report::markdown::{self, code, escaped};
use crate::report::paragraph;
use crate::report::table::{Column, Table};
use crate::security_group::derive::Derived;
use crate::security_group::export::GroupExport;
use crate::security_group::problem::Problem;
use crate::security_group::proof::{Comparison, Deviation};
use crate::wording::count;

const COLUMNS: [Column; 5] = [
    Column { head: "WAY", most: Some(7) },
    Column { head: "PROTOCOL", most: Some(8) },
    Column { head: "PORTS", most: Some(11) },
    Column { head: "CIDR", most: Some(43) },
    Column { head: "FOR", most: None },
];

/// A deviation shows up to so many boxes of packets.
const MAX_BOXES: usize = 10;

impl GroupRules<'_> {
    /// The list as text of at most 100 columns.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.group.rules.is_empty() {
            let mut table = Table::new(&COLUMNS);
            for derived in &self.group.rules {
                let rule = &derived.rule;
                let purpose = flows(derived) + if self.is_inferred(derived) { " (inferred)" } else { "" };
                let cells = [rule.way.word(), rule.protocol.word(), &ports(derived), &rule.cidr(), &purpose];
                table.row(cells.iter().map(|cell| vec![(*cell).to_owned()]).collect(), String::new());
            }
            let rules = count(self.group.rules.len(), "rule");
            text.push_str(&format!("{} security group: {rules}\n\n{}\n", self.group.kind, table.dense()));
        }
        text.extend(self.notes().iter().map(|note| paragraph("", note, "")));
        text
    }

    /// The list as a table of GitHub Flavored Markdown.
    pub fn markdown(&self) -> String {
        let row = |derived: &Derived<'_>| {
            let rule = &derived.rule;
            vec![
                rule.way.word().to_owned(),
                rule.protocol.word().to_owned(),
                code(&ports(derived)),
                code(&rule.cidr()),
                rule.permission.word().to_owned(),
                rule.priority.to_string(),
                escaped(&flows(derived)),
                if self.is_inferred(derived) { "inferred" } else { "" }.to_owned(),
            ]
        };
        let rows: Vec<Vec<String>> = self.group.rules.iter().map(row).collect();
        let head = ["Direction", "Protocol", "Port range", "CIDR", "Policy", "Priority", "Flows", "Remark"];
        let mut text = format!("# Security group of {}\n\n", code(self.name()));
        if !rows.is_empty() {
            text.push_str(&format!("Type: {}.\n\n{}", self.group.kind, markdown::table(&head, &rows)));
        }
        text.extend(self.notes().iter().map(|note| format!("\n{}\n", escaped(note))));
        text
    }

    /// What the reader of the rules has to know: their problems, and what they open beyond the policy.
    pub fn warnings(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.group.problems.iter().map(|problem| self.sentence(problem)).collect();
        if self.group.rules.is_empty() {
            return notes;
        }
        // That a basic group lets everything out is a problem already.
        let by_rules = self.comparison.opens.iter().filter(|deviation| deviation.flow.is_some());
        notes.extend(by_rules.map(|deviation| {
            let flow = deviation.flow.as_deref().unwrap_or_default();
            let packets = self.packets(deviation).join("; ");
            format!("The rules of `{flow}` open more than it needs: {} {packets}.", deviation.way)
        }));
        notes
    }

    /// What holds for the whole list.
    fn notes(&self) -> Vec<String> {
        let mut notes = self.warnings();
        if self.group.rules.is_empty() {
            return notes;
        }
        notes.push(
            "The rules are for the way to and from the data centre only: keep those that the cluster's nodes need among \
             themselves and to other networks."
                .to_owned(),
        );
        if !self.policy.networks.value.vswitches.is_empty() {
            let note = "A rule holds for every address with the group: `networks.vswitches` does not narrow it down.";
            notes.push(note.to_owned());
        }
        if self.group.rules.iter().any(|derived| self.is_inferred(derived)) {
            notes
                .push("Inferred: no document asks for the rule in a security group, but the flow needs it.".to_owned());
        }
        let origins = self.group.rules.iter().filter_map(|derived| self.origin(derived));
        let mut documents: Vec<String> = origins.map(|origin| self.evidence.citation(&origin)).collect();
        documents.sort();
        documents.dedup();
        notes.extend(documents.into_iter().map(|document| format!("Source: {document}.")));
        notes
    }

    fn sentence(&self, problem: &Problem) -> String {
        let place = problem.span.map(|span| {
            let policy = self.evidence.policy;
            format!("{}:{}: ", legible(&policy.name), policy.position(span.start))
        });
        format!("{}[{}] {}. {}.", place.unwrap_or_default(), problem.code, problem.message, capital(&problem.help))
    }

    /// The first boxes of packets, and how many are left out.
    fn packets(&self, deviation: &Deviation) -> Vec<String> {
        let mut lines = deviation.lines(self.vpc);
        let more = lines.len().saturating_sub(MAX_BOXES);
        lines.truncate(MAX_BOXES);
        lines.extend((more > 0).then(|| format!("and {more} more")));
        lines
    }

    /// What a group that exists opens beyond the policy, and shuts of what the policy needs. `name` is the file, and
    /// `policy` that of the policy.
    pub fn checked(&self, name: &str, found: &GroupExport, comparison: &Comparison) -> String {
        let names = format!("`{}` against `{}`", legible(name), legible(&self.evidence.policy.name));
        let mut text = match (comparison.opens.is_empty(), comparison.shuts.is_empty()) {
            (true, true) => format!("{names}: no difference\n"),
            _ => format!("{names}\n"),
        };
        for (title, sign, deviations) in [
            ("shut, but needed by the policy", "-", &comparison.shuts),
            ("open beyond the policy", "+", &comparison.opens),
        ] {
            if deviations.is_empty() {
                continue;
            }
            text.push_str(&format!("\n{title}:\n"));
            for deviation in deviations {
                text.push_str(&paragraph(&format!("{sign} "), &self.whose(deviation, found), "    "));
                let lines = self.packets(deviation);
                text.extend(lines.iter().map(|line| paragraph("    ", &format!("{} {line}", deviation.way), "  ")));
            }
        }
        if found.other_groups > 0 {
            let rules = count(found.other_groups, "rule");
            let note = format!(
                "{rules} with another security group at the other end: not compared, since no host of the data centre is \
                 in one."
            );
            text.push_str(&format!("\n{}", paragraph("", &note, "")));
        }
        text
    }

    /// The flow or the rule of a deviation.
    fn whose(&self, deviation: &Deviation, found: &GroupExport) -> String {
        if let Some(flow) = &deviation.flow {
            return flow.clone();
        }
        let rule = deviation.rule.and_then(|number| Some((found.places.get(number)?, found.rules.get(number)?)));
        match (rule, self.group.kind) {
            (Some((place, rule)), _) => format!("rule {place}: {rule}"),
            (None, GroupType::Basic) => "no rule: a basic group lets it out".to_owned(),
            (None, GroupType::Enterprise) => "no rule".to_owned(),
        }
    }
}

/// A sentence with a capital letter at its beginning, unless it begins with code.
fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().collect::<String>() + characters.as_str()).unwrap_or_default()
}

fn flows(derived: &Derived<'_>) -> String {
    const MOST: usize = 6;
    let more = derived.flows.len().saturating_sub(MOST);
    let first: Vec<&str> = derived.flows.iter().copied().take(MOST).collect();
    if more == 0 { first.join(", ") } else { format!("{}, and {more} more", first.join(", ")) }
}
