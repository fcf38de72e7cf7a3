//! The texts of a sequence: policies, catalogs, lists; and the table that they mean.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::OnceLock;

use edgeward::catalog::{Catalog, FILES};
use edgeward::diag::Problems;
use edgeward::emit;
use edgeward::live::Live;
use edgeward::lower::lower;
use edgeward::policy::{self, syntax::PeersList};
use edgeward::readback;
use edgeward::resolution::Resolution;
use edgeward::source::Source;

use super::names::{Addresses, Name};
use super::rules::{Inputs, Policy};
use crate::support::lockfiles::completed;

pub const LIST: &str = "sites.txt";

pub fn policy(policy: &Policy) -> String {
    let mode = if policy.audit { "audit" } else { "enforce" };
    let row = |has: bool, id: &str, rest: String| match has {
        true => format!("\n- {{id: {id}, {rest}, purpose: packages}}"),
        false => String::new(),
    };
    let outward = |name: Name, port: u16| format!("direction: outbound, peers: [{}], ports: [tcp/{port}]", name.text());
    let rows = [
        row(policy.mirror, self::row(Name::Mirror), outward(Name::Mirror, 8443)),
        row(policy.backup, self::row(Name::Backup), outward(Name::Backup, 8444)),
        row(policy.sites, "sites", format!("direction: inbound, peers-file: {LIST}, ports: [tcp/443]")),
    ]
    .concat();
    let rows = if rows.is_empty() { " []" } else { &rows };
    format!(
        r#"version: 1
name: edge
target: edge-host
region: cn-hangzhou
connection: express-connect
cni: flannel
mode: {mode}
cluster: {{kind: ack-edge, version: "1.30", api-server: 192.168.10.20}}
networks: {{vpc: [192.168.0.0/16], hosts: [10.0.0.0/8], pods: [172.20.0.0/16], cloud-services: [100.0.0.0/8]}}
management: {{from: [{}]}}
dns: {{servers: [10.0.0.53]}}
resolve: {{timeout: 1s, attempts: 1, linger: 1h, max-stale: 2d}}
# remark {}
allow:{rows}
"#,
        management(policy.management),
        policy.remark
    )
}

/// The id of the row with a name.
pub fn row(name: Name) -> &'static str {
    match name {
        Name::Backup => "backup",
        Name::Mirror | Name::Catalog => "mirror",
    }
}

pub fn management(number: u8) -> String {
    format!("10.0.{number}.0/24")
}

pub fn list(number: u8) -> String {
    format!("198.51.100.{}/28", 16 * number)
}

/// The prefix that a catalog has, and no other one; the built-in one has none.
pub fn prefix(catalog: u8) -> String {
    format!("100.99.{catalog}.0/24")
}

/// The files of a catalog.
pub fn catalog(number: u8) -> Vec<String> {
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/catalog");
    let vips = "vips: [100.118.28.0/24, ";
    let change = |text: String| match number {
        0 => text,
        _ => text.replace(vips, &format!("{vips}{}, ", prefix(number))),
    };
    FILES.iter().map(|file| change(fs::read_to_string(built_in.join(file)).unwrap())).collect()
}

/// The names of the catalog that the policy needs, each with an address.
pub fn catalog_names() -> &'static BTreeMap<String, IpAddr> {
    static NAMES: OnceLock<BTreeMap<String, IpAddr>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let none = Policy { management: 0, audit: false, mirror: false, backup: false, sites: false, remark: 0 };
        let lock = completed(&Source::new("policy.yaml", policy(&none)), "version: 1\nnames: []\n", None);
        let known = Resolution::parse(&Source::new("policy.lock.yaml", lock), &mut Problems::default()).unwrap();
        let first = |name: &_| known.addresses(name).next();
        known.names.keys().filter_map(|name| Some((name.to_string(), first(name)?))).collect()
    })
}

/// What a listing of the table means, under the names that a fresh one has.
///
/// # Errors
/// It has something that edgeward does not write.
pub fn meaning(listing: &str) -> Result<String, String> {
    let table = readback::read(&Source::new("kernel", listing)).map_err(|error| format!("{error:?}"))?;
    Ok(without_remarks(&emit::nft(&Live(table).meaning())))
}

fn without_remarks(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// The table that inputs and addresses mean, compiled without files.
pub fn table(inputs: &Inputs, addresses: &Addresses) -> String {
    static CATALOGS: OnceLock<Vec<Catalog>> = OnceLock::new();
    let catalogs = CATALOGS.get_or_init(|| {
        (0..=2)
            .map(|number| {
                let sources: Vec<Source> =
                    FILES.iter().zip(catalog(number)).map(|(name, text)| Source::new(*name, text)).collect();
                Catalog::parse(sources.try_into().unwrap(), None).unwrap()
            })
            .collect()
    });
    let mut lists = |_: &str, _: &str| {
        let addresses = inputs.list.map(list).unwrap_or_default().parse().unwrap();
        Ok(PeersList { addresses, entries: 1, sha256: String::new() })
    };
    let source = Source::new("policy.yaml", policy(&inputs.policy));
    let catalog = &catalogs[usize::from(inputs.catalog)];
    let (_, intent) = policy::load_with(&source, catalog, None, &mut lists, &mut Problems::default()).unwrap();
    let lock = lock(addresses);
    let resolution = Resolution::parse(&Source::new("lock", lock), &mut Problems::default()).unwrap();
    without_remarks(&emit::nft(&lower(&intent.bind(&resolution).unwrap())))
}

fn lock(addresses: &Addresses) -> String {
    let row = |address: &IpAddr| {
        let seen = "2026-11-20T08:00:00Z";
        format!("  - {{address: \"{address}\", first-seen: {seen}, last-seen: {seen}, ttl: 60}}\n")
    };
    let name = |name: &str, rows: String| format!("- name: {name}\n  addresses:\n{rows}");
    let fixed = catalog_names().iter().map(|(text, address)| name(text, row(address)));
    let own = addresses.iter().filter(|(name, _)| **name != Name::Catalog);
    let own = own.map(|(own, them)| name(own.text(), them.iter().map(row).collect()));
    format!("version: 1\nnames:\n{}", fixed.chain(own).collect::<String>())
}
