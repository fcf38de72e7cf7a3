//! Texts with random changes.

use edgeward::emit;

use super::support::mutants::mutated;
use super::support::random::Dice;
use super::{EVERYTHING, VARIANT, host, listed, must_read, read, samples};

/// The number of texts; `EDGEWARD_MUTANTS` sets another one.
fn count() -> usize {
    std::env::var("EDGEWARD_MUTANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

#[test]
fn no_text_causes_a_panic() {
    let mut dice = Dice::new(1);
    let samples = samples();
    let mut accepted = 0;
    for _ in 0..count() {
        let sample: &String = dice.pick(&samples);
        let text = mutated(sample, &mut dice);
        match read(&text) {
            // What is read can be written, and is the same when it is read again.
            Ok(ruleset) => {
                accepted += 1;
                assert_eq!(must_read(&emit::nft(&ruleset)), ruleset, "{text}");
                assert_eq!(must_read(&emit::json(&ruleset).unwrap()), ruleset, "{text}");
            }
            Err(problem) => assert!(problem.span.end <= text.len() && problem.message.len() < 400, "{problem:?}"),
        }
    }
    assert!(accepted > 0);
}

/// What edgeward reads, nft loads and lists as the same ruleset. So edgeward accepts nothing that nft refuses, or that
/// has another meaning to nft.
#[test]
fn nft_agrees_on_what_is_read() {
    // nft 1.0.6 refuses these: matches that exclude each other, two empty lines in braces, names that are keywords. None
    // of them has another meaning.
    const TOLERATED: [&str; 3] = ["conflicting protocols", "expecting comma or '}'", "expecting string"];
    need_namespaces!();
    let topology = host();
    let json = emit::json(&must_read(EVERYTHING)).unwrap();
    let mut dice = Dice::new(2);
    let (mut seen, mut wrong) = (0, Vec::new());
    for _ in 0..count() / 4 {
        let text = mutated(dice.pick::<&str>(&[EVERYTHING, VARIANT, &json]), &mut dice);
        let Ok(ruleset) = read(&text) else { continue };
        let loaded = if text.trim_start().starts_with('{') {
            topology.load_json(&text)
        } else {
            topology.load(&format!("table inet edgeward {{}}\ndelete table inet edgeward\n{text}"))
        };
        match loaded {
            Err(reason) if TOLERATED.iter().any(|tolerated| reason.contains(tolerated)) => continue,
            Err(reason) => wrong.push(format!("{reason}\n{text}")),
            Ok(()) => {
                for options in [&[][..], &["-j"]] {
                    if read(&listed(&topology, options)).as_ref() != Ok(&ruleset) {
                        wrong.push(format!("listed with another meaning: {text}"));
                    }
                }
            }
        }
        seen += 1;
    }
    assert!(wrong.is_empty(), "{} of {seen}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(seen > 50, "{seen}");
}
