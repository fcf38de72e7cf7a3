//! Commands that messages tell the user to run. They repeat the options of this run that are not defaults, and are quoted
//! as a shell needs it, so that they can be pasted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use crate::diag::quoted;
use crate::host::streams::{self, STREAM};

/// The options that other commands repeat: where to look, and for what.
const REPEATED: [&str; 4] = ["catalog", "lock", "state-dir", "target"];
/// `--catalog` is an option of every verb, but these do not read a catalog.
const WITHOUT_CATALOG: [&str; 5] = ["aggregate", "boot", "confirm", "history", "uninstall"];

/// What is known of this run. Its arguments do not change, and every message may need them.
#[derive(Debug)]
struct Run {
    /// The arguments that were given, by their ids.
    given: Vec<(String, Given)>,
    /// Which of the options each verb has.
    taken: BTreeMap<String, Vec<&'static str>>,
}

/// An argument as it was given.
#[derive(Debug)]
enum Given {
    Word(String),
    Flag,
    Option(String),
}

static RUN: OnceLock<Run> = OnceLock::new();

/// Notes the arguments of this run.
pub(crate) fn note_run(program: &Command, matches: &ArgMatches) {
    let taken = program.get_subcommands().map(|verb| {
        let has = |name: &&str| match *name {
            "catalog" => !WITHOUT_CATALOG.contains(&verb.get_name()),
            name => verb.get_arguments().any(|argument| argument.get_long() == Some(name)),
        };
        (verb.get_name().to_owned(), REPEATED.into_iter().filter(has).collect())
    });
    let given = matches.subcommand().into_iter().flat_map(|(verb, matches)| {
        let own = program.find_subcommand(verb).into_iter().flat_map(Command::get_arguments);
        let global = program.get_arguments().filter(|argument| argument.is_global_set());
        let mut all: BTreeMap<&str, &Arg> = own.chain(global).map(|one| (one.get_id().as_str(), one)).collect();
        // The program's own options are among those of a verb, too.
        all.retain(|id, _| {
            matches!(matches.try_contains_id(id), Ok(true))
                && matches.value_source(id) == Some(ValueSource::CommandLine)
        });
        all.into_iter().flat_map(|(id, argument)| {
            let values = matches.get_raw(id).into_iter().flatten();
            let values = values.map(|value| value.to_string_lossy().into_owned());
            let name = argument.get_long().unwrap_or(id).to_owned();
            let given: Vec<(String, Given)> = match argument.get_action().takes_values() {
                false => vec![(name, Given::Flag)],
                true if argument.is_positional() => values.map(|word| (name.clone(), Given::Word(word))).collect(),
                true => values.map(|value| (name.clone(), Given::Option(value))).collect(),
            };
            given
        })
    });
    // A program has one run.
    let _ = RUN.set(Run { given: given.collect(), taken: taken.collect() });
}

/// A command of edgeward: ``edgeward apply 'my site.yaml' --state-dir state``.
#[derive(Clone, Debug)]
pub(crate) struct Hint {
    verb: &'static str,
    words: Vec<String>,
    options: BTreeMap<&'static str, String>,
}

/// The command of a verb, with the options of this run.
pub(crate) fn command(verb: &'static str) -> Hint {
    let mut options = BTreeMap::new();
    if let Some(run) = RUN.get() {
        let taken = run.taken.get(verb).map(Vec::as_slice).unwrap_or_default();
        for (name, given) in &run.given {
            if let (Some(name), Given::Option(value)) = (taken.iter().find(|taken| *taken == name), given) {
                options.insert(*name, value.clone());
            }
        }
    }
    Hint { verb, words: Vec::new(), options }
}

/// The command of this run, whose verb that is, without some of its options.
pub(crate) fn again(verb: &'static str, without: &[&str]) -> Hint {
    let mut hint = command(verb);
    let given = RUN.get().map(|run| run.given.as_slice()).unwrap_or_default();
    for (_, word) in given.iter().filter_map(|(name, given)| Some((name, given.word()?))) {
        hint = hint.policy(Path::new(word));
    }
    for (name, given) in given.iter().filter(|(name, _)| !without.contains(&&**name)) {
        hint = match given {
            Given::Flag => hint.word(format!("--{name}")),
            Given::Option(value) if !hint.options.contains_key(&**name) => hint.option(name, value),
            Given::Option(_) | Given::Word(_) => hint,
        };
    }
    hint
}

impl Given {
    fn word(&self) -> Option<&str> {
        if let Self::Word(word) = self { Some(word) } else { None }
    }
}

impl Hint {
    /// With a word as it is, such as an option without a value.
    pub(crate) fn word(mut self, word: impl fmt::Display) -> Self {
        self.words.push(word.to_string());
        self
    }

    /// With an option and its value.
    pub(crate) fn option(self, name: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        self.word(format!("--{name} {}", quoted(&value)))
    }

    /// With a policy. One from a stream is read from standard input again.
    pub(crate) fn policy(self, path: &Path) -> Self {
        let path = if streams::is_stream(path) { Path::new(STREAM) } else { path };
        let text = path.to_string_lossy();
        let is_option = text.starts_with('-') && path != Path::new(STREAM);
        let text = if is_option { Cow::Owned(format!("./{text}")) } else { text };
        self.word(quoted(&text))
    }

    /// With the policy of this run, or a word that stands for one.
    pub(crate) fn policy_of_run(self) -> Self {
        let given = RUN.get().into_iter().flat_map(|run| &run.given);
        let policy = given.filter(|(name, _)| name == "policy").find_map(|(_, given)| given.word());
        self.policy(Path::new(policy.unwrap_or("POLICY")))
    }

    /// With this lockfile, or the default one, in place of the run's.
    pub(crate) fn lock(mut self, lock: Option<&Path>) -> Self {
        match lock {
            Some(lock) => self.options.insert("lock", lock.to_string_lossy().into_owned()),
            None => self.options.remove("lock"),
        };
        self
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "edgeward {}", self.verb)?;
        self.words.iter().try_for_each(|word| write!(f, " {word}"))?;
        self.options.iter().try_for_each(|(name, value)| write!(f, " --{name} {}", quoted(value)))
    }
}
