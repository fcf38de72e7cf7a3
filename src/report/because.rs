//! Where something comes from, in a sentence and as data: one shape for all verbs.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::catalog::Document;
use crate::diag::legible;
use crate::intent::Origin;
use crate::net::{DomainName, Family};
use crate::resolution::{NameRecord, Seen};
use crate::source::Source;

/// One reason; `docs/explain.md` lists the kinds and their keys.
#[derive(Clone, Debug)]
pub struct Reason {
    /// What kind of thing it is about.
    pub kind: &'static str,
    /// What people read.
    pub text: String,
    /// What programs read in addition: an object, or nothing.
    pub details: Value,
}

impl Reason {
    /// A reason of a kind.
    pub fn new(kind: &'static str, text: impl Into<String>, details: Value) -> Self {
        Self { kind, text: text.into(), details }
    }

    /// The reason as JSON: `kind`, `text`, and the keys of its kind.
    pub fn json(self) -> Value {
        let mut row = json!({"kind": self.kind, "text": self.text});
        if let (Value::Object(row), Value::Object(details)) = (&mut row, self.details) {
            row.extend(details);
        }
        row
    }
}

/// What origins are explained with: the texts that they refer to, and the time.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The policy.
    pub policy: &'a Source,
    /// The documents of the catalog.
    pub documents: &'a [Document],
    /// An answer that is older is called stale.
    pub max_stale: SignedDuration,
    /// The time that ages are counted to.
    pub now: Timestamp,
}

impl Evidence<'_> {
    /// Where something is written: a line of the policy, or a document of the catalog.
    pub fn origin(&self, what: &str, value: &str, origin: &Origin) -> Reason {
        let text = format!("{what} {value}: {}", self.citation(origin));
        match origin {
            Origin::Policy(span) => {
                let at = self.policy.position(span.start);
                let details = json!({"file": self.policy.name, "line": at.line, "column": at.column, "value": value});
                Reason::new("policy", text, details)
            }
            Origin::Catalog { source: document, section, retrieved, inferred } => {
                let details = json!({
                    "document": document, "title": self.title(document), "section": section, "retrieved": retrieved,
                    "inferred": inferred, "value": value,
                });
                Reason::new("catalog", text, details)
            }
        }
    }

    /// A place in the policy; of a row of the catalog its document, section and day.
    pub fn citation(&self, origin: &Origin) -> String {
        match origin {
            Origin::Policy(_) => place(self.policy, origin),
            Origin::Catalog { source: document, section, retrieved, inferred } => {
                let part = section.as_ref().map(|section| format!(", {section}")).unwrap_or_default();
                let guess = if *inferred { "; inferred" } else { "" };
                format!("catalog, “{}”{part} ({document}, read {retrieved}){guess}", self.title(document))
            }
        }
    }

    /// An address that a name had in the lockfile, and where the name comes from.
    pub fn answer(
        &self,
        what: &str,
        address: IpAddr,
        name: &DomainName,
        origin: &Origin,
        record: &NameRecord,
        seen: Seen,
    ) -> Reason {
        let age = self.now.duration_since(seen.last);
        let server = record.answers.get(&Family::of(address)).and_then(|last| last.server);
        let by = server.map(|server| format!(" by {server}")).unwrap_or_default();
        let stale = if age > self.max_stale { ", longer than `resolve.max-stale`" } else { "" };
        let ttl = seen.ttl.map(|ttl| format!(", TTL {ttl} s")).unwrap_or_default();
        let text = format!(
            "{what} {address}: an address of {name} ({}), answered {}{by}, {}{stale}{ttl}",
            place(self.policy, origin),
            seen.last,
            ago(age),
        );
        let details = json!({
            "name": name.to_string(), "address": address, "first-seen": seen.first.to_string(),
            "last-seen": seen.last.to_string(), "age-seconds": age.as_secs().max(0), "ttl": seen.ttl,
            "server": server.map(|server| server.to_string()),
            "origin": self.origin("name", name.as_str(), origin).json(),
        });
        Reason::new("name", text, details)
    }

    /// The title of a document; its id where the catalog has no title.
    pub fn title<'b>(&'b self, document: &'b str) -> &'b str {
        self.documents.iter().find(|row| row.id.value == document).map_or(document, |row| &row.title)
    }
}

/// A place in the policy, or `catalog`.
pub fn place(policy: &Source, origin: &Origin) -> String {
    match origin {
        Origin::Policy(span) => format!("{}:{}", legible(&policy.name), policy.position(span.start)),
        Origin::Catalog { .. } => "catalog".to_owned(),
    }
}

/// A duration in its two largest units.
pub fn duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(3);
    let parts: Vec<String> = units[first..]
        .iter()
        .take(2)
        .scan(seconds, |left, (size, unit)| {
            let count = *left / size;
            *left %= size;
            Some((count, unit))
        })
        .filter(|(count, unit)| *count > 0 || **unit == "s" && seconds == 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    parts.join(" ")
}

/// How long ago something was.
pub fn ago(age: SignedDuration) -> String {
    if age.is_negative() { "in the future".to_owned() } else { format!("{} ago", duration(age)) }
}
