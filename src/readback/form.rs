//! What both formats say of a table, before its meaning is known.

use std::borrow::Cow;

use super::elements::WrittenElements;
use crate::nft::Field;
use crate::source::{Span, Spanned};

/// A name, number or keyword as it was written. Numbers of JSON are kept as their digits.
pub type Word<'a> = Spanned<Cow<'a, str>>;

/// A set.
pub struct SetForm<'a> {
    pub name: Word<'a>,
    pub type_of_elements: Option<Word<'a>>,
    pub flags: Vec<Word<'a>>,
    pub elements: WrittenElements,
}

/// A chain with its rules, in order.
pub struct ChainForm<'a> {
    pub name: Word<'a>,
    pub base: Option<BaseForm<'a>>,
    pub rules: Vec<RuleForm<'a>>,
}

/// What makes a chain a base chain.
pub struct BaseForm<'a> {
    pub kind: Word<'a>,
    pub hook: Word<'a>,
    pub priority: Word<'a>,
    pub policy: Option<Word<'a>>,
}

/// A rule.
pub struct RuleForm<'a> {
    pub statements: Vec<Spanned<Statement<'a>>>,
    pub comment: Option<Word<'a>>,
    pub span: Span,
}

/// A statement of a rule. To nft a match is a statement, too.
pub enum Statement<'a> {
    Match { key: Spanned<Field>, operator: Operator, right: Right<'a> },
    Limit { count: Word<'a>, per: Word<'a>, burst: Option<Word<'a>> },
    Log { prefix: Word<'a> },
    Counter(Word<'a>),
    Accept,
    Drop,
    Reject { kind: Word<'a>, code: Word<'a> },
    Notrack,
    Jump(Word<'a>),
    Goto(Word<'a>),
    VerdictMap { key: Spanned<Field>, entries: Vec<(Operand<'a>, Spanned<Statement<'a>>)> },
}

/// How a match compares. On numbers both are the same, on flags they are not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// No operator in text, `in` in JSON.
    In,
    /// `==`
    Equal,
}

/// What a match compares with.
pub enum Right<'a> {
    /// `@name`
    Named(Word<'a>),
    /// One value or range.
    One(Operand<'a>),
    /// `a,b`: flags, one of which must be set.
    Flags(Vec<Operand<'a>>),
    /// `{ a, b-c }`: an anonymous set.
    Among(Vec<Operand<'a>>),
}

/// A value, or a range that includes both ends.
pub struct Operand<'a> {
    pub low: Word<'a>,
    pub high: Option<Word<'a>>,
}

impl Operand<'_> {
    pub fn span(&self) -> Span {
        let end = self.high.as_ref().map_or(self.low.span.end, |high| high.span.end);
        Span { start: self.low.span.start, end }
    }
}
