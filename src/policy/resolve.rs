//! What a policy says about DNS.

use std::collections::BTreeSet;

use super::syntax::Policy;
use super::zones;
use crate::catalog::{CloudFacts, Zone};
use crate::diag::{Code, Problems};
use crate::net::{DomainName, Prefix, PrefixSet};
use crate::resolution::{Rules, Trust};
use crate::site::Connection;
use crate::source::Spanned;
use crate::yaml::AddressOrName;

impl Policy {
    /// How answers change what is known.
    pub fn resolution_rules(&self, cloud: &CloudFacts) -> Rules {
        let networks = &self.networks.value;
        let set = |zones: &[&[Spanned<Prefix>]]| {
            zones.iter().flat_map(|zone| zone.iter()).map(|prefix| prefix.value).collect::<PrefixSet>()
        };
        // With endpoints inside the VPC there are none.
        let services = if self.is_inside_vpc() { Vec::new() } else { self.cloud_services() };
        let leased = self.connection.value == Connection::ExpressConnect;
        let agent = self.cluster.agent_endpoints.iter().map(|endpoint| &endpoint.value.host);
        let name = |host: &AddressOrName| match host {
            AddressOrName::Name(name) => Some(name.clone()),
            AddressOrName::Address(_) => None,
        };
        let hosts: BTreeSet<DomainName> = agent.chain([&self.cluster.api_server.value]).filter_map(name).collect();
        Rules {
            linger: self.resolve.linger.value.0,
            max_stale: self.resolve.max_stale.value.0,
            max_addresses: self.resolve.max_addresses.0.into(),
            max_gathered: self.resolve.max_gathered.value.0.max(self.resolve.max_addresses.0).into(),
            trust: Trust {
                cloud: leased.then(|| set(&[&services, &networks.vpc])),
                inside_vpc: self.is_inside_vpc(),
                internal_suffixes: cloud.internal_names.label_suffixes.value.clone(),
                metadata: cloud.metadata(),
                own: set(&[&networks.hosts, &networks.vpc]),
                site: self.site_prefixes(),
                hosts,
                allow_private: self.resolve.allow_private.iter().map(|name| name.value.clone()).collect(),
                nat64: self.resolve.nat64.clone(),
            },
        }
    }

    /// The prefixes of the site and of its VPC. Prefixes of whole providers, or of everything, say nothing of an answer.
    fn site_prefixes(&self) -> PrefixSet {
        // DNS servers and clients of NodePorts may be anywhere, and names of the same provider.
        let others = [Zone::CloudServices, Zone::DnsServers, Zone::NodePorts];
        let zones = Zone::ALL.iter().filter(|zone| !others.contains(zone));
        let prefixes = zones.flat_map(|zone| zones::zone(self, *zone)).map(|prefix| prefix.value);
        prefixes.filter(|prefix| prefix.is_of_a_site()).collect()
    }

    /// Reports durations and bounds that contradict each other.
    pub(super) fn check_resolve(&self, problems: &mut Problems) {
        let (max_stale, linger) = (self.resolve.max_stale, self.resolve.linger);
        if max_stale.value.0 < linger.value.0 {
            let place = if max_stale.is_written() { max_stale.span } else { linger.span };
            let message = "`resolve.max-stale` is shorter than `resolve.linger`";
            problems.push_with_help(Code::InvalidDuration, place, message, "raise `max-stale` to at least `linger`");
        }
        let (gathered, one_answer) = (self.resolve.max_gathered, self.resolve.max_addresses);
        if gathered.is_written() && gathered.value.0 < one_answer.0 {
            let message =
                format!("`resolve.max-gathered` is less than `resolve.max-addresses`, which is {}", one_answer.0);
            let help = "raise `max-gathered`: the addresses of one answer are all kept";
            problems.push_with_help(Code::InvalidNumber, gathered.span, message, help);
        }
    }
}
