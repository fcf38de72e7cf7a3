//! A transition of the kernel from the table that it has to a ruleset: the plan of [`live`](crate::live), carried out
//! step by step.

use super::kernel::{Kernel, KernelError};
use super::netlink::{NetlinkError, SetChange, SetRef};
use crate::live::{Change, Live, Plan};
use crate::net::{Prefix, PrefixSet};
use crate::ruleset::{Ruleset, Set};

/// The most bytes of a message that an element takes: an IPv6 interval with both its ends.
const MAX_ELEMENT_BYTES: usize = 96;

/// A transition to a ruleset, from the table as it was when the transition was planned.
#[derive(Clone, Debug)]
pub struct Transition {
    /// The table at that time; `None` where there was none.
    pub before: Option<Live>,
    plan: Plan,
    /// Whether the transition ends without a table.
    removes: bool,
}

impl Transition {
    /// Plans the transition from the kernel's table to a ruleset, or to no table.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn plan(kernel: &mut dyn Kernel, target: Option<&Ruleset>) -> Result<Self, KernelError> {
        Ok(Self::from(kernel.table()?.map(Live), target))
    }

    /// As [`Transition::plan`], but trusts no elements of the kernel's sets of prefixes: [`Live::plan_replacing_sets`].
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn plan_replacing_sets(kernel: &mut dyn Kernel, target: Option<&Ruleset>) -> Result<Self, KernelError> {
        Ok(Self::with(kernel.table()?.map(Live), target, Live::plan_replacing_sets))
    }

    /// As [`Transition::plan`], from a table that has been read.
    pub fn from(before: Option<Live>, target: Option<&Ruleset>) -> Self {
        Self::with(before, target, Live::plan)
    }

    fn with(before: Option<Live>, target: Option<&Ruleset>, plan: fn(&Live, bool, &Ruleset) -> Plan) -> Self {
        let plan = match (&before, target) {
            (None, None) => Plan::default(),
            (Some(live), None) => plan(live, true, &Ruleset::default()),
            (None, Some(target)) => plan(&Live::default(), false, target),
            (Some(live), Some(target)) => plan(live, true, target),
        };
        let removes = before.is_some() && target.is_none();
        Self { before, plan, removes }
    }

    /// The ruleset that the table stood for; the empty one where there was none.
    pub fn meaning(&self) -> Ruleset {
        self.before.as_ref().map(Live::meaning).unwrap_or_default()
    }

    /// Whether the kernel already has the rules, apart from leftovers.
    pub fn keeps_rules(&self) -> bool {
        Plan { sweep: Vec::new(), ..self.plan.clone() }.is_empty() && !self.removes
    }

    /// How many chains, sets and counters are leftovers.
    pub fn left_over(&self) -> usize {
        self.plan.sweep.len()
    }

    /// Creates and fills new sets and chains; no verdict changes. Cleans up after a failure.
    ///
    /// # Errors
    /// The kernel refuses; the rules are as they were.
    pub fn fill(&self, kernel: &mut dyn Kernel) -> Result<(), KernelError> {
        let nothing = PrefixSet::default();
        let elements: Vec<SetChange<'_>> =
            self.plan.elements.iter().map(|(name, set)| change(name, set, &nothing, &set.elements)).collect();
        let filled = match kernel.change(&self.plan.fill, &elements) {
            // No rule uses these sets yet, so they may be filled in parts.
            Err(KernelError::Netlink(NetlinkError::TooLarge { limit, .. } | NetlinkError::TooMany(limit))) => kernel
                .change(&self.plan.fill, &[])
                .and_then(|()| elements.iter().try_for_each(|change| in_parts(kernel, change, limit))),
            filled => filled,
        };
        filled.inspect_err(|_| self.take_back(kernel))
    }

    /// Replaces the old rules with the new ones; the only step that changes verdicts.
    ///
    /// # Errors
    /// The kernel refuses; the rules are as they were.
    pub fn switch(&self, kernel: &mut dyn Kernel) -> Result<(), KernelError> {
        // A plan has at most one of the two.
        let updates: Vec<SetChange<'_>> = self
            .plan
            .updates
            .iter()
            .map(|(name, update)| change(name, &update.new, &update.old.elements, &update.new.elements))
            .collect();
        kernel.change(&self.plan.switch, &updates).inspect_err(|_| self.take_back(kernel))
    }

    /// Asks the kernel whether it would take the new chains and rules, and changes nothing.
    ///
    /// # Errors
    /// It would not.
    pub fn check(&self, kernel: &mut dyn Kernel) -> Result<(), KernelError> {
        match self.plan.fill.is_empty() && self.plan.switch.is_empty() {
            true => Ok(()),
            false => kernel.check(&[&self.plan.fill[..], &self.plan.switch].concat()),
        }
    }

    /// Deletes what nothing refers to; no verdict changes.
    ///
    /// # Errors
    /// The kernel refuses. The next transition sweeps it.
    pub fn sweep(&self, kernel: &mut dyn Kernel) -> Result<(), KernelError> {
        if self.plan.sweep.is_empty() && !self.removes {
            return Ok(());
        }
        // Packets that came before the switch may still be in the old rules, for one RCU grace period at most.
        wait_for_packets();
        match self.removes {
            true => kernel.change(&[Change::DeleteTable], &[]),
            false => kernel.change(&self.plan.sweep, &[]),
        }
    }

    /// Deletes what a failed step has left. Where that fails, too, the next transition does it.
    fn take_back(&self, kernel: &mut dyn Kernel) {
        let _ = match &self.before {
            None => kernel.change(&[Change::DeleteTable], &[]),
            Some(before) => Self::plan(kernel, Some(&before.meaning()))
                .and_then(|left| if left.keeps_rules() { left.sweep(kernel) } else { Ok(()) }),
        };
    }
}

/// Whether the kernel's table stands for a ruleset. `None` is no table, which equals an empty one.
pub fn means(live: Option<&Live>, target: Option<&Ruleset>) -> bool {
    match (live, target) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(live), target) => {
            let target = target.cloned().unwrap_or_default();
            Transition::from(Some(live.clone()), Some(&target)).keeps_rules()
        }
    }
}

/// Waits until every packet that is in the rules now has left them (`membarrier` calls `synchronize_rcu`).
fn wait_for_packets() {
    if rustix::thread::membarrier(rustix::thread::MembarrierCommand::Global).is_err() {
        // Not permitted, or not supported: a packet takes microseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn change<'a>(name: &'a str, set: &Set, from: &'a PrefixSet, to: &'a PrefixSet) -> SetChange<'a> {
    SetChange { set: SetRef { name, family: set.family, kind: set.kind }, from, to }
}

fn in_parts(kernel: &mut dyn Kernel, change: &SetChange<'_>, limit: usize) -> Result<(), KernelError> {
    let elements: Vec<Prefix> = change.set.kind.elements(change.to).collect();
    for part in elements.chunks((limit / MAX_ELEMENT_BYTES).max(1)) {
        let part: PrefixSet = part.iter().copied().collect();
        kernel.change(&[], &[SetChange { to: &part, ..*change }])?;
    }
    Ok(())
}
