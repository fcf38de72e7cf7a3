//! The rules as CSV, for a spreadsheet.

use super::{GroupRules, ports};
use crate::intent::Origin;
use crate::report::csv;

const HEAD: [&str; 10] =
    ["direction", "protocol", "port-range", "cidr", "policy", "priority", "flows", "inferred", "document", "section"];

impl GroupRules<'_> {
    /// The list as CSV: a record for each rule.
    pub fn csv(&self) -> String {
        let head = HEAD.map(str::to_owned).to_vec();
        let records = self.group.rules.iter().map(|derived| {
            let rule = &derived.rule;
            let (document, section) = match self.origin(derived) {
                Some(Origin::Catalog { source, section, .. }) => (source, section.unwrap_or_default()),
                Some(origin) => (self.evidence.citation(&origin), String::new()),
                None => Default::default(),
            };
            vec![
                rule.way.word().to_owned(),
                rule.protocol.word().to_owned(),
                ports(derived),
                rule.cidr(),
                rule.permission.word().to_owned(),
                rule.priority.to_string(),
                derived.flows.join(", "),
                if self.is_inferred(derived) { "yes" } else { "no" }.to_owned(),
                document,
                section,
            ]
        });
        let records: Vec<Vec<String>> = [head].into_iter().chain(records).collect();
        csv::records(records.iter().map(Vec::as_slice))
    }
}
