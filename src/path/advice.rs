//! Finds what an operator has to know of the routes, or to change.

use super::demand::Line;
use super::problem::{Problem, ProblemCode};
use super::table::{Plan, Table};
use crate::catalog::{Catalog, Element, RouteDirection};
use crate::net::{Prefix, PrefixSet, Special};
use crate::policy::syntax::Policy;
use crate::wording::count;

pub(super) fn find(plan: &Plan<'_>, policy: &Policy, catalog: &Catalog, line: &Line) -> Vec<Problem> {
    let mut problems = Vec::new();
    for table in &plan.tables {
        problems.extend(limit(table, policy));
        problems.extend(from_dns(table));
        match table.element {
            Element::CoreSwitch => problems.extend(health_checks(table, catalog)),
            Element::Vbr | Element::Transit => problems.extend(shared(table)),
            Element::Vpc => problems.extend(in_vswitch(table, policy, line)),
        }
    }
    if let Some(bgp) = &plan.bgp {
        let most = bgp.max_prefixes as usize;
        let message = format!("the VBR takes {} from a BGP peer, and drops those beyond", count(most, "prefix"));
        let help = format!(
            "where the site has more than {} with pods, announce the prefixes of pods aggregated",
            count(most, "host")
        );
        problems.push(Problem { code: ProblemCode::RouteLimit, element: Element::Vbr, span: None, message, help });
    }
    problems
}

fn limit(table: &Table<'_>, policy: &Policy) -> Option<Problem> {
    let limit = table.limit.filter(|limit| limit.used > limit.max as usize)?;
    let (code, element) = (ProblemCode::RouteLimit, table.element);
    let message = format!("the device takes {}, and needs {}", count(limit.max as usize, "route"), limit.used);
    let help = format!(
        "widen them with `--max-entries {}`, use `--scope broad`, or list fewer and wider prefixes in `networks`",
        limit.max
    );
    let written = policy.path.vbr.max_routes.filter(|_| element == Element::Vbr);
    let span = written.map(|max| max.span);
    Some(Problem { code, element, span, message, help })
}

fn from_dns(table: &Table<'_>) -> Option<Problem> {
    let routes = table.routes.iter().filter(|route| route.from_dns).count();
    if routes == 0 {
        return None;
    }
    let (code, element) = (ProblemCode::RouteFromDns, table.element);
    let message = format!("{} to addresses that DNS gave: they change with its answers", count(routes, "route"));
    let help = "`--names 24` widens them to prefixes of that length, which changes less often".to_owned();
    Some(Problem { code, element, span: None, message, help })
}

fn shared(table: &Table<'_>) -> Option<Problem> {
    let shared = Special::addresses(|special| special == Special::Shared);
    let up = table.routes.iter().filter(|route| route.direction == RouteDirection::Up);
    let inside = up.filter(|route| PrefixSet::from_iter([route.prefix]).is_subset(&shared)).count();
    if inside == 0 {
        return None;
    }
    let (code, element) = (ProblemCode::RouteTo10064, table.element);
    let message = format!(
        "{} into {shared}: one page of the cloud refuses such destinations, another permits what is more specific",
        count(inside, "route")
    );
    let help = "try one of them first; `--scope broad` with a larger `cloud-services` has one route".to_owned();
    Some(Problem { code, element, span: None, message, help })
}

fn health_checks(table: &Table<'_>, catalog: &Catalog) -> Option<Problem> {
    let checks = catalog.elements.health_checks.addresses();
    let up = table.routes.iter().filter(|route| route.direction == RouteDirection::Up).map(|route| route.prefix);
    if table.routes.is_empty() || checks.is_subset(&up.collect()) {
        return None;
    }
    let (code, element) = (ProblemCode::HealthCheckReturn, table.element);
    let message = format!("the VBR checks the line from {checks}, and no route leads back there");
    let help = "with static routes, add one to the address that the console shows as the source of the health check";
    Some(Problem { code, element, span: None, message, help: help.to_owned() })
}

fn in_vswitch(table: &Table<'_>, policy: &Policy, line: &Line) -> Vec<Problem> {
    let networks = &policy.networks.value;
    let vswitches: PrefixSet =
        networks.vswitches.iter().chain(&networks.pod_vswitches).map(|prefix| prefix.value).collect();
    let set = |prefix: Prefix| PrefixSet::from_iter([prefix]);
    let vpc =
        networks.vpc.iter().find(|vpc| table.routes.iter().any(|route| set(route.prefix).overlaps(&set(vpc.value))));
    let inside = table.routes.iter().filter(|route| set(route.prefix).overlaps(&line.vpc));
    inside
        .filter(|route| vswitches.is_empty() || set(route.prefix).overlaps(&vswitches))
        .map(|route| Problem {
            code: ProblemCode::RouteInVswitch,
            element: table.element,
            span: vpc.map(|prefix| prefix.span),
            message: format!(
                "the route to `{}` is inside the VPC: the cloud refuses it if a vSwitch has it",
                route.prefix
            ),
            help:
                "list the vSwitches in `networks.vswitches` and `networks.pod-vswitches`; none may have these addresses"
                    .to_owned(),
        })
        .collect()
}
