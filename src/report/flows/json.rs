//! The list as JSON, for programs: in full, however long.

use serde::ser::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{FlowList, source_ports};
use crate::intent::{Extent, Member, MemberKind, Opening, Origin};
use crate::report::because::Evidence;

impl FlowList<'_> {
    /// The list as JSON.
    ///
    /// # Errors
    /// Never, unless the serializer has a mistake.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let document = Document {
            version: 1,
            policy: &self.intent.name,
            target: self.intent.target.word(),
            mode: self.intent.mode.word(),
            stateless: self.is_stateless(),
            flows: self.rows().map(|opening| self.row(opening)).collect(),
        };
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    fn row<'a>(&'a self, opening: Opening<'a>) -> Row<'a> {
        let end = |what, extent| EndList { evidence: &self.evidence, what, extent, origin: opening.origin };
        Row {
            flow: opening.flow,
            direction: opening.side.name(),
            this_host: matches!(opening.local, Extent::Host(_)),
            local: end("local end", opening.local.clone()),
            peers: end("peer", opening.peers.clone()),
            ports: opening.traffic.words(),
            source_ports: source_ports(&opening),
            family: opening.family.map(|family| family.name()),
            tracked: opening.tracked,
            purpose: opening.purpose,
            source: self.evidence.origin("row", opening.flow, opening.origin).json(),
        }
    }
}

#[derive(serde::Serialize)]
struct Document<'a> {
    version: u8,
    policy: &'a str,
    target: &'static str,
    mode: &'static str,
    stateless: bool,
    flows: Vec<Row<'a>>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row<'a> {
    flow: &'a str,
    direction: &'static str,
    this_host: bool,
    local: EndList<'a>,
    peers: EndList<'a>,
    ports: Vec<String>,
    source_ports: Option<Vec<String>>,
    family: Option<&'static str>,
    tracked: bool,
    purpose: &'a str,
    source: Value,
}

/// The parts of an end. They are written one by one: a list of half a million prefixes is not held as a tree.
struct EndList<'a> {
    evidence: &'a Evidence<'a>,
    what: &'static str,
    extent: Extent<'a>,
    origin: &'a Origin,
}

impl Serialize for EndList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Extent::AllBut(except) = &self.extent {
            let except: Vec<String> = except.prefixes().map(|prefix| prefix.to_string()).collect();
            let because = self.evidence.origin(self.what, "any", self.origin).json();
            return serializer.collect_seq([
                json!({"any": true, "except": except, "prefix": null, "name": null, "because": because}),
            ]);
        }
        serializer.collect_seq(self.extent.members().iter().flat_map(|member| self.part(member)))
    }
}

impl EndList<'_> {
    /// A part of the end: each prefix, or each address of a name; a name without address once.
    fn part<'b>(&'b self, member: &'b Member<'b>) -> Box<dyn Iterator<Item = Value> + 'b> {
        let evidence = self.evidence;
        match &member.kind {
            MemberKind::Prefixes(set) => Box::new(set.prefixes().map(|prefix| {
                let prefix = prefix.to_string();
                let because = evidence.origin(self.what, &prefix, member.origin).json();
                json!({"prefix": prefix, "name": null, "because": because})
            })),
            MemberKind::Name { name, optional, record: Some(record), addresses } if !addresses.is_empty() => {
                Box::new(addresses.iter().map(move |(address, seen)| {
                    let because = evidence.answer(self.what, *address, name, member.origin, record, *seen).json();
                    json!({"prefix": address, "name": name.as_str(), "optional": optional, "because": because})
                }))
            }
            MemberKind::Name { name, optional, .. } => {
                let because = evidence.origin(self.what, name.as_str(), member.origin).json();
                let row = json!({"prefix": null, "name": name.as_str(), "optional": optional, "because": because});
                Box::new(std::iter::once(row))
            }
        }
    }
}
