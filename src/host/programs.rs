//! Other programs: where they are looked for.
//!
//! Root runs what it finds, so it must not find what another user has put there: a relative folder of `PATH` is where the
//! user happens to be, and others of its folders may be writable by users who are not root.

#![expect(clippy::disallowed_methods, reason = "this is the module that may start other programs")]

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use crate::diag::escaped;

/// Where programs are looked for after `PATH`: users' paths often lack some of these.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const WRITABLE_BY_OTHERS: u32 = 0o022;
const EXECUTABLE: u32 = 0o111;

/// A command of another program, whose messages are in English; `None` if the program is not installed.
pub fn command(name: &str) -> Option<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_root = rustix::process::geteuid().is_root();
    let found = find(name, env::split_paths(&path).filter(|folder| !is_root || is_roots(folder)))?;
    let mut command = Command::new(found);
    // What it starts is looked for in the same places.
    command.env("PATH", FOLDERS.join(":")).env("LC_ALL", "C");
    Some(command)
}

/// The name of a process that runs.
pub fn name(process: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some(escaped(name.trim_end()))
}

/// Waits for a program to end until a deadline; `None` if it is still running then.
///
/// # Errors
/// The system refuses to say.
pub fn end(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        match child.try_wait()? {
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            status => return Ok(status),
        }
    }
}

fn find(name: &str, path: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let folders = path.filter(|folder| folder.is_absolute()).chain(FOLDERS.map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|file| fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & EXECUTABLE != 0))
}

/// Whether only root can change what is in a folder.
fn is_roots(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|folder| folder.uid() == 0 && folder.mode() & WRITABLE_BY_OTHERS == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(folder: &Path, mode: u32) -> PathBuf {
        let file = folder.join("edgeward-test-program");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn only_absolute_folders_are_searched() {
        let folder = tempfile::tempdir().unwrap();
        let file = program(folder.path(), 0o755);
        let found = |path: &[&Path]| find("edgeward-test-program", path.iter().map(|folder| (*folder).to_owned()));
        assert_eq!(found(&[Path::new("/none"), folder.path()]), Some(file.clone()));
        // From `/`, the same folder has a relative name.
        let relative = folder.path().strip_prefix("/").unwrap();
        assert!(Path::new("/").join(relative).join("edgeward-test-program").exists());
        assert_eq!(found(&[relative, Path::new(""), Path::new(".")]), None);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(found(&[folder.path()]), None);
        assert_eq!(
            find("sh", std::iter::empty()).and_then(|file| file.file_name().map(|name| name == "sh")),
            Some(true)
        );
    }

    #[test]
    fn root_does_not_search_what_others_can_write_to() {
        let folder = tempfile::tempdir().unwrap();
        let set = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        set(0o755);
        assert_eq!(is_roots(folder.path()), rustix::process::geteuid().is_root());
        for mode in [0o775, 0o777, 0o1777] {
            set(mode);
            assert!(!is_roots(folder.path()));
        }
    }
}
