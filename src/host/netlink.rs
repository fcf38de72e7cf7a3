//! The table as the kernel has it, and its set elements and counters, over netlink, without nft.
//!
//! nft reads every set of the host, also those of other tables, before it adds one element; with half a million elements
//! that takes too long. The kernel itself needs one message. The messages here are those that nft sends after it has read
//! everything, so nft lists such a set like one that it filled itself.
//!
//! Rules, chains and the sets themselves are read here, and changed by nft (`emit`, [`kernel`](super::kernel)). Only `table inet edgeward` can
//! be named, so no other table can be touched. Open connections can also be added to conntrack.
//!
//! A socket belongs to the network namespace of the thread that opened it.

mod batch;
mod chains;
mod channel;
mod conntrack;
mod elements;
mod error;
mod refused;
mod table;
mod wire;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;

use crate::net::{Family, PrefixSet};
use crate::ruleset::{SetKind, TABLE};

use batch::Batch;
use channel::{Answer, Channel, Completion, MessageReader, Refusal};
use elements::ElementList;

pub use batch::Changes;
pub use chains::{ListedBase, ListedChain};
pub use conntrack::FlowEnds;
pub use error::{NetlinkError, UnknownPart};
pub use refused::{Refused, RefusedPart};
pub use table::read_table;

/// How often a list is read while other programs keep changing tables.
const MAX_ATTEMPTS: usize = 10;

/// How long to wait before a list is read again.
const PAUSE: Duration = Duration::from_millis(10);

/// A set of the table, and its expected type.
///
/// In an interval set, the kernel takes an address without an end for an interval up to the top of the address space. So
/// the type is checked in the kernel before every change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// The family of its elements.
    pub family: Family,
    /// How the kernel keeps it.
    pub kind: SetKind,
}

/// The elements that a set has, and those that it should have.
///
/// Both are given in full, or both without the same elements; the difference is computed here. It is a difference of
/// elements, not of addresses: an interval set has one element for each of [`PrefixSet::prefixes`], as in nft text, and
/// growing `10.0.0.0/24` to `10.0.0.0/23` deletes one element and adds another. So the elements of a set depend only on
/// its addresses, not on the order of changes. Addresses of the other family are ignored.
///
/// `from` has to be exact. The kernel refuses to delete an element that does not exist, and to add one that overlaps
/// another, with one exception: it does not notice what an interval up to the top of the address space overlaps.
#[derive(Clone, Copy, Debug)]
pub struct SetChange<'a> {
    /// The set.
    pub set: SetRef<'a>,
    /// The elements that it has.
    pub from: &'a PrefixSet,
    /// The elements that it should have.
    pub to: &'a PrefixSet,
}

/// The values of a named counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A netlink socket for the kernel's tables and conntrack.
pub struct NetlinkSocket {
    channel: Channel,
}

/// Reads the elements of a set, and counters, from the bytes of an answer: what a socket does with what it receives. For
/// tests with answers that no kernel gives.
///
/// # Errors
/// The bytes are not such an answer.
pub fn read_answer(kind: SetKind, bytes: &[u8]) -> Result<(PrefixSet, BTreeMap<String, Counter>), NetlinkError> {
    let (mut elements, mut counters) = (ElementList::new(kind), BTreeMap::new());
    let mut each = |message: &[u8]| {
        counters.extend(read_counter(message));
        elements.read(message)
    };
    let mut answer = Answer { last: 0, each: &mut each, outcome: Ok(()), generation: None };
    answer.read(bytes)?;
    answer.outcome?;
    Ok((elements.addresses().ok_or(NetlinkError::Torn)?, counters))
}

impl NetlinkSocket {
    /// Opens a socket in the network namespace of this thread.
    ///
    /// # Errors
    /// The kernel has no netlink for tables.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { channel: Channel::open()? })
    }

    /// Changes elements in one transaction.
    ///
    /// # Errors
    /// As [`NetlinkSocket::carry_out`].
    pub fn change(&mut self, elements: &[SetChange<'_>]) -> Result<(), NetlinkError> {
        self.carry_out(Changes { elements, ..Changes::default() })
    }

    /// Makes all changes in one transaction, or asks the kernel whether it would. The types of sets that exist are checked
    /// first.
    ///
    /// A packet sees each set as before or as after. The exception are interval sets that rules use, where kernels before
    /// January 2026 may miss a match meanwhile; so these are filled before they are used.
    ///
    /// # Errors
    /// Nothing has changed, except after [`NetlinkError::NoAnswer`], where that is unknown.
    pub fn carry_out(&mut self, changes: Changes<'_>) -> Result<(), NetlinkError> {
        for change in changes.elements.iter().filter(|change| !changes.creates(change.set.name)) {
            self.require(change.set)?;
        }
        let Some(batch) = Batch::new(changes, self.channel.next())? else { return Ok(()) };
        self.channel.send(batch.bytes(), batch.last())?;
        match self.channel.receive(batch.last(), &mut |_| Ok(()))? {
            Completion::Done => Ok(()),
            Completion::Refused(refusal) => Err(batch.explain(&refusal, changes)),
        }
    }

    /// Whether a set has an address: one lookup, regardless of the size of the set.
    ///
    /// # Errors
    /// There is no such set, or it cannot be read.
    pub fn has(&mut self, set: SetRef<'_>, address: IpAddr) -> Result<bool, NetlinkError> {
        self.require(set)?;
        self.has_one(set, address)
    }

    /// Whether a set has some addresses and lacks others, as expected; as [`NetlinkSocket::has`].
    ///
    /// # Errors
    /// As [`NetlinkSocket::has`].
    pub fn agrees(
        &mut self,
        set: SetRef<'_>,
        mut about: impl Iterator<Item = (IpAddr, bool)>,
    ) -> Result<bool, NetlinkError> {
        self.require(set)?;
        about.try_fold(true, |all, (address, expected)| Ok(all && self.has_one(set, address)? == expected))
    }

    fn has_one(&mut self, set: SetRef<'_>, address: IpAddr) -> Result<bool, NetlinkError> {
        if Family::of(address) != set.family {
            return Ok(false);
        }
        let answer = self.ask(wire::GET_ELEMENTS, 0, &mut |_| Ok(()), |bytes| {
            elements::push_set(bytes, set);
            elements::push_address(bytes, address);
        })?;
        match answer {
            Completion::Done => Ok(true),
            Completion::Refused(refusal) if refusal.errno == Errno::NOENT => Ok(false),
            Completion::Refused(refusal) => Err((&refusal).into()),
        }
    }

    /// The number of elements of a set, where the kernel reports it (Linux 6.18 does). An interval counts as one; one up to
    /// the top of the address space may not count.
    ///
    /// # Errors
    /// There is no such set, or it cannot be read.
    pub fn count(&mut self, set: SetRef<'_>) -> Result<Option<u32>, NetlinkError> {
        let mut count = None;
        self.describe(set, &mut |message| count = wire::find_u32(message, SET_COUNT))?;
        Ok(count)
    }

    /// All elements of a set.
    ///
    /// Not for large interval sets, where the kernel's time grows with the square of their number: 0.3 s for 100,000,
    /// 12 s for 500,000 (kernel 6.18).
    ///
    /// # Errors
    /// There is no such set, it cannot be read, or tables keep changing.
    pub fn elements(&mut self, set: SetRef<'_>) -> Result<PrefixSet, NetlinkError> {
        self.require(set)?;
        until_whole(|| {
            let mut elements = ElementList::new(set.kind);
            self.list(wire::GET_ELEMENTS, &mut |message| elements.read(message), |bytes| {
                elements::push_set(bytes, set);
            })?;
            elements.addresses().ok_or(NetlinkError::Torn)
        })
    }

    /// The named counters of the table.
    ///
    /// # Errors
    /// There is no such table, they cannot be read, or tables keep changing.
    pub fn counters(&mut self) -> Result<BTreeMap<String, Counter>, NetlinkError> {
        self.require_table()?;
        until_whole(|| {
            let mut counters = BTreeMap::new();
            let mut read = |message: &[u8]| {
                let (name, counter) = read_counter(message).ok_or(NetlinkError::Garbled)?;
                counters.insert(name, counter);
                Ok(())
            };
            self.list(wire::GET_OBJECTS, &mut read, |bytes| {
                wire::text(bytes, OBJECT_TABLE, TABLE);
                wire::attribute(bytes, OBJECT_TYPE, &COUNTER.to_be_bytes());
            })?;
            Ok(counters)
        })
    }

    /// Adds an open connection to conntrack: as answered, and without TCP windows, which are unknown.
    ///
    /// A flow that conntrack tracks already is left as it is, but counts as answered from now on.
    ///
    /// # Errors
    /// The kernel has no netlink for conntrack, or refuses the flow.
    pub fn track(&mut self, flow: FlowEnds) -> Result<(), NetlinkError> {
        let (mut bytes, number) = (Vec::new(), self.channel.next());
        conntrack::push(&mut bytes, number, flow);
        self.channel.send(&bytes, number)?;
        match self.channel.receive(number, &mut |_| Ok(()))? {
            Completion::Done => Ok(()),
            Completion::Refused(refusal) => Err((&refusal).into()),
        }
    }

    /// Checks that the table has the set, and that it has the expected type.
    fn require(&mut self, set: SetRef<'_>) -> Result<(), NetlinkError> {
        self.describe(set, &mut |_| {})
    }

    /// As [`NetlinkSocket::require`]; `each` gets the attributes of the set.
    fn describe(&mut self, set: SetRef<'_>, each: &mut dyn FnMut(&[u8])) -> Result<(), NetlinkError> {
        let mut is_expected = false;
        let mut read = |message: &[u8]| {
            is_expected = is_as_expected(message, set);
            each(message);
            Ok(())
        };
        let answer = self.ask(wire::GET_SET, 0, &mut read, |bytes| {
            wire::text(bytes, SET_TABLE, TABLE);
            wire::text(bytes, SET_NAME, set.name);
        })?;
        match answer {
            Completion::Done if is_expected => Ok(()),
            Completion::Done => Err(NetlinkError::OtherSet { name: set.name.to_owned(), expected: expected(set) }),
            Completion::Refused(refusal) if refusal.errno == Errno::NOENT => {
                self.require_table()?;
                Err(NetlinkError::NoSet(set.name.to_owned()))
            }
            Completion::Refused(refusal) => Err((&refusal).into()),
        }
    }

    fn require_table(&mut self) -> Result<(), NetlinkError> {
        match self.ask(wire::GET_TABLE, 0, &mut |_| Ok(()), |bytes| wire::text(bytes, TABLE_NAME, TABLE))? {
            Completion::Done => Ok(()),
            Completion::Refused(refusal) if refusal.errno == Errno::NOENT => Err(NetlinkError::NoTable),
            Completion::Refused(refusal) => Err((&refusal).into()),
        }
    }

    /// Requests a list.
    fn list(
        &mut self,
        kind: u16,
        each: MessageReader<'_>,
        request: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NetlinkError> {
        self.request(kind, wire::ALL, each, request)
    }

    /// Sends one request, which must not be refused.
    fn request(
        &mut self,
        kind: u16,
        flags: u16,
        each: MessageReader<'_>,
        request: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), NetlinkError> {
        match self.ask(kind, flags, each, request)? {
            Completion::Done => Ok(()),
            Completion::Refused(refusal) => Err((&refusal).into()),
        }
    }

    /// Sends one request; `each` gets the attributes of every message of the answer.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        each: MessageReader<'_>,
        request: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Completion, NetlinkError> {
        let (mut bytes, number) = (Vec::new(), self.channel.next());
        wire::message(&mut bytes, kind, flags | wire::ACKNOWLEDGE, number, request);
        self.channel.send(&bytes, number)?;
        self.channel.receive(number, each)
    }
}

/// Reads a list, and again where it is torn.
fn until_whole<T>(mut read: impl FnMut() -> Result<T, NetlinkError>) -> Result<T, NetlinkError> {
    for _ in 1..MAX_ATTEMPTS {
        match read() {
            Err(NetlinkError::Torn) => thread::sleep(PAUSE),
            result => return result,
        }
    }
    read()
}

impl From<&Refusal> for NetlinkError {
    fn from(refusal: &Refusal) -> Self {
        match refusal.errno {
            Errno::PERM => NetlinkError::NotPermitted,
            Errno::NOMEM | Errno::NOBUFS => NetlinkError::NoMemory,
            Errno::NOENT => NetlinkError::Gone,
            errno => NetlinkError::Kernel(errno.into()),
        }
    }
}

// Attributes by which tables, sets and objects are requested and described: `NFTA_TABLE_…`, `NFTA_SET_…`,
// `NFTA_OBJ_…` and `NFTA_COUNTER_…`.
const TABLE_NAME: u16 = 1;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_LENGTH: u16 = 5;
const SET_COUNT: u16 = 20;
const OBJECT_TABLE: u16 = 1;
const OBJECT_NAME: u16 = 2;
const OBJECT_TYPE: u16 = 3;
const OBJECT_DATA: u16 = 4;
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;

/// `NFT_OBJECT_COUNTER`
const COUNTER: u32 = 1;
/// `NFT_SET_INTERVAL`
const INTERVAL: u32 = 0x4;
/// `NFT_SET_MAP`, `NFT_SET_OBJECT` and `NFT_SET_CONCAT`: not a plain set of addresses.
const MORE: u32 = 0x8 | 0x40 | 0x80;

fn is_as_expected(message: &[u8], set: SetRef<'_>) -> bool {
    // A set without flags has no such attribute.
    let flags = wire::find_u32(message, SET_FLAGS).unwrap_or(0);
    let length = match set.family {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    let kind = if flags & INTERVAL == 0 { SetKind::Hosts } else { SetKind::Prefixes };
    kind == set.kind && flags & MORE == 0 && wire::find_u32(message, SET_KEY_LENGTH) == Some(length)
}

fn expected(set: SetRef<'_>) -> &'static str {
    match (set.kind, set.family) {
        (SetKind::Prefixes, Family::V4) => "an interval set of IPv4 addresses",
        (SetKind::Prefixes, Family::V6) => "an interval set of IPv6 addresses",
        (SetKind::Hosts, Family::V4) => "a set of single IPv4 addresses",
        (SetKind::Hosts, Family::V6) => "a set of single IPv6 addresses",
    }
}

fn read_counter(message: &[u8]) -> Option<(String, Counter)> {
    let name = str::from_utf8(wire::find(message, OBJECT_NAME)?).ok()?;
    let data = wire::find(message, OBJECT_DATA)?;
    let number = |kind| Some(u64::from_be_bytes(wire::find(data, kind)?.try_into().ok()?));
    let counter = Counter { packets: number(COUNTER_PACKETS)?, bytes: number(COUNTER_BYTES)? };
    Some((name.trim_end_matches('\0').to_owned(), counter))
}
