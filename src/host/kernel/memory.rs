//! A kernel in memory, for tests: it accepts and refuses the same changes as the real one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Kernel, KernelError};
use crate::host::netlink::{Counter, FlowEnds, NetlinkError, SetChange};
use crate::host::sessions::{SessionsError, Sockets, TrackedFlow, Tuple};
use crate::live::{Change, carry_out};
use crate::net::{Prefix, PrefixSet, Transport};
use crate::ruleset::Ruleset;

/// The table, what conntrack tracks, and when transactions fail.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The table.
    pub table: Option<Ruleset>,
    /// The number of transactions after which every further one is refused; `None` for never.
    pub fails_after: Option<usize>,
    /// The sockets.
    pub sockets: Sockets,
    /// The flows that conntrack tracks.
    pub flows: Vec<TrackedFlow>,
    /// Whether conntrack refuses connections that are added.
    pub refuses_flows: bool,
}

impl Memory {
    fn transaction(&mut self) -> Result<(), KernelError> {
        match &mut self.fails_after {
            Some(0) => Err(KernelError::NotPermitted),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Kernel for Memory {
    fn table(&mut self) -> Result<Option<Ruleset>, KernelError> {
        Ok(self.table.clone().map(Ruleset::without_notes))
    }

    /// All elements are at hand.
    fn recall(&mut self, _: &Ruleset) {}

    fn change(&mut self, structure: &[Change], elements: &[SetChange<'_>]) -> Result<(), KernelError> {
        if structure.is_empty() && elements.is_empty() {
            return Ok(());
        }
        self.transaction()?;
        let mut table = carry_out(&self.table, structure)?;
        for change in elements {
            let table = table.as_mut().ok_or(NetlinkError::NoTable)?;
            let name = change.set.name;
            let set = table.sets.get_mut(name).ok_or_else(|| NetlinkError::NoSet(name.to_owned()))?;
            if (set.family, set.kind) != (change.set.family, change.set.kind) {
                return Err(NetlinkError::OtherSet { name: name.to_owned(), expected: "of the expected kind" }.into());
            }
            set.elements = changed(change, &set.elements)?;
        }
        self.table = table;
        Ok(())
    }

    fn check(&mut self, structure: &[Change]) -> Result<(), KernelError> {
        carry_out(&self.table, structure)?;
        Ok(())
    }

    fn replace(&mut self, ruleset: &Ruleset) -> Result<(), KernelError> {
        self.transaction()?;
        self.table = Some(ruleset.clone().without_notes());
        Ok(())
    }

    fn counters(&mut self) -> Result<BTreeMap<String, Counter>, KernelError> {
        let names = self.table.iter().flat_map(|table| &table.counters);
        Ok(names.map(|name| (name.clone(), Counter::default())).collect())
    }

    fn sockets(&mut self) -> Result<Sockets, SessionsError> {
        Ok(self.sockets.clone())
    }

    fn flows(&mut self) -> Result<Option<Vec<TrackedFlow>>, SessionsError> {
        Ok(Some(self.flows.clone()))
    }

    fn track(&mut self, flow: FlowEnds) -> Result<(), KernelError> {
        if self.refuses_flows {
            return Err(KernelError::NotPermitted);
        }
        let tuple = |from: SocketAddr, to: SocketAddr| Tuple {
            source: from.ip(),
            destination: to.ip(),
            ports: Some((from.port(), to.port())),
        };
        self.flows.push(TrackedFlow {
            protocol: flow.transport.protocol().number(),
            original: tuple(flow.from, flow.to),
            reply: tuple(flow.to, flow.from),
            replied: true,
            tcp_established: flow.transport == Transport::Tcp,
        });
        Ok(())
    }
}

/// The elements of a set after a change. As in the kernel, a deleted element must exist, and an added one must not.
fn changed(change: &SetChange<'_>, held: &PrefixSet) -> Result<PrefixSet, NetlinkError> {
    let set = change.set.name.to_owned();
    let of_family = |addresses: &PrefixSet| addresses.only(change.set.family);
    let (from, to) = (of_family(change.from), of_family(change.to));
    let elements = |addresses: &PrefixSet| change.set.kind.elements(addresses).collect::<Vec<Prefix>>();
    let (old, new, mut left) = (elements(&from), elements(&to), elements(held));
    for gone in old.iter().filter(|element| !new.contains(element)) {
        match left.binary_search(gone) {
            Ok(place) => drop(left.remove(place)),
            Err(_) => return Err(NetlinkError::Missing { set, element: Some(*gone) }),
        }
    }
    let mut now: PrefixSet = left.into_iter().collect();
    for come in new.iter().filter(|element| !old.contains(element)) {
        let one: PrefixSet = [*come].into_iter().collect();
        if now.overlaps(&one) {
            return Err(NetlinkError::Exists { set, element: Some(*come) });
        }
        now = now.union(&one);
    }
    Ok(now)
}
