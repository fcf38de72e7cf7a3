//! Why a command fails, and its exit code.

use std::process::ExitCode;

use crate::cli::render;
use crate::diag::Severity;
use crate::host::files::ReadError;
use crate::host::generations::StoreError;
use crate::host::kernel::KernelError;
use crate::host::lists::ListFileError;
use crate::host::rollout::RolloutError;

/// Why a command ends without having done its work; the variants are the exit codes of the contract.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The user has been told.
    Told(u8),
    /// The policy, the lockfile, the catalog or an argument is wrong: 2.
    Usage(anyhow::Error),
    /// Names without an address: 3.
    Unresolved(anyhow::Error),
    /// A file or a permission: 4.
    System(anyhow::Error),
    /// A check that guards the network says no: 5.
    Refused(anyhow::Error),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(..) => Failure::System(error.into()),
            ReadError::Unusable(unusable) => {
                render::diagnostics(&unusable.source, vec![unusable.diagnostic], Severity::Error);
                Failure::Told(2)
            }
        }
    }
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Told(code) => *code,
            Failure::Usage(_) => 2,
            Failure::Unresolved(_) => 3,
            Failure::System(_) => 4,
            Failure::Refused(_) => 5,
        }
    }

    /// Tells the user, once.
    pub(crate) fn told(self) -> Self {
        let code = self.code();
        match self {
            Failure::Told(_) => {}
            Failure::Usage(error) | Failure::Unresolved(error) | Failure::System(error) | Failure::Refused(error) => {
                render::error(&format!("{error:#}"));
            }
        }
        Failure::Told(code)
    }

    pub(crate) fn report(self) -> ExitCode {
        ExitCode::from(self.told().code())
    }
}

impl From<ListFileError> for Failure {
    fn from(error: ListFileError) -> Self {
        match error {
            ListFileError::Io(..) => Failure::System(error.into()),
            ListFileError::Lines(..) => Failure::Usage(error.into()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::System(error.into())
    }
}

/// As any failure of the records; but that somebody names a generation that is not there is a mistake of theirs.
pub(crate) fn chosen<T>(found: Result<T, StoreError>) -> Result<T, Failure> {
    found.map_err(|error| match error {
        StoreError::NoGeneration { .. } => Failure::Usage(error.into()),
        error => error.into(),
    })
}

impl From<KernelError> for Failure {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::Unreadable(unusable) => {
                render::diagnostics(&unusable.source, vec![unusable.diagnostic], Severity::Error);
                Failure::System(anyhow::anyhow!(
                    "the kernel's table `inet edgeward` has something in it that edgeward did not make; nothing was \
                     changed. Delete the rule, or `edgeward apply --force` replaces the whole table"
                ))
            }
            error => Failure::System(error.into()),
        }
    }
}

impl From<RolloutError> for Failure {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Store(error) => error.into(),
            RolloutError::Kernel(error) => error.into(),
            RolloutError::Untracked(_) => Failure::Refused(error.into()),
            error => Failure::System(error.into()),
        }
    }
}
