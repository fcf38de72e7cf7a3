//! The table as it was read, and what this process has changed since: whether another program has changed it, too.

use crate::host::netlink::SetChange;
use crate::live::{Change, Misfit, carry_out};
use crate::net::PrefixSet;
use crate::ruleset::Ruleset;

/// A table, and the generation of the kernel's tables in which it is so.
#[derive(Debug)]
pub struct Seen {
    /// The generation.
    pub generation: u32,
    table: Option<Ruleset>,
    /// The changes since it was read. They are carried out only if the result is needed.
    changes: Vec<Noted>,
}

/// The changes of one transaction.
#[derive(Debug)]
struct Noted {
    structure: Vec<Change>,
    /// Sets by name: the elements that were deleted, and those that were added.
    elements: Vec<(String, PrefixSet, PrefixSet)>,
}

impl Seen {
    /// A table that has been read.
    pub fn new(generation: u32, table: Option<Ruleset>) -> Self {
        Self { generation, table, changes: Vec::new() }
    }

    /// Notes changes that the kernel has made: they are the next generation.
    pub fn note(&mut self, structure: &[Change], elements: &[SetChange<'_>]) {
        // The kernel leaves out zero.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let elements = elements.iter().map(|change| {
            let [from, to] = [change.from, change.to].map(|set| set.only(change.set.family));
            (change.set.name.to_owned(), from, to)
        });
        self.changes.push(Noted { structure: structure.to_vec(), elements: elements.collect() });
    }

    /// The table as it is now, if no other program has changed it.
    pub fn table(self) -> Result<Option<Ruleset>, Misfit> {
        self.changes.iter().try_fold(self.table, |table, noted| {
            let mut table = carry_out(&table, &noted.structure)?;
            for (name, from, to) in &noted.elements {
                let set = table.as_mut().and_then(|table| table.sets.get_mut(name));
                let set = set.ok_or_else(|| Misfit::Missing(format!("set `{name}`")))?;
                set.elements = set.elements.difference(from).union(to);
            }
            Ok(table)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netlink::SetRef;
    use crate::net::Family;
    use crate::ruleset::SetKind;

    #[test]
    fn changes_of_this_process_are_expected() {
        let set = |text: &str| text.parse::<PrefixSet>().unwrap();
        let mut seen = Seen::new(u32::MAX, None);
        let add = Change::AddSet { name: "a".to_owned(), family: Family::V4, kind: SetKind::Prefixes };
        let change =
            |from, to| SetChange { set: SetRef { name: "a", family: Family::V4, kind: SetKind::Prefixes }, from, to };
        let [nothing, one, two] = ["", "10.0.0.0/8, 192.0.2.1", "192.0.2.1, 192.0.2.9, ::1"].map(set);
        seen.note(&[Change::AddTable, add], &[change(&nothing, &one)]);
        seen.note(&[], &[change(&one, &two)]);
        assert_eq!(seen.generation, 2);
        let table = seen.table().unwrap().unwrap();
        assert_eq!(table.sets["a"].elements, set("192.0.2.1, 192.0.2.9"));
    }
}
