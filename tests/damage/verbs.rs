//! What verbs do where something is damaged or gone: each says what, and a command that works.

use std::fs;
use std::process::Command;

use super::host::{ELSEWHERE, Host, MIRROR, OFFICE, Run, policy, soon};

/// The commands that a run advises, without the option that every run here has.
fn advice(run: &Run) -> Vec<String> {
    let said = run.said().replace('\n', " ");
    let quoted = said.split('`').skip(1).step_by(2).filter_map(|text| text.strip_prefix("edgeward "));
    quoted.map(|command| command.strip_suffix(" --state-dir state").unwrap_or(command).to_owned()).collect()
}

/// Two confirmed generations; the second is in force.
fn host() -> Host {
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --force").ends(0);
    host
}

#[test]
fn a_hangup_does_not_end_a_watcher() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --confirm-within 3s").ends(0);
    let watchers = host.watchers();
    assert_eq!(watchers.len(), 1);
    assert!(Command::new("kill").args(["-HUP", &watchers[0].to_string()]).status().unwrap().success());
    assert!(soon(|| host.lets_in(OFFICE)));
}

#[test]
fn a_change_is_undone_although_no_record_can_be_written() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let former = host.rules();
    host.edgeward("apply other.yaml --confirm-within 2s").ends(0);
    // A file in the place of the folder: it cannot be made again.
    fs::remove_dir_all(host.path("state")).unwrap();
    host.write("state", "");
    assert!(soon(|| host.rules() == former));
    // It goes on trying to record that.
    fs::remove_file(host.path("state")).unwrap();
    assert!(soon(|| host.watchers().is_empty()));
    host.edgeward("status").ends(0).says(&["generation 1 is in force, as it was applied"]);
    host.nft("flush ruleset");
    host.edgeward("boot").ends(0);
    assert_eq!(host.rules(), former);
}

#[test]
fn what_is_confirmed_stays_whatever_happens_to_the_state_later() {
    need_namespaces!();
    for text in [Some(""), None] {
        let host = Host::new();
        host.edgeward("apply policy.yaml").ends(0);
        host.edgeward("apply other.yaml --confirm-within 3s").ends(0);
        host.edgeward("confirm").ends(0);
        match text {
            Some(text) => host.write("state/state.json", text),
            None => fs::remove_file(host.path("state/state.json")).unwrap(),
        }
        assert!(soon(|| host.watchers().is_empty()));
        assert!(host.lets_in(ELSEWHERE));
        host.edgeward("confirm").ends(0).says(&["state.json"]);
        host.nft("flush ruleset");
        host.edgeward("boot").ends(0);
        assert!(host.lets_in(ELSEWHERE));
    }
}

#[test]
fn rules_that_the_kernel_does_not_have_are_not_confirmed() {
    need_namespaces!();
    type Lose<'a> = &'a dyn Fn(&Host);
    let losses: [(&str, Lose<'_>); 3] = [
        ("every packet is accepted", &|host| drop(host.nft("flush ruleset"))),
        ("another program", &|host| drop(host.nft("insert rule inet edgeward input tcp dport 4444 accept"))),
        ("is damaged", &|host| host.write("state/generations/2/ruleset.nft", "")),
    ];
    for (why, lose) in losses {
        for chosen in 0..2 {
            let host = Host::new();
            host.edgeward("apply policy.yaml").ends(0);
            host.edgeward("apply other.yaml --confirm-within 1h").ends(0);
            lose(&host);
            let run = host.edgeward("confirm").ends(5).says(&["generation 2", why]);
            let json = host.edgeward("confirm --format json").ends(5).out;
            assert!(json.contains("not-in-force"), "{json}");
            // Damage also says where to look.
            let advice: Vec<String> = advice(&run).into_iter().filter(|line| line != "history").collect();
            let apply = format!("apply {} --confirm-within 2m", host.path("other.yaml").display());
            assert_eq!(advice, ["rollback", &apply], "{why}");
            host.edgeward(&advice[chosen]).ends(0);
            assert!(host.lets_in([OFFICE, ELSEWHERE][chosen]), "{why}");
            if chosen == 1 {
                host.edgeward("confirm").ends(0);
                host.nft("flush ruleset");
                host.edgeward("boot").ends(0);
                assert!(host.lets_in(ELSEWHERE), "{why}");
            }
        }
    }
}

#[test]
fn a_rollback_from_an_empty_folder_records_nothing() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let before = host.handles();
    fs::rename(host.path("state"), host.path("away")).unwrap();
    fs::create_dir(host.path("state")).unwrap();
    for verb in ["rollback", "rollback --dry-run", "rollback 1"] {
        host.edgeward(verb).ends(2);
        assert!(host.records().is_empty(), "{verb}");
    }
    assert_eq!(host.handles(), before);
}

#[test]
fn one_damaged_generation_does_not_stop_what_names_others() {
    need_namespaces!();
    for file in ["ruleset.nft", "manifest.json", "policy.yaml", "policy.lock.yaml"] {
        let host = host();
        host.write("third.yaml", &policy("10.0.2.0/24"));
        host.write("third.lock.yaml", &host.read("policy.lock.yaml"));
        host.edgeward("apply third.yaml --force").ends(0);
        host.write(&format!("state/generations/2/{file}"), "{");
        host.edgeward("history 1").ends(0);
        host.edgeward("history").ends(0);
        host.edgeward("diff 1 --against 3").ends(1);
        host.edgeward("diff 3 --against 1").ends(1);
        host.edgeward("diff third.yaml --against 1").ends(1);
        host.edgeward("rollback 1").ends(0);
        assert!(host.lets_in(OFFICE), "{file}");
        // To go to it takes its ruleset alone.
        let run = host.edgeward("rollback 2 --force");
        if file == "ruleset.nft" {
            let run = run.ends(4).says(&["generations/2/ruleset.nft"]);
            assert!(host.lets_in(OFFICE));
            let advice = advice(&run);
            assert_eq!(advice, ["history"]);
            host.edgeward(&advice[0]).ends(0).says(&["generations/2/ruleset.nft", "damaged"]);
        } else {
            run.ends(0);
            assert!(host.lets_in(ELSEWHERE), "{file}");
        }
    }
}

#[test]
fn status_says_what_is_damaged_and_which_command_mends_it() {
    need_namespaces!();
    for file in ["ruleset.nft", "manifest.json", "policy.yaml", "policy.lock.yaml"] {
        let host = host();
        host.write(&format!("state/generations/2/{file}"), "{");
        for line in ["status", "status --check"] {
            let run = host.edgeward(line);
            let is_fatal = file == "ruleset.nft" || line == "status --check";
            let run = run.ends(if is_fatal { 4 } else { 0 }).says(&["generation 2"]);
            if file != "manifest.json" && file != "ruleset.nft" {
                run.says(&[&format!("`edgeward apply {} --state-dir state`", host.path("other.yaml").display())]);
            } else {
                run.says(&["`edgeward apply "]);
            }
        }
        host.edgeward("apply other.yaml").ends(0);
        host.edgeward("status --check").ends(0);
    }
}

#[test]
fn where_nothing_whole_is_left_the_next_command_says_so_and_works() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml --confirm-within 1h").ends(0);
    host.kill_watchers();
    let mut state = host.state();
    state["pending"]["deadline-since-boot"] = 0.into();
    host.write("state/state.json", &state.to_string());
    host.write("state/generations/1/ruleset.nft", "");
    // As at the first change: there are no rules to go back to.
    host.edgeward("confirm").ends(5).says(&["generations/1/ruleset.nft", "every packet is accepted"]);
    assert!(!host.has_table());
    host.edgeward("boot").ends(4).says(&["generations/1/ruleset.nft"]);
    host.edgeward("apply policy.yaml").ends(0);
    assert!(host.lets_in(OFFICE));
    host.edgeward("status --check").ends(0);
}

#[test]
fn boot_takes_a_generation_that_a_rollback_has_left_rather_than_none() {
    need_namespaces!();
    let host = host();
    host.edgeward("rollback 1 --force").ends(0);
    host.write("state/generations/1/ruleset.nft", "");
    host.nft("flush ruleset");
    host.edgeward("boot").ends(4).says(&["generation 1", "generation 2"]);
    assert!(host.lets_in(ELSEWHERE));
}

#[test]
fn what_was_on_trial_is_not_loaded_although_the_state_is_lost() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml --confirm-within 1h").ends(0);
    host.kill_watchers();
    host.nft("flush ruleset");
    fs::remove_file(host.path("state/state.json")).unwrap();
    host.edgeward("boot").ends(0);
    assert!(!host.has_table());
    // Not even where there is nothing that says what was confirmed.
    host.edgeward("rollback").ends(0);
    host.edgeward("apply policy.yaml --force").ends(0);
    host.nft("flush ruleset");
    fs::remove_file(host.path("state/state.json")).unwrap();
    fs::remove_file(host.path("state/events.jsonl")).unwrap();
    let run = host.edgeward("boot").ends(4).says(&["no generation is known to have been confirmed"]);
    assert!(!host.has_table());
    host.edgeward(&advice(&run)[0]).ends(0);
    assert!(host.lets_in(OFFICE));
}

#[test]
fn what_later_versions_refuse_is_loaded_all_the_same() {
    need_namespaces!();
    let host = host();
    // As if an earlier version had let it pass.
    let refused = host.read("state/generations/1/policy.yaml").replace("servers: [10.0.0.53]", "servers: [127.0.0.53]");
    assert!(refused.contains("127.0.0.53"));
    let manifest = host.read("state/generations/1/manifest.json");
    let digest = |text: &str| edgeward::emit::sha256(text);
    let manifest = manifest.replace(&digest(&host.read("state/generations/1/policy.yaml")), &digest(&refused));
    host.write("state/generations/1/policy.yaml", &refused);
    host.write("state/generations/1/manifest.json", &manifest);
    host.edgeward("check state/generations/1/policy.yaml").ends(2);
    host.edgeward("rollback 1 --force").ends(0).says(&["does not accept"]);
    host.nft("flush ruleset");
    host.edgeward("boot").ends(0).says(&["generation 1 is in force"]);
    assert!(host.lets_in(OFFICE));
    host.edgeward("apply other.yaml --confirm-within 1s").ends(0);
    assert!(soon(|| host.lets_in(OFFICE)));
    assert!(soon(|| host.watchers().is_empty()));
    host.edgeward("apply other.yaml --confirm-within 1h").ends(0);
    host.edgeward("rollback").ends(0);
    assert!(host.lets_in(OFFICE));
    host.edgeward("refresh policy.yaml").ends(2).says(&["cannot be refreshed", "edgeward apply"]);
}

#[test]
fn a_refresh_does_not_ask_for_names_of_a_damaged_policy() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let stored = "state/generations/1/policy.yaml";
    host.write(stored, &host.read(stored).replace(MIRROR, "mirros.example.com"));
    let run = host.edgeward("refresh policy.yaml").ends(4).says(&["generations/1/policy.yaml"]);
    let said = run.said();
    assert!(!said.contains("mirros.example.com") && said.contains("edgeward apply"), "{said}");
}

#[test]
fn rules_that_were_removed_with_their_folder_do_not_come_back() {
    need_namespaces!();
    for verb in ["uninstall --remove-rules", "uninstall"] {
        let host = Host::new();
        host.edgeward("apply policy.yaml").ends(0);
        host.edgeward("apply other.yaml --confirm-within 3s").ends(0);
        host.edgeward(verb).ends(0);
        fs::remove_dir_all(host.path("state")).unwrap();
        host.nft("flush ruleset");
        assert!(soon(|| host.watchers().is_empty()));
        assert!(!host.has_table() && !host.path("state").exists(), "{verb}");
    }
}

#[test]
fn the_rules_come_back_although_nothing_said_where_they_were_from() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let former = host.rules();
    host.write("state/generations/1/manifest.json", "{");
    host.edgeward("apply other.yaml --confirm-within 2s").ends(0);
    fs::remove_dir_all(host.path("state")).unwrap();
    assert!(soon(|| host.watchers().is_empty()));
    assert_eq!(host.rules(), former);
    host.edgeward("status").ends(0).says(&["generation 1 is in force, as it was applied"]);
    host.nft("flush ruleset");
    host.edgeward("boot").ends(0);
    assert_eq!(host.rules(), former);
}
