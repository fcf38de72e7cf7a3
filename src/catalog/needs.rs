//! What clusters need, and no document says where it is.

use crate::diag::Problems;
use crate::net::Traffic;
use crate::source::Spanned;
use crate::yaml::record;

use super::condition::SiteCondition;
use super::date::Date;
use super::ports::{PortRow, PortTraffic};
use super::regions::{Document, check_source};
use super::{bad_row, check_id};

record! {
    /// Something that every cluster of a kind needs from outside, and that only its operator can name.
    pub struct NeedRow {
        /// The id that a row of the operator's would have.
        pub id: Spanned<String>,
        /// What it is.
        pub purpose: String,
        /// What must hold of the site.
        pub when: SiteCondition,
        /// A peer to replace.
        pub peer: String,
        /// Protocols and destination ports.
        pub ports: Vec<PortRow>,
        /// The document.
        pub source: Spanned<String>,
        /// Whether the document does not say it explicitly.
        pub inferred: bool = false,
        /// When it was read.
        pub retrieved: Date,
    }
}

impl NeedRow {
    /// The traffic of the row to paste.
    pub fn traffic(&self) -> Traffic {
        Traffic::union_of(self.ports.iter().filter_map(|ports| match &ports.traffic {
            PortTraffic::Fixed(traffic) => Some(traffic),
            PortTraffic::Ssh | PortTraffic::Endpoint => None,
        }))
    }

    /// A row of `allow` in one line, with a peer to replace.
    pub fn allow_row(&self) -> String {
        let (id, peer, ports) = (&self.id.value, &self.peer, self.traffic());
        format!("- {{id: {id}, direction: outbound, peers: [{peer}], ports: [{ports}]}}")
    }
}

pub(super) fn check(needs: &[NeedRow], documents: &[Document], problems: &mut Problems) {
    for row in needs {
        check_source(documents, &row.source, problems);
        check_id(&row.id, "a flow id", problems);
        if row.traffic().is_none() {
            bad_row(problems, row.id.span, format!("the need `{}` has no ports", row.id.value));
        }
    }
}
