//! A packet as people write it, to be asked about, and files of packets with what is expected of them.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::diag::{Code, Problems, one_of};
use crate::net::{CtState, Family, Hook, Packet, Payload, PrefixSet, Protocol, Verdict};
use crate::resolution::FormatVersion;
use crate::source::{Source, Spanned};
use crate::yaml::{Decode, decode_number, read, record, scalar, words};

/// The source port of a packet of which none is said: one that no service has.
pub const USUAL_PORT: u16 = 40_000;

words! {
    /// A hook where packets are judged.
    pub enum HookWord {
        /// To a socket of this host.
        Input = "input",
        /// From a socket of this host.
        Output = "output",
        /// Through this host.
        Forward = "forward",
    }
}

impl From<HookWord> for Hook {
    fn from(word: HookWord) -> Self {
        match word {
            HookWord::Input => Hook::Input,
            HookWord::Output => Hook::Output,
            HookWord::Forward => Hook::Forward,
        }
    }
}

words! {
    /// What conntrack says of a packet.
    pub enum StateWord {
        /// It begins a flow.
        New = "new",
        /// It is of a flow that has been seen.
        Established = "established",
        /// It belongs to a flow that has been seen.
        Related = "related",
        /// It belongs to no flow.
        Invalid = "invalid",
        /// Conntrack has not seen it.
        Untracked = "untracked",
    }
}

impl From<StateWord> for CtState {
    fn from(word: StateWord) -> Self {
        match word {
            StateWord::New => CtState::New,
            StateWord::Established => CtState::Established,
            StateWord::Related => CtState::Related,
            StateWord::Invalid => CtState::Invalid,
            StateWord::Untracked => CtState::Untracked,
        }
    }
}

words! {
    /// What becomes of a packet.
    pub enum VerdictWord {
        /// It goes on.
        Accept = "accept",
        /// It vanishes.
        Drop = "drop",
        /// It vanishes, and the sender is told.
        Reject = "reject",
    }
}

impl From<VerdictWord> for Verdict {
    fn from(word: VerdictWord) -> Self {
        match word {
            VerdictWord::Accept => Verdict::Accept,
            VerdictWord::Drop => Verdict::Drop,
            VerdictWord::Reject => Verdict::Reject,
        }
    }
}

/// A protocol by its word or its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolNumber(pub u8);

/// What may be written for a protocol, besides its number.
const PROTOCOLS: [Protocol; 5] = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp, Protocol::Icmpv6, Protocol::Ipip];

impl FromStr for ProtocolNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = PROTOCOLS.into_iter().find(|protocol| protocol.name() == text).map(Protocol::number);
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        let number = named.or_else(|| plain.then(|| text.parse().ok()).flatten());
        let words: Vec<&str> = PROTOCOLS.iter().map(|protocol| protocol.name()).collect();
        number.map(ProtocolNumber).ok_or_else(|| format!("{}, or a number from 0 to 255", one_of(&words)))
    }
}

scalar!(ProtocolNumber, { "type": ["string", "integer"] }, "ProtocolNumber", |node, problems| {
    let (text, _) = node.scalar("a protocol", problems)?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(help) => {
            problems.push_with_help(Code::UnknownValue, node.span, format!("`{}` is not a protocol", text), help);
            None
        }
    }
});

/// A port, 0 to 65535: packets may carry any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyPort(pub u16);

scalar!(AnyPort, { "type": "integer", "minimum": 0, "maximum": 65535 }, "AnyPort", |node, problems| {
    decode_number(node, 0, 65535, problems).and_then(|port| port.try_into().ok()).map(AnyPort)
});

/// A type of ICMP messages, 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType(pub u8);

scalar!(IcmpType, { "type": "integer", "minimum": 0, "maximum": 255 }, "IcmpType", |node, problems| {
    decode_number(node, 0, 255, problems).and_then(|kind| kind.try_into().ok()).map(IcmpType)
});

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
    /// A packet, and what is expected of it.
    pub struct ProbeRow {
        /// What has to become of it.
        pub expect: VerdictWord,
        /// The flow that has to permit it.
        pub flow: Option<String>,
        /// Where it is judged. Default: told from the addresses.
        pub hook: Option<HookWord>,
        /// Its source address.
        pub from: IpAddr,
        /// Its destination address.
        pub to: IpAddr,
        /// Its protocol, by word or number.
        pub proto: ProtocolNumber,
        /// Its source port. Default: 40000.
        pub sport: Option<AnyPort>,
        /// Its destination port; required with TCP and UDP.
        pub dport: Option<AnyPort>,
        /// Its ICMP type. Default: echo request.
        pub icmp_type: Option<IcmpType>,
        /// What conntrack says of it. Default: new.
        pub state: Option<StateWord>,
        /// Whether a TCP segment has ACK or RST set, so that it opens nothing. Default: unless it is new or untracked.
        pub ack: Option<bool>,
        /// What it is for, for people.
        pub note: Option<String>,
    }
}

impl ProbeFile {
    /// Reads a file of probes; every problem is recorded, and a file with any is not used.
    pub fn parse(source: &Source, problems: &mut Problems) -> Option<Self> {
        let node = read(source, problems)?;
        let file = Self::decode(&node, problems).filter(|_| !problems.has_errors())?;
        if file.probes.is_empty() {
            problems.push(Code::EmptyList, node.span, "the file has no probe, and so would prove nothing");
            return None;
        }
        Some(file)
    }
}

impl ProbeRow {
    /// The packet that the row is about.
    pub fn probe(&self) -> Probe {
        Probe {
            hook: self.hook.map(Hook::from),
            from: self.from,
            to: self.to,
            protocol: self.proto,
            sport: self.sport.map(|port| port.0),
            dport: self.dport.map(|port| port.0),
            icmp_type: self.icmp_type.map(|kind| kind.0),
            state: self.state.map_or(CtState::New, CtState::from),
            ack: self.ack,
        }
    }
}

/// A packet as far as it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where it is judged; told from the addresses where it is not said.
    pub hook: Option<Hook>,
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
    /// What conntrack says of it.
    pub state: CtState,
    /// Whether a TCP segment has ACK or RST set; told from the state where it is not said.
    pub ack: Option<bool>,
}

/// Where packets are judged, which tells their hooks.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// On a host that has one of these addresses.
    Host(&'a PrefixSet),
    /// On a gateway.
    Gateway,
}

/// Why a probe is no packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// One end is IPv4, the other IPv6.
    #[error("`{0}` and `{1}` are of different families: no packet goes from one to the other")]
    Families(IpAddr, IpAddr),
    /// TCP or UDP without a destination port.
    #[error("a packet of {0} has a destination port: say which")]
    NoPort(&'static str),
    /// A port, and a protocol without.
    #[error("protocol {0} has no ports")]
    Portless(u8),
    /// Flags, and a protocol without.
    #[error("protocol {0} has no ACK")]
    Flagless(u8),
    /// A type, and a protocol without.
    #[error("protocol {0} has no ICMP type")]
    Typeless(u8),
    /// ICMP of the other family.
    #[error("{0} is not the ICMP of these addresses: it is {1}")]
    WrongIcmp(&'static str, &'static str),
    /// Both ends could be this host.
    #[error("by `networks.hosts`, both `{0}` and `{1}` could be this host: say the hook, input or output")]
    BothHere(IpAddr, IpAddr),
    /// Neither end can be this host.
    #[error("neither `{0}` nor `{1}` is among `networks.hosts`, so neither is known to be this host: say the hook")]
    NeitherHere(IpAddr, IpAddr),
}

/// Multicast, and IPv4's broadcast.
fn is_to_many(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

impl Probe {
    /// The packet, where it is clear which one is meant.
    ///
    /// # Errors
    /// Says what does not fit, or is missing.
    pub fn packet(&self, place: Place<'_>) -> Result<Packet, ProbeError> {
        let (from, to) = (self.from, self.to);
        if from.is_ipv4() != to.is_ipv4() {
            return Err(ProbeError::Families(from, to));
        }
        let loopback = from.is_loopback() || to.is_loopback() || from == to;
        let hook = match (self.hook, place) {
            (Some(hook), _) => hook,
            (None, Place::Gateway) => Hook::Forward,
            // Either way through the loopback interface fares alike.
            (None, Place::Host(_)) if loopback => Hook::Output,
            (None, Place::Host(hosts)) => match (hosts.contains(from), hosts.contains(to)) {
                (true, true) => return Err(ProbeError::BothHere(from, to)),
                // What goes to all, or to a group, may go to this host, too.
                (true, false) if is_to_many(to) => return Err(ProbeError::BothHere(from, to)),
                (false, false) if is_to_many(to) => Hook::Input,
                (true, false) => Hook::Output,
                (false, true) => Hook::Input,
                (false, false) => return Err(ProbeError::NeitherHere(from, to)),
            },
        };
        Ok(Packet { hook, loopback, source: from, destination: to, payload: self.payload()?, state: self.state })
    }

    fn payload(&self) -> Result<Payload, ProbeError> {
        let ProtocolNumber(number) = self.protocol;
        let (own, other) = match Family::of(self.from) {
            Family::V4 => (Protocol::Icmp, Protocol::Icmpv6),
            Family::V6 => (Protocol::Icmpv6, Protocol::Icmp),
        };
        let transport = [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.number() == number);
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
            (self.sport.unwrap_or(USUAL_PORT), self.dport.ok_or(ProbeError::NoPort(transport.name()))?);
        // What conntrack knows of a flow comes behind the segment that opened it.
        let opens = !self.ack.unwrap_or(!matches!(self.state, CtState::New | CtState::Untracked));
        Ok(match transport {
            Protocol::Tcp => Payload::Tcp { sport, dport, opens },
            _ => Payload::Udp { sport, dport },
        })
    }
}
