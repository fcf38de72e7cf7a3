//! Addresses with a special purpose: the one table of them.
//!
//! Literals of a policy, answers of DNS, lints and explanations ask this table, so that they cannot disagree.

use std::net::IpAddr;
use std::sync::LazyLock;

use ipnet::IpNet;

use super::prefix::Prefix;
use super::prefix_set::PrefixSet;

/// What an address is for, other than being an address of a host on the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Special {
    /// No address: `0.0.0.0` and `::`. Programs write it for “any”, packets carry it before a host has an address.
    Unspecified,
    /// The rest of 0.0.0.0/8, which no host has.
    ThisNetwork,
    /// The host itself.
    Loopback,
    /// One link; clouds have their metadata services there.
    LinkLocal,
    /// Private networks and unique local addresses.
    Private,
    /// Shared by the customers of a provider, and not routed on the internet.
    Shared,
    /// Tests of network devices. Some sites use it as private space, some proxies for false answers.
    Benchmarking,
    /// Examples in documents.
    Documentation,
    /// A group of receivers.
    Multicast,
    /// Every host of the link.
    Broadcast,
    /// An IPv4 address in IPv6: packets carry the IPv4 address instead.
    Embedded,
    /// Leads to an IPv4 address through a translator of the site (NAT64).
    Nat64,
    /// Leads to an IPv4 address through relays: 6to4, Teredo.
    Translated,
    /// Protocols that the IETF assigned it to, and nothing else.
    Protocols,
    /// Of no use yet.
    Reserved,
}

use Special::*;

/// The IANA IPv4 and IPv6 special-purpose address registries (RFC 6890 and its successors) and the multicast prefixes
/// (RFC 5771, RFC 4291 section 2.7). Blocks that the registries call globally reachable are left out, except those that
/// lead to IPv4. Of two prefixes that contain an address, the longer one counts.
const TABLE: [(&str, Special); 36] = [
    ("0.0.0.0/8", ThisNetwork),         // RFC 791 section 3.2
    ("0.0.0.0", Unspecified),           // RFC 1122 section 3.2.1.3
    ("10.0.0.0/8", Private),            // RFC 1918
    ("100.64.0.0/10", Shared),          // RFC 6598
    ("127.0.0.0/8", Loopback),          // RFC 1122 section 3.2.1.3
    ("169.254.0.0/16", LinkLocal),      // RFC 3927
    ("172.16.0.0/12", Private),         // RFC 1918
    ("192.0.0.0/24", Protocols),        // RFC 6890 section 2.1
    ("192.0.2.0/24", Documentation),    // RFC 5737
    ("192.88.99.0/24", Translated),     // RFC 7526: relays of 6to4, deprecated
    ("192.168.0.0/16", Private),        // RFC 1918
    ("198.18.0.0/15", Benchmarking),    // RFC 2544
    ("198.51.100.0/24", Documentation), // RFC 5737
    ("203.0.113.0/24", Documentation),  // RFC 5737
    ("224.0.0.0/4", Multicast),         // RFC 5771
    ("240.0.0.0/4", Reserved),          // RFC 1112 section 4
    ("255.255.255.255", Broadcast),     // RFC 8190
    ("::", Unspecified),                // RFC 4291 section 2.5.2
    ("::1", Loopback),                  // RFC 4291 section 2.5.3
    ("::/96", Embedded),                // RFC 4291 section 2.5.5.1
    ("::ffff:0:0/96", Embedded),        // RFC 4291 section 2.5.5.2
    ("64:ff9b::/96", Nat64),            // RFC 6052
    ("64:ff9b:1::/48", Nat64),          // RFC 8215
    ("100::/64", Protocols),            // RFC 6666: discarded
    ("100:0:0:1::/64", Protocols),      // RFC 9780: dummy addresses
    ("2001::/23", Protocols),           // RFC 2928
    ("2001::/32", Translated),          // RFC 4380
    ("2001:2::/48", Benchmarking),      // RFC 5180
    ("2001:db8::/32", Documentation),   // RFC 3849
    ("2002::/16", Translated),          // RFC 3056
    ("3fff::/20", Documentation),       // RFC 9637
    ("5f00::/16", Protocols),           // RFC 9602: segment identifiers
    ("fc00::/7", Private),              // RFC 4193
    ("fe80::/10", LinkLocal),           // RFC 4291 section 2.5.6
    ("fec0::/10", Private),             // RFC 3879: site-local, deprecated
    ("ff00::/8", Multicast),            // RFC 4291 section 2.7
];

/// The IPv6 addresses that are in use on the internet (RFC 4291 section 2.4, IANA's IPv6 address space).
const GLOBAL_V6: &str = "2000::/3";

/// Parses a constant of this file. A test parses them all.
fn parsed(text: &str) -> PrefixSet {
    text.parse().unwrap_or_default()
}

/// Parses a prefix of the table. One of them is refused in files: packets do not carry IPv4-mapped addresses.
fn row(text: &str) -> Option<Prefix> {
    let address = || text.parse().ok().map(Prefix::from as fn(IpAddr) -> Prefix);
    text.parse()
        .ok()
        .map(|net| match net {
            IpNet::V4(net) => Prefix::from(net),
            IpNet::V6(net) => Prefix::from(net),
        })
        .or_else(address)
}

/// The table, the shorter prefixes first: a row takes its addresses from the prefix that contains it.
static ROWS: LazyLock<Vec<(Prefix, Special)>> = LazyLock::new(|| {
    let rows = TABLE.iter().filter_map(|(text, special)| Some((row(text)?, *special)));
    let mut rows: Vec<(Prefix, Special)> = rows.collect();
    rows.sort_by_key(|(prefix, _)| prefix.net().prefix_len());
    rows
});

impl Special {
    /// What an address is for; `None` if it has no special purpose.
    pub fn of(address: IpAddr) -> Option<Self> {
        ROWS.iter().rev().find(|(prefix, _)| prefix.net().contains(&address)).map(|(_, special)| *special)
    }

    /// The addresses of some purposes.
    pub fn addresses(which: impl Fn(Special) -> bool) -> PrefixSet {
        ROWS.iter().fold(PrefixSet::default(), |all, (prefix, special)| {
            let row = PrefixSet::from_iter([*prefix]);
            if which(*special) { all.union(&row) } else { all.difference(&row) }
        })
    }

    /// The addresses that are routed on the internet.
    pub fn public() -> PrefixSet {
        let every = parsed("0.0.0.0/0").union(&parsed(GLOBAL_V6));
        every.difference(&Self::addresses(|_| true))
    }

    /// With its article, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Unspecified => "the unspecified address",
            ThisNetwork => "an address of 0.0.0.0/8, which no host has",
            Loopback => "a loopback address",
            LinkLocal => "a link-local address",
            Private => "a private address",
            Shared => "an address of shared space",
            Benchmarking => "an address for benchmarks",
            Documentation => "an address for documentation",
            Multicast => "a multicast group",
            Broadcast => "the broadcast address",
            Embedded => "an IPv4 address in IPv6 notation",
            Nat64 | Translated => "an address that leads to IPv4",
            Protocols => "an address that is reserved for protocols",
            Reserved => "a reserved address",
        }
    }

    /// Whether a host can have it on a network.
    ///
    /// The kernel takes in no packet from a group or from the broadcast address, and none with a loopback address from a
    /// network. What goes through `lo` is permitted before any flow.
    pub fn is_of_a_host(self) -> bool {
        !matches!(self, Unspecified | ThisNetwork | Loopback | Multicast | Broadcast | Embedded)
    }

    /// Whether it stands for several hosts: packets go to it, and never come from it.
    pub fn is_to_many(self) -> bool {
        matches!(self, Multicast | Broadcast)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_prefixes_and_differ() {
        for text in TABLE.iter().map(|(text, _)| text).chain([&GLOBAL_V6]) {
            let written = text.parse().map(Prefix::from as fn(IpAddr) -> Prefix).map(Prefix::net);
            assert_eq!(row(text).map(Prefix::net), text.parse().or(written).ok(), "{text}");
            assert!(row(text).is_some(), "{text}");
        }
        assert_eq!(ROWS.len(), TABLE.len());
        for (at, (text, _)) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|(other, _)| other != text), "{text}");
        }
    }

    /// The standard library has some of the same facts.
    #[test]
    fn the_table_agrees_with_the_standard_library() {
        let mut addresses = Vec::new();
        for (text, _) in TABLE {
            let net = row(text).unwrap().net();
            let edges = PrefixSet::from_iter([row(text).unwrap()]);
            addresses.extend([net.network(), net.broadcast()]);
            let v4 = edges.v4().iter().flat_map(|(low, high)| [low.wrapping_sub(1), high.wrapping_add(1)]);
            addresses.extend(v4.map(|bits| IpAddr::V4(bits.into())));
            let v6 = edges.v6().iter().flat_map(|(low, high)| [low.wrapping_sub(1), high.wrapping_add(1)]);
            addresses.extend(v6.map(|bits| IpAddr::V6(bits.into())));
        }
        for address in addresses {
            let special = Special::of(address);
            let is = |kind: Special| special == Some(kind);
            assert_eq!(is(Unspecified), address.is_unspecified(), "{address}");
            assert_eq!(is(Loopback), address.is_loopback(), "{address}");
            assert_eq!(is(Multicast), address.is_multicast(), "{address}");
            match address {
                IpAddr::V4(v4) => {
                    assert_eq!(is(Private), v4.is_private(), "{address}");
                    assert_eq!(is(LinkLocal), v4.is_link_local(), "{address}");
                    assert_eq!(is(Broadcast), v4.is_broadcast(), "{address}");
                    assert_eq!(is(Documentation), v4.is_documentation(), "{address}");
                }
                IpAddr::V6(v6) => {
                    assert_eq!(is(LinkLocal), v6.is_unicast_link_local(), "{address}");
                    assert_eq!(is(Private), v6.is_unique_local() || v6.segments()[0] & 0xffc0 == 0xfec0, "{address}");
                    assert_eq!(is(Embedded), v6.to_ipv4().is_some() && v6.to_bits() > 1, "{address}");
                }
            }
            // An address has one purpose or none.
            let kinds = |kind: Option<Special>| Special::addresses(|other| Some(other) == kind).contains(address);
            assert_eq!(kinds(special), special.is_some(), "{address}");
            assert!(!special.is_some_and(|_| Special::public().contains(address)), "{address}");
        }
    }

    #[test]
    fn what_is_on_the_internet_has_no_purpose_of_its_own() {
        for text in ["8.8.8.8", "100.63.255.255", "100.128.0.0", "223.255.255.255", "2400:3200::1", "2620:fe::fe"] {
            let address = text.parse().unwrap();
            assert_eq!(Special::of(address), None, "{text}");
            assert!(Special::public().contains(address), "{text}");
        }
        // Not in use at all.
        assert!(!Special::public().contains("4000::1".parse().unwrap()));
    }
}
