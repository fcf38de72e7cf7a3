//! The ends of flows: whom a row permits.

use crate::diag::{Code, Problems};
use crate::net::{DomainName, Prefix};
use crate::source::Spanned;
use crate::yaml::{Node, record, refined, words};

use super::condition::SiteCondition;

words! {
    /// A named set of prefixes of the policy.
    pub enum Zone {
        /// `networks.vpc`.
        Vpc = "vpc",
        /// `networks.vswitches`.
        Vswitches = "vswitches",
        /// `networks.pod-vswitches`.
        PodVswitches = "pod-vswitches",
        /// `networks.hosts`.
        Hosts = "hosts",
        /// `networks.pods`.
        Pods = "pods",
        /// `networks.services`.
        Services = "services",
        /// `networks.cloud-services`.
        CloudServices = "cloud-services",
        /// `networks.bgp-peers`.
        BgpPeers = "bgp-peers",
        /// `networks.control-plane`.
        ControlPlane = "control-plane",
        /// `kube-proxy.node-ports.from`.
        NodePorts = "node-ports",
        /// `management.from`.
        Management = "management",
        /// `dns.servers`.
        DnsServers = "dns-servers",
    }
}

words! {
    /// Hosts that the policy gives by address or name.
    pub enum Endpoint {
        /// `cluster.api-server`.
        ApiServer = "api-server",
        /// `cluster.raven-gateways`.
        RavenGateways = "raven-gateways",
        /// `cluster.tunnel-servers`.
        TunnelServers = "tunnel-servers",
        /// `cluster.agent-endpoints`; they have ports.
        AgentEndpoints = "agent-endpoints",
    }
}

words! {
    /// Prefixes that a region's row gives.
    pub enum RegionPrefixes {
        /// Of the image registry.
        Registry = "registry",
        /// Of OSS.
        Oss = "oss",
        /// Of Log Service.
        Log = "log",
        /// Of monitoring.
        Monitoring = "monitoring",
    }
}

impl RegionPrefixes {
    /// What they are, for messages.
    pub fn plural(self) -> &'static str {
        match self {
            RegionPrefixes::Registry => "registry prefixes",
            RegionPrefixes::Oss => "OSS prefixes",
            RegionPrefixes::Log => "prefixes of Log Service",
            RegionPrefixes::Monitoring => "prefixes of monitoring",
        }
    }

    /// Whether a flow does with its names alone, because no document has the prefixes of every region.
    pub fn is_optional(self) -> bool {
        matches!(self, RegionPrefixes::Log | RegionPrefixes::Monitoring)
    }
}

/// One part of an end of a flow.
#[derive(Clone, Debug)]
pub struct EndRow {
    /// Its addresses.
    pub kind: EndKind,
    /// What must hold for this part.
    pub when: SiteCondition,
}

/// How a row gives addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndKind {
    /// A zone of the policy.
    Zone {
        /// The zone.
        zone: Zone,
        /// The zone that replaces it if it is empty.
        fallback: Option<Zone>,
        /// Whether it may be empty, regardless of what an empty zone means for the rest of the row.
        optional: bool,
    },
    /// A name.
    Name {
        /// The name, possibly with placeholders.
        template: String,
        /// Whether the policy compiles while the name has no address.
        optional: bool,
    },
    /// Prefixes of the region.
    Region(RegionPrefixes),
    /// Hosts of the policy.
    Endpoint(Endpoint),
    /// A prefix.
    Prefix(Prefix),
    /// Every address.
    Any,
}

record! {
    /// One part of an end of a flow, as written: exactly one of the fields before `else`.
    pub struct WrittenEnd {
        /// A zone of the policy.
        pub zone: Option<Zone>,
        /// A name, possibly with placeholders.
        pub name: Option<Spanned<String>>,
        /// Prefixes of the region.
        pub prefixes: Option<RegionPrefixes>,
        /// Hosts of the policy.
        pub endpoint: Option<Endpoint>,
        /// A prefix.
        pub prefix: Option<Prefix>,
        /// Every address.
        pub any: bool = false,
        /// With `zone`: the zone that replaces it if it is empty.
        pub r#else: Option<Zone>,
        /// With `name`: whether the policy compiles while the name has no address. With `zone`: whether it may be empty.
        pub optional: bool = false,
        /// What must hold for this part.
        pub when: SiteCondition,
    }
}

refined!(EndRow, WrittenEnd, decode_end);

/// Checks that a name is one when its placeholders are replaced.
fn check_name(template: &Spanned<String>, problems: &mut Problems) {
    const OSS: [&str; 2] = ["{oss-internal}", "{oss-public}"];
    let text = &template.value;
    let replaced = text.replace("{region}", "region");
    let [internal, public] = OSS.map(|placeholder| replaced.contains(placeholder));
    let name = OSS.iter().fold(replaced, |name, placeholder| name.replace(placeholder, "oss.example"));
    let (message, help) = if name.contains(['{', '}']) {
        let help = "the placeholders are `{region}`, `{oss-internal}` and `{oss-public}`";
        (format!("unknown placeholder in `{text}`"), help)
    } else if internal && public {
        (format!("`{text}` has both OSS placeholders"), "write two names")
    } else if let Err(error) = name.parse::<DomainName>() {
        (error.to_string(), "write an absolute name, such as `registry.{region}.example.com`")
    } else {
        return;
    };
    problems.push_with_help(Code::InvalidName, template.span, message, help);
}

fn decode_end(written: WrittenEnd, node: &Node, problems: &mut Problems) -> Option<EndRow> {
    let WrittenEnd { zone, name, prefixes, endpoint, prefix, any, r#else: fallback, optional, when } = written;
    if let Some(name) = &name {
        check_name(name, problems);
    }
    let fields = [
        ("zone", zone.map(|zone| EndKind::Zone { zone, fallback, optional })),
        ("name", name.map(|name| EndKind::Name { template: name.value, optional })),
        ("prefixes", prefixes.map(EndKind::Region)),
        ("endpoint", endpoint.map(EndKind::Endpoint)),
        ("prefix", prefix.map(EndKind::Prefix)),
        ("any", any.then_some(EndKind::Any)),
    ];
    let names = |given: &[&str]| given.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let all = names(&fields.each_ref().map(|(name, _)| *name)).join(", ");
    let (given, mut kinds): (Vec<&str>, Vec<EndKind>) =
        fields.into_iter().filter_map(|(name, kind)| Some((name, kind?))).unzip();
    let kind = match (kinds.pop(), kinds.is_empty()) {
        (Some(kind), true) => kind,
        (None, _) => {
            let help = format!("give exactly one of {all}");
            problems.push_with_help(Code::MissingField, node.span, "the end of a flow has no addresses", help);
            return None;
        }
        (Some(_), false) => {
            let message = format!("the end of a flow has {}", names(&given).join(" and "));
            let help = format!("give exactly one of {all}, and write the others as separate ends");
            problems.push_with_help(Code::UnusedField, node.span, message, help);
            return None;
        }
    };
    let misplaced = [
        ("else", "zone", fallback.is_some() && !matches!(kind, EndKind::Zone { .. })),
        ("optional", "name` or `zone", optional && !matches!(kind, EndKind::Name { .. } | EndKind::Zone { .. })),
    ];
    for (field, owner, _) in misplaced.into_iter().filter(|(.., misplaced)| *misplaced) {
        let message = format!("`{field}` has no effect without `{owner}`");
        problems.push_with_help(Code::UnusedField, node.span, message, format!("remove `{field}`"));
    }
    Some(EndRow { kind, when })
}
