//! Which addresses a name may resolve to: answers come from the network and are not trusted.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::net::{DomainName, Nat64Prefix, PrefixSet, Special};

/// Which answers a policy accepts.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The prefixes of the cloud as reached over a leased line; `None` over the public network.
    pub cloud: Option<PrefixSet>,
    /// Whether those are the VPC's only: the cloud's services are reached at endpoints there.
    pub inside_vpc: bool,
    /// Suffixes of labels: over a leased line a name with one resolves inside the cloud.
    pub internal_suffixes: Vec<String>,
    /// The addresses of the cloud's metadata service.
    pub metadata: PrefixSet,
    /// The prefixes of the site and its VPC.
    pub own: PrefixSet,
    /// All prefixes that the policy gives for the site: a public name has no business in them, public or not.
    pub site: PrefixSet,
    /// Names of the site's own hosts, which may resolve to its own prefixes.
    pub hosts: BTreeSet<DomainName>,
    /// Names that may resolve to private addresses.
    pub allow_private: BTreeSet<DomainName>,
    /// The prefixes of the site's translators: their addresses are as good as the IPv4 addresses that they stand for.
    pub nat64: Vec<Nat64Prefix>,
}

/// Why an address is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Distrust {
    /// `0.0.0.0` or `::`.
    Unspecified,
    /// The host itself.
    Loopback,
    /// Link-local, which includes the metadata service of most clouds.
    LinkLocal,
    /// The metadata service of the cloud.
    Metadata,
    /// A multicast group.
    Multicast,
    /// An address that no host on the internet has (RFC 6890).
    Reserved,
    /// An IPv4 address as a translator writes it, and the policy names no translator.
    Translated,
    /// A private address from a public name.
    Private,
    /// An address of the site itself from a public name.
    Site,
    /// A name internal to the VPC that resolves outside of the cloud's prefixes.
    OutsideCloud,
    /// The same, where the cloud's prefixes are those of the VPC.
    OutsideVpc,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Distrust::Unspecified => "an unspecified address",
            Distrust::Loopback => "a loopback address",
            Distrust::LinkLocal => "a link-local address",
            Distrust::Metadata => "the address of a metadata service",
            Distrust::Multicast => "a multicast address",
            Distrust::Reserved => "a reserved address",
            Distrust::Translated => "an IPv4 address as NAT64 writes it; `resolve.nat64` permits its prefix",
            Distrust::Private => "a private address from a public name; `resolve.allow-private` permits it for a name",
            Distrust::Site => {
                "an address of the policy's own prefixes from a public name; `resolve.allow-private` permits it for a name"
            }
            Distrust::OutsideCloud => "outside of `networks.cloud-services` and `networks.vpc`",
            Distrust::OutsideVpc => "outside of `networks.vpc`, as `cloud-access` is `private-link`",
        })
    }
}

impl Trust {
    /// Why an address of a name is not accepted; `None` if it is.
    pub fn distrusts(&self, name: &DomainName, address: IpAddr) -> Option<Distrust> {
        if let Some(never) = never(address, &self.metadata) {
            return Some(never);
        }
        if let Some(translator) = self.nat64.iter().find(|one| one.prefix().net().contains(&address)) {
            let translated = translator.translated(address).map(IpAddr::V4);
            return translated.map_or(Some(Distrust::Reserved), |address| self.distrusts(name, address));
        }
        if Special::of(address) == Some(Special::Nat64) {
            return Some(Distrust::Translated);
        }
        if let Some(cloud) = self.cloud.as_ref().filter(|_| self.is_internal(name)) {
            let outside = if self.inside_vpc { Distrust::OutsideVpc } else { Distrust::OutsideCloud };
            return (!cloud.contains(address)).then_some(outside);
        }
        if self.hosts.contains(name) && self.own.contains(address) || self.allow_private.contains(name) {
            return None;
        }
        let is_site = self.site.contains(address).then_some(Distrust::Site);
        is_private(address).then_some(Distrust::Private).or(is_site)
    }

    /// Whether the cloud resolves a name to internal addresses inside VPCs.
    pub fn is_internal(&self, name: &DomainName) -> bool {
        let is_internal = |label: &str| self.internal_suffixes.iter().any(|suffix| label.ends_with(suffix));
        name.as_str().split('.').any(is_internal)
    }
}

/// Addresses that no name may resolve to, regardless of the policy.
pub(super) fn never(address: IpAddr, metadata: &PrefixSet) -> Option<Distrust> {
    if metadata.contains(address) {
        return Some(Distrust::Metadata);
    }
    match Special::of(address)? {
        Special::Unspecified => Some(Distrust::Unspecified),
        Special::Loopback => Some(Distrust::Loopback),
        Special::LinkLocal => Some(Distrust::LinkLocal),
        Special::Multicast => Some(Distrust::Multicast),
        // Translation leads to IPv4, and so to the addresses that are refused here.
        Special::ThisNetwork
        | Special::Broadcast
        | Special::Embedded
        | Special::Translated
        | Special::Protocols
        | Special::Reserved => Some(Distrust::Reserved),
        // A site may have a translator.
        Special::Nat64 => None,
        // The last one: of no use to an attacker, and what examples have for public addresses.
        Special::Private | Special::Shared | Special::Benchmarking | Special::Documentation => None,
    }
}

/// Whether sites use an address for themselves.
fn is_private(address: IpAddr) -> bool {
    matches!(Special::of(address), Some(Special::Private | Special::Shared | Special::Benchmarking))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_not_trusted() {
        let name = |text: &str| text.parse::<DomainName>().unwrap();
        let trust = Trust {
            cloud: Some("100.0.0.0/8, 192.168.0.0/16".parse().unwrap()),
            inside_vpc: false,
            internal_suffixes: ["-vpc", "-internal"].map(str::to_owned).into(),
            metadata: "100.100.100.200".parse().unwrap(),
            own: "192.168.0.0/16, 10.0.0.0/8, 198.51.100.0/24".parse().unwrap(),
            site: "192.168.0.0/16, 10.0.0.0/8, 198.51.100.0/24, 2001:db8:a::/48".parse().unwrap(),
            hosts: [name("api.example.com")].into(),
            allow_private: [name("mirror.example.com")].into(),
            nat64: Vec::new(),
        };
        let why = |who: &str, address: &str| trust.distrusts(&name(who), address.parse().unwrap());
        for (who, address, expected) in [
            ("ntp.example.com", "203.0.113.7", None),
            ("ntp.example.com", "2001:db8::7", None),
            ("ntp.example.com", "10.1.2.3", Some(Distrust::Private)),
            ("ntp.example.com", "198.51.100.7", Some(Distrust::Site)),
            ("ntp.example.com", "2001:db8:a::7", Some(Distrust::Site)),
            ("mirror.example.com", "198.51.100.7", None),
            ("api.example.com", "198.51.100.7", None),
            ("api.example.com", "2001:db8:a::7", Some(Distrust::Site)),
            ("ntp.example.com", "172.31.255.255", Some(Distrust::Private)),
            ("ntp.example.com", "100.64.0.1", Some(Distrust::Private)),
            ("ntp.example.com", "fd00::1", Some(Distrust::Private)),
            ("ntp.example.com", "198.18.0.9", Some(Distrust::Private)),
            ("mirror.example.com", "198.19.255.9", None),
            ("mirror.example.com", "192.0.0.170", Some(Distrust::Reserved)),
            ("mirror.example.com", "100::1", Some(Distrust::Reserved)),
            ("mirror.example.com", "2002:a00:1::1", Some(Distrust::Reserved)),
            ("mirror.example.com", "10.1.2.3", None),
            ("mirror.example.com", "127.0.0.1", Some(Distrust::Loopback)),
            ("mirror.example.com", "169.254.169.254", Some(Distrust::LinkLocal)),
            ("mirror.example.com", "100.100.100.200", Some(Distrust::Metadata)),
            ("mirror.example.com", "::ffff:10.0.0.1", Some(Distrust::Reserved)),
            ("mirror.example.com", "64:ff9b::a9fe:a9fe", Some(Distrust::Translated)),
            ("mirror.example.com", "0.0.0.0", Some(Distrust::Unspecified)),
            ("mirror.example.com", "255.255.255.255", Some(Distrust::Reserved)),
            ("mirror.example.com", "ff02::1", Some(Distrust::Multicast)),
            ("mirror.example.com", "fe80::1", Some(Distrust::LinkLocal)),
            ("api.example.com", "192.168.10.20", None),
            ("api.example.com", "172.16.0.1", Some(Distrust::Private)),
            ("cs-anony-vpc.cn-hangzhou.aliyuncs.com", "100.103.42.233", None),
            ("cs-anony-vpc.cn-hangzhou.aliyuncs.com", "192.168.3.3", None),
            ("cs-anony-vpc.cn-hangzhou.aliyuncs.com", "203.0.113.7", Some(Distrust::OutsideCloud)),
            ("x.oss-cn-hangzhou-internal.aliyuncs.com", "10.0.0.1", Some(Distrust::OutsideCloud)),
            ("x.oss-cn-hangzhou-internal.aliyuncs.com", "100.100.100.200", Some(Distrust::Metadata)),
        ] {
            assert_eq!(why(who, address), expected, "{who} {address}");
        }
        let internal = name("x.oss-cn-hangzhou-internal.aliyuncs.com");
        let inside = Trust { cloud: Some("192.168.0.0/16".parse().unwrap()), inside_vpc: true, ..trust.clone() };
        for (address, expected) in [("192.168.3.3", None), ("100.118.28.1", Some(Distrust::OutsideVpc))] {
            assert_eq!(inside.distrusts(&internal, address.parse().unwrap()), expected, "{address}");
        }
        assert_eq!(inside.distrusts(&name("ntp.example.com"), "203.0.113.7".parse().unwrap()), None);
        let public = Trust { cloud: None, ..trust };
        assert_eq!(public.distrusts(&internal, "100.118.28.1".parse().unwrap()), Some(Distrust::Private));
    }

    #[test]
    fn translated_addresses_are_as_good_as_what_they_stand_for() {
        let nat64 = ["64:ff9b::/96", "2001:db8:64::/48"];
        let nat64 = nat64.map(|prefix| Nat64Prefix::new(prefix.parse().unwrap()).unwrap());
        let trust = Trust { nat64: nat64.into(), site: "10.0.0.0/8".parse().unwrap(), ..Trust::default() };
        let name = "ntp.example.com".parse().unwrap();
        for (address, expected) in [
            ("64:ff9b::203.0.113.7", None),
            ("64:ff9b::169.254.169.254", Some(Distrust::LinkLocal)),
            ("64:ff9b::10.0.0.1", Some(Distrust::Private)),
            ("64:ff9b::192.168.0.1", Some(Distrust::Private)),
            ("2001:db8:64:cb00:71:700::", None),
            ("2001:db8:64:7f00:0:100::", Some(Distrust::Loopback)),
            ("2001:db8:64:cb00:171:700::", Some(Distrust::Reserved)),
            ("64:ff9b:1::203.0.113.7", Some(Distrust::Translated)),
            ("2001:db8:65::1", None),
        ] {
            assert_eq!(trust.distrusts(&name, address.parse().unwrap()), expected, "{address}");
        }
    }
}
