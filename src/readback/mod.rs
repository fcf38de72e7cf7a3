//! Rulesets read back, from what `emit` writes and from what nft lists.
//!
//! ```text
//! nft text ─text→ ┐
//!                 ├─ forms ─meaning→ Rule ─table→ Ruleset
//! nft JSON ─json→ ┘
//! ```
//!
//! What is read is taken for what the kernel does, so nothing in it may go unread: a construct that [`Ruleset`] has no
//! place for is an error, however harmless it looks. The two formats share all behind the form, so they cannot differ
//! in what a rule means. What is for people only (titles, notes, comments of tables, chains, sets and counters) is
//! left out; the comments of rules are kept.
//!
//! Tried with nft 1.0.6; forms that later versions list (up to 1.1.x) are named where they differ.

mod elements;
mod form;
mod json;
mod meaning;
mod names;
mod table;
mod text;

use crate::diag::{Code, Diagnostic, legible};
use crate::ruleset::Ruleset;
use crate::source::{Source, Span};

/// Something read, or the first reason why not.
type Reading<T> = Result<T, Box<Diagnostic>>;

/// Reads a ruleset from nft text or nft JSON, whichever it is.
///
/// # Errors
/// The first thing that is no ruleset, or that edgeward does not know.
///
/// ```
/// use edgeward::{readback, source::Source};
///
/// let text = "table inet edgeward {\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t}\n}\n";
/// assert_eq!(readback::read(&Source::new("live.nft", text))?.chains.len(), 1);
/// # Ok::<(), Box<edgeward::diag::Diagnostic>>(())
/// ```
pub fn read(source: &Source) -> Result<Ruleset, Box<Diagnostic>> {
    // No command of nft begins with a bracket.
    if source.text().trim_start().starts_with(['{', '[']) { json(source) } else { text(source) }
}

/// Reads nft text: what [`emit::nft`](crate::emit::nft) writes, and what `nft list table inet edgeward` prints.
///
/// # Errors
/// As [`read`].
pub fn text(source: &Source) -> Result<Ruleset, Box<Diagnostic>> {
    text::read(source.text())
}

/// Reads nft JSON: what [`emit::json`](crate::emit::json()) writes, and what `nft -j list table inet edgeward` prints.
///
/// # Errors
/// As [`read`].
pub fn json(source: &Source) -> Result<Ruleset, Box<Diagnostic>> {
    json::read(source.text())
}

/// What is not a ruleset as nft has it.
fn malformed(span: Span, message: impl AsRef<str>, help: &str) -> Box<Diagnostic> {
    problem(Code::RulesetSyntax, span, message.as_ref(), help)
}

/// What nft may well know, but edgeward does not.
fn unknown(span: Span, message: impl AsRef<str>, help: &str) -> Box<Diagnostic> {
    problem(Code::UnknownConstruct, span, message.as_ref(), help)
}

fn problem(code: Code, span: Span, message: &str, help: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic { code, span, message: legible(message), help: Some(help.to_owned()) })
}

/// A piece of input between backticks, short enough for a sentence.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 48;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}
