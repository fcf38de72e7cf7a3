//! nft text as tokens with their places.

use std::borrow::Cow;

use super::super::form::Word;
use super::super::names::plain_text;
use super::super::problem::{Reading, malformed, quoted, unknown};
use crate::diag::Diagnostic;
use crate::net::Plain;
use crate::source::{Span, Spanned};

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A name, number or keyword.
    Word(&'a str),
    /// A text in double quotes. There are no escapes.
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

const TRUNCATED: &str = "the text seems to be truncated: pass all of it";

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
                    return Err(malformed(span, "a quotation mark that is not closed on its line", TRUNCATED));
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

    /// Skips blanks and comments. A backslash joins two lines; a comment ends with its line.
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

    /// Whether a token starts directly after another one.
    pub fn is_adjacent(&self, span: Span) -> bool {
        !self.text[..span.start].ends_with([' ', '\t', '\n'])
    }

    /// The next token, without consuming it.
    pub fn peek(&self) -> Reading<Spanned<Token<'a>>> {
        self.clone().next()
    }

    /// The next token that is not the end of a line. Inside braces, ends of lines have no meaning.
    pub fn next_over_lines(&mut self) -> Reading<Spanned<Token<'a>>> {
        self.skip_blanks_and_lines();
        self.next()
    }

    /// Consumes an element of a set and the comma after it, if it is a plain one. Gives also where it starts.
    pub fn plain_element(&mut self) -> Option<(Plain, usize)> {
        self.skip_blanks_and_lines();
        let (start, rest) = (self.at, &self.text.as_bytes()[self.at..]);
        let plain = Plain::read(rest).filter(|plain| rest.get(plain.length) == Some(&b','))?;
        self.at += plain.length + 1;
        Some((plain, start))
    }

    /// The next element of a set, up to a blank, comma or brace. Colons are part of it.
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

    /// Consumes a mark, an ASCII character, if it is the next token after any ends of lines. Whether it was.
    pub fn skip(&mut self, mark: u8) -> bool {
        let start = self.at;
        self.skip_blanks_and_lines();
        let found = self.text.as_bytes().get(self.at) == Some(&mark);
        self.at = if found { self.at + 1 } else { start };
        found
    }

    /// Consumes a mark.
    pub fn expect(&mut self, mark: char) -> Reading<()> {
        let token = self.next()?;
        if token.value == Token::Mark(mark) { Ok(()) } else { Err(self.unexpected(token, &format!("`{mark}`"))) }
    }

    /// Consumes a keyword. nft may know other keywords here.
    pub fn keyword(&mut self, word: &str) -> Reading<()> {
        let token = self.next()?;
        match token.value {
            Token::Word(found) if found == word => Ok(()),
            Token::Word(found) => {
                let message = format!("expected `{word}`, found {}", quoted(found));
                Err(unknown(token.span, message, "use the form that edgeward writes"))
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

    /// The next token, which must be a word or a quoted text, where nft accepts both.
    pub fn word_or_text(&mut self, what: &str) -> Reading<Word<'a>> {
        let token = self.next()?;
        match token.value {
            Token::Word(word) | Token::Quoted(word) => Ok(Spanned { value: Cow::Borrowed(word), span: token.span }),
            _ => Err(self.unexpected(token, what)),
        }
    }

    /// The next token, which must be a quoted text, as a person wrote it.
    pub fn text(&mut self, what: &str) -> Reading<Word<'a>> {
        let token = self.next()?;
        let Token::Quoted(text) = token.value else {
            return Err(self.unexpected(token, &format!("{what} in quotes")));
        };
        let word = Spanned { value: Cow::Borrowed(text), span: token.span };
        plain_text(&word)?;
        Ok(word)
    }

    /// Consumes a number that is not part of a ruleset.
    pub fn digits(&mut self, what: &str) -> Reading<()> {
        let token = self.next()?;
        match token.value {
            Token::Word(word) if word.parse::<u64>().is_ok() => Ok(()),
            _ => Err(self.unexpected(token, what)),
        }
    }

    /// Consumes the first word of the next entry of a block, or the brace that ends the block (`None`).
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

    /// Consumes the end of a statement. A closing brace is none, as in nft 1.0.6.
    pub fn end_of_statement(&mut self) -> Reading<()> {
        let token = self.next()?;
        match token.value {
            Token::Line | Token::Mark(';') => Ok(()),
            _ => Err(self.unexpected(token, "the end of the statement")),
        }
    }

    /// The problem with a token in the place of what was expected.
    pub fn unexpected(&self, token: Spanned<Token<'a>>, expected: &str) -> Box<Diagnostic> {
        let found = match token.value {
            Token::Word(word) => quoted(word),
            Token::Quoted(text) => format!("the text {}", quoted(text)),
            Token::Mark(c) => format!("`{c}`"),
            Token::Line => "the end of the line".to_owned(),
            Token::End => {
                return malformed(token.span, format!("expected {expected}, found the end of the text"), TRUNCATED);
            }
        };
        malformed(
            token.span,
            format!("expected {expected}, found {found}"),
            "correct the text, or get it again from its source",
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
