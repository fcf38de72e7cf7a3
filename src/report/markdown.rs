//! Tables of GitHub Flavored Markdown.

use crate::diag::is_invisible;

/// Writes a table: its head, and its rows. Cells are Markdown already.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
    [head, rule].iter().chain(rows).map(|cells| line(cells)).collect()
}

/// A text as Markdown that shows exactly it, on one line: in a cell, in a list, in a paragraph.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&' | '#' | '!' | '$' => {
                escaped.extend(['\\', character]);
            }
            // A mention of a user or a team would notify them.
            '@' => escaped.push_str("&#64;"),
            character if is_invisible(character) => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}

/// A name, an address or a port, which has no character that ends a code span or a cell.
pub fn code(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_shows_as_it_was_written() {
        assert_eq!(escaped("a|b *c* <d> @e\nf"), r"a\|b \*c\* \<d\> &#64;e f");
    }

    #[test]
    fn a_table_has_a_head_and_a_rule() {
        let text = table(&["A", "B"], &[vec!["1".to_owned(), code("x")]]);
        assert_eq!(text, "| A | B |\n| --- | --- |\n| 1 | `x` |\n");
    }
}
