//! nft JSON as forms.
//!
//! The JSON of nft 1.0.6 says less than its text: of a set it lists neither `auto-merge` nor the flag `dynamic`, and in
//! place of `typeof` it lists the type. None of these changes what a set matches.

mod object;
mod rule;
mod tree;

use std::collections::BTreeMap;

use super::elements::WrittenElements;
use super::form::{BaseForm, ChainForm, RuleForm, SetForm, Word};
use super::problem::{Reading, check_rules, malformed, quoted, unknown};
use super::table::TableBuilder;
use crate::ruleset::Ruleset;
use crate::source::{Span, Spanned};
use object::{ONLY_TABLE, ObjectFields, list, only_field, text, word};
use tree::{JsonNode, JsonValue};

/// Reads nft JSON.
pub fn read(text: &str) -> Reading<Ruleset> {
    let root = tree::parse(text)?;
    let mut fields = ObjectFields::of(&root, "nft JSON")?;
    let objects = list(fields.require("nftables")?)?;
    fields.finish()?;
    let mut contents = Contents::default();
    for object in objects {
        command(object, &mut contents)?;
    }
    contents.finish(Span { start: root.span.end, end: root.span.end })
}

/// What has been read of the table. Rules name their chains, which may come later.
#[derive(Default)]
struct Contents<'a> {
    table: TableBuilder,
    has_table: bool,
    chains: Vec<ChainForm<'a>>,
    rules: BTreeMap<String, Vec<RuleForm<'a>>>,
    /// How many rules there are.
    count: usize,
}

impl Contents<'_> {
    fn finish(mut self, end: Span) -> Reading<Ruleset> {
        for mut chain in self.chains {
            chain.rules = self.rules.remove(&*chain.name.value).unwrap_or_default();
            self.table.chain(chain)?;
        }
        if let Some((name, rules)) = self.rules.into_iter().next() {
            let span = rules.first().map(|rule| rule.span).unwrap_or_default();
            let message = format!("a rule of the unknown chain {}", quoted(&name));
            return Err(malformed(span, message, "pass the whole table, or correct the name"));
        }
        if !self.has_table {
            return Err(malformed(end, "the table `inet edgeward` is missing", ONLY_TABLE));
        }
        self.table.finish()
    }
}

/// Reads a command, or an object as nft lists it, which is the same as a command to add it.
fn command<'a>(node: &JsonNode<'a>, contents: &mut Contents<'a>) -> Reading<()> {
    let (name, value) = only_field(node)?;
    match &*name.value {
        "add" => {
            let (name, value) = only_field(value)?;
            object(name, value, contents)
        }
        // The start of a transaction: what was read before is deleted.
        "delete" | "destroy" => {
            let (name, value) = only_field(value)?;
            if name.value != "table" {
                return Err(unknown(name.span, "a deletion of something other than a table", ONLY_TABLE));
            }
            table(value)?;
            *contents = Contents::default();
            Ok(())
        }
        "metainfo" => metainfo(value),
        _ => object(name, value, contents),
    }
}

/// Reads what nft says of itself. In another version of the schema, fields may have other meanings.
fn metainfo(node: &JsonNode<'_>) -> Reading<()> {
    let mut fields = ObjectFields::of(node, "`metainfo`")?;
    fields.ignore(&["version", "release_name"])?;
    if let Some(version) = fields.take("json_schema_version") {
        let version = word(version, "the version of a schema")?;
        if version.value != "1" {
            let message = format!("unsupported version {} of nft's JSON", quoted(&version.value));
            return Err(unknown(version.span, message, "edgeward reads version 1"));
        }
    }
    fields.finish()
}

fn object<'a>(name: &Word<'a>, node: &JsonNode<'a>, contents: &mut Contents<'a>) -> Reading<()> {
    match &*name.value {
        "table" => {
            contents.has_table = true;
            table(node)
        }
        "counter" => {
            let mut fields = ObjectFields::of_own_table(node, "`counter`")?;
            let name = word(fields.require("name")?, "the name of a counter")?;
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
            let mut fields = ObjectFields::of(node, "`rule`")?;
            fields.own_table("table")?;
            fields.ignore(&["handle"])?;
            let chain = word(fields.require("chain")?, "the name of a chain")?;
            let comment = fields.take("comment").map(|node| text(node, "a comment")).transpose()?;
            let statements = list(fields.require("expr")?)?;
            fields.finish()?;
            let statements = statements.iter().map(rule::statement).collect::<Reading<_>>()?;
            contents.count += 1;
            check_rules(contents.count, node.span)?;
            let form = RuleForm { statements, comment, span: node.span };
            contents.rules.entry(chain.value.into_owned()).or_default().push(form);
            Ok(())
        }
        other => {
            let message = format!("unsupported object {} in nft JSON", quoted(other));
            Err(unknown(name.span, message, "edgeward's table has only counters, sets, chains and rules"))
        }
    }
}

fn table(node: &JsonNode<'_>) -> Reading<()> {
    let mut fields = ObjectFields::of(node, "`table`")?;
    fields.own_table("name")?;
    fields.ignore(&["handle", "comment"])?;
    fields.finish()
}

fn set<'a>(node: &JsonNode<'a>) -> Reading<SetForm<'a>> {
    let mut fields = ObjectFields::of_own_table(node, "`set`")?;
    let name = word(fields.require("name")?, "the name of a set")?;
    let type_node = fields.require("type")?;
    let JsonValue::Text(kind) = &type_node.value else {
        let help = "use sets of `ipv4_addr` or `ipv6_addr`";
        return Err(unknown(type_node.span, "unsupported type of elements", help));
    };
    let type_of_elements = Some(Spanned { value: kind.clone(), span: type_node.span });
    // nft 1.1.4 lists a single flag as a text; all other versions list a list.
    let flags = match fields.take("flags") {
        None => Vec::new(),
        Some(Spanned { value: JsonValue::List(flags), .. }) => {
            flags.iter().map(|flag| word(flag, "a flag")).collect::<Reading<_>>()?
        }
        Some(flag) => vec![word(flag, "a flag")?],
    };
    let mut elements = WrittenElements::default();
    if let Some(node) = fields.take("elem") {
        for item in rule::members(node).unwrap_or(std::slice::from_ref(node)) {
            element(item, &mut elements)?;
        }
    }
    fields.finish()?;
    Ok(SetForm { name, type_of_elements, flags, elements })
}

fn element(node: &JsonNode<'_>, elements: &mut WrittenElements) -> Reading<()> {
    let node = rule::unwrapped(node)?;
    let span = node.span;
    if let JsonValue::Text(address) = &node.value {
        return elements.push_address(address, span);
    }
    let (name, value) = only_field(node)?;
    match &*name.value {
        "prefix" => {
            let mut fields = ObjectFields::of(value, "`prefix`")?;
            let (address, length) =
                (word(fields.require("addr")?, "an address")?, word(fields.require("len")?, "a length")?);
            fields.finish()?;
            elements.push_prefix(&address.value, &length.value, span)
        }
        "range" => {
            let (low, high) = rule::ends(value)?;
            elements.push_range(&low.value, &high.value, span)
        }
        other => {
            let message = format!("unsupported element {} in a set", quoted(other));
            Err(unknown(name.span, message, "edgeward's elements are addresses, prefixes and ranges"))
        }
    }
}

fn chain<'a>(node: &JsonNode<'a>) -> Reading<ChainForm<'a>> {
    let mut fields = ObjectFields::of_own_table(node, "`chain`")?;
    let name = word(fields.require("name")?, "the name of a chain")?;
    let mut take = |field, what| fields.take(field).map(|node| word(node, what)).transpose();
    let (kind, hook) = (take("type", "a type of chains")?, take("hook", "a hook")?);
    let (priority, policy) = (take("prio", "a priority")?, take("policy", "a policy")?);
    fields.finish()?;
    let base = match (kind, hook, priority, policy) {
        (Some(kind), Some(hook), Some(priority), policy) => Some(BaseForm { kind, hook, priority, policy }),
        (None, None, None, None) => None,
        _ => {
            let help = "a base chain has `type`, `hook` and `prio`, any other chain has none of them";
            return Err(malformed(node.span, "an incomplete base chain", help));
        }
    };
    Ok(ChainForm { name, base, rules: Vec::new() })
}
