//! Any lockfile gives diagnostics or addresses, never a panic, and a lockfile that is written can be read again.

#![no_main]

use edgeward::diag::Problems;
use edgeward::resolution::Resolution;
use edgeward::source::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = Source::new("policy.lock.yaml", text);
    let mut problems = Problems::default();
    let resolution = Resolution::parse(&source, &mut problems);
    assert_eq!(resolution.is_none(), problems.has_errors());
    if let Some(resolution) = resolution {
        let again = Source::new("again.lock.yaml", &resolution.yaml());
        assert_eq!(Resolution::parse(&again, &mut Problems::default()), Some(resolution));
    }
    for diagnostic in problems.into_sorted() {
        assert!(diagnostic.span.end <= source.text().len(), "{diagnostic:?} is outside of the file");
    }
});
