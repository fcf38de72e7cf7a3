//! The kernel's `table inet edgeward`: what is in it, and changes of it.
//!
//! Structure goes through the program nft, elements over netlink. What is promised of a change (one transaction, all of
//! it or nothing, no other table) is the same for the real kernel and for the one in memory, and the same tests hold
//! both to it. What the kernel knows of this host's connections belongs here, too: rules that come judge them.

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

/// How often a table is read before it is given up because somebody changes it all the time.
const ATTEMPTS: usize = 5;

/// Why the kernel's tables cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// There is no nft.
    #[error("there is no program `nft`; install the package nftables (1.0.6 or later)")]
    NoNft,
    /// nft does not know what edgeward writes.
    #[error("nft {0} is too old; install nftables 1.0.6 or later")]
    TooOld(String),
    /// The system does not let us.
    #[error("the kernel's tables may be neither read nor changed without the capability CAP_NET_ADMIN; run as root")]
    NotPermitted,
    /// The kernel has no nf_tables.
    #[error("the kernel has no nf_tables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET; `modprobe nf_tables`): {0}")]
    NoTables(String),
    /// The kernel has nf_tables, and not all of it.
    #[error(
        "the kernel lacks what these rules need, and nothing was changed. Try `modprobe -a nf_tables nft_ct nft_limit \
         nft_log nft_reject_inet nf_conntrack`, or install the package with the kernel's other modules: {0}"
    )]
    NoModule(String),
    /// nft says something else.
    #[error("nft failed: {0}")]
    Failed(String),
    /// nft could not be started, or not be heard.
    #[error("cannot run nft")]
    Start(#[source] io::Error),
    /// nft did not come to an end, and was ended.
    #[error("nft gave no answer within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// nft said more than anybody would read.
    #[error("nft listed more than {} MiB", .0 >> 20)]
    TooMuch(u64),
    /// The table has something in it that edgeward does not know.
    #[error("the table `inet {TABLE}` has something in it that edgeward did not make: {}", .0.diagnostic.message)]
    Unreadable(Box<Unusable>),
    /// Elements could not be changed or read.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The kernel in memory does not take a change.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

/// The kernel, as far as edgeward changes it.
pub trait Kernel {
    /// The table as it is, with the elements of its sets; `None` where there is none.
    ///
    /// # Errors
    /// The kernel or nft does not say, or the table has in it what edgeward does not know.
    fn table(&mut self) -> Result<Option<Ruleset>, KernelError>;

    /// Learns what the table may hold: [`Kernel::table`] takes a large set for that of a ruleset which has as many
    /// elements, and agrees in samples.
    fn recall(&mut self, ruleset: &Ruleset);

    /// Makes changes of structure, in one transaction. New sets are empty.
    ///
    /// # Errors
    /// Nothing has changed, but for [`KernelError::TooSlow`], after which that is not known.
    fn change(&mut self, changes: &[Change]) -> Result<(), KernelError>;

    /// Changes elements, in one transaction.
    ///
    /// # Errors
    /// As [`Kernel::change`].
    fn update(&mut self, changes: &[SetChange<'_>]) -> Result<(), KernelError>;

    /// Puts a ruleset in the place of the table, if there is one, in one transaction. Not for a table in use: packets
    /// may be lost meanwhile, and let through.
    ///
    /// # Errors
    /// As [`Kernel::change`].
    fn replace(&mut self, ruleset: &Ruleset) -> Result<(), KernelError>;

    /// What the table's counters have counted; none where there is no table.
    ///
    /// # Errors
    /// The kernel does not say.
    fn counters(&mut self) -> Result<BTreeMap<String, Counter>, KernelError>;

    /// The sockets of this host.
    ///
    /// # Errors
    /// A file breaks off, or is not understood.
    fn sockets(&mut self) -> Result<Sockets, SessionsError>;

    /// The flows that conntrack knows; `None` where they are not shown.
    ///
    /// # Errors
    /// As [`Kernel::sockets`].
    fn flows(&mut self) -> Result<Option<Vec<TrackedFlow>>, SessionsError>;

    /// Tells conntrack of a connection that is open.
    ///
    /// # Errors
    /// It cannot be told.
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
    /// The kernel; where it is `deep`, it tells all elements of every set, however long that takes.
    pub fn new(is_deep: bool) -> Self {
        Self { is_deep, ..Self::default() }
    }

    fn netlink(&mut self) -> Result<&mut NetlinkSocket, NetlinkError> {
        connected(&mut self.connection)
    }

    /// Reads the structure, and then the sets one by one; `None` where a set of the structure is gone by then.
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

fn connected(connection: &mut Option<NetlinkSocket>) -> Result<&mut NetlinkSocket, NetlinkError> {
    match connection {
        Some(connection) => Ok(connection),
        none => Ok(none.insert(NetlinkSocket::open()?)),
    }
}

impl Kernel for Real {
    fn table(&mut self) -> Result<Option<Ruleset>, KernelError> {
        for _ in 0..ATTEMPTS {
            let Some(source) = nft::list_table(TABLE)? else { return Ok(None) };
            // `readback` takes an empty table for one that was cut off.
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
            changes => nft::load(&emit::changes(changes)),
        }
    }

    fn update(&mut self, changes: &[SetChange<'_>]) -> Result<(), KernelError> {
        Ok(self.netlink()?.change(changes).inspect_err(|error| {
            if let NetlinkError::Missing { set, .. } | NetlinkError::Exists { set, .. } = error {
                // It was not what it was taken for.
                self.recalled.forget(set);
            }
        })?)
    }

    fn replace(&mut self, ruleset: &Ruleset) -> Result<(), KernelError> {
        nft::load(&emit::nft(ruleset))
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
