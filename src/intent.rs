//! What a policy means: flows between ends, before and after names became prefixes.
//!
//! The stage is a type, so that nothing behind [`Intent::bind`] can meet an unresolved name. [`Intent::admits`] is
//! the specification that every ruleset must agree with; it knows nothing of chains and sets.

mod openings;
mod specification;

use std::collections::BTreeMap;
use std::fmt;

use crate::net::{DomainName, Family, Hook, IcmpTypes, PacketEnd, PortSet, Prefix, PrefixSet, Traffic, Verdict};
use crate::resolution::Resolution;
use crate::site::{Mode, Target};
use crate::source::Span;

pub use openings::{Extent, Member, MemberKind, Opening};
pub use specification::{Aspect, Clause, Decision, Specification};

/// Names as the operator and the catalog wrote them.
#[derive(Clone, Debug, PartialEq)]
pub enum Declared {}

/// Names replaced by prefixes.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolved {}

/// What the ends of flows hold at a stage.
pub trait Stage {
    /// The parts of an end.
    type Ends: fmt::Debug + Clone + PartialEq;
}

impl Stage for Declared {
    type Ends = Vec<Part>;
}

impl Stage for Resolved {
    type Ends = Addresses;
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
        /// The document does not say it in so many words.
        inferred: bool,
    },
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
    /// Prefixes that no name stands for.
    Prefixes(PrefixSet),
    /// A name.
    Name {
        /// The name.
        name: DomainName,
        /// Whether the compile goes on where it has no answer.
        optional: bool,
    },
}

/// An end whose names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// What the policy and the catalog say.
    pub fixed: PrefixSet,
    /// What DNS says; `None` where the end has no names, so that a ruleset's shape does not depend on answers.
    pub named: Option<PrefixSet>,
}

impl Addresses {
    /// All of it.
    pub fn all(&self) -> PrefixSet {
        self.named.as_ref().map_or_else(|| self.fixed.clone(), |named| self.fixed.union(named))
    }

    /// Applies an operation to both halves.
    #[must_use]
    pub fn map(&self, f: impl Fn(&PrefixSet) -> PrefixSet) -> Self {
        Self { fixed: f(&self.fixed), named: self.named.as_ref().map(&f) }
    }

    /// Whether nothing is, or can become, part of it.
    pub fn is_void(&self) -> bool {
        self.fixed.is_empty() && self.named.is_none()
    }
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq)]
pub enum End<S: Stage> {
    /// Every address: the host itself, or whoever comes.
    Any,
    /// These.
    Ends(S::Ends),
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

    /// Where an edge host judges the packets of the side that begins.
    pub fn hook(self) -> Hook {
        match self {
            Side::Inbound => Hook::Input,
            Side::Outbound => Hook::Output,
        }
    }

    /// The local end and the peer's end of a packet: of one that begins, or of a reply.
    pub fn ends(self, reply: bool) -> (PacketEnd, PacketEnd) {
        match (self, reply) {
            (Side::Inbound, false) | (Side::Outbound, true) => (PacketEnd::Destination, PacketEnd::Source),
            (Side::Outbound, false) | (Side::Inbound, true) => (PacketEnd::Source, PacketEnd::Destination),
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

/// One permitted conversation, begun by one side.
#[derive(Clone, Debug)]
pub struct Flow<S: Stage> {
    /// Its name; the inbound and the outbound half of a flow share it.
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
    /// Source ports, where they are fixed.
    pub from_ports: Option<PortSet>,
    /// The family, where the flow exists in one only.
    pub family: Option<Family>,
    /// Permitted whatever conntrack says.
    pub untracked: bool,
    /// Where the flow comes from.
    pub origin: Origin,
}

/// What an IDC gateway answers for.
#[derive(Clone, Debug)]
pub struct Gateway<S: Stage> {
    /// The addresses of the data centre whose packets are judged.
    pub covered: S::Ends,
    /// Those of its pods.
    pub pods: S::Ends,
    /// Whether all other packets are denied, too.
    pub everything: bool,
    /// Whether replies are told by their ports, not by conntrack.
    pub stateless: bool,
}

/// How packets that no flow permits are denied, by hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denials {
    /// At the input hook.
    pub input: Verdict,
    /// At the output hook.
    pub output: Verdict,
    /// At the forward hook.
    pub forward: Verdict,
}

impl Denials {
    /// The denial of a hook.
    pub fn at(self, hook: Hook) -> Verdict {
        match hook {
            Hook::Input => self.input,
            Hook::Output => self.output,
            Hook::Forward => self.forward,
            // What edgeward does there is to spare conntrack.
            Hook::RawPrerouting | Hook::RawOutput => Verdict::Accept,
        }
    }
}

/// A limit of events per unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// Per what.
    pub per: RateUnit,
}

/// The unit of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateUnit {
    /// Per second.
    Second,
    /// Per minute.
    Minute,
    /// Per hour.
    Hour,
    /// Per day.
    Day,
}

impl RateUnit {
    /// Every unit.
    pub const ALL: [RateUnit; 4] = [RateUnit::Second, RateUnit::Minute, RateUnit::Hour, RateUnit::Day];

    /// The word of the policy and of nftables.
    pub fn name(self) -> &'static str {
        match self {
            RateUnit::Second => "second",
            RateUnit::Minute => "minute",
            RateUnit::Hour => "hour",
            RateUnit::Day => "day",
        }
    }
}

/// What a policy means.
#[derive(Clone, Debug)]
pub struct Intent<S: Stage> {
    /// The policy's name.
    pub name: String,
    /// The digest of the catalog that its flows are from.
    pub catalog: String,
    /// Where the rules run.
    pub target: Target,
    /// Whether denied packets are denied.
    pub mode: Mode,
    /// How.
    pub denials: Denials,
    /// How many denied packets are logged.
    pub log: Rate,
    /// The addresses of the site's hosts.
    pub hosts: S::Ends,
    /// What a gateway answers for; there exactly where the target is one.
    pub gateway: Option<Gateway<S>>,
    /// The flows, in catalog order, the operator's behind, sorted by id; those of any traffic last.
    pub flows: Vec<Flow<S>>,
}

/// Names that the resolution has no address for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of the policy's names have no address in the lockfile", .0.len())]
pub struct Unresolved(pub Vec<(DomainName, Vec<String>)>);

impl Resolution {
    /// These answers, and another resolution's for the names that a policy cannot do without and that have no address
    /// here.
    #[must_use]
    pub fn with_required(&self, intent: &Intent<Declared>, other: &Self) -> Self {
        let mut all = self.clone();
        for (name, _) in intent.names().into_iter().filter(|(_, optional)| !optional) {
            if self.addresses(name).next().is_none()
                && let Some(record) = other.names.get(name)
            {
                all.names.insert(name.clone(), record.clone());
            }
        }
        all
    }
}

impl Intent<Declared> {
    /// The names of the policy; `true` where every flow that uses the name can do without it.
    pub fn names(&self) -> BTreeMap<&DomainName, bool> {
        let mut names = BTreeMap::new();
        for (name, optional, _) in self.uses() {
            *names.entry(name).or_insert(true) &= optional;
        }
        names
    }

    fn uses(&self) -> impl Iterator<Item = (&DomainName, bool, &str)> {
        self.flows.iter().flat_map(|flow| {
            let parts = [&flow.local, &flow.peers].into_iter().flat_map(|end| match end {
                End::Any => &[][..],
                End::Ends(parts) => parts,
            });
            parts.filter_map(|part| match &part.kind {
                PartKind::Name { name, optional } => Some((name, *optional, flow.id.as_str())),
                PartKind::Prefixes(_) => None,
            })
        })
    }

    /// Replaces the names by the addresses of a resolution.
    ///
    /// # Errors
    /// The names without an address that a flow cannot do without, each with its flows.
    pub fn bind(&self, resolution: &Resolution) -> Result<Intent<Resolved>, Unresolved> {
        let mut missing: BTreeMap<&DomainName, Vec<String>> = BTreeMap::new();
        for (name, optional, flow) in self.uses() {
            if !optional && resolution.addresses(name).next().is_none() {
                missing.entry(name).or_default().push(flow.to_owned());
            }
        }
        if !missing.is_empty() {
            let tidy = |mut flows: Vec<String>| {
                flows.dedup();
                flows
            };
            return Err(Unresolved(missing.into_iter().map(|(name, flows)| (name.clone(), tidy(flows))).collect()));
        }
        Ok(Intent {
            name: self.name.clone(),
            catalog: self.catalog.clone(),
            target: self.target,
            mode: self.mode,
            denials: self.denials,
            log: self.log,
            hosts: addresses(&self.hosts, resolution),
            gateway: self.gateway.as_ref().map(|gateway| Gateway {
                covered: addresses(&gateway.covered, resolution),
                pods: addresses(&gateway.pods, resolution),
                everything: gateway.everything,
                stateless: gateway.stateless,
            }),
            flows: self.flows.iter().map(|flow| flow.with(|parts| End::Ends(addresses(parts, resolution)))).collect(),
        })
    }
}

impl Flow<Declared> {
    /// The flow with something in place of the parts of its ends.
    pub fn with<S: Stage>(&self, ends: impl Fn(&[Part]) -> End<S>) -> Flow<S> {
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
            family: self.family,
            untracked: self.untracked,
            origin: self.origin.clone(),
        }
    }
}

/// One pass over all parts: a policy may list tens of thousands of prefixes.
fn addresses(parts: &[Part], resolution: &Resolution) -> Addresses {
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
    Addresses { fixed, named: (!names.is_empty()).then(answers) }
}

/// The ICMP types of a flow in a family.
pub fn icmp_types(traffic: &Traffic, family: Family) -> IcmpTypes {
    match (traffic, family) {
        (Traffic::Any, _) => IcmpTypes::all(),
        (Traffic::Some { icmp, .. }, Family::V4) => icmp.clone(),
        (Traffic::Some { icmpv6, .. }, Family::V6) => icmpv6.clone(),
    }
}
