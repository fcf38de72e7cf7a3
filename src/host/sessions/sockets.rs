//! The kernel's lists of sockets: `/proc/net/tcp`, `tcp6`, `udp`, `udp6` (kernel documentation, proc_net_tcp).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;

use super::{LiveConnection, SessionsError, Sockets, lines, plain};
use crate::net::Transport;

/// `TCP_ESTABLISHED` of the kernel (include/net/tcp_states.h); connected UDP sockets have it, too.
const ESTABLISHED: u8 = 1;
/// `TCP_CLOSE`: a UDP socket without a peer.
const CLOSE: u8 = 7;
/// `TCP_LISTEN`.
const LISTEN: u8 = 10;

/// The default ports of mosh-server (its manual page, option `-p`).
const MOSH: RangeInclusive<u16> = 60000..=61000;

/// The files, and the protocol of their sockets.
const FILES: [(&str, Transport); 4] =
    [("tcp", Transport::Tcp), ("tcp6", Transport::Tcp), ("udp", Transport::Udp), ("udp6", Transport::Udp)];

/// How a number is laid out in memory: addresses are printed as native numbers of four bytes.
pub type ByteOrder = fn(u32) -> [u8; 4];

/// A line of one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    local: SocketAddr,
    peer: SocketAddr,
    state: u8,
}

/// Reads the files in a folder.
pub fn read(folder: &Path, order: ByteOrder) -> Result<Sockets, SessionsError> {
    let (mut seen, mut unseen) = (Vec::new(), Vec::new());
    for (name, transport) in FILES {
        match rows(&folder.join(name), order)? {
            Some(rows) => seen.push((name, transport, rows)),
            None => unseen.push(name),
        }
    }
    // A kernel without IPv6 has none of its files, and no such sockets.
    if !seen.is_empty() && std::fs::symlink_metadata(folder.join("if_inet6")).is_err_and(is_absent) {
        unseen.retain(|name| !name.ends_with('6') || std::fs::symlink_metadata(folder.join(name)).is_ok());
    }
    Ok(Sockets { unseen, ..sorted(&seen) })
}

fn is_absent(error: std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

/// Reads a file; `None` where it lacks even its heading, because something else is mounted over it.
fn rows(path: &Path, order: ByteOrder) -> Result<Option<Vec<Row>>, SessionsError> {
    let rows = lines(path, |index, line| match index {
        0 => line.contains("local_address").then_some(None),
        _ => row(line, order).map(Some),
    })?;
    Ok(rows.filter(|rows| !rows.is_empty()).map(|rows| rows.into_iter().flatten().collect()))
}

/// Reads a line: slot, local end, remote end, state, and more fields.
fn row(line: &str, order: ByteOrder) -> Option<Row> {
    let mut words = line.split_ascii_whitespace();
    let slot = words.next()?.strip_suffix(':')?;
    let (local, peer) = (end(words.next()?, order)?, end(words.next()?, order)?);
    let state = hexadecimal(words.next()?, 2)?;
    let is_whole = slot.bytes().all(|byte| byte.is_ascii_digit()) && words.count() >= 6;
    is_whole.then_some(Row { local, peer, state: u8::try_from(state).ok()? })
}

/// Reads `0100007F:0016`; an IPv6 address is four such numbers in a row.
fn end(word: &str, order: ByteOrder) -> Option<SocketAddr> {
    let (address, port) = word.split_once(':')?;
    let port = u16::try_from(hexadecimal(port, 4)?).ok()?;
    let bytes = |at: usize| Some(order(hexadecimal(address.get(at * 8..at * 8 + 8)?, 8)?));
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(bytes(0)?).into(),
        32 => {
            let words = [bytes(0)?, bytes(1)?, bytes(2)?, bytes(3)?].map(u32::from_be_bytes);
            let number = words.iter().fold(0, |number, word| number << 32 | u128::from(*word));
            Ipv6Addr::from(number).into()
        }
        _ => return None,
    };
    Some(plain(address, port))
}

fn hexadecimal(text: &str, digits: usize) -> Option<u32> {
    let is_plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_plain.then(|| u32::from_str_radix(text, 16).ok())?
}

/// Sorts the sockets into connections, listeners and possible mosh servers.
fn sorted(seen: &[(&'static str, Transport, Vec<Row>)]) -> Sockets {
    let rows = || seen.iter().flat_map(|(name, transport, rows)| rows.iter().map(|row| (*name, *transport, *row)));
    let listening: Vec<SocketAddr> = rows()
        .filter(|(_, transport, row)| *transport == Transport::Tcp && row.state == LISTEN)
        .map(|(.., row)| row.local)
        .collect();
    let ports: BTreeSet<u16> = listening.iter().map(SocketAddr::port).collect();
    // In any state: one end may be closing while the other is still established.
    let ends: BTreeSet<(Transport, SocketAddr, SocketAddr)> =
        rows().map(|(_, transport, row)| (transport, row.local, row.peer)).collect();
    let connection = |(source, transport, Row { local, peer, .. }): (&'static str, Transport, Row)| LiveConnection {
        local,
        peer,
        transport,
        inbound: (transport == Transport::Tcp).then(|| ports.contains(&local.port())),
        loopback: peer.ip().is_loopback() || peer.ip() == local.ip() || ends.contains(&(transport, peer, local)),
        source,
    };
    let connections = rows().filter(|(.., row)| row.state == ESTABLISHED).map(connection).collect();
    let is_open = |row: &Row| row.state == CLOSE && MOSH.contains(&row.local.port());
    let mosh = rows()
        .filter(|(_, transport, row)| *transport == Transport::Udp && is_open(row))
        .map(|(.., row)| row.local)
        .collect();
    Sockets { connections, listening, mosh, unseen: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.18 prints them on a little-endian host, without trailing spaces.
    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0500000A:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 163703 1 00000000d6492ad1 100 0 0 10 0
   1: 0100007F:C0A0 0100007F:08AE 01 00000000:00000000 00:00000000 00000000     0        0 163699 2 0000000032da1103 20 0 0 10 -1
   2: 0500000A:0016 0900000A:D872 01 00000000:00000000 00:00000000 00000000     0        0 163704 2 00000000aaaec768 20 0 0 10 -1
   3: 0500000A:D873 0900000A:0016 01 00000000:00000000 00:00000000 00000000     0        0 163705 1 000000009778b144 20 0 0 10 -1
   4: 0500000A:0016 0900000A:D874 06 00000000:00000000 03:00001770 00000000     0        0 0 3 00000000e1a5f1d3
   5: 0500000A:0016 0900000A:D875 08 00000000:00000001 00:00000000 00000000     0        0 163707 1 0000000001bb54a2 20 4 30 10 -1
";
    const TCP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:08AE 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 163698 1 00000000c26c315c 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:08AE 0000000000000000FFFF00000100007F:C0A0 01 00000000:00000000 00:00000000 00000000     0        0 163701 1 00000000bf059f30 20 0 0 10 -1
   2: B80D0120000000000000000005000000:08AE B80D0120000000000000000009EFCDAB:8736 01 00000000:00000000 00:00000000 00000000     0        0 163702 1 0000000069624545 20 0 0 10 -1
";
    const UDP: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 5843: 0100007F:14E9 00000000:0000 07 00000000:00000340 00:00000000 00000000     0        0 163706 2 00000000a0639462 0
11339: 00000000:EA61 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 163708 2 0000000047a1c436 0
12166: 0500000A:EA62 3500000A:0035 01 00000000:00000000 00:00000000 00000000     0        0 163707 2 00000000a3000a3d 0
";
    const UDP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
";

    /// A folder with files of these names and texts.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn sockets_are_sorted_by_their_state() {
        let folder = folder(&[("tcp", TCP), ("tcp6", TCP6), ("udp", UDP), ("udp6", UDP6)]);
        let sockets = read(folder.path(), u32::to_le_bytes).unwrap();
        let shown: Vec<String> = sockets
            .connections
            .iter()
            .map(|LiveConnection { local, peer, transport, inbound, loopback, source }| {
                format!("{source} {} {local} {peer} {inbound:?} {loopback}", transport.name())
            })
            .collect();
        let expected = [
            "tcp tcp 127.0.0.1:49312 127.0.0.1:2222 Some(false) true",
            "tcp tcp 10.0.0.5:22 10.0.0.9:55410 Some(true) false",
            "tcp tcp 10.0.0.5:55411 10.0.0.9:22 Some(false) false",
            "tcp6 tcp 127.0.0.1:2222 127.0.0.1:49312 Some(true) true",
            "tcp6 tcp [2001:db8::5]:2222 [2001:db8::abcd:ef09]:34614 Some(true) false",
            "udp udp 10.0.0.5:60002 10.0.0.53:53 None false",
        ];
        assert_eq!(shown, expected);
        assert_eq!(sockets.listening, ["10.0.0.5:22", "[::]:2222"].map(address));
        assert_eq!(sockets.mosh, ["0.0.0.0:60001"].map(address));
        assert_eq!(sockets.unseen, [""; 0]);
        assert!(sockets.listens_on(22) && !sockets.listens_on(23));
    }

    #[test]
    fn addresses_are_native_numbers() {
        assert_eq!(end("0100007F:0016", u32::to_le_bytes), Some(address("127.0.0.1:22")));
        assert_eq!(end("7F000001:0016", u32::to_be_bytes), Some(address("127.0.0.1:22")));
        let text = "20010DB8000000000000000000000005:01BB";
        assert_eq!(end(text, u32::to_be_bytes), Some(address("[2001:db8::5]:443")));
        assert_eq!(end("00000000000000000000FFFF0A000005:0016", u32::to_be_bytes), Some(address("10.0.0.5:22")));
    }

    #[test]
    fn two_ends_on_one_host_are_a_loopback_connection() {
        // Two addresses of the host: neither is a loopback address, and they are not the same.
        let line = |ends| format!("0: {ends} 00000000:00000000 00:00000000 00000000 0 0 1");
        let text = ["local_address", &line("0500000A:0016 0600000A:D872 01"), &line("0600000A:D872 0500000A:0016 04")];
        let folder = folder(&[("tcp", &text.join("\n"))]);
        let sockets = read(folder.path(), u32::to_le_bytes).unwrap();
        let [connection] = &sockets.connections[..] else { panic!("{sockets:?}") };
        assert!(connection.loopback, "{connection:?}");
    }

    #[test]
    fn a_hidden_file_is_unseen() {
        let whole = [("tcp", TCP), ("tcp6", TCP6), ("udp", UDP), ("udp6", UDP6), ("if_inet6", "")];
        let unseen = |files: &[(&str, &str)]| read(folder(files).path(), u32::to_le_bytes).unwrap().unseen;
        assert_eq!(unseen(&[]), ["tcp", "tcp6", "udp", "udp6"]);
        assert_eq!(unseen(&whole[2..]), ["tcp", "tcp6"]);
        assert_eq!(unseen(&[whole[0], whole[2], whole[4]]), ["tcp6", "udp6"]);
        // No IPv6 in the kernel.
        assert_eq!(unseen(&[whole[0], whole[2]]), [""; 0]);
        // Hidden by something empty.
        assert_eq!(unseen(&[("tcp", ""), whole[1], whole[2], ("udp6", "")]), ["tcp", "udp6"]);
    }

    #[test]
    fn no_line_is_skipped() {
        let good = TCP.lines().nth(2).unwrap();
        assert!(row(good, u32::to_le_bytes).is_some());
        let broken = [
            "",
            "nonsense",
            &good.replacen(':', "", 1),
            &good.replace("0100007F:C0A0", "0100007:C0A0"),
            &good.replace("0100007F:C0A0", "0100007F:C0A"),
            &good.replace("0100007F:C0A0", "+100007F:C0A0"),
            &good.replace("0100007F:C0A0", "0100007FC0A0"),
            &good.replace("0100007F:C0A0", "0100007F0100007F:C0A0"),
            &good.replace("0100007F:C0A0", "é00007F:C0A0"),
            &good.replace(" 01 ", " 1 "),
            &good.replace(" 01 ", " 0x "),
            &good[..60],
        ];
        for line in broken {
            assert_eq!(row(line, u32::to_le_bytes), None, "{line}");
            let folder = folder(&[("tcp", &format!("{}{line}\n", TCP))]);
            let error = read(folder.path(), u32::to_le_bytes).unwrap_err();
            assert!(matches!(error, SessionsError::Malformed { line: 8, .. }), "{error}");
        }
        let folder = folder(&[("tcp", good)]);
        assert!(matches!(read(folder.path(), u32::to_le_bytes), Err(SessionsError::Malformed { line: 1, .. })));
    }
}
