//! The vocabulary of nftables: which word stands for which value.
//!
//! Each word is written once, in a table that is read in both directions: `emit` asks for the word of a value,
//! `readback` and `host` for the value of a word. The tables hold words, numbers and values only. How a text, a JSON
//! object or a message is put together from them is decided where that is done.
//!
//! The words are those of nft 1.0.6; forms that only other versions list are handled in `readback`, and `emit` writes what
//! old versions read, too.

mod field;
mod numbers;
mod statement;
mod table;
mod vocabulary;

pub use field::{CT, CT_STATES, Field, LOOPBACK, META, NETWORK_PROTOCOLS, NOT_OPENING, TCP_FLAGS, TcpFlag};
pub use numbers::{NamedNumbers, PROTOCOLS, icmp_types, protocol_keyword};
pub use statement::{DEFAULT_BURST, RATE_UNITS, REJECT_CODE, REJECT_TYPE, STATEMENTS, StatementKind};
pub use table::{
    Attachment, CHAIN_POLICIES, CHAIN_TYPES, ChainType, INTERVAL, NETFILTER_HOOKS, NetfilterHook, OWN_FAMILY,
    PRIORITIES, Priority, SET_TYPES, TABLE_FAMILIES, TableFamily,
};
pub use vocabulary::Vocabulary;
