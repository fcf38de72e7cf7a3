//! JSON as a tree with places.
//!
//! `serde_json` has no places, and silently takes the last of two equal keys: of a chain with two policies it would
//! drop one. It still decodes escapes and checks numbers.

use std::borrow::Cow;

use super::super::form::Word;
use super::super::problem::{Reading, malformed, quoted};
use crate::diag::Diagnostic;
use crate::source::{Span, Spanned};

/// A value and its place.
pub type JsonNode<'a> = Spanned<JsonValue<'a>>;

/// A value.
pub enum JsonValue<'a> {
    Null,
    Bool(bool),
    /// As its digits. Which are valid depends on the field.
    Number(&'a str),
    Text(Cow<'a, str>),
    List(Vec<JsonNode<'a>>),
    /// In the order of the text, without duplicate keys.
    Object(Vec<(Word<'a>, JsonNode<'a>)>),
}

impl JsonValue<'_> {
    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            JsonValue::Null => "null",
            JsonValue::Bool(_) => "a Boolean",
            JsonValue::Number(_) => "a number",
            JsonValue::Text(_) => "a text",
            JsonValue::List(_) => "a list",
            JsonValue::Object(_) => "an object",
        }
    }
}

/// Levels of lists and objects. nft does not need half as many for what edgeward writes; the bound protects the stack.
const MAX_DEPTH: usize = 32;

/// Values in a text: a small text of many values takes a multiple of its size. nft writes each prefix of a set as four
/// values in more than 40 bytes, so this is more than there are in a file of 64 MiB.
const MAX_VALUES: usize = 7_000_000;
/// What edgeward writes may be longer, and has this many bytes for each value.
const BYTES_OF_VALUE: usize = 16;

const TRUNCATED: &str = "the text seems to be truncated: pass all of it";
const NOT_JSON: &str = "pass the output of `edgeward compile --format json` or `nft -j list table inet edgeward`";

/// Reads a text as one JSON value (RFC 8259).
pub fn parse(text: &str) -> Reading<JsonNode<'_>> {
    let mut parser = Parser { text, at: 0, values: 0 };
    let node = parser.value(0)?;
    parser.skip_blanks();
    if parser.at < text.len() { Err(parser.unexpected("the end of the text")) } else { Ok(node) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// How many values have begun.
    values: usize,
}

impl<'a> Parser<'a> {
    fn skip_blanks(&mut self) {
        while matches!(self.text.as_bytes().get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is not blank.
    fn peek(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.text.as_bytes().get(self.at).copied()
    }

    /// Consumes a character if it comes next. Whether it did.
    fn skip(&mut self, character: u8) -> bool {
        let found = self.peek() == Some(character);
        self.at += usize::from(found);
        found
    }

    fn unexpected(&mut self, expected: &str) -> Box<Diagnostic> {
        self.skip_blanks();
        let (start, found) = (self.at, self.text[self.at..].chars().next());
        match found {
            None => {
                let span = Span { start, end: start };
                malformed(span, format!("expected {expected}, found the end of the text"), TRUNCATED)
            }
            Some(c) => {
                let span = Span { start, end: start + c.len_utf8() };
                malformed(span, format!("expected {expected}, found {}", quoted(c.encode_utf8(&mut [0; 4]))), NOT_JSON)
            }
        }
    }

    fn value(&mut self, depth: usize) -> Reading<JsonNode<'a>> {
        let first = self.peek();
        let start = self.at;
        let here = Span { start, end: start };
        if depth > MAX_DEPTH {
            return Err(malformed(here, format!("more than {MAX_DEPTH} levels of lists and objects"), NOT_JSON));
        }
        self.values += 1;
        let most = MAX_VALUES.max(self.text.len() / BYTES_OF_VALUE);
        if self.values > most {
            return Err(malformed(here, format!("more than {most} values"), NOT_JSON));
        }
        let value = match first {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => JsonValue::Text(self.string()?.value),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'a'..=b'z') => self.literal()?,
            _ => return Err(self.unexpected("a value")),
        };
        Ok(Spanned { value, span: Span { start, end: self.at } })
    }

    fn list(&mut self, depth: usize) -> Reading<JsonValue<'a>> {
        self.at += 1;
        let mut items = Vec::new();
        if self.skip(b']') {
            return Ok(JsonValue::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.skip(b']') {
                items.shrink_to_fit();
                return Ok(JsonValue::List(items));
            }
            if !self.skip(b',') {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Reading<JsonValue<'a>> {
        self.at += 1;
        let mut fields: Vec<(Word<'a>, JsonNode<'a>)> = Vec::new();
        if self.skip(b'}') {
            return Ok(JsonValue::Object(fields));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key in quotes"));
            }
            let key = self.string()?;
            if !self.skip(b':') {
                return Err(self.unexpected("`:`"));
            }
            fields.push((key, self.value(depth + 1)?));
            if self.skip(b'}') {
                break;
            }
            if !self.skip(b',') {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
        let mut keys: Vec<&Word<'a>> = fields.iter().map(|(key, _)| key).collect();
        keys.sort_by(|one, other| one.value.cmp(&other.value));
        if let Some(pair) = keys.windows(2).find(|pair| pair[0].value == pair[1].value) {
            let message = format!("duplicate key {}", quoted(&pair[1].value));
            return Err(malformed(pair[1].span, message, "remove one of them"));
        }
        fields.shrink_to_fit();
        Ok(JsonValue::Object(fields))
    }

    /// Reads a string; its quote comes next.
    fn string(&mut self) -> Reading<Word<'a>> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = start + 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(0..=0x1f) => {
                    self.at = end;
                    return Err(self.unexpected_control());
                }
                Some(_) => end += 1,
                None => {
                    let span = Span { start, end: start + 1 };
                    return Err(malformed(span, "a string that is not closed", TRUNCATED));
                }
            }
        }
        let span = Span { start, end: end + 1 };
        let inside = &self.text[start + 1..end];
        self.at = end + 1;
        if !inside.contains('\\') {
            return Ok(Spanned { value: Cow::Borrowed(inside), span });
        }
        match serde_json::from_str(&self.text[start..=end]) {
            Ok(text) => Ok(Spanned { value: Cow::Owned(text), span }),
            Err(_) => Err(malformed(span, format!("{} has an invalid escape", quoted(inside)), NOT_JSON)),
        }
    }

    fn unexpected_control(&mut self) -> Box<Diagnostic> {
        let span = Span { start: self.at, end: self.at + 1 };
        malformed(span, "a control character in a string", NOT_JSON)
    }

    fn number(&mut self) -> Reading<JsonValue<'a>> {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let (start, text) = (self.at, &rest[..length]);
        self.at += length;
        if serde_json::from_str::<serde_json::Number>(text).is_err() {
            let span = Span { start, end: self.at };
            return Err(malformed(span, format!("{} is not a valid JSON number", quoted(text)), NOT_JSON));
        }
        Ok(JsonValue::Number(text))
    }

    fn literal(&mut self) -> Reading<JsonValue<'a>> {
        for (word, value) in
            [("null", JsonValue::Null), ("true", JsonValue::Bool(true)), ("false", JsonValue::Bool(false))]
        {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.unexpected("a value"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(node: &JsonNode<'_>) -> serde_json::Value {
        match &node.value {
            JsonValue::Null => serde_json::Value::Null,
            JsonValue::Bool(truth) => (*truth).into(),
            JsonValue::Number(text) => serde_json::from_str(text).unwrap(),
            JsonValue::Text(text) => text.to_string().into(),
            JsonValue::List(items) => items.iter().map(plain).collect(),
            JsonValue::Object(fields) => {
                fields.iter().map(|(key, value)| (key.value.to_string(), plain(value))).collect()
            }
        }
    }

    #[test]
    fn trees_are_those_of_serde_json() {
        for text in [
            r#" {"a": [1, -300, 2.5e3, "x", "\u00e4\"\\\ud83d\ude00", null, true, false, {}, []], "b": {"c": "ä"}} "#,
            "\t[\r\n]\n",
            "0",
            "\"\"",
            "",
            " ",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\": 1,}",
            "{a: 1}",
            "[01]",
            "[+1]",
            "[1.]",
            "[.5]",
            "[-]",
            "[1e]",
            "nul",
            "nulls",
            "[true false]",
            "\"a",
            "\"\\",
            "\"\\q\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"a\nb\"",
            "'a'",
            "[1]]",
            "[\u{a0}1]",
            "/**/1",
        ] {
            let expected = serde_json::from_str::<serde_json::Value>(text);
            let found = parse(text);
            assert_eq!(expected.is_ok(), found.is_ok(), "{text:?}");
            if let (Ok(expected), Ok(found)) = (expected, found) {
                assert_eq!(plain(&found), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn duplicate_keys_are_refused() {
        let problem = parse(r#"{"b": 1, "a": 1, "\u0062": 2}"#).err().unwrap();
        assert_eq!((problem.span, problem.message.as_str()), (Span { start: 17, end: 25 }, "duplicate key `b`"));
    }

    #[test]
    fn depth_is_bounded() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(parse(&nested(MAX_DEPTH)).is_ok());
            assert!(parse(&nested(MAX_DEPTH + 1)).is_err());
            assert!(parse(&open.repeat(1_000_000)).is_err());
        }
    }
}
