//! The statements of nft JSON.

use super::super::form::{Operand, Operator, Right, Statement, Word};
use super::super::names::{OTHER_MATCHES, OTHER_STATEMENTS, field};
use super::super::problem::{Reading, malformed, quoted, unknown};
use super::object::{ObjectFields, list, only_field, text, word, wrong_kind};
use super::tree::{JsonNode, JsonValue};
use crate::nft::{CT, Field, META, STATEMENTS, StatementKind};
use crate::source::{Span, Spanned};

/// Reads a statement of a rule.
pub fn statement<'a>(node: &JsonNode<'a>) -> Reading<Spanned<Statement<'a>>> {
    let (name, value) = only_field(node)?;
    if name.value == "match" {
        return Ok(Spanned { value: comparison(value)?, span: node.span });
    }
    let statement = match STATEMENTS.value(&name.value) {
        Some(StatementKind::VerdictMap) => verdict_map(value)?,
        Some(StatementKind::Limit) => limit(value)?,
        Some(StatementKind::Log) => log(value)?,
        Some(StatementKind::Counter) => match &value.value {
            JsonValue::Text(_) => Statement::Counter(word(value, "the name of a counter")?),
            _ => {
                let help = "write the name of a counter of the table";
                return Err(unknown(name.span, "a counter without a name", help));
            }
        },
        Some(StatementKind::Reject) => reject(name, value)?,
        Some(StatementKind::Notrack) => nothing(value).map(|()| Statement::Notrack)?,
        _ => return verdict(node),
    };
    Ok(Spanned { value: statement, span: node.span })
}

/// Reads a verdict, in a rule or in a verdict map.
fn verdict<'a>(node: &JsonNode<'a>) -> Reading<Spanned<Statement<'a>>> {
    let (name, value) = only_field(node)?;
    let statement = match STATEMENTS.value(&name.value) {
        Some(StatementKind::Accept) => nothing(value).map(|()| Statement::Accept)?,
        Some(StatementKind::Drop) => nothing(value).map(|()| Statement::Drop)?,
        Some(StatementKind::Jump) => Statement::Jump(target(value)?),
        Some(StatementKind::Goto) => Statement::Goto(target(value)?),
        _ => {
            let message = format!("unsupported statement {}", quoted(&name.value));
            return Err(unknown(name.span, message, OTHER_STATEMENTS));
        }
    };
    Ok(Spanned { value: statement, span: node.span })
}

fn target<'a>(node: &JsonNode<'a>) -> Reading<Word<'a>> {
    let mut fields = ObjectFields::of(node, "a jump")?;
    let target = word(fields.require("target")?, "the name of a chain")?;
    fields.finish()?;
    Ok(target)
}

fn nothing(node: &JsonNode<'_>) -> Reading<()> {
    match &node.value {
        JsonValue::Null => Ok(()),
        _ => Err(wrong_kind(node, "null")),
    }
}

fn comparison<'a>(node: &JsonNode<'a>) -> Reading<Statement<'a>> {
    let mut fields = ObjectFields::of(node, "`match`")?;
    let operator = word(fields.require("op")?, "an operator")?;
    let operator = match &*operator.value {
        "==" => Operator::Equal,
        "in" => Operator::In,
        other => {
            let message = format!("unsupported operator {}", quoted(other));
            return Err(unknown(operator.span, message, "use `==` or `in`"));
        }
    };
    let (key, right) = (key(fields.require("left")?)?, right(fields.require("right")?)?);
    fields.finish()?;
    Ok(Statement::Match { key, operator, right })
}

fn key(node: &JsonNode<'_>) -> Reading<Spanned<Field>> {
    let (kind, value) = only_field(node)?;
    let (header, name) = match &*kind.value {
        "payload" => {
            let mut fields = ObjectFields::of(value, "`payload`")?;
            let header = word(fields.require("protocol")?, "a protocol")?;
            let field = word(fields.require("field")?, "a field")?;
            fields.finish()?;
            (header.value, field.value)
        }
        META | CT => {
            let mut fields = ObjectFields::of(value, "a field of packets")?;
            let field = word(fields.require("key")?, "a key")?;
            fields.finish()?;
            (kind.value.clone(), field.value)
        }
        other => {
            let message = format!("unsupported field {}", quoted(other));
            return Err(unknown(kind.span, message, OTHER_MATCHES));
        }
    };
    field(&header, &name, node.span)
}

fn right<'a>(node: &JsonNode<'a>) -> Reading<Right<'a>> {
    if let JsonValue::Text(text) = &node.value
        && let Some(name) = text.strip_prefix('@')
    {
        return Ok(Right::Named(Spanned { value: name.to_owned().into(), span: node.span }));
    }
    match (&node.value, members(node)) {
        (_, Some([])) => Err(malformed(node.span, "a comparison without values", "remove the rule")),
        (JsonValue::List(items), _) => Ok(Right::Flags(items.iter().map(operand).collect::<Reading<_>>()?)),
        (_, Some(items)) => Ok(Right::Among(items.iter().map(operand).collect::<Reading<_>>()?)),
        (_, None) => Ok(Right::One(operand(node)?)),
    }
}

/// The members of a list or of `{"set": …}`, with or without a list in it; `None` for other values.
pub fn members<'t, 'a>(node: &'t JsonNode<'a>) -> Option<&'t [JsonNode<'a>]> {
    match &node.value {
        JsonValue::List(items) => Some(items),
        JsonValue::Object(fields) => match &fields[..] {
            [(name, inside)] if name.value == "set" => match &inside.value {
                JsonValue::List(items) => Some(items),
                _ => Some(std::slice::from_ref(inside)),
            },
            _ => None,
        },
        _ => None,
    }
}

/// The value in `{"elem": {"val": …}}`, nft's form for elements that have more than a value.
pub fn unwrapped<'t, 'a>(node: &'t JsonNode<'a>) -> Reading<&'t JsonNode<'a>> {
    match &node.value {
        JsonValue::Object(fields) if fields.len() == 1 && fields[0].0.value == "elem" => {
            let mut fields = ObjectFields::of(&fields[0].1, "`elem`")?;
            let value = fields.require("val")?;
            fields.ignore(&["comment"])?;
            fields.finish()?;
            Ok(value)
        }
        _ => Ok(node),
    }
}

fn operand<'a>(node: &JsonNode<'a>) -> Reading<Operand<'a>> {
    let node = unwrapped(node)?;
    if !matches!(node.value, JsonValue::Object(_)) {
        return Ok(Operand { low: word(node, "a value")?, high: None });
    }
    let (name, value) = only_field(node)?;
    match &*name.value {
        "range" => {
            let (low, high) = ends(value)?;
            Ok(Operand { low, high: Some(high) })
        }
        other => {
            let message = format!("unsupported value {}", quoted(other));
            Err(unknown(name.span, message, "compare with values, ranges and sets of them"))
        }
    }
}

/// The two ends of a range.
pub fn ends<'a>(node: &JsonNode<'a>) -> Reading<(Word<'a>, Word<'a>)> {
    match list(node)? {
        [low, high] => Ok((word(low, "the end of a range")?, word(high, "the end of a range")?)),
        _ => Err(malformed(node.span, "a range without two ends", "write `{\"range\": [first, last]}`")),
    }
}

fn verdict_map<'a>(node: &JsonNode<'a>) -> Reading<Statement<'a>> {
    let mut fields = ObjectFields::of(node, "`vmap`")?;
    let (key, data) = (key(fields.require("key")?)?, fields.require("data")?);
    fields.finish()?;
    if let JsonValue::Text(name) = &data.value {
        return Err(unknown(
            data.span,
            format!("unsupported named verdict map {}", quoted(name)),
            "write the map as a set of pairs",
        ));
    }
    let (name, entries) = only_field(data)?;
    if name.value != "set" {
        return Err(unknown(
            name.span,
            format!("unsupported verdict map {}", quoted(&name.value)),
            "write a set of pairs",
        ));
    }
    let entries = list(entries)?.iter().map(|entry| match &entry.value {
        JsonValue::List(pair) if pair.len() == 2 => Ok((operand(&pair[0])?, verdict(&pair[1])?)),
        _ => Err(wrong_kind(entry, "a pair of key and verdict")),
    });
    Ok(Statement::VerdictMap { key, entries: entries.collect::<Reading<_>>()? })
}

fn limit<'a>(node: &JsonNode<'a>) -> Reading<Statement<'a>> {
    let mut fields = ObjectFields::of(node, "`limit`")?;
    let (count, per) = (word(fields.require("rate")?, "a rate")?, word(fields.require("per")?, "a unit of time")?);
    let burst = fields.take("burst").map(|node| word(node, "a number of packets")).transpose()?;
    fields.absent_or_false("inv");
    fields.finish()?;
    Ok(Statement::Limit { count, per, burst })
}

fn log<'a>(node: &JsonNode<'a>) -> Reading<Statement<'a>> {
    if matches!(node.value, JsonValue::Null) {
        return Err(unknown(node.span, "a log without a prefix", "write a `prefix`"));
    }
    let mut fields = ObjectFields::of(node, "`log`")?;
    let prefix = text(fields.require("prefix")?, "a prefix")?;
    fields.finish()?;
    Ok(Statement::Log { prefix })
}

fn reject<'a>(name: &Word<'a>, node: &JsonNode<'a>) -> Reading<Statement<'a>> {
    if matches!(node.value, JsonValue::Null) {
        let help = "write the type `icmpx` and the code `admin-prohibited`";
        return Err(unknown(name.span, "a reject without a reason", help));
    }
    let mut fields = ObjectFields::of(node, "`reject`")?;
    let kind = word(fields.require("type")?, "a type of reject")?;
    // `tcp reset` has no code.
    let code = fields.take("expr").map(|node| word(node, "a code")).transpose()?;
    fields.finish()?;
    let end = kind.span.end;
    let code = code.unwrap_or_else(|| Spanned { value: "".into(), span: Span { start: end, end } });
    Ok(Statement::Reject { kind, code })
}
