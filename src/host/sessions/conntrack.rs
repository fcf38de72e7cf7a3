//! The flows that conntrack tracks: `/proc/net/nf_conntrack` (kernel, net/netfilter/nf_conntrack_standalone.c).

use std::iter::Peekable;
use std::net::IpAddr;
use std::path::Path;
use std::str::SplitAsciiWhitespace;

use super::{SessionsError, lines};

/// A flow in both directions, which differ by NAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedFlow {
    /// The protocol number (IANA).
    pub protocol: u8,
    /// The direction of its first packet.
    pub original: Tuple,
    /// The direction of the replies.
    pub reply: Tuple,
    /// Whether a reply was seen: only then do rules find the flow `established`.
    pub replied: bool,
    /// Whether it is an open TCP connection, neither opening nor closing.
    pub tcp_established: bool,
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// The source of its packets.
    pub source: IpAddr,
    /// Their destination.
    pub destination: IpAddr,
    /// Source and destination port, where the protocol has ports.
    pub ports: Option<(u16, u16)>,
}

/// Reads the file in a folder.
pub fn read(folder: &Path) -> Result<Option<Vec<TrackedFlow>>, SessionsError> {
    lines(&folder.join("nf_conntrack"), |_, line| flow(line))
}

/// Reads a line: family, protocol, seconds left, state, and the two directions, each with its attributes.
fn flow(line: &str) -> Option<TrackedFlow> {
    let mut words = line.split_ascii_whitespace().peekable();
    let is_v4 = match (words.next()?, words.next()?) {
        ("ipv4", "2") => true,
        ("ipv6", "10") => false,
        _ => return None,
    };
    let (name, protocol) = (words.next()?, words.next()?.parse().ok()?);
    // An offloaded flow has neither, and is open. GRE also has `timeout=30, stream_timeout=180`.
    let before: Vec<&str> = std::iter::from_fn(|| words.next_if(|word| !word.starts_with("src="))).collect();
    let original = tuple(&mut words, is_v4)?;
    let unreplied = words.clone().any(|word| word == "[UNREPLIED]");
    while words.peek().is_some_and(|word| !word.starts_with("src=")) {
        words.next();
    }
    let reply = tuple(&mut words, is_v4)?;
    // The last word of a line is the reference count, which a truncated line lacks.
    words.last()?.strip_prefix("use=")?.parse::<u32>().ok()?;
    let is_offloaded = before.is_empty();
    let tcp_established = name == "tcp" && (is_offloaded || before.contains(&"ESTABLISHED"));
    Some(TrackedFlow { protocol, original, reply, replied: !unreplied, tcp_established })
}

/// Reads `src=… dst=…`, and the ports where they follow.
fn tuple(words: &mut Peekable<SplitAsciiWhitespace<'_>>, is_v4: bool) -> Option<Tuple> {
    let mut address = |key| {
        let address: IpAddr = words.next()?.strip_prefix(key)?.parse().ok()?;
        (address.is_ipv4() == is_v4).then_some(address)
    };
    let (source, destination) = (address("src=")?, address("dst=")?);
    let ports = match words.next_if(|word| word.starts_with("sport=")) {
        Some(word) => {
            let destination = words.next()?.strip_prefix("dport=")?;
            Some((word.strip_prefix("sport=")?.parse().ok()?, destination.parse().ok()?))
        }
        None => None,
    };
    Some(Tuple { source, destination, ports })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.18 prints them, with other addresses; the last three with accounting, zones and offload.
    const TEXT: &str = "\
ipv4     2 unknown  4 599 src=10.0.0.5 dst=10.0.0.9 [UNREPLIED] src=10.0.0.9 dst=10.0.0.5 mark=0 zone=0 use=2
ipv4     2 gre      47 30 timeout=30, stream_timeout=180 src=10.0.0.5 dst=10.0.0.9 srckey=0x0 dstkey=0x0 [UNREPLIED] src=10.0.0.9 dst=10.0.0.5 srckey=0x0 dstkey=0x0 mark=0 zone=0 use=2
ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.9 dst=10.0.0.5 sport=48182 dport=2222 src=172.20.0.7 dst=10.0.0.9 sport=22 dport=48182 [ASSURED] mark=0 zone=0 use=2
ipv4     2 tcp      6 119 SYN_SENT src=10.0.0.5 dst=10.0.0.9 sport=48183 dport=443 [UNREPLIED] src=10.0.0.9 dst=10.0.0.5 sport=443 dport=48183 mark=0 zone=0 use=2
ipv4     2 tcp      6 119 TIME_WAIT src=10.0.0.5 dst=10.0.0.9 sport=48184 dport=443 src=10.0.0.9 dst=10.0.0.5 sport=443 dport=48184 [ASSURED] mark=0 zone=0 use=2
ipv4     2 icmp     1 29 src=10.0.0.5 dst=10.0.0.9 type=8 code=0 id=1 src=10.0.0.9 dst=10.0.0.5 type=0 code=0 id=1 mark=0 zone=0 use=2
ipv6     10 tcp      6 431999 ESTABLISHED src=2001:0db8:0000:0000:0000:0000:0000:0005 dst=2001:0db8:0000:0000:0000:0000:0000:0009 sport=41644 dport=443 src=2001:0db8:0000:0000:0000:0000:0000:0009 dst=2001:0db8:0000:0000:0000:0000:0000:0005 sport=443 dport=41644 [ASSURED] mark=0 zone=0 use=2
ipv4     2 udp      17 30 src=10.0.0.5 dst=10.0.0.53 sport=35588 dport=53 packets=1 bytes=29 [UNREPLIED] src=10.0.0.53 dst=10.0.0.5 sport=53 dport=35588 packets=0 bytes=0 mark=0 zone=0 use=2
ipv4     2 udp      17 30 src=10.0.0.5 dst=10.0.0.53 sport=35589 dport=53 zone-orig=7 packets=1 bytes=29 src=10.0.0.53 dst=10.0.0.5 sport=53 dport=35589 packets=1 bytes=45 mark=0 delta-time=4 use=2
ipv4     2 tcp      6 src=10.0.0.5 dst=10.0.0.9 sport=48185 dport=443 src=10.0.0.9 dst=10.0.0.5 sport=443 dport=48185 [OFFLOAD] mark=0 zone=0 use=3
";

    fn shown(Tuple { source, destination, ports }: &Tuple) -> String {
        match ports {
            Some((sport, dport)) => format!("{source}:{sport} {destination}:{dport}"),
            None => format!("{source} {destination}"),
        }
    }

    #[test]
    fn flows_have_two_directions() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        std::fs::write(folder.path().join("nf_conntrack"), TEXT).unwrap();
        let flows = read(folder.path()).unwrap().unwrap();
        let flows: Vec<String> = flows
            .iter()
            .map(|flow| {
                let marks = [(flow.replied, " replied"), (flow.tcp_established, " open")];
                let marks: String = marks.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect();
                format!("{}: {}, {}{marks}", flow.protocol, shown(&flow.original), shown(&flow.reply))
            })
            .collect();
        let expected = [
            "4: 10.0.0.5 10.0.0.9, 10.0.0.9 10.0.0.5",
            "47: 10.0.0.5 10.0.0.9, 10.0.0.9 10.0.0.5",
            "6: 10.0.0.9:48182 10.0.0.5:2222, 172.20.0.7:22 10.0.0.9:48182 replied open",
            "6: 10.0.0.5:48183 10.0.0.9:443, 10.0.0.9:443 10.0.0.5:48183",
            "6: 10.0.0.5:48184 10.0.0.9:443, 10.0.0.9:443 10.0.0.5:48184 replied",
            "1: 10.0.0.5 10.0.0.9, 10.0.0.9 10.0.0.5 replied",
            "6: 2001:db8::5:41644 2001:db8::9:443, 2001:db8::9:443 2001:db8::5:41644 replied open",
            "17: 10.0.0.5:35588 10.0.0.53:53, 10.0.0.53:53 10.0.0.5:35588",
            "17: 10.0.0.5:35589 10.0.0.53:53, 10.0.0.53:53 10.0.0.5:35589 replied",
            "6: 10.0.0.5:48185 10.0.0.9:443, 10.0.0.9:443 10.0.0.5:48185 replied open",
        ];
        assert_eq!(flows, expected);
    }

    #[test]
    fn no_line_is_skipped() {
        let good = TEXT.lines().nth(2).unwrap();
        assert!(flow(good).is_some());
        let broken = [
            "",
            "nonsense",
            &good.replace("ipv4     2", "ipv4     10"),
            &good.replace("ipv4     2", "ipv6     10"),
            &good.replace("ipv4     2", "arp     3"),
            &good.replace("tcp      6", "tcp      256"),
            &good.replace("src=10.0.0.9", "src=10.0.0"),
            &good.replace("dst=10.0.0.9", "dst=::1"),
            &good.replace("dport=2222", ""),
            &good.replace("sport=22 ", "sport=65536 "),
            &good.replace("src=172.20.0.7", ""),
            &good[..good.len() - 6],
        ];
        for line in broken {
            assert_eq!(flow(line), None, "{line}");
        }
    }
}
