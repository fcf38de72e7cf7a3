//! What rules must not deny, and what a refresh is answerable for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use edgeward::catalog::Catalog;
use edgeward::guard::{InForce, Need, denied, denies_management, requirements};
use edgeward::intent::{Declared, Intent};
use edgeward::lower::lower;
use edgeward::net::Payload;
use edgeward::policy::{self, syntax::Policy};
use edgeward::resolution::Resolution;
use edgeward::ruleset::Ruleset;
use edgeward::site::Target;
use edgeward::source::Source;

const API_SERVER: &str = "api.example.com";

/// A site that knows its API server by name.
fn site() -> (Policy, Intent<Declared>) {
    load(&text(), Target::EdgeHost)
}

fn load(text: &str, target: Target) -> (Policy, Intent<Declared>) {
    let source = Source::new("policy.yaml", text);
    policy::load(&source, &Catalog::embedded().unwrap(), Some(target), &mut Default::default()).unwrap()
}

fn text() -> String {
    format!(
        "version: 1\nname: edge\ntarget: edge-host\nregion: cn-hangzhou\nconnection: public\ncni: flannel\n\
         cluster: {{kind: ack-edge, version: \"1.30\", api-server: {API_SERVER}}}\n\
         networks: {{hosts: [10.0.0.0/8], pods: [172.20.0.0/16]}}\n\
         management: {{from: [10.0.0.0/24]}}\ndns: {{servers: [10.0.0.53]}}\n"
    )
}

/// Answers with one address for each name.
fn answers(intent: &Intent<Declared>, api_server: &str) -> Resolution {
    let row = |name: &str| {
        let address = if name == API_SERVER { api_server } else { "198.51.100.1" };
        format!(
            "- name: {name}\n  addresses:\n  - {{address: {address}, first-seen: 2026-11-20T08:00:00Z, last-seen: \
             2026-11-21T02:00:00Z}}\n"
        )
    };
    let names: String = intent.names().keys().map(|name| row(name.as_str())).collect();
    let text = format!("version: 1\nnames:\n{names}");
    Resolution::parse(&Source::new("policy.lock.yaml", text), &mut Default::default()).unwrap()
}

/// What a refresh is refused for: the needs that the rules after it deny, and those before it met.
fn newly_denied(before: &Ruleset, after: &Ruleset, known: &str, answered: &str) -> Vec<Need> {
    let (policy, intent) = site();
    let known = requirements(&policy, &intent, &answers(&intent, known));
    let required = requirements(&policy, &intent, &answers(&intent, answered));
    let in_force = InForce { ruleset: before, requirements: &known };
    let denied = denied(after, &required).into_iter().map(|(required, _)| required);
    denied.filter(|required| in_force.met(required)).map(|required| required.need).collect()
}

#[test]
fn a_refresh_answers_for_what_it_newly_denies() {
    let (_, intent) = site();
    let rules = |api_server: &str| lower(&intent.bind(&answers(&intent, api_server)).unwrap());
    let [old, new] = ["203.0.113.1", "203.0.113.2"];
    assert_eq!(newly_denied(&rules(old), &rules(new), old, new), []);
    // The name has another address, which the new rules do not permit, although the old ones permitted the server.
    assert_eq!(newly_denied(&rules(old), &rules(old), old, new), [Need::ApiServer]);
    assert_eq!(newly_denied(&rules(old), &rules("203.0.113.3"), old, old), [Need::ApiServer]);
    // The old rules permitted no API server either.
    assert_eq!(newly_denied(&rules("203.0.113.3"), &rules("203.0.113.3"), old, new), []);
    // Rules that deny everything, and that were in force already.
    let nothing = Ruleset { sets: Default::default(), ..rules(old) };
    assert_eq!(newly_denied(&nothing, &nothing, old, new), []);
    let all = newly_denied(&rules(old), &nothing, old, new);
    assert!([Need::Management, Need::Dns, Need::ApiServer].iter().all(|need| all.contains(need)), "{all:?}");
}

/// A registered cluster's API server may be a load balancer with a port of its own.
#[test]
fn the_api_server_is_needed_at_its_port() {
    let text = text()
        .replace("public", "express-connect")
        .replace("cni: flannel", "cni: flannel-vxlan")
        .replace("kind: ack-edge", "kind: registered, api-server-port: 16443")
        .replace("hosts: ", "vpc: [192.168.0.0/16], hosts: ");
    for target in [Target::EdgeHost, Target::IdcGateway] {
        let (policy, intent) = load(&text, target);
        let known = answers(&intent, "203.0.113.1");
        let required = requirements(&policy, &intent, &known);
        let ports: Vec<Payload> =
            required.iter().filter(|one| one.need == Need::ApiServer).map(|one| one.packet.payload).collect();
        assert!(matches!(ports[..], [Payload::Tcp { dport: 16443, opens: true, .. }]), "{ports:?}");
        let rules = lower(&intent.bind(&known).unwrap());
        assert_eq!(denied(&rules, &required), []);
    }
}

#[test]
fn an_edge_host_that_enforces_is_managed_from_somewhere() {
    let denies = |text: &str, target: Target| {
        let (policy, intent) = load(text, target);
        denies_management(&policy, &intent)
    };
    let host = |text: &str| denies(text, Target::EdgeHost);
    let from = "management: {from: [10.0.0.0/24]}\n";
    let [empty, absent] = ["management: {from: []}\n", ""].map(|section| text().replace(from, section));
    assert!(!host(&text()) && host(&empty) && host(&absent));
    assert!(!host(&format!("{empty}mode: audit\n")) && !denies(&empty, Target::IdcGateway));
    // An `allow` row that names the port of SSH is management, too: a jump host that has a name only.
    let row = |direction: &str, ports: &str, more: &str| {
        let row =
            format!("id: jump, direction: {direction}, peers: [198.51.100.7], ports: [{ports}], purpose: x{more}");
        host(&format!("{empty}allow: [{{{row}}}]\n"))
    };
    assert!(!row("inbound", "tcp/22", "") && !row("inbound", "tcp/20-30", ""));
    assert!(row("outbound", "tcp/22", "") && row("inbound", "udp/22", "") && row("inbound", "tcp/23", ""));
    assert!(row("inbound", "tcp/22", ", optional: true"), "an optional row may permit no one");
    let port = "management: {from: [], ssh-port: 23}\nallow: [{id: jump, direction: inbound, peers: [198.51.100.7], ports: \
                [tcp/22], purpose: x}]\n";
    assert!(host(&text().replace(from, port)));
}
