//! What people write or paste in place of an address, a prefix or a name, and how that is written here. Every reader of
//! text asks this when it cannot read a word, so that the same slip gets the same help everywhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::{DomainName, Prefix, PrefixSet, parse_address, parse_port};

/// No address, prefix or name with a port is longer. Longer texts are not looked at.
const MAX_LENGTH: usize = 512;
/// A range that takes more prefixes is shown as it is.
const MAX_PREFIXES: usize = 8;

/// What a word that cannot be read looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slip {
    /// A character that looks like another one, or like none, and the text with plain ones.
    Lookalike(char, String),
    /// A URL: its host.
    Url(String),
    /// A host with a port.
    HostAndPort(String),
    /// An address with a netmask, or with the mask of a router's access list.
    Netmask(Prefix),
    /// A range of addresses, as prefixes.
    Range(PrefixSet),
    /// Several entries in one text.
    Several(String),
    /// All names below a domain.
    Wildcard,
    /// A pattern of addresses, `10.0.0.*`.
    Pattern(Prefix),
    /// An address with the name of an interface.
    Interface(String),
    /// A prefix with too few numbers, `10.0/16`.
    Short(Prefix),
    /// A comma, dot or other mark after an entry.
    Mark(String),
}

impl Slip {
    /// What a text looks like; `None` if it is like nothing that is known.
    pub fn of(text: &str) -> Option<Self> {
        // The help repeats the text, and a control character would change a terminal.
        if text.is_empty() || text.len() > MAX_LENGTH || text.chars().any(|c| c.is_control() && c != '\t') {
            return None;
        }
        if let Some((_, written)) = lookalike(text) {
            return Some(Self::Lookalike(written, plain(text)));
        }
        let text = text.trim();
        let forms = [wildcard, pattern, url, host_and_port, netmask, range, interface, short, mark, several];
        forms.iter().find_map(|form| form(text))
    }

    /// An error with what the text looks like, for command lines.
    pub fn explain(text: &str, error: &impl fmt::Display) -> String {
        match Self::of(text) {
            Some(slip) => format!("it is {slip}: {}", slip.help()),
            None => error.to_string(),
        }
    }

    /// How it is written here, as a help.
    pub fn help(&self) -> String {
        match self {
            Self::Lookalike(_, plain) => format!("write `{plain}`"),
            Self::Url(host) | Self::HostAndPort(host) => {
                format!("write `{host}` alone: a port that can be chosen has a field of its own")
            }
            Self::Netmask(prefix) | Self::Pattern(prefix) | Self::Short(prefix) => format!("write `{prefix}`"),
            Self::Range(set) if set.prefixes().nth(MAX_PREFIXES).is_some() => {
                "write it as prefixes: `edgeward aggregate` makes them from ranges".to_owned()
            }
            Self::Range(set) => format!("write `{set}`"),
            Self::Several(first) => format!("write each as an item of its own, beginning with `{first}`"),
            Self::Wildcard => {
                "write the names that are used, or prefixes: DNS can be asked for a name, and not for all below one"
                    .to_owned()
            }
            Self::Interface(plain) | Self::Mark(plain) => format!("write `{plain}`"),
        }
    }
}

impl fmt::Display for Slip {
    /// What it is, as messages say it: `this looks like a netmask`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Lookalike(c, _) => return write_lookalike(*c, f),
            Self::Url(_) => "a URL",
            Self::HostAndPort(_) => "a host with a port",
            Self::Netmask(_) => "an address with a netmask",
            Self::Range(_) => "a range of addresses",
            Self::Several(_) => "several entries in one",
            Self::Wildcard => "all names below a domain",
            Self::Pattern(_) => "a pattern of addresses",
            Self::Interface(_) => "an address with the name of an interface",
            Self::Short(_) => "a prefix with too few numbers",
            Self::Mark(_) => "an entry with a mark after it",
        };
        f.write_str(what)
    }
}

fn write_lookalike(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let code = u32::from(c);
    match plain_character(c).unwrap_or_default() {
        "" => write!(f, "a text with an invisible character (U+{code:04X})"),
        " " => write!(f, "a text with a blank of another kind (U+{code:04X})"),
        plain => write!(f, "a text with `{c}` (U+{code:04X}) in place of `{plain}`"),
    }
}

/// The characters of ASCII in place of others that look like them or like nothing.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match plain_character(c) {
            Some(ascii) => plain.push_str(ascii),
            None => plain.push(c),
        }
    }
    plain.trim().to_owned()
}

/// The first character that only looks like one of ASCII, or like none, with its place.
pub fn lookalike(text: &str) -> Option<(usize, char)> {
    text.char_indices().find(|(_, c)| plain_character(*c).is_some())
}

/// What a character looks like: one of ASCII, or nothing. Input methods for Chinese write the full-width forms (Unicode,
/// block "Halfwidth and Fullwidth Forms"), word processors the dashes, consoles and chats the blanks.
fn plain_character(c: char) -> Option<&'static str> {
    const ASCII: &str =
        "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";
    match c {
        '\u{ff01}'..='\u{ff5e}' => {
            let at = u32::from(c) as usize - 0xff01;
            ASCII.get(at..=at)
        }
        '\u{3002}' => Some("."),
        '\u{3001}' => Some(","),
        '\u{2010}'..='\u{2015}' | '\u{2212}' => Some("-"),
        '\u{2018}' | '\u{2019}' => Some("'"),
        '\u{201c}' | '\u{201d}' => Some("\""),
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Some(" "),
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Some(""),
        _ => None,
    }
}

/// Whether a text is one that can be written as a peer.
fn is_entry(text: &str) -> bool {
    text.parse::<Prefix>().is_ok() || text.parse::<DomainName>().is_ok()
}

fn wildcard(text: &str) -> Option<Slip> {
    let domain = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'))?;
    domain.parse::<DomainName>().is_ok().then_some(Slip::Wildcard)
}

fn pattern(text: &str) -> Option<Slip> {
    let parts: Vec<&str> = text.split('.').collect();
    let known = parts.iter().take_while(|part| **part != "*").count();
    let whole = parts.len() <= 4 && (1..parts.len()).contains(&known) && parts[known..].iter().all(|part| *part == "*");
    whole.then(|| padded(&parts[..known]))?.map(Slip::Pattern)
}

fn short(text: &str) -> Option<Slip> {
    let (address, length) = text.split_once('/')?;
    let parts: Vec<&str> = address.trim_end_matches('.').split('.').collect();
    let bits: usize = parse_port(length).ok()?.into();
    // With other lengths it is a guess which numbers are missing.
    let fits = parts.len() < 4 && bits <= 8 * parts.len();
    let whole = format!("{}/{length}", fits.then(|| padded(&parts))??.net().network());
    whole.parse().ok().map(Slip::Short)
}

/// The prefix of the first numbers of an address.
fn padded(parts: &[&str]) -> Option<Prefix> {
    let numbers = parts.iter().copied().chain(std::iter::repeat_n("0", 4usize.checked_sub(parts.len())?));
    format!("{}/{}", numbers.collect::<Vec<_>>().join("."), 8 * parts.len()).parse().ok()
}

fn url(text: &str) -> Option<Slip> {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => rest,
        Some(_) => return None,
        // The path of an image, `registry.example.com/team/image`: a prefix has digits after the slash.
        None if text.split_once('/').is_some_and(|(host, _)| host.parse::<DomainName>().is_ok()) => text,
        None => return None,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host_of(authority).map(Slip::Url)
}

/// The host of `host` or `host:port`.
fn host_of(authority: &str) -> Option<String> {
    if let Some(Slip::HostAndPort(host)) = host_and_port(authority) {
        return Some(host);
    }
    let bare = authority.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(authority);
    is_entry(bare).then(|| bare.to_owned())
}

fn host_and_port(text: &str) -> Option<Slip> {
    let (host, port) = text.trim_end_matches('/').rsplit_once(':')?;
    parse_port(port).ok()?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    // Without brackets an IPv6 address has no port.
    let fits = bare.is_some() || !host.contains(':');
    (fits && is_entry(host)).then(|| Slip::HostAndPort(host.to_owned()))
}

/// The length of a netmask, or of the mask of an access list, in which the bits are the other way round.
fn mask_length(mask: Ipv4Addr) -> Option<u32> {
    let bits = mask.to_bits();
    let length = |bits: u32| {
        (bits.leading_ones() + bits.trailing_zeros() == 32 || bits == u32::MAX).then(|| bits.leading_ones())
    };
    // 0.0.0.0 is the netmask of all addresses, and 255.255.255.255 that of one.
    length(bits).or_else(|| length(!bits))
}

fn netmask(text: &str) -> Option<Slip> {
    let (address, mask) = text.split_once('/').or_else(|| text.split_once(char::is_whitespace))?;
    masked(address.trim(), mask.trim()).map(Slip::Netmask)
}

/// The prefix of an address and a netmask.
pub(super) fn masked(address: &str, mask: &str) -> Option<Prefix> {
    let IpAddr::V4(network) = parse_address(address).ok()? else { return None };
    let mask = mask.trim_start_matches("mask ").parse().ok()?;
    let length = mask_length(mask)?;
    format!("{network}/{length}").parse().ok()
}

fn range(text: &str) -> Option<Slip> {
    let (low, high) = text.split_once('-')?;
    let low = parse_address(low.trim()).ok()?;
    // `10.0.0.1-9` means the last number.
    let high = match (parse_address(high.trim()), low) {
        (Ok(high), _) => high,
        (Err(_), IpAddr::V4(low)) => {
            let [a, b, c, _] = low.octets();
            Ipv4Addr::new(a, b, c, high.trim().parse().ok()?).into()
        }
        _ => return None,
    };
    match (low, high) {
        (IpAddr::V4(low), IpAddr::V4(high)) if low <= high => Some(Slip::Range(
            (std::iter::once((low.to_bits(), high.to_bits())).collect(), std::iter::empty().collect()).into(),
        )),
        (IpAddr::V6(low), IpAddr::V6(high)) if low <= high => Some(Slip::Range(
            (std::iter::empty().collect(), std::iter::once((low.to_bits(), high.to_bits())).collect()).into(),
        )),
        _ => None,
    }
}

fn interface(text: &str) -> Option<Slip> {
    let (address, interface) = text.split_once('%')?;
    let known = !interface.is_empty() && parse_address(address).is_ok();
    known.then(|| Slip::Interface(address.to_owned()))
}

fn mark(text: &str) -> Option<Slip> {
    let bare = text.trim_end_matches(['.', ',', ';', ':', '/']).trim_matches(['"', '\'', '<', '>', '(', ')', '`']);
    (bare != text && is_entry(bare)).then(|| Slip::Mark(bare.to_owned()))
}

fn several(text: &str) -> Option<Slip> {
    let mut words = text.split([',', ';', ' ', '\t', '|']).filter(|word| !word.is_empty());
    let first = words.next().filter(|word| is_entry(word))?.to_owned();
    let mut others = words.peekable();
    (others.peek().is_some() && others.all(is_entry)).then_some(Slip::Several(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text looks like, and its help.
    fn seen(text: &str) -> Option<(String, String)> {
        Slip::of(text).map(|slip| (slip.to_string(), slip.help()))
    }

    #[test]
    fn what_people_paste_is_known() {
        for (text, what, form) in [
            ("https://192.168.10.20:6443", "a URL", "`192.168.10.20` alone"),
            ("https://api.example.com/healthz?x=1", "a URL", "`api.example.com` alone"),
            ("http://user@[2001:db8::1]:80/", "a URL", "`2001:db8::1` alone"),
            ("registry.example.com/team/image:v1", "a URL", "`registry.example.com` alone"),
            ("192.168.10.20:6443", "a host with a port", "`192.168.10.20` alone"),
            ("[2001:db8::1]:6443", "a host with a port", "`2001:db8::1` alone"),
            ("api.example.com:443", "a host with a port", "`api.example.com` alone"),
            ("10.0.0.0/255.0.0.0", "an address with a netmask", "`10.0.0.0/8`"),
            ("10.0.0.0 255.255.0.0", "an address with a netmask", "`10.0.0.0/16`"),
            ("10.0.0.0/0.0.0.255", "an address with a netmask", "`10.0.0.0/24`"),
            ("10.0.0.0-10.0.0.255", "a range of addresses", "`10.0.0.0/24`"),
            ("10.0.0.0 - 10.0.0.2", "a range of addresses", "`10.0.0.0/31, 10.0.0.2`"),
            ("10.0.0.1-2", "a range of addresses", "`10.0.0.1, 10.0.0.2`"),
            ("10.0.0.1-10.255.255.254", "a range of addresses", "edgeward aggregate"),
            ("2001:db8::-2001:db8::f", "a range of addresses", "`2001:db8::/124`"),
            ("*.aliyuncs.com", "all names below a domain", "the names that are used"),
            (".aliyuncs.com", "all names below a domain", "the names that are used"),
            ("10.0.*.*", "a pattern of addresses", "`10.0.0.0/16`"),
            ("10.0/16", "a prefix with too few numbers", "`10.0.0.0/16`"),
            ("fe80::1%eth0", "an address with the name of an interface", "`fe80::1`"),
            ("10.0.0.1.", "an entry with a mark after it", "`10.0.0.1`"),
            ("10.0.0.0/8,", "an entry with a mark after it", "`10.0.0.0/8`"),
            ("10.0.0.0/8,192.168.0.0/16", "several entries in one", "`10.0.0.0/8`"),
            ("10.0.0.1 b.example.com", "several entries in one", "`10.0.0.1`"),
            ("10.0.0.0／8", "in place of `/`", "`10.0.0.0/8`"),
            ("１０.0.0.0/8", "(U+FF11) in place of `1`", "`10.0.0.0/8`"),
            ("10.0.0.0/8，10.1.0.0/16", "in place of `,`", "`10.0.0.0/8,10.1.0.0/16`"),
            ("10。0。0。1", "in place of `.`", "`10.0.0.1`"),
            ("10.0.0.1–10.0.0.9", "in place of `-`", "`10.0.0.1-10.0.0.9`"),
            ("10.0.0.1\u{a0}", "a blank of another kind (U+00A0)", "`10.0.0.1`"),
            ("10.0.0.1\u{200b}", "an invisible character (U+200B)", "`10.0.0.1`"),
            ("\u{feff}10.0.0.1", "an invisible character (U+FEFF)", "`10.0.0.1`"),
        ] {
            let (seen, help) = seen(text).unwrap_or_else(|| panic!("{text}"));
            assert!(seen.ends_with(what) || seen.contains(what), "{text}: {seen}");
            assert!(help.contains(form), "{text}: {help}");
        }
    }

    #[test]
    fn what_is_like_nothing_gets_no_guess() {
        for text in [
            "",
            "10.0.0.256",
            "hello",
            "10.0.0.0/33",
            "10.0.0.0/255.0.255.0",
            "10.0.0.1/255.0.0.0",
            "10.0.0.9-10.0.0.1",
            "1.2.3.4:0",
            "2001:db8::1:6443x",
            "ftp://",
            "http://:80",
            "*.",
            "*",
            "10.*.0.*",
            "a/b",
            "10/24",
            "%eth0",
            "杭州",
        ] {
            assert_eq!(seen(text), None, "{text}");
        }
        assert_eq!(Slip::of(&"1".repeat(MAX_LENGTH + 1)), None);
    }
}
