//! The rules of nft text.

use std::borrow::Cow;

use super::super::form::{Item, Right, RuleForm, Statement, Word};
use super::super::meaning::{Field, field};
use super::super::{Reading, malformed, quoted, unknown};
use super::tokens::{Token, Tokens};
use crate::diag::Diagnostic;
use crate::source::{Span, Spanned};

/// Reads a rule, the end of its line included; its first word has been read.
pub fn rule<'a>(tokens: &mut Tokens<'a>, first: Word<'a>) -> Reading<RuleForm<'a>> {
    let span = first.span;
    let mut form = RuleForm { statements: Vec::new(), comment: None, span };
    let mut word = first;
    loop {
        if word.value == "comment" {
            form.comment = Some(tokens.word_or_text("a comment")?);
            tokens.end_of_statement()?;
            return Ok(form);
        }
        let start = word.span.start;
        let value = statement(tokens, word)?;
        form.statements.push(Spanned { value, span: Span { start, end: tokens.place() } });
        let next = tokens.peek()?;
        match next.value {
            Token::Word(next_word) => {
                tokens.next()?;
                word = Spanned { value: Cow::Borrowed(next_word), span: next.span };
            }
            Token::Line | Token::Mark(';') => {
                tokens.end_of_statement()?;
                return Ok(form);
            }
            _ => return Err(surprise(tokens, next, "the end of the rule")),
        }
    }
}

/// Says that a token has no place in a rule. Operators and variables may have one for nft.
fn surprise(tokens: &Tokens<'_>, token: Spanned<Token<'_>>, wanted: &str) -> Box<Diagnostic> {
    match token.value {
        Token::Mark(c @ ('$' | '!' | '<' | '>' | '&' | '|' | '^' | '(' | '~')) => {
            let message = format!("`{c}` where edgeward knows only {wanted}");
            unknown(token.span, message, "write what edgeward writes: no operators, no variables")
        }
        _ => tokens.unexpected(token, wanted),
    }
}

fn statement<'a>(tokens: &mut Tokens<'a>, word: Word<'a>) -> Reading<Statement<'a>> {
    match &*word.value {
        "ip" | "ip6" | "tcp" | "udp" | "icmp" | "icmpv6" | "meta" | "ct" => {
            let name = tokens.word("what to look at")?;
            let span = Span { start: word.span.start, end: name.span.end };
            comparison(tokens, field(&word.value, &name.value, span)?)
        }
        // The short forms of `meta iif` and `meta oif`.
        "iif" | "oif" => comparison(tokens, field("meta", &word.value, word.span)?),
        "limit" => limit(tokens),
        "log" => log(tokens, word.span),
        "counter" => match tokens.peek()?.value {
            Token::Word("name") => {
                tokens.next()?;
                Ok(Statement::Counter(tokens.word_or_text("the name of a counter")?))
            }
            _ => Err(unknown(word.span, "a counter without a name", "write `counter name` and a counter of the table")),
        },
        "reject" => reject(tokens, word.span),
        "notrack" => Ok(Statement::Notrack),
        _ => match verdict(tokens, &word)? {
            Some(verdict) => Ok(verdict),
            None => {
                let help = "remove the rule, or say it with statements that edgeward writes";
                Err(unknown(word.span, format!("the statement {}", quoted(&word.value)), help))
            }
        },
    }
}

/// What may stand in a verdict map, too.
fn verdict<'a>(tokens: &mut Tokens<'a>, word: &Word<'a>) -> Reading<Option<Statement<'a>>> {
    Ok(Some(match &*word.value {
        "accept" => Statement::Accept,
        "drop" => Statement::Drop,
        "jump" => Statement::Jump(tokens.word("the name of a chain")?),
        "goto" => Statement::Goto(tokens.word("the name of a chain")?),
        _ => return Ok(None),
    }))
}

fn comparison<'a>(tokens: &mut Tokens<'a>, key: Spanned<Field>) -> Reading<Statement<'a>> {
    let exact = tokens.peek()?.value == Token::Mark('=');
    if exact {
        tokens.expect('=')?;
        let second = tokens.next()?;
        if second.value != Token::Mark('=') || !tokens.is_adjacent(second.span) {
            return Err(tokens.unexpected(second, "`==`"));
        }
    }
    let token = tokens.next()?;
    let right = match token.value {
        Token::Word("vmap") if !exact => return verdict_map(tokens, key),
        Token::Mark('{') => Right::Among(braces(tokens, item)?),
        Token::Word(word) if word.starts_with('@') => {
            let span = Span { start: token.span.start + 1, end: token.span.end };
            Right::Named(Spanned { value: Cow::Borrowed(&word[1..]), span })
        }
        Token::Word(_) | Token::Quoted(_) => {
            let first = item(tokens, token)?;
            if tokens.peek()?.value == Token::Mark(',') {
                let mut all = vec![first];
                while tokens.peek()?.value == Token::Mark(',') {
                    tokens.next()?;
                    let token = tokens.next()?;
                    all.push(item(tokens, token)?);
                }
                Right::Flags(all)
            } else {
                Right::One(first)
            }
        }
        _ => return Err(surprise(tokens, token, "a value")),
    };
    Ok(Statement::Match { key, exact, right })
}

fn verdict_map<'a>(tokens: &mut Tokens<'a>, key: Spanned<Field>) -> Reading<Statement<'a>> {
    let token = tokens.next()?;
    if let Token::Word(name) = token.value {
        return Err(unknown(token.span, format!("the verdict map {}", quoted(name)), "write the map between braces"));
    }
    if token.value != Token::Mark('{') {
        return Err(tokens.unexpected(token, "`{`"));
    }
    let entries = braces(tokens, |tokens, token| {
        let key = item(tokens, token)?;
        let colon = tokens.next()?;
        if colon.value != Token::Mark(':') {
            return Err(tokens.unexpected(colon, "`:`"));
        }
        let word = tokens.word("a verdict")?;
        let Some(value) = verdict(tokens, &word)? else {
            let message = format!("the verdict {} in a verdict map", quoted(&word.value));
            return Err(unknown(word.span, message, "jump to a chain that decides"));
        };
        Ok((key, Spanned { value, span: Span { start: word.span.start, end: tokens.place() } }))
    })?;
    Ok(Statement::VerdictMap { key, entries })
}

/// Reads what stands between braces, with commas between, up to the closing one. A comma may end the list.
fn braces<'a, T>(
    tokens: &mut Tokens<'a>,
    mut one: impl FnMut(&mut Tokens<'a>, Spanned<Token<'a>>) -> Reading<T>,
) -> Reading<Vec<T>> {
    let mut all = Vec::new();
    loop {
        let token = tokens.next_over_lines()?;
        if token.value == Token::Mark('}') && !all.is_empty() {
            return Ok(all);
        }
        all.push(one(tokens, token)?);
        let behind = tokens.next_over_lines()?;
        match behind.value {
            Token::Mark('}') => return Ok(all),
            Token::Mark(',') => {}
            _ => return Err(surprise(tokens, behind, "`,` or `}`")),
        }
    }
}

/// Reads a value or a range of numbers. Ranges of names have no dash of their own: `echo-reply` is one value.
fn item<'a>(tokens: &mut Tokens<'a>, token: Spanned<Token<'a>>) -> Reading<Item<'a>> {
    let (text, start, is_quoted) = match token.value {
        Token::Word(text) => (text, token.span.start, false),
        Token::Quoted(text) => (text, token.span.start + 1, true),
        _ => return Err(surprise(tokens, token, "a value")),
    };
    let word = |from: usize, to: usize| Spanned {
        value: Cow::Borrowed(&text[from..to]),
        span: Span { start: start + from, end: start + to },
    };
    let dash = text.find('-').filter(|_| !is_quoted && text.starts_with(|c: char| c.is_ascii_digit()));
    Ok(match dash {
        Some(dash) => Item { low: word(0, dash), high: Some(word(dash + 1, text.len())) },
        None => Item { low: word(0, text.len()), high: None },
    })
}

fn limit<'a>(tokens: &mut Tokens<'a>) -> Reading<Statement<'a>> {
    tokens.keyword("rate")?;
    let rate = tokens.word("a rate")?;
    if rate.value == "over" {
        return Err(unknown(rate.span, "a limit that matches beyond its rate", "write `limit rate 10/second`"));
    }
    let (Cow::Borrowed(text), Span { start, end }) = (rate.value, rate.span) else {
        return Err(malformed(rate.span, "not a rate", "write `limit rate 10/second`"));
    };
    let Some((count, per)) = text.split_once('/') else {
        let message = format!("the rate {}", quoted(text));
        return Err(unknown(rate.span, message, "write packets per unit of time: `limit rate 10/second`"));
    };
    let slash = start + count.len();
    let count = Spanned { value: Cow::Borrowed(count), span: Span { start, end: slash } };
    let per = Spanned { value: Cow::Borrowed(per), span: Span { start: slash + 1, end } };
    let mut burst = None;
    // nft 1.0.6 leaves out its default; 1.1 lists it.
    if tokens.peek()?.value == Token::Word("burst") {
        tokens.next()?;
        burst = Some(tokens.word("a number of packets")?);
        let unit = tokens.word("`packets`")?;
        if unit.value != "packets" {
            return Err(unknown(unit.span, format!("a burst in {}", quoted(&unit.value)), "write `burst 5 packets`"));
        }
    }
    Ok(Statement::Limit { count, per, burst })
}

fn log<'a>(tokens: &mut Tokens<'a>, span: Span) -> Reading<Statement<'a>> {
    if tokens.peek()?.value != Token::Word("prefix") {
        return Err(unknown(span, "a log without a prefix", "write `log prefix` and a text between quotes"));
    }
    tokens.next()?;
    let prefix = tokens.word_or_text("a prefix")?;
    match tokens.peek()? {
        Spanned { value: Token::Word(word @ ("level" | "flags" | "group" | "snaplen" | "queue-threshold")), span } => {
            Err(unknown(
                span,
                format!("a log with {}", quoted(word)),
                "edgeward's logs have a prefix, and nothing else",
            ))
        }
        _ => Ok(Statement::Log { prefix }),
    }
}

fn reject<'a>(tokens: &mut Tokens<'a>, span: Span) -> Reading<Statement<'a>> {
    if tokens.peek()?.value != Token::Word("with") {
        let help = "write `reject with icmpx admin-prohibited`";
        return Err(unknown(span, "a reject that says no reason", help));
    }
    tokens.next()?;
    let kind = tokens.word("a kind of ICMP")?;
    let mut code = tokens.word("a reason")?;
    // nft before 1.0 listed `with icmpx type admin-prohibited`.
    if code.value == "type" {
        code = tokens.word("a reason")?;
    }
    Ok(Statement::Reject { kind, code })
}
