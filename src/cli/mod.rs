//! The command line: arguments, messages and exit codes.
//!
//! `dispatch` turns arguments into a verb, `verb` has one file for each, and the other modules are what verbs share.

mod change;
mod comparison;
mod context;
mod converge;
mod disk;
mod dispatch;
mod document;
mod failure;
mod hint;
mod preflight;
mod prove;
mod render;
mod verb;

pub use dispatch::{command, run};
