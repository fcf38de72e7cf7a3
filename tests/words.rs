//! Plain words: comments, messages, names, help and documentation do without the phrases of `WORDS`.
//!
//! A finding is printed as `file:line: phrase: what to write instead`. A place where the phrase is right gets a row in
//! `EXCEPTIONS`; a row that no longer matches fails the test, so the list cannot outlive its reasons.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test reads files of the repository")]

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A phrase, and what to write instead.
///
/// The words of a phrase are separated by spaces and matched whole, in any case. `a|b` is one of two words, `…` up to
/// four words of the same sentence.
struct Word(&'static str, &'static str);

const WORDS: &[Word] = &[
    Word("fare|fares|fared|faring", "`packets are treated differently`, or what happens to the packet"),
    Word("make|makes|made|making good", "`repair`, `recover`, `converge`"),
    Word("behind", "`after`, `following`, `then`, `beyond`"),
    Word("anew", "`again`, `from scratch`, `new`"),
    Word("whoever", "say who: `a user`, `another program`, `the operator`"),
    Word("tell|tells|told|telling … apart", "`distinguish`"),
    Word("wanted", "`expected`, `required`, `needed`, `requested`"),
    Word("mend|mends|mended|mending", "`fix`, `correct`"),
    Word("so many words", "`explicitly`"),
    Word("break|breaks|broke|broken off", "`interrupted`"),
    Word("become|becomes|became of", "`what happens to`"),
    Word("stand|stands here", "`found`: `expected a mapping, found a list`"),
    Word("somebody|nobody|anybody", "say who: `a user`, `another program`, or the passive"),
    Word("besides", "`also`, `in addition to`"),
    Word("whatever", "`regardless of`, `any`"),
    Word("all the same", "`anyway`, `equal`"),
    Word("put down to", "`attributed to`"),
    Word("in vain", "`without success`"),
    Word("gravest", "`most severe`"),
    Word("way out", "`help`"),
    Word("hear|hears of", "`learn`, `is notified of`"),
    Word("spare|spares|spared", "`not tracked`, `kept`, `skipped`"),
    Word("kept|keep|keeps from conntrack", "`not tracked`"),
    Word("judge|judges|judged|judging", "`filter`, `decide`, `check`"),
    Word("start|starts of the machine", "`boot`, `reboot`"),
    Word("is|are good", "`valid`"),
    Word("for ever", "`forever`, `permanently`"),
];

/// What is scanned, from the repository's root.
const SCANNED: &[&str] = &[
    "src",
    "docs",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "packaging",
    "policies",
    "benches",
    "examples",
    "fuzz/fuzz_targets",
    "Makefile",
    "clippy.toml",
    "deny.toml",
    "Cargo.toml",
    ".ci",
];

/// Where a phrase is right: a file, and the words around it as they are there.
const EXCEPTIONS: &[(&str, &str)] = &[
    // A type of the tests' support.
    ("benches/packets.rs", "judge"),
    ("benches/packets.rs", "judges"),
];

#[test]
fn sources_and_documentation_are_in_plain_words() {
    let mut texts = Vec::new();
    for path in SCANNED {
        read(path, &mut texts);
    }
    assert!(texts.len() > 100, "only {} files were found", texts.len());
    let (mut found, mut unused) = (Vec::new(), EXCEPTIONS.to_vec());
    for text in &texts {
        let excused: Vec<(usize, usize)> = EXCEPTIONS
            .iter()
            .filter(|(file, _)| *file == text.name)
            .flat_map(|(_, phrase)| text.places(phrase))
            .collect();
        for finding in text.findings() {
            let covers = |(first, last): &(usize, usize)| *first <= finding.first && finding.last <= *last;
            if excused.iter().any(covers) {
                unused.retain(|(file, phrase)| *file != text.name || !text.places(phrase).iter().any(covers));
            } else {
                found.push(finding);
            }
        }
    }
    assert!(found.is_empty(), "\n{}", lines(&found));
    assert!(unused.is_empty(), "exceptions that match nothing: {unused:?}");
}

#[test]
fn help_is_in_plain_words() {
    let mut helps = Vec::new();
    help(&[], &mut helps);
    assert!(helps.len() > 15, "only {} helps were found", helps.len());
    let found: Vec<Finding<'_>> = helps.iter().flat_map(Text::findings).collect();
    assert!(found.is_empty(), "\n{}", lines(&found));
}

/// Nouns that are counted in messages, in the plural.
const COUNTED: &[&str] = &[
    "addresses",
    "answers",
    "boxes",
    "bytes",
    "chains",
    "changes",
    "connections",
    "differences",
    "elements",
    "entries",
    "events",
    "files",
    "flows",
    "generations",
    "hosts",
    "lines",
    "lists",
    "lockfiles",
    "names",
    "packets",
    "policies",
    "prefixes",
    "probes",
    "problems",
    "queries",
    "questions",
    "rows",
    "rules",
    "servers",
    "sessions",
    "sets",
    "warnings",
];

/// Words between a number and its noun.
const BEFORE_NOUNS: &[&str] =
    &["established", "existing", "live", "more", "new", "of", "old", "oldest", "other", "the"];

/// Where what is in braces is no number that may be 1: the file, and the text from the braces to the noun.
const NO_NUMBERS: &[(&str, &str)] = &[
    // A family.
    ("src/readback/elements.rs", "{} addresses"),
];

/// A number and a noun in the plural in a format string are `1 addresses` one day: `wording::count` has both.
#[test]
fn numbers_have_the_noun_that_agrees() {
    let mut files = Vec::new();
    sources("src", &mut files);
    assert!(files.len() > 100, "only {} files were found", files.len());
    let mut found = Vec::new();
    for (name, text) in &files {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let hits = hard_coded(line).into_iter().filter(|hit| !NO_NUMBERS.contains(&(name, hit)));
            found.extend(hits.map(|hit| format!("{name}:{}: `{hit}`: use `wording::count`", number + 1)));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    let known = |(name, hit): &&(&str, &str)| {
        files.iter().any(|(other, text)| other == name && text.lines().any(|line| hard_coded(line).contains(hit)))
    };
    assert_eq!(NO_NUMBERS.iter().filter(|row| !known(row)).count(), 0, "exceptions that match nothing");
}

/// Braces of a format string that are followed by a counted noun, with at most two words between them. Constants are no such number.
fn hard_coded(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (open, _) in line.match_indices('{') {
        let Some(close) = line[open..].find('}').map(|at| open + at) else { continue };
        let inside = &line[open + 1..close];
        let is_constant = !inside.is_empty() && inside.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let is_value = inside.chars().all(|c| c.is_ascii_alphanumeric() || "_.:<>".contains(c));
        let Some(rest) = line[close + 1..].strip_prefix(' ').filter(|_| is_value && !is_constant) else { continue };
        let mut end = close + 2;
        for word in rest.split(' ').take(3) {
            let letters = word.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
            if COUNTED.contains(&letters) {
                found.push(&line[open..end + letters.len()]);
                break;
            }
            if letters.len() != word.len() || !BEFORE_NOUNS.contains(&letters) {
                break;
            }
            end += word.len() + 1;
        }
    }
    found
}

/// The texts of all Rust files below a folder.
fn sources(path: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap() {
        let name = format!("{path}/{}", entry.unwrap().file_name().to_str().unwrap());
        match Path::new(env!("CARGO_MANIFEST_DIR")).join(&name) {
            full if full.is_dir() => sources(&name, files),
            full => files.push((name, fs::read_to_string(full).unwrap())),
        }
    }
}

#[test]
fn numbers_and_their_nouns_are_found() {
    assert_eq!(hard_coded(r#"format!("{} addresses in {n} other names", a)"#), ["{} addresses", "{n} other names"]);
    assert_eq!(hard_coded(r#"format!("{:>4} more packets")"#), ["{:>4} more packets"]);
    assert_eq!(hard_coded(r#"format!("{MAX} rows, {id}: rules, {name} and its rules {x}addresses")"#), [""; 0]);
}

#[test]
fn phrases_are_found_in_comments_names_and_across_lines() {
    let found = |text: &str| {
        let text = Text::new("x", text);
        text.findings().iter().map(|finding| format!("{} {}", finding.line, finding.phrase)).collect::<Vec<_>>()
    };
    assert_eq!(found("a\n/// in so many\n/// words"), ["2 so many words"]);
    assert_eq!(found("let is_wanted = \"Behind\\nanew\";"), ["1 wanted", "1 Behind", "1 anew"]);
    assert_eq!(found("told one\n// from the other apart"), ["1 told one from the other apart"]);
    assert_eq!(found("a broken-off change makes\ngood"), ["1 broken off", "1 makes good"]);
    assert_eq!(found("He told. They live apart. Welfare, unwanted, amend."), [""; 0]);
}

// ── Texts ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A text as words.
struct Text {
    name: String,
    tokens: Vec<Token>,
}

struct Token {
    /// The word in lower case.
    word: String,
    /// The word as it is written.
    written: String,
    line: usize,
    /// Whether a sentence ends after it.
    ends: bool,
}

/// A phrase of `WORDS` in a text: the indices of its first and last token.
struct Finding<'a> {
    file: &'a str,
    line: usize,
    phrase: String,
    instead: &'static str,
    first: usize,
    last: usize,
}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: `{}`: write {}", self.file, self.line, self.phrase, self.instead)
    }
}

fn lines(findings: &[Finding<'_>]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Text {
    /// Splits at everything that is no letter; `_` and `-` separate words, too, and so do escapes such as `\n`.
    fn new(name: impl Into<String>, text: &str) -> Self {
        let mut tokens: Vec<Token> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.replace("\\n", "  ").replace("\\t", "  ");
            let mut rest = line.as_str();
            while let Some(start) = rest.find(char::is_alphabetic) {
                if rest[..start].contains(['.', ';', ':', '!', '?'])
                    && let Some(last) = tokens.last_mut()
                {
                    last.ends = true;
                }
                rest = &rest[start..];
                let end = rest.find(|character: char| !character.is_alphabetic()).unwrap_or(rest.len());
                let written = rest[..end].to_owned();
                tokens.push(Token { word: written.to_lowercase(), written, line: index + 1, ends: false });
                rest = &rest[end..];
            }
            if rest.contains(['.', ';', ':', '!', '?'])
                && let Some(last) = tokens.last_mut()
            {
                last.ends = true;
            }
        }
        Self { name: name.into(), tokens }
    }

    fn findings(&self) -> Vec<Finding<'_>> {
        let finding = |instead, (first, last): (usize, usize)| Finding {
            file: &self.name,
            line: self.tokens[first].line,
            phrase: self.tokens[first..=last].iter().map(|token| &*token.written).collect::<Vec<_>>().join(" "),
            instead,
            first,
            last,
        };
        let mut found: Vec<_> = WORDS
            .iter()
            .flat_map(|Word(phrase, instead)| self.places(phrase).into_iter().map(|place| finding(*instead, place)))
            .collect();
        found.sort_by_key(|finding| finding.first);
        found
    }

    /// Where a phrase is: the indices of its first and last token.
    fn places(&self, phrase: &str) -> Vec<(usize, usize)> {
        let parts: Vec<&str> = phrase.split(' ').collect();
        (0..self.tokens.len()).filter_map(|first| Some((first, self.end_of(&parts, first)?))).collect()
    }

    /// The index of the last token, where the parts of a phrase are at `at`.
    fn end_of(&self, parts: &[&str], at: usize) -> Option<usize> {
        let token = self.tokens.get(at)?;
        match parts {
            ["…", rest @ ..] => {
                let is_same_sentence = |at: &usize| self.tokens.get(at - 1).is_some_and(|before| !before.ends);
                (at..at + 5).take_while(is_same_sentence).find_map(|at| self.end_of(rest, at))
            }
            [part] => part.split('|').any(|word| word.to_lowercase() == token.word).then_some(at),
            [part, rest @ ..] => {
                let is_next = part.split('|').any(|word| word.to_lowercase() == token.word);
                if is_next { self.end_of(rest, at + 1) } else { None }
            }
            [] => None,
        }
    }
}

/// Reads a file, or all files below a folder.
fn read(path: &str, texts: &mut Vec<Text>) {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if full.is_dir() {
        let mut names: Vec<String> =
            fs::read_dir(full).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.iter().for_each(|name| read(&format!("{path}/{name}"), texts));
    } else if let Ok(text) = fs::read_to_string(&full) {
        texts.push(Text::new(path, &text));
    }
}

/// The help of a verb and of its own verbs; of the program where there is no verb.
fn help(verb: &[&str], helps: &mut Vec<Text>) {
    let output = Command::new(env!("CARGO_BIN_EXE_edgeward")).args(verb).arg("--help").output().unwrap();
    let name = format!("edgeward {}", verb.join(" "));
    assert!(output.status.success(), "`{name} --help`: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    helps.push(Text::new(name, &text));
    let verbs = text.lines().skip_while(|line| *line != "Verbs:").skip(1).take_while(|line| !line.is_empty());
    // A line that is indented further continues the line above.
    let verbs = verbs.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    for next in verbs.filter(|next| !next.is_empty() && *next != "help") {
        help(&[verb, &[next]].concat(), helps);
    }
}
