//! docs/json.md has a table of the keys of every document. The tables are generated from the schemas between two marks:
//! `UPDATE_GOLDEN=1` writes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::schemas::{edgeward, schema, verbs};

const END: &str = "<!-- end of the table -->\n";

/// Objects that have sections of their own, by name.
type Definitions = BTreeMap<String, Value>;

/// The words of an enumeration, with their meanings if they have any.
fn words(schema: &Value) -> Option<Vec<(String, String)>> {
    if let Some(words) = schema["enum"].as_array() {
        return Some(words.iter().map(|word| (word.as_str().unwrap().to_owned(), String::new())).collect());
    }
    let variants = schema["oneOf"].as_array().filter(|_| schema["properties"].is_null())?;
    variants
        .iter()
        .map(|one| Some((one["const"].as_str()?.to_owned(), one["description"].as_str()?.to_owned())))
        .collect()
}

fn kind(schema: &Value, definitions: &Definitions) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").unwrap();
        return match words(&definitions[name]) {
            Some(words) if words.iter().all(|(_, meaning)| meaning.is_empty()) => {
                words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            _ => format!("[{name}](#{})", name.to_lowercase()),
        };
    }
    if let Some(parts) = schema["anyOf"].as_array() {
        return parts.iter().map(|part| kind(part, definitions)).collect::<Vec<_>>().join(" or ");
    }
    if let Some(words) = words(schema) {
        return words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(value) = schema.get("const") {
        return format!("`{}`", value.to_string().trim_matches('"'));
    }
    match &schema["type"] {
        Value::Array(types) => {
            let of = |one: &Value| {
                let mut schema = schema.clone();
                schema["type"] = one.clone();
                kind(&schema, definitions)
            };
            types.iter().map(of).collect::<Vec<_>>().join(" or ")
        }
        Value::String(word) => match word.as_str() {
            "array" => format!("list of {}", kind(&schema["items"], definitions)),
            "object" => format!("object: {} by name", kind(&schema["additionalProperties"], definitions)),
            "string" if schema["format"] == "date-time" => "time".to_owned(),
            other => other.to_owned(),
        },
        other => panic!("{other}: {schema}"),
    }
}

/// The rows of an object, sorted by key.
fn rows(object: &Value, definitions: &Definitions) -> Vec<String> {
    let required: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let row = |(key, property): (&String, &Value)| {
        let may_be_missing = if required.contains(&key.as_str()) { "" } else { ", may be missing" };
        let meaning = property["description"].as_str().unwrap_or_default().replace('|', "\\|");
        format!("| `{key}` | {}{may_be_missing} | {meaning} |", kind(property, definitions))
    };
    object["properties"].as_object().unwrap().iter().map(row).collect()
}

fn table(object: &Value, definitions: &Definitions) -> String {
    let mut lines = Vec::new();
    if let Some(words) = words(object) {
        lines.extend(["| word | meaning |".to_owned(), "|---|---|".to_owned()]);
        lines.extend(words.iter().map(|(word, meaning)| format!("| `{word}` | {meaning} |")));
        return lines.join("\n") + "\n";
    }
    if object["properties"].is_object() {
        lines.extend(["| key | type | meaning |".to_owned(), "|---|---|---|".to_owned()]);
        lines.extend(rows(object, definitions));
    }
    for word in ["oneOf", "anyOf"] {
        for variant in object[word].as_array().into_iter().flatten() {
            let name = variant["properties"]["kind"]["const"].as_str().map(|kind| format!("`{kind}`: "));
            let meaning = variant["description"].as_str().unwrap_or_default();
            let variant = match variant["$ref"].as_str() {
                Some(name) => &definitions[name.strip_prefix("#/$defs/").unwrap()],
                None => variant,
            };
            lines.push(format!("\n{}{meaning}\n", name.unwrap_or_default()));
            lines.extend(["| key | type | meaning |".to_owned(), "|---|---|---|".to_owned()]);
            lines.extend(rows(variant, definitions));
        }
    }
    lines.join("\n").trim_start().to_owned() + "\n"
}

/// The tables by their marks: one for each document, and one for each object that documents share.
fn tables() -> BTreeMap<String, String> {
    let mut definitions = Definitions::new();
    let mut documents: BTreeMap<String, (Vec<String>, Value)> = BTreeMap::new();
    for verb in verbs() {
        let mut schema = schema(&verb);
        let keys = schema.as_object_mut().unwrap();
        for (name, definition) in keys.remove("$defs").iter().flat_map(|map| map.as_object().unwrap()) {
            let known = definitions.entry(name.clone()).or_insert_with(|| definition.clone());
            assert_eq!(known, definition, "two objects have the name {name}");
        }
        ["$id", "$schema", "title"].iter().for_each(|key| drop(keys.remove(*key)));
        let same = documents.entry(schema.to_string()).or_insert_with(|| (Vec::new(), schema));
        same.0.push(verb);
    }
    let mut tables = BTreeMap::new();
    for (verbs, document) in documents.into_values() {
        tables.insert(verbs.join(", "), table(&document, &definitions));
    }
    // Words without meanings are in the tables where they are used.
    let is_section =
        |object: &Value| words(object).is_none_or(|words| words.iter().any(|(_, meaning)| !meaning.is_empty()));
    let objects = definitions.iter().filter(|(_, object)| is_section(object)).map(|(name, object)| {
        format!("### {name}\n\n{}\n\n{}", object["description"].as_str().unwrap(), table(object, &definitions))
    });
    tables.insert("objects".to_owned(), objects.collect::<Vec<_>>().join("\n"));
    tables
}

#[test]
fn the_page_lists_every_key_of_every_verb() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut updated = page.clone();
    for (name, table) in tables() {
        let mark = format!("<!-- the keys of {name} -->\n");
        let (head, rest) = updated.split_once(&mark).unwrap_or_else(|| panic!("docs/json.md has no mark {mark}"));
        let (_, tail) = rest.split_once(END).unwrap();
        updated = format!("{head}{mark}\n{table}\n{END}{tail}");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &updated).unwrap();
        return;
    }
    assert!(updated == page, "docs/json.md is not what the schemas say: `UPDATE_GOLDEN=1 cargo test --test json page`");
    assert_eq!(page.matches("<!-- the keys of ").count(), tables().len(), "docs/json.md has a table of nothing");
}

/// Every option `--format json` has a schema, and every schema an option.
#[test]
fn verbs_with_json_have_a_schema() {
    // Its JSON is nftables', not edgeward's.
    let others = ["compile"];
    for verb in edgeward::cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let formats = verb.get_arguments().filter(|option| option.get_long() == Some("format"));
        let has_json = formats.flat_map(|option| option.get_possible_values()).any(|value| value.get_name() == "json");
        let name = verb.get_name();
        let expected = has_json && !others.contains(&name);
        assert_eq!(verbs().iter().any(|known| known == name), expected, "{name}");
    }
    assert!(edgeward(&["schema"]).status.success());
}
