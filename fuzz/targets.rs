//! What is done with an input of a fuzzer, or of `tests/fuzz.rs`: every reader of text and of messages gives a value or an
//! error, never a panic, and what it reads can be written and read again.

use std::fmt::Write;
use std::fs;
use std::sync::LazyLock;

use edgeward::catalog::Catalog;
use edgeward::diag::Problems;
use edgeward::host::generations::Store;
use edgeward::host::netlink;
use edgeward::intent::{Declared, Intent};
use edgeward::lower::lower;
use edgeward::net::ListReader;
use edgeward::path::Exported;
use edgeward::probe::ProbeFile;
use edgeward::resolution::Resolution;
use edgeward::ruleset::SetKind;
use edgeward::security_group::GroupExport;
use edgeward::site::Target;
use edgeward::source::Source;
use edgeward::{emit, policy, readback};
use tempfile::TempDir;

/// A target: its name, and what it does with an input.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [FuzzTarget; 10] = [
    ("policy", policy),
    ("lockfile", lockfile),
    ("probes", probes),
    ("catalog", catalog),
    ("ruleset", ruleset),
    ("messages", messages),
    ("list", list),
    ("state", state),
    ("routes", routes),
    ("group", group),
];

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::embedded().unwrap());

/// The input as text, as files are read.
fn source(name: &str, bytes: &[u8]) -> Source {
    Source::new(name, String::from_utf8_lossy(bytes))
}

/// Each problem has a place in the text.
fn check_places(problems: Problems, source: &Source) {
    for diagnostic in problems.into_sorted() {
        assert!(diagnostic.span.end <= source.text().len(), "{diagnostic:?} is outside of the file");
        source.position(diagnostic.span.start);
        source.line_span(diagnostic.span.start);
    }
}

/// Answers for every name, in both families.
fn answers(intent: &Intent<Declared>) -> Resolution {
    let mut text = "version: 1\nnames:\n".to_owned();
    let seen = "first-seen: 2026-01-31T08:00:00Z, last-seen: 2026-01-31T08:00:00Z";
    for name in intent.names().keys() {
        let both = format!("[{{address: 203.0.113.9, {seen}}}, {{address: \"2001:db8::9\", {seen}}}]");
        writeln!(text, "- {{name: {name}, addresses: {both}}}").unwrap();
    }
    if intent.names().is_empty() {
        return Resolution::default();
    }
    let lockfile = Source::new("lock", text);
    Resolution::parse(&lockfile, &mut Problems::default()).expect("names of a policy are valid in a lockfile")
}

/// Any policy file gives diagnostics or a ruleset.
pub fn policy(bytes: &[u8]) {
    let source = source("policy.yaml", bytes);
    for target in [None, Some(Target::EdgeHost), Some(Target::IdcGateway)] {
        let mut problems = Problems::default();
        let loaded = policy::load(&source, &CATALOG, target, &mut problems);
        assert_eq!(loaded.is_none(), problems.has_errors(), "a policy is refused for a reason, or not at all");
        check_places(problems, &source);
        let Some((_, intent)) = loaded else { continue };
        let ruleset = lower(&intent.bind(&answers(&intent)).expect("every name has answers"));
        emit::nft(&ruleset);
        emit::json(&ruleset).expect("numbers and strings are JSON");
    }
}

/// Any lockfile gives diagnostics or addresses.
pub fn lockfile(bytes: &[u8]) {
    let source = source("policy.lock.yaml", bytes);
    let mut problems = Problems::default();
    let resolution = Resolution::parse(&source, &mut problems);
    assert_eq!(resolution.is_none(), problems.has_errors());
    if let Some(resolution) = resolution {
        let again = Source::new("again.lock.yaml", resolution.yaml());
        assert_eq!(Resolution::parse(&again, &mut Problems::default()), Some(resolution));
    }
    check_places(problems, &source);
}

/// Any file of probes gives diagnostics or probes.
pub fn probes(bytes: &[u8]) {
    let source = source("probes.yaml", bytes);
    let mut problems = Problems::default();
    let file = ProbeFile::parse(&source, &mut problems);
    assert_eq!(file.is_none(), problems.has_errors());
    check_places(problems, &source);
    for row in file.iter().flat_map(|file| &file.probes) {
        row.value.probe();
    }
}

/// The files of the built-in catalog.
pub const CATALOG_FILES: [(&str, &str); 4] = [
    ("sources.yaml", include_str!("../policies/catalog/sources.yaml")),
    ("regions.yaml", include_str!("../policies/catalog/regions.yaml")),
    ("flows.yaml", include_str!("../policies/catalog/flows.yaml")),
    ("cloud.yaml", include_str!("../policies/catalog/cloud.yaml")),
];

/// Any catalog gives diagnostics or a catalog. The first byte of the input says which file it replaces.
pub fn catalog(bytes: &[u8]) {
    let Some((file, bytes)) = bytes.split_first() else { return };
    let mut files = CATALOG_FILES.map(|(name, text)| Source::new(name, text));
    let replaced = usize::from(*file) % files.len();
    files[replaced] = source("replaced.yaml", bytes);
    if let Err(error) = Catalog::parse(files, None) {
        assert!(!error.diagnostics.is_empty(), "a catalog is refused for a reason");
    }
}

/// Any text gives a ruleset, or says what is wrong with it.
pub fn ruleset(bytes: &[u8]) {
    let source = source("a.nft", bytes);
    for read in [readback::text, readback::json] {
        match read(&source) {
            Ok(ruleset) => {
                let [text, json] = [emit::nft(&ruleset), emit::json(&ruleset).unwrap()];
                for written in [text, json] {
                    assert_eq!(readback::read(&Source::new("again", written)).as_ref(), Ok(&ruleset));
                }
            }
            Err(diagnostic) => assert!(diagnostic.span.end <= source.text().len(), "{diagnostic:?}"),
        }
    }
}

/// Any bytes in place of the kernel's messages.
pub fn messages(bytes: &[u8]) {
    if let Ok(table) = netlink::read_table(bytes) {
        emit::nft(&table);
    }
    for kind in [SetKind::Hosts, SetKind::Prefixes] {
        if let Ok((set, _)) = netlink::read_answer(kind, bytes) {
            // A prefix takes more bytes in a message than there are prefixes in a range.
            assert!(set.prefixes().count() <= 256 * (1 + bytes.len()));
        }
    }
}

/// Any bytes in place of a list, in pieces of any size: the same list or the same problems.
pub fn list(bytes: &[u8]) {
    let read = |size: usize| {
        let mut list = ListReader::default();
        bytes.chunks(size).for_each(|piece| list.push(piece));
        list.finish()
    };
    let whole = read(bytes.len().max(1));
    for size in [1, 7, 4096] {
        assert_eq!(read(size), whole);
    }
    if let Ok((set, _)) = whole {
        let mut again = ListReader::default();
        set.write_lines(|piece| {
            again.push(piece);
            Ok::<(), ()>(())
        })
        .unwrap();
        assert_eq!(again.finish().unwrap().0, set);
    }
}

/// A security group as the API gives it: each rule has its place in the file.
pub fn group(bytes: &[u8]) {
    match GroupExport::parse(&String::from_utf8_lossy(bytes)) {
        Ok(group) => {
            assert_eq!(group.rules.len(), group.places.len());
            assert!(group.places.is_sorted() && group.rules.iter().all(|rule| (1..=100).contains(&rule.priority)));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Files of the state folder, the first byte of the input says which.
const STATE_FILES: [&str; 4] =
    ["state.json", "events.jsonl", "generations/1/manifest.json", "generations/1/ruleset.nft"];

/// Any bytes in place of a file of the state folder.
pub fn state(bytes: &[u8]) {
    let Some((file, bytes)) = bytes.split_first() else { return };
    thread_local! {
        static FOLDER: TempDir = tempfile::tempdir().unwrap();
    }
    FOLDER.with(|folder| {
        let _ = fs::remove_dir_all(folder.path().join("state"));
        let folder = folder.path().join("state");
        fs::create_dir_all(folder.join("generations/1")).unwrap();
        let file = STATE_FILES[usize::from(*file) % STATE_FILES.len()];
        fs::write(folder.join(file), bytes).unwrap();
        let store = Store::look(&folder);
        let _ = (store.manifest(1), store.ruleset(1));
        let _ = store.state().map(|state| (state.base(), state.next_number()));
        for event in store.events().backwards().into_iter().flatten().flatten() {
            event.sentence();
        }
    });
}

/// Any text in place of a table of routes that a device exports.
pub fn routes(bytes: &[u8]) {
    let mut exported = Exported::default();
    let taken = exported.add(&String::from_utf8_lossy(bytes));
    assert!(taken.is_ok() || exported.routes.is_empty(), "half of a table is none");
}
