//! Absolute host names.

use std::fmt;
use std::str::FromStr;

/// An absolute host name: lower case, ASCII, without a trailing dot.
///
/// It has at least two labels. A search domain would complete a single one, and must not decide whom a firewall trusts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

/// Why a text is not an absolute host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainNameError {
    /// It has a character outside of ASCII.
    #[error("`{0}` has characters outside of ASCII")]
    NotAscii(String),
    /// It has one label only.
    #[error("`{0}` is not an absolute host name")]
    NotAbsolute(String),
    /// It, or one of its labels, is empty or too long, or has a character that host names do not have.
    #[error("`{0}` is not a host name")]
    Malformed(String),
}

impl DomainNameError {
    /// How to fix it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotAscii(_) => "write the name in its ASCII form (`xn--…`)",
            Self::NotAbsolute(_) => "write the name in full, `host.example.com`: search domains are never used",
            Self::Malformed(_) => {
                "write labels of letters, digits and hyphens, 1 to 63 each and 253 in all, separated by dots"
            }
        }
    }
}

impl DomainName {
    /// The name in lower case, without a trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DomainName {
    type Err = DomainNameError;

    /// Reads a host name (RFC 1123 section 2.1). A trailing dot is allowed.
    fn from_str(text: &str) -> Result<Self, DomainNameError> {
        if !text.is_ascii() && !text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(DomainNameError::NotAscii(text.to_owned()));
        }
        let malformed = || DomainNameError::Malformed(text.to_owned());
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(malformed());
        }
        match name.rsplit_once('.') {
            None => Err(DomainNameError::NotAbsolute(text.to_owned())),
            // No top-level domain is a number: `10.0.0.256` is a mistyped address.
            Some((_, last)) if last.bytes().all(|byte| byte.is_ascii_digit()) => Err(malformed()),
            Some(_) => Ok(Self(name)),
        }
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        let name: DomainName = "CS-Anony.AliyunCS.com.".parse().unwrap();
        assert_eq!(name.as_str(), "cs-anony.aliyuncs.com");
    }

    #[test]
    fn bad_names_say_what_is_wrong() {
        let error = |text: &str| text.parse::<DomainName>().unwrap_err();
        assert!(matches!(error("localhost"), DomainNameError::NotAbsolute(_)));
        assert!(matches!(error("spiegel.münchen.de"), DomainNameError::NotAscii(_)));
        let long = format!("{}.example.com", "a".repeat(64));
        for text in [
            "",
            ".",
            "a..b",
            "-a.com",
            "a-.com",
            "a_b.com",
            "a b.com",
            "10.0.0.256",
            "a.com..",
            "*.a.com",
            &long,
            "a.\u{7}ü",
        ] {
            assert!(matches!(error(text), DomainNameError::Malformed(_)), "{text}");
        }
    }
}
