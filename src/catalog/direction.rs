//! Who opens a flow.

use crate::yaml::words;

words! {
    /// The direction of a flow, as seen from its local end.
    pub enum Direction {
        /// The peer opens it.
        Inbound = "inbound",
        /// The local end opens it.
        Outbound = "outbound",
        /// Either end opens it.
        Both = "both",
    }
}
