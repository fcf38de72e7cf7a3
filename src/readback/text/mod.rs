//! nft text as forms.

mod rule;
mod tokens;

use super::elements::WrittenElements;
use super::form::{BaseForm, ChainForm, SetForm, Word};
use super::problem::{Reading, check_rules, malformed, quoted, unknown};
use super::table::TableBuilder;
use crate::nft::{OWN_FAMILY, TABLE_FAMILIES};
use crate::ruleset::{Ruleset, TABLE};
use crate::source::{Span, Spanned};
use tokens::{Token, Tokens};

/// Reads nft text.
pub fn read(text: &str) -> Reading<Ruleset> {
    // A program in C may take it for the end of the text, even in a comment.
    if let Some(start) = text.find('\0') {
        return Err(malformed(Span { start, end: start + 1 }, "a NUL character in the text", "remove it"));
    }
    let mut tokens = Tokens::new(text);
    let mut table = TableBuilder::default();
    loop {
        let token = tokens.next()?;
        match token.value {
            Token::Line | Token::Mark(';') => {}
            // A transaction that is truncated after its first line has an empty table. That must not be read as a
            // ruleset that accepts everything. (Truncated JSON is not valid, so in JSON a table may be empty.)
            Token::End if table.is_empty() => {
                let message = "the table `inet edgeward` is missing or empty";
                return Err(malformed(token.span, message, ONLY_TABLE));
            }
            Token::End => return table.finish(),
            Token::Word("table") => {
                own_table(&mut tokens)?;
                tokens.expect('{')?;
                contents(&mut tokens, &mut table)?;
                end_of_command(&mut tokens)?;
            }
            // The start of a transaction: what was read before is deleted. `destroy` is newer than nft 1.0.6.
            Token::Word("delete" | "destroy") => {
                match tokens.next()? {
                    Spanned { value: Token::Word("table"), .. } => own_table(&mut tokens)?,
                    other => return Err(unknown(other.span, "a deletion of something other than a table", ONLY_TABLE)),
                }
                end_of_command(&mut tokens)?;
                table = TableBuilder::default();
            }
            Token::Word(
                word @ ("add" | "create" | "define" | "flush" | "import" | "include" | "insert" | "list" | "redefine"
                | "rename" | "replace" | "reset" | "undefine"),
            ) => {
                return Err(unknown(token.span, format!("unsupported command {}", quoted(word)), ONLY_TABLE));
            }
            _ => return Err(tokens.unexpected(token, "`table`")),
        }
    }
}

const ONLY_TABLE: &str = "pass one table, as `edgeward compile` and `nft list table inet edgeward` write it";

/// Reads the end of a command, which may be the end of the text.
fn end_of_command(tokens: &mut Tokens<'_>) -> Reading<()> {
    if tokens.peek()?.value == Token::End { Ok(()) } else { tokens.end_of_statement() }
}

/// The keywords that a block may have once, and has had.
#[derive(Default)]
struct SeenKeywords<'a>(Vec<Word<'a>>);

impl<'a> SeenKeywords<'a> {
    fn add(&mut self, word: &Word<'a>) -> Reading<()> {
        if self.0.iter().any(|seen| seen.value == word.value) {
            let message = format!("duplicate {} in a block", quoted(&word.value));
            return Err(malformed(word.span, message, "remove one of them, or merge them"));
        }
        self.0.push(word.clone());
        Ok(())
    }
}

/// Reads the family and the name of a table, which must be edgeward's.
fn own_table(tokens: &mut Tokens<'_>) -> Reading<()> {
    let (family, name) = (tokens.word("the family of a table")?, tokens.word("the name of a table")?);
    if TABLE_FAMILIES.value(&family.value) == Some(OWN_FAMILY) && name.value == TABLE {
        return Ok(());
    }
    let other = quoted(&format!("{} {}", family.value, name.value));
    let span = Span { start: family.span.start, end: name.span.end };
    Err(unknown(span, format!("{other} is not edgeward's table"), ONLY_TABLE))
}

/// Reads the contents of a table, its closing brace included.
fn contents(tokens: &mut Tokens<'_>, table: &mut TableBuilder) -> Reading<()> {
    let mut seen = SeenKeywords::default();
    while let Some(word) = tokens.entry("a counter, set or chain")? {
        match &*word.value {
            "counter" => {
                let name = tokens.word("the name of a counter")?;
                tokens.expect('{')?;
                counter_values(tokens)?;
                table.counter(&name)?;
            }
            "set" => {
                let name = tokens.word("the name of a set")?;
                tokens.expect('{')?;
                table.set(set(tokens, name)?)?;
            }
            "chain" => {
                let name = tokens.word("the name of a chain")?;
                tokens.expect('{')?;
                table.chain(chain(tokens, name)?)?;
            }
            "comment" => {
                seen.add(&word)?;
                tokens.text("a comment")?;
            }
            other => {
                let message = format!("unsupported {} in a table", quoted(other));
                return Err(unknown(word.span, message, "edgeward's table has only counters, sets and chains"));
            }
        }
        tokens.end_of_statement()?;
    }
    Ok(())
}

/// Reads the values of a counter. nft needs no ends of statements here.
fn counter_values(tokens: &mut Tokens<'_>) -> Reading<()> {
    let mut seen = SeenKeywords::default();
    while let Some(word) = tokens.entry("`packets`")? {
        seen.add(&word)?;
        match &*word.value {
            "packets" => {
                tokens.digits("a number of packets")?;
                tokens.keyword("bytes")?;
                tokens.digits("a number of bytes")?;
            }
            "comment" => tokens.text("a comment").map(drop)?,
            other => {
                let message = format!("unsupported {} in a counter", quoted(other));
                return Err(unknown(word.span, message, "a counter has `packets` and `bytes`, or nothing"));
            }
        }
    }
    Ok(())
}

fn set<'a>(tokens: &mut Tokens<'a>, name: Word<'a>) -> Reading<SetForm<'a>> {
    let mut form = SetForm { name, type_of_elements: None, flags: Vec::new(), elements: WrittenElements::default() };
    let mut seen = SeenKeywords::default();
    while let Some(word) = tokens.entry("a type, flags or elements")? {
        seen.add(&word)?;
        match &*word.value {
            "type" => form.type_of_elements = Some(tokens.word("a type of elements")?),
            "flags" => {
                form.flags.push(tokens.word("a flag")?);
                while tokens.skip(b',') {
                    form.flags.push(tokens.word("a flag")?);
                }
            }
            "elements" => {
                tokens.expect('=')?;
                tokens.expect('{')?;
                form.elements = elements(tokens)?;
            }
            "comment" => tokens.text("a comment").map(drop)?,
            // Refused although it changes no verdict: an update of a single element has another effect on a set whose
            // elements the kernel has joined, and the JSON of nft 1.0.6 does not list the option at all.
            "auto-merge" => {
                let help = "remove it: edgeward's elements never overlap";
                return Err(unknown(word.span, "unsupported `auto-merge` in a set", help));
            }
            other => {
                let message = format!("unsupported {} in a set", quoted(other));
                return Err(unknown(word.span, message, "a set has `type`, `flags interval` and `elements`"));
            }
        }
        // nft needs no end of the statement after this brace.
        if word.value != "elements" {
            tokens.end_of_statement()?;
        }
    }
    Ok(form)
}

/// Reads elements up to the closing brace. There may be a million of them, so none is kept as text.
fn elements(tokens: &mut Tokens<'_>) -> Reading<WrittenElements> {
    let (mut elements, mut is_empty) = (WrittenElements::default(), true);
    loop {
        // Most elements are plain.
        while let Some((plain, start)) = tokens.plain_element() {
            elements.push_plain(plain, start);
            is_empty = false;
        }
        // The list may end with a comma.
        if !is_empty && tokens.skip(b'}') {
            return Ok(elements);
        }
        let element = tokens.element()?;
        elements.push(element.value, element.span)?;
        is_empty = false;
        let mut next = tokens.next_over_lines()?;
        if next.value == Token::Word("comment") {
            tokens.text("a comment")?;
            next = tokens.next_over_lines()?;
        }
        match next.value {
            Token::Mark(',') => {}
            Token::Mark('}') => return Ok(elements),
            Token::Word(word) => {
                let message = format!("unsupported {} after an element", quoted(word));
                return Err(unknown(next.span, message, "edgeward's elements are addresses, prefixes and ranges"));
            }
            _ => return Err(tokens.unexpected(next, "`,` or `}`")),
        }
    }
}

fn chain<'a>(tokens: &mut Tokens<'a>, name: Word<'a>) -> Reading<ChainForm<'a>> {
    let mut form = ChainForm { name, base: None, rules: Vec::new() };
    let (mut policy, mut seen): (Option<Word<'a>>, SeenKeywords<'a>) = Default::default();
    while let Some(word) = tokens.entry("a rule")? {
        match &*word.value {
            "type" => form.base = Some(base(tokens)?),
            "policy" => policy = Some(tokens.word("a policy")?),
            "comment" => tokens.text("a comment").map(drop)?,
            _ => {
                check_rules(form.rules.len() + 1, word.span)?;
                form.rules.push(rule::rule(tokens, word)?);
                continue;
            }
        }
        seen.add(&word)?;
        tokens.end_of_statement()?;
    }
    match (&mut form.base, policy) {
        (Some(base), policy) => base.policy = policy,
        (None, Some(policy)) => {
            let help = "write `type filter hook …` before it, or remove it";
            return Err(malformed(policy.span, "a policy in a chain without a hook", help));
        }
        (None, None) => {}
    }
    Ok(form)
}

/// Reads what makes a chain a base chain, after `type`.
fn base<'a>(tokens: &mut Tokens<'a>) -> Reading<BaseForm<'a>> {
    let kind = tokens.word("a type of chains")?;
    tokens.keyword("hook")?;
    let hook = tokens.word("a hook")?;
    tokens.keyword("priority")?;
    let priority = tokens.word("a priority")?;
    if let Spanned { value: Token::Word(word), span } = tokens.peek()? {
        let message = format!("unsupported {} after a priority", quoted(word));
        return Err(unknown(span, message, "use the priority `filter` or `raw`"));
    }
    Ok(BaseForm { kind, hook, priority, policy: None })
}
