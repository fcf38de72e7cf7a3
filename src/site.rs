//! The facts about a site that select among the catalog's flows.

use std::fmt;
use std::str::FromStr;

use crate::diag::{Code, Problems};
use crate::yaml::{Node, scalar, words};

words! {
    /// Where the rules run.
    pub enum Target {
        /// On the host itself: hooks input and output.
        EdgeHost = "edge-host",
        /// On the Linux gateway between a data centre and the cloud: hook forward.
        IdcGateway = "idc-gateway",
    }
}

words! {
    /// How the site reaches the cloud.
    pub enum Connection {
        /// A leased line.
        ExpressConnect = "express-connect",
        /// The public internet.
        Public = "public",
    }
}

words! {
    /// How the cloud's services are reached over a leased line.
    pub enum CloudAccess {
        /// At the prefixes of the catalog.
        Catalog = "catalog",
        /// At endpoints inside the VPC (PrivateLink).
        PrivateLink = "private-link",
    }
}

words! {
    /// An optional service of the cloud.
    pub enum Feature {
        /// Log Service.
        Log = "log",
        /// Monitoring by Prometheus and Application Real-Time Monitoring Service.
        Monitoring = "monitoring",
    }
}

words! {
    /// What the site joins.
    pub enum ClusterKind {
        /// An ACK Edge cluster: the control plane is in the cloud.
        AckEdge = "ack-edge",
        /// A registered (hybrid) cluster: the control plane and most nodes are in the data centre.
        Registered = "registered",
    }
}

words! {
    /// How kube-proxy serves the cluster's Services on a host (kube-proxy's `--proxy-mode`).
    pub enum ProxyMode {
        /// By destination NAT before routing.
        Iptables = "iptables",
        /// By destination NAT before routing.
        Nftables = "nftables",
        /// By IPVS: packets to Services and NodePorts arrive at input, and go on through output.
        Ipvs = "ipvs",
    }
}

words! {
    /// Whether hosts are being installed or upgraded.
    pub enum Phase {
        /// The cluster runs.
        Steady = "steady",
        /// Hosts are being installed or upgraded: they may also fetch packages over the public network.
        Install = "install",
    }
}

words! {
    /// How much an IDC gateway permits.
    pub enum Scope {
        /// The flows, each with its ports.
        Fine = "fine",
        /// Also everything between the data centre and the cloud's prefixes.
        Broad = "broad",
    }
}

impl Scope {
    /// Whether a site can have the scope: the broad one is that of an IDC gateway over a leased line.
    pub fn is_offered(self, target: Target, connection: Connection) -> bool {
        self == Scope::Fine || (target == Target::IdcGateway && connection == Connection::ExpressConnect)
    }
}

words! {
    /// Which packets a gateway filters.
    pub enum Covers {
        /// Those with exactly one end in the data centre. All others are left to other tables.
        Hosts = "hosts",
        /// All that it forwards.
        Everything = "everything",
    }
}

words! {
    /// Whether packets that no flow permits are denied.
    pub enum Mode {
        /// They are.
        Enforce = "enforce",
        /// They are accepted, but counted and logged.
        Audit = "audit",
    }
}

/// The part of a cluster's version that flows depend on: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl FromStr for ClusterVersion {
    type Err = ();

    /// Reads `1.30`, `v1.30.1`, `1.30.1-aliyun.1`; suffixes are ignored.
    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            plain.then(|| text.parse::<u32>().ok()).flatten().ok_or(())
        };
        let core = text.strip_prefix('v').unwrap_or(text);
        let (core, suffix) = core.split_at(core.find(['-', '+']).unwrap_or(core.len()));
        let valid_suffix = suffix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+.".contains(&byte));
        let parts = core.split('.').map(number).collect::<Result<Vec<u32>, ()>>()?;
        match parts[..] {
            [major, minor] | [major, minor, _] if valid_suffix && suffix.len() != 1 => Ok(Self { major, minor }),
            _ => Err(()),
        }
    }
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

scalar!(ClusterVersion, {
    "type": "string",
    "description": "The cluster's version in quotes, `\"1.30\"`; suffixes such as `-aliyun.1` are ignored.",
    "pattern": r"^v?\d+\.\d+(\.\d+)?([-+][0-9A-Za-z.+-]+)?$"
}, "ClusterVersion", |node, problems| decode_version(node, problems));

fn decode_version(node: &Node, problems: &mut Problems) -> Option<ClusterVersion> {
    let (text, plain) = node.scalar("a version in quotes, `\"1.30\"`", problems)?;
    // YAML reads a number here, and 1.30 is the number 1.3.
    if plain && text.parse::<f64>().is_ok() {
        let message = format!("`{text}` is a number in YAML, which drops trailing zeros");
        let example = if text.parse::<ClusterVersion>().is_ok() { text } else { "1.30" };
        problems.push_with_help(Code::UnquotedVersion, node.span, message, format!("write it as `\"{example}\"`"));
        return None;
    }
    let help = "write it as `\"1.30\"` or `\"1.30.1-aliyun.1\"`";
    node.parsed("a cluster version", (Code::InvalidVersion, help), problems, |text| text.parse().ok())
}

/// The facts that decide which flows a policy permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where the rules run.
    pub target: Target,
    /// The region's id.
    pub region: String,
    /// How the site reaches the cloud.
    pub connection: Connection,
    /// What it joins.
    pub cluster: ClusterKind,
    /// The cluster's version.
    pub version: ClusterVersion,
    /// The container network.
    pub cni: String,
    /// Whether it routes pod addresses beyond the hosts.
    pub routed: bool,
    /// Whether hosts are being installed.
    pub phase: Phase,
    /// How much a gateway permits.
    pub scope: Scope,
    /// Whether the hosts synchronise their clocks without the cloud's NTP names.
    pub self_host_ntp: bool,
    /// Whether the policy has endpoints of a registered cluster's agent.
    pub agent: bool,
    /// How kube-proxy serves Services.
    pub kube_proxy: ProxyMode,
    /// The optional services of the cloud that it uses.
    pub features: Vec<Feature>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_suffixes() {
        for text in ["1.30", "v1.30", "1.30.1", "1.30.1-aliyun.1", "1.30.0+build", "1.30-rc1"] {
            assert_eq!(text.parse(), Ok(ClusterVersion { major: 1, minor: 30 }), "{text}");
        }
        for text in ["", "1", "1.", ".30", "1.30.1.1", "1.030", "1.30-", "1.x", "1.30 ", "1.30;", "99999999999.1"] {
            assert_eq!(text.parse::<ClusterVersion>(), Err(()), "{text}");
        }
    }
}
