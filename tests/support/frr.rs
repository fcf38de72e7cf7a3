//! Routers that run FRR, and hosts that run BIRD, in network namespaces.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::netns::lan::Member;

/// Where Debian has the daemons of FRR.
const DAEMONS: &str = "/usr/lib/frr";

/// Where Debian has BIRD, and the program that talks with it.
const BIRD: &str = "/usr/sbin/bird";
const BIRDC: &str = "/usr/sbin/birdc";

/// How long a daemon or a session may take. It takes less than a second, unless the host is busy.
const PATIENCE: Duration = Duration::from_secs(40);

/// Tells whether FRR and BIRD are installed.
///
/// # Errors
///
/// What is missing.
pub fn available() -> Result<(), String> {
    match (Path::new(DAEMONS).join("zebra").exists() && user().is_some(), Path::new(BIRD).exists()) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("FRR is not in {DAEMONS}, or has no user `frr`")),
        (true, false) => Err(format!("BIRD is not {BIRD}")),
    }
}

/// Says on standard error that a test does not run, or fails it with `REQUIRE_FRR=1`.
pub fn skip(reason: &str) {
    let required = std::env::var_os("REQUIRE_FRR").is_some_and(|value| value == "1");
    assert!(!required, "REQUIRE_FRR=1, but {reason}");
    eprintln!("skipped: {reason}");
}

/// The user and the group that the daemons change to.
fn user() -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let fields: Vec<&str> = passwd.lines().find(|line| line.starts_with("frr:"))?.split(':').collect();
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

/// Waits for something, within a generous deadline.
///
/// # Panics
///
/// Where it does not come.
pub fn wait<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(begin.elapsed() < PATIENCE, "no {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A process that ends with its owner.
struct Daemon(Child);

impl Daemon {
    fn start(member: Member<'_>, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(member.within(|| command.spawn()).unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A router with static routes and BGP.
pub struct Router<'a> {
    member: Member<'a>,
    folder: TempDir,
    _daemons: Vec<Daemon>,
}

impl<'a> Router<'a> {
    /// Starts FRR without configuration.
    ///
    /// # Panics
    ///
    /// Where it is not [`available`].
    pub fn start(member: Member<'a>) -> Self {
        let folder = TempDir::new().unwrap();
        let (user, group) = user().unwrap();
        chown(folder.path(), Some(user), Some(group)).unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut daemons = Vec::new();
        // Newer versions have the configuration in a daemon of its own.
        let installed = ["zebra", "mgmtd", "staticd", "bgpd"].into_iter();
        for name in installed.filter(|name| Path::new(DAEMONS).join(name).exists()) {
            let mut command = Command::new(Path::new(DAEMONS).join(name));
            command.args(["-u", "frr", "-g", "frr", "-P", "0", "-f", "/dev/null", "-z"]).arg(path("zserv"));
            command.arg("--vty_socket").arg(folder.path()).arg("-i").arg(path(&format!("{name}.pid")));
            daemons.push(Daemon::start(member, &mut command));
            wait(name, || path(&format!("{name}.vty")).exists().then_some(()));
        }
        Self { member, folder, _daemons: daemons }
    }

    fn vtysh(&self, arguments: &[&str]) -> Result<String, String> {
        let folder = self.folder.path().to_str().unwrap();
        let own = ["vtysh", "--vty_socket", folder, "--config_dir", folder];
        self.member.print(&[&own, arguments].concat(), "")
    }

    /// Loads a configuration into the running one, after a check of its syntax.
    ///
    /// # Errors
    ///
    /// What FRR says, if it refuses a line. The other lines are loaded.
    pub fn load(&self, text: &str) -> Result<(), String> {
        let file = self.folder.path().join("load.conf");
        fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let checked = self.vtysh(&["-C", "-f", file]);
        let loaded = self.vtysh(&["-f", file]);
        let said = [checked, loaded].map(|result| result.unwrap_or_else(|error| format!("{error} refused")));
        // Its exit code alone does not say that all lines were taken.
        let bad = |said: &String| said.contains('%') || said.contains("refused") || said.contains("No such command");
        if said.iter().any(bad) { Err(said.join("\n")) } else { Ok(()) }
    }

    /// What a command prints.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn show(&self, command: &str) -> String {
        self.vtysh(&["-c", command]).unwrap()
    }

    /// What a command prints as JSON.
    ///
    /// # Panics
    ///
    /// As `show`, and where it prints something else.
    pub fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.show(command)).unwrap()
    }
}

/// A host that runs BIRD.
pub struct Bird<'a> {
    member: Member<'a>,
    folder: TempDir,
    _daemon: Daemon,
}

impl<'a> Bird<'a> {
    /// Starts BIRD with a configuration.
    ///
    /// # Panics
    ///
    /// Where it is not [`available`].
    pub fn start(member: Member<'a>, configuration: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("bird.conf"), configuration).unwrap();
        let mut command = Command::new(BIRD);
        command.args(["-f", "-c"]).arg(path("bird.conf")).arg("-s").arg(path("bird.ctl"));
        let daemon = Daemon::start(member, &mut command);
        wait("bird", || path("bird.ctl").exists().then_some(()));
        Self { member, folder, _daemon: daemon }
    }

    /// Gives it another configuration.
    ///
    /// # Panics
    ///
    /// Where it is refused.
    pub fn configure(&self, configuration: &str) {
        fs::write(self.folder.path().join("bird.conf"), configuration).unwrap();
        let said = self.show("configure");
        assert!(said.contains("Reconfigur"), "{said}");
    }

    /// What a command of its shell prints.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn show(&self, command: &str) -> String {
        let socket = self.folder.path().join("bird.ctl");
        self.member.print(&[BIRDC, "-s", socket.to_str().unwrap(), command], "").unwrap()
    }
}
