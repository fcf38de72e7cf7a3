//! Whether modules of the running kernel can be loaded.

use std::path::{Path, PathBuf};

use super::files;

/// The modules of the running kernel, as far as a process may see them.
#[derive(Debug)]
pub struct Modules {
    /// Where the folders `sys` and `lib` are.
    root: PathBuf,
    folder: PathBuf,
}

impl Modules {
    /// Those of the running kernel.
    pub fn of_kernel() -> Self {
        // Without `/proc`, nothing is known of them.
        let release = files::read(Path::new("/proc/sys/kernel/osrelease"));
        let release = release.as_ref().map_or("unknown", |source| source.text().trim());
        Self::of_release(Path::new("/"), release)
    }

    /// Those of a release, in another root folder.
    pub fn of_release(root: &Path, release: &str) -> Self {
        Self { root: root.to_owned(), folder: root.join("lib/modules").join(release) }
    }

    /// Of modules that are all needed, those that are neither loaded nor built in nor installed. A module may have several
    /// names, of which newer kernels have the first; a module is named as this kernel calls it.
    ///
    /// Where the lists of modules cannot be read, as in a container, or where each module is there and something else keeps
    /// the kernel from loading it: all that are not loaded.
    pub fn missing(&self, needed: &[&[&'static str]]) -> Vec<&'static str> {
        let is_loaded = |name: &&str| self.root.join("sys/module").join(name).exists();
        let absent: Vec<&[&str]> = needed.iter().copied().filter(|names| !names.iter().any(is_loaded)).collect();
        let read = |list: &str| files::read(&self.folder.join(list)).ok();
        let (built_in, installed) = (read("modules.builtin"), read("modules.dep"));
        let installed = installed.as_ref().map(|list| list.text().lines().filter_map(|line| line.split(':').next()));
        let path_of = |name: &str| installed.clone()?.find(|path| module_of(path) == name);
        let is_built_in =
            |name: &&str| built_in.iter().any(|list| list.text().lines().any(|path| module_of(path) == **name));
        let is_there =
            |name: &&str| is_built_in(name) || path_of(name).is_some_and(|path| self.folder.join(path).exists());
        let missing: Vec<&[&str]> = match &installed {
            Some(_) => absent.iter().copied().filter(|names| !names.iter().any(is_there)).collect(),
            None => Vec::new(),
        };
        let found = if missing.is_empty() { absent } else { missing };
        let named = |names: &&[&'static str]| {
            let listed = names.iter().find(|name| path_of(name).is_some());
            listed.or(names.first()).copied()
        };
        let mut names: Vec<&str> = found.iter().filter_map(named).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The name of a module by the path of its file, which may be compressed: `kernel/net/netfilter/nft_log.ko.xz`.
fn module_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split_once(".ko").map_or(file, |(name, _)| name).replace('-', "_")
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "what the test prepares")]
mod tests {
    use super::*;

    const LOG: [&[&str]; 3] = [&["nft_log"], &["nf_log_syslog", "nf_log_ipv4"], &["nf_log_syslog", "nf_log_ipv6"]];

    #[test]
    fn modules_are_missing_that_have_no_file() {
        let root = tempfile::tempdir().unwrap();
        let modules = Modules::of_release(root.path(), "6.1.0");
        let folder = &modules.folder;
        // Nothing is known of them.
        assert_eq!(modules.missing(&LOG), ["nf_log_syslog", "nft_log"]);
        std::fs::create_dir_all(root.path().join("sys/module/nft_log")).unwrap();
        assert_eq!(modules.missing(&LOG), ["nf_log_syslog"]);

        std::fs::create_dir_all(folder.join("kernel/net")).unwrap();
        std::fs::write(folder.join("modules.builtin"), "kernel/net/nft_limit.ko\n").unwrap();
        let listed = "kernel/net/nft_ct.ko.xz: kernel/net/nf_tables.ko.xz\nkernel/net/nf-log-syslog.ko:\n";
        std::fs::write(folder.join("modules.dep"), listed).unwrap();
        let with_ct = |needed: &[&[&'static str]]| modules.missing(&[needed, &[&["nft_ct"], &["nft_limit"]]].concat());
        assert_eq!(with_ct(&LOG), ["nf_log_syslog", "nft_ct"]);
        std::fs::write(folder.join("kernel/net/nft_ct.ko.xz"), "").unwrap();
        assert_eq!(with_ct(&LOG), ["nf_log_syslog"]);
        // All are there, and none is loaded.
        assert_eq!(with_ct(&[]), ["nft_ct", "nft_limit"]);

        // A kernel before 5.13.
        std::fs::write(folder.join("modules.dep"), "kernel/net/nf_log_ipv4.ko:\nkernel/net/nf_log_ipv6.ko:\n").unwrap();
        std::fs::write(folder.join("kernel/net/nf_log_ipv6.ko"), "").unwrap();
        assert_eq!(modules.missing(&LOG), ["nf_log_ipv4"]);
    }
}
