//! Rows hold only what can be: ports of the version, and addresses and messages of the family.

use std::fs;

use edgeward::catalog::{Catalog, FILES};
use edgeward::diag::Problems;
use edgeward::policy;
use edgeward::source::Source;
use serde_json::{Value, json};

use super::Site;

const GATEWAY: &str = "policies/idc-gateway-fine.yaml";

/// A row of an example with another row in `allow`.
fn row(path: &str, id: &str, more: &str) -> Value {
    let text = fs::read_to_string(path).unwrap() + more;
    let site = Site::new("site.yaml", &text, Site::read(path.as_ref(), None).unwrap().resolution, None).unwrap();
    site.json()["flows"].as_array().unwrap().iter().find(|row| row["flow"] == id).unwrap().clone()
}

#[test]
fn a_row_without_a_port_in_the_version_is_no_flow() {
    let files = FILES.map(|name| {
        let text = fs::read_to_string(format!("policies/catalog/{name}")).unwrap();
        Source::new(name, text.replace("ports: [neighbour-discovery]", "ports: [tcp/9 before 1.0]"))
    });
    let catalog = Catalog::parse(files, None).unwrap();
    let source = Source::new("site.yaml", fs::read_to_string("policies/express-connect-flannel.yaml").unwrap());
    let (_, intent) = policy::load(&source, &catalog, None, &mut Problems::default()).unwrap();
    assert!(intent.flows.iter().all(|flow| flow.id != "neighbour-discovery"));
}

#[test]
fn messages_are_of_the_family() {
    for (peer, family, word) in [("192.168.77.0/24", "v4", "icmp"), ("2001:db8:c::77", "v6", "icmpv6")] {
        let more = format!("- {{id: ping, direction: inbound, peers: [\"{peer}\"], ports: [icmp, tcp/7]}}\n");
        let row = row(GATEWAY, "ping", &more);
        assert_eq!((&row["family"], &row["ports"]), (&json!(family), &json!(["tcp/7", word])));
    }
}

#[test]
fn the_family_is_that_of_what_crosses_the_gateway() {
    let more = "- {id: x, direction: inbound, peers: [10.1.0.0/16, \"2001:db8:c::77\"], ports: [tcp/7, icmp]}\n";
    let row = row(GATEWAY, "x", more);
    assert_eq!((&row["family"], &row["ports"]), (&json!("v6"), &json!(["tcp/7", "icmpv6"])));
    let local: Vec<&Value> = row["local"].as_array().unwrap().iter().map(|part| &part["prefix"]).collect();
    assert_eq!(local, ["2001:db8:a::/48"]);
}

#[test]
fn a_name_may_be_of_both_families() {
    assert_eq!(row("policies/express-connect-flannel.yaml", "ntp", "")["family"], Value::Null);
}

#[test]
fn a_stateless_gateway_says_what_is_open_in_both_directions() {
    let text = fs::read_to_string(GATEWAY).unwrap().replace("{covers: hosts}", "{covers: hosts, stateless: true}");
    let site = Site::new("site.yaml", &text, Site::read(GATEWAY.as_ref(), None).unwrap().resolution, None).unwrap();
    let text = site.list().text().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("protocols without ports are open in both directions"), "{text}");
}
