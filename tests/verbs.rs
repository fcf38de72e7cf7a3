//! Every verb has help, completions, a manual page and documentation. The verbs are taken from the program's own
//! arguments, so a verb that is added without one of these fails here. Hidden verbs are left out.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use edgeward::cli::command;

fn verbs() -> Vec<clap::Command> {
    let mut program = command().disable_help_subcommand(true);
    // Gives the verbs the options that they share.
    program.build();
    let verbs: Vec<_> = program.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
    assert!(verbs.len() > 15 && command().find_subcommand("watch").unwrap().is_hide_set());
    verbs
}

/// The options of a verb, `--lock`, without `--help`.
fn options(verb: &clap::Command) -> Vec<String> {
    let long = verb.get_arguments().filter(|option| !option.is_hide_set()).filter_map(|option| option.get_long());
    long.filter(|name| *name != "help").map(|name| format!("--{name}")).collect()
}

fn edgeward(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edgeward")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = edgeward(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Roff without the escapes of hyphens.
fn page(arguments: &[&str]) -> String {
    printed(arguments).replace("\\-", "-")
}

fn sections(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix(".SH ")).map(|title| title.trim_matches('"')).collect()
}

#[test]
fn every_verb_has_help_with_an_example() {
    let list = printed(&["--help"]);
    for verb in verbs() {
        let (name, about) = (verb.get_name(), verb.get_about().unwrap().to_string());
        assert!(list.lines().any(|line| line.starts_with(&format!("  {name} "))), "`--help` does not list `{name}`");
        let help = printed(&[name, "--help"]);
        assert!(help.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(&about), "{name}: {help}");
        assert!(!about.ends_with('.') && about.chars().next().unwrap().is_uppercase(), "{name}: {about}");
        let examples = help.split_once("\nExamples:\n").map(|(_, examples)| examples).unwrap_or_default();
        assert!(examples.contains(&format!("edgeward {name}")), "`{name} --help` has no example");
        for option in options(&verb) {
            assert!(help.contains(&option), "`{name} --help` lacks {option}");
        }
        for argument in verb.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "`{name}`: `{}` has no help", argument.get_id());
        }
    }
}

/// The call of an example parses, up to a redirection or a pipe.
#[test]
fn examples_in_help_are_valid_calls() {
    let mut calls = 0;
    for verb in verbs().iter().chain([&command()]) {
        let examples = verb.get_after_long_help().unwrap().to_string();
        for line in examples.lines().skip(1) {
            let call = line.split([' ']).skip_while(|word| *word != "edgeward");
            let call: Vec<&str> = call.take_while(|word| !["|", ">", "<"].contains(word)).collect();
            assert!(call.len() > 1, "{line}");
            command().try_get_matches_from(&call).unwrap_or_else(|error| unreachable!("{line}: {error}"));
            calls += 1;
        }
    }
    assert!(calls > 30, "{calls}");
}

#[test]
fn completions_know_every_verb_and_option() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for verb in verbs() {
            let name = verb.get_name();
            let listed = match shell {
                "bash" => script.contains(&format!("edgeward,{name})")),
                "zsh" => script.contains(&format!("'{name}:")),
                _ => script.contains(&format!("-a \"{name}\"")),
            };
            assert!(listed, "{shell} does not complete `{name}`");
            for option in options(&verb) {
                let spelled = if shell == "fish" { format!("-l {}", &option[2..]) } else { option };
                assert!(script.contains(&spelled), "{shell} does not complete `{name} {spelled}`");
            }
        }
    }
}

#[test]
fn every_verb_has_a_manual_page() {
    let main = page(&["man"]);
    assert!(main.contains(".TH edgeward 1"), "{main}");
    for verb in verbs() {
        let name = verb.get_name();
        assert!(main.contains(&format!("edgeward-{name}(1)")), "edgeward.1 does not list {name}");
        let page = page(&["man", name]);
        assert!(page.contains(&format!(".TH edgeward-{name} 1")), "{page}");
        let expected = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"];
        for section in expected {
            assert!(sections(&page).contains(&section), "edgeward-{name}.1 has no {section}: {:?}", sections(&page));
        }
        for option in options(&verb) {
            assert!(page.contains(&option), "edgeward-{name}.1 lacks {option}");
        }
        let has_state = verb.get_arguments().any(|argument| argument.get_id() == "state_dir");
        assert_eq!(page.contains("/var/lib/edgeward"), has_state, "edgeward-{name}.1");
    }
    for section in ["EXIT STATUS", "FILES", "VERBS", "EXAMPLES", "SEE ALSO"] {
        assert!(sections(&main).contains(&section), "edgeward.1 has no {section}: {:?}", sections(&main));
    }
}

#[test]
fn manual_pages_are_written_into_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    printed(&["man", "--out-dir", folder.path().to_str().unwrap()]);
    let mut written: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let names = verbs();
    let mut expected: Vec<String> = names.iter().map(|verb| format!("edgeward-{}.1", verb.get_name())).collect();
    expected.push("edgeward.1".to_owned());
    written.sort();
    expected.sort();
    assert_eq!(written, expected);
    assert_eq!(fs::read_to_string(folder.path().join("edgeward-apply.1")).unwrap(), printed(&["man", "apply"]));
    // A hidden verb has no page, and a folder that does not exist is a failure of the system.
    for (arguments, code) in [
        (&["man", "watch"][..], 2),
        (&["man", "frobnicate"], 2),
        (&["man", "--out-dir", "/no/such/folder"], 4),
        (&["man", "apply", "--out-dir", "/tmp"], 2),
    ] {
        assert_eq!(edgeward(arguments).status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn every_verb_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    assert!(pages.len() > 5, "{pages:?}");
    let texts: Vec<String> = pages.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let cli = fs::read_to_string(root.join("docs/cli.md")).unwrap();
    for verb in verbs() {
        let call = format!("edgeward {}", verb.get_name());
        assert!(cli.contains(&format!("| `{call}` |")), "docs/cli.md has no row for `{call}`");
        assert!(texts.iter().any(|text| text.contains(&call)), "no page of docs names `{call}`");
    }
}
