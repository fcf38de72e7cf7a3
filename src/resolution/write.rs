//! The lockfile's text: sorted, one address per line, so that a diff shows what changed.

use std::fmt::Write;
use std::net::IpAddr;

use super::{Answered, Resolution};
use crate::net::Family;

const HEAD: &str = "\
# The DNS answers that a policy is compiled with. Written by `edgeward resolve`; review it as you review the policy.
version: 1
";

pub(super) fn yaml(resolution: &Resolution) -> String {
    let mut text = String::from(HEAD);
    text.push_str(if resolution.names.is_empty() { "names: []\n" } else { "names:\n" });
    // Writing to a string cannot fail.
    for (name, record) in &resolution.names {
        let _ = writeln!(text, "- name: {name}");
        for (family, key) in [(Family::V4, "a"), (Family::V6, "aaaa")] {
            if let Some(answered) = record.answers.get(&family) {
                let _ = writeln!(text, "  {key}: {}", answer(answered));
            }
        }
        text.push_str(if record.addresses.is_empty() { "  addresses: []\n" } else { "  addresses:\n" });
        for (address, seen) in &record.addresses {
            let ttl = seen.ttl.map_or_else(String::new, |ttl| format!(", ttl: {ttl}"));
            let address = quoted(*address);
            let (first, last) = (seen.first, seen.last);
            let _ = writeln!(text, "  - {{address: {address}, first-seen: {first}, last-seen: {last}{ttl}}}");
        }
    }
    text
}

/// An IPv6 address needs quotes: YAML could read its colons as a mapping.
fn quoted(address: IpAddr) -> String {
    if address.is_ipv6() { format!("\"{address}\"") } else { address.to_string() }
}

fn answer(answered: &Answered) -> String {
    let server = answered.server.map_or_else(String::new, |server| format!(", server: \"{server}\""));
    let chain: Vec<&str> = answered.chain.iter().map(|name| name.as_str()).collect();
    let chain = if chain.is_empty() { String::new() } else { format!(", chain: [{}]", chain.join(", ")) };
    format!("{{answer: {}, at: {}{server}{chain}}}", answered.kind, answered.at)
}
