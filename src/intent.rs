//! What a policy means: flows between ends, before and after names are replaced by addresses.
//!
//! The stage is a type: no code after [`Intent::bind`] can hold an unresolved name. [`Intent::specification`] is what
//! every ruleset must agree with; it knows nothing of chains and sets.

mod flow;
mod openings;
mod specification;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::net::{DomainName, Hook, Rate, Verdict};
use crate::resolution::Resolution;
use crate::site::{Covers, Mode, Target};
use crate::wording::count;

pub use flow::{Addresses, End, Flow, Origin, Part, PartKind, Side, Stage, icmp_types};
pub use openings::{Extent, Member, MemberKind, Opening};
pub use specification::{Aspect, Clause, Specification};

/// Names as the operator and the catalog wrote them.
#[derive(Clone, Debug, PartialEq)]
pub enum Declared {}

/// Names replaced by addresses.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolved {}

/// What a policy means.
#[derive(Clone, Debug)]
pub struct Intent<S: Stage> {
    /// The policy's name.
    pub name: String,
    /// The digest of the catalog that its flows come from.
    pub catalog: String,
    /// Where the rules run.
    pub target: Target,
    /// Whether packets are denied, or only logged and counted.
    pub mode: Mode,
    /// The verdict on packets that no flow permits.
    pub denials: Denials,
    /// How many denied packets are logged.
    pub log: Rate,
    /// The addresses of the site's hosts.
    pub hosts: S::Ends,
    /// What a gateway covers; `Some` exactly if the target is one.
    pub gateway: Option<Gateway<S>>,
    /// The flows: those of the catalog in its order, then the operator's, sorted by id; flows of any traffic last.
    pub flows: Vec<Flow<S>>,
}

/// What an IDC gateway covers.
#[derive(Clone, Debug)]
pub struct Gateway<S: Stage> {
    /// The addresses of the data centre whose packets are filtered.
    pub covered: S::Ends,
    /// Those of its pods.
    pub pods: S::Ends,
    /// Which packets are filtered.
    pub covers: Covers,
    /// Whether replies are recognised by their ports, without conntrack.
    pub stateless: bool,
}

impl<S: Stage> Gateway<S> {
    /// Whether all forwarded packets are filtered, not only those with exactly one end in the data centre.
    pub fn covers_everything(&self) -> bool {
        self.covers == Covers::Everything
    }
}

/// The verdict on packets that no flow permits, by hook.
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
    /// The verdict at a hook.
    pub fn at(self, hook: Hook) -> Verdict {
        match hook {
            Hook::Input => self.input,
            Hook::Output => self.output,
            Hook::Forward => self.forward,
            // All that happens there is `notrack`.
            Hook::RawPrerouting | Hook::RawOutput => Verdict::Accept,
        }
    }
}

/// Required names that have no address in the resolution, each with the flows that need it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of the policy without an address in the lockfile", count(.0.len(), "name"))]
pub struct Unresolved(pub Vec<(DomainName, Vec<String>)>);

impl Resolution {
    /// These answers; for required names of a policy without an address here, those of another resolution.
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
    /// The names of the policy; `true` for those that are optional in every flow that uses them.
    pub fn names(&self) -> BTreeMap<&DomainName, bool> {
        let mut names = BTreeMap::new();
        for (name, optional, _) in self.uses() {
            *names.entry(name).or_insert(true) &= optional;
        }
        names
    }

    /// The names that rows of the catalog give, each with a flow that uses it.
    pub fn names_of_the_catalog(&self) -> BTreeMap<&DomainName, &str> {
        let named = self.parts().filter_map(|(flow, part)| match (&part.kind, &part.origin) {
            (PartKind::Name { name, .. }, Origin::Catalog { .. }) => Some((name, flow)),
            _ => None,
        });
        named.collect()
    }

    fn uses(&self) -> impl Iterator<Item = (&DomainName, bool, &str)> {
        self.parts().filter_map(|(flow, part)| match &part.kind {
            PartKind::Name { name, optional } => Some((name, *optional, flow)),
            PartKind::Prefixes(_) => None,
        })
    }

    /// The parts of all ends, each with the id of its flow.
    fn parts(&self) -> impl Iterator<Item = (&str, &Part)> {
        self.flows.iter().flat_map(|flow| {
            let parts = [&flow.local, &flow.peers].into_iter().flat_map(|end| match end {
                End::Any => &[][..],
                End::Ends(parts) => &parts[..],
            });
            parts.map(|part| (flow.id.as_str(), part))
        })
    }

    /// Replaces the names by the addresses of a resolution.
    ///
    /// # Errors
    /// The required names without an address, each with the flows that need it.
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
        let hosts = Addresses::of(&self.hosts, resolution);
        let addresses = |parts: &Arc<[Part]>| match Arc::ptr_eq(parts, &self.hosts) {
            true => hosts.clone(),
            false => Addresses::of(parts, resolution),
        };
        Ok(Intent {
            name: self.name.clone(),
            catalog: self.catalog.clone(),
            target: self.target,
            mode: self.mode,
            denials: self.denials,
            log: self.log,
            gateway: self.gateway.as_ref().map(|gateway| Gateway {
                covered: Addresses::of(&gateway.covered, resolution),
                pods: Addresses::of(&gateway.pods, resolution),
                covers: gateway.covers,
                stateless: gateway.stateless,
            }),
            flows: self.flows.iter().map(|flow| flow.with(|parts| End::Ends(addresses(parts)))).collect(),
            hosts,
        })
    }
}
