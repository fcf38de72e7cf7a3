//! The rules of nft text.

use std::borrow::Cow;

use super::super::form::{Operand, Operator, Right, RuleForm, Statement, Word};
use super::super::names::{OTHER_STATEMENTS, field};
use super::super::problem::{Reading, malformed, quoted, unknown};
use super::tokens::{Token, Tokens};
use crate::diag::Diagnostic;
use crate::nft::{Field, META, STATEMENTS, StatementKind};
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
            form.statements.shrink_to_fit();
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
                form.statements.shrink_to_fit();
                return Ok(form);
            }
            _ => return Err(unsupported(tokens, next, "the end of the rule")),
        }
    }
}

/// The problem with a token that a rule of edgeward does not have. Operators and variables are valid nft.
fn unsupported(tokens: &Tokens<'_>, token: Spanned<Token<'_>>, expected: &str) -> Box<Diagnostic> {
    match token.value {
        Token::Mark(c @ ('$' | '!' | '<' | '>' | '&' | '|' | '^' | '(' | '~')) => {
            let message = format!("expected {expected}, found `{c}`");
            unknown(token.span, message, "write the rule without operators and variables, as edgeward does")
        }
        _ => tokens.unexpected(token, expected),
    }
}

fn statement<'a>(tokens: &mut Tokens<'a>, word: Word<'a>) -> Reading<Statement<'a>> {
    // Short for `meta iif`, `meta oifname` and so on.
    if let Some(value @ (Field::Interface(_) | Field::InterfaceName(_))) = Field::named(META, &word.value) {
        return comparison(tokens, Spanned { value, span: word.span });
    }
    if Field::ALL.iter().any(|field| field.words().0 == word.value) {
        let name = tokens.word("a field")?;
        let span = Span { start: word.span.start, end: name.span.end };
        return comparison(tokens, field(&word.value, &name.value, span)?);
    }
    match STATEMENTS.value(&word.value) {
        Some(StatementKind::Limit) => limit(tokens),
        Some(StatementKind::Log) => log(tokens, word.span),
        Some(StatementKind::Counter) => match tokens.peek()?.value {
            Token::Word("name") => {
                tokens.next()?;
                Ok(Statement::Counter(tokens.word_or_text("the name of a counter")?))
            }
            _ => {
                let help = "write `counter name` and the name of a counter of the table";
                Err(unknown(word.span, "a counter without a name", help))
            }
        },
        Some(StatementKind::Reject) => reject(tokens, word.span),
        Some(StatementKind::Notrack) => Ok(Statement::Notrack),
        _ => match verdict(tokens, &word)? {
            Some(verdict) => Ok(verdict),
            None => {
                let message = format!("unsupported statement {}", quoted(&word.value));
                Err(unknown(word.span, message, OTHER_STATEMENTS))
            }
        },
    }
}

/// Reads a verdict, in a rule or in a verdict map.
fn verdict<'a>(tokens: &mut Tokens<'a>, word: &Word<'a>) -> Reading<Option<Statement<'a>>> {
    Ok(Some(match STATEMENTS.value(&word.value) {
        Some(StatementKind::Accept) => Statement::Accept,
        Some(StatementKind::Drop) => Statement::Drop,
        Some(StatementKind::Jump) => Statement::Jump(tokens.word("the name of a chain")?),
        Some(StatementKind::Goto) => Statement::Goto(tokens.word("the name of a chain")?),
        _ => return Ok(None),
    }))
}

fn comparison<'a>(tokens: &mut Tokens<'a>, key: Spanned<Field>) -> Reading<Statement<'a>> {
    let mut operator = Operator::In;
    if tokens.peek()?.value == Token::Mark('=') {
        operator = Operator::Equal;
        tokens.expect('=')?;
        let second = tokens.next()?;
        if second.value != Token::Mark('=') || !tokens.is_adjacent(second.span) {
            return Err(tokens.unexpected(second, "`==`"));
        }
    }
    let token = tokens.next()?;
    let right = match token.value {
        Token::Word(word) if operator == Operator::In && STATEMENTS.value(word) == Some(StatementKind::VerdictMap) => {
            return verdict_map(tokens, key);
        }
        Token::Mark('{') => Right::Among(braces(tokens, operand)?),
        Token::Word(word) if word.starts_with('@') => {
            let span = Span { start: token.span.start + 1, end: token.span.end };
            Right::Named(Spanned { value: Cow::Borrowed(&word[1..]), span })
        }
        Token::Word(_) | Token::Quoted(_) => {
            let first = operand(tokens, token)?;
            if tokens.peek()?.value == Token::Mark(',') {
                let mut all = vec![first];
                while tokens.peek()?.value == Token::Mark(',') {
                    tokens.next()?;
                    let token = tokens.next()?;
                    all.push(operand(tokens, token)?);
                }
                Right::Flags(all)
            } else {
                Right::One(first)
            }
        }
        _ => return Err(unsupported(tokens, token, "a value")),
    };
    Ok(Statement::Match { key, operator, right })
}

fn verdict_map<'a>(tokens: &mut Tokens<'a>, key: Spanned<Field>) -> Reading<Statement<'a>> {
    let token = tokens.next()?;
    if let Token::Word(name) = token.value {
        let message = format!("unsupported named verdict map {}", quoted(name));
        return Err(unknown(token.span, message, "write the map in braces"));
    }
    if token.value != Token::Mark('{') {
        return Err(tokens.unexpected(token, "`{`"));
    }
    let entries = braces(tokens, |tokens, token| {
        let key = operand(tokens, token)?;
        let colon = tokens.next()?;
        if colon.value != Token::Mark(':') {
            return Err(tokens.unexpected(colon, "`:`"));
        }
        let word = tokens.word("a verdict")?;
        let Some(value) = verdict(tokens, &word)? else {
            let message = format!("unsupported verdict {} in a verdict map", quoted(&word.value));
            return Err(unknown(word.span, message, "jump to a chain that decides"));
        };
        Ok((key, Spanned { value, span: Span { start: word.span.start, end: tokens.place() } }))
    })?;
    Ok(Statement::VerdictMap { key, entries })
}

/// Reads a list up to its closing brace. It may end with a comma.
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
        let next = tokens.next_over_lines()?;
        match next.value {
            Token::Mark('}') => return Ok(all),
            Token::Mark(',') => {}
            _ => return Err(unsupported(tokens, next, "`,` or `}`")),
        }
    }
}

/// Reads a value or a range of numbers. There are no ranges of names: `echo-reply` is one value.
fn operand<'a>(tokens: &mut Tokens<'a>, token: Spanned<Token<'a>>) -> Reading<Operand<'a>> {
    let (text, start, is_quoted) = match token.value {
        Token::Word(text) => (text, token.span.start, false),
        Token::Quoted(text) => (text, token.span.start + 1, true),
        _ => return Err(unsupported(tokens, token, "a value")),
    };
    let word = |from: usize, to: usize| Spanned {
        value: Cow::Borrowed(&text[from..to]),
        span: Span { start: start + from, end: start + to },
    };
    let dash = text.find('-').filter(|_| !is_quoted && text.starts_with(|c: char| c.is_ascii_digit()));
    Ok(match dash {
        Some(dash) => Operand { low: word(0, dash), high: Some(word(dash + 1, text.len())) },
        None => Operand { low: word(0, text.len()), high: None },
    })
}

fn limit<'a>(tokens: &mut Tokens<'a>) -> Reading<Statement<'a>> {
    tokens.keyword("rate")?;
    let rate = tokens.word("a rate")?;
    if rate.value == "over" {
        return Err(unknown(rate.span, "a limit that matches above its rate", "write `limit rate 10/second`"));
    }
    let (Cow::Borrowed(text), Span { start, end }) = (rate.value, rate.span) else {
        return Err(malformed(rate.span, "expected a rate", "write `limit rate 10/second`"));
    };
    let Some((count, per)) = text.split_once('/') else {
        let message = format!("unsupported rate {}", quoted(text));
        return Err(unknown(rate.span, message, "write packets per unit of time: `limit rate 10/second`"));
    };
    let slash = start + count.len();
    let count = Spanned { value: Cow::Borrowed(count), span: Span { start, end: slash } };
    let per = Spanned { value: Cow::Borrowed(per), span: Span { start: slash + 1, end } };
    let mut burst = None;
    // nft 1.0.6 does not list its default, 1.1 does.
    if tokens.peek()?.value == Token::Word("burst") {
        tokens.next()?;
        burst = Some(tokens.word("a number of packets")?);
        let unit = tokens.word("`packets`")?;
        if unit.value != "packets" {
            let message = format!("unsupported unit {} of a burst", quoted(&unit.value));
            return Err(unknown(unit.span, message, "write `burst 5 packets`"));
        }
    }
    Ok(Statement::Limit { count, per, burst })
}

fn log<'a>(tokens: &mut Tokens<'a>, span: Span) -> Reading<Statement<'a>> {
    if tokens.peek()?.value != Token::Word("prefix") {
        return Err(unknown(span, "a log without a prefix", "write `log prefix` and a text in quotes"));
    }
    tokens.next()?;
    let prefix = tokens.word_or_text("a prefix")?;
    match tokens.peek()? {
        Spanned { value: Token::Word(word @ ("level" | "flags" | "group" | "snaplen" | "queue-threshold")), span } => {
            Err(unknown(span, format!("unsupported {} of a log", quoted(word)), "edgeward's logs have only a prefix"))
        }
        _ => Ok(Statement::Log { prefix }),
    }
}

fn reject<'a>(tokens: &mut Tokens<'a>, span: Span) -> Reading<Statement<'a>> {
    if tokens.peek()?.value != Token::Word("with") {
        let help = "write `reject with icmpx type admin-prohibited`";
        return Err(unknown(span, "a reject without a reason", help));
    }
    tokens.next()?;
    let kind = tokens.word("a type of reject")?;
    let mut code = tokens.word("a code")?;
    // Since 1.0, nft lists `with icmpx admin-prohibited`.
    if code.value == "type" {
        code = tokens.word("a code")?;
    }
    Ok(Statement::Reject { kind, code })
}
