//! Places in a source text.

use std::fmt;

/// A range of bytes in a source text, half open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte; `start` where the span is a mere position.
    pub end: usize,
}

/// A value and where it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Applies a function to the value and keeps the place.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: f(self.value), span: self.span }
    }
}

/// A source text with the name that messages show for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What messages call it: a path as the user wrote it.
    pub name: String,
    /// The text, without a byte order mark.
    pub text: String,
}

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
    /// Wraps a text; a leading byte order mark is dropped, so that column 1 is the first visible character.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        const MARK: &str = "\u{feff}";
        let mut text = text.into();
        if text.starts_with(MARK) {
            text.drain(..MARK.len());
        }
        Self { name: name.into(), text }
    }

    /// The position of a byte offset; offsets beyond the end count as the end.
    pub fn position(&self, offset: usize) -> Position {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        Position { line, column }
    }
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
}
