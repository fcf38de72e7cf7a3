//! IPv4 addresses in IPv6: what a translator makes of the addresses of a prefix (RFC 6052).

use std::net::{IpAddr, Ipv4Addr};

use super::prefix::Prefix;
use super::special::Special;

/// The bytes before the IPv4 address begins, by the lengths that a prefix may have (RFC 6052 section 2.2).
const STARTS: [(u8, usize); 6] = [(32, 4), (40, 5), (48, 6), (56, 7), (64, 9), (96, 12)];
/// The byte that is always zero (bits 64 to 71): an IPv4 address goes on after it.
const ZERO: usize = 8;

/// A prefix by which IPv6 hosts reach IPv4 addresses through a translator (NAT64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat64Prefix(Prefix);

impl Nat64Prefix {
    /// A prefix, if it is one of IPv6 with a length that an IPv4 address fits in after, 32, 40, 48, 56, 64 or 96, and one
    /// that a site can route to a translator.
    pub fn new(prefix: Prefix) -> Option<Self> {
        let IpAddr::V6(network) = prefix.net().network() else { return None };
        let fits = STARTS.iter().any(|(length, _)| *length == prefix.net().prefix_len());
        // Documents have examples of it, and a site may use unique local addresses.
        let routed = [None, Some(Special::Nat64), Some(Special::Private), Some(Special::Documentation)];
        let is_routed = routed.contains(&Special::of(network.into()));
        (fits && is_routed && network.octets()[ZERO] == 0).then_some(Self(prefix))
    }

    /// The prefix.
    pub fn prefix(self) -> Prefix {
        self.0
    }

    /// The IPv4 address that an address of the prefix stands for; `None` for one that stands for none.
    pub fn translated(self, address: IpAddr) -> Option<Ipv4Addr> {
        let IpAddr::V6(address) = address else { return None };
        let octets = address.octets();
        let start = STARTS.iter().find(|(length, _)| *length == self.0.net().prefix_len())?.1;
        let mut bytes = (start..octets.len()).filter(|place| *place != ZERO).map(|place| octets[place]);
        let mut next = || bytes.next();
        let found = [next()?, next()?, next()?, next()?];
        (self.0.net().contains(&IpAddr::V6(address)) && octets[ZERO] == 0).then(|| found.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Option<Nat64Prefix> {
        Nat64Prefix::new(text.parse().unwrap())
    }

    /// The examples of RFC 6052 section 2.4.
    #[test]
    fn addresses_are_those_of_the_standard() {
        for (of, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            let of = prefix(of).unwrap();
            assert_eq!(of.translated(address.parse().unwrap()), Some(Ipv4Addr::new(192, 0, 2, 33)), "{address}");
            assert_eq!(of.translated("2001:db9::".parse().unwrap()), None);
            assert_eq!(of.translated("192.0.2.33".parse().unwrap()), None);
        }
        for other in [
            "10.0.0.0/8",
            "2001:db8::/33",
            "2001:db8::/128",
            "2001:db8:0:0:100::/96",
            "ff02::/96",
            "fe80::/96",
            "::/96",
            "2002::/32",
        ] {
            assert_eq!(prefix(other), None, "{other}");
        }
        assert_eq!(prefix("2001:db8::/32").unwrap().translated("2001:db8:c000:221:100::".parse().unwrap()), None);
    }
}
