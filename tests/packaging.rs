//! What `make install` installs and `make uninstall` removes, and what `systemd-analyze` says of the units; `tests/units.rs` starts them.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::slice;

use support::netns;
use support::systemd::{make_install, said, skip};
use tempfile::TempDir;

const SERVICES: [&str; 3] = ["edgeward-boot.service", "edgeward.service", "edgeward-refresh.service"];
const TIMER: &str = "edgeward-refresh.timer";
// ── make install ─────────────────────────────────────────────────────────────────────────────────────────────────

/// A program that is quickly copied; what it prints does not matter.
const SMALL_PROGRAM: &str = "/bin/true";

fn installed(destination: &Path, prefix: &str) -> PathBuf {
    make_install(destination, prefix, SMALL_PROGRAM);
    destination.join(prefix.trim_start_matches('/'))
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn everything_that_the_documentation_lists_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    // The program itself: it writes the manual pages and the completions.
    make_install(folder.path(), "/usr", env!("CARGO_BIN_EXE_edgeward"));
    let below = folder.path().join("usr");
    let text = fs::read_to_string(root("packaging/README.md")).unwrap();
    let list = text.split("\n## ").find(|section| section.starts_with("What is installed")).unwrap();
    let listed: Vec<&str> = list.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(listed.len() > 10, "{listed:?}");
    for path in listed {
        assert!(below.join(path).exists(), "{path} is not installed");
    }
    let policies = fs::read_dir(below.join("share/doc/edgeward/policies")).unwrap().count();
    assert!(policies > 5, "{policies}");
    let program = edgeward::cli::command();
    let verbs: Vec<&str> =
        program.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| verb.get_name()).collect();
    let pages = below.join("share/man/man1");
    assert_eq!(fs::read_dir(&pages).unwrap().count(), verbs.len() + 1);
    for verb in verbs {
        let page = fs::read_to_string(pages.join(format!("edgeward-{verb}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS"), "{page}");
    }
}

#[test]
fn units_call_the_program_where_it_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    for prefix in ["/usr", "/usr/local", "/opt/edgeward"] {
        let units = installed(folder.path(), prefix).join("lib/systemd/system");
        for service in SERVICES {
            let text = fs::read_to_string(units.join(service)).unwrap();
            let calls: Vec<&str> = text.lines().filter(|line| line.starts_with("Exec")).collect();
            let expected = format!("={prefix}/bin/edgeward ");
            assert!(!calls.is_empty() && calls.iter().all(|call| call.contains(&expected)), "{calls:?}");
            assert!(!text.contains(folder.path().to_str().unwrap()), "{text}");
        }
    }
}

// ── packages ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// Whether a path is one of `pattern`, in whose last part a `*` is any text.
fn is_one_of(path: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => path == pattern,
        Some((start, end)) => {
            let rest = path.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
            rest.is_some_and(|rest| !rest.contains('/'))
        }
    }
}

/// `make test-packages` installs the packages. This finds a new file that would be missing in them.
#[test]
fn packages_contain_what_is_installed() {
    let folder = tempfile::tempdir().unwrap();
    make_install(folder.path(), "/usr", env!("CARGO_BIN_EXE_edgeward"));
    let text = fs::read_to_string(root("packaging/dist/nfpm.yaml")).unwrap();
    let sources = text.split("src: ").skip(1).filter_map(|rest| rest.split([',', '\n']).next());
    let patterns: BTreeSet<&str> =
        sources.map(|source| source.trim_matches('"')).filter(|source| source.starts_with("usr/")).collect();
    let files: Vec<PathBuf> = everything(folder.path()).into_iter().filter(|path| path.is_file()).collect();
    let files: Vec<&str> =
        files.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
    let missing: Vec<&&str> =
        files.iter().filter(|file| !patterns.iter().any(|pattern| is_one_of(file, pattern))).collect();
    assert!(missing.is_empty(), "not in packaging/dist/nfpm.yaml: {missing:?}");
    for pattern in patterns {
        assert!(files.iter().any(|file| is_one_of(file, pattern)), "{pattern}: there is no such file");
    }
}

// ── make uninstall ───────────────────────────────────────────────────────────────────────────────────────────────

/// Every file and folder below a folder.
fn everything(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

fn uninstall(command: &mut Command, arguments: &[&str]) -> Output {
    command.current_dir(root("")).args(["make", "--silent", "uninstall"]).args(arguments);
    command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env("NO_COLOR", "1").output().unwrap()
}

#[test]
fn uninstall_removes_what_install_installed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("usr");
    make_install(folder.path(), "/usr", env!("CARGO_BIN_EXE_edgeward"));
    let installed = everything(folder.path());
    assert!(installed.len() > 60, "{installed:?}");
    let others =
        ["bin/other", "share/man/man1/other.1", "lib/systemd/system/other.service", "share/doc/edgeward/docs/mine"];
    for other in others {
        fs::write(below.join(other), "").unwrap();
    }
    let destination = format!("DESTDIR={}", folder.path().display());
    for _ in 0..2 {
        let output = uninstall(&mut Command::new("env"), &[&destination, "PREFIX=/usr"]);
        assert!(output.status.success(), "{}", said(&output));
        let files: Vec<PathBuf> = everything(folder.path()).into_iter().filter(|path| path.is_file()).collect();
        let mut expected = others.map(|other| below.join(other)).to_vec();
        expected.sort();
        assert_eq!(files, expected);
    }
    // Folders that are only edgeward's go, too, unless there is something in them.
    assert!(!below.join("share/doc/edgeward/policies").exists());
}

/// With a folder of generations of its own, and without a systemd.
#[test]
fn uninstall_settles_first_and_stops_if_that_fails() {
    if let Err(reason) = netns::available() {
        return netns::skip(&reason);
    }
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("local");
    make_install(Path::new(""), prefix.to_str().unwrap(), SMALL_PROGRAM);
    let program = prefix.join("bin/edgeward");
    let calls = folder.path().join("calls");
    let prefix = format!("PREFIX={}", prefix.display());
    let run = |code: u8, settle: &str| {
        fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> {}\nexit {code}\n", calls.display())).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "sh", "-ec", "mount -t tmpfs tmpfs /run; exec \"$@\"", "sh"]);
        uninstall(&mut command, &[&prefix, settle])
    };
    assert!(!run(4, "SETTLE=").status.success());
    assert!(program.exists() && folder.path().join("local/lib/systemd/system/edgeward.service").exists());
    let output = run(0, "SETTLE=--remove-rules");
    assert!(output.status.success(), "{}", said(&output));
    assert!(!program.exists());
    assert_eq!(fs::read_to_string(calls).unwrap(), "uninstall\nuninstall --remove-rules\n");
}

// ── systemd-analyze ──────────────────────────────────────────────────────────────────────────────────────────────

/// The units as they are installed, with a program that is there.
fn units() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    make_install(Path::new(""), folder.path().to_str().unwrap(), SMALL_PROGRAM);
    let units = folder.path().join("lib/systemd/system");
    (folder, units)
}

fn analyze(arguments: &[&str], units: &[PathBuf]) -> Option<Output> {
    let output = Command::new("systemd-analyze").args(arguments).args(units).env("SYSTEMD_PAGER", "").output();
    output.inspect_err(|error| skip(&format!("systemd-analyze cannot be started: {error}"))).ok()
}

/// The complaints of `systemd-analyze verify` about our units. It also reads other units of this host, which are left out.
fn complaints(units: &[PathBuf]) -> Option<String> {
    let output = analyze(&["verify", "--man=no"], units)?;
    let lines: Vec<String> =
        said(&output).lines().filter(|line| line.contains("edgeward")).map(str::to_owned).collect();
    let failed = if output.status.success() { "" } else { "refused\n" };
    Some(failed.to_owned() + &lines.join("\n"))
}

#[test]
fn systemd_accepts_the_units() {
    let (_folder, folder) = units();
    let units: Vec<PathBuf> = SERVICES.iter().chain([&TIMER]).map(|unit| folder.join(unit)).collect();
    let Some(complaints_of_ours) = complaints(&units) else { return };
    assert_eq!(complaints_of_ours, "");
    let text = fs::read_to_string(&units[0]).unwrap();
    for (from, to) in [("ProtectHome=", "ProtectHme="), ("Type=oneshot", "Type=onshot"), ("/bin/edgeward", "/bin/none")]
    {
        fs::write(&units[0], text.replace(from, to)).unwrap();
        assert_ne!(complaints(&units).unwrap(), "", "{to}");
    }
}

#[test]
fn the_exposure_of_each_service_is_below_two() {
    let (_folder, folder) = units();
    for service in SERVICES {
        let unit = folder.join(service);
        // In tenths, and what is equal is accepted.
        let arguments = ["security", "--offline=true", "--no-pager", "--threshold=19"];
        let Some(output) = analyze(&arguments, slice::from_ref(&unit)) else { return };
        let said = said(&output);
        assert!(output.status.success() && said.contains("exposure level"), "{said}");
        let text = fs::read_to_string(&unit).unwrap();
        fs::write(&unit, text.replace("NoNewPrivileges=yes", "").replace("SystemCallFilter", "#")).unwrap();
        assert!(!analyze(&arguments, slice::from_ref(&unit)).unwrap().status.success());
    }
}

#[test]
fn the_services_share_their_hardening() {
    let settings = |service: &str| {
        let text = fs::read_to_string(root("packaging/systemd").join(service)).unwrap();
        let (_, hardening) = text.split_once("CapabilityBoundingSet").unwrap();
        let hardening = hardening.split_once("[Install]").map_or(hardening, |(hardening, _)| hardening);
        let is_setting = |line: &&str| !line.starts_with('#') && !line.is_empty();
        hardening.lines().filter(is_setting).map(str::to_owned).collect::<Vec<_>>()
    };
    let [boot, apply, refresh] = SERVICES.map(settings);
    assert!(boot.len() > 25, "{boot:?}");
    let but = |lines: &[String], exceptions: &[&str]| {
        let is_common = |line: &&String| !exceptions.iter().any(|exception| line.starts_with(exception));
        lines.iter().filter(is_common).cloned().collect::<Vec<_>>()
    };
    let online = &["IPAddressDeny=", "PrivateTmp=", "RestrictAddressFamilies="];
    assert_eq!(but(&boot, online), but(&apply, online));
    assert_eq!(apply, refresh);
}
