//! The list as JSON, for programs: in full, however long.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::ser::{Serialize, Serializer};

use super::{FlowList, source_ports};
use crate::intent::{Extent, Member, MemberKind, Opening, Origin, Side};
use crate::net::Family;
use crate::report::because::{Evidence, Reason};
use crate::report::version::DocumentVersion;
use crate::site::{Mode, Target};

impl FlowList<'_> {
    /// The list as JSON.
    ///
    /// # Errors
    /// Never, unless the serializer has a mistake.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let document = FlowsDocument {
            version: DocumentVersion,
            policy: &self.intent.name,
            target: self.intent.target.word(),
            mode: self.intent.mode.word(),
            stateless: self.is_stateless(),
            flows: self.rows().map(|opening| self.row(opening)).collect(),
        };
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    fn row<'a>(&'a self, opening: Opening<'a>) -> FlowRow<'a> {
        let end = |what, extent| EndList { evidence: &self.evidence, what, extent, origin: opening.origin };
        FlowRow {
            flow: opening.flow,
            direction: opening.side.name(),
            this_host: matches!(opening.local, Extent::Host(_)),
            local: end("local end", opening.local.clone()),
            peers: end("peer", opening.peers.clone()),
            ports: opening.traffic.words(),
            source_ports: source_ports(&opening),
            interfaces: opening.interfaces.map(|set| set.words()),
            family: opening.family.map(|family| family.name()),
            tracked: opening.tracked,
            purpose: opening.purpose,
            source: self.evidence.origin("row", opening.flow, opening.origin),
        }
    }
}

/// What `edgeward flows --format json` prints: every conversation that a policy opens.
#[derive(serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FlowsDocument<'a> {
    /// The version of the document's format.
    version: DocumentVersion,
    /// The name of the policy.
    policy: &'a str,
    /// What it is compiled for.
    #[schemars(with = "Target")]
    target: &'static str,
    /// Whether it denies packets.
    #[schemars(with = "Mode")]
    mode: &'static str,
    /// Whether the rules do without conntrack: then each direction of a conversation is a row of its own.
    stateless: bool,
    /// The conversations.
    flows: Vec<FlowRow<'a>>,
}

/// A conversation.
#[derive(serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct FlowRow<'a> {
    /// The id of its flow.
    flow: &'a str,
    /// Who opens it, as seen from the local end.
    #[schemars(with = "Side")]
    direction: &'static str,
    /// Whether the local end is the host itself, regardless of its address.
    this_host: bool,
    /// The end at the host or in the data centre: its prefixes and addresses.
    local: EndList<'a>,
    /// The other end: its prefixes and addresses.
    peers: EndList<'a>,
    /// Protocols and destination ports: `tcp/443`, `udp/30000-32767`, `icmp/echo-request`.
    ports: Vec<String>,
    /// Source ports; `null` for any.
    source_ports: Option<Vec<String>>,
    /// The interfaces through which the peers' packets must arrive, `veth*` for all with that beginning; `null` for any.
    interfaces: Option<Vec<String>>,
    /// The family, if the conversation exists in one only; `null` for both.
    #[schemars(with = "Option<Family>")]
    family: Option<&'static str>,
    /// Whether replies belong to a connection that conntrack knows.
    tracked: bool,
    /// What it is for; empty if the policy does not say.
    purpose: &'a str,
    /// Where the flow comes from.
    source: Reason,
}

/// A part of an end: a prefix, or an address of a name.
#[derive(serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct EndPart {
    /// `true` for every address but `except`; otherwise the key is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    any: Option<bool>,
    /// The prefixes that `any` leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<String>")]
    except: Option<Vec<String>>,
    /// The prefix, or an address of the name; `null` for a name without address, and for `any`.
    prefix: Option<String>,
    /// The name; `null` if the address was written.
    name: Option<String>,
    /// Whether the policy does without the name. Only parts with a name have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    optional: Option<bool>,
    /// Where it comes from.
    because: Reason,
}

impl EndPart {
    fn prefix(prefix: String, because: Reason) -> Self {
        Self { any: None, except: None, prefix: Some(prefix), name: None, optional: None, because }
    }

    fn name(name: &str, optional: bool, address: Option<String>, because: Reason) -> Self {
        let name = Some(name.to_owned());
        Self { any: None, except: None, prefix: address, name, optional: Some(optional), because }
    }
}

/// The parts of an end. They are written one by one: a list of half a million prefixes is not held as a tree.
struct EndList<'a> {
    evidence: &'a Evidence<'a>,
    what: &'static str,
    extent: Extent<'a>,
    origin: &'a Origin,
}

impl JsonSchema for EndList<'_> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        <Vec<EndPart>>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        <Vec<EndPart>>::json_schema(generator)
    }
}

impl Serialize for EndList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Extent::AllBut(except) = &self.extent {
            let except = except.prefixes().map(|prefix| prefix.to_string()).collect();
            let because = self.evidence.origin(self.what, "any", self.origin);
            let (any, except) = (Some(true), Some(except));
            return serializer.collect_seq([EndPart {
                any,
                except,
                prefix: None,
                name: None,
                optional: None,
                because,
            }]);
        }
        serializer.collect_seq(self.extent.members().iter().flat_map(|member| self.part(member)))
    }
}

impl EndList<'_> {
    /// A part of the end: each prefix, or each address of a name; a name without address once.
    fn part<'b>(&'b self, member: &'b Member<'b>) -> Box<dyn Iterator<Item = EndPart> + 'b> {
        let evidence = self.evidence;
        match &member.kind {
            MemberKind::Prefixes(set) => Box::new(set.prefixes().map(|prefix| {
                let prefix = prefix.to_string();
                let because = evidence.origin(self.what, &prefix, member.origin);
                EndPart::prefix(prefix, because)
            })),
            MemberKind::Name { name, optional, record: Some(record), addresses } if !addresses.is_empty() => {
                Box::new(addresses.iter().map(move |(address, seen)| {
                    let because = evidence.answer(self.what, *address, name, member.origin, record, *seen);
                    EndPart::name(name.as_str(), *optional, Some(address.to_string()), because)
                }))
            }
            MemberKind::Name { name, optional, .. } => {
                let because = evidence.origin(self.what, name.as_str(), member.origin);
                Box::new(std::iter::once(EndPart::name(name.as_str(), *optional, None, because)))
            }
        }
    }
}
