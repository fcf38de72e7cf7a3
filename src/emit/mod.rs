//! A ruleset as something that nft loads: text for people, JSON for programs. One fold each, no text surgery.

mod json;
mod nft;

pub use json::json;
pub use nft::{changes, is_intact, nft, rule};

use std::net::IpAddr;

use crate::net::{Bits, Family, Prefix, Ranges};
use crate::ruleset::{Set, SetKind};

/// The elements of a set as the kernel wants them: prefixes, or addresses one by one.
fn elements(set: &Set) -> Vec<Prefix> {
    match set.kind {
        SetKind::Prefixes => set.elements.prefixes().collect(),
        SetKind::Hosts => set.elements.ranges().flat_map(|(low, high)| addresses(low, high)).collect(),
    }
}

fn addresses(low: IpAddr, high: IpAddr) -> Vec<Prefix> {
    let mut all = Vec::new();
    let mut next = Some(low);
    while let Some(address) = next.filter(|address| *address <= high) {
        all.push(Prefix::from(address));
        next = match address {
            IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
            IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
        };
    }
    all
}

/// The header that a family's addresses stand in.
fn header(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

/// A range of numbers, for either format.
fn ranges<T: Bits>(set: &Ranges<T>) -> Vec<(T, T)> {
    set.iter().collect()
}
