//! The formats: what a person, a spreadsheet and a program read, and the exit codes.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use edgeward::resolution::Resolution;
use serde_json::Value;
use tempfile::TempDir;

use super::{Site, all_policies, examples};

const POLICY: &str = "policies/express-connect-flannel.yaml";

fn edgeward(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edgeward")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The example with another row in `allow`.
fn with_row(row: &str) -> Site {
    let policy = fs::read_to_string(POLICY).unwrap() + row;
    Site::new("site.yaml", &policy, Site::read(POLICY.as_ref(), None).unwrap().resolution, None).unwrap()
}

/// The records of a CSV by column.
fn records(csv: &str) -> Vec<std::collections::BTreeMap<String, String>> {
    let mut reader = csv::ReaderBuilder::new().from_reader(csv.as_bytes());
    reader.deserialize().map(|record| record.unwrap()).collect()
}

#[test]
fn json_has_the_shape_of_the_documentation() {
    let document = Site::read(POLICY.as_ref(), None).unwrap().json();
    assert_eq!(document["version"], 1);
    let kubelet = &document["flows"][0];
    assert_eq!(kubelet["flow"], "kubelet");
    assert_eq!(kubelet["direction"], "inbound");
    assert_eq!(kubelet["local"][0]["prefix"], "10.0.0.0/8");
    assert_eq!(kubelet["peers"][0]["prefix"], "192.168.0.0/16");
    assert_eq!(kubelet["peers"][0]["name"], Value::Null);
    assert_eq!(kubelet["peers"][0]["because"]["file"], POLICY);
    assert_eq!(kubelet["ports"], serde_json::json!(["tcp/10250", "tcp/10255"]));
    assert_eq!(kubelet["source"]["document"], "express-connect");
    assert_eq!(kubelet["source"]["inferred"], false);
    let row = |flow: &str| document["flows"].as_array().unwrap().iter().find(|row| row["flow"] == flow).unwrap();
    let name = &row("ntp")["peers"][0];
    assert_eq!((&name["name"], &name["prefix"]), (&"ntp1.aliyun.com".into(), &"198.51.100.7".into()));
    assert_eq!(name["because"]["last-seen"], "2026-11-21T02:00:00Z");
    assert_eq!(name["because"]["origin"]["kind"], "catalog");
    assert_eq!(row("icmp")["peers"][0]["any"], true);
    assert_eq!(row("dhcp")["source-ports"], serde_json::json!(["udp/67"]));
    assert_eq!(row("package-mirror")["source"]["line"], 25);
}

/// The keys of an object and of all that are in it.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            found.insert(key.clone());
            keys(value, found);
        }),
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

#[test]
fn every_key_and_every_column_is_documented() {
    let document = fs::read_to_string("docs/flows.md").unwrap() + &fs::read_to_string("docs/explain.md").unwrap();
    let mut found = BTreeSet::new();
    for path in examples() {
        let site = Site::read(&path, None).unwrap();
        keys(&site.json(), &mut found);
        found.extend(site.list().csv().lines().next().unwrap().split(',').map(str::to_owned));
    }
    let missing: Vec<&String> = found.iter().filter(|key| !document.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_text_fits_on_a_page() {
    for path in all_policies() {
        let Some(site) = Site::read(&path, None) else { continue };
        let text = site.list().text();
        let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 100).collect();
        assert!(long.is_empty(), "{}: {long:#?}", path.display());
        assert!(text.lines().all(|line| line.trim_end() == line && !line.contains('\u{1b}')), "{text}");
        for row in site.json()["flows"].as_array().unwrap() {
            let flow = row["flow"].as_str().unwrap();
            assert!(text.lines().any(|line| line.starts_with(&flow[..flow.len().min(18)])), "{flow}: {text}");
        }
    }
}

#[test]
fn a_spreadsheet_gets_each_conversation_and_no_formula() {
    for path in all_policies() {
        let Some(site) = Site::read(&path, None) else { continue };
        let csv = site.list().csv();
        assert!(csv.ends_with("\r\n") && csv.matches('\n').count() == csv.matches("\r\n").count());
        let rows = site.json()["flows"].as_array().unwrap().len();
        assert_eq!(records(&csv).len(), rows, "{}", path.display());
    }
    for (purpose, safe) in [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("a, \"b\";=c", "a, \"b\";'=c"),
        ("软件包", "软件包"),
    ] {
        let row =
            format!("- {{id: evil, direction: inbound, peers: [10.0.9.9], ports: [tcp/1], purpose: '{purpose}'}}\n");
        let records = records(&with_row(&row).list().csv());
        let record = records.iter().find(|record| record["flow"] == "evil").unwrap();
        assert_eq!((record["purpose"].as_str(), record["peers"].as_str()), (safe, "10.0.9.9"));
        assert_eq!(record["place"], "site.yaml:30:8");
    }
}

#[test]
fn markdown_keeps_its_columns() {
    let row =
        "- {id: evil, direction: inbound, peers: [10.0.9.9], ports: [tcp/1], purpose: 'a | <b> `c` [d](e) *f*'}\n";
    let text = with_row(row).list().markdown();
    let table: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert!(table.iter().all(|line| line.replace(r"\|", "").matches('|').count() == 8), "{text}");
    assert!(text.contains(r"a \| \<b\> \`c\` \[d\](e) \*f\*"), "{text}");
}

#[test]
fn a_name_without_answer_is_listed_and_ends_with_three() {
    let folder = TempDir::new().unwrap();
    let policy = folder.path().join("site.yaml");
    fs::copy(POLICY, &policy).unwrap();
    let policy = policy.to_str().unwrap();
    for format in ["text", "json", "csv", "markdown"] {
        let run = edgeward(&["flows", policy, "--format", format]);
        let (out, err) = (text(&run.stdout), text(&run.stderr));
        assert_eq!(run.status.code(), Some(3), "{err}");
        assert!(out.contains("ntp1.aliyun.com") && err.contains("edgeward resolve"), "{out}{err}");
    }
    assert!(text(&edgeward(&["flows", policy]).stdout).contains("no address in the lockfile"));
    assert_eq!(edgeward(&["flows", policy, "--lock", "missing.lock.yaml"]).status.code(), Some(4));
}

#[test]
fn an_optional_name_may_be_without_answer() {
    let run = edgeward(&["flows", "policies/public-flannel.yaml", "--format", "markdown"]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
    assert!(text(&run.stdout).contains("no address in the lockfile, optional"), "{}", text(&run.stdout));
}

#[test]
fn the_target_of_the_command_line_counts() {
    let run = edgeward(&["flows", POLICY, "--target", "idc-gateway", "--format", "json"]);
    let document: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(document["target"], "idc-gateway");
    let rows = document["flows"].as_array().unwrap();
    let tunnel = rows.iter().find(|row| row["flow"] == "flannel-vxlan").unwrap();
    // Tunnels among the hosts do not cross the gateway, and neither does their DNS server.
    assert_eq!(tunnel["peers"].as_array().unwrap().len(), 1, "{tunnel}");
    assert!(rows.iter().all(|row| row["flow"] != "dns"));
}

/// A list of prefixes that no one reads to the end.
#[test]
fn a_hundred_thousand_peers_are_in_full_for_programs_and_cut_short_for_people() {
    let folder = TempDir::new().unwrap();
    let list: String =
        (0..100_000u32).map(|at| format!("20.{}.{}.{}\n", at >> 15, at >> 7 & 255, (at & 127) << 1)).collect();
    fs::write(folder.path().join("peers.txt"), list).unwrap();
    let policy = folder.path().join("site.yaml");
    let row = "- {id: many, direction: inbound, peers-file: peers.txt, ports: [tcp/443]}\n";
    fs::write(&policy, fs::read_to_string(POLICY).unwrap() + row).unwrap();
    fs::copy(POLICY.replace(".yaml", ".lock.yaml"), folder.path().join("site.lock.yaml")).unwrap();
    let list = |format: &str| {
        let run = edgeward(&["flows", policy.to_str().unwrap(), "--format", format]);
        assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
        text(&run.stdout)
    };
    for format in ["text", "markdown"] {
        let out = list(format);
        assert!(out.contains("and 99960 more") && out.contains("\u{2d}-format json"), "{format}");
        assert!(out.len() < 100_000, "{format}: {}", out.len());
    }
    let document: Value = serde_json::from_str(&list("json")).unwrap();
    let many = document["flows"].as_array().unwrap().iter().find(|row| row["flow"] == "many").unwrap();
    assert_eq!(many["peers"].as_array().unwrap().len(), 100_000);
    let records = records(&list("csv"));
    let many = records.iter().filter(|record| record["flow"] == "many");
    let cells: Vec<&str> = many.map(|record| record["peers"].as_str()).collect();
    assert!(cells.iter().all(|cell| cell.len() <= 32_767));
    assert_eq!(cells.iter().flat_map(|cell| cell.split(", ")).collect::<BTreeSet<_>>().len(), 100_000);
}

#[test]
fn no_lockfile_is_needed_where_there_are_no_names() {
    let yaml = registered_policy!("plain", "");
    let site = Site::new("site.yaml", yaml, Resolution::default(), None).unwrap();
    assert!(site.list().text().contains("calico-ipip"));
}
