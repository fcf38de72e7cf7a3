//! Protocols of the link: what goes to a group, and answers that conntrack takes for no replies.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{
    AddressFamily, Protocol, RawProtocol, RecvFlags, SendFlags, SocketType, netdevice, recv, sendto, socket, sockopt,
};

use super::support::netns::bound;
use super::support::netns::lan::{Lan, Member};
use super::support::programs::{PATIENCE, SILENCE};
use super::{PODS, enforce, stage};

/// The groups of virtual routers (RFC 9568 sections 5.1.1.2 and 5.1.2.2), and another group of the link.
const ROUTERS: [&str; 2] = ["224.0.0.18", "ff02::12"];
const OTHERS: &str = "224.0.0.5";

/// The index of `eth0` in the namespace of a socket.
fn eth0(socket: impl AsFd) -> u32 {
    netdevice::name_to_index(socket, "eth0").unwrap()
}

/// A program on `eth0` that speaks a protocol without ports, and hears what is sent to the group of virtual routers.
struct Speaker(OwnedFd);

impl Speaker {
    fn new(member: Member<'_>, number: u32, group: &str) -> Self {
        member.within(|| {
            let group: IpAddr = group.parse().unwrap();
            let family = if group.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let protocol = Protocol::from_raw(RawProtocol::new(number).unwrap());
            let fd = socket(family, SocketType::RAW, Some(protocol)).unwrap();
            let index = eth0(&fd);
            match group {
                IpAddr::V4(group) => {
                    let any = Ipv4Addr::UNSPECIFIED;
                    sockopt::set_ip_add_membership_with_ifindex(&fd, &group, &any, index).unwrap();
                    sockopt::set_ip_multicast_if_with_ifindex(&fd, &group, &any, index).unwrap();
                }
                IpAddr::V6(group) => {
                    sockopt::set_ipv6_add_membership(&fd, &group, index).unwrap();
                    sockopt::set_ipv6_multicast_if(&fd, index).unwrap();
                }
            }
            Self(fd)
        })
    }

    /// Sends to a group; returns whether the rules of this host let it out.
    fn say(&self, group: &str) -> bool {
        let group = SocketAddr::new(group.parse().unwrap(), 0);
        sendto(&self.0, b"an advertisement", SendFlags::empty(), &group).is_ok()
    }

    fn hears(&self, patience: Duration) -> bool {
        sockopt::set_socket_timeout(&self.0, sockopt::Timeout::Recv, Some(patience)).unwrap();
        recv(&self.0, &mut [0; 64], RecvFlags::empty()).is_ok()
    }
}

/// keepalived, with its two rows: what it sends goes to a group, and what it hears comes from the other router.
#[test]
fn virtual_routers_hear_each_other() {
    need_namespaces!();
    let lan = stage();
    let (own, other) = (lan.host(0), lan.host(1));
    own.ip("addr add fe80::a/64 dev eth0 nodad\n");
    other.ip("addr add fe80::b/64 dev eth0 nodad\n");
    let rows = |heard: &str| {
        format!(
            "allow:\n- {{id: vrrp-out, direction: outbound, peers: [224.0.0.18, \"ff02::12\"], ports: [vrrp]}}\n\
             - {{id: vrrp-in, direction: inbound, peers: [{heard}], ports: [protocol/112]}}\n"
        )
    };
    enforce(own, PODS, &rows("10.1.0.11, \"fe80::b\""));
    for group in ROUTERS {
        let [ours, theirs] = [own, other].map(|member| Speaker::new(member, 112, group));
        assert!(ours.say(group) && theirs.hears(PATIENCE), "{group}");
        assert!(theirs.say(group) && ours.hears(PATIENCE), "{group}");
    }
    let counted = own.counters();
    assert_eq!((counted["flow_vrrp-out"], counted["flow_vrrp-in"]), (2, 2));

    // To another group, of another protocol, and from a router that the row does not have.
    let group = ROUTERS[0];
    let ours = Speaker::new(own, 112, group);
    assert!(!ours.say(OTHERS));
    assert!(!Speaker::new(own, 89, group).say(group));
    enforce(own, PODS, &rows("10.1.0.12"));
    assert!(Speaker::new(other, 112, group).say(group) && !ours.hears(SILENCE));
}

/// Servers and clients of DHCPv6 (RFC 8415 section 7.2), and the group of all servers of the link (section 7.1).
const SERVER: u16 = 547;
const CLIENT: u16 = 546;
const SERVERS: &str = "ff02::1:2";
/// Kinds of messages (section 7.3).
const SOLICIT: u8 = 1;
const ADVERTISE: u8 = 2;
const REQUEST: u8 = 3;
const REPLY: u8 = 7;

/// A socket of DHCPv6 on `eth0`.
struct Dhcp(UdpSocket, u32);

impl Dhcp {
    fn new(member: Member<'_>, address: &str, port: u16) -> Self {
        member.within(|| {
            let index = eth0(UdpSocket::bind("[::]:0").unwrap());
            let address = SocketAddrV6::new(address.parse().unwrap(), port, 0, index);
            let socket = bound(|| UdpSocket::bind(address)).unwrap();
            Self(socket, index)
        })
    }

    fn send(&self, message: &[u8], to: &str, port: u16) {
        self.0.send_to(message, SocketAddrV6::new(to.parse().unwrap(), port, 0, self.1)).unwrap();
    }

    /// The next message of the exchange, and who sent it.
    fn hears(&self, patience: Duration) -> Option<(Vec<u8>, IpAddr)> {
        let mut message = [0; 1500];
        self.0.set_read_timeout(Some(patience)).unwrap();
        let (length, from) = self.0.recv_from(&mut message).ok()?;
        Some((message[..length].to_vec(), from.ip()))
    }

    /// Asks the group until a message of a kind comes, as clients do.
    fn ask(&self, message: &[u8], kind: u8) -> Vec<u8> {
        for _ in 0..20 {
            self.send(message, SERVERS, SERVER);
            if let Some((answer, _)) = self.hears(PATIENCE / 20).filter(|(answer, _)| answer[0] == kind) {
                return answer;
            }
        }
        panic!("no answer of kind {kind}");
    }
}

/// An option of DHCPv6 (section 21.1).
fn option(code: u16, value: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
}

/// The option of a message with a code, as it was written.
fn option_of(message: &[u8], code: u16) -> &[u8] {
    let mut rest = &message[4..];
    loop {
        let length = 4 + usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if rest[..2] == code.to_be_bytes() {
            return &rest[..length];
        }
        rest = &rest[length..];
    }
}

/// A server on `eth0`, ended with its value.
struct Dnsmasq(Child);

impl Dnsmasq {
    /// None where it is not installed.
    fn start(member: Member<'_>, folder: &Path) -> Option<Self> {
        let leases = format!("--dhcp-leasefile={}", folder.join("leases").display());
        let mut command = Command::new("dnsmasq");
        command.args(["--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--port=0", "--user=root"]);
        command.args(["--interface=eth0", "--dhcp-range=2001:db8:1::100,2001:db8:1::1ff,64,1h", &leases]);
        let started = member.within(|| command.stdin(Stdio::null()).stderr(Stdio::null()).spawn());
        match started {
            Ok(process) => Some(Self(process)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The link of the host, another host and the world, each with a link-local address and one that is routed.
fn with_addresses(lan: &Lan) {
    for (member, own) in [(lan.host(0), "a"), (lan.host(1), "b"), (lan.world(), "c")] {
        member.ip(&format!("addr add fe80::{own}/64 dev eth0 nodad\n addr add 2001:db8:1::{own}/64 dev eth0 nodad\n"));
    }
}

/// A client of DHCPv6 gets its lease from dnsmasq: each answer comes from another address than the one that was asked.
#[test]
fn a_client_of_dhcpv6_gets_its_lease() {
    need_namespaces!();
    let lan = stage();
    with_addresses(&lan);
    enforce(lan.host(0), PODS, "");
    let folder = tempfile::tempdir().unwrap();
    let Some(_server) = Dnsmasq::start(lan.host(1), folder.path()) else {
        let required = std::env::var_os("REQUIRE_DNSMASQ").is_some_and(|value| value == "1");
        return assert!(!required, "dnsmasq is not installed");
    };
    let client = Dhcp::new(lan.host(0), "fe80::a", CLIENT);
    let own = option(1, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 10]);
    let message = |kind: u8, options: &[u8]| [&[kind, 0, 0, 7], &own[..], &option(8, &[0, 0]), options].concat();
    let offer = client.ask(&message(SOLICIT, &option(3, &[0; 12])), ADVERTISE);
    let accepted = [option_of(&offer, 2), option_of(&offer, 3)].concat();
    let lease = client.ask(&message(REQUEST, &accepted), REPLY);
    // The address is the first thing in the lease (section 21.6), after the head of it and three numbers.
    assert!(option_of(&lease, 3)[20..].starts_with(&[0x20, 0x01, 0x0d, 0xb8, 0, 1]), "{lease:?}");
}

/// Other servers, and relays, answer from addresses that are routed. What is no answer stays out.
#[test]
fn servers_of_dhcpv6_answer_from_any_address() {
    need_namespaces!();
    let lan = stage();
    with_addresses(&lan);
    enforce(lan.host(0), PODS, "");
    let client = Dhcp::new(lan.host(0), "fe80::a", CLIENT);
    for address in ["fe80::c", "2001:db8:1::c"] {
        let server = Dhcp::new(lan.world(), address, SERVER);
        server.send(&[ADVERTISE], "fe80::a", CLIENT);
        let heard = client.hears(PATIENCE);
        assert_eq!(heard, Some((vec![ADVERTISE], address.parse().unwrap())));
    }
    // From a port of no server, and to an address that routers would forward packets to.
    Dhcp::new(lan.world(), "2001:db8:1::c", SERVER + 1).send(&[ADVERTISE], "fe80::a", CLIENT);
    assert_eq!(client.hears(SILENCE), None);
    let routed = Dhcp::new(lan.host(0), "2001:db8:1::a", CLIENT);
    Dhcp::new(lan.world(), "2001:db8:1::c", SERVER).send(&[ADVERTISE], "2001:db8:1::a", CLIENT);
    assert_eq!(routed.hears(SILENCE), None);
}
