//! Records of comma-separated values (RFC 4180): UTF-8, lines that end in CR LF, quotes where they are needed.
//!
//! Written here, since an in-memory text cannot fail and fields are guarded; tests read it with an independent reader.

use crate::diag::is_invisible;

/// Writes records, the head among them.
pub fn records<'a>(rows: impl IntoIterator<Item = &'a [String]>) -> String {
    let mut text = String::new();
    for row in rows {
        let fields: Vec<String> = row.iter().map(|value| field(value)).collect();
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

fn field(value: &str) -> String {
    let value = guarded(value);
    // Programs set to another separator than a comma must not find one either.
    if value.contains([',', '"', ';']) { format!("\"{}\"", value.replace('"', "\"\"")) } else { value }
}

/// A value that no spreadsheet takes for a formula: an apostrophe is put before a sign that begins one, also where a
/// program that splits at another separator would see the beginning of a field.
fn guarded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut begins = true;
    for character in value.chars() {
        let character = if is_invisible(character) { ' ' } else { character };
        // The full-width forms count as well: some spreadsheets take them for the ASCII ones.
        if begins && matches!(character, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠') {
            text.push('\'');
        }
        begins = matches!(character, ',' | ';' | '"' | '|') || begins && character.is_whitespace();
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_have_to_be() {
        let row = ["plain", "a, b", "say \"yes\"", ""].map(str::to_owned);
        assert_eq!(records([&row[..]]), "plain,\"a, b\",\"say \"\"yes\"\"\",\r\n");
    }

    #[test]
    fn no_field_is_a_formula() {
        for (value, safe) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("  =1", "  '=1"),
            ("\t=1", " '=1"),
            ("a;=1", "a;'=1"),
            ("a\",=1", "a\",'=1"),
            ("＝1", "'＝1"),
            ("a-b=c", "a-b=c"),
        ] {
            assert_eq!(guarded(value), safe, "{value}");
        }
    }
}
