//! What both formats say of a table, before anyone has asked what it means.

use std::borrow::Cow;

use super::elements::Elements;
use super::meaning::Field;
use crate::source::{Span, Spanned};

/// A name, number or keyword as it was written; numbers of JSON are kept as their digits.
pub type Word<'a> = Spanned<Cow<'a, str>>;

/// A set.
pub struct SetForm<'a> {
    pub name: Word<'a>,
    pub type_of_elements: Option<Word<'a>>,
    pub flags: Vec<Word<'a>>,
    pub elements: Elements,
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

/// One statement of a rule; nft's matches are statements, too.
pub enum Statement<'a> {
    Match { key: Spanned<Field>, exact: bool, right: Right<'a> },
    Limit { count: Word<'a>, per: Word<'a>, burst: Option<Word<'a>> },
    Log { prefix: Word<'a> },
    Counter(Word<'a>),
    Accept,
    Drop,
    Reject { kind: Word<'a>, code: Word<'a> },
    Notrack,
    Jump(Word<'a>),
    Goto(Word<'a>),
    VerdictMap { key: Spanned<Field>, entries: Vec<(Item<'a>, Spanned<Statement<'a>>)> },
}

/// What a match compares with.
pub enum Right<'a> {
    /// `@name`
    Named(Word<'a>),
    /// One value or range.
    One(Item<'a>),
    /// `a,b`: flags, one of which has to be set.
    Flags(Vec<Item<'a>>),
    /// `{ a, b-c }`: an anonymous set.
    Among(Vec<Item<'a>>),
}

/// A value, or a range with both ends in it.
pub struct Item<'a> {
    pub low: Word<'a>,
    pub high: Option<Word<'a>>,
}

impl Item<'_> {
    pub fn span(&self) -> Span {
        let end = self.high.as_ref().map_or(self.low.span.end, |high| high.span.end);
        Span { start: self.low.span.start, end }
    }
}
