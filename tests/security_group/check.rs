//! Groups that exist: what `DescribeSecurityGroupAttribute` gives, held against a policy.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::{FLANNEL, edgeward, json as printed_json, printed};

/// The answer of the API for the rules of a policy, as the API writes them: in capitals, with empty fields.
fn export(group: &Value) -> Vec<Value> {
    let rule = |rule: &Value| {
        let text = |key: &str| rule[key].as_str().unwrap().to_owned();
        let (egress, v6) = (rule["direction"] == "egress", text("cidr").contains(':'));
        let cidr = |end: bool, family: bool| if end && family == v6 { text("cidr") } else { String::new() };
        json!({
            "Direction": text("direction"), "IpProtocol": text("protocol").to_uppercase(), "PortRange": text("port-range"),
            "SourcePortRange": "", "SourceGroupId": "", "DestGroupId": "", "SourcePrefixListId": "", "DestPrefixListId": "",
            "SourceCidrIp": cidr(!egress, false), "Ipv6SourceCidrIp": cidr(!egress, true),
            "DestCidrIp": cidr(egress, false), "Ipv6DestCidrIp": cidr(egress, true),
            "Policy": "Accept", "Priority": "1", "NicType": "intranet", "Description": "", "CreateTime": "2026-11-28T00:00:00Z",
        })
    };
    group["rules"].as_array().unwrap().iter().map(rule).collect()
}

fn answer(rules: &[Value]) -> Value {
    json!({
        "RequestId": "0", "RegionId": "cn-hangzhou", "SecurityGroupId": "sg-bp1x", "VpcId": "vpc-bp1x",
        "InnerAccessPolicy": "Accept", "NextToken": "", "Permissions": {"Permission": rules},
    })
}

fn ingress(protocol: &str, ports: &str, cidr: &str) -> Value {
    json!({"Direction": "ingress", "IpProtocol": protocol, "PortRange": ports, "SourceCidrIp": cidr, "Policy": "Accept",
           "Priority": 1})
}

fn egress(protocol: &str, ports: &str, cidr: &str) -> Value {
    json!({"Direction": "egress", "IpProtocol": protocol, "PortRange": ports, "DestCidrIp": cidr, "Policy": "Accept",
           "Priority": 1})
}

/// What a group differs in: the exit code, and the flows or rules that are shut and open.
#[track_caller]
fn checked(folder: &Path, answer: &Value, more: &[&str]) -> (i32, Vec<String>, Vec<String>) {
    let file = folder.join("group.json");
    fs::write(&file, answer.to_string()).unwrap();
    let output = edgeward(&[&[FLANNEL, "--check", file.to_str().unwrap(), "--format", "json"], more].concat());
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let words = |list: &str| {
        let rows = printed["check"][list].as_array().unwrap();
        let words = rows.iter().map(|row| match (&row["flow"], &row["rule"]) {
            (Value::String(flow), _) => format!("{} {flow}", row["direction"].as_str().unwrap()),
            (_, Value::Number(rule)) => format!("{} rule {rule}", row["direction"].as_str().unwrap()),
            _ => format!("{} -", row["direction"].as_str().unwrap()),
        });
        words.collect()
    };
    (output.status.code().unwrap(), words("shuts"), words("opens"))
}

#[test]
fn a_group_with_the_rules_of_the_policy_has_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let rules = export(&printed_json(&[FLANNEL]));
    let none = (0, Vec::new(), Vec::new());
    assert_eq!(checked(folder.path(), &answer(&rules), &[]), none);
    let mut reversed = rules.clone();
    reversed.reverse();
    assert_eq!(checked(folder.path(), &answer(&reversed), &["--type", "basic"]), none);
    let file = folder.path().join("group.json");
    let text = printed(&[FLANNEL, "--check", file.to_str().unwrap()]);
    assert!(text.ends_with(&format!("`{FLANNEL}`: no difference\n")), "{text}");
    // Numbers in place of texts, absent fields, other capitals, and one rule in place of two.
    let mut other: Vec<Value> =
        rules.iter().filter(|rule| !rule["PortRange"].as_str().unwrap().contains("102")).cloned().collect();
    other.push(egress("tcp", "10250/10250", "10.0.0.0/9"));
    other.push(egress("Tcp", "10250/10250", "10.128.0.0/9"));
    other.push(egress("TCP", "10255/10255", "10.0.0.0/8"));
    assert_eq!(checked(folder.path(), &answer(&other), &[]), none);
    // Rules for other hosts of the cloud are not the policy's matter.
    let mut more = rules;
    more.push(ingress("ALL", "-1/-1", "192.168.0.0/16"));
    more.push(json!({"Direction": "ingress", "IpProtocol": "ALL", "PortRange": "-1/-1", "SourceGroupId": "sg-bp1x"}));
    assert_eq!(checked(folder.path(), &answer(&more), &[]), none);
    let text = printed(&[FLANNEL, "--check", file.to_str().unwrap()]);
    assert!(text.contains("1 rule with another security group"), "{text}");
}

#[test]
fn what_is_shut_is_named_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let rules = export(&printed_json(&[FLANNEL]));
    for (index, rule) in rules.iter().enumerate() {
        let mut less = rules.clone();
        less.remove(index);
        let (code, shuts, opens) = checked(folder.path(), &answer(&less), &[]);
        assert_eq!((code, shuts.len(), opens.len()), (1, 1, 0), "{rule} {shuts:?} {opens:?}");
        assert!(shuts[0].starts_with(rule["Direction"].as_str().unwrap()), "{rule} {shuts:?}");
    }
    let file = folder.path().join("group.json");
    fs::write(&file, answer(&rules[1..]).to_string()).unwrap();
    let output = edgeward(&[FLANNEL, "--check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("- kubelet\n") && text.contains("tcp/10250 to 10.0.0.0/8"), "{text}");
    // A rule that drops wins a tie, and loses against a smaller number.
    let mut dropped = rules.clone();
    let mut drop = ingress("TCP", "6000/7000", "10.7.0.0/16");
    drop["Policy"] = "Drop".into();
    dropped.push(drop.clone());
    assert_eq!(checked(folder.path(), &answer(&dropped), &[]), (1, vec!["ingress api-server".to_owned()], Vec::new()));
    drop["Priority"] = "2".into();
    *dropped.last_mut().unwrap() = drop;
    assert_eq!(checked(folder.path(), &answer(&dropped), &[]).0, 0);
    // A rule for one of the group's addresses is not one for all.
    let mut narrow = rules;
    let api = narrow.iter_mut().find(|rule| rule["PortRange"] == "6443/6443").unwrap();
    api["DestCidrIp"] = "192.168.99.1".into();
    assert_eq!(checked(folder.path(), &answer(&narrow), &[]), (1, vec!["ingress api-server".to_owned()], Vec::new()));
}

#[test]
fn what_is_open_beyond_is_named_by_its_rule() {
    let folder = tempfile::tempdir().unwrap();
    let rules = export(&printed_json(&[FLANNEL]));
    let with = |rule: Value| [rules.clone(), vec![rule]].concat();
    for (rule, way) in [
        (ingress("TCP", "22/22", "0.0.0.0/0"), "ingress"),
        (egress("ALL", "-1/-1", "0.0.0.0/0"), "egress"),
        (egress("UDP", "8473/8473", "10.9.9.9"), "egress"),
        (json!({"Direction": "ingress", "IpProtocol": "ICMPv6", "Ipv6SourceCidrIp": "::/0"}), "ingress"),
    ] {
        // No address of the VPC is IPv6, so its packets do not come there.
        let is_open = rule["Ipv6SourceCidrIp"].is_null();
        let opens = if is_open { vec![format!("{way} rule 10")] } else { Vec::new() };
        assert_eq!(checked(folder.path(), &answer(&with(rule.clone())), &[]), (0, Vec::new(), opens), "{rule}");
    }
    // What a basic group lets out anyway is not beyond what the policy's own would.
    let all = answer(&with(egress("ALL", "-1/-1", "0.0.0.0/0")));
    assert_eq!(checked(folder.path(), &all, &["--type", "basic"]), (0, Vec::new(), Vec::new()));
    // One that drops the rest is enterprise's equal.
    let mut last = egress("ALL", "-1/-1", "0.0.0.0/0");
    (last["Policy"], last["Priority"]) = ("Drop".into(), "100".into());
    assert_eq!(checked(folder.path(), &answer(&with(last)), &["--type", "basic"]), (0, Vec::new(), Vec::new()));
    fs::write(folder.path().join("group.json"), answer(&with(ingress("TCP", "22/22", "0.0.0.0/0"))).to_string())
        .unwrap();
    let text = printed(&[FLANNEL, "--check", folder.path().join("group.json").to_str().unwrap()]);
    assert!(text.contains("+ rule 10: ingress tcp 22/22 from 0.0.0.0/0\n"), "{text}");
    assert!(text.contains("ingress tcp/22 from anything but 192.168.0.0/16\n"), "{text}");
}

#[test]
fn what_cannot_be_compared_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("group.json");
    let refused = |text: &str, said: &str| {
        fs::write(&file, text).unwrap();
        let output = edgeward(&[FLANNEL, "--check", file.to_str().unwrap()]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{text}: {error}");
        assert!(error.contains(said), "{text}: {error}");
    };
    refused("", "line 1");
    refused("{\"Permissions\": []}", "DescribeSecurityGroupAttribute");
    refused("[]", "DescribeSecurityGroupAttribute");
    let mut part = answer(&[]);
    part["NextToken"] = "AAAA".into();
    refused(&part.to_string(), "NextToken");
    let rule = |key: &str, value: Value| {
        let mut rule = ingress("TCP", "443/443", "10.0.0.0/8");
        rule[key] = value;
        answer(&[ingress("TCP", "443/443", "10.0.0.0/8"), rule]).to_string()
    };
    for (key, value, said) in [
        ("Direction", json!("sideways"), "`Direction` is `sideways`"),
        ("IpProtocol", json!("ESP"), "`IpProtocol` is `ESP`"),
        ("PortRange", json!("443"), "`PortRange` is `443`"),
        ("PortRange", json!("9/8"), "`PortRange` is `9/8`"),
        ("PortRange", json!("0/8"), "`PortRange` is `0/8`"),
        ("SourceCidrIp", json!("10.0.0.0/33"), "`SourceCidrIp` is `10.0.0.0/33`"),
        ("SourceCidrIp", json!(""), "no address at the other end"),
        ("SourceCidrIp", json!("\u{1b}[31m"), "\\u{1b}[31m"),
        ("DestCidrIp", json!("2001:db8::/32"), "`DestCidrIp`"),
        ("Ipv6DestCidrIp", json!("2001:db8::/32"), "two families"),
        ("Policy", json!("Maybe"), "`Policy` is `Maybe`"),
        ("Priority", json!(0), "`Priority` is not a number from 1 to 100"),
        ("Priority", json!("101"), "`Priority` is not a number from 1 to 100"),
        ("NicType", json!("internet"), "classic network"),
        ("SourcePrefixListId", json!("pl-1"), "`SourcePrefixListId` is `pl-1`"),
        ("PortRangeListId", json!("prl-1"), "port list `prl-1`"),
    ] {
        refused(&rule(key, value), "rule 2 of `Permissions.Permission`: ");
        if key != "DestCidrIp" {
            refused(&fs::read_to_string(&file).unwrap(), said);
        }
    }
    // All of them are reported.
    let many: Vec<Value> = (0..25).map(|_| ingress("ESP", "-1/-1", "10.0.0.0/8")).collect();
    refused(&answer(&many).to_string(), "and 5 rules more");
    let output = edgeward(&[FLANNEL, "--check", file.to_str().unwrap(), "--format", "csv"]);
    assert_eq!(output.status.code(), Some(2));
}
