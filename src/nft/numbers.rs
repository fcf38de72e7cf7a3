//! The names of numbers, which nft lists in their place: ICMP types and protocols.

use super::vocabulary::Vocabulary;
use crate::net::{Family, Protocol};

/// Names and their numbers, sorted by name. A number may have several names.
#[derive(Clone, Copy, Debug)]
pub struct NamedNumbers(&'static [(&'static str, u8)]);

impl NamedNumbers {
    /// The number with a name.
    pub fn number(&self, name: &str) -> Option<u8> {
        let index = self.0.binary_search_by_key(&name, |(name, _)| name).ok()?;
        Some(self.0[index].1)
    }
}

/// Protocols with ports or types.
const KEYWORDS: [Protocol; 5] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Icmp, Protocol::Icmpv6];

/// The protocols above IP that nft's own grammar has words for. Other names are looked up in `/etc/protocols`, which
/// a small system may lack.
const PROTOCOL_KEYWORDS: Vocabulary<Protocol> = Vocabulary::new(&KEYWORDS, Protocol::name);

/// The word that nft's own grammar has for a protocol number.
pub fn protocol_keyword(number: u8) -> Option<&'static str> {
    let protocol = PROTOCOL_KEYWORDS.values().find(|protocol| protocol.number() == number)?;
    Some(PROTOCOL_KEYWORDS.word(protocol))
}

/// The types of a family's ICMP.
pub fn icmp_types(family: Family) -> NamedNumbers {
    match family {
        Family::V4 => ICMP_TYPES,
        Family::V6 => ICMPV6_TYPES,
    }
}

/// ICMP types (RFC 792, RFC 950, RFC 1256), as `nft describe icmp type` has them.
const ICMP_TYPES: NamedNumbers = NamedNumbers(&[
    ("address-mask-reply", 18),
    ("address-mask-request", 17),
    ("destination-unreachable", 3),
    ("echo-reply", 0),
    ("echo-request", 8),
    ("info-reply", 16),
    ("info-request", 15),
    ("parameter-problem", 12),
    ("redirect", 5),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("source-quench", 4),
    ("time-exceeded", 11),
    ("timestamp-reply", 14),
    ("timestamp-request", 13),
]);

/// ICMPv6 types (RFC 4443, RFC 2710, RFC 3810, RFC 4861, RFC 2894, RFC 3122), as `nft describe icmpv6 type` has them.
const ICMPV6_TYPES: NamedNumbers = NamedNumbers(&[
    ("destination-unreachable", 1),
    ("echo-reply", 129),
    ("echo-request", 128),
    ("ind-neighbor-advert", 142),
    ("ind-neighbor-solicit", 141),
    ("mld-listener-done", 132),
    ("mld-listener-query", 130),
    ("mld-listener-reduction", 132),
    ("mld-listener-report", 131),
    ("mld2-listener-report", 143),
    ("nd-neighbor-advert", 136),
    ("nd-neighbor-solicit", 135),
    ("nd-redirect", 137),
    ("nd-router-advert", 134),
    ("nd-router-solicit", 133),
    ("packet-too-big", 2),
    ("parameter-problem", 4),
    ("router-renumbering", 138),
    ("time-exceeded", 3),
]);

/// Protocol numbers (IANA), by the first name that distributions have in `/etc/protocols`. nft lists the names of that
/// file, so a number may have several.
pub const PROTOCOLS: NamedNumbers = NamedNumbers(&[
    ("ah", 51),
    ("ax.25", 93),
    ("dccp", 33),
    ("ddp", 37),
    ("egp", 8),
    ("eigrp", 88),
    ("encap", 98),
    ("esp", 50),
    ("etherip", 97),
    ("ethernet", 143),
    ("fc", 133),
    ("ggp", 3),
    ("gre", 47),
    ("hip", 139),
    ("hmp", 20),
    ("hopopt", 0),
    ("icmp", 1),
    ("icmpv6", 58),
    ("idpr-cmtp", 38),
    ("idrp", 45),
    ("igmp", 2),
    ("igp", 9),
    ("ip", 0),
    ("ipcomp", 108),
    ("ipencap", 4),
    ("ipip", 94),
    ("ipv4", 4),
    ("ipv6", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("isis", 124),
    ("iso-tp4", 29),
    ("l2tp", 115),
    ("manet", 138),
    ("mobility-header", 135),
    ("mpls-in-ip", 137),
    ("ospf", 89),
    ("ospfigp", 89),
    ("pim", 103),
    ("pup", 12),
    ("rdp", 27),
    ("rohc", 142),
    ("rspf", 73),
    ("rsvp", 46),
    ("sctp", 132),
    ("shim6", 140),
    ("skip", 57),
    ("st", 5),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vmtp", 81),
    ("vrrp", 112),
    ("wesp", 141),
    ("xns-idp", 22),
    ("xtp", 36),
]);

#[cfg(test)]
mod tests {
    use super::super::vocabulary::assert_round_trips;
    use super::*;

    #[test]
    fn names_can_be_searched() {
        for NamedNumbers(names) in [ICMP_TYPES, ICMPV6_TYPES, PROTOCOLS] {
            assert!(names.is_sorted_by(|one, next| one.0 < next.0), "{names:?}");
            for (name, number) in names {
                assert_eq!(NamedNumbers(names).number(name), Some(*number));
            }
        }
        assert_eq!(PROTOCOLS.number("frobnicate"), None);
    }

    #[test]
    fn keywords_are_names_of_protocols() {
        assert_round_trips(PROTOCOL_KEYWORDS, 5);
        let keywords: Vec<&str> = (0..=255).filter_map(protocol_keyword).collect();
        assert_eq!(keywords, ["icmp", "tcp", "udp", "icmpv6", "sctp"]);
        for number in 0..=255 {
            assert!(protocol_keyword(number).is_none_or(|word| PROTOCOLS.number(word) == Some(number)), "{number}");
        }
    }
}
