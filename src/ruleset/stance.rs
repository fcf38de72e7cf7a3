//! What a ruleset does with packets that no flow permits, and audit rules as if they were enforced.

use super::{Action, Label, Rule, Ruleset};
use crate::net::{ChainPolicy, Hook, Verdict};

/// The beginning of the log entries of a policy in audit mode; those of an enforced policy begin otherwise.
pub const AUDIT_LOG: &str = "edgeward audit ";

/// The prefix of the counters of denied packets; the name of their hook follows.
pub const DENIED_COUNTER: &str = "denied_";

/// What a ruleset does with packets that no flow permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Every packet is accepted: there is no table, or none that denies or logs anything.
    Open,
    /// They are logged, counted and accepted.
    Audit,
    /// They are denied.
    Enforce,
}

impl Ruleset {
    /// What happens to packets that no flow permits.
    pub fn stance(&self) -> Stance {
        let denies = |rule: &Rule| matches!(rule.action, Action::Verdict(Verdict::Drop | Verdict::Reject));
        let drops = self.chains.iter().any(|chain| chain.base.is_some_and(|base| base.policy == ChainPolicy::Drop));
        let audits = |rule: &Rule| rule.log.as_ref().is_some_and(|log| log.prefix.starts_with(AUDIT_LOG));
        if drops || self.rules().any(denies) {
            Stance::Enforce
        } else if self.rules().any(audits) {
            Stance::Audit
        } else {
            Stance::Open
        }
    }

    /// The ruleset as if its policy were enforced: what it only logs is denied, with the verdict of the hook. Only a
    /// ruleset in audit mode becomes another one.
    #[must_use]
    pub fn enforced(mut self, denial: impl Fn(Hook) -> Verdict) -> Self {
        if self.stance() != Stance::Audit {
            return self;
        }
        for rule in self.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
            if rule.action != Action::Verdict(Verdict::Accept) {
                continue;
            }
            match rule.label {
                // Never rejected, regardless of what the policy says of denials.
                Some(Label::Invalid) => rule.action = Action::Verdict(Verdict::Drop),
                Some(Label::Denied) => {
                    let hook = rule.counter.as_deref().and_then(|counter| counter.strip_prefix(DENIED_COUNTER));
                    let hook = hook.and_then(|name| Hook::ALL.into_iter().find(|hook| hook.name() == name));
                    rule.action = Action::Verdict(hook.map_or(Verdict::Drop, &denial));
                }
                _ => {}
            }
        }
        self
    }
}
