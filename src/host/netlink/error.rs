//! Why a request to the kernel failed.

use std::fmt;
use std::io;

use super::refused::Refused;
use crate::diag::legible;
use crate::net::Prefix;
use crate::ruleset::TABLE;
use crate::wording::count;

/// A part of the table that edgeward did not write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPart {
    /// Where it is: a chain and the position of a rule in it, or a set.
    pub place: String,
    /// What is there, in words.
    pub found: String,
}

impl fmt::Display for UnknownPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names in the kernel may have any bytes.
        f.write_str(&legible(&format!("{} has {}", self.place, self.found)))
    }
}

/// Why the table could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The process lacks the capability (EPERM).
    #[error("CAP_NET_ADMIN is required to read or change nftables; run as root")]
    NotPermitted,
    /// The kernel has no nf_tables.
    #[error("the kernel has no nf_tables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET; `modprobe nf_tables`)")]
    NoTables,
    /// The table does not exist (ENOENT).
    #[error("the kernel has no table `inet {TABLE}`")]
    NoTable,
    /// Another program owns the table: the port of its netlink socket, which usually is its process.
    #[error("the table `inet {TABLE}` belongs to another program")]
    Owned(Option<u32>),
    /// The table has something that edgeward did not write.
    #[error("the table `inet {TABLE}` contains something that edgeward did not create: {0}")]
    Unknown(UnknownPart),
    /// Tables have changed since the generation that a transaction is for (ERESTART).
    #[error("another program changed a table at the same time; nothing was changed")]
    Stale,
    /// A part of a transaction was refused.
    #[error("{0}")]
    Refused(Refused),
    /// The set does not exist (ENOENT).
    #[error("the table `inet {TABLE}` has no set `{0}`")]
    NoSet(String),
    /// The set has another type than expected.
    #[error("the set `{name}` is not {expected}")]
    OtherSet {
        /// Its name.
        name: String,
        /// The expected type.
        expected: &'static str,
    },
    /// An element to delete does not exist (ENOENT). Its addresses may be part of a shorter prefix.
    #[error("the set `{set}` has no {} to delete; nothing was changed", missing(.element))]
    Missing {
        /// The set.
        set: String,
        /// The element, where the kernel reports it (5.19 or later).
        element: Option<Prefix>,
    },
    /// An element to add exists, or overlaps one that exists (EEXIST).
    #[error("the set `{set}` already has addresses of {}; nothing was changed", existing(.element))]
    Exists {
        /// The set.
        set: String,
        /// The element, where the kernel reports it (5.19 or later).
        element: Option<Prefix>,
    },
    /// The change is larger than the send buffer may be (EMSGSIZE).
    ///
    /// Only CAP_NET_ADMIN outside of user namespaces lifts the limit. The change is not split, because the sets may be in use.
    #[error(
        "the change takes {}, but this process may send {limit} at once; run as root outside of user namespaces, or \
         raise net.core.wmem_max; nothing was changed",
        count(*.bytes, "byte")
    )]
    TooLarge {
        /// The size of the change.
        bytes: usize,
        /// The largest size.
        limit: usize,
    },
    /// The change is larger than edgeward allows.
    #[error("the change takes more than {} MiB; nothing was changed", .0 >> 20)]
    TooMany(usize),
    /// The kernel has no memory for it (ENOMEM, ENOBUFS).
    #[error("the kernel has no memory for the change; nothing was changed")]
    NoMemory,
    /// An object that was there a moment ago is gone (ENOENT).
    #[error("another program is changing the table `inet {TABLE}`; try again")]
    Gone,
    /// Tables were changed during every attempt to read a list.
    #[error("the kernel's tables are changed faster than they can be read; try again")]
    Torn,
    /// The kernel did not answer.
    #[error("the kernel did not answer; it is unknown whether anything was changed")]
    NoAnswer,
    /// An answer of the kernel is not understood.
    #[error("the kernel's answer is not understood")]
    Garbled,
    /// The kernel refused for another reason.
    #[error("the kernel refused")]
    Kernel(#[source] io::Error),
    /// The socket failed.
    #[error("cannot communicate with the kernel over netlink")]
    Io(#[from] io::Error),
}

fn missing(element: &Option<Prefix>) -> String {
    element.map_or_else(|| "such element".to_owned(), |element| format!("element `{element}`"))
}

fn existing(element: &Option<Prefix>) -> String {
    element.map_or_else(|| "an element to add".to_owned(), |element| format!("`{element}`"))
}
