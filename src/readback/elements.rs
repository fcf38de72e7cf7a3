//! The elements of a set, from either format.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::decimal::decimal;
use super::problem::{Reading, malformed, quoted, unknown};
use crate::net::{Bits, Family, Plain, PrefixSet, Ranges};
use crate::ruleset::SetKind;
use crate::source::Span;

/// Elements as they were written, in any order, of either family.
///
/// Whether they fit the set is checked at the end, since its type and flags may come after them.
#[derive(Default)]
pub struct WrittenElements {
    v4: FamilyElements<u32>,
    v6: FamilyElements<u128>,
}

/// The elements of one family. There may be half a million, so they are kept small: 13 bytes for each of IPv4.
struct FamilyElements<T> {
    ranges: Vec<(T, T)>,
    /// Where each starts. A text has less than 4 GiB.
    starts: Vec<u32>,
    /// The length of each in bytes. The longest has 79.
    lengths: Vec<u8>,
    /// The first that was not written as a single address.
    other: Option<Span>,
}

impl<T> Default for FamilyElements<T> {
    fn default() -> Self {
        Self { ranges: Vec::new(), starts: Vec::new(), lengths: Vec::new(), other: None }
    }
}

impl WrittenElements {
    /// Adds an element of nft text: `10.0.0.1`, `10.0.0.0/8`, `10.0.0.1-10.0.0.9`.
    pub fn push(&mut self, text: &str, span: Span) -> Reading<()> {
        if let Some((address, length)) = text.split_once('/') {
            self.push_prefix(address, length, span)
        } else if let Some((low, high)) = text.split_once('-') {
            self.push_range(low, high, span)
        } else {
            self.push_address(text, span)
        }
    }

    /// Adds an element that has been parsed.
    pub fn push_plain(&mut self, plain: Plain, start: usize) {
        let ends = (Ipv4Addr::from_bits(plain.low).into(), Ipv4Addr::from_bits(plain.high).into());
        self.add(ends, plain.is_address, Span { start, end: start + plain.length });
    }

    fn add(&mut self, ends: (IpAddr, IpAddr), is_address: bool, span: Span) {
        match ends {
            (IpAddr::V4(low), IpAddr::V4(high)) => self.v4.push((low.to_bits(), high.to_bits()), is_address, span),
            (IpAddr::V6(low), IpAddr::V6(high)) => self.v6.push((low.to_bits(), high.to_bits()), is_address, span),
            // Cannot happen: both ends come from one address, or were checked to be of one family.
            _ => {}
        }
    }

    /// Adds one address.
    pub fn push_address(&mut self, text: &str, span: Span) -> Reading<()> {
        let address = address(text, span)?;
        self.add((address, address), true, span);
        Ok(())
    }

    /// Adds a prefix.
    pub fn push_prefix(&mut self, text: &str, length: &str, span: Span) -> Reading<()> {
        let low = address(text, span)?;
        let longest = if low.is_ipv4() { 32 } else { 128 };
        let Some(length) = decimal(length).filter(|length| *length <= longest) else {
            let message = format!("{} is not a prefix length from 0 to {longest}", quoted(length));
            return Err(malformed(span, message, "write a prefix length of the address family"));
        };
        let (first, high): (IpAddr, IpAddr) = match low {
            IpAddr::V4(low) => {
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                let bits = low.to_bits();
                (Ipv4Addr::from_bits(bits & !host).into(), Ipv4Addr::from_bits(bits | host).into())
            }
            IpAddr::V6(low) => {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                let bits = low.to_bits();
                (Ipv6Addr::from_bits(bits & !host).into(), Ipv6Addr::from_bits(bits | host).into())
            }
        };
        if first != low {
            // nft would clear these bits. Here they are an error, as in a policy.
            let message = format!("{} has host bits set", quoted(&format!("{text}/{length}")));
            return Err(malformed(span, message, &format!("write `{first}/{length}`")));
        }
        self.add((low, high), false, span);
        Ok(())
    }

    /// Adds a range that includes both ends.
    pub fn push_range(&mut self, low: &str, high: &str, span: Span) -> Reading<()> {
        let (low, high) = (address(low, span)?, address(high, span)?);
        if low.is_ipv4() != high.is_ipv4() || low > high {
            let message = format!("{} is not a range", quoted(&format!("{low}-{high}")));
            return Err(malformed(span, message, "write two addresses of one family, the lower one first"));
        }
        self.add((low, high), false, span);
        Ok(())
    }

    /// The addresses, if they fit a set of a family and kind.
    ///
    /// nft accepts the same element twice, and refuses elements that overlap (1.0.6: “conflicting intervals specified”).
    pub fn fit(self, family: Family, kind: SetKind) -> Reading<PrefixSet> {
        let stranger = match family {
            Family::V4 => self.v6.span(0),
            Family::V6 => self.v4.span(0),
        };
        if let Some(span) = stranger {
            let message = format!("an address of the other family in a set of {} addresses", family.name());
            return Err(malformed(span, message, "use a set for each family"));
        }
        Ok((self.v4.joined(kind)?, self.v6.joined(kind)?).into())
    }
}

impl<T: Bits> FamilyElements<T> {
    fn push(&mut self, range: (T, T), is_address: bool, span: Span) {
        self.ranges.push(range);
        self.starts.push(u32::try_from(span.start).unwrap_or(u32::MAX));
        self.lengths.push(u8::try_from(span.end.saturating_sub(span.start)).unwrap_or(u8::MAX));
        if !is_address {
            self.other.get_or_insert(span);
        }
    }

    fn span(&self, index: usize) -> Option<Span> {
        let start = *self.starts.get(index)? as usize;
        Some(Span { start, end: start + usize::from(*self.lengths.get(index)?) })
    }

    /// The elements as ranges, each address once.
    fn joined(self, kind: SetKind) -> Reading<Ranges<T>> {
        if let (SetKind::Hosts, Some(span)) = (kind, self.other) {
            let help = "add `flags interval` to the set, or list the addresses";
            return Err(malformed(span, "a set without the flag `interval` holds single addresses only", help));
        }
        // In order and disjoint, as edgeward writes them.
        if self.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0) {
            return Ok(self.ranges.into_iter().collect());
        }
        let mut order: Vec<usize> = (0..self.ranges.len()).collect();
        order.sort_unstable_by_key(|index| self.ranges[*index]);
        order.dedup_by_key(|index| self.ranges[*index]);
        let clash = order.windows(2).find(|pair| self.ranges[pair[1]].0 <= self.ranges[pair[0]].1);
        if let Some(span) = clash.and_then(|pair| self.span(pair[0]).max(self.span(pair[1]))) {
            let help = "remove the smaller one, or split them so that no address is in both";
            return Err(malformed(span, "the element overlaps another element of the set", help));
        }
        Ok(order.into_iter().map(|index| self.ranges[index]).collect())
    }
}

/// Parses an address without leading zeros, which nft reads as octal.
///
/// IPv6 may end in IPv4 after `::` or `::ffff:` only: nft lists `::102:304` as `::1.2.3.4`.
fn address(text: &str, span: Span) -> Reading<IpAddr> {
    let parsed = if text.contains(':') {
        let is_known = |address: &Ipv6Addr| !text.contains('.') || address.to_ipv4().is_some();
        text.parse().ok().filter(is_known).map(IpAddr::V6)
    } else {
        text.parse().ok().map(IpAddr::V4)
    };
    parsed.ok_or_else(|| match text {
        "*" => unknown(span, "`*` stands for all addresses that are not in the set", "list the addresses"),
        _ => {
            let help = "write an address without leading zeros; names are not resolved here";
            malformed(span, format!("{} is not an IP address", quoted(text)), help)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(texts: &[&str], family: Family, kind: SetKind) -> Result<String, String> {
        let mut elements = WrittenElements::default();
        let span = |index| Span { start: index, end: index + 1 };
        let pushed = texts.iter().enumerate().try_for_each(|(index, text)| elements.push(text, span(index)));
        pushed
            .and_then(|()| elements.fit(family, kind))
            .map(|set| set.to_string())
            .map_err(|problem| format!("{}: {}", problem.span.start, problem.message))
    }

    #[test]
    fn elements_are_joined() {
        let v4 = |texts: &[&str]| fitted(texts, Family::V4, SetKind::Prefixes);
        assert_eq!(v4(&["10.128.0.0/9", "10.0.0.0-10.127.255.255"]).unwrap(), "10.0.0.0/8");
        assert_eq!(v4(&["0.0.0.0/0"]).unwrap(), "0.0.0.0/0");
        assert_eq!(v4(&["10.0.0.1", "10.0.0.0/32", "10.0.0.1"]).unwrap(), "10.0.0.0/31");
        let v6 = |texts: &[&str]| fitted(texts, Family::V6, SetKind::Prefixes);
        assert_eq!(v6(&["::/1", "8000::/1"]).unwrap(), "::/0");
        assert_eq!(v6(&["::0.1.0.2", "::ffff:0.0.0.0/96"]).unwrap(), "::1:2, ::ffff:0.0.0.0/96");
    }

    #[test]
    fn bad_elements_are_found() {
        for (texts, family, kind, expected) in [
            (&["10.0.0.0/8", "10.1.0.0/16"][..], Family::V4, SetKind::Prefixes, "1: the element overlaps"),
            (&["10.1.0.0/16", "10.0.0.0/8"], Family::V4, SetKind::Prefixes, "1: the element overlaps"),
            (&["10.0.0.0-10.0.0.9", "10.0.0.9"], Family::V4, SetKind::Prefixes, "1: the element overlaps"),
            (&["10.0.0.1", "10.0.0.1/32"], Family::V4, SetKind::Hosts, "1: a set without"),
            (&["10.0.0.1", "10.0.0.1-10.0.0.1"], Family::V4, SetKind::Hosts, "1: a set without"),
            (&["10.0.0.1", "::1"], Family::V4, SetKind::Hosts, "1: an address of the other family"),
            (&["10.0.0.9-10.0.0.1"], Family::V4, SetKind::Prefixes, "0: `10.0.0.9-10.0.0.1` is not a range"),
            (&["10.0.0.9-::1"], Family::V4, SetKind::Prefixes, "0: `10.0.0.9-::1` is not a range"),
            (&["10.1.2.3/8"], Family::V4, SetKind::Prefixes, "0: `10.1.2.3/8` has host bits"),
            (&["::1/127"], Family::V6, SetKind::Prefixes, "0: `::1/127` has host bits"),
            (&["10.0.0.0/33"], Family::V4, SetKind::Prefixes, "0: `33` is not a prefix length"),
            (&["10.0.0.0/08"], Family::V4, SetKind::Prefixes, "0: `08` is not a prefix length"),
            (&["::/129"], Family::V6, SetKind::Prefixes, "0: `129` is not a prefix length"),
            (&["010.0.0.1"], Family::V4, SetKind::Prefixes, "0: `010.0.0.1` is not an IP address"),
            (&["fe80::1%eth0"], Family::V6, SetKind::Prefixes, "0: `fe80::1%eth0` is not an IP address"),
            (&["2001:db8::1.2.3.4"], Family::V6, SetKind::Prefixes, "0: `2001:db8::1.2.3.4` is not an IP address"),
            (&["localhost"], Family::V4, SetKind::Hosts, "0: `localhost` is not an IP address"),
            (&["*"], Family::V4, SetKind::Prefixes, "0: `*` stands for"),
        ] {
            let problem = fitted(texts, family, kind).unwrap_err();
            assert!(problem.starts_with(expected), "{texts:?}: {problem}");
        }
    }
}
