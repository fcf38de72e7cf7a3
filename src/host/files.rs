//! Files: read with bounds, written whole or not at all.

// The one place that touches the file system; clippy.toml bans it elsewhere.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the module that may")]

mod input;
mod lock;
mod ownership;
mod place;
mod staged;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::diag::{Code, Diagnostic, shown};
use crate::source::{Source, Span};

use place::Place;

pub(super) use input::open;
pub use lock::{
    Lock, LockError, Watched, is_locked, is_watched, lock_file, lock_folder, mark_watched, wait_for_watchers,
};
pub use ownership::{Insecure, insecurity};
pub use staged::Staged;

/// More than any policy, lockfile or catalog needs: a device or a wrong path does not fill the memory.
const MAX_TEXT: u64 = 64 << 20;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses.
    #[error("cannot read `{}`", shown(.0))]
    Io(PathBuf, #[source] std::io::Error),
    /// The file is not text that edgeward can use.
    #[error("`{}`: {}", .0.source.name, .0.diagnostic.message)]
    Unusable(Box<Unusable>),
    /// Standard input is a terminal.
    #[error(
        "standard input is a terminal: name a file, or send the text through a pipe or from a file, with `|` or `<`"
    )]
    Terminal,
    /// Two inputs of one command are standard input.
    #[error("standard input can be read once: name a file for the other input")]
    ReadTwice,
}

/// Why a text could not be read.
#[derive(Debug)]
pub(super) enum TextError {
    /// The system refuses.
    Io(std::io::Error),
    /// It is not text that edgeward can use.
    Unusable(Box<Unusable>),
}

/// A file that cannot be used, and where that shows.
#[derive(Debug)]
pub struct Unusable {
    /// The file, as far as it is text.
    pub source: Source,
    /// What is wrong.
    pub diagnostic: Diagnostic,
}

fn unusable(name: &str, text: &str, code: Code, message: &str, help: &str) -> Box<Unusable> {
    let source = Source::new(name, text);
    let at = source.text().len();
    let span = Span { start: at, end: at };
    let diagnostic = Diagnostic { code, span, message: message.to_owned(), help: Some(help.to_owned()) };
    Box::new(Unusable { source, diagnostic })
}

/// Whether a path is a folder.
///
/// # Errors
/// There is no such path, or the system refuses to say.
pub fn is_folder(path: &Path) -> std::io::Result<bool> {
    std::fs::metadata(path).map(|metadata| metadata.is_dir())
}

/// Reads a text file of at most 64 MiB.
///
/// # Errors
/// The file cannot be read, is a folder, is too large, or is not UTF-8.
pub fn read(path: &Path) -> Result<Source, ReadError> {
    let io = |error| ReadError::Io(path.to_owned(), error);
    let file = open(path).map_err(io)?;
    let name = shown(path);
    if file.get_ref().metadata().map_err(io)?.is_dir() {
        let help = "name a file in it";
        let unusable = unusable(&name, "", Code::NotText, "expected a file, found a folder", help);
        return Err(ReadError::Unusable(unusable));
    }
    text(&name, file).map_err(|error| match error {
        TextError::Io(error) => io(error),
        TextError::Unusable(unusable) => ReadError::Unusable(unusable),
    })
}

/// Reads a text of at most 64 MiB to its end.
pub(super) fn text(name: &str, reader: impl Read) -> Result<Source, TextError> {
    let unusable = |text, code, message: &str, help| TextError::Unusable(unusable(name, text, code, message, help));
    let mut bytes = Vec::new();
    reader.take(MAX_TEXT + 1).read_to_end(&mut bytes).map_err(TextError::Io)?;
    if bytes.len() as u64 > MAX_TEXT {
        let message = format!("the file is larger than {} MiB", MAX_TEXT >> 20);
        let help = "no policy, catalog or lockfile is that large; check the path";
        return Err(unusable("", Code::TooLarge, &message, help));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error) => {
            let (valid, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
            let before = String::from_utf8_lossy(&bytes[..valid]);
            let message = format!("the byte 0x{:02x} is not UTF-8 text", bytes[valid]);
            Err(unusable(&before, Code::NotText, &message, "save the file as UTF-8"))
        }
    }
}

/// Reads a file; `None` where it does not exist.
///
/// # Errors
/// As [`read`], but for a file that does not exist.
pub fn read_if_there(path: &Path) -> Result<Option<Source>, ReadError> {
    match read(path) {
        Err(ReadError::Io(_, error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Writes a file atomically: readers find the old or the new text, even after a power failure. A device, a pipe or an open
/// descriptor gets the text as it is.
///
/// # Errors
/// The folder cannot be written to, the path leads through a link that another user can change, or to something that
/// cannot be written; the old file is as it was.
pub fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(descriptor) = descriptor(path) {
        return staged::pour_into(descriptor, text);
    }
    let place = Place::of(path)?;
    match place.stat()?.map(|found| FileType::from_raw_mode(found.st_mode)) {
        None | Some(FileType::RegularFile) => Staged::new(place, text)?.commit(),
        Some(_) => staged::pour(&place, text),
    }
}

/// Writes a text beside a file that it will replace, so that only the rename is left. Only for folders that no other user
/// can write to.
///
/// # Errors
/// The folder cannot be written to.
pub fn stage(path: &Path, text: &str) -> std::io::Result<Staged> {
    Staged::new(Place::within(folder_of(path), path.file_name().unwrap_or_default())?, text)
}

/// The number of an open descriptor of this process, by its path: `/dev/stdout`, `/dev/fd/N`, `/proc/self/fd/N`.
pub(super) fn descriptor(path: &Path) -> Option<u32> {
    const STANDARD: [&str; 3] = ["/dev/stdin", "/dev/stdout", "/dev/stderr"];
    let standard = (0..).zip(STANDARD).find(|(_, name)| path == Path::new(name));
    standard.map(|(number, _)| number).or_else(|| {
        let number = path.strip_prefix("/dev/fd").or_else(|_| path.strip_prefix("/proc/self/fd")).ok()?;
        number.to_str()?.parse().ok()
    })
}

/// Removes temporary files that runs of this user have left in a folder which were killed.
pub fn sweep(folder: &Path) {
    if let Ok(place) = Place::within(folder, OsStr::new("")) {
        staged::sweep(&place.folder);
    }
}

/// An error without the path of a temporary file, which says nothing to a user.
fn without_path(error: std::io::Error) -> std::io::Error {
    let source = error.get_ref().and_then(|inner| inner.source()?.downcast_ref::<std::io::Error>());
    match source.and_then(std::io::Error::raw_os_error) {
        Some(code) => std::io::Error::from_raw_os_error(code),
        None => error,
    }
}

/// The absolute path of a folder. A link is followed only if no other user can change it.
///
/// # Errors
/// It does not exist, or leads through another user's link.
pub fn own_folder(path: &Path) -> std::io::Result<PathBuf> {
    canonical(&place::folder(path)?)
}

/// The absolute path of a file or folder, without links.
///
/// # Errors
/// It does not exist.
pub fn canonical(path: &Path) -> std::io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

/// Creates a folder that only its owner can open, and its parents, if they do not exist.
///
/// # Errors
/// The system refuses, or the path leads through a link that another user can change.
pub fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    // What exists must not lead to the folder of another.
    if let Some(around) = folder.ancestors().skip(1).find(|around| around.symlink_metadata().is_ok()) {
        place::folder(around)?;
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Creates a folder with files in it atomically: after a crash there is the whole folder, or none.
///
/// # Errors
/// The parent folder cannot be written to, or there is a folder of that name.
pub fn write_folder(folder: &Path, files: &[(&str, &str)]) -> std::io::Result<()> {
    let around = folder_of(folder);
    let unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(around).map_err(without_path)?;
    for (name, text) in files {
        let mut file = File::create(unfinished.path().join(name))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
    }
    File::open(unfinished.path())?.sync_all()?;
    // The rename replaces an empty folder, and fails for one with files in it.
    std::fs::rename(unfinished.path(), folder)?;
    let _ = unfinished.keep();
    File::open(around)?.sync_all()
}

/// The prefix of folders that are not complete. Only a crash leaves one.
pub const UNFINISHED: &str = ".unfinished-";

/// The names in a folder, in no particular order; none where the folder does not exist.
///
/// # Errors
/// The folder cannot be read.
pub fn names_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Removes a folder with everything in it, if it exists.
///
/// # Errors
/// The system refuses.
pub fn remove_folder(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes an empty folder that is in the place of a file. One with something in it stays, and writing the file fails.
pub fn make_room(path: &Path) {
    let _ = std::fs::remove_dir(path);
}

/// Removes a file, or a folder with everything in it, if it exists.
///
/// # Errors
/// The system refuses it.
pub fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => remove_folder(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.nft");
        write(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(read(&path).unwrap().text(), "two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_text_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let error = |path: &Path| read(path).unwrap_err().to_string();
        assert!(error(folder.path()).ends_with("`: expected a file, found a folder"));
        let path = folder.path().join("binary");
        std::fs::write(&path, b"version: 1\n\xff").unwrap();
        assert!(error(&path).ends_with("`: the byte 0xff is not UTF-8 text"));
        assert!(read_if_there(&folder.path().join("none")).unwrap().is_none());
    }
}
