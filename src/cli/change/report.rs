//! What a verb that changes rules has done: sentences while it runs, or one document at its end.

use crate::cli::comparison::Consequences;
use crate::cli::context::ListFormat;
use crate::cli::document::{ChangeDocument, PendingDocument};
use crate::cli::failure::{Exit, Failure};
use crate::cli::render;
use crate::host::generations::{Pending, State};

/// A report on a run.
pub(crate) struct Report {
    format: ListFormat,
    before: Option<Standing>,
    after: Option<Standing>,
    document: ChangeDocument,
}

/// The records by which a change is noticed: what happens to the host now, at the deadline, and at the next boot.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    current: Option<u64>,
    confirmed: Option<u64>,
    pending: Option<Pending>,
}

impl Report {
    /// A report on a run that has not done anything yet.
    pub(crate) fn new(format: ListFormat) -> Self {
        Self { format, before: None, after: None, document: ChangeDocument::default() }
    }

    /// A report on a run that only says what it would do.
    pub(crate) fn dry_run(format: ListFormat) -> Self {
        let mut report = Self::new(format);
        report.document.dry_run = true;
        report
    }

    /// Whether programs read it.
    pub(crate) fn is_json(&self) -> bool {
        self.format == ListFormat::Json
    }

    /// Prints text for people.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.is_json() { Ok(()) } else { render::output(text) }
    }

    /// Notes the records as the run finds them. What other runs changed since the last note is not counted.
    pub(crate) fn found(&mut self, state: &State) {
        self.document.changed |= self.has_other_records();
        self.before = Some(Standing::of(state));
        self.after.clone_from(&self.before);
    }

    /// Notes the records as the run leaves them.
    pub(crate) fn left(&mut self, state: &State) {
        self.after = Some(Standing::of(state));
    }

    /// Notes whether the kernel was changed; of a dry run, whether it would be.
    pub(crate) fn changed(&mut self, changed: bool) {
        self.document.changed |= changed;
    }

    /// Notes which packets are treated differently.
    pub(crate) fn differ(&mut self, consequences: &Consequences) {
        if self.is_json() {
            self.document.newly_allowed = consequences.newly_allowed();
            self.document.newly_denied = consequences.newly_denied();
        }
    }

    /// Ends the run: prints the document, if programs read it. After an error that left the question open, there is no
    /// document, and only the exit code and the message say what happened.
    pub(crate) fn end(mut self, done: Result<(), Failure>) -> Result<(), Failure> {
        if !self.is_json() {
            return done;
        }
        if let Err(failure) = &done {
            if matches!(failure.exit, Exit::Usage | Exit::System) {
                return done;
            }
            self.document.refused.clone_from(&failure.refusals);
            if !self.document.refused.is_empty() && !self.document.dry_run {
                self.document.newly_allowed.clear();
                self.document.newly_denied.clear();
            }
            self.document.unresolved = failure.unresolved.iter().map(ToString::to_string).collect();
        }
        // A plan that is refused would change nothing.
        self.document.changed &= !self.document.dry_run || self.document.refused.is_empty();
        self.document.changed |= self.has_other_records();
        if let Some(after) = &self.after {
            self.document.generation = after.current;
            self.document.pending = after.pending.as_ref().map(PendingDocument::from);
        }
        let printed = render::document(&self.document).and_then(|text| render::output(&text));
        match (done, printed) {
            (Ok(()), printed) => printed,
            (Err(failure), Ok(())) => Err(failure),
            (Err(failure), Err(later)) => Err(failure.and(later)),
        }
    }

    fn has_other_records(&self) -> bool {
        self.before != self.after
    }
}

impl Standing {
    fn of(state: &State) -> Self {
        Self { current: state.current, confirmed: state.confirmed, pending: state.pending.clone() }
    }
}
