//! Rules of other programs, as files show them: systemd units that load rules at boot, and tables of legacy iptables.

#![expect(clippy::disallowed_methods, reason = "this is a module that may")]

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::error::ForeignError;
use crate::net::Family;

/// Which rules a unit removes when it starts, stops or is reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushes {
    /// The whole ruleset of nftables, edgeward's table included.
    Everything,
    /// The tables of iptables, but not edgeward's.
    Iptables,
}

/// A unit that is enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name, with `.service`.
    pub name: &'static str,
    /// What it removes.
    pub flushes: Flushes,
    /// The file that enables it.
    pub enabled_by: PathBuf,
}

/// The tables of legacy iptables. A table exists once a program has listed it, so it may have no rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegacyTables {
    /// Those that are loaded, such as `filter`.
    pub tables: Vec<(Family, String)>,
    /// The files that cannot be read, so that these tables are unknown.
    pub unseen: Vec<&'static str>,
}

/// Debian's and Red Hat's nftables.service flushes the ruleset when it stops. Debian's `/etc/nftables.conf` also does so
/// when it starts. The other two restore the tables of iptables.
const UNITS: [(&str, Flushes); 3] = [
    ("netfilter-persistent.service", Flushes::Iptables),
    ("nftables.service", Flushes::Everything),
    ("ufw.service", Flushes::Iptables),
];

/// Where units are enabled: by the administrator, until the next boot, and by the distribution.
const FOLDERS: [&str; 4] = ["etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

/// How the folders end whose units a target starts at boot.
const ENDINGS: [&str; 2] = ["wants", "requires"];

/// Looks for units below a root folder.
pub fn enabled(root: &Path) -> Result<Vec<Unit>, ForeignError> {
    let mut units: Vec<Unit> = Vec::new();
    for (name, flushes) in UNITS {
        let masked = FOLDERS[..2].iter().map(|folder| root.join(folder).join(name)).any(|path| is_masked(&path));
        if masked {
            continue;
        }
        if let Some(enabled_by) = enabling(root, name)? {
            units.push(Unit { name, flushes, enabled_by });
        }
    }
    Ok(units)
}

/// The first file that enables a unit: a link in the folder of a target, regardless of what it points to.
fn enabling(root: &Path, name: &str) -> Result<Option<PathBuf>, ForeignError> {
    for folder in FOLDERS.map(|folder| root.join(folder)) {
        for target in targets(&folder).map_err(|error| ForeignError::Io(folder.clone(), error))? {
            let path = target.join(name);
            match fs::symlink_metadata(&path) {
                Ok(_) => return Ok(Some(path)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(ForeignError::Io(path, error)),
            }
        }
    }
    Ok(None)
}

/// The folders `*.wants` and `*.requires` in a folder, sorted; none where it is absent.
fn targets(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let is_target = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| ENDINGS.contains(&ending)) && path.is_dir()
    };
    let mut targets: Vec<PathBuf> = paths?.into_iter().filter(is_target).collect();
    targets.sort();
    Ok(targets)
}

/// Whether a unit is masked: a link to `/dev/null`.
fn is_masked(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

/// Reads the names of tables from a folder of the kernel. Without a file its module is not loaded and has no rules.
pub fn legacy_tables(folder: &Path) -> Result<LegacyTables, ForeignError> {
    let mut legacy = LegacyTables::default();
    for (name, family) in [("ip_tables_names", Family::V4), ("ip6_tables_names", Family::V6)] {
        let path = folder.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => legacy.tables.extend(text.lines().map(|table| (family, table.to_owned()))),
            Err(error) if error.kind() == ErrorKind::NotFound && folder.is_dir() => {}
            Err(error) if [ErrorKind::NotFound, ErrorKind::PermissionDenied].contains(&error.kind()) => {
                legacy.unseen.push(name);
            }
            Err(error) => return Err(ForeignError::Io(path, error)),
        }
    }
    Ok(legacy)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Creates a link, and the folders above it.
    fn link(root: &Path, path: &str, target: &str) -> PathBuf {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, &path).unwrap();
        path
    }

    #[test]
    fn enabled_units_are_found_by_their_links() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(enabled(root).unwrap(), []);
        // The unit itself, and a folder that is not of a target, enable nothing.
        link(root, "usr/lib/systemd/system/nftables.service", "elsewhere");
        link(root, "etc/systemd/system/old/nftables.service", "elsewhere");
        assert_eq!(enabled(root).unwrap(), []);
        // The targets of these links do not exist below this root.
        let ours = link(
            root,
            "etc/systemd/system/sysinit.target.wants/nftables.service",
            "/lib/systemd/system/nftables.service",
        );
        let ufw =
            link(root, "etc/systemd/system/multi-user.target.wants/ufw.service", "/lib/systemd/system/ufw.service");
        let persistent = link(root, "usr/lib/systemd/system/basic.target.requires/netfilter-persistent.service", "..");
        let unit = |name, flushes, enabled_by: &PathBuf| Unit { name, flushes, enabled_by: enabled_by.clone() };
        let expected = [
            unit("netfilter-persistent.service", Flushes::Iptables, &persistent),
            unit("nftables.service", Flushes::Everything, &ours),
            unit("ufw.service", Flushes::Iptables, &ufw),
        ];
        assert_eq!(enabled(root).unwrap(), expected);
        link(root, "etc/systemd/system/nftables.service", "/dev/null");
        assert_eq!(enabled(root).unwrap(), [expected[0].clone(), expected[2].clone()]);
        // A file in place of a folder is an error, unlike a folder that does not exist.
        let other = tempfile::tempdir().unwrap();
        fs::create_dir_all(other.path().join("etc/systemd")).unwrap();
        fs::write(other.path().join("etc/systemd/system"), "").unwrap();
        assert!(matches!(enabled(other.path()), Err(ForeignError::Io(..))));
    }

    #[test]
    fn unreadable_tables_of_legacy_iptables_are_unseen() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(legacy_tables(folder).unwrap(), LegacyTables::default());
        let unseen = legacy_tables(&folder.join("none")).unwrap().unseen;
        assert_eq!(unseen, ["ip_tables_names", "ip6_tables_names"]);
        fs::write(folder.join("ip_tables_names"), "nat\nfilter\n").unwrap();
        fs::write(folder.join("ip6_tables_names"), "filter\n").unwrap();
        let tables = legacy_tables(folder).unwrap().tables;
        let tables: Vec<(Family, &str)> = tables.iter().map(|(family, name)| (*family, &**name)).collect();
        assert_eq!(tables, [(Family::V4, "nat"), (Family::V4, "filter"), (Family::V6, "filter")]);
    }
}
