//! Paths on a host that other parts of the system take or rewrite, with real packets: what the rules see there, which the
//! proof does not know. docs/semantics.md lists them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests are no part of the core")]

#[macro_use]
mod support;

#[path = "local_paths/link.rs"]
mod link;

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use edgeward::emit;
use edgeward::lower::lower;
use edgeward::source::Source;

use support::compile::resolved;
use support::netns::bound;
use support::netns::lan::{Lan, Member};
use support::programs::{PATIENCE, SILENCE};

/// The hosts with their pods.
const HOSTS: [(&str, &str); 2] = [("10.1.0.10", "172.20.0.5"), ("10.1.0.11", "172.20.1.5")];
/// A DNS server of the site, and an address that no policy names.
const DNS: &str = "10.1.0.53";
const STRANGER: &str = "198.51.100.66";

/// Two hosts with a pod each, and the rest of the world.
fn stage() -> Lan {
    Lan::new(&HOSTS, &[DNS, STRANGER].map(str::to_owned))
}

/// Puts a policy in force on a host: `networks` and the text after it are added to what every policy needs.
fn enforce(host: Member<'_>, networks: &str, more: &str) {
    let text = format!(
        "version: 1\nname: local-paths\ntarget: edge-host\nregion: cn-hangzhou\nconnection: express-connect\n\
         cni: flannel-vxlan\n\
         cluster: {{kind: registered, version: \"1.30\", api-server: 10.1.0.10, self-host-ntp: true}}\n\
         management: {{from: [10.1.0.2]}}\ndns: {{servers: [{DNS}]}}\n\
         networks:\n  vpc: [192.168.0.0/16]\n  hosts: [10.1.0.0/24]\n{networks}{more}"
    );
    let intent = resolved(&Source::new("policy.yaml", text), None, None).unwrap();
    host.load(&emit::nft(&lower(&intent)));
}

const PODS: &str = "  pods: [172.20.0.0/16]\n";

/// Sets a sysctl of IPv4 for some interfaces.
fn set(member: Member<'_>, name: &str, interfaces: &[&str], value: &str) {
    member.within(|| {
        for interface in interfaces {
            fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/{name}"), value).unwrap();
        }
    });
}

/// Whether a datagram from an address of one member to another address reaches a socket of another member.
fn is_heard(from: (Member<'_>, &str), at: &str, to: (Member<'_>, &str), patience: Duration) -> io::Result<bool> {
    let server: SocketAddr = to.1.parse().unwrap();
    let socket = to.0.within(|| bound(|| UdpSocket::bind(server)))?;
    socket.set_read_timeout(Some(patience))?;
    let source: IpAddr = from.1.parse().unwrap();
    let client = from.0.within(|| UdpSocket::bind(SocketAddr::new(source, 0)))?;
    client.send_to(b"ping", at.parse::<SocketAddr>().unwrap())?;
    match socket.recv_from(&mut [0; 4]) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(false),
        Err(error) => Err(error),
    }
}

fn hears(from: (Member<'_>, &str), to: (Member<'_>, &str)) {
    hears_at(from, to.1, to);
}

fn hears_at(from: (Member<'_>, &str), at: &str, to: (Member<'_>, &str)) {
    assert!(is_heard(from, at, to, PATIENCE).unwrap(), "{} to {at} is not heard at {}", from.1, to.1);
}

fn ignores(from: (Member<'_>, &str), to: (Member<'_>, &str)) {
    ignores_at(from, to.1, to);
}

fn ignores_at(from: (Member<'_>, &str), at: &str, to: (Member<'_>, &str)) {
    match is_heard(from, at, to, SILENCE) {
        Ok(heard) => assert!(!heard, "{} to {} is heard", from.1, to.1),
        // What the rules of the sender reject.
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{} to {}: {error}", from.1, to.1),
    }
}

/// Lets the world send with the address of a pod that the host has behind its own interface.
fn spoofed(lan: &Lan) -> (Member<'_>, &'static str) {
    const POD: &str = "172.20.0.77";
    lan.host(0).ip("route add 172.20.0.0/24 dev pod\n");
    lan.world().ip(&format!("addr add {POD}/32 dev eth0\n"));
    (lan.world(), POD)
}

#[test]
fn the_address_of_a_pod_counts_on_the_interfaces_of_pods_only() {
    need_namespaces!();
    let lan = stage();
    let (host, stranger) = (lan.host(0), spoofed(&lan));
    let (own, pod) = ((host, "10.1.0.10:9999"), (lan.pod(0), HOSTS[0].1));
    // Without a list the source address alone decides, and the kernel's check is all there is.
    enforce(host, PODS, "");
    set(host, "rp_filter", &["all", "eth0"], "0");
    hears(stranger, own);
    set(host, "rp_filter", &["eth0"], "2");
    hears(stranger, own);
    set(host, "rp_filter", &["eth0"], "1");
    ignores(stranger, own);
    set(host, "rp_filter", &["eth0"], "0");
    for names in ["pod", "\"po*\"", "cni0, pod"] {
        enforce(host, &format!("{PODS}  pod-interfaces: [{names}]\n"), "");
        ignores(stranger, own);
        hears(pod, own);
        hears((host, "10.1.0.10"), (lan.pod(0), "172.20.0.5:9999"));
    }
    enforce(host, &format!("{PODS}  pod-interfaces: [pod1]\n"), "");
    ignores(pod, own);
}

/// kube-proxy sets `route_localnet`: then a neighbour reaches 127.0.0.1, at the hook input and not through `lo`.
#[test]
fn a_neighbour_reaches_127_0_0_1_with_route_localnet() {
    need_namespaces!();
    let lan = stage();
    let (host, world) = (lan.host(0), lan.world());
    world.ip("route del local 127.0.0.0/8 dev lo table local\n route del local 127.0.0.1 dev lo table local\n");
    world.ip(&format!("route add 127.0.0.1/32 via {} dev eth0\n", HOSTS[0].0));
    let (stranger, pod) = ((world, STRANGER), spoofed(&lan));
    let service = (host, "127.0.0.1:9998");
    set(host, "rp_filter", &["all", "eth0"], "0");
    ignores(stranger, service);
    set(host, "route_localnet", &["all", "eth0"], "1");
    hears(stranger, service);
    enforce(host, PODS, "");
    ignores(stranger, service);
    hears(pod, service);
    hears((host, "127.0.0.1"), service);
    enforce(host, &format!("{PODS}  pod-interfaces: [pod]\n"), "");
    ignores(pod, service);
    hears((host, "127.0.0.1"), service);
}

/// A bridge of Docker beside the CNI: docker-proxy reaches containers through output, containers reach the host through
/// input; neither is forwarded.
#[test]
fn docker_proxy_and_containers_pass_output_and_input() {
    need_namespaces!();
    let lan = stage();
    // The second "pod" of the stage stands for a container of the first host.
    let (host, container) = (lan.host(0), lan.pod(0));
    host.ip("link set pod name docker0\n addr add 172.17.0.1/16 dev docker0\n link set docker0 up\n");
    container.ip("addr add 172.17.0.2/16 dev eth0\n");
    let (proxy, asks) = ((host, "172.17.0.1"), (container, "172.17.0.2"));
    let (web, registry) = ((container, "172.17.0.2:80"), (host, "10.1.0.10:5000"));
    hears(proxy, web);
    hears(asks, registry);
    enforce(host, PODS, "");
    ignores(proxy, web);
    ignores(asks, registry);
    enforce(host, "  pods: [172.20.0.0/16, 172.17.0.0/16]\n  pod-interfaces: [cni0, docker0]\n", "");
    hears(proxy, web);
    hears(asks, registry);
    // Rows say the same more narrowly.
    let rows = "allow:\n\
                - {id: docker-proxy, direction: outbound, peers: [172.17.0.0/16], ports: [udp/80]}\n\
                - {id: containers, direction: inbound, peers: [172.17.0.0/16], ports: [udp/5000]}\n";
    enforce(host, PODS, rows);
    hears(proxy, web);
    hears(asks, registry);
    ignores(asks, (host, "10.1.0.10:5001"));
}

/// NodeLocal DNS listens on a link-local address of the host. Pods reach it through input, with their own addresses; it
/// asks servers through output like any program of the host.
#[test]
fn nodelocal_dns_is_a_program_of_the_host() {
    need_namespaces!();
    let lan = stage();
    let host = lan.host(0);
    host.ip(
        "link add nodelocaldns type bridge\n addr add 169.254.20.10/32 dev nodelocaldns\n link set nodelocaldns up\n",
    );
    enforce(host, &format!("{PODS}  pod-interfaces: [pod]\n"), "");
    hears((lan.pod(0), HOSTS[0].1), (host, "169.254.20.10:53"));
    hears((host, "169.254.20.10"), (host, "169.254.20.10:53"));
    hears((host, HOSTS[0].0), (lan.world(), "10.1.0.53:53"));
    ignores((host, HOSTS[0].0), (lan.world(), "198.51.100.66:53"));
}

/// A pod that its host masquerades reaches other hosts with the address of its host: the rules see no pod there.
#[test]
fn a_masqueraded_pod_is_a_host_to_others() {
    need_namespaces!();
    let lan = stage();
    let (host, other, pod) = (lan.host(0), lan.host(1), lan.pod(1));
    host.ip("route add 172.20.1.0/24 via 10.1.0.11 dev eth0\n");
    enforce(host, PODS, "");
    let (asks, service) = ((pod, HOSTS[1].1), (host, "10.1.0.10:9153"));
    hears(asks, service);
    other.load(
        "table ip cni {\n chain postrouting {\n type nat hook postrouting priority srcnat;\n \
         ip saddr 172.20.0.0/16 oif \"eth0\" masquerade\n }\n }",
    );
    ignores(asks, service);
    assert_eq!(host.counters()["denied_input"], 1);
    let row = "allow:\n- {id: metrics, direction: inbound, peers: [10.1.0.11], ports: [udp/9153]}\n";
    enforce(host, PODS, row);
    hears(asks, service);
}

/// kube-proxy in iptables or nftables mode, and Docker's published ports, give packets another destination: the rules see
/// that one. What is forwarded then is not theirs.
#[test]
fn a_translated_destination_is_what_the_rules_see() {
    need_namespaces!();
    let lan = stage();
    let (host, other, stranger) = (lan.host(0), lan.host(1), (lan.world(), STRANGER));
    host.ip("route add 172.21.0.0/16 dev eth0\n");
    host.load(
        "table ip kube {\n chain prerouting {\n type nat hook prerouting priority dstnat;\n \
         udp dport 30080 dnat to 172.20.0.5:8080\n udp dport 30081 dnat to 10.1.0.10:8081\n }\n \
         chain output {\n type nat hook output priority -100;\n ip daddr 172.21.0.10 udp dport 80 dnat to \
         10.1.0.11:9100\n }\n }",
    );
    let (pod, own) = ((lan.pod(0), "172.20.0.5:8080"), (host, "10.1.0.10:8081"));
    let (program, service, endpoint) = ((host, HOSTS[0].0), "172.21.0.10:80", (other, "10.1.0.11:9100"));
    hears_at(stranger, "10.1.0.10:30080", pod);
    hears_at(stranger, "10.1.0.10:30081", own);
    hears_at(program, service, endpoint);
    // The port before the translation and the address of the Service permit nothing.
    let before = "allow:\n\
                  - {id: node-port, direction: inbound, peers: [198.51.100.66], ports: [udp/30081]}\n\
                  - {id: service, direction: outbound, peers: [172.21.0.0/16], ports: [udp/80]}\n";
    enforce(host, PODS, before);
    hears_at(stranger, "10.1.0.10:30080", pod);
    ignores_at(stranger, "10.1.0.10:30081", own);
    ignores_at(program, service, endpoint);
    let after = "allow:\n\
                 - {id: endpoint-here, direction: inbound, peers: [198.51.100.66], ports: [udp/8081]}\n\
                 - {id: endpoint-there, direction: outbound, peers: [10.1.0.11], ports: [udp/9100]}\n";
    enforce(host, PODS, after);
    hears_at(stranger, "10.1.0.10:30081", own);
    hears_at(program, service, endpoint);
}
