//! What the host module reports about connections and about other tables, compared with real sockets and tables.
//!
//! Everything runs in network namespaces; the host's own network is not touched.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "tests are no part of the core")]

#[macro_use]
mod support;

use std::cmp::Ordering;
use std::env;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;

use edgeward::host::foreign::{self, LegacyTables};
use edgeward::host::sessions::{self, LiveConnection, Sockets, TrackedFlow};
use edgeward::net::{ChainPolicy, Hook};
use edgeward::nft::{CHAIN_TYPES, NETFILTER_HOOKS, TABLE_FAMILIES};

use support::netns::{self, Probe, Proto, Side, Topology, Verdict, bound};
use support::programs::{Conversation, connect_from};

/// Two addresses of the host under test, and two of the world.
const HOST: [&str; 2] = ["10.0.0.5", "2001:db8::5"];
const WORLD: [&str; 2] = ["10.0.0.9", "2001:db8::9"];

fn topology() -> Topology {
    Topology::edge_host(HOST[0].parse().unwrap(), HOST[1].parse().unwrap())
}

fn sockets(topology: &Topology) -> Sockets {
    topology.within(Side::UnderTest, sessions::sockets).unwrap()
}

fn listen(topology: &Topology, side: Side, address: &str) -> TcpListener {
    topology.within(side, || bound(|| TcpListener::bind(address))).unwrap()
}

/// Connects to a listener; both ends of the connection.
fn connect(topology: &Topology, from: (Side, &str), to: SocketAddr, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let address: IpAddr = from.1.parse().unwrap();
    let client = topology.within(from.0, || connect_from(address, to)).unwrap();
    (client, listener.accept().unwrap().0)
}

/// A connection as one line, with ephemeral ports as `*`.
fn line(connection: &LiveConnection) -> String {
    let LiveConnection { local, peer, transport, inbound, loopback, source } = connection;
    let end = |end: &SocketAddr| match end.port() {
        port if port >= 32768 => format!("{}:*", end.ip()),
        port => format!("{}:{port}", end.ip()),
    };
    let marks = [(*inbound == Some(true), " in"), (*inbound == Some(false), " out"), (*loopback, " loopback")];
    let marks: String = marks.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect();
    format!("{} {} {} in {source}{marks}", transport.name(), end(local), end(peer))
}

fn lines(sockets: &Sockets) -> Vec<String> {
    let mut lines: Vec<String> = sockets.connections.iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn connections_are_seen_from_both_ends() {
    need_namespaces!();
    let topology = topology();
    assert_eq!(sockets(&topology), Sockets::default());
    let (host, world) = (Side::UnderTest, Side::Outside);
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();

    // One listener for both families, as sshd has it on some systems; and one for IPv4.
    let both = listen(&topology, host, "[::]:22");
    let v4 = listen(&topology, host, "10.0.0.5:2222");
    let _mapped = connect(&topology, (world, WORLD[0]), address("10.0.0.5:22"), &both);
    let _v6 = connect(&topology, (world, WORLD[1]), address("[2001:db8::5]:22"), &both);
    let _v4 = connect(&topology, (world, WORLD[0]), address("10.0.0.5:2222"), &v4);
    // The remote end is closed, so the connection is no longer established.
    let closing = connect(&topology, (world, WORLD[0]), address("10.0.0.5:2222"), &v4);
    drop(closing.0);
    // An outgoing connection.
    let api = listen(&topology, world, "10.0.0.9:6443");
    let _out = connect(&topology, (host, HOST[0]), address("10.0.0.9:6443"), &api);
    assert_eq!(
        lines(&sockets(&topology)),
        [
            "tcp 10.0.0.5:* 10.0.0.9:6443 in tcp out",
            "tcp 10.0.0.5:22 10.0.0.9:* in tcp6 in",
            "tcp 10.0.0.5:2222 10.0.0.9:* in tcp in",
            "tcp 2001:db8::5:22 2001:db8::9:* in tcp6 in",
        ]
    );
    let Sockets { listening, mosh, unseen, .. } = sockets(&topology);
    assert_eq!(listening, ["10.0.0.5:2222", "[::]:22"].map(address));
    assert_eq!((mosh, unseen), (Vec::new(), Vec::new()));
    // The test's own namespace is another one.
    let own = sessions::sockets().unwrap();
    assert!(!own.connections.iter().any(|connection| connection.local == address("10.0.0.5:2222")));
}

#[test]
fn datagrams_and_loopback_are_recognised() {
    need_namespaces!();
    let topology = topology();
    let host = Side::UnderTest;
    let bind = |address: &str| topology.within(host, || bound(|| UdpSocket::bind(address))).unwrap();
    let (dns, dns_v6) = (bind("10.0.0.5:5000"), bind("[2001:db8::5]:5000"));
    dns.connect("10.0.0.9:53").unwrap();
    dns_v6.connect("[2001:db8::9]:53").unwrap();
    let _open = [bind("0.0.0.0:60001"), bind("[::]:61000"), bind("0.0.0.0:61001"), bind("0.0.0.0:5001")];
    // A port of mosh, and connected: mosh's server never is.
    let connected = bind("10.0.0.5:60002");
    connected.connect("10.0.0.9:53").unwrap();

    let listeners = ["127.0.0.1:80", "[::1]:80", "10.0.0.5:81"].map(|address| {
        let listener = listen(&topology, host, address);
        let from = address.parse::<SocketAddr>().unwrap().ip().to_string();
        let ends = connect(&topology, (host, &from), address.parse().unwrap(), &listener);
        (listener, ends)
    });
    // From another address of the same host.
    let own = connect(&topology, (host, "127.0.0.1"), "10.0.0.5:81".parse().unwrap(), &listeners[2].0);
    let sockets = sockets(&topology);
    drop((listeners, own));
    assert_eq!(
        lines(&sockets),
        [
            "tcp 10.0.0.5:* 10.0.0.5:81 in tcp out loopback",
            "tcp 10.0.0.5:81 10.0.0.5:* in tcp in loopback",
            "tcp 10.0.0.5:81 127.0.0.1:* in tcp in loopback",
            "tcp 127.0.0.1:* 10.0.0.5:81 in tcp out loopback",
            "tcp 127.0.0.1:* 127.0.0.1:80 in tcp out loopback",
            "tcp 127.0.0.1:80 127.0.0.1:* in tcp in loopback",
            "tcp ::1:* ::1:80 in tcp6 out loopback",
            "tcp ::1:80 ::1:* in tcp6 in loopback",
            "udp 10.0.0.5:* 10.0.0.9:53 in udp",
            "udp 10.0.0.5:5000 10.0.0.9:53 in udp",
            "udp 2001:db8::5:5000 2001:db8::9:53 in udp6",
        ]
    );
    assert_eq!(sockets.mosh, ["0.0.0.0:60001", "[::]:61000"].map(|text| text.parse().unwrap()));
}

/// The value of the variable in the process under test. Without it the test below does nothing.
const AS_CHILD: &str = "EDGEWARD_TEST_CHILD";

/// Not a test by itself: [`ancestors_say_who_is_logged_in`] runs it in a separate process.
#[test]
fn child_that_looks_for_ssh() {
    if env::var_os(AS_CHILD).is_none() {
        return;
    }
    assert!(env::var_os("SSH_CONNECTION").is_none());
    let connections = sessions::ssh_connections(&sessions::sockets().unwrap()).unwrap();
    for found in connections.found {
        println!("found {:?} {} {:?}", found.value, found.ends.is_some(), found.live);
    }
}

#[test]
fn ancestors_say_who_is_logged_in() {
    need_namespaces!();
    let topology = topology();
    let listener = listen(&topology, Side::UnderTest, "[::]:22");
    let ends = connect(&topology, (Side::Outside, WORLD[0]), "10.0.0.5:22".parse().unwrap(), &listener);
    let live = format!("10.0.0.9 {} 10.0.0.5 22", ends.0.local_addr().unwrap().port());
    let stale = "10.0.0.9 9 10.0.0.5 22";
    // As tmux below an old session, sudo below tmux, and edgeward below sudo.
    let script = format!(
        "env SSH_CONNECTION='{live}' sh -c 'env -u SSH_CONNECTION \"$0\" --exact child_that_looks_for_ssh --nocapture; :' \"$0\"; :"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(env::current_exe().unwrap());
    command.env("SSH_CONNECTION", stale).env(AS_CHILD, "1");
    let output = topology.within(Side::UnderTest, || command.output()).unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    // The test itself may have been started in a session.
    let found: Vec<&str> = text.split("found ").skip(1).map(|line| line.lines().next().unwrap()).take(2).collect();
    assert_eq!(found, [format!("{live:?} true Some(true)"), format!("{stale:?} true Some(false)")]);
}

/// As Docker with iptables-nft, and firewalld, leave them; the table of edgeward between them.
const TABLES: &str = "
table ip nat {
	chain PREROUTING { type nat hook prerouting priority dstnat; policy accept; }
	chain OUTPUT { type nat hook output priority -100; policy accept; }
	chain DOCKER { }
}
table ip filter {
	chain INPUT { type filter hook input priority filter; policy accept; }
	chain FORWARD { type filter hook forward priority filter; policy drop; }
	chain DOCKER-USER { }
}
table inet firewalld {
	set big { type ipv4_addr; elements = { 192.0.2.1 } }
	chain filter_INPUT { type filter hook input priority filter + 10; policy accept; tcp dport 81 drop; }
	chain mangle_PREROUTING { type filter hook prerouting priority mangle + 10; policy accept; }
}
table bridge filter {
	chain input { type filter hook input priority 0; policy drop; }
}
table inet edgeward {
	chain input { type filter hook input priority filter; policy drop; tcp dport { 80, 81 } accept; }
	chain raw_output { type filter hook output priority raw; policy accept; }
}
";

#[test]
fn foreign_chains_are_listed_and_can_override() {
    need_namespaces!();
    let topology = topology();
    let chains = || topology.within(Side::UnderTest, || foreign::chains("edgeward")).unwrap();
    assert_eq!(chains(), []);
    topology.load(TABLES).unwrap();
    let shown: Vec<String> = chains()
        .iter()
        .map(|found| {
            let policy = if found.policy == ChainPolicy::Drop { " drops" } else { "" };
            let words =
                [NETFILTER_HOOKS.word(found.hook), TABLE_FAMILIES.word(found.family), &found.table, &found.chain];
            let name = format!("{} {}", words.join(" "), CHAIN_TYPES.word(found.kind));
            format!("{name} {}{policy} {}", found.priority, found.owners.join("+"))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "forward ip filter FORWARD filter 0 drops Docker+iptables-nft",
            "input ip filter INPUT filter 0 Docker+iptables-nft",
            "input inet firewalld filter_INPUT filter 10 firewalld",
            "output ip nat OUTPUT nat -100 Docker+iptables-nft",
            "prerouting inet firewalld mangle_PREROUTING filter -140 firewalld",
            "prerouting ip nat PREROUTING nat -100 Docker+iptables-nft",
        ]
    );
    let later = chains().into_iter().find(|found| found.chain == "filter_INPUT").unwrap();
    assert_eq!(later.order(Hook::Input), Some(Ordering::Greater));
    // This matters because edgeward accepts both packets.
    let probe = |port| {
        let [from, to] = [WORLD[0], HOST[0]].map(|text| text.parse::<IpAddr>().unwrap());
        topology.probe(&Probe::new(netns::Hook::Input, Proto::Tcp, from, to, port))
    };
    assert_eq!([probe(80), probe(81), probe(82)], [Verdict::Accept, Verdict::Drop, Verdict::Drop]);
}

#[test]
fn legacy_tables_and_units_are_known() {
    need_namespaces!();
    let topology = topology();
    let legacy = topology.within(Side::UnderTest, foreign::legacy_tables).unwrap();
    assert_eq!(legacy, LegacyTables::default());
    foreign::units(Path::new("/")).unwrap();
}

#[test]
fn conntrack_shows_flows_once_it_tracks() {
    need_namespaces!();
    let topology = topology();
    let flows = || topology.within(Side::UnderTest, sessions::conntrack).unwrap();
    let mut conversation =
        Conversation::open(&topology, (Side::Outside, WORLD[0]), (Side::UnderTest, "10.0.0.5:22")).unwrap();
    conversation.speak().unwrap();
    // Not every kernel is built to show them.
    if !Path::new("/proc/net/nf_conntrack").exists() {
        return assert_eq!(flows(), None);
    }
    assert_eq!(flows(), Some(Vec::new()));
    let track = |hook| format!("chain {hook} {{ type filter hook {hook} priority 0; ct state new counter; }}\n");
    topology.load(&format!("table inet track {{\n{}{}}}", track("input"), track("output"))).unwrap();
    assert_eq!(flows(), Some(Vec::new()));
    // From the middle of the connection.
    conversation.speak().unwrap();
    let is_it = |flow: &&TrackedFlow| flow.protocol == 6 && [flow.original, flow.reply].iter().any(|it| is_to(it, 22));
    let found = flows().unwrap();
    let flow = found.iter().find(is_it).unwrap_or_else(|| panic!("{found:?}"));
    assert!(flow.replied && flow.tcp_established, "{flow:?}");
    assert_eq!((flow.original.source, flow.original.destination), (flow.reply.destination, flow.reply.source));

    let question = topology.within(Side::UnderTest, || UdpSocket::bind("[2001:db8::5]:5000")).unwrap();
    question.send_to(b"?", "[2001:db8::9]:53").unwrap();
    let found = flows().unwrap();
    let flow = found.iter().find(|flow| is_to(&flow.original, 53)).unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!((flow.protocol, flow.original.ports), (17, Some((5000, 53))));
    assert_eq!(flow.original.source, HOST[1].parse::<IpAddr>().unwrap());
}

fn is_to(tuple: &sessions::Tuple, port: u16) -> bool {
    tuple.ports.is_some_and(|(_, destination)| destination == port)
}
