//! The routes as JSON, for programs.

use schemars::JsonSchema;
use serde::Serialize;

use super::check::{self, CheckDocument};
use super::{RouteList, destination};
use crate::catalog::{Element, RouteDirection};
use crate::net::PrefixSet;
use crate::path::bgp::{Accepted, Bgp};
use crate::path::check::Comparison;
use crate::path::problem::ProblemCode;
use crate::path::table::{HopKind, Route};
use crate::report::{DocumentVersion, Reason};
use crate::site::Scope;

/// What `edgeward routes --format json` prints: the routes of every device.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RoutesDocument<'a> {
    /// The version of the document's format.
    version: DocumentVersion,
    /// The name of the policy.
    policy: &'a str,
    /// How much of the cloud's services is routed.
    #[schemars(with = "Scope")]
    scope: &'static str,
    /// The devices, from the data centre to the cloud; none where there is no leased line.
    elements: Vec<ElementDocument<'a>>,
    /// What the core switch exchanges over BGP; `null` where the container network announces nothing.
    bgp: Option<BgpDocument>,
    /// The addresses of flows that do not use the line.
    elsewhere: Vec<ElsewhereDocument<'a>>,
    /// Addresses that routes have and no flow needs.
    over_coverage: OverCoverage,
    /// What an operator has to know or to change.
    problems: Vec<ProblemDocument<'a>>,
    /// What the table of the device that is checked has; `null` without `--check`.
    check: Option<CheckDocument<'a>>,
}

/// A device.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Element")]
struct ElementDocument<'a> {
    /// Which one.
    #[schemars(with = "Element")]
    element: &'static str,
    /// How many routes it takes; `null` if that is not known.
    limit: Option<LimitDocument>,
    /// Its routes: up before down.
    routes: Vec<RouteDocument<'a>>,
}

/// How many routes a device takes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Limit")]
struct LimitDocument {
    /// At most.
    max: u32,
    /// Those listed.
    used: usize,
}

/// A route.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Route")]
struct RouteDocument<'a> {
    /// Where it leads: towards the cloud, or towards the data centre.
    #[schemars(with = "RouteDirection")]
    direction: &'static str,
    /// Its destination.
    prefix: String,
    /// What it points to.
    next_hop: NextHopDocument<'a>,
    /// The flows that need it.
    flows: Vec<&'a str>,
    /// Where it comes from.
    because: Vec<Reason>,
    /// Whether all its addresses are answers of DNS: it changes with the next answer.
    from_dns: bool,
    /// Whether the document takes it for given.
    standing: bool,
}

/// What a route points to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NextHop")]
struct NextHopDocument<'a> {
    /// What it is.
    #[schemars(with = "HopWord")]
    kind: &'static str,
    /// Its id or address; `null` where `path` of the policy does not give it.
    id: Option<&'a str>,
}

/// The words for next hops.
struct HopWord;

impl JsonSchema for HopWord {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HopKind".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "enum": HopKind::ALL.map(HopKind::word)})
    }
}

/// What the core switch exchanges over BGP.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Bgp")]
struct BgpDocument {
    /// Its autonomous system; `null` where the policy does not give it.
    asn: Option<u32>,
    /// That of the virtual border router; `null` where the policy does not give it.
    vbr_asn: Option<u32>,
    /// That of the hosts; `null` where the policy does not give it.
    hosts_asn: Option<u32>,
    /// Whom the hosts speak BGP with.
    peers: Vec<String>,
    /// What it accepts from the hosts.
    from_hosts: Vec<AcceptedDocument>,
    /// What it announces to the virtual border router.
    to_vbr: Vec<AcceptedDocument>,
    /// How many prefixes the virtual border router takes; it drops those beyond.
    max_prefixes: u32,
}

/// A prefix, and the longest prefix length that is accepted inside it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Accepted")]
struct AcceptedDocument {
    /// The prefix.
    prefix: String,
    /// The longest prefix length.
    max_length: u8,
}

/// Addresses of a flow that do not use the line.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Elsewhere")]
struct ElsewhereDocument<'a> {
    /// The id of the flow.
    flow: &'a str,
    /// The addresses.
    prefixes: Vec<String>,
    /// The names that have them.
    names: Vec<String>,
}

/// Addresses that routes have and no flow needs.
#[derive(Serialize, JsonSchema)]
struct OverCoverage {
    /// How many, in both families; a number above 2^53 is exact in the text only.
    addresses: u128,
    /// The prefixes that have them.
    prefixes: Vec<String>,
}

/// Something that an operator has to know or to change.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
struct ProblemDocument<'a> {
    /// Its kind.
    #[schemars(with = "ProblemCode")]
    code: &'static str,
    /// The device.
    #[schemars(with = "Element")]
    element: &'static str,
    /// The line of the policy, from 1; `null` where there is none.
    line: Option<usize>,
    /// The column in characters, from 1; `null` where there is none.
    column: Option<usize>,
    /// What is wrong.
    message: &'a str,
    /// What to do.
    help: &'a str,
}

impl<'a> RouteList<'a> {
    /// The list as JSON, with what was found in the table of a device.
    ///
    /// # Errors
    /// Never, unless the serializer has a mistake.
    pub fn json(&self, check: Option<&Comparison<'_>>) -> Result<String, serde_json::Error> {
        let document = RoutesDocument { check: check.map(check::document), ..self.document() };
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    fn document(&self) -> RoutesDocument<'_> {
        let elements = self.tables().map(|table| ElementDocument {
            element: table.element.word(),
            limit: table.limit.map(|limit| LimitDocument { max: limit.max, used: limit.used }),
            routes: table.routes.iter().map(|route| self.route(route)).collect(),
        });
        let elsewhere = self.plan.elsewhere.iter().map(|elsewhere| ElsewhereDocument {
            flow: &elsewhere.flow,
            prefixes: words(&elsewhere.addresses),
            names: elsewhere.names.iter().map(ToString::to_string).collect(),
        });
        let problems = self.problems().map(|problem| {
            let at = problem.span.map(|span| self.evidence.policy.position(span.start));
            ProblemDocument {
                code: problem.code.word(),
                element: problem.element.word(),
                line: at.map(|at| at.line),
                column: at.map(|at| at.column),
                message: &problem.message,
                help: &problem.help,
            }
        });
        let beyond = &self.plan.beyond;
        RoutesDocument {
            version: DocumentVersion,
            policy: self.policy,
            scope: self.plan.scope.word(),
            elements: elements.collect(),
            bgp: self.plan.bgp.as_ref().map(bgp),
            elsewhere: elsewhere.collect(),
            over_coverage: OverCoverage { addresses: size(beyond), prefixes: words(beyond) },
            problems: problems.collect(),
            check: None,
        }
    }

    fn route(&self, route: &'a Route<'a>) -> RouteDocument<'a> {
        RouteDocument {
            direction: route.direction.word(),
            prefix: destination(route),
            next_hop: NextHopDocument { kind: route.next_hop.kind.word(), id: route.next_hop.id.as_deref() },
            flows: route.flows.iter().copied().collect(),
            because: self.because(route),
            from_dns: route.from_dns,
            standing: route.row.standing,
        }
    }
}

fn words(set: &PrefixSet) -> Vec<String> {
    set.prefixes().map(|prefix| prefix.to_string()).collect()
}

fn bgp(bgp: &Bgp) -> BgpDocument {
    let accepted = |list: &[Accepted]| {
        let document = |one: &Accepted| AcceptedDocument { prefix: one.prefix.to_string(), max_length: one.max_length };
        list.iter().map(document).collect()
    };
    BgpDocument {
        asn: bgp.asn,
        vbr_asn: bgp.vbr_asn,
        hosts_asn: bgp.hosts_asn,
        peers: words(&bgp.peers),
        from_hosts: accepted(&bgp.from_hosts),
        to_vbr: accepted(&bgp.to_vbr),
        max_prefixes: bgp.max_prefixes,
    }
}

/// How many addresses a set has; the largest number for all of IPv6.
fn size(set: &PrefixSet) -> u128 {
    let bits = |length: u8, width: u8| 1u128.checked_shl(u32::from(width - length)).unwrap_or(u128::MAX);
    set.prefixes().fold(0u128, |sum, prefix| {
        let net = prefix.net();
        sum.saturating_add(bits(net.prefix_len(), net.max_prefix_len()))
    })
}
