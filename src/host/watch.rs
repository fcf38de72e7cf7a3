//! Somebody who undoes a change at its deadline, whatever becomes of the process that made it.
//!
//! Under systemd that is a transient timer: no end of a session takes it along. Elsewhere it is a process of its own,
//! in a session of its own, without a terminal. Either runs the program again, which reads from the state folder whether
//! there is still something to undo; so an older watcher needs not be called back when a change is armed again.

#![expect(clippy::disallowed_methods, reason = "this is a module that may start the program itself")]

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// A process says that it is on its way within moments.
const PATIENCE: Duration = Duration::from_secs(10);
const READY: &[u8] = b"ready";

/// Why nobody watches.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The program could not be started again.
    #[error("cannot start `{}`", .0.display())]
    Start(PathBuf, #[source] io::Error),
    /// It was started, and did not come up.
    #[error("the process that is to undo the change did not come up; nothing was changed")]
    NotReady,
}

/// Who watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watcher {
    /// A transient timer of systemd.
    Timer(String),
    /// A process.
    Process(u32),
}

/// Whether systemd runs this machine, and not only the one that this container is on.
fn is_under_systemd() -> bool {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let own = namespace("thread-self");
    Path::new("/run/systemd/system").is_dir() && own.is_some() && own == namespace("1")
}

/// Has a command of this program run after a delay: under systemd then, else at once, to wait by itself.
///
/// `name` is the unit's; `command` are the arguments.
///
/// # Errors
/// Nobody watches.
pub fn arm(name: &str, command: &[&std::ffi::OsStr], delay: Duration) -> Result<Watcher, WatchError> {
    let program = std::env::current_exe().map_err(|error| WatchError::Start(PathBuf::from("edgeward"), error))?;
    if is_under_systemd() && timer(name, &program, command, delay) {
        return Ok(Watcher::Timer(format!("{name}.timer")));
    }
    process(&program, command).map(Watcher::Process)
}

/// Starts a transient timer; where that is refused, a process does it.
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

/// Starts a process, and waits until it stands on its own feet.
fn process(program: &Path, command: &[&std::ffi::OsStr]) -> Result<u32, WatchError> {
    let start = |error| WatchError::Start(program.to_owned(), error);
    let mut child = Command::new(program)
        .args(command)
        // A folder in use could not be unmounted.
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(start)?;
    let (sender, receiver) = channel();
    let stdout = child.stdout.take();
    let hear = move || {
        let mut word = [0; READY.len()];
        let heard = stdout.is_some_and(|mut pipe| pipe.read_exact(&mut word).is_ok()) && word == READY;
        // Nobody hears it where the time is over.
        let _ = sender.send(heard);
    };
    thread::Builder::new().spawn(hear).map_err(start)?;
    match receiver.recv_timeout(PATIENCE) {
        Ok(true) => Ok(child.id()),
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            Err(WatchError::NotReady)
        }
    }
}

/// Leaves the session and the process group of whoever started this process, and says so.
///
/// # Errors
/// Nobody hears it.
pub fn detach() -> io::Result<()> {
    // A timer's process leads a session already.
    let _ = rustix::process::setsid();
    let mut out = io::stdout().lock();
    out.write_all(READY)?;
    out.flush()
}
