//! Writes probes as packets and recognises them, and the answers to them, on arrival.
//!
//! Each carries its number where an ICMP error quotes it and no checksum or NAT touches it: TCP in
//! the sequence number, SCTP in the tag, the others in the payload.

use std::net::IpAddr;

use super::{Probe, Proto, Verdict};

const ICMP: u8 = 1;
const IPIP: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMPV6: u8 = 58;

/// The header of a v4 packet without payload (protocol 59), up to its destination.
const EMPTY_V4: [u8; 16] = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 192, 0, 2, 1];

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const SYN_ACK: u8 = SYN | ACK;

/// Writes a probe with its IP header.
///
/// Checksums are right: conntrack calls others invalid. The kernel fills in that of the outer v4
/// header.
pub fn packet(probe: &Probe, sport: u16, id: u32) -> Vec<u8> {
    let (sport, id) = (sport.to_be_bytes(), id.to_be_bytes());
    let ports = [sport, probe.dport.to_be_bytes()].concat();
    let (protocol, mut body) = match (probe.proto, probe.from) {
        (Proto::Tcp | Proto::TcpReply, _) => {
            let flags = if probe.proto == Proto::Tcp { SYN } else { SYN_ACK };
            let rest = [5 << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0];
            (TCP, [&ports, &id[..], &[0; 4], &rest].concat())
        }
        (Proto::Udp, _) => (UDP, [&ports, &[0, 12, 0, 0][..], &id].concat()),
        (Proto::IcmpEcho, IpAddr::V4(_)) => (ICMP, [&[8, 0, 0, 0], &sport[..], &[0, 1], &id].concat()),
        (Proto::IcmpEcho, IpAddr::V6(_)) => (ICMPV6, [&[128, 0, 0, 0], &sport[..], &[0, 1], &id].concat()),
        // The header of an empty packet, its destination the number. Like the other protocols, and
        // unlike most packets of a tunnel, it has a right checksum over all: without that the kernel
        // sends no ICMP error from input and forward.
        (Proto::Portless(IPIP), _) => (IPIP, [&EMPTY_V4[..], &id].concat()),
        (Proto::Portless(number), _) => (number, [&[0; 16][..], &id].concat()),
        // A common header without tag, and a chunk INIT with the number as its tag (RFC 9260 section 3.3.2).
        (Proto::Sctp, _) => {
            let rest = [0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1];
            (SCTP, [&ports, &[0; 8][..], &[1, 0, 0, 20], &id, &rest].concat())
        }
    };
    let length = body.len() as u16;
    let (header, addresses) = match (probe.from, probe.to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = u16::to_be_bytes(20 + length);
            let start = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
            (start.to_vec(), [from.octets(), to.octets()].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = length.to_be_bytes();
            let start = [0x60, 0, 0, 0, high, low, protocol, 64];
            (start.to_vec(), [from.octets(), to.octets()].concat())
        }
        _ => panic!("{probe:?} mixes families"),
    };
    if protocol == SCTP {
        let sum = crc32c(&body).to_le_bytes();
        body[8..12].copy_from_slice(&sum);
        return [header, addresses, body].concat();
    }
    let field = match protocol {
        TCP => 16,
        UDP => 6,
        ICMP | ICMPV6 => 2,
        _ => 10,
    };
    let [high, low] = length.to_be_bytes();
    let pseudo_header = match (protocol, probe.from) {
        (ICMP, _) => Vec::new(),
        // As the kernel looks at protocols that it does not know.
        (_, IpAddr::V4(_)) if ![TCP, UDP].contains(&protocol) => Vec::new(),
        _ => [&addresses, &[0, protocol, high, low][..]].concat(),
    };
    let sum = match checksum(&[pseudo_header, body.clone()].concat()) {
        0 => 0xffff, // as good, and UDP reads zero as none
        sum => sum,
    };
    body[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    [header, addresses, body].concat()
}

/// Tells which probe a packet is or answers, and what that means for the probe.
pub fn recognise(protocol: u8, payload: &[u8]) -> Option<(u32, Verdict)> {
    let accepted = || Some((number(protocol, payload)?, Verdict::Accept));
    let rejected = |id| Some((id, Verdict::Reject));
    match (protocol, *payload.first()?) {
        (TCP, _) => match *payload.get(13)? & (SYN | RST | ACK) {
            // Those of real sockets begin with a random number, hardly ever that of a probe at work.
            SYN | SYN_ACK => accepted(),
            // A reset acknowledges the SYN that it answers: its sequence number plus one.
            flags if flags & RST != 0 => rejected(word(payload, 8)?.wrapping_sub(1)),
            _ => None,
        },
        (ICMP, 8) | (ICMPV6, 128) => accepted(),
        // Destination unreachable quotes the packet that it answers, with its IP header.
        (ICMP, 3) => {
            let quoted = payload.get(8..)?;
            rejected(number(*quoted.get(9)?, v4_payload(quoted)?)?)
        }
        (ICMPV6, 1) => {
            let quoted = payload.get(8..)?;
            rejected(number(*quoted.get(6)?, quoted.get(40..)?)?)
        }
        (ICMP | ICMPV6, _) => None,
        _ => accepted(),
    }
}

/// Returns what follows a v4 header.
pub fn v4_payload(packet: &[u8]) -> Option<&[u8]> {
    packet.get(usize::from(packet.first()? & 0x0f) * 4..)
}

/// Returns the number that a probe carries.
fn number(protocol: u8, payload: &[u8]) -> Option<u32> {
    let at = match protocol {
        TCP => 4,
        UDP | ICMP | ICMPV6 => 8,
        _ => 16,
    };
    word(payload, at)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(word))
}

/// The checksum of SCTP (RFC 9260 appendix A): a reflected CRC.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// The internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2);
    let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
