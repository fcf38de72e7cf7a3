//! What a verb that changes rules has done: sentences while it runs, or one document at its end.

use super::pending_sentence;
use crate::cli::comparison::Consequences;
use crate::cli::context::ListFormat;
use crate::cli::document::{ChangeDocument, PendingDocument};
use crate::cli::failure::{Exit, Failure, continued};
use crate::cli::render;
use crate::host::generations::{Pending, State, named};

/// A report on a run.
pub(crate) struct Report {
    format: ListFormat,
    before: Option<Standing>,
    after: Option<Standing>,
    document: ChangeDocument,
    /// Why standard output does not take the report.
    lost: Option<std::io::Error>,
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
        Self { format, before: None, after: None, document: ChangeDocument::default(), lost: None }
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

    /// Prints text for people. A run does not end because standard output is full or its terminal is gone: a change that
    /// has begun is completed.
    pub(crate) fn say(&mut self, text: &str) {
        if !self.is_json() {
            self.print(text);
        }
    }

    fn print(&mut self, text: &str) {
        if self.lost.is_none() {
            self.lost = render::try_output(text).err();
        }
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
        let done = if self.is_json() { self.end_document(done) } else { done };
        let Some(error) = self.lost.take() else { return done };
        if self.document.dry_run {
            return continued(done.err(), Err(render::not_written(error)));
        }
        // The exit code says what happened to the rules, so this is a warning.
        render::warning(&format!("{}: {error}{}", render::NOT_WRITTEN, self.standing(&done)));
        done
    }

    /// What the lost report says, in a sentence. After an error, its message says what happened.
    fn standing(&self, done: &Result<(), Failure>) -> String {
        let (Ok(()), Some(after)) = (done, &self.after) else { return String::new() };
        let changed = match self.document.changed || self.has_other_records() {
            true => "the change was made",
            false => "nothing was changed",
        };
        let pending = after.pending.as_ref().map(|pending| format!("; {}", pending_sentence(pending)));
        format!("; {changed}: {} is in force{}", named(after.current), pending.unwrap_or_default())
    }

    fn end_document(&mut self, done: Result<(), Failure>) -> Result<(), Failure> {
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
        let printed = render::document(&self.document).map(|text| self.print(&text));
        continued(done.err(), printed)
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
