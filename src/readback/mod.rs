//! Rulesets read back, from what `emit` writes and from what nft lists.
//!
//! ```text
//! nft text ─text→ ┐
//!                 ├─ forms ─meaning→ Rule ─table→ Ruleset
//! nft JSON ─json→ ┘
//! ```
//!
//! The result stands for what the kernel does, so nothing may be skipped: a construct that [`Ruleset`] cannot express is
//! an error, however harmless it looks. Both formats are read into the same forms, so they cannot differ in what a rule
//! means. Titles, notes, and the comments of tables, chains, sets and counters are for people only, and are left out.
//! The comments of rules are kept.
//!
//! Tested with nft 0.9.8 to 1.1.7. Where later versions (up to 1.1.x) list another form, the code that reads it says so.

mod decimal;
mod elements;
mod form;
mod json;
mod meaning;
mod names;
mod problem;
mod table;
mod text;

use crate::diag::Diagnostic;
use crate::ruleset::Ruleset;
use crate::source::Source;

/// Reads a ruleset from nft text or nft JSON.
///
/// # Errors
/// The first thing that is not valid, or that edgeward does not know.
///
/// ```
/// use edgeward::{readback, source::Source};
///
/// let text = "table inet edgeward {\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t}\n}\n";
/// assert_eq!(readback::read(&Source::new("live.nft", text))?.chains.len(), 1);
/// # Ok::<(), Box<edgeward::diag::Diagnostic>>(())
/// ```
pub fn read(source: &Source) -> Result<Ruleset, Box<Diagnostic>> {
    // No command of nft starts with a bracket.
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
