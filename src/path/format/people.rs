//! The routes as text and as Markdown, for people.

use super::{RouteList, destination, elsewhere, hop, origin};
use crate::diag::legible;
use crate::path::problem::Problem;
use crate::path::table::{Cause, Route};
use crate::report::markdown::{self, code, escaped};
use crate::report::paragraph;
use crate::report::table::{Column, Table};
use crate::site::Connection;
use crate::wording::count;

const COLUMNS: [Column; 4] = [
    Column { head: "WAY", most: Some(5) },
    Column { head: "PREFIX", most: Some(43) },
    Column { head: "NEXT HOP", most: Some(34) },
    Column { head: "FOR", most: None },
];

impl RouteList<'_> {
    /// The list as text of at most 100 columns.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for element in self.tables() {
            let mut table = Table::new(&COLUMNS);
            for route in &element.routes {
                let remark = remark(route);
                let remark = if remark.is_empty() { remark } else { format!(" ({remark})") };
                let purpose = flows(route) + &remark;
                let cells = [route.direction.word(), &destination(route), &hop(&route.next_hop), &purpose];
                table.row(cells.iter().map(|cell| vec![(*cell).to_owned()]).collect(), String::new());
            }
            let most = element.limit.map(|limit| format!(" of at most {}", limit.max)).unwrap_or_default();
            let name = element.element.word();
            text.push_str(&format!("{name}: {}{most}\n\n{}\n", count(element.routes.len(), "route"), table.dense()));
        }
        text.extend(self.notes().iter().map(|note| paragraph("", note, "")));
        text
    }

    /// The list as a table of GitHub Flavored Markdown.
    pub fn markdown(&self) -> String {
        let row = |(element, route): (&str, &Route<'_>)| {
            let (prefix, hop) = (code(&destination(route)), escaped(&hop(&route.next_hop)));
            let (flows, remark) = (escaped(&flows(route)), escaped(&remark(route)));
            vec![element.to_owned(), route.direction.word().to_owned(), prefix, hop, flows, remark]
        };
        let rows: Vec<Vec<String>> = self.rows().map(row).collect();
        let head = ["Element", "Way", "Prefix", "Next hop", "Flows", "Remark"];
        let mut text = format!("# Routes of {}\n\n", code(self.policy));
        if !rows.is_empty() {
            text.push_str(&markdown::table(&head, &rows));
        }
        text.extend(self.notes().iter().map(|note| format!("\n{}\n", escaped(note))));
        text
    }

    fn rows(&self) -> impl Iterator<Item = (&'static str, &Route<'_>)> {
        self.tables().flat_map(|table| table.routes.iter().map(move |route| (table.element.word(), route)))
    }

    /// What holds for the whole list.
    pub(super) fn notes(&self) -> Vec<String> {
        if self.plan.tables.is_empty() {
            return vec![format!("There are no routes: over `{}` there is no line to route to.", Connection::Public)];
        }
        let mut notes: Vec<String> = Vec::new();
        notes.extend(elsewhere(self.plan).into_iter().map(|sentence| sentence + "."));
        if !self.plan.beyond.is_empty() {
            let prefixes: Vec<String> = self.plan.beyond.prefixes().map(|prefix| prefix.net().to_string()).collect();
            notes.push(format!("The widened routes hold addresses that no flow needs: {}.", prefixes.join(", ")));
        }
        notes.extend(self.problems_by_text());
        let mut documents: Vec<String> =
            self.rows().map(|(_, route)| self.evidence.citation(&origin(route.row))).collect();
        documents.sort();
        documents.dedup();
        notes.extend(documents.into_iter().map(|document| format!("Source: {document}.")));
        notes
    }
}

impl RouteList<'_> {
    /// The problems in a sentence each; devices with the same one are named together.
    fn problems_by_text(&self) -> Vec<String> {
        let mut found: Vec<(&Problem, Vec<&str>)> = Vec::new();
        for problem in self.problems() {
            let same = |(other, _): &&mut (&Problem, Vec<&str>)| {
                (other.code, &other.message, other.span) == (problem.code, &problem.message, problem.span)
            };
            match found.iter_mut().find(same) {
                Some((_, elements)) => elements.push(problem.element.word()),
                None => found.push((problem, vec![problem.element.word()])),
            }
        }
        let sentence = |(problem, elements): (&Problem, Vec<&str>)| {
            let place = problem.span.map(|span| {
                let policy = self.evidence.policy;
                format!("{}:{}: ", legible(&policy.name), policy.position(span.start))
            });
            let (place, elements) = (place.unwrap_or_default(), elements.join(", "));
            format!("{place}[{}] {elements}: {}. {}.", problem.code, problem.message, capital(&problem.help))
        };
        found.into_iter().map(sentence).collect()
    }
}

/// A sentence with a capital letter at its beginning, unless it begins with code.
fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().collect::<String>() + characters.as_str()).unwrap_or_default()
}

pub(super) fn flows(route: &Route<'_>) -> String {
    const MOST: usize = 6;
    let more = route.flows.len().saturating_sub(MOST);
    let first: Vec<&str> = route.flows.iter().copied().take(MOST).collect();
    if more == 0 { first.join(", ") } else { format!("{}, and {more} more", first.join(", ")) }
}

pub(super) fn remark(route: &Route<'_>) -> String {
    let names = route.causes.iter().filter_map(|cause| match cause {
        Cause::Answer { name, .. } if route.from_dns => Some(name.to_string()),
        _ => None,
    });
    let standing = route.row.standing.then(|| "taken for given".to_owned());
    standing.into_iter().chain(names).collect::<Vec<_>>().join(", ")
}
