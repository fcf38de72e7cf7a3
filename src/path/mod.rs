//! The devices between a data centre and the cloud: which routes each needs, so that every conversation of a policy has a
//! way there and back.
//!
//! A fold over the same openings that [`report`](crate::report) lists. What is derived is held against
//! [`Intent::specification`](crate::intent::Intent::specification)'s flows by [`Plan::unreachable`], which knows nothing of
//! how it was derived: it looks destinations up in the tables.

mod advice;
mod bgp;
mod check;
pub mod cover;
mod demand;
mod derive;
mod format;
mod plan;
mod problem;
mod reach;
mod table;

pub use bgp::{Accepted, Bgp};
pub use check::{Comparison, Exported, ExportedRoute, NotATable};
pub use demand::{Demand, Elsewhere};
pub use format::{RouteList, RoutesDocument, Syntax, WrongDevice};
pub use plan::Basis;
pub use problem::{Problem, ProblemCode};
pub use reach::Unreachable;
pub use table::{Cause, HopKind, Limit, NextHop, Plan, Route, Table, TooSmall, Widening};
