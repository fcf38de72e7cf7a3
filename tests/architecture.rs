//! Who may know whom: the table of ARCHITECTURE.md, held against the code.
//!
//! Paths are read from the text of the sources, tests and macros included, so nothing that is switched off escapes.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test reads files of the repository")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module of the crate's root.
struct Row {
    module: &'static str,
    /// The modules that it may name; each stands in an earlier row, so there is no circle.
    modules: &'static [&'static str],
    /// The dependencies that it may name.
    crates: &'static [&'static str],
}

const fn row(module: &'static str, modules: &'static [&'static str], crates: &'static [&'static str]) -> Row {
    Row { module, modules, crates }
}

/// In reading order, which is the order of `lib.rs`.
const TABLE: &[Row] = &[
    row("source", &[], &[]),
    row("diag", &["source"], &["strsim"]),
    row("net", &[], &["ipnet", "thiserror"]),
    row("space", &["net"], &[]),
    row("yaml", &["source", "diag", "net"], &["granit_parser", "schemars", "serde_json"]),
    row("site", &["diag", "yaml"], &[]),
    row("catalog", &["source", "diag", "net", "yaml", "site"], &["sha2"]),
    row("resolution", &["source", "diag", "net", "yaml"], &["jiff"]),
    row("intent", &["source", "net", "space", "site", "resolution"], &["thiserror"]),
    row(
        "policy",
        &["source", "diag", "net", "yaml", "site", "catalog", "resolution", "intent"],
        &["ipnet", "schemars"],
    ),
    row("ruleset", &["net", "space"], &[]),
    row("probe", &["source", "diag", "net", "yaml", "resolution"], &["schemars", "thiserror"]),
    row("explain", &["net", "resolution", "intent"], &[]),
    row("lint", &["source", "diag", "net", "space", "intent"], &[]),
    row("lower", &["net", "site", "intent", "ruleset"], &[]),
    row("guard", &["net", "yaml", "site", "resolution", "intent", "policy", "ruleset"], &[]),
    row("live", &["net", "ruleset"], &["thiserror"]),
    row("proof", &["net", "space", "intent", "ruleset"], &["thiserror"]),
    row("emit", &["net", "ruleset", "live"], &["nftables", "serde_json", "sha2"]),
    row("readback", &["source", "diag", "net", "ruleset"], &["serde_json"]),
    row(
        "host",
        &["source", "diag", "net", "resolution", "ruleset", "live", "emit", "readback"],
        &[
            "anyhow",
            "flate2",
            "futures_util",
            "hickory_net",
            "jiff",
            "netlink_sys",
            "resolv_conf",
            "rustix",
            "serde",
            "serde_json",
            "sha2",
            "tempfile",
            "thiserror",
            "tokio",
        ],
    ),
    row(
        "cli",
        &[
            "source",
            "diag",
            "net",
            "space",
            "site",
            "catalog",
            "resolution",
            "intent",
            "policy",
            "ruleset",
            "probe",
            "explain",
            "lint",
            "lower",
            "guard",
            "live",
            "proof",
            "emit",
            "readback",
            "host",
        ],
        &[
            "annotate_snippets",
            "anstream",
            "anyhow",
            "clap",
            "clap_complete",
            "clap_mangen",
            "jiff",
            "serde_json",
            "similar",
        ],
    ),
];

/// What only `host` may name, as parts of paths: files, processes, sockets, clocks, the environment.
const OUTSIDE: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "os"],
    &["Command"],
    &["TcpStream"],
    &["TcpListener"],
    &["UdpSocket"],
    &["UnixStream"],
    &["UnixListener"],
    &["SystemTime"],
    &["Instant"],
    &["Timestamp", "now"],
    &["Zoned", "now"],
];

/// What of it is no I/O, and what the program's entry hands over.
const HARMLESS: &[(&str, &[&str])] = &[
    ("cli", &["std", "process", "ExitCode"]),
    ("cli", &["std", "thread", "scope"]),
    ("cli", &["std", "thread", "Builder", "new"]),
    ("main", &["std", "process", "ExitCode"]),
    ("main", &["std", "env", "args_os"]),
];

#[test]
fn modules_name_only_what_their_row_allows() {
    let dependencies = dependencies();
    let modules: Vec<&str> = TABLE.iter().map(|row| row.module).collect();
    let mut wrong = Vec::new();
    for Source { module, file, path, .. } in sources().iter().filter(|source| source.module != "main") {
        let Some(row) = TABLE.iter().find(|row| row.module == *module) else {
            wrong.push(format!("{}: the module `{module}` has no row", file.display()));
            continue;
        };
        for Named { line, segments } in path {
            let [first, rest @ ..] = &segments[..] else { continue };
            let place = format!("{}:{line}", file.display());
            if let ("crate", [other, ..]) = (first.as_str(), rest)
                && modules.contains(&other.as_str())
                && other != module
                && !row.modules.contains(&other.as_str())
            {
                wrong.push(format!("{place}: `{module}` may not name `{other}`"));
            }
            if dependencies.contains(first) && !row.crates.contains(&first.as_str()) {
                wrong.push(format!("{place}: `{module}` may not name the crate `{first}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_host_meets_the_world() {
    let mut wrong = Vec::new();
    for Source { module, file, path } in sources().iter().filter(|source| source.module != "host") {
        for Named { line, segments } in path {
            let harmless = |(who, harmless): &(&str, &[&str])| who == module && segments[..] == **harmless;
            let has = |part: &&&[&str]| segments.windows(part.len()).any(|window| window == **part);
            if let Some(part) = OUTSIDE.iter().find(has)
                && !HARMLESS.iter().any(harmless)
            {
                wrong.push(format!("{}:{line}: `{}` belongs into `host`", file.display(), part.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_has_a_row_for_every_module_and_no_circle() {
    let root = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: Vec<&str> = root
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or(line.strip_prefix("mod "))?.strip_suffix(';'))
        .collect();
    let rows: Vec<&str> = TABLE.iter().map(|row| row.module).collect();
    assert_eq!(rows, declared, "rows, and modules as lib.rs declares them");
    for (index, row) in TABLE.iter().enumerate() {
        for module in row.modules {
            assert!(rows[..index].contains(module), "`{module}` does not stand before `{}`", row.module);
        }
    }
}

#[test]
fn the_document_shows_the_table() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let quoted = |names: &[&str]| match names {
        [] => "–".to_owned(),
        _ => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    };
    for Row { module, modules, crates } in TABLE {
        let (start, end) = (format!("| `{module}` |"), format!("| {} | {} |", quoted(modules), quoted(crates)));
        let shown = document.lines().any(|line| line.starts_with(&start) && line.ends_with(&end));
        assert!(shown, "ARCHITECTURE.md lacks the row `{start} … {end}`");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let document = fs::read_to_string(root().join("docs/dependencies.md")).unwrap();
    let described: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|name| name.replace('-', "_"))
        .collect();
    let missing: Vec<String> = dependencies().into_iter().chain(section("[dev-dependencies]")).collect();
    let missing: Vec<&String> = missing.iter().filter(|name| !described.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/dependencies.md says nothing of {missing:?}");
}

/// The ways in which a path can be written; what the other tests rest on.
#[test]
fn paths_are_found_however_they_are_written() {
    let found = |text: &str| -> Vec<String> {
        let at = ["lower".to_owned(), "sets".to_owned()];
        paths(text, &at).iter().map(|named| named.segments.join("::")).filter(|path| path.contains("::")).collect()
    };
    assert_eq!(found("use crate::{a::{B, c::D}, e};"), ["crate::a::B", "crate::a::c::D", "crate::e"]);
    assert_eq!(
        found("use crate::a as b; fn f() -> crate::g::H<std::fs::File> {}"),
        ["crate::a", "crate::g::H", "std::fs::File"]
    );
    assert_eq!(
        found("use super::super::emit; use super::x; use self::y;"),
        ["crate::emit", "crate::lower::x", "crate::lower::sets::y"]
    );
    assert_eq!(
        found("mod tests { use super::super::x; mod t { use super::super::super::super::z; } }"),
        ["crate::lower::x", "crate::z"]
    );
    assert_eq!(found("macro_rules! m { () => { $crate::diag::Code::X } }"), ["crate::diag::Code::X"]);
    assert_eq!(found("::std::fs::read(p)"), ["std::fs::read"]);
    for silent in ["// crate::a", "/* crate::a /* */ std::fs */", "\"crate::a \\\" std::fs\"", "r#\"crate::a\" \"#"] {
        assert_eq!(found(silent), [""; 0], "{silent}");
    }
    assert_eq!(found("'\"' crate::a::b '\\'' \"crate::c\""), ["crate::a::b"]);
    assert_eq!(found("fn f<'a>(x: &'a crate::a::B) {}"), ["crate::a::B"]);
}

/// A source file of the crate.
struct Source {
    /// The module of the crate's root that it belongs to; `main` for the program, which is a crate of its own.
    module: String,
    /// Its path from the repository's root.
    file: PathBuf,
    /// What it names.
    path: Vec<Named>,
}

/// A path that a file names, from the crate's root or from a crate.
struct Named {
    line: usize,
    segments: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of the dependencies, as paths write them.
fn dependencies() -> BTreeSet<String> {
    section("[dependencies]")
}

/// The names in a section of the manifest.
fn section(head: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let lines = manifest.lines().skip_while(|line| *line != head).skip(1);
    let names = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split([' ', '.', '=']).next());
    let names: BTreeSet<String> =
        names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(|name| name.replace('-', "_")).collect();
    assert!(!names.is_empty(), "Cargo.toml has no {head}");
    names
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > TABLE.len(), "src/ is not where it is expected");
    files.into_iter().filter(|file| !file.ends_with("src/lib.rs")).map(|file| source(&file)).collect()
}

fn source(file: &Path) -> Source {
    let file = file.strip_prefix(root()).unwrap().to_owned();
    let inside = file.strip_prefix("src").unwrap().with_extension("");
    let mut at: Vec<String> = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    at.retain(|part| part != "mod");
    let text = fs::read_to_string(root().join(&file)).unwrap();
    Source { module: at[0].clone(), path: paths(&text, &at), file }
}

/// A word or a sign of a source text.
#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Colons,
    Sign(char),
}

/// The paths that a text names; `at` is the path of its module.
fn paths(text: &str, at: &[String]) -> Vec<Named> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut inner: Vec<(usize, String)> = Vec::new();
    let (mut depth, mut index) = (0, 0);
    while index < tokens.len() {
        match (&tokens[index].1, tokens.get(index + 1).map(|next| &next.1)) {
            (Token::Word(keyword), Some(Token::Word(name)))
                if keyword == "mod" && tokens.get(index + 2).is_some_and(|next| next.1 == Token::Sign('{')) =>
            {
                inner.push((depth, name.clone()));
                index += 2;
                continue;
            }
            (Token::Sign('{'), _) => depth += 1,
            (Token::Sign('}'), _) => {
                depth -= 1;
                inner.pop_if(|(outside, _)| *outside == depth);
            }
            (Token::Word(_), _) => {
                let here: Vec<String> = at.iter().chain(inner.iter().map(|(_, name)| name)).cloned().collect();
                index = path(&tokens, index, &[], &here, &mut found);
                continue;
            }
            _ => {}
        }
        index += 1;
    }
    found
}

/// Reads the path that starts at a token, with all branches of its group; gives the index behind it.
fn path(tokens: &[(usize, Token)], start: usize, stem: &[String], here: &[String], found: &mut Vec<Named>) -> usize {
    let (mut index, mut segments) = (start, stem.to_vec());
    while let Some((line, Token::Word(word))) = tokens.get(index) {
        segments.push(word.clone());
        index += 1;
        if tokens.get(index).map(|next| &next.1) != Some(&Token::Colons) {
            found.push(Named { line: *line, segments: absolute(&segments, here) });
            return index;
        }
        index += 1;
    }
    if tokens.get(index).map(|next| &next.1) != Some(&Token::Sign('{')) {
        // `a::*` and `a::<T>` name `a`.
        found.push(Named { line: tokens[start].0, segments: absolute(&segments, here) });
        return index;
    }
    index += 1;
    while let Some((_, token)) = tokens.get(index) {
        match token {
            Token::Sign('}') => return index + 1,
            Token::Word(_) => index = path(tokens, index, &segments, here, found),
            _ => index += 1,
        }
    }
    index
}

/// The path from the crate's root.
fn absolute(segments: &[String], here: &[String]) -> Vec<String> {
    let ups = segments.iter().take_while(|segment| *segment == "super").count();
    let from_self = usize::from(segments[0] == "self");
    if ups + from_self == 0 || here.len() < ups || segments.len() == 1 {
        return segments.to_vec();
    }
    let base = here[..here.len() - ups].iter();
    ["crate".to_owned()].iter().chain(base).chain(&segments[ups + from_self..]).cloned().collect()
}

/// The words and signs of a text with their lines; comments, strings, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut index) = (Vec::new(), 0);
    let mut line = 1;
    while index < characters.len() {
        let start = index;
        match (at(index), at(index + 1)) {
            ('/', '/') => {
                while index < characters.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            ('/', '*') => {
                let mut open = 0;
                while index < characters.len() {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (open, index) = (open + 1, index + 2),
                        ('*', '/') => (open, index) = (open - 1, index + 2),
                        _ => index += 1,
                    }
                    if open == 0 {
                        break;
                    }
                }
            }
            ('"', _) => index = quoted(&characters, index, '"'),
            // A character, not a lifetime.
            ('\'', next) if next == '\\' || at(index + 2) == '\'' => index = quoted(&characters, index, '\''),
            ('\'', _) => index += 2,
            ('r', '"' | '#') if raw_string(&characters, index).is_some() => {
                index = raw_string(&characters, index).unwrap();
            }
            (':', ':') => {
                tokens.push((line, Token::Colons));
                index += 2;
            }
            (c, _) if is_word(c) => {
                while is_word(at(index)) {
                    index += 1;
                }
                tokens.push((line, Token::Word(characters[start..index].iter().collect())));
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push((line, Token::Sign(c)));
                }
                index += 1;
            }
        }
        line += characters[start..index.min(characters.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// The index behind a quoted text that starts at `index`.
fn quoted(characters: &[char], mut index: usize, quote: char) -> usize {
    index += 1;
    while index < characters.len() && characters[index] != quote {
        index += if characters[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// The index behind a raw string that starts at `index`, where one does.
fn raw_string(characters: &[char], index: usize) -> Option<usize> {
    let hashes = characters[index + 1..].iter().take_while(|c| **c == '#').count();
    let open = index + 1 + hashes;
    if characters.get(open) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = ['"'].into_iter().chain(std::iter::repeat_n('#', hashes)).collect();
    let length = characters[open + 1..].windows(end.len()).position(|window| *window == end[..])?;
    Some(open + 1 + length + end.len())
}
