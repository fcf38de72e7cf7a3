//! The rows of `elements.yaml` for the security group of the VPC.

use crate::source::Spanned;
use crate::yaml::{number, record, words};

use super::condition::SiteCondition;
use super::date::Date;
use super::ends::Zone;

words! {
    /// Where the packets of a rule go, as seen from the VPC.
    pub enum Way {
        /// They leave the VPC.
        Egress = "egress",
        /// They enter it.
        Ingress = "ingress",
    }
}

record! {
    /// Rules that the table of a document asks for. Their protocols and ports are those of the flows.
    pub struct GroupRow {
        /// Where their packets go.
        pub way: Way,
        /// The zones at the other end.
        pub zones: Spanned<Vec<Zone>>,
        /// The flows.
        pub flows: Spanned<Vec<String>>,
        /// What must hold of the site.
        pub when: SiteCondition,
        /// The document.
        pub source: Spanned<String>,
        /// The section of the document.
        pub section: Option<String>,
        /// When it was read.
        pub retrieved: Date,
    }
}

number! {
    /// How many rules there may be, 1 to 1,000,000.
    pub struct RuleCount(pub u32), 1 to 1_000_000
}
