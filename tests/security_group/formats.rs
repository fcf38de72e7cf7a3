//! Every format has the same rules; what tools of the cloud read is what they take.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::{FLANNEL, TERWAY, json, printed, rows, written};

#[test]
fn csv_markdown_and_text_have_the_same_rules() {
    for policy in [FLANNEL, TERWAY] {
        let expected = rows(&json(&[policy]));
        let text = printed(&[policy, "--format", "csv"]);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        // A spreadsheet must not take a port range for a formula.
        let record = |record: csv::StringRecord| record.iter().take(4).collect::<Vec<_>>().join(" ").replace('\'', "");
        let records: Vec<String> = reader.records().map(|one| record(one.unwrap())).collect();
        assert_eq!(records, expected);
        let markdown = printed(&[policy, "--format", "markdown"]);
        let lines = markdown.lines().filter(|line| line.starts_with("| egress") || line.starts_with("| ingress"));
        let cells = |line: &str| {
            line.trim_matches('|')
                .split('|')
                .take(4)
                .map(|cell| cell.trim().trim_matches('`').to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(lines.map(|line| cells(line).join(" ")).collect::<Vec<_>>(), expected);
        let text = printed(&[policy]);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        for row in &expected {
            assert!(text.lines().any(|line| line.split_whitespace().take(4).eq(row.split(' '))), "{row}\n{text}");
        }
    }
}

/// A resource held against the arguments of the provider, as its source has them.
fn valid(resource: &serde_json::Map<String, Value>, arguments: &Value) {
    for (name, argument) in arguments.as_object().unwrap() {
        assert!(argument["required"] == false || resource.contains_key(name), "{name} is missing: {resource:#?}");
    }
    for (name, value) in resource {
        let argument = &arguments[name];
        assert!(argument["required"] == true || argument["optional"] == true, "{name} cannot be set");
        assert_eq!(argument["deprecated"], false, "{name}");
        match argument["type"].as_str() {
            Some("String") => assert!(value.is_string(), "{name}: {value}"),
            Some("Int") => assert!(value.is_i64(), "{name}: {value}"),
            other => panic!("{name}: {other:?}"),
        }
        if let Some(words) = argument["oneof"].as_array() {
            assert!(words.contains(value), "{name}: {value}");
        }
        if let Some(range) = argument["range"].as_array() {
            assert!(range[0].as_i64() <= value.as_i64() && value.as_i64() <= range[1].as_i64(), "{name}: {value}");
        }
    }
}

#[test]
fn terraform_resources_are_those_of_the_provider() {
    let schema = fs::read_to_string("fixtures/devices/alicloud-provider-schema.json").unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let arguments = &schema["resources"]["alicloud_security_group_rule"];
    let folder = tempfile::tempdir().unwrap();
    let six = "path: {vpc: {security-group: sg-bp1x}}\n";
    let dual = written(folder.path(), "express-connect-flannel", |text| {
        text.replace("vpc: [192.168.0.0/16]", "vpc: [192.168.0.0/16, \"2001:db8:c::/48\"]")
            .replace("hosts: [10.0.0.0/8]", "hosts: [10.0.0.0/8, \"2001:db8:a::/48\"]")
            + six
    });
    for (policy, has_id) in [(FLANNEL, false), (TERWAY, false), (dual.to_str().unwrap(), true)] {
        let document: Value = serde_json::from_str(&printed(&[policy, "--format", "terraform"])).unwrap();
        let resources = document["resource"]["alicloud_security_group_rule"].as_object().unwrap();
        let mut found = Vec::new();
        for (label, resource) in resources {
            assert!(label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{label}");
            let resource = resource.as_object().unwrap();
            valid(resource, arguments);
            let id = if has_id { "sg-bp1x" } else { "${var.security_group_id}" };
            assert_eq!((&resource["security_group_id"], &resource["nic_type"]), (&id.into(), &"intranet".into()));
            // One of them, never both.
            let cidrs: Vec<&Value> =
                ["cidr_ip", "ipv6_cidr_ip"].iter().filter_map(|name| resource.get(*name)).collect();
            let [cidr] = cidrs[..] else { panic!("{resource:#?}") };
            assert_eq!(resource.contains_key("ipv6_cidr_ip"), cidr.as_str().unwrap().contains(':'));
            let words = [&resource["type"], &resource["ip_protocol"], &resource["port_range"], cidr];
            found.push(words.map(|word| word.as_str().unwrap()).join(" "));
            let description = resource["description"].as_str().unwrap();
            assert!((1..=512).contains(&description.len()), "{description}");
        }
        let mut expected = rows(&json(&[policy]));
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(document["variable"]["security_group_id"]["type"].is_string(), !has_id);
        assert_eq!(expected.iter().any(|row| row.contains("icmpv6")), has_id);
    }
}

/// The script, run by a shell that finds a program `aliyun`, which notes its arguments.
#[test]
fn the_commands_of_the_cli_are_quoted_for_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("aliyun");
    fs::write(
        &program,
        "#!/bin/sh\nfor word; do printf '%s\\0' \"$word\"; done >> \"$NOTED\"\nprintf '\\n' >> \"$NOTED\"\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let noted = folder.path().join("noted");
    let run = |script: &str, id: Option<&str>| {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(script).env_clear().env("NOTED", &noted);
        shell.env("PATH", folder.path());
        id.map(|id| shell.env("SECURITY_GROUP_ID", id));
        shell.output().unwrap()
    };
    let script = printed(&[FLANNEL, "--format", "aliyun-cli"]);
    let output = run(&script, None);
    assert!(!output.status.success() && !noted.exists());
    assert!(String::from_utf8(output.stderr).unwrap().contains("path.vpc.security-group"));
    assert!(run(&script, Some("sg-bp1x")).status.success());
    let calls = fs::read_to_string(&noted).unwrap();
    let mut found = Vec::new();
    for call in calls.lines() {
        let words: Vec<&str> = call.trim_end_matches('\0').split('\0').collect();
        let options: BTreeMap<&str, &str> = words[2..].chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let (way, end) = match words[1] {
            "AuthorizeSecurityGroup" => ("ingress", "Source"),
            "AuthorizeSecurityGroupEgress" => ("egress", "Dest"),
            other => panic!("{other}"),
        };
        assert_eq!((words[0], options["--RegionId"], options["--SecurityGroupId"]), ("ecs", "cn-hangzhou", "sg-bp1x"));
        let of = |name: &str| options[format!("--Permissions.1.{name}").as_str()];
        assert_eq!((of("Policy"), of("Priority")), ("accept", "1"));
        assert!(of("Description").starts_with("edgeward hangzhou-flannel: "), "{call}");
        found.push(format!(
            "{way} {} {} {}",
            of("IpProtocol").to_lowercase(),
            of("PortRange"),
            of(&format!("{end}CidrIp"))
        ));
    }
    assert_eq!(found, rows(&json(&[FLANNEL])));
    // The id of the policy needs no variable.
    let own =
        written(folder.path(), "express-connect-flannel", |text| text + "path: {vpc: {security-group: sg-own}}\n");
    let script = printed(&[own.to_str().unwrap(), "--format", "aliyun-cli"]);
    fs::remove_file(&noted).unwrap();
    assert!(run(&script, None).status.success());
    assert_eq!(fs::read_to_string(&noted).unwrap().matches("sg-own").count(), 9);
}
