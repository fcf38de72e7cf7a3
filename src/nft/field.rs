//! What matches and verdict maps look at, and what they compare it with.

use super::vocabulary::{Vocabulary, vocabulary};
use crate::net::{CtState, Family, PacketEnd, Transport};

/// Something about a packet that a match compares, or that a verdict map is indexed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The interface that it came in through (`Source`), or leaves through (`Destination`).
    Interface(PacketEnd),
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

impl Field {
    /// All of them.
    pub const ALL: [Field; 16] = {
        use Family::{V4, V6};
        use PacketEnd::{Destination, Source};
        use Transport::{Tcp, Udp};
        [
            Field::Interface(Source),
            Field::Interface(Destination),
            Field::Family,
            Field::Protocol,
            Field::CtState,
            Field::Address(V4, Source),
            Field::Address(V4, Destination),
            Field::Address(V6, Source),
            Field::Address(V6, Destination),
            Field::Port(Tcp, Source),
            Field::Port(Tcp, Destination),
            Field::Port(Udp, Source),
            Field::Port(Udp, Destination),
            Field::IcmpType(V4),
            Field::IcmpType(V6),
            Field::TcpFlags,
        ]
    };

    /// Its two words: what it is part of, and its name there.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Field::Interface(end) => (META, INTERFACES.word(end)),
            Field::Family => (META, "nfproto"),
            Field::Protocol => (META, "l4proto"),
            Field::CtState => (CT, "state"),
            Field::Address(family, end) => (IP_HEADERS.word(family), ADDRESSES.word(end)),
            Field::Port(transport, end) => (TRANSPORTS.word(transport), PORTS.word(end)),
            Field::IcmpType(family) => (ICMP_HEADERS.word(family), "type"),
            Field::TcpFlags => (TRANSPORTS.word(Transport::Tcp), "flags"),
        }
    }

    /// The field with these words.
    pub fn named(part: &str, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.words() == (part, name))
    }
}

/// Headers with addresses.
const IP_HEADERS: Vocabulary<Family> = vocabulary! {
    Family::V4 => "ip",
    Family::V6 => "ip6",
};

/// The addresses of a header.
const ADDRESSES: Vocabulary<PacketEnd> = vocabulary! {
    PacketEnd::Source => "saddr",
    PacketEnd::Destination => "daddr",
};

/// Headers with ports.
const TRANSPORTS: Vocabulary<Transport> = Vocabulary::new(&[Transport::Tcp, Transport::Udp], Transport::name);

/// The ports of a header.
const PORTS: Vocabulary<PacketEnd> = vocabulary! {
    PacketEnd::Source => "sport",
    PacketEnd::Destination => "dport",
};

/// Headers of ICMP.
const ICMP_HEADERS: Vocabulary<Family> = vocabulary! {
    Family::V4 => "icmp",
    Family::V6 => "icmpv6",
};

/// Interfaces, by index: where a packet came in, and where it leaves.
pub const INTERFACES: Vocabulary<PacketEnd> = vocabulary! {
    PacketEnd::Source => "iif",
    PacketEnd::Destination => "oif",
};

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
        for of_families in [IP_HEADERS, ICMP_HEADERS, NETWORK_PROTOCOLS] {
            assert_round_trips(of_families, 2);
        }
        for of_ends in [ADDRESSES, PORTS, INTERFACES] {
            assert_round_trips(of_ends, 2);
        }
        assert_round_trips(TRANSPORTS, 2);
        assert_round_trips(CT_STATES, 5);
        assert_round_trips(TCP_FLAGS, 2);
    }

    #[test]
    fn every_field_has_its_own_words() {
        for field in Field::ALL {
            let (part, name) = field.words();
            assert_eq!(Field::named(part, name), Some(field));
        }
        for (part, name) in [("ip", "protocol"), ("meta", "saddr"), ("", ""), ("tcp dport", ""), ("TCP", "dport")] {
            assert_eq!(Field::named(part, name), None, "{part} {name}");
        }
    }
}
