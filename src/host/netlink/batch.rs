//! A transaction: what the kernel does as a whole or not at all.

use rustix::io::Errno;

use super::channel::Refusal;
use super::elements::{self, Element};
use super::{NetlinkError, SetChange, SetRef, wire};
use crate::net::{Prefix, PrefixSet};

/// How many prefixes one message names: an attribute holds 64 KiB, and a prefix of IPv6 takes 64 bytes of it.
const PER_MESSAGE: usize = 512;

/// Half a million prefixes of IPv6 take 32 MB; what is larger by far is a mistake, and should end before it has taken
/// all memory.
const LARGEST: usize = 128 << 20;

/// What is done with elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ElementOperation {
    Delete,
    Add,
}

/// What a message about elements is about.
#[derive(Clone, Copy, Debug)]
struct Subject {
    /// Where in the batch the message begins.
    start: usize,
    /// Its change, among the changes.
    change: usize,
    operation: ElementOperation,
}

/// The messages of a transaction. They are numbered in their order: one that begins it, those about elements, and
/// one that ends it.
pub struct Batch {
    bytes: Vec<u8>,
    first: u32,
    subjects: Vec<Subject>,
}

impl Batch {
    /// Writes the changes; `None` where nothing changes. The first message gets the number `first`.
    ///
    /// In each set deletions come before additions, or a prefix could not take the place of one that it overlaps.
    pub fn new(changes: &[SetChange<'_>], first: u32) -> Result<Option<Self>, NetlinkError> {
        let mut batch = Self { bytes: Vec::new(), first, subjects: Vec::new() };
        wire::message(&mut batch.bytes, wire::BEGIN, 0, first, |_| {});
        for (index, change) in changes.iter().enumerate() {
            for operation in [ElementOperation::Delete, ElementOperation::Add] {
                batch.push_elements(index, change, operation)?;
            }
        }
        if batch.subjects.is_empty() {
            return Ok(None);
        }
        batch.acknowledge_last();
        let last = batch.last();
        wire::message(&mut batch.bytes, wire::END, 0, last, |_| {});
        Ok(Some(batch))
    }

    /// What is sent, in one piece.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of the last message about elements, which is the one that the kernel acknowledges. The message that
    /// ends the transaction has it, too.
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
            self.subjects.push(Subject { start: self.bytes.len(), change: index, operation });
            let number = self.last();
            wire::message(&mut self.bytes, kind, flags, number, |bytes| {
                elements::push_set(bytes, change.set);
                elements::push_prefixes(bytes, change.set.kind, prefixes.by_ref().take(PER_MESSAGE));
            });
            if self.bytes.len() > LARGEST {
                return Err(NetlinkError::TooMany(LARGEST));
            }
        }
        Ok(())
    }

    /// Asks for an answer to the last message about elements. It comes when all is done, and behind all refusals; to
    /// the message that ends the transaction kernels before 6.10 give none.
    fn acknowledge_last(&mut self) {
        if let Some(subject) = self.subjects.last() {
            wire::add_flags(&mut self.bytes[subject.start..], wire::ACKNOWLEDGE);
        }
    }

    /// What a refusal means.
    pub fn explain(&self, refusal: &Refusal, changes: &[SetChange<'_>]) -> NetlinkError {
        let index = refusal.number.wrapping_sub(self.first).wrapping_sub(1);
        let subject = self.subjects.get(index as usize);
        let Some((subject, change)) = subject.and_then(|subject| Some((subject, changes.get(subject.change)?))) else {
            return refusal.into();
        };
        let set = change.set.name.to_owned();
        let element = self.element(subject, refusal, change);
        match (refusal.errno, subject.operation) {
            (Errno::NOENT, ElementOperation::Delete) => NetlinkError::Missing { set, element },
            (Errno::NOENT, ElementOperation::Add) => NetlinkError::NoSet(set),
            (Errno::EXIST, _) => NetlinkError::Exists { set, element },
            _ => refusal.into(),
        }
    }

    /// The prefix whose element the kernel points at.
    fn element(&self, subject: &Subject, refusal: &Refusal, change: &SetChange<'_>) -> Option<Prefix> {
        let attribute = self.bytes.get(subject.start + refusal.attribute?..)?;
        let element = Element::read_first(attribute)?;
        prefixes(&parts(change, subject.operation), change.set).find(|prefix| element.stands_for(*prefix))
    }
}

/// What has the elements that an operation is about, and what has none of them; without what is in both as it is, which
/// is nearly all of a large set.
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
    fn hosts_are_told_one_by_one() {
        let (from, to) = (set("10.0.0.0/30"), set("10.0.0.2/31, 10.0.0.4, ::1"));
        let set = SetRef { name: "x", family: Family::V4, kind: SetKind::Hosts };
        let change = SetChange { set, from: &from, to: &to };
        let shown =
            |operation| prefixes(&parts(&change, operation), set).map(|prefix| prefix.to_string()).collect::<Vec<_>>();
        assert_eq!(shown(ElementOperation::Delete), ["10.0.0.0", "10.0.0.1"]);
        assert_eq!(shown(ElementOperation::Add), ["10.0.0.4"]);
    }

    #[test]
    fn what_would_take_all_memory_ends_before() {
        let (from, to) = (PrefixSet::default(), set("::/0"));
        let set = SetRef { name: "x", family: Family::V6, kind: SetKind::Hosts };
        let refused = Batch::new(&[SetChange { set, from: &from, to: &to }], 0);
        assert!(matches!(refused, Err(NetlinkError::TooMany(LARGEST))));
    }
}
