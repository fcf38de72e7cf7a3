//! Sets of prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::prefix::{Family, Prefix, PrefixError};
use super::ranges::Ranges;

/// A set of prefixes: sorted, disjoint and minimal.
///
/// The kernel rejects overlapping intervals, so a set cannot represent any.
///
/// ```
/// use edgeward::net::PrefixSet;
/// let set: PrefixSet = "10.0.0.0/9, 10.128.0.0/9".parse()?;
/// assert_eq!(set.to_string(), "10.0.0.0/8");
/// # Ok::<(), edgeward::net::PrefixError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixSet {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

macro_rules! each_family {
    ($(#[doc = $doc:expr])+ $name:ident) => {
        $(#[doc = $doc])+
        #[must_use]
        pub fn $name(&self, other: &Self) -> Self {
            Self { v4: self.v4.$name(&other.v4), v6: self.v6.$name(&other.v6) }
        }
    };
}

impl PrefixSet {
    each_family! {
        /// All addresses that are in either set.
        union
    }
    each_family! {
        /// All addresses that are in both sets.
        intersection
    }
    each_family! {
        /// All addresses of this set that are not in the other.
        difference
    }
    each_family! {
        /// The ranges of this set that the other does not have with exactly these ends.
        changed_ranges
    }

    /// All addresses that are in any of the sets.
    pub fn union_of<'a>(sets: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let mut filled = sets.clone().filter(|set| !set.is_empty());
        match (filled.next(), filled.next()) {
            (None, _) => Self::default(),
            (Some(one), None) => one.clone(),
            _ => Self {
                v4: sets.clone().flat_map(|set| set.v4.iter()).collect(),
                v6: sets.flat_map(|set| set.v6.iter()).collect(),
            },
        }
    }

    /// Whether the set has no address.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether the set has the address; logarithmic.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contains(address.to_bits()),
            IpAddr::V6(address) => self.v6.contains(address.to_bits()),
        }
    }

    /// Whether both sets share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.v4.overlaps(&other.v4) || self.v6.overlaps(&other.v6)
    }

    /// Whether all addresses of this set are in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.v4.is_subset(&other.v4) && self.v6.is_subset(&other.v6)
    }

    /// The addresses of one family.
    #[must_use]
    pub fn only(&self, family: Family) -> Self {
        match family {
            Family::V4 => Self { v4: self.v4.clone(), ..Self::default() },
            Family::V6 => Self { v6: self.v6.clone(), ..Self::default() },
        }
    }

    /// Whether it is every address of a family.
    pub fn has_every_address(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4 == Ranges::all(),
            Family::V6 => self.v6 == Ranges::all(),
        }
    }

    /// The IPv4 addresses, as numbers.
    pub fn v4(&self) -> &Ranges<u32> {
        &self.v4
    }

    /// The IPv6 addresses, as numbers.
    pub fn v6(&self) -> &Ranges<u128> {
        &self.v6
    }

    /// The inclusive ranges of the set, v4 first, in order.
    pub fn ranges(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        let v4 = self.v4.iter().map(|(low, high)| (Ipv4Addr::from_bits(low).into(), Ipv4Addr::from_bits(high).into()));
        let v6 = self.v6.iter().map(|(low, high)| (Ipv6Addr::from_bits(low).into(), Ipv6Addr::from_bits(high).into()));
        v4.chain(v6)
    }

    /// How many ranges the set has.
    pub fn range_count(&self) -> usize {
        self.v4.iter().len() + self.v6.iter().len()
    }

    /// All addresses one by one, v4 first, in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.v4.iter().flat_map(|(low, high)| low..=high).map(|bits| Ipv4Addr::from_bits(bits).into());
        let v6 = self.v6.iter().flat_map(|(low, high)| low..=high).map(|bits| Ipv6Addr::from_bits(bits).into());
        v4.chain(v6)
    }

    /// The fewest prefixes that make up the set, v4 first, in order.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> + '_ {
        // A block's exponent is at most the number of bits.
        let v4 = self.v4.blocks().filter_map(|(low, block)| Ipv4Net::new(low.into(), 32 - block as u8).ok());
        let v6 = self.v6.blocks().filter_map(|(low, block)| Ipv6Net::new(low.into(), 128 - block as u8).ok());
        v4.map(Prefix::from).chain(v6.map(Prefix::from))
    }
}

impl From<(Ranges<u32>, Ranges<u128>)> for PrefixSet {
    fn from((v4, v6): (Ranges<u32>, Ranges<u128>)) -> Self {
        Self { v4, v6 }
    }
}

impl FromIterator<Prefix> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = Prefix>>(prefixes: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match prefix.net() {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self { v4: v4.into_iter().collect(), v6: v6.into_iter().collect() }
    }
}

impl FromIterator<IpAddr> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        addresses.into_iter().map(Prefix::from).collect()
    }
}

impl FromStr for PrefixSet {
    type Err = PrefixError;

    /// Parses prefixes separated by commas; an empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::parse::<Prefix>).collect()
    }
}

impl fmt::Display for PrefixSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, prefix) in self.prefixes().enumerate() {
            write!(f, "{}{prefix}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for PrefixSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> PrefixSet {
        text.parse().unwrap()
    }

    #[test]
    fn both_ends_of_both_spaces() {
        assert_eq!(set("0.0.0.0/1, 128.0.0.0/1").to_string(), "0.0.0.0/0");
        assert_eq!(set("::/1, 8000::/1").to_string(), "::/0");
        assert_eq!(set("0.0.0.0/0").difference(&set("255.255.255.255")).prefixes().count(), 32);
        assert_eq!(set("::/0").difference(&set("::")).prefixes().count(), 128);
        assert_eq!(set("255.255.255.254/31, 0.0.0.0").ranges().count(), 2);
    }

    #[test]
    fn families_never_mix() {
        let both = set("10.0.0.0/8, 2001:db8::/32");
        assert_eq!(both.only(Family::V4).union(&both.only(Family::V6)), both);
        assert!(!set("::/0").overlaps(&set("0.0.0.0/0")));
        assert!(!set("::/0").contains("10.0.0.1".parse().unwrap()));
    }
}
