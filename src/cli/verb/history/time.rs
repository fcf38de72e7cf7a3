//! The times that a history is limited by.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, civil};

use crate::host::clock;
use crate::policy::syntax::parse_duration;

/// A time as a user writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Time(Timestamp),
    /// A day of UTC, from its begin to its end.
    Day(civil::Date),
    Ago(SignedDuration),
}

/// Reads a time.
pub(super) fn parse(text: &str) -> Result<Limit, String> {
    let ago = || parse_duration(text).and_then(|ago| SignedDuration::try_from(ago).ok()).map(Limit::Ago);
    let time = || text.parse().ok().map(Limit::Time);
    let day = || text.parse().ok().map(Limit::Day);
    let limit = ago().or_else(time).or_else(day);
    limit.ok_or_else(|| "expected `2026-11-24`, `2026-11-24T08:00:00Z`, or a time before now: `2h`, `7d`".to_owned())
}

fn midnight(day: civil::Date) -> Option<Timestamp> {
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

impl Limit {
    /// The first moment that is shown, if this is where the history begins.
    pub(super) fn begin(self) -> Timestamp {
        match self {
            Self::Time(time) => time,
            Self::Day(day) => midnight(day).unwrap_or(Timestamp::MIN),
            Self::Ago(ago) => clock::now().checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }

    /// The last moment that is shown, if this is where the history ends. Events have whole seconds.
    pub(super) fn end(self) -> Timestamp {
        match self {
            Self::Day(day) => {
                let next = day.checked_add(1.day()).ok().and_then(midnight);
                next.and_then(|next| next.checked_sub(1.second()).ok()).unwrap_or(Timestamp::MAX)
            }
            other => other.begin(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let times = |text: &str| parse(text).map(|limit| [limit.begin(), limit.end()].map(|time| time.to_string()));
        assert_eq!(times("2026-11-24").unwrap(), ["2026-11-24T00:00:00Z", "2026-11-24T23:59:59Z"]);
        assert_eq!(times("2026-11-24T08:00:00+02:00").unwrap(), ["2026-11-24T06:00:00Z"; 2]);
        assert_eq!(parse("2h"), Ok(Limit::Ago(SignedDuration::from_hours(2))));
        for text in ["", "yesterday", "2", "2026-13-01", "08:00"] {
            assert!(times(text).is_err(), "{text}");
        }
        assert!(times("9999-12-31").is_ok());
    }
}
