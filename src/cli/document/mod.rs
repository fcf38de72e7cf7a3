//! What verbs print with `--format json`: one type for each document, from which both the text and its schema are made.
//! docs/json.md lists the keys.

mod aggregate;
mod catalog;
mod change;
mod check;
mod diff;
mod difference;
mod explain;
mod history;
mod hosts;
mod packet;
mod resolve;
mod security_group;
mod status;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::path::RoutesDocument;
use crate::report::FlowsDocument;

pub(crate) use aggregate::AggregateDocument;
pub(crate) use catalog::{CatalogDocument, OssDocument, RegionDocument, ServiceDocument, SourceDocument};
pub(crate) use change::{ChangeDocument, PendingDocument};
pub(crate) use check::{CheckDocument, CheckedLockfile, CheckedPolicy, DiagnosticDocument};
pub(crate) use diff::{CausedDocument, DiffDocument};
pub(crate) use difference::{BoxDocument, DifferenceDocument};
pub(crate) use explain::{ExpectedDocument, ExplainDocument, ExplanationDocument, ProbeDocument, ProbesDocument};
pub(crate) use history::{
    ChangesDocument, EventDocument, GenerationDocument, HistoryDocument, MissingDocument, WhoDocument,
};
pub(crate) use hosts::{HostDocument, HostsDocument};
pub(crate) use packet::PacketDocument;
pub(crate) use resolve::{NameDocument, RefusedDocument, ResolveDocument};
pub(crate) use security_group::SecurityGroupDocument;
pub(crate) use status::{
    AttentionDocument, ChainDocument, CounterDocument, DiskDocument, LockfileDocument, NameAgeDocument, PolicyDocument,
    StatusCheck, StatusDocument, TableState,
};

/// What makes a schema.
type Maker = fn() -> Schema;

/// The verbs that have `--format json`, with the schemas of what they print.
const SCHEMAS: &[(&str, Maker)] = &[
    ("aggregate", schema::<AggregateDocument>),
    ("apply", schema::<ChangeDocument>),
    ("boot", schema::<ChangeDocument>),
    ("catalog", schema::<CatalogDocument<'_>>),
    ("check", schema::<CheckDocument>),
    ("confirm", schema::<ChangeDocument>),
    ("diff", schema::<DiffDocument<'_>>),
    ("explain", schema::<ExplainDocument<'_>>),
    ("flows", schema::<FlowsDocument<'_>>),
    ("history", schema::<HistoryDocument<'_>>),
    ("hosts", schema::<HostsDocument<'_>>),
    ("refresh", schema::<ChangeDocument>),
    ("resolve", schema::<ResolveDocument>),
    ("rollback", schema::<ChangeDocument>),
    ("routes", schema::<RoutesDocument<'_>>),
    ("security-group", schema::<SecurityGroupDocument<'_>>),
    ("status", schema::<StatusDocument<'_>>),
    ("uninstall", schema::<ChangeDocument>),
];

/// The verbs that print a document.
pub(crate) fn verbs() -> impl Iterator<Item = &'static str> {
    SCHEMAS.iter().map(|(verb, _)| *verb)
}

/// The JSON Schema (draft 2020-12) of what a verb prints; `None` if the verb prints no document of edgeward's.
///
/// A later version may add keys, so the schemas permit keys that they do not list.
pub(crate) fn schema_of(verb: &str) -> Option<Schema> {
    let (verb, schema) = SCHEMAS.iter().find(|(known, _)| *known == verb)?;
    let mut schema = schema();
    schema.insert("$id".to_owned(), format!("urn:edgeward:json:1:{verb}").into());
    schema.insert("title".to_owned(), format!("edgeward {verb} --format json").into());
    Some(schema)
}

fn schema<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(RecursiveTransform(plain));
    settings.into_generator().into_root_schema_for::<T>()
}

/// Leaves only formats that the draft defines, which strict validators require, and descriptions without line breaks.
fn plain(schema: &mut Schema) {
    let is_defined = |format: &Value| format == "date-time";
    if schema.get("format").is_some_and(|format| !is_defined(format)) {
        schema.remove("format");
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}
