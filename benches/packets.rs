//! Cost of the rules for a packet that opens a flow: `make bench`, as root.
//!
//! A veth pair delivers a packet within the system call that sends it, so the sender's time is the total: sending,
//! crossing the pair, filtering, and queueing for the program that reads it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark prints")]

#[path = "../tests/support/mod.rs"]
#[macro_use]
mod support;

use std::fmt::Write;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgeward::catalog::Catalog;
use edgeward::emit;
use edgeward::lower::lower;
use edgeward::resolution::Resolution;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use support::netns::{Hook, Probe, Proto, Side, Topology, Verdict};
use support::random::intent;
use support::traffic::flood::{Flood, StopOnDrop};
use support::traffic::judge::{Fate, Judge, Stream};
use support::traffic::site;

const PREFIXES: u32 = 100_000;
const ROUNDS: usize = 5;
const PORT: u16 = 5000;

const EMPTY: &str = "table inet edgeward {
    chain input { type filter hook input priority filter; policy accept; }
    chain output { type filter hook output priority filter; policy accept; }
}";
/// The minimum of any stateful firewall.
const STATEFUL: &str = "table inet edgeward {
    chain input { type filter hook input priority filter; policy accept; ct state established,related accept; }
    chain output { type filter hook output priority filter; policy accept; ct state established,related accept; }
}";

fn low(index: u32) -> u32 {
    0x2000_0000 + index * 1024
}

/// The ruleset of a policy that permits a port to many prefixes, on a host or on a gateway without conntrack.
fn wide(place: &str) -> String {
    let mut peers = String::new();
    for index in 0..PREFIXES {
        write!(peers, "{}/{}, ", Ipv4Addr::from(low(index)), 24 + index % 9).unwrap();
    }
    let text = format!(
        "version: 1\nname: wide\n{place}region: cn-hangzhou\nconnection: express-connect\n\
         cni: flannel-vxlan\ncluster: {{kind: registered, version: '1.30', api-server: 192.168.0.10}}\n\
         networks: {{vpc: [10.0.0.0/8], hosts: [192.168.0.0/24], pods: [172.20.0.0/16]}}\n\
         management: {{from: [192.168.0.0/28]}}\ndns: {{servers: [192.168.0.53]}}\n\
         allow:\n- {{id: in, direction: inbound, peers: [{peers}], ports: [udp/5000, tcp/5000]}}\n"
    );
    let declared = intent(&text, &Catalog::embedded().unwrap());
    emit::nft(&lower(&declared.bind(&Resolution::default()).unwrap()))
}

/// One packet from each of the prefixes with these indices, in an order that defeats the processor's cache.
fn flood(places: impl Iterator<Item = u32>, sport: Option<u16>) -> Flood {
    let stream = Stream { dscp: 1, name: "opens a flow", hook: Hook::Input, fate: Fate::Allowed };
    let from = |index: u32| {
        let probe = Probe::new(Hook::Input, Proto::Udp, Ipv4Addr::from(low(index)), site::HOST, PORT);
        sport.map_or(probe, |sport| probe.sport(sport))
    };
    let probes: Vec<Probe> = places.map(|place| from(place * 7919 % PREFIXES)).collect();
    let mut flood = Flood::default();
    flood.add(&stream, &probes);
    flood
}

/// Sends each packet of a flood, and returns the nanoseconds per packet.
fn timed(flood: &Flood, host: &Topology) -> f64 {
    let begin = Instant::now();
    flood.once(host);
    begin.elapsed().as_nanos() as f64 / flood.len() as f64
}

fn hosts(rulesets: &[(&str, String)]) -> Vec<Topology> {
    let host = |(_, text): &(&str, String)| {
        let host = site::topology();
        host.load(text).unwrap();
        host
    };
    rulesets.iter().map(host).collect()
}

/// Packets that are dropped after the rules: measures only sending and filtering.
fn to_the_rules(rulesets: &[(&str, String)], flood: &Flood) -> Vec<Vec<f64>> {
    let hosts = hosts(rulesets);
    let stream = Stream { dscp: 1, name: "opens a flow", hook: Hook::Input, fate: Fate::Allowed };
    let judges: Vec<Judge<'_>> = hosts.iter().map(|host| Judge::new(host, vec![stream])).collect();
    let rounds = (0..=ROUNDS).map(|_| hosts.iter().map(|host| timed(flood, host)).collect()).skip(1).collect();
    for (judge, (name, _)) in judges.iter().zip(rulesets) {
        let tally = judge.tally();
        assert_eq!((tally.lost(), tally.packets()), (0, (ROUNDS as u64 + 1) * u64::from(PREFIXES)), "{name}: {tally}");
    }
    rounds
}

/// Packets that reach a program, like the first packet of a flow: conntrack adds an entry, and the program reads it.
fn to_a_program(rulesets: &[(&str, String)]) -> Vec<Vec<f64>> {
    let hosts = hosts(rulesets);
    let (stop, heard) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let listen = |host: &Topology| {
            let socket = host.within(Side::UnderTest, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            // The reader may have to wait for a CPU.
            sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20).unwrap();
            let (stop, heard) = (&stop, &heard);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    heard.fetch_add(u64::from(socket.recv(&mut [0; 64]).is_ok()), Ordering::Relaxed);
                }
            });
        };
        hosts.iter().for_each(listen);
        let _stops = StopOnDrop(&stop);
        // Each prefix opens one flow; conntrack has no room for a million.
        let part = PREFIXES / ROUNDS as u32;
        let warm_up = flood(0..part, Some(999));
        hosts.iter().for_each(|host| warm_up.once(host));
        let round = |round| {
            let flood = flood(round * part..(round + 1) * part, None);
            hosts.iter().map(|host| timed(&flood, host)).collect()
        };
        let rounds = (0..ROUNDS as u32).map(round).collect();
        thread::sleep(Duration::from_millis(100));
        let sent = (ROUNDS as u64 + 1) * u64::from(part) * hosts.len() as u64;
        let heard = heard.load(Ordering::Relaxed);
        assert!(heard > sent / 10 * 9, "{heard} of {sent} packets were heard");
        rounds
    })
}

/// Sends packets as the tests do: each one after the previous one has arrived.
fn one_by_one(hosts: &[Topology], hook: Hook) -> Vec<Vec<f64>> {
    let part = PREFIXES / ROUNDS as u32;
    let sent = |host: &Topology, round: u32| {
        let places = (round * part..(round + 1) * part).map(|place| place * 7919 % PREFIXES);
        let probe = |index| Probe::new(hook, Proto::Udp, Ipv4Addr::from(low(index)), site::HOST, PORT);
        let probes: Vec<Probe> = places.map(probe).collect();
        let begin = Instant::now();
        let verdicts = host.probe_all(&probes);
        let time = begin.elapsed().as_nanos() as f64 / f64::from(part);
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accept));
        time
    };
    hosts.iter().for_each(|host| {
        sent(host, 0);
    });
    (0..ROUNDS as u32).map(|round| hosts.iter().map(|host| sent(host, round)).collect()).collect()
}

/// The same through a gateway without conntrack.
fn through_a_gateway() -> (Vec<(&'static str, String)>, Vec<Vec<f64>>) {
    const EMPTY: &str = "table inet edgeward {
        chain forward { type filter hook forward priority filter; policy accept; }
    }";
    let rulesets = vec![
        ("empty, accept", EMPTY.to_owned()),
        ("100,000 prefixes", wide("target: idc-gateway\ngateway: {stateless: true}\n")),
    ];
    let gateway = |(_, text): &(&str, String)| {
        let gateway = Topology::gateway(&["192.168.0.0/24"]);
        gateway.load(text).unwrap();
        gateway
    };
    let gateways: Vec<Topology> = rulesets.iter().map(gateway).collect();
    let rounds = one_by_one(&gateways, Hook::Forward);
    (rulesets, rounds)
}

/// TCP connections from different addresses, opened and closed again.
fn connections(rulesets: &[(&str, String)]) -> Vec<Vec<f64>> {
    const CONNECTIONS: u32 = 2000;
    let hosts = hosts(rulesets);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for host in &hosts {
            let listener = host.within(Side::UnderTest, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
            let stop = &stop;
            scope.spawn(move || listener.incoming().take_while(|_| !stop.load(Ordering::Relaxed)).for_each(drop));
        }
        let connect = |from: u32| {
            let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
            bind(&socket, &SocketAddr::new(Ipv4Addr::from(from).into(), 0)).unwrap();
            rustix::net::connect(&socket, &SocketAddr::new(site::HOST.into(), PORT)).unwrap();
            // Wait until the other side has closed it.
            let _ = TcpStream::from(socket).read(&mut [0]);
        };
        let open = |host: &Topology, round: u32| {
            host.within(Side::Outside, || {
                let begin = Instant::now();
                let places = round * CONNECTIONS..(round + 1) * CONNECTIONS;
                places.for_each(|place| connect(low(place * 7919 % PREFIXES)));
                begin.elapsed().as_nanos() as f64 / f64::from(CONNECTIONS)
            })
        };
        let rounds = (0..=ROUNDS as u32).map(|round| hosts.iter().map(|host| open(host, round)).collect());
        let rounds = rounds.skip(1).collect();
        stop.store(true, Ordering::Relaxed);
        // The listeners only check `stop` when a connection arrives.
        hosts.iter().for_each(|host| host.within(Side::Outside, || connect(low(0))));
        rounds
    })
}

fn main() {
    // `cargo test --benches` passes this.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    need_namespaces!();
    let wide = wide("target: edge-host\n");
    // The minimum for nftables with the same set: one rule.
    let set = wide.split("set in_v4 {").nth(1).and_then(|rest| rest.split("\n\t}").next()).unwrap();
    let least = format!(
        "table inet edgeward {{\nset in_v4 {{ {set}\n}}\nchain input {{\n\
         type filter hook input priority filter; policy drop\n\
         ct state established,related accept\nip saddr @in_v4 accept\n}}\n}}\n"
    );
    let rulesets = [
        ("empty, accept", EMPTY.to_owned()),
        ("stateful, accept", STATEFUL.to_owned()),
        ("one rule, 100,000", least),
        ("100,000 prefixes", wide),
    ];
    let scattered = to_the_rules(&rulesets, &flood(0..PREFIXES, None));
    // A source port can be reused at once, because conntrack keeps no entry for dropped packets.
    let same = to_the_rules(&rulesets, &flood((0..PREFIXES).map(|_| 0), None));
    show("New packets from all prefixes, filtered only", &rulesets, &scattered);
    show("New packets from one address, filtered only", &rulesets, &same);
    show("New packets from all prefixes, delivered to a program", &rulesets, &to_a_program(&rulesets));
    show(
        "The same, each sent after the previous one has arrived",
        &rulesets,
        &one_by_one(&hosts(&rulesets), Hook::Input),
    );
    show("TCP connections, opened and closed", &rulesets, &connections(&rulesets));
    let (rulesets, rounds) = through_a_gateway();
    show("Through a gateway without conntrack, each sent after the previous one has arrived", &rulesets, &rounds);
}

/// Prints the medians of the rounds, and their ratios to the first and the second ruleset.
fn show(what: &str, rulesets: &[(&str, String)], rounds: &[Vec<f64>]) {
    println!("{what} (ratios to the first and the second ruleset):");
    let mut medians = Vec::new();
    for (index, (name, _)) in rulesets.iter().enumerate() {
        let mut times: Vec<f64> = rounds.iter().map(|round| round[index]).collect();
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        medians.push(median);
        println!("  {name:<18} {median:>6.0} ns, {:.2}, {:.2}", median / medians[0], median / medians[index.min(1)]);
    }
}
