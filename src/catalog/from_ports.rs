//! Fixed source ports of rows.

use crate::diag::{Code, Problems};
use crate::net::{PortSet, Traffic};
use crate::source::{Span, Spanned};
use crate::yaml::{Node, scalar};

use super::flows::{FlowRow, PortTraffic};

/// Source ports of TCP or UDP: `udp/68`.
#[derive(Clone, Debug)]
pub struct FromPorts {
    tcp: PortSet,
    udp: PortSet,
}

scalar!(FromPorts, { "type": "string", "pattern": "^(tcp|udp)/" }, "FromPorts", |node, problems| decode(node, problems));

fn decode(node: &Node, problems: &mut Problems) -> Option<FromPorts> {
    let (text, _) = node.scalar("a source port", problems)?;
    let word = text.split(' ').next().unwrap_or_default();
    if word != text {
        let message = format!("`{text}`: source ports cannot be limited to versions");
        let help = "write two rows, with `version-from` and `version-before` in `when`";
        problems.push_with_help(Code::InvalidPort, node.span, message, help);
        return None;
    }
    let parsed = word.contains('/').then(|| Traffic::parse_catalog(word));
    match parsed {
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
fn kinds(row: &FlowRow) -> [bool; 3] {
    row.ports.iter().fold([false; 3], |[has_tcp, has_udp, has_other], ports| match &ports.traffic {
        PortTraffic::Ssh => [true, has_udp, has_other],
        PortTraffic::Fixed(Traffic::Any) => [has_tcp, has_udp, true],
        PortTraffic::Fixed(Traffic::Some { tcp, udp, icmp, icmpv6, protocols }) => {
            let other = !icmp.is_empty() || !icmpv6.is_empty() || !protocols.is_empty();
            [has_tcp || !tcp.is_empty(), has_udp || !udp.is_empty(), has_other || other]
        }
    })
}

/// Checks that the source ports of a row apply to all of its ports: a flow has one set of them.
pub(super) fn check(row: &FlowRow, problems: &mut Problems) {
    let Some(first) = row.from_ports.first() else { return };
    let id = &row.id.value;
    let mut refuse = |span: Span, message: String, help: &str| {
        problems.push_with_help(Code::InvalidPort, span, message, help);
    };
    let [has_tcp, has_udp, has_other] = kinds(row);
    if has_other {
        let message = format!("`from-ports` needs ports of TCP or UDP, and the flow `{id}` has others");
        refuse(first.span, message, "write the ports that are not `tcp/…` or `udp/…` in a row of their own");
        return;
    }
    let all = row.from_ports.iter().fold([PortSet::default(), PortSet::default()], |[tcp, udp], ports| {
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
