//! Opens inputs: a pipe without a writer does not block for good.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl, fstatfs};

/// How long a pipe may be without a program that writes into it.
const MAX_WITHOUT_WRITER: Duration = Duration::from_secs(10);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);
/// The file system of pipes without a name (kernel, include/uapi/linux/magic.h). Their writer was there before this
/// process, as in `<(…)` of a shell.
const PIPEFS: u64 = 0x5049_5045;

/// Opens a file, a device or a pipe for reading. A pipe with a writer is waited for, however long that takes.
///
/// # Errors
/// The system refuses, or a pipe has no writer.
pub(in crate::host) fn open(path: &Path) -> io::Result<BufReader<File>> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let is_named_pipe = file.metadata()?.file_type().is_fifo() && !is_nameless(&file);
    let mut input = BufReader::new(file);
    if is_named_pipe {
        wait_for_writer(&mut input)?;
    }
    fcntl_setfl(input.get_ref(), OFlags::empty())?;
    Ok(input)
}

fn is_nameless(file: &File) -> bool {
    fstatfs(file).is_ok_and(|system| u64::try_from(system.f_type).is_ok_and(|kind| kind == PIPEFS))
}

fn wait_for_writer(input: &mut BufReader<File>) -> io::Result<()> {
    let deadline = Instant::now() + MAX_WITHOUT_WRITER;
    loop {
        match input.fill_buf() {
            // No program has the other end.
            Ok([]) if Instant::now() < deadline => std::thread::sleep(RETRY_INTERVAL),
            Ok([]) => {
                let waited = MAX_WITHOUT_WRITER.as_secs();
                return Err(io::Error::other(format!(
                    "it is a pipe, and no program has written into it for {waited} s; name a file, or start the program \
                     that writes first"
                )));
            }
            Ok(_) => return Ok(()),
            // A program has it, and has not written yet.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
