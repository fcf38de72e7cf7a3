//! The facts of the catalog's documents, from `fixtures/sources`.

#![allow(clippy::disallowed_methods, reason = "tests are no part of the core")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use edgeward::diag::Problems;
use edgeward::source::Source;
use edgeward::yaml;
use serde_json::Value;

/// The catalog's name for the rows that no document has.
pub const BASELINE: &str = "edgeward";

/// Reads a YAML file below the repository's root. Every scalar becomes a string, so `1.30` stays as written.
pub fn read(path: &str) -> Value {
    fn value(node: &yaml::Node) -> Value {
        match &node.value {
            yaml::Value::Scalar { text, .. } => text.clone().into(),
            yaml::Value::Sequence(items) => items.iter().map(value).collect(),
            yaml::Value::Mapping(pairs) => pairs.iter().map(|(key, node)| (key.value.clone(), value(node))).collect(),
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut problems = Problems::default();
    let node = yaml::read(&Source::new(path, &*text), &mut problems);
    assert!(!problems.has_errors(), "{path}: {:?}", problems.into_sorted());
    value(&node.unwrap())
}

/// The facts of all documents, by id.
pub fn documents() -> BTreeMap<String, Value> {
    let documents = read("policies/catalog/sources.yaml");
    let ids = list(&documents, "sources").iter().map(|document| text(document, "id")).filter(|id| id != BASELINE);
    ids.map(|id| (id.clone(), read(&format!("fixtures/sources/{id}.yaml")))).collect()
}

/// The list in a field; empty where the field is missing.
pub fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).map_or(&[], |list| list.as_array().unwrap_or_else(|| panic!("`{field}` is no list: {value}")))
}

pub fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("`{field}` is no text: {value}")).to_owned()
}
