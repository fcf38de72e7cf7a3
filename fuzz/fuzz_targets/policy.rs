//! Any policy file gives diagnostics or a ruleset, never a panic.

#![no_main]

use std::fmt::Write;
use std::sync::LazyLock;

use edgeward::catalog::Catalog;
use edgeward::diag::Problems;
use edgeward::intent::{Declared, Intent};
use edgeward::lower::lower;
use edgeward::resolution::Resolution;
use edgeward::site::Target;
use edgeward::source::Source;
use edgeward::{emit, policy};
use libfuzzer_sys::fuzz_target;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::embedded().unwrap());

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
    Resolution::parse(&Source::new("lock", &text), &mut Problems::default()).expect("names of a policy are valid in a lockfile")
}

fuzz_target!(|text: &str| {
    let source = Source::new("policy.yaml", text);
    for target in [None, Some(Target::EdgeHost), Some(Target::IdcGateway)] {
        let mut problems = Problems::default();
        let loaded = policy::load(&source, &CATALOG, target, &mut problems);
        assert_eq!(loaded.is_none(), problems.has_errors(), "a policy is refused for a reason, or not at all");
        for diagnostic in problems.into_sorted() {
            assert!(diagnostic.span.end <= source.text().len(), "{diagnostic:?} is outside of the file");
        }
        let Some((_, intent)) = loaded else { continue };
        let ruleset = lower(&intent.bind(&answers(&intent)).expect("every name has answers"));
        emit::nft(&ruleset);
        emit::json(&ruleset).expect("numbers and strings are JSON");
    }
});
