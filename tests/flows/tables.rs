//! The tables of docs/policy.md, read as what a site permits: each conversation that they name for an example policy is
//! in its list once, and nothing else but the operator's rows is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use edgeward::policy::syntax::Policy;
use edgeward::site::{ClusterKind, ClusterVersion, Connection, Feature, Phase, ProxyMode, Scope, Target};

use super::{CATALOG, Site, examples};

/// A row of a table.
struct Row {
    section: String,
    flows: Vec<String>,
    /// What the first cell says in parentheses.
    condition: String,
    /// Where it applies; empty in tables without that column.
    place: String,
    directions: Vec<&'static str>,
    other_end: String,
}

fn is_cni(word: &str) -> bool {
    CATALOG.cnis.iter().any(|row| row.id.value == word)
}

/// The words in backticks.
fn code(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn rows(document: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut section = "";
    let part = document.split("\n## What a policy permits\n").nth(1).unwrap();
    for line in part.lines().take_while(|line| !line.starts_with("## ")) {
        if let Some(title) = line.strip_prefix("### ") {
            section = title;
        }
        if !line.starts_with("| `") {
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let (flows, condition) = cells[0].split_once('(').unwrap_or((cells[0], ""));
        // The last table has a column for where it applies.
        let (place, direction) = if section == "Always" { (cells[1], cells[2]) } else { ("", cells[1]) };
        let directions: Vec<&str> = direction
            .split(", ")
            .map(|word| match word.trim_end_matches('*') {
                "in" => "inbound",
                "out" => "outbound",
                other => panic!("{other}: {line}"),
            })
            .collect();
        rows.push(Row {
            section: section.to_owned(),
            flows: code(flows),
            condition: condition.trim_end_matches(')').to_owned(),
            place: place.to_owned(),
            directions,
            other_end: cells[cells.len() - 2].to_owned(),
        });
    }
    rows
}

impl Row {
    fn applies(&self, policy: &Policy) -> bool {
        let site = (policy.cluster.kind, policy.connection.value);
        let section = match self.section.as_str() {
            "ACK Edge over a leased line" => site == (ClusterKind::AckEdge, Connection::ExpressConnect),
            "ACK Edge over the public network" => site == (ClusterKind::AckEdge, Connection::Public),
            "Registered clusters" => site.0 == ClusterKind::Registered,
            "Optional services of the cloud" => site.1 == Connection::ExpressConnect,
            "Always" => true,
            other => panic!("{other} is not a section that this test knows"),
        };
        let gateway = policy.target == Target::IdcGateway;
        let place = match self.place.as_str() {
            "" | "everywhere" => true,
            "edge host" => !gateway,
            other => panic!("{other}"),
        };
        // Flows with `hosts` at both ends do not cross a gateway.
        let crosses = !gateway || code(&self.other_end) != ["hosts"];
        section && place && crosses && self.condition_holds(policy)
    }

    fn condition_holds(&self, policy: &Policy) -> bool {
        let version = policy.cluster.version;
        let words: Vec<&str> = self.condition.split(", ").filter(|word| !word.is_empty()).collect();
        let cnis: Vec<String> = code(&self.condition).into_iter().filter(|word| is_cni(word)).collect();
        let mut others = words.iter().filter(|word| !code(word).iter().any(|word| is_cni(word)));
        let other = |word: &&str| match *word {
            "`kube-proxy.mode: ipvs`" => policy.kube_proxy.mode == ProxyMode::Ipvs,
            "`features: [log]`" => policy.features.iter().any(|feature| feature.value == Feature::Log),
            "`features: [monitoring]`" => policy.features.iter().any(|feature| feature.value == Feature::Monitoring),
            "gateway only" => policy.target == Target::IdcGateway,
            "unless `self-host-ntp`" => !policy.cluster.self_host_ntp,
            "`phase: install`" => policy.phase == Phase::Install,
            "if `control-plane` is not empty" => !policy.networks.value.control_plane.is_empty(),
            "for each port of `cluster.agent-endpoints`" | "with `cluster.agent-endpoints`" => {
                !policy.cluster.agent_endpoints.is_empty()
            }
            "before 1.26" => version < "1.26".parse::<ClusterVersion>().unwrap(),
            other => panic!("{other} is not a condition that this test knows"),
        };
        (cnis.is_empty() || cnis.contains(&policy.cni.value)) && others.all(other)
    }
}

/// What the documentation says that a policy opens.
fn documented(policy: &Policy) -> BTreeSet<(String, &'static str)> {
    let document = fs::read_to_string("docs/policy.md").unwrap();
    let rows = rows(&document);
    assert!(rows.len() > 30, "docs/policy.md has its tables elsewhere");
    let networks = &policy.networks.value;
    let mut found = BTreeSet::new();
    for row in rows.iter().filter(|row| row.applies(policy)) {
        for flow in &row.flows {
            // A tunnel has the name of its CNI.
            let tunnel = row.section == "Registered clusters" && is_cni(flow) && *flow != policy.cni.value;
            let empty = match flow.as_str() {
                "ssh" => policy.management.as_ref().is_none_or(|section| section.value.from.is_empty()),
                "dns" => policy.dns.as_ref().is_none_or(|section| section.value.servers.is_empty()),
                "services" => networks.services.is_empty(),
                "ipvs-node-ports" => policy.node_ports().is_none(),
                "raven" => policy.cluster.raven_gateways.is_empty(),
                "tunnel-server" => policy.cluster.tunnel_servers.is_empty(),
                _ => false,
            };
            if !tunnel && !empty {
                found.extend(row.directions.iter().map(|direction| (flow.clone(), *direction)));
            }
        }
    }
    assert!(document.contains("`scope: broad` adds the flow `broad` to a gateway"));
    if policy.scope.value == Scope::Broad {
        found.extend(["inbound", "outbound"].map(|direction| ("broad".to_owned(), direction)));
    }
    found
}

#[test]
fn each_conversation_of_the_documentation_is_listed_once() {
    for path in examples() {
        let site = Site::read(&path, None).unwrap();
        let mut listed: BTreeMap<(String, &str), usize> = BTreeMap::new();
        let document = site.json();
        for row in document["flows"].as_array().unwrap() {
            let key = (row["flow"].as_str().unwrap().to_owned(), row["direction"].as_str().unwrap());
            *listed.entry(key).or_default() += 1;
        }
        let mut expected = documented(&site.policy);
        expected.extend(site.policy.allow.iter().map(|row| (row.id.value.0.clone(), row.direction.name())));
        let expected: BTreeMap<(String, &str), usize> = expected.into_iter().map(|key| (key, 1)).collect();
        assert_eq!(listed, expected, "{}", path.display());
    }
}
