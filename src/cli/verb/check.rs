//! `edgeward check`.

use std::path::{Path, PathBuf};

use crate::catalog::Catalog;
use crate::cli::context::{
    ListFormat, LoadedPolicy, LockArguments, PolicyTarget, age_warning, at_least, check_answers, load_catalog,
    load_if_exists, load_policy, load_text,
};
use crate::cli::document::{CheckDocument, CheckedLockfile, CheckedPolicy, DiagnosticDocument};
use crate::cli::failure::{Failure, Message};
use crate::cli::render;
use crate::diag::{Diagnostic, Problems, Severity, shown};
use crate::host::{clock, streams};
use crate::lint::lint;
use crate::report::duration;
use crate::resolution::Resolution;
use crate::source::Source;
use crate::wording::count;

/// How the names of lockfiles end.
const LOCKFILE_ENDING: &str = ".lock.yaml";

/// Check policies and report all problems in them
///
/// Reads the policies, the lists of peers that they name, and the age of their lockfiles: no DNS, no kernel. Problems
/// have a file, a line and a code that docs/diagnostics.md explains. A lockfile among the files is checked as one. The
/// exit code is 2 if a file has an error; warnings and notes do not change it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward check /etc/edgeward/policy.yaml
  edgeward check --target idc-gateway policies/*.yaml
  envsubst < policy.yaml.in | edgeward check -
  edgeward check policies/*.yaml --format json | jq -r '.diagnostics[] | select(.severity == \"error\") | .message'")]
pub(crate) struct Arguments {
    /// The policy files, and lockfiles; `-` is standard input
    #[arg(required = true, value_name = "POLICY")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    target: PolicyTarget,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let mut checked = Checked { arguments, catalog: &catalog, document: CheckDocument::default() };
    let mut failures: Option<Failure> = None;
    // A policy with errors does not keep the others from being checked.
    for path in &arguments.files {
        if let Err(failure) = checked.check(path) {
            failures = Some(match failures {
                None => failure,
                Some(earlier) => earlier.and(failure),
            });
        }
    }
    checked.document.valid = failures.is_none();
    if arguments.format == ListFormat::Json {
        render::output(&render::document(&checked.document)?)?;
    }
    failures.map_or(Ok(()), Err)
}

/// The files that have been checked, and what was found in them.
struct Checked<'a> {
    arguments: &'a Arguments,
    catalog: &'a Catalog,
    document: CheckDocument,
}

impl Checked<'_> {
    fn check(&mut self, path: &Path) -> Result<(), Failure> {
        let source = streams::read(path);
        let is_lockfile = is_lockfile(path, source.as_ref().ok());
        let done = source.map_err(Failure::from).and_then(|source| match is_lockfile {
            true => self.lockfile(path, source),
            false => self.policy(path, source),
        });
        if let Err(failure) = &done {
            self.add_problems(path, failure);
            let file = path.to_owned();
            match is_lockfile {
                true => self.document.lockfiles.push(CheckedLockfile { file, ..Default::default() }),
                false => self.document.policies.push(CheckedPolicy { file, ..Default::default() }),
            }
        }
        done
    }

    fn policy(&mut self, path: &Path, source: Source) -> Result<(), Failure> {
        let loaded = load_text(source, path, self.catalog, self.arguments.target.target, Severity::Note)?;
        self.add(&loaded.source, &loaded.diagnostics);
        self.check_age(path, &loaded)?;
        let LoadedPolicy { source, intent, .. } = loaded;
        let mut problems = Problems::default();
        lint(&intent, &self.catalog.cloud.services(), &mut problems);
        let problems = at_least(Severity::Note, problems);
        render::diagnostics(&source, &problems);
        self.add(&source, &problems);
        let (flows, names) = (intent.open_flows(), intent.names().len());
        self.print(&format!(
            "{}: valid; {}, {} to resolve\n",
            source.name,
            count(flows, "flow"),
            count(names, "name")
        ))?;
        let (file, name) = (path.to_owned(), Some(intent.name));
        let row = CheckedPolicy { file, valid: true, name, flows: Some(flows), names: Some(names) };
        self.document.policies.push(row);
        Ok(())
    }

    /// Warns if the answers in a policy's lockfile are old.
    fn check_age(&mut self, path: &Path, loaded: &LoadedPolicy) -> Result<(), Failure> {
        let lock = LockArguments { lock: None };
        let Some(file) = lock.find(path) else { return Ok(()) };
        let resolution = match load_if_exists(&file, &loaded.cloud.metadata()) {
            // It is checked by itself.
            Err(_) if self.arguments.files.contains(&file) => return Ok(()),
            resolution => resolution?,
        };
        if let Some(resolution) = &resolution {
            check_answers(loaded, resolution)?;
        }
        let resolve = lock.resolve_command(path);
        if let Some(warning) = resolution.and_then(|resolution| age_warning(&file, &resolve, loaded, &resolution)) {
            render::warning(&warning);
            let row = DiagnosticDocument::unplaced(Severity::Warning, Some(shown(&file)), warning);
            self.document.diagnostics.push(row);
        }
        Ok(())
    }

    fn lockfile(&mut self, path: &Path, source: Source) -> Result<(), Failure> {
        let mut problems = Problems::default();
        let resolution = Resolution::parse_refusing(&source, &self.catalog.cloud.metadata(), &mut problems);
        let problems = at_least(Severity::Note, problems);
        let Some(Resolution { names, .. }) = resolution else { return Err(Failure::invalid(source, problems)) };
        render::diagnostics(&source, &problems);
        self.add(&source, &problems);
        // Otherwise the age was compared with the policy's limit already.
        if let Some(policy) = policy_of(path).filter(|policy| !self.arguments.files.contains(policy))
            && let Ok(loaded) = load_policy(&policy, self.catalog, self.arguments.target.target, Severity::Error)
        {
            self.check_age(&policy, &loaded)?;
        }
        let addresses = names.values().map(|record| record.addresses.len()).sum();
        let newest = names.values().filter_map(|record| record.addresses.values().map(|seen| seen.last).max());
        let oldest = newest.min();
        let age = oldest.map_or_else(String::new, |seen| {
            format!(", the oldest answer is {} old", duration(clock::now().duration_since(seen)))
        });
        self.print(&format!(
            "{}: valid; a lockfile with {} of {}{age}\n",
            source.name,
            count(addresses, "address"),
            count(names.len(), "name"),
        ))?;
        self.document.lockfiles.push(CheckedLockfile {
            file: path.to_owned(),
            valid: true,
            names: Some(names.len()),
            addresses: Some(addresses),
            oldest,
        });
        Ok(())
    }

    fn print(&self, line: &str) -> Result<(), Failure> {
        if self.arguments.format == ListFormat::Text { render::output(line) } else { Ok(()) }
    }

    fn add(&mut self, source: &Source, diagnostics: &[Diagnostic]) {
        let rows = diagnostics.iter().map(|diagnostic| DiagnosticDocument::placed(source, diagnostic));
        self.document.diagnostics.extend(rows);
    }

    fn add_problems(&mut self, path: &Path, failure: &Failure) {
        for message in &failure.messages {
            match message {
                Message::Diagnostics(source, diagnostics) => self.add(source, diagnostics),
                Message::Error(error) => {
                    let (file, message) = (Some(shown(path)), format!("{error:#}"));
                    self.document.diagnostics.push(DiagnosticDocument::unplaced(Severity::Error, file, message));
                }
            }
        }
    }
}

/// Whether a file is a lockfile: by its name, or by its keys, none of which a policy has.
fn is_lockfile(path: &Path, source: Option<&Source>) -> bool {
    let has = |key: &str| source.is_some_and(|source| source.text().lines().any(|line| line.starts_with(key)));
    path.to_string_lossy().ends_with(LOCKFILE_ENDING) || (has("names:") && !has("region:") && !has("networks:"))
}

/// The policy that a lockfile belongs to, if it is beside it.
fn policy_of(lockfile: &Path) -> Option<PathBuf> {
    let stem = lockfile.to_str()?.strip_suffix(LOCKFILE_ENDING)?;
    ["yaml", "yml", "json"].iter().map(|ending| PathBuf::from(format!("{stem}.{ending}"))).find(|path| path.is_file())
}
