//! Rulesets that edgeward must refuse, each with the code of the diagnostic. `‸` marks its place.
//!
//! The lists that are named after a part of a table are put into a valid table; see [`in_table`].

pub mod json;
pub mod text;

use edgeward::diag::Code;

/// A bad ruleset: the code of its diagnostic, and the text.
pub type Bad = (Code, &'static str);

/// A valid table in text with another part, and with a rule in its chain `here`.
pub fn in_table(part: &str, rule: &str) -> String {
    format!(
        "table inet edgeward {{\n\tcounter c {{ }}\n\tset v4 {{ type ipv4_addr; }}\n\tset v6 {{ type ipv6_addr; }}\n\
         \tchain a {{ }}\n\tchain b {{ }}\n\tchain base {{ type filter hook input priority 0; }}\n\
         \tchain here {{\n\t\t{rule}\n\t}}\n\t{part}\n}}\n"
    )
}

/// The same in JSON.
pub fn in_json_table(object: &str, statements: &str) -> String {
    let ours = r#""family": "inet", "table": "edgeward""#;
    format!(
        "{{\"nftables\": [\n{{\"table\": {{\"family\": \"inet\", \"name\": \"edgeward\"}}}},\n\
         {{\"counter\": {{{ours}, \"name\": \"c\"}}}},\n\
         {{\"set\": {{{ours}, \"name\": \"v4\", \"type\": \"ipv4_addr\"}}}},\n\
         {{\"set\": {{{ours}, \"name\": \"v6\", \"type\": \"ipv6_addr\"}}}},\n\
         {{\"chain\": {{{ours}, \"name\": \"a\"}}}},\n{{\"chain\": {{{ours}, \"name\": \"b\"}}}},\n\
         {{\"chain\": {{{ours}, \"name\": \"base\", \"type\": \"filter\", \"hook\": \"input\", \"prio\": 0}}}},\n\
         {{\"chain\": {{{ours}, \"name\": \"here\"}}}},\n\
         {{\"rule\": {{{ours}, \"chain\": \"here\", \"expr\": [{statements}]}}}},\n{object}\n]}}\n"
    )
}
