//! Numbers and their nouns, as messages have them.

/// A number of things: `1 address`, `2 addresses`.
///
/// ```
/// # use edgeward::wording::count;
/// assert_eq!([count(0, "address"), count(1, "entry"), count(2, "entry")], ["0 addresses", "1 entry", "2 entries"]);
/// ```
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {}", noun(number, thing))
}

/// The noun for a number of things, which may be the last of several words: `other name`, `other names`.
pub fn noun(number: usize, thing: &str) -> String {
    let stem = |ending: &str| thing.strip_suffix(ending).unwrap_or(thing);
    let has = |endings: &[&str]| endings.iter().any(|ending| thing.ends_with(ending));
    match number {
        1 => thing.to_owned(),
        _ if has(&["s", "x", "z", "ch", "sh"]) => format!("{thing}es"),
        _ if thing.ends_with('y') && !has(&["ay", "ey", "oy", "uy"]) => format!("{}ies", stem("y")),
        _ => format!("{thing}s"),
    }
}

/// The word for a number of things, where it is no noun: `is` or `are`.
pub fn for_number<'a>(number: usize, one: &'a str, other: &'a str) -> &'a str {
    if number == 1 { one } else { other }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_have_their_plural() {
        let two = |thing: &str| noun(2, thing);
        assert_eq!(
            ["name", "address", "prefix", "query", "day", "switch"].map(two),
            ["names", "addresses", "prefixes", "queries", "days", "switches"]
        );
        assert_eq!(
            [noun(1, "other prefix"), two("other prefix"), two("byte")],
            ["other prefix", "other prefixes", "bytes"]
        );
        assert_eq!([for_number(1, "is", "are"), for_number(0, "is", "are")], ["is", "are"]);
    }
}
