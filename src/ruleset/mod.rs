//! A ruleset: the one table that edgeward owns, as a value.
//!
//! It holds only what [`evaluate`](Ruleset::evaluate) understands, so it has no raw nft text. It knows nothing of
//! policies.

mod diff;
mod evaluate;
mod label;
mod stance;

use std::collections::{BTreeMap, BTreeSet};

use crate::net::{
    ChainPolicy, CtState, Family, Hook, IcmpTypes, InterfacePattern, PacketEnd, PortSet, Prefix, PrefixSet, Rate,
    Transport, Verdict,
};

pub use diff::{Difference, Effect, differences};
pub use evaluate::{Group, Trace};
pub use label::Label;
pub use stance::{AUDIT_LOG, DENIED_COUNTER, Stance};

/// The table's name; its family is `inet`.
pub const TABLE: &str = "edgeward";

/// The prefix of the counters of flows; the flow's id follows.
pub const FLOW_COUNTER: &str = "flow_";

/// A table of sets, counters and chains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// A title for readers.
    pub title: String,
    /// The sets by name.
    pub sets: BTreeMap<String, Set>,
    /// The named counters.
    pub counters: BTreeSet<String>,
    /// The chains, each after those that it jumps to.
    pub chains: Vec<Chain>,
}

/// A named set of addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The family of its elements.
    pub family: Family,
    /// How the kernel stores it.
    pub kind: SetKind,
    /// Its elements.
    pub elements: PrefixSet,
    /// What it holds, for readers.
    pub note: String,
}

impl Set {
    /// Whether it has so many elements that filling and listing it takes the kernel long.
    pub fn is_large(&self) -> bool {
        self.elements.range_count() >= MIN_LARGE_RANGES
    }
}

/// Ranges from which on a set is large. The kernel lists fewer in 0.05 s (Linux 6.18).
const MIN_LARGE_RANGES: usize = 16_384;

/// How the kernel stores a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Intervals: prefixes of any length.
    Prefixes,
    /// A hash of single addresses: lookups take constant time, and elements can be changed one by one.
    Hosts,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// The hook and policy of a base chain.
    pub base: Option<Base>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The hook.
    pub hook: Hook,
    /// What happens to packets that no rule decides.
    pub policy: ChainPolicy,
}

/// A rule: if all matches hold, it logs, counts and takes its action, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The matches.
    pub matches: Vec<Match>,
    /// A log entry.
    pub log: Option<Log>,
    /// The name of a counter.
    pub counter: Option<String>,
    /// What the rule does with the packet.
    pub action: Action,
    /// Why it does so.
    pub label: Option<Label>,
}

/// A rate-limited log entry. The limit is a match in nftables, so a rule that logs has no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The text before each entry.
    pub prefix: String,
    /// How many entries are written.
    pub rate: Rate,
}

/// What a rule does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: the next rule sees it.
    Continue,
    /// Decides.
    Verdict(Verdict),
    /// Calls another chain, and goes on if that does not decide.
    Jump(String),
    /// Goes to another chain for good.
    Goto(String),
    /// Jumps to the chain of the packet's protocol number, if it has one.
    ByProtocol(BTreeMap<u8, String>),
    /// Jumps to the chain of the packet's port, if it has one. The ranges are disjoint.
    ByPort {
        /// TCP, UDP or SCTP.
        protocol: Transport,
        /// Which port.
        end: PacketEnd,
        /// Chains by range, in order.
        chains: Vec<((u16, u16), String)>,
    },
    /// The packet is not tracked by conntrack.
    Notrack,
}

/// A condition on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It arrived through the loopback interface (`Source`), or leaves through it (`Destination`).
    Loopback(PacketEnd),
    /// It arrived through an interface with such a name (`Source`), or leaves through one (`Destination`).
    Interface(PacketEnd, InterfacePattern),
    /// Its conntrack state is one of these.
    State(Vec<CtState>),
    /// It is of this family.
    Family(Family),
    /// It is of the family, and its address at one end is in a set of that family.
    Address(PacketEnd, Family, String),
    /// Its port at one end is one of these.
    Port(Transport, PacketEnd, PortSet),
    /// It is an ICMP message of the family with one of these types.
    Icmp(Family, IcmpTypes),
    /// It has this protocol number.
    Protocol(u8),
    /// It is a TCP segment that cannot open a connection: ACK or RST is set.
    NotOpening,
}

impl Ruleset {
    /// The ruleset without titles and notes, as the kernel keeps it.
    #[must_use]
    pub fn without_notes(mut self) -> Self {
        self.title.clear();
        self.sets.values_mut().for_each(|set| set.note.clear());
        self
    }

    /// The ruleset with the answers of DNS that another one has: the elements of its sets of hosts, where both have
    /// the set.
    #[must_use]
    pub fn with_hosts_of(self, other: &Self) -> Self {
        self.with_hosts(other, |_, theirs| theirs.clone())
    }

    /// The ruleset without the answers of DNS that another one does not have, where both have the set.
    #[must_use]
    pub fn with_common_hosts(self, other: &Self) -> Self {
        self.with_hosts(other, PrefixSet::intersection)
    }

    fn with_hosts(mut self, other: &Self, choose: impl Fn(&PrefixSet, &PrefixSet) -> PrefixSet) -> Self {
        for (name, set) in &mut self.sets {
            let theirs =
                other.sets.get(name).filter(|theirs| theirs.kind == SetKind::Hosts && theirs.family == set.family);
            if let (SetKind::Hosts, Some(theirs)) = (set.kind, theirs) {
                set.elements = choose(&set.elements, &theirs.elements);
            }
        }
        self
    }

    /// The rules of all chains.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.chains.iter().flat_map(|chain| &chain.rules)
    }

    /// The names of the sets that rules match.
    pub fn used_sets(&self) -> BTreeSet<&str> {
        let names = self.rules().flat_map(|rule| &rule.matches).filter_map(|condition| match condition {
            Match::Address(_, _, set) => Some(set.as_str()),
            _ => None,
        });
        names.collect()
    }

    /// The names of the counters that rules use.
    pub fn used_counters(&self) -> BTreeSet<String> {
        self.rules().filter_map(|rule| rule.counter.clone()).collect()
    }

    /// The base chain at a hook.
    pub fn base_chain(&self, hook: Hook) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.base.is_some_and(|base| base.hook == hook))
    }

    /// The chain with a name.
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }
}

impl SetKind {
    /// The elements that a set of this kind has for some addresses, in order: prefixes, or single addresses.
    pub fn elements(self, addresses: &PrefixSet) -> Box<dyn Iterator<Item = Prefix> + '_> {
        match self {
            SetKind::Prefixes => Box::new(addresses.prefixes()),
            SetKind::Hosts => Box::new(addresses.addresses().map(Prefix::from)),
        }
    }
}

impl Rule {
    /// A rule that neither logs nor counts, without a label.
    pub fn new(matches: impl Into<Vec<Match>>, action: Action) -> Self {
        Self { matches: matches.into(), log: None, counter: None, action, label: None }
    }

    /// The flow whose packets the rule counts.
    pub fn flow(&self) -> Option<&str> {
        self.counter.as_deref()?.strip_prefix(FLOW_COUNTER)
    }
}
