//! Tables of probes, as text that reads like one.
//!
//! ```text
//! tcp/10250,10255   192.168.0.0,192.168.255.255 -> host   accept kubelet   # a comment
//! udp/67>68         10.0.0.1 -> host                      accept dhcp
//! vrrp              10.0.0.2 -> host                      accept vrrp-in
//! icmp              host -> 203.0.113.7                   reject
//! ```
//!
//! The columns: traffic, who sends, who receives, the verdict, and what counts the packet, which is a flow, `denied` or
//! `invalid`. Nothing there means that nothing counts an accepted packet, and `denied` counts any other. A row with
//! commas stands for all combinations within a family. `67>68` fixes the source port. `tcp-reply` is a SYN with ACK,
//! and `host` the host under test in the family of the other end. A comment on the line of a row is its note.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::netns::{Hook, PORTLESS, Probe, Proto, Topology, Verdict};

/// The addresses of the host under test.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// Its v4 address.
    pub v4: Ipv4Addr,
    /// Its v6 address.
    pub v6: Ipv6Addr,
}

/// A probe and its expected verdict.
#[derive(Clone, Debug)]
pub struct Row {
    /// The packet.
    pub probe: Probe,
    /// Its verdict.
    pub verdict: Verdict,
    /// The flow that permits it, where one does.
    pub flow: Option<String>,
    /// The named counter that counts it.
    pub counter: Option<String>,
    /// What it shows, where the table says so.
    pub note: String,
}

/// Reads a table; without a host all packets are forwarded.
///
/// # Panics
///
/// Where a line is none of a table, or conntrack would take a probe for a part of an earlier one.
pub fn parse(text: &str, host: Option<Host>) -> Vec<Row> {
    let lines = text.lines().map(|line| line.split_once('#').unwrap_or((line, "")));
    let rows: Vec<Row> = lines
        .filter(|(columns, _)| !columns.trim().is_empty())
        .flat_map(|(columns, note)| {
            parse_row(columns, note.trim(), host).unwrap_or_else(|| panic!("no row of probes: {columns}"))
        })
        .collect();
    let mut flows = Flows::default();
    for row in &rows {
        assert!(flows.begins(&row.probe), "conntrack knows {} from an earlier row", row.probe);
    }
    rows
}

fn parse_row(columns: &str, note: &str, host: Option<Host>) -> Option<Vec<Row>> {
    let words: Vec<&str> = columns.split_whitespace().collect();
    let &[traffic, from, "->", to, verdict, ref rest @ ..] = &words[..] else { return None };
    let verdict = match verdict {
        "accept" => Verdict::Accept,
        "drop" => Verdict::Drop,
        "reject" => Verdict::Reject,
        _ => return None,
    };
    let hook = match (from, to) {
        (_, "host") => Hook::Input,
        ("host", _) => Hook::Output,
        _ => Hook::Forward,
    };
    let (flow, structural) = match *rest {
        [] => (None, (verdict != Verdict::Accept).then_some("denied")),
        [word @ ("denied" | "invalid")] => (None, Some(word)),
        [flow] => (Some(flow.to_owned()), None),
        _ => return None,
    };
    let counter = match (&flow, structural) {
        (Some(flow), _) => Some(format!("flow_{flow}")),
        (None, Some(word)) => Some(format!("{word}_{}", hook_name(hook))),
        (None, None) => None,
    };
    let mut rows = Vec::new();
    for (from, to) in ends(from, to, host)? {
        for (proto, sport, dport) in parse_traffic(traffic)? {
            let probe = Probe { hook, proto, from, to, dport, sport };
            let (flow, counter, note) = (flow.clone(), counter.clone(), note.to_owned());
            rows.push(Row { probe, verdict, flow, counter, note });
        }
    }
    (!rows.is_empty()).then_some(rows)
}

/// Every pair of addresses of one family.
fn ends(from: &str, to: &str, host: Option<Host>) -> Option<Vec<(IpAddr, IpAddr)>> {
    let addresses = |words: &str| -> Option<Vec<IpAddr>> {
        match words {
            "host" => host.map(|host| vec![host.v4.into(), host.v6.into()]),
            _ => words.split(',').map(|word| word.parse().ok()).collect(),
        }
    };
    let (from, to) = (addresses(from)?, addresses(to)?);
    let pairs = from.iter().flat_map(|from| to.iter().map(|to| (*from, *to)));
    Some(pairs.filter(|(from, to)| from.is_ipv4() == to.is_ipv4()).collect())
}

/// Protocol, source port and destination port.
fn parse_traffic(text: &str) -> Option<Vec<(Proto, Option<u16>, u16)>> {
    let Some((word, ports)) = text.split_once('/') else {
        let portless = |word| match word {
            "icmp" => Some(Proto::IcmpEcho),
            _ => Some(Proto::Portless(PORTLESS.into_iter().find(|(name, _)| *name == word)?.1)),
        };
        return text.split(',').map(|word| Some((portless(word)?, None, 0))).collect();
    };
    let proto = match word {
        "tcp" => Proto::Tcp,
        "tcp-reply" => Proto::TcpReply,
        "udp" => Proto::Udp,
        "sctp" => Proto::Sctp,
        _ => return None,
    };
    let port = |text: &str| match text.split_once('>') {
        Some((sport, dport)) => Some((proto, Some(sport.parse().ok()?), dport.parse().ok()?)),
        None => Some((proto, None, text.parse().ok()?)),
    };
    ports.split(',').map(port).collect()
}

/// The flows that the probes of a batch begin, as conntrack distinguishes them.
///
/// A probe between the ends of an earlier one may look like a part of its flow, and be accepted for that.
#[derive(Default)]
pub struct Flows(BTreeSet<(u8, [(IpAddr, u16); 2])>);

impl Flows {
    /// Adds a probe; tells whether it begins a flow of its own.
    pub fn begins(&mut self, probe: &Probe) -> bool {
        let (protocol, sport, dport) = match (probe.proto, probe.sport) {
            (Proto::Portless(number), _) => (number, 0, 0),
            // The harness takes a fresh one.
            (_, None) => return true,
            (Proto::IcmpEcho, Some(identifier)) => (1, identifier, identifier),
            (Proto::Tcp | Proto::TcpReply, Some(sport)) => (6, sport, probe.dport),
            (Proto::Udp, Some(sport)) => (17, sport, probe.dport),
            (Proto::Sctp, Some(sport)) => (132, sport, probe.dport),
        };
        let mut ends = [(probe.from, sport), (probe.to, dport)];
        ends.sort_unstable();
        self.0.insert((protocol, ends))
    }
}

/// Sends all rows in one batch and describes those whose verdict is another than theirs.
pub fn surprises(topology: &Topology, rows: &[Row]) -> Vec<String> {
    let probes: Vec<Probe> = rows.iter().map(|row| row.probe).collect();
    let verdicts = topology.probe_all(&probes);
    let wrong = rows.iter().zip(verdicts).filter(|(row, seen)| row.verdict != *seen);
    wrong.map(|(row, seen)| format!("{}: {:?} expected, {seen:?} seen", row.probe, row.verdict)).collect()
}

/// How many rows each named counter has to count.
pub fn counted(rows: &[Row]) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for counter in rows.iter().filter_map(|row| row.counter.clone()) {
        *counters.entry(counter).or_default() += 1;
    }
    counters
}

fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Input => "input",
        Hook::Output => "output",
        Hook::Forward => "forward",
    }
}

impl fmt::Display for Probe {
    /// `in  tcp  192.168.0.9 → 10.0.0.20:10250`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hook = match self.hook {
            Hook::Input => "in",
            Hook::Output => "out",
            Hook::Forward => "fwd",
        };
        let proto = match self.proto {
            Proto::Tcp => "tcp",
            Proto::TcpReply => "tcp-reply",
            Proto::Udp => "udp",
            Proto::IcmpEcho => "icmp",
            Proto::Sctp => "sctp",
            Proto::Portless(number) => {
                PORTLESS.iter().find(|(_, other)| *other == number).map_or("?", |(name, _)| name)
            }
        };
        write!(f, "{hook:<3} {proto:<4} ")?;
        match self.sport {
            Some(sport) => write!(f, "{}", SocketAddr::new(self.from, sport))?,
            None => write!(f, "{}", self.from)?,
        }
        match self.proto {
            Proto::IcmpEcho | Proto::Portless(_) => write!(f, " → {}", self.to),
            _ => write!(f, " → {}", SocketAddr::new(self.to, self.dport)),
        }
    }
}
