//! The scalars of the policy file.

use std::time::Duration;

use crate::catalog::is_id;
use crate::diag::{Code, Problems};
use crate::intent::Side;
use crate::net::{
    InterfacePattern, Nat64Prefix, Prefix, PrefixSet, Rate, RateUnit, Slip, TRAFFIC_FORMS, Traffic, TrafficError,
    Transport, Verdict, parse_port, plain,
};
use crate::yaml::{AddressOrName, Json, Node, Value, Written, by_word, number, scalar, words};

/// The name of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyName(pub String);

scalar!(PolicyName, {
    "type": "string",
    "pattern": "^[a-z][a-z0-9-]{0,31}$"
}, "PolicyName", |node, problems| decode_id(node, 32, "a policy name", problems).map(PolicyName));

scalar!(InterfacePattern, {
    "type": "string",
    "minLength": 1,
    "maxLength": 15
}, "InterfacePattern", |node, problems| {
    let help = "its name as `ip link` shows it before `@`, such as `cni0`, or a beginning and `*`, such as `\"veth*\"`; at \
                most 15 bytes";
    node.parsed("the name of an interface", (Code::InvalidName, help), problems, |text| text.parse().ok())
});

scalar!(Nat64Prefix, {
    "type": "string",
    "description": "A prefix of IPv6 with a length of 32, 40, 48, 56, 64 or 96 (RFC 6052)."
}, "Nat64Prefix", |node, problems| {
    let prefix = Prefix::decode(node, problems)?;
    let found = Nat64Prefix::new(prefix);
    if found.is_none() {
        let message = format!("`{prefix}` is not a prefix of NAT64");
        let help = "it is of IPv6, with a length of 32, 40, 48, 56, 64 or 96, and routed to the translator: `64:ff9b::/96`";
        problems.push_with_help(Code::InvalidPrefix, node.span, message, help);
    }
    found
});

/// The id of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowId(pub String);

scalar!(FlowId, {
    "type": "string",
    "pattern": "^[a-z][a-z0-9-]{0,62}$"
}, "FlowId", |node, problems| decode_id(node, 63, "a flow id", problems).map(FlowId));

fn decode_id(node: &Node, max_length: usize, what: &str, problems: &mut Problems) -> Option<String> {
    let help = format!("a lower-case letter, then letters, digits and hyphens, {max_length} characters at most");
    node.parsed(what, (Code::InvalidName, &help), problems, |text| {
        (text.len() <= max_length && is_id(text)).then(|| text.to_owned())
    })
}

number! {
    /// A TCP or UDP port, 1 to 65535.
    pub struct Port(pub u16), 1 to 65535
}

number! {
    /// How often a DNS query is sent, 1 to 10.
    pub struct Attempts(pub u8), 1 to 10
}

number! {
    /// How many addresses one answer may have, 1 to 4096.
    pub struct MaxAddresses(pub u16), 1 to 4096
}

number! {
    /// How many addresses of one family a name keeps, 1 to 65535.
    pub struct MaxGathered(pub u16), 1 to 65535
}

by_word!(Side, "Who opens a flow.", &[Side::Inbound, Side::Outbound], Side::name);

words! {
    /// How a packet is denied.
    pub enum Denial {
        /// Silently.
        Drop = "drop",
        /// With an ICMP error, so that programs fail at once.
        Reject = "reject",
    }
}

impl From<Denial> for Verdict {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Drop => Verdict::Drop,
            Denial::Reject => Verdict::Reject,
        }
    }
}

/// A host with a port of TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Its address or name.
    pub host: AddressOrName,
    /// The port.
    pub port: u16,
}

scalar!(HostPort, {
    "type": "string",
    "description": "An address or name with a port: `10.50.0.9:5533`, `[2001:db8::9]:5533`.",
    "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/]+):[1-9]\d{0,4}$"
}, "HostPort", |node, problems| {
    let help = "write address and port, `10.50.0.9:5533`; put IPv6 in brackets, `[2001:db8::9]:5533`";
    let expected = "an address or a host name with a port";
    if let (Some(slip @ (Slip::Lookalike(..) | Slip::Url(_))), Value::Scalar { text, .. }) = (slip_of(node), &node.value) {
        let help = match &slip {
            Slip::Url(_) => help.to_owned(),
            slip => slip.help(),
        };
        problems.push_with_help(Code::InvalidAddress, node.span, format!("`{text}` is not {expected}: it is {slip}"), help);
        return None;
    }
    let (host, port) = node.parsed(expected, (Code::InvalidAddress, help), problems, |text| {
        let (host, port) = text.rsplit_once(':')?;
        let port = parse_port(port).ok()?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_v6 = bracketed.unwrap_or(host).contains(':');
        let whole = !host.is_empty() && !host.contains('/') && is_v6 == bracketed.is_some();
        whole.then(|| (bracketed.unwrap_or(host).to_owned(), port))
    })?;
    let host = Node { value: Value::Scalar { text: host, plain: false }, ..node.clone() };
    AddressOrName::decode(&host, problems).map(|host| HostPort { host, port })
});

fn slip_of(node: &Node) -> Option<Slip> {
    if let Value::Scalar { text, .. } = &node.value { Slip::of(text) } else { None }
}

/// A file with peers. [`read_lists`](super::syntax::Policy::read_lists) reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersFile {
    /// The path as written.
    pub path: String,
    /// The content; `None` until it is read.
    pub list: Option<PeersList>,
}

/// The content of a file with peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeersList {
    /// The addresses.
    pub addresses: PrefixSet,
    /// The number of entries.
    pub entries: u64,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// In bytes; Linux's `PATH_MAX`.
const MAX_PATH: usize = 4096;

scalar!(PeersFile, { "type": "string", "minLength": 1, "maxLength": MAX_PATH }, "PeersFile", |node, problems| {
    node.parsed("a file name", (Code::PeersFile, "write `peers-file: sites.txt`"), problems, |text| {
        let valid = (1..=MAX_PATH).contains(&text.len()) && !text.contains(char::is_control);
        valid.then(|| PeersFile { path: text.to_owned(), list: None })
    })
});

/// A duration with its unit: `500ms`, `2s`, `10m`, `24h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenDuration(pub Duration);

scalar!(WrittenDuration, {
    "type": "string",
    "description": "A duration with its unit: `500ms`, `2s`, `10m`, `24h`, `7d`.",
    "pattern": r"^[1-9]\d*(ms|s|m|h|d)$"
}, "Duration", |node, problems| {
    let help = "write a number and its unit: `500ms`, `2s`, `10m`, `24h`, `7d`";
    node.parsed("a duration", (Code::InvalidDuration, help), problems, parse_duration).map(WrittenDuration)
});

/// The units of durations in milliseconds.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl WrittenDuration {
    /// A number of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A number of hours.
    pub const fn hours(hours: u64) -> Self {
        Self::seconds(hours * 3_600)
    }
}

impl Written for WrittenDuration {
    /// Shows at least two of a unit, so that a day is `24h`.
    fn written(&self) -> Json {
        let milliseconds = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let fits = |(_, size): &&(&str, u64)| milliseconds % size == 0 && milliseconds / size > 1;
        let (unit, size) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
        format!("{}{unit}", milliseconds / size).into()
    }
}

/// A hundred years: no sum of two overflows.
const MAX_DURATION: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Reads `500ms`, `2s`, `10m`, `24h`, `7d`; up to a hundred years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = Some(number).filter(|number| !number.starts_with('0'))?.parse().ok()?;
    let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(size).map(Duration::from_millis).filter(|duration| *duration <= MAX_DURATION)
}

scalar!(Rate, {
    "type": "string",
    "description": "Events per unit of time: `10/second`.",
    "pattern": r"^[1-9]\d*/(second|minute|hour|day)$"
}, "Rate", |node, problems| {
    let help = "write a number from 1 to 1000000 and `/second`, `/minute`, `/hour` or `/day`";
    node.parsed("a rate", (Code::InvalidRate, help), problems, parse_rate)
});

impl Written for Rate {
    fn written(&self) -> Json {
        format!("{}/{}", self.count, self.per.name()).into()
    }
}

fn parse_rate(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let plain = !count.starts_with('0') && count.bytes().all(|byte| byte.is_ascii_digit());
    let count: u32 = plain.then(|| count.parse().ok()).flatten().filter(|count| (1..=1_000_000).contains(count))?;
    let per = RateUnit::ALL.into_iter().find(|per| per.name() == unit)?;
    Some(Rate { count, per })
}

scalar!(Traffic, {
    "type": "string",
    "description": "A protocol with its destination ports: `tcp/443`, `udp/5000-5010`, `sctp/38412`; one without ports: \
        `icmp`, `ipip`, `gre`, `esp`, `ah`, `vrrp`, or any other by number, `protocol/89`.",
    "pattern": r"^((tcp|udp|sctp)/[1-9]\d{0,4}(-[1-9]\d{0,4})?|icmp|ipip|gre|esp|ah|vrrp|protocol/(0|[1-9]\d{0,2}))$"
}, "Traffic", |node, problems| decode_traffic(node, problems));

fn decode_traffic(node: &Node, problems: &mut Problems) -> Option<Traffic> {
    let (text, _) = node.scalar("a protocol and port", problems)?;
    let error = match Traffic::parse(text) {
        Ok(traffic) => return Some(traffic),
        Err(error) => error,
    };
    let help = match (&error, nearly_traffic(text)) {
        (TrafficError::Reversed(range), _) => {
            let (first, last) = range.split_once('-').unwrap_or_default();
            format!("write `{last}-{first}`")
        }
        (TrafficError::Parts(protocol), _) => match Transport::of(*protocol) {
            Some(_) => format!("write `{0}/443` for a port, `{0}/1-65535` for all of it", protocol.name()),
            None => "write `icmp`, which is all of ICMP and ICMPv6".to_owned(),
        },
        (_, Some(meant)) => format!("write {}", with_name(&meant)),
        (_, None) => number_help(text).unwrap_or_else(|| format!("write {TRAFFIC_FORMS}")),
    };
    problems.push_with_help(Code::InvalidPort, node.span, error.to_string(), help);
    None
}

/// What a number alone may mean: a port, or a protocol.
fn number_help(text: &str) -> Option<String> {
    parse_port(text).ok()?;
    let port = format!("write `tcp/{text}` or `udp/{text}` for a port");
    let protocol = nearly_traffic(&format!("protocol/{text}"));
    Some(match protocol {
        Some(protocol) => format!("{port}, {} for a protocol", with_name(&protocol)),
        None => port,
    })
}

/// A form in backticks, with the name of the protocol if it has one: `protocol/112` or `vrrp`.
fn with_name(form: &str) -> String {
    match Traffic::parse(form) {
        Ok(traffic) if form.starts_with("protocol/") && traffic.to_string() != form => {
            format!("`{form}` or `{traffic}`")
        }
        _ => format!("`{form}`"),
    }
}

/// What a text means that has other letters, the parts in another order, another sign between them, or a number of a
/// protocol after another word: `TCP:443`, `443/tcp`, `proto/112`, as other programs write it.
fn nearly_traffic(text: &str) -> Option<String> {
    let text = plain(text).to_lowercase();
    let text = text.trim().trim_end_matches([',', '.', ';']);
    let (first, second) = text.split_once(['/', ':', '=']).or_else(|| text.split_once(' ')).unwrap_or((text, ""));
    let (first, second) = (first.replace(' ', ""), second.replace(' ', ""));
    let number = match (first.as_str(), OTHER_PROTOCOLS.into_iter().find(|(name, _)| *name == first)) {
        ("proto" | "ip" | "ipproto" | "protocol" | "l4proto", _) => second.clone(),
        (_, Some((_, number))) if second.is_empty() => number.to_string(),
        _ => String::new(),
    };
    let forms = [
        format!("{first}{second}"),
        format!("{first}/{second}"),
        format!("{second}/{first}"),
        format!("protocol/{number}"),
        number,
    ];
    forms.into_iter().find(|form| Traffic::parse(form).is_ok())
}

/// Protocols without ports that sites use and policies have no word for, by their names in `/etc/protocols`.
const OTHER_PROTOCOLS: [(&str, u8); 8] = [
    ("igmp", 2),
    ("ipv6", 41),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("ipcomp", 108),
    ("l2tp", 115),
    ("etherip", 97),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_other_programs_are_known() {
        for (text, meant) in [
            ("443/tcp", "tcp/443"),
            ("TCP:443", "tcp/443"),
            ("tcp／443", "tcp/443"),
            ("tcp/443，", "tcp/443"),
            ("5000-5010/udp", "udp/5000-5010"),
            ("UDP/53", "udp/53"),
            ("ICMP", "icmp"),
            ("SCTP:38412", "sctp/38412"),
            ("proto/112", "protocol/112"),
            ("ip/89", "protocol/89"),
            ("proto 50", "protocol/50"),
            ("112/protocol", "protocol/112"),
            ("proto/vrrp", "vrrp"),
            ("ip/tcp", ""),
            ("OSPF", "protocol/89"),
            ("tcp 443", "tcp/443"),
        ] {
            assert_eq!(nearly_traffic(text).unwrap_or_default(), meant, "{text}");
        }
        for text in ["443", "tcp", "tcp/http", "", "/"] {
            assert_eq!(nearly_traffic(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["500ms", "2s", "90s", "24h", "7d", "36h", "1ms"] {
            let duration = parse_duration(text).map(WrittenDuration);
            assert_eq!(duration.map(|duration| duration.written()), Some(text.into()));
        }
        for text in ["", "2", "0s", "02s", "1w", "7.5d", "99999999d", "s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
