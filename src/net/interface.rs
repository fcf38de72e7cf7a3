//! Interfaces by name, and sets of them.
//!
//! A name is a number: its bytes, filled up with zeros. So names with a common beginning are one range of numbers, and
//! a set of interfaces is one of ranges, as sets of addresses are.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::ranges::Ranges;

/// A network interface, by its name. The default is one that no rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface(u128);

/// An interface, or all whose names have a beginning: `cni0`, `veth*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfacePattern([(u128, u128); 1]);

/// A set of interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interfaces(Ranges<u128>);

/// Why a text is not the name of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the name of an interface has 1 to 15 bytes, without spaces, quotes and any of `/ : @ *`")]
pub struct InterfaceError;

/// The most bytes of a name: `IFNAMSIZ` of Linux, less the zero at the end.
const MAX_NAME: usize = 15;
/// In a pattern, it stands for any rest.
const WILDCARD: char = '*';

impl Interface {
    /// The loopback interface. Linux gives it this name in every network namespace.
    pub const LOOPBACK: Self = Self(u128::from_be_bytes(*b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));

    /// Its number.
    pub fn number(self) -> u128 {
        self.0
    }

    /// The interface with a number.
    pub fn from_number(number: u128) -> Self {
        Self(number)
    }

    /// Its name; none if no rule names it.
    pub fn name(self) -> Option<String> {
        (self.0 != 0).then(|| self.to_string())
    }
}

impl FromStr for Interface {
    type Err = InterfaceError;

    /// Reads a name that Linux accepts (`dev_valid_name`), and that needs no escape in nft's text and JSON.
    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"/:@*\"'\\`".contains(&byte);
        let valid = (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain) && text != "." && text != "..";
        if valid { Ok(Self(filled(text.as_bytes(), 0))) } else { Err(InterfaceError) }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.to_be_bytes();
        f.pad(&String::from_utf8_lossy(&bytes).replace('\0', ""))
    }
}

/// A name as a number, filled up to its greatest length. The last byte is 0 as in Linux, so the ranges of two patterns
/// never touch, and a range of a set is one pattern.
fn filled(name: &[u8], rest: u8) -> u128 {
    let mut bytes = [rest; 16];
    bytes[MAX_NAME] = 0;
    bytes.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    u128::from_be_bytes(bytes)
}

impl InterfacePattern {
    /// The loopback interface.
    pub const LOOPBACK: Self = Self([(Interface::LOOPBACK.0, Interface::LOOPBACK.0)]);

    /// The numbers of its names, one range.
    pub fn as_slice(&self) -> &[(u128, u128)] {
        &self.0
    }
}

impl FromStr for InterfacePattern {
    type Err = InterfaceError;

    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        let stem = text.strip_suffix(WILDCARD).filter(|_| text.len() <= MAX_NAME);
        let Interface(low) = stem.unwrap_or(text).parse()?;
        Ok(Self([(low, stem.map_or(low, |stem| filled(stem.as_bytes(), u8::MAX)))]))
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [(low, high)] = self.0;
        write!(f, "{}{}", Interface(low), if low == high { "" } else { "*" })
    }
}

impl FromIterator<InterfacePattern> for Interfaces {
    fn from_iter<I: IntoIterator<Item = InterfacePattern>>(patterns: I) -> Self {
        Self(patterns.into_iter().map(|InterfacePattern([range])| range).collect())
    }
}

impl From<Ranges<u128>> for Interfaces {
    fn from(numbers: Ranges<u128>) -> Self {
        Self(numbers)
    }
}

impl Interfaces {
    /// The numbers of their names.
    pub fn numbers(&self) -> &Ranges<u128> {
        &self.0
    }

    /// Whether an interface is one of them.
    pub fn contains(&self, interface: Interface) -> bool {
        self.0.contains(interface.0)
    }

    /// The patterns of a set that was made of patterns: none is part of another.
    pub fn patterns(&self) -> impl Iterator<Item = InterfacePattern> {
        self.0.iter().map(|range| InterfacePattern([range]))
    }

    /// One interface for each pattern of a set that was made of patterns.
    pub fn examples(&self) -> impl Iterator<Item = Interface> {
        self.0.iter().map(|(low, _)| Interface(low))
    }

    /// Any set as patterns, each narrower than those before it that have its names. `!` is before one that is not in the
    /// set; `*` stands for every name.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        self.describe(&mut Vec::new(), false, &mut words);
        words
    }

    /// Adds the patterns that begin with `stem`, whose names are otherwise in the set or not.
    fn describe(&self, stem: &mut Vec<u8>, mut inside: bool, words: &mut Vec<String>) {
        let (low, high) = (filled(stem, 0), filled(stem, u8::MAX));
        let mut word = |is_in: bool, wildcard: &str| {
            words.push(format!("{}{}{wildcard}", if is_in { "" } else { "!" }, String::from_utf8_lossy(stem)));
        };
        // No pattern ends in these bytes, so only a pattern that ends here, or before, has the name.
        if self.0.contains(high) != inside {
            inside = !inside;
            word(inside, "*");
        }
        if self.0.contains(low) != inside {
            word(!inside, "");
        }
        if stem.len() == MAX_NAME {
            return;
        }
        for byte in 1..u8::MAX {
            stem.push(byte);
            let all: Ranges<u128> = [(filled(stem, 0), filled(stem, u8::MAX))].into_iter().collect();
            let differs = if inside { !all.is_subset(&self.0) } else { all.overlaps(&self.0) };
            if differs {
                self.describe(stem, inside, words);
            }
            stem.pop();
        }
    }
}

/// `cni0, veth*`, `any but cni0`.
impl fmt::Display for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (without, with): (Vec<String>, Vec<String>) =
            self.words().into_iter().partition(|word| word.starts_with('!'));
        let with: Vec<&str> = with.iter().map(|word| if word == "*" { "any" } else { word }).collect();
        f.write_str(&with.join(", "))?;
        let without: Vec<&str> = without.iter().map(|word| &word[1..]).collect();
        if without.is_empty() { Ok(()) } else { write!(f, " but {}", without.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(patterns: &str) -> Interfaces {
        patterns.split_whitespace().map(|text| text.parse::<InterfacePattern>().unwrap()).collect()
    }

    #[test]
    fn names_are_those_that_linux_and_nft_take() {
        for name in ["lo", "eth0", "flannel.1", "enp3s0f0.100", "a", "fifteen-bytes-x", "br-0f6c0f0e3b1a"] {
            assert_eq!(name.parse::<Interface>().unwrap().to_string(), name);
            assert_eq!(name.parse::<InterfacePattern>().unwrap().to_string(), name);
        }
        let bad = ["", "sixteen-bytes-xy", "a b", "a/b", "a:b", "a@b", "\"lo\"", "a\\b", ".", "..", "é", "v*th", "v**"];
        for name in bad {
            assert_eq!(name.parse::<Interface>(), Err(InterfaceError), "{name}");
            assert_eq!(name.parse::<InterfacePattern>(), Err(InterfaceError), "{name}");
        }
        assert_eq!("lo".parse(), Ok(Interface::LOOPBACK));
        assert_eq!("lo".parse(), Ok(InterfacePattern::LOOPBACK));
        for pattern in ["v*", "veth*", "fourteen-byte*"] {
            assert_eq!(pattern.parse::<InterfacePattern>().unwrap().to_string(), pattern);
        }
        for pattern in ["*", "fifteen-bytes-x*"] {
            assert_eq!(pattern.parse::<InterfacePattern>(), Err(InterfaceError), "{pattern}");
        }
    }

    #[test]
    fn a_wildcard_has_every_rest_and_no_other_name() {
        let veth = set("veth*");
        for name in ["veth", "veth0", "vethzzzzzzzzzzz", "veth.1"] {
            assert!(veth.contains(name.parse().unwrap()), "{name}");
        }
        for name in ["vet", "vetg", "veti", "lo", "Veth0"] {
            assert!(!veth.contains(name.parse().unwrap()), "{name}");
        }
        assert!(!veth.contains(Interface::default()));
        // What is next to each other stays apart; what is inside another disappears.
        assert_eq!(set("a* b* b1 ab").patterns().map(|one| one.to_string()).collect::<Vec<_>>(), ["a*", "b*"]);
    }

    #[test]
    fn any_set_has_words() {
        let words = |numbers: Ranges<u128>| Interfaces::from(numbers).to_string();
        let less = |one: &str, other: &str| set(one).numbers().difference(set(other).numbers());
        assert_eq!(set("veth* cni0").to_string(), "cni0, veth*");
        assert_eq!(words(set("cni0 lo").numbers().complement()), "any but cni0, lo");
        assert_eq!(words(less("veth*", "veth0")), "veth* but veth0");
        assert_eq!(words(less("veth*", "veth")), "veth* but veth");
        assert_eq!(words(less("veth* cni0", "vetha* cni0")), "veth* but vetha*");
        assert_eq!(words(Ranges::all()), "any");
        assert_eq!(Interfaces::from(less("veth*", "veth0")).words(), ["veth*", "!veth0"]);
    }
}
