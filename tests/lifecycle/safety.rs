//! Safety checks: sessions and connections that rules would cut, and rules of other programs.

use super::host::{ELSEWHERE, Host, MIRROR, OFFICE, OPERATOR, Session, policy, zone};
use super::refreshes::{refresh, serve};
use crate::support::netns::{Hook, Probe, Proto, Topology, Verdict};

#[test]
fn a_permitted_session_lives_through_the_first_apply() {
    need_namespaces!();
    let host = Host::new();
    let session = Session::open(&host, OPERATOR, "10.0.0.20:22", "10.0.0.20:22");
    host.edgeward("apply policy.yaml").ends(0);
    assert!(session.is_alive());
    host.edgeward("apply other.yaml --force").ends(0).says(&["warning", &session.source().to_string()]);
    assert!(session.is_alive(), "what is established stays");
}

#[test]
fn a_session_that_would_be_denied_is_a_reason_to_refuse() {
    need_namespaces!();
    // Listener, source, destination, and what is added to the policy.
    let sessions = [
        ("10.0.0.20:22", OPERATOR, "10.0.0.20:22", ""),
        ("[::]:22", OPERATOR, "10.0.0.20:22", ""),
        ("[::]:22", "2001:db8::9", "[2001:db8::20]:22", ""),
        ("10.0.0.20:2222", OPERATOR, "10.0.0.20:2222", ", ssh-port: 2222"),
    ];
    for (listener, from, to, port) in sessions {
        let host = Host::new();
        let session = Session::open(&host, from, listener, to);
        let text = policy(ELSEWHERE).replace("0/24]}", &format!("0/24]{port}}}"));
        host.write("other.yaml", &text);
        let source = session.source().to_string();
        let source = source.as_str();
        for more in ["", " --dry-run", " --confirm-within 1m"] {
            host.edgeward(&format!("apply other.yaml{more}")).ends(5).says(&[source, "--force"]);
            assert!(!host.has_table() && host.records().is_empty(), "{to}{more}");
        }
        assert!(session.is_alive());
        host.edgeward("apply other.yaml --force").ends(0).says(&["warning", source]);
        assert!(host.has_table());
    }
}

#[test]
fn a_session_counts_although_nobody_listens_any_more() {
    need_namespaces!();
    let host = Host::new();
    let mut session = Session::open(&host, OPERATOR, "10.0.0.20:22", "10.0.0.20:22");
    session.close_listener();
    host.edgeward("apply other.yaml").ends(5).says(&[&session.source().to_string()]);
    assert!(!host.has_table());
}

#[test]
fn a_session_on_a_port_that_the_policy_does_not_know_is_found_by_its_environment() {
    need_namespaces!();
    let host = Host::new();
    let session = Session::open(&host, OPERATOR, "10.0.0.20:2222", "10.0.0.20:2222");
    let source = session.source();
    let environment = format!("{} {} 10.0.0.20 2222", source.ip(), source.port());
    let apply = |value: &str| host.run(host.command(["apply", "policy.yaml"]).env("SSH_CONNECTION", value));
    apply(&environment).ends(5).says(&[&source.to_string()]);
    assert!(!host.has_table());
    // sudo drops the variable; an ancestor still has it.
    let script =
        format!("env -u SSH_CONNECTION '{}' apply policy.yaml --state-dir state", env!("CARGO_BIN_EXE_edgeward"));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("{script}; exit $?")]).env("SSH_CONNECTION", &environment);
    host.run(shell.current_dir(host.folder.path())).ends(5).says(&[&source.to_string()]);
    // What tmux kept of a session that is gone, and nonsense, are no sessions.
    for value in ["10.0.0.9 1 10.0.0.20 2222", "", "nonsense", "10.0.0.9 x 10.0.0.20 -1"] {
        apply(value).ends(0);
    }
}

#[test]
fn a_silent_session_is_no_obstacle() {
    need_namespaces!();
    let host = Host::new();
    let session = Session::open(&host, OPERATOR, "10.0.0.20:22", "10.0.0.20:22");
    session.hush();
    std::thread::sleep(std::time::Duration::from_millis(100));
    // Conntrack never saw it, and no packet shows it.
    host.edgeward("apply policy.yaml").ends(0);
    assert!(session.is_alive());
}

#[test]
fn the_time_to_confirm_begins_with_the_rules() {
    need_namespaces!();
    // What is forwarded is tracked for some seconds before the rules decide on it.
    let host = Host::at(Topology::gateway(&["10.0.0.0/8"]));
    host.write("policy.yaml", &policy(OFFICE).replace("target: edge-host", "target: idc-gateway"));
    let run = host.edgeward("apply policy.yaml --confirm-within 8s").ends(0);
    let pending = run.out.lines().find(|line| line.contains("pending")).unwrap();
    assert!(pending.contains(" in 7 s") || pending.contains(" in 8 s"), "{pending}");
}

#[test]
fn connections_that_would_be_denied_are_listed() {
    need_namespaces!();
    let host = Host::new();
    let backup = Session::outward(&host, "10.0.0.30:9999");
    let web = Session::open(&host, "10.0.0.40", "10.0.0.20:8080", "10.0.0.20:8080");
    let said = host.edgeward("apply policy.yaml --dry-run").ends(0).said();
    assert!(said.contains("10.0.0.30:9999") && said.contains("10.0.0.20:8080"), "{said}");
    host.edgeward("apply policy.yaml").ends(0).says(&["10.0.0.30:9999", "10.0.0.20:8080"]);
    assert!(backup.is_alive() && web.is_alive());
}

#[test]
fn a_rollback_is_checked_too() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply other.yaml").ends(0);
    host.edgeward("apply policy.yaml").ends(0);
    let session = Session::open(&host, OPERATOR, "10.0.0.20:22", "10.0.0.20:22");
    host.edgeward("rollback").ends(5).says(&[&session.source().to_string()]);
    assert!(host.lets_in(OFFICE));
    host.edgeward("rollback --force").ends(0);
    assert!(host.lets_in(ELSEWHERE));
}

#[test]
fn audit_refuses_nobody_and_counts() {
    need_namespaces!();
    let host = Host::new();
    host.write("audit.yaml", &policy(ELSEWHERE).replace("mode: enforce", "mode: audit"));
    host.write("audit.lock.yaml", &host.read("policy.lock.yaml"));
    let session = Session::open(&host, OPERATOR, "10.0.0.20:22", "10.0.0.20:22");
    let would = ["if this policy is enforced: the live SSH session of", "would be dropped"];
    host.edgeward("apply audit.yaml --dry-run").ends(0).says(&would);
    host.edgeward("apply audit.yaml").ends(0).says(&would);
    assert!(session.is_alive());
    let count = |name: &str| host.topology.counters()[name];
    let before = count("denied_input");
    let denied = Probe::new(Hook::Input, Proto::Tcp, [10, 0, 0, 9], [10, 0, 0, 20], 23);
    let allowed = Probe::new(Hook::Input, Proto::Tcp, [10, 0, 1, 9], [10, 0, 0, 20], 22);
    assert_eq!(host.topology.probe_all(&[denied, denied, allowed]), [Verdict::Accept; 3]);
    assert_eq!((count("denied_input") - before, count("flow_ssh")), (2, 1));
    let status = host.edgeward("status").ends(0).says(&["audit", "denied_input"]).said();
    let row = status.lines().find(|line| line.starts_with("denied_input")).unwrap();
    assert_eq!(row.split_whitespace().nth(1).unwrap(), count("denied_input").to_string(), "{status}");
    let json = host.edgeward("status --format json").ends(0).out;
    assert!(json.contains("denied_input"), "{json}");
    // To enforce it is refused as long as the session is there.
    host.edgeward("apply other.yaml").ends(5);
    assert_eq!(host.topology.probe(&denied), Verdict::Accept);
}

#[test]
fn chains_of_others_at_our_hooks_are_listed() {
    need_namespaces!();
    let host = Host::new();
    let table = |name: &str, priority: &str| {
        format!("table ip {name} {{ chain in {{ type filter hook input priority {priority}; policy accept; }}; }}\n")
    };
    host.topology.load(&(table("before", "-300") + &table("after", "20"))).unwrap();
    host.edgeward("apply policy.yaml").ends(0).says(&["before", "-300", "after", "20"]);
    let said = host.edgeward("status").ends(0).says(&["before", "-300", "after", "20"]).said();
    assert!(!said.contains("edgeward input"), "our own are not foreign: {said}");
}

#[test]
fn a_gateway_lives_the_same_life() {
    need_namespaces!();
    let host = Host::at(Topology::gateway(&["10.0.0.0/8"]));
    let text = policy(OFFICE).replace("target: edge-host", "target: idc-gateway");
    host.write("policy.yaml", &text);
    host.edgeward("apply policy.yaml --confirm-within 30s").ends(0);
    let api = Probe::new(Hook::Forward, Proto::Tcp, [10, 1, 2, 3], [192, 168, 10, 20], 6443);
    let other = Probe::new(Hook::Forward, Proto::Tcp, [10, 1, 2, 3], [8, 8, 8, 8], 6443);
    assert_eq!(host.topology.probe_all(&[api, other]), [Verdict::Accept, Verdict::Reject]);
    host.edgeward("confirm").ends(0);
    host.edgeward("status").ends(0).says(&["idc-gateway", "denied_forward"]);
    // The same file for the other target is another ruleset, and says so.
    host.edgeward("apply policy.yaml --target edge-host --dry-run").ends(0).says(&["newly denied", "input"]);
    host.edgeward("apply policy.yaml").ends(0).says(&["nothing to change"]);
    host.nft("flush ruleset");
    host.edgeward("boot").ends(0);
    assert_eq!(host.topology.probe_all(&[api, other]), [Verdict::Accept, Verdict::Reject]);
}

#[test]
fn the_sixth_version_is_no_second_class() {
    need_namespaces!();
    let host = Host::new();
    host.write("policy.yaml", &policy("2001:db8::/64"));
    let session = Session::open(&host, "2001:db8::9", "[2001:db8::20]:22", "[2001:db8::20]:22");
    host.edgeward("apply policy.yaml").ends(0);
    assert!(session.is_alive());
    let ssh = |from: &str| {
        Probe::new(
            Hook::Input,
            Proto::Tcp,
            from.parse::<std::net::Ipv6Addr>().unwrap(),
            "2001:db8::20".parse::<std::net::Ipv6Addr>().unwrap(),
            22,
        )
    };
    let probes = [ssh("2001:db8::9"), ssh("2001:db8:1::9")];
    assert_eq!(host.topology.probe_all(&probes), [Verdict::Accept, Verdict::Drop]);
}

#[test]
fn an_edge_host_does_not_enforce_without_management() {
    need_namespaces!();
    let host = Host::new();
    let empty = policy("");
    // In audit mode nothing is denied.
    host.write("policy.yaml", &empty.replace("mode: enforce", "mode: audit"));
    host.edgeward("apply policy.yaml").ends(0).says(&["no live SSH session was found"]);
    let absent = empty.replace("management: {from: []}\n", "");
    let elsewhere =
        "- {id: elsewhere, direction: inbound, peers: [10.0.1.1], ports: [tcp/23, udp/22], purpose: none}\n";
    for text in [&empty, &absent, &format!("{empty}{elsewhere}")] {
        host.write("policy.yaml", text);
        for more in ["", " --dry-run", " --confirm-within 30s"] {
            let run = host.edgeward(&format!("apply policy.yaml{more}")).ends(5);
            run.says(&[
                "`management.from` is empty",
                "fill in `management.from`",
                "--force",
                "no live SSH session was found",
            ]);
            assert_eq!(host.generations(), [1]);
        }
    }
    // A jump host that is known by its name is managed from somewhere, too.
    let jump = "- {id: jump, direction: inbound, peers: [mirror.example.com], ports: [tcp/22], purpose: jump host}\n";
    host.write("jump.yaml", &format!("{empty}{jump}"));
    host.edgeward("apply jump.yaml --lock policy.lock.yaml --dry-run").ends(0);
    host.write("policy.yaml", &empty);
    host.edgeward("apply policy.yaml --force").ends(0).says(&["warning", "`management.from` is empty"]);
    // An empty list of DNS servers is a warning.
    let no_dns = policy(OFFICE).replace("dns: {servers: [10.0.0.53]}\n", "");
    host.write("other.yaml", &no_dns);
    host.edgeward("apply other.yaml --lock policy.lock.yaml").ends(0).says(&["no-dns"]);
    // A rollback to such a generation is refused, too.
    for command in ["rollback 2 --dry-run", "rollback 2"] {
        host.edgeward(command).ends(5).says(&["`management.from` is empty"]);
    }
    host.edgeward("rollback 2 --force").ends(0).says(&["`management.from` is empty"]);
    // Its addresses stay fresh.
    let server = serve(&host, zone(&["203.0.113.9"]));
    let said = refresh(&host, &server).ends(0).said();
    assert!(host.rules().contains("203.0.113.9") && !said.contains("management.from"), "{said}");
}

#[test]
fn what_was_forced_is_refreshed() {
    need_namespaces!();
    let host = Host::new();
    let session = Session::open(&host, OPERATOR, "10.0.0.20:22", "10.0.0.20:22");
    host.write("policy.yaml", &policy(ELSEWHERE));
    host.edgeward("apply policy.yaml --force").ends(0).says(&[&session.source().to_string()]);
    let server = serve(&host, zone(&["203.0.113.9"]));
    let said = refresh(&host, &server).ends(0).said();
    assert!(host.rules().contains("203.0.113.9"), "{}", host.rules());
    assert!(!said.contains(&session.source().to_string()), "{said}");
    // The unit applies the same policy when the host boots.
    let server = serve(&host, zone(&["203.0.113.10"]));
    let apply = format!("apply policy.yaml --resolve --server {}", server.address());
    host.edgeward(&format!("{apply} --dry-run")).ends(0);
    host.edgeward(&apply).ends(0);
    assert!(host.rules().contains("203.0.113.10"), "{}", host.rules());
    // Another policy is another decision.
    host.write("other.yaml", &policy(ELSEWHERE).replace("tcp/8443", "tcp/8444"));
    host.edgeward("apply other.yaml").ends(5).says(&[&session.source().to_string()]);
    // So are the same rules where the table was removed, and the session can be opened again.
    host.nft("delete table inet edgeward");
    for command in ["refresh policy.yaml --server 127.0.0.1:1", "apply policy.yaml", "apply policy.yaml --dry-run"] {
        let run = host.edgeward(command);
        assert!(
            run.code == Some(5) || run.code == Some(3) && command.starts_with("refresh"),
            "{command}: {}",
            run.said()
        );
        assert!(!host.has_table());
    }
    refresh(&host, &server).ends(5).says(&[&session.source().to_string()]);
}

#[test]
fn a_refresh_that_would_cut_off_a_session_is_refused() {
    need_namespaces!();
    let host = Host::new();
    let jump = format!("- {{id: jump, direction: inbound, peers: [{MIRROR}], ports: [tcp/22], purpose: jump host}}\n");
    // Answers that are gone are dropped at once: those of the lockfile are two hours old.
    let text = policy(ELSEWHERE).replace("resolve: {", "resolve: {allow-private: [mirror.example.com], ");
    host.write("policy.yaml", &format!("{text}{jump}"));
    let lock = host.read("policy.lock.yaml").replace("203.0.113.7", OPERATOR);
    host.write("policy.lock.yaml", &lock);
    let session = Session::open(&host, OPERATOR, "10.0.0.20:22", "10.0.0.20:22");
    host.edgeward("apply policy.yaml").ends(0);
    let before = (host.rules(), host.generations());
    let server = serve(&host, zone(&["203.0.113.9"]));
    refresh(&host, &server).ends(5).says(&["the live SSH session", &session.source().to_string()]);
    assert_eq!((host.rules(), host.generations()), before);
    // By force it is done, and from then on it is not asked again.
    host.edgeward(&format!("refresh policy.yaml --force --server {}", server.address())).ends(0);
    let server = serve(&host, zone(&["203.0.113.10"]));
    refresh(&host, &server).ends(0);
}
