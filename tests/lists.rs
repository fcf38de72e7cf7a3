//! Lists of prefixes: `aggregate`, compared with two other implementations, and `peers-file`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)]

#[macro_use]
mod support;

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use edgeward::net::PrefixSet;
use ipnet::Ipv4Net;
use iprange::IpRange;
use support::random::Dice;

const POLICY: &str = registered_policy!(
    "registered-site",
    "allow:
- {id: sites, direction: inbound, peers-file: lists/sites.txt, ports: [tcp/443]}
"
);

fn edgeward(arguments: &[&str], input: &str, folder: &Path) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_edgeward"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[track_caller]
fn aggregate(arguments: &[&str], input: &str, folder: &Path) -> String {
    let output = edgeward(&[&["aggregate"], arguments].concat(), input, folder);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Prefixes in a small part of the address space, so that many are adjacent or overlap.
fn random(dice: &mut Dice, count: usize) -> Vec<Ipv4Net> {
    let prefix = |dice: &mut Dice| {
        let length = 8 + dice.below(25) as u8;
        let address = Ipv4Addr::from_bits(0x0a00_0000 | dice.below(1 << 22) as u32);
        Ipv4Net::new(address, length).unwrap().trunc()
    };
    (0..count).map(|_| prefix(dice)).collect()
}

fn text(prefixes: &[Ipv4Net]) -> String {
    prefixes.iter().map(|prefix| format!("{prefix}\n")).collect()
}

fn oracle(prefixes: &[Ipv4Net]) -> IpRange<Ipv4Net> {
    let mut range: IpRange<Ipv4Net> = prefixes.iter().copied().collect();
    range.simplify();
    range
}

fn same(printed: &str, oracle: &IpRange<Ipv4Net>) {
    let mut expected: Vec<Ipv4Net> = oracle.iter().collect();
    expected.sort();
    let expected: String = expected
        .iter()
        .map(|net| if net.prefix_len() == 32 { format!("{}\n", net.addr()) } else { format!("{net}\n") })
        .collect();
    assert_eq!(printed, expected);
}

#[test]
fn aggregation_is_exact() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let (one, other) = (random(&mut dice, 1 + seed as usize * 20), random(&mut dice, seed as usize * 5));
        fs::write(folder.path().join("other"), text(&other)).unwrap();
        same(&aggregate(&[], &text(&one), folder.path()), &oracle(&one));
        let union = aggregate(&["-", "other"], &text(&one), folder.path());
        same(&union, &oracle(&[&one[..], &other].concat()));
        let except = aggregate(&["--except", "other"], &text(&one), folder.path());
        same(&except, &oracle(&one).exclude(&oracle(&other)));
        // Once more changes nothing.
        assert_eq!(aggregate(&[], &union, folder.path()), union);
    }
}

/// FireHOL's program, if it is installed; `make test` installs it.
#[test]
fn another_program_comes_to_the_same() {
    // It exits with 1 after printing its version.
    if Command::new("iprange").arg("--version").output().is_err() {
        assert!(std::env::var_os("REQUIRE_IPRANGE").is_none(), "the program iprange is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for seed in 100..110 {
        let mut dice = Dice::new(seed);
        let (one, other) = (random(&mut dice, 5_000), random(&mut dice, 200));
        fs::write(folder.path().join("one"), text(&one)).unwrap();
        fs::write(folder.path().join("other"), text(&other)).unwrap();
        let theirs = |arguments: &[&str]| {
            let output = Command::new("iprange").args(arguments).current_dir(folder.path()).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(aggregate(&["one"], "", folder.path()), theirs(&["one"]));
        assert_eq!(aggregate(&["one", "--except", "other"], "", folder.path()), theirs(&["one", "--except", "other"]));
    }
}

#[test]
fn families_are_separated_and_errors_have_lines() {
    let folder = tempfile::tempdir().unwrap();
    let both = "2001:db8::/33\n10.0.0.1\n2001:db8:8000::/33\n10.0.0.0\n";
    assert_eq!(aggregate(&[], both, folder.path()), "10.0.0.0/31\n2001:db8::/32\n");
    assert_eq!(aggregate(&["--v4"], both, folder.path()), "10.0.0.0/31\n");
    assert_eq!(aggregate(&["--v6"], both, folder.path()), "2001:db8::/32\n");
    assert_eq!(aggregate(&[], "", folder.path()), "");
    let wrong = edgeward(&["aggregate"], "10.0.0.0/8\n\nmirror\n10.0.0.1/8\n", folder.path());
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0), "{said}");
    assert!(said.contains("-:3: `mirror`") && said.contains("-:4: `10.0.0.1/8` has host bits set"), "{said}");
    assert_eq!(edgeward(&["aggregate", "none"], "", folder.path()).status.code(), Some(4));
    assert_eq!(edgeward(&["aggregate", "-", "-"], "", folder.path()).status.code(), Some(2));
}

#[test]
fn a_file_of_peers_is_part_of_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("site.yaml");
    fs::write(&policy, POLICY).unwrap();
    fs::create_dir(folder.path().join("lists")).unwrap();
    let list = folder.path().join("lists/sites.txt");
    let compile = |folder: &Path| edgeward(&["compile", policy.to_str().unwrap()], "", folder);
    let elsewhere = tempfile::tempdir().unwrap();
    let missing = compile(elsewhere.path());
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("error[peers-file]"), "{missing:?}");
    fs::write(&list, "203.0.113.0/25\n203.0.113.128-203.0.113.255 # the other half\n2001:db8::1\n").unwrap();
    let compiled = compile(elsewhere.path());
    let text = String::from_utf8_lossy(&compiled.stdout).into_owned();
    assert!(compiled.status.success(), "{compiled:?}");
    assert!(text.contains("203.0.113.0/24\n") && text.contains("2001:db8::1\n"), "{text}");
    // A file that may never end is refused.
    let pipe = folder.path().join("lists/pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    fs::write(folder.path().join("pipe.yaml"), POLICY.replace("sites.txt", "pipe")).unwrap();
    let refused = edgeward(&["compile", "pipe.yaml"], "", folder.path());
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("not a regular file"), "{refused:?}");
    // The same as if it were in the policy.
    let written = POLICY.replace("peers-file: lists/sites.txt", "peers: [203.0.113.0/24, \"2001:db8::1\"]");
    fs::write(folder.path().join("written.yaml"), written).unwrap();
    let same = edgeward(&["compile", "written.yaml"], "", folder.path());
    assert_eq!(String::from_utf8_lossy(&same.stdout), text);
    let parsed: PrefixSet = "203.0.113.0/24, 2001:db8::1".parse().unwrap();
    assert_eq!(parsed.prefixes().count(), 2);
    let explained =
        ["explain", "site.yaml", "--from", "203.0.113.200", "--to", "10.0.0.20", "--proto", "tcp", "--dport", "443"];
    let explained = edgeward(&explained, "", folder.path());
    let said = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(said.starts_with("accept") && said.contains("site.yaml:12:"), "{said}");
}

/// Lists as others publish them are read where that is asked for, and refused with the way to do it elsewhere.
#[test]
fn published_lists_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, meant) in [
        (
            "semicolon",
            "; made for this test\n198.51.100.0/25 ; list entry 1\n203.0.113.0/28 ; 2\n",
            "198.51.100.0/25\n203.0.113.0/28\n",
        ),
        ("slashes", "// comment\n10.0.0.0/8\n", "10.0.0.0/8\n"),
        ("netmask", "10.0.0.0/255.255.0.0\n", "10.0.0.0/16\n"),
        ("wildcard", "10.0.0.0/0.0.0.255\n", "10.0.0.0/24\n"),
        ("access-list", "10.0.0.0 0.0.255.255\n", "10.0.0.0/16\n"),
        ("columns", "198.51.100.0\t198.51.100.255\t24\t7\n", "198.51.100.0/24\n"),
        ("json", "{\"prefixes\":[{\"ip_prefix\":\"198.51.100.0/24\",\"service\":\"X\"}]}", "198.51.100.0/24\n"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(aggregate(&["--input-format", "published", name], "", folder.path()), meant, "{name}");
        let strict = edgeward(&["aggregate", name], "", folder.path());
        let said = String::from_utf8(strict.stderr).unwrap();
        assert_eq!((strict.status.code(), strict.stdout.len()), (Some(2), 0), "{name}: {said}");
        assert!(said.contains(&format!("{name}:1: ")) && said.contains("--input-format published"), "{name}: {said}");
    }
    // A mistake is one in any format, and so is a list without an entry.
    for text in ["10.0.0.1/8 ; x\n", "10.0.0.1 0.0.0.255\n", "", "; nothing today\n", "{\"prefixes\": []}", "[]"] {
        let wrong = edgeward(&["aggregate", "--input-format", "published", "-"], text, folder.path());
        assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0), "{text}: {wrong:?}");
    }
    // A file is written whole, or not at all.
    let written = || fs::read_to_string(folder.path().join("out.txt")).unwrap();
    let to_file = ["--input-format", "published", "semicolon", "-o", "out.txt"];
    assert_eq!(aggregate(&to_file, "", folder.path()), "");
    assert_eq!(written(), "198.51.100.0/25\n203.0.113.0/28\n");
    fs::write(folder.path().join("empty"), "; nothing\n").unwrap();
    let refused = edgeward(&["aggregate", "--input-format", "published", "empty", "-o", "out.txt"], "", folder.path());
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let refused = edgeward(&["aggregate", "-", "-o", "out.txt"], "# nothing\n", folder.path());
    assert!(refused.status.code() == Some(2) && !refused.stderr.is_empty(), "{refused:?}");
    assert_eq!(written(), "198.51.100.0/25\n203.0.113.0/28\n");
    assert!(aggregate(&["semicolon", "--input-format", "published", "-o", "-"], "", folder.path()).starts_with("198."));
    aggregate(&["json", "--input-format", "published", "--format", "json", "--output", "out.txt"], "", folder.path());
    assert!(written().contains("\"count\": 1"), "{}", written());
    // Such a list of a policy is refused with the command that makes one.
    fs::create_dir(folder.path().join("lists")).unwrap();
    fs::write(folder.path().join("site.yaml"), POLICY).unwrap();
    fs::copy(folder.path().join("semicolon"), folder.path().join("lists/sites.txt")).unwrap();
    let refused = edgeward(&["check", "site.yaml"], "", folder.path());
    let said = String::from_utf8(refused.stderr).unwrap();
    let command = "`edgeward aggregate --input-format published lists/sites.txt --output LIST`";
    assert!(refused.status.code() == Some(2) && said.contains(command), "{said}");
}
