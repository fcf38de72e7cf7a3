//! What DNS can say to a question: the failures told apart, because each means something else for a lockfile.

use std::net::{IpAddr, SocketAddr};

use crate::net::{DomainName, Family};

/// A question: the addresses of one family that a name has (A or AAAA).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// The name.
    pub name: DomainName,
    /// The family.
    pub family: Family,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it says.
    pub reply: Reply,
    /// The server that said it; `None` where none did.
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
        /// The names that the answer went through behind the one that was asked for.
        chain: Vec<DomainName>,
    },
    /// The name exists, and has no address of the family.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// The server could not answer.
    ServFail,
    /// The server would not answer.
    Refused,
    /// Nothing came in time, from any server.
    Timeout,
    /// The answer was cut off, and could not be had whole over TCP.
    Truncated,
    /// The chain of names does not end.
    Loop,
    /// The server could not be reached, or what it said made no sense.
    Broken(String),
}
