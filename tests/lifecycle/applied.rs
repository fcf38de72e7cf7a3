//! Only `apply` puts an edited policy, another catalog, another list or another target into force. `refresh` changes
//! addresses of names.

use std::fs;

use super::host::{ELSEWHERE, Host, OFFICE, Run, policy, zone};
use super::refreshes::{refresh, serve};

/// A prefix of the region that the built-in catalog does not have.
const NEW_PREFIX: &str = "100.99.77.0/24";
const OLD_PREFIXES: &str = "vips: [100.118.28.0/24, ";

fn write_newer_catalog(host: &Host) {
    host.write_catalog("newer", OLD_PREFIXES, &format!("{OLD_PREFIXES}{NEW_PREFIX}, "));
}

/// The rules with another answer of the mirror in place of the first; without the checksum.
fn rules_with(rules: &str, answer: &str) -> String {
    let lines = rules.lines().filter(|line| !line.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n").replace("203.0.113.7", answer)
}

/// A refresh that is asked to use more options.
fn refresh_with(host: &Host, server: &crate::support::dns_server::DnsServer, more: &str) -> Run {
    host.edgeward(&format!("refresh policy.yaml --server {} {more}", server.address()))
}

#[test]
fn an_edited_policy_stays_out_of_force() {
    need_namespaces!();
    let host = Host::new();
    let audit = policy(OFFICE).replace("mode: enforce", "mode: audit");
    host.write("policy.yaml", &audit);
    host.edgeward("apply policy.yaml").ends(0);
    let (rules, lockfile) = (host.rules(), host.read("policy.lock.yaml"));
    host.write("policy.yaml", &policy("").replace("hosts: [10.0.0.0/8]", "hosts: [10.0.0.0/16]"));
    let same = serve(&host, zone(&["203.0.113.7"]));
    let note =
        ["the policy `policy.yaml`", "`edgeward apply --resolve policy.yaml --confirm-within 2m --state-dir state`"];
    refresh(&host, &same).ends(0).says(&note);
    assert_eq!((host.rules(), host.generations()), (rules.clone(), vec![1]));
    // Addresses change, and nothing else. The old one lingers.
    let other = serve(&host, zone(&["203.0.113.8"]));
    refresh(&host, &other).ends(0).says(&note);
    assert_eq!(rules_with(&host.rules(), "203.0.113.7"), rules_with(&rules, "203.0.113.7, 203.0.113.8"));
    assert_eq!(host.read("state/generations/2/policy.yaml"), audit);
    assert_eq!(host.read("policy.lock.yaml"), lockfile, "the lockfile of a policy that is not in force");
    let rules = host.rules();
    host.nft("flush ruleset");
    host.edgeward("boot").ends(0);
    assert_eq!(host.rules(), rules);
    // A policy that is half written, or not there, stops nothing.
    host.write("policy.yaml", "version: 1\nname");
    refresh(&host, &same).ends(0).says(&note);
    fs::remove_file(host.path("policy.yaml")).unwrap();
    refresh(&host, &other).ends(0).says(&["the policy (cannot read `policy.yaml`"]);
    assert_eq!(host.rules(), rules);
    // And the policy in force has nothing to say.
    host.write("policy.yaml", &audit);
    let said = refresh(&host, &other).ends(0).said();
    assert!(!said.contains("note: only addresses"), "{said}");
    assert!(host.read("policy.lock.yaml").contains("203.0.113.8"));
}

#[test]
fn an_edited_policy_is_not_checked_by_refresh() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let _session = super::host::Session::open(&host, super::host::OPERATOR, "10.0.0.20:22", "10.0.0.20:22");
    host.write("policy.yaml", &policy(ELSEWHERE));
    refresh(&host, &serve(&host, zone(&["203.0.113.8"]))).ends(0).says(&["the policy `policy.yaml`"]);
    assert!(host.lets_in(OFFICE) && !host.lets_in(ELSEWHERE) && host.rules().contains("203.0.113.8"));
}

#[test]
fn the_catalog_of_an_apply_stays() {
    need_namespaces!();
    let host = Host::new();
    write_newer_catalog(&host);
    host.edgeward("apply policy.yaml --catalog newer").ends(0);
    assert!(host.rules().contains(NEW_PREFIX));
    // Without it, and even once it is gone.
    for answer in ["203.0.113.8", "203.0.113.9"] {
        refresh(&host, &serve(&host, zone(&[answer]))).ends(0).says(&["the built-in catalog"]);
        assert!(host.rules().contains(NEW_PREFIX) && host.rules().contains(answer));
        let _ = fs::remove_dir_all(host.path("newer"));
    }
    host.edgeward("apply policy.yaml").ends(0);
    assert!(!host.rules().contains(NEW_PREFIX));
}

#[test]
fn a_newer_catalog_comes_with_apply_only() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let rules = host.rules();
    write_newer_catalog(&host);
    let server = serve(&host, zone(&["203.0.113.8"]));
    let apply = "`edgeward apply --resolve policy.yaml --confirm-within 2m --catalog newer --state-dir state`";
    refresh_with(&host, &server, "--catalog newer").ends(0).says(&["the catalog `newer`", apply]);
    assert_eq!(rules_with(&host.rules(), "203.0.113.7"), rules_with(&rules, "203.0.113.8"));
    // A damaged one is reported.
    host.write("newer/flows.yaml", "flows: 1\n");
    refresh_with(&host, &server, "--catalog newer").ends(0).says(&["the catalog, which is not valid"]);
    refresh_with(&host, &server, "--target idc-gateway").ends(0).says(&["the target", "--target idc-gateway"]);
    assert_eq!(rules_with(&host.rules(), "203.0.113.7"), rules_with(&rules, "203.0.113.8"));
}

#[test]
fn a_list_comes_with_apply_only() {
    need_namespaces!();
    let host = Host::new();
    let row = "- {id: sites, direction: inbound, peers-file: sites.txt, ports: [tcp/443], purpose: sites}\n";
    host.write("policy.yaml", &(policy(OFFICE) + row));
    host.write("sites.txt", "198.51.100.0/25\n198.51.100.128/25 # one prefix\n");
    host.edgeward("apply policy.yaml").ends(0);
    let server = serve(&host, zone(&["203.0.113.8"]));
    host.write("sites.txt", "198.51.100.0/24 # the same addresses\n");
    let said = refresh(&host, &server).ends(0).said();
    assert!(!said.contains("sites.txt"), "{said}");
    host.write("sites.txt", "0.0.0.0/0\n");
    refresh(&host, &server).ends(0).says(&["the list `sites.txt`"]);
    fs::remove_file(host.path("sites.txt")).unwrap();
    refresh(&host, &serve(&host, zone(&["203.0.113.9"]))).ends(0).says(&["the list `sites.txt`"]);
    assert!(host.rules().contains("198.51.100.0/24") && host.rules().contains("203.0.113.9"));
    // Lists and catalogs are stored once, and go with the last generation that refers to them.
    let stored = |folder: &str| fs::read_dir(host.path(folder)).unwrap().count();
    assert_eq!((stored("state/lists"), stored("state/catalogs")), (1, 1));
    for number in 1..=25 {
        host.write("sites.txt", &format!("198.51.100.{number}\n"));
        host.edgeward("apply policy.yaml").ends(0);
    }
    assert_eq!((stored("state/lists"), stored("state/catalogs"), host.generations().len()), (20, 1, 20));
    // What is damaged is not used.
    for list in fs::read_dir(host.path("state/lists")).unwrap() {
        fs::write(list.unwrap().path(), "0.0.0.0/0\n").unwrap();
    }
    let rules = host.rules();
    refresh(&host, &server).ends(4).says(&[
        "/lists/",
        "is damaged",
        "`edgeward apply --resolve policy.yaml --state-dir state`",
    ]);
    assert_eq!(host.rules(), rules);
}

#[test]
fn the_lockfile_in_force_is_kept_fresh() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let kept = || host.read("state/generations/1/policy.lock.yaml");
    let before = (host.handles(), kept());
    let server = serve(&host, zone(&["203.0.113.7"]));
    // Also while another policy is on disk.
    host.write("policy.yaml", &policy(ELSEWHERE));
    refresh(&host, &server).ends(0).says(&["nothing to change"]);
    assert!(host.handles() == before.0 && host.generations() == [1] && kept() != before.1);
    // The lockfile on disk is older now; its policy is in force again, and it gets the newer answers.
    host.write("policy.yaml", &policy(OFFICE));
    server.mute(true);
    refresh(&host, &server).ends(3);
    assert_eq!(host.read("policy.lock.yaml"), kept());
    // A newer one on disk counts.
    server.mute(false);
    let newer = serve(&host, zone(&["203.0.113.9"]));
    host.edgeward(&format!("apply policy.yaml --resolve --dry-run --server {}", newer.address())).ends(0);
    assert_eq!(host.read("policy.lock.yaml"), kept(), "a dry run writes nothing");
    drop(newer);
}

#[test]
fn a_state_directory_without_catalogs_is_taken_over() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let (rules, records) = (host.rules(), host.records());
    let forget = || {
        fs::remove_dir_all(host.path("state/catalogs")).unwrap();
        let mut state = host.state();
        state["version"] = 1.into();
        for record in state["generations"].as_object_mut().unwrap().values_mut() {
            for key in ["inputs", "applied", "before", "catalog", "lists"] {
                record.as_object_mut().unwrap().remove(key).unwrap();
            }
        }
        host.write("state/state.json", &state.to_string());
    };
    forget();
    // With the same catalog.
    refresh(&host, &serve(&host, zone(&["203.0.113.8"]))).ends(0);
    assert_eq!(rules_with(&host.rules(), "203.0.113.7"), rules_with(&rules, "203.0.113.8"));
    assert!(host.path("state/catalogs").is_dir() && host.state()["version"] == 4);
    // With another one, which is what an upgrade brings.
    for (path, text) in records {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    host.edgeward("rollback 1").ends(0);
    write_newer_catalog(&host);
    // One that gives the same rules serves as well.
    host.write_catalog("same", "regions:\n", "# Another text.\nregions:\n");
    forget();
    refresh_with(&host, &serve(&host, zone(&["203.0.113.10"])), "--catalog same").ends(0);
    assert!(host.rules().contains("203.0.113.10"));
    host.edgeward("rollback 1").ends(0);
    forget();
    let before = (host.handles(), host.records());
    let server = serve(&host, zone(&["203.0.113.9"]));
    let help = [
        "catalog",
        "is missing in the state folder",
        "`edgeward apply --resolve policy.yaml --catalog newer --state-dir state`",
    ];
    refresh_with(&host, &server, "--catalog newer").ends(4).says(&help);
    assert_eq!((host.handles(), host.records()), before);
    host.edgeward("apply policy.yaml --catalog newer").ends(0);
    refresh_with(&host, &server, "--catalog newer").ends(0);
    assert!(host.rules().contains(NEW_PREFIX) && host.rules().contains("203.0.113.9"));
}

#[test]
fn the_same_rules_from_another_text_are_another_generation() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let handles = host.handles();
    host.write("policy.yaml", &(policy(OFFICE) + "# a comment\n"));
    let server = serve(&host, zone(&["203.0.113.7"]));
    refresh(&host, &server).ends(0).says(&["the policy `policy.yaml`"]);
    host.edgeward("apply policy.yaml").ends(0).says(&["the rules were in force already"]);
    assert_eq!((host.handles(), host.generations()), (handles, vec![1, 2]));
    let said = refresh(&host, &server).ends(0).said();
    assert!(!said.contains("only addresses"), "{said}");
}

#[test]
fn apply_can_ask_dns_first() {
    need_namespaces!();
    let host = Host::new();
    let server = serve(&host, zone(&["203.0.113.8"]));
    let apply = format!("apply policy.yaml --resolve --server {}", server.address());
    fs::remove_file(host.path("policy.lock.yaml")).unwrap();
    host.edgeward("apply policy.yaml").ends(3);
    host.edgeward(&format!("{apply} --dry-run")).ends(0);
    assert!(!host.path("policy.lock.yaml").exists() && !host.has_table());
    host.edgeward(&apply).ends(0).says(&["203.0.113.8 (ttl 60) added"]);
    assert!(host.rules().contains("203.0.113.8") && host.read("policy.lock.yaml").contains("203.0.113.8"));
    // Names that fail keep their addresses; the policy is applied, and the exit code is that of `resolve`.
    host.write("policy.yaml", &policy(ELSEWHERE));
    server.mute(true);
    host.edgeward(&apply).ends(3);
    assert!(host.lets_in(ELSEWHERE) && host.rules().contains("203.0.113.8"));
    // What is in force is known without a lockfile.
    fs::remove_file(host.path("policy.lock.yaml")).unwrap();
    host.write("policy.yaml", &policy(OFFICE));
    host.edgeward(&apply).ends(3);
    assert!(host.lets_in(OFFICE) && host.rules().contains("203.0.113.8"));
    // Without known addresses nothing is applied.
    let other = policy(ELSEWHERE).replace("peers: [mirror.example.com]", "peers: [other.example.com]");
    host.write("policy.yaml", &other);
    host.edgeward(&apply).ends(3).says(&["other.example.com"]);
    assert!(host.lets_in(OFFICE));
    host.edgeward("apply policy.yaml --server 127.0.0.1:1").ends(2).says(&["--resolve"]);
}

#[test]
fn a_failure_of_dns_closes_nothing_that_only_a_refresh_has_opened() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    // While another policy is on disk, only the generation learns of the new address.
    host.write("policy.yaml", &policy(ELSEWHERE));
    refresh(&host, &serve(&host, zone(&["203.0.113.8"]))).ends(0);
    assert!(!host.read("policy.lock.yaml").contains("203.0.113.8"));
    for text in [policy(OFFICE), policy(ELSEWHERE)] {
        host.write("policy.yaml", &text);
        let server = serve(&host, zone(&[]));
        host.edgeward(&format!("apply policy.yaml --resolve --server {}", server.address())).ends(3);
        assert!(host.rules().contains("203.0.113.8"), "{}", host.rules());
    }
}

#[test]
fn an_apply_that_changes_no_rule_keeps_the_ages_of_addresses() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let kept = || host.read("state/generations/1/policy.lock.yaml");
    let (before, old) = (kept(), host.read("policy.lock.yaml"));
    let server = serve(&host, zone(&["203.0.113.7"]));
    host.edgeward(&format!("apply policy.yaml --resolve --server {}", server.address())).ends(0);
    assert!(host.generations() == [1] && kept() == host.read("policy.lock.yaml") && kept() != before);
    // An older lockfile takes nothing back.
    let newer = kept();
    host.write("policy.lock.yaml", &old);
    host.edgeward("apply policy.yaml").ends(0);
    assert_eq!((host.generations(), kept()), (vec![1], newer));
}
