//! Tables and paragraphs of plain text, for a terminal or a mail.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The columns of a page.
pub const WIDTH: usize = 100;
/// Spaces between two columns.
const GAP: usize = 2;
/// What is left of a broken word has more bytes than this.
const MIN_REST: usize = 4;
/// What the elastic column has at least.
const MIN_ELASTIC: usize = 24;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its head.
    pub head: &'static str,
    /// What it has at most; `None` for the elastic one, which has what the others leave.
    pub most: Option<usize>,
}

/// A table whose cells have several lines, each row with a paragraph below it.
#[derive(Debug)]
pub struct Table<'a> {
    columns: &'a [Column],
    rows: Vec<(Vec<Vec<String>>, String)>,
}

impl<'a> Table<'a> {
    /// A table without rows.
    pub fn new(columns: &'a [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row: the lines of each cell, and the paragraph.
    pub fn row(&mut self, cells: Vec<Vec<String>>, below: String) {
        self.rows.push((cells, below));
    }

    /// The table as text of `WIDTH` columns, with an empty line between its rows. No line ends in spaces.
    pub fn text(&self) -> String {
        self.separated("\n")
    }

    /// The same without empty lines, for rows that have one line each.
    pub fn dense(&self) -> String {
        self.separated("")
    }

    fn separated(&self, gap: &str) -> String {
        let widths = self.widths();
        let heads: Vec<Vec<String>> = self.columns.iter().map(|column| vec![column.head.to_owned()]).collect();
        let mut text = lines(&heads, &widths);
        for (cells, below) in &self.rows {
            text.push_str(gap);
            text.push_str(&lines(cells, &widths));
            text.push_str(&paragraph("  ", below, ""));
        }
        text
    }

    /// Each column is as wide as its longest line needs, within its bound.
    fn widths(&self) -> Vec<usize> {
        let natural = |index: usize, column: &Column| {
            let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(index)).flatten();
            cells.map(|line| line.width()).chain([column.head.len()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> =
            self.columns.iter().enumerate().map(|(index, column)| natural(index, column)).collect();
        let bounded = |(width, column): (&usize, &Column)| column.most.map_or(0, |most| most.min(*width));
        let rigid: usize = widths.iter().zip(self.columns).map(bounded).sum();
        let left = WIDTH.saturating_sub(rigid + GAP * (self.columns.len() - 1)).max(MIN_ELASTIC);
        for (width, column) in widths.iter_mut().zip(self.columns) {
            *width = (*width).min(column.most.unwrap_or(left));
        }
        widths
    }
}

/// A row: cells side by side, long lines wrapped.
fn lines(cells: &[Vec<String>], widths: &[usize]) -> String {
    let wrapped: Vec<Vec<String>> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| cell.iter().flat_map(|line| wrap(line, *width, "  ")).collect())
        .collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for at in 0..height {
        let mut line = String::new();
        for (cell, width) in wrapped.iter().zip(widths) {
            let piece = cell.get(at).map_or("", String::as_str);
            line.push_str(piece);
            line.push_str(&" ".repeat((width + GAP).saturating_sub(piece.width())));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A paragraph of `WIDTH` columns: what its first line begins with, the text, and what the other lines are indented
/// by in addition. Nothing where there is no text.
pub fn paragraph(first: &str, text: &str, indent: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    wrap(&format!("{first}{text}"), WIDTH, indent).into_iter().map(|line| line + "\n").collect()
}

/// Breaks a line at spaces; where a word is too long, after a dot or a hyphen, or anywhere. What follows begins with
/// the spaces that the line itself begins with, and the indent.
fn wrap(line: &str, width: usize, indent: &str) -> Vec<String> {
    let mut body = line.trim_start();
    let mut margin = line[..line.len() - body.len()].to_owned();
    let mut lines = Vec::new();
    loop {
        // Only as much of the text is read as a line has.
        let fits = fitting(body, width.saturating_sub(margin.len()));
        if fits == body.len() {
            break;
        }
        let after = |signs: &[char], end: usize| body[..end].rfind(signs).map(|at| at + 1).filter(|at| *at > 1);
        // A space right after what fits ends the line, too.
        let space = if body[fits..].starts_with(' ') { Some(fits) } else { after(&[' '], fits) };
        // No word leaves a crumb such as `com` on a line of its own.
        let end = body.floor_char_boundary(fits.min(body.len().saturating_sub(MIN_REST)));
        let cut = space.or_else(|| after(&['.'], end)).or_else(|| after(&['-', ',', ':', '/'], end)).unwrap_or(fits);
        lines.push(format!("{margin}{}", body[..cut].trim_end()));
        if lines.len() == 1 {
            margin.push_str(indent);
        }
        body = body[cut..].trim_start();
    }
    lines.push(format!("{margin}{}", body.trim_end()));
    lines
}

/// How many bytes of a text fit into a width; one character at least.
fn fitting(text: &str, width: usize) -> usize {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        used += character.width().unwrap_or(0);
        if used > width && at > 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_where_a_reader_expects_it() {
        assert_eq!(wrap("one two three", 8, "  "), ["one two", "  three"]);
        assert_eq!(wrap("  one two three", 9, ""), ["  one two", "  three"]);
        assert_eq!(wrap("registry.example.com", 12, ""), ["registry.", "example.com"]);
        assert_eq!(wrap("aaaaaaaaaa", 4, "  "), ["aaaa", "  aa", "  aa", "  aa"]);
        assert_eq!(wrap("short", 5, "  "), ["short"]);
        assert_eq!(wrap("", 5, "  "), [""]);
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(wrap("软件包仓库", 6, ""), ["软件包", "仓库"]);
    }

    #[test]
    fn no_line_is_wider_than_the_page() {
        let columns = [Column { head: "A", most: Some(10) }, Column { head: "B", most: None }];
        let mut table = Table::new(&columns);
        let cell = |text: &str, count| vec![text.repeat(count)];
        table.row(vec![cell("a", 30), cell("long-name.", 30)], "word ".repeat(50));
        table.row(vec![cell("a", 1), cell("b", 1)], String::new());
        let text = table.text();
        assert!(text.lines().all(|line| line.width() <= WIDTH && line.trim_end() == line), "{text}");
        let joined: String = text.split_whitespace().collect();
        assert!(joined.matches('a').count() > 60 && joined.matches("word").count() == 50, "{text}");
    }
}
