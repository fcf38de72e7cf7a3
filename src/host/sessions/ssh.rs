//! `SSH_CONNECTION`, which sshd sets for its sessions (ssh(1), section ENVIRONMENT), from this process up to init.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is a module that may")]

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::{SessionsError, Sockets, malformed, plain, seen};
use crate::net::Transport;

const VARIABLE: &str = "SSH_CONNECTION=";
/// What sshd sets as well. Some programs pass on only one of the two.
const CLIENT: &str = "SSH_CLIENT=";
/// More than the kernel allows for arguments and environment, regardless of the stack limit (6 MiB).
const MAX_BYTES: u64 = 16 << 20;
/// No process has so many ancestors. Processes that end meanwhile, and reused ids, could form a loop.
const MAX_ANCESTORS: usize = 4096;
/// The names of interfaces are shorter (`IFNAMSIZ`).
const MAX_ZONE: usize = 16;
/// The process without a parent.
const INIT: u32 = 1;

/// A value of `SSH_CONNECTION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshConnection {
    /// The value as in the environment.
    pub value: String,
    /// The client's and the server's end; `None` where sshd had none, or another program set the value.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// The processes that were started with it, from this one upwards.
    pub processes: Vec<u32>,
    /// Whether an established socket of this network namespace is its server's end; `None` where that is unknown.
    pub live: Option<bool>,
}

/// The values of `SSH_CONNECTION` of this process and of its ancestors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshConnections {
    /// Each value once, the nearest first.
    pub found: Vec<SshConnection>,
    /// The files that are absent or not permitted. Nothing is known of these processes, nor of their ancestors where it is a
    /// `stat`.
    pub unseen: Vec<PathBuf>,
}

/// Reads the processes in a folder, from this one upwards.
pub fn read(folder: &Path, sockets: &Sockets) -> Result<SshConnections, SessionsError> {
    let mut connections = SshConnections::default();
    let unseen = upwards(folder, |process, id| connections.add(&process.join("environ"), id, sockets))?;
    connections.unseen.extend(unseen);
    Ok(connections)
}

/// The address of the client of the nearest session; `None` where no process that can be read was started with one.
pub fn client(folder: &Path) -> Option<String> {
    let mut found = None;
    let read = upwards(folder, |process, _| {
        if found.is_none()
            && let Some(bytes) = bytes(&process.join("environ"))?
        {
            found = client_in(&bytes);
        }
        Ok(())
    });
    // What was found below an ancestor that cannot be read is still true.
    drop(read);
    found
}

/// The address of the client in an environment, with its zone.
fn client_in(environment: &[u8]) -> Option<String> {
    let value = |name: &str| environment.split(|byte| *byte == 0).find_map(|item| item.strip_prefix(name.as_bytes()));
    let address = |value: &[u8]| {
        let word = String::from_utf8_lossy(value).split(' ').next()?.to_owned();
        let (address, zone) = word.split_once('%').map_or((&*word, None), |(address, zone)| (address, Some(zone)));
        let address = address.parse::<IpAddr>().ok()?.to_canonical();
        let zone = zone.filter(|zone| zone.len() < MAX_ZONE && zone.chars().all(|c| c.is_ascii_graphic()));
        Some(zone.map_or_else(|| address.to_string(), |zone| format!("{address}%{zone}")))
    };
    value(VARIABLE).and_then(address).or_else(|| value(CLIENT).and_then(address))
}

/// Visits the processes in a folder, from this one upwards. Returns the file that ends the visit before init.
fn upwards(
    folder: &Path,
    mut visit: impl FnMut(&Path, u32) -> Result<(), SessionsError>,
) -> Result<Option<PathBuf>, SessionsError> {
    let mut process = folder.join("self");
    for _ in 0..MAX_ANCESTORS {
        let path = process.join("stat");
        let Some(bytes) = bytes(&path)? else { break };
        let text = String::from_utf8_lossy(&bytes);
        let (id, parent) = ids(&text).ok_or_else(|| malformed(&path, 0, &text))?;
        visit(&process, id)?;
        // Init has no parent. Another process with the parent 0 has one outside of this PID namespace.
        if (id, parent) == (INIT, 0) {
            return Ok(None);
        }
        process = folder.join(parent.to_string());
    }
    Ok(Some(process.join("stat")))
}

impl SshConnections {
    /// Adds the value in the environment of a process.
    fn add(&mut self, environment: &Path, process: u32, sockets: &Sockets) -> Result<(), SessionsError> {
        let Some(bytes) = bytes(environment)? else {
            self.unseen.push(environment.to_owned());
            return Ok(());
        };
        for value in bytes.split(|byte| *byte == 0).filter_map(|item| item.strip_prefix(VARIABLE.as_bytes())) {
            let value = String::from_utf8_lossy(value).into_owned();
            if let Some(known) = self.found.iter_mut().find(|known| known.value == value) {
                known.processes.push(process);
                continue;
            }
            let ends = ends(&value);
            let live = ends.and_then(|(client, server)| is_live(client, server, sockets));
            self.found.push(SshConnection { value, ends, processes: vec![process], live });
        }
        Ok(())
    }
}

/// Reads a file of a process; `None` where it is absent or not permitted, or the process has just ended.
fn bytes(path: &Path) -> Result<Option<Vec<u8>>, SessionsError> {
    /// `ESRCH`: the file is open, but its process has ended.
    const NO_SUCH_PROCESS: i32 = 3;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Err(error) if error.raw_os_error() == Some(NO_SUCH_PROCESS) => Ok(None),
        result => seen(result).map_err(|error| SessionsError::Io(path.to_owned(), error)),
    }
}

/// Reads the ids of a process and of its parent. The name between them may contain anything, also brackets.
fn ids(stat: &str) -> Option<(u32, u32)> {
    let id = stat.split(" (").next()?.parse().ok()?;
    let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
    Some((id, parent))
}

/// Reads `10.0.0.9 55410 10.0.0.5 22`: the client's end, and the server's.
fn ends(value: &str) -> Option<(SocketAddr, SocketAddr)> {
    let words: Vec<&str> = value.split(' ').collect();
    let &[client, client_port, server, server_port] = &words[..] else { return None };
    let end = |address: &str, port: &str| {
        // A link-local address has a zone, which the list of sockets lacks.
        let address: IpAddr = address.split('%').next()?.parse().ok()?;
        Some(plain(address, port.parse().ok()?))
    };
    Some((end(client, client_port)?, end(server, server_port)?))
}

fn is_live(client: SocketAddr, server: SocketAddr, sockets: &Sockets) -> Option<bool> {
    let is_it = |local, peer, transport| local == server && peer == client && transport == Transport::Tcp;
    let found = sockets.connections.iter().any(|found| is_it(found.local, found.peer, found.transport));
    let is_known = !sockets.unseen.iter().any(|file| file.starts_with("tcp"));
    (found || is_known).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::super::LiveConnection;
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn with(connections: &[(&str, &str)]) -> Sockets {
        let connection = |(local, peer): &(&str, &str)| LiveConnection {
            local: address(local),
            peer: address(peer),
            transport: Transport::Tcp,
            inbound: Some(true),
            loopback: false,
            source: "tcp",
        };
        Sockets { connections: connections.iter().map(connection).collect(), ..Sockets::default() }
    }

    /// A folder with processes: name of the folder, `stat`, and `environ` where it may be read.
    fn folder(processes: &[(&str, &str, Option<&str>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, stat, environment) in processes {
            let process = folder.path().join(name);
            std::fs::create_dir(&process).unwrap();
            std::fs::write(process.join("stat"), stat).unwrap();
            if let Some(environment) = environment {
                std::fs::write(process.join("environ"), environment).unwrap();
            }
        }
        folder
    }

    #[test]
    fn sudo_drops_the_variable_and_tmux_keeps_an_old_one() {
        let folder = folder(&[
            ("self", "900 (edgeward) R 800 900 800 0\n", Some("PATH=/bin\0XSSH_CONNECTION=no\0")),
            ("800", "800 (sudo) S 700 800", Some("SSH_CONNECTION=10.0.0.9 55410 10.0.0.5 22\0TERM=x\0")),
            ("700", "700 (a) R 1 (b) S 600 700", Some("HOME=/\0SSH_CONNECTION=10.0.0.9 55410 10.0.0.5 22\0")),
            ("600", "600 (tmux: server) S 1 600", Some("SSH_CONNECTION=::ffff:10.0.0.8 4000 ::ffff:10.0.0.5 22")),
            ("1", "1 (systemd) S 0 1 1", Some("")),
        ]);
        let sockets = with(&[("10.0.0.5:22", "10.0.0.9:55410"), ("10.0.0.8:4000", "10.0.0.5:22")]);
        let connections = read(folder.path(), &sockets).unwrap();
        let now = SshConnection {
            value: "10.0.0.9 55410 10.0.0.5 22".to_owned(),
            ends: Some((address("10.0.0.9:55410"), address("10.0.0.5:22"))),
            processes: vec![800, 700],
            live: Some(true),
        };
        let once = SshConnection {
            value: "::ffff:10.0.0.8 4000 ::ffff:10.0.0.5 22".to_owned(),
            ends: Some((address("10.0.0.8:4000"), address("10.0.0.5:22"))),
            processes: vec![600],
            live: Some(false),
        };
        assert_eq!(connections, SshConnections { found: vec![now, once], unseen: Vec::new() });
    }

    #[test]
    fn a_hidden_process_is_unseen() {
        let value = "SSH_CONNECTION=10.0.0.9 55410 10.0.0.5 22";
        let folder = folder(&[
            ("self", "900 (edgeward) R 800 900", Some(value)),
            ("800", "800 (sudo) S 700 800", None),
            ("outside", "5 (edgeward) R 0 5", Some("")),
        ]);
        let unknown = Sockets { unseen: vec!["tcp6"], ..with(&[]) };
        let connections = read(folder.path(), &unknown).unwrap();
        assert_eq!(connections.unseen, ["800/environ", "700/stat"].map(|name| folder.path().join(name)));
        assert_eq!(connections.found[0].live, None);
        assert_eq!(read(folder.path(), &with(&[])).unwrap().found[0].live, Some(false));

        std::fs::remove_dir_all(folder.path().join("self")).unwrap();
        std::fs::rename(folder.path().join("outside"), folder.path().join("self")).unwrap();
        let connections = read(folder.path(), &with(&[])).unwrap();
        assert_eq!(connections.unseen, [folder.path().join("0/stat")]);
    }

    #[test]
    fn values_are_read_as_sshd_writes_them() {
        let pair = |client, server| Some((address(client), address(server)));
        assert_eq!(ends("10.0.0.9 1 10.0.0.5 22"), pair("10.0.0.9:1", "10.0.0.5:22"));
        assert_eq!(ends("2001:db8::9 1 2001:db8::5 22"), pair("[2001:db8::9]:1", "[2001:db8::5]:22"));
        assert_eq!(ends("fe80::9%eth0 1 fe80::5%eth0 22"), pair("[fe80::9]:1", "[fe80::5]:22"));
        for other in ["", "UNKNOWN 65535 UNKNOWN 65535", "10.0.0.9 1 10.0.0.5", "10.0.0.9 1 10.0.0.5 22 ", "a b c d"] {
            assert_eq!(ends(other), None, "{other}");
        }
    }

    #[test]
    fn the_client_is_that_of_the_nearest_session() {
        let client = |environments: &[Option<&str>]| {
            let last = environments.len() - 1;
            let processes: Vec<(String, String, Option<&str>)> = environments
                .iter()
                .enumerate()
                .map(|(index, environment)| {
                    let id = if index == last { 1 } else { 900 - index };
                    let parent = if index == last {
                        0
                    } else if index + 1 == last {
                        1
                    } else {
                        899 - index
                    };
                    let name = if index == 0 { "self".to_owned() } else { id.to_string() };
                    (name, format!("{id} (sh) S {parent} 1"), *environment)
                })
                .collect();
            let processes: Vec<_> =
                processes.iter().map(|(name, stat, environment)| (&**name, &**stat, *environment)).collect();
            client(folder(&processes).path())
        };
        let near = Some("A=b\0SSH_CONNECTION=::ffff:10.0.0.9 55410 ::ffff:10.0.0.5 22\0");
        let far = Some("SSH_CLIENT=fe80::9%eth0 4000 22");
        assert_eq!(client(&[Some("SUDO_USER=alice"), near, far]).as_deref(), Some("10.0.0.9"));
        assert_eq!(
            client(&[Some(""), None, Some("SSH_CONNECTION=UNKNOWN 65535"), far]).as_deref(),
            Some("fe80::9%eth0")
        );
        assert_eq!(client(&[Some(""), Some("SSH_CLIENT=\x1b[2J 1 22"), Some("XSSH_CLIENT=10.0.0.9 1 22")]), None);
    }

    #[test]
    fn a_process_that_is_not_understood_is_an_error() {
        for stat in ["", "900 (edgeward) R", "900 edgeward R 1", "x (edgeward) R 1 1"] {
            let folder = folder(&[("self", stat, Some(""))]);
            let error = read(folder.path(), &with(&[])).unwrap_err();
            assert!(matches!(error, SessionsError::Malformed { line: 1, .. }), "{stat}: {error}");
        }
    }
}
