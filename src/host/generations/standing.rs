//! What is in force, confirmed and pending, as the state and every event have it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a state says, without its lists. Each event has it as it was after the event, so that it is known where the state
/// is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Standing {
    /// The number of the newest generation.
    pub last: u64,
    /// How many deadlines were set.
    pub armed: u64,
    /// The generation that the kernel was brought to; `None` for no table.
    pub current: Option<u64>,
    /// The generation that boot loads.
    pub confirmed: Option<u64>,
    /// The change that is undone unless it is confirmed.
    pub pending: Option<Pending>,
    /// The generation that was undone last, until rules are applied again.
    pub undone: Option<u64>,
}

/// A change that is not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pending {
    /// The number of its deadline, which its watcher has, too: a watcher of an earlier deadline does nothing.
    pub armed: u64,
    /// The generation that the kernel was brought to.
    pub generation: u64,
    /// The generation that comes back; `None` for no table.
    pub back_to: Option<u64>,
    /// The deadline by the clock, for people.
    pub deadline: Timestamp,
    /// The deadline in milliseconds since boot. Setting the clock does not change it.
    pub deadline_since_boot: u64,
    /// The boot in which the deadline was set, where the kernel shows its id.
    pub boot: Option<String>,
}
