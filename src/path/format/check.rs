//! What a device has in place of the routes that it needs, as text and as data.

use schemars::JsonSchema;
use serde::Serialize;

use super::people::flows;
use super::{RouteList, destination};
use crate::catalog::Element;
use crate::net::PrefixSet;
use crate::path::check::{Comparison, ExportedRoute};
use crate::path::table::Route;
use crate::report::paragraph;
use crate::report::table::{Column, Table};
use crate::wording::{count, for_number, noun};

const COLUMNS: [Column; 3] = [
    Column { head: "STATE", most: Some(11) },
    Column { head: "PREFIX", most: Some(43) },
    Column { head: "FOR", most: None },
];

/// What `--check` found in the table that a device has.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "CheckedTable")]
pub(super) struct CheckDocument<'a> {
    /// How many routes the device needs.
    needed: usize,
    /// Needed routes that it does not have.
    missing: Vec<MissingDocument<'a>>,
    /// Needed routes to whose destinations another one leads, with another next hop.
    elsewhere: Vec<AstrayDocument<'a>>,
    /// Routes with the same next hop that nothing needs.
    superfluous: Vec<ExportedDocument<'a>>,
    /// Whether the policy does not give all next hops: any is then taken for the right one.
    any_next_hop: bool,
}

/// A needed route that the device does not have.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MissingRoute")]
struct MissingDocument<'a> {
    /// Its destination.
    prefix: String,
    /// What of it no route leads to.
    destinations: Vec<String>,
    /// The flows that have no way.
    flows: Vec<&'a str>,
}

/// A needed route to whose destinations another one leads.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AstrayRoute")]
struct AstrayDocument<'a> {
    /// Its destination.
    prefix: String,
    /// What of it the other route leads to.
    destinations: Vec<String>,
    /// The flows whose packets go elsewhere.
    flows: Vec<&'a str>,
    /// The other route.
    by: ExportedDocument<'a>,
}

/// A route that the device has.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "DeviceRoute")]
struct ExportedDocument<'a> {
    /// Its destination.
    prefix: String,
    /// What it points to; several share the packets.
    next_hops: &'a [String],
}

fn words(set: &PrefixSet) -> Vec<String> {
    set.prefixes().map(|prefix| prefix.net().to_string()).collect()
}

fn exported(route: &ExportedRoute) -> ExportedDocument<'_> {
    ExportedDocument { prefix: route.prefix.net().to_string(), next_hops: &route.hops }
}

pub(super) fn document<'a>(comparison: &'a Comparison<'a>) -> CheckDocument<'a> {
    let missing = comparison.missing.iter().map(|(route, set)| MissingDocument {
        prefix: destination(route),
        destinations: words(set),
        flows: route.flows.iter().copied().collect(),
    });
    let elsewhere = comparison.elsewhere.iter().map(|(route, set, by)| AstrayDocument {
        prefix: destination(route),
        destinations: words(set),
        flows: route.flows.iter().copied().collect(),
        by: exported(by),
    });
    CheckDocument {
        needed: comparison.needed,
        missing: missing.collect(),
        elsewhere: elsewhere.collect(),
        superfluous: comparison.superfluous.iter().map(|route| exported(route)).collect(),
        any_next_hop: comparison.any_hop,
    }
}

impl RouteList<'_> {
    /// What a device has in place of the routes that it needs, as text of at most 100 columns.
    pub fn check_text(&self, element: Element, comparison: &Comparison<'_>) -> String {
        let mut table = Table::new(&COLUMNS);
        let mut row = |state: &str, prefix: String, purpose: String| {
            table.row([state.to_owned(), prefix, purpose].map(|cell| vec![cell]).to_vec(), String::new());
        };
        for (route, set) in &comparison.missing {
            row("missing", destination(route), purpose(route, set, ""));
        }
        for (route, set, by) in &comparison.elsewhere {
            let way = format!(", sent to {} by {}", by.hops.join(" and "), by.prefix.net());
            row("elsewhere", destination(route), purpose(route, set, &way));
        }
        for route in &comparison.superfluous {
            row(
                "superfluous",
                route.prefix.net().to_string(),
                format!("no flow; it leads to {}", route.hops.join(" and ")),
            );
        }
        let lists = [comparison.missing.len(), comparison.elsewhere.len(), comparison.superfluous.len()];
        let mut text = if lists == [0; 3] { String::new() } else { table.dense() + "\n" };
        let [missing, astray, superfluous] = lists;
        let summary = format!(
            "{element}: of {} that it needs, {missing} {} missing, and {astray} {} elsewhere; {superfluous} {} superfluous.",
            count(comparison.needed, "route"),
            for_number(missing, "is", "are"),
            for_number(astray, "leads", "lead"),
            noun_is(superfluous),
        );
        text.push_str(&paragraph("", &summary, ""));
        for family in &comparison.absent {
            let note = format!("There is no route of IP{} at all: does the export have that family?", family.name());
            text.push_str(&paragraph("", &note, ""));
        }
        if comparison.any_hop {
            let note =
                "The policy does not give the next hop: any but that of a default route is taken for the right one.";
            text.push_str(&paragraph("", note, ""));
        }
        text
    }
}

fn noun_is(number: usize) -> String {
    format!("{} {}", noun(number, "other"), for_number(number, "is", "are"))
}

/// The flows of a needed route, and the part of it that is concerned if not all is.
fn purpose(route: &Route<'_>, set: &PrefixSet, more: &str) -> String {
    let all = PrefixSet::from_iter([route.prefix]);
    let part = if *set == all { String::new() } else { format!(" (only {})", words(set).join(", ")) };
    let flows = flows(route);
    format!("{}{part}{more}", if flows.is_empty() { "no flow yet" } else { &flows })
}
