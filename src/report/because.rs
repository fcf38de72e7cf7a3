//! Where something comes from, in a sentence and as data: one shape for all verbs.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::catalog::Document;
use crate::diag::legible;
use crate::intent::{Origin, Side};
use crate::net::{DomainName, Family, Hook, Verdict};
use crate::resolution::{NameRecord, Seen};
use crate::source::Source;

/// One reason.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Reason {
    /// What it is about, with the keys of its kind.
    #[serde(flatten)]
    pub about: About,
    /// The reason in a sentence.
    pub text: String,
}

/// What a reason is about.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum About {
    /// The rule that gave the verdict.
    Rule {
        /// The chain of the rule.
        chain: String,
        /// The rule as nft text.
        rule: String,
        /// The chains that the packet passed, the base chain first.
        path: Vec<String>,
    },
    /// No rule gave a verdict, so the policy of the chain did.
    ChainPolicy {
        /// The base chain.
        chain: String,
    },
    /// edgeward has no chain at the hook: other tables decide.
    NoChain {
        /// The hook.
        #[schemars(with = "Hook")]
        hook: &'static str,
    },
    /// What would happen if the policy were enforced.
    Audit {
        /// The verdict with `mode: enforce`.
        #[schemars(with = "Verdict")]
        verdict: &'static str,
    },
    /// The flow that permits the packet.
    Flow {
        /// Its id.
        flow: String,
        /// Who opens it, as seen from this end.
        #[schemars(with = "Side")]
        direction: &'static str,
        /// What it is for; empty if the policy does not say.
        purpose: String,
        /// Whether the packet is a reply. Only gateways without conntrack tell.
        answer: bool,
    },
    /// A place in the policy.
    Policy {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is written there.
        value: String,
    },
    /// A row of the catalog.
    Catalog {
        /// The id of the document that it was taken from.
        document: String,
        /// The title of the document.
        title: String,
        /// The section of the document; `null` if the row names none.
        section: Option<String>,
        /// The day on which the document was read.
        retrieved: String,
        /// Whether the document says it only indirectly.
        inferred: bool,
        /// What the row says.
        value: String,
    },
    /// An address that DNS gave for a name.
    Name {
        /// The name.
        name: String,
        /// The address.
        address: IpAddr,
        /// When an answer first had the address; `null` if that is not known.
        first_seen: Option<Timestamp>,
        /// When an answer last had the address; `null` if that is not known.
        last_seen: Option<Timestamp>,
        /// How long ago that was, in seconds; `null` if that is not known.
        #[schemars(range(min = 0))]
        age_seconds: Option<i64>,
        /// The time to live of that answer, in seconds; `null` if it is not known.
        ttl: Option<u32>,
        /// The DNS server that gave it, with its port; `null` if it is not known.
        server: Option<String>,
        /// Where the name is written.
        origin: Box<Reason>,
    },
    /// A flow that nearly permits the packet.
    NearMiss {
        /// Its id.
        flow: String,
        /// The one thing that it lacks.
        #[schemars(extend("enum" = LACKS))]
        lacks: &'static str,
    },
}

/// What a near miss can lack.
const LACKS: [&str; 8] = ["peer", "local-end", "traffic", "source-port", "family", "answer", "valid", "direction"];

impl About {
    /// The word for the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rule { .. } => "rule",
            Self::ChainPolicy { .. } => "chain-policy",
            Self::NoChain { .. } => "no-chain",
            Self::Audit { .. } => "audit",
            Self::Flow { .. } => "flow",
            Self::Policy { .. } => "policy",
            Self::Catalog { .. } => "catalog",
            Self::Name { .. } => "name",
            Self::NearMiss { .. } => "near-miss",
        }
    }
}

impl Reason {
    /// A reason in a sentence.
    pub fn new(text: impl Into<String>, about: About) -> Self {
        Self { about, text: text.into() }
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
                let (file, value) = (self.policy.name.clone(), value.to_owned());
                Reason::new(text, About::Policy { file, line: at.line, column: at.column, value })
            }
            Origin::Catalog { source: document, section, retrieved, inferred } => {
                let about = About::Catalog {
                    document: document.clone(),
                    title: self.title(document).to_owned(),
                    section: section.clone(),
                    retrieved: retrieved.clone(),
                    inferred: *inferred,
                    value: value.to_owned(),
                };
                Reason::new(text, about)
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
        let about = About::Name {
            name: name.to_string(),
            address,
            first_seen: Some(seen.first),
            last_seen: Some(seen.last),
            age_seconds: Some(age.as_secs().max(0)),
            ttl: seen.ttl,
            server: server.map(|server| server.to_string()),
            origin: Box::new(self.origin("name", name.as_str(), origin)),
        };
        Reason::new(text, about)
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
