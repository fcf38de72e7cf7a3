//! The security group of a policy.

use super::derive::{Derived, needs, rules, widenings};
use super::problem::{GroupProblemCode, Problem};
use crate::catalog::{Catalog, GroupRow};
use crate::intent::{Declared, Gateway, Intent, Opening};
use crate::net::PrefixSet;
use crate::policy::addresses;
use crate::policy::path::GroupType;
use crate::policy::syntax::Policy;
use crate::resolution::Resolution;
use crate::site::{Connection, Covers, Scope, Site};
use crate::wording::count;

/// What a security group is derived from.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The facts that say which rows of the catalog apply.
    pub site: &'a Site,
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The policy of an IDC gateway that covers everything.
    pub intent: &'a Intent<Declared>,
    /// The addresses of the names.
    pub resolution: &'a Resolution,
    /// How much is permitted.
    pub scope: Scope,
    /// The type of the group.
    pub kind: GroupType,
}

/// The security group of a policy.
#[derive(Clone, Debug)]
pub struct SecurityGroup<'a> {
    /// How much is permitted.
    pub scope: Scope,
    /// Its type.
    pub kind: GroupType,
    /// Its rules: egress before ingress, in the order of the flows.
    pub rules: Vec<Derived<'a>>,
    /// What the rules are for, by the numbers that they have.
    pub(super) openings: Vec<Opening<'a>>,
    /// The rows of the document's table that apply, with the addresses of their zones.
    rows: Vec<(&'a GroupRow, PrefixSet)>,
    /// What an operator has to know or to change.
    pub problems: Vec<Problem>,
}

/// The intent of a gateway as the VPC sees it: conversations between any ends, not only those with hosts.
pub fn as_the_vpc_sees(intent: Intent<Declared>) -> Intent<Declared> {
    let gateway = intent.gateway.map(|gateway| Gateway { covers: Covers::Everything, ..gateway });
    Intent { gateway, ..intent }
}

impl<'a> SecurityGroup<'a> {
    /// Derives the rules; none where hosts and VPC are in no common network.
    pub fn of(basis: Basis<'a>, vpc: &PrefixSet) -> Self {
        let Basis { policy, site, catalog, intent, resolution, scope, kind } = basis;
        let mut group =
            Self { scope, kind, rules: Vec::new(), openings: Vec::new(), rows: Vec::new(), problems: Vec::new() };
        if site.connection != Connection::ExpressConnect {
            group.problems.push(public_network());
            return group;
        }
        group.openings = intent.openings(resolution).collect();
        let needs = needs(&group.openings, vpc);
        group.rules = rules(&needs);
        group.problems = widenings(&group.openings, &needs);
        let rows = catalog.elements.security_group.value.iter().filter(|row| row.when.holds(site));
        group.rows = rows.map(|row| (row, addresses(policy, &row.zones.value))).collect();
        group.problems.extend(group.open_egress());
        group.problems.extend(group.too_many(catalog));
        group
    }

    /// Whether hosts and VPC are in no common network, so that no rule can be about them.
    pub fn is_elsewhere(&self) -> bool {
        self.problems.iter().any(|problem| problem.code == GroupProblemCode::PublicNetwork)
    }

    /// The row of the document's table that asks for a rule, if one does.
    pub(super) fn row(&self, derived: &Derived<'a>) -> Option<&'a GroupRow> {
        let remote = PrefixSet::from_iter([derived.rule.remote]);
        let asks =
            |row: &GroupRow| row.way == derived.rule.way && row.flows.value.iter().any(|flow| flow == derived.flow);
        let row = self.rows.iter().find(|(row, zones)| asks(row) && remote.is_subset(zones));
        row.map(|(row, _)| *row)
    }

    fn open_egress(&self) -> Option<Problem> {
        let basic = self.kind == GroupType::Basic;
        basic.then(|| Problem {
            code: GroupProblemCode::EgressOpen,
            span: None,
            flow: None,
            message: "a basic group lets everything out: its rules for egress change nothing".to_owned(),
            help:
                "use an enterprise group, or add a rule that drops all egress with priority 100 once all else that the \
                   cluster's nodes send has a rule"
                    .to_owned(),
        })
    }

    fn too_many(&self, catalog: &Catalog) -> Option<Problem> {
        let limits = &catalog.elements.limits;
        let (group, interface) = (limits.group_rules.0, limits.interface_rules.0);
        let used = self.rules.len();
        (used > group as usize).then(|| Problem {
            code: GroupProblemCode::RuleLimit,
            span: None,
            flow: None,
            message: format!(
                "the group needs {}; a group took at most {group}, and now all groups of an interface take {interface} \
                 together",
                count(used, "rule")
            ),
            help:
                "list fewer, wider prefixes in `networks.hosts` and `networks.pods`, or divide the rules among groups"
                    .to_owned(),
        })
    }
}

fn public_network() -> Problem {
    Problem {
        code: GroupProblemCode::PublicNetwork,
        span: None,
        flow: None,
        message:
            "there are no rules: over `public` hosts and VPC are in no common network, and no address of the data \
                  centre reaches the VPC; hosts reach the load balancers of the API server and of Raven"
                .to_owned(),
        help: "restrict these at the load balancers: `edgeward flows` lists the ports".to_owned(),
    }
}
