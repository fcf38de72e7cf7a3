//! The catalog against the facts of its documents, in both directions: nothing more and nothing less.
//!
//! `fixtures/sources/ID.yaml` has the facts of the document `ID`: regions with their registry prefixes and OSS
//! networks, container networks, and one row for each opening that the document names. They were read from the
//! documents, never from the catalog. A missing file fails the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking
#![allow(clippy::disallowed_methods)] // it reads files and runs the binary

#[path = "support/facts.rs"]
mod facts;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use facts::{BASELINE, documents, list, read, text};
use ipnet::IpNet;
use serde_json::Value;

fn strings(value: &Value, field: &str) -> BTreeSet<String> {
    list(value, field).iter().map(|entry| entry.as_str().unwrap().to_owned()).collect()
}

/// Prefixes, written in one way: a single address is a prefix, too.
fn prefixes(value: &Value, field: &str) -> BTreeSet<String> {
    let whole = |word: String| if word.contains('/') { word } else { format!("{word}/32") };
    strings(value, field).into_iter().map(|word| whole(word).parse::<IpNet>().unwrap().to_string()).collect()
}

fn catalog() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_edgeward")).args(["catalog", "--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_document_has_its_facts_under_the_same_title_and_date() {
    let sources = read("policies/catalog/sources.yaml");
    for document in list(&sources, "sources").iter().filter(|document| document["id"] != BASELINE) {
        let id = text(document, "id");
        let facts = read(&format!("fixtures/sources/{id}.yaml"));
        for field in ["title", "updated"] {
            assert_eq!(facts.get(field), document.get(field), "`{field}` of {id}");
        }
        date(&text(&facts, "retrieved"));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sources");
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = |document: &Value| name == format!("{}.yaml", text(document, "id"));
        assert!(list(&sources, "sources").iter().any(known), "fixtures/sources/{name} is no document of the catalog");
    }
}

fn date(text: &str) {
    let digits: Vec<_> = text.split('-').map(|part| (part.len(), part.parse::<u16>().is_ok())).collect();
    assert_eq!(digits, [(4, true), (2, true), (2, true)], "a date: {text}");
}

/// The values of each key, and the documents that have them.
type Rows<T> = BTreeMap<T, (BTreeSet<String>, BTreeSet<String>)>;

/// What is known of the regions; keys are regions, or regions with the OSS network.
#[derive(Default)]
struct Regions {
    registry: Rows<String>,
    log: Rows<String>,
    monitoring: Rows<String>,
    vips: Rows<(String, String)>,
    endpoints: Rows<(String, String)>,
    public_endpoints: Rows<String>,
}

/// Adds what a document has. A second document may only say the same.
fn add<T: Ord + std::fmt::Debug>(rows: &mut Rows<T>, key: T, values: BTreeSet<String>, document: &str) {
    if values.is_empty() {
        return; // a cell that the document leaves empty
    }
    let message = format!("{document} contradicts another document on {key:?}");
    let row = rows.entry(key).or_insert_with(|| (values.clone(), BTreeSet::new()));
    assert_eq!(row.0, values, "{message}");
    row.1.insert(document.to_owned());
}

impl Regions {
    fn add_oss(&mut self, region: &str, row: &Value, vips: &str, document: &str) {
        let key = (region.to_owned(), text(row, "network"));
        add(&mut self.vips, key.clone(), prefixes(row, vips), document);
        add(&mut self.endpoints, key, strings(row, "endpoints"), document);
        let public = row.get("public-endpoint").and_then(Value::as_str);
        add(&mut self.public_endpoints, region.to_owned(), public.map(str::to_owned).into_iter().collect(), document);
    }

    fn services(&mut self) -> [(&'static str, &mut Rows<String>); 3] {
        [("registry", &mut self.registry), ("log", &mut self.log), ("monitoring", &mut self.monitoring)]
    }

    fn of_the_documents() -> Self {
        let mut regions = Self::default();
        for (id, facts) in documents() {
            for (service, rows) in regions.services() {
                for (region, _) in facts.get(service).and_then(Value::as_object).into_iter().flatten() {
                    add(rows, region.clone(), prefixes(&facts[service], region), &id);
                }
            }
            for row in list(&facts, "oss") {
                regions.add_oss(&text(row, "region"), row, "vips", &id);
            }
        }
        regions
    }

    fn of_the_catalog(json: &Value) -> Self {
        let mut regions = Self::default();
        let documents: BTreeSet<String> = list(json, "documents").iter().map(|document| text(document, "id")).collect();
        let source = |row: &Value| {
            let source = text(row, "source");
            date(&text(row, "retrieved"));
            assert!(documents.contains(&source), "a document: {source}");
            source
        };
        for region in list(json, "regions") {
            let id = text(region, "id");
            for (service, rows) in regions.services() {
                let row = &region[service];
                if !row.is_null() {
                    assert!(!list(row, "prefixes").is_empty(), "the {service} of {id} has no prefixes");
                    add(rows, id.clone(), prefixes(row, "prefixes"), &source(row));
                }
            }
            for row in list(region, "oss") {
                regions.add_oss(&id, row, "prefixes", &source(row));
            }
        }
        regions
    }

    fn ids(&self) -> BTreeSet<String> {
        self.vips.keys().map(|(region, _)| region).chain(self.registry.keys()).cloned().collect()
    }
}

/// Compares the values of each row. The document that the catalog cites must have the row.
fn same<T: Ord + Clone + std::fmt::Debug>(what: &str, catalog: &Rows<T>, documents: &Rows<T>) {
    let values =
        |rows: &Rows<T>| rows.iter().map(|(key, row)| (key.clone(), row.0.clone())).collect::<BTreeMap<_, _>>();
    assert_eq!(values(catalog), values(documents), "{what}: the catalog (left) and the documents (right)");
    for (key, (_, cited)) in catalog {
        let having = &documents[key].1;
        assert!(cited.is_subset(having), "{what} of {key:?} cites {cited:?}, but only {having:?} have it");
    }
}

#[test]
fn the_regions_are_those_of_the_documents() {
    let json = catalog();
    let (catalog, documents) = (Regions::of_the_catalog(&json), Regions::of_the_documents());
    same("the registry", &catalog.registry, &documents.registry);
    same("Log Service", &catalog.log, &documents.log);
    same("monitoring", &catalog.monitoring, &documents.monitoring);
    same("OSS VIPs", &catalog.vips, &documents.vips);
    same("OSS endpoints", &catalog.endpoints, &documents.endpoints);
    same("public OSS endpoints", &catalog.public_endpoints, &documents.public_endpoints);

    let ids: Vec<String> = list(&json, "regions").iter().map(|region| text(region, "id")).collect();
    let unique: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), unique.len(), "a region has two rows: {ids:?}");
    assert_eq!(unique, documents.ids(), "the regions");
    for region in list(&json, "regions") {
        let networks: Vec<String> = list(region, "oss").iter().map(|row| text(row, "network")).collect();
        assert_eq!(networks.len(), networks.iter().collect::<BTreeSet<_>>().len(), "{region}");
    }
}

/// A document gives one address to two regions; the catalog keeps it as written, with a note.
#[test]
fn the_address_of_two_regions_has_a_note() {
    let mut regions: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for region in list(&catalog(), "regions") {
        let note = region["note"].as_str().unwrap_or_default();
        for prefix in prefixes(&region["registry"], "prefixes") {
            regions.entry(prefix).or_default().push((text(region, "id"), note.to_owned()));
        }
    }
    let shared: BTreeMap<_, _> = regions.into_iter().filter(|(_, regions)| regions.len() > 1).collect();
    assert_eq!(shared.keys().collect::<Vec<_>>(), ["100.100.0.18/32"]);
    for (prefix, regions) in shared {
        for (region, note) in regions {
            assert!(note.contains(&prefix), "{region}: the note is {note:?}");
        }
    }
}

#[test]
fn devices_have_the_limits_of_the_document() {
    let elements = read("policies/catalog/elements.yaml");
    let facts = read("fixtures/sources/network-limits.yaml");
    for (name, value) in facts["limits"].as_object().unwrap() {
        assert_eq!(&elements["limits"][name], value, "{name}");
    }
    assert_eq!(prefixes(&elements["health-checks"], "prefixes"), prefixes(&facts, "health-checks"));
    for part in ["limits", "health-checks"] {
        assert_eq!(text(&elements[part], "source"), "network-limits");
    }
}

#[test]
fn a_region_that_closes_down_says_so() {
    let catalog = catalog();
    for (id, facts) in documents() {
        for region in strings(&facts, "closing-down") {
            let row = list(&catalog, "regions").iter().find(|row| row["id"] == *region).expect("its row");
            assert!(text(row, "note").contains("closing down"), "{id}: {row}");
        }
    }
}

#[test]
fn the_container_networks_are_those_of_the_documents() {
    let row = |document: &str, cni: &Value| (document.to_owned(), text(cni, "id"), text(cni, "routed"));
    let documents = documents();
    let said = documents.iter().flat_map(|(id, facts)| list(facts, "cnis").iter().map(move |cni| row(id, cni)));
    let said: BTreeSet<_> = said.collect();
    let flows = read("policies/catalog/flows.yaml");
    let catalog: BTreeSet<_> = list(&flows, "cnis").iter().map(|cni| row(&text(cni, "source"), cni)).collect();
    assert!(catalog.is_subset(&said), "the catalog {catalog:#?}, the documents {said:#?}");
    let names = |rows: &BTreeSet<(String, String, String)>| -> BTreeSet<(String, String)> {
        rows.iter().map(|(_, id, routed)| (id.clone(), routed.clone())).collect()
    };
    assert_eq!(names(&catalog), names(&said), "the catalog (left) and the documents (right)");
}

/// A row of the catalog's flows or of a document's, as far as documents say anything of it.
#[derive(Clone, Debug, PartialEq)]
struct Opening {
    /// The document and the section.
    at: (String, String),
    direction: String,
    /// Zones, endpoints and names with their conditions. Prefixes of regions are compared by themselves.
    peers: BTreeSet<String>,
    /// One entry for each port, `tcp/80 before 1.26`.
    ports: BTreeSet<String>,
    /// The conditions that narrow the row down within its document.
    when: BTreeMap<String, BTreeSet<String>>,
}

/// The conditions that documents express. Target, cluster and connection are what a document is about.
const CONDITIONS: [&str; 5] = ["cni", "phase", "scope", "self-host-ntp", "version-before"];

impl Opening {
    /// A row of `fixtures/sources`.
    fn of_a_document(id: &str, section: &Value, row: &Value) -> Self {
        let when = row.get("when").and_then(Value::as_object).into_iter().flatten();
        Self {
            at: (id.to_owned(), text(section, "section")),
            direction: text(row, "direction"),
            peers: strings(row, "peers"),
            ports: ports(row),
            when: when.map(|(name, _)| (name.clone(), strings(&row["when"], name))).collect(),
        }
    }

    /// A row of the catalog.
    fn of_the_catalog(row: &Value) -> Self {
        let mut when = BTreeMap::new();
        for (name, value) in row.get("when").and_then(Value::as_object).into_iter().flatten() {
            let one = || value.as_str().unwrap().to_owned();
            let values = if value.is_array() { strings(&row["when"], name) } else { [one()].into() };
            if CONDITIONS.contains(&name.as_str()) {
                when.insert(name.clone(), values);
            }
        }
        Self {
            at: (text(row, "source"), text(row, "section")),
            direction: text(row, "direction"),
            peers: list(row, "peers").iter().filter_map(peer).collect(),
            ports: ports(row),
            when,
        }
    }

    /// Whether the opening lets through what another one says.
    fn covers(&self, other: &Self) -> bool {
        let port = |said: &String| self.ports.iter().any(|port| port == said || port.starts_with(&format!("{said} ")));
        (self.direction == "both" || self.direction == other.direction)
            && other.peers.is_subset(&self.peers)
            && other.ports.iter().all(port)
            && other.when.iter().all(|(name, values)| self.when.get(name) == Some(values))
    }
}

/// A peer of the catalog in the words of `fixtures/sources`; `None` for the prefixes of a region.
fn peer(peer: &Value) -> Option<String> {
    let field = |name: &str| peer.get(name).map(|value| value.as_str().unwrap().to_owned());
    let regions = |name| strings(&peer["when"], name).into_iter().collect::<Vec<_>>().join(", ");
    if let Some(zone) = field("zone") {
        // A zone that may be empty is an addition that only the operator can make.
        if field("optional").is_some() {
            return None;
        }
        return Some(field("else").map_or(zone.clone(), |other| format!("{zone} or {other}")));
    }
    let Some(name) = field("name") else { return field("endpoint") };
    // OSS endpoints are fields of the regions, since those of finance regions follow no pattern.
    let mut name = name
        .replace("{oss-internal}", "oss-{region}-internal.aliyuncs.com")
        .replace("{oss-public}", "oss-{region}.aliyuncs.com");
    for (condition, words) in [("region", " in "), ("not-region", " not in ")] {
        if peer.get("when").is_some_and(|when| when.get(condition).is_some()) {
            name += words;
            name += &regions(condition);
        }
    }
    Some(if field("optional").is_some() { name + " in some regions" } else { name })
}

/// The ports of a row, each by itself: `tcp/10262-10263 before 1.26` is two.
fn ports(row: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in strings(row, "ports") {
        let (traffic, versions) = word.split_once(' ').map_or((&*word, ""), |(traffic, rest)| (traffic, rest));
        let range = traffic.split_once('/').and_then(|(protocol, ports)| Some((protocol, ports.split_once('-')?)));
        let Some((protocol, (first, last))) = range else {
            found.insert(word);
            continue;
        };
        for port in first.parse::<u16>().unwrap()..=last.parse().unwrap() {
            found.insert(format!("{protocol}/{port} {versions}").trim_end().to_owned());
        }
    }
    found
}

fn openings_of_the_documents() -> Vec<Opening> {
    let mut found = Vec::new();
    for (id, facts) in documents() {
        for section in list(&facts, "flows") {
            found.extend(list(section, "rows").iter().map(|row| Opening::of_a_document(&id, section, row)));
        }
    }
    found
}

#[test]
fn the_flows_are_those_of_the_documents() {
    let documents = openings_of_the_documents();
    let flows = read("policies/catalog/flows.yaml");
    let inferred = |row: &&Value| row.get("inferred").is_some_and(|inferred| inferred == "true");
    let rows = list(&flows, "flows").iter().filter(|row| row["source"] != BASELINE);
    let (inferred, said): (Vec<_>, Vec<_>) = rows.partition(inferred);
    let said: Vec<Opening> = said.into_iter().map(Opening::of_the_catalog).collect();

    for opening in &said {
        let section: Vec<_> = documents.iter().filter(|other| other.at == opening.at).collect();
        assert!(section.contains(&opening), "the catalog has {opening:#?}\nits section has {section:#?}");
    }
    for opening in &documents {
        let near: Vec<_> = said.iter().filter(|other| !other.ports.is_disjoint(&opening.ports)).collect();
        assert!(
            said.iter().any(|other| other.covers(opening)),
            "no flow covers {opening:#?}\nthe catalog has {near:#?}"
        );
    }
    for row in inferred {
        let opening = Opening::of_the_catalog(row);
        let said = documents.iter().any(|other| other.at == opening.at && *other == opening);
        assert!(!said, "marked as inferred, but the document has it: {opening:#?}");
    }
}

/// What operators name themselves: the ports of a document that no flow has.
#[test]
fn the_needs_have_the_ports_of_their_documents() {
    let flows = read("policies/catalog/flows.yaml");
    let row = |document: &str, need: &Value| (document.to_owned(), text(need, "id"), strings(need, "ports"));
    let documents = documents();
    let said = documents.iter().flat_map(|(id, facts)| list(facts, "needs").iter().map(move |need| row(id, need)));
    let said: BTreeSet<_> = said.collect();
    assert!(!said.is_empty());
    let catalog: BTreeSet<_> = list(&flows, "needs").iter().map(|need| row(&text(need, "source"), need)).collect();
    // The others are guesses: documents of registered clusters have no ports.
    let catalog: BTreeSet<_> = catalog.into_iter().filter(|(source, ..)| source != "hybrid").collect();
    assert_eq!(said, catalog);
}

/// A line of docs/sources.md.
struct Line {
    document: String,
    section: String,
    requirement: String,
    shown_by: String,
}

fn page() -> Vec<Line> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sources.md");
    let (mut lines, mut document) = (Vec::new(), None);
    for line in fs::read_to_string(file).unwrap().lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            document = Some(heading.trim_matches('`').to_owned());
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let (Some(document), [section, requirement, shown_by]) = (&document, &*cells) else { continue };
        if line.starts_with("| ") && *section != "section" {
            let [section, requirement, shown_by] = [section, requirement, shown_by].map(|cell| (*cell).to_owned());
            lines.push(Line { document: document.clone(), section, requirement, shown_by });
        }
    }
    lines
}

/// The words of a text in backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What is written for devices that edgeward does not serve.
const NOT_COVERED: &str = "not covered";

#[test]
fn every_requirement_says_what_shows_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let diagnostics = fs::read_to_string(root.join("docs/diagnostics.md")).unwrap();
    let is_test = |target: &str, name: &str| {
        let folder =
            fs::read_dir(root.join("tests").join(target)).into_iter().flatten().map(|file| file.unwrap().path());
        let mut files = folder.chain([root.join(format!("tests/{target}.rs"))]);
        let start = format!("#[test]\nfn {name}()");
        files.any(|file| fs::read_to_string(file).is_ok_and(|text| text.contains(&start)))
    };
    for Line { document, section, requirement, shown_by } in page() {
        let words = quoted(&shown_by);
        assert_eq!(words.is_empty(), shown_by == NOT_COVERED, "{document}, {section}, {requirement}: {shown_by}");
        for word in words {
            let known = match word.split_once("::") {
                Some((target, name)) => is_test(target, name),
                None => diagnostics.contains(&format!("\n### `{word}`\n")),
            };
            assert!(known, "{document}, {section}, {requirement}: `{word}` is no test and no diagnostic");
        }
    }
}

#[test]
fn no_opening_of_the_documents_lacks_a_line() {
    let page = page();
    let documents = documents();
    let known: BTreeSet<&str> = documents.keys().map(String::as_str).collect();
    let described: BTreeSet<&str> = page.iter().map(|line| &*line.document).collect();
    assert_eq!(described, known, "the documents of the page (left) and of the catalog (right)");
    for (id, facts) in &documents {
        for section in list(facts, "flows") {
            let name = text(section, "section");
            let lines: Vec<&Line> = page.iter().filter(|line| line.document == *id && line.section == name).collect();
            for row in list(section, "rows") {
                // The words of the requirement have no conditions, and no peers that are zones with another one for the
                // case that they are empty.
                let first = |word: &String| word.split(' ').next().unwrap().to_owned();
                let ports: BTreeSet<String> = strings(row, "ports").iter().map(first).collect();
                let peers: BTreeSet<String> = strings(row, "peers").iter().map(first).collect();
                let says = |line: &&&Line| {
                    let has = |word: &String| quoted(&line.requirement).contains(&&**word) || mentions(line, word);
                    line.shown_by != NOT_COVERED && ports.iter().all(has) && peers.iter().all(has)
                };
                assert!(lines.iter().find(says).is_some(), "no line of docs/sources.md, {id}, {name}: {row}");
            }
        }
    }
}

/// Whether a requirement has a word that is no name and no port.
fn mentions(line: &Line, word: &str) -> bool {
    let is_part = |char: char| char.is_alphanumeric() || char == '-';
    !word.contains(['.', '/']) && line.requirement.split(|char| !is_part(char)).any(|other| other == word)
}
