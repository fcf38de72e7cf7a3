//! What happens to a packet.

use std::fmt;

/// What a policy or a ruleset does with a packet.
///
/// It is what specification and ruleset have to agree on, for every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Disposition<'a> {
    /// The verdict.
    pub verdict: Verdict,
    /// The flow that permits the packet, if one does.
    pub flow: Option<&'a str>,
    /// Whether conntrack sees the packet. Only the raw hooks decide that (`notrack`).
    pub tracked: bool,
}

impl<'a> Disposition<'a> {
    /// A verdict without a flow, on a packet that conntrack sees.
    pub fn of(verdict: Verdict) -> Self {
        Self { verdict, flow: None, tracked: true }
    }

    /// A packet that a flow permits.
    pub fn permitted(flow: &'a str) -> Self {
        Self { flow: Some(flow), ..Self::of(Verdict::Accept) }
    }
}

impl fmt::Display for Disposition<'_> {
    /// ``accept by flow `ssh` ``, `drop`, `accept, not tracked`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict.name())?;
        if let Some(flow) = self.flow {
            write!(f, " by flow `{flow}`")?;
        }
        f.write_str(if self.tracked { "" } else { ", not tracked" })
    }
}

/// A verdict on a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The packet goes on.
    Accept,
    /// The packet is discarded silently.
    Drop,
    /// The packet is discarded and its sender is informed (ICMP administratively prohibited).
    Reject,
}

impl Verdict {
    /// `accept`, `drop` or `reject`.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Accept => "accept",
            Verdict::Drop => "drop",
            Verdict::Reject => "reject",
        }
    }
}

/// The policy of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainPolicy {
    /// `policy accept`
    Accept,
    /// `policy drop`
    Drop,
}

impl ChainPolicy {
    /// The verdict on packets that no rule decides.
    pub fn verdict(self) -> Verdict {
        match self {
            ChainPolicy::Accept => Verdict::Accept,
            ChainPolicy::Drop => Verdict::Drop,
        }
    }
}
