//! Trees decoded into types, every problem reported.

use std::collections::BTreeSet;

use super::tree::{Node, Value};
use crate::diag::{Code, Problems, did_you_mean, one_of};
use crate::source::{Span, Spanned};

/// A type that a node can be decoded into, every problem reported.
pub trait Decode: Sized {
    /// Decodes a node; `None` means that a problem was recorded.
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self>;

    /// Decodes what is good in a node and leaves out the rest: for checks that can say more about a document that is
    /// wrong elsewhere.
    fn salvage(node: &Node) -> Option<Self> {
        Self::decode(node, &mut Problems::default())
    }

    /// The value where the field is not written; `None` where it must be written.
    fn absent() -> Option<Self> {
        None
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
            // Every item is decoded before the first failure counts.
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
        match node.scalar("`true` or `false`", problems)? {
            ("true", true) => Some(true),
            ("false", true) => Some(false),
            (text, plain) => {
                let quotes = if plain { "" } else { " in quotes, which make it text," };
                let message = format!("`{text}`{quotes} is neither `true` nor `false`");
                problems.push_with_help(Code::UnknownValue, node.span, message, "write `true` or `false`");
                None
            }
        }
    }
}

/// Decodes a plain decimal number within bounds.
pub fn decode_number(node: &Node, low: u64, high: u64, problems: &mut Problems) -> Option<u64> {
    let (text, plain) = node.scalar("a number", problems)?;
    let digits = plain && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = digits.then(|| text.parse().ok()).flatten().filter(|number| (low..=high).contains(number));
    if number.is_none() {
        let quotes = if plain { "" } else { " in quotes, which make it text," };
        let message = format!("`{text}`{quotes} is not a number from {low} to {high}");
        problems.push_with_help(Code::InvalidNumber, node.span, message, "write digits only, without a leading zero");
    }
    number
}

/// The fields of a mapping on their way into a record.
pub struct Fields<'a> {
    span: Span,
    pairs: &'a [(Spanned<String>, Node)],
    known: &'a [String],
}

impl<'a> Fields<'a> {
    /// Opens a mapping; reports keys that repeat and keys that the record does not have.
    pub fn open(node: &'a Node, known: &'a [String], problems: &mut Problems) -> Option<Self> {
        let Value::Mapping(pairs) = &node.value else {
            node.wrong_type("a mapping", problems);
            return None;
        };
        let mut seen = BTreeSet::new();
        for (key, _) in pairs {
            if !seen.insert(&key.value) {
                let message = format!("`{}` stands here a second time", key.value);
                problems.push_with_help(Code::DuplicateKey, key.span, message, "remove one of the two, or join them");
            } else if !known.contains(&key.value) && !problems.is_full() {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let help = did_you_mean(&key.value, known.iter().copied())
                    .unwrap_or_else(|| format!("the fields here are {}", one_of(&known).trim_start_matches("one of ")));
                let message = format!("`{}` is not a field here", key.value);
                problems.push_with_help(Code::UnknownField, key.span, message, help);
            }
        }
        Some(Self { span: node.span, pairs, known })
    }

    /// Decodes the `index`-th field of the record.
    pub fn take<T: Decode>(&self, index: usize, problems: &mut Problems) -> Option<T> {
        let name = &self.known[index];
        match self.pairs.iter().find(|(key, _)| key.value == *name) {
            Some((_, node)) => T::decode(node, problems),
            None => {
                let absent = T::absent();
                if absent.is_none() {
                    let message = format!("the field `{name}` is missing");
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

/// Declares a struct that is a YAML mapping: its decoder and its JSON Schema come from the same list of fields.
///
/// A field whose type has no [`Decode::absent`] is required; a field that the list does not have is an error.
macro_rules! record {
    ($(#[doc = $doc:expr])+ pub struct $name:ident { $($(#[doc = $field_doc:expr])+ pub $field:ident: $type:ty,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type,)+ }

        impl $crate::yaml::Decode for $name {
            fn decode(node: &$crate::yaml::Node, problems: &mut $crate::diag::Problems) -> Option<Self> {
                // A section with nothing in it is a section that is not written.
                if let (true, Some(absent)) = (node.is_null(), Self::absent()) {
                    return Some(absent);
                }
                let known = [$($crate::yaml::field_name(stringify!($field)),)+];
                let fields = $crate::yaml::Fields::open(node, &known, problems)?;
                let mut index = 0..;
                // Every field is decoded before the first failure counts, so that all problems are found.
                $(let $field = index.next().and_then(|index| fields.take::<$type>(index, problems));)+
                Some($name { $($field: $field?,)+ })
            }

            fn salvage(node: &$crate::yaml::Node) -> Option<Self> {
                $(let $field = node.field(&$crate::yaml::field_name(stringify!($field)))
                    .and_then(<$type as $crate::yaml::Decode>::salvage)
                    .or_else(<$type as $crate::yaml::Decode>::absent);)+
                Some($name { $($field: $field?,)+ })
            }

            fn absent() -> Option<Self> {
                Some($name { $($field: <$type as $crate::yaml::Decode>::absent()?,)+ })
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($name).into() }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut properties = serde_json::Map::new();
                let mut required = Vec::new();
                $({
                    let name = $crate::yaml::field_name(stringify!($field));
                    let mut schema = generator.subschema_for::<$type>();
                    schema.insert("description".into(), concat!($($field_doc, "\n"),+).trim().into());
                    properties.insert(name.clone(), schema.into());
                    if <$type as $crate::yaml::Decode>::absent().is_none() { required.push(name); }
                })+
                schemars::json_schema!({
                    "type": "object",
                    "description": concat!($($doc, "\n"),+).trim(),
                    "properties": properties,
                    "required": required,
                    "additionalProperties": false,
                })
            }
        }
    };
}

/// Declares an enum whose values are words in YAML, with its decoder and its JSON Schema.
macro_rules! words {
    ($(#[doc = $doc:expr])+ pub enum $name:ident { $($(#[doc = $word_doc:expr])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $word_doc])+ $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[$name] = &[$($name::$variant,)+];

            /// The word as written.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            /// Reads the word; the error lists the words there are.
            fn from_str(text: &str) -> Result<Self, String> {
                let words: Vec<&str> = Self::ALL.iter().map(|value| value.word()).collect();
                Self::ALL.iter().copied().find(|value| value.word() == text).ok_or_else(|| $crate::diag::one_of(&words))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl $crate::yaml::Decode for $name {
            fn decode(node: &$crate::yaml::Node, problems: &mut $crate::diag::Problems) -> Option<Self> {
                const WORDS: &[&str] = &[$($word,)+];
                let (text, _) = node.scalar("a word", problems)?;
                let known = Self::ALL.iter().copied().find(|value| value.word() == text);
                if known.is_none() {
                    let written = $crate::source::Spanned { value: text.to_owned(), span: node.span };
                    let message = format!("`{}` is not known here", text);
                    let help = $crate::diag::suggest(&written, WORDS);
                    problems.push_with_help($crate::diag::Code::UnknownValue, node.span, message, help);
                }
                known
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> { stringify!($name).into() }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "description": concat!($($doc, "\n"),+).trim(),
                    "enum": [$($word,)+],
                })
            }
        }
    };
}

pub(crate) use {record, words};

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

/// Declares a type that is one YAML scalar, read by a function, with a pattern or format for its JSON Schema.
macro_rules! scalar {
    ($type:ty, $schema:tt, $name:literal, |$node:ident, $problems:ident| $decode:expr) => {
        impl $crate::yaml::Decode for $type {
            fn decode($node: &$crate::yaml::Node, $problems: &mut $crate::diag::Problems) -> Option<Self> {
                $decode
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

pub(crate) use scalar;
