//! Routers in a row, each with a link to the next.

use super::lan::Member;
use super::namespace::{self, Namespace};

/// The routers; gone when dropped.
pub struct Row(Vec<Namespace>);

impl Row {
    /// Makes so many routers. The interface to the next one is `next`, that to the one before `prev`; none has an address.
    ///
    /// # Panics
    ///
    /// Where namespaces are not [`available`](super::available).
    pub fn new(length: usize) -> Self {
        let members: Vec<Namespace> = (0..length).map(|_| Namespace::new().unwrap()).collect();
        for pair in members.windows(2) {
            namespace::join((&pair[0], "next"), (&pair[1], "prev"));
        }
        Self(members)
    }

    /// A router by its number.
    pub fn at(&self, number: usize) -> Member<'_> {
        Member(&self.0[number])
    }
}
