//! The table as the kernel describes it: its chains, rules, sets and counters, read without nft.
//!
//! What edgeward does not write is an error that says where it is: a part that was skipped could accept packets.

mod change;
mod encode;
mod expression;
mod field;
mod numbers;
mod rule;
mod set;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rustix::io::Errno;

use super::channel::Completion;
use super::wire::{self, Received};
use super::{NetlinkError, NetlinkSocket, UnknownPart};
use crate::net::{ChainPolicy, PrefixSet};
use crate::nft::{Attachment, PRIORITIES, Priority};
use crate::ruleset::{Base, Chain, Rule, Ruleset, Set, TABLE};

use expression::{Unsupported, unsupported};
use set::{ListedSet, ListedSets};

pub use change::{ChangeWriter, expression_at, expressions_of};
pub use numbers::{HOOKS, POLICIES};

// `NFTA_TABLE_…`, `NFTA_CHAIN_…`, `NFTA_RULE_…`, `NFTA_SET_…`, `NFTA_OBJ_…`, `NFTA_SET_ELEM_LIST_…`, `NFTA_FLOWTABLE_…`:
// the table is the first attribute of all.
const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
const TABLE_OWNER: u16 = 7;
pub const CHAIN_NAME: u16 = 3;
pub const CHAIN_HOOK: u16 = 4;
pub const CHAIN_POLICY: u16 = 5;
pub const CHAIN_TYPE: u16 = 7;
const CHAIN_FLAGS: u16 = 10;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USER_DATA: u16 = 7;
const SET_NAME: u16 = 2;
const OBJECT_NAME: u16 = 2;
const OBJECT_TYPE: u16 = 3;
const FLOWTABLE_NAME: u16 = 2;
// `NFTA_HOOK_…`
pub const HOOK_NUMBER: u16 = 1;
pub const HOOK_PRIORITY: u16 = 2;
/// `NFTA_GEN_ID`
const GENERATION: u16 = 1;

/// `NFT_TABLE_F_OWNER`
const OWNED: u32 = 0x2;
/// `NFT_CHAIN_BASE`; other flags are of hardware and of chains without a name.
const BASE_CHAIN: u32 = 0x1;
/// `NFT_OBJECT_COUNTER`
const COUNTER: u32 = 1;

impl Unsupported {
    fn at(self, place: impl fmt::Display) -> NetlinkError {
        NetlinkError::Unknown(UnknownPart { place: place.to_string(), found: self.0 })
    }
}

/// The messages that describe a table, in parts.
#[derive(Debug, Default)]
struct Description {
    chains: Vec<(String, Option<Base>)>,
    /// The rules of each chain.
    rules: BTreeMap<String, Vec<RuleMessage>>,
    sets: ListedSets,
    counters: BTreeSet<String>,
}

/// The message about a rule, in parts.
#[derive(Debug)]
struct RuleMessage {
    expressions: Vec<u8>,
    user_data: Vec<u8>,
}

impl Description {
    /// Reads an answer to a request, if it is about the table.
    fn read(&mut self, request: u16, message: &[u8]) -> Result<(), NetlinkError> {
        if wire::find_text(message, TABLE_NAME) != Some(TABLE) {
            return Ok(());
        }
        let text = |kind| wire::find_text(message, kind).map(str::to_owned).ok_or(NetlinkError::Garbled);
        match request {
            wire::GET_TABLE => table(message)?,
            wire::GET_CHAINS => {
                let name = text(CHAIN_NAME)?;
                let base = base(message).map_err(|what| what.at(format!("the chain `{name}`")))?;
                self.chains.push((name, base));
            }
            wire::GET_RULES => {
                let part = |kind| wire::find(message, kind).unwrap_or_default().to_vec();
                let rule = RuleMessage { expressions: part(RULE_EXPRESSIONS), user_data: part(RULE_USER_DATA) };
                self.rules.entry(text(RULE_CHAIN)?).or_default().push(rule);
            }
            wire::GET_SET => {
                let name = text(SET_NAME)?;
                let set = ListedSet::read(message).map_err(|what| what.at(format!("the set `{name}`")))?;
                self.sets.insert(name, set);
            }
            wire::GET_ELEMENTS => {
                let name = text(SET_NAME)?;
                if let Some(ListedSet::Anonymous(set)) = self.sets.get_mut(&name) {
                    set.add(message).map_err(|what| what.at(format!("the set `{name}` of a rule")))?;
                }
            }
            wire::GET_OBJECTS => {
                let name = text(OBJECT_NAME)?;
                if wire::find_u32(message, OBJECT_TYPE) != Some(COUNTER) {
                    return Err(unsupported(format!("an object `{name}` that is not a counter")).at("the table"));
                }
                self.counters.insert(name);
            }
            wire::GET_FLOWTABLES => {
                return Err(unsupported(format!("a flowtable `{}`", text(FLOWTABLE_NAME)?)).at("the table"));
            }
            _ => {}
        }
        Ok(())
    }

    /// The ruleset, without the elements of sets that have a name.
    fn ruleset(mut self) -> Result<Ruleset, NetlinkError> {
        let mut ruleset = Ruleset { counters: self.counters, ..Ruleset::default() };
        for (name, base) in self.chains {
            let rules = self.rules.remove(&name).unwrap_or_default().into_iter().enumerate();
            let rules = rules.map(|(place, RuleMessage { expressions, user_data })| {
                let read = rule::rule(&expressions, &user_data, &self.sets);
                read.map_err(|what| what.at(format!("rule {} of the chain `{name}`", place + 1)))
            });
            let rules: Vec<Rule> = rules.collect::<Result<_, _>>()?;
            ruleset.chains.push(Chain { name, base, rules });
        }
        for (name, set) in self.sets {
            if let ListedSet::Named { family, kind } = set {
                let set = Set { family, kind, elements: PrefixSet::default(), note: String::new() };
                ruleset.sets.insert(name, set);
            }
        }
        // A rule without its chain: the answers are not of one moment.
        if self.rules.is_empty() { Ok(ruleset) } else { Err(NetlinkError::Torn) }
    }
}

fn table(message: &[u8]) -> Result<(), NetlinkError> {
    match wire::find_u32(message, TABLE_FLAGS).unwrap_or_default() {
        0 => Ok(()),
        flags if flags & OWNED != 0 => Err(NetlinkError::Owned(wire::find_u32(message, TABLE_OWNER))),
        _ => Err(unsupported("a flag, such as `dormant`").at("the table")),
    }
}

/// What makes a chain a base chain.
fn base(message: &[u8]) -> Result<Option<Base>, Unsupported> {
    if wire::find_u32(message, CHAIN_FLAGS).unwrap_or_default() & !BASE_CHAIN != 0 {
        return Err(unsupported("a flag"));
    }
    let Some(hook) = wire::find(message, CHAIN_HOOK) else { return Ok(None) };
    let number = wire::find_u32(hook, HOOK_NUMBER);
    let priority = wire::find_u32(hook, HOOK_PRIORITY).map(u32::cast_signed);
    let has_number = |one: &Priority| Some(one.number()) == priority;
    let attachment = HOOKS.into_iter().find(|(_, known)| number == Some(*known)).map(|(hook, _)| hook);
    let attachment = attachment.zip(PRIORITIES.values().find(has_number));
    let attachment = attachment.map(|(hook, priority)| Attachment { hook, priority });
    let is_filter = wire::find_text(message, CHAIN_TYPE) == Some("filter");
    let hook = attachment.and_then(Attachment::own_hook).filter(|_| is_filter);
    let hook = hook.ok_or_else(|| unsupported("a type, hook or priority at which edgeward has no chain"))?;
    let policy = wire::find_u32(message, CHAIN_POLICY);
    let policy = POLICIES.into_iter().find(|(_, known)| policy == Some(*known)).map(|(policy, _)| policy);
    Ok(Some(Base { hook, policy: policy.unwrap_or(ChainPolicy::Accept) }))
}

/// Reads a table from messages about its parts, sets before their elements: what a socket does with what it receives. For
/// tests with messages that no kernel sends.
///
/// # Errors
/// The bytes are not such messages, or have something that edgeward does not know.
pub fn read_table(mut bytes: &[u8]) -> Result<Ruleset, NetlinkError> {
    let mut found = Description::default();
    while !bytes.is_empty() {
        let (message, rest) = Received::split(bytes).ok_or(NetlinkError::Garbled)?;
        let (_, attributes) = message.about_tables().ok_or(NetlinkError::Garbled)?;
        // The answer to each request is the message that would create what it describes.
        found.read(message.kind.saturating_add(1), attributes)?;
        bytes = rest;
    }
    found.ruleset()
}

impl NetlinkSocket {
    /// The number of the generation of all tables of this network namespace: every change of a table has the next.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn generation(&mut self) -> Result<u32, NetlinkError> {
        let mut generation = None;
        let mut read = |message: &[u8]| {
            generation = wire::find_u32(message, GENERATION);
            Ok(())
        };
        match self.ask(wire::GET_GENERATION, 0, &mut read, |_| {})? {
            Completion::Done => generation.ok_or(NetlinkError::Garbled),
            // Netfilter's part of netlink is there, without its part for tables.
            Completion::Refused(refusal) if refusal.errno == Errno::INVAL => Err(NetlinkError::NoTables),
            Completion::Refused(refusal) => Err((&refusal).into()),
        }
    }

    /// The table without the elements of its sets; `None` where there is none.
    ///
    /// # Errors
    /// It cannot be read, has something that edgeward does not know, or tables keep changing.
    pub fn structure(&mut self) -> Result<Option<Ruleset>, NetlinkError> {
        super::until_whole(|| {
            let before = self.generation()?;
            let description = self.describe_table();
            match self.generation()? == before {
                true => description?.map(Description::ruleset).transpose(),
                false => Err(NetlinkError::Torn),
            }
        })
    }

    fn describe_table(&mut self) -> Result<Option<Description>, NetlinkError> {
        let mut found = Description::default();
        let named = |bytes: &mut Vec<u8>| wire::text(bytes, TABLE_NAME, TABLE);
        let table = self.request(wire::GET_TABLE, 0, &mut |message| found.read(wire::GET_TABLE, message), named);
        match table {
            Err(NetlinkError::Gone) => return Ok(None),
            table => table?,
        }
        // The kernel lists the chains of all tables of the family, and of others what is in this table.
        for kind in [wire::GET_CHAINS, wire::GET_RULES, wire::GET_SET, wire::GET_OBJECTS, wire::GET_FLOWTABLES] {
            self.request(kind, wire::ALL, &mut |message| found.read(kind, message), named)?;
        }
        let of_rules = found.sets.iter().filter(|(_, set)| matches!(set, ListedSet::Anonymous(_)));
        let of_rules: Vec<String> = of_rules.map(|(name, _)| name.clone()).collect();
        for name in of_rules {
            let mut read = |message: &[u8]| found.read(wire::GET_ELEMENTS, message);
            self.request(wire::GET_ELEMENTS, wire::ALL, &mut read, |bytes| {
                named(bytes);
                wire::text(bytes, SET_NAME, &name);
            })?;
        }
        Ok(Some(found))
    }
}
