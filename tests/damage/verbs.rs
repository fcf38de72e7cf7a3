//! What verbs do where something is damaged or gone: each says what, and a command that works.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::cases::{copy, insist};
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
    insist(|| fs::remove_dir_all(host.path("state")));
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

/// The files that a generation consists of, with those that it shares with others.
fn files_of_the_second(host: &Host) -> Vec<String> {
    let own = ["ruleset.nft", "manifest.json", "policy.yaml", "policy.lock.yaml"];
    let mut files: Vec<String> = own.iter().map(|file| format!("generations/2/{file}")).collect();
    let manifest: Value = serde_json::from_str(&host.read("state/generations/2/manifest.json")).unwrap();
    files.push(format!("catalogs/{}", manifest["policy"]["catalog"].as_str().unwrap()));
    files.push(format!("lists/{}", manifest["policy"]["lists"][0]["stored"].as_str().unwrap()));
    files
}

/// Two confirmed generations of policies with a list; the second is in force.
fn host_with_list() -> Host {
    let host = Host::new();
    let row = "- {id: sites, direction: inbound, peers-file: sites.txt, ports: [tcp/443], purpose: sites}\n";
    for (name, management) in [("policy.yaml", OFFICE), ("other.yaml", ELSEWHERE)] {
        host.write(name, &(policy(management) + row));
    }
    host.write("sites.txt", "198.51.100.0/24\n");
    host.edgeward("apply policy.yaml").ends(0);
    // A list of its own.
    host.write("sites.txt", "198.51.100.0/25\n");
    host.edgeward("apply other.yaml --force").ends(0);
    host
}

#[test]
fn every_verb_says_which_file_is_missing_or_damaged_and_what_mends_it() {
    need_namespaces!();
    let host = host_with_list();
    let (state, whole) = (host.path("state"), host.path("whole"));
    copy(&state, &whole);
    let listing = host.nft("list table inet edgeward");
    host.write("listing.nft", &listing);
    for (file, is_gone) in files_of_the_second(&host).into_iter().flat_map(|file| [(file.clone(), true), (file, false)])
    {
        copy(&whole, &state);
        let path = state.join(&file);
        match (is_gone, path.is_dir()) {
            (true, true) => fs::remove_dir_all(&path).unwrap(),
            (true, false) => fs::remove_file(&path).unwrap(),
            (false, true) => fs::write(path.join("flows.yaml"), "flows: [").unwrap(),
            (false, false) => fs::write(&path, "{").unwrap(),
        }
        let what = format!("`state/{file}` is {}", if is_gone { "missing" } else { "damaged" });
        let is_ruleset = file.ends_with("ruleset.nft");
        let apply = match file.ends_with("manifest.json") {
            true => "`edgeward apply POLICY --state-dir state`".to_owned(),
            false => format!("`edgeward apply {} --state-dir state`", host.path("other.yaml").display()),
        };
        let run = host.edgeward("status --check").ends(1).says(&["generation: ", &what, &apply]);
        assert!(!run.out.contains("all is well") && run.err.is_empty(), "{}", run.said());
        let run = host.edgeward("status").ends(0).says(&["warning: ", &what, &apply]);
        assert!(run.err.is_empty(), "{}", run.err);
        let json: Value = serde_json::from_str(&host.edgeward("status --check --format json").ends(1).out).unwrap();
        assert_eq!(json["loaded-at-boot"], if is_ruleset { 1 } else { 2 });
        assert_eq!(json["table"], if is_ruleset { "unknown" } else { "as-applied" });
        // The older generation has the same catalog, but it is no one's fault there.
        host.edgeward("history 2").ends(0).says(&[&what]);
        let json: Value = serde_json::from_str(&host.edgeward("history --format json").ends(0).out).unwrap();
        let damage = json["generations"][1]["damage"].as_array().unwrap();
        assert!(damage.len() == 1 && damage[0].as_str().unwrap().contains(&what), "{damage:?}");
        // The same catalog is built in.
        if !(is_gone && file.starts_with("catalogs")) {
            let run = host.edgeward("refresh other.yaml").ends(4).says(&[&what, "edgeward apply"]);
            assert!(!run.err.contains("error["), "{}", run.err);
            if !is_ruleset {
                let run = host.edgeward("rollback 2 --dry-run --force").says(&[&what]);
                assert!(!run.said().contains("does not accept"), "{}", run.said());
            }
        }
        // A table that is gone is the worst of it.
        host.nft("flush ruleset");
        host.edgeward("status --check").ends(1).says(&["table: ", "is gone: every packet is accepted", &what]);
        host.nft(&format!("-f {}", host.path("listing.nft").display()));
        host.edgeward("apply other.yaml --force").ends(0);
        host.edgeward("status --check").ends(0);
    }
}

#[test]
fn a_change_that_is_undone_leads_to_the_same_generation_by_hand_and_at_its_deadline() {
    need_namespaces!();
    for damaged in ["generations/2/ruleset.nft", "generations/2", "generations"] {
        for by_hand in [true, false] {
            let host = host();
            host.write("third.yaml", &policy("10.0.2.0/24"));
            host.write("third.lock.yaml", &host.read("policy.lock.yaml"));
            let (within, verb) = if by_hand { ("1h", "rollback") } else { ("3s", "status") };
            host.edgeward(&format!("apply third.yaml --confirm-within {within} --force")).ends(0);
            let path = host.path("state").join(damaged);
            match path.is_dir() {
                true => insist(|| fs::remove_dir_all(&path)),
                false => fs::write(path, "").unwrap(),
            }
            let run = host.edgeward(verb).ends(0).says(&["generation 2"]);
            assert!(soon(|| host.lets_in(ELSEWHERE)), "{damaged}: {}", run.said());
            assert!(soon(|| host.watchers().is_empty()));
            host.edgeward("status")
                .ends(0)
                .says(&["generation 2 is in force, as it was applied", "boot loads generation 2"]);
        }
    }
}

#[test]
fn status_says_where_a_change_goes_back_to_that_no_process_watches() {
    need_namespaces!();
    let host = host();
    host.write("third.yaml", &policy("10.0.2.0/24"));
    host.write("third.lock.yaml", &host.read("policy.lock.yaml"));
    host.edgeward("apply third.yaml --confirm-within 1h --force").ends(0);
    host.kill_watchers();
    host.write("state/generations/2/ruleset.nft", "");
    let run = host.edgeward("status").ends(0).says(&[
        "generation 3 is pending: generation 1 comes back",
        "boot loads generation 1\n",
        "generations/2/ruleset.nft` is damaged",
    ]);
    assert!(!run.said().contains("generation 2 comes back"), "{}", run.said());
    host.edgeward("status --check").ends(1).says(&["generation: ", "generation 1 comes back"]);
    let json: Value = serde_json::from_str(&host.edgeward("status --format json").ends(0).out).unwrap();
    assert_eq!((&json["pending"]["back-to"], &json["loaded-at-boot"]), (&1.into(), &1.into()));
    host.edgeward("apply policy.yaml").ends(5).says(&["generation 1 comes back"]);
    host.edgeward("rollback --dry-run").ends(0).says(&["to generation 1"]);
    host.edgeward("rollback").ends(0).says(&["generation 3 is undone: generation 1 is in force"]);
    assert!(host.lets_in(OFFICE));
}

#[test]
fn boot_loads_what_status_and_history_say() {
    need_namespaces!();
    let host = host();
    host.write("state/generations/2/ruleset.nft", "");
    host.edgeward("status").ends(0).says(&[
        "boot loads generation 1, and not generation 2, which is in force but damaged",
        "\nboot loads generation 1\n",
    ]);
    host.edgeward("history").ends(0).says(&["generation 1  loaded at boot\n", "generation 2  in force\n"]);
    host.nft("flush ruleset");
    host.edgeward("boot").ends(4).says(&["generation 1 is in force"]);
    assert!(host.lets_in(OFFICE));
}

#[test]
fn history_has_generations_that_lost_their_files_with_the_state() {
    need_namespaces!();
    for lost in ["ruleset.nft", "manifest.json"] {
        let host = host();
        host.write("state/state.json", "");
        fs::remove_file(host.path("state/generations/2").join(lost)).unwrap();
        let missing = format!("generations/2/{lost}` is missing");
        host.edgeward("history").ends(0).says(&["generation 1", "generation 2  in force", &missing]);
        // They are not lost by the next change either.
        host.edgeward("apply policy.yaml --force").ends(0);
        host.edgeward("history").ends(0).says(&[&missing]);
        // Nor is an older policy put into force by a refresh.
        assert!(host.lets_in(OFFICE));
    }
}

#[test]
fn rules_whose_records_are_lost_are_not_called_those_of_another_program() {
    need_namespaces!();
    let losses: [&[&str]; 4] = [
        &["state.json", "events.jsonl", "generations"],
        &["state.json", "generations/2"],
        &["generations/2/ruleset.nft"],
        &[""],
    ];
    for lost in losses {
        let host = host();
        for name in lost {
            let path = host.path("state").join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        for line in ["status", "apply policy.yaml --force", "history", "status"] {
            let said = host.edgeward(line).ends(0).said().replace("or another program made it", "");
            for accusation in ["another program", "not applied by edgeward", "other programs"] {
                assert!(!said.contains(accusation), "{lost:?}: {line}: {said}");
            }
        }
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
