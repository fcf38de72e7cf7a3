//! The routes as CSV, for a spreadsheet.

use super::{RouteList, destination, hop};
use crate::report::csv;

const HEAD: [&str; 9] =
    ["element", "direction", "prefix", "next-hop", "flows", "from-dns", "standing", "document", "section"];

impl RouteList<'_> {
    /// The list as CSV: a record for each route.
    pub fn csv(&self) -> String {
        let head = HEAD.map(str::to_owned).to_vec();
        let records = self.tables().flat_map(|table| {
            table.routes.iter().map(|route| {
                let yes = |value: bool| if value { "yes" } else { "no" }.to_owned();
                vec![
                    table.element.word().to_owned(),
                    route.direction.word().to_owned(),
                    destination(route),
                    hop(&route.next_hop),
                    route.flows.iter().copied().collect::<Vec<_>>().join(", "),
                    yes(route.from_dns),
                    yes(route.row.standing),
                    route.row.source.value.clone(),
                    route.row.section.clone().unwrap_or_default(),
                ]
            })
        });
        let records: Vec<Vec<String>> = [head].into_iter().chain(records).collect();
        csv::records(records.iter().map(Vec::as_slice))
    }
}
