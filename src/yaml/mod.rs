//! YAML read into a tree with places, and trees decoded into types with every problem reported.
//!
//! A decoder that stops at the first mistake makes an operator fix a policy in ten runs. So the tree is read whole
//! first, and [`Decode`] goes on after a mistake. The same types give the JSON Schema: a field is described once.

mod decode;
mod scalars;
mod tree;

pub use decode::{Decode, Fields, decode_number, field_name};
pub(crate) use decode::{record, scalar, words};
pub use scalars::{AddressOrName, PrefixOrName};
pub use tree::{Node, Value, read};
