//! Inputs that the command line names: files, standard input and pipes.

use std::io::IsTerminal;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::files::{self, ReadError};
use crate::source::Source;

/// How standard input is called in messages.
pub const STANDARD_INPUT: &str = "<stdin>";
/// The path of a policy that was read from a stream, in the records: no file has it.
pub const STREAM: &str = "-";

/// Standard input as a descriptor.
const INPUT: u32 = 0;
/// Standard output as a descriptor.
const OUTPUT: u32 = 1;

/// Whether standard input was read already.
static IS_READ: AtomicBool = AtomicBool::new(false);

/// Whether a path names standard input: `-`, `/dev/stdin` or descriptor 0. A file of the name `-` is `./-`.
fn is_standard_input(path: &Path) -> bool {
    path == Path::new(STREAM) || files::descriptor(path) == Some(INPUT)
}

/// Whether a path names standard output: `-`, `/dev/stdout` or descriptor 1.
pub fn is_standard_output(path: &Path) -> bool {
    path == Path::new(STREAM) || files::descriptor(path) == Some(OUTPUT)
}

/// Whether a path names a stream: standard input, an open descriptor, or a pipe such as `<(…)` of a shell.
///
/// A stream can be read once, and no other file belongs to its name: there is no lockfile beside it.
pub fn is_stream(path: &Path) -> bool {
    is_standard_input(path)
        || files::descriptor(path).is_some()
        || std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Reads a text of at most 64 MiB from a file or a stream.
///
/// # Errors
/// As [`files::read`]; standard input is a terminal, or was read before.
pub fn read(path: &Path) -> Result<Source, ReadError> {
    if !is_standard_input(path) {
        return files::read(path);
    }
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(ReadError::Terminal);
    }
    if IS_READ.swap(true, Ordering::Relaxed) {
        return Err(ReadError::ReadTwice);
    }
    files::text(STANDARD_INPUT, input.lock()).map_err(|error| match error {
        files::TextError::Io(error) => ReadError::Io(STANDARD_INPUT.into(), error),
        files::TextError::Unusable(unusable) => ReadError::Unusable(unusable),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_known_by_their_names() {
        for name in ["-", "/dev/stdin", "/dev/fd/0", "/dev/fd/63", "/proc/self/fd/0", "/proc/self/fd/11"] {
            assert!(is_stream(Path::new(name)), "{name}");
        }
        for name in ["", "./-", "--", "stdin", "/dev/fd", "/dev/fd/x", "/dev/fd/1/2", "/dev/null", "/proc/self/stat"] {
            assert!(!is_stream(Path::new(name)), "{name}");
        }
    }
}
