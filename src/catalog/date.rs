//! Dates on which documents were read or updated.

use std::fmt;

use crate::diag::Code;
use crate::yaml::scalar;

/// A date of the calendar, as `2026-11-25`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Date(String);

impl Date {
    /// The date as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalar!(Date, { "type": "string", "format": "date" }, "Date", |node, problems| {
    node.parsed("a date", (Code::UnknownValue, "write `2026-11-25`"), problems, |text| {
        let date: jiff::civil::Date = text.parse().ok()?;
        // Other forms of ISO 8601 are read as well: one form is enough.
        (date.to_string() == text).then(|| Self(text.to_owned()))
    })
});
