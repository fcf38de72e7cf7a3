//! Other users of the host, and what killed runs have left: root writes nowhere else than it was told to, waits for none of
//! them without a bound, and removes only its own files.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use edgeward::host::generations::{State, Store, StoreError};
use rustix::fs::{FlockOperation, flock};
use support::dns_server::{DnsServer, Entry, Zone};
use support::netns::{Side, Topology};

/// The other user.
const OTHER: u32 = 65534;
const CASE: &str = "fixtures/cases/10-edge-host-flannel";
const NAMES: &str = registered_policy!(
    "named",
    "allow: [{id: mirror, direction: outbound, peers: [mirror.example.com], ports: [tcp/443]}]\n"
);
/// What no test may change.
const PRECIOUS: &str = "precious\n";
/// How long a program may take on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a policy, which all users can read, and a folder that all users can write to, as `/tmp`.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self { folder };
        set_mode(site.folder.path(), 0o755);
        for name in ["policy.yaml", "policy.lock.yaml"] {
            fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(CASE).join(name), site.path(name)).unwrap();
        }
        fs::write(site.path("named.yaml"), NAMES).unwrap();
        fs::write(site.path("precious"), PRECIOUS).unwrap();
        fs::create_dir(site.path("shared")).unwrap();
        set_mode(&site.path("shared"), 0o1777);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a line of a shell in which `edgeward` is the program; its exit code, and what was printed.
    fn run(&self, line: &str) -> (Option<i32>, String) {
        let output = self.shell(line).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(!said.contains("panicked"), "{line}: {said}");
        (output.status.code(), said)
    }

    /// As [`Site::run`], with an exit code. Lockfiles of the fixtures get old, which is not the subject.
    #[track_caller]
    fn ends(&self, line: &str, code: i32) -> String {
        let (ended, said) = self.run(line);
        assert_eq!(ended, Some(code), "{line}: {said}");
        said.split_inclusive('\n').filter(|line| !line.contains("`resolve.max-stale`")).collect()
    }

    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("bash");
        let script = format!("edgeward() {{ timeout 120 '{}' \"$@\"; }}; {line}", env!("CARGO_BIN_EXE_edgeward"));
        shell.args(["-c", &script]).current_dir(self.folder.path()).env("NO_COLOR", "1").env_remove("SSH_CONNECTION");
        shell
    }

    /// Runs a line of a shell as the other user.
    #[track_caller]
    fn other(&self, line: &str) {
        let output = other_user(line).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn give_away(path: &Path) {
    std::os::unix::fs::lchown(path, Some(OTHER), Some(OTHER)).unwrap();
}

fn other_user(line: &str) -> Command {
    let mut command = Command::new("setpriv");
    let id = OTHER.to_string();
    command.args([&format!("--reuid={id}"), &format!("--regid={id}"), "--clear-groups", "sh", "-c", line]);
    command
}

/// A program of the other user that holds the lock of a file or a folder until it is killed.
struct Holder(Child);

impl Holder {
    fn of(path: &Path) -> Self {
        let line = format!("exec flock '{}' sh -c 'echo held; exec cat'", path.display());
        let mut child = other_user(&line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert_eq!(first, "held\n");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Both programs end with their input.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

macro_rules! need_root {
    () => {
        if !rustix::process::geteuid().is_root() {
            return support::netns::skip("only root can be another user");
        }
    };
}

fn names() -> DnsServer {
    Zone::default().name("mirror.example.com", Entry::addresses(&["203.0.113.7"], 60)).serve()
}

#[test]
fn other_users_cannot_stop_resolve() {
    need_root!();
    let site = Site::new();
    let server = names();
    let _held = [site.folder.path().to_owned(), site.path("named.yaml")].map(|path| Holder::of(&path));
    let resolve = format!("edgeward resolve named.yaml --server {}", server.address());
    site.ends(&resolve, 0);
    let _lockfile = Holder::of(&site.path("named.lock.yaml"));
    site.ends(&resolve, 0);
    // Nothing but the lockfile is left, which all users can read.
    assert_eq!(mode(&site.path("named.lock.yaml")), 0o644);
    let hidden = fs::read_dir(site.folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0);
}

#[test]
fn a_lock_that_another_user_made_in_a_shared_folder_stops_nobody() {
    need_root!();
    let site = Site::new();
    let server = names();
    for (mode, lock) in [(0o1777, "first"), (0o777, "second")] {
        set_mode(&site.path("shared"), mode);
        site.other(&format!("touch shared/.{lock}.lock.yaml.lock && chmod 666 shared/.{lock}.lock.yaml.lock"));
        let _held = Holder::of(&site.path(&format!("shared/.{lock}.lock.yaml.lock")));
        let begin = Instant::now();
        site.ends(
            &format!("edgeward resolve named.yaml --lock shared/{lock}.lock.yaml --server {}", server.address()),
            0,
        );
        assert!(begin.elapsed() < Duration::from_secs(50), "{mode:o}");
        assert!(site.path(&format!("shared/{lock}.lock.yaml")).exists());
    }
}

#[test]
fn other_users_cannot_stop_changes() {
    need_root!();
    let site = Site::new();
    let state = site.path("state");
    fs::create_dir(&state).unwrap();
    set_mode(&state, 0o755);
    let _held = Holder::of(&state);
    drop(Store::hold(&state, Duration::ZERO).unwrap());
    // They cannot open the file of the lock, which is there while a run needs it.
    let store = Store::hold(&state, Duration::ZERO).unwrap();
    assert_eq!(mode(&state.join("lock")), 0o600);
    assert!(matches!(Store::hold(&state, Duration::ZERO), Err(StoreError::Lock(_))));
    drop(store);
    assert!(!state.join("lock").exists());
}

#[test]
fn users_without_root_resolve_in_their_own_folder_and_wait_for_roots_run() {
    need_root!();
    let site = Site::new();
    let server = names();
    let own = site.path("own");
    fs::create_dir(&own).unwrap();
    fs::copy(site.path("named.yaml"), own.join("named.yaml")).unwrap();
    let program = site.path("edgeward");
    fs::copy(env!("CARGO_BIN_EXE_edgeward"), &program).unwrap();
    [&own, &own.join("named.yaml"), &program].into_iter().for_each(|path| give_away(path));
    let line = format!("'{}' resolve own/named.yaml --server {}", program.display(), server.address());
    site.other(&line);
    assert_eq!(fs::metadata(own.join("named.lock.yaml")).unwrap().uid(), OTHER);
    // Root's run keeps the owner, and leaves nothing that shuts the user out.
    site.ends(&format!("edgeward resolve own/named.yaml --server {}", server.address()), 0);
    assert_eq!(fs::metadata(own.join("named.lock.yaml")).unwrap().uid(), OTHER);
    site.other(&line);
    // A run of root that was killed has left its lock.
    fs::write(own.join(".named.lock.yaml.lock"), "").unwrap();
    give_away(&own.join(".named.lock.yaml.lock"));
    site.other(&line);
    // Offline there is nothing to lock, and the folder may be read-only.
    set_mode(&own, 0o555);
    site.other(&format!("'{}' resolve own/named.yaml --offline", program.display()));
}

/// Every way to write a file, with the place of its output.
const OUTPUTS: [(&str, &str); 4] = [
    ("edgeward compile policy.yaml --output OUT", "OUT"),
    ("echo 192.0.2.0/24 | edgeward aggregate --output OUT", "OUT"),
    ("edgeward resolve named.yaml --lock OUT --server SERVER", "OUT"),
    ("mkdir -p \"$(dirname OUT)\"; edgeward man --out-dir \"$(dirname OUT)\"", "OUT"),
];

#[test]
fn no_link_of_another_user_is_followed() {
    need_root!();
    let site = Site::new();
    let server = names();
    fs::create_dir(site.path("other")).unwrap();
    fs::create_dir(site.path("group")).unwrap();
    give_away(&site.path("other"));
    std::os::unix::fs::chown(site.path("group"), Some(0), Some(OTHER)).unwrap();
    set_mode(&site.path("group"), 0o775);
    let target = site.path("precious");
    fs::create_dir(site.path("inner")).unwrap();
    for folder in ["shared", "other", "group"] {
        // The output itself is a link, or a folder on the way to it.
        site.other(&format!("ln -s '{}' {folder}/edgeward.1", target.display()));
        site.other(&format!("ln -s '{}' {folder}/way", site.path("inner").display()));
        for out in [format!("{folder}/edgeward.1"), format!("{folder}/way/edgeward.1")] {
            for (line, word) in OUTPUTS {
                let line = line.replace(word, &out).replace("SERVER", &server.address().to_string());
                let said = site.ends(&line, 4);
                assert!(said.contains("is a link, and other users can change it"), "{line}: {said}");
                assert_eq!(fs::read_to_string(&target).unwrap(), PRECIOUS, "{line}");
                assert_eq!(fs::read_dir(site.path("inner")).unwrap().count(), 0, "{line}");
            }
        }
        // A folder with such a link is used otherwise.
        site.ends(&format!("edgeward compile policy.yaml -o {folder}/out.nft"), 0);
        let mut names = fs::read_dir(site.path(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.find(|name| name.to_string_lossy().starts_with(".edgeward-")), None);
    }
}

#[test]
fn links_of_the_user_are_followed_and_modes_kept() {
    need_root!();
    let site = Site::new();
    let target = site.path("precious");
    set_mode(&target, 0o640);
    let compile = |out: &str| site.ends(&format!("edgeward compile policy.yaml -o {out}"), 0);
    symlink("precious", site.path("link")).unwrap();
    symlink(".", site.path("way")).unwrap();
    for out in ["link", "way/link", "way/way/precious", "shared/../link"] {
        fs::write(&target, PRECIOUS).unwrap();
        compile(out);
        assert!(fs::read_to_string(&target).unwrap().contains("table inet edgeward"), "{out}");
        assert_eq!(mode(&target), 0o640, "{out}");
        assert!(fs::symlink_metadata(site.path("link")).unwrap().is_symlink());
    }
    // In a sticky folder, no other user can have put it there.
    symlink(&target, site.path("shared/own")).unwrap();
    compile("shared/own");
    // A new file is one that others can read; what another user left in the shared folder says nothing about modes.
    site.other("touch shared/planted; chmod 666 shared/planted");
    for out in ["new.nft", "shared/planted"] {
        compile(out);
        assert_eq!((mode(&site.path(out)), fs::metadata(site.path(out)).unwrap().uid()), (0o644, 0), "{out}");
    }
    // A link that leads to a file which is not there yet.
    symlink("later.nft", site.path("dangling")).unwrap();
    compile("dangling");
    assert!(site.path("later.nft").is_file());
    symlink("circle", site.path("circle")).unwrap();
    site.ends("edgeward compile policy.yaml -o circle", 4);
}

#[test]
fn outputs_may_be_streams() {
    need_root!();
    let site = Site::new();
    let whole = site.ends("edgeward compile policy.yaml 2>/dev/null", 0);
    for line in [
        "edgeward compile policy.yaml -o - 2>/dev/null",
        "edgeward compile policy.yaml -o /dev/stdout 2>/dev/null",
        "edgeward compile policy.yaml -o /dev/stdout 2>/dev/null | cat",
        "edgeward compile policy.yaml -o /dev/fd/1 2>/dev/null > out; cat out",
        "edgeward compile policy.yaml -o >(cat > out) 2>/dev/null; wait $!; cat out",
        "mkfifo pipe; cat pipe > out & edgeward compile policy.yaml -o pipe 2>/dev/null; wait; cat out; rm pipe",
    ] {
        assert!(site.ends(line, 0) == whole, "{line}");
    }
    let line = "echo '# first' > out; edgeward compile policy.yaml -o /dev/stdout 2>/dev/null >> out; cat out";
    assert_eq!(site.ends(line, 0), format!("# first\n{whole}"));
    assert_eq!(site.ends("edgeward compile policy.yaml -o /dev/null 2>/dev/null", 0), "");
    let said = site.ends("edgeward compile policy.yaml -o shared", 4);
    assert!(said.contains("`shared` is a folder; name a file in it"), "{said}");
    site.other("mkfifo shared/pipe");
    let line = "cat shared/pipe & edgeward compile policy.yaml -o shared/pipe; code=$?; kill $!; exit $code";
    let said = site.ends(line, 4);
    assert!(said.contains("a pipe of another user"), "{said}");
}

#[test]
fn a_pipe_without_another_end_is_given_up() {
    need_root!();
    let site = Site::new();
    let lines = [
        "check PIPE",
        "compile policy.yaml --lock PIPE",
        "compile policy.yaml -o PIPE",
        "explain policy.yaml --probes PIPE",
        "diff policy.yaml --against PIPE",
        "aggregate PIPE",
        "check policy.yaml --catalog FOLDER",
        "resolve policy.yaml --offline --lock PIPE",
        "status --state-dir FOLDER",
    ];
    // All at once: each waits for some seconds.
    let mut runs = Vec::new();
    for (at, line) in lines.into_iter().enumerate() {
        let (pipe, folder) = (format!("pipe{at}"), format!("folder{at}"));
        let inside = format!("{folder}/{{sources,regions,flows}}.yaml {folder}/state.json");
        let line = line.replace("PIPE", &pipe).replace("FOLDER", &folder);
        let line = format!("mkfifo {pipe}; mkdir -m 700 {folder}; mkfifo {inside}; edgeward {line}");
        let child = site.shell(&line).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        runs.push((line, child.unwrap()));
    }
    for (line, child) in runs {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if line.contains("edgeward status") {
            // The state is known without its file, and that this is damaged is said.
            let shown = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && shown.contains("state.json` is damaged"), "{line}: {output:?}");
            continue;
        }
        assert!(output.status.code().is_some_and(|code| code == 2 || code == 4), "{line}: {output:?}");
        // A lockfile that is written must not be a pipe.
        assert!(said.contains("no program has") || line.contains("resolve"), "{line}: {said}");
    }
    // A writer that comes later, or is slow, is waited for.
    site.ends("mkfifo late; (sleep 2; exec > late; sleep 2; cat policy.yaml) & edgeward check late", 0);
    site.ends("edgeward check <(sleep 2; cat policy.yaml)", 0);
}

#[test]
fn what_killed_runs_left_is_removed_and_nothing_else() {
    need_root!();
    let site = Site::new();
    let left = [".edgeward-aB3dE6", ".edgeward-4711n1764142921000000000n0"];
    let kept = [".edgeward-busy00", ".edgeward-other0", ".edgeward-notes.md", ".edgeward-linked", ".edgeward-folder"];
    for folder in [site.folder.path().to_owned(), site.path("shared"), site.path("state")] {
        fs::create_dir_all(&folder).unwrap();
        for name in left.iter().chain(&kept[..3]) {
            fs::write(folder.join(name), "").unwrap();
        }
        give_away(&folder.join(".edgeward-other0"));
        symlink(site.path("precious"), folder.join(".edgeward-linked")).unwrap();
        fs::create_dir(folder.join(".edgeward-folder")).unwrap();
        // A run that is still writing.
        let busy = fs::File::open(folder.join(".edgeward-busy00")).unwrap();
        flock(&busy, FlockOperation::NonBlockingLockExclusive).unwrap();
        if folder.ends_with("state") {
            let store = Store::hold(&folder, Duration::ZERO).unwrap();
            store.save(&State::default()).unwrap();
        } else {
            site.ends(&format!("edgeward compile policy.yaml -o '{}/out.nft'", folder.display()), 0);
        }
        assert!(left.iter().all(|name| !folder.join(name).exists()), "{}", folder.display());
        assert!(kept.iter().all(|name| folder.join(name).symlink_metadata().is_ok()), "{}", folder.display());
    }
    assert_eq!(fs::read_to_string(site.path("precious")).unwrap(), PRECIOUS);
}

#[test]
fn a_state_folder_of_others_is_refused_and_repaired_by_the_command_that_is_shown() {
    need_root!();
    let site = Site::new();
    let state = site.path("state");
    let outside = site.path("outside/1");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("ruleset.nft"), PRECIOUS).unwrap();
    let refused = |expected: &str| {
        for verb in ["status", "boot", "confirm", "rollback", "history", "apply policy.yaml", "uninstall"] {
            let said = site.ends(&format!("edgeward {verb} --state-dir state"), 4);
            assert!(said.contains(expected), "{verb}: {said}");
        }
        assert_eq!(fs::read_to_string(outside.join("ruleset.nft")).unwrap(), PRECIOUS);
        let said = site.run("edgeward history --state-dir state").1;
        // The command that it shows, and what it finds then.
        let command =
            said.split('`').find(|word| word.starts_with("ch") || word.starts_with("rm ")).unwrap().to_owned();
        site.ends(&command, 0);
        site.ends("edgeward history --state-dir state", 0);
    };
    let make = |mode: u32| {
        let _ = fs::remove_dir_all(&state);
        fs::create_dir(&state).unwrap();
        set_mode(&state, mode);
    };
    make(0o777);
    refused("other users can write to");
    make(0o775);
    refused("other users can write to");
    make(0o700);
    give_away(&state);
    refused("belongs to the user");
    make(0o700);
    symlink(site.path("outside"), state.join("generations")).unwrap();
    refused("a link to one is not followed");
    // A link to the folder is followed if it is root's.
    make(0o700);
    fs::rename(&state, site.path("real")).unwrap();
    symlink("real", &state).unwrap();
    site.ends("edgeward history --state-dir state", 0);
    drop(Store::hold(&state, Duration::ZERO).unwrap());
    site.other(&format!("ln -s '{}' shared/state", site.path("real").display()));
    assert!(Store::hold(&site.path("shared/state"), Duration::ZERO).is_err());
    assert!(Store::hold(&site.path("shared/state/new"), Duration::ZERO).is_err());
    assert!(!site.path("real/new").exists());
}

/// Catalogs and lists are known by their digests: that others can change them is said, and stops only what writes there.
#[test]
fn folders_of_inputs_that_others_can_change_stop_no_way_back() {
    need_namespaces!();
    need_root!();
    let site = Site::new();
    let host = Topology::edge_host("10.0.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap());
    let run = |line: &str, code: i32| host.within(Side::UnderTest, || site.ends(line, code));
    let policy = fs::read_to_string(site.path("policy.yaml")).unwrap();
    fs::write(site.path("other.yaml"), policy + "mode: audit\n").unwrap();
    fs::copy(site.path("policy.lock.yaml"), site.path("other.lock.yaml")).unwrap();
    run("edgeward apply policy.yaml --state-dir state --force", 0);
    for name in ["catalogs", "lists"] {
        let folder = site.path("state").join(name);
        let _ = fs::create_dir(&folder);
        set_mode(&folder, 0o777);
        let warns = |line: &str, code: i32| {
            let said = run(&format!("edgeward {line} --state-dir state"), code);
            assert!(said.contains("other users can write to") && said.contains(name), "{line}: {said}");
        };
        // The same catalog need not be written.
        run("edgeward apply other.yaml --confirm-within 1h --force --state-dir state", 0);
        warns("status", 0);
        warns("status --check", 1);
        warns("history", 0);
        warns("confirm", 0);
        warns("boot", 0);
        warns("rollback --force", 0);
        // Another one would have to be.
        if name == "catalogs" {
            fs::create_dir(site.path("newer")).unwrap();
            for file in edgeward::catalog::FILES {
                let text =
                    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/catalog").join(file));
                fs::write(site.path("newer").join(file), format!("# Another text.\n{}", text.unwrap())).unwrap();
            }
            warns("apply policy.yaml --force --catalog newer", 4);
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        }
        set_mode(&folder, 0o700);
    }
    let said = run("edgeward status --state-dir state", 0);
    assert!(!said.contains("other users can write to"), "{said}");
}

#[test]
fn a_wait_for_another_run_says_for_whom() {
    need_root!();
    let site = Site::new();
    // Its server never answers.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    fs::write(site.path("named.yaml"), NAMES.to_owned() + "resolve: {timeout: 10s, attempts: 1}\n").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let mut first = Command::new(env!("CARGO_BIN_EXE_edgeward"));
    first.args(["resolve", "named.yaml", "--server", &address]).current_dir(site.folder.path());
    let mut first = first.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let lock = site.path(".named.lock.yaml.lock");
    let begin = Instant::now();
    while fs::read_to_string(&lock).map_or(true, |text| text.lines().count() < 3) {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    let (_, said) = site.run(&format!("edgeward resolve named.yaml --server {address}"));
    first.wait().unwrap();
    assert!(said.contains("is locked by process ") && said.contains("(`edgeward resolve named.yaml"), "{said}");
    assert!(said.contains("waiting for at most 60 s"), "{said}");
}
