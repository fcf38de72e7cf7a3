//! Spans and positions in a source text.

use std::fmt;
use std::sync::OnceLock;

/// A range of bytes in a source text, half open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte; equal to `start` if the span is a position.
    pub end: usize,
}

/// A value and where it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A value that is not written anywhere, such as a default.
    pub fn unwritten(value: T) -> Self {
        Self { value, span: Span::default() }
    }

    /// Whether the value is written in the source.
    pub fn is_written(&self) -> bool {
        self.span != Span::default()
    }

    /// Applies a function to the value and keeps the span.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: f(self.value), span: self.span }
    }
}

/// A source text with the name that messages show for it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path as the user wrote it.
    pub name: String,
    text: String,
    /// Computed at the first question and kept: a policy may have a hundred thousand prefixes, and each has its
    /// position, possibly all in one line.
    index: OnceLock<Index>,
}

/// What positions are computed from.
#[derive(Clone, Debug)]
struct Index {
    /// Offsets of the first byte of each line.
    line_starts: Vec<usize>,
    /// How many characters begin before each block of [`BLOCK`] bytes.
    characters: Vec<usize>,
}

/// The bytes between two counts of characters.
const BLOCK: usize = 256;

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text) == (&other.name, &other.text)
    }
}

impl Eq for Source {}

/// A line and a column, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Source {
    /// Wraps a text. A leading byte order mark is dropped, so that column 1 is the first visible character.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        const MARK: &str = "\u{feff}";
        let mut text = text.into();
        if text.starts_with(MARK) {
            text.drain(..MARK.len());
        }
        Self { name: name.into(), text, index: OnceLock::new() }
    }

    /// The text, without a byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text as a value.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The number of the line that has a byte offset, from 1. Offsets beyond the end count as the end.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts().partition_point(|start| *start <= offset)
    }

    /// The bytes of the line that has an offset, without its line end.
    pub fn line_span(&self, offset: usize) -> Span {
        let line = self.line(offset);
        let start = self.line_start(line);
        let end = self.line_starts().get(line).map_or(self.text.len(), |next| next - 1);
        let end = start + self.text[start..end].trim_end_matches('\r').len();
        Span { start, end }
    }

    /// The position of a byte offset. Offsets beyond the end count as the end.
    pub fn position(&self, offset: usize) -> Position {
        let line = self.line(offset);
        Position { line, column: self.characters(offset) - self.characters(self.line_start(line)) + 1 }
    }

    /// How many characters begin before an offset.
    fn characters(&self, offset: usize) -> usize {
        let (before, rest) = self.block(offset.min(self.text.len()));
        before + characters(rest)
    }

    /// How many characters begin before the block of an offset, and the bytes between the two: fewer than a block.
    fn block(&self, offset: usize) -> (usize, &[u8]) {
        let block = offset / BLOCK;
        (self.index().characters[block], &self.text.as_bytes()[block * BLOCK..offset])
    }

    fn line_starts(&self) -> &[usize] {
        &self.index().line_starts
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let newlines = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            let line_starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
            let counts = self.text.as_bytes().chunks_exact(BLOCK).scan(0, |sum, block| {
                *sum += characters(block);
                Some(*sum)
            });
            Index { line_starts, characters: std::iter::once(0).chain(counts).collect() }
        })
    }

    /// The offset of the first byte of a line.
    fn line_start(&self, line: usize) -> usize {
        self.line_starts()[line - 1]
    }
}

/// How many characters begin in some bytes of UTF-8.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| !matches!(byte, 0x80..=0xbf)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("x", "\u{feff}ä: 1\r\nb: é!");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position("ä".len()), Position { line: 1, column: 2 });
        assert_eq!(source.position("ä: 1\r\nb: é".len()), Position { line: 2, column: 5 });
        assert_eq!(source.position(1000), Position { line: 2, column: 6 });
    }

    /// A flow of a hundred thousand peers may be one line: what a position reads must not grow with it.
    #[test]
    fn a_position_in_a_long_line_reads_less_than_a_block() {
        let text = "first\n".to_owned() + &"äb, 漢🙂".repeat(1000) + "\nlast";
        let source = Source::new("x", &text);
        for offset in 0..=text.len() {
            assert!(source.block(offset).1.len() < BLOCK, "{offset}");
            if text.is_char_boundary(offset) {
                let before = &text[..offset];
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                let line = before.matches('\n').count() + 1;
                assert_eq!(source.position(offset), Position { line, column }, "{offset}");
            }
        }
        for bytes in [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK] {
            assert_eq!(Source::new("x", "a".repeat(bytes)).position(bytes).column, bytes + 1);
        }
    }

    #[test]
    fn lines_are_found_by_any_offset_in_them() {
        let text = "a\r\n\nä b\n";
        let source = Source::new("x", text);
        for offset in 0..=text.len() + 2 {
            let before = &text.as_bytes()[..offset.min(text.len())];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            assert_eq!((source.line(offset), source.position(offset).line), (line, line), "{offset}");
            let span = source.line_span(offset);
            assert_eq!(&source.text()[span.start..span.end], ["a", "", "ä b", ""][line - 1]);
        }
        assert_eq!(Source::new("x", "").position(0), Position { line: 1, column: 1 });
    }
}
