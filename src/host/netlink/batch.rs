//! A transaction of the kernel: all of its changes, or none.

use rustix::io::Errno;

use super::channel::Refusal;
use super::elements::{self, Element};
use super::refused::{Refused, RefusedPart};
use super::table::{ChangeWriter, expression_at, expressions_of};
use super::{NetlinkError, SetChange, SetRef, wire};
use crate::host::modules::Modules;
use crate::live::Change;
use crate::net::{Prefix, PrefixSet};

/// The most prefixes in one message: an attribute holds 64 KiB, and an IPv6 prefix takes 64 bytes of it.
const MAX_PER_MESSAGE: usize = 512;

/// The most bytes of a transaction. Half a million IPv6 prefixes take 32 MB; one that is far larger is a mistake, and
/// should fail before it has used all memory.
const MAX_BYTES: usize = 128 << 20;

/// `NFNL_BATCH_GENID`
const GENERATION: u16 = 1;

/// A transaction to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes<'a> {
    /// Changes to the structure.
    pub structure: &'a [Change],
    /// Changes to elements, which come after it.
    pub elements: &'a [SetChange<'a>],
    /// The generation of tables that it is for. The kernel refuses it where there is a later one.
    pub generation: Option<u32>,
    /// Whether the kernel is only asked if it would make the changes.
    pub is_trial: bool,
}

impl Changes<'_> {
    /// Whether a set is created.
    pub fn creates(&self, set: &str) -> bool {
        self.structure.iter().any(|change| matches!(change, Change::AddSet { name, .. } if name == set))
    }
}

/// A change to elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElementOperation {
    Delete,
    Add,
}

/// The subject of a message.
#[derive(Debug)]
struct Subject {
    /// Where in the batch the message begins.
    start: usize,
    about: About,
}

#[derive(Debug)]
enum About {
    Part(RefusedPart),
    Elements {
        /// The index of the change.
        change: usize,
        operation: ElementOperation,
    },
}

/// The messages of a transaction, numbered in order: one that begins it, those about structure and elements, and one that
/// ends it.
pub struct Batch {
    bytes: Vec<u8>,
    first: u32,
    subjects: Vec<Subject>,
}

impl Batch {
    /// Writes the changes; `None` where nothing changes. The first message gets the number `first`.
    ///
    /// In each set, deletions come before additions; otherwise a prefix could not replace one that it overlaps.
    pub fn new(changes: Changes<'_>, first: u32) -> Result<Option<Self>, NetlinkError> {
        let mut batch = Self { bytes: Vec::new(), first, subjects: Vec::new() };
        wire::message(&mut batch.bytes, wire::BEGIN, 0, first, |bytes| {
            if let Some(generation) = changes.generation {
                wire::attribute(bytes, GENERATION, &generation.to_be_bytes());
            }
        });
        let mut push = |kind: u16, flags: u16, part: RefusedPart, attributes: &dyn Fn(&mut Vec<u8>)| {
            batch.subjects.push(Subject { start: batch.bytes.len(), about: About::Part(part) });
            let number = batch.last();
            wire::message(&mut batch.bytes, kind, flags, number, attributes);
        };
        let mut writer = ChangeWriter::new(&mut push);
        changes.structure.iter().for_each(|change| writer.change(change));
        for (index, change) in changes.elements.iter().enumerate() {
            for operation in [ElementOperation::Delete, ElementOperation::Add] {
                batch.push_elements(index, change, operation)?;
            }
        }
        if batch.subjects.is_empty() {
            return Ok(None);
        }
        if batch.bytes.len() > MAX_BYTES {
            return Err(NetlinkError::TooMany(MAX_BYTES));
        }
        batch.acknowledge_last();
        // Where no message ends it, the kernel checks everything and changes nothing, as for `nft -c`.
        if !changes.is_trial {
            let last = batch.last();
            wire::message(&mut batch.bytes, wire::END, 0, last, |_| {});
        }
        Ok(Some(batch))
    }

    /// The bytes, which are sent in one piece.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of the last message about a part, which the kernel acknowledges. The message that ends the transaction
    /// has the same number.
    pub fn last(&self) -> u32 {
        // There are fewer messages than bytes, and those are bounded.
        self.first.wrapping_add(u32::try_from(self.subjects.len()).unwrap_or(u32::MAX))
    }

    fn push_elements(
        &mut self,
        index: usize,
        change: &SetChange<'_>,
        operation: ElementOperation,
    ) -> Result<(), NetlinkError> {
        let (kind, flags) = match operation {
            ElementOperation::Delete => (wire::DELETE_ELEMENTS, 0),
            ElementOperation::Add => (wire::ADD_ELEMENTS, wire::CREATE),
        };
        let parts = parts(change, operation);
        let mut prefixes = prefixes(&parts, change.set).peekable();
        while prefixes.peek().is_some() {
            let about = About::Elements { change: index, operation };
            self.subjects.push(Subject { start: self.bytes.len(), about });
            let number = self.last();
            wire::message(&mut self.bytes, kind, flags, number, |bytes| {
                elements::push_set(bytes, change.set);
                elements::push_prefixes(bytes, change.set.kind, prefixes.by_ref().take(MAX_PER_MESSAGE));
            });
            if self.bytes.len() > MAX_BYTES {
                return Err(NetlinkError::TooMany(MAX_BYTES));
            }
        }
        Ok(())
    }

    /// Requests an acknowledgement of the last message about a part. It comes after the transaction is done, and after all
    /// refusals. Kernels before 6.10 do not acknowledge the message that ends the transaction.
    fn acknowledge_last(&mut self) {
        if let Some(subject) = self.subjects.last() {
            wire::add_flags(&mut self.bytes[subject.start..], wire::ACKNOWLEDGE);
        }
    }

    /// The error that a refusal stands for.
    pub fn explain(&self, refusal: &Refusal, changes: Changes<'_>) -> NetlinkError {
        if (refusal.number, refusal.errno) == (self.first, Errno::RESTART) {
            return NetlinkError::Stale;
        }
        let index = refusal.number.wrapping_sub(self.first).wrapping_sub(1);
        let Some(subject) = self.subjects.get(index as usize) else { return refusal.into() };
        match &subject.about {
            About::Part(part) => self.refused(part, subject, refusal),
            About::Elements { change, operation } => match changes.elements.get(*change) {
                Some(change) => self.refused_elements(change, *operation, subject, refusal),
                None => refusal.into(),
            },
        }
    }

    fn refused(&self, part: &RefusedPart, subject: &Subject, refusal: &Refusal) -> NetlinkError {
        if [Errno::PERM, Errno::NOMEM, Errno::NOBUFS].contains(&refusal.errno) {
            return refusal.into();
        }
        let message = self.bytes.get(subject.start..).unwrap_or_default();
        // Kernels before 5.19 do not always say which expression it is.
        let pointed = refusal.attribute.and_then(|offset| expression_at(message, offset));
        let expressions = pointed.map_or_else(|| expressions_of(message), |name| vec![name]);
        NetlinkError::Refused(Refused::new(part.clone(), expressions, refusal.errno, &Modules::of_kernel()))
    }

    fn refused_elements(
        &self,
        change: &SetChange<'_>,
        operation: ElementOperation,
        subject: &Subject,
        refusal: &Refusal,
    ) -> NetlinkError {
        let set = change.set.name.to_owned();
        let element = self.element(subject.start, operation, refusal, change);
        match (refusal.errno, operation) {
            (Errno::NOENT, ElementOperation::Delete) => NetlinkError::Missing { set, element },
            (Errno::NOENT, ElementOperation::Add) => NetlinkError::NoSet(set),
            (Errno::EXIST, _) => NetlinkError::Exists { set, element },
            _ => refusal.into(),
        }
    }

    /// The prefix whose element the kernel points at.
    fn element(
        &self,
        start: usize,
        operation: ElementOperation,
        refusal: &Refusal,
        change: &SetChange<'_>,
    ) -> Option<Prefix> {
        let attribute = self.bytes.get(start + refusal.attribute?..)?;
        let element = Element::read_first(attribute)?;
        prefixes(&parts(change, operation), change.set).find(|prefix| element.stands_for(*prefix))
    }
}

/// The addresses with the elements of an operation, and the addresses without them. What is the same in both, which is
/// nearly all of a large set, is left out.
fn parts(change: &SetChange<'_>, operation: ElementOperation) -> [PrefixSet; 2] {
    let (of, without) = match operation {
        ElementOperation::Delete => (change.from, change.to),
        ElementOperation::Add => (change.to, change.from),
    };
    [of.changed_ranges(without), without.changed_ranges(of)]
}

/// The prefixes that are deleted from a set or added to it, in order.
fn prefixes<'a>([of, without]: &'a [PrefixSet; 2], set: SetRef<'a>) -> impl Iterator<Item = Prefix> + 'a {
    let elements = move |addresses: &'a PrefixSet| {
        set.kind.elements(addresses).filter(move |prefix| prefix.family() == set.family)
    };
    let mut without = elements(without).peekable();
    elements(of).filter(move |prefix| {
        while without.next_if(|other| other < prefix).is_some() {}
        without.peek() != Some(prefix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Family;
    use crate::ruleset::SetKind;

    fn set(text: &str) -> PrefixSet {
        text.parse().unwrap()
    }

    #[test]
    fn the_difference_is_one_of_elements() {
        let (from, to) = (set("10.0.0.0/24, 10.2.0.0/16, ::/0"), set("10.0.0.0/23, 10.2.0.0/16, 2001:db8::/32"));
        let both = |kind, family| {
            let change = SetChange { set: SetRef { name: "x", family, kind }, from: &from, to: &to };
            [ElementOperation::Delete, ElementOperation::Add].map(|operation| {
                prefixes(&parts(&change, operation), change.set).map(|prefix| prefix.to_string()).collect::<Vec<_>>()
            })
        };
        assert_eq!(both(SetKind::Prefixes, Family::V4), [["10.0.0.0/24"], ["10.0.0.0/23"]]);
        assert_eq!(both(SetKind::Prefixes, Family::V6), [["::/0"], ["2001:db8::/32"]]);
    }

    #[test]
    fn hosts_are_single_elements() {
        let (from, to) = (set("10.0.0.0/30"), set("10.0.0.2/31, 10.0.0.4, ::1"));
        let set = SetRef { name: "x", family: Family::V4, kind: SetKind::Hosts };
        let change = SetChange { set, from: &from, to: &to };
        let shown =
            |operation| prefixes(&parts(&change, operation), set).map(|prefix| prefix.to_string()).collect::<Vec<_>>();
        assert_eq!(shown(ElementOperation::Delete), ["10.0.0.0", "10.0.0.1"]);
        assert_eq!(shown(ElementOperation::Add), ["10.0.0.4"]);
    }

    #[test]
    fn a_transaction_has_a_largest_size() {
        let (from, to) = (PrefixSet::default(), set("::/0"));
        let set = SetRef { name: "x", family: Family::V6, kind: SetKind::Hosts };
        let elements = &[SetChange { set, from: &from, to: &to }];
        let refused = Batch::new(Changes { elements, ..Changes::default() }, 0);
        assert!(matches!(refused, Err(NetlinkError::TooMany(MAX_BYTES))));
    }
}
