//! The tables of routes, derived from the rows of the catalog and the needs of the flows.

use super::advice;
use super::bgp::Bgp;
use super::demand::{Line, demands};
use super::derive::{Builder, is_there};
use super::table::{Limit, Plan, Route, Table, TooSmall, Widening};
use crate::catalog::{Catalog, Element, RouteDirection, RouteRow};
use crate::intent::{Declared, Intent};
use crate::net::PrefixSet;
use crate::policy::syntax::Policy;
use crate::resolution::Resolution;
use crate::site::{Connection, Scope, Site};

/// What the routes of a policy are derived from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The facts that say which rows of the catalog apply.
    pub site: &'a Site,
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The policy of an IDC gateway with the fine scope: what crosses it is what crosses the line.
    pub intent: &'a Intent<Declared>,
    /// The addresses of the names.
    pub resolution: &'a Resolution,
    /// How much of the cloud's services is routed.
    pub scope: Scope,
}

impl<'a> Plan<'a> {
    /// Derives the routes.
    ///
    /// # Errors
    /// The first table that has no room for them.
    pub fn of(basis: Basis<'a>, widening: Widening) -> Result<Self, TooSmall> {
        let Basis { policy, site, catalog, intent, resolution, scope } = basis;
        let line = Line::of(policy);
        let (needed, elsewhere) = demands(intent, resolution, &line);
        let beyond = PrefixSet::default();
        let mut plan = Self { scope, tables: Vec::new(), elsewhere, bgp: None, problems: Vec::new(), beyond };
        if site.connection != Connection::ExpressConnect {
            return Ok(plan);
        }
        let builder = Builder { policy, path: &policy.path, scope, widening, needed: &needed, line: &line };
        let rows: Vec<&RouteRow> = catalog.elements.routes.value.iter().filter(|row| row.when.holds(site)).collect();
        for element in Element::ALL.iter().filter(|element| is_there(**element, policy.path.transit.kind)) {
            let of = |direction| {
                let rows = rows.iter().filter(move |row| row.element.value == *element && row.direction == direction);
                rows.copied()
            };
            let down: Vec<Route<'a>> =
                of(RouteDirection::Down).flat_map(|row| builder.finish(row, builder.destinations(row))).collect();
            let fixed = down.iter().filter(|route| !route.row.standing).count();
            let mut routes = Vec::new();
            for row in of(RouteDirection::Up) {
                let destinations = builder.destinations(row);
                let narrow: PrefixSet = destinations.iter().map(|(prefix, _)| *prefix).collect();
                let prefixes = builder.fitted(*element, destinations, fixed)?;
                let wide: PrefixSet = prefixes.iter().map(|(prefix, _)| *prefix).collect();
                plan.beyond = plan.beyond.union(&wide.difference(&narrow));
                routes.extend(builder.finish(row, prefixes));
            }
            let used = routes.len() + fixed;
            routes.extend(down);
            let limit = builder.limit(*element, catalog).map(|max| Limit { max, used });
            plan.tables.push(Table { element: *element, limit, routes });
        }
        plan.bgp = site.routed.then(|| Bgp::of(policy, catalog));
        plan.problems = advice::find(&plan, policy, catalog, &line);
        Ok(plan)
    }
}
