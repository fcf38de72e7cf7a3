//! `edgeward security-group`: the document's table, row for row; what the hosts' rules permit, and nothing else, packet for
//! packet; groups that exist; formats.

#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

#[path = "security_group/check.rs"]
mod check;
#[path = "security_group/formats.rs"]
mod formats;

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use edgeward::catalog::Catalog;
use edgeward::diag::Problems;
use edgeward::intent::{Declared, Intent, Resolved};
use edgeward::lower::lower;
use edgeward::net::{CtState, Family, Hook, Packet, Payload, PrefixSet, Verdict};
use edgeward::policy::path::GroupType;
use edgeward::policy::{self, syntax::Policy};
use edgeward::resolution::Resolution;
use edgeward::security_group::{
    Basis, IpProtocol, Needed, Permission, Rule, SecurityGroup, Way, addresses_of_the_vpc, as_the_vpc_sees,
};
use edgeward::site::{Connection, Mode, Scope, Site as Facts, Target};
use edgeward::source::{Source, Spanned};
use serde_json::Value;
use support::random::{self, CutPoints, Dice, policy_text};

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::embedded().unwrap());

fn edgeward(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    command.arg("security-group").args(arguments).env("NO_COLOR", "1").output().unwrap()
}

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = edgeward(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(&[arguments, &["--format", "json"]].concat())).unwrap()
}

/// `direction protocol port-range cidr` of every rule.
fn rows(group: &Value) -> Vec<String> {
    let words = |rule: &Value| {
        ["direction", "protocol", "port-range", "cidr"].map(|key| rule[key].as_str().unwrap().to_owned()).join(" ")
    };
    group["rules"].as_array().unwrap().iter().map(words).collect()
}

/// A policy of the repository in a folder of its own, with its lockfile, changed.
fn written(folder: &Path, policy: &str, change: impl Fn(String) -> String) -> PathBuf {
    let file = folder.join("policy.yaml");
    fs::write(&file, change(fs::read_to_string(format!("policies/{policy}.yaml")).unwrap())).unwrap();
    let lock = fs::read_to_string(format!("policies/{policy}.lock.yaml"));
    lock.map(|lock| fs::write(folder.join("policy.lock.yaml"), lock).unwrap()).unwrap_or_default();
    file
}

const FLANNEL: &str = "policies/express-connect-flannel.yaml";
const TERWAY: &str = "policies/express-connect-terway-edge.yaml";

/// The table of the document, section “Cloud VPC security group”, with the prefixes of its example: everything.
const BROAD: [&str; 2] = ["egress all -1/-1 10.0.0.0/8", "ingress all -1/-1 10.0.0.0/8"];
/// The same table for fine-grained control, with Flannel.
const FINE: [&str; 7] = [
    "egress tcp 10250/10250 10.0.0.0/8",
    "egress tcp 10255/10255 10.0.0.0/8",
    "egress tcp 9100/9100 10.0.0.0/8",
    "egress tcp 9445/9445 10.0.0.0/8",
    "egress udp 8472/8472 10.0.0.0/8",
    "ingress udp 8472/8472 10.0.0.0/8",
    "ingress tcp 6443/6443 10.0.0.0/8",
];
/// What the document does not list: errors and echo, in both directions.
const ICMP: [&str; 2] = ["egress icmp -1/-1 10.0.0.0/8", "ingress icmp -1/-1 10.0.0.0/8"];
/// The containers of Terway Edge, whose addresses cross the line; the document names no rule for them.
const PODS: [&str; 2] = ["egress all -1/-1 172.16.0.0/12", "ingress all -1/-1 172.16.0.0/12"];

/// The rules, those that a document asks for and those that are inferred.
#[track_caller]
fn divided(arguments: &[&str]) -> [BTreeSet<String>; 2] {
    let group = json(arguments);
    let inferred = group["rules"].as_array().unwrap().iter().map(|rule| rule["inferred"].as_bool().unwrap());
    let mut divided = [BTreeSet::new(), BTreeSet::new()];
    for (row, inferred) in rows(&group).into_iter().zip(inferred) {
        assert!(divided[usize::from(inferred)].insert(row.clone()), "{row} twice");
    }
    divided
}

fn set(rows: &[&[&str]]) -> BTreeSet<String> {
    rows.concat().into_iter().map(str::to_owned).collect()
}

#[test]
fn the_broad_scope_is_the_table_of_the_document() {
    assert_eq!(divided(&[FLANNEL, "--scope", "broad"]), [set(&[&BROAD]), set(&[])]);
    assert_eq!(divided(&[TERWAY, "--scope", "broad"]), [set(&[&BROAD]), set(&[&PODS])]);
    // A gateway's own scope is taken where none is given.
    assert_eq!(divided(&["policies/idc-gateway-broad.yaml"])[0], set(&[&BROAD]));
}

#[test]
fn the_fine_scope_is_what_the_flows_need() {
    assert_eq!(divided(&[FLANNEL]), [set(&[&FINE]), set(&[&ICMP])]);
    let tcp: Vec<&str> = FINE.into_iter().filter(|row| !row.contains("udp")).collect();
    assert_eq!(divided(&[TERWAY]), [set(&[&tcp]), set(&[&ICMP, &PODS])]);
    let group = json(&[FLANNEL]);
    assert_eq!(
        (&group["type"], &group["scope"], group["problems"].as_array().unwrap().len()),
        (&"enterprise".into(), &"fine".into(), 0)
    );
    for rule in group["rules"].as_array().unwrap() {
        assert_eq!((&rule["policy"], &rule["priority"]), (&"accept".into(), &1.into()));
        let kinds: Vec<&str> =
            rule["because"].as_array().unwrap().iter().map(|reason| reason["kind"].as_str().unwrap()).collect();
        assert!(kinds.contains(&"catalog") && kinds.contains(&"policy"), "{rule:#}");
        let stated =
            rule["because"].as_array().unwrap().iter().any(|reason| {
                reason["section"] == "Cloud VPC security group" && reason["document"] == "express-connect"
            });
        assert_eq!(stated, rule["inferred"] == false, "{rule:#}");
    }
    // A rule cannot name types, so those that no flow needs are open, too, and the list says so.
    let beyond: Vec<&Value> = group["beyond"].as_array().unwrap().iter().map(|one| &one["flow"]).collect();
    assert_eq!(beyond, ["icmp", "icmp"]);
    assert!(group["beyond"][0]["packets"][0]["icmp-types"].is_array(), "{group:#}");
}

/// A policy as the VPC sees it.
struct Site {
    policy: Policy,
    facts: Facts,
    intent: Intent<Declared>,
    resolution: Resolution,
    vpc: PrefixSet,
}

impl Site {
    fn new(text: &str, scope: Scope, resolution: impl FnOnce(&Intent<Declared>) -> Resolution) -> Self {
        let mut problems = Problems::default();
        let mut policy = policy::parse(&Source::new("site.yaml", text), &mut problems).unwrap();
        policy.scope = Spanned::unwritten(scope);
        let intent = policy::check(&policy, &CATALOG, Some(Target::IdcGateway), &mut problems);
        let mut intent = as_the_vpc_sees(intent.unwrap_or_else(|| panic!("{problems:#?}\n{text}")));
        // What is denied in fact, and what opens a conversation: groups have neither an audit mode nor rules for replies.
        intent.mode = Mode::Enforce;
        intent.gateway.iter_mut().for_each(|gateway| gateway.stateless = false);
        let facts = policy::site(&policy, &CATALOG, Target::IdcGateway, &mut problems);
        let resolution = resolution(&intent);
        let vpc = addresses_of_the_vpc(&policy);
        Self { policy, facts, intent, resolution, vpc }
    }

    fn group(&self, kind: GroupType) -> SecurityGroup<'_> {
        let Self { policy, facts: site, intent, resolution, .. } = self;
        let scope = policy.scope.value;
        SecurityGroup::of(Basis { policy, site, catalog: &CATALOG, intent, resolution, scope, kind }, &self.vpc)
    }
}

/// Random policies over a leased line with the group that each needs.
fn sites(seed: u64, count: usize) -> impl Iterator<Item = (String, Site, Dice)> {
    let mut dice = Dice::new(seed);
    let all = std::iter::repeat_with(move || {
        let text = policy_text(&mut dice).yaml();
        let scope = if text.contains("scope: broad") { Scope::Broad } else { Scope::Fine };
        let mut own = Dice::new(dice.below(usize::MAX >> 1) as u64);
        let site = Site::new(&text, scope, |intent| random::resolution(intent, &mut own));
        (text, site, own)
    });
    all.filter(|(_, site, _)| site.facts.connection == Connection::ExpressConnect).take(count)
}

/// Whether some rules admit a packet, looked up one by one.
fn admits(rules: &[&Rule], vpc: &PrefixSet, packet: &Packet) -> bool {
    let (way, remote) = match (vpc.contains(packet.source), vpc.contains(packet.destination)) {
        (true, false) => (Way::Egress, packet.destination),
        (false, true) => (Way::Ingress, packet.source),
        _ => panic!("{packet} does not cross the edge"),
    };
    rules.iter().any(|rule| {
        let ports = |port: u16| rule.ports.is_none_or(|(first, last)| first <= port && port <= last);
        let traffic = match (rule.protocol, packet.payload) {
            (IpProtocol::All, _) => true,
            (IpProtocol::Tcp, Payload::Tcp { dport, .. }) | (IpProtocol::Udp, Payload::Udp { dport, .. }) => {
                ports(dport)
            }
            (IpProtocol::Icmp, Payload::Icmp { .. }) => remote.is_ipv4(),
            (IpProtocol::Icmpv6, Payload::Icmp { .. }) => remote.is_ipv6(),
            (IpProtocol::Gre, Payload::Other(47)) => true,
            _ => false,
        };
        traffic && rule.way == way && rule.remote.net().contains(&remote) && rule.permission == Permission::Accept
    })
}

/// What the intent of a host or a gateway says of a packet that opens a conversation.
fn permits(intent: &Intent<Resolved>, packet: &Packet, skipped: &[&str]) -> bool {
    let disposition = intent.specification().disposition(packet);
    disposition.verdict == Verdict::Accept && disposition.flow.is_some_and(|flow| !skipped.contains(&flow))
}

/// Every packet between a host and the VPC that the host's own rules permit is admitted, and so is what crosses a gateway.
#[test]
fn what_the_hosts_permit_is_admitted() {
    let (mut of_hosts, mut of_gateways) = (0, 0);
    for (text, site, mut dice) in sites(11, 60) {
        let group = site.group(GroupType::Enterprise);
        let rules: Vec<&Rule> = group.rules.iter().map(|derived| &derived.rule).collect();
        let hosts: PrefixSet = site.policy.networks.value.hosts.iter().map(|prefix| prefix.value).collect();
        let fine = text.replace("scope: broad", "scope: fine");
        let mut problems = Problems::default();
        let policy = policy::parse(&Source::new("site.yaml", &fine), &mut problems).unwrap();
        let host = policy::check(&policy, &CATALOG, Some(Target::EdgeHost), &mut problems);
        let mut bound: Vec<(Intent<Resolved>, bool)> =
            host.into_iter().filter_map(|intent| Some((intent.bind(&site.resolution).ok()?, true))).collect();
        bound.extend(site.intent.bind(&site.resolution).ok().map(|intent| (intent, false)));
        for (mut intent, is_host) in bound {
            intent.mode = Mode::Enforce;
            let points = CutPoints::of(&lower(&intent));
            for _ in 0..600 {
                let mut packet = points.packet(&mut dice);
                packet.state = CtState::New;
                packet.interface = Default::default();
                let inside = [site.vpc.contains(packet.source), site.vpc.contains(packet.destination)];
                if inside[0] == inside[1] {
                    continue;
                }
                let near = if inside[0] { packet.destination } else { packet.source };
                packet.hook = match (is_host, inside[0]) {
                    (true, true) => Hook::Input,
                    (true, false) => Hook::Output,
                    (false, _) => Hook::Forward,
                };
                // On the link only, or of pods that use Services: in the other modes of kube-proxy these packets are
                // forwarded. And the host's own rules do not ask which of its addresses is meant.
                let skipped = ["dhcp", "dhcpv6", "neighbour-discovery", "ipvs-endpoints"];
                if (is_host && !hosts.contains(near)) || !permits(&intent, &packet, &skipped) {
                    continue;
                }
                assert!(admits(&rules, &site.vpc, &packet), "{packet}\n{rules:#?}\n{text}");
                *(if is_host { &mut of_hosts } else { &mut of_gateways }) += 1;
            }
        }
    }
    assert!(of_hosts > 300 && of_gateways > 300, "{of_hosts} {of_gateways}");
}

/// Of the packets that are admitted, each is needed by some address of the VPC, or listed as beyond what is needed.
#[test]
fn nothing_else_is_admitted_but_what_is_listed() {
    let (mut needed, mut listed) = (0, 0);
    for (text, site, mut dice) in sites(12, 60) {
        let group = site.group(GroupType::Enterprise);
        let rules: Vec<&Rule> = group.rules.iter().map(|derived| &derived.rule).collect();
        let Ok(intent) = site.intent.bind(&site.resolution) else { continue };
        let comparison = Needed::of(&intent, &site.vpc).held_against(&group);
        assert_eq!(comparison.shuts, [], "{text}");
        let points = CutPoints::of(&lower(&intent));
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = points
            .v4
            .iter()
            .chain(&points.v6)
            .copied()
            .filter(|one| site.vpc.contains(*one))
            .partition(|one| one.is_ipv4());
        for _ in 0..600 {
            let mut packet = points.packet(&mut dice);
            (packet.hook, packet.state, packet.interface) = (Hook::Forward, CtState::New, Default::default());
            let inside = [site.vpc.contains(packet.source), site.vpc.contains(packet.destination)];
            if inside[0] == inside[1] || !admits(&rules, &site.vpc, &packet) {
                continue;
            }
            let own = if Family::of(packet.source) == Family::V4 { &v4 } else { &v6 };
            let is_needed = own.iter().any(|address| {
                let mut other = packet;
                *(if inside[0] { &mut other.source } else { &mut other.destination }) = *address;
                permits(&intent, &other, &[])
            });
            let is_listed = comparison.opens.iter().any(|part| part.boxes.iter().any(|one| one.contains(&packet)));
            assert!(is_needed != is_listed, "{packet}: {is_needed} {is_listed}\n{text}");
            needed += usize::from(is_needed);
            listed += usize::from(is_listed);
        }
    }
    assert!(needed > 300 && listed > 30, "{needed} {listed}");
}

/// Without any one rule the proof names a conversation that breaks, and with one more what is open beyond.
#[test]
fn the_proof_finds_a_rule_too_few_and_one_too_many() {
    let (mut fewer, mut more) = (0, 0);
    for (text, site, mut dice) in sites(13, 40) {
        let Ok(intent) = site.intent.bind(&site.resolution) else { continue };
        let needed = Needed::of(&intent, &site.vpc);
        let group = site.group(GroupType::Enterprise);
        let whole = needed.held_against(&group);
        for index in 0..group.rules.len() {
            let mut less = group.clone();
            let gone = less.rules.remove(index);
            let shuts = needed.held_against(&less).shuts;
            let is_named = shuts.iter().any(|shut| {
                shut.way == gone.rule.way && shut.flow.as_deref().is_some_and(|flow| gone.flows.contains(&flow))
            });
            // A rule that is wider than the flow may share all that the flow needs with others.
            let is_widened =
                !shuts.iter().any(|shut| shut.way == gone.rule.way) && gone.rule.protocol == IpProtocol::All;
            assert!(is_named || is_widened, "{}\n{shuts:#?}\n{text}", gone.rule);
            fewer += usize::from(is_named);
        }
        for _ in 0..3 {
            let mut added = group.rules.first().unwrap().clone();
            added.flow = "added";
            added.rule = Rule {
                way: *dice.pick(Way::ALL),
                protocol: *dice.pick(IpProtocol::ALL),
                ports: None,
                remote: dice.pick(&["10.0.0.0/8", "198.51.100.0/24", "0.0.0.0/0", "2001:db8:a::/48"]).parse().unwrap(),
                ..added.rule
            };
            let mut larger = group.clone();
            larger.rules.push(added.clone());
            let opens = needed.held_against(&larger).opens;
            let named = opens.iter().filter(|open| open.flow.as_deref() == Some("added"));
            let rules: Vec<&Rule> = group.rules.iter().map(|derived| &derived.rule).collect();
            for open in named {
                assert_eq!(open.way, added.rule.way);
                assert!(!admits(&rules, &site.vpc, &open.example), "{}\n{}\n{text}", added.rule, open.example);
                assert!(admits(&[&added.rule], &site.vpc, &open.example), "{}\n{}", added.rule, open.example);
                more += 1;
            }
            if opens.iter().all(|open| open.flow.as_deref() != Some("added")) {
                assert_eq!(opens, whole.opens, "{}\n{text}", added.rule);
            }
        }
    }
    assert!(fewer > 200 && more > 60, "{fewer} {more}");
}

#[test]
fn what_the_api_cannot_say_is_widened_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let row =
        "allow:\n- {id: signalling, direction: inbound, peers: [192.168.10.7], ports: [sctp/38412, protocol/89]}\n";
    let file = written(folder.path(), "express-connect-flannel", |text| text.replace("allow:\n", row));
    let group = json(&[file.to_str().unwrap()]);
    assert!(rows(&group).contains(&"egress all -1/-1 10.0.0.0/8".to_owned()), "{group:#}");
    let problem = &group["problems"][0];
    let line = fs::read_to_string(&file).unwrap().lines().position(|line| line.contains("signalling")).unwrap() + 1;
    assert_eq!(
        (&problem["code"], &problem["flow"], &problem["line"]),
        (&"protocol-widened".into(), &"signalling".into(), &line.into())
    );
    for format in ["csv", "terraform", "aliyun-cli"] {
        let output = edgeward(&[file.to_str().unwrap(), "--format", format]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("protocol-widened") && said.contains("open more than it needs"), "{format}: {said}");
    }
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("sctp, protocol/89") && problem["help"].as_str().is_some_and(|help| !help.is_empty()));
    assert!(group["beyond"].as_array().unwrap().iter().any(|one| one["flow"] == "signalling"), "{group:#}");
    // Calico's tunnel is a row of the catalog and has no place in the policy.
    let registered = written(folder.path(), "registered-calico-bgp", |text| {
        text.replace("cni: calico-bgp", "cni: calico-ipip")
            .lines()
            .filter(|line| !line.contains("bgp-peers"))
            .map(|line| line.to_owned() + "\n")
            .collect()
    });
    let group = json(&[registered.to_str().unwrap()]);
    let problem = group["problems"].as_array().unwrap().iter().find(|one| one["flow"] == "calico-ipip").unwrap();
    assert!(problem["message"].as_str().unwrap().contains("ipip") && problem["line"].is_null(), "{problem:#}");
    // GRE has a word.
    let row = "allow:\n- {id: gre, direction: outbound, peers: [192.168.10.7], ports: [gre]}\n";
    let file = written(folder.path(), "express-connect-flannel", |text| text.replace("allow:\n", row));
    let group = json(&[file.to_str().unwrap()]);
    assert!(rows(&group).contains(&"ingress gre -1/-1 10.0.0.0/8".to_owned()), "{group:#}");
    assert_eq!(group["problems"], serde_json::json!([]));
}

#[test]
fn a_basic_group_lets_everything_out_and_the_list_says_so() {
    let group = json(&[FLANNEL, "--type", "basic"]);
    assert_eq!(rows(&group), rows(&json(&[FLANNEL])));
    assert_eq!((&group["type"], &group["problems"][0]["code"]), (&"basic".into(), &"egress-open".into()));
    let open = group["beyond"].as_array().unwrap().iter().find(|one| one["flow"].is_null()).unwrap();
    assert_eq!(open["direction"], "egress");
    assert!(printed(&[FLANNEL, "--type", "basic"]).contains("a basic group lets everything out"));
    // The policy may say it as well.
    let folder = tempfile::tempdir().unwrap();
    let path = "path: {vpc: {security-group-type: basic}}\n";
    let file = written(folder.path(), "express-connect-flannel", |text| text + path);
    assert_eq!(json(&[file.to_str().unwrap()])["type"], "basic");
    assert_eq!(json(&[file.to_str().unwrap(), "--type", "enterprise"])["type"], "enterprise");
}

#[test]
fn too_many_rules_are_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let hosts: Vec<String> = (0..40).map(|number| format!("10.{}.0.0/24", 2 * number)).collect();
    let file = written(folder.path(), "express-connect-flannel", |text| {
        let text = text.replace("hosts: [10.0.0.0/8]", &format!("hosts: [{}]", hosts.join(", ")));
        text.replace("management: {from: [10.0.0.0/24]", "management: {from: [10.0.0.0/25]")
    });
    let group = json(&[file.to_str().unwrap()]);
    assert_eq!(group["rules"].as_array().unwrap().len(), 9 * 40);
    let problem = group["problems"].as_array().unwrap().iter().find(|one| one["code"] == "rule-limit").unwrap();
    assert!(
        problem["message"].as_str().unwrap().contains("360 rules")
            && problem["message"].as_str().unwrap().contains("200")
    );
}

#[test]
fn over_the_public_network_there_is_no_rule_and_the_list_says_why() {
    let group = json(&["policies/public-flannel.yaml"]);
    assert_eq!((&group["rules"], &group["problems"][0]["code"]), (&serde_json::json!([]), &"public-network".into()));
    assert!(printed(&["policies/public-flannel.yaml"]).contains("no common network"));
}

#[test]
fn a_name_without_address_is_no_rule_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "express-connect-flannel", |text| text);
    fs::remove_file(folder.path().join("policy.lock.yaml")).unwrap();
    let output = edgeward(&[file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
}

/// An API server that a name gives is in the VPC if its answers are.
#[test]
fn the_answers_of_a_name_decide_whether_it_is_in_the_vpc() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "express-connect-flannel", |text| {
        text.replace("api-server: 192.168.10.20", "api-server: api.example.com")
    });
    let lock = folder.path().join("policy.lock.yaml");
    let text = fs::read_to_string(&lock).unwrap();
    let seen = "first-seen: 2026-01-01T00:00:00Z, last-seen: 2026-01-01T00:00:00Z";
    for (address, is_in) in [("192.168.10.21", true), ("203.0.113.9", false)] {
        let name = format!("- name: api.example.com\n  addresses:\n  - {{address: {address}, {seen}}}\n");
        fs::write(&lock, text.replacen("names:\n", &format!("names:\n{name}"), 1)).unwrap();
        let group = json(&[file.to_str().unwrap()]);
        let rule = group["rules"].as_array().unwrap().iter().find(|rule| rule["flow"] == "api-server");
        assert_eq!(rule.is_some(), is_in, "{group:#}");
        let kinds = rule.map(|rule| rule["because"].as_array().unwrap().iter().any(|reason| reason["kind"] == "name"));
        assert_eq!(kinds, is_in.then_some(true), "{rule:#?}");
    }
}
