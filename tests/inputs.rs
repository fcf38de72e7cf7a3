//! Inputs that are large and bad: each reader of text ends with a bounded message, and within bounded memory and work.
//!
//! The bounds are limits of the process, far above what is needed and far below what a reader needs that keeps everything.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

const CASE: &str = "fixtures/cases/10-edge-host-flannel";
/// The size of an input, in bytes.
const SIZE: usize = 10 << 20;
/// Address space in KiB, with the program itself in it.
const MAX_MEMORY: usize = 400 << 10;
/// Seconds of a processor: half a minute for what takes a second.
const MAX_WORK: usize = 30;
/// The most bytes of messages.
const MAX_SAID: usize = 100_000;

struct Site {
    folder: TempDir,
    policy: String,
}

impl Site {
    fn new() -> Self {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join(CASE);
        let folder = tempfile::tempdir().unwrap();
        for name in ["policy.yaml", "policy.lock.yaml"] {
            fs::copy(case.join(name), folder.path().join(name)).unwrap();
        }
        let policy = fs::read_to_string(case.join("policy.yaml")).unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        Self { folder, policy }
    }

    fn run(&self, line: &str) -> Output {
        let script = format!("ulimit -v {MAX_MEMORY}; ulimit -t {MAX_WORK}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_edgeward")]).args(line.split_whitespace());
        command.current_dir(self.folder.path()).env("NO_COLOR", "1").output().unwrap()
    }

    /// Runs the program on a file with a text, and compares its exit code and what it says.
    #[track_caller]
    fn ends(&self, line: &str, file: &str, text: &[u8], (code, words): (i32, &str)) {
        let path = self.folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        let output = self.run(line);
        let said = String::from_utf8_lossy(&output.stderr);
        let head: String = said.chars().take(500).collect();
        assert_eq!(output.status.code(), Some(code), "{line}: {:?}: {head}", output.status);
        assert!(said.contains(words), "{line}: `{words}` is not in {head}");
        assert!(said.len() + output.stdout.len() < MAX_SAID, "{line}: {}", said.len());
    }
}

/// A text that is repeated until it has a size.
fn repeated(text: &str) -> String {
    text.repeat(SIZE / text.len())
}

/// Different texts, one for each number, until they have a size.
fn numbered(text: impl Fn(usize) -> String) -> String {
    let mut all = String::new();
    let _ = (0..).try_for_each(|number| {
        all += &text(number);
        (all.len() < SIZE).then_some(())
    });
    all
}

#[test]
fn policies() {
    let site = Site::new();
    let hosts = |list: String| site.policy.replace("hosts: [10.0.0.0/8]", &format!("hosts: [{list}]"));
    let allow = |rows: String| format!("{}\nallow:\n{rows}", site.policy);
    for (text, says) in [
        ("version: 1\n".to_owned() + &repeated("x\n"), "yaml-syntax"),
        (site.policy.clone() + &numbered(|n| format!("zz{n}: 1\n")), "too-large"),
        (site.policy.clone() + &repeated("name: a\n"), "too-large"),
        (allow(repeated("- {id: 1}\n")), "too-large"),
        (allow("- {id: 1}\n".repeat(50_000)), "missing-field"),
        (hosts(numbered(|n| format!("10.0.0.{n}/8, "))), "too-large"),
        (hosts("192.168.1.0/24, ".repeat(200_000)), "hosts-overlap"),
        (hosts("1".repeat(SIZE)), "invalid-prefix"),
        (format!("version: 1\nname: {}\n", "a".repeat(SIZE)), "invalid-name"),
        (format!("version: {}", "[".repeat(SIZE)), "yaml-feature"),
        (format!("version: {}", repeated("{a: ")), "yaml-feature"),
        (format!("version:\n{}", repeated("- ")), "yaml-feature"),
        (repeated("x\n"), "unknown-file"),
        ("x".repeat(SIZE), "unknown-file"),
    ] {
        site.ends("check X.yaml", "X.yaml", text.as_bytes(), (2, says));
    }
}

#[test]
fn lockfiles_probes_and_catalogs() {
    let site = Site::new();
    for (text, says) in [
        (format!("version: 1\nnames:\n{}", repeated("- {name: 1}\n")), "too-large"),
        (format!("version: 1\nnames:\n{}", "- {name: a.b, addresses: []}\n".repeat(50_000)), "duplicate-id"),
        (format!("version: 1\nnames: {}", "a".repeat(SIZE)), "wrong-type"),
        (format!("version: 1\nnames: {}", "[".repeat(SIZE)), "yaml-feature"),
    ] {
        site.ends("compile policy.yaml --lock X.yaml", "X.yaml", text.as_bytes(), (2, says));
    }
    for (text, says) in [
        (format!("version: 1\nprobes:\n{}", repeated("- {from: x}\n")), "too-large"),
        (format!("version: 1\nprobes:\n{}", "- {from: x}\n".repeat(50_000)), "invalid-address"),
    ] {
        site.ends("explain policy.yaml --probes X.yaml", "X.yaml", text.as_bytes(), (2, says));
    }
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/catalog");
    fs::create_dir(site.folder.path().join("catalog")).unwrap();
    for name in ["sources.yaml", "regions.yaml", "flows.yaml", "cloud.yaml"] {
        fs::copy(built_in.join(name), site.folder.path().join("catalog").join(name)).unwrap();
    }
    for text in [repeated("- {id: 1}\n"), "- {id: 1}\n".repeat(50_000), "[".repeat(SIZE), "x".repeat(SIZE)] {
        let text = format!("regions:\n{text}");
        site.ends("check policy.yaml --catalog catalog", "catalog/regions.yaml", text.as_bytes(), (2, "error["));
    }
}

/// A gzip file that unpacks to a text, again and again: a file may have any number of members (RFC 1952, section 2.2).
fn packed(text: &str, times: usize) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap().repeat(times)
}

#[test]
fn lists() {
    let site = Site::new();
    let mistakes = "and 1000 more or above; the rest of the file was not read";
    let mib = |line: &str| line.repeat((1 << 20) / line.len());
    for (bytes, result) in [
        (repeated("x\n").into_bytes(), (2, mistakes)),
        (numbered(|n| format!("10.0.0.{}/8\n", n + 1)).into_bytes(), (2, mistakes)),
        (vec![b'1'; SIZE], (2, "longer than any entry")),
        (vec![0; SIZE], (2, "longer than any entry")),
        (format!("#{}", "1".repeat(SIZE)).into_bytes(), (0, "")),
        (packed(&mib("x\n"), 1000), (2, mistakes)),
        (packed(&mib("10.0.0.1\n"), 250), (0, "")),
        (packed(&mib("2001:db8::1\n"), 100), (0, "")),
        (packed(&mib("\n"), 50), (0, "")),
        (packed(&mib("1"), 600), (4, "it has more than 512 MiB of text")),
    ] {
        site.ends("aggregate X", "X", &bytes, result);
    }
    let policy = format!("{}\nallow:\n- {{id: a, direction: inbound, peers-file: X, ports: [tcp/1]}}\n", site.policy);
    fs::write(site.folder.path().join("lists.yaml"), policy).unwrap();
    for bytes in [repeated("x\n").into_bytes(), packed(&mib("x\n"), 1000), packed(&mib("1"), 600)] {
        site.ends("check lists.yaml", "X", &bytes, (2, "peers-file"));
    }
}

#[test]
fn rulesets() {
    let site = Site::new();
    let set = |elements: String| {
        format!("table inet edgeward {{\nset a {{\ntype ipv4_addr\nelements = {{ {elements} }}\n}}\n}}\n")
    };
    let chain = |rules: String| format!("table inet edgeward {{\nchain a {{\n{rules}\n}}\n}}\n");
    for text in [
        format!("table inet edgeward {{\n{}", repeated("x\n")),
        format!("table inet edgeward {{\n{}", "x".repeat(SIZE)),
        format!("table inet edgeward {{\n\"{}", "x".repeat(SIZE)),
        format!("table inet edgeward {}", "{".repeat(SIZE)),
        set(numbered(|n| format!("10.0.0.{n}, "))),
        chain(format!("ip saddr {{ {} }} accept", repeated("10.0.0.0/8, "))),
        chain(format!("tcp flags {}", repeated("syn|"))),
        format!("{{\"nftables\": {}", "[".repeat(SIZE)),
        format!("{{\"nftables\": {}", repeated("{\"a\":")),
        format!("{{\"nftables\": [\"{}\"]}}", repeated("\\u0041")),
        format!("{{\"nftables\": [{}]}}", "1".repeat(SIZE)),
        format!("{{\"nftables\": [{}{{}}]}}", repeated("{\"x\": {}}, ")),
    ] {
        site.ends("diff policy.yaml --against X", "X", text.as_bytes(), (2, "error["));
    }
    site.ends("diff policy.yaml --against X", "X", set(repeated("10.0.0.1, ")).as_bytes(), (1, ""));
    site.ends(
        "diff policy.yaml --against X",
        "X",
        chain(repeated("accept\n")).as_bytes(),
        (2, "more than 400000 rules"),
    );
}

/// A text is refused for more values than one in 16 bytes, if there are millions: that must not hit our own.
#[test]
fn json_that_edgeward_writes_has_few_values() {
    fn values(node: &Value) -> usize {
        1 + match node {
            Value::Array(items) => items.iter().map(values).sum::<usize>(),
            Value::Object(fields) => fields.values().map(values).sum(),
            _ => 0,
        }
    }
    let mut long = String::from("table inet edgeward {\n");
    for (name, kind, list) in
        [("a", "ipv4_addr", "1.0.0.0/8, 3.3.3.0/24"), ("b", "ipv6_addr", "100::/8, 2000::-2000::1")]
    {
        long += &format!("set {name}_v4 {{\ntype {kind}\nflags interval\nelements = {{ {list} }}\n}}\n");
    }
    long += "set c_v4 {\ntype ipv4_addr\nelements = { 1.1.1.1, 1.1.1.2, 1.1.1.3 }\n}\n}\n";
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cases");
    let cases = fs::read_dir(cases)
        .unwrap()
        .filter_map(|case| fs::read_to_string(case.unwrap().path().join("ruleset.nft")).ok());
    let mut count = 0;
    for text in cases.chain([long]) {
        let ruleset = edgeward::readback::read(&edgeward::source::Source::new("a ruleset", text)).unwrap();
        let json = edgeward::emit::json(&ruleset).unwrap();
        let values = values(&serde_json::from_str(&json).unwrap());
        assert!(json.len() > 16 * values, "{} bytes for {values} values", json.len());
        count += 1;
    }
    assert!(count > 3, "{count}");
}

#[test]
fn records() {
    let site = Site::new();
    // What is damaged is taken from the events and the generations.
    for text in [repeated("x\n"), "[".repeat(SIZE), repeated("{\"a\":"), format!("\"{}\"", "a".repeat(SIZE))] {
        site.ends("history --state-dir state", "state/state.json", text.as_bytes(), (0, "damaged"));
    }
    fs::remove_file(site.folder.path().join("state/state.json")).unwrap();
    // Damaged lines are skipped.
    for text in [repeated("x\n"), repeated("\n"), "x".repeat(SIZE), repeated(&("[".repeat(1000) + "\n"))] {
        site.ends("history --state-dir state", "state/events.jsonl", text.as_bytes(), (0, ""));
    }
}
