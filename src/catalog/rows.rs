//! The rows of the catalog's files.

use crate::diag::{Code, Problems};
use crate::net::{DomainName, Family, Prefix, Traffic};
use crate::site::{ClusterKind, ClusterVersion, Cni, Connection, Phase, Scope, Target};
use crate::source::Spanned;
use crate::yaml::{Node, record, scalar, words};

use super::bad_row;

record! {
    /// `sources.yaml`.
    pub struct Documents {
        /// The documents.
        pub sources: Vec<Document>,
    }
}

record! {
    /// A document that rows come from.
    pub struct Document {
        /// Its short name.
        pub id: Spanned<String>,
        /// Its title.
        pub title: String,
        /// The date that it carries.
        pub updated: Option<String>,
    }
}

record! {
    /// `regions.yaml`.
    pub struct Regions {
        /// The regions.
        pub regions: Vec<Region>,
    }
}

record! {
    /// What is known of a region; a half that no document has is left out.
    pub struct Region {
        /// The region id, `cn-hangzhou`.
        pub id: Spanned<String>,
        /// Its name for people.
        pub name: Option<String>,
        /// Whether it belongs to the public or the finance cloud.
        pub cloud: Cloud,
        /// What to know about the row.
        pub note: Option<String>,
        /// The image registry of system components.
        pub registry: Option<Registry>,
        /// The OSS networks.
        pub oss: Vec<OssRow>,
    }
}

words! {
    /// The part of the cloud that a region belongs to.
    pub enum Cloud {
        /// The public cloud.
        Public = "public",
        /// The finance cloud.
        Finance = "finance",
    }
}

record! {
    /// Where the image registry of a region is reached over a leased line.
    pub struct Registry {
        /// Its prefixes.
        pub prefixes: Vec<Prefix>,
        /// The document.
        pub source: Spanned<String>,
        /// When it was read.
        pub retrieved: String,
    }
}

words! {
    /// Finance regions have two OSS networks, all others the internal one only.
    pub enum OssNetwork {
        /// The VPC's.
        Internal = "internal",
        /// The internet-facing one of a finance region.
        Public = "public",
    }
}

record! {
    /// An OSS network of a region.
    pub struct OssRow {
        /// Which.
        pub network: OssNetwork,
        /// Its endpoints as seen from inside a VPC.
        pub endpoints: Vec<DomainName>,
        /// Its endpoint as seen from the internet.
        pub public_endpoint: Option<DomainName>,
        /// The prefixes of its virtual addresses.
        pub vips: Vec<Prefix>,
        /// The document.
        pub source: Spanned<String>,
        /// When it was read.
        pub retrieved: String,
    }
}

record! {
    /// `flows.yaml`.
    pub struct Flows {
        /// The container networks.
        pub cnis: Vec<CniRow>,
        /// The flows.
        pub flows: Vec<FlowRow>,
    }
}

record! {
    /// A container network.
    pub struct CniRow {
        /// Its name.
        pub id: Cni,
        /// The cluster kind that offers it.
        pub cluster: ClusterKind,
        /// The connections over which it is offered.
        pub connections: Vec<Connection>,
        /// Whether pod addresses are routed beyond the hosts.
        pub routed: bool,
        /// The document.
        pub source: Spanned<String>,
    }
}

words! {
    /// The direction of a flow, as seen from its local end.
    pub enum Direction {
        /// The peer begins.
        Inbound = "inbound",
        /// The local end begins.
        Outbound = "outbound",
        /// Either begins.
        Both = "both",
    }
}

words! {
    /// An address family as rows write it.
    pub enum FamilyWord {
        /// IPv4.
        V4 = "v4",
        /// IPv6.
        V6 = "v6",
    }
}

impl From<FamilyWord> for Family {
    fn from(word: FamilyWord) -> Self {
        match word {
            FamilyWord::V4 => Family::V4,
            FamilyWord::V6 => Family::V6,
        }
    }
}

words! {
    /// What an empty zone or endpoint means for a flow.
    pub enum WhenEmpty {
        /// The policy is incomplete.
        Error = "error",
        /// The flow opens nothing, and the operator should know.
        Warn = "warn",
        /// The flow opens nothing.
        Skip = "skip",
    }
}

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
        /// `management.from`.
        Management = "management",
        /// `dns.servers`.
        DnsServers = "dns-servers",
    }
}

words! {
    /// Machines that the policy gives by address or name.
    pub enum Endpoint {
        /// `cluster.api-server`.
        ApiServer = "api-server",
        /// `cluster.raven-gateways`.
        RavenGateways = "raven-gateways",
        /// `cluster.tunnel-servers`.
        TunnelServers = "tunnel-servers",
    }
}

words! {
    /// Prefixes that a region's row gives.
    pub enum RegionPrefixes {
        /// Of the image registry.
        Registry = "registry",
        /// Of OSS.
        Oss = "oss",
    }
}

record! {
    /// Facts of a site that all must hold.
    pub struct Condition {
        /// Where the rules run.
        pub target: Option<Target>,
        /// What the site joins.
        pub cluster: Option<ClusterKind>,
        /// How the site reaches the cloud.
        pub connection: Option<Connection>,
        /// One of these container networks.
        pub cni: Vec<Cni>,
        /// Whether pod addresses are routed beyond the hosts.
        pub routed: Option<bool>,
        /// One of these regions.
        pub region: Vec<String>,
        /// None of these regions.
        pub not_region: Vec<String>,
        /// This version of the cluster or a later one.
        pub version_from: Option<ClusterVersion>,
        /// An earlier version.
        pub version_before: Option<ClusterVersion>,
        /// Whether hosts are being installed.
        pub phase: Option<Phase>,
        /// How wide a gateway opens.
        pub scope: Option<Scope>,
        /// Whether the hosts keep their clocks without the cloud's NTP names.
        pub self_host_ntp: Option<bool>,
    }
}

record! {
    /// One part of an end of a flow: exactly one of its fields up to `any` is there.
    pub struct EndRow {
        /// A zone of the policy.
        pub zone: Option<Zone>,
        /// The zone that stands in where that one is empty.
        pub r#else: Option<Zone>,
        /// A name, perhaps with placeholders.
        pub name: Option<String>,
        /// Prefixes of the region.
        pub prefixes: Option<RegionPrefixes>,
        /// Machines of the policy.
        pub endpoint: Option<Endpoint>,
        /// A prefix.
        pub prefix: Option<Prefix>,
        /// Every address.
        pub any: Option<bool>,
        /// The name need not resolve.
        pub optional: Option<bool>,
        /// What must hold for this part.
        pub when: Option<Condition>,
    }
}

record! {
    /// A flow under its conditions.
    pub struct FlowRow {
        /// Its name, which is the comment on its rules.
        pub id: Spanned<String>,
        /// What it is for.
        pub purpose: String,
        /// What must hold of the site.
        pub when: Condition,
        /// Who begins.
        pub direction: Direction,
        /// The local end; the zone `hosts` where nothing is given.
        pub local: Vec<EndRow>,
        /// The other end.
        pub peers: Vec<EndRow>,
        /// Protocols and destination ports.
        pub ports: Vec<PortWord>,
        /// Source ports, where they are fixed.
        pub from_ports: Vec<PortWord>,
        /// The family, where the flow exists in one only.
        pub family: Option<FamilyWord>,
        /// Permitted whatever conntrack says.
        pub untracked: Option<bool>,
        /// What an empty zone or endpoint means.
        pub when_empty: Option<WhenEmpty>,
        /// The document.
        pub source: Spanned<String>,
        /// The section of the document.
        pub section: Option<String>,
        /// The document does not say it in so many words.
        pub inferred: Option<bool>,
        /// When it was read.
        pub retrieved: String,
    }
}

/// Protocol and ports of a row, perhaps bound to versions: `tcp/443`, `tcp/80 before 1.26`, `ssh`.
#[derive(Clone, Debug)]
pub struct PortWord {
    /// The traffic; `None` is the policy's SSH port.
    pub traffic: Option<Traffic>,
    from: Option<ClusterVersion>,
    before: Option<ClusterVersion>,
}

impl PortWord {
    /// Whether the word counts in a version of the cluster.
    pub fn applies(&self, version: ClusterVersion) -> bool {
        self.from.is_none_or(|from| from <= version) && self.before.is_none_or(|before| version < before)
    }
}

scalar!(PortWord, { "type": "string" }, "PortWord", |node, problems| decode_port_word(node, problems));

fn decode_port_word(node: &Node, problems: &mut Problems) -> Option<PortWord> {
    let (text, _) = node.scalar("a protocol and port", problems)?;
    let mut words = text.split(' ');
    let traffic = match words.next().unwrap_or_default() {
        "ssh" => None,
        word => match Traffic::parse_catalog(word) {
            Ok(traffic) => Some(traffic),
            Err(error) => {
                problems.push(Code::InvalidPort, node.span, error.to_string());
                return None;
            }
        },
    };
    let (from, before) = match (words.next(), words.next().map(str::parse), words.next()) {
        (None, None, None) => (None, None),
        (Some("from"), Some(Ok(version)), None) => (Some(version), None),
        (Some("before"), Some(Ok(version)), None) => (None, Some(version)),
        _ => {
            problems.push(
                Code::InvalidPort,
                node.span,
                format!("`{text}` is not `PORT`, `PORT from V` or `PORT before V`"),
            );
            return None;
        }
    };
    Some(PortWord { traffic, from, before })
}

fn check_source(documents: &[Document], source: &Spanned<String>, problems: &mut Problems) {
    if !documents.iter().any(|document| document.id.value == source.value) {
        bad_row(problems, source.span, format!("`{}` is not a document of sources.yaml", source.value));
    }
}

impl Regions {
    pub(super) fn check(&self, documents: &[Document], problems: &mut Problems) {
        for (index, region) in self.regions.iter().enumerate() {
            if self.regions[..index].iter().any(|earlier| earlier.id.value == region.id.value) {
                problems.push(
                    Code::DuplicateId,
                    region.id.span,
                    format!("the region `{}` stands here twice", region.id.value),
                );
            }
            let sources = region.registry.iter().map(|row| &row.source).chain(region.oss.iter().map(|row| &row.source));
            sources.for_each(|source| check_source(documents, source, problems));
        }
    }
}

impl Flows {
    pub(super) fn check(&self, documents: &[Document], problems: &mut Problems) {
        self.cnis.iter().for_each(|row| check_source(documents, &row.source, problems));
        for row in &self.flows {
            check_source(documents, &row.source, problems);
            if !is_id(&row.id.value) {
                problems.push(Code::InvalidName, row.id.span, format!("`{}` is not a flow id", row.id.value));
            }
            for (what, empty) in [("peers", row.peers.is_empty()), ("ports", row.ports.is_empty())] {
                if empty {
                    problems.push(Code::EmptyList, row.id.span, format!("the flow `{}` has no {what}", row.id.value));
                }
            }
            for end in row.local.iter().chain(&row.peers) {
                let kinds = [
                    end.zone.is_some(),
                    end.name.is_some(),
                    end.prefixes.is_some(),
                    end.endpoint.is_some(),
                    end.prefix.is_some(),
                    end.any == Some(true),
                ];
                if kinds.into_iter().filter(|&there| there).count() != 1 {
                    bad_row(problems, row.id.span, format!("an end of `{}` is not exactly one thing", row.id.value));
                }
            }
        }
    }
}

/// Whether a text can be the id of a flow: `[a-z][a-z0-9-]{0,62}`, which is safe in every place of a ruleset.
pub fn is_id(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
