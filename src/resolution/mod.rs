//! The lockfile as a value: the answers of DNS that a policy is compiled with.
//!
//! The format is described in `docs/lockfile.md`.

mod reply;

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

pub use reply::{Answer, Question, Reply};

use crate::diag::{Code, Problems};
use crate::net::DomainName;
use crate::source::{Source, Spanned};
use crate::yaml::{Decode, decode_number, read, record, scalar};

/// The version of the format that this edgeward reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatVersion;

scalar!(FormatVersion, { "const": 1, "description": "The version of the format: 1." }, "FormatVersion", |node, problems| {
    let (text, plain) = node.scalar("the number 1", problems)?;
    let known = plain && text == "1";
    if !known {
        let message = format!("`{}` is not a version of this format that this edgeward reads", text.escape_debug());
        problems.push_with_help(Code::UnsupportedVersion, node.span, message, "write `version: 1`, or upgrade edgeward");
    }
    known.then_some(FormatVersion)
});

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

scalar!(Time, { "type": "string", "format": "date-time" }, "Time", |node, problems| {
    let (text, _) = node.scalar("a point in time", problems)?;
    let time = text.parse().ok().map(Time);
    if time.is_none() {
        let message = format!("`{}` is not a point in time", text.escape_debug());
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

record! {
    /// A lockfile.
    pub struct Lockfile {
        /// The version of the format: 1.
        pub version: FormatVersion,
        /// The names, sorted.
        pub names: Vec<LockedName>,
    }
}

record! {
    /// A name and its addresses.
    pub struct LockedName {
        /// The name.
        pub name: Spanned<DomainName>,
        /// Its addresses; none where it never had one.
        pub addresses: Vec<LockedAddress>,
    }
}

record! {
    /// An address that a name had.
    pub struct LockedAddress {
        /// The address.
        pub address: IpAddr,
        /// When an answer had it first.
        pub first_seen: Time,
        /// When an answer had it last.
        pub last_seen: Time,
        /// The time to live of that answer, in seconds.
        pub ttl: Option<Ttl>,
    }
}

/// The answers of DNS by name.
#[derive(Clone, Debug, Default)]
pub struct Resolution(BTreeMap<DomainName, Vec<LockedAddress>>);

impl Resolution {
    /// Reads a lockfile; every problem is recorded, and a lockfile with any is not used.
    pub fn parse(source: &Source, problems: &mut Problems) -> Option<Self> {
        let node = read(source, problems)?;
        let file = Lockfile::decode(&node, problems)?;
        let mut names = BTreeMap::new();
        for LockedName { name, addresses } in file.names {
            if names.insert(name.value.clone(), addresses).is_some() {
                problems.push(Code::DuplicateId, name.span, format!("the name `{}` stands here twice", name.value));
            }
        }
        (!problems.has_errors()).then_some(Self(names))
    }

    /// The addresses of a name; none where it has no answer.
    pub fn addresses(&self, name: &DomainName) -> impl Iterator<Item = IpAddr> + '_ {
        self.0.get(name).into_iter().flatten().map(|entry| entry.address)
    }
}
