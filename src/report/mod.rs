//! Lists of what a policy opens, for people and for programs: as text, JSON, CSV and Markdown.
//!
//! Every list is a fold over [`Intent::openings`](crate::intent::Intent::openings), so that all of them say the same.
//! Nothing here reads rules or the kernel.

mod because;
pub mod csv;
mod flows;
pub mod markdown;
pub mod table;
mod version;

pub use because::{About, Evidence, Reason, duration, place};
pub use flows::{FlowList, FlowsDocument, Length, brief};
pub use table::paragraph;
pub use version::DocumentVersion;
