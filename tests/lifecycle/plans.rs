//! What `apply --dry-run`, `apply`, `diff` and `rollback` print of a change.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::host::{ELSEWHERE, Host, OFFICE, Run, policy};

/// A host with its policy in audit mode, too.
fn host() -> Host {
    let host = Host::new();
    host.write("audit.yaml", &policy(OFFICE).replace("mode: enforce", "mode: audit"));
    host.write("audit-other.yaml", &policy(ELSEWHERE).replace("mode: enforce", "mode: audit"));
    for name in ["audit", "audit-other"] {
        host.write(&format!("{name}.lock.yaml"), &host.read("policy.lock.yaml"));
    }
    host
}

/// Asserts that none of these words stands in what was said, and that a terminal of 100 columns shows it in lines; a
/// line with the name of a file or a command to paste may be longer.
#[track_caller]
fn lacks(run: &Run, words: &[&str]) {
    let said = run.said();
    for word in words {
        assert!(!said.contains(word), "{word:?} is in:\n{said}");
    }
    let long: Vec<&str> = run.out.lines().filter(|line| line.chars().count() > 100 && !line.contains('`')).collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// What only a complement says.
const COMPLEMENT: [&str; 3] = ["protocols 2-5", "any but", "no flow\n"];
const ALL_BUT: &str = "from now on all is denied but:";
const AUDIT: &str = "mode is audit: nothing is denied; the plan shows what enforcing it would do";
const ALL_PASS: &str = "from now on every packet is accepted";
const SSH: &str = "tcp/22";

#[test]
fn the_first_plan_fits_on_a_screen() {
    need_namespaces!();
    let host = host();
    // The example of README.md, filled in as it says.
    let mut init = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    init.args(["init", "--region", "cn-hangzhou", "--connection", "express-connect", "--cni", "flannel"]);
    let init = Run::of(&init.output().unwrap()).ends(0).out;
    let fields = [
        ("  version:", "\"1.30\""),
        ("  api-server:", "192.168.10.20"),
        ("  hosts:", "[10.0.0.0/8]"),
        ("  pods:", "[172.20.0.0/16]"),
        ("  vpc:", "[192.168.0.0/16]"),
        ("  from:", "[10.0.0.0/24]"),
        ("  servers:", "[10.0.0.53]"),
    ];
    let field =
        |line: &str| fields.iter().find(|(key, _)| line.starts_with(key)).map(|(key, value)| format!("{key} {value}"));
    let text: String = init.lines().map(|line| field(line).unwrap_or_else(|| line.to_owned()) + "\n").collect();
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/express-connect-flannel.lock.yaml");
    for (name, mode) in [("site", "audit"), ("enforced", "enforce")] {
        host.write(&format!("{name}.yaml"), &text.replace("\nmode: audit", &format!("\nmode: {mode}")));
        host.write(&format!("{name}.lock.yaml"), &fs::read_to_string(&lock).unwrap());
        let run = host.edgeward(&format!("apply {name}.yaml --dry-run")).ends(0);
        lacks(&run, &COMPLEMENT);
        let said = run.said();
        // The lockfile of the example gets old; a warning of that is one line.
        let lines: Vec<&str> = said.lines().filter(|line| !line.contains("max-stale")).collect();
        assert!(lines.len() <= 40, "{said}");
        for flow in ["kubelet", "flannel-vxlan", "image-registry", "ssh", "dns", "pods", "tcp/10250,10255"] {
            assert!(said.contains(flow), "{flow}: {said}");
        }
        let last: Vec<&str> = run.out.lines().rev().take(2).collect();
        assert!(last[1].starts_with("15 flows are open, in 21 conversations; 9 addresses come"), "{said}");
        assert!(last[0].starts_with("nothing was changed; `edgeward apply"), "{said}");
        assert_eq!(said.contains(AUDIT), mode == "audit", "{said}");
        assert_eq!(said.contains(ALL_BUT), mode == "enforce", "{said}");
    }
}

#[test]
fn a_change_of_the_mode_says_what_it_means() {
    need_namespaces!();
    let host = host();
    let first = host.edgeward("apply audit.yaml").ends(0);
    first.says(&["audit starts, nothing is denied; if it is enforced, all is denied but api-server, "]);
    host.edgeward("history 1").ends(0).says(&["audit starts, nothing is denied"]);
    // From audit to audit: as if both were enforced.
    let plan = host.edgeward("apply audit-other.yaml --dry-run").ends(0);
    lacks(&plan, &COMPLEMENT);
    plan.says(&[AUDIT, "packets would be treated differently", "+ input, tcp/22 from 10.0.1.0/24"])
        .says(&["- input, tcp/22 from 10.0.0.0/24", "1 flow newly allowed, 1 newly denied; 1 prefix comes, 1 goes"])
        .says(&["generation 1"]);
    host.edgeward("diff audit-other.yaml").ends(1).says(&[AUDIT]);
    host.edgeward("diff audit.yaml").ends(0).says(&["no difference"]);
    // From audit to enforce.
    for line in ["apply policy.yaml --dry-run", "diff policy.yaml"] {
        let plan = host.edgeward(line);
        lacks(&plan, &COMPLEMENT);
        plan.says(&["mode changes from audit to enforce: what was only logged is denied", ALL_BUT, SSH]);
    }
    let applied = host.edgeward("apply policy.yaml --format json").ends(0);
    let document: Value = serde_json::from_str(&applied.out).unwrap();
    let denied = document["newly-denied"].as_array().unwrap();
    assert!(denied.len() == 1 && denied[0]["flow"].is_null() && denied[0]["if-enforced"] == false, "{document}");
    assert!(document["newly-allowed"].as_array().unwrap().is_empty(), "{document}");
    assert!(denied[0]["packets"].as_array().unwrap().len() <= 20, "{document}");
    // From enforce to audit, and back to no table.
    for line in ["apply audit.yaml --dry-run", "diff audit.yaml", "rollback --dry-run", "diff 1 --against 2"] {
        let plan = host.edgeward(line);
        lacks(&plan, &COMPLEMENT);
        plan.says(&[ALL_PASS, "mode changes from enforce to audit: what was denied is only logged"]);
    }
    // What enforcing it again would deny is not hidden.
    let plan = host.edgeward("diff audit-other.yaml").ends(1);
    plan.says(&[ALL_PASS, "newly denied, once it is enforced again", "- input, tcp/22 from 10.0.0.0/24"]);
    // The result says the same: what is really the case, then what would be.
    let run = host.edgeward("apply audit-other.yaml").ends(0);
    let said = run.out.lines().next().unwrap();
    let begin = "generation 3 of `edge` is in force: enforcement ends, every packet is accepted";
    assert!(said.starts_with(begin), "{said}");
    assert!(said.ends_with("; newly denied if enforced again: ssh (tcp/22 from 10.0.0.0/24)"), "{said}");
    assert!(!said.contains("newly allowed") && !said.contains("if enforced,"), "{said}");
    for line in ["history 3", "history --limit 1"] {
        host.edgeward(line).ends(0).says(&["enforcement ends", "newly denied if enforced again"]);
    }
    let run = host.edgeward("apply policy.yaml").ends(0);
    let said = run.out.lines().next().unwrap();
    assert!(said.contains("enforcement starts, all is denied but api-server, "), "{said}");
    assert!(said.contains("newly permitted: ssh (tcp/22 from 10.0.0.0/24)"), "{said}");
    assert!(said.contains("no longer permitted: ssh (tcp/22 from 10.0.1.0/24)"), "{said}");
    let said = host.edgeward("history 4").ends(0).says(&["newly permitted: ssh (tcp/22 from 10.0.0.0/24)"]).said();
    assert!(!said.contains("all other packets"), "{said}");
    let history = host.edgeward("history 4 --format json").ends(0);
    let document: Value = serde_json::from_str(&history.out).unwrap();
    let changes = &document["events"][0];
    assert_eq!(changes["mode-change"], "enforcement-starts", "{changes:#}");
    // As many as the plan counts.
    host.edgeward("uninstall --remove-rules").ends(0);
    let plan = host.edgeward("apply policy.yaml --dry-run").ends(0);
    let open = changes["open"].as_array().unwrap();
    plan.says(&[&format!("{} flows are open", open.len())]);
}

#[test]
fn a_rollback_says_where_it_goes_and_fits_on_a_screen() {
    need_namespaces!();
    let host = host();
    host.edgeward("apply audit.yaml -m OPS-1").ends(0);
    let moved = policy(ELSEWHERE).replace("172.20.0.0/16", "172.21.0.0/16");
    host.write("policy.yaml", &moved);
    host.edgeward("apply policy.yaml --message OPS-2").ends(0);
    let rows: String = (0..30)
        .map(|row| {
            let port = 9000 + row;
            format!("- {{id: row-{row}, direction: outbound, peers: [198.51.100.{row}], ports: [tcp/{port}]}}\n")
        })
        .collect();
    host.write("many.yaml", &format!("{}{rows}", policy(OFFICE)));
    host.write("many.lock.yaml", &host.read("policy.lock.yaml"));
    host.edgeward("apply many.yaml").ends(0);
    let screen = |run: &Run| {
        let said = run.said();
        assert!(said.lines().count() <= 40, "{} lines:\n{said}", said.lines().count());
    };
    let plan = host.edgeward("rollback --dry-run").ends(0);
    screen(&plan);
    lacks(&plan, &["protocols", "type 1-2"]);
    let out: Vec<&str> = plan.out.lines().collect();
    assert_eq!(out[0], "from generation 3 to generation 2:", "{}", plan.out);
    assert!(out[1].starts_with("  generation 3  mode enforce, apply of 20"), "{}", plan.out);
    assert!(out[2].starts_with("  generation 2  mode enforce, apply of 20"), "{}", plan.out);
    assert!(out[2].ends_with("; message: OPS-2"), "{}", plan.out);
    plan.says(&["+ input, any protocol from 172.21.0.0/16", "other flows permit a part of it"])
        .says(&[" more lines; `edgeward diff 2 --against 3 --format json --state-dir state`"]);
    let run = host.edgeward("rollback").ends(0);
    screen(&run);
    run.says(&["generation 2 is in force again", "names have the addresses that DNS gave"])
        .says(&["policy.yaml --state-dir state` asks DNS now"]);
    // From enforce to audit.
    let run = host.edgeward("rollback").ends(0);
    screen(&run);
    let said = run.said();
    let (act, mode) =
        (said.find("is in force again").unwrap(), said.find("mode changes from enforce to audit").unwrap());
    assert!(mode < act && said.find("generation 1  mode audit").unwrap() < mode, "{said}");
    assert!(said.find("; message: OPS-1").unwrap() < mode, "{said}");
}

#[test]
fn small_things_that_operators_read() {
    need_namespaces!();
    let host = Host::new();
    // Flows are counted in one way.
    let plan = host.edgeward("apply policy.yaml --dry-run").ends(0);
    let flows = plan.out.lines().find_map(|line| line.split_once(" flows are open")).unwrap().0.to_owned();
    host.script("\"$EDGEWARD\" check policy.yaml").ends(0).says(&[&format!("valid; {flows} flows, ")]);
    // What a line of the plan leaves out can be listed.
    plan.says(&[" more\n", "`edgeward flows policy.yaml` lists every address"]);
    // That no session was found is news once.
    host.edgeward("apply policy.yaml").ends(0).says(&["no live SSH session was found"]);
    let again = host.edgeward("apply other.yaml").ends(0).said();
    assert!(!again.contains("no live SSH session"), "{again}");
    // Another state folder.
    let other = host.script("\"$EDGEWARD\" diff policy.yaml --state-dir elsewhere").ends(1);
    other.says(&["`elsewhere` has no record of the kernel's table", "`--state-dir`"]);
    // The status fits on a screen.
    let status = host.edgeward("status").ends(0);
    assert!(status.out.lines().count() <= 30, "{}", status.out);
    status.says(&["no packet yet: ", " names with ", " elements in ", "denied_input"]);
    // A lockfile without a clock: its dates are all that there is.
    let lock: String = host
        .read("policy.lock.yaml")
        .lines()
        .filter(|line| !line.starts_with("clock"))
        .fold(String::new(), |text, line| text + line + "\n");
    let dated = with_one_date(&lock);
    host.write("third.yaml", &policy("10.0.2.0/24"));
    host.write("third.lock.yaml", &dated);
    host.edgeward("apply third.yaml --force").ends(0);
    let said = host.edgeward("status").ends(0).said();
    assert!(!said.contains("DNS answered last 0 s ago") && !said.contains("DNS answered last 1 s ago"), "{said}");
    assert!(said.contains("(2026-01-02T03:04:05Z)"), "{said}");
    // What `init` leaves blank is one run's report.
    let script = "\"$EDGEWARD\" init --region cn-hangzhou --connection express-connect --cni flannel > fresh.yaml; \
                  \"$EDGEWARD\" check fresh.yaml";
    let fresh = host.script(script).ends(2);
    fresh.says(&["fresh.yaml:14", "fresh.yaml:15", "`networks.hosts` is empty", "`networks.pods` is empty"]).says(&[
        "`networks.vpc` is empty",
        "`management.from` is empty",
        "`dns.servers` is empty",
    ]);
}

/// The lockfile with one date for all.
fn with_one_date(lock: &str) -> String {
    let mut text = String::new();
    for line in lock.lines() {
        let mut line = line.to_owned();
        for key in ["first-seen: ", "last-seen: ", "at: "] {
            if let Some(at) = line.find(key).map(|at| at + key.len()) {
                line.replace_range(at..at + "2026-01-02T03:04:05Z".len(), "2026-01-02T03:04:05Z");
            }
        }
        text += &line;
        text.push('\n');
    }
    text
}

#[test]
fn a_rollback_says_what_it_does_before_it_acts() {
    need_namespaces!();
    let host = host();
    host.edgeward("apply policy.yaml --confirm-within 5m").ends(0);
    // To no table.
    let plan = host.edgeward("rollback --dry-run").ends(0);
    lacks(&plan, &COMPLEMENT);
    plan.says(&[ALL_PASS, "nothing was changed; `edgeward rollback --state-dir state` does it"]);
    host.edgeward("rollback").ends(0).says(&[ALL_PASS]);
    // Back to audit, and from there to what is enforced.
    host.edgeward("apply policy.yaml --force").ends(0);
    let before = host.state()["current"].as_u64().unwrap();
    host.edgeward("apply audit.yaml").ends(0).says(&["enforcement ends, every packet is accepted"]);
    let plan = host.edgeward("rollback --dry-run").ends(0);
    lacks(&plan, &COMPLEMENT);
    plan.says(&[ALL_BUT, SSH, "conversations"]);
    // The list does not need a policy that can be read.
    host.write(&format!("state/generations/{before}/policy.yaml"), "version: 1\n");
    let plan = host.edgeward("rollback --dry-run").ends(0);
    lacks(&plan, &["no flow\n"]);
    plan.says(&[ALL_BUT, SSH]);
}

#[test]
fn plans_of_large_policies_are_bounded() {
    need_namespaces!();
    let host = host();
    let list: String = (0..100_000u32).fold(String::new(), |mut text, index| {
        let [_, a, b, c] = (index * 2).to_be_bytes();
        writeln!(text, "20.{a}.{b}.{c}/32").unwrap();
        text
    });
    host.write("list.txt", &list);
    let rows: String = (0..250)
        .map(|row| {
            format!(
                "- {{id: row-{row}, direction: outbound, peers: [198.51.100.{row}], ports: [tcp/{}]}}\n",
                9000 + row
            )
        })
        .collect();
    let wide = "- {id: wide, direction: inbound, peers-file: list.txt, ports: [tcp/8000]}\n";
    host.write("large.yaml", &format!("{}{rows}{wide}", policy(OFFICE)));
    host.write("large.lock.yaml", &host.read("policy.lock.yaml"));
    let plan = host.edgeward("apply large.yaml --dry-run").ends(0);
    assert!(plan.out.lines().count() <= 200, "{}", plan.out);
    plan.says(&["more lines; `edgeward diff large.yaml --format json --state-dir state`", "267 flows are open"]);
    let run = host.edgeward("apply large.yaml --dry-run --format json").ends(0);
    assert!(run.out.len() < 1_000_000, "{} bytes", run.out.len());
    host.edgeward("apply policy.yaml").ends(0);
    let plan = host.edgeward("apply large.yaml --dry-run").ends(0);
    assert!(plan.out.lines().count() <= 200, "{}", plan.out);
    plan.says(&["more lines", "251 flows newly allowed"]);
    let run = host.edgeward("apply large.yaml --dry-run --format json").ends(0);
    let document: Value = serde_json::from_str(&run.out).unwrap();
    let wide = document["newly-allowed"].as_array().unwrap().iter().find(|row| row["flow"] == "wide").unwrap();
    assert_eq!(wide["packets"][0]["from"].as_array().unwrap().len(), 100);
    assert!(wide["packets"][0]["more-from"].as_u64().unwrap() > 90_000, "{}", wide["packets"][0]["more-from"]);
}

#[test]
fn a_gateway_says_what_it_covers() {
    need_namespaces!();
    let host = host();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cases");
    for (case, scope) in [
        ("40-gateway-fine", "from now on all between the data centre and other addresses is denied but:"),
        ("42-gateway-everything", "from now on all that is forwarded is denied but:"),
    ] {
        for name in ["policy.yaml", "policy.lock.yaml"] {
            host.write(&name.replace("policy", case), &fs::read_to_string(root.join(case).join(name)).unwrap());
        }
        let plan = host.edgeward(&format!("apply {case}.yaml --dry-run"));
        lacks(&plan, &COMPLEMENT);
        plan.says(&[scope, "the gateway's own connections", "conversations"]);
    }
}

#[test]
fn a_table_that_denies_nothing_is_a_host_without_rules() {
    let folder = tempfile::tempdir().unwrap();
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cases/10-edge-host-flannel");
    let diff = |from: &str, to: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
        Run::of(&command.current_dir(&folder).args(["diff", from, "--against", to]).output().unwrap()).ends(1)
    };
    fs::write(
        folder.path().join("open.nft"),
        "table inet edgeward {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n",
    )
    .unwrap();
    let policy = case.join("policy.yaml");
    let run = diff(policy.to_str().unwrap(), "open.nft");
    lacks(&run, &COMPLEMENT);
    run.says(&["where every packet is accepted", ALL_BUT, SSH]);
}
