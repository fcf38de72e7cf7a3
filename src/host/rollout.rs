//! Changes of the rules in force and of their records. A run may end at any point: the kernel then has the old rules or
//! the new ones, and the next run continues from the state folder.
//!
//! Every change takes the same steps: the files of the generation; a state that says where the kernel is going; a
//! watcher that undoes the change at its deadline; new sets; the switch; verification of what the kernel has; the state
//! that says that it has arrived; the sweep. Packets see nothing before the switch, and the next run completes all that
//! can fail after it.

mod deadline;
mod delivery;
mod recovery;
mod steps;
mod verbs;

use std::path::PathBuf;
use std::time::Duration;

use super::clock::Moment;
use super::generations::{Changes, Note, Stamp, State, Store, StoreError};
use super::kernel::{Kernel, KernelError};
use super::operator::Operator;
use super::prime::{PrimeError, Primed};
use super::sessions::LiveConnection;
use super::transition::means;
use super::watch::{WatchError, Watcher};
use crate::live::Live;
use crate::ruleset::Ruleset;

pub use super::generations::named;
pub use deadline::{has_expired, needs_recovery, time_left};

/// The most connections that an error lists.
const MAX_LISTED: usize = 5;

/// Why the kernel was not brought to a generation.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The records cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel cannot be read or changed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Conntrack could not be prepared.
    #[error("conntrack could not be prepared for the first rules; nothing was changed")]
    Prime(#[from] PrimeError),
    /// The watcher of the change could not be started.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The kernel has other rules than it was given.
    #[error(
        "the kernel does not have the rules that it was given; the old rules were restored. If another program changes the \
         table at the same time, `nft monitor` shows which one"
    )]
    Differs,
    /// The rules that are to be confirmed are not in force, or boot could not load them.
    #[error("{} is pending and was not confirmed: {why}", named(Some(*.number)))]
    NotInForce {
        /// The generation that is pending.
        number: u64,
        /// What is in its place.
        why: String,
        /// The file of its policy, where that is known.
        policy: Option<PathBuf>,
    },
    /// The rules would cut off the session that applies them.
    #[error(
        "conntrack does not track some connections of this host, SSH among them, so the rules would take their next \
         packet for a new connection: {}; nothing was changed. Press a key in each of these sessions and try again, or \
         accept the risk with `--force`",
        listed(.0)
    )]
    Untracked(Vec<LiveConnection>),
}

fn listed(connections: &[LiveConnection]) -> String {
    let ends = connections.iter().take(MAX_LISTED);
    ends.map(|connection| format!("{} to {}", connection.peer, connection.local)).collect::<Vec<_>>().join(", ")
}

/// How a change is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChangeOptions {
    /// The change is undone unless it is confirmed within this time.
    pub confirm_within: Option<Duration>,
    /// Replace a table as a whole where it has something unknown in it, and accept that connections are not tracked.
    pub force: bool,
    /// The port of SSH, whose connections conntrack has to track.
    pub ssh_port: u16,
}

/// What a change has done.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Whether the rules or their elements changed.
    pub changed: bool,
    /// What was done for connections older than the rules.
    pub primed: Option<Primed>,
    /// What undoes the change at its deadline.
    pub watcher: Option<Watcher>,
    /// What went wrong without harm.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// The outcome with warnings that come before its own.
    fn with(mut self, mut warnings: Vec<String>) -> Self {
        warnings.append(&mut self.warnings);
        Self { warnings, ..self }
    }
}

/// Compares two rulesets for the events: what the second one permits and denies that the first one does not. `None` is no
/// table, which accepts every packet.
pub type Comparer<'a> = dyn Fn(Option<&Ruleset>, Option<&Ruleset>) -> Changes + 'a;

/// The kernel and its records, as a user changes them.
pub struct Rollout<'a> {
    /// The records.
    pub store: &'a Store,
    /// The kernel.
    pub kernel: &'a mut dyn Kernel,
    /// The user.
    pub by: Operator,
    /// What the user says about the change, and what it overrides. It is not about what recovery does before it.
    pub note: Note,
    /// Compares rulesets.
    pub compare: &'a Comparer<'a>,
    /// Whether the table has something in it that edgeward does not know. Then nothing in it can be relied on, and it
    /// is replaced as a whole.
    pub is_unreadable: bool,
    /// Why the latest events could not be written to their file.
    undelivered: Option<String>,
    /// Whether that was said already.
    has_complained: bool,
}

impl<'a> Rollout<'a> {
    /// The kernel and its records, as a user changes them.
    pub fn new(store: &'a Store, kernel: &'a mut dyn Kernel, by: Operator, compare: &'a Comparer<'a>) -> Self {
        Self {
            store,
            kernel,
            by,
            note: Note::default(),
            compare,
            is_unreadable: false,
            undelivered: None,
            has_complained: false,
        }
    }

    /// The next state, by a transition that happens now.
    fn transition<T>(&self, transition: impl FnOnce(Stamp<'_>) -> T) -> T {
        transition(Stamp { by: &self.by, now: &Moment::now(), note: &self.note })
    }

    /// The kernel's table as it is now.
    fn live(&mut self) -> Result<Option<Live>, KernelError> {
        Ok(self.kernel.table()?.map(Live))
    }

    /// The ruleset of a generation that the kernel's table may hold from now on.
    fn ruleset(&mut self, number: u64) -> Result<Ruleset, StoreError> {
        let ruleset = self.store.ruleset(number)?;
        self.kernel.recall(&ruleset);
        Ok(ruleset)
    }
}

/// Gives the kernel the rulesets that its table may hold, by the records.
pub fn recall(store: &Store, kernel: &mut dyn Kernel, state: &State) {
    let switching = state.switching.iter().flat_map(|switching| [switching.from, switching.to]);
    let back_to = state.pending.as_ref().and_then(|pending| pending.back_to);
    for number in switching.chain([state.current, back_to]).flatten() {
        // Damage is reported where the generation is needed.
        let _ = store.ruleset(number).map(|ruleset| kernel.recall(&ruleset));
    }
}

/// The generation that the kernel has: the one that the state names, or the target of an interrupted change that took
/// effect.
pub fn generation_in_kernel(store: &Store, state: &State, live: Option<&Live>) -> Option<u64> {
    match &state.switching {
        Some(switching) if !holds(store, live, state.current) && holds(store, live, switching.to) => switching.to,
        _ => state.current,
    }
}

/// Whether the kernel's table is that of a generation.
fn holds(store: &Store, live: Option<&Live>, number: Option<u64>) -> bool {
    match number {
        None => means(live, None),
        Some(number) => store.ruleset(number).is_ok_and(|ruleset| means(live, Some(&ruleset))),
    }
}

/// An error with its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
