//! Plans of live changes: from any policy to any other, also after an interrupted change.

#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "tests are no part of the core")]

#[macro_use]
mod support;

use std::fs;

use edgeward::catalog::Catalog;
use edgeward::emit;
use edgeward::host::kernel::{Kernel as _, KernelError, Real};
use edgeward::host::transition::Transition;
use edgeward::live::{Change, Live, Plan, Update, carry_out};
use edgeward::lower::lower;
use edgeward::net::{Family, PrefixSet};
use edgeward::readback;
use edgeward::ruleset::{Ruleset, SetKind, differences};
use edgeward::source::Source;
use support::changes;
use support::netns::{Side, Topology};
use support::random::{Dice, intent, policy_text, resolution};

/// The table in a kernel that takes what the real one takes.
#[derive(Clone, Debug, Default)]
struct Kernel(Option<Ruleset>);

impl Kernel {
    fn live(&self) -> Live {
        Live(self.0.clone().unwrap_or_default())
    }

    fn load(&mut self, changes: &[Change]) {
        self.0 = carry_out(&self.0, changes).unwrap_or_else(|misfit| panic!("{misfit}: {changes:#?}"));
    }

    fn fill(&mut self, plan: &Plan) {
        self.load(&plan.fill);
        let Some(table) = &mut self.0 else { return };
        for (name, set) in &plan.elements {
            table.sets.get_mut(name).unwrap().elements.clone_from(&set.elements);
        }
    }

    fn switch(&mut self, plan: &Plan) {
        self.load(&plan.switch);
        let Some(table) = &mut self.0 else { return };
        for (name, update) in &plan.updates {
            let set = table.sets.get_mut(name).unwrap();
            assert_eq!(set.elements, update.old.elements);
            set.elements.clone_from(&update.new.elements);
        }
    }

    fn plan(&self, next: &Ruleset) -> Plan {
        self.live().plan(self.0.is_some(), next)
    }
}

/// Two rulesets of one policy with different answers, and one of another policy.
fn rulesets(seed: u64, catalog: &Catalog) -> [Ruleset; 3] {
    let mut dice = Dice::new(seed);
    let declared = intent(&policy_text(&mut dice).yaml(), catalog);
    let other = intent(&policy_text(&mut dice).yaml(), catalog);
    [&declared, &declared, &other].map(|declared| lower(&declared.bind(&resolution(declared, &mut dice)).unwrap()))
}

fn base_chains(kernel: &Kernel) -> Vec<String> {
    let live = kernel.live().0;
    live.chains.iter().filter(|chain| chain.base.is_some()).map(|chain| chain.name.clone()).collect()
}

#[test]
fn any_ruleset_replaces_any_other() {
    let catalog = Catalog::embedded().unwrap();
    let (mut updates, mut switches, mut kept) = (0, 0, 0);
    for seed in 0..150 {
        let [one, answers, other] = rulesets(seed, &catalog);
        let mut kernel = Kernel::default();
        for next in [&one, &answers, &other, &one, &other] {
            let plan = kernel.plan(next);
            let (before, bases) = (kernel.live().meaning(), base_chains(&kernel));
            kernel.fill(&plan);
            // No rule refers to the sets that are being filled.
            assert_eq!(kernel.live().meaning(), before, "seed {seed}");
            kernel.switch(&plan);
            let after = kernel.live().meaning();
            assert_eq!(differences(&[&after, next]), [], "seed {seed}");
            kernel.load(&plan.sweep);
            assert_eq!(kernel.live().meaning(), after, "seed {seed}");
            assert!(bases.iter().all(|base| base_chains(&kernel).contains(base)), "seed {seed}: a base chain is gone");
            assert!(kernel.plan(next).is_empty(), "seed {seed}: {:#?}", kernel.plan(next));
            updates += usize::from(!plan.updates.is_empty());
            switches += usize::from(!plan.switch.is_empty());
            kept += usize::from(!plan.switch.is_empty() && plan.elements.len() < next.sets.len());
            assert!(plan.updates.is_empty() || plan.switch.is_empty());
        }
    }
    assert!(updates > 50 && switches > 300 && kept > 100, "{updates} updates, {switches} switches, {kept} kept sets");
}

#[test]
fn leftovers_of_an_interrupted_change_are_swept_by_the_next() {
    let catalog = Catalog::embedded().unwrap();
    for seed in 0..100 {
        let [one, answers, other] = rulesets(seed, &catalog);
        let mut kernel = Kernel::default();
        let all = |kernel: &mut Kernel, next: &Ruleset| {
            let plan = kernel.plan(next);
            kernel.fill(&plan);
            kernel.switch(&plan);
            kernel.load(&plan.sweep);
        };
        all(&mut kernel, &one);
        let clean = kernel.clone();
        let plan = kernel.plan(&other);
        kernel.fill(&plan);
        // Interrupted here, and then the same, the old or a third ruleset.
        for next in [&other, &one, &answers] {
            let mut kernel = kernel.clone();
            all(&mut kernel, next);
            assert_eq!(differences(&[&kernel.live().meaning(), next]), [], "seed {seed}");
            assert!(kernel.plan(next).is_empty(), "seed {seed}");
        }
        // Interrupted after the switch.
        let mut kernel = kernel.clone();
        kernel.switch(&plan);
        assert!(!kernel.plan(&other).changes_verdicts());
        all(&mut kernel, &one);
        let (left, first) = (kernel.live().0, clean.live().0);
        assert_eq!((left.sets.len(), &left.counters), (first.sets.len(), &first.counters), "seed {seed}");
    }
}

/// The table of a namespace, changed by nft.
struct ByText(Topology);

impl ByText {
    fn load(&self, changes: &[Change]) {
        let text = changes::text(changes);
        self.0.load(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }

    fn add(&self, command: &str, name: &str, kind: SetKind, elements: &PrefixSet) {
        let elements: Vec<String> = kind.elements(elements).map(|element| element.to_string()).collect();
        if !elements.is_empty() {
            self.0.load(&format!("{command} element inet edgeward {name} {{ {} }}", elements.join(", "))).unwrap();
        }
    }

    /// What this process knows of a plan, as nft carries it out.
    fn carry_out(&self, plan: &Plan) {
        self.load(&plan.fill);
        for (name, set) in &plan.elements {
            self.add("add", name, set.kind, &set.elements);
        }
        self.load(&plan.switch);
        for (name, Update { old, new }) in &plan.updates {
            self.add("add", name, new.kind, &new.elements.difference(&old.elements));
            self.add("delete", name, new.kind, &old.elements.difference(&new.elements));
        }
        self.load(&plan.sweep);
    }
}

fn namespace() -> Topology {
    Topology::edge_host("10.0.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap())
}

/// What nft lists of all tables.
fn listed(topology: &Topology) -> String {
    let output = topology.run_under_test(&["nft", "--stateless", "list", "ruleset"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn table(topology: &Topology) -> Option<Ruleset> {
    topology.within(Side::UnderTest, || Real::new(true).table()).unwrap()
}

/// Every step of plans, as text by nft and as batches: nft lists the same, and the kernel reports what was planned.
#[test]
fn nft_and_batches_do_the_same() {
    need_namespaces!();
    let catalog = Catalog::embedded().unwrap();
    for seed in 0..8 {
        let [one, answers, other] = rulesets(seed, &catalog);
        let (by_text, by_batch) = (ByText(namespace()), namespace());
        for (number, next) in [&one, &answers, &other, &one].into_iter().enumerate() {
            let before = table(&by_text.0);
            let plan = Live(before.clone().unwrap_or_default()).plan(before.is_some(), next);
            by_text.carry_out(&plan);
            by_batch
                .within(Side::UnderTest, || {
                    let mut kernel = Real::new(true);
                    let transition = Transition::plan(&mut kernel, Some(next))?;
                    transition.check(&mut kernel)?;
                    transition.fill(&mut kernel)?;
                    transition.switch(&mut kernel)?;
                    transition.sweep(&mut kernel)
                })
                .unwrap_or_else(|error| panic!("seed {seed}, step {number}: {error}"));
            assert_eq!(listed(&by_text.0), listed(&by_batch), "seed {seed}, step {number}");
            for topology in [&by_text.0, &by_batch] {
                let live = Live(table(topology).unwrap());
                assert_eq!(differences(&[&live.meaning(), next]), [], "seed {seed}, step {number}");
                let rest = live.plan(true, next);
                assert!(rest.is_empty(), "seed {seed}, step {number}: {rest:#?}");
            }
        }
    }
}

/// What the kernel keeps of a table, without what differs from one load to the next.
fn kept(topology: &Topology) -> Vec<String> {
    let output = topology.run_under_test(&["nft", "--debug=netlink", "list", "ruleset"]);
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    // nft puts an end at zero into sets with a name, which has no effect.
    let is_needless =
        |line: &str| line.trim_start_matches("element").trim_start_matches([' ', '0']).starts_with(": 1 [end]");
    let lines = text.lines().map(str::trim).filter(|line| line.starts_with('[') || line.starts_with("element "));
    let mut lines: Vec<String> = lines.filter(|line| !is_needless(line)).map(str::to_owned).collect();
    // The elements of a hash have no order.
    lines.chunk_by_mut(|one, next| [one, next].iter().all(|line| line.starts_with("element "))).for_each(<[_]>::sort);
    lines
}

/// A whole ruleset in one batch is what nft makes of its text: the same listing, the same expressions and elements.
#[test]
fn a_batch_is_what_nft_makes_of_the_text() {
    need_namespaces!();
    let catalog = Catalog::embedded().unwrap();
    let everything = include_str!("support/readback/everything.nft");
    let mut texts = vec![("everything".to_owned(), everything.to_owned())];
    for case in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cases")).unwrap() {
        let file = case.unwrap().path().join("ruleset.nft");
        texts.push((file.to_string_lossy().into_owned(), fs::read_to_string(&file).unwrap()));
    }
    texts.extend((300..330).map(|seed| (format!("seed {seed}"), emit::nft(&rulesets(seed, &catalog)[0]))));
    let (by_text, by_batch) = (namespace(), namespace());
    for (name, text) in texts {
        let ruleset = readback::read(&Source::new("text", &text)).unwrap();
        by_text.load(&emit::nft(&ruleset)).unwrap();
        by_batch.within(Side::UnderTest, || Real::new(true).replace(&ruleset)).unwrap();
        assert_eq!(listed(&by_batch), listed(&by_text), "{name}");
        assert!(kept(&by_text).len() > 20, "{name}");
        assert_eq!(kept(&by_batch), kept(&by_text), "{name}");
        assert_eq!(table(&by_batch), Some(ruleset), "{name}");
    }
}

/// What the kernel refuses is named; a dry run is refused for the same, and changes nothing.
#[test]
fn a_refusal_names_its_part() {
    need_namespaces!();
    let topology = namespace();
    topology.load("table inet edgeward {\n\tset a { type ipv4_addr; }\n\tchain x {\n\t}\n}").unwrap();
    let before = listed(&topology);
    let rule = |text: &str| {
        let table = format!(
            "table inet edgeward {{ counter c {{ }}\nset none {{ type ipv4_addr; }}\nchain none {{ }}\nchain x {{\n{text}\n}}\n}}"
        );
        let read = readback::read(&Source::new("text", table)).unwrap();
        let rule = Box::new(read.chain("x").unwrap().rules[0].clone());
        Change::AddRule { chain: "x".to_owned(), rule }
    };
    let fine = || rule("accept");
    let cases: [(Vec<Change>, &str); 7] = [
        (vec![fine(), rule("ip saddr @none accept")], "rule 2 of the chain `x` (`lookup`)"),
        (vec![rule("jump none")], "rule 1 of the chain `x` (`immediate`)"),
        (vec![fine(), fine(), rule("tcp dport vmap { 1 : jump none, 5-7 : jump none }")], "rule 3 of the chain `x`"),
        (vec![Change::AddChain { name: "y".repeat(300), base: None }], "the chain `yyy"),
        (vec![Change::AddSet { name: "a".into(), family: Family::V4, kind: SetKind::Hosts }], "the set `a`"),
        (vec![Change::DeleteCounter("none".into())], "the counter `none`"),
        (vec![rule("counter name c accept")], "rule 1 of the chain `x`"),
    ];
    for (changes, expected) in cases {
        let [tried, changed] = [true, false].map(|is_trial| {
            topology.within(Side::UnderTest, || {
                let mut kernel = Real::new(true);
                let result = if is_trial { kernel.check(&changes) } else { kernel.change(&changes, &[]) };
                result.unwrap_err().to_string()
            })
        });
        assert!(tried.contains(expected), "{tried}");
        assert_eq!(tried, changed);
        assert_eq!(listed(&topology), before);
    }
    topology.within(Side::UnderTest, || Real::new(true).check(&[fine(), fine()])).unwrap();
    assert_eq!(listed(&topology), before);
}

/// The kernel says that a table has changed since it was read: only where it is the own one, the change is refused.
#[test]
fn a_table_that_was_changed_meanwhile_is_told_by_the_kernel() {
    need_namespaces!();
    let topology = namespace();
    topology.load("table inet edgeward {\n\tchain x {\n\t}\n}").unwrap();
    topology.within(Side::UnderTest, || {
        let mut kernel = Real::new(true);
        let add = |name: &str| [Change::AddChain { name: name.to_owned(), base: None }];
        kernel.table().unwrap();
        kernel.change(&add("a"), &[]).unwrap();
        // Another table, and an own change that changes nothing.
        topology.load("table ip other { chain c { }; }").unwrap();
        kernel.change(&add("b"), &[]).unwrap();
        kernel.change(&add("b"), &[]).unwrap();
        kernel.change(&add("c"), &[]).unwrap();
        topology.load("add rule inet edgeward x accept").unwrap();
        assert!(matches!(kernel.change(&add("d"), &[]), Err(KernelError::Raced)));
        let table = kernel.table().unwrap().unwrap();
        assert_eq!(table.chains.iter().map(|chain| chain.name.as_str()).collect::<Vec<_>>(), ["x", "a", "b", "c"]);
        kernel.change(&add("d"), &[]).unwrap();
        topology.load("delete table inet edgeward").unwrap();
        assert!(matches!(kernel.change(&add("e"), &[]), Err(KernelError::Raced)));
    });
}
