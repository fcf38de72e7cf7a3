//! Verbs that change nothing.

use super::host::{ELSEWHERE, Host, MIRROR, OFFICE, policy, zone};
use super::schemas::{document, json};
use crate::support::dns_server::{DnsServer, Zone};
use crate::support::netns::Side;

pub fn serve(host: &Host, zone: Zone) -> DnsServer {
    host.topology.within(Side::UnderTest, || zone.serve_without_tcp())
}

/// A line without `--state-dir`, which most of these verbs do not take.
#[track_caller]
fn report(host: &Host, line: &str, code: i32) -> serde_json::Value {
    let run = host.script(&format!("\"$EDGEWARD\" {line} --format json"));
    document(line, &run.ends(code))
}

#[test]
fn check_lists_problems_with_their_places() {
    need_namespaces!();
    let host = Host::new();
    let good = report(&host, "check policy.yaml", 0);
    assert_eq!((&good["valid"], &good["policies"][0]["name"]), (&true.into(), &"edge".into()));
    host.write("bad.yaml", &policy(OFFICE).replace("cn-hangzhou", "cn-hangzou").replace("10.0.0.53", "10.0.0.530"));
    host.write("broad.yaml", &policy("0.0.0.0/0"));
    let bad = report(&host, "check policy.yaml bad.yaml missing.yaml broad.yaml", 4);
    assert_eq!(bad["valid"], false);
    let valid: Vec<bool> = bad["policies"].as_array().unwrap().iter().map(|row| row["valid"] == true).collect();
    assert_eq!(valid, [true, false, false, true]);
    let found = bad["diagnostics"].as_array().unwrap();
    let region = found.iter().find(|row| row["code"] == "unknown-region").unwrap();
    assert_eq!((&region["file"], &region["severity"]), (&"bad.yaml".into(), &"error".into()));
    assert_eq!((&region["line"], &region["column"]), (&4.into(), &9.into()));
    assert_eq!(region["help"], "did you mean `cn-hangzhou`?");
    assert!(found.iter().any(|row| row["code"] == "invalid-address"));
    let missing = found.iter().find(|row| row["file"] == "missing.yaml").unwrap();
    assert!(missing["code"].is_null() && missing["line"].is_null(), "{missing}");
    assert!(found.iter().any(|row| row["file"] == "broad.yaml" && row["severity"] == "warning"), "{bad:#}");
    // A catalog that cannot be used leaves the question open.
    let run = host.script("\"$EDGEWARD\" check policy.yaml --format json --catalog nowhere");
    assert!(run.ends(4).out.is_empty());
}

#[test]
fn explain_gives_verdicts_and_reasons() {
    need_namespaces!();
    let host = Host::new();
    let packet = |rest: &str| format!("explain policy.yaml --from 10.0.0.20 --to {rest}");
    let name = report(&host, &packet("203.0.113.7 --proto tcp --dport 8443"), 0);
    assert_eq!((&name["verdict"], &name["flow"]), (&"accept".into(), &"mirror".into()));
    report(&host, &packet("192.168.10.20 --proto tcp --dport 6443"), 0);
    let denied = report(&host, &packet("203.0.113.9 --proto tcp --dport 8443 --expect accept"), 1);
    let kinds: Vec<&str> =
        denied["because"].as_array().unwrap().iter().filter_map(|one| one["kind"].as_str()).collect();
    assert!(kinds.contains(&"rule") && kinds.contains(&"near-miss"), "{kinds:?}");
    report(&host, &packet("203.0.113.9 --proto icmp"), 0);
    report(&host, &packet("203.0.113.9 --proto 47"), 0);
    report(&host, &packet("203.0.113.9 --proto udp --dport 9 --hook forward"), 0);
    host.write("audit.yaml", &policy(OFFICE).replace("mode: enforce", "mode: audit"));
    host.write("audit.lock.yaml", &host.read("policy.lock.yaml"));
    let audit =
        report(&host, "explain audit.yaml --from 10.9.9.9 --to 10.0.0.20 --hook input --proto tcp --dport 9", 0);
    assert!(audit["because"].as_array().unwrap().iter().any(|reason| reason["kind"] == "audit"), "{audit:#}");
    host.write(
        "probes.yaml",
        "version: 1\nprobes:\n\
         - {expect: accept, flow: mirror, from: 10.0.0.20, to: 203.0.113.7, proto: tcp, dport: 8443}\n\
         - {expect: accept, from: 10.0.0.20, to: 203.0.113.9, proto: tcp, dport: 8443}\n",
    );
    let probes = report(&host, "explain policy.yaml --probes probes.yaml", 1);
    assert_eq!((&probes["failed"], &probes["probes"][0]["as-expected"]), (&1.into(), &true.into()));
}

#[test]
fn lists_and_the_catalog() {
    need_namespaces!();
    let host = Host::new();
    let flows = report(&host, "flows policy.yaml", 0);
    let routes = report(&host, "routes policy.yaml", 0);
    assert_eq!(routes["elements"].as_array().unwrap().len(), 4);
    let table = r#"[{"dst": "100.0.0.0/8", "gateway": "192.0.2.1"}, {"dst": "192.168.0.0/24", "type": "blackhole"}]"#;
    host.write("table.json", table);
    let checked = report(&host, "routes policy.yaml --element core-switch --check table.json", 1);
    let found = |list: &str| checked["check"][list].as_array().unwrap().len();
    assert!(found("missing") > 0 && found("elsewhere") > 0, "{:#}", checked["check"]);
    let group = report(&host, "security-group policy.yaml --type basic", 0);
    assert!(group["rules"].as_array().unwrap().iter().any(|row| row["flow"] == "kubelet"));
    let rule = r#"{"Direction": "ingress", "IpProtocol": "TCP", "PortRange": "22/22", "SourceCidrIp": "0.0.0.0/0"}"#;
    host.write("group.json", &format!("{{\"Permissions\": {{\"Permission\": [{rule}]}}}}"));
    let checked = report(&host, "security-group policy.yaml --check group.json", 1);
    assert_eq!(checked["check"]["opens"][0]["rule"], 1, "{checked:#}");
    assert!(flows["flows"].as_array().unwrap().iter().any(|row| row["flow"] == "mirror"));
    host.write("gateway.yaml", &policy(OFFICE).replace("target: edge-host", "target: idc-gateway"));
    host.write("gateway.lock.yaml", &host.read("policy.lock.yaml"));
    report(&host, "flows gateway.yaml", 0);
    host.write("empty.yaml", &policy(OFFICE));
    report(&host, "flows empty.yaml", 3);
    let hosts = report(&host, "hosts policy.yaml", 0);
    assert!(hosts["hosts"].as_array().unwrap().iter().any(|row| row["name"] == MIRROR));
    assert!(report(&host, "catalog", 0)["regions"].as_array().unwrap().len() > 30);
    assert_eq!(report(&host, "catalog cn-hangzhou-finance", 0)["regions"][0]["cloud"], "finance");
}

#[test]
fn aggregate_lists_prefixes() {
    need_namespaces!();
    let host = Host::new();
    host.write("list.txt", "10.0.0.0/9\n10.128.0.0/9\n192.0.2.1-192.0.2.2\n2001:db8::/32\n");
    let all = report(&host, "aggregate list.txt", 0);
    let expected = serde_json::json!(["10.0.0.0/8", "192.0.2.1", "192.0.2.2", "2001:db8::/32"]);
    assert_eq!((&all["count"], &all["prefixes"]), (&4.into(), &expected), "{all:#}");
    let none = report(&host, "aggregate list.txt --except list.txt", 0);
    assert_eq!((&none["count"], &none["prefixes"]), (&0.into(), &serde_json::json!([])));
    // An error leaves standard output empty.
    host.write("bad.txt", "10.0.0.0/33\n");
    assert!(host.script("\"$EDGEWARD\" aggregate bad.txt --format json").ends(2).out.is_empty());
}

#[test]
fn resolve_says_what_dns_said() {
    need_namespaces!();
    let host = Host::new();
    let server = serve(&host, zone(&["203.0.113.8", "10.0.0.99"]));
    let address = server.address();
    let found = report(&host, &format!("resolve policy.yaml --server {address}"), 0);
    let names = found["names"].as_array().unwrap();
    let mirror = names.iter().find(|row| row["name"] == MIRROR).unwrap();
    assert_eq!((&mirror["added"][0], &mirror["refused"][0]["address"]), (&"203.0.113.8".into(), &"10.0.0.99".into()));
    report(&host, "resolve policy.yaml --offline", 0);
    server.mute(true);
    let silent = report(&host, &format!("resolve policy.yaml --server {address}"), 3);
    assert!(silent["names"][0]["stale-at"].is_string(), "{silent:#}");
}

#[test]
fn diff_and_history() {
    need_namespaces!();
    let host = Host::new();
    let first = json(&host, "diff policy.yaml", 1);
    assert_eq!(first["same-packets"], false);
    assert_eq!(json(&host, "history", 0)["generations"].as_array().unwrap().len(), 0);
    host.edgeward("apply policy.yaml").ends(0);
    assert_eq!(json(&host, "diff policy.yaml", 0)["same-packets"], true);
    let other = json(&host, "diff other.yaml --against 1", 1);
    let text = other.to_string();
    assert!(text.contains(OFFICE) && text.contains(ELSEWHERE) && text.contains("\"cause\":\"policy\""), "{other:#}");
    host.edgeward("apply other.yaml --confirm-within 5m").ends(0);
    host.edgeward("rollback").ends(0);
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    json(&host, "diff policy.yaml", 1);
    host.edgeward("apply policy.yaml").ends(0);
    let history = json(&host, "history", 0);
    assert!(history["generations"].as_array().unwrap().iter().any(|row| row["made-by"] == "found"), "{history:#}");
    assert!(history["generations"].as_array().unwrap().iter().any(|row| row["undone"].is_string()), "{history:#}");
}
