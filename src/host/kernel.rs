//! The kernel's tables, through the program nft.

#![expect(clippy::disallowed_methods, reason = "this is the module that may start nft")]

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use crate::source::Source;

/// Where nft is, besides `PATH`: users' paths often lack these.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];
/// nft repeats what it does not like; a set on one line is megabytes.
const LONGEST: usize = 400;

/// Why the kernel's tables cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// There is no nft.
    #[error("there is no program `nft`; install the package nftables (1.0.6 or later)")]
    NoNft,
    /// The system does not let us.
    #[error("the kernel's tables may not be read without the capability CAP_NET_ADMIN; run as root")]
    NotPermitted,
    /// nft says something else.
    #[error("nft failed: {0}")]
    Failed(String),
    /// nft could not be started.
    #[error("cannot start nft")]
    Start(#[source] std::io::Error),
}

/// Reads a table of the family inet as nft lists it, without what it has counted; `None` where there is no such table.
///
/// The text, not JSON: where something in it is not understood, its line can be shown.
///
/// # Errors
/// nft is missing, not permitted, or fails.
pub fn list_table(name: &str) -> Result<Option<Source>, KernelError> {
    let output =
        nft().args(["--stateless", "list", "table", "inet", name]).output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => KernelError::NoNft,
            _ => KernelError::Start(error),
        })?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(Some(Source::new("kernel", &String::from_utf8_lossy(&output.stdout))));
    }
    if stderr.contains("Operation not permitted") {
        return Err(KernelError::NotPermitted);
    }
    // A loader that misses a library says the same words, but not as nft does.
    if output.status.code() == Some(1) && stderr.starts_with("Error: No such file or directory") {
        return Ok(None);
    }
    if stderr.trim().is_empty() {
        return Err(KernelError::Failed(output.status.to_string()));
    }
    Err(KernelError::Failed(stderr.chars().take(LONGEST).collect()))
}

fn nft() -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A relative folder, or an empty one, would be a program of whoever chose the current folder.
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from)).filter(|folder| folder.is_absolute());
    let path: OsString = std::env::join_paths(folders).unwrap_or(path);
    let mut command = Command::new("nft");
    command.env("PATH", path).env("LC_ALL", "C");
    command
}
