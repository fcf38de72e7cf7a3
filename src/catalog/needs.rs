//! What clusters need, and no document says where it is.

use crate::diag::Problems;
use crate::net::Traffic;
use crate::source::Spanned;
use crate::yaml::record;

use super::condition::SiteCondition;
use super::date::Date;
use super::direction::Direction;
use super::ports::{PortRow, PortTraffic};
use super::regions::{Document, check_source};
use super::{bad_row, check_id};

record! {
    /// Something that clusters of a kind need, and that only the operator can name.
    pub struct NeedRow {
        /// The id that a row of the operator's would have.
        pub id: Spanned<String>,
        /// What it is.
        pub purpose: String,
        /// What must hold of the site.
        pub when: SiteCondition,
        /// Who opens it; `both` are two rows.
        pub direction: Direction = Direction::Outbound,
        /// A peer to replace.
        pub peer: String,
        /// Protocols and destination ports.
        pub ports: Vec<PortRow>,
        /// Whether only some of these sites need it, which nothing in their policies tells.
        pub optional: bool = false,
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
            PortTraffic::Ssh | PortTraffic::ApiServer | PortTraffic::NodePorts | PortTraffic::Endpoint => None,
        }))
    }

    /// The ids and directions of its rows.
    pub fn rows(&self) -> Vec<(String, Direction)> {
        let id = &self.id.value;
        match self.direction {
            Direction::Both => {
                vec![(format!("{id}-in"), Direction::Inbound), (format!("{id}-out"), Direction::Outbound)]
            }
            one => vec![(id.clone(), one)],
        }
    }

    /// Its rows of `allow`, each in one line, with a peer to replace.
    pub fn allow_rows(&self) -> Vec<String> {
        let (peer, ports) = (&self.peer, self.traffic());
        let row =
            |(id, direction)| format!("- {{id: {id}, direction: {direction}, peers: [{peer}], ports: [{ports}]}}");
        self.rows().into_iter().map(row).collect()
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
