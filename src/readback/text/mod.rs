//! nft text as forms.

mod rule;
mod tokens;

use super::elements::Elements;
use super::form::{BaseForm, ChainForm, SetForm, Word};
use super::table::Table;
use super::{Reading, malformed, quoted, unknown};
use crate::ruleset::{Ruleset, TABLE};
use crate::source::{Span, Spanned};
use tokens::{Token, Tokens};

/// Reads nft text.
pub fn read(text: &str) -> Reading<Ruleset> {
    // Where a comment has one, a program in C may take it for the end of the text.
    if let Some(start) = text.find('\0') {
        return Err(malformed(Span { start, end: start + 1 }, "a NUL character in the text", "leave it out"));
    }
    let mut tokens = Tokens::new(text);
    let mut table = Table::default();
    loop {
        let token = tokens.next()?;
        match token.value {
            Token::Line | Token::Mark(';') => {}
            // An empty table is what a transaction that is cut off behind its first line looks like. It is not taken
            // for a ruleset that lets everything pass. (JSON that is cut off is no JSON, so there it is.)
            Token::End if table.is_empty() => {
                let message = "there is no table `inet edgeward` with anything in it";
                return Err(malformed(token.span, message, ONLY_TABLE));
            }
            Token::End => return table.finish(),
            Token::Word("table") => {
                our_table(&mut tokens)?;
                tokens.expect('{')?;
                contents(&mut tokens, &mut table)?;
                end_of_command(&mut tokens)?;
            }
            // The header of a transaction: what stood before is gone. `destroy` is newer than nft 1.0.6.
            Token::Word("delete" | "destroy") => {
                match tokens.next()? {
                    Spanned { value: Token::Word("table"), .. } => our_table(&mut tokens)?,
                    other => return Err(unknown(other.span, "a deletion of something else than a table", ONLY_TABLE)),
                }
                end_of_command(&mut tokens)?;
                table = Table::default();
            }
            Token::Word(
                word @ ("add" | "create" | "define" | "flush" | "import" | "include" | "insert" | "list" | "redefine"
                | "rename" | "replace" | "reset" | "undefine"),
            ) => {
                return Err(unknown(token.span, format!("the command {}", quoted(word)), ONLY_TABLE));
            }
            _ => return Err(tokens.unexpected(token, "`table`")),
        }
    }
}

const ONLY_TABLE: &str =
    "take a text with one table, as `edgeward compile` and `nft list table inet edgeward` write it";

/// Goes behind the end of a command, which the end of the text may be.
fn end_of_command(tokens: &mut Tokens<'_>) -> Reading<()> {
    if tokens.peek()?.value == Token::End { Ok(()) } else { tokens.end_of_statement() }
}

/// What a block may say once.
#[derive(Default)]
struct Once<'a>(Vec<Word<'a>>);

impl<'a> Once<'a> {
    fn say(&mut self, word: &Word<'a>) -> Reading<()> {
        if self.0.iter().any(|said| said.value == word.value) {
            let message = format!("{} stands twice in one block", quoted(&word.value));
            return Err(malformed(word.span, message, "leave one of them out, or join them"));
        }
        self.0.push(word.clone());
        Ok(())
    }
}

/// Reads the family and the name of a table, which must be edgeward's.
fn our_table(tokens: &mut Tokens<'_>) -> Reading<()> {
    let (family, name) = (tokens.word("the family of a table")?, tokens.word("the name of a table")?);
    if family.value == "inet" && name.value == TABLE {
        return Ok(());
    }
    let other = quoted(&format!("{} {}", family.value, name.value));
    let span = Span { start: family.span.start, end: name.span.end };
    Err(unknown(span, format!("the table {other}, which is not edgeward's"), ONLY_TABLE))
}

/// Reads what stands in a table, its closing brace included.
fn contents(tokens: &mut Tokens<'_>, table: &mut Table) -> Reading<()> {
    let mut once = Once::default();
    while let Some(word) = tokens.entry("a counter, set or chain")? {
        match &*word.value {
            "counter" => {
                let name = tokens.word("the name of a counter")?;
                tokens.expect('{')?;
                counted(tokens)?;
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
                once.say(&word)?;
                tokens.text("a comment")?;
            }
            other => {
                let message = format!("{} in a table", quoted(other));
                return Err(unknown(
                    word.span,
                    message,
                    "edgeward's table has counters, sets and chains, and nothing else",
                ));
            }
        }
        tokens.end_of_statement()?;
    }
    Ok(())
}

/// Reads what a counter has counted. nft asks for no ends of statements here.
fn counted(tokens: &mut Tokens<'_>) -> Reading<()> {
    let mut once = Once::default();
    while let Some(word) = tokens.entry("what the counter counted")? {
        once.say(&word)?;
        match &*word.value {
            "packets" => {
                tokens.digits("a number of packets")?;
                tokens.keyword("bytes")?;
                tokens.digits("a number of bytes")?;
            }
            "comment" => tokens.text("a comment").map(drop)?,
            other => {
                let message = format!("{} in a counter", quoted(other));
                return Err(unknown(word.span, message, "a counter has `packets` and `bytes`, or nothing"));
            }
        }
    }
    Ok(())
}

fn set<'a>(tokens: &mut Tokens<'a>, name: Word<'a>) -> Reading<SetForm<'a>> {
    let mut form = SetForm { name, type_of_elements: None, flags: Vec::new(), elements: Elements::default() };
    let mut once = Once::default();
    while let Some(word) = tokens.entry("a type, flags or elements")? {
        once.say(&word)?;
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
            // Not taken, although it changes no packet's way: updates of single elements mean something else where the
            // kernel has joined them, and the JSON of nft 1.0.6 does not even say that it does.
            "auto-merge" => {
                let help = "leave it out: edgeward's elements never overlap";
                return Err(unknown(word.span, "a set whose elements the kernel joins", help));
            }
            other => {
                let message = format!("{} in a set", quoted(other));
                return Err(unknown(word.span, message, "a set has `type`, `flags interval` and `elements`"));
            }
        }
        // nft asks for no end of the statement behind a brace here.
        if word.value != "elements" {
            tokens.end_of_statement()?;
        }
    }
    Ok(form)
}

/// Reads elements up to the closing brace. There may be a million of them, so nothing here is kept as text.
fn elements(tokens: &mut Tokens<'_>) -> Reading<Elements> {
    let (mut elements, mut is_empty) = (Elements::default(), true);
    loop {
        // By far the most.
        while let Some((plain, start)) = tokens.plain_element() {
            elements.push_plain(plain, start);
            is_empty = false;
        }
        // A comma may end the list.
        if !is_empty && tokens.skip(b'}') {
            return Ok(elements);
        }
        let element = tokens.element()?;
        elements.push(element.value, element.span)?;
        is_empty = false;
        let mut behind = tokens.next_over_lines()?;
        if behind.value == Token::Word("comment") {
            tokens.text("a comment")?;
            behind = tokens.next_over_lines()?;
        }
        match behind.value {
            Token::Mark(',') => {}
            Token::Mark('}') => return Ok(elements),
            Token::Word(word) => {
                let message = format!("{} behind an element", quoted(word));
                return Err(unknown(behind.span, message, "edgeward's elements are addresses, prefixes and ranges"));
            }
            _ => return Err(tokens.unexpected(behind, "`,` or `}`")),
        }
    }
}

fn chain<'a>(tokens: &mut Tokens<'a>, name: Word<'a>) -> Reading<ChainForm<'a>> {
    let mut form = ChainForm { name, base: None, rules: Vec::new() };
    let (mut policy, mut once): (Option<Word<'a>>, Once<'a>) = Default::default();
    while let Some(word) = tokens.entry("a rule")? {
        match &*word.value {
            "type" => form.base = Some(base(tokens)?),
            "policy" => policy = Some(tokens.word("a policy")?),
            "comment" => tokens.text("a comment").map(drop)?,
            _ => {
                form.rules.push(rule::rule(tokens, word)?);
                continue;
            }
        }
        once.say(&word)?;
        tokens.end_of_statement()?;
    }
    match (&mut form.base, policy) {
        (Some(base), policy) => base.policy = policy,
        (None, Some(policy)) => {
            let help = "write `type filter hook …` before it, or leave it out";
            return Err(malformed(policy.span, "a policy in a chain without a hook", help));
        }
        (None, None) => {}
    }
    Ok(form)
}

/// Reads what stands behind `type`.
fn base<'a>(tokens: &mut Tokens<'a>) -> Reading<BaseForm<'a>> {
    let kind = tokens.word("a type of chains")?;
    tokens.keyword("hook")?;
    let hook = tokens.word("a hook")?;
    tokens.keyword("priority")?;
    let priority = tokens.word("a priority")?;
    if let Spanned { value: Token::Word(word), span } = tokens.peek()? {
        let message = format!("{} behind a priority", quoted(word));
        return Err(unknown(span, message, "edgeward's base chains have the priority `filter` or `raw`"));
    }
    Ok(BaseForm { kind, hook, priority, policy: None })
}
