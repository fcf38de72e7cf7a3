//! What fails, fails before the kernel is touched, and says what to do.

use std::fs;

use super::host::{ELSEWHERE, Host, OFFICE};

/// A script with a small disk at `disk`; `verb WORDS…` runs the program with its state there.
const SMALL_DISK: &str = r#"
mkdir disk && mount -t tmpfs -o size=256k none disk
verb() { "$EDGEWARD" "$@" --state-dir disk/state; echo "exit $?"; }
fill() { dd if=/dev/zero of=disk/filler bs=1k 2>/dev/null; }
tables() { echo "tables: $(nft list tables | wc -l)"; }
"#;

#[test]
fn a_full_disk_is_noticed_before_the_kernel_is_touched() {
    need_namespaces!();
    let host = Host::new();
    // Full at once, and full after some of the files.
    let levels = r#"
for free in 0 8 16 32 48 56 64 72 80 88 96 104 112; do
    rm -rf disk/*; nft flush ruleset
    dd if=/dev/zero of=disk/filler bs=1k count=$((256 - free)) 2>/dev/null
    verb apply policy.yaml >out 2>&1; cat out; tables
    case "$(tail -1 out) $(tables)" in
        "exit 0 tables: 1") echo good ;;
        "exit 4 tables: 0") grep -q 'No space left' out && echo good ;;
    esac
done
"#;
    let said = host.script(&format!("{SMALL_DISK}{levels}")).ends(0).said();
    assert_eq!(said.matches("good").count(), 13, "{said}");
    assert!(said.contains("exit 0") && said.contains("exit 4"), "{said}");
    // Temporary files say nothing to a user.
    assert!(!said.contains(".edgeward-") && !said.contains(".unfinished-"), "{said}");
}

#[test]
fn a_disk_that_fills_up_does_not_keep_a_pending_change() {
    need_namespaces!();
    let host = Host::new();
    let steps = r#"
verb apply policy.yaml; verb apply other.yaml --confirm-within 6s; fill
verb confirm; verb status; sleep 7
nft list table inet edgeward | grep -q '10.0.0.0/24' && echo 'came back'
rm disk/filler; verb status; verb confirm; verb apply policy.yaml
"#;
    let said = host.script(&format!("{SMALL_DISK}{steps}")).ends(0).said();
    assert!(said.contains("came back") && said.contains("No space left"), "{said}");
    let codes: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("exit ")).collect();
    assert_eq!(codes, ["0", "0", "4", "0", "0", "5", "0"], "{said}");
    assert!(host.lets_in(OFFICE));
}

#[test]
fn a_read_only_state_directory_changes_nothing_and_boots() {
    need_namespaces!();
    let host = Host::new();
    let steps = r#"
verb apply policy.yaml; before=$(nft -a -s list table inet edgeward)
mount -o remount,ro disk
verb apply other.yaml; verb rollback; verb apply policy.yaml
[ "$before" = "$(nft -a -s list table inet edgeward)" ] && echo 'the same rules'
nft flush ruleset; verb boot; tables; verb status; verb history
"#;
    let said = host.script(&format!("{SMALL_DISK}{steps}")).ends(0).says(&["Read-only", "the same rules"]).said();
    let codes: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("exit ")).collect();
    assert_eq!(codes, ["0", "4", "2", "0", "0", "0", "0"], "{said}");
    assert!(said.contains("tables: 1"), "{said}");
}

#[test]
fn state_directories_of_all_kinds() {
    need_namespaces!();
    let host = Host::new();
    host.write("file", "no folder");
    let with = |folder: &str, line: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_edgeward"));
        command.args(line.split_whitespace()).args(["--state-dir", folder]).current_dir(host.folder.path());
        host.run(command.env_remove("SSH_CONNECTION"))
    };
    for verb in ["apply policy.yaml", "status", "history", "confirm", "rollback", "boot"] {
        with("file", verb).ends(4).says(&["file"]);
        with("file/below", verb).ends(4);
    }
    assert!(!host.has_table());
    with("with spaces/and below ü", "apply policy.yaml").ends(0);
    assert!(host.path("with spaces/and below ü/state.json").exists() && host.lets_in(OFFICE));
    // Its watcher finds a relative folder from anywhere.
    with("./with spaces/../with spaces/and below ü", "apply other.yaml --confirm-within 1s").ends(0);
    assert!(super::host::soon(|| host.lets_in(OFFICE)));
}

#[test]
fn a_damaged_state_is_said_and_rebuilt() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let (before, whole) = (host.handles(), host.state());
    for text in ["", "{", "null", "[]"] {
        for (verb, code, writes) in
            [("status", 0, false), ("history", 0, false), ("rollback", 2, true), ("boot", 0, true)]
        {
            host.write("state/state.json", text);
            host.edgeward("status --check").ends(1).says(&["records", "state.json"]);
            host.edgeward(verb).ends(code).says(&["state.json"]);
            assert_eq!(host.handles(), before, "{verb}");
            match writes {
                true => assert_eq!(host.state()["generations"], whole["generations"], "{verb}"),
                false => assert_eq!(host.read("state/state.json"), text, "{verb}"),
            }
        }
    }
    host.edgeward("status --check").ends(0);
}

#[test]
fn a_state_of_a_newer_version_stays_as_it_is_and_boot_loads_the_rules() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let (handles, rules) = (host.handles(), host.rules());
    let newer = "{\"version\": 99}";
    host.write("state/state.json", newer);
    for verb in ["status", "history", "confirm", "rollback", "apply other.yaml", "apply other.yaml --force", "boot"] {
        host.edgeward(verb).ends(4).says(&["state.json", "version 99"]);
        assert_eq!((host.handles(), host.read("state/state.json").as_str()), (handles.clone(), newer), "{verb}");
    }
    host.nft("flush ruleset");
    let said = host.edgeward("boot").ends(4).said();
    assert_eq!(host.rules(), rules);
    // What it advises works.
    let advice = said.split('`').find(|text| text.starts_with("mv ")).unwrap();
    host.script(advice).ends(0);
    host.edgeward("apply policy.yaml").ends(0);
    assert_eq!(host.rules(), rules);
}

#[test]
fn a_folder_in_the_place_of_the_state_is_named() {
    need_namespaces!();
    let host = Host::new();
    fs::create_dir_all(host.path("state/state.json")).unwrap();
    host.edgeward("status").ends(0).says(&["state.json"]);
    host.write("state/state.json/notes", "");
    host.edgeward("apply policy.yaml").ends(4).says(&["state.json"]);
    assert!(!host.has_table());
    // An empty one makes room.
    fs::remove_file(host.path("state/state.json/notes")).unwrap();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("status --check").ends(0);
}

/// Two generations, of which the second is in force and damaged.
fn with_damage(damage: &dyn Fn(&Host)) -> Host {
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml").ends(0);
    damage(&host);
    host
}

fn remove(host: &Host) {
    fs::remove_dir_all(host.path("state/generations/2")).unwrap();
}

fn append(host: &Host, text: &str) {
    let whole = host.read("state/generations/2/ruleset.nft");
    host.write("state/generations/2/ruleset.nft", &(whole + text));
}

#[test]
fn a_damaged_generation_is_never_loaded() {
    need_namespaces!();
    let hook = "table ip other { chain x { type filter hook input priority 0; policy drop; }; }\n";
    let damages: [&dyn Fn(&Host); 4] =
        [&remove, &|host| append(host, "flush ruleset\n"), &|host| append(host, hook), &|host| {
            host.write("state/generations/2/ruleset.nft", "")
        }];
    for damage in damages {
        let host = with_damage(damage);
        host.edgeward("history").ends(0);
        assert!(host.lets_in(ELSEWHERE));
        host.edgeward("rollback 1").ends(0);
        assert!(host.lets_in(OFFICE));
        // Boot takes the one before rather than none, and says that something is wrong.
        let host = with_damage(damage);
        host.nft("flush ruleset");
        host.edgeward("boot").ends(4).says(&["generation 1", "generation 2"]);
        assert!(host.lets_in(OFFICE) && !host.lets_in(ELSEWHERE));
        assert_eq!(host.nft("list tables"), "table inet edgeward\n");
        let host = with_damage(damage);
        host.edgeward("apply policy.yaml").ends(0);
        assert!(host.lets_in(OFFICE));
        host.edgeward("status").ends(0).says(&["in force, as it was applied"]);
    }
}

#[test]
fn a_missing_generation_needs_attention() {
    need_namespaces!();
    let host = with_damage(&remove);
    host.edgeward("status").ends(0).says(&["warning: there is no generation 2"]);
    host.edgeward("status --check").ends(1).says(&["generation: there is no generation 2"]);
}

#[test]
fn a_lost_state_does_not_cost_the_generations() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    host.edgeward("apply other.yaml").ends(0);
    let first = host.read("state/generations/1/policy.yaml");
    fs::remove_file(host.path("state/state.json")).unwrap();
    host.edgeward("apply policy.yaml").ends(0);
    assert_eq!(host.read("state/generations/1/policy.yaml"), first, "written over");
}

#[test]
fn a_table_with_an_owner_is_not_taken_for_a_missing_permission() {
    need_namespaces!();
    let host = Host::new();
    let script = r#"
mkfifo commands
nft -i < commands > /dev/null & exec 4> commands
echo 'add table inet edgeward { flags owner; chain input { type filter hook input priority 0; policy accept; }; }' >&4
for try in $(seq 600); do nft list tables | grep -q edgeward && break; sleep 0.1; done
for verb in "apply policy.yaml" "apply policy.yaml --force" "diff policy.yaml --against kernel" "uninstall --remove-rules" status; do
    "$EDGEWARD" $verb --state-dir state > out 2>&1; echo "exit $?"; cat out
    grep -q 'belongs to the program `nft` (`flags owner`)' out || echo "not told: $verb"
done
exec 4>&-; wait
"$EDGEWARD" apply policy.yaml --force --state-dir state; echo "then $?"
"#;
    let said = host.script(script).ends(0).says(&["then 0"]).said();
    assert_eq!(said.matches("exit 4").count(), 4, "{said}");
    assert!(!said.contains("not told") && !said.contains("CAP_NET_ADMIN"), "{said}");
}

/// The kernel is all that the rules need: no other program is found, neither in `PATH` nor where the program itself looks.
#[test]
fn the_whole_life_needs_no_other_program() {
    need_namespaces!();
    let host = Host::new();
    let script = r#"
for folder in /usr/local/sbin /usr/local/bin /usr/sbin /sbin; do mount -t tmpfs none "$folder"; done
command -v nft && exit 9
verb() { PATH=/nonexistent "$EDGEWARD" "$@" --state-dir state > said 2>&1; echo "$1: $?"; cat said; }
verb apply policy.yaml --dry-run
verb apply policy.yaml
verb status --check
verb apply other.yaml --confirm-within 10m
verb diff other.yaml --against kernel
verb confirm
verb apply policy.yaml --confirm-within 10m
verb rollback
verb diff other.yaml --against kernel
verb apply policy.yaml --force
verb rollback
verb boot
verb history
verb uninstall --remove-rules
verb boot
"#;
    let said = host.script(script).ends(0).said();
    let ends: Vec<&str> =
        said.lines().filter(|line| line.split_once(": ").is_some_and(|(_, end)| end.len() == 1)).collect();
    let expected = [
        "apply: 0",
        "apply: 0",
        "status: 0",
        "apply: 0",
        "diff: 0",
        "confirm: 0",
        "apply: 0",
        "rollback: 0",
        "diff: 0",
        "apply: 0",
        "rollback: 0",
        "boot: 0",
        "history: 0",
        "uninstall: 0",
        "boot: 0",
    ];
    assert_eq!(ends, expected, "{said}");
    assert!(!said.contains("nft") || said.contains("nftables"), "{said}");
}

#[test]
fn without_the_capability_the_operator_learns_which() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let before = host.handles();
    let script = r#"
for verb in "apply other.yaml" "rollback 1" status boot; do
    setpriv --bounding-set -net_admin --inh-caps -net_admin "$EDGEWARD" $verb --state-dir state; echo "exit $?"
done
"#;
    let said = host.script(script).ends(0).says(&["CAP_NET_ADMIN"]).said();
    assert_eq!(said.matches("exit 4").count(), 4, "{said}");
    assert_eq!(host.handles(), before);
}

#[test]
fn a_policy_that_does_not_compile_changes_nothing() {
    need_namespaces!();
    let host = Host::new();
    host.edgeward("apply policy.yaml").ends(0);
    let before = (host.handles(), host.records());
    host.write("policy.yaml", &super::host::policy("10.0.0.1/8"));
    host.edgeward("apply policy.yaml").ends(2).says(&["host-bits"]);
    // A refresh works with the policy in force, and no server answers here.
    host.edgeward("refresh policy.yaml").ends(3).says(&["the policy `policy.yaml`"]);
    host.edgeward("apply missing.yaml").ends(4);
    host.write("other.lock.yaml", "version: 1\nnames: []\n");
    host.edgeward("apply other.yaml").ends(3).says(&["mirror.example.com"]);
    host.write("other.lock.yaml", "{");
    host.edgeward("apply other.yaml --force").ends(2);
    fs::remove_file(host.path("other.lock.yaml")).unwrap();
    host.edgeward("apply other.yaml --force").ends(3);
    assert_eq!((host.handles(), host.records()), before);
}
