//! YAML parsed into a tree with spans, and trees decoded into types with every problem reported.
//!
//! A decoder that stops at the first error costs the operator one run per error. So the whole tree is parsed first, and
//! [`Decode`] continues after an error. The JSON Schema comes from the same types: a field is described once.

mod declare;
mod decode;
mod scalars;
mod tree;

pub(crate) use declare::{by_word, number, record, refined, scalar, words};
pub use decode::{Decode, Fields, Json, Written, decode_number, field_name};
pub(crate) use decode::{decode_word, parse_word};
pub use scalars::{AddressOrName, PrefixOrName};
pub use tree::{Node, Value, read, read_as};
