//! Lists of prefixes as text, of any length: one prefix, address or range per line, comments after `#`.

use std::net::IpAddr;

use super::ranges::{Bits, merge};
use super::{Plain, Prefix, PrefixError, PrefixSet, parse_address};

/// The most problems that are reported: a file of another kind has one in each line.
const MAX_PROBLEMS: usize = 20;
/// The most bytes of a line that are read. Only a comment may be longer.
const MAX_LINE: usize = 4096;
/// What some programs put at the beginning of a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// The most characters of a line that a message shows.
const MAX_SHOWN: usize = 60;

/// Why a line is not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It is neither an address nor a prefix.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// The ends of a range are of different families.
    #[error("the ends of `{0}` are of different families")]
    Families(String),
    /// The first end of a range is above the last.
    #[error("the range `{0}` is reversed")]
    Reversed(String),
    /// The line is not UTF-8.
    #[error("the line is not UTF-8")]
    NotText,
    /// The line has characters that no entry has.
    #[error("the line is not an address, a prefix or a range")]
    Other,
    /// The line is longer than any entry.
    #[error("the line is longer than any entry")]
    TooLong,
}

/// The most problems that are counted. A file with more is not a list with mistakes, and need not be read to its end.
const MAX_COUNTED: u64 = 1_000;
/// Entries are merged when so many have gathered: a list of a few bytes, packed, may have the same entry a million times.
const FIRST_MERGE: usize = 1 << 20;

/// Reads a list in pieces. It needs memory for the merged ranges only: 8 bytes for each of IPv4, 32 for IPv6, and at most
/// as much again for entries that are not merged yet.
///
/// ```
/// use edgeward::net::ListReader;
///
/// let mut list = ListReader::default();
/// list.push(b"10.0.0.0/9 # half\n10.128.0.0-10.25");
/// list.push(b"5.255.255\n2001:db8::1");
/// let (set, entries) = list.finish().unwrap();
/// assert_eq!((set.to_string().as_str(), entries), ("10.0.0.0/8, 2001:db8::1", 3));
/// ```
#[derive(Debug, Default)]
pub struct ListReader {
    v4: Gathered<u32>,
    v6: Gathered<u128>,
    /// The number of the line that is read, from 0.
    line: u64,
    /// The beginning of an incomplete line: at most [`MAX_LINE`] bytes and one more.
    rest: Vec<u8>,
    problems: Vec<(u64, ListError)>,
    /// Problems that are not reported.
    more: u64,
}

/// What is wrong with a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListProblems {
    /// The first problems, each with its line, from 1.
    pub first: Vec<(u64, ListError)>,
    /// How many more there are.
    pub more: u64,
    /// Whether the list was read to its end, so that all are counted.
    pub is_whole: bool,
}

/// Ranges that are merged while they are read.
#[derive(Debug)]
struct Gathered<T> {
    ranges: Vec<(T, T)>,
    /// How many were read.
    entries: u64,
    /// The number of ranges at which they are merged next.
    merge_at: usize,
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Self { ranges: Vec::new(), entries: 0, merge_at: FIRST_MERGE }
    }
}

impl<T: Bits> Gathered<T> {
    fn push(&mut self, range: (T, T)) {
        self.entries += 1;
        self.ranges.push(range);
        if self.ranges.len() >= self.merge_at {
            merge(&mut self.ranges);
            // At least as many are new the next time, so that the work stays n log n.
            self.merge_at = (2 * self.ranges.len()).max(FIRST_MERGE);
        }
    }
}

impl ListReader {
    /// Reads the next bytes; they may end within a line.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if !self.rest.is_empty() {
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return self.keep(bytes) };
            self.keep(&bytes[..end]);
            let line = std::mem::take(&mut self.rest);
            self.read(&line);
            bytes = &bytes[end + 1..];
        }
        while !self.is_hopeless() {
            // Nearly all lines are like this, and this is many times faster.
            while let Some(plain) = Plain::read(bytes)
                && bytes.get(plain.length) == Some(&b'\n')
            {
                self.line += 1;
                self.v4.push((plain.low, plain.high));
                bytes = &bytes[plain.length + 1..];
            }
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return self.keep(bytes) };
            self.read(&bytes[..end]);
            bytes = &bytes[end + 1..];
        }
    }

    /// Keeps the beginning of a line, up to the limit.
    fn keep(&mut self, bytes: &[u8]) {
        let room = (MAX_LINE + 1).saturating_sub(self.rest.len());
        self.rest.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn read(&mut self, line: &[u8]) {
        self.line += 1;
        let line = if self.line == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        let (line, is_cut) = (&line[..line.len().min(MAX_LINE)], line.len() > MAX_LINE);
        let entry = match line.iter().position(|byte| *byte == b'#') {
            Some(comment) => &line[..comment],
            // The rest is not known and could be the end of a range.
            None if is_cut => return self.wrong(ListError::TooLong),
            None => line,
        };
        let entry = entry.trim_ascii();
        if entry.is_empty() {
            return;
        }
        match other(entry) {
            Ok((IpAddr::V4(low), IpAddr::V4(high))) => self.v4.push((low.to_bits(), high.to_bits())),
            Ok((IpAddr::V6(low), IpAddr::V6(high))) => self.v6.push((low.to_bits(), high.to_bits())),
            Ok(_) => self.wrong(ListError::Families(shown(entry))),
            Err(error) => self.wrong(error),
        }
    }

    /// Whether reading on is useless: there are more problems than are counted.
    pub fn is_hopeless(&self) -> bool {
        self.more >= MAX_COUNTED
    }

    fn wrong(&mut self, error: ListError) {
        match self.problems.len() < MAX_PROBLEMS {
            true => self.problems.push((self.line, error)),
            false => self.more += 1,
        }
    }

    /// The addresses of the list, and how many entries it has.
    ///
    /// # Errors
    /// What is wrong with its lines. A list with a mistake is not used at all.
    pub fn finish(mut self) -> Result<(PrefixSet, u64), ListProblems> {
        if !self.rest.is_empty() {
            let line = std::mem::take(&mut self.rest);
            self.read(&line);
        }
        if !self.problems.is_empty() {
            let is_whole = !self.is_hopeless();
            return Err(ListProblems { first: self.problems, more: self.more, is_whole });
        }
        let entries = self.v4.entries + self.v6.entries;
        let v4 = self.v4.ranges.into_iter().collect();
        let v6 = self.v6.ranges.into_iter().collect();
        Ok(((v4, v6).into(), entries))
    }
}

/// Reads any entry, or says what is wrong with it.
fn other(entry: &[u8]) -> Result<(IpAddr, IpAddr), ListError> {
    let text = str::from_utf8(entry).map_err(|_| ListError::NotText)?;
    if text.len() > 2 * "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len() + 3 {
        return Err(ListError::TooLong);
    }
    entry_of(text).map_err(|error| match error {
        // Both ends are addresses.
        ListError::Reversed(_) => error,
        _ if may_be_entry(text) => error,
        _ => ListError::Other,
    })
}

fn entry_of(text: &str) -> Result<(IpAddr, IpAddr), ListError> {
    match text.split_once('-') {
        Some((low, high)) => {
            let (low, high) = (parse_address(low.trim_end())?, parse_address(high.trim_start())?);
            match low.is_ipv4() == high.is_ipv4() {
                true if low > high => Err(ListError::Reversed(shown(text.as_bytes()))),
                _ => Ok((low, high)),
            }
        }
        None => {
            let net = text.parse::<Prefix>()?.net();
            Ok((net.network(), net.broadcast()))
        }
    }
}

fn shown(entry: &[u8]) -> String {
    String::from_utf8_lossy(entry).chars().take(MAX_SHOWN).collect()
}

/// Whether a line could be meant as an entry. Other lines are not quoted: the file may be a secret one, named by mistake.
fn may_be_entry(text: &str) -> bool {
    let begins_like_one = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == ':');
    let has_netmask = text.split_once(['/', ' ']).is_some_and(|(_, mask)| mask.contains('.') && !text.contains('-'));
    begins_like_one
        && !has_netmask
        && text.len() <= MAX_SHOWN
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " .:/-_".contains(c))
}

impl PrefixSet {
    /// Writes the fewest prefixes that make up the set, one per line, v4 first, in order. `write` gets them in pieces.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn write_lines<E>(&self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        const PIECE: usize = 64 << 10;
        let mut lines = String::with_capacity(PIECE + MAX_SHOWN);
        for prefix in self.prefixes() {
            prefix.push_to(&mut lines);
            lines.push('\n');
            if lines.len() >= PIECE {
                write(lines.as_bytes())?;
                lines.clear();
            }
        }
        write(lines.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(PrefixSet, u64), ListProblems> {
        let mut list = ListReader::default();
        list.push(text.as_bytes());
        list.finish()
    }

    #[test]
    fn every_form_is_read_wherever_the_bytes_are_cut() {
        let text = "# a list\r\n10.0.0.0/9\r\n\n  10.128.0.0/9 \n192.0.2.1\n198.51.100.1-198.51.100.2\n0.0.0.0/32 # x\n\
                    2001:db8::/32\n2001:db9::1 - 2001:db9::3\n255.255.255.255";
        let (whole, entries) = read(text).unwrap();
        assert_eq!(
            whole.to_string(),
            "0.0.0.0, 10.0.0.0/8, 192.0.2.1, 198.51.100.1, 198.51.100.2, 255.255.255.255, 2001:db8::/32, 2001:db9::1, \
             2001:db9::2/127"
        );
        assert_eq!(entries, 8);
        for size in 1..40 {
            let mut list = ListReader::default();
            text.as_bytes().chunks(size).for_each(|bytes| list.push(bytes));
            assert_eq!(list.finish().unwrap(), (whole.clone(), 8));
        }
        assert_eq!(read("").unwrap(), (PrefixSet::default(), 0));
        assert_eq!(read("0.0.0.0/0\n").unwrap().0, "0.0.0.0/0".parse().unwrap());
        assert_eq!(read("\u{feff}10.0.0.0/8\n").unwrap().1, 1);
    }

    #[test]
    fn what_is_not_an_entry_is_reported_with_its_line() {
        let wrong = |text: &str| {
            let problems = read(&format!("10.0.0.0/8\n{text}\n10.0.0.1")).unwrap_err();
            assert_eq!((problems.first.len(), problems.first[0].0, problems.more), (1, 2, 0));
            problems.first[0].1.to_string()
        };
        assert!(wrong("10.0.0.1/8").contains("has host bits set"));
        assert!(wrong("10.0.0.01").contains("leading zero"));
        assert!(wrong("00.0.0.0/8").contains("leading zero"));
        assert!(wrong("10.0.0.0/33").contains("is not a prefix length"));
        assert!(wrong("10.0.0.256").contains("is not an IP address"));
        assert!(wrong("10.0.0").contains("is not an IP address"));
        assert!(wrong("10.0.0.0/").contains("is not a prefix length"));
        assert!(wrong("10.0.0.2-10.0.0.1").contains("is reversed"));
        assert!(wrong("10.0.0.2-::1").contains("different families"));
        assert!(wrong("mirror.example.com").contains("is not an IP address"));
        assert!(wrong(&"1".repeat(5000)).contains("longer than any entry"));
        for size in [1, 5000, 300_000] {
            let blanks = " ".repeat(5000);
            for text in [format!("10.0.0.1{blanks}garbage"), format!("{blanks}10.0.0.1"), format!("10.0.0.1{blanks}")] {
                let mut list = ListReader::default();
                text.as_bytes().chunks(size).for_each(|bytes| list.push(bytes));
                let wrong = list.finish().unwrap_err().first;
                assert!(matches!(wrong[..], [(1, ListError::TooLong)]), "{size}: {wrong:?}");
            }
            let mut list = ListReader::default();
            format!("10.0.0.1 #{blanks}x").as_bytes().chunks(size).for_each(|bytes| list.push(bytes));
            assert_eq!(list.finish().unwrap().1, 1);
        }
        let problems = read(&"x\n".repeat(30)).unwrap_err();
        assert_eq!((problems.first.len(), problems.more, problems.is_whole), (20, 10, true));
        let problems = read(&"x\n".repeat(30_000)).unwrap_err();
        assert_eq!((problems.first.len(), problems.more, problems.is_whole), (20, MAX_COUNTED, false));
    }

    #[test]
    fn lines_that_no_entry_looks_like_are_not_quoted() {
        let long = "k".repeat(MAX_SHOWN + 1);
        for line in ["root:$6$salt$hash:19000::::::", "password = \"secret\"", "10.0.0.0/8,secret", "\u{1b}[31m", &long]
        {
            let error = read(line).unwrap_err().first[0].1.to_string();
            assert_eq!(error, "the line is not an address, a prefix or a range");
        }
    }

    #[test]
    fn entries_are_merged_while_they_are_read() {
        let mut list = ListReader::default();
        let text = "10.0.0.1\n::1\n".repeat(1000);
        for _ in 0..3 * FIRST_MERGE / 1000 {
            list.push(text.as_bytes());
        }
        assert!(list.v4.ranges.capacity() <= 2 * FIRST_MERGE && list.v6.ranges.capacity() <= 2 * FIRST_MERGE);
        let (set, entries) = list.finish().unwrap();
        assert_eq!((set.to_string().as_str(), entries), ("10.0.0.1, ::1", 2000 * (3 * FIRST_MERGE as u64 / 1000)));
        // Where nothing can be merged, nothing is lost.
        let mut list = ListReader::default();
        let count = 2 * FIRST_MERGE as u32 + 5;
        (0..count).rev().for_each(|n| list.v4.push((2 * n, 2 * n)));
        let (set, entries) = list.finish().unwrap();
        assert_eq!((set.prefixes().count() as u32, entries), (count, u64::from(count)));
    }

    #[test]
    fn what_is_written_is_what_the_standard_library_writes() {
        let set: PrefixSet =
            "0.0.0.0/5, 10.20.30.40, 99.100.101.0/24, 255.255.255.254/31, 2001:db8::/32".parse().unwrap();
        let mut text = String::new();
        set.write_lines(|piece| {
            text.push_str(str::from_utf8(piece).unwrap());
            Ok::<(), ()>(())
        })
        .unwrap();
        let lines: Vec<String> = set.prefixes().map(|prefix| prefix.to_string()).collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    }
}
