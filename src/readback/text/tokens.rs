//! nft text as tokens with their places.

use std::borrow::Cow;

use super::super::form::Word;
use super::super::names::plain_text;
use super::super::{Reading, malformed, quoted, unknown};
use crate::diag::Diagnostic;
use crate::net::Plain;
use crate::source::{Span, Spanned};

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A name, number or keyword.
    Word(&'a str),
    /// What stands between double quotes; there are no escapes.
    Quoted(&'a str),
    /// Any other character.
    Mark(char),
    /// The end of a line, which ends a statement.
    Line,
    /// The end of the text.
    End,
}

/// A text, and how far it has been read.
#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

const CUT_OFF: &str = "the text seems to be cut off: take it whole";

impl<'a> Tokens<'a> {
    /// Starts at the beginning.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token.
    pub fn next(&mut self) -> Reading<Spanned<Token<'a>>> {
        self.skip_blanks();
        let start = self.at;
        let rest = &self.text[start..];
        let value = match rest.chars().next() {
            None => Token::End,
            Some('\n') => self.take(1, |_| Token::Line),
            Some('"') => match rest[1..].find(['"', '\n']) {
                Some(length) if rest[1 + length..].starts_with('"') => {
                    self.take(length + 2, |text| Token::Quoted(&text[1..=length]))
                }
                _ => {
                    let span = Span { start, end: start + 1 };
                    return Err(malformed(span, "a quote that is not closed on its line", CUT_OFF));
                }
            },
            Some(c) if is_of_word(c) => {
                let length = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                self.take(length, Token::Word)
            }
            Some(c) => self.take(c.len_utf8(), |_| Token::Mark(c)),
        };
        Ok(Spanned { value, span: Span { start, end: self.at } })
    }

    fn take(&mut self, length: usize, token: impl FnOnce(&'a str) -> Token<'a>) -> Token<'a> {
        let start = self.at;
        self.at += length;
        token(&self.text[start..self.at])
    }

    /// Goes to the next character that means something. A backslash joins two lines; a comment ends with its line.
    fn skip_blanks(&mut self) {
        let bytes = self.text.as_bytes();
        loop {
            match (bytes.get(self.at), bytes.get(self.at + 1)) {
                (Some(b' ' | b'\t'), _) => self.at += 1,
                (Some(b'\\'), Some(b'\n')) => self.at += 2,
                (Some(b'#'), _) => self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at),
                _ => return,
            }
        }
    }

    fn skip_blanks_and_lines(&mut self) {
        loop {
            self.skip_blanks();
            if self.text.as_bytes().get(self.at) != Some(&b'\n') {
                return;
            }
            self.at += 1;
        }
    }

    /// How far the text has been read.
    pub fn place(&self) -> usize {
        self.at
    }

    /// Whether a place begins directly behind another token.
    pub fn is_adjacent(&self, span: Span) -> bool {
        !self.text[..span.start].ends_with([' ', '\t', '\n'])
    }

    /// The next token, without going behind it.
    pub fn peek(&self) -> Reading<Spanned<Token<'a>>> {
        self.clone().next()
    }

    /// The next token that is not the end of a line: between braces, lines mean nothing.
    pub fn next_over_lines(&mut self) -> Reading<Spanned<Token<'a>>> {
        self.skip_blanks_and_lines();
        self.next()
    }

    /// An element of a set with the comma behind it, where it is a plain one; and where it begins.
    pub fn plain_element(&mut self) -> Option<(Plain, usize)> {
        self.skip_blanks_and_lines();
        let (start, rest) = (self.at, &self.text.as_bytes()[self.at..]);
        let plain = Plain::read(rest).filter(|plain| rest.get(plain.length) == Some(&b','))?;
        self.at += plain.length + 1;
        Some((plain, start))
    }

    /// The next element of a set, up to a blank, comma or brace. Its colons are no marks.
    pub fn element(&mut self) -> Reading<Spanned<&'a str>> {
        self.skip_blanks_and_lines();
        let (start, bytes) = (self.at, self.text.as_bytes());
        let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b',' | b'}' | b'{' | b'#' | b'"' | b';' | b'\\');
        self.at += bytes[start..].iter().position(ends).unwrap_or(bytes.len() - start);
        if self.at == start {
            let token = self.next()?;
            return Err(self.unexpected(token, "an address"));
        }
        Ok(Spanned { value: &self.text[start..self.at], span: Span { start, end: self.at } })
    }

    /// Whether the next token is a mark, which is an ASCII character; if so, goes behind it. Lines are skipped where it
    /// is.
    pub fn skip(&mut self, mark: u8) -> bool {
        let start = self.at;
        self.skip_blanks_and_lines();
        let found = self.text.as_bytes().get(self.at) == Some(&mark);
        self.at = if found { self.at + 1 } else { start };
        found
    }

    /// Goes behind a mark.
    pub fn expect(&mut self, mark: char) -> Reading<()> {
        let token = self.next()?;
        if token.value == Token::Mark(mark) { Ok(()) } else { Err(self.unexpected(token, &format!("`{mark}`"))) }
    }

    /// Goes behind a word. In the place of another one nft may know many more.
    pub fn keyword(&mut self, word: &str) -> Reading<()> {
        let token = self.next()?;
        match token.value {
            Token::Word(found) if found == word => Ok(()),
            Token::Word(found) => {
                let message = format!("{} where edgeward knows only `{word}`", quoted(found));
                Err(unknown(token.span, message, "write what edgeward writes"))
            }
            _ => Err(self.unexpected(token, &format!("`{word}`"))),
        }
    }

    /// The next token, which must be a word.
    pub fn word(&mut self, what: &str) -> Reading<Word<'a>> {
        let token = self.next()?;
        match token.value {
            Token::Word(word) => Ok(Spanned { value: Cow::Borrowed(word), span: token.span }),
            _ => Err(self.unexpected(token, what)),
        }
    }

    /// The next token, which must be a word or quoted, where nft takes either.
    pub fn word_or_text(&mut self, what: &str) -> Reading<Word<'a>> {
        let token = self.next()?;
        match token.value {
            Token::Word(word) | Token::Quoted(word) => Ok(Spanned { value: Cow::Borrowed(word), span: token.span }),
            _ => Err(self.unexpected(token, what)),
        }
    }

    /// The next token, which must be quoted: what a person wrote.
    pub fn text(&mut self, what: &str) -> Reading<Word<'a>> {
        let token = self.next()?;
        let Token::Quoted(text) = token.value else {
            return Err(self.unexpected(token, &format!("{what} between quotes")));
        };
        let word = Spanned { value: Cow::Borrowed(text), span: token.span };
        plain_text(&word)?;
        Ok(word)
    }

    /// Goes behind a number that means nothing to a ruleset.
    pub fn digits(&mut self, what: &str) -> Reading<()> {
        let token = self.next()?;
        match token.value {
            Token::Word(word) if word.parse::<u64>().is_ok() => Ok(()),
            _ => Err(self.unexpected(token, what)),
        }
    }

    /// The first word of the next entry of a block; `None` where the block ends instead, and behind its brace.
    pub fn entry(&mut self, what: &str) -> Reading<Option<Word<'a>>> {
        loop {
            let token = self.next()?;
            match token.value {
                Token::Line | Token::Mark(';') => {}
                Token::Mark('}') => return Ok(None),
                Token::Word(word) => return Ok(Some(Spanned { value: Cow::Borrowed(word), span: token.span })),
                _ => return Err(self.unexpected(token, &format!("{what} or `}}`"))),
            }
        }
    }

    /// Goes behind the end of a statement. Like nft 1.0.6, takes no closing brace for one.
    pub fn end_of_statement(&mut self) -> Reading<()> {
        let token = self.next()?;
        match token.value {
            Token::Line | Token::Mark(';') => Ok(()),
            _ => Err(self.unexpected(token, "the end of the statement")),
        }
    }

    /// Says that a token is not what has to stand in its place.
    pub fn unexpected(&self, token: Spanned<Token<'a>>, wanted: &str) -> Box<Diagnostic> {
        let found = match token.value {
            Token::Word(word) => quoted(word),
            Token::Quoted(text) => format!("the text {}", quoted(text)),
            Token::Mark(c) => format!("`{c}`"),
            Token::Line => "the end of the line".to_owned(),
            Token::End => {
                return malformed(token.span, format!("the text ends where {wanted} should be"), CUT_OFF);
            }
        };
        malformed(
            token.span,
            format!("{found} where {wanted} should be"),
            "mend the text, or take it from where it came",
        )
    }
}

/// Whether a character is part of a word: of a name, a number, a range, a priority or `@set`.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@' | '+' | '*' | '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(Token<'_>, usize, usize)> {
        let mut tokens = Tokens::new(text);
        let mut all = Vec::new();
        loop {
            let token = tokens.next().unwrap();
            if token.value == Token::End {
                return all;
            }
            all.push((token.value, token.span.start, token.span.end));
        }
    }

    #[test]
    fn tokens_have_places() {
        use Token::{Line, Mark, Quoted, Word};
        assert_eq!(
            all("ip saddr @a-b_v4;\n# x {\n\"a #b\"\\\n 1-5:ä"),
            [
                (Word("ip"), 0, 2),
                (Word("saddr"), 3, 8),
                (Word("@a-b_v4"), 9, 16),
                (Mark(';'), 16, 17),
                (Line, 17, 18),
                (Line, 23, 24),
                (Quoted("a #b"), 24, 30),
                (Word("1-5"), 33, 36),
                (Mark(':'), 36, 37),
                (Mark('ä'), 37, 39),
            ]
        );
    }

    #[test]
    fn an_open_quote_is_found() {
        let mut tokens = Tokens::new("comment \"abc");
        tokens.next().unwrap();
        assert_eq!(tokens.next().unwrap_err().span, Span { start: 8, end: 9 });
    }
}
