//! `refresh`: elements that differ, and nothing else.

use super::host::{Host, MIRROR, OFFICE, Run, zone};
use crate::support::dns_server::{DnsServer, Zone};
use crate::support::netns::{Hook, Probe, Proto, Side, Verdict};

pub fn serve(host: &Host, zone: Zone) -> DnsServer {
    host.topology.within(Side::UnderTest, || zone.serve_without_tcp())
}

pub fn refresh(host: &Host, server: &DnsServer) -> Run {
    host.edgeward(&format!("refresh policy.yaml --server {}", server.address()))
}

#[test]
fn new_answers_change_elements_and_no_rule() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let to = |last| Probe::new(Hook::Output, Proto::Tcp, [10, 0, 0, 20], [203, 0, 113, last], 8443);
    assert_eq!(host.topology.probe_all(&[to(7), to(8)]), [Verdict::Accept, Verdict::Reject]);
    let handles = host.handles();
    let counted = |name: &str| host.topology.counters()[name];
    let (mirror, denied) = (counted("flow_mirror"), counted("denied_output"));
    let server = serve(&host, zone(&["203.0.113.8", "203.0.113.9"]));
    refresh(&host, &server).ends(0).says(&["mirror"]);
    assert_eq!(host.handles(), handles);
    let rules = host.rules();
    assert!(rules.contains("203.0.113.8, 203.0.113.9") && !rules.contains("203.0.113.7"), "{rules}");
    assert_eq!((counted("flow_mirror"), counted("denied_output")), (mirror, denied));
    assert_eq!(host.topology.probe_all(&[to(7), to(8)]), [Verdict::Reject, Verdict::Accept]);
    // It is recorded: boot and diff know it.
    assert!(host.read("policy.lock.yaml").contains("203.0.113.9"));
    host.edgeward("diff policy.yaml").ends(0);
    host.edgeward("status").ends(0).says(&["in force, as it was applied"]);
    host.nft("flush ruleset");
    host.edgeward("boot").ends(0);
    assert_eq!(host.rules(), rules);
    // The same answers change nothing, and say so.
    let before = (host.handles(), host.generations());
    let said = refresh(&host, &server).ends(0).said();
    assert!(said.contains("nothing to change"), "{said}");
    assert_eq!((host.handles(), host.generations()), before);
    // And it can be undone, by its number: it is no other policy.
    host.edgeward("rollback").ends(2);
    host.edgeward("rollback 1").ends(0);
    assert!(host.rules().contains("203.0.113.7"));
}

#[test]
fn where_dns_fails_everything_stays() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let now = || (host.handles(), host.rules(), host.records(), host.read("policy.lock.yaml"));
    let before = now();
    let unchanged = |what: &str| {
        let now = now();
        assert_eq!((&now.0, &now.1), (&before.0, &before.1), "{what}: the kernel");
        assert_eq!(now.3, before.3, "{what}: the lockfile");
        assert!(now.2 == before.2, "{what}: the records");
    };
    let server = serve(&host, zone(&["203.0.113.8"]));
    server.mute(true);
    refresh(&host, &server).ends(3).says(&["no DNS server answered:", "stay"]);
    unchanged("a server without answers");
    host.edgeward("refresh policy.yaml --server 127.0.0.1:1").ends(3);
    unchanged("no server");
    host.edgeward("refresh policy.yaml --server nowhere").ends(2);
    unchanged("no address");
    let (handles, rules, records, _) = now();
    // The lockfile may remember that there was no such name, and keeps the addresses.
    refresh(&host, &serve(&host, Zone::default())).ends(3);
    assert_eq!((host.handles(), host.rules()), (handles, rules));
    assert!(host.records() == records && host.read("policy.lock.yaml").contains("203.0.113.7"));
}

#[test]
fn where_dns_cannot_be_reached_there_is_one_line_for_each_server() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    // Nothing listens there.
    let servers = "--server 127.0.0.1:1 --server 127.0.0.2:1";
    for verb in ["refresh policy.yaml", "apply policy.yaml --resolve", "apply policy.yaml --resolve --dry-run"] {
        let said = host.edgeward(&format!("{verb} {servers}")).ends(3).said();
        let lines = |text: &str| said.lines().filter(|line| line.contains(text)).count();
        let counts = ["no DNS server answered:", "127.0.0.1:1: ", "127.0.0.2:1: ", "lock.yaml` stay"].map(lines);
        assert_eq!(counts, [1; 4], "{verb}: {said}");
        assert!(!said.contains(MIRROR) && !said.contains("ntp1.aliyun.com"), "{verb}: {said}");
    }
}

#[test]
fn where_one_name_fails_the_others_are_updated() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let handles = host.handles();
    let zone = zone(&[]).name("ntp1.aliyun.com", crate::support::dns_server::Entry::addresses(&["198.51.100.77"], 60));
    refresh(&host, &serve(&host, zone)).ends(3).says(&[MIRROR]);
    let rules = host.rules();
    assert!(rules.contains("198.51.100.77"), "{rules}");
    assert!(rules.contains("203.0.113.7"), "the mirror is gone: {rules}");
    assert_eq!(host.handles(), handles);
    host.edgeward("diff policy.yaml").ends(0);
}

#[test]
fn answers_that_are_not_believed_never_arrive() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let server = serve(&host, zone(&["203.0.113.8", "10.0.0.99", "127.0.0.1", "169.254.169.254"]));
    refresh(&host, &server);
    let rules = host.rules();
    assert!(rules.contains("203.0.113.8"), "{rules}");
    for address in ["10.0.0.99", "127.0.0.1", "169.254.169.254"] {
        assert!(!rules.contains(address), "{address}: {rules}");
    }
}

#[test]
fn a_refresh_tells_which_answers_are_new_and_which_are_not_believed() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let run = refresh(&host, &serve(&host, zone(&["203.0.113.8", "10.0.0.99"])));
    run.says(&[MIRROR, "203.0.113.8", "203.0.113.7", "10.0.0.99", "refused"]);
}

#[test]
fn a_name_may_get_its_first_address_of_a_family() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let probe = Probe::new(Hook::Input, Proto::Tcp, [10, 0, 0, 9], [10, 0, 0, 20], 22);
    assert_eq!(host.topology.probe(&probe), Verdict::Accept);
    // The sets of both families exist from the beginning.
    refresh(&host, &serve(&host, zone(&["203.0.113.7", "2001:db8:5::7"]))).ends(0);
    assert!(host.rules().contains("2001:db8:5::7"));
    host.edgeward("diff policy.yaml").ends(0);
    assert_eq!(host.topology.counters()["flow_ssh"], 1);
}

#[test]
fn a_table_that_is_gone_comes_back_with_a_refresh_and_one_that_never_was_does_not() {
    need_namespaces!();
    let host = Host::new();
    let server = serve(&host, zone(&["203.0.113.8"]));
    refresh(&host, &server).ends(2).says(&["`edgeward apply --resolve policy.yaml --state-dir state`"]);
    assert!(!host.has_table() && host.records().is_empty() && host.read("policy.lock.yaml").contains("203.0.113.7"));
    host.edgeward("apply policy.yaml").ends(0);
    refresh(&host, &server).ends(0);
    assert!(host.lets_in(OFFICE) && host.rules().contains("203.0.113.8"));
    let whole = host.rules();
    host.nft("delete table inet edgeward");
    refresh(&host, &server).ends(0);
    assert_eq!(host.rules(), whole);
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    refresh(&host, &server).ends(0);
    assert_eq!(host.rules(), whole);
}
