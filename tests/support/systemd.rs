//! A throw-away machine: systemd as PID 1 in namespaces of its own, with the programs of this machine.
//!
//! `/usr` is this machine's, read-only; `/etc`, `/var` and `/usr/local` are the machine's own, and stay when it is
//! rebooted; everything else begins empty at every boot. Only a handful of systemd's units are there, none of the
//! distribution's, so that each machine boots alike, in some tenths of a second. There is no D-Bus: `systemctl` and
//! `systemd-run` (without `--wait` and `--pipe`) speak with PID 1 directly.
//!
//! The network namespace has a loopback interface and nothing else. Sysctls that are not the network namespace's are
//! read-only, so that nothing of the machine around it can be changed by mistake.
//!
//! A machine is off when its value is dropped, also where the test is killed: a shell beside it waits for the end of a
//! pipe, ends PID 1, and with it all processes, mounts and namespaces.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

/// How long a machine may take to boot, or to go.
const PATIENCE: Duration = Duration::from_secs(60);
/// The seconds that a command in the machine may take, as the argument of timeout(1).
const COMMAND_LIMIT: &str = "60";
const SCRIPT: &str = include_str!("systemd/machine.sh");
/// systemd's own units of this machine, where it has them.
const UNITS: &str = "/usr/lib/systemd/system";

/// The units of a machine, in addition to those that are installed in it. `nftables.service` is the
/// distribution's, and not enabled.
const BASE: [&str; 28] = [
    "basic.target",
    "emergency.target",
    "final.target",
    "local-fs-pre.target",
    "local-fs.target",
    "multi-user.target",
    "network-online.target",
    "network-pre.target",
    "network.target",
    "nftables.service",
    "nss-lookup.target",
    "paths.target",
    "poweroff.target",
    "reboot.target",
    "remote-fs.target",
    "rescue.target",
    "shutdown.target",
    "slices.target",
    "sockets.target",
    "swap.target",
    "sysinit.target",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "time-set.target",
    "time-sync.target",
    "timers.target",
    "umount.target",
];

/// What is started without being asked for.
const WANTED: [(&str, &str); 3] = [
    ("sysinit.target", "systemd-journald.service"),
    ("sockets.target", "systemd-journald.socket"),
    ("sockets.target", "systemd-journald-dev-log.socket"),
];

/// The files of a fresh `/etc`. Without `machine-id` systemd would take it for the first boot ever.
const ETC: [(&str, &str); 8] = [
    ("group", "root:x:0:\ntty:x:5:\nsystemd-journal:x:101:\nnogroup:x:65534:\n"),
    ("hostname", "machine\n"),
    ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("machine-id", "ed6e0000000040008000000000000001\n"),
    ("nftables.conf", "flush ruleset\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nprotocols: files\nservices: files\n"),
    ("passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"),
    ("resolv.conf", "# no servers\n"),
];

/// Tells whether this process can run a machine.
///
/// # Errors
///
/// The reason why it cannot.
pub fn available() -> Result<(), String> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    ANSWER.get_or_init(|| Machine::boot().map(drop)).clone()
}

/// Says on standard error that a test does not run, or fails it where it must (`REQUIRE_SYSTEMD=1`).
///
/// # Panics
///
/// Where systemd is required.
pub fn skip(reason: &str) {
    let required = std::env::var_os("REQUIRE_SYSTEMD").is_some_and(|value| value == "1");
    assert!(!required, "REQUIRE_SYSTEMD=1, but {reason}");
    eprintln!("skipped: {reason}");
}

/// A machine, on or off.
pub struct Machine {
    folder: TempDir,
    running: Option<Running>,
}

/// What there is only while a machine is on.
struct Running {
    supervisor: Child,
    /// The number of the machine's PID 1, as this process sees it.
    pid: u32,
}

impl Machine {
    /// Makes a machine that is off, to be furnished before its first boot.
    ///
    /// # Errors
    ///
    /// What this machine lacks.
    pub fn new() -> Result<Self, String> {
        let folder =
            tempfile::Builder::new().prefix("edgeward-machine-").tempdir().map_err(|error| error.to_string())?;
        lay_out(folder.path()).map_err(|error| format!("no files for a machine: {error}"))?;
        Ok(Self { folder, running: None })
    }

    /// Makes a machine and boots it.
    ///
    /// # Errors
    ///
    /// What this machine lacks, or why the other one does not come up.
    pub fn boot() -> Result<Self, String> {
        let mut machine = Self::new()?;
        machine.start()?;
        Ok(machine)
    }

    /// Boots a machine that is off, and waits until it is up. Failed units do not count, [`Self::failed`] has them.
    ///
    /// # Errors
    ///
    /// Why it does not come up.
    ///
    /// # Panics
    ///
    /// Where it is on.
    pub fn start(&mut self) -> Result<(), String> {
        assert!(self.running.is_none(), "the machine is on");
        let folder = self.folder.path();
        let _ = fs::remove_file(folder.join("pid"));
        // Not of the group that a terminal interrupts: it has to clean up.
        let mut supervisor = Command::new("unshare")
            .args(["--mount", "sh"])
            .args([&folder.join("machine.sh"), Path::new("supervise"), folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(folder.join("supervisor")).map_err(|error| error.to_string())?)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("unshare(1) cannot be started: {error}"))?;
        let mut pid = None;
        let begun = until(PATIENCE, || {
            pid = fs::read_to_string(folder.join("pid")).ok().and_then(|text| text.trim().parse().ok());
            pid.is_some() || supervisor.try_wait().is_ok_and(|status| status.is_some())
        });
        let Some(pid) = pid else {
            let _ = end(&mut supervisor);
            let why = if begun { "cannot be laid out" } else { "took too long to lay out" };
            return Err(format!("a machine {why}: {}", self.last_words()));
        };
        self.running = Some(Running { supervisor, pid });
        let mut state = String::new();
        let up = until(PATIENCE, || {
            state = said(&self.run(&["systemctl", "is-system-running"]));
            ["running", "degraded"].contains(&state.trim()) || self.is_gone()
        });
        if up && !self.is_gone() {
            return Ok(());
        }
        let jobs = said(&self.run(&["systemctl", "--no-pager", "list-jobs"]));
        let words = self.last_words();
        self.power_off();
        Err(format!("systemd does not come up: {}\n{jobs}{words}", state.trim()))
    }

    /// Cuts the power: nothing is stopped, and nothing is asked.
    ///
    /// # Panics
    ///
    /// Where it does not go.
    pub fn power_off(&mut self) {
        if let Some(mut running) = self.running.take() {
            let result = end(&mut running.supervisor);
            assert!(result.is_ok() || thread::panicking(), "the machine does not go: {result:?} {}", self.last_words());
        }
    }

    /// Cuts the power and boots again, with the same `/etc`, `/var` and `/usr/local`.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn reboot(&mut self) -> Result<(), String> {
        self.power_off();
        self.start()
    }

    /// Runs a command in the machine, as root at its console: not as a service, and without this process's environment.
    ///
    /// What it leaves in the background runs on.
    ///
    /// # Panics
    ///
    /// Where the machine is off.
    pub fn run(&self, argv: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command
            .args([
                "--cgroup",
                "--ipc",
                "--mount",
                "--net",
                "--pid",
                "--uts",
                "--target",
                &self.pid().to_string(),
                "--",
            ])
            .args(["timeout", "--kill-after=1", COMMAND_LIMIT])
            .args(argv)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs([("HOME", "/root"), ("LANG", "C.UTF-8"), ("NO_COLOR", "1"), ("SYSTEMD_COLORS", "0")]);
        // Into files, which do not wait for what runs on in the background with the same output.
        let mut files = [(); 2].map(|()| tempfile::tempfile().expect("no temporary file"));
        let [stdout, stderr] = files.each_ref().map(|file| file.try_clone().expect("no second handle"));
        let status = command.stdout(stdout).stderr(stderr).status().expect("nsenter(1) could not be started");
        let [stdout, stderr] = files.each_mut().map(|file| {
            let mut bytes = Vec::new();
            file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("the output cannot be read");
            bytes
        });
        Output { status, stdout, stderr }
    }

    /// Runs a command in the machine that has to succeed, and returns what it printed.
    ///
    /// # Panics
    ///
    /// Where it fails.
    #[track_caller]
    pub fn succeed(&self, argv: &[&str]) -> String {
        let output = self.run(argv);
        assert!(output.status.success(), "{argv:?}: {}: {}", output.status, said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Writes a file below `/etc`, `/var` or `/usr/local`, with the folders above it; the machine may be off.
    ///
    /// # Panics
    ///
    /// Where the file is elsewhere or cannot be written.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Returns where this machine has a file that the other one has below `/etc`, `/var` or `/usr/local`.
    ///
    /// # Panics
    ///
    /// Where the file is elsewhere.
    pub fn path(&self, path: &str) -> PathBuf {
        let files = self.folder.path().join("files");
        let kept = [("/etc/", "etc"), ("/var/", "var"), ("/usr/local/", "local")];
        let found = kept.iter().find_map(|(prefix, folder)| Some(files.join(folder).join(path.strip_prefix(prefix)?)));
        found.unwrap_or_else(|| panic!("{path} is not kept"))
    }

    /// Returns the number of the machine's PID 1 as this process sees it: `/proc/PID/ns/net` is its network namespace.
    ///
    /// # Panics
    ///
    /// Where the machine is off.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the machine is off").pid
    }

    /// Installs edgeward below `/usr/local`, as `make install` does it, but with this program in place of a release;
    /// nothing is enabled. On a machine that is on, `systemctl daemon-reload` comes next.
    ///
    /// # Panics
    ///
    /// Where make fails.
    pub fn install(&self, program: &str) {
        let staging = self.folder.path().join("staging");
        // With debug information a program is large: make copies two lines that call it, and it is linked afterwards.
        let caller = self.folder.path().join("edgeward");
        fs::write(&caller, format!("#!/bin/sh\nexec '{program}' \"$@\"\n")).unwrap();
        fs::set_permissions(&caller, Permissions::from_mode(0o755)).unwrap();
        make_install(&staging, "/usr/local", caller.to_str().unwrap());
        let local = self.path("/usr/local/.");
        for entry in fs::read_dir(staging.join("usr/local")).unwrap().map(Result::unwrap) {
            fs::rename(entry.path(), local.join(entry.file_name())).unwrap();
        }
        let installed = self.path("/usr/local/bin/edgeward");
        fs::remove_file(&installed).unwrap();
        if fs::hard_link(program, &installed).is_err() {
            fs::copy(program, &installed).unwrap();
        }
    }

    /// Runs a closure on a thread that has entered the machine's network namespace, for sockets that its programs meet.
    ///
    /// # Panics
    ///
    /// Where the machine is off.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.pid())).expect("the machine has gone");
        let enter = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).expect("the namespace could not be entered");
            work()
        };
        thread::scope(|scope| scope.spawn(enter).join().unwrap_or_else(|payload| panic::resume_unwind(payload)))
    }

    /// Returns the names of the units that have failed.
    pub fn failed(&self) -> Vec<String> {
        let listed = self.succeed(&["systemctl", "--no-pager", "--plain", "--no-legend", "--failed"]);
        listed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }

    /// Returns what a unit has said, in this boot.
    pub fn journal(&self, unit: &str) -> String {
        // What has been said may still be on its way.
        self.succeed(&["journalctl", "--sync"]);
        self.succeed(&["journalctl", "--no-pager", "--output=cat", "--unit", unit])
    }

    fn is_gone(&self) -> bool {
        !self.running.as_ref().is_some_and(|running| Path::new("/proc").join(running.pid.to_string()).exists())
    }

    /// What is on the console, and what the shell beside the machine said.
    fn last_words(&self) -> String {
        let mut words = String::new();
        for name in ["console", "supervisor"] {
            let text = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
            let _ = write!(words, "{}", text.trim_end());
        }
        words
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// Runs `make install` with a program that is built already.
///
/// # Panics
///
/// Where make fails.
pub fn make_install(destination: &Path, prefix: &str, program: &str) {
    let output = Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Not `build`: that is a release.
        .args(["--silent", "--old-file=build", "install"])
        .arg(format!("BINARY={program}"))
        .arg(format!("DESTDIR={}", destination.display()))
        .arg(format!("PREFIX={prefix}"))
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .expect("make(1) could not be started");
    assert!(output.status.success(), "make install: {}", said(&output));
}

/// Asks again until the answer is yes; no is the answer when the time is over.
pub fn until(limit: Duration, mut check: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        let late = begin.elapsed() >= limit;
        if check() {
            return true;
        }
        if late {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Both streams of a command, as text.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Lets go of the pipe that keeps a machine alive, and waits until everything has been taken away.
fn end(supervisor: &mut Child) -> io::Result<()> {
    drop(supervisor.stdin.take());
    let mut status = None;
    until(PATIENCE, || {
        status = supervisor.try_wait().transpose();
        status.is_some()
    });
    match status {
        Some(Ok(status)) if status.success() => Ok(()),
        Some(Ok(status)) => Err(io::Error::other(status.to_string())),
        Some(Err(error)) => Err(error),
        None => {
            supervisor.kill()?;
            supervisor.wait()?;
            Err(io::ErrorKind::TimedOut.into())
        }
    }
}

/// Makes the files that a machine begins with.
fn lay_out(folder: &Path) -> io::Result<()> {
    let files = folder.join("files");
    let [etc, units] = ["etc", "units"].map(|name| files.join(name));
    for made in ["cgroup", "root", "files/etc/systemd/system", "files/local", "files/units", "files/var/lib"] {
        fs::create_dir_all(folder.join(made))?;
    }
    for made in ["cache", "log", "spool", "tmp"] {
        fs::create_dir(files.join("var").join(made))?;
    }
    symlink("../run", files.join("var/run"))?;
    fs::write(folder.join("machine.sh"), SCRIPT)?;
    for (name, text) in ETC {
        fs::write(etc.join(name), text)?;
    }
    // Where the loader finds libraries, and Debian its alternatives; what is not there is not needed.
    for name in ["ld.so.cache", "protocols", "services"] {
        let _ = fs::copy(Path::new("/etc").join(name), etc.join(name));
    }
    fs::create_dir(etc.join("alternatives"))?;
    for entry in fs::read_dir("/etc/alternatives").into_iter().flatten().flatten() {
        if let Ok(target) = fs::read_link(entry.path()) {
            symlink(target, etc.join("alternatives").join(entry.file_name()))?;
        }
    }
    for name in BASE {
        let from = Path::new(UNITS).join(name);
        fs::copy(&from, units.join(name))
            .map_err(|error| io::Error::new(error.kind(), format!("no {}: {error}", from.display())))?;
    }
    for (target, unit) in WANTED {
        let wants = units.join(format!("{target}.wants"));
        fs::create_dir_all(&wants)?;
        symlink(Path::new("..").join(unit), wants.join(unit))?;
    }
    Ok(())
}
