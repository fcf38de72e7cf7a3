//! Two lockfiles of the same names.

use jiff::Timestamp;

use super::{LockfileClock, NameRecord, Resolution};

impl Resolution {
    /// The newer record of each name that either has; ours, if both are of the same time.
    #[must_use]
    pub fn newer_of(mut self, other: &Self) -> Self {
        for (name, theirs) in &other.names {
            let ours = self.names.entry(name.clone()).or_default();
            if theirs.newest() > ours.newest() {
                ours.clone_from(theirs);
            }
        }
        let order = |clock: &LockfileClock| (clock.at, clock.since_boot);
        self.clock = other.clock.clone().into_iter().chain(self.clock).max_by_key(order);
        self
    }
}

impl NameRecord {
    /// When a server last answered.
    fn newest(&self) -> Option<Timestamp> {
        self.seen().max()
    }
}

#[cfg(test)]
mod tests {
    use crate::resolution::{NameRecord, Resolution, Seen};

    #[test]
    fn the_newer_record_of_each_name_counts() {
        let of = |names: &[(&str, &str, i64)]| {
            let record = |address: &str, second| {
                let at = jiff::Timestamp::from_second(second).unwrap();
                let seen = Seen { first: at, last: at, ttl: None };
                NameRecord { addresses: [(address.parse().unwrap(), seen)].into(), ..NameRecord::default() }
            };
            let names = names.iter().map(|(name, address, at)| (name.parse().unwrap(), record(address, *at)));
            Resolution { clock: None, names: names.collect() }
        };
        let ours = of(&[("a.example", "10.0.0.1", 10), ("b.example", "10.0.0.1", 10), ("c.example", "10.0.0.1", 10)]);
        let theirs = of(&[("a.example", "10.0.0.2", 9), ("b.example", "10.0.0.2", 10), ("c.example", "10.0.0.2", 11)]);
        let both = of(&[("a.example", "10.0.0.1", 10), ("b.example", "10.0.0.1", 10), ("c.example", "10.0.0.2", 11)]);
        assert_eq!(ours.newer_of(&theirs), both);
        assert_eq!(Resolution::default().newer_of(&theirs), theirs);
    }
}
