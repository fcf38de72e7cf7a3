//! The command line: arguments, messages and exit codes.
//!
//! `dispatch` turns arguments into a verb, `verb` has one file for each, and the others are what verbs share.

mod context;
mod converge;
mod dispatch;
mod failure;
mod manifest;
mod preflight;
mod render;
mod report;
mod verb;

pub use dispatch::run;
