//! Files with lists of prefixes, plain or compressed with gzip, of up to 512 MiB of text; read in pieces.

mod published;

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::files;
use crate::diag::shown as shown_path;
use crate::emit::hexadecimal;
use crate::net::{ListError, ListProblems, ListReader, PrefixSet};

/// How many bytes are read at once.
const PIECE: usize = 256 << 10;
/// What a gzip file begins with (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The most text that is read: a small file may unpack to any size. This is more than 30 million addresses.
const MAX_TEXT: u64 = 512 << 20;
/// The most text of a published list. It is held in memory; the feeds of clouds have a few MiB.
const MAX_PUBLISHED: u64 = 64 << 20;

/// A list of prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Its addresses.
    pub addresses: PrefixSet,
    /// How many entries it has.
    pub entries: u64,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListFileError {
    /// The system refuses, or the gzip file is incomplete or damaged.
    #[error("cannot read `{}`", shown_path(.0))]
    Io(PathBuf, #[source] io::Error),
    /// Lines are invalid.
    #[error("{}", shown(.0, .1))]
    Lines(PathBuf, ListProblems),
    /// It is not one of the published formats.
    #[error("`{}`: {}", shown_path(.0), .1)]
    Published(PathBuf, String),
}

impl ListFileError {
    /// Whether its lines have more than entries, as those of lists that others publish.
    pub fn may_be_published(&self) -> bool {
        let has_more = |problem: &(u64, ListError)| matches!(problem.1, ListError::Other | ListError::TooLong);
        matches!(self, Self::Lines(_, problems) if problems.first.iter().any(has_more))
    }
}

fn shown(path: &Path, problems: &ListProblems) -> String {
    let lines = problems.first.iter().map(|(line, error)| format!("{}:{line}: {error}", shown_path(path)));
    let more = (problems.more > 0).then(|| match problems.is_whole {
        true => format!("and {} more", problems.more),
        false => format!("and {} more or above; the rest of the file was not read", problems.more),
    });
    lines.chain(more).collect::<Vec<_>>().join("\n")
}

/// Reads a list from a regular file, and not from a pipe or device that might never end.
///
/// # Errors
/// As [`read`]; the path is not a regular file.
pub fn read_file(path: &Path) -> Result<List, ListFileError> {
    let io = |error| ListFileError::Io(path.to_owned(), error);
    // Not opened before that is known: a pipe without a writer would be waited for.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(io(io::Error::other("it is not a regular file")));
    }
    read(path, InputFormat::Lines)
}

/// The SHA-256 of a regular file, in hexadecimal digits.
///
/// # Errors
/// The path cannot be read, or is not a regular file.
pub fn digest(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut file = Hashed { file: files::open(path)?, digest: Sha256::new() };
    let mut piece = vec![0; PIECE];
    while file.read(&mut piece)? > 0 {}
    Ok(hexadecimal(&file.digest.finalize()))
}

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputFormat {
    /// A prefix, an address or a range on each line; comments after `#`.
    Lines,
    /// As publishers write them: other comments, netmasks, columns, JSON.
    Published,
}

/// Reads a list; `-` is standard input.
///
/// # Errors
/// The file cannot be read, or has lines that are no entries.
pub fn read(path: &Path, format: InputFormat) -> Result<List, ListFileError> {
    let io = |error| ListFileError::Io(path.to_owned(), error);
    match path == Path::new("-") {
        true => read_from(path, io::stdin().lock(), format),
        false => read_from(path, files::open(path).map_err(io)?, format),
    }
}

fn read_from(path: &Path, file: impl Read, format: InputFormat) -> Result<List, ListFileError> {
    let io = |error| ListFileError::Io(path.to_owned(), error);
    let mut bytes = BufReader::with_capacity(PIECE, Hashed { file, digest: Sha256::new() });
    let is_packed = bytes.fill_buf().map_err(io)?.starts_with(&GZIP);
    let mut list = ListReader::default();
    let mut unpacked: Box<dyn Read> = match is_packed {
        true => Box::new(MultiGzDecoder::new(&mut bytes)),
        false => Box::new(&mut bytes),
    };
    match format {
        InputFormat::Lines => pour(&mut unpacked, &mut list).map_err(io)?,
        InputFormat::Published => {
            let mut text = Vec::new();
            unpacked.by_ref().take(MAX_PUBLISHED + 1).read_to_end(&mut text).map_err(io)?;
            if text.len() as u64 > MAX_PUBLISHED {
                return Err(io(too_long(MAX_PUBLISHED)));
            }
            published::read(&text, &mut list).map_err(|error| ListFileError::Published(path.to_owned(), error))?;
        }
    }
    drop(unpacked);
    let (addresses, entries) = list.finish().map_err(|problems| ListFileError::Lines(path.to_owned(), problems))?;
    if format == InputFormat::Published && entries == 0 {
        let why = "it has no prefix, address or range; a list for `peers-file` must not become empty by mistake";
        return Err(ListFileError::Published(path.to_owned(), why.to_owned()));
    }
    let sha256 = hexadecimal(&bytes.into_inner().digest.finalize());
    Ok(List { addresses, entries, sha256 })
}

/// Reads to the end, or until there are so many problems that the list is of no use.
fn pour(from: &mut impl Read, list: &mut ListReader) -> io::Result<()> {
    let (mut piece, mut total) = (vec![0; PIECE], 0);
    while !list.is_hopeless() {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                list.push(&piece[..length]);
                total += length as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if total > MAX_TEXT {
            return Err(too_long(MAX_TEXT));
        }
    }
    Ok(())
}

fn too_long(most: u64) -> io::Error {
    io::Error::other(format!("it has more than {} MiB of text", most >> 20))
}

/// A reader that digests what is read.
struct Hashed<R> {
    file: R,
    digest: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.digest.update(&buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes files")]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn packed_and_plain_lists_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let text: String = (0..49_152u32).map(|n| format!("10.{}.{}.0/24\n", n / 256 % 256, n % 256)).collect();
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        let list = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            read(&path, InputFormat::Lines)
        };
        let (plain, unpacked) = (list("plain", text.as_bytes()).unwrap(), list("packed", &packed).unwrap());
        assert_eq!((plain.entries, plain.addresses.to_string().as_str()), (49_152, "10.0.0.0/9, 10.128.0.0/10"));
        assert_eq!(plain.addresses, unpacked.addresses);
        assert_ne!(plain.sha256, unpacked.sha256);
        // An incomplete download is not a shorter list.
        assert!(matches!(list("half", &packed[..packed.len() / 2]), Err(ListFileError::Io(..))));
        let wrong = list("wrong", b"10.0.0.0/8\nmirror\n").unwrap_err().to_string();
        assert!(wrong.ends_with("wrong:2: `mirror` is not an IP address"), "{wrong}");
        assert_eq!(list("empty", b"").unwrap().addresses, PrefixSet::default());
    }

    /// What a reader gives, and how much of it was taken.
    struct Counted<'a>(&'a [u8], u64);

    impl Read for Counted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(self.0.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.1 += length as u64;
            Ok(length)
        }
    }

    #[test]
    fn a_file_of_mistakes_is_not_read_to_its_end() {
        let text = "x\n".repeat(PIECE);
        // It never ends.
        let mut endless = Counted(text.as_bytes(), 0);
        let error = read_from(Path::new("list"), &mut endless, InputFormat::Lines).unwrap_err().to_string();
        assert!(error.starts_with("list:1: `x` is not an IP address\n"), "{error}");
        assert!(
            error.ends_with(
                "list:20: `x` is not an IP address\nand 1000 more or above; the rest of the file was not read"
            ),
            "{error}"
        );
        assert!(endless.1 <= 2 * PIECE as u64, "{}", endless.1);
    }
}
