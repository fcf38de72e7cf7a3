//! `check`: the problems of policies.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::diag::{Diagnostic, Severity};
use crate::report::DocumentVersion;
use crate::source::Source;

/// What `edgeward check --format json` prints: the policies, and all problems in them.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct CheckDocument {
    /// The version of the document's format.
    pub(crate) version: DocumentVersion,
    /// Whether no file has an error.
    pub(crate) valid: bool,
    /// The policies, in the order of the arguments.
    pub(crate) policies: Vec<CheckedPolicy>,
    /// The lockfiles among the arguments, in their order.
    pub(crate) lockfiles: Vec<CheckedLockfile>,
    /// The problems of all files, in the order of the files and of their lines.
    pub(crate) diagnostics: Vec<DiagnosticDocument>,
}

/// A policy.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct CheckedPolicy {
    /// Its file.
    pub(crate) file: PathBuf,
    /// Whether it has no error.
    pub(crate) valid: bool,
    /// Its name; `null` if it has an error.
    pub(crate) name: Option<String>,
    /// The number of flows that it opens, each in one direction or both; `null` if it has an error.
    pub(crate) flows: Option<usize>,
    /// The number of names that DNS is asked for; `null` if it has an error.
    pub(crate) names: Option<usize>,
}

/// A lockfile.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub(crate) struct CheckedLockfile {
    /// Its file.
    pub(crate) file: PathBuf,
    /// Whether it has no error.
    pub(crate) valid: bool,
    /// The number of its names; `null` if it has an error.
    pub(crate) names: Option<usize>,
    /// The number of their addresses; `null` if it has an error.
    pub(crate) addresses: Option<usize>,
    /// When the name whose answer is the oldest was last answered; `null` if no name has an address.
    pub(crate) oldest: Option<Timestamp>,
}

/// A problem.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Diagnostic")]
pub(crate) struct DiagnosticDocument {
    /// The kind of the problem, as docs/diagnostics.md lists them; `null` if the problem has no place in a file: a file
    /// that cannot be read, an old lockfile.
    pub(crate) code: Option<&'static str>,
    /// How severe it is.
    pub(crate) severity: SeverityDocument,
    /// The file; `null` if the problem is not about one.
    pub(crate) file: Option<String>,
    /// The line, from 1; `null` without a place.
    #[schemars(range(min = 1))]
    pub(crate) line: Option<usize>,
    /// The column in characters, from 1; `null` without a place.
    #[schemars(range(min = 1))]
    pub(crate) column: Option<usize>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it; `null` if the message says it.
    pub(crate) help: Option<String>,
}

/// How severe a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Severity")]
pub(crate) enum SeverityDocument {
    /// Information; nothing has to be changed.
    Note,
    /// Works, but perhaps not as intended.
    Warning,
    /// Nothing is compiled.
    Error,
}

impl From<Severity> for SeverityDocument {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Note => Self::Note,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
        }
    }
}

impl DiagnosticDocument {
    /// A problem with its place.
    pub(crate) fn placed(source: &Source, diagnostic: &Diagnostic) -> Self {
        let at = source.position(diagnostic.span.start);
        Self {
            code: Some(diagnostic.code.name()),
            severity: diagnostic.code.severity().into(),
            file: Some(source.name.clone()),
            line: Some(at.line),
            column: Some(at.column),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
        }
    }

    /// A problem without a place.
    pub(crate) fn unplaced(severity: Severity, file: Option<String>, message: String) -> Self {
        Self { code: None, severity: severity.into(), file, line: None, column: None, message, help: None }
    }
}
