//! The quick start of README.md, run as it is written: each command in order, in one folder, each output compared.
//!
//! A line `…` in an output stands for any lines, and `…` within a line for any text. Times are not compared. Commands
//! with `sudo` or the prompt `#` need a network namespace.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests are no part of the core")]

#[macro_use]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::netns::{self, Topology};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The policy of the quick start.
const POLICY: &str = "my-site.yaml";

/// A fenced block.
struct Block {
    language: String,
    text: String,
}

/// The blocks between a heading and the next one.
fn blocks(heading: &str) -> Vec<Block> {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    let section = readme.split("\n## ").find_map(|section| section.strip_prefix(heading));
    let section = section.unwrap_or_else(|| panic!("README.md has no section {heading:?}"));
    let mut blocks = Vec::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            blocks.push(Block { language: language.to_owned(), text });
        }
    }
    blocks
}

/// The folder and the host on which the commands run.
struct Tour {
    folder: tempfile::TempDir,
    /// The host; `None` where namespaces cannot be made.
    host: Option<Topology>,
}

impl Tour {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = Command::new("cp").args(["-r", &format!("{ROOT}/policies")]).arg(folder.path()).status().unwrap();
        assert!(copy.success());
        let host = match netns::available() {
            Ok(()) => Some(Topology::edge_host("10.0.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap())),
            Err(reason) => {
                netns::skip(&reason);
                None
            }
        };
        Self { folder, host }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(POLICY)
    }

    fn policy(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    /// Runs a command line as a shell does: on the host, where there is one.
    fn run(&self, line: &str) -> Output {
        let bin = Path::new(env!("CARGO_BIN_EXE_edgeward")).parent().unwrap().display();
        let state = self.folder.path().join("state");
        // No DNS is asked, and the state directory of the host that the test runs on is left alone.
        let verbs = "case $1 in
            resolve) return 3;;
            apply|confirm|rollback|refresh|boot|status|history) set -- \"$@\" --state-dir \"$STATE\";;
        esac";
        let script = format!(
            "edgeward() {{ {verbs}\ncommand edgeward \"$@\"; }}; cd '{}'; PATH=\"{bin}:$PATH\"; STATE='{}'; {}",
            self.folder.path().display(),
            state.display(),
            line.replace("sudo ", ""),
        );
        let script = format!("unset SSH_CONNECTION; {script}");
        match &self.host {
            Some(host) => host.run_under_test(&["bash", "-c", &script]),
            None => Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).output().unwrap(),
        }
    }

    fn succeed(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", said(&output));
        said(&output)
    }

    /// Puts the fields of a block in the place of those of the policy, block by block of the top level.
    fn fill_in(&self, fields: &str) {
        let mut policy = sections(&self.policy());
        for (key, text) in sections(fields) {
            let section = policy.iter_mut().find(|(other, _)| *other == key);
            let (_, section) = section.unwrap_or_else(|| panic!("`init` writes no `{key}`"));
            // A field of the top level has its value on its own line.
            if text.lines().next().is_some_and(|line| !line.ends_with(':')) && !key.is_empty() {
                let rest = section.split_once('\n').map_or("", |(_, rest)| rest);
                *section = format!("{}\n{rest}", text.trim_end());
                continue;
            }
            // Line by line, so that comments and what README leaves out stay, and line numbers with them.
            let mut lines: Vec<String> = section.lines().map(str::to_owned).collect();
            for line in text.lines().skip(1) {
                let name = |line: &str| line.split_once(':').map(|(name, _)| name.to_owned());
                let place = lines.iter_mut().find(|other| name(other) == name(line));
                let place = place.unwrap_or_else(|| panic!("`init` writes no `{line}`"));
                *place = line.to_owned();
            }
            *section = lines.join("\n") + "\n";
        }
        fs::write(self.path(), policy.into_iter().map(|(_, text)| text).collect::<String>()).unwrap();
    }

    /// Puts the lines that a message quotes, `14 |   version: 1.30`, into the policy, which has others there.
    fn make_mistakes(&self, expected: &str) {
        let mut lines: Vec<String> = self.policy().lines().map(str::to_owned).collect();
        for (number, quoted) in expected.lines().filter_map(|line| line.split_once(" | ")) {
            let Ok(number) = number.trim().parse::<usize>() else { continue };
            let name = |line: &str| line.split(':').next().map(str::to_owned);
            let line = &mut lines[number - 1];
            assert_eq!(name(line), name(quoted), "line {number} of {POLICY} is another one: {line}");
            *line = quoted.to_owned();
        }
        fs::write(self.path(), lines.join("\n") + "\n").unwrap();
    }
}

/// The sections of a YAML file by their key of the top level. Comments before a key belong to the section before.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections = vec![(String::new(), String::new())];
    for line in text.lines() {
        if line.starts_with(char::is_alphabetic) {
            sections.push((line.split(':').next().unwrap().to_owned(), String::new()));
        }
        let (_, section) = sections.last_mut().unwrap();
        section.push_str(line);
        section.push('\n');
    }
    sections
}

/// What a command said. Its messages repeat the state folder, which is that of the test.
fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let said = out + &err;
    let mut parts = said.split(" --state-dir ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c != '`' && c != ' ' && c != '\n'))
}

/// Whether an output is what README shows of it.
fn matches(shown: &[&str], lines: &[&str]) -> bool {
    match (shown.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first.trim() == "…" => {
            (0..=lines.len()).any(|skip| matches(rest, &lines[skip..]))
        }
        (Some((first, rest)), Some((line, others))) => line_matches(first.trim(), line.trim()) && matches(rest, others),
        _ => false,
    }
}

fn line_matches(shown: &str, line: &str) -> bool {
    let (shown, line) = (without_times(shown), without_times(line));
    let mut parts = shown.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap()) else { return false };
    let mut open = false;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        (rest, open) = (&rest[at + part.len()..], part.is_empty());
    }
    rest.is_empty() || open
}

/// A line with `TIME` for `2026-11-21T16:02:10Z`.
fn without_times(line: &str) -> String {
    const SHAPE: &str = "0000-00-00T00:00:00Z";
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let mut text = line.to_owned();
    while let Some(at) = text.chars().map(shape).collect::<String>().find(SHAPE) {
        let Some(end) = text.get(at..at + SHAPE.len()).map(|time| at + time.len()) else { break };
        text.replace_range(at..end, "TIME");
    }
    text
}

/// What is wrong with an output, if anything.
fn difference(command: &str, shown: &str, said: &str) -> Option<String> {
    let [shown_lines, lines] = [shown, said].map(|text| text.trim_end().lines().collect::<Vec<_>>());
    let same = matches(&shown_lines, &lines);
    (!same).then(|| format!("{command}\n\nREADME.md shows:\n{shown}\nit says:\n{said}"))
}

/// The commands of a block, without their prompts, and what is shown after each.
fn commands(block: &Block) -> Vec<(char, String, String)> {
    let mut commands: Vec<(char, String, String)> = Vec::new();
    for line in block.text.lines() {
        match (line.strip_prefix("$ "), line.strip_prefix("# ")) {
            (Some(command), _) => commands.push(('$', command.to_owned(), String::new())),
            (_, Some(command)) => commands.push(('#', command.to_owned(), String::new())),
            _ => {
                let (_, _, shown) = commands.last_mut().expect("a console block begins with a command");
                shown.push_str(line);
                shown.push('\n');
            }
        }
    }
    commands
}

#[test]
fn the_quick_start_is_as_it_is_shown() {
    let tour = Tour::new();
    // What the block before has printed, where the output has a block of its own.
    let mut printed: Option<String> = None;
    let (mut former, mut seen, mut wrong) = (String::new(), Vec::new(), Vec::new());
    for block in blocks("Quick start") {
        match &*block.language {
            "sh" if block.text.contains("sudo") && tour.host.is_none() => printed = None,
            "sh" => {
                let built = |line: &&str| !line.starts_with("cargo build");
                let script: String = block.text.lines().filter(built).map(|line| format!("{line}\n")).collect();
                printed = Some(tour.succeed(&script));
                seen.push("sh".to_owned());
            }
            "yaml" => {
                former = tour.policy();
                tour.fill_in(&block.text);
            }
            "" => {
                if let Some(printed) = printed.take() {
                    wrong.extend(difference("the commands before", &format!("…\n{}…\n", block.text), &printed));
                }
            }
            "console" => {
                for (prompt, command, shown) in commands(&block) {
                    if prompt == '#' && tour.host.is_none() {
                        continue;
                    }
                    let right = tour.policy();
                    if command.contains(" check ") {
                        tour.make_mistakes(&shown);
                    }
                    if command.contains(" apply ") {
                        // The generation before it.
                        fs::write(tour.path(), &former).unwrap();
                        tour.succeed(&format!("edgeward apply {POLICY}"));
                        fs::write(tour.path(), &right).unwrap();
                    }
                    let output = tour.run(&command);
                    fs::write(tour.path(), right).unwrap();
                    wrong.extend(difference(&command, &shown, &said(&output)));
                    seen.push(command.split(' ').nth(1).unwrap().to_owned());
                }
            }
            other => panic!("a block of {other:?}"),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let verbs = if tour.host.is_some() { &["check", "explain", "diff", "apply", "confirm"][..] } else { &["check"] };
    assert!(verbs.iter().all(|verb| seen.iter().any(|seen| seen == verb)), "{seen:?}");
}

/// The quick start says what its commands warn of on any later day.
#[test]
fn the_lockfile_of_the_example_may_be_old() {
    let folder = tempfile::tempdir().unwrap();
    let example = |name: &str| fs::read_to_string(Path::new(ROOT).join("policies").join(name)).unwrap();
    let old = example("express-connect-flannel.lock.yaml").replace("-seen: 2026-", "-seen: 2020-");
    fs::write(folder.path().join("my-site.lock.yaml"), old).unwrap();
    fs::write(folder.path().join(POLICY), example("express-connect-flannel.yaml")).unwrap();
    let run =
        Command::new(env!("CARGO_BIN_EXE_edgeward")).args(["compile", POLICY]).current_dir(folder.path()).output();
    let said = String::from_utf8(run.unwrap().stderr).unwrap();
    let warning = "older than `resolve.max-stale`";
    assert!(said.contains(warning), "{said}");
    assert!(fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap().contains(warning));
}
