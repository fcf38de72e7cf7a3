//! The conditions of rows, and whether one site can meet two of them.

use crate::diag::{Code, Problems};
use crate::site::{ClusterKind, ClusterVersion, Connection, Feature, Phase, ProxyMode, Scope, Site, Target};
use crate::source::Spanned;
use crate::yaml::record;

use super::cnis::CniRow;
use super::regions::RegionRow;

record! {
    /// Facts about a site that all must hold. Each is a set on an axis of its own; a missing one holds for every site.
    pub struct SiteCondition {
        /// Where the rules run.
        pub target: Option<Target>,
        /// What the site joins.
        pub cluster: Option<ClusterKind>,
        /// How the site reaches the cloud.
        pub connection: Option<Connection>,
        /// One of these container networks.
        pub cni: Vec<Spanned<String>>,
        /// Whether pod addresses are routed beyond the hosts.
        pub routed: Option<bool>,
        /// One of these regions.
        pub region: Vec<Spanned<String>>,
        /// None of these regions.
        pub not_region: Vec<Spanned<String>>,
        /// This version of the cluster or a later one.
        pub version_from: Option<ClusterVersion>,
        /// An earlier version.
        pub version_before: Option<ClusterVersion>,
        /// Whether hosts are being installed.
        pub phase: Option<Phase>,
        /// How much a gateway permits.
        pub scope: Option<Scope>,
        /// Whether the hosts synchronise their clocks without the cloud's NTP names.
        pub self_host_ntp: Option<bool>,
        /// Whether the policy has endpoints of a registered cluster's agent.
        pub agent: Option<bool>,
        /// How kube-proxy serves Services.
        pub kube_proxy: Option<ProxyMode>,
        /// An optional service of the cloud that the site uses, perhaps among others.
        pub feature: Option<Feature>,
    }
}

const FIRST_VERSION: ClusterVersion = ClusterVersion { major: 0, minor: 0 };

/// The part of a site that the rows of the CNIs tie together.
#[derive(Clone, Copy)]
struct Network<'a> {
    cluster: ClusterKind,
    connection: Connection,
    cni: &'a str,
    routed: bool,
    target: Target,
    scope: Scope,
}

fn is<T: PartialEq>(required: Option<T>, actual: T) -> bool {
    required.is_none_or(|required| required == actual)
}

fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_none() || other.is_none() || one == other
}

fn lists(ids: &[Spanned<String>], id: &str) -> bool {
    ids.iter().any(|listed| listed.value == id)
}

/// Every target with every scope.
fn offers() -> impl Iterator<Item = (Target, Scope)> {
    Target::ALL.iter().flat_map(|target| Scope::ALL.iter().map(|scope| (*target, *scope)))
}

impl SiteCondition {
    /// Checks that a version can meet the condition of a flow.
    pub(super) fn check_versions(&self, flow: &Spanned<String>, problems: &mut Problems) {
        let from = self.version_from.unwrap_or(FIRST_VERSION);
        if let Some(before) = self.version_before.filter(|before| *before <= from) {
            let message = format!(
                "a condition of the flow `{}` never holds: no version is {from} or later and before {before}",
                flow.value
            );
            let help = "`version-before` must be later than `version-from`";
            problems.push_with_help(Code::InvalidVersion, flow.span, message, help);
        }
    }

    /// Whether a site meets the condition.
    pub fn holds(&self, site: &Site) -> bool {
        let Site { cluster, connection, ref cni, routed, target, scope, .. } = *site;
        self.holds_of_network(Network { cluster, connection, cni, routed, target, scope })
            && self.holds_of_region(&site.region)
            && self.version_from.is_none_or(|from| from <= site.version)
            && self.version_before.is_none_or(|before| site.version < before)
            && is(self.phase, site.phase)
            && is(self.self_host_ntp, site.self_host_ntp)
            && is(self.agent, site.agent)
            && is(self.kube_proxy, site.kube_proxy)
            && self.feature.is_none_or(|feature| site.features.contains(&feature))
    }

    fn holds_of_network(&self, network: Network<'_>) -> bool {
        is(self.cluster, network.cluster)
            && is(self.connection, network.connection)
            && is(self.routed, network.routed)
            && (self.cni.is_empty() || lists(&self.cni, network.cni))
            && is(self.target, network.target)
            && is(self.scope, network.scope)
    }

    fn holds_of_region(&self, region: &str) -> bool {
        (self.region.is_empty() || lists(&self.region, region)) && !lists(&self.not_region, region)
    }

    /// Whether there is a site that meets both conditions.
    ///
    /// Conditions are products of sets, so two of them intersect exactly if they do on every axis. Cluster, connection,
    /// CNI and routing are one axis, because a row of the CNIs gives all four; its values are those rows. Target and
    /// scope belong to it too, because the broad scope depends on target and connection. Regions are those of the
    /// catalog, versions are intervals.
    pub(super) fn meets(&self, other: &Self, regions: &[RegionRow], cnis: &[CniRow]) -> bool {
        let both = [self, other];
        let networks = cnis.iter().flat_map(|row| {
            let connections = row.connections.value.iter().copied();
            let offers =
                connections.flat_map(|connection| offers().map(move |(target, scope)| (connection, target, scope)));
            let offered = offers.filter(|&(connection, target, scope)| scope.is_offered(target, connection));
            offered.map(|(connection, target, scope)| Network {
                cluster: row.cluster,
                connection,
                cni: &row.id.value,
                routed: row.routed,
                target,
                scope,
            })
        });
        let first = both.iter().filter_map(|condition| condition.version_from).max();
        let first = first.unwrap_or(FIRST_VERSION);
        both.iter().all(|condition| condition.version_before.is_none_or(|before| first < before))
            && agree(self.phase, other.phase)
            && agree(self.self_host_ntp, other.self_host_ntp)
            && agree(self.agent, other.agent)
            && agree(self.kube_proxy, other.kube_proxy)
            && regions.iter().any(|row| both.iter().all(|condition| condition.holds_of_region(&row.id.value)))
            && networks.into_iter().any(|network| both.iter().all(|condition| condition.holds_of_network(network)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Catalog;
    use super::*;
    use crate::source::Source;
    use crate::yaml::{Decode, read};

    fn condition(text: &str) -> SiteCondition {
        let mut problems = Problems::default();
        let node = read(&Source::new("when", text), &mut problems);
        node.and_then(|node| SiteCondition::decode(&node, &mut problems)).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn conditions_that_meet() {
        let catalog = Catalog::embedded().unwrap();
        for (one, other, meet) in [
            ("{}", "{}", true),
            ("{target: edge-host}", "{target: idc-gateway}", false),
            ("{target: edge-host}", "{phase: install}", true),
            ("{connection: public}", "{cni: [flannel]}", true),
            ("{connection: public}", "{cni: [terway-edge]}", false),
            ("{connection: public}", "{routed: true}", false),
            ("{connection: public}", "{cluster: registered}", false),
            ("{cluster: registered}", "{cni: [flannel, terway-edge]}", false),
            ("{cluster: registered, routed: true}", "{cni: [calico-ipip, calico-bgp]}", true),
            ("{cni: [flannel, calico-ipip]}", "{cni: [calico-ipip, cilium-bgp]}", true),
            ("{cni: [flannel, calico-ipip]}", "{routed: true}", false),
            ("{region: [cn-hangzhou, cn-beijing]}", "{region: [cn-beijing]}", true),
            ("{region: [cn-hangzhou]}", "{region: [cn-beijing]}", false),
            ("{region: [cn-hangzhou]}", "{not-region: [cn-hangzhou]}", false),
            ("{not-region: [cn-hangzhou]}", "{not-region: [cn-beijing]}", true),
            ("{version-before: \"1.26\"}", "{version-from: \"1.26\"}", false),
            ("{version-before: \"1.27\"}", "{version-from: \"1.26\"}", true),
            ("{version-from: \"1.26\"}", "{version-from: \"1.30\"}", true),
            ("{version-before: \"0.0\"}", "{}", false),
            ("{scope: broad}", "{scope: fine}", false),
            ("{scope: broad}", "{self-host-ntp: true}", true),
            ("{scope: broad}", "{target: idc-gateway, connection: express-connect}", true),
            ("{scope: broad}", "{target: edge-host}", false),
            ("{scope: broad}", "{connection: public}", false),
        ] {
            let (left, right) = (condition(one), condition(other));
            assert_eq!(left.meets(&right, &catalog.regions, &catalog.cnis), meet, "{one} and {other}");
            assert_eq!(right.meets(&left, &catalog.regions, &catalog.cnis), meet, "{other} and {one}");
        }
    }

    /// Every site of three regions and of the versions on both sides of each bound.
    fn sites(catalog: &Catalog) -> Vec<Site> {
        let mut sites = Vec::new();
        for row in &catalog.cnis {
            for (&connection, region) in
                row.connections.value.iter().flat_map(|word| catalog.regions.iter().map(move |r| (word, r)))
            {
                for bits in 0..512 {
                    let bit = |at: u32| bits >> at & 1 == 1;
                    let target = if bit(0) { Target::EdgeHost } else { Target::IdcGateway };
                    let scope = if bit(2) { Scope::Fine } else { Scope::Broad };
                    if !scope.is_offered(target, connection) {
                        continue;
                    }
                    sites.push(Site {
                        target,
                        region: region.id.value.clone(),
                        connection,
                        cluster: row.cluster,
                        version: ClusterVersion { major: 1, minor: 24 + (bits >> 4 & 3) },
                        cni: row.id.value.clone(),
                        routed: row.routed,
                        phase: if bit(1) { Phase::Steady } else { Phase::Install },
                        scope,
                        self_host_ntp: bit(3),
                        agent: bit(6),
                        features: if bit(8) { Feature::ALL.to_vec() } else { Vec::new() },
                        kube_proxy: if bit(7) { ProxyMode::Ipvs } else { ProxyMode::Iptables },
                    });
                }
            }
        }
        sites
    }

    /// Conditions of up to four random facts.
    fn random_conditions(count: usize) -> Vec<String> {
        const FACTS: [&[&str]; 15] = [
            &["target: edge-host", "target: idc-gateway"],
            &["cluster: ack-edge", "cluster: registered"],
            &["connection: express-connect", "connection: public"],
            &["cni: [flannel]", "cni: [terway-edge, calico-ipip]", "cni: [calico-bgp, flannel]", "cni: [cilium-vxlan]"],
            &["routed: true", "routed: false"],
            &["region: [cn-hangzhou]", "region: [cn-beijing, cn-shanghai]"],
            &["not-region: [cn-beijing]", "not-region: [cn-hangzhou, cn-beijing, cn-shanghai]"],
            &["version-from: \"1.24\"", "version-from: \"1.25\"", "version-from: \"1.27\""],
            &["version-before: \"1.25\"", "version-before: \"1.26\"", "version-before: \"1.27\""],
            &["phase: steady", "phase: install"],
            &["scope: fine", "scope: broad"],
            &["self-host-ntp: true", "self-host-ntp: false"],
            &["agent: true", "agent: false"],
            &["kube-proxy: ipvs", "kube-proxy: iptables"],
            &["feature: log", "feature: monitoring"],
        ];
        let mut state = 7u64;
        let mut below = move |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % bound
        };
        let mut fact = move |axis: usize| FACTS[axis][below(FACTS[axis].len())];
        let axes = (0..count).map(|index| [index % 15, index / 15 % 15, index / 225 % 15, index / 7 % 15]);
        let distinct = |mut axes: Vec<usize>| {
            axes.sort_unstable();
            axes.dedup();
            axes
        };
        axes.map(|axes| {
            let facts: Vec<&str> = distinct(axes.to_vec()).into_iter().map(&mut fact).collect();
            format!("{{{}}}", facts.join(", "))
        })
        .collect()
    }

    #[test]
    fn conditions_meet_exactly_if_a_site_meets_both() {
        let mut catalog = Catalog::embedded().unwrap();
        catalog.regions.retain(|row| ["cn-hangzhou", "cn-beijing", "cn-shanghai"].contains(&row.id.value.as_str()));
        let sites = sites(&catalog);
        let texts = random_conditions(507);
        let conditions: Vec<SiteCondition> = texts.iter().map(|text| condition(text)).collect();
        let held: Vec<Vec<bool>> =
            conditions.iter().map(|condition| sites.iter().map(|site| condition.holds(site)).collect()).collect();
        let mut counts = [0, 0];
        for (one, left) in conditions.iter().enumerate() {
            for (other, right) in conditions.iter().enumerate().skip(one) {
                let expected = held[one].iter().zip(&held[other]).any(|(one, other)| *one && *other);
                let met = left.meets(right, &catalog.regions, &catalog.cnis);
                assert_eq!(met, expected, "{} and {}", texts[one], texts[other]);
                counts[usize::from(met)] += 1;
            }
        }
        assert!(counts.iter().all(|count| *count > 1_000), "{counts:?}");
    }
}
