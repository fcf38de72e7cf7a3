//! Sets changed over netlink, in the kernel of temporary network namespaces, compared with nft and with `PrefixSet`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests are no part of the core")]

#[macro_use]
mod support;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use edgeward::host::netlink::{Counter, NetlinkError, NetlinkSocket, SetChange, SetRef};
use edgeward::net::{Family, Prefix, PrefixSet};
use edgeward::ruleset::SetKind;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use support::netns::{self, Side, Topology};
use support::random::{Dice, neighbours};

const KINDS: [SetKind; 2] = [SetKind::Prefixes, SetKind::Hosts];

fn prefixes(text: &str) -> PrefixSet {
    text.parse().unwrap()
}

fn set(name: &str, family: Family, kind: SetKind) -> SetRef<'_> {
    SetRef { name, family, kind }
}

fn v4(name: &str) -> SetRef<'_> {
    set(name, Family::V4, SetKind::Prefixes)
}

/// A set as nft text, with elements.
fn declared(set: SetRef<'_>, elements: &PrefixSet) -> String {
    let family = if set.family == Family::V4 { "ipv4_addr" } else { "ipv6_addr" };
    let flags = if set.kind == SetKind::Prefixes { "flags interval;" } else { "" };
    let elements: Vec<String> = set.kind.elements(elements).map(|prefix| prefix.to_string()).collect();
    let elements = match elements.is_empty() {
        true => String::new(),
        false => format!("elements = {{ {} }};", elements.join(", ")),
    };
    format!("set {} {{ type {family}; {flags} {elements} }}\n", set.name)
}

/// A namespace with `table inet edgeward`.
struct Host(Topology);

impl Host {
    fn new(sets: &[(SetRef<'_>, &PrefixSet)]) -> Self {
        let host = Self(Topology::edge_host(Ipv4Addr::new(192, 0, 2, 1), "2001:db8::1".parse().unwrap()));
        let sets: String = sets.iter().map(|(set, elements)| declared(*set, elements)).collect();
        host.load(&format!("table inet edgeward {{\n{sets}}}"));
        host
    }

    fn load(&self, text: &str) {
        self.0.load(text).unwrap();
    }

    /// Opens a netlink channel to the kernel in the namespace.
    fn speak<T: Send>(
        &self,
        work: impl FnOnce(&mut NetlinkSocket) -> Result<T, NetlinkError> + Send,
    ) -> Result<T, NetlinkError> {
        self.0.within(Side::UnderTest, || work(&mut NetlinkSocket::open()?))
    }

    fn change(&self, set: SetRef<'_>, from: &PrefixSet, to: &PrefixSet) -> Result<(), NetlinkError> {
        self.speak(|kernel| kernel.change(&[SetChange { set, from, to }]))
    }

    /// What nft lists, without the values of counters.
    fn listed(&self, what: &[&str]) -> String {
        let output = self.0.run_under_test(&[&["nft", "--stateless", "list"], what].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The elements of a set as nft lists them, one by one.
    fn elements(&self, name: &str) -> Vec<String> {
        let output = self.0.run_under_test(&["nft", "-j", "list", "set", "inet", "edgeward", name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let set = json["nftables"].as_array().unwrap().iter().find_map(|object| object.get("set")).unwrap();
        let mut elements: Vec<String> =
            set.get("elem").map_or(Vec::new(), |elem| elem.as_array().unwrap().iter().map(shown).collect());
        // A hash has no order.
        elements.sort();
        elements
    }

    /// The elements of a set as the kernel keeps them, but for the end at address zero that nft puts into empty sets.
    fn kept(&self, name: &str) -> Vec<String> {
        let output = self.0.run_under_test(&["nft", "--debug=netlink", "list", "set", "inet", "edgeward", name]);
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("element "));
        let is_needless = |line: &str| line.trim_start_matches([' ', '0']).starts_with(": 1 [end]");
        lines.filter(|line| !is_needless(line)).map(str::to_owned).collect()
    }

    /// Compares a set with the expected one: nft's list, our own list, and lookups of single addresses.
    fn assert_holds(&self, set: SetRef<'_>, meant: &PrefixSet) {
        let mut elements: Vec<String> = set.kind.elements(meant).map(|prefix| prefix.to_string()).collect();
        elements.sort();
        assert_eq!(self.elements(set.name), elements, "{set:?}");
        self.speak(|kernel| {
            assert_eq!(kernel.elements(set)?, *meant, "{set:?}");
            for address in cut_points(set.family, meant) {
                assert_eq!(kernel.has(set, address)?, meant.contains(address), "{address} in {meant}, {set:?}");
            }
            Ok(())
        })
        .unwrap();
    }
}

/// An element of nft's JSON as a prefix is written.
fn shown(element: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    match element.get("prefix") {
        Some(prefix) => format!("{}/{}", text(&prefix["addr"]), prefix["len"]),
        None => text(element),
    }
}

/// The ends of all ranges, their neighbours, and the ends of the space.
fn cut_points(family: Family, addresses: &PrefixSet) -> BTreeSet<IpAddr> {
    let ends = match family {
        Family::V4 => ["0.0.0.0", "255.255.255.255"],
        Family::V6 => ["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    };
    let ends = ends.map(|text| text.parse().unwrap());
    let ranges = addresses.ranges().flat_map(|(low, high)| [low, high]);
    ranges.chain(ends).flat_map(|end| neighbours(end).into_iter().chain([end])).collect()
}

/// Prefixes at both ends of the address space and in its middle, many of them adjacent; full-length ones for hosts.
fn random_prefixes(dice: &mut Dice, family: Family, kind: SetKind) -> PrefixSet {
    let bits: u8 = if family == Family::V4 { 32 } else { 128 };
    let one = |dice: &mut Dice| {
        let low = dice.below(256) as u128;
        let base = *dice.pick(&[0, 0x0a00_0000 << (bits - 32), (u128::MAX >> (128 - bits)) - 255]);
        let length = match dice.below(8) {
            0 if kind == SetKind::Prefixes => dice.below(9) as u8,
            1..=3 => bits - dice.below(6) as u8,
            _ => bits,
        };
        let net = match family {
            Family::V4 => IpNet::V4(Ipv4Net::new(Ipv4Addr::from_bits((base | low) as u32), length).unwrap()),
            Family::V6 => IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(base | low), length).unwrap()),
        };
        match net {
            IpNet::V4(net) => Prefix::from(net),
            IpNet::V6(net) => Prefix::from(net),
        }
    };
    (0..dice.below(24)).map(|_| one(dice)).collect()
}

#[test]
fn edges_of_the_space_are_as_nft_has_them() {
    need_namespaces!();
    let cases = [
        "",
        "0.0.0.0/0, ::/0",
        "0.0.0.0/1, ::/1",
        "128.0.0.0/1, 8000::/1",
        "0.0.0.0, ::",
        "255.255.255.255, ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "255.255.255.254, ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe",
        "0.0.0.0/8, 255.0.0.0/8, ::/8, ff00::/8",
        "0.0.0.1, 0.0.0.2/31, 255.255.255.252/31, 255.255.255.254, ::1, ::2/127",
        "10.0.0.0/23, 10.0.2.0/24, 2001:db8::/47, 2001:db8:2::/48",
        "10.0.0.0, 10.0.0.2, 2001:db8::, 2001:db8::2",
    ]
    .map(prefixes);
    let names: Vec<[String; 2]> =
        (0..cases.len()).map(|case| [format!("text{case}"), format!("netlink{case}")]).collect();
    for family in Family::BOTH {
        let nothing = PrefixSet::default();
        let cases: Vec<PrefixSet> = cases.iter().map(|case| case.only(family)).collect();
        let sets: Vec<[SetRef<'_>; 2]> =
            names.iter().map(|names| [0, 1].map(|which| set(&names[which], family, SetKind::Prefixes))).collect();
        let all = sets.iter().zip(&cases).flat_map(|(sets, case)| [(sets[0], case), (sets[1], &nothing)]);
        let host = Host::new(&all.collect::<Vec<_>>());
        let changes: Vec<SetChange<'_>> =
            sets.iter().zip(&cases).map(|(sets, case)| SetChange { set: sets[1], from: &nothing, to: case }).collect();
        host.speak(|kernel| kernel.change(&changes)).unwrap();
        for (sets, case) in sets.iter().zip(&cases) {
            assert_eq!(host.kept(sets[0].name), host.kept(sets[1].name), "{case}");
            assert_eq!(host.kept(sets[0].name).is_empty(), case.is_empty());
            host.assert_holds(sets[0], case);
            host.assert_holds(sets[1], case);
        }
        // Back again, also from a set that nft has filled.
        let back = sets
            .iter()
            .zip(&cases)
            .flat_map(|(sets, case)| sets.map(|set| SetChange { set, from: case, to: &nothing }));
        host.speak(|kernel| kernel.change(&back.collect::<Vec<_>>())).unwrap();
        sets.as_flattened().iter().for_each(|set| host.assert_holds(*set, &nothing));
    }
}

#[test]
fn random_changes_end_where_nft_text_does() {
    need_namespaces!();
    let mut dice = Dice::new(11);
    for round in 0..24 {
        let (family, kind) = (*dice.pick(&Family::BOTH), KINDS[round % 2]);
        let steps: Vec<PrefixSet> = (0..5).map(|_| random_prefixes(&mut dice, family, kind)).collect();
        // One set is created by nft, the other over netlink; then both are changed in the same way.
        let (text, netlink) = (set("text", family, kind), set("netlink", family, kind));
        let nothing = PrefixSet::default();
        let host = Host::new(&[(text, &steps[0]), (netlink, &nothing)]);
        host.change(netlink, &nothing, &steps[0]).unwrap();
        for pair in steps.windows(2) {
            for set in [text, netlink] {
                host.assert_holds(set, &pair[0]);
                host.change(set, &pair[0], &pair[1]).unwrap();
                host.assert_holds(set, &pair[1]);
            }
        }
    }
}

#[test]
fn nft_goes_on_where_netlink_ends() {
    need_namespaces!();
    let (nothing, filled) = (PrefixSet::default(), prefixes("10.0.0.0/23, 10.0.2.0/24, 255.255.255.255"));
    let host = Host::new(&[(v4("a"), &nothing)]);
    host.change(v4("a"), &nothing, &filled).unwrap();
    host.load(
        "add element inet edgeward a { 10.0.3.0/24 }\ndelete element inet edgeward a { 10.0.0.0/23, 255.255.255.255 }",
    );
    assert_eq!(host.elements("a"), ["10.0.2.0/24", "10.0.3.0/24"]);
    // The kernel has the two elements that nft was given; their union is one prefix, which is neither of them.
    let grown = prefixes("10.0.2.0/23");
    assert_eq!(host.speak(|kernel| kernel.elements(v4("a"))).unwrap(), grown);
    let refused = host.change(v4("a"), &grown, &nothing).unwrap_err();
    assert!(matches!(&refused, NetlinkError::Missing { set, .. } if set == "a"), "{refused:?}");
    assert_eq!(host.elements("a"), ["10.0.2.0/24", "10.0.3.0/24"]);
}

#[test]
fn several_sets_change_at_once() {
    need_namespaces!();
    let nothing = PrefixSet::default();
    let (old, new) = (prefixes("10.0.0.0/24, 10.9.0.0/16"), prefixes("10.0.0.0/23, 192.0.2.0/24"));
    let (old_hosts, new_hosts) = (prefixes("192.0.2.1, 192.0.2.2"), prefixes("192.0.2.2, 192.0.2.3"));
    let (old_v6, new_v6) = (prefixes("2001:db8::/32"), prefixes("2001:db8::/33"));
    let hosts = set("hosts", Family::V4, SetKind::Hosts);
    let wide = set("wide", Family::V6, SetKind::Prefixes);
    let host = Host::new(&[(v4("a"), &old), (hosts, &old_hosts), (wide, &old_v6), (v4("same"), &old)]);
    let changes = [
        SetChange { set: v4("a"), from: &old, to: &new },
        SetChange { set: hosts, from: &old_hosts, to: &new_hosts },
        SetChange { set: wide, from: &old_v6, to: &new_v6 },
        SetChange { set: v4("same"), from: &old, to: &old },
    ];
    host.speak(|kernel| kernel.change(&changes)).unwrap();
    for SetChange { set, to, .. } in changes {
        host.assert_holds(set, to);
    }
    host.speak(|kernel| kernel.change(&[])).unwrap();
    host.speak(|kernel| kernel.change(&[SetChange { set: hosts, from: &nothing, to: &nothing }])).unwrap();
}

#[test]
fn one_bad_change_fails_the_whole_transaction() {
    need_namespaces!();
    let (nothing, old, new) = (PrefixSet::default(), prefixes("10.0.0.0/23, 10.9.0.0/16"), prefixes("192.0.2.0/24"));
    let old_hosts = prefixes("192.0.2.1, 192.0.2.2");
    let hosts = set("hosts", Family::V4, SetKind::Hosts);
    let host = Host::new(&[(v4("good"), &old), (v4("a"), &old), (hosts, &old_hosts)]);
    let before = host.listed(&["ruleset"]);
    let refused = |set, from: &PrefixSet, to: &PrefixSet| {
        let good = SetChange { set: v4("good"), from: &old, to: &new };
        let bad = SetChange { set, from, to };
        let errors =
            [[good, bad], [bad, good]].map(|changes| host.speak(|kernel| kernel.change(&changes)).unwrap_err());
        assert_eq!(host.listed(&["ruleset"]), before);
        let [first, last] = errors.map(|error| error.to_string());
        assert_eq!(first, last);
        first
    };
    assert_eq!(
        refused(v4("a"), &prefixes("10.1.0.0/16"), &nothing),
        "the set `a` has no element `10.1.0.0/16` to delete; nothing was changed"
    );
    // A part of an interval is not an element, regardless of where it begins.
    for part in ["10.0.0.0/24", "10.0.1.0/24", "10.0.0.128/25", "10.0.0.0/22"] {
        assert_eq!(
            refused(v4("a"), &prefixes(part), &nothing),
            format!("the set `a` has no element `{part}` to delete; nothing was changed")
        );
    }
    assert_eq!(
        refused(v4("a"), &nothing, &prefixes("10.9.0.0/16, 192.0.2.0/24")),
        "the set `a` already has addresses of `10.9.0.0/16`; nothing was changed"
    );
    for part in ["10.0.1.0/24", "10.0.0.128/25", "8.0.0.0/6"] {
        assert_eq!(
            refused(v4("a"), &nothing, &prefixes(part)),
            format!("the set `a` already has addresses of `{part}`; nothing was changed")
        );
    }
    assert_eq!(
        refused(hosts, &nothing, &prefixes("192.0.2.0/31")),
        "the set `hosts` already has addresses of `192.0.2.1`; nothing was changed"
    );
    assert_eq!(
        refused(hosts, &prefixes("192.0.2.3"), &nothing),
        "the set `hosts` has no element `192.0.2.3` to delete; nothing was changed"
    );
    assert_eq!(refused(v4("none"), &nothing, &new), "the table `inet edgeward` has no set `none`");
}

/// An address without an end would be an interval up to the top of the space.
#[test]
fn a_set_of_another_kind_is_left_alone() {
    need_namespaces!();
    let (nothing, some) = (PrefixSet::default(), prefixes("10.0.0.1, 2001:db8::1"));
    let sets = Family::BOTH.into_iter().flat_map(|family| KINDS.map(|kind| (family, kind)));
    let names = ["a", "b", "c", "d"];
    let sets: Vec<SetRef<'_>> = sets.zip(names).map(|((family, kind), name)| set(name, family, kind)).collect();
    let host = Host::new(&sets.iter().map(|set| (*set, &nothing)).collect::<Vec<_>>());
    host.load("add map inet edgeward m { type ipv4_addr : verdict; }");
    for there in &sets {
        for taken in &sets {
            let taken = SetRef { name: there.name, ..*taken };
            let result = host.change(taken, &nothing, &some);
            if taken == *there {
                result.unwrap();
            } else {
                assert!(matches!(result, Err(NetlinkError::OtherSet { .. })), "{result:?}");
                let list = host.speak(|kernel| kernel.elements(taken));
                assert!(matches!(list, Err(NetlinkError::OtherSet { .. })), "{list:?}");
            }
        }
        host.assert_holds(*there, &some.only(there.family));
    }
    let error = host.change(set("m", Family::V4, SetKind::Hosts), &nothing, &some).unwrap_err();
    assert_eq!(error.to_string(), "the set `m` is not a set of single IPv4 addresses");
}

#[test]
fn missing_objects_are_named() {
    need_namespaces!();
    let (nothing, some) = (PrefixSet::default(), prefixes("10.0.0.0/24"));
    let host = Host::new(&[]);
    let is_no_set = |error| matches!(error, NetlinkError::NoSet(name) if name == "a");
    assert!(is_no_set(host.change(v4("a"), &nothing, &some).unwrap_err()));
    assert!(is_no_set(host.change(v4("a"), &nothing, &nothing).unwrap_err()));
    assert!(is_no_set(host.speak(|kernel| kernel.elements(v4("a"))).unwrap_err()));
    assert!(is_no_set(host.speak(|kernel| kernel.has(v4("a"), "10.0.0.1".parse().unwrap())).unwrap_err()));
    assert!(host.speak(NetlinkSocket::counters).unwrap().is_empty());
    host.load("delete table inet edgeward");
    // A table of another family is another table.
    host.load("table ip edgeward { counter a { }\nset a { type ipv4_addr; flags interval; }; }");
    let before = host.listed(&["ruleset"]);
    let is_no_table = |error| matches!(error, NetlinkError::NoTable);
    assert!(is_no_table(host.change(v4("a"), &nothing, &some).unwrap_err()));
    assert!(is_no_table(host.speak(|kernel| kernel.elements(v4("a"))).unwrap_err()));
    assert!(is_no_table(host.speak(NetlinkSocket::counters).unwrap_err()));
    assert_eq!(host.listed(&["ruleset"]), before);
}

#[test]
fn other_tables_stay_as_they_are() {
    need_namespaces!();
    let (nothing, some) = (PrefixSet::default(), prefixes("10.0.0.0/24"));
    let host = Host::new(&[(v4("a"), &nothing)]);
    let others = [["table", "ip", "edgeward"], ["table", "inet", "foreign"]];
    for [_, family, name] in others {
        host.load(&format!("table {family} {name} {{ {} }}", declared(v4("a"), &prefixes("192.0.2.0/24"))));
    }
    let before = others.map(|table| host.listed(&table));
    host.change(v4("a"), &nothing, &some).unwrap();
    host.assert_holds(v4("a"), &some);
    assert_eq!(others.map(|table| host.listed(&table)), before);
}

#[test]
fn counters_have_the_values_that_nft_lists() {
    need_namespaces!();
    let host = Host::new(&[]);
    let count = 300;
    let counters: String =
        (0..count).map(|n| format!("counter flow_{n} {{ packets {n} bytes {}; }}\n", n << 30)).collect();
    host.load(&format!("table inet edgeward {{ {counters} quota flow_quota {{ over 5 bytes }}\n}}"));
    host.load("table inet foreign { counter flow_1 { packets 7 bytes 7; }\n}");
    let read = host.speak(NetlinkSocket::counters).unwrap();
    assert_eq!(read.len(), count);
    for n in 0..count as u64 {
        assert_eq!(read[&format!("flow_{n}")], Counter { packets: n, bytes: n << 30 });
    }
}

#[test]
fn without_the_capability_nothing_is_changed() {
    need_namespaces!();
    let (nothing, some) = (PrefixSet::default(), prefixes("10.0.0.0/24"));
    let host = Host::new(&[(v4("a"), &some)]);
    // Capabilities belong to a thread; `speak` uses a separate one.
    let drop_right = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
    };
    let is_refused = |result| matches!(result, Err(NetlinkError::NotPermitted));
    host.speak(|kernel| {
        drop_right();
        // A socket that was opened with the capability does not keep it.
        assert!(is_refused(kernel.change(&[SetChange { set: v4("a"), from: &some, to: &nothing }])));
        let mut kernel = NetlinkSocket::open()?;
        assert!(is_refused(kernel.change(&[SetChange { set: v4("a"), from: &some, to: &nothing }])));
        assert!(is_refused(kernel.has(v4("a"), "10.0.0.1".parse().unwrap()).map(|_| ())));
        assert!(is_refused(kernel.elements(v4("a")).map(|_| ())));
        assert!(is_refused(kernel.counters().map(|_| ())));
        Ok(())
    })
    .unwrap();
    host.assert_holds(v4("a"), &some);
}

/// Prefixes of which no two are adjacent.
fn many(count: u32, family: Family) -> PrefixSet {
    let prefix = |n: u32| match family {
        Family::V4 => Prefix::from(Ipv4Net::new((0x0100_0000 + (n << 3)).into(), 30).unwrap()),
        Family::V6 => {
            let bits = (0x2001_0db8_u128 << 96) + (u128::from(n) << 65);
            Prefix::from(Ipv6Net::new(bits.into(), 64).unwrap())
        }
    };
    (0..count).map(prefix).collect()
}

#[test]
fn a_hundred_thousand_elements() {
    need_namespaces!();
    let nothing = PrefixSet::default();
    let all = many(100_000, Family::V4);
    let less = prefixes("1.2.0.0/16, 255.255.255.255");
    let (some, rest) = (all.intersection(&less), all.difference(&less));
    let hosts = set("hosts", Family::V4, SetKind::Hosts);
    let addresses: PrefixSet = all.prefixes().map(|prefix| prefix.net().network()).collect();
    let host = Host::new(&[(v4("a"), &nothing), (hosts, &nothing)]);
    host.speak(|kernel| {
        kernel.change(&[
            SetChange { set: v4("a"), from: &nothing, to: &all },
            SetChange { set: hosts, from: &nothing, to: &addresses },
        ])?;
        // Listed immediately, while the kernel resizes the hash and its first lists are wrong.
        assert_eq!(kernel.elements(hosts)?, addresses);
        assert_eq!(kernel.elements(v4("a"))?, all);
        // There are too many refusals for the receive buffer; the first one is reported.
        let again = SetChange { set: v4("a"), from: &nothing, to: &all };
        let error = kernel.change(&[again, again]).unwrap_err();
        assert_eq!(error.to_string(), "the set `a` already has addresses of `1.0.0.0/30`; nothing was changed");
        // Unread answers are not mistaken for answers to the next request.
        kernel.change(&[SetChange { set: v4("a"), from: &some, to: &nothing }])?;
        for (low, _) in some.ranges().take(100) {
            assert!(!kernel.has(v4("a"), low)?);
        }
        for (low, high) in rest.ranges().step_by(997) {
            assert!(kernel.has(v4("a"), low)? && kernel.has(v4("a"), high)?);
        }
        assert_eq!(kernel.elements(v4("a"))?, rest);
        kernel.change(&[
            SetChange { set: v4("a"), from: &rest, to: &nothing },
            SetChange { set: hosts, from: &addresses, to: &nothing },
        ])
    })
    .unwrap();
    host.assert_holds(v4("a"), &nothing);
    host.assert_holds(hosts, &nothing);
}

/// The kernel returns a large list in parts, and other programs may change the set in between.
#[test]
fn a_list_is_of_one_moment_or_none() {
    need_namespaces!();
    let nothing = PrefixSet::default();
    let all = many(20_000, Family::V4);
    // The first element moves to the end, so a list from two moments would have it twice or not at all.
    let moved = all.difference(&prefixes("1.0.0.0/18")).union(&prefixes("192.0.2.0/24, 198.51.100.0/24"));
    let host = Host::new(&[(v4("a"), &nothing)]);
    host.change(v4("a"), &nothing, &all).unwrap();
    let is_over = AtomicBool::new(false);
    let lists = thread::scope(|scope| {
        scope.spawn(|| {
            host.speak(|kernel| {
                while !is_over.load(Ordering::Relaxed) {
                    for (from, to) in [(&all, &moved), (&moved, &all)] {
                        kernel.change(&[SetChange { set: v4("a"), from, to }])?;
                        thread::sleep(Duration::from_millis(5));
                    }
                }
                Ok(())
            })
            .unwrap();
        });
        let lists = host.speak(|kernel| Ok((0..30).map(|_| kernel.elements(v4("a"))).collect::<Vec<_>>()));
        is_over.store(true, Ordering::Relaxed);
        lists.unwrap()
    });
    for list in lists {
        match list {
            Ok(list) => assert!(list == all || list == moved, "{} prefixes", list.prefixes().count()),
            Err(error) => assert!(matches!(error, NetlinkError::Torn), "{error:?}"),
        }
    }
}

const WITHIN: &str = "EDGEWARD_WITHIN_A_USER_NAMESPACE";

/// There the send buffer cannot exceed the system's limit.
#[test]
fn in_a_user_namespace_a_large_change_names_its_limit() {
    need_namespaces!();
    if env::var_os(WITHIN).is_some() {
        return large_change_names_its_limit();
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net"]).arg(env::current_exe().unwrap());
    command.args(["--exact", "in_a_user_namespace_a_large_change_names_its_limit", "--nocapture"]).env(WITHIN, "1");
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("unshare failed") {
        return netns::skip(&format!("no user namespace: {stderr}"));
    }
    assert!(output.status.success(), "{}{stderr}", String::from_utf8_lossy(&output.stdout));
}

fn large_change_names_its_limit() {
    let set = set("a", Family::V6, SetKind::Prefixes);
    let nothing = PrefixSet::default();
    let text = format!("table inet edgeward {{ {} }}", declared(set, &nothing));
    assert!(Command::new("nft").arg(text).status().unwrap().success());
    let system: u32 = fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap().trim().parse().unwrap();
    let mut kernel = NetlinkSocket::open().unwrap();
    let change = |kernel: &mut NetlinkSocket, to: &PrefixSet| kernel.change(&[SetChange { set, from: &nothing, to }]);
    // The kernel doubles the requested size; a prefix takes 64 bytes.
    let error = change(&mut kernel, &many(2 * system / 64 + 1, Family::V6)).unwrap_err();
    let NetlinkError::TooLarge { bytes, limit } = error else { panic!("{error:?}") };
    assert!(limit <= 2 * system as usize && limit < bytes, "{limit} {bytes} {system}");
    assert!(kernel.elements(set).unwrap().is_empty());
    let fitting = many(2 * system / 64 * 9 / 10, Family::V6);
    change(&mut kernel, &fitting).unwrap();
    assert_eq!(kernel.elements(set).unwrap(), fitting);
}
