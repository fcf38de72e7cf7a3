//! Interfaces by name.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A network interface, by its name. The default is one that no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface(u128);

/// Why a text is not the name of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the name of an interface has 1 to 15 bytes, without spaces, quotes and any of `/ : *`")]
pub struct InterfaceError;

impl Interface {
    /// The loopback interface. Linux gives it this name in every network namespace.
    pub const LOOPBACK: Self = Self(u128::from_be_bytes(*b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
}

/// The most bytes of a name: `IFNAMSIZ` of Linux, less the zero at the end.
const MAX_NAME: usize = 15;

impl FromStr for Interface {
    type Err = InterfaceError;

    /// Reads a name that Linux accepts (`dev_valid_name`), and that needs no escape in nft's text.
    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"/:*\"'\\`".contains(&byte);
        let valid = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain) && text != "." && text != "..";
        if !valid {
            return Err(InterfaceError);
        }
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        Ok(Self(u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.to_be_bytes();
        f.pad(&String::from_utf8_lossy(&bytes).replace('\0', ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_linux_and_nft_take() {
        for name in ["lo", "eth0", "flannel.1", "enp3s0f0.100", "a", "fifteen-bytes-x", "br-0f6c0f0e3b1a"] {
            assert_eq!(name.parse::<Interface>().unwrap().to_string(), name);
        }
        for name in ["", "sixteen-bytes-xy", "a b", "a/b", "a:b", "veth*", "\"lo\"", "a\\b", ".", "..", "é"] {
            assert_eq!(name.parse::<Interface>(), Err(InterfaceError), "{name}");
        }
        assert_eq!("lo".parse(), Ok(Interface::LOOPBACK));
    }
}
