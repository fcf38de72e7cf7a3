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
    let long: Vec<&str> =
        run.out.lines().filter(|line| line.chars().count() > 100 && !line.starts_with(['`', 'n'])).collect();
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
        assert!(lines.len() <= 40 && lines.iter().all(|line| line.chars().count() <= 100), "{said}");
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
    first.says(&["mode is audit, nothing is denied; if enforced, newly denied: all other packets"]);
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
}

#[test]
fn a_rollback_says_what_it_does_before_it_acts() {
    need_namespaces!();
    let host = host();
    host.edgeward("apply policy.yaml --confirm-within 5m").ends(0);
    // To no table.
    let plan = host.edgeward("rollback --dry-run").ends(0);
    lacks(&plan, &COMPLEMENT);
    plan.says(&[ALL_PASS, "nothing was changed; `edgeward rollback` does it"]);
    host.edgeward("rollback").ends(0).says(&[ALL_PASS]);
    // Back to audit, and from there to what is enforced.
    host.edgeward("apply policy.yaml --force").ends(0);
    let before = host.state()["current"].as_u64().unwrap();
    host.edgeward("apply audit.yaml").ends(0).says(&["all other packets"]);
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
    plan.says(&["more lines; `edgeward diff --format json`", "267 flows are open"]);
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
