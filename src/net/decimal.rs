//! Fast reading and writing of IPv4 addresses and prefixes, for lists of half a million. The standard library takes
//! several times as long.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::Prefix;

/// An IPv4 address or prefix at the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Its first address.
    pub low: u32,
    /// Its last address.
    pub high: u32,
    /// Whether it was written without a length.
    pub is_address: bool,
    /// Its length in bytes.
    pub length: usize,
}

impl Plain {
    /// Reads an address or prefix at the beginning of a text, regardless of what follows. `None` if there is no valid
    /// one; the strict parser says what is wrong.
    pub fn read(text: &[u8]) -> Option<Self> {
        let (mut low, mut at) = (0, 0);
        for octet in 0..4 {
            if octet > 0 {
                at = (text.get(at) == Some(&b'.')).then_some(at + 1)?;
            }
            low = low << 8 | number(text, &mut at, 255)?;
        }
        if text.get(at) != Some(&b'/') {
            return Some(Self { low, high: low, is_address: true, length: at });
        }
        at += 1;
        let host = u32::MAX.checked_shr(number(text, &mut at, 32)?).unwrap_or(0);
        (low & host == 0).then_some(Self { low, high: low | host, is_address: false, length: at })
    }
}

/// Reads a number up to `max`, which is below 1000. Leading zeros are refused: some programs read them as octal.
fn number(text: &[u8], at: &mut usize, max: u32) -> Option<u32> {
    let digit = |at: usize| text.get(at).map(|byte| u32::from(byte.wrapping_sub(b'0'))).filter(|digit| *digit <= 9);
    let mut number = digit(*at)?;
    *at += 1;
    while let Some(digit) = digit(*at) {
        number = if number == 0 { max + 1 } else { number * 10 + digit };
        if number > max {
            return None;
        }
        *at += 1;
    }
    (number <= max).then_some(number)
}

impl Prefix {
    /// Appends the prefix to a text, as [`Display`](std::fmt::Display) shows it.
    pub fn push_to(self, text: &mut String) {
        match self.net() {
            IpNet::V4(net) => {
                push_v4(text, net.network());
                if net.prefix_len() < 32 {
                    text.push('/');
                    push_number(text, net.prefix_len());
                }
            }
            IpNet::V6(_) => text.push_str(&self.to_string()),
        }
    }
}

fn push_v4(text: &mut String, address: Ipv4Addr) {
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        push_number(text, octet);
    }
}

fn push_number(text: &mut String, number: u8) {
    let mut push = |digit: u8| text.push(char::from(b'0' + digit));
    if number >= 100 {
        push(number / 100);
    }
    if number >= 10 {
        push(number / 10 % 10);
    }
    push(number % 10);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::PrefixSet;

    #[test]
    fn it_reads_what_the_strict_parser_takes_and_nothing_else() {
        let numbers =
            ["0", "00", "01", "9", "10", "099", "100", "199", "255", "256", "999", "1000", "", "x", "-1", "+1"];
        let lengths = ["", "/", "/0", "/00", "/8", "/08", "/31", "/32", "/33", "/320", "/-1", "/x"];
        let mut taken = 0;
        for number in numbers {
            for length in lengths {
                for address in [format!("{number}.0.0.0"), format!("10.{number}.0.0"), format!("10.0.0.{number}")] {
                    let text = format!("{address}{length}");
                    let all_of_it = Plain::read(text.as_bytes()).filter(|plain| plain.length == text.len());
                    let read = all_of_it.map(|plain| (plain.low, plain.high));
                    let parsed = text.parse::<Prefix>().map(|prefix| PrefixSet::from_iter([prefix]));
                    let parsed = parsed.ok().and_then(|set| set.v4().iter().next());
                    assert_eq!(read, parsed, "{text}");
                    taken += usize::from(read.is_some());
                }
            }
        }
        assert!(taken > 50, "{taken}");
        for text in ["10.0.0", "10.0.0.", "10.0.0/8", ".10.0.0.0", "10..0.0", "", "::1", "10.0.0.1 "] {
            assert!(Plain::read(text.as_bytes()).is_none_or(|plain| plain.length < text.len()), "{text}");
        }
    }

    #[test]
    fn what_follows_is_left() {
        let plain = |text: &str| Plain::read(text.as_bytes()).map(|plain| (plain.is_address, plain.length));
        assert_eq!(plain("10.0.0.1, 10"), Some((true, 8)));
        assert_eq!(plain("10.0.0.0/8}"), Some((false, 10)));
        assert_eq!(plain("10.0.0.1/32"), Some((false, 11)));
        assert_eq!(plain("10.0.0.1.5"), Some((true, 8)));
    }
}
