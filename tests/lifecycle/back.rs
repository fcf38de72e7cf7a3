//! `rollback` without a number: back to the last policy that was another one, regardless of refreshes.

use super::host::{ELSEWHERE, Host, OFFICE, policy, zone};
use super::refreshes::{refresh, serve};
use crate::support::netns::Side;

const THIRD: &str = "10.0.2.0/24";

#[test]
fn a_rollback_leaves_the_bad_policy_and_no_timer_brings_it_back() {
    need_namespaces!();
    let host = Host::new();
    let first = policy(THIRD);
    for text in [&first, &policy(OFFICE), &policy(ELSEWHERE)] {
        host.write("policy.yaml", text);
        host.edgeward("apply policy.yaml").ends(0);
    }
    // The bad one is refreshed.
    refresh(&host, &serve(&host, zone(&["203.0.113.8"]))).ends(0);
    refresh(&host, &serve(&host, zone(&["203.0.113.8", "203.0.113.9"]))).ends(0);
    let before = (host.handles(), host.records());
    let plan = ["from generation 5 to generation 2", "newly allowed", OFFICE, "newly denied", ELSEWHERE];
    host.edgeward("rollback --dry-run").ends(0).says(&plan);
    assert_eq!((host.handles(), host.records()), before);
    let said = host.edgeward("rollback").ends(0).says(&plan).said();
    assert!(said.find("newly allowed") < said.find("generation 2 is in force again"), "{said}");
    let restore = "generations/2/policy.yaml ";
    assert!(said.contains(restore), "{said}");
    host.edgeward("status --check").ends(1).says(&["applies it", restore]);
    assert!(host.lets_in(OFFICE) && !host.lets_in(ELSEWHERE));
    // The bad policy is still on disk. The timer refreshes the one in force, and goes neither forward nor back.
    let server = serve(&host, zone(&["203.0.113.77"]));
    refresh(&host, &server).ends(0).says(&["the policy `policy.yaml`"]);
    assert!(host.lets_in(OFFICE) && !host.lets_in(ELSEWHERE) && host.rules().contains("203.0.113.77"));
    // Neither does the unit that applies the policy at boot.
    let apply = format!("apply --resolve policy.yaml --server {}", server.address());
    host.edgeward(&apply).ends(5).says(&[
        "left by `edgeward rollback`",
        // The refresh made another generation of the same policy.
        "generations/6/policy.yaml policy.yaml` restores",
        "`edgeward apply policy.yaml --resolve --server",
        " --confirm-within 2m --state-dir state` tries them again",
        "--force",
    ]);
    assert!(host.lets_in(OFFICE));
    // Once more goes further back.
    host.edgeward("rollback").ends(0).says(&["generation 1 is in force again"]);
    assert!(host.lets_in(THIRD) && !host.lets_in(OFFICE));
    host.edgeward("rollback").ends(2).says(&["there is no generation with another policy"]);
    host.edgeward("rollback --dry-run").ends(2);
    // The policy in force is the one that boot loads.
    host.nft("flush ruleset");
    host.edgeward("boot").ends(0);
    assert!(host.lets_in(THIRD));
    // An operator can insist.
    host.edgeward(&format!("{apply} --force")).ends(0);
    assert!(host.lets_in(ELSEWHERE));
    host.edgeward("rollback").ends(0).says(&["generation 1"]);
}

#[test]
fn another_catalog_is_left_too() {
    need_namespaces!();
    let host = Host::new();
    host.write_catalog("newer", "vips: [100.118.28.0/24, ", "vips: [100.118.28.0/24, 100.99.77.0/24, ");
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply policy.yaml --catalog newer").ends(0);
    refresh(&host, &serve(&host, zone(&["203.0.113.8"]))).ends(0);
    host.edgeward("rollback").ends(0).says(&["generation 1", "100.99.77.0/24"]);
    assert!(!host.rules().contains("100.99.77.0/24"));
}

#[test]
fn a_pending_change_is_undone_after_it_was_shown() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml --confirm-within 1h").ends(0);
    host.edgeward("rollback --dry-run").ends(0).says(&["from generation 1 to no table", "every packet is accepted"]);
    assert!(host.has_table());
    host.edgeward("confirm").ends(0);
    host.edgeward("apply other.yaml --confirm-within 1h").ends(0);
    let server = host.topology.within(Side::UnderTest, || zone(&["203.0.113.8"]).serve_without_tcp());
    refresh(&host, &server).ends(0);
    host.edgeward("rollback --dry-run").ends(0).says(&["from generation 3 to generation 1", OFFICE]);
    host.edgeward("rollback").ends(0).says(&["newly denied", "generation 3 is undone: generation 1 is in force"]);
    assert!(host.lets_in(OFFICE));
    host.edgeward("rollback --dry-run 99").ends(2);
}

#[test]
fn two_generations_are_compared_as_they_were() {
    need_namespaces!();
    let host = Host::new();
    let row = "- {id: sites, direction: inbound, peers-file: sites.txt, ports: [tcp/443], purpose: sites}\n";
    let with_list = |management| policy(management) + row;
    host.write("policy.yaml", &with_list(OFFICE));
    host.write("sites.txt", "198.51.100.0/24\n");
    host.write_catalog("newer", "vips: [100.118.28.0/24, ", "vips: [100.118.28.0/24, 100.99.77.0/24, ");
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply policy.yaml --catalog newer").ends(0);
    host.write("policy.yaml", &with_list(ELSEWHERE));
    host.edgeward("apply policy.yaml --catalog newer").ends(0);
    refresh(&host, &serve(&host, zone(&["203.0.113.8"]))).ends(0);
    // Nothing of what is on disk matters.
    for gone in ["newer", "sites.txt", "policy.yaml", "policy.lock.yaml"] {
        let path = host.path(gone);
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
    }
    host.edgeward("diff 2 --against 1").ends(1).says(&["the catalog changed", "newly allowed", "100.99.77.0/24"]);
    host.edgeward("diff 1 --against 2").ends(1).says(&["the catalog changed", "newly denied", "100.99.77.0/24"]);
    let said = host.edgeward("diff 3 --against 2").ends(1).says(&["the policy changed", OFFICE, ELSEWHERE]).said();
    assert!(!said.contains("100.99.77.0/24") && !said.contains("198.51.100.0/24"), "{said}");
    host.edgeward("diff 4 --against 3").ends(1).says(&["DNS gave other addresses", "203.0.113.8"]);
    host.edgeward("diff 4 --against 4").ends(0).says(&["no difference"]);
    host.edgeward("diff 4").ends(0).says(&["no difference"]);
    let json = host.edgeward("diff 4 --against 1 --format json").ends(1).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["policy"], &json["against"]), (&"generation 4: policy.yaml".into(), &"generation 1".into()));
    host.edgeward("diff 9 --against 1").ends(2).says(&["there is no generation 9"]);
    host.edgeward("diff 1 --against 2 --target idc-gateway").ends(2);
    // What was found in the kernel has no policy.
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    host.edgeward("boot").ends(0);
    host.edgeward("diff 5 --against 4").ends(2).says(&["the other way round"]);
    host.edgeward("diff 4 --against 5").ends(1).says(&["4444"]);
}
