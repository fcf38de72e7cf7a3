//! Locks against other runs.
//!
//! A lock is a file that only its owner and root can open, there only while it is held. A folder or a file that others can
//! read would not do: any of them could hold its lock (flock(2) needs no permission to write) and stop all runs. Nor would
//! a file in a folder that others can write to: any of them could make it first. There the lock is in a folder of this user.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, Uid};
use rustix::fs::{fchmod, fchown, flock, fstat, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};

use super::place::{Place, WRITABLE_BY_OTHERS};
use crate::diag::{is_invisible, shown, word};
use crate::emit;
use crate::host::{clock, users};

/// The lock of a folder.
const NAME: &str = "lock";
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// A longer wait is announced.
const SHORT_WAIT: Duration = Duration::from_secs(1);
/// A file that is replaced each time that it is opened.
const MAX_REPLACED: usize = 100;
/// What is shown of the command that holds a lock.
const MAX_COMMAND: usize = 120;
const MAX_HOLDER: u64 = 1024;

/// A lock, held until it is dropped. The system releases it when the process dies.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// What is removed at the end.
    name: Option<(OwnedFd, OsString)>,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The system refuses.
    #[error("cannot lock `{}`", shown(.0))]
    Io(PathBuf, #[source] io::Error),
    /// Another run kept it.
    #[error("`{}` is locked by {by}, and still was after {} s; nothing was changed.\n{}", shown(.path), .waited.as_secs(), .by.help(.file))]
    Held {
        /// What is locked.
        path: PathBuf,
        /// The file of the lock.
        file: PathBuf,
        /// By whom.
        by: Holder,
        /// How long was waited.
        waited: Duration,
    },
}

/// The run that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// As it has written into the file.
    Run {
        /// Its process.
        process: u32,
        /// Since when.
        since: String,
        /// Its command.
        command: String,
    },
    /// A run of another user, which cannot be read.
    User(String),
    /// It has written nothing yet, or is another program.
    Unknown,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run { process, since, command } => write!(f, "process {process} (`{command}`, since {since})"),
            Self::User(user) => write!(f, "a run of the user `{user}`"),
            Self::Unknown => f.write_str("another process"),
        }
    }
}

impl Holder {
    fn help(&self, file: &Path) -> String {
        let file = word(file);
        match self {
            Self::Run { process, .. } => format!("Try again when it has ended; `kill {process}` ends it"),
            Self::User(_) => format!("Try again when it has ended; if there is no such run, `rm {file}`"),
            Self::Unknown => format!("Try again when it has ended; `fuser -v {file}` shows which it is"),
        }
    }

    /// What a holder has written. Another user may have written it.
    fn read(file: &mut File) -> Self {
        let mut text = String::new();
        let read = file.take(MAX_HOLDER).read_to_string(&mut text);
        let text: String = text.chars().filter(|c| *c == '\n' || !is_invisible(*c)).collect();
        let mut lines = text.lines();
        match (read, lines.next().and_then(|id| id.parse().ok()), lines.next(), lines.next()) {
            (Ok(_), Some(process), Some(since), Some(command)) => {
                Self::Run { process, since: since.to_owned(), command: command.to_owned() }
            }
            _ => Self::Unknown,
        }
    }

    /// This run.
    fn write(file: &mut File) -> io::Result<()> {
        let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        let command: String = std::iter::once("edgeward".to_owned()).chain(words).collect::<Vec<_>>().join(" ");
        let command: String = command.chars().filter(|c| !is_invisible(*c)).take(MAX_COMMAND).collect();
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{}\n{}\n{command}\n", std::process::id(), clock::now())
    }
}

/// Locks a folder that no other user can write to; waits for other runs until its patience ends, and announces that.
///
/// # Errors
/// Another run keeps the lock, or the system refuses.
pub fn lock_folder(folder: &Path, patience: Duration, waiting: &mut dyn FnMut(&str)) -> Result<Lock, LockError> {
    let refused = |error| LockError::Io(folder.to_owned(), error);
    let place = Place::within(folder, OsStr::new(NAME)).map_err(refused)?;
    // Where no run can write, other users can hold the lock of the folder itself, which is waited for no longer.
    wait(folder, &place.path, patience, waiting, || match attempt(&place)? {
        Attempt::Unwritable => attempt_read_only(folder),
        attempt => Ok(attempt),
    })?
    .ok_or_else(|| refused(Errno::ACCESS.into()))
}

/// Locks a file that runs replace, as [`lock_folder`]. `None` where this user cannot write to its folder, and so no lock is
/// needed; or where others can write to it and there is no other place for a lock, which is announced.
///
/// In a folder that others can write to, only runs of this user are kept apart.
///
/// # Errors
/// As [`lock_folder`].
pub fn lock_file(path: &Path, patience: Duration, waiting: &mut dyn FnMut(&str)) -> Result<Option<Lock>, LockError> {
    let refused = |error| LockError::Io(path.to_owned(), error);
    // Two links to one file have one lock.
    let place = Place::of(path).map_err(refused)?;
    let folder = fstat(&place.folder).map_err(|error| refused(error.into()))?;
    if folder.st_mode & WRITABLE_BY_OTHERS != 0 {
        let name = name_elsewhere(&folder, &place.name);
        for around in own_folders() {
            let Ok(elsewhere) = Place::within(&around, &name) else { continue };
            if elsewhere.is_shared() {
                continue;
            }
            let held = wait(path, &elsewhere.path, patience, waiting, || attempt(&elsewhere))?;
            if held.is_some() {
                return Ok(held);
            }
        }
        waiting(&format!(
            "other users can write to the folder of `{}`, and there is no other place for its lock: of two runs at the \
             same time, one may lose the other's answers",
            shown(path)
        ));
        return Ok(None);
    }
    let mut name = OsString::from(".");
    name.push(&place.name);
    name.push(".lock");
    let place = Place { path: place.path.with_file_name(&name), name, ..place };
    wait(path, &place.path, patience, waiting, || attempt(&place))
}

/// Where a lock of this user may be: folders that exist for the time that the host runs, then the home folder.
fn own_folders() -> impl Iterator<Item = PathBuf> {
    let user = geteuid().as_raw();
    let runtime = if user == 0 { PathBuf::from("/run") } else { PathBuf::from(format!("/run/user/{user}")) };
    let named = ["XDG_RUNTIME_DIR", "HOME"].map(|name| std::env::var_os(name).map(PathBuf::from));
    let [named_runtime, home] = named.map(|folder| folder.filter(|folder| folder.is_absolute()));
    [Some(runtime), named_runtime, home].into_iter().flatten()
}

/// The name of a lock in another folder than its file.
fn name_elsewhere(folder: &Stat, name: &OsStr) -> OsString {
    let digest = emit::hexadecimal(&Sha256::digest(name.as_encoded_bytes()));
    format!(".edgeward-lock-{}-{}-{}", folder.st_dev, folder.st_ino, &digest[..16]).into()
}

/// Whether a run holds the lock of a folder at this moment. `false` if that cannot be determined.
pub fn is_locked(folder: &Path) -> bool {
    let Ok(place) = Place::within(folder, OsStr::new(NAME)) else { return false };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(&place.folder, &place.name, flags, Mode::empty());
    file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK))
}

/// The mark of a watcher, until it is dropped.
#[derive(Debug)]
pub struct Watched {
    _file: File,
}

/// Marks a folder as watched. It must be one that other users cannot open.
///
/// # Errors
/// It does not exist, or the system refuses.
pub fn mark_watched(folder: &Path) -> io::Result<Watched> {
    let file = File::open(folder)?;
    // Who asks whether it is watched holds it for a moment.
    flock(&file, FlockOperation::LockShared)?;
    Ok(Watched { _file: file })
}

/// Whether a process watches a folder at this moment. `false` if that cannot be determined.
pub fn is_watched(folder: &Path) -> bool {
    !wait_for_watchers(folder, Duration::ZERO)
}

/// Waits until no process watches a folder any more; `false` if one still does when the patience ends.
pub fn wait_for_watchers(folder: &Path, patience: Duration) -> bool {
    let Ok(file) = File::open(folder) else { return true };
    let end = Instant::now() + patience;
    while flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        if Instant::now() >= end {
            return false;
        }
        sleep(RETRY_INTERVAL);
    }
    true
}

/// What came of one attempt.
enum Attempt {
    Taken(Lock),
    Busy(Holder),
    /// This user cannot write to the folder.
    Unwritable,
}

fn wait(
    path: &Path,
    file: &Path,
    patience: Duration,
    waiting: &mut dyn FnMut(&str),
    mut attempt: impl FnMut() -> io::Result<Attempt>,
) -> Result<Option<Lock>, LockError> {
    let begin = Instant::now();
    let mut is_announced = false;
    loop {
        match attempt().map_err(|error| LockError::Io(path.to_owned(), error))? {
            Attempt::Taken(lock) => return Ok(Some(lock)),
            Attempt::Unwritable => return Ok(None),
            Attempt::Busy(by) if begin.elapsed() >= patience => {
                return Err(LockError::Held { path: path.to_owned(), file: file.to_owned(), by, waited: patience });
            }
            Attempt::Busy(by) => {
                if !is_announced && begin.elapsed() >= SHORT_WAIT {
                    waiting(&format!(
                        "`{}` is locked by {by}; waiting for at most {} s",
                        shown(path),
                        patience.as_secs()
                    ));
                    is_announced = true;
                }
                sleep(RETRY_INTERVAL);
            }
        }
    }
}

fn attempt(place: &Place) -> io::Result<Attempt> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    for _ in 0..MAX_REPLACED {
        let mut file = match openat(&place.folder, &place.name, flags, OWNER_ONLY) {
            Err(Errno::ROFS) => return Ok(Attempt::Unwritable),
            Err(Errno::ACCESS | Errno::PERM) => {
                return Ok(match place.stat()? {
                    Some(other) => Attempt::Busy(Holder::User(users::name(other.st_uid))),
                    None => Attempt::Unwritable,
                });
            }
            // `O_RDWR` does not open a folder.
            Err(Errno::ISDIR) => return Err(not_ours(place)),
            file => File::from(file?),
        };
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 {
            return Err(not_ours(place));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(Attempt::Busy(Holder::read(&mut file))),
            locked => locked?,
        }
        // The run that held it may have removed it meanwhile.
        if place.stat()?.is_some_and(|found| is_same(&found, &stat)) {
            sign(&mut file, &stat, place);
            return Ok(Attempt::Taken(Lock { file, name: Some((place.folder.try_clone()?, place.name.clone())) }));
        }
    }
    Ok(Attempt::Busy(Holder::Unknown))
}

fn not_ours(place: &Place) -> io::Error {
    io::Error::other(format!("`{}` is not a file of edgeward; remove it", shown(&place.path)))
}

/// Writes into the lock who holds it. Nothing depends on that.
fn sign(file: &mut File, stat: &Stat, place: &Place) {
    let own = geteuid().as_raw();
    let Ok(folder) = fstat(&place.folder) else { return };
    if stat.st_uid != own && stat.st_uid != folder.st_uid {
        return;
    }
    let _ = fchmod(&*file, OWNER_ONLY);
    // The owner of the folder can take it after root was killed.
    if own == 0 && stat.st_uid != folder.st_uid {
        let _ = fchown(&*file, Some(Uid::from_raw(folder.st_uid)), None);
    }
    let _ = Holder::write(file);
}

fn attempt_read_only(folder: &Path) -> io::Result<Attempt> {
    let file = File::open(folder)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(Attempt::Busy(Holder::Unknown)),
        locked => locked.map(|()| Attempt::Taken(Lock { file, name: None })).map_err(io::Error::from),
    }
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

impl Drop for Lock {
    fn drop(&mut self) {
        let Some((folder, name)) = &self.name else { return };
        let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        if let (Ok(found), Ok(own)) = (found, fstat(&self.file))
            && is_same(&found, &own)
        {
            let _ = unlinkat(folder, name, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    fn held(path: &Path) -> Option<String> {
        match lock_file(path, Duration::ZERO, &mut |_| {}) {
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        }
    }

    #[test]
    fn a_lock_is_there_while_it_is_held_and_names_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let (path, file) = (folder.path().join("a.lock.yaml"), folder.path().join(".a.lock.yaml.lock"));
        let lock = lock_file(&path, Duration::ZERO, &mut |_| {}).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let said = held(&path).unwrap();
        let id = std::process::id();
        assert!(
            said.contains(&format!("is locked by process {id} (`edgeward")) && said.contains(&format!("`kill {id}`"))
        );
        // Another file of the folder has another lock.
        assert_eq!(held(&folder.path().join("b.lock.yaml")), None);
        drop(lock);
        assert!(!file.exists());
        assert_eq!(held(&path), None);
    }

    #[test]
    fn what_a_killed_run_left_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "1\n2026-01-01T00:00:00Z\nedgeward refresh\n").unwrap();
        assert!(!is_locked(folder.path()));
        let lock = lock_folder(folder.path(), Duration::ZERO, &mut |_| {}).unwrap();
        assert!(is_locked(folder.path()));
        drop(lock);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn in_a_folder_of_all_users_the_lock_is_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock.yaml");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
        // Any user can make and hold it.
        let squatted = File::create(folder.path().join(".a.lock.yaml.lock")).unwrap();
        flock(&squatted, FlockOperation::NonBlockingLockExclusive).unwrap();
        let mut said = Vec::new();
        let lock = lock_file(&path, Duration::ZERO, &mut |note| said.push(note.to_owned())).unwrap();
        assert_eq!(lock.is_none(), !said.is_empty(), "{said:?}");
        if lock.is_some() {
            assert!(held(&path).unwrap().contains("is locked by process"));
            assert_eq!(held(&folder.path().join("b.lock.yaml")), None);
        }
        drop(lock);
        assert_eq!(held(&path), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_wait_is_announced_once_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let _held = lock_folder(folder.path(), Duration::ZERO, &mut |_| {}).unwrap();
        let mut said = Vec::new();
        let error = lock_folder(folder.path(), SHORT_WAIT * 2, &mut |note| said.push(note.to_owned())).unwrap_err();
        assert!(matches!(error, LockError::Held { by: Holder::Run { .. }, .. }), "{error}");
        assert!(said.len() == 1 && said[0].contains("waiting for at most 2 s"), "{said:?}");
    }

    #[test]
    fn a_link_or_a_file_with_two_names_is_not_taken_for_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (other, lock) = (folder.path().join("other"), folder.path().join(NAME));
        std::fs::write(&other, "precious").unwrap();
        let refused = || lock_folder(folder.path(), Duration::ZERO, &mut |_| {}).is_err();
        std::os::unix::fs::symlink(&other, &lock).unwrap();
        assert!(refused());
        std::fs::remove_file(&lock).unwrap();
        std::fs::hard_link(&other, &lock).unwrap();
        assert!(refused());
        assert_eq!(std::fs::read(&other).unwrap(), b"precious");
        assert_eq!(std::fs::metadata(&other).unwrap().nlink(), 2);
    }
}
