//! Files that are written beside the ones that they replace.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fcntl_setfl, flock, fstat,
    openat, renameat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::place::Place;

/// What the names of temporary files begin with; letters and digits follow.
const PREFIX: &str = ".edgeward-";
/// A name that is taken is not tried again.
const MAX_NAMES: usize = 100;
/// The mode of new files: rulesets are not secret, and other users audit them.
const MODE: Mode = Mode::from_raw_mode(0o644);
const PERMISSIONS: u32 = 0o777;
/// How long a pipe may be without a reader.
const MAX_WITHOUT_READER: Duration = Duration::from_secs(10);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// A file that is written in full beside the one that it will replace; removed when dropped.
#[derive(Debug)]
pub struct Staged {
    place: Place,
    temporary: String,
    /// Its lock tells other runs that the file is in use.
    file: File,
    is_left: bool,
}

impl Staged {
    /// Writes a text beside the file that it will replace. That keeps its mode and its owner, unless another user may have
    /// put it there.
    pub(super) fn new(place: Place, text: &str) -> io::Result<Self> {
        sweep(&place.folder);
        let old = place.stat()?.filter(|old| FileType::from_raw_mode(old.st_mode) == FileType::RegularFile);
        let (temporary, file) = create(&place.folder)?;
        let mut staged = Self { place, temporary, file, is_left: true };
        staged.file.write_all(text.as_bytes())?;
        match old {
            Some(old) if staged.is_own(&old) => staged.take_after(&old)?,
            _ => fchmod(&staged.file, MODE)?,
        }
        staged.file.sync_all()?;
        Ok(staged)
    }

    /// Whether a file that is replaced belongs to this user or to the owner of its folder.
    fn is_own(&self, old: &Stat) -> bool {
        old.st_uid == geteuid().as_raw() || fstat(&self.place.folder).is_ok_and(|folder| folder.st_uid == old.st_uid)
    }

    fn take_after(&self, old: &Stat) -> io::Result<()> {
        let new = fstat(&self.file)?;
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) {
            // Only root can give a file away, and others only to groups that they are in.
            let _ = fchown(&self.file, Some(Uid::from_raw(old.st_uid)), Some(Gid::from_raw(old.st_gid)));
        }
        Ok(fchmod(&self.file, Mode::from_raw_mode(old.st_mode & PERMISSIONS))?)
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// The folder cannot be written to; the old file is as it was.
    pub fn commit(mut self) -> io::Result<()> {
        let Place { folder, name, .. } = &self.place;
        renameat(folder, self.temporary.as_str(), folder, name)?;
        self.is_left = false;
        // Without this a power failure may undo the rename.
        match openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            // A folder that this user may write to, but not read.
            Err(Errno::ACCESS) => Ok(()),
            folder => File::from(folder?).sync_all(),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.is_left {
            let _ = unlinkat(&self.place.folder, self.temporary.as_str(), AtFlags::empty());
        }
    }
}

/// Creates a temporary file, and locks it.
fn create(folder: &OwnedFd) -> io::Result<(String, File)> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for attempt in 0..MAX_NAMES {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{PREFIX}{}n{}n{attempt}", std::process::id(), time.as_nanos());
        let file = match openat(folder, name.as_str(), flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) => continue,
            file => File::from(file?),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Another run took it for one that was left over, and may have removed it already.
            Err(Errno::WOULDBLOCK) => {}
            Ok(()) if fstat(&file)?.st_nlink == 0 => {}
            // A file system without locks.
            _ => return Ok((name, file)),
        }
    }
    Err(Errno::EXIST.into())
}

/// Removes the temporary files of this user that runs have left which were killed. Those of runs that go on are locked.
pub(super) fn sweep(folder: &OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(entries) = openat(folder, ".", flags, Mode::empty()).and_then(Dir::new) else { return };
    for entry in entries.flatten().filter(|entry| is_temporary(entry.file_name().to_bytes())) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = openat(folder, entry.file_name(), flags, Mode::empty()) else { continue };
        let is_ours = fstat(&file).is_ok_and(|stat| {
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            is_file && stat.st_uid == geteuid().as_raw() && stat.st_nlink == 1
        });
        if is_ours && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = unlinkat(folder, entry.file_name(), AtFlags::empty());
        }
    }
}

fn is_temporary(name: &[u8]) -> bool {
    let rest = name.strip_prefix(PREFIX.as_bytes());
    // Six characters are those of earlier versions.
    rest.is_some_and(|rest| rest.len() >= 6 && rest.iter().all(u8::is_ascii_alphanumeric))
}

/// Writes a text into a pipe or a device.
pub(super) fn pour(place: &Place, text: &str) -> io::Result<()> {
    let deadline = Instant::now() + MAX_WITHOUT_READER;
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = loop {
        match openat(&place.folder, &place.name, flags, Mode::empty()) {
            Err(Errno::NXIO) if Instant::now() < deadline => std::thread::sleep(RETRY_INTERVAL),
            Err(Errno::NXIO) => {
                let waited = MAX_WITHOUT_READER.as_secs();
                return Err(io::Error::other(format!("it is a pipe that no program has read from for {waited} s")));
            }
            file => break file?,
        }
    };
    let found = fstat(&file)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::CharacterDevice => {}
        FileType::Fifo if !place.is_shared() || found.st_uid == geteuid().as_raw() => {}
        FileType::Fifo => return Err(io::Error::other("it is a pipe of another user")),
        _ => return Err(io::Error::other("it is neither a file nor a pipe; name a file, or `-` for standard output")),
    }
    fcntl_setfl(&file, OFlags::empty())?;
    File::from(file).write_all(text.as_bytes())
}

/// Writes a text to an open descriptor of this process.
pub(super) fn pour_into(descriptor: u32, text: &str) -> io::Result<()> {
    match descriptor {
        1 => io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()),
        2 => io::stderr().write_all(text.as_bytes()),
        // A file is opened a second time here, and keeps what it has.
        _ => {
            let path = format!("/proc/self/fd/{descriptor}");
            std::fs::OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_files_are_known_by_their_names() {
        for (name, is_ours) in [
            (".edgeward-a1B2c3", true),
            (".edgeward-4711n1764142921000000000n0", true),
            (".edgeward-", false),
            (".edgeward-notes.md", false),
            (".edgeward.lock", false),
            ("edgeward-a1B2c3", false),
        ] {
            assert_eq!(is_temporary(name.as_bytes()), is_ours, "{name}");
        }
    }
}
