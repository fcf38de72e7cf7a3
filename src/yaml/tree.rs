//! YAML read into a tree with places.

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle};

use crate::diag::{Code, Problems};
use crate::net::{Slip, lookalike};
use crate::source::{Source, Span, Spanned};

/// The help for anchors and aliases.
const WRITE_OUT: &str = "repeat the value where it is used";
/// A policy of a hundred thousand prefixes fits, and so does a lockfile of a thousand names with thirty addresses each.
/// Longer lists of prefixes belong in files of their own.
const MAX_NODES: usize = 300_000;
/// No format of edgeward nests deeper; the bound keeps the parser's recursion from overflowing the stack.
const MAX_DEPTH: usize = 16;

/// A node of a YAML document.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it is; of a mapping or list only the first character.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// The content of a node.
#[derive(Clone, Debug)]
pub enum Value {
    /// A scalar, escapes resolved.
    Scalar {
        /// The text.
        text: String,
        /// Whether it is written without quotes, so that YAML may read it as a number, a boolean or null.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping, in the order written; keys may repeat.
    Mapping(Vec<(Spanned<String>, Node)>),
}

impl Node {
    /// Whether the node is null: nothing, `~` or `null` without quotes.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value of a field of a mapping; the first one if the key is duplicated.
    pub fn field(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(pairs) => pairs.iter().find(|(key, _)| key.value == name).map(|(_, value)| value),
            Value::Scalar { .. } | Value::Sequence(_) => None,
        }
    }

    /// What the node is, for messages.
    fn shown(&self) -> String {
        match &self.value {
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
            Value::Scalar { .. } if self.is_null() => "nothing".to_owned(),
            Value::Scalar { text, .. } => format!("`{text}`"),
        }
    }

    fn expected_message(&self, what: &str) -> String {
        format!("expected {what}, found {}", self.shown())
    }

    /// The text of a scalar, and whether it is written without quotes; records a problem if the node is no scalar.
    pub fn scalar(&self, what: &str, problems: &mut Problems) -> Option<(&str, bool)> {
        match &self.value {
            Value::Scalar { text, plain } if !self.is_null() => Some((text, *plain)),
            _ => {
                self.wrong_type(what, problems);
                None
            }
        }
    }

    /// The value that a function reads from a scalar; records a problem with the given code if it reads none.
    pub fn parsed<T>(
        &self,
        what: &str,
        (code, help): (Code, &str),
        problems: &mut Problems,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let (text, _) = self.scalar(what, problems)?;
        let value = read(text);
        if value.is_none() {
            problems.push_with_help(code, self.span, self.expected_message(what), help);
        }
        value
    }

    /// As [`Node::parsed`], of a scalar that YAML does not read as text: in quotes it is refused.
    pub(super) fn parsed_plain<T>(
        &self,
        what: &str,
        (code, help): (Code, &str),
        problems: &mut Problems,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        match self.scalar(what, problems)? {
            (_, true) => self.parsed(what, (code, help), problems, read),
            (text, false) => {
                let message = format!("expected {what}, found the quoted text `{text}`");
                problems.push_with_help(code, self.span, message, "remove the quotes");
                None
            }
        }
    }

    /// Records that the node has the wrong type.
    pub(super) fn wrong_type(&self, what: &str, problems: &mut Problems) {
        problems.push(Code::WrongType, self.span, self.expected_message(what));
    }
}

/// As [`read`], of a text that has at least one of some fields. Of a file of another kind, which may be a secret one that
/// was named by mistake, or by a user who may not read it, no message quotes a word.
pub fn read_as(kind: &str, fields: &[&str], source: &Source, problems: &mut Problems) -> Option<Node> {
    let text = source.text();
    let is_blank = |line: &str| line.trim_start().starts_with('#') || !line.contains(char::is_alphanumeric);
    if text.lines().all(is_blank) || fields.iter().any(|field| has_field(text, field)) {
        return read(source, problems);
    }
    let quoted: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
    let message = format!("this is not {kind}: none of its fields {} is there", quoted.join(", "));
    problems.push_with_help(Code::UnknownFile, Span::default(), message, "check the path");
    None
}

/// Whether a text has a word before a colon, as YAML and JSON write fields.
fn has_field(text: &str, field: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(field).any(|(at, _)| {
        let after = text[at + field.len()..].trim_start_matches(['"', '\'', ' ']);
        !text[..at].ends_with(is_of_name) && after.starts_with(':')
    })
}

/// Reads a text as one YAML document.
///
/// Anchors, aliases, tags and directives are not supported: no format needs them, and aliases can expand a small file
/// to a huge tree.
pub fn read(source: &Source, problems: &mut Problems) -> Option<Node> {
    let mut reader = Reader { source, problems, open: Vec::new(), root: None, nodes: 0 };
    let mut parser = Parser::new_from_str(source.text());
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                let bytes = span.byte_range().unwrap_or(0..0);
                reader.event(event, Span { start: bytes.start, end: bytes.end })?;
            }
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(0).min(source.text().len());
                let at = Span { start: at, end: at };
                match error.kind() {
                    ErrorKind::RecursionLimitExceeded => reader.too_deep(at),
                    _ => syntax_error(source.text(), at, &error.info(), problems),
                }
                return None;
            }
        }
    }
    let root = reader.root.take();
    if root.as_ref().is_none_or(Node::is_null) {
        problems.push(Code::EmptyFile, Span::default(), "the file is empty");
        return None;
    }
    root
}

/// Reports a syntax error. A full-width colon or a blank of another kind is hard to see, and the parser only says what is
/// missing in its place, often a line later.
fn syntax_error(text: &str, at: Span, reason: &str, problems: &mut Problems) {
    let message = format!("invalid YAML: {reason}");
    let end = text[at.start..].find('\n').map_or(text.len(), |length| at.start + length);
    let this = text[..at.start].rfind('\n').map_or(0, |before| before + 1);
    let before = text[..this.saturating_sub(1)].rfind('\n').map_or(0, |before| before + 1);
    for (start, end) in [(this, end), (before, this)] {
        let line = text[start..end].split('#').next().unwrap_or_default();
        if let Some((offset, _)) = lookalike(line) {
            let found = line[offset..].chars().next().map_or(0, char::len_utf8);
            let at = Span { start: start + offset, end: start + offset + found };
            let slip = Slip::of(&text[at.start..at.end]).map(|slip| slip.to_string()).unwrap_or_default();
            let help = format!(
                "the line has {}: YAML reads only the characters of ASCII as its own, and `: ` and `, ` with a blank",
                slip.trim_start_matches("a text with ")
            );
            return problems.push_with_help(Code::YamlSyntax, at, message, help);
        }
    }
    problems.push(Code::YamlSyntax, at, message);
}

/// A collection whose end has not been seen.
struct Open {
    span: Span,
    items: Vec<Node>,
}

struct Reader<'a> {
    source: &'a Source,
    problems: &'a mut Problems,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

impl Reader<'_> {
    /// Handles one event; `None` stops the parser.
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.plain_node(anchor, tag.is_some(), span)?;
                let value = Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.node(Node { span: self.trimmed(span), value })
            }
            Event::SequenceStart(_, anchor, tag) | Event::MappingStart(_, anchor, tag) => {
                self.plain_node(anchor, tag.is_some(), span)?;
                if self.open.len() == MAX_DEPTH {
                    self.too_deep(span);
                    return None;
                }
                self.open.push(Open { span, items: Vec::new() });
                Some(())
            }
            Event::SequenceEnd => self.close(false),
            Event::MappingEnd => self.close(true),
            Event::Alias(_) | Event::UnresolvedAlias(_) => self.unsupported("aliases", WRITE_OUT, span),
            Event::DocumentStart(..) if self.root.is_some() => {
                self.unsupported("several documents in one file", "move the second document to its own file", span)
            }
            Event::DocumentStart(_, Some(_)) => self.unsupported("directives", "remove the line", span),
            _ => Some(()),
        }
    }

    fn too_deep(&mut self, span: Span) {
        let message = format!("nested more than {MAX_DEPTH} levels deep");
        self.problems.push_with_help(
            Code::YamlFeature,
            span,
            message,
            "no format of edgeward needs that: look for a bracket that is not closed",
        );
    }

    fn plain_node(&mut self, anchor: usize, tagged: bool, span: Span) -> Option<()> {
        match (anchor, tagged) {
            (0, false) => Some(()),
            (0, true) => self.unsupported("tags", "remove the tag", span),
            _ => self.unsupported("anchors", WRITE_OUT, span),
        }
    }

    fn unsupported(&mut self, what: &str, help: &str, span: Span) -> Option<()> {
        self.problems.push_with_help(Code::YamlFeature, span, format!("{what} are not supported"), help);
        None
    }

    /// Removes trailing white space, which the parser may include in the span of a plain scalar.
    fn trimmed(&self, span: Span) -> Span {
        let written = self.source.text().get(span.start..span.end).unwrap_or_default();
        Span { start: span.start, end: span.start + written.trim_end().len() }
    }

    fn close(&mut self, is_mapping: bool) -> Option<()> {
        let open = self.open.pop()?;
        let start = open.span.start;
        let value = if is_mapping { self.pairs(open.items) } else { Value::Sequence(open.items) };
        let end = self.source.text()[start..].chars().next().map_or(start, |first| start + first.len_utf8());
        self.node(Node { span: Span { start, end }, value })
    }

    fn pairs(&mut self, items: Vec<Node>) -> Value {
        let mut items = items.into_iter();
        let mut pairs = Vec::new();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            match key.value {
                Value::Scalar { text, .. } => pairs.push((Spanned { value: text, span: key.span }, value)),
                _ => key.wrong_type("a field name", self.problems),
            }
        }
        Value::Mapping(pairs)
    }

    fn node(&mut self, node: Node) -> Option<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("the file has more than {MAX_NODES} values");
            self.problems.push_with_help(Code::TooLarge, node.span, message, "move long lists to a `peers-file`");
            return None;
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
        Some(())
    }
}
