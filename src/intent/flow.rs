//! Flows and their ends.

use std::fmt;
use std::sync::Arc;

use super::{Declared, Resolved};
use crate::net::{
    CtDirection, DomainName, Family, Hook, IcmpTypes, Interfaces, PacketEnd, PortSet, Prefix, PrefixSet, Special,
    Traffic,
};
use crate::resolution::Resolution;
use crate::source::Span;

/// What the ends of flows hold at a stage.
pub trait Stage {
    /// The addresses of one end.
    type Ends: fmt::Debug + Clone + PartialEq;
}

impl Stage for Declared {
    /// Shared: each of thousands of flows may have the same thousands of hosts as its local end.
    type Ends = Arc<[Part]>;
}

impl Stage for Resolved {
    type Ends = Addresses;
}

/// One permitted conversation, begun by one side.
#[derive(Clone, Debug)]
pub struct Flow<S: Stage> {
    /// Its name. The inbound and the outbound half of a flow share it.
    pub id: String,
    /// What it is for.
    pub purpose: String,
    /// Who begins.
    pub side: Side,
    /// The end at the host or in the data centre.
    pub local: End<S>,
    /// The other end.
    pub peers: End<S>,
    /// Protocols and destination ports.
    pub traffic: Traffic,
    /// Source ports, if they are fixed.
    pub from_ports: Option<PortSet>,
    /// The interfaces through which the peers' packets arrive, if not all; inbound flows of an edge host only.
    pub interfaces: Option<Interfaces>,
    /// The family, if the flow exists in one only.
    pub family: Option<Family>,
    /// Whether it is permitted in any conntrack state, and its UDP is not tracked.
    pub untracked: bool,
    /// Where the flow comes from.
    pub origin: Origin,
}

/// Who begins a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The peer.
    Inbound,
    /// The local end.
    Outbound,
}

impl Side {
    /// `inbound` or `outbound`.
    pub fn name(self) -> &'static str {
        match self {
            Side::Inbound => "inbound",
            Side::Outbound => "outbound",
        }
    }

    /// The hook at which an edge host filters the packets of the side that begins.
    pub fn hook(self) -> Hook {
        match self {
            Side::Inbound => Hook::Input,
            Side::Outbound => Hook::Output,
        }
    }

    /// The packet's end that is local, and the one that is the peer's.
    pub fn ends(self, direction: CtDirection) -> (PacketEnd, PacketEnd) {
        match (self, direction) {
            (Side::Inbound, CtDirection::Original) | (Side::Outbound, CtDirection::Reply) => {
                (PacketEnd::Destination, PacketEnd::Source)
            }
            (Side::Outbound, CtDirection::Original) | (Side::Inbound, CtDirection::Reply) => {
                (PacketEnd::Source, PacketEnd::Destination)
            }
        }
    }

    /// Whether the other side of some traffic can have an address for a special purpose.
    ///
    /// Linux takes in no packet from a group or from everyone, and sends TCP to single hosts only. A packet without a
    /// source address is taken in if it goes to everyone or to a group of the link (`net/ipv4/route.c`): hosts that ask
    /// for their address by DHCP (RFC 2131 section 4.1), and switches that ask for the members of groups (RFC 3376
    /// section 4.1.12).
    pub fn can_have_peer(self, special: Special, traffic: &Traffic) -> bool {
        match special {
            Special::Unspecified => self == Side::Inbound && traffic.may_lack_source(),
            Special::Multicast | Special::Broadcast => self == Side::Outbound && !traffic.is_between_two(),
            _ => special.is_of_a_host(),
        }
    }

    /// The other one.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Side::Inbound => Side::Outbound,
            Side::Outbound => Side::Inbound,
        }
    }
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq)]
pub enum End<S: Stage> {
    /// Every address: of a local end, the host itself.
    Any,
    /// These addresses.
    Ends(S::Ends),
}

/// A part of an end whose names are not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Where it comes from.
    pub origin: Origin,
}

/// What a part of an end is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Prefixes, not given by name.
    Prefixes(PrefixSet),
    /// A name.
    Name {
        /// The name.
        name: DomainName,
        /// Whether a policy compiles if the name has no address.
        optional: bool,
    },
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Written in the policy.
    Policy(Span),
    /// A row of the catalog.
    Catalog {
        /// The document's short name.
        source: String,
        /// The section of the document.
        section: Option<String>,
        /// When it was read.
        retrieved: String,
        /// Whether the document does not say it explicitly.
        inferred: bool,
    },
}

/// An end whose names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The addresses that the policy and the catalog give.
    pub fixed: PrefixSet,
    /// The addresses that DNS gave. `None` if the end has no names: whether there is a set for them must depend on the
    /// policy and the catalog, not on answers.
    pub named: Option<PrefixSet>,
}

impl Addresses {
    /// Both halves together.
    pub fn all(&self) -> PrefixSet {
        self.named.as_ref().map_or_else(|| self.fixed.clone(), |named| self.fixed.union(named))
    }

    /// Applies an operation to both halves.
    #[must_use]
    pub fn map(&self, f: impl Fn(&PrefixSet) -> PrefixSet) -> Self {
        Self { fixed: f(&self.fixed), named: self.named.as_ref().map(&f) }
    }

    /// The addresses of some parts. One pass over all: a policy may list tens of thousands of prefixes.
    pub(super) fn of(parts: &[Part], resolution: &Resolution) -> Self {
        let fixed = PrefixSet::union_of(parts.iter().filter_map(|part| match &part.kind {
            PartKind::Prefixes(prefixes) => Some(prefixes),
            PartKind::Name { .. } => None,
        }));
        let names: Vec<&DomainName> = parts
            .iter()
            .filter_map(|part| match &part.kind {
                PartKind::Name { name, .. } => Some(name),
                PartKind::Prefixes(_) => None,
            })
            .collect();
        let answers = || names.iter().flat_map(|name| resolution.addresses(name)).map(Prefix::from).collect();
        Self { fixed, named: (!names.is_empty()).then(answers) }
    }
}

impl Flow<Declared> {
    /// The same flow with other ends.
    pub fn with<S: Stage>(&self, ends: impl Fn(&Arc<[Part]>) -> End<S>) -> Flow<S> {
        let end = |end: &End<Declared>| match end {
            End::Any => End::Any,
            End::Ends(parts) => ends(parts),
        };
        Flow {
            id: self.id.clone(),
            purpose: self.purpose.clone(),
            side: self.side,
            local: end(&self.local),
            peers: end(&self.peers),
            traffic: self.traffic.clone(),
            from_ports: self.from_ports.clone(),
            interfaces: self.interfaces.clone(),
            family: self.family,
            untracked: self.untracked,
            origin: self.origin.clone(),
        }
    }
}

/// The ICMP types of a flow in a family.
pub fn icmp_types(traffic: &Traffic, family: Family) -> IcmpTypes {
    match (traffic, family) {
        (Traffic::Any, _) => IcmpTypes::all(),
        (Traffic::Some { icmp, .. }, Family::V4) => icmp.clone(),
        (Traffic::Some { icmpv6, .. }, Family::V6) => icmpv6.clone(),
    }
}
