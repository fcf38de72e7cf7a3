//! Runs rulesets in throw-away network namespaces and probes them with real packets.
//!
//! ```text
//! edge host:   host (under test) ─── world
//! gateway:     idc ─── gw (under test) ─── cloud
//! ```
//!
//! `world`, `idc` and `cloud` own every address of their side at once (AnyIP), so a probe may come
//! from and go to any address of a policy. The verdict is never taken from the errno of a program,
//! which differs by family, protocol and hook: raw sockets on both ends see the packet after the
//! last hook (accepted), or the ICMP error or reset that answers it (rejected), or nothing
//! (dropped). They add nothing to nftables in the namespace under test.
//!
//! Nothing has a name outside the process: a namespace is a file descriptor, and vanishes with it
//! on a return, a panic or a kill. Tests may run in parallel.

pub mod lan;
mod namespace;
pub mod row;
pub mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Output;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use namespace::Namespace;

/// The number of the next probe. It starts high so that no padding or counter looks like one.
static NEXT: AtomicU32 = AtomicU32::new(0x4544_0000);

/// Looks at the sockets in a row, a millisecond apart, that see nothing new before the missing probes count as dropped.
///
/// A veth pair usually delivers before the sender's system call returns. Where the kernel leaves that to a thread,
/// that thread and this one wait for the same processors: looks are counted, so a busy host gets more time.
const QUIET: u32 = 50;

/// The address of the gateway's own ICMP errors: benchmark and discard space, no policy names it.
const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 254);
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1);

/// Tells whether this process can make namespaces and load a ruleset in one.
///
/// # Errors
///
/// The reason why it cannot.
pub fn available() -> Result<(), String> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    let ask = || {
        let namespace = Namespace::new().map_err(|error| format!("no namespace: {error}"))?;
        namespace.succeed(&["ip", "-V"], "")?;
        namespace.succeed(&["nft", "-c", "-f", "-"], "table inet probe {}")
    };
    ANSWER.get_or_init(ask).clone()
}

/// Opens a socket at a fixed port, and waits a while for the port.
///
/// A child process has copies of all descriptors from its fork until it runs its program: a socket that one test has
/// closed may live for as long in the child of another test.
///
/// # Errors
///
/// What the last try to open it gave.
pub fn bound<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..500 {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => thread::sleep(Duration::from_millis(10)),
            found => return found,
        }
    }
    open()
}

/// Tells whether a machine without namespaces fails the tests (`REQUIRE_NETNS=1`).
pub fn required() -> bool {
    std::env::var_os("REQUIRE_NETNS").is_some_and(|value| value == "1")
}

/// Says on standard error that a test does not run, or fails it where it must.
///
/// ```ignore
/// if let Err(reason) = netns::available() {
///     return netns::skip(&reason);
/// }
/// ```
///
/// # Panics
///
/// Where namespaces are [`required`].
pub fn skip(reason: &str) {
    assert!(!required(), "REQUIRE_NETNS=1, but {reason}");
    eprintln!("skipped: {reason}");
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passed the last hook at the other end.
    Accept,
    /// It did not, and nothing came back.
    Drop,
    /// It did not, and an ICMP error or a TCP reset came back.
    Reject,
}

/// The hook at which the ruleset under test sees a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// From the world to the host.
    Input,
    /// From the host to the world; to a loopback address it passes input, too.
    Output,
    /// Through the gateway, from the side that does not own the destination.
    Forward,
}

/// The protocol of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proto {
    /// A SYN.
    Tcp,
    /// A SYN with ACK, as from a server; conntrack calls it invalid unless it answers a SYN.
    ///
    /// A reset in answer to it does not tell which probe it answers, and is not seen as a reject.
    TcpReply,
    /// A datagram.
    Udp,
    /// An echo request of ICMP or ICMPv6, by the family of the addresses; `sport` is its identifier.
    IcmpEcho,
    /// The first packet of an association of SCTP.
    Sctp,
    /// A protocol without ports, by number, one of [`PORTLESS`].
    Portless(u8),
}

/// The protocols without ports that sockets listen for, with their words in tables of probes.
pub const PORTLESS: [(&str, u8); 6] = [("ipip", 4), ("gre", 47), ("esp", 50), ("ah", 51), ("ospf", 89), ("vrrp", 112)];

/// One packet that asks the ruleset for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The hook that decides on it; also says who sends it.
    pub hook: Hook,
    /// Its protocol.
    pub proto: Proto,
    /// Its source.
    pub from: IpAddr,
    /// Its destination, of the same family.
    pub to: IpAddr,
    /// Its destination port; without meaning for protocols that have none.
    pub dport: u16,
    /// Its source port; by default a fresh one for every probe.
    pub sport: Option<u16>,
}

impl Probe {
    /// Makes a probe with a fresh source port.
    pub fn new(hook: Hook, proto: Proto, from: impl Into<IpAddr>, to: impl Into<IpAddr>, dport: u16) -> Self {
        let (from, to) = (from.into(), to.into());
        Self { hook, proto, from, to, dport, sport: None }
    }

    /// Fixes the source port.
    pub fn sport(self, sport: u16) -> Self {
        Self { sport: Some(sport), ..self }
    }
}

/// A namespace of a [`Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `host` or `gw`, where the ruleset is.
    UnderTest,
    /// `world` or `cloud`.
    Outside,
    /// `idc`; only with a gateway.
    Inside,
}

/// The name of both interfaces of [`Topology::edge_host`].
pub const EDGE_HOST_INTERFACE: &str = "eth0";

/// The prefixes of a default route.
const EVERYTHING: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Some joined namespaces, one of them under test; gone when dropped.
pub struct Topology {
    /// By [`Side`], in the order of its variants.
    namespaces: Vec<Namespace>,
    /// The prefixes inside of a gateway.
    inside: Vec<(IpAddr, u8)>,
    /// Held during a batch: two at once would steal each other's answers.
    turn: Mutex<()>,
}

impl Topology {
    /// Joins a host to a world that owns all addresses except the host's.
    ///
    /// Both interfaces are named `eth0`.
    ///
    /// # Panics
    ///
    /// Where namespaces are not [`available`].
    pub fn edge_host(host_v4: Ipv4Addr, host_v6: Ipv6Addr) -> Self {
        let [host, world] = [(); 2].map(|()| Namespace::new().unwrap());
        namespace::join((&host, "eth0"), (&world, "eth0"));
        let own = format!("addr add {host_v4}/32 dev eth0\n addr add {host_v6}/128 dev eth0 nodad\n");
        host.ip(&(own + &EVERYTHING.map(|prefix| via(prefix, "eth0")).concat()));
        let host_prefixes = [format!("{host_v4}/32"), format!("{host_v6}/128")];
        let host_via = host_prefixes.map(|prefix| via(&prefix, "eth0 table local")).concat();
        world.ip(&(host_via + &EVERYTHING.map(local).concat()));
        Self::new(vec![host, world], Vec::new())
    }

    /// Joins the owner of the IDC's prefixes through a gateway to a cloud that owns all others.
    ///
    /// The gateway's interfaces are named `idc0` and `cloud0`, the others `eth0`.
    ///
    /// # Panics
    ///
    /// Where a prefix is malformed, or namespaces are not [`available`].
    pub fn gateway(idc_prefixes: &[&str]) -> Self {
        let [gw, cloud, idc] = [(); 3].map(|()| Namespace::new().unwrap());
        namespace::join((&gw, "idc0"), (&idc, "eth0"));
        namespace::join((&gw, "cloud0"), (&cloud, "eth0"));
        let everything_via = |device| EVERYTHING.map(|prefix| via(prefix, device)).concat();
        let idc_via = |device| idc_prefixes.iter().map(|prefix| via(prefix, device)).collect::<String>();
        let idc_local: String = idc_prefixes.iter().map(|prefix| local(prefix)).collect();
        gw.enable_forwarding();
        let own = format!("addr add {GATEWAY_V4}/32 dev lo\n addr add {GATEWAY_V6}/128 dev lo nodad\n");
        gw.ip(&(own + &idc_via("idc0") + &everything_via("cloud0")));
        idc.ip(&(idc_local + &everything_via("eth0")));
        cloud.ip(&(idc_via("eth0 table local") + &EVERYTHING.map(local).concat()));
        let inside = idc_prefixes.iter().map(|prefix| {
            let (address, length) = prefix.split_once('/').expect("a prefix has a slash");
            (address.parse().expect("an address"), length.parse().expect("a prefix length"))
        });
        Self::new(vec![gw, cloud, idc], inside.collect())
    }

    fn new(namespaces: Vec<Namespace>, inside: Vec<(IpAddr, u8)>) -> Self {
        Self { namespaces, inside, turn: Mutex::new(()) }
    }

    /// Runs a closure on a thread that has entered a namespace, for real programs and sockets.
    ///
    /// Child processes and sockets made there stay there. A socket of a side that owns everything
    /// has to be bound, for none of its addresses is the natural source.
    pub fn within<T: Send>(&self, side: Side, work: impl FnOnce() -> T + Send) -> T {
        self.namespaces[side as usize].enter(work)
    }

    /// Runs a command in the namespace under test.
    ///
    /// # Panics
    ///
    /// Where the command cannot be started.
    pub fn run_under_test(&self, argv: &[&str]) -> Output {
        self.namespaces[0].run(argv, "")
    }

    /// Loads nft text in the namespace under test.
    ///
    /// # Errors
    ///
    /// The beginning of nft's standard error.
    pub fn load(&self, ruleset: &str) -> Result<(), String> {
        self.namespaces[0].succeed(&["nft", "-f", "-"], ruleset)
    }

    /// Loads nft JSON in the namespace under test.
    ///
    /// # Errors
    ///
    /// As `load`.
    pub fn load_json(&self, ruleset: &str) -> Result<(), String> {
        self.namespaces[0].succeed(&["nft", "-j", "-f", "-"], ruleset)
    }

    /// Asks nft and the kernel whether they would take nft text, without loading it.
    ///
    /// # Errors
    ///
    /// As `load`.
    pub fn check(&self, ruleset: &str) -> Result<(), String> {
        self.namespaces[0].succeed(&["nft", "-c", "-f", "-"], ruleset)
    }

    /// Asks nft and the kernel whether they would take nft JSON, without loading it.
    ///
    /// # Errors
    ///
    /// As `load`.
    pub fn check_json(&self, ruleset: &str) -> Result<(), String> {
        self.namespaces[0].succeed(&["nft", "-j", "-c", "-f", "-"], ruleset)
    }

    /// Returns the packets of every named counter under test, by name.
    ///
    /// Read from nft's text, which says no less than its JSON and needs no crate to read.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        counters_of(&self.namespaces[0])
    }

    /// Sends one probe and returns what became of it.
    pub fn probe(&self, probe: &Probe) -> Verdict {
        self.probe_all(slice::from_ref(probe))[0]
    }

    /// Sends all probes in order, then waits once for those without an answer.
    ///
    /// A probe with a fresh source port is a new flow to conntrack. Where one of the batch fixes
    /// its source port or has none, conntrack is flushed first; within the batch it is
    /// not, so that a probe can be the reply to an earlier one.
    ///
    /// A flood of accepted packets from elsewhere may overflow the sockets that listen, and so make
    /// accepted probes look dropped; one that is denied does no harm.
    ///
    /// # Panics
    ///
    /// Where a probe does not fit the topology, or cannot be sent.
    pub fn probe_all(&self, probes: &[Probe]) -> Vec<Verdict> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if probes.iter().any(|probe| probe.sport.is_some() || matches!(probe.proto, Proto::Portless(_))) {
            self.namespaces[0].enter(namespace::flush_conntrack).expect("conntrack could not be flushed");
        }
        self.collect(0, &mut []); // what arrived since the last batch

        let count = u32::try_from(probes.len()).expect("fewer than 2^32 probes");
        let first = NEXT.fetch_add(count, Ordering::Relaxed);
        let mut verdicts = vec![Verdict::Drop; probes.len()];
        for (id, probe) in (first..).zip(probes) {
            self.sender(probe).send(probe, id);
            // The kernel drops what exceeds a receive buffer, some 270 small packets.
            if id % 32 == 0 {
                self.collect(first, &mut verdicts);
            }
        }
        let mut quiet = 0;
        while quiet < QUIET && verdicts.contains(&Verdict::Drop) {
            thread::sleep(Duration::from_millis(1));
            quiet = if self.collect(first, &mut verdicts) { 0 } else { quiet + 1 };
        }
        verdicts
    }

    /// Reads what arrived anywhere into the verdicts of the probes from the number `first` on.
    ///
    /// Again until nothing is new: an error may be read before the arrival that caused it. Returns whether anything
    /// was new.
    fn collect(&self, first: u32, verdicts: &mut [Verdict]) -> bool {
        let (mut is_new, mut was_new) = (true, false);
        while is_new {
            is_new = false;
            let taps = self.namespaces.iter().flat_map(|namespace| &namespace.taps);
            for (id, seen) in taps.flat_map(namespace::Tap::read) {
                let verdict = verdicts.get_mut(id.wrapping_sub(first) as usize);
                // An accepted packet to a closed port is answered with an error, too.
                if let Some(verdict) = verdict.filter(|it| **it != Verdict::Accept && **it != seen) {
                    *verdict = seen;
                    (is_new, was_new) = (true, true);
                }
            }
        }
        was_new
    }

    /// Returns who sends a probe so that it passes its hook under test.
    fn sender(&self, probe: &Probe) -> &Namespace {
        let side = match probe.hook {
            Hook::Input => Side::Outside,
            Hook::Output => Side::UnderTest,
            Hook::Forward if self.inside.iter().any(|prefix| contains(*prefix, probe.to)) => Side::Outside,
            Hook::Forward => Side::Inside,
        };
        let is_gateway = self.namespaces.len() > Side::Inside as usize;
        assert_eq!(is_gateway, probe.hook == Hook::Forward, "wrong topology for {probe:?}");
        &self.namespaces[side as usize]
    }
}

/// The packets of every named counter of a namespace, by name.
fn counters_of(namespace: &Namespace) -> BTreeMap<String, u64> {
    let output = namespace.run(&["nft", "list", "counters"], "");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut counters = BTreeMap::new();
    let mut name = None;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("counter ") {
            name = rest.strip_suffix(" {");
        } else if let (Some(name), Some(rest)) = (name, line.strip_prefix("packets ")) {
            let packets = rest.split(' ').next().and_then(|number| number.parse().ok());
            counters.insert(name.to_owned(), packets.expect("a number of packets"));
        }
    }
    counters
}

/// Writes the route to a prefix through the other end of a link.
fn via(prefix: &str, device: &str) -> String {
    match prefix.contains(':') {
        true => format!("route add {prefix} via fe80::1 dev {device}\n"),
        false => format!("route add {prefix} via 169.254.0.1 dev {device} onlink\n"),
    }
}

/// Writes the route that makes every address of a prefix one's own (AnyIP).
///
/// In the table `local`, the only one that the kernel asks about v4 sources; more specific routes
/// that except some addresses must be there, too, for it is asked first, and be added first, for
/// the next hop of a new route must not be one's own.
fn local(prefix: &str) -> String {
    format!("route add local {prefix} dev lo table local\n")
}

fn contains((network, length): (IpAddr, u8), address: IpAddr) -> bool {
    let bits = |address| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let differing = bits(network) ^ bits(address);
    network.is_ipv4() == address.is_ipv4() && differing.leading_zeros() >= u32::from(length)
}
