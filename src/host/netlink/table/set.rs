//! Sets as the kernel describes them, and what a rule has between braces: sets and verdict maps without a name.

use std::collections::BTreeMap;

use super::expression::{Decision, Unsupported, unsupported};
use crate::host::netlink::elements::ranges;
use crate::host::netlink::wire;
use crate::net::{Bits, Family, Ranges};
use crate::ruleset::SetKind;

// `NFTA_SET_…`
pub const FLAGS: u16 = 3;
pub const KEY_TYPE: u16 = 4;
pub const KEY_LENGTH: u16 = 5;
pub const DATA_TYPE: u16 = 6;
pub const DATA_LENGTH: u16 = 7;
const POLICY: u16 = 8;
pub const DESCRIPTION: u16 = 9;
/// `NFTA_SET_DESC_SIZE`
pub const DESCRIPTION_SIZE: u16 = 1;
/// `NFTA_SET_EXPR`, `NFTA_SET_EXPRESSIONS`
const EXPRESSIONS: [u16; 2] = [17, 18];

// `enum nft_set_flags`
pub const ANONYMOUS: u32 = 0x1;
pub const CONSTANT: u32 = 0x2;
pub const INTERVAL: u32 = 0x4;
pub const MAP: u32 = 0x8;
/// `NFT_DATA_VERDICT`
pub const VERDICTS: u32 = 0xffff_ff00;

// `NFTA_SET_ELEM_LIST_ELEMENTS`, `NFTA_LIST_ELEM`, and `NFTA_SET_ELEM_…`
pub const LIST_ELEMENTS: u16 = 3;
pub const LIST_ELEMENT: u16 = 1;
pub const ELEMENT_KEY: u16 = 1;
pub const DATA: u16 = 2;
pub const ELEMENT_FLAGS: u16 = 3;
/// `NFTA_DATA_VALUE`
const VALUE: u16 = 1;
/// `NFT_SET_ELEM_INTERVAL_END`
pub const INTERVAL_END: u32 = 1;

/// The numbers that nft has for the types of keys of edgeward's sets.
pub const TYPES: [(Family, u32); 2] = [(Family::V4, 7), (Family::V6, 8)];

/// A set of the table.
#[derive(Clone, Debug)]
pub enum ListedSet {
    /// With a name: addresses.
    Named { family: Family, kind: SetKind },
    /// In a rule.
    Anonymous(AnonymousSet),
}

/// A set or verdict map that is a part of a rule.
#[derive(Clone, Debug)]
pub struct AnonymousSet {
    kind: SetKind,
    key_length: usize,
    is_map: bool,
    elements: Vec<AnonymousElement>,
}

#[derive(Clone, Debug)]
struct AnonymousElement {
    key: Vec<u8>,
    is_end: bool,
    /// The chain to jump to, in a map.
    chain: Option<String>,
}

impl ListedSet {
    /// Reads the attributes of a set.
    pub fn read(message: &[u8]) -> Result<Self, Unsupported> {
        // A set without flags has no such attribute.
        let number = |kind| wire::find_u32(message, kind).unwrap_or_default();
        let (flags, length) = (number(FLAGS), number(KEY_LENGTH));
        if EXPRESSIONS.iter().any(|kind| wire::find(message, *kind).is_some()) {
            return Err(unsupported("elements with statements"));
        }
        let kind = if flags & INTERVAL == 0 { SetKind::Hosts } else { SetKind::Prefixes };
        if flags & ANONYMOUS != 0 {
            let is_map = flags & MAP != 0;
            let has_others = flags & !(ANONYMOUS | CONSTANT | INTERVAL | MAP) != 0;
            if has_others || (is_map && number(DATA_TYPE) != VERDICTS) {
                return Err(unsupported("keys or values of an unknown kind"));
            }
            return Ok(Self::Anonymous(AnonymousSet {
                kind,
                key_length: length as usize,
                is_map,
                elements: Vec::new(),
            }));
        }
        if flags & MAP != 0 {
            return Err(unsupported("values: it is a map"));
        }
        if flags & !INTERVAL != 0 {
            return Err(unsupported("a flag other than `interval`"));
        }
        if number(POLICY) != 0 || wire::find(message, DESCRIPTION).is_some_and(|text| size(text).is_some()) {
            return Err(unsupported("a policy or a size"));
        }
        let family = TYPES.into_iter().find(|(_, kind)| number(KEY_TYPE) == *kind).map(|(family, _)| family);
        match family.filter(|family| length == address_length(*family)) {
            Some(family) => Ok(Self::Named { family, kind }),
            None => Err(unsupported("elements that are not addresses")),
        }
    }
}

/// The largest number of elements. The kernel reports the attribute without it, too.
fn size(description: &[u8]) -> Option<u32> {
    wire::find_u32(description, DESCRIPTION_SIZE)
}

/// The number of bytes of an address.
pub fn address_length(family: Family) -> u32 {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

impl AnonymousSet {
    /// Adds the elements of a message.
    pub fn add(&mut self, message: &[u8]) -> Result<(), Unsupported> {
        for (_, element) in wire::attributes(wire::find(message, LIST_ELEMENTS).unwrap_or_default()) {
            let key = wire::find(element, ELEMENT_KEY).and_then(|key| wire::find(key, VALUE));
            let key = key.filter(|key| key.len() == self.key_length).ok_or_else(|| unsupported("an element `*`"))?;
            let is_end = wire::find_u32(element, ELEMENT_FLAGS).is_some_and(|flags| flags & INTERVAL_END != 0);
            let chain = match (wire::find(element, DATA).filter(|_| !is_end), self.is_map) {
                (None, _) => None,
                (Some(data), true) => match Decision::read(data)? {
                    Decision::Jump(chain) => Some(chain.into_owned()),
                    _ => return Err(unsupported("a verdict map entry that is not a jump")),
                },
                (Some(_), false) => return Err(unsupported("a value in a set")),
            };
            self.elements.push(AnonymousElement { key: key.to_vec(), is_end, chain });
        }
        Ok(())
    }

    /// The values of a set, in network byte order.
    pub fn ranges<T: Key>(&self) -> Result<Ranges<T>, Unsupported> {
        let keys = self.elements.iter().map(|element| Some((T::read(&element.key)?, element.is_end)));
        let keys: Option<Vec<(T, bool)>> = keys.collect();
        let found = keys.filter(|_| !self.is_map).and_then(|keys| ranges(self.kind, keys));
        found.filter(|ranges| !ranges.is_empty()).ok_or_else(mismatch)
    }

    /// The keys of a set without ranges, as they are.
    pub fn keys(&self) -> Result<impl Iterator<Item = &[u8]>, Unsupported> {
        match self.kind == SetKind::Hosts && !self.is_map && !self.elements.is_empty() {
            true => Ok(self.elements.iter().map(|element| element.key.as_slice())),
            false => Err(mismatch()),
        }
    }

    /// The chains of a verdict map by ranges of keys, in order.
    pub fn chains<T: Key>(&self) -> Result<ChainsByRange<T>, Unsupported> {
        let keys = self.elements.iter().map(|element| Some((T::read(&element.key)?, !element.is_end, &element.chain)));
        let keys: Option<Vec<(T, bool, &Option<String>)>> = keys.collect();
        let mut keys = keys.filter(|_| self.is_map).ok_or_else(mismatch)?;
        // An end comes before the start at the same key.
        keys.sort_unstable();
        let (mut chains, mut open): (_, Option<(T, &String)>) = (Vec::new(), None);
        for (key, is_start, chain) in keys {
            if let (Some((low, chain)), Some(high)) = (open.take(), key.previous()) {
                chains.push(((low, if self.kind == SetKind::Hosts { low } else { high }), chain.clone()));
            }
            match (is_start, chain) {
                (true, Some(chain)) => open = Some((key, chain)),
                (true, None) => return Err(unsupported("a verdict map entry without a verdict")),
                (false, _) => {}
            }
        }
        chains.extend(open.map(|(low, chain)| {
            let high = if self.kind == SetKind::Hosts { low } else { T::MAX };
            ((low, high), chain.clone())
        }));
        let is_disjoint = chains.iter().all(|((low, high), _)| low <= high)
            && chains.windows(2).all(|pair| pair[0].0.1 < pair[1].0.0);
        if chains.is_empty() || !is_disjoint { Err(mismatch()) } else { Ok(chains) }
    }
}

fn mismatch() -> Unsupported {
    unsupported("a comparison with values of another kind")
}

/// Chains by ranges of keys, in order.
pub type ChainsByRange<T> = Vec<((T, T), String)>;

/// A key that sets and maps in rules have: a protocol, an ICMP type, a port.
pub trait Key: Bits {
    /// Reads it in network byte order.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// Writes it in network byte order.
    fn write(self) -> Vec<u8>;
}

impl Key for u8 {
    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }

    fn write(self) -> Vec<u8> {
        self.to_be_bytes().into()
    }
}

impl Key for u16 {
    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }

    fn write(self) -> Vec<u8> {
        self.to_be_bytes().into()
    }
}

/// The sets of the table by name.
pub type ListedSets = BTreeMap<String, ListedSet>;
