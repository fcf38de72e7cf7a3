//! Problems of a ruleset that is read.

use crate::diag::{Code, Diagnostic, legible};
use crate::source::Span;

/// Something read, or the first problem.
pub type Reading<T> = Result<T, Box<Diagnostic>>;

/// Characters of the input that a message quotes.
const MAX_QUOTED: usize = 48;

/// Rules in a table. With its chain and its counter, edgeward writes a rule in more than 180 bytes, so a file of 64 MiB has
/// fewer; one of two million short rules would take a multiple of its size.
const MAX_RULES: usize = 400_000;

/// Refuses the rule after the last that a table may have.
pub fn check_rules(count: usize, span: Span) -> Reading<()> {
    match count > MAX_RULES {
        true => Err(malformed(span, format!("more than {MAX_RULES} rules"), "no policy has so many: check the path")),
        false => Ok(()),
    }
}

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
