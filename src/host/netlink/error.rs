//! Why the kernel did not do or say what was asked of it.

use std::io;

use crate::net::Prefix;
use crate::ruleset::TABLE;

/// Why sets could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The system does not let us (EPERM).
    #[error("the kernel's tables may be neither read nor changed without the capability CAP_NET_ADMIN; run as root")]
    NotPermitted,
    /// The table is not there (ENOENT).
    #[error("the kernel has no table `inet {TABLE}`")]
    NoTable,
    /// The set is not there (ENOENT).
    #[error("the table `inet {TABLE}` has no set `{0}`")]
    NoSet(String),
    /// The set is not what it was taken for.
    #[error("the set `{name}` is not {expected}")]
    OtherSet {
        /// Its name.
        name: String,
        /// What it was taken for.
        expected: &'static str,
    },
    /// An element to delete is not there as such (ENOENT). It may be there as a part of a longer prefix.
    #[error("the set `{set}` does not have {}, which was to be deleted; nothing was changed", shown(.element))]
    Missing {
        /// The set.
        set: String,
        /// The element, where the kernel says (5.19 or later).
        element: Option<Prefix>,
    },
    /// An element to add is there already, or shares addresses with one that is (EEXIST).
    #[error("the set `{set}` already has addresses of {}; nothing was changed", shown(.element))]
    Exists {
        /// The set.
        set: String,
        /// The element, where the kernel says (5.19 or later).
        element: Option<Prefix>,
    },
    /// The change is larger than the send buffer may be (EMSGSIZE).
    ///
    /// Only CAP_NET_ADMIN outside of user namespaces lifts the system's limit. The change is not cut into several:
    /// the sets may be in use.
    #[error(
        "the change takes {bytes} bytes, and the system lets this process send {limit} at once; \
         run as root outside of user namespaces, or raise net.core.wmem_max; nothing was changed"
    )]
    TooLarge {
        /// The size of the change.
        bytes: usize,
        /// The largest size.
        limit: usize,
    },
    /// The change is larger than edgeward makes one.
    #[error("the change takes more than {} MiB; nothing was changed", .0 >> 20)]
    TooMany(usize),
    /// The kernel has no memory for it (ENOMEM, ENOBUFS).
    #[error("the kernel has no memory for the change; nothing was changed")]
    NoMemory,
    /// What was there a moment ago is not there (ENOENT).
    #[error("somebody else changes the table `inet {TABLE}` at the same time; try again")]
    Gone,
    /// Tables were changed during every attempt to read a list.
    #[error("the kernel's tables are changed faster than they can be read; try again")]
    Torn,
    /// The kernel said nothing.
    #[error("the kernel did not answer; whether it did what it was asked for is not known")]
    NoAnswer,
    /// The kernel said something that is not understood.
    #[error("the kernel's answer is not understood")]
    Garbled,
    /// The kernel says something else.
    #[error("the kernel refused")]
    Kernel(#[source] io::Error),
    /// The socket does not work.
    #[error("cannot speak to the kernel over netlink")]
    Io(#[from] io::Error),
}

fn shown(element: &Option<Prefix>) -> String {
    element.map_or_else(|| "one of the elements".to_owned(), |element| format!("`{element}`"))
}
