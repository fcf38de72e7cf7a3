//! The rows of `elements.yaml`: the devices between a data centre and the cloud, and the routes that each needs.

use crate::diag::{Code, Problems};
use crate::net::{Prefix, PrefixSet};
use crate::source::Spanned;
use crate::yaml::{number, record, words};

use super::condition::SiteCondition;
use super::date::Date;
use super::ends::Zone;
use super::regions::{Document, check_source};
use super::security_group::{GroupRow, RuleCount};

record! {
    /// `elements.yaml`.
    pub struct Elements {
        /// Where zones are routed to.
        pub routes: Spanned<Vec<RouteRow>>,
        /// What the security group of the VPC permits.
        pub security_group: Spanned<Vec<GroupRow>>,
        /// What the cloud's devices take at most.
        pub limits: RouteLimits,
        /// Where the line is checked from.
        pub health_checks: HealthChecks,
    }
}

words! {
    /// A device with a table of routes, in the order from the data centre to the cloud.
    pub enum Element {
        /// The core switch of the data centre.
        CoreSwitch = "core-switch",
        /// The virtual border router at the cloud's end of the leased line.
        Vbr = "vbr",
        /// The express connect router or the CEN between VBR and VPC.
        Transit = "transit",
        /// The route table of the VPC.
        Vpc = "vpc",
    }
}

words! {
    /// Where a route leads.
    pub enum RouteDirection {
        /// Towards the cloud.
        Up = "up",
        /// Towards the data centre.
        Down = "down",
    }
}

words! {
    /// What a route points to.
    pub enum Towards {
        /// The servers of the data centre.
        Servers = "servers",
        /// The core switch of the data centre.
        CoreSwitch = "core-switch",
        /// The virtual border router.
        Vbr = "vbr",
        /// The express connect router or the CEN; the VPC or the VBR where there is none.
        Transit = "transit",
        /// The VPC.
        Vpc = "vpc",
    }
}

record! {
    /// Where one device routes some zones to.
    pub struct RouteRow {
        /// The device.
        pub element: Spanned<Element>,
        /// Where the routes lead.
        pub direction: RouteDirection,
        /// The zones that they lead to.
        pub zones: Vec<Zone>,
        /// What they point to.
        pub next_hop: Towards,
        /// Whether the document takes them for given.
        pub standing: bool = false,
        /// What must hold of the site.
        pub when: SiteCondition,
        /// The document.
        pub source: Spanned<String>,
        /// The section of the document.
        pub section: Option<String>,
        /// Whether the document does not say it explicitly.
        pub inferred: bool = false,
        /// When it was read.
        pub retrieved: Date,
    }
}

number! {
    /// How many routes a table takes, 1 to 1,000,000.
    pub struct RouteCount(pub u32), 1 to 1_000_000
}

record! {
    /// What the cloud's devices take at most.
    pub struct RouteLimits {
        /// Routes of one's own in the table of a VPC.
        pub vpc_routes: RouteCount,
        /// Routes in the table of a VBR.
        pub vbr_routes: RouteCount,
        /// Routes that a VBR takes from one BGP peer; it drops those beyond.
        pub bgp_routes: RouteCount,
        /// Rules of one security group: the older limit.
        pub group_rules: RuleCount,
        /// Rules of all security groups of a network interface together: the present limit.
        pub interface_rules: RuleCount,
        /// The document.
        pub source: Spanned<String>,
        /// When it was read.
        pub retrieved: Date,
    }
}

record! {
    /// Where the VBR's health checks of the line come from.
    pub struct HealthChecks {
        /// Their prefixes.
        pub prefixes: Spanned<Vec<Prefix>>,
        /// The document.
        pub source: Spanned<String>,
        /// When it was read.
        pub retrieved: Date,
    }
}

impl HealthChecks {
    /// Their addresses.
    pub fn addresses(&self) -> PrefixSet {
        self.prefixes.value.iter().copied().collect()
    }
}

impl Elements {
    /// The documents of the rows.
    pub(super) fn sources(&self) -> impl Iterator<Item = &String> {
        self.cited().map(|source| &source.value)
    }

    fn cited(&self) -> impl Iterator<Item = &Spanned<String>> {
        let rows = self.routes.value.iter().map(|row| &row.source);
        let groups = self.security_group.value.iter().map(|row| &row.source);
        rows.chain(groups).chain([&self.limits.source, &self.health_checks.source])
    }

    pub(super) fn check(&self, documents: &[Document], problems: &mut Problems) {
        self.cited().for_each(|source| check_source(documents, source, problems));
        for row in self.routes.value.iter().filter(|row| row.zones.is_empty()) {
            problems.push(
                Code::EmptyList,
                row.element.span,
                format!("a route of `{}` has no zones", row.element.value),
            );
        }
        let lists = [
            ("routes", self.routes.span, self.routes.value.is_empty()),
            ("security-group", self.security_group.span, self.security_group.value.is_empty()),
            ("prefixes", self.health_checks.prefixes.span, self.health_checks.prefixes.value.is_empty()),
        ];
        let rows = self.security_group.value.iter().flat_map(|row| {
            [
                ("zones", row.zones.span, row.zones.value.is_empty()),
                ("flows", row.flows.span, row.flows.value.is_empty()),
            ]
        });
        for (what, span, _) in lists.into_iter().chain(rows).filter(|(.., empty)| *empty) {
            problems.push(Code::EmptyList, span, format!("`{what}` is empty"));
        }
    }
}
