//! The system's journal: a line for each event, with its parts as fields.
//!
//! systemd's journal takes datagrams with fields (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>), other systems those of
//! syslog at `/dev/log` (RFC 3164). Where there is neither, nothing is sent. A change never waits for it.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::generations::{Event, EventKind};
use crate::diag::is_invisible;

const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";
/// The name of the program in the journal.
const PROGRAM: &str = "edgeward";
/// syslog's number of the facility `daemon`.
const DAEMON: u8 = 3;
/// syslog's numbers of severities.
const WARNING: u8 = 4;
const NOTICE: u8 = 5;
/// The longest value of a field, and the longest line: receivers of syslog take 2048 bytes (RFC 5424, section 6.1).
const MAX_VALUE: usize = 1500;
/// A full queue is tried so many times more.
const MAX_RETRIES: usize = 3;
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// Sends an event to the journal of this system, if there is one.
pub fn send(event: &Event) {
    deliver(|| fields(event), || line(severity(event), &event.sentence()));
}

/// Sends a sentence that is no event to the journal of this system, if there is one.
pub fn warn(sentence: &str) {
    let fields = || {
        let fields = [("MESSAGE", sentence), ("PRIORITY", &WARNING.to_string()), ("SYSLOG_IDENTIFIER", PROGRAM)];
        text(fields.map(|(name, value)| (name, value.to_owned())))
    };
    deliver(fields, || line(WARNING, sentence));
}

/// Sends a text in the journal's protocol where there is a journal, and else a line for syslog.
fn deliver(fields: impl FnOnce() -> String, line: impl FnOnce() -> String) {
    let journal = Path::new(JOURNAL);
    match journal.exists() {
        true => datagram(journal, fields().as_bytes()),
        false => datagram(Path::new(SYSLOG), line().as_bytes()),
    }
}

/// Sends a datagram without waiting for a reader. It is lost where there is none.
fn datagram(path: &Path, bytes: &[u8]) {
    let Ok(socket) = UnixDatagram::unbound() else { return };
    if socket.set_nonblocking(true).is_err() || socket.connect(path).is_err() {
        return;
    }
    for _ in 0..=MAX_RETRIES {
        match socket.send(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(RETRY_INTERVAL),
            _ => return,
        }
    }
}

fn severity(event: &Event) -> u8 {
    match event.event {
        EventKind::Undo | EventKind::Found | EventKind::Lost | EventKind::Interrupted => WARNING,
        _ => NOTICE,
    }
}

/// The fields of an event.
fn fields(event: &Event) -> String {
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let fields = [
        ("MESSAGE", Some(event.sentence())),
        ("PRIORITY", Some(severity(event).to_string())),
        ("SYSLOG_IDENTIFIER", Some(PROGRAM.to_owned())),
        ("SYSLOG_FACILITY", Some(DAEMON.to_string())),
        ("EDGEWARD_EVENT", Some(event.event.name().to_owned())),
        ("EDGEWARD_NUMBER", Some(event.number.to_string())),
        ("EDGEWARD_GENERATION", number(event.generation)),
        ("EDGEWARD_FROM", number(event.from)),
        ("EDGEWARD_TO", number(event.to)),
        ("EDGEWARD_USER", Some(event.by.user.clone())),
        ("EDGEWARD_SUDO_USER", event.by.sudo_user.clone()),
        ("EDGEWARD_SSH_CLIENT", event.by.ssh_client.clone()),
        ("EDGEWARD_UNIT", event.by.unit.clone()),
        ("EDGEWARD_MESSAGE", event.message.clone()),
        ("EDGEWARD_DEADLINE", event.deadline.map(|deadline| deadline.to_string())),
        ("EDGEWARD_FORCED", event.forced.then(|| "1".to_owned())),
    ];
    text(fields.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

/// Fields in the journal's protocol: `NAME=value`, one per line.
fn text(fields: impl IntoIterator<Item = (&'static str, String)>) -> String {
    fields.into_iter().map(|(name, value)| format!("{name}={}\n", one_line(&value))).collect()
}

/// A line for syslog. The receiver adds the time.
fn line(severity: u8, sentence: &str) -> String {
    let priority = DAEMON * 8 + severity;
    format!("<{priority}>{PROGRAM}[{}]: {}", std::process::id(), one_line(sentence))
}

/// A text of bounded length without line breaks.
fn one_line(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(MAX_VALUE)];
    let mut line: String = cut.chars().map(|c| if is_invisible(c) { ' ' } else { c }).collect();
    if cut.len() < text.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::operator::Operator;

    #[test]
    fn an_event_is_one_line_with_bounded_fields() {
        let event = Event {
            number: 7,
            event: EventKind::Lost,
            what: format!("lost\n{}", "x".repeat(5000)),
            by: Operator::named("root"),
            ..Event::default()
        };
        let fields = fields(&event);
        assert!(fields.starts_with("MESSAGE=lost xxx") && fields.contains("x…\nPRIORITY=4\n"), "{fields}");
        assert!(fields.contains("\nEDGEWARD_EVENT=lost\nEDGEWARD_NUMBER=7\nEDGEWARD_USER=root\n"), "{fields}");
        assert!(fields.lines().all(|line| line.contains('=') && line.len() < MAX_VALUE + 20));
        assert!(line(severity(&event), &event.sentence()).starts_with("<28>edgeward["));
    }
}
