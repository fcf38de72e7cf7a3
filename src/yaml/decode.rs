//! Trees decoded into types, every problem reported.

use std::collections::BTreeSet;

pub use serde_json::Value as Json;

use super::tree::{Node, Value};
use crate::diag::{Code, Problems, did_you_mean, one_of, suggest};
use crate::net::plain;
use crate::source::{Span, Spanned};

/// A type that a node can be decoded into, every problem reported.
pub trait Decode: Sized {
    /// Decodes a node; `None` means that a problem was recorded.
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self>;

    /// Decodes the valid parts of a node and drops the rest, so that checks can continue on a document that has errors
    /// elsewhere.
    fn salvage(node: &Node) -> Option<Self> {
        Self::decode(node, &mut Problems::default())
    }

    /// The value of a field that is not written; `None` if the field is required.
    fn absent() -> Option<Self> {
        None
    }
}

/// A value as a document writes it: the JSON Schema shows defaults in this form.
pub trait Written {
    /// The scalar.
    fn written(&self) -> Json;
}

impl Written for bool {
    fn written(&self) -> Json {
        (*self).into()
    }
}

impl<T: Written> Written for Spanned<T> {
    fn written(&self) -> Json {
        self.value.written()
    }
}

impl<T: Decode> Decode for Spanned<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        Some(Spanned { value: T::decode(node, problems)?, span: node.span })
    }

    fn salvage(node: &Node) -> Option<Self> {
        Some(Spanned { value: T::salvage(node)?, span: node.span })
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if node.is_null() { Some(None) } else { T::decode(node, problems).map(Some) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            // All items are decoded before the first failure counts.
            Value::Sequence(items) => {
                let items: Vec<Option<T>> = items.iter().map(|item| T::decode(item, problems)).collect();
                items.into_iter().collect()
            }
            _ => {
                node.wrong_type("a list", problems);
                None
            }
        }
    }

    fn salvage(node: &Node) -> Option<Self> {
        let Value::Sequence(items) = &node.value else { return None };
        Some(items.iter().filter_map(T::salvage).collect())
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

impl Decode for bool {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let help = (Code::UnknownValue, "write `true` or `false`");
        node.parsed_plain("`true` or `false`", help, problems, |text| text.parse().ok())
    }
}

/// Decodes a plain decimal number within bounds.
pub fn decode_number(node: &Node, low: u64, high: u64, problems: &mut Problems) -> Option<u64> {
    let what = format!("a number from {low} to {high}");
    let help = (Code::InvalidNumber, "write digits only, without a leading zero");
    node.parsed_plain(&what, help, problems, |text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        digits.then(|| text.parse().ok()).flatten().filter(|number| (low..=high).contains(number))
    })
}

/// The value with a word, for command lines; the error lists the words.
pub(crate) fn parse_word<T: Copy>(text: &str, values: &[T], word: fn(T) -> &'static str) -> Result<T, String> {
    let words: Vec<&str> = values.iter().map(|value| word(*value)).collect();
    values.iter().copied().find(|value| word(*value) == text).ok_or_else(|| one_of(&words))
}

/// The value with a word, for documents.
pub(crate) fn decode_word<T: Copy>(
    node: &Node,
    values: &[T],
    word: fn(T) -> &'static str,
    problems: &mut Problems,
) -> Option<T> {
    let (text, _) = node.scalar("a word", problems)?;
    let known = values.iter().copied().find(|value| word(*value) == text);
    if known.is_none() {
        let words: Vec<&str> = values.iter().map(|value| word(*value)).collect();
        let message = format!("unknown value `{text}`");
        problems.push_with_help(Code::UnknownValue, node.span, message, suggest(&plain(text), &words));
    }
    known
}

/// The fields of a mapping that is decoded into a record.
pub struct Fields<'a> {
    span: Span,
    pairs: &'a [(Spanned<String>, Node)],
    known: &'a [String],
}

impl<'a> Fields<'a> {
    /// Opens a mapping; reports duplicate keys and keys that the record does not have.
    pub fn open(node: &'a Node, known: &'a [String], problems: &mut Problems) -> Option<Self> {
        let Value::Mapping(pairs) = &node.value else {
            node.wrong_type("a mapping", problems);
            return None;
        };
        let mut seen = BTreeSet::new();
        for (key, _) in pairs {
            if !seen.insert(&key.value) {
                let message = format!("duplicate key `{}`", key.value);
                problems.push_with_help(Code::DuplicateKey, key.span, message, "remove one of the two, or merge them");
            } else if !known.contains(&key.value) && !problems.is_full() {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let help = did_you_mean(&plain(&key.value), known.iter().copied())
                    .unwrap_or_else(|| format!("the fields are {}", one_of(&known).trim_start_matches("one of ")));
                let message = format!("unknown field `{}`", key.value);
                problems.push_with_help(Code::UnknownField, key.span, message, help);
            }
        }
        Some(Self { span: node.span, pairs, known })
    }

    /// Decodes the `index`-th field of the record; a field with a default may be left out or empty.
    pub fn take<T: Decode>(&self, index: usize, default: Option<T>, problems: &mut Problems) -> Option<T> {
        let name = &self.known[index];
        match self.pairs.iter().find(|(key, _)| key.value == *name) {
            Some((_, node)) if default.is_none() || !node.is_null() => T::decode(node, problems),
            _ => {
                let absent = default.or_else(T::absent);
                if absent.is_none() {
                    let message = format!("missing field `{name}`");
                    problems.push_with_help(Code::MissingField, self.span, message, format!("add `{name}: …`"));
                }
                absent
            }
        }
    }
}

/// The name of a field in YAML: `ssh_port` is written `ssh-port`.
pub fn field_name(rust_name: &str) -> String {
    rust_name.trim_start_matches("r#").replace('_', "-")
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for Spanned<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}
