//! What the fuzzer does, without it: files of the repository with random changes, for each target of `fuzz/targets.rs`.
//!
//! `EDGEWARD_MUTANTS` sets the number of inputs of each target.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

use edgeward::host::generations::{Event, MadeBy, Manifest, Pending, Record, State, Store, Switching};
use jiff::Timestamp;
use support::random::Dice;

/// How many inputs each target gets.
fn count() -> usize {
    std::env::var("EDGEWARD_MUTANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// The files of a folder and its subfolders with an ending, in order.
fn files(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    fn add(folder: &Path, paths: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { add(&path, paths) } else { paths.push(path) }
        }
    }
    let mut paths = Vec::new();
    add(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut paths);
    paths.sort();
    let found = paths.iter().filter(|path| path.to_string_lossy().ends_with(ending));
    found.map(|path| fs::read(path).unwrap()).collect()
}

/// Attributes of a netlink message: type and value.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A message about tables, with its attributes (`nlmsghdr`, `nfgenmsg`).
fn message(kind: u16, number: u32, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(20 + attributes.len()).unwrap();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([kind.to_ne_bytes(), 2u16.to_ne_bytes()].concat());
    bytes.extend([number.to_ne_bytes(), 0u32.to_ne_bytes()].concat());
    bytes.extend([1, 0, 0, 7]);
    bytes.extend(attributes);
    bytes
}

/// An answer of the kernel with elements of both families, the ends of intervals, and a counter.
fn answer() -> Vec<u8> {
    let element = |address: &[u8], flags: u32| {
        let key = attribute(1 | 0x8000, &attribute(1, address));
        let element = [key, attribute(3, &flags.to_be_bytes())].concat();
        attribute(1 | 0x8000, &element)
    };
    let v6 = |last: u8| [&[0x20, 1, 0xd, 0xb8], &[0; 11][..], &[last]].concat();
    let elements = [
        element(&[10, 0, 0, 0], 0),
        element(&[10, 0, 1, 0], 1),
        element(&[192, 0, 2, 1], 0),
        element(&v6(1), 0),
        element(&v6(5), 1),
    ]
    .concat();
    let set = [attribute(1, b"edgeward\0"), attribute(2, b"a_v4\0"), attribute(3 | 0x8000, &elements)].concat();
    let data = [attribute(1, &7u64.to_be_bytes()), attribute(2, &9u64.to_be_bytes())].concat();
    let counter = [attribute(1, b"edgeward\0"), attribute(2, b"flow_a\0"), attribute(4 | 0x8000, &data)].concat();
    [message(10 << 8 | 12, 0, &set), message(10 << 8 | 18, 0, &counter), message(3, 0, &[])].concat()
}

/// Messages that describe a table with a verdict map, a named set and a base chain with one rule.
fn table() -> Vec<u8> {
    let text = |kind, value: &str| attribute(kind, format!("{value}\0").as_bytes());
    let number = |kind, value: u32| attribute(kind, &value.to_be_bytes());
    let inner = |kind: u16, parts: &[Vec<u8>]| attribute(kind | 0x8000, &parts.concat());
    let value = |kind, bytes: &[u8]| inner(kind, &[attribute(1, bytes)]);
    let expression = |name, data: &[Vec<u8>]| inner(1, &[text(1, name), inner(2, data)]);
    let own = || text(1, "edgeward");
    let jump = inner(2, &[inner(2, &[number(1, 0xffff_fffd), text(2, "a")])]);
    let elements = inner(3, &[inner(1, &[value(1, &[0, 53]), jump]), inner(1, &[value(1, &[0, 54]), number(3, 1)])]);
    let rule = [
        expression("meta", &[number(2, 16), number(1, 1)]),
        expression("cmp", &[number(1, 1), number(2, 0), value(3, &[6])]),
        expression("payload", &[number(1, 1), number(2, 2), number(3, 2), number(4, 2)]),
        expression("lookup", &[text(1, "__map0"), number(2, 1), number(3, 0)]),
    ];
    let hook = inner(4, &[number(1, 1), number(2, 0)]);
    let chain = [own(), text(3, "input"), hook, number(5, 1), text(7, "filter"), number(10, 1)];
    let map = [own(), text(2, "__map0"), number(3, 0xf), number(4, 13), number(5, 2), number(6, 0xffff_ff00)];
    let set = [own(), text(2, "a_v4"), number(3, 4), number(4, 7), number(5, 4)];
    let rule = [own(), text(2, "input"), inner(4, &rule), attribute(7, b"\x00\x02a\x00")];
    let parts: [(u16, &[Vec<u8>]); 8] = [
        (0, &[own(), number(2, 0)]),
        (3, &[own(), text(3, "a")]),
        (3, &chain),
        (9, &map),
        (9, &set),
        (12, &[own(), text(2, "__map0"), elements]),
        (6, &rule),
        (18, &[own(), text(2, "flow_a"), number(3, 1)]),
    ];
    parts.into_iter().flat_map(|(kind, parts)| message(10 << 8 | kind, 0, &parts.concat())).collect()
}

#[test]
fn the_sample_of_a_table_is_one() {
    let ruleset = edgeward::host::netlink::read_table(&table()).unwrap();
    assert_eq!((ruleset.chains.len(), ruleset.sets.len(), ruleset.rules().count()), (2, 1, 1));
}

/// Valid inputs of a target.
fn samples(target: &str) -> Vec<Vec<u8>> {
    let (fixtures, policies) = (Path::new("fixtures"), Path::new("policies"));
    match target {
        "policy" => [files(fixtures, "policy.yaml"), files(policies, ".yaml")].concat(),
        "lockfile" => files(fixtures, ".lock.yaml"),
        "probes" => files(fixtures, "probes.yaml"),
        "catalog" => {
            let files = targets::CATALOG_FILES.iter().zip(0..);
            files.map(|((_, text), file)| [&[file], text.as_bytes()].concat()).collect()
        }
        "ruleset" => {
            let texts = files(fixtures, ".nft");
            let read = |text: &Vec<u8>| {
                let source = edgeward::source::Source::new("a", String::from_utf8_lossy(text));
                Some(edgeward::emit::json(&edgeward::readback::read(&source).ok()?).unwrap().into_bytes())
            };
            let json: Vec<Vec<u8>> = texts.iter().filter_map(read).collect();
            [texts, json].concat()
        }
        "messages" => vec![answer(), table()],
        "list" => vec![
            b"# a list\n10.0.0.0/8\n192.0.2.1 - 192.0.2.9 # a range\r\n2001:db8::/32\n255.255.255.255\n".to_vec(),
            b"\xef\xbb\xbf0.0.0.0/0\n::/0\n::1-::ffff:ffff\n".to_vec(),
        ],
        "state" => state_files(),
        "routes" => vec![
            br#"[{"dst":"default","gateway":"10.0.0.1","dev":"eth0","flags":[]},{"type":"blackhole","dst":"10.0.0.0/8","metric":5},
                {"dst":"fd00::/8","nexthops":[{"via":{"family":"inet6","host":"fe80::1"},"dev":"eth0","flags":["dead"]}]}]"#
                .to_vec(),
            br#"{"10.0.0.0/8":[{"selected":true,"nexthops":[{"ip":"10.0.0.1","active":true},{"blackhole":true}]}]}"#
                .to_vec(),
            br#"{"RouteEntrys":{"RouteEntry":[{"DestinationCidrBlock":"10.0.0.0/8","Status":"Available",
                "NextHops":{"NextHop":[{"NextHopId":"vpc-1","NextHopType":"Ecr"}]}}]},"NextToken":""}"#
                .to_vec(),
        ],
        "group" => vec![
            br#"{"SecurityGroupId":"sg-1","NextToken":"","Permissions":{"Permission":[
                {"Direction":"ingress","IpProtocol":"TCP","PortRange":"6443/6443","SourceCidrIp":"10.0.0.0/8","DestCidrIp":"",
                 "Policy":"Accept","Priority":"1","NicType":"intranet"},
                {"Direction":"egress","IpProtocol":"ICMPv6","PortRange":"-1/-1","Ipv6DestCidrIp":"2001:db8::/32","Priority":100},
                {"Direction":"ingress","IpProtocol":"ALL","SourceGroupId":"sg-2","Policy":"Drop"}]}}"#
                .to_vec(),
        ],
        other => panic!("no samples for `{other}`"),
    }
}

/// Files of a state folder, each after the byte that chooses it.
fn state_files() -> Vec<Vec<u8>> {
    let record = Record {
        made_by: MadeBy::Apply,
        rules: "0".repeat(64),
        inputs: Some("1".repeat(64)),
        applied: Some(1),
        before: None,
        catalog: Some("2".repeat(16)),
        lists: ["3".repeat(64)].into(),
        confirmed: Some(Timestamp::UNIX_EPOCH),
        rolled_back: None,
        event: Some(3),
    };
    let pending = Pending {
        armed: 2,
        generation: 2,
        back_to: Some(1),
        deadline: Timestamp::UNIX_EPOCH,
        deadline_since_boot: 7,
        boot: Some("00000000-0000-4000-8000-000000000000".to_owned()),
    };
    let event = Event { number: 3, generation: Some(2), from: Some(1), to: Some(2), ..Event::default() };
    let switching = Switching { from: Some(2), to: None, pending: Some(pending.clone()), event: None };
    let state = State {
        last: 2,
        armed: 2,
        current: Some(2),
        confirmed: Some(1),
        pending: Some(pending),
        switching: Some(switching),
        generations: [(1, record.clone()), (2, record)].into(),
        last_event: 3,
        events: vec![event.clone()],
        ..State::default()
    };
    let manifest = Manifest {
        version: Default::default(),
        generation: 1,
        made: Timestamp::UNIX_EPOCH,
        by: "root".to_owned(),
        made_by: MadeBy::Apply,
        message: Some("a message".to_owned()),
        program: "0.1.0".to_owned(),
        policy: None,
        sha256: [("ruleset.nft".to_owned(), "4".repeat(64))].into(),
    };
    let json = [
        serde_json::to_string_pretty(&state).unwrap(),
        serde_json::to_string(&event).unwrap() + "\n",
        serde_json::to_string_pretty(&manifest).unwrap(),
    ];
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state.json"), &json[0]).unwrap();
    fs::write(folder.path().join("events.jsonl"), &json[1]).unwrap();
    let store = Store::look(folder.path());
    assert_eq!(store.state().unwrap(), state);
    assert_eq!(store.events().last().unwrap(), 3);
    let ruleset =
        "table inet edgeward {\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t}\n}\n";
    let texts = json.into_iter().chain([ruleset.to_owned()]);
    texts.zip(0..).map(|(text, file)| [&[file], text.as_bytes()].concat()).collect()
}

/// An input with some of its bytes, words or lines changed.
fn mutated(input: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len().max(1)).min(bytes.len());
        match dice.below(6) {
            0 if at < bytes.len() => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            2 => bytes.truncate(at),
            3 => {
                let end = (at + 1 + dice.below(16)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
            4 => {
                let end = (at + 1 + dice.below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = dice.below(bytes.len().max(1)).min(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            _ if bytes.is_empty() => {}
            _ => return support::mutants::mutated(&String::from_utf8_lossy(&bytes), dice).into_bytes(),
        }
    }
    bytes
}

fn fuzz(target: &str) {
    let (_, run) = targets::TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let samples = samples(target);
    assert!(!samples.is_empty());
    samples.iter().for_each(|sample| run(sample));
    let mut dice = Dice::new(7);
    for _ in 0..count() {
        let sample: &Vec<u8> = dice.pick(&samples);
        run(&mutated(sample, &mut dice));
    }
}

macro_rules! fuzzed {
    ($($target:ident)+) => {
        $(#[test]
        fn $target() {
            fuzz(stringify!($target));
        })+

        #[test]
        fn every_target_is_run_here_and_by_the_fuzzer() {
            let names: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($target)),+]);
            let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml")).unwrap();
            for name in names {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            }
        }
    };
}

fuzzed!(policy lockfile probes catalog ruleset messages list state routes group);
