//! Single words: names, numbers, fields and texts.

use std::borrow::Cow;

use super::decimal::decimal;
use super::form::Word;
use super::problem::{Reading, malformed, quoted, unknown};
use crate::net::Family;
use crate::nft::{Field, NamedNumbers, PROTOCOLS, icmp_types};
use crate::source::{Span, Spanned};

/// Bytes of a name (`NFT_NAME_MAXLEN` of the kernel's `nf_tables.h`, less the NUL).
const MAX_NAME: usize = 255;

/// The help for a match that edgeward does not know.
pub const OTHER_MATCHES: &str = "remove the rule, or rewrite it with matches that edgeward writes";

/// The help for a statement that edgeward does not know.
pub const OTHER_STATEMENTS: &str = "remove the rule, or rewrite it with statements that edgeward writes";

/// Reads a field, which has two words.
pub fn field(part: &str, name: &str, span: Span) -> Reading<Spanned<Field>> {
    let field = Field::named(part, name).ok_or_else(|| {
        let message = format!("unsupported field {}", quoted(&format!("{part} {name}")));
        unknown(span, message, OTHER_MATCHES)
    })?;
    Ok(Spanned { value: field, span })
}

/// Reads an ICMP type.
pub fn icmp_type(word: &Word<'_>) -> Reading<u8> {
    small(word, icmp_types(Family::V4), "ICMP type")
}

/// Reads an ICMPv6 type.
pub fn icmpv6_type(word: &Word<'_>) -> Reading<u8> {
    small(word, icmp_types(Family::V6), "ICMPv6 type")
}

/// Reads a protocol.
pub fn protocol(word: &Word<'_>) -> Reading<u8> {
    small(word, PROTOCOLS, "protocol")
}

/// Reads a port. nft lists numbers, and names of services only when asked to (`nft -S`).
pub fn port(word: &Word<'_>) -> Reading<u16> {
    if word.value.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let message = format!("{} is not a port number", quoted(&word.value));
        return Err(unknown(word.span, message, "write the number: names of services differ between hosts"));
    }
    decimal(&word.value).and_then(|number| number.try_into().ok()).ok_or_else(|| {
        let message = format!("{} is not a port from 0 to 65535", quoted(&word.value));
        malformed(word.span, message, "write a decimal number without leading zeros")
    })
}

fn small(word: &Word<'_>, names: NamedNumbers, what: &str) -> Reading<u8> {
    if let Some(number) = names.number(&word.value) {
        return Ok(number);
    }
    if word.value.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let message = format!("unknown {what} {}", quoted(&word.value));
        return Err(unknown(word.span, message, "write its number"));
    }
    decimal(&word.value).and_then(|number| number.try_into().ok()).ok_or_else(|| {
        let message = format!("{} is not a number from 0 to 255", quoted(&word.value));
        malformed(word.span, message, "write a decimal number without leading zeros")
    })
}

/// Checks that a text can be quoted in nft text, which has no escapes.
pub fn plain_text<'a>(word: &'a Word<'_>) -> Reading<&'a str> {
    if word.value.contains(|c: char| c == '"' || c.is_control()) {
        let help = "remove double quotes and control characters: nft text has no escapes";
        return Err(malformed(word.span, format!("{} cannot be quoted in nft text", quoted(&word.value)), help));
    }
    Ok(&word.value)
}

/// Checks that a text can be the prefix of a log, in which nft expands variables.
pub fn log_prefix<'a>(word: &'a Word<'_>) -> Reading<&'a str> {
    if word.value.contains('$') {
        let message = format!("{} has a `$`, which starts a variable", quoted(&word.value));
        return Err(unknown(word.span, message, "remove the `$`"));
    }
    plain_text(word)
}

/// Checks that a word is a name that nft text can have without quotes.
pub fn identifier(word: &Word<'_>) -> Reading<String> {
    let starts_well = word.value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    if starts_well && word.value.len() <= MAX_NAME && word.value.bytes().all(is_allowed) {
        return Ok(Cow::into_owned(word.value.clone()));
    }
    let help = "write a letter or `_`, then letters, digits, `_`, `-`, `.` and `/`, at most 255 characters";
    Err(malformed(word.span, format!("{} is not a valid name", quoted(&word.value)), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word<'_> {
        Spanned { value: text.into(), span: Span::default() }
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
