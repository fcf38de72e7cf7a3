//! Watchers, which undo a change at its deadline even if the process that made the change has died.
//!
//! Under systemd a watcher is a transient timer, which survives the end of a login session. Elsewhere it is a process in a
//! session of its own, without a terminal. Either runs this program again, which reads from the state folder whether there
//! is still something to undo, so an older watcher need not be cancelled when a new deadline is set.

#![expect(clippy::disallowed_methods, reason = "this is a module that may start the program itself")]

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// How long a watcher process may take to report that it has started.
const MAX_START: Duration = Duration::from_secs(10);
const READY: &[u8] = b"ready";

/// Why no watcher was started.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The program could not be started.
    #[error("cannot start `{}`", .0.display())]
    Start(PathBuf, #[source] io::Error),
    /// It was started, and did not report.
    #[error("the process that undoes an unconfirmed change did not start; nothing was changed")]
    NotReady,
}

/// A watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watcher {
    /// A transient timer of systemd, by its unit.
    Timer(String),
    /// A process, by its id.
    Process(u32),
}

/// Whether systemd runs in this network namespace, and not only on the host of this container.
fn is_under_systemd() -> bool {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let own = namespace("thread-self");
    Path::new("/run/systemd/system").is_dir() && own.is_some() && own == namespace("1")
}

/// Arranges for a command of this program to run after a delay. Without systemd it is started at once and waits itself.
///
/// `name` is the unit's; `command` are the arguments.
///
/// # Errors
/// No watcher was started.
pub fn arm(name: &str, command: &[&std::ffi::OsStr], delay: Duration) -> Result<Watcher, WatchError> {
    let program = std::env::current_exe().map_err(|error| WatchError::Start(PathBuf::from("edgeward"), error))?;
    if is_under_systemd() && timer(name, &program, command, delay) {
        return Ok(Watcher::Timer(format!("{name}.timer")));
    }
    process(&program, command).map(Watcher::Process)
}

/// Starts a transient timer; `false` where systemd refuses it.
fn timer(name: &str, program: &Path, command: &[&std::ffi::OsStr], delay: Duration) -> bool {
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--collect", "--timer-property=AccuracySec=100ms"])
        .arg(format!("--unit={name}"))
        .arg(format!("--on-active={}ms", delay.as_millis()))
        .arg("--")
        .arg(program)
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    run.status().is_ok_and(|status| status.success())
}

/// Starts a process, and waits until it has detached.
fn process(program: &Path, command: &[&std::ffi::OsStr]) -> Result<u32, WatchError> {
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

/// Detaches this process from the session and the process group of its parent, and reports that on standard output.
///
/// # Errors
/// The report cannot be written.
pub fn detach() -> io::Result<()> {
    // A process that systemd started leads a session already.
    let _ = rustix::process::setsid();
    let mut out = io::stdout().lock();
    out.write_all(READY)?;
    out.flush()
}
