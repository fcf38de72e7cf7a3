//! Failures: an exit code, and what the user is shown. They print nothing; `render::failure` does, at the end of a run.

use std::path::Path;

use anyhow::anyhow;

use crate::cli::hint;
use crate::diag::Diagnostic;
use crate::guard::Need;
use crate::host::files::{LockError, ReadError};
use crate::host::generations::{Overridden, StoreError};
use crate::host::kernel::KernelError;
use crate::host::lists::ListFileError;
use crate::host::rollout::RolloutError;
use crate::host::watch::WatchError;
use crate::net::DomainName;
use crate::source::Source;
use crate::wording::count;

/// How many problems of a text a sentence has.
const MAX_IN_SENTENCE: usize = 3;

/// The exit codes of failures, in the order of their severity; `EXIT_CODES` describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Packets are treated differently, or not as expected.
    Different = 1,
    /// The policy, the lockfile, the catalog or an argument is invalid.
    Usage = 2,
    /// Required names have no address.
    Unresolved = 3,
    /// A file, the kernel or a permission.
    System = 4,
    /// A safety check refuses the change.
    Refused = 5,
}

/// A safety check that can refuse a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Check {
    /// A live SSH session could not be opened again.
    Session,
    /// SSH from a prefix of `management.from`, or from everywhere, would be denied.
    Management,
    /// SSH would be denied from everywhere: an edge host enforces, and `management.from` is empty.
    NoManagement,
    /// A DNS server of `dns.servers` would be denied.
    Dns,
    /// The API server would be denied.
    ApiServer,
    /// The connections of this host could not be read, so they were not checked.
    Connections,
    /// Conntrack does not track a live SSH session, so that the rules would take its next packet for a new connection.
    Untracked,
    /// A change is pending that has to be confirmed or undone first.
    Pending,
    /// The change was undone before, by its deadline or by `edgeward rollback`.
    Undone,
    /// What is to be confirmed is not what the kernel has, or boot could not load it.
    NotInForce,
    /// Nothing that is started here would be left to undo the change at its deadline, as in a container.
    Watcher,
    /// The ruleset does not decide what the policy means: a bug in edgeward.
    Proof,
}

impl From<Need> for Check {
    fn from(need: Need) -> Self {
        match need {
            Need::Session => Self::Session,
            Need::Management => Self::Management,
            Need::Dns => Self::Dns,
            Need::ApiServer => Self::ApiServer,
        }
    }
}

/// Why a safety check refuses a change.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub(crate) struct Refusal {
    /// The safety check.
    pub(crate) check: Check,
    /// What it found.
    pub(crate) message: String,
}

impl From<Refusal> for Overridden {
    fn from(refusal: Refusal) -> Self {
        let check = serde_json::to_value(refusal.check).ok();
        let check = check.as_ref().and_then(|word| word.as_str()).unwrap_or_default().to_owned();
        Self { check, message: refusal.message }
    }
}

/// Why a command fails.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) messages: Vec<Message>,
    /// What refused the change; the messages say it, too.
    pub(crate) refusals: Vec<Refusal>,
    /// The names without an address; the messages say it, too.
    pub(crate) unresolved: Vec<DomainName>,
}

/// What the user is shown.
#[derive(Debug)]
pub(crate) enum Message {
    /// Problems of a text, with their places.
    Diagnostics(Box<Source>, Vec<Diagnostic>),
    /// An error that has no place in a text.
    Error(anyhow::Error),
}

impl Failure {
    /// A comparison that does not hold, and whose result has been printed: exit code 1.
    pub(crate) fn different() -> Self {
        Self { exit: Exit::Different, messages: Vec::new(), refusals: Vec::new(), unresolved: Vec::new() }
    }

    /// An input that is invalid: exit code 2.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::different().at(Exit::Usage).with(error)
    }

    /// A text that is invalid: exit code 2.
    pub(crate) fn invalid(source: Source, diagnostics: Vec<Diagnostic>) -> Self {
        let mut failure = Self::different().at(Exit::Usage);
        failure.messages.push(Message::Diagnostics(Box::new(source), diagnostics));
        failure
    }

    /// Names without an address: exit code 3.
    pub(crate) fn unresolved(names: Vec<DomainName>, error: impl Into<anyhow::Error>) -> Self {
        Self { unresolved: names, ..Self::different().at(Exit::Unresolved).with(error) }
    }

    /// A file, the kernel or a permission: exit code 4.
    pub(crate) fn system(error: impl Into<anyhow::Error>) -> Self {
        Self::different().at(Exit::System).with(error)
    }

    /// A safety check that refuses the change: exit code 5.
    pub(crate) fn refused(check: Check, error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        Self::refused_by(vec![Refusal { check, message: format!("{error:#}") }], error)
    }

    /// Safety checks that refuse the change, with one message for all: exit code 5.
    pub(crate) fn refused_by(refusals: Vec<Refusal>, error: impl Into<anyhow::Error>) -> Self {
        Self { refusals, ..Self::different().at(Exit::Refused).with(error) }
    }

    /// The messages on one line.
    pub(crate) fn sentence(&self) -> String {
        let one = |message: &Message| match message {
            Message::Diagnostics(source, problems) => {
                let first = problems.iter().take(MAX_IN_SENTENCE).map(|problem| problem.message.clone());
                let more = problems.len().checked_sub(MAX_IN_SENTENCE).filter(|more| *more > 0);
                let more = more.map(|more| format!("and {}", count(more, "more problem")));
                format!("{}: {}", source.name, first.chain(more).collect::<Vec<_>>().join("; "))
            }
            Message::Error(error) => format!("{error:#}"),
        };
        self.messages.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// The same messages with another exit code.
    pub(crate) fn at(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Adds a message.
    pub(crate) fn with(mut self, error: impl Into<anyhow::Error>) -> Self {
        self.messages.push(Message::Error(error.into()));
        self
    }

    /// Both failures, in this order, with the exit code of the more severe one.
    pub(crate) fn and(mut self, later: Self) -> Self {
        self.exit = self.exit.max(later.exit);
        self.messages.extend(later.messages);
        self.refusals.extend(later.refusals);
        self.unresolved.extend(later.unresolved);
        self
    }
}

/// What a run ends with that continued after a failure.
pub(crate) fn continued(failure: Option<Failure>, done: Result<(), Failure>) -> Result<(), Failure> {
    match (failure, done) {
        (None, done) => done,
        (Some(failure), Ok(())) => Err(failure),
        (Some(failure), Err(later)) => Err(failure.and(later)),
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(..) => Self::system(error),
            ReadError::Unusable(unusable) => Self::invalid(unusable.source, vec![unusable.diagnostic]),
            ReadError::Terminal | ReadError::ReadTwice => Self::usage(error),
        }
    }
}

impl From<ListFileError> for Failure {
    fn from(error: ListFileError) -> Self {
        match error {
            ListFileError::Io(..) => Self::system(error),
            ListFileError::Lines(..) | ListFileError::Published(..) => Self::usage(error),
        }
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        Self::system(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoGeneration { .. } => {
                Self::system(anyhow!("{error}; `{}` lists them", hint::command("history")))
            }
            StoreError::Damaged { .. } | StoreError::Missing { .. } => {
                Self::system(anyhow!("{error}; `{}` says which generations are whole", hint::command("history")))
            }
            error => Self::system(error),
        }
    }
}

/// As any error of the records, except that a generation that does not exist is a wrong argument.
pub(crate) fn chosen<T>(found: Result<T, StoreError>) -> Result<T, Failure> {
    found.map_err(|error| match error {
        StoreError::NoGeneration { .. } => Failure::from(error).at(Exit::Usage),
        error => error.into(),
    })
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        match error {
            error @ KernelError::Unreadable(_) => Self::system(anyhow!(
                "{error}; nothing was changed. `nft list table inet edgeward` shows it. Delete it, or replace the whole \
                 table with `{}`",
                hint::command("apply").policy_of_run().word("--force")
            )),
            error => Self::system(error),
        }
    }
}

impl From<RolloutError> for Failure {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Store(error) => error.into(),
            RolloutError::Kernel(error) => error.into(),
            RolloutError::Untracked(_) => Self::refused(Check::Untracked, error),
            RolloutError::NotInForce { ref policy, .. } => {
                let apply = hint::command("apply").policy(policy.as_deref().unwrap_or(Path::new("POLICY")));
                let apply = apply.option("confirm-within", "2m");
                let rollback = hint::command("rollback");
                Self::refused(
                    Check::NotInForce,
                    anyhow!("{error}. `{rollback}` undoes it now; `{apply}` brings it into force again"),
                )
            }
            RolloutError::Watch(error) => error.into(),
            error => Self::system(error),
        }
    }
}

impl From<WatchError> for Failure {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Ends(_) => Self::refused(Check::Watcher, error),
            error => Self::system(error),
        }
    }
}
