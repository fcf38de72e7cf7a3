//! Addresses that no packet of a field or of a row can have: they would open nothing, where something was meant.

use std::net::IpAddr;

use super::syntax::{Allow, Networks, Path, Policy};
use super::zones::zone;
use crate::catalog::Zone;
use crate::diag::{Code, Problems};
use crate::intent::Side;
use crate::net::{Family, Prefix, PrefixSet, Special, Traffic};
use crate::source::{Span, Spanned};
use crate::yaml::{AddressOrName, PrefixOrName};

/// What is written in place of an address that is dead.
#[derive(Clone, Copy)]
enum Field {
    /// Prefixes.
    Prefixes,
    /// The address or name of one host.
    Host,
    /// A peer of a row.
    Peer(Side),
}

/// Refuses addresses of `networks` that no host has.
pub(super) fn check_networks(networks: &Networks, problems: &mut Problems) {
    let dead = of_no_host();
    for prefix in Zone::ALL.iter().flat_map(|zone| networks.zone(*zone)) {
        check(*prefix, &dead, Field::Prefixes, problems);
    }
}

/// Refuses addresses outside of `networks` and `allow` that no host has.
pub(super) fn check_hosts(policy: &Policy, problems: &mut Problems) {
    let dead = of_no_host();
    let (cluster, overrides) = (&policy.cluster, &policy.overrides);
    let clients = [Zone::NodePorts, Zone::Management].into_iter().flat_map(|clients| zone(policy, clients));
    let overrides = [&overrides.registry, &overrides.oss].into_iter().flatten().flat_map(|list| &list.value);
    for prefix in clients.chain(overrides.copied()) {
        check(prefix, &dead, Field::Prefixes, problems);
    }
    for server in zone(policy, Zone::DnsServers) {
        // These are the host itself, and have a code of their own.
        let itself = [Special::Loopback, Special::Unspecified].map(Some);
        if !itself.contains(&Special::of(server.value.net().network())) {
            check(server, &dead, Field::Host, problems);
        }
    }
    let named = [&cluster.api_server].into_iter().chain(&cluster.raven_gateways).chain(&cluster.tunnel_servers);
    let named = named.map(|host| (&host.value, host.span));
    let agent = cluster.agent_endpoints.iter().map(|endpoint| (&endpoint.value.host, endpoint.span));
    for (host, span) in named.chain(agent) {
        if let AddressOrName::Address(address) = host {
            check(Spanned { value: Prefix::from(*address), span }, &dead, Field::Host, problems);
        }
    }
}

/// Refuses next hops that no router has, or that are of the other family.
pub(super) fn check_next_hops(path: &Path, problems: &mut Problems) {
    let (switch, vbr) = (&path.core_switch, &path.vbr);
    let fields = [
        ("core-switch.next-hop", &switch.next_hop, Some(Family::V4)),
        ("core-switch.next-hop-v6", &switch.next_hop_v6, Some(Family::V6)),
        ("vbr.cloud-ip", &vbr.cloud_ip, None),
        ("vbr.idc-ip", &vbr.idc_ip, None),
    ];
    let dead = of_no_host();
    for (field, hop, family) in fields.into_iter().filter_map(|(field, hop, family)| Some((field, (*hop)?, family))) {
        check(hop.map(Prefix::from), &dead, Field::Host, problems);
        let is_local = Special::of(hop.value) == Some(Special::LinkLocal);
        if is_local {
            let message = format!("`{}` is a link-local address: a route to it needs an interface, too", hop.value);
            let help = "write the address of the router that other networks reach";
            problems.push_with_help(Code::InvalidAddress, hop.span, message, help);
        }
        if let Some(family) = family.filter(|family| Family::of(hop.value) != *family) {
            let name = if family == Family::V4 { "IPv4" } else { "IPv6" };
            let message = format!("`path.{field}` takes an address of {name}, and `{}` is none", hop.value);
            let help = "write IPv4 in `core-switch.next-hop`, and IPv6 in `core-switch.next-hop-v6`";
            problems.push_with_help(Code::InvalidAddress, hop.span, message, help);
        }
    }
}

/// Refuses peers of a row that its packets cannot have.
pub(super) fn check_row(row: &Allow, problems: &mut Problems) {
    let traffic = Traffic::union_of(row.ports.value.iter());
    let dead = Special::addresses(|special| !row.direction.can_have_peer(special, &traffic));
    let field = Field::Peer(row.direction);
    for peer in row.written_peers() {
        if let PrefixOrName::Prefix(prefix) = peer.value {
            check(Spanned { value: prefix, span: peer.span }, &dead, field, problems);
        }
    }
    let listed = row.peers_file.iter().filter_map(|file| Some((file.value.list.as_ref()?, file)));
    for (list, file) in listed {
        // What reaches further was written as something larger, such as `0.0.0.0/0`.
        let inside = list.addresses.ranges().filter(|ends| dead.contains(ends.0) && dead.contains(ends.1));
        let mut inside = inside.filter(|(low, high)| within(*low, *high, &dead));
        if let Some((address, _)) = inside.next() {
            let listed = format!("`{}` has `{address}`, which", file.value.path);
            report(&listed, address, file.span, field, problems);
        }
    }
}

fn of_no_host() -> PrefixSet {
    Special::addresses(|special| !special.is_of_a_host())
}

fn within(low: IpAddr, high: IpAddr, dead: &PrefixSet) -> bool {
    dead.ranges().any(|(first, last)| first <= low && high <= last)
}

fn check(written: Spanned<Prefix>, dead: &PrefixSet, field: Field, problems: &mut Problems) {
    let net = written.value.net();
    // `0.0.0.0/0` has such addresses, too.
    if within(net.network(), net.broadcast(), dead) {
        report(&format!("`{}`", written.value), net.network(), written.span, field, problems);
    }
}

fn report(what: &str, address: IpAddr, span: Span, field: Field, problems: &mut Problems) {
    let Some(special) = Special::of(address) else { return };
    let every = match Family::of(address) {
        Family::V4 => "write `0.0.0.0/0` for every IPv4 address",
        Family::V6 => "write `::/0` for every IPv6 address",
    };
    let (why, help) = match (special, field) {
        (Special::Loopback, _) => (
            "packets of a host to itself are always permitted, and no others have it",
            "write the address that the other side has on the network, or remove it",
        ),
        (Special::Multicast | Special::Broadcast, Field::Peer(Side::Inbound)) => {
            ("no packet comes from it", "list the hosts that send to it")
        }
        (Special::Multicast | Special::Broadcast, Field::Peer(Side::Outbound)) => (
            "connections are to single hosts",
            "list the hosts, or the protocol that is sent to it, such as `udp/5353` or `vrrp`",
        ),
        (_, Field::Host) => ("no host has it", "write the address of the host"),
        (Special::Unspecified | Special::ThisNetwork, _) => ("packets have addresses of hosts", every),
        _ => ("no host has it", "list the addresses of the hosts"),
    };
    problems.push_with_help(Code::DeadAddress, span, format!("{what} is {}: {why}", special.name()), help);
}
