//! Set elements in netlink messages.
//!
//! A hash set has one element for each address. An interval set has two for each interval: a start at its first address,
//! and an end, marked by a flag, at the first address after it. An interval up to the top of the address space has no end;
//! nft marks its start in the user data, which the kernel stores and does not read. Where intervals touch, there are two
//! elements with the same address: an end and a start.
//!
//! When nft fills an empty set, it also adds an end at address zero, unless an interval starts there. No interval comes
//! before it, so it has no effect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{NetlinkError, SetRef, UnknownPart, wire};
use crate::net::{Bits, Prefix, PrefixSet, Ranges};
use crate::ruleset::{SetKind, TABLE};

// `NFTA_SET_ELEM_LIST_…`
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
/// `NFTA_LIST_ELEM`
const ELEMENT: u16 = 1;
// `NFTA_SET_ELEM_…`
const KEY: u16 = 1;
const FLAGS: u16 = 3;
pub const USER_DATA: u16 = 6;
/// `NFTA_DATA_VALUE`
const VALUE: u16 = 1;
/// `NFT_SET_ELEM_INTERVAL_END`
const INTERVAL_END: u32 = 1;
/// `NFT_SET_ELEM_CATCHALL`
const CATCH_ALL: u32 = 2;
/// The type `NFTNL_UDATA_SET_ELEM_FLAGS` of libnftnl, and the length of its value.
const USER_DATA_FLAGS: [u8; 2] = [1, 4];
/// `NFTNL_SET_ELEM_F_INTERVAL_OPEN`, in native byte order, as all user data of nft.
const INTERVAL_OPEN: u32 = 1;

/// Writes which set of the table a message is about.
pub fn push_set(bytes: &mut Vec<u8>, set: SetRef<'_>) {
    wire::text(bytes, LIST_TABLE, TABLE);
    wire::text(bytes, LIST_SET, set.name);
}

/// Writes the elements that stand for prefixes in a set.
///
/// The kernel compares an end with the start right before it, so both must be in one message. A start without an end must
/// be the last element of its message, as it is where prefixes are in order.
pub fn push_prefixes(bytes: &mut Vec<u8>, kind: SetKind, prefixes: impl Iterator<Item = Prefix>) {
    let open = open_interval();
    wire::nested(bytes, LIST_ELEMENTS, |bytes| {
        for prefix in prefixes {
            let first = prefix.net().network();
            match (kind, next_address(prefix)) {
                (SetKind::Hosts, _) => push_element(bytes, first, None),
                (SetKind::Prefixes, None) => push_element(bytes, first, Some((USER_DATA, &open))),
                (SetKind::Prefixes, Some(end)) => {
                    push_element(bytes, first, None);
                    push_element(bytes, end, Some((FLAGS, &INTERVAL_END.to_be_bytes())));
                }
            }
        }
    });
}

/// The user data of an element that begins an interval without an end.
pub fn open_interval() -> Vec<u8> {
    [&USER_DATA_FLAGS[..], &INTERVAL_OPEN.to_ne_bytes()].concat()
}

/// Writes one element without an end.
pub fn push_address(bytes: &mut Vec<u8>, address: IpAddr) {
    wire::nested(bytes, LIST_ELEMENTS, |bytes| push_element(bytes, address, None));
}

fn push_element(bytes: &mut Vec<u8>, address: IpAddr, more: Option<(u16, &[u8])>) {
    wire::nested(bytes, ELEMENT, |bytes| {
        wire::nested(bytes, KEY, |bytes| match address {
            IpAddr::V4(address) => wire::attribute(bytes, VALUE, &address.octets()),
            IpAddr::V6(address) => wire::attribute(bytes, VALUE, &address.octets()),
        });
        if let Some((kind, value)) = more {
            wire::attribute(bytes, kind, value);
        }
    });
}

/// The first address after a prefix.
fn next_address(prefix: Prefix) -> Option<IpAddr> {
    match prefix.net().broadcast() {
        IpAddr::V4(last) => last.to_bits().next().map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(last) => last.to_bits().next().map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// An element of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    address: IpAddr,
    is_end: bool,
}

impl Element {
    /// Reads the first of several attributes.
    pub fn read_first(bytes: &[u8]) -> Option<Self> {
        let (kind, value) = wire::attributes(bytes).next()?;
        (kind == ELEMENT).then(|| Self::read(value))?
    }

    fn read(attributes: &[u8]) -> Option<Self> {
        let key = wire::find(wire::find(attributes, KEY)?, VALUE)?;
        let address = match key.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(key).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(key).ok()?),
        };
        let is_end = wire::find_u32(attributes, FLAGS).is_some_and(|flags| flags & INTERVAL_END != 0);
        Some(Self { address, is_end })
    }

    /// Whether it is the start or the end of a prefix.
    pub fn stands_for(self, prefix: Prefix) -> bool {
        let address = if self.is_end { next_address(prefix) } else { Some(prefix.net().network()) };
        address == Some(self.address)
    }
}

/// The elements of a set, in any order.
pub struct ElementList {
    kind: SetKind,
    v4: Vec<(u32, bool)>,
    v6: Vec<(u128, bool)>,
}

impl ElementList {
    /// The empty list.
    pub fn new(kind: SetKind) -> Self {
        Self { kind, v4: Vec::new(), v6: Vec::new() }
    }

    /// Adds the elements of a message.
    pub fn read(&mut self, message: &[u8]) -> Result<(), NetlinkError> {
        for (_, element) in wire::attributes(wire::find(message, LIST_ELEMENTS).unwrap_or_default()) {
            if wire::find_u32(element, FLAGS).is_some_and(|flags| flags & CATCH_ALL != 0) {
                let name = wire::find_text(message, LIST_SET).unwrap_or_default();
                let found = "an element `*`, for all addresses that are not in it".to_owned();
                return Err(NetlinkError::Unknown(UnknownPart { place: format!("the set `{name}`"), found }));
            }
            let Element { address, is_end } = Element::read(element).ok_or(NetlinkError::Garbled)?;
            match address {
                IpAddr::V4(address) => self.v4.push((address.to_bits(), is_end)),
                IpAddr::V6(address) => self.v6.push((address.to_bits(), is_end)),
            }
        }
        Ok(())
    }

    /// The addresses that the elements stand for; `None` where an element is there twice.
    ///
    /// While the kernel grows a hash, for some milliseconds after it was filled, a list repeats elements and lacks as many
    /// others. The repetition is the only sign of that.
    pub fn addresses(self) -> Option<PrefixSet> {
        Some((ranges(self.kind, self.v4)?, ranges(self.kind, self.v6)?).into())
    }
}

/// The addresses or numbers that elements stand for, each with whether it is an end; `None` where one is there twice.
pub fn ranges<T: Bits>(kind: SetKind, mut elements: Vec<(T, bool)>) -> Option<Ranges<T>> {
    // An end comes before the start at the same address: it ends the interval before.
    elements.sort_unstable_by_key(|&(address, is_end)| (address, !is_end));
    if elements.windows(2).any(|pair| pair[0] == pair[1]) {
        return None;
    }
    if kind == SetKind::Hosts {
        return Some(elements.into_iter().map(|(address, _)| (address, address)).collect());
    }
    let (mut ranges, mut open) = (Vec::new(), None);
    for (address, is_end) in elements {
        // A start may also end the interval before it, as in anonymous sets.
        if let (Some(low), Some(high)) = (open.take(), address.previous()) {
            ranges.push((low, high));
        }
        open = (!is_end).then_some(address);
    }
    ranges.extend(open.map(|low| (low, T::MAX)));
    Some(ranges.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kind: SetKind, prefix: &str) -> Vec<(String, bool)> {
        let mut bytes = Vec::new();
        push_prefixes(&mut bytes, kind, [prefix.parse().unwrap()].into_iter());
        let elements = wire::attributes(wire::find(&bytes, LIST_ELEMENTS).unwrap());
        let elements = elements.map(|(_, element)| Element::read(element).unwrap());
        elements.map(|Element { address, is_end }| (address.to_string(), is_end)).collect()
    }

    #[test]
    fn intervals_end_after_their_last_address() {
        let (start, end) = (|text: &str| (text.to_owned(), false), |text: &str| (text.to_owned(), true));
        let intervals = |prefix| written(SetKind::Prefixes, prefix);
        assert_eq!(intervals("10.0.0.0/24"), [start("10.0.0.0"), end("10.0.1.0")]);
        assert_eq!(intervals("2001:db8::/32"), [start("2001:db8::"), end("2001:db9::")]);
        assert_eq!(intervals("0.0.0.0"), [start("0.0.0.0"), end("0.0.0.1")]);
        assert_eq!(intervals("255.255.255.255"), [start("255.255.255.255")]);
        assert_eq!(intervals("::/0"), [start("::")]);
        assert_eq!(written(SetKind::Hosts, "10.0.0.1"), [start("10.0.0.1")]);
        assert_eq!(written(SetKind::Hosts, "255.255.255.255"), [start("255.255.255.255")]);
    }

    #[test]
    fn elements_in_any_order_become_ranges() {
        let read = |elements: &[(u8, bool)]| {
            ranges(SetKind::Prefixes, elements.to_vec()).map(|ranges| ranges.iter().collect::<Vec<_>>())
        };
        let (start, end) = (false, true);
        assert_eq!(read(&[(9, end), (5, start), (9, start), (0, end)]), Some(vec![(5, 255)]));
        assert_eq!(read(&[(12, end), (5, start), (9, end), (10, start)]), Some(vec![(5, 8), (10, 11)]));
        assert_eq!(read(&[(0, start)]), Some(vec![(0, 255)]));
        assert_eq!(read(&[(0, start), (1, end), (255, start)]), Some(vec![(0, 0), (255, 255)]));
        assert_eq!(read(&[(5, start), (7, start), (9, end)]), Some(vec![(5, 8)]));
        assert_eq!(read(&[(0, end)]), Some(vec![]));
    }

    #[test]
    fn a_list_that_repeats_an_element_is_refused() {
        let twice = vec![(5u8, false), (9, false), (5, false)];
        assert_eq!(ranges(SetKind::Hosts, twice.clone()), None);
        assert_eq!(ranges(SetKind::Prefixes, twice), None);
    }
}
