//! Bad rulesets in nft JSON.

use edgeward::diag::Code::{RulesetSyntax, UnknownConstruct};

use super::Bad;

/// Statements in JSON.
pub const STATEMENTS: &[Bad] = &[
    (RulesetSyntax, "‸null"),
    (RulesetSyntax, r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ‸[]}}"#),
    (RulesetSyntax, r#"‸"accept""#),
    (RulesetSyntax, r#"‸{"accept": null, "drop": null}"#),
    (UnknownConstruct, r#"{‸"return": null}"#),
    (UnknownConstruct, r#"{‸"continue": null}"#),
    (UnknownConstruct, r#"{‸"mangle": {}}"#),
    (RulesetSyntax, r#"{"accept": ‸{}}"#),
    (RulesetSyntax, r#"{"notrack": ‸true}"#),
    (UnknownConstruct, r#"{"accept": null}, ‸{"drop": null}"#),
    (
        UnknownConstruct,
        r#"{"counter": "c"}, ‸{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}"#,
    ),
    (UnknownConstruct, r#"{‸"counter": {"packets": 0, "bytes": 0}}"#),
    (UnknownConstruct, r#"{‸"counter": null}"#),
    (RulesetSyntax, r#"{"counter": ‸"missing"}"#),
    (UnknownConstruct, r#"‸{"limit": {"rate": 10, "per": "second"}}"#),
    (UnknownConstruct, r#"{"limit": {"rate": 10, "per": "second", ‸"inv": true}}, {"log": {"prefix": "x"}}"#),
    (UnknownConstruct, r#"{"limit": {"rate": 10, "per": ‸"week"}}, {"log": {"prefix": "x"}}"#),
    (UnknownConstruct, r#"{"limit": {"rate": 10, "burst": ‸0, "per": "second"}}, {"log": {"prefix": "x"}}"#),
    (UnknownConstruct, r#"{"limit": {"rate": 10, ‸"rate_unit": "mbytes", "per": "second"}}, {"log": {"prefix": "x"}}"#),
    (RulesetSyntax, r#"{"limit": {"rate": ‸1.5, "per": "second"}}, {"log": {"prefix": "x"}}"#),
    (RulesetSyntax, r#"{"limit": {"rate": ‸-1, "per": "second"}}, {"log": {"prefix": "x"}}"#),
    (UnknownConstruct, r#"{"limit": {"rate": 10, "per": "second"}}, {"log": ‸null}"#),
    (UnknownConstruct, r#"{"limit": {"rate": 10, "per": "second"}}, {"log": {"prefix": "x", ‸"level": "info"}}"#),
    (RulesetSyntax, r#"{"limit": {"rate": 10, "per": "second"}}, {"log": {"prefix": ‸"x\"y"}}"#),
    (RulesetSyntax, r#"{"limit": {"rate": 10, "per": "second"}}, {"log": {"prefix": ‸"x\ny"}}"#),
    (UnknownConstruct, r#"{‸"reject": null}"#),
    (UnknownConstruct, r#"‸{"reject": {"type": "tcp reset"}}"#),
    (UnknownConstruct, r#"‸{"reject": {"type": "icmpx", "expr": "port-unreachable"}}"#),
    (RulesetSyntax, r#"{"jump": ‸{}}"#),
    (RulesetSyntax, r#"{"jump": {"target": ‸"missing"}}"#),
    (RulesetSyntax, r#"{"jump": {"target": ‸"base"}}"#),
    (RulesetSyntax, r#"{"goto": {"target": ‸"here"}}"#),
    (RulesetSyntax, r#"{"goto": {"target": ‸null}}"#),
    (UnknownConstruct, r#"{"goto": {"target": "a", ‸"flags": []}}"#),
    (UnknownConstruct, r#"{"match": {"op": ‸"!=", "left": {"meta": {"key": "l4proto"}}, "right": 4}}"#),
    (UnknownConstruct, r#"{"match": {"op": ‸"<", "left": {"meta": {"key": "l4proto"}}, "right": 4}}"#),
    (RulesetSyntax, r#"{"match": ‸{"left": {"meta": {"key": "l4proto"}}, "right": 4}}"#),
    (UnknownConstruct, r#"‸{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": [4]}}"#),
    (RulesetSyntax, r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": ‸4.0}}"#),
    (RulesetSyntax, r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": ‸true}}"#),
    (UnknownConstruct, r#"{"match": {"op": "==", "left": ‸{"meta": {"key": "mark"}}, "right": 4}}"#),
    (
        UnknownConstruct,
        r#"{"match": {"op": "==", "left": {"ct": {"key": "state", ‸"dir": "original"}}, "right": "new"}}"#,
    ),
    (UnknownConstruct, r#"{"match": {"op": "==", "left": {‸"&": [{"meta": {"key": "mark"}}, 1]}, "right": 1}}"#),
    (UnknownConstruct, r#"{"match": {"op": "==", "left": {‸"fib": {}}, "right": 1}}"#),
    (UnknownConstruct, r#"‸{"match": {"op": "==", "left": {"ct": {"key": "state"}}, "right": ["new", "related"]}}"#),
    (
        UnknownConstruct,
        r#"‸{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "flags"}}, "right": ["rst", "ack"]}}"#,
    ),
    (
        UnknownConstruct,
        r#"‸{"match": {"op": "in", "left": {"payload": {"protocol": "tcp", "field": "flags"}}, "right": {"set": ["rst", "ack"]}}}"#,
    ),
    (RulesetSyntax, r#"{"match": {"op": "==", "left": {"payload": ‸{"protocol": "tcp"}}, "right": 1}}"#),
    (
        UnknownConstruct,
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport", ‸"tunnel": "vxlan"}}, "right": 1}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": ‸"ssh"}}"#,
    ),
    (
        RulesetSyntax,
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": ‸{"set": []}}}"#,
    ),
    (
        RulesetSyntax,
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"range": ‸[1]}}}"#,
    ),
    (
        RulesetSyntax,
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"range": [‸2, 1]}}}"#,
    ),
    (
        RulesetSyntax,
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": ‸"@missing"}}"#,
    ),
    (
        RulesetSyntax,
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": ‸"@v6"}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {‸"prefix": {"addr": "10.0.0.0", "len": 8}}}}"#,
    ),
    (UnknownConstruct, r#"{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": ‸"@m"}}"#),
    (UnknownConstruct, r#"{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": {"set": [[4, ‸{"accept": null}]]}}}"#),
    (RulesetSyntax, r#"‸{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": {"set": []}}}"#),
    (RulesetSyntax, r#"{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": {"set": [‸4]}}}"#),
    (
        RulesetSyntax,
        r#"{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": {"set": [[4, {"jump": {"target": "a"}}], [‸"ipencap", {"jump": {"target": "a"}}]]}}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"vmap": {"key": ‸{"ct": {"key": "state"}}, "data": {"set": [["new", {"jump": {"target": "a"}}]]}}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"vmap": {"key": {"meta": {"key": "l4proto"}}, "data": {"set": [[{"elem": {"val": 4, ‸"counter": null}}, {"jump": {"target": "a"}}]]}}}"#,
    ),
];

/// Objects in JSON.
pub const OBJECTS: &[Bad] = &[
    (UnknownConstruct, r#"{‸"map": {}}"#),
    (RulesetSyntax, r#"{"counter": {"family": "inet", "table": "edgeward", "name": "d", "packets": ‸{}}}"#),
    (UnknownConstruct, r#"{"add": {‸"element": {}}}"#),
    (UnknownConstruct, r#"{‸"insert": {}}"#),
    (UnknownConstruct, r#"{‸"flush": {"ruleset": null}}"#),
    (UnknownConstruct, r#"{"delete": {‸"chain": {}}}"#),
    (UnknownConstruct, r#"{"table": {"family": "inet", "name": "edgeward", ‸"flags": "dormant"}}"#),
    (RulesetSyntax, r#"{"table": ‸{"name": "edgeward"}}"#),
    (UnknownConstruct, r#"{"counter": {"family": "inet", "table": ‸"other", "name": "d"}}"#),
    (RulesetSyntax, r#"{"counter": {"family": "inet", "table": "edgeward", "name": ‸"c"}}"#),
    (UnknownConstruct, r#"{"counter": {"family": "inet", "table": "edgeward", "name": "d", ‸"over": 1}}"#),
    (RulesetSyntax, r#"{"set": {"family": "inet", "table": "edgeward", "name": ‸"v4", "type": "ipv4_addr"}}"#),
    (RulesetSyntax, r#"{"set": ‸{"family": "inet", "table": "edgeward", "name": "s"}}"#),
    (
        UnknownConstruct,
        r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": ‸["ipv4_addr", "inet_service"]}}"#,
    ),
    (UnknownConstruct, r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": ‸{"typeof": {}}}}"#),
    (UnknownConstruct, r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": ‸"mark"}}"#),
    (
        UnknownConstruct,
        r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": "ipv4_addr", "flags": ["interval", ‸"timeout"]}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": "ipv4_addr", ‸"auto-merge": true}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": "ipv4_addr", ‸"timeout": 5}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": "ipv4_addr", ‸"stmt": [{"counter": null}]}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": "ipv4_addr", "elem": [{"elem": {"val": "10.0.0.1", ‸"timeout": 5}}]}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": "ipv4_addr", "elem": [{‸"concat": []}]}}"#,
    ),
    (
        RulesetSyntax,
        r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": "ipv4_addr", "elem": ["10.0.0.1", ‸"10.0.0.0/8"]}}"#,
    ),
    (
        RulesetSyntax,
        r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": "ipv4_addr", "elem": [‸{"prefix": {"addr": "10.0.0.0", "len": 8}}]}}"#,
    ),
    (
        RulesetSyntax,
        r#"{"set": {"family": "inet", "table": "edgeward", "name": "s", "type": "ipv4_addr", "elem": [‸5]}}"#,
    ),
    (RulesetSyntax, r#"{"chain": {"family": "inet", "table": "edgeward", "name": ‸"a"}}"#),
    (RulesetSyntax, r#"{"chain": ‸{"family": "inet", "table": "edgeward", "name": "x", "policy": "drop"}}"#),
    (
        RulesetSyntax,
        r#"{"chain": ‸{"family": "inet", "table": "edgeward", "name": "x", "type": "filter", "hook": "forward"}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"chain": {"family": "inet", "table": "edgeward", "name": "x", "type": "filter", "hook": ‸"forward", "prio": 10}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"chain": {"family": "inet", "table": "edgeward", "name": "x", "type": "filter", "hook": ‸"input", "prio": 0}}"#,
    ),
    (UnknownConstruct, r#"{"chain": {"family": "inet", "table": "edgeward", "name": "x", ‸"dev": "eth0"}}"#),
    (UnknownConstruct, r#"{"chain": {"family": "ip", "table": ‸"edgeward", "name": "x"}}"#),
    (
        RulesetSyntax,
        r#"{"rule": ‸{"family": "inet", "table": "edgeward", "chain": "missing", "expr": [{"accept": null}]}}"#,
    ),
    (RulesetSyntax, r#"{"rule": ‸{"family": "inet", "table": "edgeward", "chain": "a", "expr": []}}"#),
    (RulesetSyntax, r#"{"rule": ‸{"family": "inet", "table": "edgeward", "chain": "a"}}"#),
    (
        RulesetSyntax,
        r#"{"rule": {"family": "inet", "table": "edgeward", "chain": "a", "expr": [{"accept": null}], "comment": ‸5}}"#,
    ),
    (
        RulesetSyntax,
        r#"{"rule": {"family": "inet", "table": "edgeward", "chain": "a", "expr": [{"accept": null}], "comment": ‸"a\"b"}}"#,
    ),
    (
        UnknownConstruct,
        r#"{"rule": {"family": "inet", "table": "edgeward", "chain": "a", "expr": [{"accept": null}], ‸"index": 0}}"#,
    ),
    (
        RulesetSyntax,
        r#"{"rule": {"family": "inet", "table": "edgeward", "chain": "a", "expr": [{"accept": null}], ‸"expr": []}}"#,
    ),
];
