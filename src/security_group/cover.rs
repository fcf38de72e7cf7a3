//! Rules that others make superfluous.

use super::rule::{IpProtocol, PortRange, Way};
use crate::net::{Family, PrefixSet};

/// Rules that differ in their prefixes only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) way: Way,
    pub(super) family: Family,
    pub(super) protocol: IpProtocol,
    pub(super) ports: PortRange,
    pub(super) remote: PrefixSet,
}

impl Entry {
    /// The ports, all of them if the protocol has none.
    fn range(&self) -> (u16, u16) {
        self.ports.unwrap_or((0, u16::MAX))
    }

    /// How many ports it has, for the order: every protocol is more than one.
    fn width(&self) -> u32 {
        let (first, last) = self.range();
        if self.protocol == IpProtocol::All { u32::MAX } else { u32::from(last - first) }
    }

    /// Whether another entry may have some of its packets.
    fn meets(&self, other: &Self) -> bool {
        let ports = || self.range().0 <= other.range().1 && other.range().0 <= self.range().1;
        (self.way, self.family) == (other.way, other.family)
            && (other.protocol == IpProtocol::All || (other.protocol == self.protocol && ports()))
    }

    /// The addresses with a port that no other entry has.
    fn uncovered(&self, others: &[&Self]) -> PrefixSet {
        let (first, last) = self.range();
        let whole = others.iter().filter(|other| other.protocol != self.protocol).map(|other| &other.remote);
        let rest = self.remote.difference(&PrefixSet::union_of(whole));
        if rest.is_empty() {
            return rest;
        }
        let partial: Vec<&&Self> = others.iter().filter(|other| other.protocol == self.protocol).collect();
        let after = |other: &&&Self| other.range().1.checked_add(1);
        let mut cuts: Vec<u16> =
            partial.iter().map(|other| other.range().0).chain(partial.iter().filter_map(after)).collect();
        cuts.push(first);
        cuts.retain(|cut| (first..=last).contains(cut));
        cuts.sort_unstable();
        cuts.dedup();
        let mut uncovered = PrefixSet::default();
        for cut in cuts {
            // No cut is between this one and the next: an entry has the first port exactly if it has them all.
            let has = |other: &&&&Self| other.range().0 <= cut && cut <= other.range().1;
            let covering = partial.iter().filter(has).map(|other| &other.remote);
            uncovered = uncovered.union(&rest.difference(&PrefixSet::union_of(covering)));
        }
        uncovered
    }
}

/// The entries without those prefixes whose packets other entries have. Narrow ones go first, so what is left is wide.
///
/// None of the prefixes that are left can be taken away: each has a packet that no other entry has, and entries that are
/// looked at later only lose prefixes.
pub(super) fn without_superfluous(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(Entry::width);
    for at in 0..entries.len() {
        let entry = &entries[at];
        let others: Vec<&Entry> = entries
            .iter()
            .enumerate()
            .filter(|(number, other)| *number != at && entry.meets(other) && other.remote.overlaps(&entry.remote))
            .map(|(_, other)| other)
            .collect();
        if others.is_empty() {
            continue;
        }
        let uncovered = entry.uncovered(&others);
        let left: PrefixSet = match uncovered.is_empty() {
            true => PrefixSet::default(),
            false => {
                let has = |prefix: &crate::net::Prefix| PrefixSet::from_iter([*prefix]).overlaps(&uncovered);
                entry.remote.prefixes().filter(has).collect()
            }
        };
        entries[at].remote = left;
    }
    entries.retain(|entry| !entry.remote.is_empty());
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(protocol: IpProtocol, ports: PortRange, remote: &str) -> Entry {
        Entry { way: Way::Egress, family: Family::V4, protocol, ports, remote: remote.parse().unwrap() }
    }

    fn left(entries: &[Entry]) -> Vec<String> {
        let mut left: Vec<String> = without_superfluous(entries.to_vec())
            .iter()
            .map(|entry| format!("{} {:?} {}", entry.protocol, entry.ports, entry.remote))
            .collect();
        left.sort();
        left
    }

    #[test]
    fn what_others_cover_is_left_out() {
        let tcp = |first, last, remote| entry(IpProtocol::Tcp, Some((first, last)), remote);
        // By one entry of every protocol, or by a wider one.
        assert_eq!(left(&[tcp(443, 443, "10.1.0.0/16"), entry(IpProtocol::All, None, "10.0.0.0/8")]).len(), 1);
        assert_eq!(left(&[tcp(443, 443, "10.1.0.0/16"), tcp(1, 65_535, "10.0.0.0/8")]).len(), 1);
        // By several together: in ports, and in addresses.
        assert_eq!(
            left(&[tcp(150, 250, "10.1.0.0/16"), tcp(100, 200, "10.0.0.0/8"), tcp(201, 400, "10.0.0.0/8")]),
            ["tcp Some((100, 200)) 10.0.0.0/8", "tcp Some((201, 400)) 10.0.0.0/8"]
        );
        assert_eq!(
            left(&[tcp(9, 9, "10.0.0.0/8"), tcp(1, 99, "10.0.0.0/9"), tcp(1, 99, "10.128.0.0/9, 192.0.2.0/24")]).len(),
            2
        );
        // The last port has no successor.
        assert_eq!(left(&[tcp(65_535, 65_535, "10.1.0.0/16"), tcp(65_000, 65_535, "10.0.0.0/8")]).len(), 1);
    }

    #[test]
    fn what_no_other_has_is_kept() {
        let tcp = |first, last, remote| entry(IpProtocol::Tcp, Some((first, last)), remote);
        assert_eq!(left(&[tcp(443, 444, "10.1.0.0/16"), tcp(1, 443, "10.0.0.0/8")]).len(), 2);
        // A prefix is kept whole, as it was written.
        assert_eq!(
            left(&[tcp(443, 443, "10.0.0.0/8"), tcp(1, 999, "10.0.0.0/9")]),
            ["tcp Some((1, 999)) 10.0.0.0/9", "tcp Some((443, 443)) 10.0.0.0/8"]
        );
        assert_eq!(left(&[tcp(443, 443, "10.0.0.0/8"), entry(IpProtocol::Udp, Some((1, 999)), "10.0.0.0/8")]).len(), 2);
        assert_eq!(left(&[entry(IpProtocol::Icmp, None, "10.0.0.0/8"), tcp(1, 65_535, "10.0.0.0/8")]).len(), 2);
        // Only the prefix that is covered goes.
        assert_eq!(
            left(&[tcp(443, 443, "10.1.0.0/16, 172.16.0.0/12"), tcp(1, 999, "10.0.0.0/8")]),
            ["tcp Some((1, 999)) 10.0.0.0/8", "tcp Some((443, 443)) 172.16.0.0/12"]
        );
    }
}
