//! `edgeward check`.

use std::path::{Path, PathBuf};

use crate::catalog::Catalog;
use crate::cli::context::{
    ListFormat, LoadedPolicy, LockArguments, PolicyTarget, age_warning, at_least, load_catalog, load_if_exists,
    load_policy,
};
use crate::cli::document::{CheckDocument, CheckedPolicy, DiagnosticDocument};
use crate::cli::failure::{Failure, Message};
use crate::cli::render;
use crate::diag::{Diagnostic, Problems, Severity};
use crate::lint::lint;
use crate::source::Source;

/// Check policies and report all problems in them
///
/// Reads the policies, the lists of peers that they name, and the age of their lockfiles: no DNS, no kernel. Problems
/// have a file, a line and a code that docs/diagnostics.md explains. The exit code is 2 if a policy has an error;
/// warnings and notes do not change it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward check /etc/edgeward/policy.yaml
  edgeward check --target idc-gateway policies/*.yaml
  edgeward check policies/*.yaml --format json | jq -r '.diagnostics[] | select(.severity == \"error\") | .message'")]
pub(crate) struct Arguments {
    /// The policy files
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<PathBuf>,
    #[command(flatten)]
    target: PolicyTarget,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let mut checked = Checked { format: arguments.format, document: CheckDocument::default() };
    let mut failures: Option<Failure> = None;
    // A policy with errors does not keep the others from being checked.
    for path in &arguments.policies {
        if let Err(failure) = checked.check(path, &catalog, &arguments.target) {
            checked.add_failed(path, &failure);
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

/// The policies that have been checked, and what was found in them.
struct Checked {
    format: ListFormat,
    document: CheckDocument,
}

impl Checked {
    fn check(&mut self, path: &Path, catalog: &Catalog, target: &PolicyTarget) -> Result<(), Failure> {
        let loaded = load_policy(path, catalog, target.target, Severity::Note)?;
        self.add(&loaded.source, &loaded.diagnostics);
        let lock = LockArguments { lock: None }.path(path);
        if let Some(resolution) = load_if_exists(&lock, &loaded.cloud.metadata())?
            && let Some(warning) = age_warning(path, &lock, &loaded, &resolution)
        {
            render::warning(&warning);
            let row = DiagnosticDocument::unplaced(Severity::Warning, Some(lock.display().to_string()), warning);
            self.document.diagnostics.push(row);
        }
        let LoadedPolicy { source, intent, .. } = loaded;
        let mut problems = Problems::default();
        lint(&intent, &catalog.cloud.services(), &mut problems);
        let problems = at_least(Severity::Note, problems);
        render::diagnostics(&source, &problems);
        self.add(&source, &problems);
        let (flows, names) = (intent.flows.len(), intent.names().len());
        if self.format == ListFormat::Text {
            render::output(&format!(
                "{}: valid; {}, {} to resolve\n",
                source.name,
                render::count(flows, "flow"),
                render::count(names, "name")
            ))?;
        }
        let (file, name) = (path.to_owned(), Some(intent.name));
        let row = CheckedPolicy { file, valid: true, name, flows: Some(flows), names: Some(names) };
        self.document.policies.push(row);
        Ok(())
    }

    fn add(&mut self, source: &Source, diagnostics: &[Diagnostic]) {
        let rows = diagnostics.iter().map(|diagnostic| DiagnosticDocument::placed(source, diagnostic));
        self.document.diagnostics.extend(rows);
    }

    fn add_failed(&mut self, path: &Path, failure: &Failure) {
        for message in &failure.messages {
            match message {
                Message::Diagnostics(source, diagnostics) => self.add(source, diagnostics),
                Message::Error(error) => {
                    let (file, message) = (Some(path.display().to_string()), format!("{error:#}"));
                    self.document.diagnostics.push(DiagnosticDocument::unplaced(Severity::Error, file, message));
                }
            }
        }
        let file = path.to_owned();
        self.document.policies.push(CheckedPolicy { file, valid: false, name: None, flows: None, names: None });
    }
}
