//! What the core switch exchanges over BGP where the container network announces pods.

use std::net::IpAddr;

use crate::catalog::{Catalog, Zone};
use crate::net::{Family, Prefix, PrefixSet};
use crate::policy::addresses;
use crate::policy::syntax::Policy;

/// What the core switch exchanges over BGP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bgp {
    /// Its autonomous system.
    pub asn: Option<u32>,
    /// The autonomous system of the virtual border router.
    pub vbr_asn: Option<u32>,
    /// The address of the virtual border router.
    pub vbr: Option<IpAddr>,
    /// The autonomous system of the hosts.
    pub hosts_asn: Option<u32>,
    /// Where the hosts are.
    pub hosts: PrefixSet,
    /// Whom the hosts speak BGP with.
    pub peers: PrefixSet,
    /// What it accepts from the hosts: prefixes of pods.
    pub from_hosts: Vec<Accepted>,
    /// What it announces to the virtual border router.
    pub to_vbr: Vec<Accepted>,
    /// How many prefixes the virtual border router takes; it drops those beyond.
    pub max_prefixes: u32,
}

/// A prefix with the longest prefix length that is accepted inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The prefix.
    pub prefix: Prefix,
    /// The longest prefix length.
    pub max_length: u8,
}

impl Bgp {
    pub(super) fn of(policy: &Policy, catalog: &Catalog) -> Self {
        let path = &policy.path;
        let all = |zones: &[Zone], accepted: fn(Prefix) -> Accepted| {
            addresses(policy, zones).prefixes().map(accepted).collect::<Vec<_>>()
        };
        Self {
            asn: path.core_switch.asn.map(|asn| asn.0),
            vbr_asn: path.vbr.asn.map(|asn| asn.0),
            vbr: path.vbr.cloud_ip.map(|address| address.value),
            hosts_asn: path.hosts.asn.map(|asn| asn.0),
            hosts: addresses(policy, &[Zone::Hosts]),
            peers: addresses(policy, &[Zone::BgpPeers]),
            from_hosts: all(&[Zone::Pods], |prefix| Accepted {
                prefix,
                max_length: if prefix.family() == Family::V4 { 32 } else { 128 },
            }),
            to_vbr: [
                all(&[Zone::Hosts], |prefix| Accepted { prefix, max_length: prefix.net().prefix_len() }),
                all(&[Zone::Pods], |prefix| Accepted {
                    prefix,
                    max_length: if prefix.family() == Family::V4 { 32 } else { 128 },
                }),
            ]
            .concat(),
            max_prefixes: catalog.elements.limits.bgp_routes.0,
        }
    }
}
