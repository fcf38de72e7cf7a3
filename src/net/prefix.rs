//! One prefix, parsed strictly.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order of all output.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// `v4` or `v6`.
    pub fn name(self) -> &'static str {
        match self {
            Family::V4 => "v4",
            Family::V6 => "v6",
        }
    }
}

/// The shortest prefixes that can be those of a site: 10.0.0.0/8, and the largest allocations of registries.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 19;

/// An IPv4 or IPv6 prefix without host bits. A single address is a prefix of full length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

/// Why a text is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// The part before the slash is not an address.
    #[error("`{0}` is not an IP address")]
    Address(String),
    /// An IPv4 address with a leading zero, which some programs read as octal.
    #[error("`{0}` has a number with a leading zero, which some programs read as octal")]
    LeadingZero(String),
    /// An IPv4-mapped IPv6 address, which no packet carries.
    #[error("`{0}` is an IPv4-mapped address; packets carry `{1}`")]
    Mapped(String, Ipv4Addr),
    /// The part after the slash is not a prefix length of the family.
    #[error("`/{0}` is not a prefix length from 0 to {1}")]
    Length(String, u8),
    /// Bits of the host part are set.
    #[error("`{0}` has host bits set")]
    HostBits(String, Prefix),
}

/// Parses an address strictly: no leading zeros, no zone index, no IPv4-mapped IPv6.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse_address(text: &str) -> Result<IpAddr, PrefixError> {
    match text.parse() {
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(v4) => Err(PrefixError::Mapped(text.to_owned(), v4)),
            None => Ok(address.into()),
        },
        Ok(address) => Ok(address),
        Err(_) => {
            let unpadded: Vec<&str> = text.split('.').map(|part| part.trim_start_matches('0')).collect();
            let unpadded: Vec<&str> = unpadded.iter().map(|part| if part.is_empty() { "0" } else { part }).collect();
            let zeros = text.split('.').all(|part| !part.is_empty()) && unpadded.join(".").parse::<Ipv4Addr>().is_ok();
            Err(if zeros { PrefixError::LeadingZero(text.to_owned()) } else { PrefixError::Address(text.to_owned()) })
        }
    }
}

impl Prefix {
    /// The prefix as the `ipnet` crate has it.
    pub fn net(self) -> IpNet {
        self.0
    }

    /// Whether it can be one of a single site: not that of a whole provider, or of everything.
    pub fn is_of_a_site(self) -> bool {
        let shortest = match self.family() {
            Family::V4 => SHORTEST_V4,
            Family::V6 => SHORTEST_V6,
        };
        self.0.prefix_len() >= shortest
    }

    /// The family of the prefix.
    pub fn family(self) -> Family {
        Family::of(self.0.network())
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self(address.into())
    }
}

impl From<Ipv4Net> for Prefix {
    fn from(net: Ipv4Net) -> Self {
        Self(net.trunc().into())
    }
}

impl From<Ipv6Net> for Prefix {
    fn from(net: Ipv6Net) -> Self {
        Self(net.trunc().into())
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let Some((address, length)) = text.split_once('/') else {
            return Ok(parse_address(text)?.into());
        };
        let address = parse_address(address)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        // Digits only: the standard parser accepts `+8`, and `08` comes from padded tables.
        let plain = length == "0" || (!length.starts_with('0') && length.bytes().all(|byte| byte.is_ascii_digit()));
        let net = plain
            .then(|| length.parse().ok())
            .flatten()
            .and_then(|bits: u8| IpNet::new(address, bits).ok())
            .ok_or_else(|| PrefixError::Length(length.to_owned(), max))?;
        if net.trunc() != net {
            return Err(PrefixError::HostBits(text.to_owned(), Self(net.trunc())));
        }
        Ok(Self(net))
    }
}

impl fmt::Display for Prefix {
    /// A prefix of full length is shown as an address, as operators and nft write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.network().fmt(f) } else { self.0.fmt(f) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_prefixes_are_shown_as_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "10.1.2.3", "2001:db8::/32", "fe80::1", "128.0.0.0/1"] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
        }
        assert_eq!("10.1.2.3/32".parse::<Prefix>(), "10.1.2.3".parse());
    }

    #[test]
    fn invalid_prefixes_say_what_is_wrong() {
        let error = |text: &str| text.parse::<Prefix>().unwrap_err();
        assert!(
            matches!(error("10.1.2.3/8"), PrefixError::HostBits(_, truncated) if truncated.to_string() == "10.0.0.0/8")
        );
        for text in ["10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/", "::/129", "10.0.0.0/ 8", "10.0.0.0/256"]
        {
            assert!(matches!(error(text), PrefixError::Length(..)), "{text}");
        }
        for text in ["010.0.0.0/8", "10.00.0.1", "1.2.3.04"] {
            assert!(matches!(error(text), PrefixError::LeadingZero(..)), "{text}");
        }
        for text in
            ["", "10.0.0/8", "10.0.0.256", "1..2.3", "fe80::1%eth0", "10.0.0.0/8/8x", "0x0a.0.0.1", "example.com"]
        {
            assert!(matches!(error(text), PrefixError::Address(..) | PrefixError::Length(..)), "{text}");
        }
        assert!(matches!(error("::ffff:10.0.0.1"), PrefixError::Mapped(..)));
    }
}
