//! Folders that other users can change.

use std::path::Path;

use rustix::fs::{FileType, lstat};

use super::place::{WRITABLE_BY_OTHERS, is_trusted};
use crate::host::users;

/// Why the contents of a folder cannot be relied on, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Insecure {
    /// It belongs to another user.
    #[error(
        "`{folder}` belongs to the user `{user}`, who can change everything in it.\nLook at its contents first; then \
         `chown -R {own} '{folder}' && chmod -R go-w '{folder}'` gives it to you"
    )]
    Owner {
        /// The folder.
        folder: String,
        /// Its owner.
        user: String,
        /// This user.
        own: String,
    },
    /// Others may write to it.
    #[error(
        "other users can write to `{folder}` (mode {mode:04o}).\nLook at its contents first; then \
         `chmod -R go-w '{folder}'` keeps them out"
    )]
    Mode {
        /// The folder.
        folder: String,
        /// Its mode.
        mode: u32,
    },
    /// It is a link or a file.
    #[error("`{folder}` is not a folder, and a link to one is not followed.\n`rm '{folder}'` removes it")]
    Other {
        /// What should be a folder.
        folder: String,
    },
}

/// Why a folder cannot be relied on; `None` if it can, or if it does not exist.
pub fn insecurity(folder: &Path) -> Option<Insecure> {
    let stat = lstat(folder).ok()?;
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let folder = folder.display().to_string();
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
