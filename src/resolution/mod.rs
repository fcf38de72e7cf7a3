//! The lockfile as a value: the answers of DNS that a policy is compiled with, and how new answers change it.
//!
//! The format is described in `docs/lockfile.md`, the rules in `docs/resolution.md`.

mod reply;
mod trust;
mod update;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;

pub use reply::{Answer, Question, Reply};
pub use trust::{Distrust, Trust};
pub use update::{Change, Rules, Summary, update};

use crate::diag::{Code, Problems};
use crate::net::{DomainName, Family};
use crate::source::{Source, Spanned};
use crate::yaml::{Decode, decode_number, read, record, scalar, words};

/// The version of the format that this edgeward reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatVersion;

scalar!(FormatVersion, { "const": 1, "description": "The version of the format: 1." }, "FormatVersion", |node, problems| {
    let (text, plain) = node.scalar("the number 1", problems)?;
    let known = plain && text == "1";
    if !known {
        let message = format!("`{}` is not a version of this format that this edgeward reads", text);
        problems.push_with_help(Code::UnsupportedVersion, node.span, message, "write `version: 1`, or upgrade edgeward");
    }
    known.then_some(FormatVersion)
});

/// A point in time, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

scalar!(Time, { "type": "string", "format": "date-time" }, "Time", |node, problems| {
    let (text, _) = node.scalar("a point in time", problems)?;
    let time = text.parse().ok().map(Time);
    if time.is_none() {
        let message = format!("`{}` is not a point in time", text);
        problems.push_with_help(Code::InvalidTime, node.span, message, "write it as `2026-01-31T08:15:00Z`");
    }
    time
});

/// A time to live in seconds (RFC 2181 section 8: 31 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl(pub u32);

scalar!(Ttl, { "type": "integer", "minimum": 0, "maximum": 2147483647 }, "Ttl", |node, problems| {
    decode_number(node, 0, (1 << 31) - 1, problems).and_then(|seconds| seconds.try_into().ok()).map(Ttl)
});

/// A DNS server: address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server(pub SocketAddr);

scalar!(Server, { "type": "string" }, "Server", |node, problems| {
    let (text, _) = node.scalar("the address and port of a server", problems)?;
    let server = text.parse().ok().map(Server);
    if server.is_none() {
        let message = format!("`{}` is not the address and port of a server", text);
        problems.push_with_help(Code::InvalidAddress, node.span, message, "write it as `10.0.0.53:53` or `[fd00::53]:53`");
    }
    server
});

record! {
    /// A lockfile.
    pub struct Lockfile {
        /// The version of the format: 1.
        pub version: FormatVersion,
        /// The names, sorted.
        pub names: Vec<NameRow>,
    }
}

record! {
    /// A name and its addresses.
    pub struct NameRow {
        /// The name.
        pub name: Spanned<DomainName>,
        /// The last answer to the question for IPv4 addresses.
        pub a: Option<AnswerRow>,
        /// The last answer to the question for IPv6 addresses.
        pub aaaa: Option<AnswerRow>,
        /// Its addresses; none where it never had one.
        pub addresses: Vec<AddressRow>,
    }
}

words! {
    /// What an answer says; a failure is no answer, and is not recorded.
    pub enum AnswerKind {
        /// The name has addresses of the family.
        Addresses = "addresses",
        /// It has none.
        NoData = "nodata",
        /// The name does not exist.
        NxDomain = "nxdomain",
    }
}

record! {
    /// The last answer to a question.
    pub struct AnswerRow {
        /// What it says.
        pub answer: AnswerKind,
        /// When it came.
        pub at: Time,
        /// The server that gave it.
        pub server: Option<Server>,
        /// The names that it went through.
        pub chain: Vec<DomainName>,
    }
}

record! {
    /// An address that a name had.
    pub struct AddressRow {
        /// The address.
        pub address: Spanned<IpAddr>,
        /// When an answer had it first.
        pub first_seen: Time,
        /// When an answer had it last.
        pub last_seen: Time,
        /// The time to live of that answer, in seconds.
        pub ttl: Option<Ttl>,
    }
}

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameRecord {
    /// The last answer by family.
    pub answers: BTreeMap<Family, Answered>,
    /// Its addresses.
    pub addresses: BTreeMap<IpAddr, Seen>,
}

/// The last answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What it says.
    pub kind: AnswerKind,
    /// When it came.
    pub at: Timestamp,
    /// The server that gave it.
    pub server: Option<SocketAddr>,
    /// The names that it went through.
    pub chain: Vec<DomainName>,
}

/// When an address was in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// First.
    pub first: Timestamp,
    /// Last.
    pub last: Timestamp,
    /// The time to live of the last answer, in seconds.
    pub ttl: Option<u32>,
}

/// The answers of DNS by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// What is known, by name.
    pub names: BTreeMap<DomainName, NameRecord>,
}

impl Resolution {
    /// Reads a lockfile; every problem is recorded, and a lockfile with any is not used.
    pub fn parse(source: &Source, problems: &mut Problems) -> Option<Self> {
        let node = read(source, problems)?;
        let file = Lockfile::decode(&node, problems)?;
        let mut names = BTreeMap::new();
        for row in file.names {
            let name = row.name.value.clone();
            if names.insert(name, record_of(&row, problems)).is_some() {
                let message = format!("the name `{}` stands here twice", row.name.value);
                problems.push(Code::DuplicateId, row.name.span, message);
            }
        }
        (!problems.has_errors()).then_some(Self { names })
    }

    /// The addresses of a name; none where it has no answer.
    pub fn addresses(&self, name: &DomainName) -> impl Iterator<Item = IpAddr> + '_ {
        self.names.get(name).into_iter().flat_map(|record| record.addresses.keys().copied())
    }

    /// The lockfile's text.
    pub fn yaml(&self) -> String {
        write::yaml(self)
    }
}

fn record_of(row: &NameRow, problems: &mut Problems) -> NameRecord {
    let answered = |row: &AnswerRow| Answered {
        kind: row.answer,
        at: row.at.0,
        server: row.server.map(|server| server.0),
        chain: row.chain.clone(),
    };
    let mut record = NameRecord::default();
    for (family, answer) in [(Family::V4, &row.a), (Family::V6, &row.aaaa)] {
        record.answers.extend(answer.as_ref().map(|answer| (family, answered(answer))));
    }
    let mut seen = BTreeSet::new();
    for entry in &row.addresses {
        let AddressRow { address, first_seen: Time(first), last_seen: Time(last), ttl } = entry;
        if !seen.insert(address.value) {
            problems.push(
                Code::DuplicateId,
                address.span,
                format!("the address `{}` stands here twice", address.value),
            );
        }
        if let Some(why) = trust::never(address.value) {
            let message = format!("`{}` is {why}, which no name answers with", address.value);
            let help = "remove the line: an answer like this is an attack or a mistake, and would be opened";
            problems.push_with_help(Code::InvalidAddress, address.span, message, help);
        }
        if last < first {
            let message = format!("`{}` was seen last before it was seen first", address.value);
            problems.push(Code::InvalidTime, address.span, message);
        }
        record.addresses.insert(address.value, Seen { first: *first, last: *last, ttl: ttl.map(|ttl| ttl.0) });
    }
    record
}
