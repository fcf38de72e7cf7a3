//! Netlink messages as bytes: headers and attributes, in native byte order unless noted.
//!
//! The numbers are those of the kernel's `netlink.h`, `nfnetlink.h` and `nf_tables.h`.

use std::iter;

/// A request is refused, or acknowledged (`NLMSG_ERROR`).
pub const ERROR: u16 = 2;
/// A list is complete (`NLMSG_DONE`).
pub const DONE: u16 = 3;
/// A transaction begins (`NFNL_MSG_BATCH_BEGIN`).
pub const BEGIN: u16 = 16;
/// A transaction ends (`NFNL_MSG_BATCH_END`).
pub const END: u16 = 17;

/// `NFNL_SUBSYS_NFTABLES`, the upper half of the types that follow.
const TABLES: u16 = 10;
/// `NFT_MSG_NEWTABLE`
pub const ADD_TABLE: u16 = TABLES << 8;
/// `NFT_MSG_GETTABLE`
pub const GET_TABLE: u16 = TABLES << 8 | 1;
/// `NFT_MSG_DELTABLE`
pub const DELETE_TABLE: u16 = TABLES << 8 | 2;
/// `NFT_MSG_NEWCHAIN`
pub const ADD_CHAIN: u16 = TABLES << 8 | 3;
/// `NFT_MSG_GETCHAIN`
pub const GET_CHAINS: u16 = TABLES << 8 | 4;
/// `NFT_MSG_DELCHAIN`
pub const DELETE_CHAIN: u16 = TABLES << 8 | 5;
/// `NFT_MSG_NEWRULE`
pub const ADD_RULE: u16 = TABLES << 8 | 6;
/// `NFT_MSG_GETRULE`
pub const GET_RULES: u16 = TABLES << 8 | 7;
/// `NFT_MSG_DELRULE`
pub const DELETE_RULE: u16 = TABLES << 8 | 8;
/// `NFT_MSG_NEWSET`
pub const ADD_SET: u16 = TABLES << 8 | 9;
/// `NFT_MSG_GETSET`
pub const GET_SET: u16 = TABLES << 8 | 10;
/// `NFT_MSG_DELSET`
pub const DELETE_SET: u16 = TABLES << 8 | 11;
/// `NFT_MSG_NEWSETELEM`
pub const ADD_ELEMENTS: u16 = TABLES << 8 | 12;
/// `NFT_MSG_GETSETELEM`
pub const GET_ELEMENTS: u16 = TABLES << 8 | 13;
/// `NFT_MSG_DELSETELEM`
pub const DELETE_ELEMENTS: u16 = TABLES << 8 | 14;
/// `NFT_MSG_GETGEN`
pub const GET_GENERATION: u16 = TABLES << 8 | 16;
/// `NFT_MSG_NEWOBJ`
pub const ADD_OBJECT: u16 = TABLES << 8 | 18;
/// `NFT_MSG_GETOBJ`
pub const GET_OBJECTS: u16 = TABLES << 8 | 19;
/// `NFT_MSG_DELOBJ`
pub const DELETE_OBJECT: u16 = TABLES << 8 | 20;
/// `NFT_MSG_GETFLOWTABLE`
pub const GET_FLOWTABLES: u16 = TABLES << 8 | 23;

/// `IPCTNL_MSG_CT_NEW` of `NFNL_SUBSYS_CTNETLINK` (`nfnetlink_conntrack.h`)
pub const ADD_FLOW: u16 = 1 << 8;

/// All messages to the kernel have it (`NLM_F_REQUEST`).
const REQUEST: u16 = 0x1;
/// Success is acknowledged, too (`NLM_F_ACK`).
pub const ACKNOWLEDGE: u16 = 0x4;
/// A list of all objects (`NLM_F_DUMP`).
pub const ALL: u16 = 0x300;
/// The object is created if it does not exist (`NLM_F_CREATE`).
pub const MAKE: u16 = 0x400;
/// The object is created, and must not exist (`NLM_F_CREATE`, `NLM_F_EXCL`).
pub const CREATE: u16 = MAKE | 0x200;
/// The object is created after those that exist (`NLM_F_CREATE`, `NLM_F_APPEND`).
pub const APPEND: u16 = MAKE | 0x800;
/// A list is inconsistent, because of a change meanwhile (`NLM_F_DUMP_INTR`).
pub const TORN: u16 = 0x10;
/// A refusal repeats only the header of the message (`NLM_F_CAPPED`).
pub const CAPPED: u16 = 0x100;
/// A refusal has attributes (`NLM_F_ACK_TLVS`).
pub const NOTED: u16 = 0x200;

/// `NFPROTO_INET`
const INET: u8 = 1;
/// A flag in the type of attributes that contain attributes (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// The bits of a type without such flags (`NLA_TYPE_MASK`).
const TYPE: u16 = 0x3fff;

/// The length of a message's header.
pub const HEADER: usize = 16;
/// The length of the header that follows it, `nfgenmsg`.
const FAMILY_HEADER: usize = 4;

/// Writes a message about `table inet …`, or one that begins or ends a transaction.
///
/// Attributes are padded to four bytes, so messages are, too.
pub fn message(bytes: &mut Vec<u8>, kind: u16, flags: u16, number: u32, attributes: impl FnOnce(&mut Vec<u8>)) {
    // A transaction names its subsystem instead.
    let (family, resource) = if matches!(kind, BEGIN | END) { (0, TABLES) } else { (INET, 0) };
    message_of(bytes, kind, flags, number, (family, resource), attributes);
}

/// Writes a message about an object of a family (`NFPROTO_…`); the second number is that of `nfgenmsg.res_id`.
pub fn message_of(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    number: u32,
    (family, resource): (u8, u16),
    attributes: impl FnOnce(&mut Vec<u8>),
) {
    let start = bytes.len();
    bytes.extend([0; 4]);
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | REQUEST).to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend([0; 4]);
    // Family, version, and a number in network byte order.
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    attributes(bytes);
    // Transactions are bounded far below 4 GiB.
    let length = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
    bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// Adds flags to a message that is written.
pub fn add_flags(message: &mut [u8], flags: u16) {
    let old = u16::from_ne_bytes([message[6], message[7]]);
    message[6..8].copy_from_slice(&(old | flags).to_ne_bytes());
}

/// Writes an attribute.
pub fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    write(bytes, kind, |bytes| bytes.extend_from_slice(value));
}

/// Writes a text as an attribute.
pub fn text(bytes: &mut Vec<u8>, kind: u16, text: &str) {
    write(bytes, kind, |bytes| {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    });
}

/// Writes an attribute that contains others.
pub fn nested(bytes: &mut Vec<u8>, kind: u16, attributes: impl FnOnce(&mut Vec<u8>)) {
    write(bytes, kind | NESTED, attributes);
}

fn write(bytes: &mut Vec<u8>, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend([0; 2]);
    bytes.extend(kind.to_ne_bytes());
    value(bytes);
    // The kernel refuses an attribute with a wrong length, as one of 64 KiB or more has.
    let length = u16::try_from(bytes.len() - start).unwrap_or(u16::MAX);
    bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A message of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    pub kind: u16,
    pub flags: u16,
    pub number: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

impl<'a> Received<'a> {
    /// The first of several messages, and the bytes that follow it.
    pub fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let body = bytes.get(HEADER..length)?;
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        let flags = u16::from_ne_bytes([bytes[6], bytes[7]]);
        let number = u32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((Self { kind, flags, number, body }, rest))
    }

    /// Of a message about tables: the generation of tables that it shows (the low 16 bits), and its attributes.
    pub fn about_tables(&self) -> Option<(u16, &'a [u8])> {
        let (header, attributes) = self.body.split_at_checked(FAMILY_HEADER)?;
        (self.kind >> 8 == TABLES).then(|| (u16::from_be_bytes([header[2], header[3]]), attributes))
    }
}

/// A sequence of attributes, with their types; ends at bytes that are not an attribute.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    iter::from_fn(move || {
        let &[l0, l1, k0, k1] = bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & TYPE, value))
    })
}

/// The value of the first attribute of a type.
pub fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// The value of an attribute that is a number in network byte order, as in messages about tables.
pub fn find_u32(bytes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(find(bytes, kind)?.try_into().ok()?))
}

/// The value of an attribute that is a text.
pub fn find_text(bytes: &[u8], kind: u16) -> Option<&str> {
    as_text(find(bytes, kind)?)
}

/// A text, which ends with a zero or with its attribute.
pub fn as_text(value: &[u8]) -> Option<&str> {
    str::from_utf8(value.split(|byte| *byte == 0).next()?).ok()
}

/// The value of a type in user data: what nft stores with an object, and the kernel does not read. Each value follows its
/// type and its length, of a byte each.
pub fn user_data(mut bytes: &[u8], kind: u8) -> Option<&[u8]> {
    while let Some((&[found, length], rest)) = bytes.split_first_chunk() {
        let (value, rest) = rest.split_at_checked(length.into())?;
        if found == kind {
            return Some(value);
        }
        bytes = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut bytes = Vec::new();
        message(&mut bytes, GET_SET, 0, 7, |bytes| {
            text(bytes, 1, "edgeward");
            nested(bytes, 2, |bytes| attribute(bytes, 3, &[1, 2, 3, 4]));
        });
        message(&mut bytes, BEGIN, 0, 8, |_| {});
        add_flags(&mut bytes, ACKNOWLEDGE);
        let (first, rest) = Received::split(&bytes).unwrap();
        assert_eq!((first.kind, first.flags, first.number), (GET_SET, REQUEST | ACKNOWLEDGE, 7));
        let (_, body) = first.about_tables().unwrap();
        assert_eq!(find(body, 1).unwrap(), b"edgeward\0");
        assert_eq!(find_u32(find(body, 2).unwrap(), 3), Some(0x0102_0304));
        assert_eq!(find(body, 3), None);
        let (second, rest) = Received::split(rest).unwrap();
        assert_eq!((second.number, second.body, rest.len()), (8, &[0, 0, 0, 10][..], 0));
    }

    /// Only a broken kernel would send them.
    #[test]
    fn malformed_bytes_do_not_panic() {
        let mut bytes = Vec::new();
        message(&mut bytes, GET_SET, 0, 7, |bytes| nested(bytes, 2, |bytes| attribute(bytes, 3, &[1, 2, 3, 4])));
        for position in 0..bytes.len() {
            for value in [0, 1, 3, 4, 5, 255] {
                let mut broken = bytes.clone();
                broken[position] = value;
                for length in 0..=broken.len() {
                    let Some((message, _)) = Received::split(&broken[..length]) else { continue };
                    let Some((_, body)) = message.about_tables() else { continue };
                    assert!(attributes(body).flat_map(|(_, value)| attributes(value)).count() < 40);
                }
            }
        }
    }
}
