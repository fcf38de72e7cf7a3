//! Why a request to the kernel failed.

use std::io;

use crate::net::Prefix;
use crate::ruleset::TABLE;
use crate::wording::count;

/// Why sets could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The process lacks the capability (EPERM).
    #[error("CAP_NET_ADMIN is required to read or change nftables; run as root")]
    NotPermitted,
    /// The table does not exist (ENOENT).
    #[error("the kernel has no table `inet {TABLE}`")]
    NoTable,
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
