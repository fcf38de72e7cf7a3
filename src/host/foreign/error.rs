//! Why the rules of other programs are not known.

use std::io;
use std::path::PathBuf;

use crate::diag::shown;
use crate::host::kernel::KernelError;

/// Why the rules of other programs are not known.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// nft does not list them.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// nft lists them in a form that this version does not know. Skipping it could skip a chain that drops.
    #[error("the list of chains from nft is not understood: {0}")]
    Malformed(String),
    /// A file or folder cannot be read.
    #[error("cannot read `{}`", shown(.0))]
    Io(PathBuf, #[source] io::Error),
}
