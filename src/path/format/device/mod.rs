//! The routes of the core switch as configurations of devices, and what takes these away again.
//!
//! A file is one list of [`Statement`]s, whose syntax a [`Dialect`] has. An address that the policy does not give is a
//! [`PLACEHOLDER`] that no device reads as an address, an interface or a number, so such a line fails with an error.

mod bgp;
mod dialect;

use std::net::IpAddr;

pub use dialect::Syntax;

use super::RouteList;
use super::fields::described;
use super::people::{flows, remark};
use crate::catalog::Element;
use crate::net::{Family, Prefix};
use crate::path::table::Route;
use crate::report::paragraph;
use bgp::Exchange;
use dialect::Dialect;

/// What the beginning of a placeholder is; its end is the field of the policy that gives the value, and `>`.
///
/// One word would be an interface to FRR and IOS. Several, of which the second is no keyword, are a mistake to all.
const PLACEHOLDER: &str = "<FILL IN ";

/// A format that is for other devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`--format {format}` is for {takes}, not for `{element}`")]
pub struct WrongDevice {
    /// The format.
    pub format: &'static str,
    /// The devices that take it.
    pub takes: &'static str,
    /// The device that was asked for.
    pub element: Element,
}

/// A value that the policy may not give.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    /// As the device writes it.
    Known(String),
    /// The field of the policy that would give it.
    Missing(&'static str),
}

impl std::fmt::Display for Slot {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(value) => out.write_str(value),
            Self::Missing(field) => write!(out, "{PLACEHOLDER}{field}>"),
        }
    }
}

/// A static route, as devices have it.
#[derive(Clone, Debug)]
struct Statement {
    /// Its destination.
    prefix: Prefix,
    /// The address that it points to.
    hop: Slot,
    /// The flows that need it, for a comment; safe in all syntaxes.
    remark: String,
    /// What it is marked with, where devices can: at most 41 letters, digits and hyphens.
    tag: String,
}

impl Statement {
    fn of(route: &Route<'_>, policy: &str) -> Self {
        let missing = match route.prefix.family() {
            Family::V4 => "path.core-switch.next-hop",
            Family::V6 => "path.core-switch.next-hop-v6",
        };
        let address = route.next_hop.id.as_ref().filter(|id| id.parse::<IpAddr>().is_ok());
        let hop = address.map_or(Slot::Missing(missing), |address| Slot::Known(address.clone()));
        let names = remark(route);
        let remark = if names.is_empty() { flows(route) } else { format!("{}: {names}", flows(route)) };
        Self { prefix: route.prefix, hop, remark: safe(&remark), tag: format!("edgeward-{policy}") }
    }

    fn family(&self) -> Family {
        self.prefix.family()
    }

    /// The destination as devices have it: an address has a length, too.
    fn net(&self) -> ipnet::IpNet {
        self.prefix.net()
    }
}

impl RouteList<'_> {
    /// The routes of the core switch in the syntax of a device; with `undo`, what takes them away.
    ///
    /// # Errors
    /// Another device is chosen: those of the cloud have no such configuration.
    pub fn device(&self, syntax: Syntax, undo: bool) -> Result<String, WrongDevice> {
        if let Some(element) = self.element.filter(|element| *element != Element::CoreSwitch) {
            return Err(WrongDevice { format: syntax.word(), takes: "the core switch", element });
        }
        let list = Self { element: Some(Element::CoreSwitch), ..*self };
        let routes = list.tables().flat_map(|table| &table.routes).filter(|route| !route.row.standing);
        let statements: Vec<Statement> = routes.map(|route| Statement::of(route, self.policy)).collect();
        let dialect = syntax.dialect();
        let exchange = self.plan.bgp.as_ref().filter(|_| dialect.has_bgp);
        let exchange = exchange.map(|bgp| Exchange::new(self.policy, bgp, &statements));
        let mut body = body(dialect, &statements, undo);
        body.extend(exchange.as_ref().map(|exchange| if undo { exchange.remove() } else { exchange.add() }));
        let notes = exchange.as_ref().filter(|_| !undo).map(Exchange::notes).unwrap_or_default();
        let head = list.head(syntax, dialect, undo, notes, &missing(&body));
        Ok(if body.is_empty() { head } else { head + "\n" + &body })
    }

    /// The comments at the top of a file.
    fn head(&self, syntax: Syntax, dialect: &Dialect, undo: bool, more: Vec<String>, missing: &[&str]) -> String {
        let (policy, scope) = (self.policy, self.plan.scope.word());
        let mut notes = match undo {
            false => vec![format!("Routes of the core switch for the policy {policy}, scope {scope}.")],
            true => vec![format!("Takes the routes of the policy {policy}, scope {scope}, away from the core switch.")],
        };
        if !missing.is_empty() {
            notes.push(format!(
                "Not complete: {} refuses the lines with {PLACEHOLDER}...>. The policy has to give {}.",
                syntax.word(),
                missing.iter().map(|field| described(field)).collect::<Vec<_>>().join(", ")
            ));
        }
        notes.push(dialect.load.to_owned());
        let own = if undo { dialect.undo_notes } else { dialect.notes };
        notes.extend(own.iter().map(|note| (*note).to_owned()));
        if !undo {
            notes.extend(more);
            notes.extend(self.notes());
        }
        notes.iter().map(|note| comment(dialect, note)).collect()
    }
}

/// The lines that the device reads, each group of equal reasons with a comment.
fn body(dialect: &Dialect, statements: &[Statement], undo: bool) -> String {
    let write = if undo { dialect.remove } else { dialect.add };
    let mut text = String::new();
    for (at, statement) in statements.iter().enumerate() {
        let is_new = at.checked_sub(1).is_none_or(|before| statements[before].remark != statement.remark);
        if is_new && !undo && !statement.remark.is_empty() {
            text.push_str(&comment(dialect, &statement.remark));
        }
        text.push_str(&write(statement));
        text.push('\n');
    }
    text
}

/// The fields of the policy that placeholders name, in the order of the text.
fn missing(text: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    for rest in text.split(PLACEHOLDER).skip(1) {
        let field = rest.split('>').next().unwrap_or_default();
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    fields
}

/// A paragraph as comments.
fn comment(dialect: &Dialect, text: &str) -> String {
    let text = paragraph("", &safe(text), "");
    text.lines().map(|line| format!("{} {line}\n", dialect.comment)).collect()
}

/// A text of one line without characters that a device could read as the end of a comment, as a command or as a question.
pub(super) fn safe(text: &str) -> String {
    let plain = |c: char| match c {
        '“' | '”' | '`' | '"' => '\'',
        '–' => '-',
        c if c.is_whitespace() => ' ',
        c if c.is_ascii_alphanumeric() || " .,:;/()[]_+=<>'-".contains(c) => c,
        _ => '_',
    };
    text.replace('…', "...").chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_have_no_other_characters() {
        assert_eq!(safe("a\nno route\\ ?|é`b`"), "a no route_ ___'b'");
        let dialect = Syntax::Iproute2.dialect();
        assert_eq!(comment(dialect, "one\ntwo #\\"), "# one two __\n");
        let long = comment(dialect, &"word ".repeat(60));
        assert!(long.lines().count() > 2 && long.lines().all(|line| line.starts_with("# ")), "{long}");
    }
}
