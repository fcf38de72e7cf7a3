//! The routes as text, JSON, CSV and Markdown, and as configurations of devices.

mod check;
mod device;
mod fields;
mod json;
mod people;
mod sheet;
mod terraform;

pub use device::{Syntax, WrongDevice};
pub use json::RoutesDocument;

use super::problem::Problem;
use super::table::{Cause, NextHop, Plan, Route, Table};
use crate::catalog::{Element, RouteRow};
use crate::intent::Origin;
use crate::report::{Evidence, Reason};

/// The routes of a policy, with what is said about them.
#[derive(Clone, Copy, Debug)]
pub struct RouteList<'a> {
    /// The name of the policy.
    pub policy: &'a str,
    /// The routes.
    pub plan: &'a Plan<'a>,
    /// Only this device, if one is chosen.
    pub element: Option<Element>,
    /// What the origins are explained with.
    pub evidence: Evidence<'a>,
}

impl<'a> RouteList<'a> {
    fn tables(&self) -> impl Iterator<Item = &'a Table<'a>> {
        let element = self.element;
        self.plan.tables.iter().filter(move |table| element.is_none_or(|only| only == table.element))
    }

    fn problems(&self) -> impl Iterator<Item = &'a Problem> {
        let element = self.element;
        self.plan.problems.iter().filter(move |problem| element.is_none_or(|only| only == problem.element))
    }

    /// Why there is a route: the row of the catalog, and what gives it its destination.
    fn because(&self, route: &Route<'_>) -> Vec<Reason> {
        let prefix = destination(route);
        let mut reasons = vec![self.evidence.origin("route", &prefix, &origin(route.row))];
        reasons.extend(route.causes.iter().map(|cause| match cause {
            Cause::Zone(prefix, origin) => self.evidence.origin("prefix", &prefix.to_string(), origin),
            Cause::Prefixes(origin) => self.evidence.origin("prefix", &prefix, origin),
            Cause::Answer { address, name, record, seen, origin } => {
                self.evidence.answer("route", *address, name, origin, record, *seen)
            }
        }));
        reasons
    }
}

fn origin(row: &RouteRow) -> Origin {
    Origin::Catalog {
        source: row.source.value.clone(),
        section: row.section.clone(),
        retrieved: row.retrieved.to_string(),
        inferred: row.inferred,
    }
}

/// A destination as tables of routes have it: an address is a prefix, too.
fn destination(route: &Route<'_>) -> String {
    route.prefix.net().to_string()
}

/// A next hop in words: its kind, and its id where the policy gives it.
fn hop(next_hop: &NextHop) -> String {
    match &next_hop.id {
        Some(id) => format!("{} {id}", next_hop.kind.word()),
        None => next_hop.kind.word().to_owned(),
    }
}

/// What no route of the line is for, in a sentence each.
fn elsewhere(plan: &Plan<'_>) -> Vec<String> {
    let sentence = |elsewhere: &super::demand::Elsewhere| {
        const MOST: usize = 4;
        let mut words: Vec<String> = elsewhere.names.iter().map(ToString::to_string).collect();
        words.extend(elsewhere.addresses.prefixes().map(|prefix| prefix.to_string()));
        let more = words.len().saturating_sub(MOST);
        words.truncate(MOST);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("`{}` does not use the line for {}{more}", elsewhere.flow, words.join(", "))
    };
    plan.elsewhere.iter().map(sentence).collect()
}
