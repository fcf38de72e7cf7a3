//! What an operator has to know of a security group, or to change.

use crate::source::Span;
use crate::yaml::words;

words! {
    /// The kinds of problems of a security group.
    pub enum GroupProblemCode {
        /// A protocol that no rule can name: every protocol is permitted.
        ProtocolWidened = "protocol-widened",
        /// A basic group lets everything out.
        EgressOpen = "egress-open",
        /// More rules than a group takes.
        RuleLimit = "rule-limit",
        /// Over the public network, hosts and VPC are in no common network.
        PublicNetwork = "public-network",
    }
}

/// A problem of a security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its kind.
    pub code: GroupProblemCode,
    /// The place in the policy, where there is one.
    pub span: Option<Span>,
    /// The flow that it is about, where it is one.
    pub flow: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}
