//! The kernel on its way from what it has to a ruleset: the plan of [`live`](crate::live), carried out step by step.

use super::kernel::{Kernel, KernelError};
use super::netlink::{NetlinkError, SetChange, SetRef};
use crate::live::{Change, Live, Plan};
use crate::net::{Prefix, PrefixSet};
use crate::ruleset::{Ruleset, Set};

/// What an element takes of a message, at most: an interval of IPv6 with both its ends.
const ELEMENT_BYTES: usize = 96;

/// A way to a ruleset, from the table as it was when the way was planned.
#[derive(Clone, Debug)]
pub struct Transition {
    /// The table as it was; `None` where there was none.
    pub before: Option<Live>,
    plan: Plan,
    /// Whether there is to be no table at the end.
    removes: bool,
}

impl Transition {
    /// Plans the way from the kernel's table to a ruleset, or to no table.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn plan(kernel: &mut dyn Kernel, wanted: Option<&Ruleset>) -> Result<Self, KernelError> {
        Ok(Self::from(kernel.table()?.map(Live), wanted))
    }

    /// As [`Transition::plan`], by way of [`Live::plan_replacing_sets`].
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn plan_anew(kernel: &mut dyn Kernel, wanted: Option<&Ruleset>) -> Result<Self, KernelError> {
        Ok(Self::with(kernel.table()?.map(Live), wanted, Live::plan_replacing_sets))
    }

    /// As [`Transition::plan`], from a table that has been read.
    pub fn from(before: Option<Live>, wanted: Option<&Ruleset>) -> Self {
        Self::with(before, wanted, Live::plan)
    }

    fn with(before: Option<Live>, wanted: Option<&Ruleset>, plan: fn(&Live, bool, &Ruleset) -> Plan) -> Self {
        let plan = match (&before, wanted) {
            (None, None) => Plan::default(),
            (Some(live), None) => plan(live, true, &Ruleset::default()),
            (None, Some(wanted)) => plan(&Live::default(), false, wanted),
            (Some(live), Some(wanted)) => plan(live, true, wanted),
        };
        let removes = before.is_some() && wanted.is_none();
        Self { before, plan, removes }
    }

    /// What the table meant; the empty ruleset where there was none.
    pub fn meaning(&self) -> Ruleset {
        self.before.as_ref().map(Live::meaning).unwrap_or_default()
    }

    /// Whether the kernel is already as it should be, but for what is left to sweep.
    pub fn keeps_rules(&self) -> bool {
        Plan { sweep: Vec::new(), ..self.plan.clone() }.is_empty() && !self.removes
    }

    /// How many sets and counters are left to sweep.
    pub fn left_over(&self) -> usize {
        self.plan.sweep.len()
    }

    /// Makes and fills new sets; no verdict changes. Where it fails, it takes back what it has done.
    ///
    /// # Errors
    /// The kernel refuses; the rules are as they were.
    pub fn fill(&self, kernel: &mut dyn Kernel) -> Result<(), KernelError> {
        let nothing = PrefixSet::default();
        let elements: Vec<SetChange<'_>> =
            self.plan.elements.iter().map(|(name, set)| change(name, set, &nothing, &set.elements)).collect();
        let filled = kernel.change(&self.plan.fill).and_then(|()| match elements.is_empty() {
            true => Ok(()),
            false => match kernel.update(&elements) {
                // Nobody looks into these sets yet, so they may be filled bit by bit.
                Err(KernelError::Netlink(NetlinkError::TooLarge { limit, .. } | NetlinkError::TooMany(limit))) => {
                    elements.iter().try_for_each(|change| in_parts(kernel, change, limit))
                }
                filled => filled,
            },
        });
        filled.inspect_err(|_| self.take_back(kernel))
    }

    /// Puts the new rules in the place of the old; the one step that changes verdicts.
    ///
    /// # Errors
    /// The kernel refuses; the rules are as they were.
    pub fn switch(&self, kernel: &mut dyn Kernel) -> Result<(), KernelError> {
        // A plan has either, or neither.
        let updates: Vec<SetChange<'_>> = self
            .plan
            .updates
            .iter()
            .map(|(name, update)| change(name, &update.new, &update.old.elements, &update.new.elements))
            .collect();
        let switched = match updates.is_empty() {
            true => kernel.change(&self.plan.switch),
            false => kernel.update(&updates),
        };
        switched.inspect_err(|_| self.take_back(kernel))
    }

    /// Deletes what nothing refers to any more; no verdict changes.
    ///
    /// # Errors
    /// The kernel refuses. The next transition sweeps it.
    pub fn sweep(&self, kernel: &mut dyn Kernel) -> Result<(), KernelError> {
        if self.plan.sweep.is_empty() && !self.removes {
            return Ok(());
        }
        // Packets that came before the switch may be among the old rules still; no longer than a reader of the kernel's.
        wait_for_packets();
        match self.removes {
            true => kernel.change(&[Change::DeleteTable]),
            false => kernel.change(&self.plan.sweep),
        }
    }

    /// Deletes what a step that failed has left; where that fails, too, the next transition does it.
    fn take_back(&self, kernel: &mut dyn Kernel) {
        let _ = match &self.before {
            None => kernel.change(&[Change::DeleteTable]),
            Some(before) => Self::plan(kernel, Some(&before.meaning()))
                .and_then(|left| if left.keeps_rules() { left.sweep(kernel) } else { Ok(()) }),
        };
    }
}

/// Whether the kernel's table means what a ruleset says; `None` stands for no table, which an empty one equals.
pub fn means(live: Option<&Live>, wanted: Option<&Ruleset>) -> bool {
    match (live, wanted) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(live), wanted) => {
            let wanted = wanted.cloned().unwrap_or_default();
            Transition::from(Some(live.clone()), Some(&wanted)).keeps_rules()
        }
    }
}

/// Waits until every packet that is judged now has been judged (`synchronize_rcu`, which is what this call is).
fn wait_for_packets() {
    if rustix::thread::membarrier(rustix::thread::MembarrierCommand::Global).is_err() {
        // Not permitted, or not there: a packet is judged in microseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn change<'a>(name: &'a str, set: &Set, from: &'a PrefixSet, to: &'a PrefixSet) -> SetChange<'a> {
    SetChange { set: SetRef { name, family: set.family, kind: set.kind }, from, to }
}

fn in_parts(kernel: &mut dyn Kernel, change: &SetChange<'_>, limit: usize) -> Result<(), KernelError> {
    let elements: Vec<Prefix> = change.set.kind.elements(change.to).collect();
    for part in elements.chunks((limit / ELEMENT_BYTES).max(1)) {
        let part: PrefixSet = part.iter().copied().collect();
        kernel.update(&[SetChange { to: &part, ..*change }])?;
    }
    Ok(())
}
