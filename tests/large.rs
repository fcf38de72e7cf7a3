//! Large sets in a real kernel: recognised without being read, and updated without being filled.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "tests are no part of the core")]

#[macro_use]
mod support;

use std::fs;
use std::net::Ipv4Addr;

use edgeward::emit;
use edgeward::host::kernel::{Kernel, Memory, Real};
use edgeward::host::transition::{Transition, means};
use edgeward::live::Live;
use edgeward::net::{Prefix, PrefixSet};
use edgeward::readback;
use edgeward::ruleset::Ruleset;
use edgeward::source::Source;
use support::netns::{Side, Topology};

/// More elements than are always read.
const PREFIXES: u32 = 20_000;

/// One of many prefixes, no two of them adjacent. They all begin at an odd multiple of their size, or of 256.
fn prefix(index: u32) -> String {
    format!("{}/{}", Ipv4Addr::from(0x2000_0100 + index * 1024), 24 + index % 9)
}

fn some(indices: impl Iterator<Item = u32>) -> PrefixSet {
    indices.map(|index| prefix(index).parse::<Prefix>().unwrap()).collect()
}

fn set(text: &str) -> PrefixSet {
    text.parse().unwrap()
}

/// The first prefix, a /24, which some tests change.
const FIRST: &str = "32.0.1.0/24";

/// A ruleset that accepts packets from some addresses.
fn ruleset(addresses: &PrefixSet) -> Ruleset {
    let text = format!(
        "table inet edgeward {{\n\
         set sites_v4 {{\ntype ipv4_addr\nflags interval\nelements = {{ {addresses} }}\n}}\n\
         chain input {{\ntype filter hook input priority filter; policy drop;\nip saddr @sites_v4 accept\ndrop\n}}\n}}\n"
    );
    readback::read(&Source::new("a test", text)).unwrap()
}

fn topology() -> Topology {
    Topology::edge_host("192.168.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap())
}

fn elements(kernel: &mut dyn Kernel) -> PrefixSet {
    Live(kernel.table().unwrap().unwrap()).meaning().sets["sites_v4"].elements.clone()
}

#[test]
fn what_is_known_is_recognised_and_all_else_is_read() {
    need_namespaces!();
    let topology = topology();
    let one = some(0..PREFIXES);
    topology.load(&emit::nft(&ruleset(&one))).unwrap();
    // The same number, with one different; fewer; the same number, with a tenth different.
    let other = some(1..PREFIXES + 1);
    let fewer = some(1..PREFIXES);
    let elsewhere = some((0..PREFIXES).map(|index| if index % 10 == 0 { PREFIXES + index } else { index }));
    for known in [&[&one][..], &[&other, &one], &[&one, &other], &[&fewer], &[&elsewhere], &[&fewer, &elsewhere], &[]] {
        let found = topology.within(Side::UnderTest, || {
            let mut kernel = Real::default();
            known.iter().for_each(|set| kernel.recall(&ruleset(set)));
            elements(&mut kernel)
        });
        assert_eq!(found, one, "with {} known", known.len());
    }
}

/// The same number of elements, with the same ends of each range: no sample shows that one address is missing.
fn hidden() -> [String; 2] {
    let inside = "32.0.1.0-32.0.1.99, 32.0.1.101-32.0.1.255";
    [format!("{FIRST}, 16.0.0.0/25, 16.0.0.128/26"), format!("{inside}, 16.0.0.0-16.0.0.191")]
}

#[test]
fn deep_reads_everything() {
    need_namespaces!();
    let topology = topology();
    let [known, tampered] = hidden();
    let one = some(1..PREFIXES).union(&set(&known));
    topology.load(&emit::nft(&ruleset(&one))).unwrap();
    topology.load(&format!("delete element inet edgeward sites_v4 {{ {known} }}")).unwrap();
    topology.load(&format!("add element inet edgeward sites_v4 {{ {tampered} }}")).unwrap();
    for (is_deep, expected) in [(false, one.clone()), (true, one.difference(&set("32.0.1.100")))] {
        let found = topology.within(Side::UnderTest, || {
            let mut kernel = Real::new(is_deep);
            kernel.recall(&ruleset(&one));
            elements(&mut kernel)
        });
        assert!(found == expected, "deep: {is_deep}");
    }
}

#[test]
fn additions_and_deletions_are_noticed_by_the_number() {
    need_namespaces!();
    // With and without an interval up to the top, which has no end in the kernel.
    for top in ["224.0.0.0/3", "203.0.113.0/24"] {
        let one = ruleset(&some(0..PREFIXES).union(&set(top)));
        for tampering in [
            "add element inet edgeward sites_v4 { 16.0.0.1 }",
            &format!("delete element inet edgeward sites_v4 {{ {top} }}"),
        ] {
            let topology = topology();
            topology.within(Side::UnderTest, || {
                let kernel = &mut Real::default();
                let transition = Transition::plan(kernel, Some(&one)).unwrap();
                transition.fill(kernel).and_then(|()| transition.switch(kernel)).unwrap();
            });
            let look = || {
                topology.within(Side::UnderTest, || {
                    [false, true].map(|is_deep| {
                        let mut kernel = Real::new(is_deep);
                        kernel.recall(&one);
                        elements(&mut kernel)
                    })
                })
            };
            assert!(look().iter().all(|found| *found == one.sets["sites_v4"].elements), "{top}");
            topology.load(tampering).unwrap();
            let [found, truth] = look();
            assert!(found == truth && truth != one.sets["sites_v4"].elements, "{top}: {tampering}");
        }
    }
}

/// Brings a kernel to one set after the other; returns for each whether the live set was kept.
fn go_through(kernel: &mut dyn Kernel, all_of: impl Fn() -> Option<Box<dyn Kernel>>) -> Vec<bool> {
    let base = some(0..PREFIXES);
    let next = [
        base.clone(),
        // One is added; sixteen are replaced; one is adjacent to another, and not part of a larger one.
        base.union(&set("16.0.0.0/24")),
        some(16..PREFIXES + 16).union(&set("16.0.0.0/24")),
        base.clone(),
        base.union(&set("32.0.2.0/24")),
        // Seventeen are added; as many and a thousand others are deleted.
        some(0..PREFIXES + 17),
        some(1000..PREFIXES),
        // One grows, and shrinks.
        some(1000..PREFIXES).union(&set("32.15.192.0/23")),
        some(1000..PREFIXES),
        // Too many are deleted.
        some(3000..PREFIXES),
    ];
    let mut name: Option<String> = None;
    let kept = next.iter().map(|addresses| {
        let ruleset = ruleset(addresses);
        kernel.recall(&ruleset);
        let transition = Transition::plan(kernel, Some(&ruleset)).unwrap();
        transition.fill(kernel).unwrap();
        transition.switch(kernel).unwrap();
        transition.sweep(kernel).unwrap();
        assert!(means(kernel.table().unwrap().map(Live).as_ref(), Some(&ruleset)));
        if let Some(mut all_of) = all_of() {
            assert!(elements(&mut *all_of) == *addresses, "the kernel has something else");
        }
        let live: Vec<String> = kernel.table().unwrap().unwrap().sets.into_keys().collect();
        assert_eq!(live.len(), 1, "{live:?}");
        name.replace(live[0].clone()).as_ref() == Some(&live[0])
    });
    kept.collect()
}

#[test]
fn single_elements_are_updated_and_many_fill_a_new_set() {
    let expected = [false, true, true, true, true, false, true, false, false, false];
    assert_eq!(go_through(&mut Memory::default(), || None), expected);
    need_namespaces!();
    let topology = topology();
    let deep = || Some(Box::new(Real::new(true)) as Box<dyn Kernel>);
    let kept = topology.within(Side::UnderTest, || go_through(&mut Real::default(), deep));
    assert_eq!(kept, expected);
}

const POLICY: &str = registered_policy!(
    "site",
    "allow:
- {id: sites, direction: inbound, peers-file: sites.txt, ports: [tcp/443]}
"
);

/// The program on a host with a list.
struct Site {
    topology: Topology,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { topology: topology(), folder: tempfile::tempdir().unwrap() };
        fs::write(site.folder.path().join("site.yaml"), POLICY).unwrap();
        site
    }

    fn write(&self, addresses: &PrefixSet) {
        let lines: String = addresses.prefixes().map(|prefix| format!("{prefix}\n")).collect();
        fs::write(self.folder.path().join("sites.txt"), lines).unwrap();
    }

    /// Runs the program; checks its exit code and its output.
    #[track_caller]
    fn run(&self, line: &str, code: i32, says: &str) {
        let policy = self.folder.path().join("site.yaml");
        let state = self.folder.path().join("state");
        let line = line.replace("POLICY", policy.to_str().unwrap());
        let arguments = [&[env!("CARGO_BIN_EXE_edgeward")][..], &line.split(' ').collect::<Vec<_>>()].concat();
        let output =
            self.topology.run_under_test(&[&arguments[..], &["--state-dir", state.to_str().unwrap()]].concat());
        let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(says), "{line}: {says:?} is not in:\n{said}");
    }

    fn has_set(&self, name: &str) -> bool {
        let listed = self.topology.run_under_test(&["nft", "-t", "list", "ruleset", "inet"]);
        String::from_utf8(listed.stdout).unwrap().contains(&format!("\tset {name} {{"))
    }
}

#[test]
fn a_list_that_changes_in_one_line_is_one_element() {
    need_namespaces!();
    let site = Site::new();
    let [known, tampered] = hidden();
    let list = some(1..PREFIXES).union(&set(&known));
    site.write(&list);
    site.run("apply POLICY", 0, "generation 1 of `site` is in force");
    site.run("apply POLICY", 0, "nothing to change");
    site.write(&list.union(&set("16.1.0.0/24")));
    site.run("diff POLICY", 1, "from 16.1.0.0/24");
    site.run("apply POLICY", 0, "generation 2 of `site` is in force: newly allowed: sites");
    assert!(site.has_set("sites_v4"), "the set was replaced");
    site.run("status --deep", 0, "generation 2 is in force, as it was applied");
    site.run("rollback", 0, "generation 1 is in force again");
    site.run("status --deep", 0, "generation 1 is in force, as it was applied");

    // Another program changes it in a way that neither its size nor a sample shows.
    site.topology.load(&format!("delete element inet edgeward sites_v4 {{ {known} }}")).unwrap();
    site.topology.load(&format!("add element inet edgeward sites_v4 {{ {tampered} }}")).unwrap();
    site.run("status", 0, "generation 1 is in force, as it was applied");
    site.run("status --deep", 0, "another program has changed the table");
    site.write(&list);
    site.run("diff POLICY", 0, "no difference");
    site.run("diff --deep POLICY", 1, "from 32.0.1.100");
    // A missing element cannot be deleted, so the whole set is read and corrected.
    site.write(&some(1..PREFIXES));
    site.run("apply POLICY", 0, "is in force: newly denied: sites");
    site.run("status --deep", 0, "as it was applied");
}
