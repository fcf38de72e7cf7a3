//! Changes to the structure of the table as messages, the same that nft sends.

use std::collections::BTreeMap;
use std::ops::Range;

use super::encode::{EncodedRule, NewSet, encode};
use super::expression::{Decision, Expression};
use super::numbers::{HOOKS, POLICIES};
use super::set::{ANONYMOUS, CONSTANT, INTERVAL, LIST_ELEMENTS, MAP, TYPES, VERDICTS, address_length};
use super::write::{self, NEW_MAP, NEW_SET, number};
use super::{
    CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TYPE, COUNTER, HOOK_NUMBER, HOOK_PRIORITY, OBJECT_NAME, OBJECT_TYPE,
    RULE_CHAIN, RULE_EXPRESSIONS, RULE_USER_DATA, SET_NAME, TABLE_NAME, set,
};
use crate::host::netlink::elements;
use crate::host::netlink::refused::RefusedPart;
use crate::host::netlink::wire::{self, Received};
use crate::live::Change;
use crate::net::Family;
use crate::nft::{Attachment, CHAIN_TYPES, ChainType};
use crate::ruleset::{Base, Rule, SetKind, TABLE};

// `NFTA_TABLE_FLAGS`, `NFTA_SET_ID`, `NFTA_SET_USERDATA`, `NFTA_SET_ELEM_LIST_SET_ID`, `NFTA_OBJ_DATA`, and what
// `NFT_OBJECT_COUNTER` has there: `NFTA_COUNTER_BYTES`, `NFTA_COUNTER_PACKETS`.
const TABLE_FLAGS: u16 = 2;
const SET_ID: u16 = 10;
const SET_USER_DATA: u16 = 13;
const LIST_SET_ID: u16 = 4;
const OBJECT_DATA: u16 = 4;
const COUNTER_VALUES: [u16; 2] = [1, 2];

// `NFTNL_UDATA_SET_KEYBYTEORDER`, `NFTNL_UDATA_SET_DATABYTEORDER` of libnftnl, and nft's numbers for byte orders. nft
// lists the keys of a set in the order that its user data has.
const KEY_BYTE_ORDER: u8 = 0;
const DATA_BYTE_ORDER: u8 = 1;
const NO_ORDER: u32 = 0;
const ORDER_OF_HOST: u32 = 1;
const ORDER_OF_NETWORK: u32 = 2;
/// `NFTNL_UDATA_RULE_COMMENT`
const COMMENT: u8 = 0;

/// Writes messages with consecutive numbers.
pub struct ChangeWriter<'a> {
    /// Begins a message about a part: its type, its flags, and what writes its attributes.
    pub push: PushMessage<'a>,
    /// The number of the next set without a name.
    next_id: u32,
    /// How many rules have been added to each chain.
    rules: BTreeMap<String, usize>,
}

/// Adds a message to a transaction.
pub type PushMessage<'a> = &'a mut dyn FnMut(u16, u16, RefusedPart, &dyn Fn(&mut Vec<u8>));

impl<'a> ChangeWriter<'a> {
    /// Writes nothing yet.
    pub fn new(push: PushMessage<'a>) -> Self {
        Self { push, next_id: 1, rules: BTreeMap::new() }
    }

    /// Writes a change.
    pub fn change(&mut self, change: &Change) {
        match change {
            Change::AddTable => self.message(wire::ADD_TABLE, wire::MAKE, RefusedPart::Table, &|bytes| {
                number(bytes, TABLE_FLAGS, 0);
            }),
            Change::DeleteTable => self.message(wire::DELETE_TABLE, 0, RefusedPart::Table, &|_| {}),
            Change::AddCounter(name) => self.counter(wire::ADD_OBJECT, wire::MAKE, name),
            Change::DeleteCounter(name) => self.counter(wire::DELETE_OBJECT, 0, name),
            Change::AddSet { name, family, kind } => self.add_set(name, *family, *kind),
            Change::DeleteSet(name) => {
                let part = RefusedPart::Set(name.clone());
                self.message(wire::DELETE_SET, 0, part, &|bytes| wire::text(bytes, SET_NAME, name));
            }
            Change::AddChain { name, base } => self.add_chain(name, *base),
            Change::DeleteChain(name) => {
                let part = RefusedPart::Chain(name.clone());
                self.message(wire::DELETE_CHAIN, 0, part, &|bytes| wire::text(bytes, CHAIN_NAME, name));
            }
            Change::FlushChain(name) => {
                self.rules.remove(name);
                let part = RefusedPart::Chain(name.clone());
                self.message(wire::DELETE_RULE, 0, part, &|bytes| wire::text(bytes, RULE_CHAIN, name));
            }
            Change::AddRule { chain, rule } => self.add_rule(chain, rule),
        }
    }

    fn message(&mut self, kind: u16, flags: u16, part: RefusedPart, attributes: &dyn Fn(&mut Vec<u8>)) {
        (self.push)(kind, flags, part, &|bytes| {
            wire::text(bytes, TABLE_NAME, TABLE);
            attributes(bytes);
        });
    }

    fn counter(&mut self, kind: u16, flags: u16, name: &str) {
        self.message(kind, flags, RefusedPart::Counter(name.to_owned()), &|bytes| {
            wire::text(bytes, OBJECT_NAME, name);
            number(bytes, OBJECT_TYPE, COUNTER);
            if kind == wire::ADD_OBJECT {
                wire::nested(bytes, OBJECT_DATA, |bytes| {
                    COUNTER_VALUES.iter().for_each(|kind| wire::attribute(bytes, *kind, &0u64.to_be_bytes()));
                });
            }
        });
    }

    fn add_chain(&mut self, name: &str, base: Option<Base>) {
        self.message(wire::ADD_CHAIN, wire::MAKE, RefusedPart::Chain(name.to_owned()), &|bytes| {
            wire::text(bytes, CHAIN_NAME, name);
            let Some(base) = base else { return };
            let Attachment { hook, priority } = Attachment::of(base.hook);
            let of = |(_, number): (_, u32)| number;
            wire::text(bytes, CHAIN_TYPE, CHAIN_TYPES.word(ChainType::Filter));
            number(
                bytes,
                CHAIN_POLICY,
                POLICIES.into_iter().find(|(known, _)| *known == base.policy).map_or(0, |it| it.1),
            );
            wire::nested(bytes, CHAIN_HOOK, |bytes| {
                number(bytes, HOOK_NUMBER, HOOKS.into_iter().find(|(known, _)| *known == hook).map_or(0, of));
                number(bytes, HOOK_PRIORITY, priority.number().cast_unsigned());
            });
        });
    }

    /// A set must not exist.
    fn add_set(&mut self, name: &str, family: Family, kind: SetKind) {
        let id = self.take_id();
        let key_type = TYPES.into_iter().find(|(known, _)| *known == family).map_or(0, |(_, kind)| kind);
        self.message(wire::ADD_SET, wire::CREATE, RefusedPart::Set(name.to_owned()), &|bytes| {
            wire::text(bytes, SET_NAME, name);
            number(bytes, set::FLAGS, if kind == SetKind::Prefixes { INTERVAL } else { 0 });
            number(bytes, set::KEY_TYPE, key_type);
            number(bytes, set::KEY_LENGTH, address_length(family));
            number(bytes, SET_ID, id);
            wire::attribute(bytes, SET_USER_DATA, &byte_order(KEY_BYTE_ORDER, ORDER_OF_NETWORK));
        });
    }

    fn take_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        id
    }

    fn add_rule(&mut self, chain: &str, rule: &Rule) {
        let position = self.rules.entry(chain.to_owned()).or_default();
        *position += 1;
        let part = RefusedPart::Rule { chain: chain.to_owned(), position: *position };
        let EncodedRule { sets, expressions } = encode(rule, &mut self.next_id);
        for set in &sets {
            self.add_set_of_rule(set, &part);
        }
        self.message(wire::ADD_RULE, wire::APPEND, part, &|bytes| {
            wire::text(bytes, RULE_CHAIN, chain);
            wire::nested(bytes, RULE_EXPRESSIONS, |bytes| {
                expressions.iter().for_each(|expression| write::push(bytes, expression));
            });
            if let Some(label) = &rule.label {
                wire::attribute(bytes, RULE_USER_DATA, &comment(label.comment()));
            }
        });
    }

    fn add_set_of_rule(&mut self, set: &NewSet<'_>, part: &RefusedPart) {
        let name = if set.is_map { NEW_MAP } else { NEW_SET };
        let mut flags = ANONYMOUS | CONSTANT;
        flags |= if set.kind == SetKind::Prefixes { INTERVAL } else { 0 };
        flags |= if set.is_map { MAP } else { 0 };
        let (key_type, key_length) = set.key;
        // Protocols are the only keys of one byte that maps have; nft has no network byte order for them.
        let order = if key_length == 1 && set.is_map { ORDER_OF_HOST } else { ORDER_OF_NETWORK };
        self.message(wire::ADD_SET, wire::MAKE, part.clone(), &|bytes| {
            wire::text(bytes, SET_NAME, name);
            number(bytes, set::FLAGS, flags);
            number(bytes, set::KEY_TYPE, key_type);
            number(bytes, set::KEY_LENGTH, key_length);
            let mut user_data = byte_order(KEY_BYTE_ORDER, order);
            if set.is_map {
                number(bytes, set::DATA_TYPE, VERDICTS);
                number(bytes, set::DATA_LENGTH, 0);
                user_data.extend(byte_order(DATA_BYTE_ORDER, NO_ORDER));
            }
            number(bytes, SET_ID, set.id);
            wire::nested(bytes, set::DESCRIPTION, |bytes| {
                // The kernel chooses the kind of set by it. A map of all ports has fewer elements than 2^32.
                number(bytes, set::DESCRIPTION_SIZE, u32::try_from(set.elements.len()).unwrap_or(u32::MAX));
            });
            wire::attribute(bytes, SET_USER_DATA, &user_data);
        });
        // An attribute holds 64 KiB, and the name of a chain takes up to 255 bytes.
        for part_of_set in set.elements.chunks(MAX_PER_MESSAGE) {
            self.message(wire::ADD_ELEMENTS, wire::MAKE, part.clone(), &|bytes| {
                wire::text(bytes, SET_NAME, name);
                number(bytes, LIST_SET_ID, set.id);
                wire::nested(bytes, LIST_ELEMENTS, |bytes| {
                    for element in part_of_set {
                        wire::nested(bytes, set::LIST_ELEMENT, |bytes| {
                            if element.is_end {
                                number(bytes, set::ELEMENT_FLAGS, set::INTERVAL_END);
                            }
                            write::value(bytes, set::ELEMENT_KEY, &element.key);
                            if let Some(chain) = element.chain {
                                write::push_decision(bytes, set::DATA, &Decision::Jump(chain.into()));
                            }
                            if element.is_open {
                                wire::attribute(bytes, elements::USER_DATA, &elements::open_interval());
                            }
                        });
                    }
                });
            });
        }
    }
}

/// The most elements of a set without a name in one message.
const MAX_PER_MESSAGE: usize = 128;

/// User data: a byte order.
fn byte_order(kind: u8, order: u32) -> Vec<u8> {
    [&[kind, 4][..], &order.to_ne_bytes()].concat()
}

/// User data: a comment. One that is too long for it is refused by the kernel.
fn comment(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[COMMENT, length], text.as_bytes(), &[0]].concat()
}

/// The name of the expression of a rule that an offset in the message of the rule points into.
pub fn expression_at(message: &[u8], offset: usize) -> Option<&'static str> {
    expressions(message).find(|(range, _)| range.contains(&offset)).map(|(_, name)| name)
}

/// The names of the expressions in the message of a rule, each once.
pub fn expressions_of(message: &[u8]) -> Vec<&'static str> {
    let mut names: Vec<&str> = expressions(message).map(|(_, name)| name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The expressions in the message of a rule, with their place in it.
fn expressions(message: &[u8]) -> impl Iterator<Item = (Range<usize>, &'static str)> {
    let received = Received::split(message).filter(|(message, _)| message.kind == wire::ADD_RULE);
    let attributes = received.and_then(|(message, _)| Some(message.about_tables()?.1)).unwrap_or_default();
    let list = wire::find(attributes, RULE_EXPRESSIONS).unwrap_or_default();
    wire::attributes(list).filter_map(|(_, element)| {
        // The attribute begins before its value, with its own header.
        let end = element.as_ptr().addr() - message.as_ptr().addr() + element.len();
        let name = Expression::read(element).ok().map(|expression| write::name(&expression))?;
        Some((end - element.len() - ATTRIBUTE_HEADER..end, name))
    })
}

/// The length of an attribute's header (`NLA_HDRLEN`).
const ATTRIBUTE_HEADER: usize = 4;
