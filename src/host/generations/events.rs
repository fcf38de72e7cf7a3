//! `events.jsonl`: every event since the first `apply`, one JSON object a line. Lines are only ever appended.
//!
//! The state has the latest events until they are here, so a run that ends between the two loses none, and the numbers
//! say which are here, so none is written twice. A power failure may leave a part of a line: the next line begins after
//! it, and readers skip it. The file is never read as a whole where its end or one event is enough: it grows for years.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is a module that may")]

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::event::Event;
use super::retention::MAX_NUMBER;
use super::{State, Store};
use crate::host::files;

/// The file is read from its end in pieces of this many bytes.
const PIECE: u64 = 64 << 10;
/// A single event is looked for in pieces of this many bytes: a few lines.
const PIECE_OF_LINE: usize = 8 << 10;
/// A longer line is not one that edgeward wrote.
const MAX_LINE: usize = 1 << 20;

/// The file with the events.
#[derive(Clone, Debug)]
pub struct EventLog {
    path: PathBuf,
}

impl EventLog {
    /// The events of a state folder. The file need not exist.
    pub fn of(folder: &Path) -> Self {
        Self { path: folder.join("events.jsonl") }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The events from the latest to the first; lines that are damaged are skipped.
    ///
    /// # Errors
    /// The file cannot be read, or is not a regular file.
    pub fn backwards(&self) -> io::Result<impl Iterator<Item = io::Result<Event>> + use<>> {
        Ok(self.lines_backwards()?.filter_map(Result::transpose))
    }

    /// The events from the latest to the first; `None` for a line that is damaged.
    ///
    /// # Errors
    /// As [`EventLog::backwards`].
    pub fn lines_backwards(&self) -> io::Result<impl Iterator<Item = io::Result<Option<Event>>> + use<>> {
        let lines = self.reader()?.map(Backwards::new).transpose()?;
        let lines = lines.into_iter().flatten().filter(|line| line.as_ref().map_or(true, |line| !line.is_empty()));
        let event = |line: &[u8]| serde_json::from_slice(line).ok().filter(has_numbers);
        Ok(lines.map(move |line| line.map(|line| event(&line))))
    }

    /// The number of the last event; 0 where there is none.
    ///
    /// # Errors
    /// As [`EventLog::backwards`].
    pub fn last(&self) -> io::Result<u64> {
        let last = self.backwards()?.next().transpose()?;
        Ok(last.map_or(0, |event| event.number))
    }

    /// The event with a number; `None` if it is not there. The numbers of a file that was only appended to ascend, so a few
    /// lines are read.
    ///
    /// # Errors
    /// As [`EventLog::backwards`].
    pub fn find(&self, number: u64) -> io::Result<Option<Event>> {
        let Some(mut file) = self.reader()? else { return Ok(None) };
        let (mut low, mut high) = (0, file.metadata()?.len());
        // Its line begins at `low` or later, and before `high`.
        while low < high {
            let middle = low + (high - low) / 2;
            match first_event_in(&mut file, middle, high)? {
                Some((_, event)) if event.number == number => return Ok(Some(event)),
                Some((next, event)) if event.number < number => low = next,
                _ => high = middle,
            }
        }
        Ok(None)
    }

    /// Whether events can be appended. A file that does not exist is made.
    ///
    /// # Errors
    /// As [`EventLog::append`].
    pub fn check_writable(&self) -> io::Result<()> {
        match self.open(OpenOptions::new().read(true).append(true)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The file for reading; `None` where it does not exist.
    fn reader(&self) -> io::Result<Option<File>> {
        match self.open(OpenOptions::new().read(true)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            file => file.map(Some),
        }
    }

    /// Appends the events whose numbers are higher than that of the last one, and returns them; `complete` adds what is
    /// not known yet. They are on disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written, is a link, or belongs to another user.
    pub fn append(&self, events: &[Event], mut complete: impl FnMut(Event) -> Event) -> io::Result<Vec<Event>> {
        files::make_room(&self.path);
        let last = self.last()?;
        let new: Vec<Event> = events.iter().filter(|event| event.number > last).cloned().map(&mut complete).collect();
        if new.is_empty() {
            return Ok(new);
        }
        let is_new = !self.path.exists();
        let mut file = self.open(OpenOptions::new().read(true).append(true).create(true).mode(0o600))?;
        let mut text = if ends_in_a_line(&mut file)? { "\n".to_owned() } else { String::new() };
        for event in &new {
            text += &serde_json::to_string(event)?;
            text.push('\n');
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if let Some(folder) = self.path.parent().filter(|_| is_new) {
            File::open(folder)?.sync_all()?;
        }
        Ok(new)
    }

    /// Opens the file. A link, or a file of another user, would have the program write to a place that others choose.
    fn open(&self, options: &mut OpenOptions) -> io::Result<File> {
        // A pipe must not block.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = options.custom_flags(flags.bits().cast_signed()).open(&self.path)?;
        let metadata = file.metadata()?;
        let refused = if !metadata.is_file() {
            "it is not a regular file"
        } else if metadata.uid() != rustix::process::geteuid().as_raw() {
            "it belongs to another user"
        } else if metadata.nlink() > 1 {
            "it has several names"
        } else {
            return Ok(file);
        };
        Err(io::Error::other(refused))
    }
}

impl Store {
    /// The state without the events that are in the file already, for a run that adds others.
    pub(super) fn with_new_events(&self, mut state: State) -> State {
        // Where the file cannot be read, that is reported when it is written.
        let last = self.events().last().unwrap_or(0);
        state.events.retain(|event| event.number > last);
        // An older copy of the state may have been restored. Numbers are never reused.
        state.last_event = state.last_event.max(last);
        self.announced.set(self.announced.get().max(state.last_event));
        state
    }

    /// The file with the events.
    pub fn events(&self) -> EventLog {
        EventLog::of(&self.folder)
    }

    /// Which of these events this run has not announced yet; from now on it has.
    pub fn announce(&self, events: &[Event]) -> Vec<Event> {
        let new: Vec<Event> = events.iter().filter(|event| event.number > self.announced.get()).cloned().collect();
        if let Some(last) = new.last() {
            self.announced.set(last.number);
        }
        new
    }
}

/// Whether an event has a number, and all of its numbers have successors.
fn has_numbers(event: &Event) -> bool {
    let left = event.left.iter().flat_map(|left| [left.last, left.armed]);
    event.number > 0 && left.chain([event.number]).all(|number| number <= MAX_NUMBER)
}

/// Whether a file ends within a line.
fn ends_in_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// The first event whose line begins between two positions, and where the line after it begins. A line begins at 0 or after
/// the end of another one.
fn first_event_in(file: &mut File, from: u64, to: u64) -> io::Result<Option<(u64, Event)>> {
    let mut at = from.saturating_sub(1);
    file.seek(SeekFrom::Start(at))?;
    let mut reader = BufReader::with_capacity(PIECE_OF_LINE, file);
    let mut line = Vec::new();
    if from > 0 {
        at += next_line(&mut reader, &mut line)?;
    }
    while at < to {
        let length = next_line(&mut reader, &mut line)?;
        if length == 0 {
            break;
        }
        at += length;
        if let Some(event) = serde_json::from_slice(&line).ok().filter(has_numbers) {
            return Ok(Some((at, event)));
        }
    }
    Ok(None)
}

/// Reads a line with its end, or what is kept of one that is too long. Returns its length.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    let mut length = reader.by_ref().take(MAX_LINE as u64).read_until(b'\n', line)? as u64;
    if length == MAX_LINE as u64 && line.last() != Some(&b'\n') {
        length += reader.skip_until(b'\n')? as u64;
    }
    Ok(length)
}

/// The lines of a file from the last to the first, without their ends. The memory that it needs is bounded.
struct Backwards {
    file: File,
    /// So many bytes from the beginning have not been read.
    unread: u64,
    /// What was read and belongs to lines that were not returned yet.
    read: Vec<u8>,
    /// Up to where `read` has no end of a line, from its end.
    searched: usize,
}

impl Backwards {
    fn new(file: File) -> io::Result<Self> {
        let unread = file.metadata()?.len();
        Ok(Self { file, unread, read: Vec::new(), searched: 0 })
    }

    /// Reads the piece before what was read.
    fn read_more(&mut self) -> io::Result<()> {
        let length = self.unread.min(PIECE);
        self.unread -= length;
        let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file.seek(SeekFrom::Start(self.unread))?;
        self.file.read_exact(&mut piece)?;
        self.searched = self.read.len();
        // The rest of a line that is too long is dropped, and the line with it.
        if self.read.len() <= MAX_LINE {
            piece.append(&mut self.read);
        } else {
            self.searched = 0;
        }
        self.read = piece;
        Ok(())
    }
}

impl Iterator for Backwards {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let end = self.read.len() - self.searched;
            if let Some(at) = self.read[..end].iter().rposition(|byte| *byte == b'\n') {
                let line = self.read.split_off(at + 1);
                self.read.truncate(at);
                self.searched = 0;
                return Some(Ok(line));
            }
            if self.unread == 0 {
                let first = std::mem::take(&mut self.read);
                self.searched = 0;
                return (!first.is_empty()).then_some(Ok(first));
            }
            if let Err(error) = self.read_more() {
                self.unread = 0;
                self.read.clear();
                self.searched = 0;
                return Some(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests;
