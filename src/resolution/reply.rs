//! The possible replies to a DNS query. Failures are distinguished because each affects a lockfile differently.

use std::net::{IpAddr, SocketAddr};

use crate::net::{DomainName, Family};

/// A query for the addresses of a name in one family (A or AAAA).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// The name.
    pub name: DomainName,
    /// The family.
    pub family: Family,
}

/// The result of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub reply: Reply,
    /// The server that sent it; `None` if none did.
    pub server: Option<SocketAddr>,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The name has these addresses.
    Addresses {
        /// The addresses, in the order of the answer.
        addresses: Vec<IpAddr>,
        /// The shortest time to live along the chain, in seconds.
        ttl: u32,
        /// The CNAME chain, without the name of the query.
        chain: Vec<DomainName>,
    },
    /// The name exists, but has no address of the family.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// SERVFAIL: the server failed to answer.
    ServFail,
    /// REFUSED: the server refused to answer.
    Refused,
    /// No server answered in time.
    Timeout,
    /// The answer was truncated, and the retry over TCP failed.
    Truncated,
    /// The CNAME chain does not end.
    Loop,
    /// The server could not be reached, or its answer was malformed.
    Broken(String),
}
