//! Statements of rules that are not matches.

use super::vocabulary::{Vocabulary, vocabulary};
use crate::net::RateUnit;

/// A statement of a rule that is not a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// Ends the chain: the packet goes on.
    Accept,
    /// Ends the chain: the packet is dropped.
    Drop,
    /// Drops the packet and tells its sender.
    Reject,
    /// Goes to a chain and comes back.
    Jump,
    /// Goes to a chain for good.
    Goto,
    /// Goes to the chain that a map has for the packet.
    VerdictMap,
    /// Keeps conntrack from tracking the packet.
    Notrack,
    /// Matches up to a rate.
    Limit,
    /// Writes to the kernel's log.
    Log,
    /// Counts the packet.
    Counter,
}

/// Statements.
pub const STATEMENTS: Vocabulary<StatementKind> = vocabulary! {
    StatementKind::Accept => "accept",
    StatementKind::Drop => "drop",
    StatementKind::Reject => "reject",
    StatementKind::Jump => "jump",
    StatementKind::Goto => "goto",
    StatementKind::VerdictMap => "vmap",
    StatementKind::Notrack => "notrack",
    StatementKind::Limit => "limit",
    StatementKind::Log => "log",
    StatementKind::Counter => "counter",
};

/// What a reject answers with: the ICMP of either family.
pub const REJECT_TYPE: &str = "icmpx";

/// The code of that answer: administratively prohibited (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1).
pub const REJECT_CODE: &str = "admin-prohibited";

/// Units of time of a rate.
pub const RATE_UNITS: Vocabulary<RateUnit> = Vocabulary::new(&RateUnit::ALL, RateUnit::name);

/// Packets that a limit lets through beyond its rate where a rule does not say how many. edgeward never does.
pub const DEFAULT_BURST: u32 = 5;

#[cfg(test)]
mod tests {
    use super::super::vocabulary::assert_round_trips;
    use super::*;

    #[test]
    fn words_round_trip() {
        assert_round_trips(STATEMENTS, 10);
        assert_round_trips(RATE_UNITS, 4);
    }
}
