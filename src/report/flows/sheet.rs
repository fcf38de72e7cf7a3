//! The list as CSV, for a spreadsheet: in full, however long.

use super::{FlowList, no_address, prefixes, source_ports};
use crate::intent::{Extent, MemberKind, Opening, Origin};
use crate::report::csv;

const HEAD: [&str; 18] = [
    "flow",
    "direction",
    "local",
    "local-names",
    "peers",
    "peer-names",
    "ports",
    "source-ports",
    "interfaces",
    "family",
    "tracked",
    "purpose",
    "document",
    "title",
    "section",
    "retrieved",
    "inferred",
    "place",
];

/// The bytes of a cell: spreadsheets take 32,767 characters, and drop or move what is above.
const MAX_CELL: usize = 32_000;

impl FlowList<'_> {
    /// The list as CSV: a record for each conversation and direction. A list that does not fit into a cell goes on in
    /// the next record, which has the same values in its other fields.
    pub fn csv(&self) -> String {
        let head = HEAD.map(str::to_owned).to_vec();
        let records: Vec<Vec<String>> =
            [head].into_iter().chain(self.rows().flat_map(|opening| self.records(&opening))).collect();
        csv::records(records.iter().map(Vec::as_slice))
    }

    fn records(&self, opening: &Opening<'_>) -> Vec<Vec<String>> {
        let lists =
            [&opening.local, &opening.peers].map(|extent| [cells(addresses(extent), ", "), cells(names(extent), "; ")]);
        let [local, peers] = &lists;
        let count = lists.iter().flatten().map(Vec::len).max().unwrap_or(0);
        let source = self.source(opening.origin);
        let record = |at: usize| {
            // A list with one cell is repeated; a longer one goes on.
            let piece = |cells: &[String]| {
                if cells.len() == 1 { cells[0].clone() } else { cells.get(at).cloned().unwrap_or_default() }
            };
            let mut fields = vec![opening.flow.to_owned(), opening.side.name().to_owned()];
            fields.extend([&local[0], &local[1], &peers[0], &peers[1]].map(|cells| piece(cells)));
            fields.push(opening.traffic.words().join(", "));
            fields.push(source_ports(opening).unwrap_or_default().join(", "));
            fields.push(opening.interfaces.map(ToString::to_string).unwrap_or_default());
            fields.push(opening.family.map(|family| family.name()).unwrap_or_default().to_owned());
            fields.push(yes(opening.tracked));
            fields.push(opening.purpose.to_owned());
            fields.extend(source.clone());
            fields
        };
        (0..count).map(record).collect()
    }

    /// Document, title, section, day, whether it is inferred; or the place in the policy.
    fn source(&self, origin: &Origin) -> [String; 6] {
        match origin {
            Origin::Policy(_) => {
                let place = self.evidence.citation(origin);
                [String::new(), String::new(), String::new(), String::new(), String::new(), place]
            }
            Origin::Catalog { source, section, retrieved, inferred } => [
                source.clone(),
                self.evidence.title(source).to_owned(),
                section.clone().unwrap_or_default(),
                retrieved.clone(),
                yes(*inferred),
                String::new(),
            ],
        }
    }
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// All prefixes of an end, those of its names among them.
fn addresses(extent: &Extent<'_>) -> Vec<String> {
    match extent {
        Extent::AllBut(except) if except.is_empty() => vec!["any".to_owned()],
        Extent::AllBut(except) => vec![format!("any but {except}")],
        _ => prefixes(extent).iter().map(ToString::to_string).collect(),
    }
}

/// The names of an end, each with its addresses and when the newest was answered.
fn names(extent: &Extent<'_>) -> Vec<String> {
    let named = |kind: &MemberKind<'_>| match kind {
        MemberKind::Prefixes(_) => None,
        MemberKind::Name { name, addresses, .. } => Some(match no_address(kind) {
            Some(why) => format!("{name} ({why})"),
            None => {
                let words: Vec<String> = addresses.iter().map(|(address, _)| address.to_string()).collect();
                let newest = addresses.iter().map(|(_, seen)| seen.last).max();
                let answered = newest.map(|newest| format!(", answered {newest}")).unwrap_or_default();
                format!("{name} ({}{answered})", words.join(" "))
            }
        }),
    };
    extent.members().iter().filter_map(|member| named(&member.kind)).collect()
}

/// The items as cells; one, unless they are too many for it.
fn cells(items: Vec<String>, between: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    for item in items {
        if let Some(cell) = cells.last_mut().filter(|cell| cell.len() + between.len() + item.len() <= MAX_CELL) {
            if !cell.is_empty() {
                cell.push_str(between);
            }
            cell.push_str(&item);
        } else {
            cells.push(item);
        }
    }
    cells
}
