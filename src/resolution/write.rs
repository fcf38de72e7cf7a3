//! The lockfile's text: sorted, one address per line, so that a diff shows what changed.

use std::fmt::Write;
use std::net::IpAddr;

use super::{Answered, LockfileClock, Resolution};
use crate::net::Family;

const HEAD: &str = "\
# The DNS answers that a policy is compiled with. Written by `edgeward resolve`; review it as you review the policy.
version: 1
";

pub(super) fn yaml(resolution: &Resolution) -> String {
    let mut text = String::from(HEAD);
    // Writing to a string cannot fail.
    if let Some(recorded) = &resolution.clock {
        let _ = writeln!(text, "clock: {}", clock(recorded));
    }
    text.push_str(if resolution.names.is_empty() { "names: []\n" } else { "names:\n" });
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

fn clock(clock: &LockfileClock) -> String {
    let boot = clock.boot.as_ref().map_or_else(String::new, |boot| format!(", boot: {boot:?}"));
    let doubted = clock.doubted.map_or_else(String::new, |doubted| {
        let rebooted = doubted.rebooted_at.map_or_else(String::new, |time| format!(", rebooted-at: {time}"));
        format!(", doubted: {{time: {}, since-boot: {}{rebooted}}}", doubted.time, doubted.since_boot.as_secs())
    });
    format!("{{at: {}{boot}, since-boot: {}{doubted}}}", clock.at, clock.since_boot.as_secs())
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
