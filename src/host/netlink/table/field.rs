//! Where the kernel finds the fields of packets.

use super::expression::Load;
use crate::net::{Family, PacketEnd, Protocol};
use crate::nft::Field;
use crate::wording::count;

// `enum nft_meta_keys`: `NFT_META_…`
const IIF: u32 = 4;
const OIF: u32 = 5;
const IIFNAME: u32 = 6;
const OIFNAME: u32 = 7;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;
/// `NFT_CT_STATE` of `enum nft_ct_keys`
const STATE: u32 = 0;
// `enum nft_payload_bases`: `NFT_PAYLOAD_…_HEADER`
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

/// Where a field is, and which packets have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    pub load: Load,
    /// The number of its bytes in the register.
    pub length: usize,
    /// The family of packets that have it, where others have something else there.
    pub family: Option<Family>,
    /// The protocol of packets that have it.
    pub protocol: Option<Protocol>,
}

/// Where a field is.
pub fn location(field: Field) -> Location {
    let kept = |load, length| Location { load, length, family: None, protocol: None };
    let by_end = |end, source, destination| if end == PacketEnd::Source { source } else { destination };
    let part = |base, offset, length: u32, family, protocol| Location {
        load: Load::Payload { base, offset, length },
        length: length as usize,
        family,
        protocol,
    };
    match field {
        Field::Interface(end) => kept(Load::Meta(by_end(end, IIF, OIF)), 4),
        Field::InterfaceName(end) => kept(Load::Meta(by_end(end, IIFNAME, OIFNAME)), 16),
        Field::Family => kept(Load::Meta(NFPROTO), 1),
        Field::Protocol => kept(Load::Meta(L4PROTO), 1),
        Field::CtState => kept(Load::Ct(STATE), 4),
        Field::Address(Family::V4, end) => part(NETWORK, by_end(end, 12, 16), 4, Some(Family::V4), None),
        Field::Address(Family::V6, end) => part(NETWORK, by_end(end, 8, 24), 16, Some(Family::V6), None),
        Field::Port(transport, end) => part(TRANSPORT, by_end(end, 0, 2), 2, None, Some(transport.protocol())),
        Field::IcmpType(Family::V4) => part(TRANSPORT, 0, 1, Some(Family::V4), Some(Protocol::Icmp)),
        Field::IcmpType(Family::V6) => part(TRANSPORT, 0, 1, Some(Family::V6), Some(Protocol::Icmpv6)),
        Field::TcpFlags => part(TRANSPORT, 13, 1, None, Some(Protocol::Tcp)),
    }
}

/// The field that is loaded, of packets of a known family and protocol.
pub fn field(load: Load, family: Option<Family>, protocol: Option<u8>) -> Option<Field> {
    Field::ALL.iter().copied().find(|field| {
        let found = location(*field);
        found.load == load
            && found.family.is_none_or(|required| family == Some(required))
            && found.protocol.is_none_or(|required| protocol == Some(required.number()))
    })
}

/// A load of something that edgeward does not match, in words.
pub fn in_words(load: Load) -> String {
    match load {
        Load::Meta(key) => match META_WORDS.get(key as usize) {
            Some(word) => format!("`meta {word}`"),
            None => format!("the field {key} of `meta`"),
        },
        Load::Ct(key) => format!("the field {key} of `ct`"),
        Load::Payload { base, offset, length } => {
            let header = HEADERS.get(base as usize).unwrap_or(&"unknown");
            format!("{} at offset {offset} of the {header} header", count(length as usize, "byte"))
        }
    }
}

/// nft's words for `enum nft_meta_keys`, in its order.
const META_WORDS: [&str; 22] = [
    "length",
    "protocol",
    "priority",
    "mark",
    "iif",
    "oif",
    "iifname",
    "oifname",
    "iiftype",
    "oiftype",
    "skuid",
    "skgid",
    "nftrace",
    "rtclassid",
    "secmark",
    "nfproto",
    "l4proto",
    "ibrname",
    "obrname",
    "pkttype",
    "cpu",
    "iifgroup",
];

/// Words for `enum nft_payload_bases`, in its order.
const HEADERS: [&str; 4] = ["link", "network", "transport", "inner"];

/// The ports that a load of both has: nft joins two comparisons of neighbouring bytes.
pub fn both_ports(load: Load) -> Option<[Load; 2]> {
    let port = |offset| Load::Payload { base: TRANSPORT, offset, length: 2 };
    (load == Load::Payload { base: TRANSPORT, offset: 0, length: 4 }).then(|| [port(0), port(2)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_again() {
        for &one in Field::ALL {
            let Location { load, family, protocol, .. } = location(one);
            let number = protocol.map(Protocol::number);
            assert_eq!(field(load, family, number), Some(one));
            if family.is_some() {
                assert_ne!(field(load, None, number), Some(one));
            }
            if protocol.is_some() {
                assert_ne!(field(load, family, None), Some(one));
            }
        }
    }
}
