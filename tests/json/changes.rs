//! Verbs that change rules: what they print, and what `changed` means.

use serde_json::{Value, json as value};

use super::host::{ELSEWHERE, Host, OFFICE, Session, policy, zone};
use super::reports::serve;
use super::schemas::json;

#[track_caller]
fn checks(document: &Value) -> Vec<&str> {
    assert_eq!(document["changed"], false, "{document:#}");
    let refused = document["refused"].as_array().unwrap();
    assert!(refused.iter().all(|refusal| refusal["message"].as_str().is_some_and(|message| !message.is_empty())));
    refused.iter().map(|refusal| refusal["check"].as_str().unwrap()).collect()
}

#[track_caller]
fn changed(host: &Host, line: &str, expected: bool) -> Value {
    let document = json(host, line, 0);
    assert_eq!(document["changed"], expected, "{line}: {document:#}");
    assert_eq!((&document["refused"], &document["unresolved"]), (&value!([]), &value!([])), "{line}");
    document
}

#[test]
fn a_second_run_has_not_changed_anything() {
    need_namespaces!();
    let host = Host::new();
    changed(&host, "boot", false);
    changed(&host, "apply policy.yaml --dry-run", true);
    assert!(!host.has_table() && host.records().is_empty());
    let first = changed(&host, "apply policy.yaml", true);
    assert_eq!((&first["generation"], &first["pending"], &first["dry-run"]), (&1.into(), &Value::Null, &false.into()));
    let again = changed(&host, "apply policy.yaml", false);
    assert_eq!((&again["generation"], &again["newly-allowed"]), (&1.into(), &value!([])));
    changed(&host, "apply policy.yaml --dry-run", false);
    changed(&host, "apply policy.yaml --confirm-within 5m", false);
    changed(&host, "confirm", false);
    changed(&host, "boot", false);
    let plan = changed(&host, "apply other.yaml --dry-run", true);
    assert_eq!((&plan["generation"], &plan["dry-run"]), (&1.into(), &true.into()));
    let other = changed(&host, "apply other.yaml", true);
    for plan in [&plan, &other] {
        assert!(plan["newly-allowed"].to_string().contains(ELSEWHERE), "{plan:#}");
        assert!(plan["newly-denied"].to_string().contains(OFFICE), "{plan:#}");
    }
    // Another text that means the same is another generation, which boot loads.
    host.write("other.yaml", &(host.read("other.yaml") + "# nothing\n"));
    let text = changed(&host, "apply other.yaml", true);
    assert_eq!((&text["generation"], &text["newly-denied"]), (&3.into(), &value!([])));
    changed(&host, "apply other.yaml", false);
    // What another program did is put right.
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    changed(&host, "apply other.yaml --dry-run", true);
    changed(&host, "apply other.yaml", true);
    changed(&host, "apply other.yaml", false);
    host.nft("delete table inet edgeward");
    changed(&host, "apply other.yaml --dry-run", true);
    changed(&host, "boot", true);
    changed(&host, "boot", false);
}

#[test]
fn pending_changes_are_confirmed_extended_and_undone() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let pending = changed(&host, "apply other.yaml --confirm-within 5m", true);
    assert_eq!((&pending["pending"]["generation"], &pending["pending"]["back-to"]), (&2.into(), &1.into()));
    // A new deadline is a change.
    let extended = changed(&host, "apply other.yaml --confirm-within 10m", true);
    assert!(extended["pending"]["seconds-left"].as_u64().unwrap() > 500, "{extended:#}");
    assert_eq!(extended["newly-allowed"], value!([]));
    assert_eq!(checks(&json(&host, "apply other.yaml", 5)), ["pending"]);
    assert_eq!(checks(&json(&host, "apply policy.yaml", 5)), ["pending"]);
    assert_eq!(checks(&json(&host, "rollback 2", 5)), ["pending"]);
    let confirmed = changed(&host, "confirm", true);
    assert_eq!((&confirmed["generation"], &confirmed["pending"]), (&2.into(), &Value::Null));
    changed(&host, "confirm", false);
    // Back, and back again.
    let plan = changed(&host, "rollback --dry-run", true);
    assert!(plan["newly-allowed"].to_string().contains(OFFICE), "{plan:#}");
    let back = changed(&host, "rollback", true);
    assert_eq!(back["generation"], 1);
    assert_ne!(back["newly-denied"], value!([]));
    changed(&host, "rollback 1", false);
    changed(&host, "rollback 1 --dry-run", false);
    // What was left is refused.
    assert_eq!(checks(&json(&host, "apply other.yaml", 5)), ["undone"]);
    assert_eq!(checks(&json(&host, "apply other.yaml --dry-run", 5)), ["undone"]);
    host.edgeward("apply other.yaml --confirm-within 5m").ends(0);
    let undone = changed(&host, "rollback", true);
    assert_eq!((&undone["generation"], &undone["pending"]), (&1.into(), &Value::Null));
    assert_eq!(checks(&json(&host, "confirm", 5)), ["undone"]);
}

#[test]
fn refusals_name_their_checks() {
    need_namespaces!();
    let host = Host::new();
    let _session = Session::open(&host, "10.0.0.9", "10.0.0.20:22", "10.0.0.20:22");
    let refused = json(&host, "apply other.yaml", 5);
    assert_eq!(checks(&refused), ["session"]);
    assert_eq!((&refused["generation"], &refused["newly-denied"]), (&Value::Null, &value!([])));
    assert!(!host.has_table());
    host.write(
        "closed.yaml",
        &policy("").replace(
            "allow:\n",
            "allow:\n- {id: ssh-in, direction: inbound, peers: [10.0.0.9/32], ports: [tcp/2222], purpose: none}\n",
        ),
    );
    host.write("closed.lock.yaml", &host.read("policy.lock.yaml"));
    let closed = json(&host, "apply closed.yaml", 5);
    assert!(checks(&closed).contains(&"no-management"), "{closed:#}");
    // With `--force` it is done, and nothing has refused it.
    changed(&host, "apply other.yaml --force", true);
}

#[test]
fn names_without_an_address() {
    need_namespaces!();
    let host = Host::new();
    host.write("new.yaml", &policy(OFFICE));
    let unresolved = json(&host, "apply new.yaml", 3);
    assert_eq!((&unresolved["changed"], &unresolved["generation"]), (&false.into(), &Value::Null));
    assert!(unresolved["unresolved"].as_array().unwrap().len() > 5, "{unresolved:#}");
    host.edgeward("apply policy.yaml").ends(0);
    let server = serve(&host, zone(&["203.0.113.8"]));
    let line = format!("refresh policy.yaml --server {}", server.address());
    let first = changed(&host, &line, true);
    assert!(first["newly-allowed"].to_string().contains("203.0.113.8"), "{first:#}");
    assert!(first["newly-denied"].to_string().contains("203.0.113.7"), "{first:#}");
    changed(&host, &line, false);
    let applied = changed(&host, &format!("apply policy.yaml --resolve --server {}", server.address()), false);
    assert_eq!(applied["newly-allowed"], value!([]));
    server.mute(true);
    let silent = json(&host, &line, 3);
    assert_eq!(silent["changed"], false);
    assert!(silent["unresolved"].as_array().unwrap().len() > 5, "{silent:#}");
}

/// After an error there is no document: the question has no answer.
#[test]
fn errors_leave_standard_output_empty() {
    need_namespaces!();
    let host = Host::new();
    host.write("bad.yaml", "version: 1\n");
    for (line, code) in [
        ("apply bad.yaml", 2),
        ("apply nowhere.yaml", 4),
        ("refresh policy.yaml --server 127.0.0.1:1", 2),
        ("confirm", 2),
        ("rollback", 2),
        ("rollback 7", 2),
    ] {
        let run = host.edgeward(&format!("{line} --format json")).ends(code);
        assert!(run.out.is_empty() && run.err.contains("error"), "{line}: {}{}", run.out, run.err);
    }
}
