//! Where an output goes: an open folder, and a name in it.
//!
//! Root writes into folders of other users, too. A link there would lead its output to any file of the host, so a link is
//! followed only if no user but this one and root can have put it where it is. This is checked for each part of a path,
//! by the folders that were opened and not by their names, which may lead elsewhere a moment later.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::diag::shown;

/// As the kernel has it (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Write permission for others than the owner.
pub(super) const WRITABLE_BY_OTHERS: u32 = 0o022;
const WRITABLE_BY_ALL: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// A name in an open folder. There may be no such file.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: OwnedFd,
    pub(super) name: OsString,
    /// The path that leads there, without links.
    pub(super) path: PathBuf,
}

/// Why a path is not written to.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(
        "`{}` is a link, and other users can change it; no such link is followed when a file is written. Name the file \
         that it leads to, or another folder",
        shown(.0)
    )]
    Link(PathBuf),
    #[error("`{}` is a folder; name a file in it", shown(.0))]
    Folder(PathBuf),
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        Self::other(refused)
    }
}

impl Place {
    /// Finds the place that a path leads to.
    ///
    /// # Errors
    /// A folder of the path does not exist or cannot be searched, or a link of it is not followed.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        match Walk::to_end(path)? {
            (walk, Some(name)) => Ok(Self { path: walk.path.join(&name), folder: walk.folder, name }),
            (..) => Err(Refused::Folder(path.to_owned()).into()),
        }
    }

    /// A name in a folder, which may be a link. Only for folders that no other user can write to.
    ///
    /// # Errors
    /// The folder cannot be opened.
    pub(super) fn within(folder: &Path, name: &OsStr) -> io::Result<Self> {
        let path = folder.join(name);
        Ok(Self { folder: open_folder(CWD, folder.as_os_str())?, name: name.to_owned(), path })
    }

    /// What is there; `None` if there is nothing.
    ///
    /// # Errors
    /// The system refuses to say.
    pub(super) fn stat(&self) -> io::Result<Option<Stat>> {
        match statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            stat => Ok(Some(stat?)),
        }
    }

    /// Whether other users can write to the folder.
    pub(super) fn is_shared(&self) -> bool {
        fstat(&self.folder).map_or(true, |folder| !is_private(&folder))
    }
}

/// The path of a folder without links.
///
/// # Errors
/// As [`Place::of`]; it does not exist, or is no folder.
pub(super) fn folder(path: &Path) -> io::Result<PathBuf> {
    match Walk::to_end(path)? {
        (walk, None) => Ok(walk.path),
        (walk, Some(name)) => match walk.path.join(name).try_exists()? {
            true => Err(Errno::NOTDIR.into()),
            false => Err(Errno::NOENT.into()),
        },
    }
}

/// A path on the way to its end.
struct Walk {
    folder: OwnedFd,
    /// The path of the folder.
    path: PathBuf,
    /// The parts of the path that are left, the next one last.
    left: Vec<OsString>,
    links: usize,
}

impl Walk {
    /// Follows a path, to a folder or to a name in one that is no folder.
    fn to_end(path: &Path) -> io::Result<(Self, Option<OsString>)> {
        let start = open_folder(CWD, OsStr::new("."))?;
        let mut walk = Self { folder: start, path: PathBuf::new(), left: Vec::new(), links: 0 };
        walk.push(path);
        while let Some(name) = walk.left.pop() {
            if name == "/" || name == ".." {
                walk.enter(open_folder(&walk.folder, &name)?, &name);
                continue;
            }
            let is_last = walk.left.is_empty();
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match openat(&walk.folder, &name, flags, Mode::empty()) {
                Err(Errno::NOENT) if is_last => return Ok((walk, Some(name))),
                found => found?,
            };
            match FileType::from_raw_mode(fstat(&found)?.st_mode) {
                FileType::Symlink => walk.follow(&found, &name)?,
                FileType::Directory => walk.enter(found, &name),
                _ if is_last => return Ok((walk, Some(name))),
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        Ok((walk, None))
    }

    fn push(&mut self, path: &Path) {
        let parts = path.components().filter(|part| *part != Component::CurDir);
        self.left.extend(parts.map(|part| part.as_os_str().to_owned()).rev());
    }

    fn enter(&mut self, folder: OwnedFd, name: &OsStr) {
        self.folder = folder;
        self.path.push(name);
    }

    fn follow(&mut self, link: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        if !is_followed(&fstat(&self.folder)?, &fstat(link)?) {
            return Err(Refused::Link(self.path.join(name)).into());
        }
        let target = readlinkat(link, "", Vec::new())?;
        self.push(Path::new(&OsString::from_vec(target.into_bytes())));
        Ok(())
    }
}

fn open_folder(at: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    // The folder need not be readable.
    Ok(openat(at, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

pub(super) fn is_trusted(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

/// Whether only this user and root can write to a folder.
pub(super) fn is_private(folder: &Stat) -> bool {
    is_trusted(folder.st_uid) && folder.st_mode & WRITABLE_BY_OTHERS == 0
}

/// Whether only this user and root can have put a link into its folder. In a sticky folder no other user can replace it; in
/// one that a group writes to, a link of this user is taken for his own work.
fn is_followed(folder: &Stat, link: &Stat) -> bool {
    let is_kept = folder.st_mode & STICKY != 0 || folder.st_mode & WRITABLE_BY_ALL == 0;
    is_private(folder) || is_kept && is_trusted(folder.st_uid) && is_trusted(link.st_uid)
}
