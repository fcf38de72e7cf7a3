//! A ruleset as something that nft loads: text for people, JSON for programs. Each format is one fold over the ruleset;
//! nothing edits what has been emitted.

mod checksum;
mod json;
mod text;

pub use checksum::{hexadecimal, is_intact, sha256};
pub use json::json;
pub use text::{nft, rule};
