//! `--check` on what real devices export.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use super::support::frr::{Router, wait};
use super::support::netns::row::Row;
use super::{PATH, Site};

/// The result of a check of some texts.
#[track_caller]
fn check(site: &Site, element: &str, texts: &[String], code: i32) -> Value {
    let output = run(site, element, texts, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["check"].clone()
}

fn run(site: &Site, element: &str, texts: &[String], more: &[&str]) -> Output {
    let mut arguments = vec!["--element".to_owned(), element.to_owned()];
    for (number, text) in texts.iter().enumerate() {
        let file = site.folder.path().join(format!("table-{number}.json"));
        fs::write(&file, text).unwrap();
        arguments.extend(["--check".to_owned(), file.to_str().unwrap().to_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    site.run("routes", &arguments)
}

#[test]
fn the_kernels_table_is_read() {
    need_namespaces!();
    let site = Site::dual_stack("express-connect-flannel", PATH);
    let row = Row::new(2);
    let router = row.at(0);
    router.ip(
        "addr add 10.255.0.1/30 dev next\n addr add fd00:ff::1/64 dev next nodad\n addr add 10.1.1.1/24 dev next\n \
               route add default via 10.1.1.2\n",
    );
    let tables = || ["-4", "-6"].map(|family| router.print(&["ip", "-j", family, "route"], "").unwrap()).to_vec();
    let needed = site.destinations().len();
    let nothing = check(&site, "core-switch", &tables(), 1);
    assert_eq!(nothing["missing"].as_array().unwrap().len(), needed, "the default route leads elsewhere");
    router.print(&["ip", "-batch", "-"], &site.device("iproute2").0).unwrap();
    let all = check(&site, "core-switch", &tables(), 0);
    let empty = json!([]);
    assert_eq!((&all["missing"], &all["elsewhere"], &all["superfluous"]), (&empty, &empty, &empty));
    assert_eq!((&all["needed"], &all["any-next-hop"]), (&needed.into(), &false.into()));

    router.ip("route del 100.98.170.0/24\n route add 100.118.28.128/25 via 10.1.1.2\n \
               route add 203.0.113.0/24 via 10.255.0.2\n route add 100.96.0.7/32 via 10.255.0.2\n");
    let found = check(&site, "core-switch", &tables(), 1);
    let flows = json!(["image-registry", "oss-packages"]);
    let range = json!(["100.98.170.0/24"]);
    assert_eq!(found["missing"], json!([{"prefix": "100.98.170.0/24", "destinations": range, "flows": flows}]));
    let by = json!({"prefix": "100.118.28.128/25", "next-hops": ["10.1.1.2"]});
    let part = json!(["100.118.28.128/25"]);
    let astray = json!([{"prefix": "100.118.28.0/24", "destinations": part, "flows": flows, "by": by}]);
    assert_eq!(found["elsewhere"], astray);
    // What leads back to the checks of the line is not superfluous.
    assert_eq!(found["superfluous"], json!([{"prefix": "203.0.113.0/24", "next-hops": ["10.255.0.2"]}]));

    let output = run(&site, "core-switch", &tables()[..1], &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "missing      100.98.170.0/24  image-registry, oss-packages",
        "elsewhere    100.118.28.0/24  image-registry, oss-packages (only 100.118.28.128/25), sent to",
        "superfluous  203.0.113.0/24   no flow; it leads to 10.255.0.2",
        "There is no route of IPv6 at all: does the export have that family?",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn the_table_of_frr_is_read() {
    need_namespaces!();
    need_frr!();
    let site = Site::dual_stack("express-connect-flannel", PATH);
    let row = Row::new(2);
    row.at(0).ip(
        "addr add 10.255.0.1/30 dev next\n addr add fd00:ff::1/64 dev next nodad\n addr add 10.1.1.1/24 dev next\n",
    );
    let router = Router::start(row.at(0));
    router.load(&site.device("frr").0).unwrap();
    let tables = || ["ip", "ipv6"].map(|ip| router.show(&format!("show {ip} route json"))).to_vec();
    let complete = |code| run(&site, "core-switch", &tables(), &[]).status.code() == Some(code);
    wait("all routes", || complete(0).then_some(()));
    // The worse of two routes is not selected.
    router.load("ip route 100.98.170.0/24 10.1.1.2 200\nip route 100.118.28.0/25 Null0\nno ip route 100.114.102.0/24 10.255.0.2\n").unwrap();
    wait("the change", || complete(1).then_some(()));
    wait("the last of the changes", || {
        let found = check(&site, "core-switch", &tables(), 1);
        let of =
            |list: &str| found[list].as_array().unwrap().iter().map(|one| one["prefix"].clone()).collect::<Vec<_>>();
        let expected = (vec![json!("100.114.102.0/24")], vec![json!("100.118.28.0/24")]);
        ((of("missing"), of("elsewhere")) == expected).then_some(())
    });
}

/// The shape of the API's documentation; the cloud was not asked.
#[test]
fn the_clouds_list_is_read() {
    let site = Site::new("express-connect-terway-edge", "path: {transit: {id: ecr-1, vpc-association: ecr-assoc-1}}\n");
    let entry = |prefix: &str, kind: &str, id: &str, status: &str| {
        json!({
            "DestinationCidrBlock": prefix, "Status": status, "Type": "Custom", "RouteTableId": "vtb-1",
            "NextHops": {"NextHop": [{"NextHopType": kind, "NextHopId": id, "Enabled": 1}]},
        })
    };
    let list = |entries: Vec<Value>, token: &str| {
        json!({"RequestId": "1", "NextToken": token, "RouteEntrys": {"RouteEntry": entries}}).to_string()
    };
    let own = entry("192.168.10.0/24", "local", "", "Available");
    let hosts = entry("10.0.0.0/8", "Ecr", "ecr-assoc-1", "Available");
    let pods = |id: &str, status: &str| entry("172.16.0.0/12", "Ecr", id, status);
    let right = list(vec![own.clone(), hosts.clone(), pods("ecr-assoc-1", "Available")], "");
    assert_eq!(check(&site, "vpc", &[right], 0)["needed"], 2);
    let pages = [list(vec![own.clone(), hosts.clone()], ""), list(vec![pods("ecr-assoc-1", "Available")], "")];
    check(&site, "vpc", &pages, 0);
    let pending = check(&site, "vpc", &[list(vec![own.clone(), hosts.clone(), pods("ecr-assoc-1", "Pending")], "")], 1);
    assert_eq!(pending["missing"][0]["prefix"], "172.16.0.0/12", "{pending:#}");
    assert!(pending["missing"][0]["flows"].as_array().unwrap().contains(&json!("terway-pods")), "{pending:#}");
    let other = check(&site, "vpc", &[list(vec![own, hosts.clone(), pods("ecr-assoc-2", "Available")], "")], 1);
    assert_eq!(other["elsewhere"][0]["by"]["next-hops"], json!(["ecr-assoc-2"]));

    let output = run(&site, "vpc", &[list(vec![hosts], "more")], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("the list is not complete"));
}

/// The routes that an element needs: direction and destination.
fn needed(site: &Site, element: &str) -> Vec<(String, String)> {
    let output = site.run("routes", &["--element", element, "--format", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let routes = document["elements"][0]["routes"].as_array().unwrap().iter();
    routes.map(|route| (text(&route["direction"]), text(&route["prefix"]))).collect()
}

/// The cloud has the interface of the line where the policy has an address.
#[test]
fn an_interface_of_the_cloud_is_no_other_next_hop() {
    let site = Site::new("express-connect-flannel", PATH);
    site.replace("path:\n", "path:\n  transit: {id: ecr-1}\n");
    let list = |down: &str, up: &str| {
        let entry = |(direction, prefix): &(String, String)| {
            let id = if direction == "down" { down } else { up };
            json!({"DestinationCidrBlock": prefix, "NextHops": {"NextHop": [{"NextHopType": "x", "NextHopId": id}]}})
        };
        let entries: Vec<Value> = needed(&site, "vbr").iter().map(entry).collect();
        json!({"RouteEntrys": {"RouteEntry": entries}}).to_string()
    };
    let right = check(&site, "vbr", &[list("ri-1", "ecr-1")], 0);
    assert_eq!(right["any-next-hop"], true, "{right:#}");
    let wrong = check(&site, "vbr", &[list("ri-1", "ri-2")], 1);
    assert!(wrong["elsewhere"].as_array().unwrap().iter().all(|one| one["prefix"] != "10.0.0.0/8"), "{wrong:#}");
}

/// FRR lists the next hop of a static route, and the neighbour by which it is reached.
#[test]
fn a_next_hop_that_others_resolve_is_one() {
    for (hop, code) in [("10.250.0.9", 0), ("10.255.0.2", 0), ("10.250.0.8", 1)] {
        let site = Site::new("express-connect-flannel", &format!("path: {{core-switch: {{next-hop: {hop}}}}}\n"));
        let hops = json!([
            {"ip": "10.250.0.9", "active": true, "recursive": true},
            {"ip": "10.255.0.2", "active": true, "resolver": true, "fib": true, "interfaceName": "eth0"},
        ]);
        let route = |(_, prefix)| (prefix, json!([{"selected": true, "nexthops": hops}]));
        let table: serde_json::Map<String, Value> = needed(&site, "core-switch").into_iter().map(route).collect();
        check(&site, "core-switch", &[Value::from(table).to_string()], code);
    }
}

#[test]
fn without_a_next_hop_only_destinations_are_compared() {
    let site = Site::new("express-connect-terway-edge", "");
    let rows = json!([
        {"dst": "10.0.0.0/8", "gateway": "192.0.2.1"},
        {"dst": "172.16.0.0/12", "gateway": "192.0.2.1"},
        {"dst": "198.51.100.0/24", "gateway": "192.0.2.1"},
        {"dst": "198.18.0.0/15", "gateway": "192.0.2.9"},
    ]);
    let found = check(&site, "vpc", &[rows.to_string()], 0);
    assert_eq!(found["any-next-hop"], true);
    assert_eq!(found["superfluous"], json!([{"prefix": "198.51.100.0/24", "next-hops": ["192.0.2.1"]}]));
}

#[test]
fn a_name_in_the_table_is_no_line_of_the_report() {
    let site = Site::new("express-connect-flannel", PATH);
    let rows = json!([{"dst": "192.168.0.0/16", "dev": "a\nmissing  0.0.0.0/0 \u{1b}[31m\u{202e}"}]);
    let text = String::from_utf8(run(&site, "core-switch", &[rows.to_string()], &[]).stdout).unwrap();
    assert!(text.contains("elsewhere  192.168.0.0/16") && text.contains("a\\nmissing"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains("\nmissing  0.0"), "{text}");
}

#[test]
fn what_is_no_table_is_refused() {
    let site = Site::new("express-connect-flannel", PATH);
    for (text, message) in [
        ("default via 10.0.0.1 dev eth0\n", "not JSON: "),
        ("17", "found neither a list nor an object"),
        ("[{\"dst\": \"10.0.0.300\"}]", "`10.0.0.300` is not a destination"),
        ("[{\"gateway\": \"10.0.0.1\"}]", "missing field `dst`"),
        ("{\"10.0.0.0/8\": {\"routes\": []}}", "`table-0.json`: expected what `ip -j route`"),
        ("{\"10.0.0.0/8\": [{\"selected\": true}, {\"selected\": true}]}", "the route to `10.0.0.0/8` is there twice"),
        ("{\"RouteEntrys\": []}", "expected what `ip -j route`"),
        ("[{\"dst\": \"10.0.0.1/8\"}]", "`10.0.0.1/8` is not a destination"),
    ] {
        let output = run(&site, "core-switch", &[text.to_owned()], &[]);
        let said = String::from_utf8(output.stderr).unwrap().replace(&*site.folder.path().to_string_lossy(), "");
        let message = message.replace("`table-0", "`/table-0");
        assert!(output.status.code() == Some(2) && said.contains(&message), "{said}");
        assert!(output.stdout.is_empty());
    }
    for (arguments, message) in [
        (&["--check", "-"][..], "--element"),
        (&["--check", "/dev/null", "--element", "vbr", "--undo"], "cannot be used with"),
    ] {
        let said = String::from_utf8(site.run("routes", arguments).stderr).unwrap();
        assert!(said.contains(message), "{said}");
    }
    let output = run(&site, "core-switch", &["[]".to_owned()], &["--format", "csv"]);
    assert!(output.status.code() == Some(2), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("`--check` prints text or JSON"));
    let direct = Site::new("express-connect-flannel", "path: {transit: {kind: direct}}\n");
    let output = run(&direct, "transit", &["[]".to_owned()], &[]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("the path of this policy has no `transit`"));
}
