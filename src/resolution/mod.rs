//! The lockfile as a value: the DNS answers that a policy is compiled with, and how new answers change it.
//!
//! The format is described in `docs/lockfile.md`, the rules in `docs/resolution.md`.

mod clock;
mod merge;
mod reply;
#[cfg(test)]
mod tests;
mod trust;
mod update;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;

pub use clock::{CONFIRMATION, DoubtedClock, LockfileClock, Moment, TOLERANCE};
pub use reply::{Answer, Question, Reply};
pub use trust::{Distrust, Trust};
pub use update::{Change, Rules, Summary, update};

use crate::diag::{Code, Problems};
use crate::net::{DomainName, Family, PrefixSet};
use crate::source::{Source, Spanned};
use crate::yaml::{Decode, number, read_as, record, scalar, words};

/// The version of the format that this edgeward supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatVersion;

scalar!(FormatVersion, { "const": 1, "description": "The version of the format: 1." }, "FormatVersion", |node, problems| {
    let (text, plain) = node.scalar("the number 1", problems)?;
    if plain && text == "1" {
        return Some(FormatVersion);
    }
    let (quoted, help) = match plain {
        true => ("", "write `version: 1`, or upgrade edgeward"),
        false => ("quoted ", "write `version: 1`, without quotes"),
    };
    let message = format!("unsupported {quoted}format version `{text}`");
    problems.push_with_help(Code::UnsupportedVersion, node.span, message, help);
    None
});

/// A timestamp, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

scalar!(Time, { "type": "string", "format": "date-time" }, "Time", |node, problems| {
    let help = (Code::InvalidTime, "write it as `2026-01-31T08:15:00Z`");
    node.parsed("a timestamp", help, problems, |text| text.parse().ok()).map(Time)
});

number! {
    /// A time to live in seconds (RFC 2181 section 8: 31 bits).
    pub struct Ttl(pub u32), 0 to 2147483647
}

/// The address and port of a DNS server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServer(pub SocketAddr);

scalar!(DnsServer, { "type": "string" }, "DnsServer", |node, problems| {
    let help = (Code::InvalidAddress, "write it as `10.0.0.53:53` or `[fd00::53]:53`");
    node.parsed("the address and port of a server", help, problems, |text| text.parse().ok()).map(DnsServer)
});

number! {
    /// A time since boot in seconds.
    pub struct SinceBoot(pub u32), 0 to 2147483647
}

/// The random id of a boot, a UUID in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootId(pub String);

scalar!(BootId, { "type": "string", "pattern": "^[0-9a-f-]{36}$" }, "BootId", |node, problems| {
    let help = (Code::InvalidText, "delete the line `clock`, or copy `/proc/sys/kernel/random/boot_id`");
    let is_id = |text: &str| text.len() == 36 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    node.parsed("the id of a boot", help, problems, |text| is_id(text).then(|| text.to_owned())).map(BootId)
});

record! {
    /// A lockfile.
    pub struct Lockfile {
        /// The version of the format: 1.
        pub version: FormatVersion,
        /// The clock of the run that wrote it.
        pub clock: Option<ClockRow>,
        /// The names, sorted.
        pub names: Vec<NameRow>,
    }
}

record! {
    /// The clock of the run that wrote the lockfile.
    pub struct ClockRow {
        /// The time of that run.
        pub at: Time,
        /// The boot of the host.
        pub boot: Option<BootId>,
        /// The time since that boot, in seconds.
        pub since_boot: SinceBoot,
        /// The clock of that boot if it disagrees, and is not believed.
        pub doubted: Option<DoubtedRow>,
    }
}

record! {
    /// A clock that is not believed.
    pub struct DoubtedRow {
        /// The time that it showed first.
        pub time: Time,
        /// The time since boot then, in seconds.
        pub since_boot: SinceBoot,
        /// If the host may have been off for the difference: the lockfile's time at the first run after the reboot.
        pub rebooted_at: Option<Time>,
    }
}

record! {
    /// A name and its addresses.
    pub struct NameRow {
        /// The name.
        pub name: Spanned<DomainName>,
        /// The last answer to the query for A records.
        pub a: Option<AnswerRow>,
        /// The last answer to the query for AAAA records.
        pub aaaa: Option<AnswerRow>,
        /// Its addresses; none if it never had one.
        pub addresses: Vec<AddressRow>,
    }
}

words! {
    /// What an answer says; failures are not recorded.
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
    /// The last answer to a query.
    pub struct AnswerRow {
        /// What it says.
        pub answer: AnswerKind,
        /// When it was received.
        pub at: Time,
        /// The server that sent it.
        pub server: Option<DnsServer>,
        /// The CNAME chain.
        pub chain: Vec<DomainName>,
    }
}

record! {
    /// An address that a name had.
    pub struct AddressRow {
        /// The address.
        pub address: Spanned<IpAddr>,
        /// When an answer first had it.
        pub first_seen: Time,
        /// When an answer last had it.
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
    /// When it was received.
    pub at: Timestamp,
    /// The server that sent it.
    pub server: Option<SocketAddr>,
    /// The CNAME chain.
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

/// The DNS answers by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The clock of the run that wrote them.
    pub clock: Option<LockfileClock>,
    /// What is known, by name.
    pub names: BTreeMap<DomainName, NameRecord>,
}

impl Resolution {
    /// Reads a lockfile. Every problem is recorded; a lockfile with any is not used.
    pub fn parse(source: &Source, problems: &mut Problems) -> Option<Self> {
        Self::parse_refusing(source, &PrefixSet::default(), problems)
    }

    /// As [`Resolution::parse`]; addresses that no name may resolve to in this cloud are errors as well.
    pub fn parse_refusing(source: &Source, refused: &PrefixSet, problems: &mut Problems) -> Option<Self> {
        let node = read_as("a lockfile", &["version", "names"], source, problems)?;
        let file = Lockfile::decode(&node, problems)?;
        let mut names = BTreeMap::new();
        for row in file.names {
            let name = row.name.value.clone();
            if names.insert(name, record_of(&row, refused, problems)).is_some() {
                let message = format!("duplicate name `{}`", row.name.value);
                problems.push(Code::DuplicateId, row.name.span, message);
            }
        }
        let clock = file.clock.map(clock_of);
        (!problems.has_errors()).then_some(Self { clock, names })
    }

    /// The addresses of a name; none if it has no answer.
    pub fn addresses(&self, name: &DomainName) -> impl Iterator<Item = IpAddr> + '_ {
        self.names.get(name).into_iter().flat_map(|record| record.addresses.keys().copied())
    }

    /// The lockfile's text.
    pub fn yaml(&self) -> String {
        write::yaml(self)
    }
}

fn clock_of(row: ClockRow) -> LockfileClock {
    let seconds = |since_boot: SinceBoot| Duration::from_secs(since_boot.0.into());
    LockfileClock {
        at: row.at.0,
        boot: row.boot.map(|boot| boot.0),
        since_boot: seconds(row.since_boot),
        doubted: row.doubted.map(|row| DoubtedClock {
            time: row.time.0,
            since_boot: seconds(row.since_boot),
            rebooted_at: row.rebooted_at.map(|time| time.0),
        }),
    }
}

fn record_of(row: &NameRow, refused: &PrefixSet, problems: &mut Problems) -> NameRecord {
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
            problems.push(Code::DuplicateId, address.span, format!("duplicate address `{}`", address.value));
        }
        if let Some(why) = trust::never(address.value, refused) {
            let message = format!("`{}` is {why}, which no name may resolve to", address.value);
            let help = "remove the line: such an answer is an attack or a mistake, and would be permitted";
            problems.push_with_help(Code::InvalidAddress, address.span, message, help);
        }
        if last < first {
            let message = format!("`last-seen` of `{}` is earlier than its `first-seen`", address.value);
            problems.push(Code::InvalidTime, address.span, message);
        }
        record.addresses.insert(address.value, Seen { first: *first, last: *last, ttl: ttl.map(|ttl| ttl.0) });
    }
    record
}
