//! The catalog: what is refused when it is loaded, and that the code holds none of its data.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use edgeward::catalog::{Catalog, FILES};
use edgeward::policy;
use serde_json::Value;
use tempfile::TempDir;

const POLICY: &str = "policies/express-connect-flannel.yaml";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A copy of the catalog with a text appended to one of its files.
fn with(file: &str, more: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in FILES {
        fs::copy(root("policies/catalog").join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join(file);
    let text = fs::read_to_string(&path).unwrap() + more;
    fs::write(path, text).unwrap();
    folder
}

/// What a verb says with a catalog, and its exit code.
fn run(verb: &str, catalog: &Path) -> (String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    command.args(["--catalog", catalog.to_str().unwrap(), verb, POLICY]);
    let output = command.current_dir(root("")).env("NO_COLOR", "1").output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

/// The number of the line that is the `number`-th of its kind.
fn line_of(text: &str, line: &str, number: usize) -> usize {
    text.lines().enumerate().filter(|(_, other)| *other == line).nth(number).unwrap().0 + 1
}

fn row(id: &str, when: &str, direction: &str, peers: &str) -> String {
    format!(
        "\n- id: {id}\n  purpose: a test\n  when: {when}\n  direction: {direction}\n  peers: {peers}\n  \
         ports: [tcp/443]\n  source: edgeward\n  retrieved: 2026-11-25\n"
    )
}

#[test]
fn a_catalog_without_cloud_facts_uses_the_built_in_ones() {
    let folder = with("sources.yaml", "");
    fs::remove_file(folder.path().join("cloud.yaml")).unwrap();
    let (said, code) = run("compile", folder.path());
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("error"), "{said}");
    fs::remove_file(folder.path().join("regions.yaml")).unwrap();
    let (said, code) = run("compile", folder.path());
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("regions.yaml"), "{said}");
}

#[test]
fn two_rows_that_can_meet_are_refused_with_both_places() {
    for (when, direction) in [("{connection: express-connect}", "inbound"), ("{cni: [flannel, terway-edge]}", "both")] {
        let folder = with("flows.yaml", &row("kubelet", when, direction, "[{zone: hosts}]"));
        let text = fs::read_to_string(folder.path().join("flows.yaml")).unwrap();
        let [first, second] =
            [0, text.matches("\n- id: kubelet\n").count() - 1].map(|number| line_of(&text, "- id: kubelet", number));
        for verb in ["check", "compile"] {
            let (message, code) = run(verb, folder.path());
            assert_eq!(code, Some(2), "{message}");
            for place in [first, second] {
                assert!(message.contains(&format!("flows.yaml:{place}:7")), "{place}\n{message}");
            }
            assert!(message.contains("two rows of the flow `kubelet`, inbound, can apply to one policy"), "{message}");
        }
    }
}

#[test]
fn rows_that_cannot_meet_are_accepted() {
    for (id, when, direction) in [
        ("kubelet", "{cluster: ack-edge, connection: express-connect}", "outbound"),
        ("cilium-vxlan", "{cni: [flannel]}", "both"),
        ("tunnel-server", "{connection: public, version-from: \"1.26\"}", "outbound"),
        ("my-own", "{}", "both"),
    ] {
        let folder = with("flows.yaml", &row(id, when, direction, "[{prefix: 203.0.113.0/24}]"));
        let (said, code) = run("check", folder.path());
        assert!(code == Some(0) && !said.contains("error"), "{id} {when} {direction}: {said}");
    }
}

#[test]
fn ends_have_exactly_one_kind_and_conditions_name_rows() {
    for (when, peers, expected) in [
        ("{}", "[{zone: hosts, any: true}]", "the end of a flow has `zone` and `any`"),
        ("{}", "[{else: hosts}]", "the end of a flow has no addresses"),
        ("{}", "[{any: true, optional: true}]", "`optional` has no effect without `name` or `zone`"),
        ("{}", "[{name: a.example.com, else: vpc}]", "`else` has no effect without `zone`"),
        ("{cni: [flanel]}", "[{any: true}]", "`flanel` is not a CNI of the catalog"),
        ("{region: [cn-hangzou]}", "[{any: true}]", "`cn-hangzou` is not a region of the catalog"),
        ("{}", "[{any: true, when: {not-region: [moon-1]}}]", "`moon-1` is not a region of the catalog"),
    ] {
        let folder = with("flows.yaml", &row("test", when, "inbound", peers));
        let (message, code) = run("check", folder.path());
        assert_eq!(code, Some(2), "{peers}");
        assert!(message.contains(expected), "{expected}:\n{message}");
    }
}

/// Checks that a row of the flow `test` with a text replaced is refused in its file.
fn refused(from: &str, to: &str, expected: &str) {
    let row = row("test", "{}", "outbound", "[{prefix: 203.0.113.0/24}]");
    assert!(row.contains(from), "{from}");
    let folder = with("flows.yaml", &row.replace(from, to));
    for verb in ["check", "compile"] {
        let (message, code) = run(verb, folder.path());
        assert_eq!(code, Some(2), "{to}:\n{message}");
        assert!(message.contains(expected) && message.contains("flows.yaml:"), "{expected}:\n{message}");
    }
}

#[test]
fn source_ports_apply_to_all_ports_of_a_row() {
    let both = "the source ports of the flow `test` differ between TCP and UDP";
    for (ports, from, expected) in [
        ("any", "tcp/5", "`from-ports` needs ports of TCP or UDP, and the flow `test` has others"),
        ("tcp/1, icmp-echo", "tcp/5", "`from-ports` needs ports of TCP or UDP, and the flow `test` has others"),
        ("tcp/1", "ssh", "`ssh` is not a source port of TCP or UDP"),
        ("tcp/1", "icmp-echo", "`icmp-echo` is not a source port of TCP or UDP"),
        ("tcp/1", "any", "`any` is not a source port of TCP or UDP"),
        ("tcp/1", "tcp/0", "`0` is not a port from 1 to 65535"),
        ("tcp/1, udp/1", "udp/5, tcp/7", both),
        ("ssh, udp/1", "udp/5, tcp/5-6", both),
        ("tcp/1", "udp/5", "`ports` of the flow `test` has `tcp/…`, and `from-ports` does not"),
        ("tcp/1", "tcp/5, udp/5", "`from-ports` has `udp/…`, and `ports` of the flow `test` does not"),
        ("tcp/1, udp/1", "udp/5", "`ports` of the flow `test` has `tcp/…`, and `from-ports` does not"),
        ("tcp/1", "tcp/5 before 1.0", "`tcp/5 before 1.0`: source ports cannot be limited to versions"),
    ] {
        refused("ports: [tcp/443]", &format!("ports: [{ports}]\n  from-ports: [{from}]"), expected);
    }
    for (ports, from) in [("tcp/1, udp/1", "udp/5, tcp/5"), ("ssh, tcp/1", "tcp/5, tcp/7-9")] {
        let row = row("test", "{}", "outbound", "[{prefix: 203.0.113.0/24}]");
        let ports = format!("ports: [{ports}]\n  from-ports: [{from}]");
        let folder = with("flows.yaml", &row.replace("ports: [tcp/443]", &ports));
        // Of the age of the lockfile there may be a warning: it depends on today.
        let (said, code) = run("compile", folder.path());
        assert_eq!(code, Some(0), "{ports}:\n{said}");
        assert!(!said.contains("flows.yaml"), "{ports}:\n{said}");
    }
}

#[test]
fn names_have_known_placeholders() {
    let placeholders = "the placeholders are `{region}`, `{oss-internal}` and `{oss-public}`";
    for (name, expected) in [
        ("x.{foo}.example.com", "unknown placeholder in `x.{foo}.example.com`"),
        ("x.{foo}.example.com", placeholders),
        ("x.{region.example.com", "unknown placeholder in `x.{region.example.com`"),
        ("x.region}.example.com", placeholders),
        ("{oss-internal}.{oss-public}", "has both OSS placeholders"),
        ("x..example.com", "x..example.com"),
        ("{region}", "{region}"),
    ] {
        refused("{prefix: 203.0.113.0/24}", &format!("{{name: \"{name}\"}}"), expected);
    }
}

#[test]
fn rows_without_effect_and_dates_that_are_none_are_refused() {
    let never = "a condition of the flow `test` never holds: no version is 1.30 or later and before 1.26";
    let versions = "{version-from: \"1.30\", version-before: \"1.26\"}";
    refused("when: {}", &format!("when: {versions}"), never);
    refused("203.0.113.0/24}", &format!("203.0.113.0/24, when: {versions}}}"), never);
    let families = "the flow `test` has no addresses of one family at both ends";
    refused("ports:", "family: v6\n  ports:", families);
    refused("ports:", "local: [{prefix: \"2001:db8::/32\"}]\n  ports:", families);
    for date in ["yesterday", "2026-02-30", "20261125", "2026-1-5"] {
        refused("2026-11-25", date, &format!("expected a date, found `{date}`"));
    }
}

#[test]
fn broad_rows_meet_only_rows_of_gateways_over_a_leased_line() {
    for (when, code) in [
        ("{target: edge-host}", 0),
        ("{connection: public}", 0),
        ("{target: idc-gateway, connection: express-connect}", 2),
    ] {
        let flow = |when| row("test", when, "outbound", "[{prefix: 203.0.113.0/24}]");
        let folder = with("flows.yaml", &(flow("{scope: broad}") + &flow(when)));
        let (message, actual) = run("check", folder.path());
        assert_eq!(actual, Some(code), "{when}:\n{message}");
    }
}

#[test]
fn a_cni_is_offered_somewhere() {
    let flows = fs::read_to_string(root("policies/catalog/flows.yaml")).unwrap();
    let (head, rest) = flows.split_once("cnis:\n").unwrap();
    let none = format!("{head}cnis: []\n\nflows:{}", rest.split_once("flows:").unwrap().1);
    let nowhere = flows.replacen("connections: [express-connect, public]", "connections: []", 1);
    for (text, expected) in [(none, "`cnis` is empty"), (nowhere, "the CNI `flannel` has no connections")] {
        let folder = with("flows.yaml", "");
        fs::write(folder.path().join("flows.yaml"), text).unwrap();
        let (message, code) = run("check", folder.path());
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains(expected), "{expected}:\n{message}");
    }
    let elsewhere = flows.replace(", cluster: ack-edge, connections", ", cluster: registered, connections");
    let folder = with("flows.yaml", "");
    fs::write(folder.path().join("flows.yaml"), elsewhere).unwrap();
    let (message, _) = run("check", folder.path());
    assert!(message.contains("the catalog has no CNI of `ack-edge` clusters over `express-connect`"), "{message}");
    assert!(!message.contains("one of \n"), "{message}");
}

#[test]
fn a_catalog_that_is_too_large_is_called_a_catalog() {
    let folder = with("flows.yaml", "");
    for text in ["a: 1\n".repeat(14 << 20), format!("- [{}]\n", "1, ".repeat(3_000_000))] {
        fs::write(folder.path().join("sources.yaml"), text).unwrap();
        let (message, code) = run("check", folder.path());
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains("too-large") && message.contains("catalog"), "{message}");
        assert!(!message.contains("peers-file"), "{message}");
    }
}

#[test]
fn a_catalog_that_is_no_folder_is_one_message() {
    let folder = with("sources.yaml", "");
    for (path, expected) in [
        (folder.path().join("missing"), "cannot read the catalog folder"),
        (folder.path().join("sources.yaml"), "`--catalog` expects a folder"),
    ] {
        let (message, code) = run("check", &path);
        assert_eq!(code, Some(4), "{message}");
        assert!(message.contains(expected) && message.contains(&format!("`{}`", path.display())), "{message}");
        assert_eq!((message.lines().count(), message.matches("error: ").count()), (1, 1), "{message}");
    }
}

/// A new CNI needs a row, and no code.
#[test]
fn a_cni_is_a_row() {
    let flows = fs::read_to_string(root("policies/catalog/flows.yaml")).unwrap();
    let row =
        "- {id: flannel, cluster: ack-edge, connections: [express-connect, public], routed: false, source: flannel}\n";
    let folder = with("flows.yaml", "");
    let more = row.replace("flannel, cluster", "moonlight, cluster");
    fs::write(folder.path().join("flows.yaml"), flows.replace(row, &(row.to_owned() + &more))).unwrap();
    let policy = fs::read_to_string(root(POLICY)).unwrap().replace("cni: flannel", "cni: moonlight");
    let path = folder.path().join("policy.yaml");
    fs::write(&path, policy).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    let output = command.arg("--catalog").arg(folder.path()).arg("check").arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let schema =
        Command::new(env!("CARGO_BIN_EXE_edgeward")).arg("--catalog").arg(folder.path()).arg("schema").output();
    assert!(String::from_utf8(schema.unwrap().stdout).unwrap().contains("moonlight"));
}

// ── the documentation ────────────────────────────────────────────────────────────────────────────────────────────

/// The defaults of a schema's object by path, `resolve.timeout`; those of lists and of other sections are left out.
fn defaults(schema: &Value, object: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    for (name, field) in object["properties"].as_object().unwrap() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.extend(field.get("default").map(|default| (path.clone(), default.clone())));
        let named = |field: &Value| Some(field["$ref"].as_str()?.strip_prefix("#/$defs/")?.to_owned());
        let section = named(field).or_else(|| field["anyOf"].as_array()?.iter().find_map(named));
        let items = named(&field["items"]);
        if let Some(section) = section.or(items).map(|name| &schema["$defs"][name])
            && section["properties"].is_object()
        {
            defaults(schema, section, &path, found);
        }
    }
}

#[test]
fn documented_defaults_are_those_of_the_schema() {
    let schema = policy::schema(&Catalog::embedded().unwrap()).to_value();
    let mut found = Vec::new();
    defaults(&schema, &schema, "", &mut found);
    let page = fs::read_to_string(root("docs/policy.md")).unwrap();
    let rows: Vec<Vec<&str>> = page.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    for (path, default) in &found {
        let name = path.rsplit('.').next().unwrap();
        let text = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        let described = |field: &str| field == format!("`{path}`") || field == format!("`{name}`");
        let row = rows.iter().find(|row| row.len() == 5 && described(row[1]) && row[3] == format!("`{text}`"));
        assert!(row.is_some(), "docs/policy.md has no row of `{path}` with the default `{text}`");
    }
    assert!(found.len() >= 15, "{found:?}");
}

// ── no data in code ──────────────────────────────────────────────────────────────────────────────────────────────

/// Words that are flows of the catalog and something else in code: the word, what it means, and where.
const HOMONYMS: &[(&str, &str, &[&str])] = &[
    ("api-server", "a kind of endpoint, as rows and policies write it", &["src/catalog/", "src/policy/mod.rs"]),
    ("broad", "a scope", &["src/site.rs"]),
    ("control-plane", "a zone", &["src/catalog/", "src/cli/verb/init.rs"]),
    ("dns", "a cause of a difference", &["src/cli/"]),
    ("icmp", "a protocol", &["src/cli/", "src/lower/", "src/net/", "src/nft/"]),
    ("neighbour-discovery", "a group of ICMP types, as rows write it", &["src/net/"]),
    ("pods", "a zone", &["src/catalog/", "src/cli/verb/init.rs"]),
    ("services", "a zone", &["src/catalog/", "src/cli/verb/init.rs"]),
    ("ssh", "the port word of the policy's SSH port", &["src/catalog/"]),
];

/// The text of a source file without comments and tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("\n#[cfg(test)]\n").next().unwrap();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    code.lines().filter(is_code).map(|line| line.split(" // ").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn sources() -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.ends_with("tests.rs") => {}
                false => files.push(path),
            }
        }
    }
    files.sort();
    assert!(files.len() > 80);
    files
}

/// The IPv4 addresses that a text names, as text or as a call of `Ipv4Addr::new`.
fn addresses(code: &str) -> Vec<Ipv4Addr> {
    let written = code.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|word| word.parse().ok());
    let calls = code.split("Ipv4Addr::new(").skip(1).filter_map(|call| call.split(')').next());
    written.chain(calls.filter_map(|octets| octets.replace(", ", ".").parse().ok())).collect()
}

/// What an address in code may be: an example, or a part of a special-purpose registry (RFC 6890, RFC 6598).
fn is_no_data(address: Ipv4Addr) -> bool {
    let shared = Ipv4Addr::new(100, 64, 0, 0);
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_documentation()
        || ["192.0.0.0", "192.88.99.0", "198.18.0.0", "224.0.0.0", "240.0.0.0"].contains(&address.to_string().as_str())
        || address == shared
}

#[test]
fn the_code_has_no_address_name_or_flow_of_the_catalog() {
    let catalog = Catalog::embedded().unwrap();
    let ids: BTreeSet<&str> = catalog.flows.iter().map(|row| row.id.value.as_str()).collect();
    let mut wrong = Vec::new();
    for path in sources() {
        let (code, file) = (code(&path), path.strip_prefix(root("")).unwrap().to_str().unwrap().to_owned());
        let data = addresses(&code).into_iter().filter(|address| !is_no_data(*address));
        wrong.extend(data.map(|address| format!("{file}: the address {address}")));
        if ["aliyuncs", "aliyun.com"].iter().any(|name| code.contains(name)) {
            wrong.push(format!("{file}: a name of the cloud"));
        }
        for id in ids.iter().filter(|id| code.contains(&format!("\"{id}\""))) {
            let is_other = |(word, _, places): &(&str, &str, &[&str])| {
                word == id && places.iter().any(|place| file.starts_with(place))
            };
            if !HOMONYMS.iter().any(is_other) {
                wrong.push(format!("{file}: the flow `{id}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "data of the catalog in code:\n{}", wrong.join("\n"));
}

#[test]
fn addresses_are_found_in_every_form() {
    assert_eq!(addresses("x \"10.0.0.0/8, 1.2.3.4\" y"), [Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(1, 2, 3, 4)]);
    assert_eq!(addresses("Ipv4Addr::new(100, 100, 100, 200)"), [Ipv4Addr::new(100, 100, 100, 200)]);
}
