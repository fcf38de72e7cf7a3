//! Packets as people write them, and files of packets with their expected verdicts.

use std::net::IpAddr;
use std::str::FromStr;

use crate::diag::{Code, Problems, one_of};
use crate::net::{CtState, Family, Hook, Interface, Packet, Payload, PrefixSet, Protocol, Special, Transport, Verdict};
use crate::resolution::FormatVersion;
use crate::source::{Source, Spanned};
use crate::yaml::{Decode, by_word, number, read_as, record, scalar};

/// The default source port of a packet: no service has it.
pub const DEFAULT_SOURCE_PORT: u16 = 40_000;

by_word!(Hook, "Where packets are filtered.", &[Hook::Input, Hook::Output, Hook::Forward], Hook::name);
by_word!(CtState, "The conntrack state of a packet.", &STATES, CtState::name);
by_word!(Verdict, "What happens to a packet.", &[Verdict::Accept, Verdict::Drop, Verdict::Reject], Verdict::name);

const STATES: [CtState; 5] =
    [CtState::New, CtState::Established, CtState::Related, CtState::Invalid, CtState::Untracked];

/// A protocol, by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolNumber(pub u8);

impl FromStr for ProtocolNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Protocol::named(text).map(Protocol::number);
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        let number = named.or_else(|| plain.then(|| text.parse().ok()).flatten());
        number.map(ProtocolNumber).ok_or_else(Self::help)
    }
}

impl ProtocolNumber {
    fn help() -> String {
        let names = Protocol::ALL.map(Protocol::name);
        format!("{}, or a number from 0 to 255", one_of(&names))
    }
}

scalar!(ProtocolNumber, { "type": ["string", "integer"] }, "ProtocolNumber", |node, problems| {
    let help = ProtocolNumber::help();
    node.parsed("a protocol", (Code::UnknownValue, &help), problems, |text| text.parse().ok())
});

scalar!(Interface, { "type": "string", "minLength": 1, "maxLength": 15 }, "Interface", |node, problems| {
    let help = "its name as `ip link` shows it, at most 15 bytes";
    node.parsed("an interface", (Code::InvalidName, help), problems, |text| text.parse().ok())
});

number! {
    /// A port, 0 to 65535: a packet may have any.
    pub struct AnyPort(pub u16), 0 to 65535
}

number! {
    /// An ICMP type, 0 to 255.
    pub struct IcmpType(pub u8), 0 to 255
}

record! {
    /// A file of probes.
    pub struct ProbeFile {
        /// The version of the format: 1.
        pub version: FormatVersion,
        /// The probes.
        pub probes: Vec<Spanned<ProbeRow>>,
    }
}

record! {
    /// A packet and its expected verdict.
    pub struct ProbeRow {
        /// The expected verdict.
        pub expect: Verdict,
        /// The flow that must permit it.
        pub flow: Option<String>,
        /// Where it is filtered. Default: derived from the addresses.
        pub hook: Option<Hook>,
        /// The interface through which it arrives or leaves. Default: `lo` if both ends are certainly this host's own.
        pub interface: Option<Interface>,
        /// Its source address.
        pub from: IpAddr,
        /// Its destination address.
        pub to: IpAddr,
        /// Its protocol, by word or number.
        pub proto: ProtocolNumber,
        /// Its source port. Default: 40000, if the protocol has ports.
        pub sport: Option<AnyPort>,
        /// Its destination port; required with TCP, UDP and SCTP.
        pub dport: Option<AnyPort>,
        /// Its ICMP type. Default: echo request.
        pub icmp_type: Option<IcmpType>,
        /// Its conntrack state.
        pub state: CtState = CtState::New,
        /// Whether a TCP segment has ACK or RST set, so that it cannot open a connection. Default: unless the packet is new
        /// or untracked.
        pub ack: Option<bool>,
        /// A remark for people.
        pub note: Option<String>,
    }
}

impl ProbeFile {
    /// Reads a file of probes. Every problem is recorded; a file with any is not used.
    pub fn parse(source: &Source, problems: &mut Problems) -> Option<Self> {
        let node = read_as("a file of probes", &["version", "probes"], source, problems)?;
        let file = Self::decode(&node, problems).filter(|_| !problems.has_errors())?;
        if file.probes.is_empty() {
            problems.push(Code::EmptyList, node.span, "the file has no probes");
            return None;
        }
        Some(file)
    }
}

impl ProbeRow {
    /// The packet that the row describes.
    pub fn probe(&self) -> Probe {
        Probe {
            hook: self.hook,
            interface: self.interface,
            from: self.from,
            to: self.to,
            protocol: self.proto,
            sport: self.sport.map(|port| port.0),
            dport: self.dport.map(|port| port.0),
            icmp_type: self.icmp_type.map(|kind| kind.0),
            state: self.state,
            ack: self.ack,
        }
    }
}

/// A packet, as far as it was described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where it is filtered; derived from the addresses if not given.
    pub hook: Option<Hook>,
    /// Where it arrives or leaves; derived from the addresses if not given.
    pub interface: Option<Interface>,
    /// Source address.
    pub from: IpAddr,
    /// Destination address.
    pub to: IpAddr,
    /// Protocol.
    pub protocol: ProtocolNumber,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// ICMP type.
    pub icmp_type: Option<u8>,
    /// Its conntrack state.
    pub state: CtState,
    /// Whether a TCP segment has ACK or RST set; derived from the state if not given.
    pub ack: Option<bool>,
}

/// Where packets are filtered, from which their hooks are derived.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// On a host that has one of these addresses.
    Host(&'a PrefixSet),
    /// On a gateway.
    Gateway,
}

/// Why a probe does not describe a packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// One end is IPv4, the other IPv6.
    #[error("`{0}` and `{1}` are of different address families")]
    Families(IpAddr, IpAddr),
    /// TCP, UDP or SCTP without a destination port.
    #[error("a {0} packet needs a destination port")]
    NoPort(&'static str),
    /// A port, but a protocol without ports.
    #[error("protocol {0} has no ports")]
    Portless(u8),
    /// Flags, but a protocol without flags.
    #[error("protocol {0} has no ACK flag")]
    Flagless(u8),
    /// An ICMP type, but another protocol.
    #[error("protocol {0} has no ICMP type")]
    Typeless(u8),
    /// ICMP of the other family.
    #[error("these addresses need `{1}`, not `{0}`")]
    WrongIcmp(&'static str, &'static str),
    /// Both ends could be this host.
    #[error("both `{0}` and `{1}` could be this host (`networks.hosts`): give the hook, input or output")]
    BothHere(IpAddr, IpAddr),
    /// One end is a loopback address, and the other end may be this host or a neighbour.
    #[error(
        "`{0}` or `{1}` is a loopback address, and the other end may be this host or a neighbour: give the hook, or the interface"
    )]
    LoopbackEnd(IpAddr, IpAddr),
    /// An interface of a packet that passes two.
    #[error("a forwarded packet passes two interfaces, and no rule depends on them: leave the interface out")]
    Forwarded,
    /// Neither end can be this host.
    #[error("neither `{0}` nor `{1}` is in `networks.hosts`, so neither is known to be this host: give the hook")]
    NeitherHere(IpAddr, IpAddr),
}

fn is_to_many(address: IpAddr) -> bool {
    Special::of(address).is_some_and(Special::is_to_many)
}

impl Probe {
    /// The packet.
    ///
    /// # Errors
    /// What is missing, or does not fit.
    pub fn packet(&self, place: Place<'_>) -> Result<Packet, ProbeError> {
        let (from, to) = (self.from, self.to);
        if from.is_ipv4() != to.is_ipv4() {
            return Err(ProbeError::Families(from, to));
        }
        let hook = match (self.hook, place) {
            (Some(hook), _) => hook,
            (None, Place::Gateway) => Hook::Forward,
            (None, Place::Host(hosts)) => self.hook_on(hosts)?,
        };
        let interface = match self.interface {
            Some(_) if hook == Hook::Forward => return Err(ProbeError::Forwarded),
            Some(interface) => interface,
            None if self.stays_here(hook) => Interface::LOOPBACK,
            None => Interface::default(),
        };
        Ok(Packet { hook, interface, source: from, destination: to, payload: self.payload()?, state: self.state })
    }

    /// Where a host that has one of these addresses sees the packet.
    fn hook_on(&self, hosts: &PrefixSet) -> Result<Hook, ProbeError> {
        let (from, to) = (self.from, self.to);
        // Both directions through the loopback interface are treated alike.
        let inside = match self.interface {
            Some(interface) => interface == Interface::LOOPBACK,
            None => from == to || (from.is_loopback() && to.is_loopback()),
        };
        if inside {
            return Ok(Hook::Output);
        }
        match (hosts.contains(from), hosts.contains(to)) {
            // The other end may be this host or another one.
            _ if self.interface.is_none() && (from.is_loopback() || to.is_loopback()) => {
                Err(ProbeError::LoopbackEnd(from, to))
            }
            _ if to.is_loopback() => Ok(Hook::Input),
            _ if from.is_loopback() => Ok(Hook::Output),
            (true, true) => Err(ProbeError::BothHere(from, to)),
            // A packet to everyone, or to a group, may also be for this host.
            (true, false) if is_to_many(to) => Err(ProbeError::BothHere(from, to)),
            (false, false) if is_to_many(to) => Ok(Hook::Input),
            (true, false) => Ok(Hook::Output),
            (false, true) => Ok(Hook::Input),
            (false, false) => Err(ProbeError::NeitherHere(from, to)),
        }
    }

    /// Whether both ends are certainly this host's own, so that the packet goes through the loopback interface. One end
    /// is: where it is filtered says which. With `route_localnet`, a neighbour reaches 127.0.0.1, so an address of that
    /// kind says nothing of the other end.
    fn stays_here(&self, hook: Hook) -> bool {
        let other = match hook {
            Hook::Input | Hook::RawPrerouting => self.from,
            Hook::Output | Hook::RawOutput => self.to,
            Hook::Forward => return false,
        };
        other.is_loopback() || self.from == self.to
    }

    fn payload(&self) -> Result<Payload, ProbeError> {
        let ProtocolNumber(number) = self.protocol;
        let (own, other) = match Family::of(self.from) {
            Family::V4 => (Protocol::Icmp, Protocol::Icmpv6),
            Family::V6 => (Protocol::Icmpv6, Protocol::Icmp),
        };
        let transport = Transport::ALL.into_iter().find(|transport| transport.protocol().number() == number);
        if transport.is_none() && (self.sport.is_some() || self.dport.is_some()) {
            return Err(ProbeError::Portless(number));
        }
        if self.ack.is_some() && number != Protocol::Tcp.number() {
            return Err(ProbeError::Flagless(number));
        }
        if number != own.number() && number != other.number() && self.icmp_type.is_some() {
            return Err(ProbeError::Typeless(number));
        }
        if number == other.number() {
            return Err(ProbeError::WrongIcmp(other.name(), own.name()));
        }
        if number == own.number() {
            let request = if own == Protocol::Icmp { 8 } else { 128 };
            return Ok(Payload::Icmp { kind: self.icmp_type.unwrap_or(request) });
        }
        let Some(transport) = transport else { return Ok(Payload::Other(number)) };
        let (sport, dport) =
            (self.sport.unwrap_or(DEFAULT_SOURCE_PORT), self.dport.ok_or(ProbeError::NoPort(transport.name()))?);
        // In a connection that conntrack has seen, the opening segment has passed.
        let opens = !self.ack.unwrap_or(!matches!(self.state, CtState::New | CtState::Untracked));
        Ok(match transport {
            Transport::Tcp => Payload::Tcp { sport, dport, opens },
            _ => Payload::opening(transport, sport, dport),
        })
    }
}
