//! The security group of the VPC: the rules that the flows of a policy need at the cloud's end of the line.
//!
//! A fold over the same openings that [`report`](crate::report) lists. Rules are compiled back to packets, and compared with
//! [`Intent::specification`](crate::intent::Intent::specification) at the edge of the VPC, by [`Needed`].

mod cover;
mod derive;
mod export;
mod format;
mod meaning;
mod plan;
mod problem;
mod proof;
mod rule;

pub use derive::{Derived, addresses_of_the_vpc};
pub use export::{ExportError, GroupExport};
pub use format::GroupRules;
pub use plan::{Basis, SecurityGroup, as_the_vpc_sees};
pub use problem::{GroupProblemCode, Problem};
pub use proof::{Comparison, Deviation, Needed};
pub use rule::{IpProtocol, Permission, PortRange, Rule, Way, port_range};
