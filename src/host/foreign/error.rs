//! Why the rules of other programs are not known.

use std::io;
use std::path::PathBuf;

use crate::diag::shown;
use crate::host::kernel::KernelError;

/// Why the rules of other programs are not known.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// The kernel does not list them.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A file or folder cannot be read.
    #[error("cannot read `{}`", shown(.0))]
    Io(PathBuf, #[source] io::Error),
}
