//! The zones of a policy: named sets of prefixes.

use super::syntax::{Networks, Policy};
use crate::catalog::Zone;
use crate::net::{Prefix, PrefixSet};
use crate::source::Spanned;

/// The addresses of prefixes.
pub(super) fn prefixes(written: &[Spanned<Prefix>]) -> PrefixSet {
    written.iter().map(|prefix| prefix.value).collect()
}

/// The prefixes that are not inside others, in the order of their addresses.
pub(super) fn widest(written: &[Spanned<Prefix>]) -> Vec<Prefix> {
    let mut widest: Vec<Prefix> = written.iter().map(|prefix| prefix.value).collect();
    widest.sort_by_key(|prefix| (prefix.net().network(), prefix.net().prefix_len()));
    widest.dedup_by(|next, last| last.net().contains(&next.net()));
    widest
}

/// One of the [`widest`] prefixes that overlaps a prefix; logarithmic. Of two prefixes that overlap, one is inside the
/// other, so it is the last that begins at or before it, or the first that begins after it.
pub(super) fn overlapping(prefix: Prefix, widest: &[Prefix]) -> Option<Prefix> {
    let net = prefix.net();
    let after = widest.partition_point(|other| other.net().network() <= net.network());
    let near = widest[after.saturating_sub(1)..].iter().take(2);
    near.copied().find(|other| other.net().contains(&net) || net.contains(&other.net()))
}

impl Networks {
    /// The prefixes of a zone of `networks` as they are written; none for the zones of other sections.
    pub(super) fn zone(&self, zone: Zone) -> &[Spanned<Prefix>] {
        match zone {
            Zone::Vpc => &self.vpc,
            Zone::Vswitches => &self.vswitches,
            Zone::PodVswitches => &self.pod_vswitches,
            Zone::Hosts => &self.hosts,
            Zone::Pods => &self.pods,
            Zone::Services => &self.services,
            Zone::CloudServices => self.cloud_services.as_ref().map_or(&[], |listed| &listed.value),
            Zone::BgpPeers => &self.bgp_peers,
            Zone::ControlPlane => &self.control_plane,
            Zone::NodePorts | Zone::Management | Zone::DnsServers => &[],
        }
    }
}

/// The prefixes of a zone, with their spans; a default has none.
pub fn zone(policy: &Policy, zone: Zone) -> Vec<Spanned<Prefix>> {
    match zone {
        Zone::NodePorts => policy.node_ports().map(|section| section.from.value.clone()).unwrap_or_default(),
        Zone::Management => policy.management.as_ref().map(|section| section.value.from.clone()).unwrap_or_default(),
        Zone::DnsServers => {
            let servers = policy.dns.iter().flat_map(|section| &section.value.servers);
            servers.map(|server| server.map(Prefix::from)).collect()
        }
        Zone::CloudServices => policy.cloud_services(),
        _ => policy.networks.value.zone(zone).to_vec(),
    }
}

/// The addresses of several zones together.
pub fn addresses(policy: &Policy, zones: &[Zone]) -> PrefixSet {
    zones.iter().flat_map(|one| zone(policy, *one)).map(|prefix| prefix.value).collect()
}

/// The field of a zone, for messages.
pub(super) fn zone_field(zone: Zone) -> String {
    match zone {
        Zone::NodePorts => "kube-proxy.node-ports.from".to_owned(),
        Zone::Management => "management.from".to_owned(),
        Zone::DnsServers => "dns.servers".to_owned(),
        _ => format!("networks.{zone}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_those_that_a_search_of_all_pairs_finds() {
        let texts = "0.0.0.0/0 10.0.0.0/8 10.0.0.0/16 10.0.0.0/32 10.0.1.0/24 10.128.0.0/9 255.255.255.255/32 ::/0 \
                     2001:db8::/32 2001:db8:1::/48";
        let all: Vec<Prefix> = texts.split(' ').map(|text| text.parse().unwrap()).collect();
        for mask in 0..1u32 << all.len() {
            let chosen = (0..).zip(&all).filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, prefix)| *prefix);
            let others: Vec<Spanned<Prefix>> = chosen.map(Spanned::unwritten).collect();
            let widest = widest(&others);
            for prefix in &all {
                let meets = |other: Prefix| PrefixSet::from_iter([other]).overlaps(&PrefixSet::from_iter([*prefix]));
                let found = overlapping(*prefix, &widest);
                assert_eq!(found.is_some(), others.iter().any(|other| meets(other.value)), "{prefix} {others:?}");
                assert!(found.is_none_or(meets), "{prefix} {found:?}");
            }
        }
    }
}
