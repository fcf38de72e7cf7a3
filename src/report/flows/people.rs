//! The list as text and as Markdown, for people: long lists are cut short, and say so.

use std::collections::BTreeMap;

use super::{FlowList, no_address, source_ports};
use crate::intent::{Extent, MemberKind, Opening};
use crate::report::because::{ago, duration};
use crate::report::markdown::{self, code, escaped};
use crate::report::table::{Column, Table, paragraph};
use crate::site::{Mode, Target};

/// How many prefixes and names are shown of the peers, and of the local end, which is the same in most rows.
const MAX_PEERS: usize = 40;
const MAX_LOCAL: usize = 6;
/// How many addresses are shown of a name.
const MAX_ADDRESSES: usize = 8;

const COLUMNS: [Column; 5] = [
    Column { head: "FLOW", most: Some(20) },
    Column { head: "DIRECTION", most: Some(9) },
    Column { head: "LOCAL", most: Some(22) },
    Column { head: "PEERS", most: None },
    Column { head: "PORTS", most: Some(16) },
];

/// A line of a cell.
enum Item {
    /// A prefix, a name or a port.
    Code(String),
    /// An address of the name above, and its age.
    Address(String, String),
    /// A remark.
    Words(String),
    /// How many more there are.
    More(usize),
}

/// A row, for both formats.
struct Line<'a> {
    opening: Opening<'a>,
    /// Local end, peers, and ports.
    cells: [Vec<Item>; 3],
    /// The number of its source.
    source: usize,
}

impl<'a> FlowList<'a> {
    /// The list as text of at most 100 columns.
    pub fn text(&self) -> String {
        let (lines, sources) = self.lines();
        let mut table = Table::new(&COLUMNS);
        for Line { opening, cells, source } in &lines {
            let [local, peers, ports] = cells.each_ref().map(|items| items.iter().map(Item::text).collect());
            let head = [opening.flow, opening.side.name()].map(|word| vec![word.to_owned()]);
            let below = format!("{} [{source}]", opening.purpose);
            table.row(head.into_iter().chain([local, peers, ports]).collect(), below.trim().to_owned());
        }
        let mut text = table.text() + "\n";
        for (index, source) in sources.iter().enumerate() {
            let mark = format!("[{}] ", index + 1);
            text.push_str(&paragraph(&mark, source, &" ".repeat(mark.len())));
        }
        text.push('\n');
        text.extend(self.notes(&lines).iter().map(|note| paragraph("", note, "")));
        text
    }

    /// The list as a table of GitHub Flavored Markdown, with its sources as a list below.
    pub fn markdown(&self) -> String {
        let (lines, sources) = self.lines();
        let row = |Line { opening, cells, source }: &Line<'_>| {
            let [local, peers, ports] =
                cells.each_ref().map(|items| items.iter().map(Item::markdown).collect::<Vec<_>>().join("<br>"));
            let (flow, direction) = (code(opening.flow), opening.side.name().to_owned());
            vec![flow, direction, local, peers, ports, escaped(opening.purpose), source.to_string()]
        };
        let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
        let head = ["Flow", "Direction", "Local end", "Peers", "Ports", "Purpose", "Source"];
        let mut text = format!("# What {} opens\n\n{}\n", code(&self.intent.name), markdown::table(&head, &rows));
        text.push_str("Sources:\n\n");
        let sources = sources.iter().enumerate();
        text.extend(sources.map(|(index, source)| format!("{}. {}\n", index + 1, escaped(source))));
        text.extend(self.notes(&lines).iter().map(|note| format!("\n{note}\n")));
        text
    }

    /// The rows, and the documents and places that they refer to by number, from 1.
    fn lines(&self) -> (Vec<Line<'a>>, Vec<String>) {
        let mut sources: Vec<String> = Vec::new();
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        // Each row of the policy is a source of its own: there may be thousands.
        let mut number = |citation: String| {
            *numbers.entry(citation).or_insert_with_key(|citation| {
                sources.push(citation.clone());
                sources.len()
            })
        };
        let line = |opening: Opening<'a>| Line {
            cells: self.cells(&opening),
            source: number(self.evidence.citation(opening.origin)),
            opening,
        };
        let lines = self.rows().map(line).collect();
        (lines, sources)
    }

    /// Local end, peers, and ports.
    fn cells(&self, opening: &Opening<'_>) -> [Vec<Item>; 3] {
        let mut ports: Vec<Item> = opening.traffic.words().into_iter().map(Item::Code).collect();
        ports.extend(source_ports(opening).into_iter().flatten().map(|port| Item::Words(format!("from {port}"))));
        ports.extend(opening.interfaces.map(|set| Item::Words(format!("through {set}"))));
        // Where addresses and types do not tell.
        let untold = matches!(opening.peers, Extent::AllBut(_)) && opening.traffic.family().is_none();
        if let Some(family) = opening.family.filter(|_| untold) {
            ports.push(Item::Words(format!("IP{} only", family.name())));
        }
        if !opening.tracked {
            ports.push(Item::Words("not tracked".to_owned()));
        }
        [self.end(&opening.local, MAX_LOCAL), self.end(&opening.peers, MAX_PEERS), ports]
    }

    fn end(&self, extent: &Extent<'_>, most: usize) -> Vec<Item> {
        let mut items = match extent {
            Extent::AllBut(except) if except.is_empty() => vec![Item::Words("any".to_owned())],
            Extent::AllBut(except) => {
                let words = except.prefixes().take(most).map(|prefix| Item::Code(prefix.to_string()));
                [Item::Words("any except".to_owned())].into_iter().chain(words).collect()
            }
            Extent::Host(members) if members.is_empty() => vec![Item::Words("this host".to_owned())],
            Extent::Host(_) | Extent::Members(_) => Vec::new(),
        };
        let mut all = 0;
        for member in extent.members() {
            let left = most.saturating_sub(all);
            match &member.kind {
                MemberKind::Prefixes(set) => {
                    items.extend(set.prefixes().take(left).map(|prefix| Item::Code(prefix.to_string())));
                    all += set.prefixes().count();
                }
                kind @ MemberKind::Name { .. } => {
                    items.extend(if left > 0 { self.name(kind) } else { Vec::new() });
                    all += 1;
                }
            }
        }
        if let Some(more) = all.checked_sub(most).filter(|more| *more > 0) {
            items.push(Item::More(more));
        }
        items
    }

    /// A name and its addresses, each with its age.
    fn name(&self, kind: &MemberKind<'_>) -> Vec<Item> {
        let MemberKind::Name { name, optional, addresses, .. } = kind else { return Vec::new() };
        let mut items = vec![Item::Code(name.to_string())];
        items.extend(addresses.iter().take(MAX_ADDRESSES).map(|(address, seen)| {
            Item::Address(address.to_string(), ago(self.evidence.now.duration_since(seen.last)))
        }));
        if let Some(more) = addresses.len().checked_sub(MAX_ADDRESSES).filter(|more| *more > 0) {
            items.push(Item::More(more));
        }
        if let Some(why) = no_address(kind) {
            let optional = if *optional { ", optional" } else { "" };
            items.push(Item::Words(format!("  {why}{optional}")));
        }
        items
    }

    /// What holds for the whole list.
    fn notes(&self, lines: &[Line<'_>]) -> Vec<String> {
        let items = || lines.iter().flat_map(|line| line.cells.iter().flatten());
        let mut notes = vec![
            match self.intent.target {
                Target::EdgeHost => {
                    "Where the local end is the host itself, the addresses are those of `networks.hosts`."
                }
                Target::IdcGateway => "The local end is in the data centre. Only what crosses the gateway is listed.",
            }
            .to_owned(),
        ];
        notes.push(match self.is_stateless() {
            true => {
                "The gateway is stateless: replies are permitted by their source ports, and protocols without ports are open in both directions. A row with `any` is open in its own direction only.".to_owned()
            }
            false => "Replies need no row of their own, except where a row is not tracked.".to_owned(),
        });
        if items().any(|item| matches!(item, Item::Address(..))) {
            let stale = duration(self.evidence.max_stale);
            notes.push(format!(
                "Addresses of names are those of the lockfile, with the age of the last answer; `resolve.max-stale` is {stale}."
            ));
        }
        if items().any(|item| matches!(item, Item::More(_))) {
            notes.push("Long lists are cut short: `--format json` and `--format csv` have all of them.".to_owned());
        }
        if self.intent.mode == Mode::Audit {
            notes.push("The policy is in audit mode: what is not listed is logged and counted, and passes.".to_owned());
        }
        notes
    }
}

impl Item {
    fn text(&self) -> String {
        match self {
            Item::Code(text) | Item::Words(text) => text.clone(),
            Item::Address(address, age) => format!("  {address} ({age})"),
            Item::More(count) => format!("and {count} more"),
        }
    }

    fn markdown(&self) -> String {
        match self {
            Item::Code(text) => code(text),
            Item::Address(address, age) => format!("{} ({age})", code(address)),
            Item::Words(text) => escaped(text.trim()),
            Item::More(count) => format!("and {count} more"),
        }
    }
}
