//! Lockfiles of fixtures and examples: completed by a rule, so that a new name of the catalog costs no editing.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use edgeward::catalog::Catalog;
use edgeward::diag::Problems;
use edgeward::net::{DomainName, Prefix};
use edgeward::policy;
use edgeward::resolution::Trust;
use edgeward::site::Target;
use edgeward::source::Source;
use ipnet::IpNet;

/// What a name without an address gets: documentation prefixes (RFC 5737) for public names.
const DOCUMENTATION: [&str; 2] = ["203.0.113.0/24", "198.51.100.0/24"];

/// A lockfile with exactly the names that its policy needs. Rows that are there stay as they are, superfluous ones go,
/// and a missing name gets an address that the policy accepts for it.
pub fn completed(policy: &Source, lock: &str, target: Option<Target>) -> String {
    let catalog = Catalog::embedded().unwrap();
    let mut problems = Problems::default();
    let loaded = policy::load_with(policy, &catalog, target, &mut |_, _| Ok(Default::default()), &mut problems);
    let (parsed, intent) = loaded.unwrap_or_else(|| panic!("{}: {problems:#?}", policy.name));
    let trust = parsed.resolution_rules(&catalog.cloud).trust;
    let names = intent.names();

    let start = lock.find("- name: ").unwrap_or(lock.len());
    let (head, rows) = lock.split_at(start);
    let mut rows: Vec<(DomainName, String)> = rows_of(rows);
    rows.retain(|(name, _)| names.contains_key(name));
    let cloud = cloud_prefixes(&catalog, &parsed.region.value);
    for (&name, _) in names.iter().filter(|(_, optional)| !**optional) {
        if rows.iter().any(|(known, _)| known == name) {
            continue;
        }
        let place = rows.iter().position(|(known, _)| known > name).unwrap_or(rows.len());
        let used: BTreeSet<String> = rows.iter().map(|(_, row)| row.clone()).collect();
        let is_used = |address: &IpAddr| used.iter().any(|row| row.contains(&format!("{{address: {address},")));
        let address = addresses(name, &cloud).find(|address| accepts(&trust, name, *address) && !is_used(address));
        let address = address.unwrap_or_else(|| panic!("{}: no address for {name}", policy.name));
        rows.insert(place, (name.clone(), row(name, address)));
    }
    let head = if head.is_empty() { "version: 1\nnames:\n" } else { head };
    match rows.is_empty() {
        true => head.replace("names:\n", "names: []\n"),
        false => head.replace("names: []\n", "names:\n") + &rows.into_iter().map(|(_, row)| row).collect::<String>(),
    }
}

fn rows_of(text: &str) -> Vec<(DomainName, String)> {
    let mut rows: Vec<(DomainName, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix("- name: "), rows.last_mut()) {
            (Some(name), _) => rows.push((name.trim().parse().unwrap(), line.to_owned())),
            (None, Some((_, row))) => row.push_str(line),
            (None, None) => panic!("{line:?} before the first name"),
        }
    }
    rows
}

fn row(name: &DomainName, address: IpAddr) -> String {
    format!(
        "- name: {name}\n  addresses:\n  - {{address: {address}, first-seen: 2026-11-20T08:00:00Z, \
         last-seen: 2026-11-21T02:00:00Z, ttl: 60}}\n"
    )
}

fn accepts(trust: &Trust, name: &DomainName, address: IpAddr) -> bool {
    trust.distrusts(name, address).is_none()
}

/// The region's prefixes in the cloud: an internal name must resolve to the cloud's addresses.
fn cloud_prefixes(catalog: &Catalog, region: &str) -> Vec<Prefix> {
    let region = catalog.region(region).unwrap();
    let registry = region.registry.iter().flat_map(|row| &row.prefixes);
    registry.chain(region.oss.iter().flat_map(|row| &row.vips)).copied().collect()
}

/// Candidates for the address of a name, the same ones in every run: those of a prefix begin at a place that depends on
/// the name only.
fn addresses(name: &DomainName, cloud: &[Prefix]) -> impl Iterator<Item = IpAddr> {
    // FNV-1a.
    let hash =
        name.as_str().bytes().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let documentation = DOCUMENTATION.map(|prefix| prefix.parse::<IpNet>().unwrap());
    let nets: Vec<IpNet> = documentation.into_iter().chain(cloud.iter().map(|prefix| prefix.net())).collect();
    nets.into_iter()
        .filter_map(|net| match net {
            IpNet::V4(net) => Some(net),
            IpNet::V6(_) => None,
        })
        .flat_map(move |net| {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let size = last - first + 1;
            (0..size).map(move |step| Ipv4Addr::from(first + (hash.wrapping_add(step)) % size).into())
        })
}
