//! The Terraform file against the schema of the provider: arguments, enumerations, variables, order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Site;

/// All kinds of transit, with the types of resources that each has.
const KINDS: &[(&str, &[&str])] = &[
    ("ecr", &["alicloud_express_connect_router_vpc_association", "alicloud_route_entry"]),
    ("cen", &["alicloud_cen_transit_router_route_entry", "alicloud_route_entry"]),
    ("cen-basic", &["alicloud_cen_route_service", "alicloud_route_entry"]),
    ("direct", &["alicloud_route_entry"]),
    ("vpn", &["alicloud_route_entry"]),
];

fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string("fixtures/devices/alicloud-provider-schema.json").unwrap()).unwrap()
}

/// Every string in a value.
fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|one| strings(one, found)),
        Value::Object(map) => map.values().for_each(|one| strings(one, found)),
        _ => {}
    }
}

/// Arguments, required ones and enumerations are those of the schema.
fn check_arguments(schema: &Value, kind: &str, arguments: &serde_json::Map<String, Value>) {
    let known = schema["resources"][kind].as_object().unwrap_or_else(|| panic!("{kind} is not in the fixture"));
    for (name, value) in arguments.iter().filter(|(name, _)| *name != "depends_on") {
        let argument = known.get(name).unwrap_or_else(|| panic!("{kind} has no `{name}`"));
        let is_settable = argument["required"] == true || argument["optional"] == true;
        assert!(is_settable && argument["deprecated"] == false, "{kind}.{name}");
        assert_eq!(value.is_array(), argument["type"] == "List", "{kind}.{name}");
        // The older resource has the values of the newer one.
        let values = match (kind, &**name) {
            ("alicloud_route_entry", "nexthop_type") => &schema["resources"]["alicloud_vpc_route_entry"][name]["oneof"],
            _ => &argument["oneof"],
        };
        if let Some(values) = values.as_array() {
            assert!(values.contains(value), "{kind}.{name}: {value}");
        }
    }
    for (name, _) in known.iter().filter(|(_, argument)| argument["required"] == true) {
        assert!(arguments.contains_key(name), "{kind} needs `{name}`");
    }
}

/// The entries of one table form a chain: no two are made at once.
fn check_chain(entries: &BTreeMap<String, Option<String>>) {
    let first = entries.values().filter(|before| before.is_none()).count();
    let named: BTreeSet<&String> = entries.values().flatten().collect();
    assert_eq!((first, named.len()), (1, entries.len() - 1), "{entries:#?}");
    assert!(named.iter().all(|name| entries.contains_key(*name)), "{entries:#?}");
}

/// The chains, the resources and what is learned, of one kind of transit.
fn check(kind: &str, types: &[&str], ids: &str) -> Value {
    let schema = schema();
    let path = format!("path:\n  transit: {{kind: {kind}{ids}}}\n");
    let site = Site::dual_stack("express-connect-terway-edge", &path);
    let document: Value = serde_json::from_str(&site.print("routes", &["--format", "terraform"])).unwrap();
    let resources = document["resource"].as_object().unwrap();
    assert_eq!(resources.keys().map(String::as_str).collect::<Vec<_>>(), types, "{kind}");
    let mut tables: BTreeMap<String, BTreeMap<String, Option<String>>> = BTreeMap::new();
    for (resource, all) in resources {
        for (name, arguments) in all.as_object().unwrap() {
            let arguments = arguments.as_object().unwrap();
            check_arguments(&schema, resource, arguments);
            let before = arguments.get("depends_on").map(|list| list[0].as_str().unwrap().to_owned());
            let element = name.split('_').next().unwrap().to_owned();
            tables.entry(element).or_default().insert(format!("{resource}.{name}"), before);
        }
    }
    tables.values().for_each(check_chain);

    // Every variable that is used is declared, and the other way round.
    let mut texts = Vec::new();
    strings(&document["resource"], &mut texts);
    let used: BTreeSet<&str> = texts.iter().filter_map(|text| text.strip_prefix("${var.")?.strip_suffix('}')).collect();
    let declared: BTreeSet<&str> =
        document["variable"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(used, declared, "{kind}");
    // What to give is said of each.
    for (_, variable) in document["variable"].as_object().into_iter().flatten() {
        let description = variable["description"].as_str().unwrap();
        assert!(description.contains(" (the ") || description.starts_with("The id of the "), "{description}");
    }

    // No route is left out: it has a resource, or is said to be learned.
    strings(&document["//"], &mut texts);
    let routes: Value = serde_json::from_str(&site.print("routes", &["--format", "json"])).unwrap();
    for element in routes["elements"].as_array().unwrap().iter().filter(|one| one["element"] != "core-switch") {
        for route in element["routes"].as_array().unwrap() {
            let prefix = route["prefix"].as_str().unwrap();
            let word = |text: &String| text.split([' ', ',']).any(|word| word.trim_end_matches('.') == prefix);
            assert!(texts.iter().any(word), "{kind} {} {prefix}", element["element"]);
        }
    }
    document
}

#[test]
fn resources_are_those_of_the_provider() {
    for (kind, types) in KINDS {
        check(kind, types, "");
    }
}

#[test]
fn ids_of_the_policy_are_no_variables() {
    let ids = ", id: tr-1, route-table: vtb-tr, vpc-attachment: attach-vpc, vbr-attachment: attach-vbr";
    let document = check("cen", KINDS[1].1, &format!("{ids}}}\n  vpc: {{id: vpc-1, route-table: vtb-vpc"));
    let entry = &document["resource"]["alicloud_route_entry"]["vpc_down_10_0_0_0_8"];
    assert_eq!((&entry["route_table_id"], &entry["nexthop_id"]), (&"vtb-vpc".into(), &"attach-vpc".into()));
    assert_eq!(entry["nexthop_type"], "Attachment");
    let entry = &document["resource"]["alicloud_cen_transit_router_route_entry"]["transit_down_10_0_0_0_8"];
    assert_eq!(entry["transit_router_route_entry_next_hop_id"], "attach-vbr");
    let left: Vec<&String> = document["variable"].as_object().unwrap().keys().collect();
    assert_eq!(left, ["path_vbr_route_table", "vbr_to_data_centre"]);
}

#[test]
fn terraform_has_no_core_switch_and_no_undo() {
    let site = Site::new("express-connect-flannel", "");
    for (arguments, message) in [
        (&["--element", "core-switch"][..], "`--format terraform` is for the cloud's devices, not for `core-switch`"),
        (&["--undo"], "`terraform destroy` removes what the file has"),
    ] {
        let output = site.run("routes", &[&["--format", "terraform"], arguments].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(message), "{said}");
    }
    let public: Value =
        serde_json::from_str(&Site::new("public-flannel", "").print("routes", &["--format", "terraform"])).unwrap();
    assert!(public["resource"].is_null() && public["//"].to_string().contains("There are no routes"), "{public:#}");
}

/// Where the program is, it reads the file; the provider is not asked.
#[test]
fn terraform_reads_the_file() {
    // It does not ask for news of itself.
    let terraform = |arguments: &[&str], folder: &Path| {
        Command::new("terraform").args(arguments).current_dir(folder).env("CHECKPOINT_DISABLE", "1").output()
    };
    let Ok(version) = terraform(&["version"], Path::new(".")) else {
        return eprintln!("skipped: terraform is not installed");
    };
    assert!(version.status.success(), "{version:?}");
    for (kind, _) in KINDS {
        let site = Site::dual_stack("express-connect-terway-edge", &format!("path: {{transit: {{kind: {kind}}}}}\n"));
        let module = site.folder.path().join("module");
        fs::create_dir(&module).unwrap();
        fs::write(module.join("routes.tf.json"), site.print("routes", &["--format", "terraform"])).unwrap();
        let read = || terraform(&["providers", "-no-color"], &module).unwrap();
        let output = read();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains("aliyun/alicloud"), "{said}");
        fs::write(module.join("routes.tf.json"), "{\"resource\": {\"alicloud_route_entry\": 1}}").unwrap();
        assert!(!read().status.success(), "terraform takes anything");
    }
}
