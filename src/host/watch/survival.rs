//! Whether a watcher that is started here can keep its promise: it must live until the deadline, or the rules must end
//! with it.
//!
//! All processes of a container end with its first one, its PID 1. The rules end only with the network namespace, which
//! may be the machine's, or that of other containers. So outside of the machine's own PID namespace, a watcher is
//! relied on in two cases only: an init system is PID 1, as in a system container, or the network namespace is another
//! than that of PID 1, such as one that was made inside of the container. In neither case may it be the machine's.

#![expect(clippy::disallowed_methods, reason = "this module looks at /proc and at its environment")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The PID namespace of the machine, whose number never changes (kernel, include/linux/proc_ns.h).
const MACHINE_PIDS: &str = "pid:[4026531836]";
/// The cgroup namespace of the machine, likewise.
const MACHINE_CGROUPS: &str = "cgroup:[4026531835]";
/// Only the machine's own network namespace has it (kernel, net/core/sysctl_net_core.c).
const OF_THE_MACHINE: &str = "/proc/sys/net/core/netdev_max_backlog";
/// The names of programs that run a whole system as PID 1: systemd, and `init` of sysvinit, OpenRC, runit and busybox.
const INITS: [&str; 2] = ["systemd", "init"];

/// What is known about the namespaces of this process.
#[derive(Clone, Debug, Default)]
struct Place {
    /// Its PID namespace is the machine's.
    machine_pids: bool,
    /// It is in a cgroup namespace or has a root directory of its own, as in a container with the machine's processes.
    contained: bool,
    /// Its network namespace is the machine's.
    machine_network: bool,
    /// The name of PID 1, where `/proc` shows that of its own PID namespace.
    init: Option<String>,
    /// PID 1 is in another network namespace.
    own_network: bool,
}

impl Place {
    fn here() -> Self {
        let own = |kind| namespace("thread-self", kind);
        let machine_pids = own("pid").is_some_and(|pids| pids == Path::new(MACHINE_PIDS));
        let has_own_proc = own("pid").is_some() && own("pid") == namespace("1", "pid");
        let init = match fs::read_to_string("/proc/1/comm").ok().filter(|_| has_own_proc) {
            None if is_hardened_service() => Some("systemd".to_owned()),
            name => name,
        };
        let init_network = namespace("1", "net").filter(|_| has_own_proc);
        Self {
            machine_pids,
            contained: own("cgroup").is_some_and(|cgroups| cgroups != Path::new(MACHINE_CGROUPS)) || has_other_root(),
            machine_network: Path::new(OF_THE_MACHINE).exists(),
            init: init.map(|name| name.trim().to_owned()),
            own_network: init_network.is_some() && init_network != own("net"),
        }
    }

    /// Why a watcher would end before the rules do; `None` if it can be relied on.
    fn objection(&self) -> Option<&'static str> {
        let is_under_init = self.init.as_deref().is_some_and(|name| INITS.contains(&name));
        match self {
            Self { machine_pids: true, contained: false, .. } => None,
            Self { machine_pids: true, .. } => Some("this is a container, and all of its processes end with it"),
            Self { machine_network: true, .. } => {
                Some("this is a container with the network of its host: its processes end with it, the rules do not")
            }
            _ if is_under_init || self.own_network => None,
            _ => Some("this is a container without an init system: its processes end with it, the rules may stay"),
        }
    }
}

/// Whether this is a service of systemd that may not look at the namespaces of PID 1: those of edgeward may not.
fn is_hardened_service() -> bool {
    namespace("1", "pid").is_none()
        && std::env::var_os("INVOCATION_ID").is_some()
        && Path::new("/run/systemd/system").is_dir()
}

fn namespace(process: &str, kind: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()
}

/// Whether the root directory is another than that of PID 1, and not by `chroot` alone. `false` where that is not shown.
fn has_other_root() -> bool {
    let mounts = |process| namespace(process, "mnt");
    let root = |path: &str| fs::metadata(path).ok().map(|root| (root.dev(), root.ino()));
    mounts("1").is_some_and(|first| mounts("thread-self") != Some(first))
        && root("/proc/1/root/").is_some_and(|first| root("/") != Some(first))
}

/// Why a watcher that is started here would end before the rules do; `None` if it can be relied on.
pub fn objection() -> Option<&'static str> {
    Place::here().objection()
}

/// The login session whose end may end this process: its scope, as in `session-3.scope`. `None` outside of one.
pub fn login_session() -> Option<String> {
    session_in(&fs::read_to_string("/proc/thread-self/cgroup").ok()?)
}

fn session_in(cgroups: &str) -> Option<String> {
    let last = cgroups.lines().filter_map(|line| line.rsplit('/').next());
    last.map(str::to_owned).find(|name| name.starts_with("session-") && name.ends_with(".scope"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(init: &str) -> Place {
        Place { init: Some(init.to_owned()), contained: true, ..Place::default() }
    }

    #[test]
    fn only_what_outlives_the_deadline_is_relied_on() {
        let host = Place { machine_pids: true, machine_network: true, ..Place::default() };
        let cases = [
            ("host", host.clone(), true),
            ("`unshare --net` on a host", Place { machine_network: false, ..host.clone() }, true),
            ("docker run --pid=host", Place { contained: true, ..host }, false),
            ("docker run --net=host", Place { machine_network: true, ..container("sh") }, false),
            ("docker run", container("sh"), false),
            ("a sidecar of a pod", container("pause"), false),
            ("`unshare --net` in a container", Place { own_network: true, ..container("sh") }, true),
            ("LXC", container("systemd"), true),
            ("LXC with OpenRC", container("init"), true),
            ("LXC with the network of the host", Place { machine_network: true, ..container("systemd") }, false),
            ("nothing is known", Place::default(), false),
        ];
        for (name, place, is_relied_on) in cases {
            assert_eq!(place.objection().is_none(), is_relied_on, "{name}");
        }
    }

    #[test]
    fn a_login_session_is_known_by_its_scope() {
        let session = "1:name=systemd:/\n0::/user.slice/user-1000.slice/session-3.scope\n";
        assert_eq!(session_in(session).as_deref(), Some("session-3.scope"));
        assert_eq!(session_in("0::/system.slice/cron.service\n"), None);
        assert_eq!(session_in("0::/\n"), None);
    }
}
