//! What an operator has to know of the routes, or to change.

use crate::catalog::Element;
use crate::source::Span;
use crate::yaml::words;

words! {
    /// The kinds of problems.
    pub enum ProblemCode {
        /// More routes than the device takes.
        RouteLimit = "route-limit",
        /// A route inside a vSwitch, which the API of the cloud refuses.
        RouteInVswitch = "route-in-vswitch",
        /// Routes that change with the answers of DNS.
        RouteFromDns = "route-from-dns",
        /// Routes into 100.64.0.0/10, about which the documents of the cloud disagree.
        RouteTo10064 = "route-to-100-64",
        /// No route leads back to where the line is checked from.
        HealthCheckReturn = "health-check-return",
    }
}

/// A problem of the routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub code: ProblemCode,
    /// The device.
    pub element: Element,
    /// The place in the policy, where there is one.
    pub span: Option<Span>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}
