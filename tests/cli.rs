//! The command line: two or three tests for each verb, the exit codes of README.md, and files that no one would expect.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used, clippy::panic)]

#[path = "support/lockfiles.rs"]
mod lockfiles;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use edgeward::catalog::{Catalog, FILES};
use edgeward::diag::Problems;
use edgeward::policy;
use edgeward::resolution::Resolution;
use edgeward::site::{ClusterKind, Connection};
use edgeward::source::Source;
use edgeward::yaml::{Node, Value, read};
use serde_json::json;
use tempfile::TempDir;

const CASE: &str = "fixtures/cases/10-edge-host-flannel/policy.yaml";
const WRONG: &str = "fixtures/invalid/unknown-region.yaml";

/// What a run of the program left.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    /// Asserts the exit code, and that nothing panicked.
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("NO_COLOR", "1");
    command
}

fn run_command(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Run { code: output.status.code(), out, err }
}

fn edgeward<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    run_command(program().args(arguments))
}

/// A folder with the policy of [`CASE`] and its lockfile.
fn folder_with_policy() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["policy.yaml", "policy.lock.yaml"] {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(CASE).with_file_name(name), folder.path().join(name))
            .unwrap();
    }
    let policy = folder.path().join("policy.yaml");
    (folder, policy)
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

// ── check ────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn check_says_that_a_policy_is_valid() {
    // Without its lockfile, whose age would be a warning.
    let (folder, policy) = folder_with_policy();
    fs::remove_file(folder.path().join("policy.lock.yaml")).unwrap();
    let policy = policy.to_str().unwrap();
    let run = edgeward(["check", policy]).ends(0);
    assert!(run.out.starts_with(&format!("{policy}: valid; ")), "{}", run.out);
    // Notes are no problems.
    assert!(run.err.lines().filter(|line| line.contains("]: ")).all(|line| line.starts_with("note[")), "{}", run.err);
}

#[test]
fn check_reports_all_files() {
    let run = edgeward(["check", WRONG, CASE, "fixtures/invalid/host-bits.yaml"]).ends(2);
    assert!(run.out.contains(CASE), "{}", run.out);
    assert!(run.err.contains("error[unknown-region]") && run.err.contains("error[host-bits]"), "{}", run.err);
}

#[test]
fn check_is_for_the_target_of_the_command_line() {
    let policy = "policies/idc-gateway-broad.yaml";
    edgeward(["check", policy]).ends(0);
    let run = edgeward(["check", "--target", "edge-host", policy]).ends(2);
    assert!(run.err.contains("error[scope-not-offered]"), "{}", run.err);
    edgeward(["check", "--target", "nowhere", policy]).ends(2);
}

/// What is not shown is counted by its severity, and errors are shown first.
#[test]
fn what_is_not_shown_has_its_severity() {
    let (folder, policy) = folder_with_policy();
    let text = fs::read_to_string(&policy).unwrap();
    // Each overlaps the others, and none covers another.
    let row = |n: u32| {
        format!(
            "- {{id: row-{n}, direction: inbound, peers: [198.51.100.0/24, 203.0.{n}.0/24], ports: [tcp/7000], purpose: x}}\n"
        )
    };
    let rows: String = (0..150).map(row).collect();
    assert!(!text.contains("\nallow:"), "{text}");
    let path = folder.path().join("many.yaml");
    let many = format!("{text}allow:\n{rows}");
    fs::write(&path, &many).unwrap();
    let run = edgeward([OsStr::new("check"), path.as_os_str()]).ends(0);
    let (notes, errors) = (run.err.matches("note[").count(), run.err.matches("error").count());
    // One of the policy, and a hundred of the comparison of its rows.
    assert_eq!((notes, errors), (101, 0), "{}", run.err);
    // The first row has no earlier one to be compared with.
    let more = run.err.lines().find(|line| line.contains("more problem")).unwrap();
    assert!(more.starts_with("note: 49 more problems in "), "{more}");
    // An error at the end is shown.
    let wrong = many.replace("tcp/7000], purpose: x}\n- {id: row-149", "tcp/7000], purpose: x}\n- {id: ROW");
    fs::write(&path, &wrong).unwrap();
    let run = edgeward([OsStr::new("check"), path.as_os_str()]).ends(2);
    assert!(run.err.contains("error["), "{}", run.err);
}

#[test]
fn check_takes_lockfiles_for_what_they_are() {
    let (folder, policy) = folder_with_policy();
    let lock = folder.path().join("policy.lock.yaml");
    let pasted = folder.path().join("pasted.yaml");
    fs::copy(&lock, &pasted).unwrap();
    let check =
        |files: &[&Path]| edgeward([OsStr::new("check")].into_iter().chain(files.iter().map(|file| file.as_os_str())));
    let run = check(&[&lock, &policy, &pasted]).ends(0);
    let lines: Vec<&str> = run.out.lines().collect();
    let [first, second, third] = lines[..] else { unreachable!("{lines:?}") };
    let names = "valid; a lockfile with 9 addresses of 7 names, the oldest answer is ";
    assert!(first.starts_with(&format!("{}: {names}", lock.display())) && first.ends_with(" old"), "{first}");
    assert!(second.starts_with(&format!("{}: valid; ", policy.display())), "{second}");
    assert!(third.starts_with(&format!("{}: {names}", pasted.display())), "{third}");
    // A lockfile that is old is said to be, once: by its policy's limit, whether that is named or not.
    let old = fs::read_to_string(&lock).unwrap().replace("last-seen: 2026-", "last-seen: 2020-");
    fs::write(&lock, old.replace("first-seen: 2026-", "first-seen: 2020-")).unwrap();
    for files in [&[&*lock, &*policy][..], &[&*lock], &[&*policy]] {
        let run = check(files).ends(0);
        assert_eq!(run.err.matches("older than `resolve.max-stale`").count(), 1, "{}", run.err);
    }
    // One that is damaged is an error, once, and the exit code says it.
    fs::write(&lock, "version: 1\nnames: 7\n").unwrap();
    for files in [&[&*lock, &*policy][..], &[&*policy, &*lock], &[&*lock], &[&*policy]] {
        let run = check(files).ends(2);
        assert_eq!(run.err.matches("error[").count(), 1, "{}", run.err);
    }
    // By its name, too.
    fs::write(&lock, "version: 1\nnaems: []\n").unwrap();
    let run = check(&[&lock]).ends(2);
    assert_eq!(run.err.matches("error[").count(), 1, "{}", run.err);
    let run =
        edgeward(["check", "--format", "json"].iter().map(OsStr::new).chain([lock.as_os_str(), pasted.as_os_str()]))
            .ends(2);
    let document: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let rows = document["lockfiles"].as_array().unwrap();
    assert_eq!((&rows[0]["valid"], &rows[1]["valid"], &rows[1]["names"]), (&json!(false), &json!(true), &json!(7)));
    assert!(rows[1]["oldest"].as_str().unwrap().starts_with("2026-11-2") && document["policies"] == json!([]));
}

#[test]
fn the_policies_of_the_repository_are_checked_beside_their_lockfiles() {
    let names = fs::read_dir(root("policies")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = names.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).collect();
    assert!(files.iter().any(|path| path.to_string_lossy().ends_with(".lock.yaml")));
    edgeward([OsStr::new("check")].into_iter().chain(files.iter().map(|path| path.as_os_str()))).ends(0);
}

#[test]
fn check_of_a_missing_file_is_a_failure_of_the_system() {
    edgeward(["check", "no-such-policy.yaml"]).ends(4);
}

#[test]
fn line_ends_byte_order_marks_and_json_make_no_difference() {
    let (_folder, policy) = folder_with_policy();
    let text = fs::read_to_string(&policy).unwrap();
    let expected = edgeward([OsStr::new("compile"), policy.as_os_str()]).ends(0).out;
    let json = json_of(&tree(&policy)).to_string();
    for variant in [text.replace('\n', "\r\n"), format!("\u{feff}{text}"), text.trim_end().to_owned(), json] {
        fs::write(&policy, variant).unwrap();
        assert_eq!(edgeward([OsStr::new("compile"), policy.as_os_str()]).ends(0).out, expected);
    }
}

// ── init ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Fills in what a starter policy leaves blank.
fn filled_in(starter: &str) -> String {
    let fill = |line: &str| {
        let key = line.trim_start().split(':').next().unwrap_or_default();
        let value = match key {
            _ if !line.contains("FILL IN") || line.starts_with('#') => return line.to_owned(),
            "version" => "\"1.30\"",
            "api-server" => "10.0.0.10",
            "hosts" => "[10.0.0.0/8]",
            "pods" => "[172.20.0.0/16]",
            "vpc" => "[192.168.0.0/16]",
            "from" => "[10.0.0.0/24]",
            "servers" => "[10.0.0.53]",
            "bgp-peers" => "[10.0.255.1]",
            "registry" => "[100.100.0.200]",
            "oss" => "[100.115.200.0/24]",
            "oss-endpoint" => "oss.example.com",
            _ => unreachable!("a blank that this test cannot fill: {line}"),
        };
        format!("  {key}: {value}")
    };
    starter.lines().map(|line| fill(line) + "\n").collect()
}

fn is_good(catalog: &Catalog, text: &str) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let loaded = policy::load(&Source::new("starter", text), catalog, None, &mut problems);
    if loaded.is_some() { Ok(()) } else { Err(problems) }
}

#[test]
fn init_prints_a_policy_for_every_site_that_is_offered() {
    let catalog = Catalog::embedded().unwrap();
    let offered = Connection::ALL.iter().flat_map(|&connection| {
        let cnis = ClusterKind::ALL.iter().flat_map(|&kind| catalog.offered_cnis(kind, connection)).collect::<Vec<_>>();
        cnis.into_iter().map(move |cni| (connection, cni))
    });
    let offered: Vec<(Connection, &str)> = offered.collect();
    assert!(offered.len() > 7, "{offered:?}");
    for region in &catalog.regions {
        for &(connection, cni) in &offered {
            for target in ["edge-host", "idc-gateway"] {
                let site = ["--region", &region.id.value, "--connection", connection.word(), "--cni", cni];
                let starter = edgeward(["init", "--target", target].iter().chain(&site)).ends(0).out;
                assert!(is_good(&catalog, &starter).is_err(), "{site:?} {target}: good without its blanks");
                let line = |key: &str| starter.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
                assert!(line("mode:").starts_with("mode: audit "), "{starter}");
                assert!(line("from:").contains("# FILL IN") && line("servers:").contains("# FILL IN"), "{starter}");
                // Where a host's packages come from is in no document, so the row is there to fill in.
                assert!(starter.contains("# - id: package-mirror"), "{site:?} {target}");
                let filled = filled_in(&starter);
                assert_eq!(is_good(&catalog, &filled), Ok(()), "{site:?} {target}");
                // The same blanks are enough while hosts are being installed.
                let install = filled.replace("phase: steady ", "phase: install");
                assert_eq!(is_good(&catalog, &install), Ok(()), "{site:?} {target} install");
            }
        }
    }
}

#[test]
fn init_refuses_what_is_not_offered() {
    let init = |region, connection, cni, name| {
        let site = ["init", "--region", region, "--connection", connection, "--cni", cni, "--name", name];
        edgeward(site).ends(2).err
    };
    assert!(init("cn-hangzou", "public", "flannel", "a").contains("did you mean `cn-hangzhou`?"));
    assert!(init("cn-hangzhou", "public", "terway-edge", "a").contains("not offered over `public`"));
    assert!(init("cn-hangzhou", "pigeon", "flannel", "a").contains("express-connect"));
    assert!(init("cn-hangzhou", "public", "flannel", "A B").contains("not a valid policy name"));
}

/// What `check` asks for can be pasted, and `init` has it as a comment.
#[test]
fn rows_for_what_the_catalog_does_not_know_can_be_pasted() {
    let site = ["init", "--region", "cn-hangzhou", "--connection", "express-connect", "--cni", "cilium-bgp"];
    let starter = filled_in(&edgeward(site).ends(0).out);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        edgeward([Path::new("check"), &path]).ends(0).err
    };
    let asked = check(&starter);
    let rows = asked.lines().filter_map(|line| line.split("to `allow`: `").nth(1)?.strip_suffix('`'));
    let rows: Vec<&str> = rows.collect();
    assert_eq!(rows.len(), 2, "{asked}");
    let said = check(&starter.replace("allow: []", &format!("allow:\n{}", rows.join("\n"))));
    assert!(!said.contains("unlisted-need"), "{said}");
    // One row answers one note, by its id or by its port.
    for (row, left) in
        [(rows[0].replace("443", "5000"), "NTP servers"), (rows[1].replace("ntp-server", "clock"), "images")]
    {
        let said = check(&starter.replace("allow: []", &format!("allow:\n{row}")));
        assert!(said.matches("[unlisted-need]").count() == 1 && said.contains(left), "{row}: {said}");
    }
    let (head, comment) = starter.split_once("allow: []\n").unwrap();
    let rows: String = comment.lines().skip(1).map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
    let said = check(&format!("{head}allow:\n{}", rows.replace("#   ", "  ")));
    assert!(!said.contains("unlisted-need") && rows.contains("id: images"), "{said}");
}

/// Only some sites need them, so `check` does not ask for them, and `init` has them as a comment.
#[test]
fn the_rows_for_ravens_tunnel_can_be_pasted() {
    let init = |connection, target| {
        let site = ["init", "--region", "cn-hangzhou", "--connection", connection, "--cni", "flannel"];
        edgeward(site.into_iter().chain(["--target", target])).ends(0).out
    };
    for (connection, target) in [("public", "idc-gateway"), ("express-connect", "edge-host")] {
        assert!(!init(connection, target).contains("raven-siblings"), "{connection} {target}");
    }
    let starter = filled_in(&init("public", "edge-host")).replace("mode: audit ", "mode: enforce ");
    let (head, comment) = starter.split_once("allow: []\n").unwrap();
    let rows = comment.split("# - ").filter(|row| row.starts_with("id: raven-siblings"));
    let rows: String = rows.map(|row| format!("- {}", row.replace("#   ", "  "))).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let verdicts = |text: &str| {
        fs::write(&path, text).unwrap();
        let checked = edgeward([Path::new("check"), &path]).ends(0).err;
        assert!(!checked.contains("unlisted-need"), "{checked}");
        let lock = lockfiles::completed(&Source::new("policy.yaml", text), "", None);
        fs::write(path.with_extension("lock.yaml"), lock).unwrap();
        edgeward([Path::new("compile"), &path]).ends(0);
        [("10.0.0.5", "10.0.0.6", "output"), ("10.0.0.6", "10.0.0.5", "input")].map(|(from, to, hook)| {
            let packet = ["--from", from, "--to", to, "--hook", hook, "--proto", "udp", "--dport", "4472"];
            let explained =
                edgeward(["explain"].iter().map(OsStr::new).chain([path.as_os_str()]).chain(packet.map(OsStr::new)));
            explained.ends(0).out.lines().next().unwrap_or_default().to_owned()
        })
    };
    assert_eq!(verdicts(&starter).map(|line| line.contains("accept")), [false, false]);
    let permitted = verdicts(&format!("{head}allow:\n{rows}"));
    assert_eq!(permitted.map(|line| line.contains("accept")), [true, true]);
}

// ── compile ──────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn compile_writes_the_same_to_a_file_and_to_standard_output() {
    let (folder, policy) = folder_with_policy();
    let [policy, output] = [policy.as_os_str(), folder.path().join("out.nft").as_os_str()].map(OsStr::to_owned);
    let printed = edgeward([OsStr::new("compile"), &policy]).ends(0).out;
    let written = edgeward([OsStr::new("compile"), &policy, OsStr::new("-o"), &output]).ends(0);
    assert_eq!((written.out.as_str(), fs::read_to_string(&output).unwrap()), ("", printed));
}

#[test]
fn compile_prints_json_that_programs_can_read() {
    let run = edgeward(["compile", "--format", "json", CASE]).ends(0);
    let document: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert!(document["nftables"].as_array().is_some_and(|rows| rows.len() > 100), "{}", run.out);
}

#[test]
fn compile_lists_the_names_without_an_address() {
    let (folder, policy) = folder_with_policy();
    let compile = || edgeward([OsStr::new("compile"), policy.as_os_str()]);
    let lock = folder.path().join("policy.lock.yaml");
    fs::write(&lock, "version: 1\nnames: []\n").unwrap();
    let run = compile().ends(3);
    assert_eq!(run.out, "");
    for needed in ["cs-anony-vpc.cn-hangzhou.aliyuncs.com (control-plane)", "ntp1.aliyun.com (ntp)"] {
        assert!(run.err.contains(needed), "{}", run.err);
    }
    assert!(!run.err.contains("dockerauth-ee"), "an optional name: {}", run.err);
    fs::remove_file(&lock).unwrap();
    compile().ends(3);
    fs::write(&lock, "version: 1\nnames: [").unwrap();
    assert!(compile().ends(2).err.contains("policy.lock.yaml:2:"));
}

#[test]
fn compile_tells_files_from_policies() {
    edgeward(["compile", "no-such-policy.yaml"]).ends(4);
    edgeward(["compile", "--lock", "no-such.lock.yaml", CASE]).ends(4);
    edgeward(["compile", "-o", "no-such-folder/out.nft", CASE]).ends(4);
    edgeward(["compile", "-o", "fixtures", CASE]).ends(4);
    edgeward(["compile", WRONG]).ends(2);
    edgeward(["compile", "--target", "idc-gateway", WRONG]).ends(2);
    edgeward(["compile"]).ends(2);
    edgeward(["compile", "--format", "xml", CASE]).ends(2);
}

#[test]
fn compile_leaves_the_old_file_where_it_fails() {
    let (folder, policy) = folder_with_policy();
    let output = folder.path().join("out.nft");
    fs::write(&output, "old").unwrap();
    let compile =
        |policy: &Path| edgeward([OsStr::new("compile"), policy.as_os_str(), OsStr::new("-o"), output.as_os_str()]);
    compile(&root(WRONG)).ends(2);
    fs::remove_file(folder.path().join("policy.lock.yaml")).unwrap();
    compile(&policy).ends(3);
    assert_eq!(fs::read_to_string(&output).unwrap(), "old");
    let names = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names().count(), 2, "{:?}", names().collect::<Vec<_>>());
}

#[test]
fn compile_writes_through_links_and_into_devices() {
    let (folder, policy) = folder_with_policy();
    let [real, link] = ["real.nft", "link.nft"].map(|name| folder.path().join(name));
    fs::write(&real, "old").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    edgeward([OsStr::new("compile"), policy.as_os_str(), OsStr::new("-o"), link.as_os_str()]).ends(0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().starts_with("# edgeward"));
}

#[test]
fn no_id_takes_the_place_of_a_set() {
    let (_folder, policy) = folder_with_policy();
    let rows = "allow:\n- {id: idc, direction: outbound, peers: [198.51.100.0/24], ports: [tcp/443]}\n";
    fs::write(&policy, fs::read_to_string(&policy).unwrap() + rows).unwrap();
    let target = ["--target", "idc-gateway"].map(OsStr::new);
    let run = edgeward([OsStr::new("compile"), policy.as_os_str()].into_iter().chain(target));
    let packed: String = run.out.split_whitespace().collect();
    assert!(run.code == Some(2) || packed.contains("setzone_idc_v4{typeipv4_addrflagsintervalelements={10.0.0.0/8}}"));
}

// ── catalog ──────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn catalog_lists_regions_and_their_sources() {
    let list = edgeward(["catalog"]).ends(0).out;
    assert!(list.lines().any(|line| line.starts_with("cn-hangzhou ")), "{list}");
    let region = edgeward(["catalog", "cn-hangzhou"]).ends(0).out;
    assert!(region.contains("100.103.9.188") && region.contains("read 20"), "{region}");
    let document = edgeward(["catalog", "--format", "json", "cn-hangzhou"]).ends(0).out;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["regions"][0]["id"], "cn-hangzhou");
}

#[test]
fn catalog_knows_near_names() {
    assert!(edgeward(["catalog", "cn-hangzou"]).ends(2).err.contains("did you mean `cn-hangzhou`?"));
}

#[test]
fn a_catalog_of_ones_own_is_checked_like_a_policy() {
    let folder = tempfile::tempdir().unwrap();
    let with = |path: &Path| edgeward([OsStr::new("--catalog"), path.as_os_str(), OsStr::new("catalog")]);
    with(folder.path()).ends(4);
    for name in FILES {
        fs::copy(root("policies/catalog").join(name), folder.path().join(name)).unwrap();
    }
    with(folder.path()).ends(0);
    fs::write(folder.path().join("regions.yaml"), "regions:\n- {id: here, cloud: privat}\n").unwrap();
    let run = with(folder.path()).ends(2);
    assert!(run.err.contains("regions.yaml:2:21") && run.err.contains("error[unknown-value]"), "{}", run.err);
}

// ── schema, completions, man ─────────────────────────────────────────────────────────────────────────────────────

fn tree(path: &Path) -> Node {
    tree_of(&path.display().to_string(), &fs::read_to_string(path).unwrap())
}

fn tree_of(name: &str, text: &str) -> Node {
    read(&Source::new(name, text), &mut Problems::default()).unwrap()
}

/// The tree as the readers of YAML that editors use see it.
fn json_of(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Sequence(items) => items.iter().map(json_of).collect(),
        Value::Mapping(pairs) => pairs.iter().map(|(key, value)| (key.value.clone(), json_of(value))).collect(),
        Value::Scalar { text, .. } if node.is_null() || text.is_empty() => serde_json::Value::Null,
        Value::Scalar { text, plain: true } => match serde_json::from_str(text) {
            Ok(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => value,
            _ => json!(text),
        },
        Value::Scalar { text, .. } => json!(text),
    }
}

fn policies(folder: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(root(folder)).unwrap().map(|entry| entry.unwrap().path());
    let paths = paths.map(|path| if path.is_dir() { path.join("policy.yaml") } else { path });
    let is_policy = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        path.exists() && name.ends_with(".yaml") && !name.ends_with(".lock.yaml")
    };
    paths.filter(is_policy).collect()
}

#[test]
fn schema_agrees_with_the_program() {
    let schema = serde_json::from_str(&edgeward(["schema"]).ends(0).out).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let good: Vec<PathBuf> = policies("policies").into_iter().chain(policies("fixtures/cases")).collect();
    assert!(good.len() > 30);
    for path in good {
        let errors: Vec<String> = validator.iter_errors(&json_of(&tree(&path))).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
    for name in [
        "invalid-duration",
        "invalid-name",
        "invalid-number",
        "invalid-port",
        "invalid-port-2",
        "invalid-rate",
        "missing-field",
        "unknown-field",
        "unknown-field-2",
        "unknown-value",
        "unknown-value-2",
        "unquoted-version",
        "unsupported-version",
        "unsupported-version-2",
        "wrong-type",
        "wrong-type-2",
        "wrong-type-3",
    ] {
        let path = root("fixtures/invalid").join(format!("{name}.yaml"));
        assert!(!validator.is_valid(&json_of(&tree(&path))), "{name}");
    }
}

#[test]
fn completions_are_for_known_shells() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(edgeward(["completions", shell]).ends(0).out.contains("compile"), "{shell}");
    }
    edgeward(["completions", "tcl"]).ends(2);
}

#[test]
fn help_and_mistakes() {
    assert!(edgeward(["--help"]).ends(0).out.contains("Usage: edgeward"));
    assert!(edgeward(["--version"]).ends(0).out.starts_with("edgeward "));
    assert!(edgeward(["frobnicate"]).ends(2).err.contains("frobnicate"));
    assert!(edgeward::<&str>([]).ends(2).err.contains("Usage"));
}

// ── the documentation ────────────────────────────────────────────────────────────────────────────────────────────

/// The YAML blocks of a page.
fn examples(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root(page)).unwrap();
    let blocks = text.split("```yaml\n").skip(1);
    blocks.filter_map(|block| block.split_once("```")).map(|(block, _)| block.to_owned()).collect()
}

/// A policy with other fields, as an example shows them without the rest. JSON is YAML, too.
fn with_fields(policy: &str, fields: &str) -> String {
    let [mut policy, fields] = [policy, fields].map(|text| json_of(&tree_of("example", text)));
    for (key, field) in fields.as_object().unwrap() {
        match (policy[key].as_object_mut(), field.as_object()) {
            (Some(old), Some(new)) => old.extend(new.clone()),
            _ => policy[key] = field.clone(),
        }
    }
    policy.to_string()
}

#[test]
fn documented_examples_are_good() {
    let catalog = Catalog::embedded().unwrap();
    let [policies, lockfiles] = ["docs/policy.md", "docs/lockfile.md"].map(examples);
    assert!(!policies.is_empty() && !lockfiles.is_empty());
    let whole = policies[0].clone();
    for text in policies {
        let text = if text.starts_with("version:") { text } else { with_fields(&whole, &text) };
        assert_eq!(is_good(&catalog, &text), Ok(()), "{text}");
    }
    for text in lockfiles {
        let mut problems = Problems::default();
        assert!(Resolution::parse(&Source::new("lock", &text), &mut problems).is_some(), "{text}\n{problems:#?}");
    }
}

// ── unusual files, and readers that leave ───────────────────────────────────────────────────────────────────────────

/// Checks a file with a second of processor time and bounded output.
#[track_caller]
fn endure(path: &Path) -> Run {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -t 1; exec \"$0\" check \"$1\""]).arg(env!("CARGO_BIN_EXE_edgeward")).arg(path);
    let run = run_command(limited.env("NO_COLOR", "1")).ends(2);
    assert!(run.err.len() < 64 << 10, "{} bytes of messages", run.err.len());
    run
}

fn endure_text(name: &str, text: impl AsRef<[u8]>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    endure(&path);
}

/// About 10 MB.
fn repeated(unit: &str) -> String {
    unit.repeat(10_000_000 / unit.len())
}

#[test]
fn unusual_files() {
    endure(Path::new("/"));
    endure(Path::new("/dev/null"));
    endure_text("empty", "");
    endure_text("binary", (0u32..100_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<u8>>());
    endure_text("nul", "version: 1\nname: a\0b\n");
    endure_text("nul in quotes", "version: 1\nname: \"a\0b\"\n");
    endure_text("brackets", repeated("["));
    endure_text("braces", repeated("{"));
    endure_text("mixed brackets", repeated("[{a: "));
    endure_text("dashes", repeated("- "));
    endure_text("questions", repeated("? "));
    endure_text("tags", repeated("!!x "));
    endure_text("one line", repeated("x"));
    endure_text("one quote", repeated("\"x"));
    endure_text("white space", repeated(" "));
    endure_text("line ends", repeated("\n"));
    endure_text("documents", repeated("---\n"));
    endure_text("indentation", (0..3000).map(|depth| " ".repeat(depth) + "a:\n").collect::<String>());
    let bomb = ('b'..='z').fold("a: &a [x, x]\n".to_owned(), |text, name| {
        let before = char::from(name as u8 - 1);
        text + &format!("{name}: &{name} [*{before}, *{before}, *{before}, *{before}]\n")
    });
    endure_text("alias bomb", bomb);
}

#[test]
fn files_of_many_small_things() {
    endure_text("keys", (0..1_000_000).map(|n| format!("k{n}: 1\n")).collect::<String>());
    endure_text("one key", repeated("k: 1\n"));
    endure_text("rows", format!("allow:\n{}", repeated("- x\n")));
    endure_text("items", format!("allow: [{}x]\n", repeated("x,")));
    endure_text("prefixes", format!("networks: {{hosts: [{}]}}\n", repeated("10.0.0.1/8,")));
    endure_text("lines of dashes", repeated("- - - -\n"));
    endure_text("a long value", format!("version: {}\n", repeated("x")));
}

#[test]
fn readers_may_leave() {
    for arguments in [
        &["compile", CASE][..],
        &["catalog", "--format", "json"],
        &["check", CASE],
        &["schema"],
        &["man"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        run_command(program().args(arguments).stdout(Stdio::from(writer))).ends(0);
    }
    // `2>&1 | head -c1`
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let status = program().args(["check", WRONG]).stdout(writer.try_clone().unwrap()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
