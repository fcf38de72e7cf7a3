//! Objects of nft JSON, read field by field.

use super::super::form::Word;
use super::super::problem::{Reading, malformed, quoted, unknown};
use super::tree::{JsonNode, JsonValue};
use crate::diag::Diagnostic;
use crate::nft::{OWN_FAMILY, TABLE_FAMILIES};
use crate::ruleset::TABLE;
use crate::source::{Span, Spanned};

/// The help where something is not edgeward's table.
pub const ONLY_TABLE: &str = "pass the output of `edgeward compile --format json` or `nft -j list table inet edgeward`";

/// The help where the JSON has another form.
const UNCHANGED: &str = "pass the JSON as `edgeward compile` or nft wrote it";

/// The fields of an object. A field that is left at the end is an error.
pub struct ObjectFields<'t, 'a> {
    what: &'static str,
    span: Span,
    left: Vec<(&'t Word<'a>, &'t JsonNode<'a>)>,
}

impl<'t, 'a> ObjectFields<'t, 'a> {
    /// The fields of an object; `what` is its name in messages.
    pub fn of(node: &'t JsonNode<'a>, what: &'static str) -> Reading<Self> {
        let JsonValue::Object(fields) = &node.value else {
            return Err(wrong_kind(node, "an object"));
        };
        Ok(Self { what, span: node.span, left: fields.iter().map(|(key, value)| (key, value)).collect() })
    }

    /// The fields of an object that is part of edgeward's table.
    pub fn of_own_table(node: &'t JsonNode<'a>, what: &'static str) -> Reading<Self> {
        let mut fields = Self::of(node, what)?;
        fields.own_table("table")?;
        fields.ignore(&["handle", "comment"])?;
        Ok(fields)
    }

    /// Takes the family and the name of a table, which must be edgeward's.
    pub fn own_table(&mut self, name: &str) -> Reading<()> {
        let (family, name) =
            (word(self.require("family")?, "a family")?, word(self.require(name)?, "the name of a table")?);
        if TABLE_FAMILIES.value(&family.value) == Some(OWN_FAMILY) && name.value == TABLE {
            return Ok(());
        }
        let other = quoted(&format!("{} {}", family.value, name.value));
        Err(unknown(name.span, format!("{other} is not edgeward's table"), ONLY_TABLE))
    }

    /// Takes a field, if it is there.
    pub fn take(&mut self, name: &str) -> Option<&'t JsonNode<'a>> {
        let index = self.left.iter().position(|(key, _)| key.value == name)?;
        Some(self.left.swap_remove(index).1)
    }

    /// Takes a field that must be there.
    pub fn require(&mut self, name: &str) -> Reading<&'t JsonNode<'a>> {
        self.take(name).ok_or_else(|| {
            let message = format!("missing field `{name}` in {}", self.what);
            malformed(self.span, message, UNCHANGED)
        })
    }

    /// Takes a field that may only be absent or false.
    pub fn absent_or_false(&mut self, name: &str) {
        self.left.retain(|(key, value)| key.value != name || !matches!(value.value, JsonValue::Bool(false)));
    }

    /// Takes fields that do not change what the ruleset does: texts, numbers, and null, which `emit` writes.
    pub fn ignore(&mut self, names: &[&str]) -> Reading<()> {
        let taken =
            names.iter().filter_map(|name| self.take(name)).filter(|node| !matches!(node.value, JsonValue::Null));
        taken.map(|node| word(node, "a text or number")).try_for_each(|word| word.map(drop))
    }

    /// Checks that no field is left.
    pub fn finish(self) -> Reading<()> {
        let first = self.left.iter().map(|(key, _)| key).min_by_key(|key| key.span);
        first.map_or(Ok(()), |key| {
            let message = format!("unknown field {} in {}", quoted(&key.value), self.what);
            Err(unknown(key.span, message, "remove it: edgeward does not write it, and does not know its effect"))
        })
    }
}

/// The only field of an object. Its name says what nft object it is.
pub fn only_field<'t, 'a>(node: &'t JsonNode<'a>) -> Reading<(&'t Word<'a>, &'t JsonNode<'a>)> {
    match &node.value {
        JsonValue::Object(fields) if fields.len() == 1 => Ok((&fields[0].0, &fields[0].1)),
        _ => Err(wrong_kind(node, "an object with one key")),
    }
}

/// The items of a list.
pub fn list<'t, 'a>(node: &'t JsonNode<'a>) -> Reading<&'t [JsonNode<'a>]> {
    match &node.value {
        JsonValue::List(items) => Ok(items),
        _ => Err(wrong_kind(node, "a list")),
    }
}

/// A text, or a number as its digits.
pub fn word<'a>(node: &JsonNode<'a>, what: &str) -> Reading<Word<'a>> {
    match &node.value {
        JsonValue::Text(text) => Ok(Spanned { value: text.clone(), span: node.span }),
        JsonValue::Number(digits) => Ok(Spanned { value: (*digits).into(), span: node.span }),
        _ => Err(wrong_kind(node, what)),
    }
}

/// A text.
pub fn text<'a>(node: &JsonNode<'a>, what: &str) -> Reading<Word<'a>> {
    match &node.value {
        JsonValue::Text(_) => word(node, what),
        _ => Err(wrong_kind(node, what)),
    }
}

/// The problem with a value of another kind than expected.
pub fn wrong_kind(node: &JsonNode<'_>, expected: &str) -> Box<Diagnostic> {
    malformed(node.span, format!("expected {expected}, found {}", node.value.kind()), UNCHANGED)
}
