//! YAML read into a tree with places.

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle};

use crate::diag::{Code, Problems};
use crate::source::{Source, Span, Spanned};

/// The way out where a value is written once and used twice.
const WRITE_OUT: &str = "write the value out where it is needed";
/// More values than any policy or lockfile has: a policy of a hundred thousand prefixes fits, and a lockfile of a
/// thousand names with thirty addresses each. Longer lists of prefixes belong into files of their own.
const MOST_NODES: usize = 300_000;
/// Deeper nesting than any format of edgeward has, and no stack to overflow.
const MAX_DEPTH: usize = 16;

/// A node of a YAML document.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands; a mapping or list is placed at its first character.
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
        /// Whether it stands without quotes, so that YAML may take it for a number, a truth value or null.
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

    /// The value of a field of a mapping; the first, where the key repeats.
    pub fn field(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(pairs) => pairs.iter().find(|(key, _)| key.value == name).map(|(_, value)| value),
            Value::Scalar { .. } | Value::Sequence(_) => None,
        }
    }

    /// What the node is, for messages.
    fn kind(&self) -> &'static str {
        match &self.value {
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
        }
    }

    /// The text of a scalar; records a problem where it is anything else.
    pub fn scalar(&self, wanted: &str, problems: &mut Problems) -> Option<(&str, bool)> {
        match &self.value {
            Value::Scalar { text, plain } if !self.is_null() => Some((text, *plain)),
            _ => {
                self.wrong_type(wanted, problems);
                None
            }
        }
    }

    pub(super) fn wrong_type(&self, wanted: &str, problems: &mut Problems) {
        problems.push(Code::WrongType, self.span, format!("{} stands here, and {wanted} is wanted", self.kind()));
    }
}

/// Reads a text as one YAML document.
///
/// Anchors, aliases, tags and directives are left out of the language: nothing here needs them, and an alias can
/// make a small file a huge one.
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
                    _ => problems.push(Code::YamlSyntax, at, format!("this is not YAML: {}", error.info())),
                }
                return None;
            }
        }
    }
    let root = reader.root.take();
    if root.as_ref().is_none_or(Node::is_null) {
        problems.push(Code::EmptyFile, Span::default(), "the file holds no document");
        return None;
    }
    root
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
    /// Takes one event in; `None` ends the reading.
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
            Event::Alias(_) | Event::UnresolvedAlias(_) => self.unsupported("an alias", WRITE_OUT, span),
            Event::DocumentStart(..) if self.root.is_some() => {
                self.unsupported("a second document", "put it into a file of its own", span)
            }
            Event::DocumentStart(_, Some(_)) => self.unsupported("a directive", "remove the line", span),
            _ => Some(()),
        }
    }

    fn too_deep(&mut self, span: Span) {
        let message = format!("nested more than {MAX_DEPTH} levels deep");
        self.problems.push_with_help(Code::YamlFeature, span, message, "no format of edgeward is: close what is open");
    }

    fn plain_node(&mut self, anchor: usize, tagged: bool, span: Span) -> Option<()> {
        match (anchor, tagged) {
            (0, false) => Some(()),
            (0, true) => self.unsupported("a tag", "remove the tag", span),
            _ => self.unsupported("an anchor", WRITE_OUT, span),
        }
    }

    fn unsupported(&mut self, what: &str, help: &str, span: Span) -> Option<()> {
        self.problems.push_with_help(Code::YamlFeature, span, format!("{what} stands here"), help);
        None
    }

    /// The parser's span of a plain scalar may run into the white space behind it.
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
                _ => key.wrong_type("the name of a field", self.problems),
            }
        }
        Value::Mapping(pairs)
    }

    fn node(&mut self, node: Node) -> Option<()> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            let message = format!("the file has more than {MOST_NODES} values");
            self.problems.push_with_help(
                Code::TooLarge,
                node.span,
                message,
                "no policy has as many: name another file",
            );
            return None;
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
        Some(())
    }
}
