//! Who may name whom: the table of ARCHITECTURE.md, held against the code.
//!
//! Paths are read from the text of the sources, tests and macros included, so nothing that is switched off escapes.

#![expect(clippy::disallowed_methods, reason = "a test reads files of the repository")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "architecture/graph.rs"]
mod graph;
#[path = "architecture/paths.rs"]
mod paths;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use graph::{Circle, circles};
use paths::{Named, Source, paths};

/// Circles that are still there, by folder and siblings. The list may only get shorter.
const CIRCLES: &[(&str, &[&str])] = &[];

/// The lines that a file of `src` may have, its tests included.
const MAX_LINES: usize = 450;

/// Files that are still longer. The list may only get shorter.
const LONG_FILES: &[&str] = &[];

/// A row of the table: a module of the crate's root.
struct Row {
    module: String,
    /// The modules that it may name; each has an earlier row, so there is no circle.
    modules: Vec<String>,
    /// The dependencies that it may name.
    crates: Vec<String>,
}

/// The table of ARCHITECTURE.md, in reading order, which is the order of `lib.rs`.
fn table() -> Vec<Row> {
    let document = read("ARCHITECTURE.md");
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let mut lines = document.lines().skip_while(|line| !line.starts_with("| module |"));
    let head: Vec<&str> = lines.next().unwrap_or_default().split('|').map(str::trim).collect();
    assert_eq!(head, ["", "module", "what it is", "modules it may name", "crates it may name", ""]);
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<&str> = line.split('|').collect();
        assert_eq!(cells.len(), head.len(), "{line}");
        Row { module: cells[1].trim().trim_matches('`').to_owned(), modules: names(cells[3]), crates: names(cells[4]) }
    });
    rows.collect()
}

/// What only `host` may name, as parts of paths: files, processes, sockets, clocks, the environment.
const OUTSIDE: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "os"],
    &["process", "Command"],
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
    let (table, dependencies) = (table(), dependencies());
    let mut wrong = Vec::new();
    for Source { module, file, paths, .. } in sources().iter().filter(|source| source.module != ["main"]) {
        let Some(module) = module.first() else { continue };
        let Some(row) = table.iter().find(|row| row.module == *module) else {
            wrong.push(format!("{file}: the module `{module}` has no row"));
            continue;
        };
        for Named { line, segments, .. } in paths {
            let [first, rest @ ..] = &segments[..] else { continue };
            if let ("crate", [other, ..]) = (first.as_str(), rest)
                && table.iter().any(|row| row.module == *other)
                && other != module
                && !row.modules.contains(other)
            {
                wrong.push(format!("{file}:{line}: `{module}` may not name `{other}`"));
            }
            if dependencies.contains(first) && !row.crates.contains(first) {
                wrong.push(format!("{file}:{line}: `{module}` may not name the crate `{first}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_host_meets_the_world() {
    let mut wrong = Vec::new();
    for Source { module, file, paths, .. } in
        sources().iter().filter(|source| !source.module.starts_with(&["host".into()]))
    {
        for Named { line, segments, .. } in paths {
            let harmless = |(who, harmless): &(&str, &[&str])| {
                module.first().is_some_and(|module| module == who) && segments[..] == **harmless
            };
            let has = |part: &&&[&str]| segments.windows(part.len()).any(|window| window == **part);
            if let Some(part) = OUTSIDE.iter().find(has)
                && !HARMLESS.iter().any(harmless)
            {
                wrong.push(format!("{file}:{line}: `{}` belongs into `host`", part.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_has_a_row_for_every_module_and_no_circle() {
    let (table, library, dependencies) = (table(), read("src/lib.rs"), dependencies());
    let declared =
        library.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    let rows: Vec<&str> = table.iter().map(|row| row.module.as_str()).collect();
    assert_eq!(rows, declared.collect::<Vec<_>>(), "rows, and modules as lib.rs declares them");
    for (index, row) in table.iter().enumerate() {
        for module in &row.modules {
            assert!(rows[..index].contains(&module.as_str()), "`{module}` has no row before `{}`", row.module);
        }
        for name in &row.crates {
            assert!(dependencies.contains(name), "`{}` may name `{name}`, which is no dependency", row.module);
        }
    }
}

#[test]
fn siblings_name_each_other_in_no_circle() {
    let circles = circles(&sources());
    let mut wrong = Vec::new();
    for Circle { siblings: (folder, siblings), places } in &circles {
        if !CIRCLES.iter().any(|(at, known)| at == folder && known == siblings) {
            wrong.push(format!("src/{folder}: {siblings:?} name each other:\n  {}", places.join("\n  ")));
        }
    }
    for (folder, known) in CIRCLES {
        if !circles.iter().any(|circle| circle.siblings.0 == *folder && circle.siblings.1 == *known) {
            wrong.push(format!(
                "src/{folder}: the circle of {known:?} is gone; take it, or what is left, out of `CIRCLES`"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let sources = sources();
    let long: Vec<(&str, usize)> =
        sources.iter().filter(|it| it.lines > MAX_LINES).map(|it| (it.file.as_str(), it.lines)).collect();
    for (file, lines) in &long {
        assert!(
            LONG_FILES.contains(file),
            "{file} has {lines} lines, and {MAX_LINES} is the most: split it by concept"
        );
    }
    for file in LONG_FILES {
        assert!(long.iter().any(|(long, _)| long == file), "{file} is short now: take it out of `LONG_FILES`");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let document = read("docs/dependencies.md");
    let described: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|name| name.replace('-', "_"))
        .collect();
    let missing: Vec<String> = dependencies().into_iter().chain(section("[dev-dependencies]")).collect();
    let missing: Vec<&String> = missing.iter().filter(|name| !described.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/dependencies.md says nothing of {missing:?}");
}

#[test]
fn the_sample_of_the_slow_tests_exists() {
    let makefile = read("Makefile").replace("\\\n", " ");
    let words = |name: &str| -> Vec<String> {
        let line = makefile.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" := "));
        line.unwrap_or_else(|| panic!("Makefile has no {name}")).split_whitespace().map(str::to_owned).collect()
    };
    let slow = words("SLOW");
    let files = |folder: &str| files(folder).into_iter().filter(|file| file.ends_with(".rs"));
    let of_slow = |file: &String| slow.iter().any(|slow| file.starts_with(&format!("tests/{slow}")));
    let text: String = files("tests").filter(of_slow).map(|file| read(&file)).collect();
    for name in slow {
        assert!(root().join(format!("tests/{name}.rs")).exists(), "SLOW of the Makefile has {name}");
    }
    for name in words("SAMPLE") {
        // A scenario is a module with tests.
        let written = name.strip_suffix("::").map_or(format!("fn {name}()"), |scenario| format!("    {scenario},"));
        assert!(text.contains(&written), "SAMPLE of the Makefile has {name}");
    }
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

/// The ways in which a sibling can be named; what the test of circles rests on.
#[test]
fn circles_are_found_however_siblings_are_named() {
    let circle = |files: &[(&str, &str)]| -> Vec<(String, Vec<String>)> {
        let sources: Vec<Source> = files.iter().map(|(file, text)| Source::new(file, text)).collect();
        circles(&sources).into_iter().map(|circle| circle.siblings).collect()
    };
    let found = |folder: &str, siblings: &[&str]| {
        vec![(folder.to_owned(), siblings.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())]
    };
    let b = ("src/m/b.rs", "use crate::m::a::A;");
    for text in [
        "use crate::m::b::B;",
        "use super::b;",
        "use super::B;",
        "fn f() { super::b::g() }",
        "use crate::m; fn f() { m::b::g() }",
        "use super::*; fn f(b: B) {}",
        "mod tests { use super::super::b::B; }",
        "use super::{c::C, b as other};",
    ] {
        let files = [("src/m/mod.rs", "pub use b::B; mod a; mod b;"), ("src/m/a.rs", text), b, ("src/m/c.rs", "")];
        assert_eq!(circle(&files), found("m", &["a", "b"]), "{text}");
    }
    // Not a circle: a child and its parent, a variable with a sibling's name, a step in one direction.
    let root = ("src/m/mod.rs", "pub use b::B; mod a; mod b; struct P;");
    for text in ["use super::P;", "use super::*; fn f(b: u8) {}", "use super::c::C;"] {
        assert_eq!(circle(&[root, ("src/m/a.rs", text), b, ("src/m/c.rs", "")]), [], "{text}");
    }
    // Folders count with all that they hold, and circles may be long.
    let files = [
        ("src/a/x.rs", "use crate::b::Y;"),
        ("src/b.rs", "use crate::c;"),
        ("src/c.rs", "use crate::a::x::X;"),
        ("src/a/mod.rs", ""),
    ];
    assert_eq!(circle(&files), found("", &["a", "b", "c"]));
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
    let manifest = read("Cargo.toml");
    let lines = manifest.lines().skip_while(|line| *line != head).skip(1);
    let names = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split([' ', '.', '=']).next());
    let names: BTreeSet<String> =
        names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(|name| name.replace('-', "_")).collect();
    assert!(!names.is_empty(), "Cargo.toml has no {head}");
    names
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The files in a folder of the repository and below it, sorted.
fn files(folder: &str) -> Vec<String> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

fn sources() -> Vec<Source> {
    let files: Vec<String> = files("src").into_iter().filter(|file| file.ends_with(".rs")).collect();
    assert!(files.len() > 20, "src/ is not where it is expected");
    files.iter().map(|file| Source::new(file, &read(file))).collect()
}
