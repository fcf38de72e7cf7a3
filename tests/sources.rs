//! The catalog against the documents that it comes from: the same regions, prefixes, endpoints and ports, nothing more
//! and nothing less. The documents are not part of the repository; where they are missing, nothing is compared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)] // a test says so by panicking
#![allow(clippy::disallowed_methods)] // it reads files and runs the binary

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use ipnet::IpNet;
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/sources");
const FLOWS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/catalog/flows.yaml");

/// What the catalog, or a document, has of one thing: its values, sorted, and the documents where they stand.
type Row<T> = BTreeMap<T, (Vec<String>, BTreeSet<String>)>;

/// The facts of the catalog by region, or by region and network.
#[derive(Debug, Default)]
struct Facts {
    registry: Row<String>,
    /// The VIPs.
    oss: Row<(String, String)>,
    endpoints: Row<(String, String)>,
    public_endpoints: Row<String>,
}

/// The text of the document whose file name begins so; `None` where the documents are missing.
fn document(begin: &str) -> Option<String> {
    let entries = fs::read_dir(FOLDER).ok()?.map(|entry| entry.unwrap());
    let found = entries.into_iter().find(|entry| entry.file_name().to_string_lossy().starts_with(begin));
    Some(fs::read_to_string(found.unwrap_or_else(|| panic!("no {begin}* in {FOLDER}")).path()).unwrap())
}

fn documents_are_here() -> bool {
    let here = Path::new(FOLDER).is_dir();
    if !here {
        eprintln!("skipped");
    }
    here
}

/// The words that are prefixes, written in one way and sorted.
fn prefixes<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let net = |word: &str| word.trim_end_matches(',').parse::<IpNet>().ok();
    let mut nets: Vec<IpNet> = words.into_iter().filter_map(net).collect();
    nets.sort();
    nets.iter().map(ToString::to_string).collect()
}

fn sorted<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.sort();
    words
}

/// Adds what a document says; a second document may only say the same.
fn add<T: Ord + std::fmt::Debug>(rows: &mut Row<T>, key: T, values: Vec<String>, document: &str) {
    if values.is_empty() {
        return; // a cell that was lost when the page was saved
    }
    let message = format!("{document} contradicts another document on {key:?}");
    let row = rows.entry(key).or_insert_with(|| (values.clone(), BTreeSet::new()));
    assert_eq!(row.0, values, "{message}");
    row.1.insert(document.to_owned());
}

/// Reads the tables of 000 and 001: lines with a region's registry, or with its OSS endpoints.
fn tables(facts: &mut Facts, text: &str, document: &str) {
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "|").collect();
        if let Some(at) = words.iter().position(|word| word.starts_with("registry-") && word.ends_with(".com")) {
            // `… cn-hangzhou registry-cn-hangzhou-vpc.ack.aliyuncs.com 100.103.9.188/32, …`
            let Some(&id) = at.checked_sub(1).and_then(|id| words.get(id)) else { continue };
            if words[at] == format!("registry-{id}-vpc.ack.aliyuncs.com") {
                add(&mut facts.registry, id.to_owned(), prefixes(words[at..].iter().copied()), document);
            }
        } else if let Some(at) = words.iter().position(|word| word.ends_with("-internal.aliyuncs.com")) {
            if at < 2 || words[at].contains('{') || !words[at].starts_with("oss-") {
                continue;
            }
            // 000: id, public endpoint, internal endpoint. 001: id, id of the OSS region, internal endpoint.
            let (id, second) = (words[at - 2].to_owned(), words[at - 1]);
            let network = if line.contains("Finance Public") { "public" } else { "internal" };
            let key = (id.clone(), network.to_owned());
            add(&mut facts.oss, key.clone(), prefixes(words[at..].iter().copied()), document);
            add(&mut facts.endpoints, key, sorted([words[at]]), document);
            if second.ends_with(".aliyuncs.com") {
                add(&mut facts.public_endpoints, id, sorted([second]), document);
            }
        }
    }
}

/// Reads `oss-finance-vips.yaml`: one flow mapping a line.
fn finance(facts: &mut Facts, text: &str, document: &str) {
    for line in text.lines().filter(|line| line.starts_with("- {")) {
        let field = |name: &str| {
            let rest = line.split_once(&format!("{name}: ")).unwrap().1;
            let end = if rest.starts_with('[') { ']' } else { ',' };
            rest.split_once(end).unwrap().0.trim_start_matches('[').replace(',', " ")
        };
        let key = (field("region"), field("network"));
        add(&mut facts.oss, key.clone(), prefixes(field("vips").split_whitespace()), document);
        add(&mut facts.endpoints, key, sorted(field("endpoints").split_whitespace()), document);
    }
}

fn documented() -> Option<Facts> {
    let mut facts = Facts::default();
    tables(&mut facts, &document("000_")?, "express-connect");
    tables(&mut facts, &document("001_")?, "node-access");
    finance(&mut facts, &document("oss-finance-vips.yaml")?, "oss-regions");
    Some(facts)
}

fn catalog() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_edgeward")).args(["catalog", "--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect()
}

/// The catalog's prefixes; a single address is a prefix, too.
fn nets(value: &Value) -> Vec<String> {
    let words =
        strings(value).into_iter().map(|word| if word.contains('/') { word.into() } else { format!("{word}/32") });
    let words: Vec<String> = words.collect();
    prefixes(words.iter().map(String::as_str))
}

/// Compares the values of each row, and holds the cited source against the documents that have the row.
fn same<T: Ord + Clone + std::fmt::Debug>(what: &str, catalog: &Row<T>, documents: &Row<T>) {
    let values = |rows: &Row<T>| rows.iter().map(|(key, row)| (key.clone(), row.0.clone())).collect::<BTreeMap<_, _>>();
    assert_eq!(values(catalog), values(documents), "{what}: the catalog (left) and the documents (right)");
    for (key, (_, cited)) in catalog {
        let standing = &documents[key].1;
        assert!(cited.is_subset(standing), "{what} of {key:?} cites {cited:?}, but stands in {standing:?}");
    }
}

#[test]
fn the_catalog_is_what_the_documents_say() {
    if !documents_are_here() {
        return;
    }
    let (documents, json) = (documented().unwrap(), catalog());
    let known: BTreeSet<&str> =
        json["documents"].as_array().unwrap().iter().map(|document| document["id"].as_str().unwrap()).collect();
    let cited = |row: &Value| {
        let source = row["source"].as_str().unwrap_or_else(|| panic!("no source: {row}"));
        let date = row["retrieved"].as_str().unwrap_or_else(|| panic!("no retrieval date: {row}"));
        let digits = date.split('-').map(|part| (part.len(), part.parse::<u16>().is_ok())).collect::<Vec<_>>();
        assert_eq!(digits, [(4, true), (2, true), (2, true)], "a date: {date}");
        assert!(known.contains(source), "a document: {source}");
        source.to_owned()
    };

    let mut facts = Facts::default();
    let mut ids = BTreeSet::new();
    for region in json["regions"].as_array().unwrap() {
        let id = region["id"].as_str().unwrap().to_owned();
        assert!(ids.insert(id.clone()), "{id} stands twice");
        if let Some(row) = region["registry"].as_object() {
            assert!(!strings(&row["prefixes"]).is_empty(), "a registry row of {id} without prefixes");
            add(&mut facts.registry, id.clone(), nets(&row["prefixes"]), &cited(&region["registry"]));
        }
        for row in region["oss"].as_array().unwrap() {
            let (key, source) = ((id.clone(), row["network"].as_str().unwrap().to_owned()), cited(row));
            assert!(!facts.oss.contains_key(&key), "{key:?} stands twice");
            add(&mut facts.oss, key.clone(), nets(&row["prefixes"]), &source);
            add(&mut facts.endpoints, key, sorted(strings(&row["endpoints"])), &source);
            if let Some(name) = row["public-endpoint"].as_str() {
                add(&mut facts.public_endpoints, id.clone(), sorted([name]), &source);
            }
        }
    }
    same("the registry", &facts.registry, &documents.registry);
    same("OSS", &facts.oss, &documents.oss);
    same("the OSS endpoints", &facts.endpoints, &documents.endpoints);
    same("the public OSS endpoints", &facts.public_endpoints, &documents.public_endpoints);
    let documented = documents.oss.keys().map(|(id, _)| id).chain(documents.registry.keys());
    assert_eq!(ids, documented.cloned().collect(), "the regions");
    assert_eq!(ids.len(), 34, "the reader of the documents reads all their rows");
}

/// Two regions share an address in the source; the catalog keeps it as written, with a note.
#[test]
fn the_address_of_two_regions_has_a_note() {
    let json = catalog();
    for region in json["regions"].as_array().unwrap() {
        if region["registry"]["prefixes"].as_array().is_some_and(|rows| rows.contains(&"100.100.0.18".into())) {
            let note = region["note"].as_str().unwrap_or_default();
            assert!(note.contains("100.100.0.18"), "{}: the note is {note:?}", region["id"]);
        }
    }
}

/// The host names of a text that hold for every region, or for none: with `{region}`, or without any region's id.
/// Packages come from a host below the region's OSS endpoint, which is a field of the catalog: only the begin counts.
fn templates(text: &str, regions: &BTreeSet<String>) -> BTreeSet<String> {
    let text = text.replace("<br>", " ");
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-.{}".contains(c)));
    let host = |word: &&str| {
        let regional = regions.iter().any(|id| word.contains(id.as_str()));
        let end = word.ends_with(".aliyuncs.com") || word.ends_with(".aliyun.com") || word.ends_with(".org.cn");
        (end && !regional && !word.starts_with("oss-")) || word.starts_with("aliacs-k8s-{region}.")
    };
    let braced = |word: &str| word.matches('{').count() != word.matches('}').count();
    let trim = |word| if braced(word) { word.trim_matches(['{', '}']) } else { word };
    let words = words.map(|word| trim(word.trim_matches('.'))).filter(host);
    let begin = |word: &str| if word.starts_with("aliacs-k8s-") { "aliacs-k8s-{region}." } else { word }.to_owned();
    words.map(begin).collect()
}

#[test]
fn the_host_names_of_the_flows_are_those_of_the_documents() {
    if !documents_are_here() {
        return;
    }
    let facts = documented().unwrap();
    let regions: BTreeSet<String> = facts.oss.into_keys().map(|(id, _)| id).chain(facts.registry.into_keys()).collect();
    let texts = ["000_", "001_", "002_"].map(|begin| templates(&document(begin).unwrap(), &regions));
    let documents: BTreeSet<String> = texts.into_iter().flatten().collect();
    let flows = templates(&fs::read_to_string(FLOWS).unwrap(), &regions);
    assert_eq!(flows, documents, "the host names of the flows (left) and of the documents (right)");
    assert_eq!(documents.len(), 13, "the reader of the documents reads all their names");
}

/// The ports behind each `TCP` and `UDP` of a document, each by itself.
fn written_ports(text: &str) -> BTreeSet<(String, u16)> {
    let text = text.replace("<br>", " ").replace(['|', ',', '(', ')', ';'], " ");
    let mut found = BTreeSet::new();
    let mut protocol = None;
    for word in text.split_whitespace() {
        let range = word.trim_end_matches('.').split('–').map(str::parse::<u16>).collect::<Result<Vec<_>, _>>();
        match (word, range, &protocol) {
            ("TCP" | "UDP", ..) => protocol = Some(word.to_lowercase()),
            ("port" | "ports" | "and" | "or", ..) => {}
            (_, Ok(ports), Some(protocol)) => {
                found.extend((ports[0]..=ports[ports.len() - 1]).map(|port| (protocol.clone(), port)));
            }
            _ => protocol = None,
        }
    }
    found
}

#[test]
fn the_ports_of_the_flows_are_those_of_the_documents() {
    if !documents_are_here() {
        return;
    }
    let texts = ["000_", "001_", "002_", "003_"].map(|begin| written_ports(&document(begin).unwrap()));
    let documents: BTreeSet<(String, u16)> = texts.into_iter().flatten().collect();
    let text = fs::read_to_string(FLOWS).unwrap();
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-/".contains(c)));
    let flows: BTreeSet<(String, u16)> = words
        .filter_map(|word| word.split_once('/').filter(|(protocol, _)| ["tcp", "udp"].contains(protocol)))
        .flat_map(|(protocol, ports)| {
            let ends: Vec<u16> = ports.split('-').filter_map(|port| port.parse().ok()).collect();
            ends.first().map(|first| (*first..=ends[ends.len() - 1]).map(|port| (protocol.to_owned(), port)).collect())
        })
        .flat_map(|ports: Vec<_>| ports)
        .collect();
    // What no document says: BGP, and the baseline's DNS and DHCP.
    let own = [("tcp", 179), ("tcp", 53), ("udp", 53), ("udp", 67), ("udp", 68), ("udp", 546), ("udp", 547)];
    let own = own.map(|(protocol, port)| (protocol.to_owned(), port)).into_iter().collect();
    assert_eq!(flows.difference(&own).cloned().collect::<BTreeSet<_>>(), documents, "flows (left), documents (right)");
}
