//! The rows of the container networks, in `flows.yaml`.

use crate::site::{ClusterKind, Connection};
use crate::source::Spanned;
use crate::yaml::record;

record! {
    /// A container network.
    pub struct CniRow {
        /// Its name.
        pub id: Spanned<String>,
        /// The cluster kind that offers it.
        pub cluster: ClusterKind,
        /// The connections over which it is offered.
        pub connections: Spanned<Vec<Connection>>,
        /// Whether pod addresses are routed beyond the hosts.
        pub routed: bool,
        /// The document.
        pub source: Spanned<String>,
    }
}
