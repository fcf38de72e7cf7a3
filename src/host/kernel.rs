//! The kernel's `table inet edgeward`: its contents, and changes to it.
//!
//! All of it is read and changed over netlink. Every change is one transaction, all or nothing, and
//! touches no other table. That holds for the real kernel and for the one in memory, and the same test checks both. The
//! connections of this host are read here, too, because new rules apply to them.

mod memory;
mod recall;
mod seen;

use std::collections::BTreeMap;

use super::netlink::{Changes, Counter, FlowEnds, NetlinkError, NetlinkSocket, SetChange, SetRef, UnknownPart};
use super::programs;
use super::sessions::{self, SessionsError, Sockets, TrackedFlow};
use crate::emit;
use crate::live::{Change, Misfit};
use crate::net::PrefixSet;
use crate::readback;
use crate::ruleset::{Ruleset, TABLE};
use crate::source::Source;

use recall::Recalled;
use seen::Seen;

pub use memory::Memory;

/// How often a table that other programs keep changing is read.
const MAX_ATTEMPTS: usize = 5;

/// Why the kernel's tables cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
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
    /// The table contains something that edgeward does not know.
    #[error("the table `inet {TABLE}` contains something that edgeward did not create: {0}")]
    Unreadable(UnknownPart),
    /// Elements could not be changed or read.
    #[error(transparent)]
    Netlink(NetlinkError),
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

    /// Changes the structure, then elements, all in one transaction.
    ///
    /// # Errors
    /// Nothing has changed, except after [`NetlinkError::NoAnswer`], where that is unknown.
    fn change(&mut self, structure: &[Change], elements: &[SetChange<'_>]) -> Result<(), KernelError>;

    /// Asks whether the kernel would make changes of the structure, and changes nothing.
    ///
    /// # Errors
    /// It would not.
    fn check(&mut self, structure: &[Change]) -> Result<(), KernelError>;

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
    /// The table that was read last, and its changes since.
    seen: Option<Seen>,
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

    /// Reads the structure, then the sets one by one; `None` where there is no table.
    fn read(&mut self) -> Result<Option<Ruleset>, KernelError> {
        let Some(structure) = self.netlink()?.structure()? else { return Ok(None) };
        let mut ruleset = checked(structure)?;
        for (name, set) in &mut ruleset.sets {
            set.elements = self.elements(SetRef { name, family: set.family, kind: set.kind })?;
        }
        Ok(Some(ruleset))
    }

    /// Reads the table again. Whether it is another than this process has left.
    fn is_other(&mut self) -> Result<bool, KernelError> {
        let expected = self.seen.take().map(Seen::table);
        let now = self.table()?;
        Ok(!matches!(expected, Some(Ok(expected)) if expected.as_ref().map(sorted) == now.as_ref().map(sorted)))
    }

    /// Finds out what has changed since the table was read. Only if it is this table, that matters.
    fn catch_up(&mut self) -> Result<(), KernelError> {
        if self.is_other()? { Err(KernelError::Raced) } else { Ok(()) }
    }

    fn elements(&mut self, set: SetRef<'_>) -> Result<PrefixSet, NetlinkError> {
        let netlink = connected(&mut self.connection)?;
        match self.recalled.recognise(netlink, set)? {
            Some(elements) => Ok(elements),
            None => netlink.elements(set),
        }
    }
}

impl From<NetlinkError> for KernelError {
    fn from(error: NetlinkError) -> Self {
        match error {
            NetlinkError::Unknown(part) => KernelError::Unreadable(part),
            NetlinkError::Owned(port) => KernelError::Owned(owner(port)),
            NetlinkError::NotPermitted => KernelError::NotPermitted,
            error => KernelError::Netlink(error),
        }
    }
}

/// The program that has a netlink socket. The first socket of a process has its number.
fn owner(port: Option<u32>) -> String {
    let name = port.and_then(programs::name);
    name.map_or_else(|| "another program".to_owned(), |name| format!("the program `{name}`"))
}

/// Checks that a table is one that nft text can have: what is saved as a generation has to be read again. The chains are
/// then in the order of [`Ruleset`].
fn checked(structure: Ruleset) -> Result<Ruleset, KernelError> {
    // `readback` takes an empty table for a truncated one.
    if structure == Ruleset::default() {
        return Ok(structure);
    }
    let source = Source::new("kernel", emit::nft(&structure));
    let unknown = |found: String| KernelError::Unreadable(UnknownPart { place: "the table".to_owned(), found });
    let read = readback::text(&source).map_err(|problem| {
        let line = source.text()[..problem.span.start].lines().count().saturating_sub(1);
        let line = source.text().lines().nth(line).unwrap_or_default().trim();
        unknown(format!("{} in `{}`", problem.message, line))
    })?;
    let sorted = |ruleset: &Ruleset| {
        let mut chains = ruleset.chains.clone();
        chains.sort_by(|one, other| one.name.cmp(&other.name));
        chains
    };
    let is_same =
        sorted(&read) == sorted(&structure) && (&read.sets, &read.counters) == (&structure.sets, &structure.counters);
    if is_same { Ok(read) } else { Err(unknown("a name or comment that nft text cannot have".to_owned())) }
}

/// The ruleset with its chains by name.
fn sorted(ruleset: &Ruleset) -> Ruleset {
    let mut sorted = ruleset.clone();
    sorted.chains.sort_by(|one, other| one.name.cmp(&other.name));
    sorted
}

/// The changes that replace the table, whether there is one or not, by a ruleset with empty sets.
fn creation(ruleset: &Ruleset) -> Vec<Change> {
    let mut changes = vec![Change::AddTable, Change::DeleteTable, Change::AddTable];
    changes.extend(ruleset.counters.iter().cloned().map(Change::AddCounter));
    let sets = ruleset.sets.iter();
    changes.extend(sets.map(|(name, set)| Change::AddSet { name: name.clone(), family: set.family, kind: set.kind }));
    let chains = ruleset.chains.iter();
    changes.extend(chains.clone().map(|chain| Change::AddChain { name: chain.name.clone(), base: chain.base }));
    changes.extend(chains.flat_map(|chain| {
        let rules = chain.rules.iter().cloned();
        rules.map(|rule| Change::AddRule { chain: chain.name.clone(), rule: Box::new(rule) })
    }));
    changes
}

/// Distinguishes a table of another program from a missing capability: the kernel refuses both with EPERM.
fn permitted(error: KernelError) -> KernelError {
    match error {
        KernelError::NotPermitted => {
            let read = NetlinkSocket::open().and_then(|mut socket| socket.structure());
            read.err().map(KernelError::from).filter(|read| matches!(read, KernelError::Owned(_))).unwrap_or(error)
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
        self.seen = None;
        let mut last = None;
        for _ in 0..MAX_ATTEMPTS {
            let before = self.netlink()?.generation()?;
            match self.read() {
                Err(KernelError::Netlink(NetlinkError::NoSet(_) | NetlinkError::NoTable)) => {}
                table => {
                    let table = table?;
                    // Other tables may keep changing, and this one may be large: two equal readings are enough.
                    let generation = self.netlink()?.generation()?;
                    if generation == before || last.as_ref() == Some(&table) {
                        self.seen = Some(Seen::new(generation, table.clone()));
                        return Ok(table);
                    }
                    last = Some(table);
                }
            }
        }
        Err(NetlinkError::Torn.into())
    }

    fn recall(&mut self, ruleset: &Ruleset) {
        if !self.is_deep {
            self.recalled.add(ruleset);
        }
    }

    fn change(&mut self, structure: &[Change], elements: &[SetChange<'_>]) -> Result<(), KernelError> {
        if structure.is_empty() && elements.is_empty() {
            return Ok(());
        }
        for _ in 0..MAX_ATTEMPTS {
            let generation = self.seen.as_ref().map(|seen| seen.generation);
            match self.netlink()?.carry_out(Changes { structure, elements, generation, is_trial: false }) {
                Ok(()) => {
                    self.seen.iter_mut().for_each(|seen| seen.note(structure, elements));
                    return Ok(());
                }
                Err(NetlinkError::Stale) => self.catch_up()?,
                Err(NetlinkError::NoTable | NetlinkError::NoSet(_) | NetlinkError::OtherSet { .. })
                    if generation.is_some() && self.is_other()? =>
                {
                    return Err(KernelError::Raced);
                }
                Err(error) => {
                    if let NetlinkError::Missing { set, .. } | NetlinkError::Exists { set, .. } = &error {
                        // The set was recognised wrongly.
                        self.recalled.forget(set);
                    }
                    return Err(permitted(error.into()));
                }
            }
        }
        Err(NetlinkError::Torn.into())
    }

    fn check(&mut self, structure: &[Change]) -> Result<(), KernelError> {
        let asked = self.netlink()?.carry_out(Changes { structure, is_trial: true, ..Changes::default() });
        asked.map_err(|error| permitted(error.into()))
    }

    fn replace(&mut self, ruleset: &Ruleset) -> Result<(), KernelError> {
        let structure = creation(ruleset);
        let nothing = PrefixSet::default();
        let filled = ruleset.sets.iter().map(|(name, set)| SetChange {
            set: SetRef { name, family: set.family, kind: set.kind },
            from: &nothing,
            to: &set.elements,
        });
        let elements: Vec<SetChange<'_>> = filled.collect();
        // Any table is replaced, regardless of what it has.
        self.seen = None;
        self.change(&structure, &elements)
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
