//! Macros that declare a type of a format once: the type, its decoder and its JSON Schema.

/// Declares a struct that is a YAML mapping.
///
/// A field is required if it has neither a default (`pub port: Port = Port(22)`) nor a type with a
/// [`Decode::absent`](crate::yaml::Decode::absent). An unknown field is an error.
macro_rules! record {
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
    ($(#[doc = $doc:expr])+ pub struct $name:ident {
        $($(#[doc = $field_doc:expr])+ pub $field:ident: $type:ty $(= $default:expr)?,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type,)+ }

        impl $crate::yaml::Decode for $name {
            fn decode(node: &$crate::yaml::Node, problems: &mut $crate::diag::Problems) -> Option<Self> {
                // An empty section is the same as none.
                if let (true, Some(absent)) = (node.is_null(), Self::absent()) {
                    return Some(absent);
                }
                let known = [$($crate::yaml::field_name(stringify!($field)),)+];
                let fields = $crate::yaml::Fields::open(node, &known, problems)?;
                let mut index = 0..;
                // All fields are decoded before the first failure counts, so that every problem is reported.
                $(let $field = index.next().and_then(|index| {
                    fields.take::<$type>(index, $crate::yaml::record!(@default $($default)?), problems)
                });)+
                Some($name { $($field: $field?,)+ })
            }

            fn salvage(node: &$crate::yaml::Node) -> Option<Self> {
                $(let $field = node.field(&$crate::yaml::field_name(stringify!($field)))
                    .and_then(<$type as $crate::yaml::Decode>::salvage)
                    .or($crate::yaml::record!(@default $($default)?))
                    .or_else(<$type as $crate::yaml::Decode>::absent);)+
                Some($name { $($field: $field?,)+ })
            }

            fn absent() -> Option<Self> {
                $(let $field = $crate::yaml::record!(@default $($default)?)
                    .or_else(<$type as $crate::yaml::Decode>::absent);)+
                Some($name { $($field: $field?,)+ })
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
                    let default: Option<$type> = $crate::yaml::record!(@default $($default)?);
                    if default.is_none() && <$type as $crate::yaml::Decode>::absent().is_none() {
                        required.push(name.clone());
                    }
                    $(
                        let default: $type = $default;
                        schema.insert("default".into(), $crate::yaml::Written::written(&default));
                    )?
                    properties.insert(name, schema.into());
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

/// Declares an enum whose values are words in YAML.
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

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        $crate::yaml::by_word!($name, concat!($($doc, "\n"),+), $name::ALL, $name::word);
    };
}

/// Reads a type by the words that a method gives for its values: a type of `net` that documents and command lines name.
macro_rules! by_word {
    ($name:ident, $doc:expr, $values:expr, $word:expr) => {
        impl std::str::FromStr for $name {
            type Err = String;

            /// Reads the word; the error lists the known words.
            fn from_str(text: &str) -> Result<Self, String> {
                $crate::yaml::parse_word(text, $values, $word)
            }
        }

        impl $crate::yaml::Decode for $name {
            fn decode(node: &$crate::yaml::Node, problems: &mut $crate::diag::Problems) -> Option<Self> {
                $crate::yaml::decode_word(node, $values, $word, problems)
            }
        }

        impl $crate::yaml::Written for $name {
            fn written(&self) -> $crate::yaml::Json {
                $word(*self).into()
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let words: Vec<&str> = $values.iter().map(|value| $word(*value)).collect();
                schemars::json_schema!({ "description": $doc.trim(), "enum": words })
            }
        }
    };
}

/// Declares how a type is decoded from one YAML scalar, with a pattern or format for its JSON Schema.
macro_rules! scalar {
    ($type:ty, $schema:tt, $name:expr, |$node:ident, $problems:ident| $decode:expr) => {
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

/// Declares that a type is decoded from a record by a function; its JSON Schema is the record's.
macro_rules! refined {
    ($type:ident, $record:ty, $refine:expr) => {
        impl $crate::yaml::Decode for $type {
            fn decode(node: &$crate::yaml::Node, problems: &mut $crate::diag::Problems) -> Option<Self> {
                let record = <$record as $crate::yaml::Decode>::decode(node, problems)?;
                $refine(record, node, problems)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$record>::json_schema(generator)
            }
        }
    };
}

/// Declares a number within bounds, which are those of its JSON Schema.
macro_rules! number {
    ($(#[doc = $doc:expr])+ pub struct $name:ident(pub $type:ty), $low:literal to $high:literal) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub $type);

        $crate::yaml::scalar!($name, { "type": "integer", "minimum": $low, "maximum": $high }, stringify!($name), |node, problems| {
            $crate::yaml::decode_number(node, $low, $high, problems).and_then(|number| number.try_into().ok()).map($name)
        });

        impl $crate::yaml::Written for $name {
            fn written(&self) -> $crate::yaml::Json {
                self.0.into()
            }
        }
    };
}

pub(crate) use {by_word, number, record, refined, scalar, words};
