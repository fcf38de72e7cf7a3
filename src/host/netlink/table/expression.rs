//! Expressions: the steps that the kernel takes for a packet at a rule.
//!
//! A match loads something of the packet into a register and compares the register. nft uses one register for that, and
//! so does edgeward. The numbers and attributes are those of the kernel's `nf_tables.h`.

use std::borrow::Cow;
use std::fmt;

use crate::host::netlink::wire;

// `NFTA_EXPR_…`
pub const NAME: u16 = 1;
pub const DATA: u16 = 2;
/// `NFTA_DATA_VALUE`
pub const VALUE: u16 = 1;
/// `NFTA_DATA_VERDICT`
pub const VERDICT: u16 = 2;
// `NFTA_VERDICT_…`
pub const VERDICT_CODE: u16 = 1;
pub const VERDICT_CHAIN: u16 = 2;
/// `NFTA_LIMIT_PAD`: fills up a message before a number of 64 bits.
const LIMIT_PAD: u16 = 6;

/// `NFT_REG_1`, which the kernel also reports as `NFT_REG32_00`.
pub const REGISTER: u32 = 1;
const REGISTER_OF_32_BITS: u32 = 8;
/// `NFT_REG_VERDICT`
pub const VERDICT_REGISTER: u32 = 0;
/// `NFT_LOOKUP_F_INV`
const INVERTED: u32 = 1;
/// `NFT_OBJECT_COUNTER`
pub const COUNTER: u32 = 1;
/// `NFT_LIMIT_PKTS`
pub const PACKETS: u32 = 0;
/// `NFT_LOGLEVEL_WARNING`, which the kernel reports where none was chosen.
const WARNING: u32 = 4;

/// What an expression loads into the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// What the kernel keeps with a packet (`enum nft_meta_keys`).
    Meta(u32),
    /// What conntrack says of it (`enum nft_ct_keys`).
    Ct(u32),
    /// Bytes of it.
    Payload {
        /// The header that the offset counts from (`enum nft_payload_bases`).
        base: u32,
        offset: u32,
        length: u32,
    },
}

/// How the register is compared (`enum nft_cmp_ops`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
}

/// `NFT_CMP_EQ`, `NFT_CMP_NEQ`, `NFT_CMP_LTE`, `NFT_CMP_GTE`
pub const COMPARISONS: [(Comparison, u32); 4] =
    [(Comparison::Equal, 0), (Comparison::NotEqual, 1), (Comparison::AtMost, 3), (Comparison::AtLeast, 5)];

/// What a rule or an element of a verdict map decides (`enum nft_verdicts`, `NF_ACCEPT`, `NF_DROP`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    Accept,
    Drop,
    Jump(Cow<'a, str>),
    Goto(Cow<'a, str>),
}

pub const ACCEPT: i32 = 1;
pub const DROP: i32 = 0;
pub const JUMP: i32 = -3;
pub const GOTO: i32 = -4;

/// A set or map that is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetName<'a> {
    /// One of the table, by its name.
    Known(Cow<'a, str>),
    /// One without a name that the same transaction creates, by its number.
    New(u32),
}

/// An expression that rules of edgeward consist of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression<'a> {
    Load(Load),
    Compare(Comparison, Cow<'a, [u8]>),
    /// The register is in a range that includes both ends.
    Range(Cow<'a, [u8]>, Cow<'a, [u8]>),
    /// Keeps some bits of the register.
    Mask(Cow<'a, [u8]>),
    /// The register is in a set.
    Lookup(SetName<'a>),
    /// The decision that a map has for the register.
    Map(SetName<'a>),
    Decide(Decision<'a>),
    Counter(Cow<'a, str>),
    /// Packets per seconds, and a burst.
    Limit {
        rate: u64,
        seconds: u64,
        burst: u32,
    },
    Log(Cow<'a, str>),
    /// The kind (`enum nft_reject_types`), and the code of the answer.
    Reject {
        kind: u32,
        code: u8,
    },
    Notrack,
}

/// Something that edgeward does not write, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub String);

/// Something unsupported, in words.
pub fn unsupported(what: impl fmt::Display) -> Unsupported {
    Unsupported(what.to_string())
}

impl<'a> Expression<'a> {
    /// Reads an element of `NFTA_RULE_EXPRESSIONS`.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Unsupported> {
        let name = wire::find_text(bytes, NAME).ok_or_else(|| unsupported("an expression without a name"))?;
        let mut data = Attributes::of(name, wire::find(bytes, DATA).unwrap_or_default());
        let read = match name {
            "meta" => {
                data.register(1)?;
                Expression::Load(Load::Meta(data.number(2)?))
            }
            "ct" => {
                data.register(1)?;
                Expression::Load(Load::Ct(data.number(2)?))
            }
            "payload" => {
                data.register(1)?;
                let (base, offset, length) = (data.number(2)?, data.number(3)?, data.number(4)?);
                Expression::Load(Load::Payload { base, offset, length })
            }
            "cmp" => {
                data.register(1)?;
                let operator = data.number(2)?;
                let known = COMPARISONS.iter().find(|(_, number)| *number == operator);
                let (comparison, _) = known.ok_or_else(|| unsupported("a comparison with `<` or `>`"))?;
                Expression::Compare(*comparison, data.value(3)?)
            }
            "range" => {
                data.register(1)?;
                // `NFT_RANGE_EQ`
                data.must_be(2, 0, "a negated range")?;
                Expression::Range(data.value(3)?, data.value(4)?)
            }
            "bitwise" => mask(&mut data)?,
            "lookup" => lookup(&mut data)?,
            "immediate" => {
                data.must_be(1, VERDICT_REGISTER, "a value in a register")?;
                Expression::Decide(Decision::read(data.take(2).unwrap_or_default())?)
            }
            "objref" => {
                data.must_be(1, COUNTER, "an object that is not a counter")?;
                Expression::Counter(data.text(2)?)
            }
            "limit" => limit(&mut data)?,
            "log" => log(&mut data)?,
            "reject" => {
                let code = data.take(2).and_then(|code| code.first().copied());
                Expression::Reject { kind: data.number(1)?, code: code.unwrap_or_default() }
            }
            "notrack" => Expression::Notrack,
            other => return Err(unsupported(in_words(other))),
        };
        data.finish()?;
        Ok(read)
    }
}

/// What an expression that edgeward does not write is in a rule.
fn in_words(name: &str) -> String {
    match name {
        "counter" => "a counter without a name".to_owned(),
        "match" | "target" => "a match or target of iptables".to_owned(),
        other => format!("the expression `{other}`"),
    }
}

fn mask<'a>(data: &mut Attributes<'a>) -> Result<Expression<'a>, Unsupported> {
    data.register(1)?;
    data.register(2)?;
    // `NFT_BITWISE_MASK_XOR`; kernels before 5.6 know no other, and do not report it.
    data.may_be(6, 0, "a shift of bits")?;
    let (length, mask, xor) = (data.number(3)?, data.value(4)?, data.value(5)?);
    if xor.iter().any(|byte| *byte != 0) || [mask.len(), xor.len()].iter().any(|have| *have != length as usize) {
        return Err(unsupported("bits that are inverted"));
    }
    Ok(Expression::Mask(mask))
}

fn lookup<'a>(data: &mut Attributes<'a>) -> Result<Expression<'a>, Unsupported> {
    data.register(2)?;
    let set = data.text(1)?;
    if data.take_number(5).is_some_and(|flags| flags & INVERTED != 0) {
        return Err(unsupported("a negated lookup in a set"));
    }
    match data.take_number(3) {
        None => Ok(Expression::Lookup(SetName::Known(set))),
        Some(VERDICT_REGISTER) => Ok(Expression::Map(SetName::Known(set))),
        Some(_) => Err(unsupported("a map of values")),
    }
}

fn limit<'a>(data: &mut Attributes<'a>) -> Result<Expression<'a>, Unsupported> {
    let number = |bytes: Option<&[u8]>| Some(u64::from_be_bytes(bytes?.try_into().ok()?));
    let (rate, seconds) = (number(data.take(1)), number(data.take(2)));
    let burst = data.take_number(3).unwrap_or_default();
    data.may_be(4, PACKETS, "a limit of bytes")?;
    data.may_be(5, 0, "a limit with `over`")?;
    data.take(LIMIT_PAD);
    let (rate, seconds) = rate.zip(seconds).ok_or_else(|| unsupported("a limit without a rate"))?;
    Ok(Expression::Limit { rate, seconds, burst })
}

fn log<'a>(data: &mut Attributes<'a>) -> Result<Expression<'a>, Unsupported> {
    let prefix = data.text(2).map_err(|_| unsupported("a log without a prefix"))?;
    data.may_be(5, WARNING, "a log with a level")?;
    if data.take(1).is_some() {
        return Err(unsupported("a log with a group"));
    }
    Ok(Expression::Log(prefix))
}

impl<'a> Decision<'a> {
    /// Reads an attribute of the type `nft_data_attributes`.
    pub fn read(data: &'a [u8]) -> Result<Self, Unsupported> {
        let verdict = wire::find(data, VERDICT).ok_or_else(|| unsupported("a value in place of a verdict"))?;
        let code = wire::find_u32(verdict, VERDICT_CODE).map(u32::cast_signed);
        let chain = || {
            let name = wire::find_text(verdict, VERDICT_CHAIN).map(Cow::Borrowed);
            name.ok_or_else(|| unsupported("a jump without a chain"))
        };
        match code {
            Some(ACCEPT) => Ok(Decision::Accept),
            Some(DROP) => Ok(Decision::Drop),
            Some(JUMP) => Ok(Decision::Jump(chain()?)),
            Some(GOTO) => Ok(Decision::Goto(chain()?)),
            _ => Err(unsupported("a verdict other than `accept`, `drop`, `jump` and `goto`")),
        }
    }
}

/// The attributes of an expression. None may be left over.
struct Attributes<'a> {
    name: &'a str,
    left: Vec<(u16, &'a [u8])>,
}

impl<'a> Attributes<'a> {
    fn of(name: &'a str, bytes: &'a [u8]) -> Self {
        Self { name, left: wire::attributes(bytes).collect() }
    }

    fn take(&mut self, kind: u16) -> Option<&'a [u8]> {
        let place = self.left.iter().position(|(found, _)| *found == kind)?;
        Some(self.left.swap_remove(place).1)
    }

    fn take_number(&mut self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(kind)?.try_into().ok()?))
    }

    fn number(&mut self, kind: u16) -> Result<u32, Unsupported> {
        self.take_number(kind).ok_or_else(|| self.unknown())
    }

    fn text(&mut self, kind: u16) -> Result<Cow<'a, str>, Unsupported> {
        let text = self.take(kind).and_then(wire::as_text);
        text.map(Cow::Borrowed).ok_or_else(|| self.unknown())
    }

    /// A value in an attribute of the type `nft_data_attributes`.
    fn value(&mut self, kind: u16) -> Result<Cow<'a, [u8]>, Unsupported> {
        let value = self.take(kind).and_then(|data| wire::find(data, VALUE));
        value.map(Cow::Borrowed).ok_or_else(|| self.unknown())
    }

    /// Requires the one register.
    fn register(&mut self, kind: u16) -> Result<(), Unsupported> {
        match self.take_number(kind) {
            Some(REGISTER | REGISTER_OF_32_BITS) => Ok(()),
            _ => Err(self.unknown()),
        }
    }

    fn must_be(&mut self, kind: u16, expected: u32, other: &str) -> Result<(), Unsupported> {
        if self.number(kind)? == expected { Ok(()) } else { Err(unsupported(other)) }
    }

    fn may_be(&mut self, kind: u16, expected: u32, other: &str) -> Result<(), Unsupported> {
        match self.take_number(kind) {
            Some(found) if found != expected => Err(unsupported(other)),
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<(), Unsupported> {
        if self.left.is_empty() { Ok(()) } else { Err(self.unknown()) }
    }

    fn unknown(&self) -> Unsupported {
        unsupported(format!("an unknown form of the expression `{}`", self.name))
    }
}
