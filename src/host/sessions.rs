//! The live connections of this host, and the SSH sessions among them.
//!
//! This module only reports facts. It distinguishes what could not be read from what does not exist: an
//! empty list means "none" only where nothing is listed as unseen.
//!
//! Everything is about the network namespace of the calling thread, in which nft runs, too. Where reading takes more than
//! one system call, the kernel gives no consistent snapshot: a socket that opens or closes meanwhile may be missing.

// The kernel's files are read line by line, and may be larger than a policy.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is a module that may")]

mod conntrack;
mod sockets;
mod ssh;

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::diag::shown;
use crate::net::Transport;

pub use conntrack::{TrackedFlow, Tuple};
pub use ssh::{SshConnection, SshConnections};

/// The folder of the kernel's files. `self` would be the namespace of the first thread of the process.
const NET: &str = "/proc/thread-self/net";
/// The most characters of a line that an error shows.
const MAX_SHOWN: usize = 200;

/// Why the connections of this host cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    /// The system refuses, and not only because the file is absent or not permitted.
    #[error("cannot read `{}`", shown(.0))]
    Io(PathBuf, #[source] std::io::Error),
    /// A line is not understood. To skip it could be to skip a session.
    #[error("line {line} of `{}` is not understood: `{text}`", shown(.file))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// The beginning of the line.
        text: String,
    },
}

/// A connection with an end on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConnection {
    /// The end on this host; IPv4 where the socket has an IPv4-mapped address.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// TCP or UDP.
    pub transport: Transport,
    /// Whether the other end opened it; `None` for UDP, where sockets do not show it.
    ///
    /// An inbound connection has a local port on which a socket listens: the kernel assigns no such port to outbound ones.
    /// After the listener has ended, an inbound connection looks like an outbound one.
    pub inbound: Option<bool>,
    /// Whether both ends are on this host, so that its packets pass the loopback interface.
    pub loopback: bool,
    /// The file that shows it: `tcp`, `tcp6`, `udp` or `udp6`.
    pub source: &'static str,
}

/// The sockets of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// Established TCP connections, and connected UDP sockets; no other state.
    pub connections: Vec<LiveConnection>,
    /// Where TCP listens. The unspecified address stands for all of its family, that of IPv6 mostly for both families.
    pub listening: Vec<SocketAddr>,
    /// UDP sockets that could be mosh servers: on a port from 60000 to 61000, and open to every peer.
    ///
    /// Only a hint: the range overlaps the ephemeral ports, and only conntrack may know the peers of such a socket.
    pub mosh: Vec<SocketAddr>,
    /// The files that are absent or not permitted: their sockets are unknown.
    pub unseen: Vec<&'static str>,
}

/// Reads the sockets of this network namespace (`/proc/net/tcp`, `tcp6`, `udp`, `udp6`).
///
/// # Errors
/// A file is truncated, or has a line that is not understood.
pub fn sockets() -> Result<Sockets, SessionsError> {
    sockets::read(Path::new(NET), u32::to_ne_bytes)
}

/// Reads `SSH_CONNECTION` of this process and of its ancestors, and compares it with the open sockets.
///
/// sudo drops the variable, so the ancestors are read. tmux keeps the value of a connection that may have ended, so only a
/// value with an established socket is live. The value of a process is the one that it was started with.
///
/// # Errors
/// A file is truncated, or is not understood.
pub fn ssh_connections(sockets: &Sockets) -> Result<SshConnections, SessionsError> {
    ssh::read(Path::new("/proc"), sockets)
}

/// The address of the client of the SSH session that this process belongs to, by the environments of its ancestors.
pub fn ssh_client() -> Option<String> {
    ssh::client(Path::new("/proc"))
}

/// Reads the flows that conntrack tracks in this network namespace (`/proc/net/nf_conntrack`); `None` where the kernel does
/// not show them, or not to this user. There are none where no rule of the namespace needs connection tracking.
///
/// # Errors
/// The file is truncated, or has a line that is not understood.
pub fn conntrack() -> Result<Option<Vec<TrackedFlow>>, SessionsError> {
    conntrack::read(Path::new(NET))
}

impl Sockets {
    /// Whether a TCP socket listens on a port, at any address.
    pub fn listens_on(&self, port: u16) -> bool {
        self.listening.iter().any(|listener| listener.port() == port)
    }
}

/// Reads a file line by line; `None` where it is absent or not permitted.
fn lines<T>(
    path: &Path,
    mut understand: impl FnMut(usize, &str) -> Option<T>,
) -> Result<Option<Vec<T>>, SessionsError> {
    let io = |error| SessionsError::Io(path.to_owned(), error);
    let Some(file) = seen(File::open(path)).map_err(io)? else { return Ok(None) };
    let mut understood = Vec::new();
    for (index, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.map_err(io)?;
        let line = String::from_utf8_lossy(&line);
        let item = understand(index, &line).ok_or_else(|| malformed(path, index, &line))?;
        understood.push(item);
    }
    Ok(Some(understood))
}

/// Distinguishes hidden files from errors: one that is absent or not permitted is unseen.
fn seen<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
        result => result.map(Some),
    }
}

fn malformed(file: &Path, index: usize, line: &str) -> SessionsError {
    let text = line.trim_end().chars().take(MAX_SHOWN).collect();
    SessionsError::Malformed { file: file.to_owned(), line: index + 1, text }
}

/// An IPv4-mapped address as the IPv4 address that it stands for (RFC 4291, section 2.5.5.2).
fn plain(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_file_is_not_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let read = |path: &Path| lines(path, |_, line| (line != "bad").then(|| line.to_owned()));
        assert!(read(&folder.path().join("none")).unwrap().is_none());
        let path = folder.path().join("some");
        std::fs::write(&path, "").unwrap();
        assert_eq!(read(&path).unwrap(), Some(Vec::new()));
        std::fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(read(&path).unwrap(), Some(vec!["one".to_owned(), "two".to_owned()]));
        std::fs::write(&path, "one\nbad\n").unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert_eq!(message, format!("line 2 of `{}` is not understood: `bad`", shown(&path)));
        assert!(matches!(read(folder.path()), Err(SessionsError::Io(..))));
    }
}
