//! Folders that other users can change.

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, lstat};

use super::place::{WRITABLE_BY_OTHERS, is_trusted};
use crate::diag::{shown, word};
use crate::host::users;

/// Why the contents of a folder cannot be relied on, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Insecure {
    /// It belongs to another user.
    #[error(
        "`{}` belongs to the user `{user}`, who can change everything in it.\nLook at its contents first; then \
         `chown -R {own} {word} && chmod -R go-w {word}` gives it to you",
        shown(.folder),
        word = word(.folder)
    )]
    Owner {
        /// The folder.
        folder: PathBuf,
        /// Its owner.
        user: String,
        /// This user.
        own: String,
    },
    /// Others may write to it.
    #[error(
        "other users can write to `{}` (mode {mode:04o}).\nLook at its contents first; then `chmod -R go-w {}` keeps them \
         out",
        shown(.folder),
        word(.folder)
    )]
    Mode {
        /// The folder.
        folder: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is a link or a file.
    #[error("`{}` is not a folder, and a link to one is not followed.\n`rm {}` removes it", shown(.folder), word(.folder))]
    Other {
        /// What should be a folder.
        folder: PathBuf,
    },
}

/// Why a folder cannot be relied on; `None` if it can, or if it does not exist.
pub fn insecurity(folder: &Path) -> Option<Insecure> {
    let stat = lstat(folder).ok()?;
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let folder = folder.to_owned();
    if !is_folder {
        return Some(Insecure::Other { folder });
    }
    if !is_trusted(stat.st_uid) {
        let own = users::name(rustix::process::geteuid().as_raw());
        return Some(Insecure::Owner { folder, user: users::name(stat.st_uid), own });
    }
    let mode = stat.st_mode & 0o7777;
    (mode & WRITABLE_BY_OTHERS != 0).then_some(Insecure::Mode { folder, mode })
}
