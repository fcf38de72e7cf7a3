//! The temporary machine of the tests itself: what tests of units and of `apply` rely on.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use support::systemd::{Machine, until};

#[test]
fn timers_of_systemd_run_fire() {
    need_systemd!();
    let machine = Machine::boot().unwrap();
    let timer = ["systemd-run", "--on-active=1s", "--timer-property=AccuracySec=100ms", "--unit=later"];
    machine.succeed(&[&timer[..], &["sh", "-c", "echo fired >/var/lib/later"]].concat());
    let path = machine.path("/var/lib/later");
    assert!(!path.exists());
    let fired = until(Duration::from_secs(30), || fs::read_to_string(&path).is_ok_and(|text| text == "fired\n"));
    assert!(fired, "{}", machine.journal("later.service"));
}

#[test]
fn programs_are_in_the_namespaces_of_pid_1() {
    need_systemd!();
    let machine = Machine::boot().unwrap();
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        let of = |process: &str| machine.succeed(&["readlink", &format!("/proc/{process}/ns/{kind}")]);
        let outside = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
        assert_eq!(of("1"), of("self"), "{kind}");
        assert_ne!(of("1").trim(), outside, "{kind}");
    }
    assert!(machine.run(&["test", "-d", "/run/systemd/system"]).status.success());
    // Only sockets and programs of the machine see its table.
    machine.succeed(&["nft", "add", "table", "inet", "here"]);
    let namespace = || fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_ne!(machine.within(namespace), namespace());
}

#[test]
fn a_reboot_keeps_files_and_nothing_else() {
    need_systemd!();
    let mut machine = Machine::boot().unwrap();
    for path in ["/etc/kept", "/var/lib/kept", "/usr/local/kept", "/run/lost", "/tmp/lost"] {
        machine.succeed(&["touch", path]);
    }
    machine.succeed(&["nft", "add", "table", "inet", "lost"]);
    machine.reboot().unwrap();
    machine.succeed(&["ls", "/etc/kept", "/var/lib/kept", "/usr/local/kept"]);
    for path in ["/run/lost", "/tmp/lost"] {
        assert!(!machine.run(&["test", "-e", path]).status.success(), "{path}");
    }
    assert_eq!(machine.succeed(&["nft", "list", "tables"]), "");
}

#[test]
fn nothing_is_left_over() {
    need_systemd!();
    let mut machine = Machine::boot().unwrap();
    machine.succeed(&["systemd-run", "sleep", "1h"]);
    machine.succeed(&["sh", "-c", "setsid sleep 1h &"]);
    let namespace = |process: &Path| fs::read_link(process.join("ns/pid")).ok();
    let own = namespace(&Path::new("/proc").join(machine.pid().to_string()));
    let processes = || {
        let all = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        all.filter(|process| namespace(process) == own).count()
    };
    // PID 1, the journal, and the two.
    assert_eq!((own.is_some(), processes()), (true, 4));
    machine.power_off();
    assert_eq!(processes(), 0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("edgeward-machine-"), "{mounts}");
}

/// Paths whose change would affect the surrounding host.
#[test]
fn what_is_not_the_machines_own_is_read_only() {
    need_systemd!();
    let machine = Machine::boot().unwrap();
    for path in ["/usr/bin/x", "/proc/sys/kernel/x", "/proc/sys/kernel/printk", "/sys/kernel/x"] {
        assert!(!machine.run(&["dd", "if=/dev/null", &format!("of={path}")]).status.success(), "{path}");
    }
    machine.succeed(&["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
}
