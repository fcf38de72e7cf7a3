//! The conversations of a cluster, between real sockets of three hosts, their pods and the world around them, with the
//! rules in force on every host: for each CNI of each kind of cluster, over each connection that offers it.
//!
//! Nothing that a cluster says may be denied, not even counted as invalid, and nothing that a stranger says may be heard.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests are no part of the core")]

#[macro_use]
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use edgeward::catalog::Catalog;
use edgeward::diag::Problems;
use edgeward::emit;
use edgeward::lower::lower;
use edgeward::policy;
use edgeward::site::{ClusterKind, Connection};
use edgeward::source::Source;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, ipproto, sendto, socket_with};

use support::compile::resolved;
use support::netns::bound;
use support::netns::lan::{Lan, Member};
use support::programs::{PATIENCE, REJECTED, SILENCE, connect_within};

/// The hosts with their pods. The first is the API server of registered clusters.
const HOSTS: [(&str, &str); 3] =
    [("10.1.0.10", "172.20.0.5"), ("10.1.0.11", "172.20.1.5"), ("10.1.0.12", "172.20.2.5")];
/// What the tables below call them.
const NAMES: [(&str, usize); 3] = [("first", 0), ("second", 1), ("third", 2)];
/// A host of the world that no policy knows.
const STRANGER: &str = "198.51.100.66";

// The rows: traffic, who opens it, and the other end. Hosts, their pods (`pod-first`), addresses and names of the world.

/// What every cluster does.
const COMMON: &str = "
    tcp/8080   first -> pod-first            # a kubelet's probes
    tcp/8080   second -> pod-second
    udp/8080   third -> pod-third
    tcp/9153   pod-second -> second          # a pod that asks its host
    udp/53     second -> 10.1.0.53
    tcp/53     third -> 10.1.0.53
    tcp/22     10.1.0.2 -> first
";

/// Pods of different hosts, and hosts with pods of others: over the tunnel of the CNI, or routed.
const PODS: &str = "
    tcp/8080   pod-first -> pod-second
    udp/8080   pod-third -> pod-first
    tcp/8080   second -> pod-third
    tcp/443    first -> pod-second           # the API server asks a webhook
";

/// ACK Edge over a leased line.
const LEASED: &str = "
    tcp/10250  192.168.10.5 -> second
    tcp/10255  192.168.10.5 -> third
    tcp/9100   192.168.10.5 -> second
    tcp/9445   192.168.10.5 -> third
    tcp/6443   second -> 192.168.10.20
    tcp/443    first -> cs-anony-vpc.cn-hangzhou.aliyuncs.com
    tcp/443    second -> dockerauth-vpc.cn-hangzhou.aliyuncs.com
    tcp/443    second -> dockerauth-ee-vpc.cn-hangzhou.aliyuncs.com
    tcp/443    second -> registry-cn-hangzhou-vpc.ack.aliyuncs.com
    tcp/443    third -> aliacs-k8s-cn-hangzhou.oss-cn-hangzhou-internal.aliyuncs.com
    udp/123    second -> ntp1.aliyun.com
    udp/123    third -> cn.ntp.org.cn
";

/// ACK Edge over the public network.
const PUBLIC: &str = "
    tcp/10250  first -> second               # Raven relays
    tcp/10255  second -> third
    tcp/9100   first -> third
    tcp/9445   third -> second
    tcp/6443   second -> 203.0.113.20
    tcp/10280  first -> 203.0.113.40
    udp/4500   first -> 203.0.113.40
    tcp/443    first -> cs-anony.aliyuncs.com
    tcp/443    second -> cs-anony.cn-hangzhou.aliyuncs.com
    tcp/443    second -> dockerauth.cn-hangzhou.aliyuncs.com
    tcp/443    second -> dockerauth-ee.cn-hangzhou.aliyuncs.com
    tcp/443    second -> registry-cn-hangzhou.ack.aliyuncs.com
    udp/123    second -> ntp1.aliyun.com
    udp/123    third -> cn.ntp.org.cn
";

/// A registered cluster. The second host is of the control plane, too.
const REGISTERED: &str = "
    tcp/6443   second -> first
    tcp/6443   third -> first
    tcp/6443   third -> second               # the Service `kubernetes` leads to each API server
    tcp/6443   192.168.10.5 -> first
    tcp/10250  first -> second
    tcp/10250  first -> third
    tcp/10250  second -> first
    tcp/10250  first -> 192.168.10.5
    tcp/2379   first -> second
    tcp/2380   second -> first
    tcp/443    second -> 10.1.0.80           # images and NTP of the site
    udp/123    third -> 10.1.0.123
    tcp/5533   third -> 10.50.0.9            # the agent
    tcp/443    third -> registry-cn-hangzhou-vpc.ack.aliyuncs.com
    tcp/443    third -> dockerauth-vpc.cn-hangzhou.aliyuncs.com
";

const TYPHA: &str = "
    tcp/5473   second -> third
    tcp/5473   third -> first
";

const HEALTH: &str = "
    tcp/4240   first -> third
    tcp/4240   third -> second
    tcp/4240   second -> 192.168.10.5
    tcp/4240   192.168.10.5 -> first
";

/// Routes with the peers of the site, and ECS nodes and pods without a tunnel.
const ROUTED: &str = "
    tcp/179    first -> 10.1.0.251
    tcp/179    10.1.0.251 -> second
";

/// Metrics Server and Prometheus, in the cloud.
const CLOUD_PODS: &str = "
    tcp/10250  192.168.25.5 -> second
    tcp/9100   192.168.25.5 -> third
";

const REGISTERED_ROUTED: &str = "
    tcp/179    first -> second
    tcp/179    third -> first
    tcp/8080   192.168.25.5 -> second
    udp/8080   third -> 192.168.25.5
    tcp/8080   pod-first -> 192.168.25.5
    tcp/8080   192.168.25.5 -> pod-third
";

/// How a CNI carries packets between the pods of different hosts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Vxlan,
    /// No kernel of the tests is sure to have such devices, so packets of the protocol are sent by hand.
    Ipip,
    Routes,
}

/// One site of a cluster.
struct Site {
    registered: bool,
    public: bool,
    routed: bool,
    cni: String,
    carrier: Carrier,
    talks: String,
}

impl Site {
    /// The sites that the catalog offers. A new CNI has to be added here.
    fn all() -> Vec<Self> {
        let catalog = Catalog::embedded().unwrap();
        let offers = catalog.cnis.iter().flat_map(|row| row.connections.value.iter().map(move |way| (row, *way)));
        let site = |(row, connection): (&edgeward::catalog::CniRow, Connection)| {
            let (registered, public) = (row.cluster == ClusterKind::Registered, connection == Connection::Public);
            let kind = if registered {
                REGISTERED
            } else if public {
                PUBLIC
            } else {
                LEASED
            };
            let (carrier, own) = match row.id.value.as_str() {
                "flannel" | "flannel-vxlan" => (Carrier::Vxlan, String::new()),
                "terway-edge" => (Carrier::Routes, [ROUTED, CLOUD_PODS].concat()),
                "calico-ipip" => (Carrier::Ipip, TYPHA.to_owned()),
                "cilium-vxlan" => (Carrier::Vxlan, HEALTH.to_owned()),
                "calico-bgp" => (Carrier::Routes, [ROUTED, REGISTERED_ROUTED, TYPHA].concat()),
                "cilium-bgp" => (Carrier::Routes, [ROUTED, REGISTERED_ROUTED, HEALTH].concat()),
                other => panic!("the CNI `{other}` has no conversations here"),
            };
            let pods = if carrier == Carrier::Ipip { "" } else { PODS };
            let talks = [COMMON, pods, kind, &own].concat();
            Site { registered, public, routed: row.routed, cni: row.id.value.clone(), carrier, talks }
        };
        offers.map(site).collect()
    }

    fn policy(&self) -> String {
        let pick = |flag, yes: &'static str, no: &'static str| if flag { yes } else { no };
        let mut text = format!(
            "version: 1\nname: cluster\ntarget: edge-host\nregion: cn-hangzhou\nconnection: {}\ncni: {}\nmode: enforce\n",
            pick(self.public, "public", "express-connect"),
            self.cni
        );
        text += match (self.registered, self.public) {
            (true, _) => {
                "cluster: {kind: registered, version: \"1.30\", api-server: 10.1.0.10, agent-endpoints: [\"10.50.0.9:5533\"]}\n"
            }
            (_, true) => {
                "cluster: {kind: ack-edge, version: \"1.30\", api-server: 203.0.113.20, raven-gateways: [203.0.113.40]}\n"
            }
            (_, false) => "cluster: {kind: ack-edge, version: \"1.30\", api-server: 192.168.10.20}\n",
        };
        text += "networks:\n  hosts: [10.1.0.0/24]\n  pods: [172.20.0.0/16]\n  services: [172.21.0.0/20]\n";
        text += pick(self.public, "", "  vpc: [192.168.0.0/16]\n  vswitches: [192.168.10.0/24]\n");
        text += pick(self.public, "", "  cloud-services: [100.64.0.0/10]\n");
        text += pick(self.routed, "  pod-vswitches: [192.168.25.0/24]\n  bgp-peers: [10.1.0.251]\n", "");
        text += pick(self.registered, "  control-plane: [10.1.0.10, 10.1.0.11]\n", "");
        text += "management: {from: [10.1.0.2]}\ndns: {servers: [10.1.0.53]}\n";
        let rows = "allow:\n- {id: images, direction: outbound, peers: [10.1.0.80], ports: [tcp/443]}\n\
                    - {id: ntp-server, direction: outbound, peers: [10.1.0.123], ports: [udp/123]}\n";
        text + pick(self.registered, rows, "")
    }
}

/// Somewhere at an address.
#[derive(Clone, Copy)]
struct End<'a> {
    member: Member<'a>,
    address: IpAddr,
}

/// A site in namespaces, with its rules in force.
struct Stage {
    lan: Lan,
    names: BTreeMap<String, String>,
}

impl Stage {
    fn new(site: &Site) -> Self {
        let source = Source::new("policy.yaml", site.policy());
        let names = names(&source);
        let mut world: Vec<String> = names.values().cloned().collect();
        let words = site.talks.split_whitespace().filter(|word| word.parse::<Ipv4Addr>().is_ok());
        world.extend(words.chain([STRANGER]).map(str::to_owned));
        world.sort();
        world.dedup();
        let lan = Lan::new(&HOSTS, &world);
        let mut lock = "version: 1\nnames:".to_owned();
        for (name, address) in &names {
            let time = "2026-11-20T08:00:00Z";
            let address = format!("{{address: {address}, first-seen: {time}, last-seen: {time}, ttl: 60}}");
            write!(lock, "\n- {{name: {name}, addresses: [{address}]}}").unwrap();
        }
        let lock = if names.is_empty() { lock + " []\n" } else { lock + "\n" };
        let lock = Source::new("policy.lock.yaml", lock);
        let ruleset = emit::nft(&lower(&resolved(&source, Some(&lock), None).unwrap()));
        for number in 0..HOSTS.len() {
            lan.host(number).load(&ruleset);
            connect_pods(&lan, number, site.carrier);
        }
        Self { lan, names }
    }

    /// The end that a table calls so.
    fn end(&self, word: &str) -> End<'_> {
        let host = |word| NAMES.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
        let pod = word.strip_prefix("pod-").and_then(host);
        let (member, address) = match (host(word), pod) {
            (Some(number), _) => (self.lan.host(number), HOSTS[number].0),
            (_, Some(number)) => (self.lan.pod(number), HOSTS[number].1),
            _ => (self.lan.world(), self.names.get(word).map_or(word, String::as_str)),
        };
        End { member, address: address.parse().unwrap_or_else(|_| panic!("`{word}` is nowhere")) }
    }

    /// The packets that the hosts have denied so far, and by which counter.
    fn denied(&self) -> Vec<String> {
        let hosts = (0..HOSTS.len()).flat_map(|number| {
            let counters = self.lan.host(number).counters().into_iter();
            counters.map(move |(name, packets)| (number, name, packets))
        });
        let is_denial = |name: &str| name.starts_with("denied_") || name.starts_with("invalid_");
        let denied = hosts.filter(|(_, name, packets)| is_denial(name) && *packets > 0);
        denied.map(|(number, name, packets)| format!("{}: {packets} {name}", NAMES[number].0)).collect()
    }
}

/// The names of a policy, each with an address of its own.
fn names(policy: &Source) -> BTreeMap<String, String> {
    let (catalog, mut problems) = (Catalog::embedded().unwrap(), Problems::default());
    let intent = policy::load(policy, &catalog, None, &mut problems);
    let (_, intent) = intent.unwrap_or_else(|| panic!("{problems:#?}\n{}", policy.text()));
    let names = intent.names().into_keys().map(|name| name.to_string());
    (1..).zip(names).map(|(index, name): (u8, _)| (name, format!("198.18.0.{index}"))).collect()
}

/// Lets a host reach the pods of the others as its CNI does.
fn connect_pods(lan: &Lan, number: usize, carrier: Carrier) {
    let others = || (0..HOSTS.len()).filter(move |other| *other != number);
    let host = lan.host(number);
    match carrier {
        Carrier::Ipip => {}
        Carrier::Routes => {
            host.ip(&others()
                .map(|other| format!("route add 172.20.{other}.0/24 via {}\n", HOSTS[other].0))
                .collect::<String>());
        }
        Carrier::Vxlan => {
            let mac = |number: usize| format!("02:00:00:00:01:{number:02x}");
            let mut text = format!(
                "link add tunnel address {} type vxlan id 1 dev eth0 local {} dstport 8472 nolearning\n\
                 addr add 172.20.{number}.0/32 dev tunnel\n link set tunnel up\n",
                mac(number),
                HOSTS[number].0
            );
            for other in others() {
                let far = format!("172.20.{other}.0");
                text += &format!("neigh add {far} lladdr {} dev tunnel nud permanent\n", mac(other));
                text += &format!("route add {far}/24 via {far} dev tunnel onlink src {}\n", HOSTS[number].0);
            }
            host.ip(&text);
            for other in others() {
                host.run(&["bridge", "fdb", "append", &mac(other), "dev", "tunnel", "dst", HOSTS[other].0]);
            }
        }
    }
}

/// Sends a question and the answer to it.
fn talk(traffic: &str, from: End<'_>, to: End<'_>, patience: Duration) -> io::Result<()> {
    let (protocol, port) = traffic.split_once('/').unwrap();
    let server = SocketAddr::new(to.address, port.parse().unwrap());
    match protocol {
        "tcp" => {
            let listener = to.member.within(|| bound(|| TcpListener::bind(server)))?;
            let mut client = from.member.within(|| connect_within(from.address, server, patience))?;
            let (mut server, peer) = listener.accept()?;
            assert_eq!(peer.ip(), from.address);
            server.set_read_timeout(Some(patience))?;
            client.set_read_timeout(Some(patience))?;
            let mut heard = [0; 4];
            client.write_all(b"ping")?;
            server.read_exact(&mut heard)?;
            server.write_all(b"pong")?;
            client.read_exact(&mut heard)?;
            assert_eq!(&heard, b"pong");
        }
        _ => {
            let socket = to.member.within(|| bound(|| UdpSocket::bind(server)))?;
            let client = from.member.within(|| UdpSocket::bind(SocketAddr::new(from.address, 0)))?;
            for socket in [&socket, &client] {
                socket.set_read_timeout(Some(patience))?;
            }
            let mut heard = [0; 4];
            client.send_to(b"ping", server)?;
            let (_, asker) = socket.recv_from(&mut heard)?;
            socket.send_to(b"pong", asker)?;
            client.recv_from(&mut heard)?;
            assert_eq!(&heard, b"pong");
        }
    }
    Ok(())
}

/// Sends a packet of IP in IP, and returns whether it arrives within a time.
fn tunnels(from: End<'_>, to: End<'_>, patience: Duration) -> io::Result<bool> {
    let raw = |end: End<'_>| -> io::Result<_> {
        end.member.within(|| {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::INET, SocketType::RAW, flags, Some(ipproto::IPIP))?;
            bind(&socket, &SocketAddr::new(end.address, 0))?;
            Ok(socket)
        })
    };
    let (sender, receiver) = (raw(from)?, raw(to)?);
    // An inner packet of its own; the kernel of the receiver has no use for it.
    let inner = [[0x45, 0, 0, 20], [0; 4], [64, 59, 0, 0], [172, 20, 0, 5], [172, 20, 1, 5]].concat();
    sendto(&sender, &inner, SendFlags::empty(), &SocketAddr::new(to.address, 0))?;
    let (begin, mut heard) = (Instant::now(), [0; 128]);
    while begin.elapsed() < patience {
        if rustix::net::recv(&receiver, &mut heard, rustix::net::RecvFlags::DONTWAIT).is_ok() {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(false)
}

/// Runs the conversations of a site; returns what went wrong.
fn converse(site: &Site, stage: &Stage) -> Vec<String> {
    let mut wrong = Vec::new();
    for line in site.talks.lines().map(|line| line.split('#').next().unwrap().trim()).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [traffic, from, "->", to] = words[..] else { panic!("no conversation: {line}") };
        if let Err(error) = talk(traffic, stage.end(from), stage.end(to), PATIENCE) {
            wrong.push(format!("{line}: {error}"));
            // A packet that is dropped takes all the patience there is.
            break;
        }
    }
    if site.carrier == Carrier::Ipip && wrong.is_empty() {
        for [from, to] in [["first", "second"], ["third", "first"]] {
            let arrives = tunnels(stage.end(from), stage.end(to), PATIENCE);
            wrong.extend((!matches!(arrives, Ok(true))).then(|| format!("ipip {from} -> {to}: {arrives:?}")));
        }
    }
    wrong.extend(stage.denied());
    wrong
}

/// What a stranger says to the hosts, and they to it; returns what went through.
fn intrude(stage: &Stage) -> Vec<String> {
    let mut wrong = Vec::new();
    let stranger = stage.end(STRANGER);
    for (traffic, host) in [
        ("tcp/6443", "first"),
        ("tcp/10250", "second"),
        ("tcp/2379", "first"),
        ("tcp/5473", "third"),
        ("tcp/4240", "second"),
        ("tcp/179", "first"),
        ("tcp/9100", "second"),
        ("tcp/22", "third"),
        ("tcp/8080", "second"),
        ("udp/8472", "third"),
    ] {
        let heard = talk(traffic, stranger, stage.end(host), SILENCE / 3);
        wrong.extend(heard.is_ok().then(|| format!("{traffic} of a stranger: {host} answers")));
    }
    let refused = talk("tcp/443", stage.end("second"), stranger, PATIENCE).map_err(|error| error.kind());
    wrong.extend((refused != Err(REJECTED)).then(|| format!("tcp/443 to a stranger: {refused:?}")));
    let tunnels = tunnels(stranger, stage.end("first"), SILENCE / 3);
    wrong.extend((!matches!(tunnels, Ok(false))).then(|| format!("ipip of a stranger: {tunnels:?}")));
    // Silence may be that of a broken stage: every host has denied what it did not hear.
    for (name, number) in NAMES {
        let denied = stage.lan.host(number).counters()["denied_input"];
        wrong.extend((denied == 0).then(|| format!("{name} has denied nothing")));
    }
    wrong
}

#[test]
fn what_a_cluster_says_is_heard_and_a_stranger_is_not() {
    need_namespaces!();
    let mut wrong = Vec::new();
    for site in Site::all() {
        let stage = Stage::new(&site);
        let found = converse(&site, &stage).into_iter().chain(intrude(&stage));
        let way = if site.public { "public" } else { "express-connect" };
        wrong.extend(found.map(|what| format!("{} over {way}: {what}", site.cni)));
    }
    assert!(wrong.is_empty(), "{} complaints:\n{}", wrong.len(), wrong.join("\n"));
}
