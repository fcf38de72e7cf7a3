//! Why a rule decides.

use super::{Action, Rule};

/// Why a rule decides: what its comment says in nft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// A flow permits the packet, or its packets are not tracked.
    Flow(String),
    /// The packet goes through the loopback interface.
    Loopback,
    /// Conntrack knows the connection.
    Established,
    /// Conntrack calls the packet invalid.
    Invalid,
    /// Both ends of the packet are in the data centre.
    Inside,
    /// No flow permits the packet.
    Denied,
    /// A comment that edgeward does not write.
    Other(String),
}

impl Label {
    /// The labels that are a word of their own.
    const WORDS: [Label; 5] = [Label::Loopback, Label::Established, Label::Invalid, Label::Inside, Label::Denied];

    /// The label that a comment is on a rule. The rule says whether it is a flow's: flows may have any id, also one of
    /// the words.
    pub fn of_comment(comment: &str, rule: &Rule) -> Self {
        if rule.flow().is_some() || rule.action == Action::Notrack {
            return Label::Flow(comment.to_owned());
        }
        let known = Self::WORDS.into_iter().find(|label| label.comment() == comment);
        known.unwrap_or_else(|| Label::Other(comment.to_owned()))
    }

    /// The comment.
    pub fn comment(&self) -> &str {
        match self {
            Label::Flow(text) | Label::Other(text) => text,
            Label::Loopback => "loopback",
            Label::Established => "established",
            Label::Invalid => "invalid",
            Label::Inside => "inside",
            Label::Denied => "denied",
        }
    }
}
