//! The syntax of static routes, device by device.

use ipnet::IpNet;

use super::Statement;
use crate::net::Family;
use crate::yaml::words;

words! {
    /// The devices whose configuration can be written.
    pub enum Syntax {
        /// H3C Comware.
        Comware = "comware",
        /// FRR.
        Frr = "frr",
        /// Cisco IOS.
        Ios = "ios",
        /// A Linux router: a file for `ip -batch`.
        Iproute2 = "iproute2",
        /// Junos.
        Junos = "junos",
        /// Cisco NX-OS.
        Nxos = "nxos",
        /// Huawei VRP.
        Vrp = "vrp",
    }
}

/// How a device writes static routes.
pub(super) struct Dialect {
    /// What begins a line that the device ignores.
    pub(super) comment: &'static str,
    /// How the file is loaded, or what is known about that.
    pub(super) load: &'static str,
    /// What an operator has to know.
    pub(super) notes: &'static [&'static str],
    /// The same of the file that takes the routes away.
    pub(super) undo_notes: &'static [&'static str],
    /// Whether what is exchanged over BGP can be written, too.
    pub(super) has_bgp: bool,
    /// The line that adds a route; without effect if it is there.
    pub(super) add: fn(&Statement) -> String,
    /// The line that takes it away, and no other.
    pub(super) remove: fn(&Statement) -> String,
}

impl Syntax {
    pub(super) fn dialect(self) -> &'static Dialect {
        match self {
            Self::Comware => &COMWARE,
            Self::Frr => &FRR,
            Self::Ios => &IOS,
            Self::Iproute2 => &IPROUTE2,
            Self::Junos => &JUNOS,
            Self::Nxos => &NXOS,
            Self::Vrp => &VRP,
        }
    }
}

/// The routing protocol that the kernel has our routes by: a number that neither it nor iproute2's `rt_protos` names, so
/// that no routing daemon takes them for its own. The kernel does not interpret it (linux/rtnetlink.h).
const PROTOCOL: u8 = 237;

const IPROUTE2: Dialect = Dialect {
    comment: "#",
    load: "Load it with `ip -batch FILE`; a second time changes nothing.",
    notes: &[
        "`ip route show proto 237` lists these routes. A route of another program to the same destination with the same \
         metric is replaced: `edgeward routes --check` shows such routes before.",
        "A batch is not atomic: where a line fails, those before it are in force.",
    ],
    undo_notes: &[],
    has_bgp: false,
    add: |route| format!("route replace {} via {} proto {PROTOCOL}", route.net(), route.hop),
    // Unlike `route del`, this is no error where the route is not there, which would end the batch. Without a table, ip
    // reads the routes of IPv4 only.
    remove: |route| {
        let table = if route.family() == Family::V4 { "" } else { "table all " };
        format!("route flush {table}exact {} via {} proto {PROTOCOL}", route.net(), route.hop)
    },
};

const FRR: Dialect = Dialect {
    comment: "!",
    load: "Check it with `vtysh -C -f FILE`, load it with `vtysh -f FILE`; a second time changes nothing. \
           `write memory` keeps it.",
    notes: &[],
    undo_notes: &["An empty `router bgp` is left, because others may have configured more there."],
    has_bgp: true,
    add: |route| format!("{} route {} {}", ip(route), route.net(), route.hop),
    remove: |route| format!("no {} route {} {}", ip(route), route.net(), route.hop),
};

/// What stands in every file for a device that is not here to read it.
macro_rules! from_manuals {
    ($device:literal) => {
        concat!(
            "Written from the manuals of ",
            $device,
            "; no device has parsed it. Look at each line before you load it, and leave the comments out if the device \
             does not take them."
        )
    };
}

const VRP: Dialect = Dialect {
    comment: "#",
    load: from_manuals!("Huawei VRP"),
    notes: &["Enter it in the system view. Where the device has two-stage configuration, `commit` puts it into force."],
    undo_notes: &[],
    has_bgp: false,
    add: |route| format!("{} description {}", huawei(route), route.tag),
    remove: |route| format!("undo {}", huawei(route)),
};

const COMWARE: Dialect = Dialect {
    comment: "#",
    load: from_manuals!("H3C Comware"),
    notes: &["Enter it in the system view."],
    undo_notes: &[],
    has_bgp: false,
    add: |route| format!("{} description {}", huawei(route), route.tag),
    remove: |route| format!("undo {}", huawei(route)),
};

/// A route of VRP and Comware, whose syntax has the same origin.
fn huawei(route: &Statement) -> String {
    let net = route.net();
    format!("{} route-static {} {} {}", ip(route), net.network(), net.prefix_len(), route.hop)
}

const IOS: Dialect = Dialect {
    comment: "!",
    load: from_manuals!("Cisco IOS"),
    notes: &["Enter it in the global configuration mode."],
    undo_notes: &[],
    has_bgp: false,
    add: |route| ios(route) + &name(route),
    remove: |route| format!("no {}", ios(route)),
};

/// A route of IOS, which has masks for IPv4.
fn ios(route: &Statement) -> String {
    match route.net() {
        IpNet::V4(net) => format!("ip route {} {} {}", net.network(), net.netmask(), route.hop),
        IpNet::V6(net) => format!("ipv6 route {net} {}", route.hop),
    }
}

/// The name of a route. The facts have it for IPv4 only.
fn name(route: &Statement) -> String {
    if route.family() == Family::V4 { format!(" name {}", route.tag) } else { String::new() }
}

const NXOS: Dialect = Dialect {
    comment: "!",
    load: from_manuals!("Cisco NX-OS"),
    notes: &["Enter it in the global configuration mode."],
    undo_notes: &[],
    has_bgp: false,
    add: |route| format!("{} route {} {}{}", ip(route), route.net(), route.hop, name(route)),
    remove: |route| format!("no {} route {} {}", ip(route), route.net(), route.hop),
};

const JUNOS: Dialect = Dialect {
    comment: "#",
    load: from_manuals!("Junos"),
    notes: &["Enter it in the configuration mode, with `load set terminal`, then `commit check` and `commit`."],
    undo_notes: &[
        "Enter it in the configuration mode, with `load set terminal`. It deletes the whole static route to each \
         destination: `show configuration routing-options` shows whether others have more next hops there.",
    ],
    has_bgp: false,
    add: |route| format!("set {} next-hop {}", junos(route), route.hop),
    remove: |route| format!("delete {}", junos(route)),
};

/// A route of Junos, which has another table for IPv6.
fn junos(route: &Statement) -> String {
    let table = if route.family() == Family::V4 { "" } else { "rib inet6.0 " };
    format!("routing-options {table}static route {}", route.net())
}

/// The first word of commands about a family.
fn ip(route: &Statement) -> &'static str {
    if route.family() == Family::V4 { "ip" } else { "ipv6" }
}
