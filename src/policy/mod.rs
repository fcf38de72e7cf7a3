//! The policy file: its syntax, and what it means.

mod check;
mod resolve;
pub mod syntax;

pub use check::check;

use crate::diag::Problems;
use crate::source::Source;
use crate::yaml::{Decode, read};

/// Reads a policy; every problem is recorded.
pub fn parse(source: &Source, problems: &mut Problems) -> Option<syntax::Policy> {
    let node = read(source, problems)?;
    syntax::Policy::decode(&node, problems)
}

/// The JSON Schema of the policy file, from the types that decode it.
pub fn schema() -> schemars::Schema {
    let mut schema = schemars::schema_for!(syntax::Policy);
    schema.insert("title".to_owned(), "edgeward policy".into());
    schema
}
