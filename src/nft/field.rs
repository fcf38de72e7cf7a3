//! What matches and verdict maps look at, and what they compare it with.

use super::vocabulary::{Vocabulary, vocabulary};
use crate::net::{CtState, Family, PacketEnd, Transport};

/// Something about a packet that a match compares, or that a verdict map is indexed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The interface that it came in through (`Source`), or leaves through (`Destination`).
    Interface(PacketEnd),
    /// The name of that interface: it may be made, removed and made again.
    InterfaceName(PacketEnd),
    /// Its address family.
    Family,
    /// The number of the protocol above IP.
    Protocol,
    /// What conntrack says of it.
    CtState,
    /// One of its addresses.
    Address(Family, PacketEnd),
    /// One of its ports.
    Port(Transport, PacketEnd),
    /// The type of an ICMP message.
    IcmpType(Family),
    /// The flags of a TCP segment.
    TcpFlags,
}

/// The word before the names of fields that the kernel keeps with a packet.
pub const META: &str = "meta";

/// The word before the names of fields of conntrack.
pub const CT: &str = "ct";

/// [`Field::ALL`] and [`Field::words`] from one table. A field without a row does not compile.
macro_rules! fields {
    ($([$($field:tt)+] => $part:expr, $name:literal;)+) => {
        impl Field {
            /// All of them.
            pub const ALL: &'static [Field] = &[$($($field)+),+];

            /// Its two words: what it is part of, and its name there.
            pub fn words(self) -> (&'static str, &'static str) {
                match self {
                    $($($field)+ => ($part, $name),)+
                }
            }
        }
    };
}

fields! {
    [Field::Interface(PacketEnd::Source)] => META, "iif";
    [Field::Interface(PacketEnd::Destination)] => META, "oif";
    [Field::InterfaceName(PacketEnd::Source)] => META, "iifname";
    [Field::InterfaceName(PacketEnd::Destination)] => META, "oifname";
    [Field::Family] => META, "nfproto";
    [Field::Protocol] => META, "l4proto";
    [Field::CtState] => CT, "state";
    [Field::Address(Family::V4, PacketEnd::Source)] => "ip", "saddr";
    [Field::Address(Family::V4, PacketEnd::Destination)] => "ip", "daddr";
    [Field::Address(Family::V6, PacketEnd::Source)] => "ip6", "saddr";
    [Field::Address(Family::V6, PacketEnd::Destination)] => "ip6", "daddr";
    [Field::Port(Transport::Tcp, PacketEnd::Source)] => "tcp", "sport";
    [Field::Port(Transport::Tcp, PacketEnd::Destination)] => "tcp", "dport";
    [Field::Port(Transport::Udp, PacketEnd::Source)] => "udp", "sport";
    [Field::Port(Transport::Udp, PacketEnd::Destination)] => "udp", "dport";
    [Field::Port(Transport::Sctp, PacketEnd::Source)] => "sctp", "sport";
    [Field::Port(Transport::Sctp, PacketEnd::Destination)] => "sctp", "dport";
    [Field::IcmpType(Family::V4)] => "icmp", "type";
    [Field::IcmpType(Family::V6)] => "icmpv6", "type";
    [Field::TcpFlags] => "tcp", "flags";
}

impl Field {
    /// The field with these words.
    pub fn named(part: &str, name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.words() == (part, name))
    }
}

/// The loopback interface.
pub const LOOPBACK: &str = "lo";

/// The values of `meta nfproto`.
pub const NETWORK_PROTOCOLS: Vocabulary<Family> = vocabulary! {
    Family::V4 => "ipv4",
    Family::V6 => "ipv6",
};

/// States of conntrack, in the order in which nft lists them.
pub const CT_STATES: Vocabulary<CtState> = Vocabulary::new(
    &[CtState::Invalid, CtState::Established, CtState::Related, CtState::New, CtState::Untracked],
    CtState::name,
);

/// A flag of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpFlag {
    /// The connection is reset.
    Rst,
    /// The acknowledgment number is valid.
    Ack,
}

/// Flags of TCP.
pub const TCP_FLAGS: Vocabulary<TcpFlag> = vocabulary! {
    TcpFlag::Rst => "rst",
    TcpFlag::Ack => "ack",
};

/// A segment with one of these flags cannot open a connection. In the order in which nft lists them.
pub const NOT_OPENING: [TcpFlag; 2] = [TcpFlag::Rst, TcpFlag::Ack];

#[cfg(test)]
mod tests {
    use super::super::vocabulary::assert_round_trips;
    use super::*;

    #[test]
    fn words_round_trip() {
        assert_round_trips(NETWORK_PROTOCOLS, 2);
        assert_round_trips(CT_STATES, 5);
        assert_round_trips(TCP_FLAGS, 2);
    }

    #[test]
    fn every_field_has_its_own_words() {
        for &field in Field::ALL {
            let (part, name) = field.words();
            assert_eq!(Field::named(part, name), Some(field));
        }
        for (part, name) in [("ip", "protocol"), ("meta", "saddr"), ("", ""), ("tcp dport", ""), ("TCP", "dport")] {
            assert_eq!(Field::named(part, name), None, "{part} {name}");
        }
    }
}
