//! The ports of rows, and their fixed source ports.

use crate::diag::{Code, Problems};
use crate::net::{PortSet, Traffic, Transport};
use crate::site::ClusterVersion;
use crate::source::{Span, Spanned};
use crate::yaml::{Node, scalar};

/// Protocol and ports of a row, possibly limited to versions: `tcp/443`, `tcp/80 before 1.26`, `ssh`, `api-server`,
/// `node-ports`.
#[derive(Clone, Debug)]
pub struct PortRow {
    /// The traffic.
    pub traffic: PortTraffic,
    from: Option<ClusterVersion>,
    before: Option<ClusterVersion>,
}

/// How a row gives its traffic.
#[derive(Clone, Debug)]
pub enum PortTraffic {
    /// Itself.
    Fixed(Traffic),
    /// By the policy's port of SSH.
    Ssh,
    /// By the policy's port of the API server.
    ApiServer,
    /// By the policy's NodePorts.
    NodePorts,
    /// By the endpoints of the policy, each of which has a port of TCP.
    Endpoint,
}

/// The ports that a policy gives.
#[derive(Clone, Debug)]
pub struct OwnPorts {
    /// The port of TCP of SSH on the hosts.
    pub ssh: u16,
    /// The port of TCP of the API server.
    pub api_server: u16,
    /// The NodePorts that kube-proxy in IPVS mode serves.
    pub node_ports: Traffic,
}

impl PortRow {
    /// Whether it applies to a version of the cluster.
    pub fn applies(&self, version: ClusterVersion) -> bool {
        self.from.is_none_or(|from| from <= version) && self.before.is_none_or(|before| version < before)
    }
}

scalar!(PortRow, { "type": "string" }, "PortRow", |node, problems| decode_ports(node, problems));

fn decode_ports(node: &Node, problems: &mut Problems) -> Option<PortRow> {
    let (text, _) = node.scalar("a protocol and port", problems)?;
    let mut words = text.split(' ');
    let traffic = match words.next().unwrap_or_default() {
        "ssh" => PortTraffic::Ssh,
        "api-server" => PortTraffic::ApiServer,
        "node-ports" => PortTraffic::NodePorts,
        "endpoint" => PortTraffic::Endpoint,
        word => match Traffic::parse_catalog(word) {
            Ok(traffic) => PortTraffic::Fixed(traffic),
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
            let help = "write `tcp/443`, `tcp/443 from 1.26` or `tcp/80 before 1.26`";
            problems.push_with_help(Code::InvalidPort, node.span, format!("`{text}` is not a port"), help);
            return None;
        }
    };
    Some(PortRow { traffic, from, before })
}

/// Source ports of TCP or UDP: `udp/68`.
#[derive(Clone, Debug)]
pub struct FromPorts {
    tcp: PortSet,
    udp: PortSet,
}

scalar!(FromPorts, { "type": "string", "pattern": "^(tcp|udp)/" }, "FromPorts", |node, problems| decode_from(node, problems));

fn decode_from(node: &Node, problems: &mut Problems) -> Option<FromPorts> {
    let (text, _) = node.scalar("a source port", problems)?;
    let word = text.split(' ').next().unwrap_or_default();
    if word != text {
        let message = format!("`{text}`: source ports cannot be limited to versions");
        let help = "write two rows, with `version-from` and `version-before` in `when`";
        problems.push_with_help(Code::InvalidPort, node.span, message, help);
        return None;
    }
    let parsed = word.contains('/').then(|| Traffic::parse_catalog(word));
    let of_others = |traffic: &Traffic| traffic.ports(Transport::Tcp).or(traffic.ports(Transport::Udp)).is_none();
    match parsed {
        Some(Ok(traffic)) if of_others(&traffic) => {}
        Some(Ok(Traffic::Some { tcp, udp, .. })) => return Some(FromPorts { tcp, udp }),
        Some(Err(error)) => problems.push(Code::InvalidPort, node.span, error.to_string()),
        _ => {
            let message = format!("`{word}` is not a source port of TCP or UDP");
            problems.push_with_help(Code::InvalidPort, node.span, message, "write `tcp/1023` or `udp/68`");
        }
    }
    None
}

/// The source ports of a row, if they are fixed.
pub(super) fn union(rows: &[Spanned<FromPorts>]) -> Option<PortSet> {
    let ports = rows.iter().map(|row| row.value.tcp.union(&row.value.udp));
    ports.reduce(|all, ports| all.union(&ports))
}

/// Whether a row's ports are of TCP, of UDP, and of anything else.
fn kinds(rows: &[PortRow]) -> [bool; 3] {
    rows.iter().fold([false; 3], |[has_tcp, has_udp, has_other], ports| match &ports.traffic {
        PortTraffic::Ssh | PortTraffic::ApiServer | PortTraffic::Endpoint => [true, has_udp, has_other],
        PortTraffic::Fixed(Traffic::Any) | PortTraffic::NodePorts => [has_tcp, has_udp, true],
        PortTraffic::Fixed(Traffic::Some { tcp, udp, sctp, icmp, icmpv6, protocols }) => {
            let other = !sctp.is_empty() || !icmp.is_empty() || !icmpv6.is_empty() || !protocols.is_empty();
            [has_tcp || !tcp.is_empty(), has_udp || !udp.is_empty(), has_other || other]
        }
    })
}

/// Checks that the source ports of a row apply to all of its ports: a flow has one set of them.
pub(super) fn check(id: &str, rows: &[PortRow], from: &[Spanned<FromPorts>], problems: &mut Problems) {
    let Some(first) = from.first() else { return };
    let mut refuse = |span: Span, message: String, help: &str| {
        problems.push_with_help(Code::InvalidPort, span, message, help);
    };
    let [has_tcp, has_udp, has_other] = kinds(rows);
    if has_other {
        let message = format!("`from-ports` needs ports of TCP or UDP, and the flow `{id}` has others");
        refuse(first.span, message, "write the ports that are not `tcp/…` or `udp/…` in a row of their own");
        return;
    }
    let all = from.iter().fold([PortSet::default(), PortSet::default()], |[tcp, udp], ports| {
        [tcp.union(&ports.value.tcp), udp.union(&ports.value.udp)]
    });
    for (name, has, ports) in [("tcp", has_tcp, &all[0]), ("udp", has_udp, &all[1])] {
        let message = match (has, ports.is_empty()) {
            (false, false) => format!("`from-ports` has `{name}/…`, and `ports` of the flow `{id}` does not"),
            (true, true) => format!("`ports` of the flow `{id}` has `{name}/…`, and `from-ports` does not"),
            _ => continue,
        };
        refuse(first.span, message, "write two rows with ids of their own, one of TCP and one of UDP");
        return;
    }
    if has_tcp && has_udp && all[0] != all[1] {
        let message = format!("the source ports of the flow `{id}` differ between TCP and UDP");
        refuse(first.span, message, "write two rows with ids of their own, one of TCP and one of UDP");
    }
}
