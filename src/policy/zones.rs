//! The zones of a policy: named sets of prefixes.

use super::syntax::{Networks, Policy};
use crate::catalog::Zone;
use crate::net::{Prefix, PrefixSet};
use crate::source::Spanned;

/// The addresses of prefixes.
pub(super) fn prefixes(written: &[Spanned<Prefix>]) -> PrefixSet {
    written.iter().map(|prefix| prefix.value).collect()
}

impl Networks {
    /// The prefixes of a zone of `networks`; none for the zones of other sections.
    pub(super) fn zone(&self, zone: Zone) -> &[Spanned<Prefix>] {
        match zone {
            Zone::Vpc => &self.vpc,
            Zone::Vswitches => &self.vswitches,
            Zone::PodVswitches => &self.pod_vswitches,
            Zone::Hosts => &self.hosts,
            Zone::Pods => &self.pods,
            Zone::Services => &self.services,
            Zone::CloudServices => &self.cloud_services,
            Zone::BgpPeers => &self.bgp_peers,
            Zone::Management | Zone::DnsServers => &[],
        }
    }
}

/// The prefixes of a zone, with their spans.
pub(super) fn zone(policy: &Policy, zone: Zone) -> Vec<Spanned<Prefix>> {
    match zone {
        Zone::Management => policy.management.as_ref().map(|section| section.value.from.clone()).unwrap_or_default(),
        Zone::DnsServers => {
            let servers = policy.dns.iter().flat_map(|section| &section.value.servers);
            servers.map(|server| server.map(Prefix::from)).collect()
        }
        _ => policy.networks.value.zone(zone).to_vec(),
    }
}

/// The field of a zone, for messages.
pub(super) fn zone_field(zone: Zone) -> String {
    match zone {
        Zone::Management => "management.from".to_owned(),
        Zone::DnsServers => "dns.servers".to_owned(),
        _ => format!("networks.{zone}"),
    }
}
