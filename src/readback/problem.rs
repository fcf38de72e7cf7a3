//! Problems of a ruleset that is read.

use crate::diag::{Code, Diagnostic, legible};
use crate::source::Span;

/// Something read, or the first problem.
pub type Reading<T> = Result<T, Box<Diagnostic>>;

/// Characters of the input that a message quotes.
const MAX_QUOTED: usize = 48;

/// A problem with something that is not valid nft, or that the kernel refuses.
pub fn malformed(span: Span, message: impl AsRef<str>, help: &str) -> Box<Diagnostic> {
    problem(Code::RulesetSyntax, span, message.as_ref(), help)
}

/// A problem with something that may be valid nft, and that edgeward does not know.
pub fn unknown(span: Span, message: impl AsRef<str>, help: &str) -> Box<Diagnostic> {
    problem(Code::UnknownConstruct, span, message.as_ref(), help)
}

fn problem(code: Code, span: Span, message: &str, help: &str) -> Box<Diagnostic> {
    Box::new(Diagnostic { code, span, message: legible(message), help: Some(help.to_owned()) })
}

/// A piece of the input in backticks, short enough for a sentence.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}
