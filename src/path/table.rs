//! The routes of the devices, as values.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::bgp::Bgp;
use super::demand::Elsewhere;
use super::problem::Problem;
use crate::catalog::{Element, RouteDirection, RouteRow};
use crate::intent::Origin;
use crate::net::{DomainName, Prefix, PrefixSet};
use crate::resolution::{NameRecord, Seen};
use crate::site::Scope;
use crate::wording::count;

/// The routes of all devices.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// How much of the cloud's services is routed.
    pub scope: Scope,
    /// The tables, in the order from the data centre to the cloud; none where there is no leased line.
    pub tables: Vec<Table<'a>>,
    /// The addresses of flows that do not use the line.
    pub elsewhere: Vec<Elsewhere>,
    /// What the core switch exchanges over BGP, for CNIs that announce pods.
    pub bgp: Option<Bgp>,
    /// What an operator has to know or to change.
    pub problems: Vec<Problem>,
    /// The addresses that widened routes have and no flow needs.
    pub beyond: PrefixSet,
}

/// The routes of one device.
#[derive(Clone, Debug)]
pub struct Table<'a> {
    /// The device.
    pub element: Element,
    /// How many routes it takes.
    pub limit: Option<Limit>,
    /// Its routes: up before down, each in the order of prefixes.
    pub routes: Vec<Route<'a>>,
}

/// How many routes a table takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// At most.
    pub max: u32,
    /// Those of the plan.
    pub used: usize,
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route<'a> {
    /// Where it leads.
    pub direction: RouteDirection,
    /// Its destination.
    pub prefix: Prefix,
    /// What it points to.
    pub next_hop: NextHop,
    /// The flows that need it.
    pub flows: BTreeSet<&'a str>,
    /// The row of the catalog that asks for it.
    pub row: &'a RouteRow,
    /// Why it has this destination.
    pub causes: Vec<Cause<'a>>,
    /// Whether all its addresses are answers of DNS: it changes with the next answer.
    pub from_dns: bool,
}

/// What gives a route its destination.
#[derive(Clone, Debug)]
pub enum Cause<'a> {
    /// A prefix of a zone of the policy.
    Zone(Prefix, Origin),
    /// Prefixes that a flow has.
    Prefixes(&'a Origin),
    /// An address of a name.
    Answer {
        /// The address.
        address: IpAddr,
        /// The name.
        name: &'a DomainName,
        /// What the lockfile has of it.
        record: &'a NameRecord,
        /// When it was an answer.
        seen: Seen,
        /// Where the name is written.
        origin: &'a Origin,
    },
}

/// What a route points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// What it is.
    pub kind: HopKind,
    /// Its id or address; `None` where the policy does not give it.
    pub id: Option<String>,
}

/// The kinds of next hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopKind {
    /// The servers of the data centre.
    Servers,
    /// The core switch of the data centre.
    CoreSwitch,
    /// The virtual border router.
    Vbr,
    /// The VPC.
    Vpc,
    /// An express connect router.
    Ecr,
    /// A transit router.
    Cen,
    /// A CEN without transit router.
    CenBasic,
    /// A VPN gateway.
    Vpn,
}

impl HopKind {
    /// Every kind.
    pub const ALL: [Self; 8] =
        [Self::Servers, Self::CoreSwitch, Self::Vbr, Self::Vpc, Self::Ecr, Self::Cen, Self::CenBasic, Self::Vpn];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Servers => "servers",
            Self::CoreSwitch => "core-switch",
            Self::Vbr => "vbr",
            Self::Vpc => "vpc",
            Self::Ecr => "ecr",
            Self::Cen => "cen",
            Self::CenBasic => "cen-basic",
            Self::Vpn => "vpn",
        }
    }
}

/// How routes may be widened, at the cost of addresses that no flow needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Widening {
    /// The prefix length of routes to answers of DNS, as for IPv4; those of IPv6 have as many host bits.
    pub names: Option<u8>,
    /// How many routes a table may have.
    pub max_entries: Option<usize>,
}

/// A table cannot be made as small as was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{element}` needs more than {}, or some that lead to the data centre's own addresses as well", count(*max, "route"))]
pub struct TooSmall {
    /// The device.
    pub element: Element,
    /// How many routes it may have.
    pub max: usize,
}
