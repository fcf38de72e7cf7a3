use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn event(number: u64) -> Event {
    Event { number, what: format!("event {number}"), ..Event::default() }
}

fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<Event> {
    numbers.into_iter().map(event).collect()
}

fn append(log: &EventLog, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let new = log.append(&events(numbers), |event| event).unwrap();
    new.iter().map(|event| event.number).collect()
}

/// The numbers in the file, the first one first.
fn numbers(log: &EventLog) -> Vec<u64> {
    let mut numbers: Vec<u64> = log.backwards().unwrap().map(|event| event.unwrap().number).collect();
    numbers.reverse();
    numbers
}

#[test]
fn what_is_there_is_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::of(folder.path());
    assert_eq!((log.last().unwrap(), numbers(&log)), (0, vec![]));
    assert_eq!(append(&log, []), [0; 0]);
    assert!(!log.path().exists(), "no event, no file");
    assert_eq!(append(&log, [1, 2]), [1, 2]);
    assert_eq!(append(&log, [1, 2, 3]), [3]);
    assert_eq!(append(&log, [2, 3]), [0; 0]);
    assert_eq!(numbers(&log), [1, 2, 3]);
    assert_eq!(fs::metadata(log.path()).unwrap().permissions().mode() & 0o777, 0o600);
    // After the file was removed, later events are still written.
    fs::remove_file(log.path()).unwrap();
    assert_eq!(append(&log, [3, 4]), [3, 4]);
}

#[test]
fn a_line_that_a_power_failure_has_cut_is_skipped_or_completed() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::of(folder.path());
    append(&log, [1, 2]);
    let whole = fs::read_to_string(log.path()).unwrap();
    let first = whole.find('\n').unwrap() + 1;
    for cut in first..=whole.len() {
        for rest in ["", "\0\0\0\0", "\u{fffd}\u{fffd}"] {
            fs::write(log.path(), [&whole[..cut], rest].concat()).unwrap();
            let is_whole = cut == whole.len() || (cut + 1 == whole.len() && rest.is_empty());
            assert_eq!(log.last().unwrap(), if is_whole { 2 } else { 1 }, "{cut} {rest:?}");
            append(&log, [1, 2, 3]);
            assert_eq!(numbers(&log), [1, 2, 3], "{cut} {rest:?}");
            assert!(fs::read_to_string(log.path()).unwrap().starts_with(&whole[..cut]), "it is only appended to");
        }
    }
}

#[test]
fn long_files_are_read_from_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::of(folder.path());
    append(&log, 1..=5000);
    assert_eq!(numbers(&log), (1..=5000).collect::<Vec<u64>>());
    // Lines that are no events, one of them longer than any event.
    let text = fs::read_to_string(log.path()).unwrap();
    let other =
        ["[]\n", &"x".repeat(3 * MAX_LINE), "\n\n", &text.lines().last().unwrap().replace("5000", "5001"), "\n"];
    fs::write(log.path(), format!("{text}{}", other.concat())).unwrap();
    let latest: Vec<u64> = log.backwards().unwrap().take(3).map(|event| event.unwrap().number).collect();
    assert_eq!(latest, [5001, 5000, 4999]);
    // Memory does not grow with such a line.
    let mut lines = Backwards::new(fs::File::open(log.path()).unwrap()).unwrap();
    assert!(lines.by_ref().all(|line| line.unwrap().len() <= MAX_LINE + PIECE as usize));
}

#[test]
fn an_event_is_found_by_its_number_in_a_few_lines() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::of(folder.path());
    assert_eq!(log.find(1).unwrap(), None);
    append(&log, [1, 2, 3, 5, 8]);
    let found = |number| log.find(number).unwrap().map(|event| event.number);
    for number in 0..=9 {
        assert_eq!(found(number), Some(number).filter(|number| [1, 2, 3, 5, 8].contains(number)), "{number}");
    }
    append(&log, 9..=5000);
    // Damaged lines, also long ones, are passed over.
    let text = fs::read_to_string(log.path()).unwrap();
    let damaged = text.replace("\"event 300\"", "event").replace("event 400", &"x".repeat(3 * MAX_LINE));
    fs::write(log.path(), damaged + "{\"number\":").unwrap();
    let numbers = [1, 5, 299, 300, 301, 399, 401, 4999, 5000, 5001];
    assert_eq!(numbers.map(|number| found(number).is_some()), numbers.map(|number| number != 300 && number != 5001));
}

#[test]
fn lines_that_are_no_events_are_marked() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::of(folder.path());
    append(&log, [1, 2]);
    let text = fs::read_to_string(log.path()).unwrap();
    fs::write(log.path(), text.replacen('\n', "\n{}\n\n[]\n", 1)).unwrap();
    let lines: Vec<Option<u64>> =
        log.lines_backwards().unwrap().map(|line| line.unwrap().map(|event| event.number)).collect();
    assert_eq!(lines, [Some(2), None, None, Some(1)]);
    assert_eq!(numbers(&log), [1, 2]);
}

#[test]
fn whether_events_can_be_written_is_known_without_writing() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::of(folder.path());
    assert!(log.check_writable().is_ok() && !log.path().exists());
    append(&log, [1]);
    let text = fs::read(log.path()).unwrap();
    assert!(log.check_writable().is_ok());
    assert_eq!(fs::read(log.path()).unwrap(), text);
    fs::remove_file(log.path()).unwrap();
    fs::create_dir(log.path()).unwrap();
    assert!(log.check_writable().is_err());
}

#[test]
fn a_file_that_others_control_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = EventLog::of(folder.path());
    let other = folder.path().join("other");
    fs::write(&other, "").unwrap();
    symlink(&other, log.path()).unwrap();
    assert!(log.append(&events([1]), |event| event).is_err() && log.last().is_err());
    assert_eq!(fs::read(&other).unwrap(), b"");
    fs::remove_file(log.path()).unwrap();
    fs::hard_link(&other, log.path()).unwrap();
    assert!(log.append(&events([1]), |event| event).unwrap_err().to_string().contains("several names"));
    fs::remove_file(log.path()).unwrap();
    fs::create_dir_all(log.path().join("notes")).unwrap();
    assert!(log.append(&events([1]), |event| event).is_err());
    fs::remove_dir_all(log.path()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, log.path(), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(log.append(&events([1]), |event| event).is_err(), "a pipe does not block");
}
