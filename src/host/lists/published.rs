//! Lists as their publishers write them, translated to the lines of a list.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::net::{ListReader, Prefix, Slip};

/// The keys of JSON feeds whose strings are prefixes: of AWS, Google, Azure, Spamhaus and GitHub.
const KEYS: [&str; 9] =
    ["ip_prefix", "ipv6_prefix", "ipv4Prefix", "ipv6Prefix", "addressPrefixes", "cidr", "prefix", "prefixes", "ip"];

/// The most bytes of an entry that a message shows.
const MAX_SHOWN: usize = 60;

/// Adds the entries of a published list: JSON if it begins with a bracket, else text.
///
/// # Errors
/// What is wrong with the JSON. What is wrong with a line of text is recorded in the list.
pub(super) fn read(text: &[u8], list: &mut ListReader) -> Result<(), String> {
    let text = String::from_utf8_lossy(text);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim_start().starts_with(['{', '[']) {
        return read_json(text, list);
    }
    for line in text.lines() {
        if list.is_hopeless() {
            break;
        }
        list.push(translated(line).as_bytes());
        list.push(b"\n");
    }
    Ok(())
}

/// The entry of a line as a list has it; an empty one if the line has none. What is no entry stays as it is, so that it
/// is refused.
fn translated(line: &str) -> Cow<'_, str> {
    let line = without_comment(line).trim();
    let fields: Vec<&str> = line
        .split(|c: char| c.is_whitespace() || c == ',')
        .map(|field| field.trim_matches('"'))
        .filter(|field| !field.is_empty())
        .collect();
    match fields[..] {
        // A heading of columns.
        _ if !line.contains(|c: char| c.is_ascii_digit() || c == ':') => Cow::Borrowed(""),
        [low, "-", high, ..] => Cow::Owned(format!("{low}-{high}")),
        [first, second, ..] => match (first.parse::<IpAddr>(), second.parse::<IpAddr>()) {
            (Ok(IpAddr::V4(address)), Ok(IpAddr::V4(mask))) if is_mask(address, mask) => {
                Cow::Owned(format!("{address}/{}", mask.to_bits().leading_ones()))
            }
            // The mask of an access list, which is no end of a range.
            (Ok(low), Ok(high)) if low > high => {
                with_mask(first, second).unwrap_or(Cow::Owned(format!("{low}-{high}")))
            }
            (Ok(low), Ok(high)) => Cow::Owned(format!("{low}-{high}")),
            _ => with_length(first),
        },
        [only] => with_length(only),
        [] => Cow::Borrowed(""),
    }
}

/// The part of a line before `#`, `;`, or a `//` that does not stand within a word.
fn without_comment(line: &str) -> &str {
    let slashes = line.match_indices("//").map(|(at, _)| at);
    let slashes = slashes.filter(|&at| line[..at].ends_with(char::is_whitespace) || at == 0).min();
    let end = line.find(['#', ';']).into_iter().chain(slashes).min();
    &line[..end.unwrap_or(line.len())]
}

/// A prefix whose netmask is written as its length.
fn with_length(word: &str) -> Cow<'_, str> {
    let parts = word.split_once('/').and_then(|(address, mask)| Some((address, mask.parse::<Ipv4Addr>().ok()?)));
    match parts {
        Some((address, mask)) if mask.to_bits().count_ones() == mask.to_bits().leading_ones() => {
            Cow::Owned(format!("{address}/{}", mask.to_bits().leading_ones()))
        }
        Some((address, mask)) => with_mask(address, &mask.to_string()).unwrap_or(Cow::Borrowed(word)),
        None => Cow::Borrowed(word),
    }
}

/// The prefix of an address and a mask, also one in which the bits are the other way round, as in the access lists of
/// routers; `None` if they are none.
fn with_mask<'a>(address: &str, mask: &str) -> Option<Cow<'a, str>> {
    match Slip::of(&format!("{address}/{mask}"))? {
        Slip::Netmask(prefix) => Some(Cow::Owned(prefix.to_string())),
        _ => None,
    }
}

/// Whether the second of two addresses is a netmask, and not the last address of a range from the first.
fn is_mask(address: Ipv4Addr, mask: Ipv4Addr) -> bool {
    let (address, mask) = (address.to_bits(), mask.to_bits());
    mask != 0 && mask.count_ones() == mask.leading_ones() && address & !mask == 0
}

/// Adds the strings of known keys, at any depth, of one or several documents.
fn read_json(text: &str, list: &mut ListReader) -> Result<(), String> {
    let mut entries = 0;
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let document = document.map_err(|error| format!("it begins like JSON, but {error}"))?;
        match &document {
            // A bare array of prefixes.
            Value::Array(values) if values.iter().all(Value::is_string) => {
                add("the array", &document, list, &mut entries)?
            }
            _ => walk(&document, list, &mut entries)?,
        }
    }
    match entries {
        0 => Err(format!("no prefix is under one of the keys `{}`", KEYS.join("`, `"))),
        _ => Ok(()),
    }
}

fn walk(value: &Value, list: &mut ListReader, entries: &mut u64) -> Result<(), String> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| match value {
            Value::String(_) if KEYS.contains(&key.as_str()) => add(key, value, list, entries),
            Value::Array(values) if KEYS.contains(&key.as_str()) && values.iter().all(Value::is_string) => {
                add(key, value, list, entries)
            }
            _ => walk(value, list, entries),
        }),
        Value::Array(values) => values.iter().try_for_each(|value| walk(value, list, entries)),
        _ => Ok(()),
    }
}

/// Adds a string, or the strings of an array.
fn add(key: &str, value: &Value, list: &mut ListReader, entries: &mut u64) -> Result<(), String> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| add(key, value, list, entries)),
        Value::String(text) => {
            text.parse::<Prefix>().map_err(|error| {
                let text: String = text.chars().take(MAX_SHOWN).collect();
                format!("`{}` of `{key}`: {error}", text.escape_debug())
            })?;
            list.push(text.as_bytes());
            list.push(b"\n");
            *entries += 1;
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn entries(text: &str) -> String {
        let mut list = ListReader::default();
        read(text.as_bytes(), &mut list).unwrap();
        list.finish().unwrap().0.to_string()
    }

    #[test]
    fn lines_of_publishers() {
        for (line, meant) in [
            ("; made for this test\n198.51.100.0/25 ; list entry 1\n", "198.51.100.0/25"),
            ("// comment\n10.0.0.0/8 // all of it\n", "10.0.0.0/8"),
            ("10.0.0.0/255.255.0.0\n", "10.0.0.0/16"),
            ("10.0.0.0 255.255.0.0\n", "10.0.0.0/16"),
            ("Start\tEnd\tNetblock\n198.51.100.0\t198.51.100.255\t24\t7\n", "198.51.100.0/24"),
            ("\"network\",\"country\"\n\"2001:db8::/32\",\"XX\"\r\n", "2001:db8::/32"),
            ("10.0.0.0 - 10.0.0.3\n10.0.0.8-10.0.0.9 two\n", "10.0.0.0/30, 10.0.0.8/31"),
            ("10.0.0.1 10.0.0.1\n", "10.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(entries(line), meant, "{line}");
        }
    }

    #[test]
    fn json_of_publishers() {
        for (text, meant) in [
            (
                r#"{"prefixes":[{"ip_prefix":"198.51.100.0/24","service":"7"}],"ipv6_prefixes":[{"ipv6_prefix":"2001:db8::/32"}]}"#,
                "198.51.100.0/24, 2001:db8::/32",
            ),
            (r#"{"values":[{"properties":{"addressPrefixes":["10.0.0.0/9","10.128.0.0/9"]}}]}"#, "10.0.0.0/8"),
            (
                "{\"cidr\":\"10.0.0.0/24\",\"rir\":\"x\"}\n{\"cidr\":\"10.0.1.0/24\"}\n{\"type\":\"metadata\"}\n",
                "10.0.0.0/23",
            ),
            (r#"["10.0.0.1", "10.0.0.2/32"]"#, "10.0.0.1, 10.0.0.2"),
        ] {
            assert_eq!(entries(text), meant, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, message) in [
            ("{\"prefixes\": [", "it begins like JSON, but EOF"),
            ("{\"records\": [{\"name\": \"10.0.0.0/8\"}]}", "no prefix is under one of the keys"),
            ("{\"cidr\": \"10.0.0.1/8\"}", "`10.0.0.1/8` of `cidr`"),
            ("{\"cidr\": \"a\\u001b[31m\"}", "`a\\u{1b}[31m` of `cidr`"),
        ] {
            let error = read(text.as_bytes(), &mut ListReader::default()).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
        for text in ["10.0.0.1/255.0.255.0\n", "10.0.0.9 10.0.0.1\n", "https://10.0.0.1/list\n", "10.0.0.300\n"] {
            let mut list = ListReader::default();
            read(text.as_bytes(), &mut list).unwrap();
            assert!(list.finish().is_err(), "{text}");
        }
    }
}
