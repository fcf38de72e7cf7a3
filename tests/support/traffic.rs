//! Floods, and the judge that counts what happens to them while a ruleset changes.

pub mod flood;
pub mod judge;
pub mod site;
pub mod talk;
pub mod ways;
