//! A ruleset: the one table that edgeward owns, as a value.
//!
//! It holds only what [`evaluate`](Ruleset::evaluate) understands; there is no raw nft text in it. It knows nothing of
//! policies.

mod diff;
mod evaluate;

use std::collections::{BTreeMap, BTreeSet};

use crate::net::{CtState, Family, Hook, IcmpTypes, PacketEnd, PortSet, Prefix, PrefixSet, Transport, Verdict};

pub use diff::{Difference, Effect, differences};
pub use evaluate::{Fate, Fates, Outcome};

/// The table's name; its family is `inet`.
pub const TABLE: &str = "edgeward";

/// What the names of the counters of flows begin with; the flow's id follows.
pub const FLOW_COUNTER: &str = "flow_";

/// A table of sets, counters and chains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// What the whole is, for people.
    pub title: String,
    /// The sets by name.
    pub sets: BTreeMap<String, Set>,
    /// The named counters.
    pub counters: BTreeSet<String>,
    /// The chains; a chain stands behind those that it jumps to.
    pub chains: Vec<Chain>,
}

/// A named set of addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The family of its elements.
    pub family: Family,
    /// How the kernel keeps it.
    pub kind: SetKind,
    /// Its elements.
    pub elements: PrefixSet,
    /// What it holds, for people.
    pub note: String,
}

impl Set {
    /// Whether it has so many elements that the kernel takes long to fill it, and longer to tell them.
    pub fn is_large(&self) -> bool {
        self.elements.range_count() >= LARGE
    }
}

/// Ranges of a set that is large: up to here the kernel tells them all in 0.05 s (Linux 6.18).
const LARGE: usize = 16_384;

/// How the kernel keeps a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Intervals: prefixes of any length.
    Prefixes,
    /// A hash of single addresses: constant-time lookup, and elements that can be changed one by one.
    Hosts,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where packets enter it, where they do so by themselves.
    pub base: Option<Base>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The hook.
    pub hook: Hook,
    /// Whether packets that no rule decides are dropped.
    pub drops: bool,
}

/// A rule: all matches must hold for its action to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The matches.
    pub matches: Vec<Match>,
    /// What happens before the action.
    pub log: Option<Log>,
    /// The named counter that counts what gets here.
    pub counter: Option<String>,
    /// What becomes of the packet.
    pub action: Action,
    /// The comment: the flow that the rule belongs to.
    pub comment: Option<String>,
}

/// A rate-limited log entry. The limit is a match in nftables: a rule that logs has no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// What stands before each entry.
    pub prefix: String,
    /// How many entries are written.
    pub count: u32,
    /// Per unit of time: second, minute, hour or day.
    pub per: &'static str,
}

/// What a rule does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing; the next rule sees it.
    Continue,
    /// Decides.
    Verdict(Verdict),
    /// Goes to another chain, and comes back where that does not decide.
    Jump(String),
    /// Goes to another chain, and does not come back.
    Goto(String),
    /// Jumps to the chain of the packet's protocol number, where there is one.
    ByProtocol(BTreeMap<u8, String>),
    /// Jumps to the chain of the packet's port, where there is one. The ranges are disjoint.
    ByPort {
        /// TCP or UDP.
        protocol: Transport,
        /// Which port.
        end: PacketEnd,
        /// Chains by range, in order.
        chains: Vec<((u16, u16), String)>,
    },
    /// Keeps the packet from conntrack.
    Notrack,
}

/// A condition on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It came in through the loopback interface (`Source`), or leaves through it (`Destination`).
    Loopback(PacketEnd),
    /// Conntrack says one of these of it.
    State(Vec<CtState>),
    /// It is of this family.
    Family(Family),
    /// It is of the family, and an address of it is in a set of that family.
    Address(PacketEnd, Family, String),
    /// A port of it is among these.
    Port(Transport, PacketEnd, PortSet),
    /// It is an ICMP message of the family with one of these types.
    Icmp(Family, IcmpTypes),
    /// It has this protocol number.
    Protocol(u8),
    /// It is a TCP segment that cannot open a connection: ACK or RST is set.
    NotOpening,
}

impl Ruleset {
    /// The ruleset without what is for people only, as the kernel keeps it.
    #[must_use]
    pub fn without_notes(mut self) -> Self {
        self.title.clear();
        self.sets.values_mut().for_each(|set| set.note.clear());
        self
    }

    /// The ruleset with the answers of DNS that another one has: the elements of its sets of hosts, where both have
    /// the set; of these, where wanted, only those that are its own, too.
    #[must_use]
    pub fn with_hosts_of(mut self, other: &Self, only_own: bool) -> Self {
        for (name, set) in &mut self.sets {
            let theirs =
                other.sets.get(name).filter(|theirs| theirs.kind == SetKind::Hosts && theirs.family == set.family);
            if let (SetKind::Hosts, Some(theirs)) = (set.kind, theirs) {
                set.elements = match only_own {
                    true => set.elements.intersection(&theirs.elements),
                    false => theirs.elements.clone(),
                };
            }
        }
        self
    }

    /// The rules of all chains.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.chains.iter().flat_map(|chain| &chain.rules)
    }

    /// The names of the sets that rules look into.
    pub fn used_sets(&self) -> BTreeSet<&str> {
        let names = self.rules().flat_map(|rule| &rule.matches).filter_map(|condition| match condition {
            Match::Address(_, _, set) => Some(set.as_str()),
            _ => None,
        });
        names.collect()
    }

    /// The names of the counters that rules count with.
    pub fn used_counters(&self) -> BTreeSet<String> {
        self.rules().filter_map(|rule| rule.counter.clone()).collect()
    }

    /// The chain that packets enter at a hook, if there is one.
    pub fn base_chain(&self, hook: Hook) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.base.is_some_and(|base| base.hook == hook))
    }

    /// The chain with a name.
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }
}

impl SetKind {
    /// The elements that a set of this kind has for addresses, in order: prefixes, or addresses one by one.
    pub fn elements(self, addresses: &PrefixSet) -> Box<dyn Iterator<Item = Prefix> + '_> {
        match self {
            SetKind::Prefixes => Box::new(addresses.prefixes()),
            SetKind::Hosts => Box::new(addresses.addresses().map(Prefix::from)),
        }
    }
}

impl Rule {
    /// The flow whose packets the rule counts.
    pub fn flow(&self) -> Option<&str> {
        self.counter.as_deref()?.strip_prefix(FLOW_COUNTER)
    }
}
