//! Watchers, which undo a change at its deadline even if the process that made the change has died.
//!
//! A watcher is a process of this program that starts before the rules change and waits for the deadline: under systemd
//! a service of its own, which survives the end of a login session, elsewhere a process in a session of its own. It has
//! its program in memory, so it undoes the change also if the file was removed or replaced meanwhile. A timer of systemd
//! would start the file at the deadline, and fail with 203/EXEC.
//!
//! A watcher reads from the state folder whether there is still something to undo, so an older one need not be cancelled
//! when a new deadline is set.

#![expect(clippy::disallowed_methods, reason = "this is a module that may start the program itself")]

mod survival;

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use super::programs;
use crate::diag::shown;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

/// How long a watcher may take to report that it has started.
const MAX_START: Duration = Duration::from_secs(10);
/// How long systemd may take to answer.
const MAX_ANSWER: Duration = Duration::from_secs(60);
const READY: &[u8] = b"ready";
/// Where systemd expects the report (systemd.service(5), `Type=notify`).
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
const NOTIFY_READY: &[u8] = b"READY=1";
/// The file that this process has in memory, also if it was removed.
const OWN_IMAGE: &str = "/proc/self/exe";

/// Why no watcher was started.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The program could not be started.
    #[error("cannot start `{}`", shown(.0))]
    Start(PathBuf, #[source] io::Error),
    /// It was started, and did not report.
    #[error("the process that undoes an unconfirmed change did not start; nothing was changed")]
    NotReady,
    /// Nothing that is started here can be relied on at the deadline.
    #[error(
        "`--confirm-within` cannot be promised: {0}; nothing was changed. Run it on the host, where a watcher survives, \
         or apply without `--confirm-within`; `--force` does not override this"
    )]
    Ends(&'static str),
}

/// A watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watcher {
    /// A transient service of systemd, by its unit.
    Service(String),
    /// A process.
    Process {
        /// Its id.
        id: u32,
        /// The login session that it is part of, as in `session-3.scope`: its end may end the process.
        session: Option<String>,
    },
}

/// Whether systemd runs in this network namespace, and not only on the host of this container.
fn is_under_systemd() -> bool {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let own = namespace("thread-self");
    Path::new("/run/systemd/system").is_dir() && own.is_some() && own == namespace("1")
}

/// Tells whether a watcher that is started here lives until its deadline, or ends together with the rules.
///
/// # Errors
/// Neither is certain, as in a container.
pub fn can_be_promised() -> Result<(), WatchError> {
    survival::objection().map_or(Ok(()), |why| Err(WatchError::Ends(why)))
}

/// Starts a command of this program that waits for a deadline and reports by [`detach`] that it does.
///
/// `name` is the unit's; `command` are the arguments.
///
/// # Errors
/// No watcher was started, or none that is started here can be relied on.
pub fn arm(name: &str, command: &[&OsStr]) -> Result<Watcher, WatchError> {
    can_be_promised()?;
    let program = std::env::current_exe().map_err(|error| WatchError::Start(PathBuf::from("edgeward"), error))?;
    if is_under_systemd() && service(name, &program, command) {
        return Ok(Watcher::Service(format!("{name}.service")));
    }
    let id = process(&program, command)?;
    Ok(Watcher::Process { id, session: survival::login_session() })
}

/// Starts a transient service, and waits until it has reported; `false` where systemd refuses it, or does not have it.
fn service(name: &str, program: &Path, command: &[&OsStr]) -> bool {
    let Some(mut run) = programs::command("systemd-run") else { return false };
    run.args(["--quiet", "--collect", "--service-type=notify"])
        .arg(format!("--unit={name}"))
        .arg("--description=edgeward: undo an unconfirmed change at its deadline")
        .arg(format!("--property=TimeoutStartSec={}s", MAX_START.as_secs()))
        // Not after an exit: where the program is gone, systemd would try without success.
        .arg("--property=Restart=on-abnormal")
        // The last process to be killed where memory is short.
        .arg("--property=OOMScoreAdjust=-1000")
        .arg("--")
        .arg(program)
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut child) = run.spawn() else { return false };
    match programs::end(&mut child, Instant::now() + MAX_ANSWER) {
        Ok(Some(status)) => status.success() && is_active(&format!("{name}.service")),
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            false
        }
    }
}

/// Whether systemd has a service, and this program runs as its process: that `systemd-run` ended well proves neither.
fn is_active(unit: &str) -> bool {
    let Some(mut ask) = programs::command("systemctl") else { return false };
    ask.args(["show", "--property=ActiveState,MainPID", "--", unit]).stdin(Stdio::null()).stderr(Stdio::null());
    let Ok(answer) = ask.output() else { return false };
    let answer = String::from_utf8_lossy(&answer.stdout);
    let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let process = value("MainPID").and_then(|id| id.parse::<u32>().ok()).filter(|id| *id != 0);
    let Some(process) = process.filter(|_| value("ActiveState") == Some("active")) else { return false };
    // A service with fewer capabilities may not look at the files of others: then systemd is believed.
    let program = identity(&PathBuf::from(format!("/proc/{process}/exe")));
    program.is_none() || program == identity(Path::new(OWN_IMAGE))
}

/// The file that a path leads to.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Starts a process, and waits until it has detached.
fn process(program: &Path, command: &[&OsStr]) -> Result<u32, WatchError> {
    let start = |error| WatchError::Start(program.to_owned(), error);
    let mut child = Command::new(program)
        .args(command)
        // Its working directory could not be unmounted.
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(start)?;
    let (sender, receiver) = channel();
    let stdout = child.stdout.take();
    let listen = move || {
        let mut word = [0; READY.len()];
        let heard = stdout.is_some_and(|mut pipe| pipe.read_exact(&mut word).is_ok()) && word == READY;
        // The receiver is gone after the timeout.
        let _ = sender.send(heard);
    };
    thread::Builder::new().spawn(listen).map_err(start)?;
    match receiver.recv_timeout(MAX_START) {
        Ok(true) => Ok(child.id()),
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            Err(WatchError::NotReady)
        }
    }
}

/// Detaches this process from the session and the process group of its parent, and reports that: to systemd where that
/// has started it, else on standard output. From then on it also survives SIGHUP.
///
/// # Errors
/// The report cannot be written.
pub fn detach() -> io::Result<()> {
    ignore_hangup();
    if let Some(socket) = std::env::var_os(NOTIFY_SOCKET) {
        return notify(&socket);
    }
    // A process that systemd started leads a session already.
    let _ = rustix::process::setsid();
    let mut out = io::stdout().lock();
    out.write_all(READY)?;
    out.flush()
}

/// Has SIGHUP do nothing in this process: it means that a terminal is gone, or that a service is to read its files again, and
/// must not cost the way back. The handler stays when the runtime that installs it is dropped.
fn ignore_hangup() {
    let Ok(runtime) = runtime::Builder::new_current_thread().enable_io().build() else { return };
    let _in_it = runtime.enter();
    let _ = signal(SignalKind::hangup());
}

fn notify(socket: &OsStr) -> io::Result<()> {
    // `@` is the first byte of an abstract address.
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(Path::new(OsStr::from_bytes(path)))?,
    };
    UnixDatagram::unbound()?.send_to_addr(NOTIFY_READY, &address).map(drop)
}

/// The file that this process was started from. While a watcher waits, an upgrade may replace it by a version whose state
/// this one cannot read.
#[derive(Clone, Debug)]
pub struct ProgramFile(Option<PathBuf>);

impl ProgramFile {
    /// The file, as long as it is still there.
    pub fn current() -> Self {
        Self(std::env::current_exe().ok())
    }

    /// Runs a command of the version that has replaced this one, to its end; `false` if there is none, or if it fails.
    pub fn run_successor(&self, command: &[&OsStr]) -> bool {
        let Some(program) = &self.0 else { return false };
        let successor = identity(program);
        if successor.is_none() || successor == identity(Path::new(OWN_IMAGE)) {
            return false;
        }
        let mut run = Command::new(program);
        run.args(command).current_dir("/").env_remove(NOTIFY_SOCKET);
        run.stdin(Stdio::null()).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}
