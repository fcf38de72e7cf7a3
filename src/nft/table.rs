//! Tables, chains and sets: families, types, hooks, priorities, policies.

use super::vocabulary::{Vocabulary, vocabulary};
use crate::net::{ChainPolicy, Family, Hook};

/// The family of a table whose chains see IP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFamily {
    /// Both IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// The family of edgeward's table.
pub const OWN_FAMILY: TableFamily = TableFamily::Inet;

/// Families of tables.
pub const TABLE_FAMILIES: Vocabulary<TableFamily> = vocabulary! {
    TableFamily::Inet => "inet",
    TableFamily::Ip => "ip",
    TableFamily::Ip6 => "ip6",
};

/// The type of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainType {
    /// Sees every packet.
    Filter,
    /// Sees the first packet of each connection.
    Nat,
    /// Like `filter`; a packet that it changes is routed again.
    Route,
}

/// Types of base chains.
pub const CHAIN_TYPES: Vocabulary<ChainType> = vocabulary! {
    ChainType::Filter => "filter",
    ChainType::Nat => "nat",
    ChainType::Route => "route",
};

/// Types of the elements of sets.
pub const SET_TYPES: Vocabulary<Family> = vocabulary! {
    Family::V4 => "ipv4_addr",
    Family::V6 => "ipv6_addr",
};

/// The flag of a set that holds prefixes and ranges.
pub const INTERVAL: &str = "interval";

/// A hook of netfilter at which edgeward has chains. The others are ingress, egress and postrouting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetfilterHook {
    /// Before routing: what comes in.
    Prerouting,
    /// To a socket of this host.
    Input,
    /// From one interface to another.
    Forward,
    /// From a socket of this host.
    Output,
}

/// Hooks.
pub const NETFILTER_HOOKS: Vocabulary<NetfilterHook> = vocabulary! {
    NetfilterHook::Prerouting => "prerouting",
    NetfilterHook::Input => "input",
    NetfilterHook::Forward => "forward",
    NetfilterHook::Output => "output",
};

/// A priority that edgeward's chains have. Chains with smaller numbers see a packet first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Before conntrack.
    Raw,
    /// Where packets are filtered.
    Filter,
}

/// Priorities by name. nft since 0.9.1 lists the name in text, and the number in JSON; `emit` writes numbers.
pub const PRIORITIES: Vocabulary<Priority> = vocabulary! {
    Priority::Raw => "raw",
    Priority::Filter => "filter",
};

impl Priority {
    /// Its number (`enum nf_ip_hook_priorities` in the kernel's `netfilter_ipv4.h`).
    pub fn number(self) -> i32 {
        match self {
            Priority::Raw => -300,
            Priority::Filter => 0,
        }
    }

    /// The priority with a name or number.
    pub fn read(word: &str) -> Option<Self> {
        let has_number = |priority: &Self| priority.number().to_string() == word;
        PRIORITIES.value(word).or_else(|| PRIORITIES.values().find(has_number))
    }
}

/// Where a base chain is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The hook.
    pub hook: NetfilterHook,
    /// The priority.
    pub priority: Priority,
}

impl Attachment {
    /// Where edgeward's chain for one of its hooks is attached.
    pub fn of(hook: Hook) -> Self {
        let (hook, priority) = match hook {
            Hook::Input => (NetfilterHook::Input, Priority::Filter),
            Hook::Output => (NetfilterHook::Output, Priority::Filter),
            Hook::Forward => (NetfilterHook::Forward, Priority::Filter),
            Hook::RawPrerouting => (NetfilterHook::Prerouting, Priority::Raw),
            Hook::RawOutput => (NetfilterHook::Output, Priority::Raw),
        };
        Self { hook, priority }
    }

    /// Which of edgeward's hooks it is; `None` where edgeward has no chain.
    pub fn own_hook(self) -> Option<Hook> {
        Hook::ALL.into_iter().find(|hook| Self::of(*hook) == self)
    }
}

/// Policies of base chains.
pub const CHAIN_POLICIES: Vocabulary<ChainPolicy> =
    Vocabulary::new(&[ChainPolicy::Accept, ChainPolicy::Drop], |policy| policy.verdict().name());

#[cfg(test)]
mod tests {
    use super::super::vocabulary::assert_round_trips;
    use super::*;

    #[test]
    fn words_round_trip() {
        assert_round_trips(TABLE_FAMILIES, 3);
        assert_round_trips(CHAIN_TYPES, 3);
        assert_round_trips(SET_TYPES, 2);
        assert_round_trips(NETFILTER_HOOKS, 4);
        assert_round_trips(PRIORITIES, 2);
        assert_round_trips(CHAIN_POLICIES, 2);
    }

    #[test]
    fn every_hook_has_its_own_attachment() {
        for hook in Hook::ALL {
            assert_eq!(Attachment::of(hook).own_hook(), Some(hook));
        }
        let elsewhere = Attachment { hook: NetfilterHook::Forward, priority: Priority::Raw };
        assert_eq!(elsewhere.own_hook(), None);
    }

    #[test]
    fn priorities_have_a_name_and_a_number() {
        for priority in PRIORITIES.values() {
            assert_eq!(Priority::read(PRIORITIES.word(priority)), Some(priority));
            assert_eq!(Priority::read(&priority.number().to_string()), Some(priority));
        }
        for word in ["", "00", "+0", "-0", "mangle", "-150", "filter + 10"] {
            assert_eq!(Priority::read(word), None, "{word:?}");
        }
    }
}
