//! Adds connections to conntrack that are older than connection tracking.
//!
//! The numbers are those of the kernel's `nfnetlink_conntrack.h`, `nf_conntrack_common.h` and `nf_conntrack_tcp.h`.

use std::net::{IpAddr, SocketAddr};

use super::wire;
use crate::net::Transport;

/// The ends of an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEnds {
    /// TCP or UDP.
    pub transport: Transport,
    /// The end that opened it.
    pub from: SocketAddr,
    /// The other end, of the same family.
    pub to: SocketAddr,
}

/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`
const TUPLES: [u16; 2] = [1, 2];
/// `CTA_STATUS`
const STATUS: u16 = 3;
/// `CTA_PROTOINFO`
const PROTOCOL_STATE: u16 = 4;
/// `CTA_TIMEOUT`
const TIMEOUT: u16 = 7;
/// `CTA_TUPLE_IP`, and the source in it; the destination has the next number.
const ADDRESSES: u16 = 1;
const V4_SOURCE: u16 = 1;
const V6_SOURCE: u16 = 3;
/// `CTA_TUPLE_PROTO`, and the attributes in it.
const PROTOCOL: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_SOURCE_PORT: u16 = 2;
const PROTOCOL_DESTINATION_PORT: u16 = 3;
/// `CTA_PROTOINFO_TCP`, and the attributes in it.
const TCP: u16 = 1;
const TCP_STATE: u16 = 1;
const TCP_FLAGS: [u16; 2] = [4, 5];

/// `IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED`: rules find it established, a full table does not evict it, and without
/// the last one the kernel refuses the flow (EBUSY).
const ANSWERED: u32 = 0b1110;
/// `TCP_CONNTRACK_ESTABLISHED`
const ESTABLISHED: u8 = 3;
/// `IP_CT_TCP_FLAG_BE_LIBERAL`: the TCP windows are unknown, so no segment is out of window.
const LIBERAL: u8 = 0x08;

/// Timeouts in seconds, as the kernel's defaults: established TCP, and UDP with replies.
const TCP_SECONDS: u32 = 432_000;
const UDP_SECONDS: u32 = 120;

/// `AF_INET`, `AF_INET6`
const FAMILIES: [u8; 2] = [2, 10];

/// Writes the message.
pub fn push(bytes: &mut Vec<u8>, number: u32, flow: FlowEnds) {
    let family = if flow.from.is_ipv4() { FAMILIES[0] } else { FAMILIES[1] };
    // Without NLM_F_EXCL: a flow that is tracked already is changed.
    let flags = wire::ACKNOWLEDGE | wire::MAKE;
    wire::message_of(bytes, wire::ADD_FLOW, flags, number, (family, 0), |bytes| {
        for (kind, (from, to)) in TUPLES.into_iter().zip([(flow.from, flow.to), (flow.to, flow.from)]) {
            wire::nested(bytes, kind, |bytes| push_tuple(bytes, flow.transport, from, to));
        }
        wire::attribute(bytes, STATUS, &ANSWERED.to_be_bytes());
        let seconds = match flow.transport {
            Transport::Tcp => TCP_SECONDS,
            Transport::Udp | Transport::Sctp => UDP_SECONDS,
        };
        wire::attribute(bytes, TIMEOUT, &seconds.to_be_bytes());
        if flow.transport == Transport::Tcp {
            wire::nested(bytes, PROTOCOL_STATE, |bytes| {
                wire::nested(bytes, TCP, |bytes| {
                    wire::attribute(bytes, TCP_STATE, &[ESTABLISHED]);
                    for kind in TCP_FLAGS {
                        wire::attribute(bytes, kind, &[LIBERAL, LIBERAL]);
                    }
                });
            });
        }
    });
}

fn push_tuple(bytes: &mut Vec<u8>, transport: Transport, from: SocketAddr, to: SocketAddr) {
    wire::nested(bytes, ADDRESSES, |bytes| {
        for (step, address) in [from.ip(), to.ip()].into_iter().enumerate() {
            match address {
                IpAddr::V4(address) => wire::attribute(bytes, V4_SOURCE + step as u16, &address.octets()),
                IpAddr::V6(address) => wire::attribute(bytes, V6_SOURCE + step as u16, &address.octets()),
            }
        }
    });
    wire::nested(bytes, PROTOCOL, |bytes| {
        wire::attribute(bytes, PROTOCOL_NUMBER, &[transport.protocol().number()]);
        wire::attribute(bytes, PROTOCOL_SOURCE_PORT, &from.port().to_be_bytes());
        wire::attribute(bytes, PROTOCOL_DESTINATION_PORT, &to.port().to_be_bytes());
    });
}
