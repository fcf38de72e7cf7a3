//! Some hosts on one switch, each with a pod of its own, and one more member that has every other address.

use std::os::fd::AsRawFd;
use std::process;

use super::namespace::{self, Namespace};
use super::{EVERYTHING, counters_of, via};

/// The switch, the hosts, their pods, and the rest of the world; gone when dropped.
pub struct Lan {
    _switch: Namespace,
    /// The hosts, then their pods, then the world.
    members: Vec<Namespace>,
    hosts: usize,
}

impl Lan {
    /// Joins hosts with these addresses, each with a pod that has the address at its side, to a world with all of
    /// `world`. The interfaces of hosts are `eth0` and `pod`.
    ///
    /// # Panics
    ///
    /// Where an address is malformed, or namespaces are not [`available`](super::available).
    pub fn new(hosts: &[(&str, &str)], world: &[String]) -> Self {
        let switch = Namespace::new().unwrap();
        switch.ip("link add br0 type bridge\n link set br0 up\n");
        let members: Vec<Namespace> = (0..2 * hosts.len() + 1).map(|_| Namespace::new().unwrap()).collect();
        let world_at = 2 * hosts.len();
        for (index, member) in
            members.iter().enumerate().filter(|(index, _)| *index < hosts.len() || *index == world_at)
        {
            let path = format!("/proc/{}/fd/{}", process::id(), member.fd.as_raw_fd());
            switch.ip(&format!(
                "link add p{index} type veth peer name eth0 netns {path}\n link set p{index} master br0 up\n"
            ));
            member.ip("link set lo up\n link set eth0 up\n");
        }
        for (index, (host, pod)) in hosts.iter().enumerate() {
            let (own, inner) = (&members[index], &members[hosts.len() + index]);
            namespace::join((own, "pod"), (inner, "eth0"));
            own.enable_forwarding();
            own.ip(&format!(
                "addr add {host}/24 dev eth0\n route add default dev eth0\n{}",
                via(&format!("{pod}/32"), "pod")
            ));
            inner.ip(&format!("addr add {pod}/32 dev eth0\n{}", via(EVERYTHING[0], "eth0")));
        }
        let routes = hosts
            .iter()
            .map(|(host, pod)| format!("route add {host}/32 dev eth0\n route add {pod}/32 via {host} dev eth0\n"));
        let addresses = world.iter().map(|address| format!("addr add {address}/32 dev eth0\n"));
        members[world_at].ip(&addresses.chain(routes).collect::<String>());
        Self { _switch: switch, members, hosts: hosts.len() }
    }

    /// A host by its number.
    pub fn host(&self, number: usize) -> Member<'_> {
        Member(&self.members[number])
    }

    /// The pod of a host.
    pub fn pod(&self, number: usize) -> Member<'_> {
        Member(&self.members[self.hosts + number])
    }

    /// Everything else.
    pub fn world(&self) -> Member<'_> {
        Member(&self.members[2 * self.hosts])
    }
}

/// One member of a [`Lan`] or of a [`Row`](super::row::Row).
#[derive(Clone, Copy)]
pub struct Member<'a>(pub(super) &'a Namespace);

impl Member<'_> {
    /// Runs a closure on a thread that has entered the namespace.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.enter(work)
    }

    /// Runs commands of ip(8).
    ///
    /// # Panics
    ///
    /// Where one fails.
    pub fn ip(&self, commands: &str) {
        self.0.ip(commands);
    }

    /// Runs a command.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn run(&self, argv: &[&str]) {
        self.0.succeed(argv, "").unwrap();
    }

    /// Runs a command with a text as its standard input, and returns what it printed.
    ///
    /// # Errors
    ///
    /// It fails: the beginning of its standard error.
    pub fn print(&self, argv: &[&str], input: &str) -> Result<String, String> {
        let output = self.0.run(argv, input);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr) + &text(&output.stdout))
        }
    }

    /// Loads nft text.
    ///
    /// # Panics
    ///
    /// Where nft refuses it.
    pub fn load(&self, ruleset: &str) {
        self.0.succeed(&["nft", "-f", "-"], ruleset).unwrap();
    }

    /// The packets of every named counter.
    pub fn counters(&self) -> std::collections::BTreeMap<String, u64> {
        counters_of(self.0)
    }
}
