//! The kernel's `table inet edgeward`: its contents, and changes to it.
//!
//! Structure goes through the program nft, elements over netlink. Every change is one transaction, all or nothing, and
//! touches no other table. That holds for the real kernel and for the one in memory, and the same test checks both. The
//! connections of this host are read here, too, because new rules apply to them.

mod memory;
pub(crate) mod nft;
mod recall;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::files::Unusable;
use super::netlink::{Counter, FlowEnds, NetlinkError, NetlinkSocket, SetChange, SetRef};
use super::sessions::{self, SessionsError, Sockets, TrackedFlow};
use crate::emit;
use crate::live::{Change, Misfit};
use crate::net::PrefixSet;
use crate::readback;
use crate::ruleset::{Ruleset, TABLE};
use crate::source::Source;

use recall::Recalled;

pub use memory::Memory;
pub use nft::list_chains;

/// How often a table that other programs keep changing is read.
const MAX_ATTEMPTS: usize = 5;

/// Why the kernel's tables cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// nft is not installed.
    #[error("the program `nft` was not found; install the package nftables ({oldest} or later)", oldest = nft::OLDEST)]
    NoNft,
    /// nft does not support what edgeward writes.
    #[error("nft {0} is too old; install the package nftables, {oldest} or later: {1}", oldest = nft::OLDEST)]
    TooOld(String, String),
    /// The process lacks the capability.
    #[error("CAP_NET_ADMIN is required to read or change nftables; run as root")]
    NotPermitted,
    /// The kernel lets only one program change the table: this one, in words.
    #[error(
        "the table `inet {TABLE}` belongs to {0} (`flags owner`): the kernel lets no other program change it, and \
         deletes it when that program ends; nothing was changed. End that program, then try again"
    )]
    Owned(String),
    /// Another program has changed the table since it was read.
    #[error(
        "another program changed the table `inet {TABLE}` at the same time; edgeward changed nothing. Try again; `nft \
         monitor` shows which program changes it"
    )]
    Raced,
    /// The kernel has no nf_tables.
    #[error("the kernel has no nf_tables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET; `modprobe nf_tables`): {0}")]
    NoTables(String),
    /// The kernel has nf_tables, but lacks a part of it.
    #[error(
        "the kernel lacks modules that these rules need; nothing was changed. Try `modprobe -a nf_tables nft_ct nft_limit \
         nft_log nft_reject_inet nf_conntrack`, or install the package with the other modules of this kernel: {0}"
    )]
    NoModule(String),
    /// nft failed for another reason.
    #[error("nft failed: {0}")]
    Failed(String),
    /// nft could not be started, or its output not be read.
    #[error("cannot run nft")]
    Start(#[source] io::Error),
    /// nft did not end in time, and was killed.
    #[error("nft did not end within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// nft printed more than its bound.
    #[error("nft printed more than {} MiB", .0 >> 20)]
    TooMuch(u64),
    /// The table contains something that edgeward does not know.
    #[error("the table `inet {TABLE}` contains something that edgeward did not create: {}", .0.diagnostic.message)]
    Unreadable(Box<Unusable>),
    /// Elements could not be changed or read.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The kernel in memory refuses a change.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

/// The kernel, as far as edgeward changes it.
pub trait Kernel {
    /// The table with the elements of its sets; `None` where there is none.
    ///
    /// # Errors
    /// The table cannot be read, or contains something that edgeward does not know.
    fn table(&mut self) -> Result<Option<Ruleset>, KernelError>;

    /// Learns a ruleset that the table may hold: [`Kernel::table`] recognises its large sets by their number of elements
    /// and by samples.
    fn recall(&mut self, ruleset: &Ruleset);

    /// Changes the structure in one transaction. New sets are empty.
    ///
    /// # Errors
    /// Nothing has changed, except after [`KernelError::TooSlow`], where that is unknown.
    fn change(&mut self, changes: &[Change]) -> Result<(), KernelError>;

    /// Changes elements in one transaction.
    ///
    /// # Errors
    /// As [`Kernel::change`].
    fn update(&mut self, changes: &[SetChange<'_>]) -> Result<(), KernelError>;

    /// Replaces the table, if there is one, in one transaction. Not for a table in use: packets may be lost or let through
    /// meanwhile.
    ///
    /// # Errors
    /// As [`Kernel::change`].
    fn replace(&mut self, ruleset: &Ruleset) -> Result<(), KernelError>;

    /// The values of the table's counters; none where there is no table.
    ///
    /// # Errors
    /// They cannot be read.
    fn counters(&mut self) -> Result<BTreeMap<String, Counter>, KernelError>;

    /// The sockets of this host.
    ///
    /// # Errors
    /// A file is truncated, or is not understood.
    fn sockets(&mut self) -> Result<Sockets, SessionsError>;

    /// The flows that conntrack tracks; `None` where the kernel does not show them.
    ///
    /// # Errors
    /// As [`Kernel::sockets`].
    fn flows(&mut self) -> Result<Option<Vec<TrackedFlow>>, SessionsError>;

    /// Adds an open connection to conntrack.
    ///
    /// # Errors
    /// Conntrack refuses it.
    fn track(&mut self, flow: FlowEnds) -> Result<(), KernelError>;
}

/// The kernel of this network namespace.
#[derive(Default)]
pub struct Real {
    connection: Option<NetlinkSocket>,
    recalled: Recalled,
    is_deep: bool,
}

impl Real {
    /// The kernel. Where it is deep, all elements of every set are read, however long that takes.
    pub fn new(is_deep: bool) -> Self {
        Self { is_deep, ..Self::default() }
    }

    fn netlink(&mut self) -> Result<&mut NetlinkSocket, NetlinkError> {
        connected(&mut self.connection)
    }

    /// Reads the structure, then the sets one by one; `None` where a set is gone by then.
    fn read(&mut self, source: &Source) -> Result<Option<Ruleset>, KernelError> {
        let mut ruleset = readback::read(source).map_err(|diagnostic| {
            KernelError::Unreadable(Box::new(Unusable { source: source.clone(), diagnostic: *diagnostic }))
        })?;
        for (name, set) in &mut ruleset.sets {
            set.elements = match self.elements(SetRef { name, family: set.family, kind: set.kind }) {
                Err(NetlinkError::NoSet(_) | NetlinkError::NoTable) => return Ok(None),
                elements => elements?,
            };
        }
        Ok(Some(ruleset))
    }

    fn elements(&mut self, set: SetRef<'_>) -> Result<PrefixSet, NetlinkError> {
        let netlink = connected(&mut self.connection)?;
        match self.recalled.recognise(netlink, set)? {
            Some(elements) => Ok(elements),
            None => netlink.elements(set),
        }
    }
}

/// Distinguishes a table of another program from a missing capability: the kernel refuses both with EPERM.
fn permitted(error: KernelError) -> KernelError {
    match error {
        KernelError::NotPermitted | KernelError::Netlink(NetlinkError::NotPermitted) => {
            let listed = nft::list_table(TABLE).ok().flatten();
            listed.and_then(|table| nft::owner(table.text())).map_or(error, KernelError::Owned)
        }
        error => error,
    }
}

fn connected(connection: &mut Option<NetlinkSocket>) -> Result<&mut NetlinkSocket, NetlinkError> {
    match connection {
        Some(connection) => Ok(connection),
        none => Ok(none.insert(NetlinkSocket::open()?)),
    }
}

impl Kernel for Real {
    fn table(&mut self) -> Result<Option<Ruleset>, KernelError> {
        for _ in 0..MAX_ATTEMPTS {
            let Some(source) = nft::list_table(TABLE)? else { return Ok(None) };
            if let Some(owner) = nft::owner(source.text()) {
                return Err(KernelError::Owned(owner));
            }
            // `readback` takes an empty table for a truncated one.
            if source.text().split_whitespace().eq(["table", "inet", TABLE, "{", "}"]) {
                return Ok(Some(Ruleset::default()));
            }
            if let Some(ruleset) = self.read(&source)? {
                return Ok(Some(ruleset));
            }
        }
        Err(NetlinkError::Torn.into())
    }

    fn recall(&mut self, ruleset: &Ruleset) {
        if !self.is_deep {
            self.recalled.add(ruleset);
        }
    }

    fn change(&mut self, changes: &[Change]) -> Result<(), KernelError> {
        match changes {
            [] => Ok(()),
            changes => nft::load(&emit::changes(changes)).map_err(permitted),
        }
    }

    fn update(&mut self, changes: &[SetChange<'_>]) -> Result<(), KernelError> {
        self.netlink()?.change(changes).map_err(|error| {
            if let NetlinkError::Missing { set, .. } | NetlinkError::Exists { set, .. } = &error {
                // The set was recognised wrongly.
                self.recalled.forget(set);
            }
            permitted(error.into())
        })
    }

    fn replace(&mut self, ruleset: &Ruleset) -> Result<(), KernelError> {
        nft::load(&emit::nft(ruleset)).map_err(permitted)
    }

    fn counters(&mut self) -> Result<BTreeMap<String, Counter>, KernelError> {
        match self.netlink()?.counters() {
            Err(NetlinkError::NoTable) => Ok(BTreeMap::new()),
            counters => Ok(counters?),
        }
    }

    fn sockets(&mut self) -> Result<Sockets, SessionsError> {
        sessions::sockets()
    }

    fn flows(&mut self) -> Result<Option<Vec<TrackedFlow>>, SessionsError> {
        sessions::conntrack()
    }

    fn track(&mut self, flow: FlowEnds) -> Result<(), KernelError> {
        Ok(self.netlink()?.track(flow)?)
    }
}
