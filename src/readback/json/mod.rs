//! nft JSON as forms.
//!
//! The JSON of nft 1.0.6 says less than its text: of a set it tells neither `auto-merge` nor the flag `dynamic`, and a
//! type that is that of an expression it spells out. None of it changes what a set matches.

mod rule;
mod tree;

use std::collections::BTreeMap;

use super::elements::Elements;
use super::form::{BaseForm, ChainForm, RuleForm, SetForm, Word};
use super::table::Table;
use super::{Reading, malformed, quoted, unknown};
use crate::diag::Diagnostic;
use crate::ruleset::{Ruleset, TABLE};
use crate::source::{Span, Spanned};
use tree::{Node, Value};

/// Reads nft JSON.
pub fn read(text: &str) -> Reading<Ruleset> {
    let root = tree::parse(text)?;
    let mut fields = Fields::of(&root, "nft JSON")?;
    let objects = list(fields.want("nftables")?, "`nftables`")?;
    fields.finish()?;
    let mut contents = Contents::default();
    for object in objects {
        command(object, &mut contents)?;
    }
    contents.finish(Span { start: root.span.end, end: root.span.end })
}

/// What has been read of the table. Rules name their chains, which may stand behind them.
#[derive(Default)]
struct Contents<'a> {
    table: Table,
    is_there: bool,
    chains: Vec<ChainForm<'a>>,
    rules: BTreeMap<String, Vec<RuleForm<'a>>>,
}

impl Contents<'_> {
    fn finish(mut self, end: Span) -> Reading<Ruleset> {
        for mut chain in self.chains {
            chain.rules = self.rules.remove(&*chain.name.value).unwrap_or_default();
            self.table.chain(chain)?;
        }
        if let Some((name, rules)) = self.rules.into_iter().next() {
            let span = rules.first().map(|rule| rule.span).unwrap_or_default();
            let message = format!("a rule of the chain {}, which is not there", quoted(&name));
            return Err(malformed(span, message, "take the whole table, or mend the name"));
        }
        if !self.is_there {
            return Err(malformed(end, "there is no table `inet edgeward`", ONLY_TABLE));
        }
        self.table.finish()
    }
}

const ONLY_TABLE: &str = "take what `edgeward compile --format json` and `nft -j list table inet edgeward` write";

/// Reads a command, or an object as nft lists it, which is the same as a command to add it.
fn command<'a>(node: &Node<'a>, contents: &mut Contents<'a>) -> Reading<()> {
    let (name, value) = only_field(node, "a command or object of nft")?;
    match &*name.value {
        "add" => {
            let (name, value) = only_field(value, "what to add")?;
            object(name, value, contents)
        }
        // The header of a transaction: what stood before is gone.
        "delete" | "destroy" => {
            let (name, value) = only_field(value, "what to delete")?;
            if name.value != "table" {
                return Err(unknown(name.span, "a deletion of something else than a table", ONLY_TABLE));
            }
            table(value)?;
            *contents = Contents::default();
            Ok(())
        }
        "metainfo" => metainfo(value),
        _ => object(name, value, contents),
    }
}

/// Reads what nft says of itself. Another version of the schema would be another language.
fn metainfo(node: &Node<'_>) -> Reading<()> {
    let mut fields = Fields::of(node, "`metainfo`")?;
    fields.ignore(&["version", "release_name"])?;
    if let Some(version) = fields.take("json_schema_version") {
        let version = word(version, "the version of a schema")?;
        if version.value != "1" {
            let message = format!("the version {} of nft's JSON", quoted(&version.value));
            return Err(unknown(version.span, message, "edgeward reads version 1"));
        }
    }
    fields.finish()
}

fn object<'a>(name: &Word<'a>, node: &Node<'a>, contents: &mut Contents<'a>) -> Reading<()> {
    match &*name.value {
        "table" => {
            contents.is_there = true;
            table(node)
        }
        "counter" => {
            let mut fields = Fields::of_our_table(node, "`counter`")?;
            let name = word(fields.want("name")?, "the name of a counter")?;
            fields.ignore(&["packets", "bytes"])?;
            fields.finish()?;
            contents.table.counter(&name)
        }
        "set" => contents.table.set(set(node)?),
        "chain" => {
            contents.chains.push(chain(node)?);
            Ok(())
        }
        "rule" => {
            let mut fields = Fields::of(node, "`rule`")?;
            fields.our_table("table")?;
            fields.ignore(&["handle"])?;
            let chain = word(fields.want("chain")?, "the name of a chain")?;
            let comment = fields.take("comment").map(|node| text(node, "a comment")).transpose()?;
            let statements = list(fields.want("expr")?, "the statements of a rule")?;
            fields.finish()?;
            let statements = statements.iter().map(rule::statement).collect::<Reading<_>>()?;
            let form = RuleForm { statements, comment, span: node.span };
            contents.rules.entry(chain.value.into_owned()).or_default().push(form);
            Ok(())
        }
        other => {
            let message = format!("{} in nft JSON", quoted(other));
            Err(unknown(
                name.span,
                message,
                "edgeward adds a table with counters, sets, chains and rules, and nothing else",
            ))
        }
    }
}

fn table(node: &Node<'_>) -> Reading<()> {
    let mut fields = Fields::of(node, "`table`")?;
    fields.our_table("name")?;
    fields.ignore(&["handle", "comment"])?;
    fields.finish()
}

fn set<'a>(node: &Node<'a>) -> Reading<SetForm<'a>> {
    let mut fields = Fields::of_our_table(node, "`set`")?;
    let name = word(fields.want("name")?, "the name of a set")?;
    let type_node = fields.want("type")?;
    let Value::Text(kind) = &type_node.value else {
        let help = "edgeward has sets of `ipv4_addr` and of `ipv6_addr`";
        return Err(unknown(type_node.span, "a set of several values, or of an expression's type", help));
    };
    let type_of_elements = Some(Spanned { value: kind.clone(), span: type_node.span });
    // nft 1.1.4 lists a lone flag as it is; all other versions list a list.
    let flags = match fields.take("flags") {
        None => Vec::new(),
        Some(Spanned { value: Value::List(flags), .. }) => {
            flags.iter().map(|flag| word(flag, "a flag")).collect::<Reading<_>>()?
        }
        Some(flag) => vec![word(flag, "a flag")?],
    };
    let mut elements = Elements::default();
    if let Some(node) = fields.take("elem") {
        for item in rule::members(node).unwrap_or(std::slice::from_ref(node)) {
            element(item, &mut elements)?;
        }
    }
    fields.finish()?;
    Ok(SetForm { name, type_of_elements, flags, elements })
}

fn element(node: &Node<'_>, elements: &mut Elements) -> Reading<()> {
    let node = rule::unwrapped(node)?;
    let span = node.span;
    if let Value::Text(address) = &node.value {
        return elements.push_address(address, span);
    }
    let (name, value) = only_field(node, "an element")?;
    match &*name.value {
        "prefix" => {
            let mut fields = Fields::of(value, "`prefix`")?;
            let (address, length) = (word(fields.want("addr")?, "an address")?, word(fields.want("len")?, "a length")?);
            fields.finish()?;
            elements.push_prefix(&address.value, &length.value, span)
        }
        "range" => {
            let (low, high) = rule::ends(value)?;
            elements.push_range(&low.value, &high.value, span)
        }
        other => {
            let message = format!("{} in a set", quoted(other));
            Err(unknown(name.span, message, "edgeward's elements are addresses, prefixes and ranges"))
        }
    }
}

fn chain<'a>(node: &Node<'a>) -> Reading<ChainForm<'a>> {
    let mut fields = Fields::of_our_table(node, "`chain`")?;
    let name = word(fields.want("name")?, "the name of a chain")?;
    let mut take = |field, what| fields.take(field).map(|node| word(node, what)).transpose();
    let (kind, hook) = (take("type", "a type of chains")?, take("hook", "a hook")?);
    let (priority, policy) = (take("prio", "a priority")?, take("policy", "a policy")?);
    fields.finish()?;
    let base = match (kind, hook, priority, policy) {
        (Some(kind), Some(hook), Some(priority), policy) => Some(BaseForm { kind, hook, priority, policy }),
        (None, None, None, None) => None,
        _ => {
            let help = "a base chain has `type`, `hook` and `prio`, any other chain none of them";
            return Err(malformed(node.span, "half of a base chain", help));
        }
    };
    Ok(ChainForm { name, base, rules: Vec::new() })
}

/// The fields of an object; what nobody has taken is not known.
struct Fields<'t, 'a> {
    what: &'static str,
    span: Span,
    left: Vec<(&'t Word<'a>, &'t Node<'a>)>,
}

impl<'t, 'a> Fields<'t, 'a> {
    fn of(node: &'t Node<'a>, what: &'static str) -> Reading<Self> {
        let Value::Object(fields) = &node.value else { return Err(wrong_kind(node, &format!("the object of {what}"))) };
        Ok(Self { what, span: node.span, left: fields.iter().map(|(key, value)| (key, value)).collect() })
    }

    /// The fields of an object that is part of edgeward's table.
    fn of_our_table(node: &'t Node<'a>, what: &'static str) -> Reading<Self> {
        let mut fields = Self::of(node, what)?;
        fields.our_table("table")?;
        fields.ignore(&["handle", "comment"])?;
        Ok(fields)
    }

    /// Takes the family and the name of a table, which must be edgeward's.
    fn our_table(&mut self, name: &str) -> Reading<()> {
        let (family, name) = (word(self.want("family")?, "a family")?, word(self.want(name)?, "the name of a table")?);
        if family.value == "inet" && name.value == TABLE {
            return Ok(());
        }
        let other = quoted(&format!("{} {}", family.value, name.value));
        Err(unknown(name.span, format!("the table {other}, which is not edgeward's"), ONLY_TABLE))
    }

    fn take(&mut self, name: &str) -> Option<&'t Node<'a>> {
        let index = self.left.iter().position(|(key, _)| key.value == name)?;
        Some(self.left.swap_remove(index).1)
    }

    fn want(&mut self, name: &str) -> Reading<&'t Node<'a>> {
        self.take(name).ok_or_else(|| {
            let message = format!("{} has no `{name}`", self.what);
            malformed(self.span, message, "take the JSON as `edgeward compile` or nft wrote it")
        })
    }

    /// Takes a field that may only say what would go without saying.
    fn absent_or_false(&mut self, name: &str) {
        self.left.retain(|(key, value)| key.value != name || !matches!(value.value, Value::Bool(false)));
    }

    /// Takes fields that say nothing of what the ruleset does: texts, numbers, and nothing, which `emit` writes.
    fn ignore(&mut self, names: &[&str]) -> Reading<()> {
        let taken = names.iter().filter_map(|name| self.take(name)).filter(|node| !matches!(node.value, Value::Null));
        taken.map(|node| word(node, "a text or number")).try_for_each(|word| word.map(drop))
    }

    fn finish(self) -> Reading<()> {
        let first = self.left.iter().map(|(key, _)| key).min_by_key(|key| key.span);
        first.map_or(Ok(()), |key| {
            let message = format!("{} in {}", quoted(&key.value), self.what);
            Err(unknown(key.span, message, "edgeward does not write it, and cannot say what it would change"))
        })
    }
}

/// The one field of an object, by which nft tells what it is.
fn only_field<'t, 'a>(node: &'t Node<'a>, what: &str) -> Reading<(&'t Word<'a>, &'t Node<'a>)> {
    match &node.value {
        Value::Object(fields) if fields.len() == 1 => Ok((&fields[0].0, &fields[0].1)),
        _ => Err(wrong_kind(node, &format!("an object with one key, {what}"))),
    }
}

fn list<'t, 'a>(node: &'t Node<'a>, what: &str) -> Reading<&'t [Node<'a>]> {
    match &node.value {
        Value::List(items) => Ok(items),
        _ => Err(wrong_kind(node, &format!("a list, {what},"))),
    }
}

/// A text or a number, as text.
fn word<'a>(node: &Node<'a>, what: &str) -> Reading<Word<'a>> {
    match &node.value {
        Value::Text(text) => Ok(Spanned { value: text.clone(), span: node.span }),
        Value::Number(digits) => Ok(Spanned { value: (*digits).into(), span: node.span }),
        _ => Err(wrong_kind(node, what)),
    }
}

fn text<'a>(node: &Node<'a>, what: &str) -> Reading<Word<'a>> {
    match &node.value {
        Value::Text(_) => word(node, what),
        _ => Err(wrong_kind(node, what)),
    }
}

fn wrong_kind(node: &Node<'_>, wanted: &str) -> Box<Diagnostic> {
    let message = format!("{} where {wanted} should be", node.value.kind());
    malformed(node.span, message, "take the JSON as `edgeward compile` or nft wrote it")
}
