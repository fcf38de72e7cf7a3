//! `edgeward routes`: the tables of the documents, row for row; a way there and back for every conversation, and no route
//! without one; next hops, widened routes, formats.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::disallowed_types)]

#[macro_use]
mod support;

#[path = "routes/check.rs"]
mod check;
#[path = "routes/devices.rs"]
mod devices;

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use edgeward::catalog::{Catalog, Element, RouteDirection, Zone};
use edgeward::diag::Problems;
use edgeward::intent::{Declared, End, Intent};
use edgeward::lower::lower;
use edgeward::net::{Hook, PrefixSet, Verdict};
use edgeward::path::{Basis, Plan, Table, Widening};
use edgeward::policy::{self, syntax::Policy};
use edgeward::resolution::Resolution;
use edgeward::site::{Scope, Site as Facts, Target};
use edgeward::source::{Source, Spanned};
use serde_json::Value;
use support::random::{self, CutPoints, Dice, policy_text};

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::embedded().unwrap());

/// A policy as it crosses the line.
struct Site {
    policy: Policy,
    facts: Facts,
    intent: Intent<Declared>,
    resolution: Resolution,
}

impl Site {
    /// The site of a policy that may be for an edge host, with the fine scope.
    fn new(text: &str, resolution: impl FnOnce(&Intent<Declared>) -> Resolution) -> Self {
        let mut problems = Problems::default();
        let mut policy = policy::parse(&Source::new("site.yaml", text), &mut problems).unwrap();
        policy.scope = Spanned::unwritten(Scope::Fine);
        let intent = policy::check(&policy, &CATALOG, Some(Target::IdcGateway), &mut problems);
        let intent = intent.unwrap_or_else(|| panic!("{problems:#?}\n{text}"));
        let facts = policy::site(&policy, &CATALOG, Target::IdcGateway, &mut problems);
        let resolution = resolution(&intent);
        Self { policy, facts, intent, resolution }
    }

    fn random(dice: &mut Dice) -> Self {
        let text = policy_text(dice).yaml();
        Self::new(&text, |intent| random::resolution(intent, dice))
    }

    fn plan(&self, scope: Scope) -> Plan<'_> {
        let Self { policy, facts: site, intent, resolution } = self;
        Plan::of(Basis { policy, site, catalog: &CATALOG, intent, resolution, scope }, Widening::default()).unwrap()
    }
}

fn edgeward(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edgeward")).arg("routes").args(arguments).env("NO_COLOR", "1").output().unwrap()
}

#[track_caller]
fn json(arguments: &[&str]) -> Value {
    let output = edgeward(&[arguments, &["--format", "json"]].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// `element way destination next-hop` of every route.
fn rows(routes: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut rows = Vec::new();
    for element in routes["elements"].as_array().unwrap() {
        for route in element["routes"].as_array().unwrap() {
            let words = [&element["element"], &route["direction"], &route["prefix"], &route["next-hop"]["kind"]];
            rows.push(words.map(text).join(" "));
        }
    }
    rows
}

/// The tables of the document on Express Connect, with the prefixes of its example.
const BROAD: [&str; 9] = [
    "core-switch up 100.0.0.0/8 vbr",
    "core-switch up 192.168.0.0/16 vbr",
    "core-switch down 10.0.0.0/8 servers",
    "vbr up 100.0.0.0/8 ecr",
    "vbr up 192.168.0.0/16 ecr",
    "vbr down 10.0.0.0/8 core-switch",
    "transit up 100.0.0.0/8 vpc",
    "transit up 192.168.0.0/16 vpc",
    "transit down 10.0.0.0/8 vbr",
];

/// What Terway Edge adds for the edge container network.
const BROAD_TERWAY: [&str; 3] =
    ["vbr down 172.16.0.0/12 core-switch", "transit down 172.16.0.0/12 vbr", "vpc down 172.16.0.0/12 ecr"];

#[test]
fn the_broad_scope_is_the_tables_of_the_document() {
    let flannel: BTreeSet<&str> = BROAD.into_iter().chain(["vpc down 10.0.0.0/8 ecr"]).collect();
    let terway: BTreeSet<&str> = flannel.iter().copied().chain(BROAD_TERWAY).collect();
    for (policy, expected) in
        [("policies/express-connect-flannel.yaml", flannel), ("policies/express-connect-terway-edge.yaml", terway)]
    {
        let found = rows(&json(&[policy, "--scope", "broad"]));
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{policy}");
        assert_eq!(found.len(), expected.len(), "{policy}");
    }
}

/// Registry and OSS prefixes of Hangzhou in the document, and the answers of the example's lockfile.
#[test]
fn the_fine_scope_is_what_the_flows_need() {
    let document = [
        "100.103.9.188/32",
        "100.103.7.181/32",
        "100.118.28.0/24",
        "100.114.102.0/24",
        "100.98.170.0/24",
        "100.118.31.0/24",
        "192.168.0.0/16",
    ];
    let answers = ["100.103.42.233/32", "100.103.0.10/32", "100.103.0.11/32", "100.103.0.12/32", "100.103.0.13/32"];
    let up: BTreeSet<&str> = document.into_iter().chain(answers).collect();
    for (policy, down) in [
        ("policies/express-connect-flannel.yaml", &["10.0.0.0/8"][..]),
        ("policies/express-connect-terway-edge.yaml", &["10.0.0.0/8", "172.16.0.0/12"]),
    ] {
        let routes = json(&[policy]);
        assert_eq!(routes["scope"], "fine");
        for element in routes["elements"].as_array().unwrap() {
            let of = |way: &str| -> BTreeSet<&str> {
                let rows = element["routes"].as_array().unwrap().iter().filter(|route| route["direction"] == way);
                rows.map(|route| route["prefix"].as_str().unwrap()).collect()
            };
            let name = element["element"].as_str().unwrap();
            assert_eq!(of("up"), if name == "vpc" { BTreeSet::new() } else { up.clone() }, "{policy} {name}");
            let down = if name == "core-switch" { &down[..1] } else { down };
            assert_eq!(of("down"), down.iter().copied().collect(), "{policy} {name}");
            for route in element["routes"].as_array().unwrap() {
                let is_answer = answers.contains(&route["prefix"].as_str().unwrap());
                assert_eq!(route["from-dns"], is_answer, "{route:#}");
                assert!(!route["flows"].as_array().unwrap().is_empty(), "{route:#}");
                assert!(route["because"].as_array().unwrap().len() > 1, "{route:#}");
            }
        }
        let elsewhere = &routes["elsewhere"].as_array().unwrap()[0];
        assert_eq!((&elsewhere["flow"], &elsewhere["names"][0]), (&"ntp".into(), &"ntp1.aliyun.com".into()));
    }
}

/// The direction in which a device sends a packet: the longest prefix wins.
fn sent(table: &Table<'_>, to: IpAddr) -> Option<RouteDirection> {
    let routes = table.routes.iter().filter(|route| route.prefix.net().contains(&to));
    routes.max_by_key(|route| route.prefix.net().prefix_len()).map(|route| route.direction)
}

fn zone(lists: &[&[Spanned<edgeward::net::Prefix>]]) -> PrefixSet {
    lists.iter().flat_map(|list| list.iter()).map(|prefix| prefix.value).collect()
}

/// Packets that the specification permits because of a flow, looked up in every table, there and back.
#[test]
fn every_permitted_packet_has_a_way_there_and_back() {
    let mut dice = Dice::new(3);
    let mut looked_up = 0;
    for _ in 0..120 {
        let site = Site::random(&mut dice);
        let resolved = site.intent.bind(&site.resolution).unwrap();
        let networks = &site.policy.networks.value;
        let vpc = zone(&[&networks.vpc, &networks.vswitches, &networks.pod_vswitches]);
        let cloud = vpc.union(&zone(&[&policy::zone(&site.policy, Zone::CloudServices)]));
        let routed = if site.facts.routed { zone(&[&networks.pods]) } else { PrefixSet::default() };
        let inside = zone(&[&networks.hosts]).union(&routed);
        let points = CutPoints::of(&lower(&resolved));
        let specification = resolved.specification();
        // A flow with any peer, such as ICMP, needs no route of its own.
        let aimed = |id: &str| {
            let mut flows = resolved.flows.iter().filter(|flow| flow.id == id);
            flows.all(|flow| flow.peers != End::Any)
        };
        for scope in [Scope::Fine, Scope::Broad] {
            let plan = site.plan(scope);
            for _ in 0..400 {
                let mut packet = points.packet(&mut dice);
                packet.hook = Hook::Forward;
                let disposition = specification.disposition(&packet);
                let ends = [(packet.source, packet.destination), (packet.destination, packet.source)];
                let Some((near, far)) =
                    ends.into_iter().find(|(near, far)| inside.contains(*near) && cloud.contains(*far))
                else {
                    continue;
                };
                if disposition.verdict != Verdict::Accept || !disposition.flow.is_some_and(aimed) {
                    continue;
                }
                for table in &plan.tables {
                    looked_up += 1;
                    let (up, down) = (sent(table, far), sent(table, near));
                    // A VPC reaches its own addresses without a route, and the core switch its own pods by BGP.
                    let own = table.element == Element::Vpc;
                    assert!(own || up == Some(RouteDirection::Up), "{} {packet:?} {up:?}", table.element);
                    let by_bgp = table.element == Element::CoreSwitch && routed.contains(near);
                    assert!(by_bgp || down == Some(RouteDirection::Down), "{} {packet:?} {down:?}", table.element);
                }
            }
        }
    }
    assert!(looked_up > 2_000, "{looked_up}");
}

/// The proof that the program makes of its own plan: nothing is missing, and each route is missed.
#[test]
fn without_any_one_route_a_conversation_has_no_way() {
    let mut dice = Dice::new(5);
    let mut taken = 0;
    for _ in 0..60 {
        let site = Site::random(&mut dice);
        let resolved = site.intent.bind(&site.resolution).unwrap();
        let plan = site.plan(Scope::Fine);
        assert_eq!(plan.unreachable(&site.policy, &resolved), [], "{:#?}", site.policy);
        for (at, table) in plan.tables.iter().enumerate() {
            for (index, route) in table.routes.iter().enumerate().filter(|(_, route)| !route.row.standing) {
                // A zone is routed as a whole; parts of it may have no conversation.
                if route.flows.is_empty() {
                    continue;
                }
                let mut less = plan.clone();
                less.tables[at].routes.remove(index);
                let missing = less.unreachable(&site.policy, &resolved);
                let is_named = missing.iter().any(|missing| {
                    (missing.element, missing.direction) == (table.element, route.direction)
                        && route.flows.contains(missing.flow.as_str())
                        && missing.destinations.overlaps(&PrefixSet::from_iter([route.prefix]))
                });
                // The last route of a direction: a device without any is taken to know the way.
                let is_last = table.routes.iter().filter(|other| other.direction == route.direction).count() == 1;
                assert!(is_named || is_last, "{} {route:#?}\n{missing:#?}", table.element);
                taken += usize::from(is_named);
            }
        }
    }
    assert!(taken > 300, "{taken}");
}

/// A policy of the repository in a folder of its own, with its lockfile and another end.
fn written(folder: &Path, policy: &str, more: &str) -> PathBuf {
    let file = folder.join("policy.yaml");
    let text = fs::read_to_string(format!("policies/{policy}.yaml")).unwrap();
    fs::write(&file, text + more).unwrap();
    let lock = fs::read_to_string(format!("policies/{policy}.lock.yaml"));
    lock.map(|lock| fs::write(folder.join("policy.lock.yaml"), lock).unwrap()).unwrap_or_default();
    file
}

#[test]
fn next_hops_are_those_of_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let hop = |path: &str, element: &str, way: &str| {
        let file = written(folder.path(), "express-connect-flannel", path);
        let routes = json(&[file.to_str().unwrap(), "--element", element]);
        let elements = routes["elements"].as_array().unwrap();
        let Some(element) = elements.first() else { return "none".to_owned() };
        let mut routes = element["routes"].as_array().unwrap().iter().filter(|route| route["direction"] == way);
        let hop = &routes.next().unwrap()["next-hop"];
        format!("{} {}", hop["kind"].as_str().unwrap(), hop["id"].as_str().unwrap_or("-"))
    };
    let ecr = "path:\n  core-switch: {next-hop: 10.255.0.2, asn: 65001}\n  \
               vbr: {id: vbr-1, cloud-ip: 10.255.0.2, idc-ip: 10.255.0.1}\n  \
               transit: {kind: ecr, id: ecr-1, vpc-association: ecr-assoc-1}\n  vpc: {id: vpc-1}\n";
    assert_eq!(hop(ecr, "core-switch", "up"), "vbr 10.255.0.2");
    assert_eq!(hop(ecr, "vbr", "up"), "ecr ecr-1");
    assert_eq!(hop(ecr, "vbr", "down"), "core-switch 10.255.0.1");
    assert_eq!(hop(ecr, "transit", "up"), "vpc ecr-assoc-1");
    assert_eq!(hop(ecr, "transit", "down"), "vbr vbr-1");
    assert_eq!(hop(ecr, "vpc", "down"), "ecr ecr-assoc-1");
    let cen = "path:\n  vbr: {cloud-ip: 10.255.0.2}\n  transit: {kind: cen, id: tr-1, vpc-attachment: tr-attach-1, \
               vbr-attachment: tr-attach-2}\n";
    assert_eq!(hop(cen, "core-switch", "up"), "vbr 10.255.0.2");
    assert_eq!(hop(cen, "transit", "up"), "vpc tr-attach-1");
    assert_eq!(hop(cen, "transit", "down"), "vbr tr-attach-2");
    assert_eq!(hop(cen, "vpc", "down"), "cen tr-attach-1");
    let direct = "path:\n  transit: {kind: direct}\n  vbr: {id: vbr-1}\n  vpc: {id: vpc-1}\n";
    assert_eq!(hop(direct, "vbr", "up"), "vpc vpc-1");
    assert_eq!(hop(direct, "vpc", "down"), "vbr vbr-1");
    assert_eq!(hop(direct, "transit", "down"), "none");
    let vpn = "path:\n  transit: {kind: vpn, id: vpn-1}\n";
    assert_eq!(hop(vpn, "core-switch", "up"), "vpn -");
    assert_eq!(hop(vpn, "vpc", "down"), "vpn vpn-1");
    assert_eq!(hop(vpn, "vbr", "down"), "none");
    assert_eq!(hop("", "vbr", "up"), "ecr -");
}

#[test]
fn a_path_with_mistakes_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    for (path, code) in [
        ("path: {vpc: {id: \"vpc 1; reboot\"}}\n", "invalid-name"),
        ("path: {core-switch: {next-hop: 10.255.0.2/30}}\n", "invalid-address"),
        ("path: {core-switch: {asn: 0}}\n", "invalid-number"),
        ("path: {transit: {kind: ecn}}\n", "unknown-value"),
        ("path: {router: {}}\n", "unknown-field"),
    ] {
        let file = written(folder.path(), "express-connect-flannel", path);
        let output = edgeward(&[file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{path}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("error[{code}]")) && said.contains("policy.yaml:"), "{said}");
    }
}

#[test]
fn routes_are_widened_as_far_as_asked_for_and_counted() {
    let policy = "policies/express-connect-flannel.yaml";
    let ups = |routes: &Value| {
        let all = routes["elements"][0]["routes"].as_array().unwrap();
        let up = all.iter().filter(|route| route["direction"] == "up");
        up.map(|route| route["prefix"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let exact = json(&[policy]);
    assert_eq!(exact["over-coverage"]["addresses"], 0);
    // The answers are in two prefixes of that length: 251 and 255 addresses are nobody's.
    let names = json(&[policy, "--names", "24"]);
    assert!(["100.103.0.0/24", "100.103.42.0/24"].iter().all(|wide| ups(&names).contains(&(*wide).to_owned())));
    assert_eq!(ups(&names).len(), ups(&exact).len() - 3);
    assert_eq!(names["over-coverage"]["addresses"], 252 + 255);
    // One route is down, and one that holds both the VPC and the services would hold the hosts, too.
    for most in 3..=13 {
        let fewer = json(&[policy, "--max-entries", &most.to_string()]);
        for element in fewer["elements"].as_array().unwrap() {
            let counted = element["routes"].as_array().unwrap().iter().filter(|route| route["standing"] == false);
            assert!(counted.count() <= most, "{most} {element:#}");
        }
    }
    let same = json(&[policy, "--max-entries", "13"]);
    assert_eq!((ups(&same), &same["over-coverage"]["addresses"]), (ups(&exact), &0.into()));
    let output = edgeward(&[policy, "--max-entries", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("needs more than 1 route,"));
}

#[test]
fn a_site_without_a_line_has_no_routes() {
    let routes = json(&["policies/public-flannel.yaml"]);
    assert_eq!(routes["elements"], Value::Array(Vec::new()));
    let text = String::from_utf8(edgeward(&["policies/public-flannel.yaml"]).stdout).unwrap();
    assert!(text.starts_with("There are no routes: over `public`"), "{text}");
}

#[test]
fn cnis_that_announce_pods_have_what_bgp_exchanges() {
    let routes = json(&["policies/express-connect-terway-edge.yaml"]);
    let bgp = &routes["bgp"];
    assert_eq!(
        bgp["peers"],
        serde_json::json!(["10.0.255.1", "10.0.255.2/32"].map(|peer| peer.trim_end_matches("/32")))
    );
    assert_eq!(bgp["from-hosts"], serde_json::json!([{"prefix": "172.16.0.0/12", "max-length": 32}]));
    assert_eq!(bgp["max-prefixes"], 110);
    assert!(routes["problems"].as_array().unwrap().iter().any(|problem| problem["code"] == "route-limit"));
    assert!(json(&["policies/express-connect-flannel.yaml"])["bgp"].is_null());
}

#[test]
fn a_table_that_is_too_long_is_a_problem_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "express-connect-flannel", "path: {vbr: {max-routes: 5}}\n");
    let routes = json(&[file.to_str().unwrap(), "--element", "vbr"]);
    assert_eq!(routes["elements"][0]["limit"], serde_json::json!({"max": 5, "used": 13}));
    let problem =
        routes["problems"].as_array().unwrap().iter().find(|problem| problem["code"] == "route-limit").unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let line = text.lines().position(|line| line.contains("max-routes")).unwrap() + 1;
    assert_eq!((&problem["line"], &problem["element"]), (&line.into(), &"vbr".into()), "{problem:#}");
}

#[test]
fn a_name_without_address_is_no_route_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "express-connect-flannel", "");
    fs::remove_file(folder.path().join("policy.lock.yaml")).unwrap();
    let output = edgeward(&[file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
}

#[test]
fn every_format_has_the_same_routes() {
    let policy = "policies/express-connect-terway-edge.yaml";
    let expected = rows(&json(&[policy]));
    let csv = String::from_utf8(edgeward(&[policy, "--format", "csv"]).stdout).unwrap();
    let records: Vec<String> = csv
        .split("\r\n")
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| line.splitn(5, ',').take(4).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(records, expected);
    let markdown = String::from_utf8(edgeward(&[policy, "--format", "markdown"]).stdout).unwrap();
    let cells: Vec<String> = markdown
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Element") && !line.starts_with("| ---"))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .take(4)
                .map(|cell| cell.trim().trim_matches('`'))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(cells, expected);
    let text = String::from_utf8(edgeward(&[policy]).stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    for row in &expected {
        let words: Vec<&str> = row.split(' ').skip(1).collect();
        assert!(text.lines().any(|line| line.split_whitespace().take(3).eq(words.iter().copied())), "{row}");
    }
}

/// Catalogs that were written before there were devices in them go on to work.
#[test]
fn a_catalog_without_devices_uses_the_built_in_ones() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cloud", "regions", "flows", "sources"] {
        let text = fs::read_to_string(format!("policies/catalog/{name}.yaml")).unwrap();
        let limits = text.find("- id: network-limits").unwrap_or(text.len());
        let after = text[limits..].find("\n- id: ").map_or(text.len(), |at| limits + at + 1);
        fs::write(folder.path().join(format!("{name}.yaml")), text[..limits].to_owned() + &text[after..]).unwrap();
    }
    let policy = "policies/express-connect-flannel.yaml";
    let catalog = folder.path().to_str().unwrap();
    assert_eq!(rows(&json(&[policy, "--catalog", catalog])), rows(&json(&[policy])));
    let text = fs::read_to_string("policies/catalog/elements.yaml").unwrap();
    fs::write(folder.path().join("elements.yaml"), text.replace("element: vbr", "element: vbrr")).unwrap();
    let output = edgeward(&[policy, "--catalog", catalog]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("elements.yaml:"));
}
