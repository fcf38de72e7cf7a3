//! Every small change to an emitted ruleset is noticed: by the proof, and by `diff`, with a packet that shows it.
//!
//! A change without an effect on any packet is reported as a difference of text only.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use edgeward::emit;
use edgeward::intent::{Intent, Resolved};
use edgeward::lower::lower;
use edgeward::net::{Hook, Packet};
use edgeward::proof::prove;
use edgeward::readback;
use edgeward::ruleset::differences;
use edgeward::source::Source;
use support::compile::resolved;
use support::random::{CutPoints, Dice};

/// Cases of every shape: a host, a gateway of each kind, an audit.
const CASES: [&str; 7] = [
    "10-edge-host-flannel",
    "20-public-steady",
    "42-gateway-everything",
    "43-gateway-stateless",
    "45-gateway-terway-edge",
    "50-audit",
    "54-overlapping-ports",
];

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cases").join(case)
}

fn source(path: &Path) -> Option<Source> {
    Some(Source::new(path.display().to_string(), &fs::read_to_string(path).ok()?))
}

fn intent(case: &str) -> Intent<Resolved> {
    let folder = folder(case);
    let lock = source(&folder.join("policy.lock.yaml"));
    resolved(&source(&folder.join("policy.yaml")).unwrap(), lock.as_ref(), None).unwrap()
}

/// One change to a text, and what it was.
struct Mutant {
    what: String,
    text: String,
}

/// Replacements of verdicts.
const VERDICTS: [(&str, &str); 6] = [
    (" accept", " drop"),
    (" drop", " accept"),
    (" reject with icmpx type admin-prohibited", " drop"),
    (" notrack", " accept"),
    ("jump", "goto"),
    ("goto", "jump"),
];

/// Replacements of parts of matches.
const MATCHES: [(&str, &str); 9] = [
    ("iif", "oif"),
    ("oif", "iif"),
    ("saddr", "daddr"),
    ("daddr", "saddr"),
    ("sport", "dport"),
    ("established,related", "established"),
    ("ct state invalid", "ct state new"),
    ("_v4", "_names_v4"),
    ("tcp flags rst,ack ", ""),
];

/// Every change of one prefix length, port, verdict or policy, every rule and every element left out, and every two
/// neighbouring rules exchanged.
fn mutants(text: &str) -> Vec<Mutant> {
    let lines: Vec<&str> = text.lines().collect();
    let mut mutants = Vec::new();
    let mut push = |number: usize, what: &str, new: Vec<String>| {
        let count = if what == "exchanged" { 2 } else { 1 };
        let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        changed.splice(number..number + count, new);
        mutants.push(Mutant { what: format!("line {}, {what}", number + 1), text: changed.join("\n") + "\n" });
    };
    for (number, line) in lines.iter().enumerate() {
        let is_rule = |line: &str| {
            line.starts_with("\t\t") && !line.starts_with("\t\t\t") && line.contains(['"', '{'])
                || line.ends_with(" drop")
                || line.ends_with(" accept")
        };
        if line.starts_with("\t\t\t") {
            let elements: Vec<&str> = line.trim().trim_end_matches(',').split(", ").collect();
            let comma = if line.ends_with(',') { "," } else { "" };
            let write = |elements: Vec<String>| vec![format!("\t\t\t{}{comma}", elements.join(", "))];
            for (index, element) in elements.iter().enumerate() {
                let mut without: Vec<String> = elements.iter().map(|it| (*it).to_owned()).collect();
                without.remove(index);
                if !without.is_empty() {
                    push(number, "an element left out", write(without));
                }
                if let Some((address, length)) = element.split_once('/') {
                    let mut longer: Vec<String> = elements.iter().map(|it| (*it).to_owned()).collect();
                    longer[index] = format!("{address}/{}", length.parse::<u8>().unwrap() + 1);
                    push(number, "a longer prefix", write(longer));
                }
            }
        } else if line.contains("policy drop") {
            push(number, "another policy", vec![line.replace("policy drop", "policy accept")]);
        } else if line.contains("policy accept") {
            push(number, "another policy", vec![line.replace("policy accept", "policy drop")]);
        } else if is_rule(line) && !line.contains("elements =") {
            push(number, "left out", Vec::new());
            for (old, new) in VERDICTS.iter().filter(|(old, _)| line.contains(old) && !line.contains("vmap")) {
                push(number, "another verdict", vec![line.replace(old, new)]);
            }
            for (old, new) in MATCHES.iter().filter(|(old, _)| line.contains(old)) {
                push(number, "another match", vec![line.replacen(old, new, 1)]);
            }
            for (at, _) in line.match_indices(|c: char| c.is_ascii_digit()) {
                let digits: String = line[at..].chars().take_while(char::is_ascii_digit).collect();
                let before = line[..at].chars().next_back();
                let is_number = before.is_some_and(|c| c == ' ' || c == '-');
                // Not a part of a name, nor of a rate.
                let next = line[at + digits.len()..].chars().next();
                if is_number && matches!(next, Some(' ' | ',' | '-')) && !line[..at].ends_with("_tcp_") {
                    let next = digits.parse::<u32>().unwrap() + 1;
                    let new = format!("{}{next}{}", &line[..at], &line[at + digits.len()..]);
                    push(number, "another number", vec![new]);
                }
            }
            if let Some(next) = lines.get(number + 1).filter(|next| is_rule(next) && !next.starts_with("\t\t\t")) {
                push(number, "exchanged", vec![(*next).to_owned(), (*line).to_owned()]);
            }
        }
    }
    mutants
}

#[derive(Debug, Default)]
struct Tally {
    unreadable: usize,
    disproved: usize,
    shown: usize,
    without_effect: Vec<String>,
}

fn check(case: &str, tally: &mut Tally) {
    let intent = intent(case);
    let original = lower(&intent);
    let text = emit::nft(&original);
    prove(&intent, &readback::read(&Source::new("original", &text)).unwrap()).unwrap();
    for Mutant { what, text } in mutants(&text) {
        let Ok(mutant) = readback::read(&Source::new("mutant", &text)) else {
            tally.unreadable += 1;
            continue;
        };
        let found = differences(&[&original, &mutant]);
        for difference in &found {
            let packet = difference.example;
            let [old, new] = [&original, &mutant].map(|ruleset| ruleset.evaluate(&packet));
            assert_ne!((old.verdict, old.tracked), (new.verdict, new.tracked), "{case}, {what}: {packet}");
        }
        match prove(&intent, &mutant) {
            Err(wrong) => {
                tally.disproved += 1;
                tally.shown += usize::from(!found.is_empty());
                assert_ne!(wrong.meant, wrong.found, "{case}, {what}: {wrong}");
                assert_eq!(wrong.meant, intent.disposition(&wrong.packet), "{case}, {what}: {wrong}");
                assert_eq!(wrong.found, mutant.evaluate(&wrong.packet), "{case}, {what}: {wrong}");
                // The proof also compares the flows that permit a packet; `diff` does not.
                if found.is_empty() {
                    assert_eq!(wrong.meant.verdict, wrong.found.verdict, "{case}, {what}: {wrong}");
                }
            }
            Ok(()) => {
                assert_eq!(found, [], "{case}, {what}");
                let points = [CutPoints::of(&original), CutPoints::of(&mutant)];
                let mut dice = Dice::new(1);
                for _ in 0..1_000 {
                    let packet = points[dice.below(2)].packet(&mut dice);
                    let hook = if dice.flip() { *dice.pick(&Hook::ALL) } else { packet.hook };
                    let packet = Packet { hook, ..packet };
                    assert_eq!(original.evaluate(&packet), mutant.evaluate(&packet), "{case}, {what}: {packet}");
                }
                tally.without_effect.push(format!("{case}, {what}"));
            }
        }
    }
}

#[test]
fn every_change_is_refuted_or_has_no_effect_on_packets() {
    let mut tally = Tally::default();
    for case in CASES {
        check(case, &mut tally);
    }
    assert!(tally.disproved > 500 && tally.shown > 400, "{tally:?}");
    // A policy after a final verdict, disjoint rules that change places, logs, sets without elements, and elements that
    // an earlier flow has, too.
    assert!(tally.without_effect.iter().any(|what| what.ends_with("another policy")), "{tally:?}");
    assert!(tally.without_effect.len() < tally.disproved / 2, "{tally:?}");
    assert!(tally.unreadable < tally.disproved / 4, "{tally:?}");
}

/// Runs `diff` on a case's policy against a text.
fn diff(case: &str, text: &str, format: &str) -> (i32, String) {
    let folder = folder(case);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("other.nft");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    command.args(["diff", "--format", format]).arg(folder.join("policy.yaml")).arg("--against").arg(file);
    let output = command.env("NO_COLOR", "1").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap() + &err)
}

#[test]
fn the_command_distinguishes_packets_and_text() {
    let case = "10-edge-host-flannel";
    let text = emit::nft(&lower(&intent(case)));
    let (code, said) = diff(case, &text, "text");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("no difference"), "{said}");

    // The chain's policy is never reached: the last rule has a verdict.
    let mutant = text.replace("policy drop", "policy accept");
    let (code, said) = diff(case, &mutant, "text");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("only the text differs"), "{said}");
    let (code, said) = diff(case, &mutant, "nft");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("-\t\ttype filter hook input priority 0; policy accept;\n"), "{said}");

    let mutant = text.replace("172.20.0.0/16", "172.20.0.0/15");
    let (code, said) = diff(case, &mutant, "json");
    assert_eq!(code, 1, "{said}");
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    let row = &document["differences"][0];
    assert_eq!((&row["effect"], &row["cause"], &row["flow"]), (&"denied".into(), &"tampering".into(), &"pods".into()));
    assert_eq!(row["packets"][0]["from"], serde_json::json!(["172.21.0.0/16"]));

    let mutant = text.replace("\"denied_input\" drop", "\"denied_input\" accept");
    let (code, said) = diff(case, &mutant, "text");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("newly denied (the ruleset was edited"), "{said}");
}
