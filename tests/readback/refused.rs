//! What is refused: with which code, at which place.

use edgeward::diag::Code;
use edgeward::source::Source;
use edgeward::{emit, readback};

use super::support::bad_rulesets::json::{OBJECTS, STATEMENTS};
use super::support::bad_rulesets::text::{PARTS, RULES, TEXTS};
use super::support::bad_rulesets::{Bad, in_json_table, in_table};
use super::{KernelError, host, in_kernel, listed, must_read, read, samples};

/// Whether a text is refused with a code, at the place that `‸` marks.
fn refused(text: &str, code: Code) -> Result<(), String> {
    let place = text.find('‸').unwrap();
    let source = Source::new("bad", text.replace('‸', ""));
    let problem = match readback::read(&source) {
        Ok(_) => return Err("is read".to_owned()),
        Err(problem) => problem,
    };
    let [expected, found] = [place, problem.span.start].map(|offset| source.position(offset).to_string());
    let message = &problem.message;
    let is_well_formed = problem.help.as_ref().is_some_and(|help| !help.is_empty() && !help.ends_with('.'))
        && !message.ends_with('.')
        && !message.starts_with(|c: char| c.is_uppercase())
        && message.chars().count() <= 200
        && problem.span.end >= problem.span.start
        && problem.span.end <= source.text().len();
    match () {
        () if (problem.code, &found) != (code, &expected) => {
            Err(format!("{} at {found}, not {} at {expected}: {message}", problem.code.name(), code.name()))
        }
        () if !is_well_formed => Err(format!("{problem:?}")),
        () => Ok(()),
    }
}

/// Bad parts, and the function that puts one into a whole text.
type Wrapped = (&'static [Bad], fn(&str) -> String);

#[test]
fn what_is_not_known_is_refused_at_its_place() {
    assert!(
        read(&in_table("", "accept")).is_ok()
            && read(&in_json_table("{\"metainfo\": {}}", "{\"accept\": null}")).is_ok()
    );
    let wraps: [Wrapped; 5] = [
        (RULES, |rule| in_table("", rule)),
        (PARTS, |part| in_table(part, "accept")),
        (TEXTS, str::to_owned),
        (STATEMENTS, |statements| in_json_table("{\"metainfo\": {}}", statements)),
        (OBJECTS, |object| in_json_table(object, "{\"accept\": null}")),
    ];
    let checked = wraps.iter().flat_map(|(list, wrap)| {
        list.iter().map(move |(code, text)| refused(&wrap(text), *code).map_err(|wrong| format!("{text}: {wrong}")))
    });
    let wrong: Vec<String> = checked.filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_truncated_text_is_refused() {
    for sample in samples() {
        let whole = must_read(&sample);
        for end in (0..sample.len()).filter(|end| sample.is_char_boundary(*end)) {
            match read(&sample[..end]) {
                // Only blanks or a comment are missing.
                Ok(ruleset) => assert_eq!(ruleset, whole, "{end}"),
                Err(problem) => assert!(problem.span.end <= end && problem.message.len() < 400, "{end}: {problem:?}"),
            }
        }
    }
}

#[test]
fn a_long_mistake_is_shown_in_part() {
    let long = "x".repeat(1_000_000);
    for text in [
        in_table("", &long),
        in_table("", &format!("tcp dport {long}")),
        in_table("", &format!("ip saddr @{long}")),
        in_table("", &format!("limit rate 10/{long} log prefix \"x\"")),
        in_table("", &format!("accept comment \"{long}\u{7}\"")),
        in_table(&format!("set s {{ type {long}; }}"), "accept"),
        in_table(&format!("set s {{ type ipv4_addr; elements = {{ {long} }}; }}"), "accept"),
        in_table(&format!("set s {{ type ipv4_addr; elements = {{ 10.0.0.0/{long} }}; }}"), "accept"),
        in_table(&format!("chain {long} {{ }}"), "accept"),
        in_json_table(&format!("{{\"{long}\": {{}}}}"), "{\"accept\": null}"),
        in_json_table(&format!("{{\"counter\": {{\"{long}\": {{}}, \"{long}\": 1}}}}"), "{\"accept\": null}"),
        in_json_table("{\"metainfo\": {}}", &format!("{{\"counter\": \"{long}\"}}")),
        format!("table {long} {long}"),
        long.clone(),
    ] {
        let problem = read(&text).unwrap_err();
        assert!(problem.message.chars().count() <= 200, "{}", problem.message);
    }
}

/// Where nft loads what edgeward does not know, its list as text, its list as JSON and what the kernel has are all
/// refused, or are the same ruleset.
#[test]
fn text_and_json_never_differ() {
    // Nothing of these is known to the kernel.
    const FOR_NFT: [&str; 2] = ["auto-merge", "typeof"];
    // The JSON of nft 1.0.6 does not list these.
    const UNLISTED: [&str; 3] = ["auto-merge", "dynamic", "typeof"];
    need_namespaces!();
    let topology = host();
    let rules = RULES.iter().map(|(_, rule)| in_table("", rule));
    let texts = rules.chain(PARTS.iter().map(|(_, part)| in_table(part, "accept")));
    let (mut refused, mut differing) = (0, Vec::new());
    for text in texts.map(|text| text.replace('‸', "")) {
        if topology.load(&format!("table inet edgeward {{}}\ndelete table inet edgeward\n{text}")).is_err() {
            continue;
        }
        let [by_text, by_json] = [&[][..], &["-j"]].map(|options| read(&listed(&topology, options)));
        match (&by_text, in_kernel(&topology)) {
            (Ok(by_text), Ok(in_kernel)) if *by_text == in_kernel => {}
            (Err(_), Err(KernelError::Unreadable(part))) => {
                let sentence = part.to_string();
                let is_placed = ["rule 1 of the chain `here`", "the chain `", "the set `", "the table"];
                assert!(is_placed.iter().any(|place| sentence.starts_with(place)), "{text}{sentence}");
            }
            (Err(_), Ok(in_kernel)) if FOR_NFT.iter().any(|word| text.contains(word)) => {
                assert_eq!(in_kernel, read(&emit::nft(&in_kernel)).unwrap());
            }
            other => differing.push(format!("{text}{other:?}")),
        }
        match (by_text, by_json) {
            (Ok(by_text), Ok(by_json)) if by_text == by_json => {}
            (Err(_), Err(_)) => refused += 1,
            _ if UNLISTED.iter().any(|unlisted| text.contains(unlisted)) => {}
            other => differing.push(format!("{text}{other:?}")),
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert!(refused > 50, "{refused}");
}
