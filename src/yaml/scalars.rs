//! The scalars that several formats share.

use std::net::IpAddr;
use std::str::FromStr;

use super::declare::scalar;
use super::decode::Decode;
use super::tree::Node;
use crate::diag::{Code, Problems, is_invisible};
use crate::net::{DomainName, Prefix, PrefixError, Slip, parse_address};

/// They have a meaning in few scripts, and are invisible in all others.
const JOINERS: [char; 2] = ['\u{200c}', '\u{200d}'];

impl Decode for String {
    /// Reads text that is shown in output. Refuses control characters, which could end a comment line, and invisible
    /// characters, which can make a text look like another one.
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (text, _) = node.scalar("text", problems)?;
        if let Some(bad) = text.chars().find(|&c| is_invisible(c) || JOINERS.contains(&c)) {
            let message = format!("the character U+{:04X} is not allowed in text", u32::from(bad));
            problems.push_with_help(Code::InvalidText, node.span, message, "write one line of visible characters");
            return None;
        }
        Some(text.to_owned())
    }
}

/// Reports a text that is not what was expected, if it is known what it looks like.
fn report_slip(text: &str, what: &str, code: Code, node: &Node, problems: &mut Problems) -> bool {
    let slip = Slip::of(text);
    if let Some(slip) = &slip {
        problems.push_with_help(code, node.span, format!("`{text}` is not {what}: it is {slip}"), slip.help());
    }
    slip.is_some()
}

fn report_prefix_error(error: &PrefixError, code: Code, node: &Node, problems: &mut Problems) {
    let message = error.to_string();
    match error {
        PrefixError::HostBits(_, truncated) => {
            let help = format!("write `{truncated}` for the whole network, or the address alone");
            problems.push_with_help(Code::HostBits, node.span, message, help);
        }
        PrefixError::Mapped(_, v4) => problems.push_with_help(code, node.span, message, format!("write `{v4}`")),
        PrefixError::LeadingZero(_) => {
            problems.push_with_help(code, node.span, message, "remove the leading zero");
        }
        PrefixError::Address(_) | PrefixError::Length(..) => problems.push(code, node.span, message),
    }
}

/// Reads a prefix, or an address as the prefix of full length.
pub fn decode_prefix(node: &Node, problems: &mut Problems) -> Option<Prefix> {
    let (text, _) = node.scalar("a prefix such as `10.0.0.0/8` or an address", problems)?;
    match text.parse() {
        Ok(prefix) => Some(prefix),
        Err(error) => {
            if !report_slip(text, "an address or prefix", Code::InvalidPrefix, node, problems) {
                report_prefix_error(&error, Code::InvalidPrefix, node, problems);
            }
            None
        }
    }
}

scalar!(Prefix, {
    "type": "string",
    "description": "An IPv4 or IPv6 prefix without host bits, such as `10.0.0.0/8`, or an address."
}, "Prefix", |node, problems| decode_prefix(node, problems));

impl Decode for IpAddr {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let (text, _) = node.scalar("an address", problems)?;
        match parse_address(text) {
            Ok(address) => Some(address),
            Err(error) => {
                if !report_slip(text, "an IP address", Code::InvalidAddress, node, problems) {
                    report_prefix_error(&error, Code::InvalidAddress, node, problems);
                }
                None
            }
        }
    }
}

scalar!(DomainName, {
    "type": "string",
    "description": "An absolute host name such as `host.example.com`."
}, "DomainName", |node, problems| {
    let (text, _) = node.scalar("a host name", problems)?;
    match DomainName::from_str(text) {
        Ok(name) => Some(name),
        Err(error) => {
            if !report_slip(text, "a host name", Code::InvalidHostName, node, problems) {
                problems.push_with_help(Code::InvalidHostName, node.span, error.to_string(), error.help());
            }
            None
        }
    }
});

/// A peer as written: an address or prefix, or a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefixOrName {
    /// Addresses.
    Prefix(Prefix),
    /// A name, resolved later.
    Name(DomainName),
}

/// Whether a text is meant as an address: it has a colon or a slash, or only digits and dots.
fn looks_like_address(text: &str) -> bool {
    text.contains([':', '/']) || text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

scalar!(PrefixOrName, {
    "type": "string",
    "description": "A prefix, an address or an absolute host name."
}, "PrefixOrName", |node, problems| {
    let (text, _) = node.scalar("a prefix, an address or a host name", problems)?;
    if looks_like_address(text) {
        Prefix::decode(node, problems).map(PrefixOrName::Prefix)
    } else {
        DomainName::decode(node, problems).map(PrefixOrName::Name)
    }
});

/// One host as written: an address or a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressOrName {
    /// Its address.
    Address(IpAddr),
    /// Its name, resolved later.
    Name(DomainName),
}

scalar!(AddressOrName, {
    "type": "string",
    "description": "An address or an absolute host name."
}, "AddressOrName", |node, problems| {
    let (text, _) = node.scalar("an address or a host name", problems)?;
    if looks_like_address(text) {
        IpAddr::decode(node, problems).map(AddressOrName::Address)
    } else {
        DomainName::decode(node, problems).map(AddressOrName::Name)
    }
});
