//! The names that nft has for numbers, and lists in their place.

use std::borrow::Cow;

use super::elements::number;
use super::form::Word;
use super::{Reading, malformed, quoted, unknown};

/// ICMP types (RFC 792, RFC 950, RFC 1256), as `nft describe icmp type` has them.
const ICMP: &[(&str, u8)] = &[
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
];

/// ICMPv6 types (RFC 4443, RFC 2710, RFC 3810, RFC 4861, RFC 2894, RFC 3122), as `nft describe icmpv6 type` has them.
const ICMPV6: &[(&str, u8)] = &[
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
];

/// Protocol numbers (IANA), by the first name that distributions have in `/etc/protocols`: nft lists whatever stands
/// there, so there may be several for one number.
const PROTOCOLS: &[(&str, u8)] = &[
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
];

/// Reads an ICMP type.
pub fn icmp_type(word: &Word<'_>) -> Reading<u8> {
    small(word, ICMP, "type of ICMP")
}

/// Reads an ICMPv6 type.
pub fn icmpv6_type(word: &Word<'_>) -> Reading<u8> {
    small(word, ICMPV6, "type of ICMPv6")
}

/// Reads a protocol.
pub fn protocol(word: &Word<'_>) -> Reading<u8> {
    small(word, PROTOCOLS, "protocol")
}

/// Reads a port. nft lists numbers, unless it is asked for names of services (`nft -S`).
pub fn port(word: &Word<'_>) -> Reading<u16> {
    if word.value.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let message = format!("{} is not the number of a port", quoted(&word.value));
        return Err(unknown(word.span, message, "write the number: names of services differ between machines"));
    }
    number(&word.value).and_then(|number| number.try_into().ok()).ok_or_else(|| {
        let message = format!("{} is not a port from 0 to 65535", quoted(&word.value));
        malformed(word.span, message, "write a decimal number without leading zeros")
    })
}

fn small(word: &Word<'_>, names: &[(&str, u8)], what: &str) -> Reading<u8> {
    if let Ok(index) = names.binary_search_by_key(&&*word.value, |(name, _)| name) {
        return Ok(names[index].1);
    }
    if word.value.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let message = format!("{} is no {what} that edgeward knows", quoted(&word.value));
        return Err(unknown(word.span, message, "write its number"));
    }
    number(&word.value).and_then(|number| number.try_into().ok()).ok_or_else(|| {
        let message = format!("{} is not a {what} from 0 to 255", quoted(&word.value));
        malformed(word.span, message, "write a decimal number without leading zeros")
    })
}

/// Checks that a text can stand between quotes in nft text, which has no escapes.
pub fn plain_text<'a>(word: &'a Word<'_>) -> Reading<&'a str> {
    if word.value.contains(|c: char| c == '"' || c.is_control()) {
        let help = "leave out double quotes and control characters: nft text has no escapes";
        return Err(malformed(word.span, format!("{} cannot stand in nft text", quoted(&word.value)), help));
    }
    Ok(&word.value)
}

/// Checks that a text can be the prefix of a log, in which nft text looks for variables.
pub fn log_prefix<'a>(word: &'a Word<'_>) -> Reading<&'a str> {
    if word.value.contains('$') {
        let message = format!("{} has a `$`, which begins a variable", quoted(&word.value));
        return Err(unknown(word.span, message, "leave it out"));
    }
    plain_text(word)
}

/// Checks that a word is a name as nft text can write it.
pub fn identifier(word: &Word<'_>) -> Reading<String> {
    let starts_well = word.value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    if starts_well && word.value.len() < 256 && word.value.bytes().all(is_good) {
        return Ok(Cow::into_owned(word.value.clone()));
    }
    let help = "a name has a letter, then letters, digits, `_`, `-`, `.` and `/`, 255 at most";
    Err(malformed(word.span, format!("{} is not a name", quoted(&word.value)), help))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Span, Spanned};

    fn word(text: &str) -> Word<'_> {
        Spanned { value: text.into(), span: Span::default() }
    }

    #[test]
    fn names_can_be_searched() {
        for names in [ICMP, ICMPV6, PROTOCOLS] {
            assert!(names.is_sorted_by(|one, next| one.0 < next.0), "{names:?}");
        }
    }

    #[test]
    fn numbers_are_plain() {
        assert_eq!(port(&word("0")).unwrap(), 0);
        assert_eq!(icmpv6_type(&word("255")).unwrap(), 255);
        for text in ["022", "0x16", "+1", "-1", "", "1.0", "65536", "4294967296", "1 "] {
            assert_eq!(port(&word(text)).unwrap_err().code.name(), "ruleset-syntax", "{text}");
            assert_eq!(protocol(&word(text)).unwrap_err().code.name(), "ruleset-syntax", "{text}");
        }
        assert_eq!(port(&word("ssh")).unwrap_err().code.name(), "unknown-construct");
        assert_eq!(icmp_type(&word("nd-redirect")).unwrap_err().code.name(), "unknown-construct");
    }

    #[test]
    fn names_are_bounded() {
        let longest = "a".repeat(255);
        for text in ["a", "_", "output_udp_5000-5010", "a.b/c", &longest] {
            assert_eq!(identifier(&word(text)).unwrap(), text);
        }
        let longer = "a".repeat(256);
        for text in ["", "1a", "-a", "a b", "a\n", "ä", "@a", &longer] {
            identifier(&word(text)).unwrap_err();
        }
    }
}
