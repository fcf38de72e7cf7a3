//! The schemas that the program prints, and documents that are held against them.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::host::{Host, Run};

/// The program without a namespace.
pub fn edgeward(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edgeward")).args(arguments).env("NO_COLOR", "1").output().unwrap()
}

/// The verbs that have a schema, as the program lists them.
pub fn verbs() -> Vec<String> {
    let output = edgeward(&["schema", "--of", "nothing"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    let list = said.trim().rsplit_once(": ").unwrap().1;
    list.split(", ").map(str::to_owned).collect()
}

/// The schema of what a verb prints.
pub fn schema(verb: &str) -> Value {
    let output = edgeward(&["schema", "--of", verb]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A schema that permits no key that it does not list.
pub fn strict(mut schema: Value) -> Value {
    close(&mut schema, false);
    schema
}

/// Closes all objects. The parts of a combined object are left open: only the whole has all keys.
fn close(schema: &mut Value, is_part: bool) {
    let Value::Object(keys) = schema else { return };
    let is_combined = ["oneOf", "anyOf", "allOf"].iter().any(|word| keys.contains_key(*word));
    let has_properties = keys.contains_key("properties");
    if has_properties && !is_part && !keys.contains_key("additionalProperties") {
        keys.insert(
            if is_combined { "unevaluatedProperties" } else { "additionalProperties" }.to_owned(),
            json!(false),
        );
    }
    for (word, value) in keys.iter_mut() {
        match (word.as_str(), value) {
            ("properties" | "$defs", Value::Object(schemas)) => {
                schemas.values_mut().for_each(|schema| close(schema, false));
            }
            ("oneOf" | "anyOf" | "allOf", Value::Array(parts)) => {
                parts.iter_mut().for_each(|part| close(part, has_properties || is_part));
            }
            ("items" | "additionalProperties", schema) => close(schema, false),
            _ => {}
        }
    }
}

/// What is wrong with a document, with the place of each error.
pub fn errors(verb: &str, document: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(&strict(schema(verb))).unwrap();
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// The document that a run has printed; it has to be valid, and all of standard output.
#[track_caller]
pub fn document(line: &str, run: &Run) -> Value {
    let document: Value =
        serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{line}: {error}\n{}{}", run.out, run.err));
    assert_eq!(document["version"], 1, "{line}");
    let verb = line.split_whitespace().next().unwrap();
    let errors = errors(verb, &document);
    assert!(errors.is_empty(), "{line}: {errors:#?}\n{}", run.out);
    document
}

/// Runs a line of words with `--format json`, and returns what it printed.
#[track_caller]
pub fn json(host: &Host, line: &str, code: i32) -> Value {
    document(line, &host.edgeward(&format!("{line} --format json")).ends(code))
}

#[test]
fn schemas_are_valid_and_describe_every_key() {
    let verbs = verbs();
    assert!(verbs.len() >= 13 && verbs.is_sorted(), "{verbs:?}");
    for verb in verbs {
        let schema = schema(&verb);
        jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{verb}: {error}"));
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{verb}");
        assert_eq!(schema["$id"], format!("urn:edgeward:json:1:{verb}"));
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{verb}");
        each_object(&schema, &mut |object| {
            for (key, property) in object["properties"].as_object().unwrap() {
                // The word for the kind of a variant: the variant is described.
                let is_kind = property.get("const").is_some_and(Value::is_string) && object["description"].is_string();
                assert!(property["description"].is_string() || is_kind, "{verb}: `{key}` is not described: {property}");
            }
        });
    }
}

fn each_object(schema: &Value, check: &mut dyn FnMut(&Value)) {
    match schema {
        Value::Object(keys) => {
            if keys.get("properties").is_some_and(Value::is_object) {
                check(schema);
            }
            keys.values().for_each(|value| each_object(value, check));
        }
        Value::Array(values) => values.iter().for_each(|value| each_object(value, check)),
        _ => {}
    }
}

/// A document with one more key, at any depth, or with one key less, is not valid.
#[test]
fn an_undocumented_key_and_a_missing_one_are_found() {
    let output = edgeward(&["catalog", "cn-hangzhou", "--format", "json"]);
    let good: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(errors("catalog", &good), Vec::<String>::new());
    for place in ["", "/documents/0", "/regions/0", "/regions/0/oss/0", "/regions/0/registry"] {
        let mut more = good.clone();
        more.pointer_mut(place).unwrap()["undocumented"] = json!(1);
        assert!(!errors("catalog", &more).is_empty(), "{place}");
        for key in good.pointer(place).unwrap().as_object().unwrap().keys() {
            let mut less = good.clone();
            less.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(key);
            assert!(!errors("catalog", &less).is_empty(), "{place}/{key}");
        }
    }
    // The kinds of a reason have keys of their own.
    let reason = json!({"kind": "chain-policy", "chain": "input", "text": "why"});
    let packet = json!({"hook": "input", "from": "::", "to": "::", "proto": 6, "state": "new", "loopback": false});
    let with = |reason: &Value| json!({"version": 1, "verdict": "drop", "flow": null, "chain": "input", "packet": packet, "because": [reason]});
    assert_eq!(errors("explain", &with(&reason)), Vec::<String>::new());
    for (key, value) in [("path", json!([])), ("kind", json!("rule")), ("kind", json!("else"))] {
        let mut other = reason.clone();
        other[key] = value;
        assert!(!errors("explain", &with(&other)).is_empty(), "{other}");
    }
}

#[test]
fn a_verb_without_json_is_told_from_one_with() {
    for verb in ["compile", "aply", "completions", ""] {
        let output = edgeward(&["schema", "--of", verb]);
        assert_eq!(output.status.code(), Some(2), "{verb}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("apply, ") && said.contains("status"), "{said}");
        assert_eq!(said.contains("did you mean `apply`?"), verb == "aply", "{said}");
    }
}
