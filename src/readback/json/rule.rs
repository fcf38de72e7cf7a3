//! The statements of nft JSON.

use super::super::form::{Item, Right, Statement, Word};
use super::super::meaning::{Field, field};
use super::super::{Reading, malformed, quoted, unknown};
use super::tree::{Node, Value};
use super::{Fields, list, only_field, text, word, wrong_kind};
use crate::source::{Span, Spanned};

/// Reads a statement of a rule.
pub fn statement<'a>(node: &Node<'a>) -> Reading<Spanned<Statement<'a>>> {
    let (name, value) = only_field(node, "a statement")?;
    let statement = match &*name.value {
        "match" => comparison(value)?,
        "vmap" => verdict_map(value)?,
        "limit" => limit(value)?,
        "log" => log(value)?,
        "counter" => match &value.value {
            Value::Text(_) => Statement::Counter(word(value, "the name of a counter")?),
            _ => {
                let help = "write the name of a counter of the table";
                return Err(unknown(name.span, "a counter without a name", help));
            }
        },
        "reject" => reject(name, value)?,
        "notrack" => {
            nothing(value)?;
            Statement::Notrack
        }
        _ => return verdict(node),
    };
    Ok(Spanned { value: statement, span: node.span })
}

/// Reads what may stand in a verdict map, too.
fn verdict<'a>(node: &Node<'a>) -> Reading<Spanned<Statement<'a>>> {
    let (name, value) = only_field(node, "a verdict")?;
    let statement = match &*name.value {
        "accept" | "drop" => {
            nothing(value)?;
            if name.value == "accept" { Statement::Accept } else { Statement::Drop }
        }
        "jump" | "goto" => {
            let mut fields = Fields::of(value, "a jump")?;
            let target = word(fields.want("target")?, "the name of a chain")?;
            fields.finish()?;
            if name.value == "jump" { Statement::Jump(target) } else { Statement::Goto(target) }
        }
        other => {
            let help = "remove the rule, or say it with statements that edgeward writes";
            return Err(unknown(name.span, format!("the statement {}", quoted(other)), help));
        }
    };
    Ok(Spanned { value: statement, span: node.span })
}

fn nothing(node: &Node<'_>) -> Reading<()> {
    match &node.value {
        Value::Null => Ok(()),
        _ => Err(wrong_kind(node, "null")),
    }
}

fn comparison<'a>(node: &Node<'a>) -> Reading<Statement<'a>> {
    let mut fields = Fields::of(node, "`match`")?;
    // `in` is what text says without an operator; on numbers `==` is the same, on flags it is not.
    let operator = word(fields.want("op")?, "an operator")?;
    let exact = match &*operator.value {
        "==" => true,
        "in" => false,
        other => {
            let message = format!("the operator {}", quoted(other));
            return Err(unknown(operator.span, message, "edgeward compares with `==` and `in` only"));
        }
    };
    let (key, right) = (key(fields.want("left")?)?, right(fields.want("right")?)?);
    fields.finish()?;
    Ok(Statement::Match { key, exact, right })
}

fn key(node: &Node<'_>) -> Reading<Spanned<Field>> {
    let (kind, value) = only_field(node, "what a match looks at")?;
    let (header, name) = match &*kind.value {
        "payload" => {
            let mut fields = Fields::of(value, "`payload`")?;
            let header = word(fields.want("protocol")?, "a protocol")?;
            let field = word(fields.want("field")?, "a field")?;
            fields.finish()?;
            (header.value, field.value)
        }
        "meta" | "ct" => {
            let mut fields = Fields::of(value, "what a match looks at")?;
            let field = word(fields.want("key")?, "a key")?;
            fields.finish()?;
            (kind.value.clone(), field.value)
        }
        other => {
            let message = format!("edgeward never looks at {}", quoted(other));
            return Err(unknown(kind.span, message, "remove the rule, or say it with matches that edgeward has"));
        }
    };
    field(&header, &name, node.span)
}

fn right<'a>(node: &Node<'a>) -> Reading<Right<'a>> {
    if let Value::Text(text) = &node.value
        && let Some(name) = text.strip_prefix('@')
    {
        return Ok(Right::Named(Spanned { value: name.to_owned().into(), span: node.span }));
    }
    match (&node.value, members(node)) {
        (_, Some([])) => Err(malformed(node.span, "a comparison with no values", "leave out what compares with it")),
        (Value::List(items), _) => Ok(Right::Flags(items.iter().map(item).collect::<Reading<_>>()?)),
        (_, Some(items)) => Ok(Right::Among(items.iter().map(item).collect::<Reading<_>>()?)),
        (_, None) => Ok(Right::One(item(node)?)),
    }
}

/// The members of a list or of `{"set": …}`, with or without a list in it; `None` where it is neither.
pub fn members<'t, 'a>(node: &'t Node<'a>) -> Option<&'t [Node<'a>]> {
    match &node.value {
        Value::List(items) => Some(items),
        Value::Object(fields) => match &fields[..] {
            [(name, inside)] if name.value == "set" => match &inside.value {
                Value::List(items) => Some(items),
                _ => Some(std::slice::from_ref(inside)),
            },
            _ => None,
        },
        _ => None,
    }
}

/// What is in `{"elem": {"val": …}}`, nft's form for elements of which there is more to say than their value.
pub fn unwrapped<'t, 'a>(node: &'t Node<'a>) -> Reading<&'t Node<'a>> {
    match &node.value {
        Value::Object(fields) if fields.len() == 1 && fields[0].0.value == "elem" => {
            let mut fields = Fields::of(&fields[0].1, "`elem`")?;
            let value = fields.want("val")?;
            fields.ignore(&["comment"])?;
            fields.finish()?;
            Ok(value)
        }
        _ => Ok(node),
    }
}

fn item<'a>(node: &Node<'a>) -> Reading<Item<'a>> {
    let node = unwrapped(node)?;
    if !matches!(node.value, Value::Object(_)) {
        return Ok(Item { low: word(node, "a value")?, high: None });
    }
    let (name, value) = only_field(node, "a value")?;
    match &*name.value {
        "range" => {
            let (low, high) = ends(value)?;
            Ok(Item { low, high: Some(high) })
        }
        other => {
            let message = format!("the value {}", quoted(other));
            Err(unknown(name.span, message, "edgeward compares with values, ranges and sets of them"))
        }
    }
}

/// The two ends of a range.
pub fn ends<'a>(node: &Node<'a>) -> Reading<(Word<'a>, Word<'a>)> {
    match list(node, "the ends of a range")? {
        [low, high] => Ok((word(low, "the end of a range")?, word(high, "the end of a range")?)),
        _ => Err(malformed(node.span, "a range without two ends", "write `{\"range\": [first, last]}`")),
    }
}

fn verdict_map<'a>(node: &Node<'a>) -> Reading<Statement<'a>> {
    let mut fields = Fields::of(node, "`vmap`")?;
    let (key, data) = (key(fields.want("key")?)?, fields.want("data")?);
    fields.finish()?;
    if let Value::Text(name) = &data.value {
        return Err(unknown(data.span, format!("the verdict map {}", quoted(name)), "write the map as a set of pairs"));
    }
    let (name, entries) = only_field(data, "a set of pairs")?;
    if name.value != "set" {
        return Err(unknown(name.span, format!("the verdict map {}", quoted(&name.value)), "write a set of pairs"));
    }
    let entries = list(entries, "the entries of a verdict map")?.iter().map(|entry| match &entry.value {
        Value::List(pair) if pair.len() == 2 => Ok((item(&pair[0])?, verdict(&pair[1])?)),
        _ => Err(wrong_kind(entry, "a pair of key and verdict")),
    });
    Ok(Statement::VerdictMap { key, entries: entries.collect::<Reading<_>>()? })
}

fn limit<'a>(node: &Node<'a>) -> Reading<Statement<'a>> {
    let mut fields = Fields::of(node, "`limit`")?;
    let (count, per) = (word(fields.want("rate")?, "a rate")?, word(fields.want("per")?, "a unit of time")?);
    let burst = fields.take("burst").map(|node| word(node, "a number of packets")).transpose()?;
    fields.absent_or_false("inv");
    fields.finish()?;
    Ok(Statement::Limit { count, per, burst })
}

fn log<'a>(node: &Node<'a>) -> Reading<Statement<'a>> {
    if matches!(node.value, Value::Null) {
        return Err(unknown(node.span, "a log without a prefix", "write a `prefix`"));
    }
    let mut fields = Fields::of(node, "`log`")?;
    let prefix = text(fields.want("prefix")?, "a prefix")?;
    fields.finish()?;
    Ok(Statement::Log { prefix })
}

fn reject<'a>(name: &Word<'a>, node: &Node<'a>) -> Reading<Statement<'a>> {
    if matches!(node.value, Value::Null) {
        let help = "write the type `icmpx` and the code `admin-prohibited`";
        return Err(unknown(name.span, "a reject that says no reason", help));
    }
    let mut fields = Fields::of(node, "`reject`")?;
    let kind = word(fields.want("type")?, "a type of reject")?;
    // `tcp reset` has no code.
    let code = fields.take("expr").map(|node| word(node, "a code")).transpose()?;
    fields.finish()?;
    let end = kind.span.end;
    let code = code.unwrap_or_else(|| Spanned { value: "".into(), span: Span { start: end, end } });
    Ok(Statement::Reject { kind, code })
}
