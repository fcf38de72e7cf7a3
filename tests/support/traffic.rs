//! Floods, and the judge of what becomes of them while a ruleset changes.

pub mod flood;
pub mod judge;
pub mod site;
pub mod talk;
pub mod ways;
