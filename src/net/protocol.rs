//! Protocols above IP: those that policies and rulesets name, and those with ports.

/// A protocol above IP with a name. Others have their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// The stream control transmission protocol (RFC 9260).
    Sctp,
    /// ICMP of IPv4.
    Icmp,
    /// ICMP of IPv6.
    Icmpv6,
    /// IPv4 in IP (RFC 2003).
    Ipip,
    /// Generic routing encapsulation (RFC 2784).
    Gre,
    /// The encrypted payload of IPsec (RFC 4303).
    Esp,
    /// The authentication header of IPsec (RFC 4302).
    Ah,
    /// The virtual router redundancy protocol (RFC 9568).
    Vrrp,
}

impl Protocol {
    /// Every protocol with a name.
    pub const ALL: [Protocol; 10] = [
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Sctp,
        Protocol::Icmp,
        Protocol::Icmpv6,
        Protocol::Ipip,
        Protocol::Gre,
        Protocol::Esp,
        Protocol::Ah,
        Protocol::Vrrp,
    ];

    /// The word that policies and messages use.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
            Protocol::Icmp => "icmp",
            Protocol::Icmpv6 => "icmpv6",
            Protocol::Ipip => "ipip",
            Protocol::Gre => "gre",
            Protocol::Esp => "esp",
            Protocol::Ah => "ah",
            Protocol::Vrrp => "vrrp",
        }
    }

    /// The protocol number (IANA).
    pub fn number(self) -> u8 {
        match self {
            Protocol::Icmp => 1,
            Protocol::Ipip => 4,
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Gre => 47,
            Protocol::Esp => 50,
            Protocol::Ah => 51,
            Protocol::Icmpv6 => 58,
            Protocol::Vrrp => 112,
            Protocol::Sctp => 132,
        }
    }

    /// The protocol with a number, if it has a name.
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.number() == number)
    }

    /// The protocol with a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// What of it rulesets match beyond its number: ports or types. Of other protocols there is nothing.
    pub fn has_parts(self) -> bool {
        matches!(self, Protocol::Icmp | Protocol::Icmpv6) || Transport::of(self).is_some()
    }
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Transport {
    /// Every protocol with ports.
    pub const ALL: [Transport; 3] = [Transport::Tcp, Transport::Udp, Transport::Sctp];

    /// `tcp`, `udp` or `sctp`.
    pub fn name(self) -> &'static str {
        self.protocol().name()
    }

    /// The protocol.
    pub fn protocol(self) -> Protocol {
        match self {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
            Transport::Sctp => Protocol::Sctp,
        }
    }

    /// A protocol as one with ports, if it has some.
    pub fn of(protocol: Protocol) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.protocol() == protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_to_one_protocol() {
        for protocol in Protocol::ALL {
            assert_eq!(Protocol::numbered(protocol.number()), Some(protocol));
            assert_eq!(Protocol::named(protocol.name()), Some(protocol));
        }
        assert_eq!((Protocol::numbered(89), Protocol::named("ospf")), (None, None));
    }
}
