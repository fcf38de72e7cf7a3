//! The policy file as it is written. Only the shape: what the fields mean together is `check`'s business.

use std::net::IpAddr;
use std::time::Duration;

use crate::catalog::{OssNetwork, is_id};
use crate::diag::{Code, Problems};
use crate::net::{DomainName, Prefix, PrefixSet, Rate, RateUnit, TRAFFIC_FORMS, Traffic, TrafficError, Verdict};
use crate::resolution::FormatVersion;
use crate::site::{ClusterKind, ClusterVersion, Cni, Connection, Covers, Mode, Phase, Scope, Target};
use crate::source::Spanned;
use crate::yaml::{AddressOrName, Node, PrefixOrName, decode_number, record, scalar, words};

record! {
    /// A policy of edgeward: what a host or gateway of one site permits.
    pub struct Policy {
        /// The version of the format: 1.
        pub version: FormatVersion,
        /// The policy's name: `[a-z][a-z0-9-]{0,31}`.
        pub name: Spanned<PolicyName>,
        /// Where the rules run; `--target` overrides it.
        pub target: Target,
        /// A region id of the catalog, `cn-hangzhou`.
        pub region: Spanned<String>,
        /// How the site reaches the cloud.
        pub connection: Spanned<Connection>,
        /// The container network.
        pub cni: Spanned<Cni>,
        /// Whether hosts are being installed or upgraded. Default: steady.
        pub phase: Option<Phase>,
        /// How wide an IDC gateway opens. Default: fine.
        pub scope: Option<Spanned<Scope>>,
        /// Whether denied packets are denied, or only logged and counted. Default: enforce.
        pub mode: Option<Mode>,
        /// The cluster that the site joins.
        pub cluster: Cluster,
        /// The zones: prefixes of the site and of its VPC.
        pub networks: Spanned<Networks>,
        /// Who may manage the hosts.
        pub management: Option<Spanned<Management>>,
        /// The DNS servers of the hosts.
        pub dns: Option<Spanned<Dns>>,
        /// How names are resolved.
        pub resolve: Resolve,
        /// How packets that no flow permits are denied.
        pub deny: Deny,
        /// What an IDC gateway answers for.
        pub gateway: GatewayPolicy,
        /// Data of regions that the catalog knows by half.
        pub overrides: Overrides,
        /// The log of denied packets.
        pub log: Log,
        /// The operator's own flows.
        pub allow: Vec<Allow>,
    }
}

record! {
    /// The cluster that the site joins.
    pub struct Cluster {
        /// Its kind.
        pub kind: ClusterKind,
        /// Its version, in quotes.
        pub version: ClusterVersion,
        /// The address or name of the API server.
        pub api_server: Spanned<AddressOrName>,
        /// Raven's cloud gateways, by address or name; public connection only.
        pub raven_gateways: Vec<Spanned<AddressOrName>>,
        /// Tunnel servers, by address or name; public connection and clusters before 1.26 only.
        pub tunnel_servers: Vec<Spanned<AddressOrName>>,
        /// Whether the hosts keep their clocks without the cloud's NTP names. Default: false.
        pub self_host_ntp: Option<bool>,
    }
}

record! {
    /// The zones: prefixes of the site and of its VPC.
    pub struct Networks {
        /// The VPC.
        pub vpc: Vec<Spanned<Prefix>>,
        /// The cluster's vSwitches; they narrow the VPC as the peer of kubelet and node-exporter.
        pub vswitches: Vec<Spanned<Prefix>>,
        /// The vSwitches of pods; registered clusters.
        pub pod_vswitches: Vec<Spanned<Prefix>>,
        /// The hosts of the site.
        pub hosts: Vec<Spanned<Prefix>>,
        /// The edge container prefixes.
        pub pods: Vec<Spanned<Prefix>>,
        /// The cluster's Service prefixes.
        pub services: Vec<Spanned<Prefix>>,
        /// The cloud's services, as reached over a leased line.
        pub cloud_services: Vec<Spanned<Prefix>>,
        /// The BGP peers of the site.
        pub bgp_peers: Vec<Spanned<Prefix>>,
    }
}

record! {
    /// Who may manage the hosts.
    pub struct Management {
        /// The prefixes from which SSH is permitted.
        pub from: Vec<Spanned<Prefix>>,
        /// The port of SSH. Default: 22.
        pub ssh_port: Option<Port>,
    }
}

record! {
    /// The DNS servers of the hosts.
    pub struct Dns {
        /// Their addresses.
        pub servers: Vec<Spanned<IpAddr>>,
    }
}

record! {
    /// How names are resolved.
    pub struct Resolve {
        /// How long one question waits for its answer. Default: 2s.
        pub timeout: Option<WrittenDuration>,
        /// How often a question is asked. Default: 2.
        pub attempts: Option<Attempts>,
        /// How long an address stays after answers no longer have it. Default: 24h.
        pub linger: Option<Spanned<WrittenDuration>>,
        /// How long the last answers of a silent server stay. Default: 7d.
        pub max_stale: Option<Spanned<WrittenDuration>>,
        /// Public names whose private answers are wanted.
        pub allow_private: Vec<Spanned<DomainName>>,
        /// More addresses than this in one answer are not believed. Default: 64.
        pub max_addresses: Option<MaxAddresses>,
    }
}

record! {
    /// How packets that no flow permits are denied.
    pub struct Deny {
        /// To the host. Default: drop.
        pub inbound: Option<DenyWord>,
        /// From the host. Default: reject.
        pub outbound: Option<DenyWord>,
        /// Through the gateway. Default: reject.
        pub forward: Option<DenyWord>,
    }
}

record! {
    /// What an IDC gateway answers for.
    pub struct GatewayPolicy {
        /// Whose packets it denies. Default: hosts.
        pub covers: Option<Covers>,
        /// Whether replies are told by their ports, not by conntrack. Default: false.
        pub stateless: Option<bool>,
    }
}

record! {
    /// Data of regions that the catalog knows by half; what is given here stands in place of the catalog's.
    pub struct Overrides {
        /// Prefixes of the image registry.
        pub registry: Vec<Spanned<Prefix>>,
        /// Prefixes of OSS.
        pub oss: Vec<Spanned<Prefix>>,
        /// The OSS endpoint, `oss-cn-hangzhou-internal.aliyuncs.com`.
        pub oss_endpoint: Option<Spanned<DomainName>>,
        /// Which OSS network of a finance region is used over a leased line. Default: internal.
        pub oss_network: Option<Spanned<OssNetwork>>,
    }
}

record! {
    /// The log of denied packets.
    pub struct Log {
        /// How many are logged. Default: 10/second.
        pub rate: Option<Rate>,
    }
}

record! {
    /// A flow of the operator's own.
    pub struct Allow {
        /// Its name: `[a-z][a-z0-9-]{0,62}`.
        pub id: Spanned<FlowId>,
        /// Who begins.
        pub direction: AllowDirection,
        /// The other end: prefixes, addresses and names. Needed where there is no `peers-file`.
        pub peers: Option<Spanned<Vec<Spanned<PrefixOrName>>>>,
        /// A file with prefixes, addresses and ranges more, one a line; relative to the policy's folder.
        pub peers_file: Option<Spanned<PeersFile>>,
        /// Protocols and destination ports: `tcp/443`, `udp/5000-5010`, `icmp`, `ipip`.
        pub ports: Spanned<Vec<Traffic>>,
        /// Whether the compile goes on where a name has no answer. Default: false.
        pub optional: Option<bool>,
        /// What it is for.
        pub purpose: Option<String>,
    }
}

impl Allow {
    /// The peers that stand in the policy.
    pub fn written_peers(&self) -> &[Spanned<PrefixOrName>] {
        self.peers.as_ref().map_or(&[], |peers| &peers.value)
    }
}

/// A file with peers; its list is filled in by whoever may read files ([`Policy::read_lists`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeersFile {
    /// The path as it is written.
    pub path: String,
    /// What is in it; `None` until it is read.
    pub list: Option<PeersList>,
}

/// What a file with peers has in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeersList {
    /// The addresses.
    pub addresses: PrefixSet,
    /// How many entries the file has.
    pub entries: u64,
    /// SHA-256 of the file.
    pub sha256: String,
}

scalar!(PeersFile, {
    "type": "string",
    "minLength": 1,
    "maxLength": 4096
}, "PeersFile", |node, problems| {
    let (text, _) = node.scalar("the name of a file", problems)?;
    let good = (1..=4096).contains(&text.len()) && !text.contains(char::is_control);
    if !good {
        problems.push_with_help(Code::PeersFile, node.span, "this is not the name of a file", "write `peers-file: sites.txt`");
    }
    good.then(|| PeersFile { path: text.to_owned(), list: None })
});

/// The port of SSH, where a policy does not say another.
pub const SSH_PORT: u16 = 22;

impl Policy {
    /// The port that SSH is managed by.
    pub fn ssh_port(&self) -> u16 {
        let management = self.management.as_ref();
        management.and_then(|section| section.value.ssh_port).map_or(SSH_PORT, |port| port.0)
    }

    /// Reads the files with peers: `read` gets the id of the row and the path, and says what is wrong with a file.
    pub fn read_lists(
        &mut self,
        read: &mut dyn FnMut(&str, &str) -> Result<PeersList, String>,
        problems: &mut Problems,
    ) {
        for row in &mut self.allow {
            let Some(file) = &mut row.peers_file else { continue };
            match read(&row.id.value.0, &file.value.path) {
                Ok(list) => file.value.list = Some(list),
                Err(message) => {
                    let help = "one prefix, address or range a line, such as `10.0.0.0/8`; `#` begins a comment";
                    problems.push_with_help(Code::PeersFile, file.span, message, help);
                }
            }
        }
    }
}

words! {
    /// Who begins a flow.
    pub enum AllowDirection {
        /// The peer.
        Inbound = "inbound",
        /// The host, or a host behind the gateway.
        Outbound = "outbound",
    }
}

words! {
    /// How a packet is denied.
    pub enum DenyWord {
        /// Without a word.
        Drop = "drop",
        /// With an ICMP error, so that programs fail at once.
        Reject = "reject",
    }
}

impl From<DenyWord> for Verdict {
    fn from(word: DenyWord) -> Self {
        match word {
            DenyWord::Drop => Verdict::Drop,
            DenyWord::Reject => Verdict::Reject,
        }
    }
}

/// The name of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyName(pub String);

scalar!(PolicyName, {
    "type": "string",
    "pattern": "^[a-z][a-z0-9-]{0,31}$"
}, "PolicyName", |node, problems| decode_id(node, 32, "the name of a policy", problems).map(PolicyName));

/// The id of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowId(pub String);

scalar!(FlowId, {
    "type": "string",
    "pattern": "^[a-z][a-z0-9-]{0,62}$"
}, "FlowId", |node, problems| decode_id(node, 63, "the id of a flow", problems).map(FlowId));

fn decode_id(node: &Node, longest: usize, what: &str, problems: &mut Problems) -> Option<String> {
    let (text, _) = node.scalar(what, problems)?;
    let good = text.len() <= longest && is_id(text);
    if !good {
        let message = format!("`{}` is not {what}", text);
        let help = format!("a lower-case letter, then letters, digits and hyphens, {longest} characters at most");
        problems.push_with_help(Code::InvalidName, node.span, message, help);
    }
    good.then(|| text.to_owned())
}

/// A TCP or UDP port, 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub u16);

scalar!(Port, { "type": "integer", "minimum": 1, "maximum": 65535 }, "Port", |node, problems| {
    decode_number(node, 1, 65535, problems).and_then(|port| port.try_into().ok()).map(Port)
});

/// How often a DNS question is asked, 1 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts(pub u8);

scalar!(Attempts, { "type": "integer", "minimum": 1, "maximum": 10 }, "Attempts", |node, problems| {
    decode_number(node, 1, 10, problems).and_then(|attempts| attempts.try_into().ok()).map(Attempts)
});

/// How many addresses one answer may have, 1 to 4096.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxAddresses(pub u16);

scalar!(MaxAddresses, { "type": "integer", "minimum": 1, "maximum": 4096 }, "MaxAddresses", |node, problems| {
    decode_number(node, 1, 4096, problems).and_then(|count| count.try_into().ok()).map(MaxAddresses)
});

/// A duration with its unit: `500ms`, `2s`, `10m`, `24h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenDuration(pub Duration);

scalar!(WrittenDuration, {
    "type": "string",
    "description": "A duration with its unit: `500ms`, `2s`, `10m`, `24h`, `7d`.",
    "pattern": r"^[1-9]\d*(ms|s|m|h|d)$"
}, "Duration", |node, problems| {
    let (text, _) = node.scalar("a duration", problems)?;
    let duration = parse_duration(text);
    if duration.is_none() {
        let message = format!("`{}` is not a duration", text);
        problems.push_with_help(Code::InvalidDuration, node.span, message, "a number and its unit: `500ms`, `2s`, `10m`, `24h`, `7d`");
    }
    duration.map(WrittenDuration)
});

/// A hundred years: longer than any wait, and no sum of two overflows.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Reads `500ms`, `2s`, `10m`, `24h`, `7d`; up to a hundred years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = Some(number).filter(|number| !number.starts_with('0'))?.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).filter(|duration| *duration <= LONGEST)
}

scalar!(Rate, {
    "type": "string",
    "description": "Events per unit of time: `10/second`.",
    "pattern": r"^[1-9]\d*/(second|minute|hour|day)$"
}, "Rate", |node, problems| {
    let (text, _) = node.scalar("a rate", problems)?;
    let rate = parse_rate(text);
    if rate.is_none() {
        let message = format!("`{}` is not a rate", text);
        problems.push_with_help(Code::InvalidRate, node.span, message, "a number from 1 to 1000000 and `/second`, `/minute`, `/hour` or `/day`");
    }
    rate
});

fn parse_rate(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let plain = !count.starts_with('0') && count.bytes().all(|byte| byte.is_ascii_digit());
    let count: u32 = plain.then(|| count.parse().ok()).flatten().filter(|count| (1..=1_000_000).contains(count))?;
    let per = RateUnit::named(unit)?;
    Some(Rate { count, per })
}

scalar!(Traffic, {
    "type": "string",
    "description": "A protocol with its destination ports: `tcp/443`, `udp/5000-5010`; `icmp`; `ipip`.",
    "pattern": r"^((tcp|udp)/[1-9]\d{0,4}(-[1-9]\d{0,4})?|icmp|ipip)$"
}, "Traffic", |node, problems| {
    let (text, _) = node.scalar("a protocol and port", problems)?;
    match Traffic::parse(text) {
        Ok(traffic) => Some(traffic),
        Err(error) => {
            let help = match &error {
                TrafficError::Reversed(range) => match range.split_once('-') {
                    Some((first, last)) => format!("write `{last}-{first}`"),
                    None => TRAFFIC_FORMS.to_owned(),
                },
                _ => format!("write {TRAFFIC_FORMS}"),
            };
            let message = error.to_string();
            problems.push_with_help(Code::InvalidPort, node.span, message, help);
            None
        }
    }
});
