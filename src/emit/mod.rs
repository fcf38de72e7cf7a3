//! A ruleset as something that nft loads: text for people, JSON for programs. One fold each, no text surgery.

mod json;
mod nft;

pub use json::json;
pub use nft::{changes, hexadecimal, is_intact, nft, rule, sha256};

use crate::net::Family;

/// The header that a family's addresses stand in.
fn header(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}
