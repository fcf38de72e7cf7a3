//! Plans of live changes: from any policy to any other, also after an interrupted change.

#![allow(clippy::unwrap_used, clippy::panic)]

#[macro_use]
mod support;

use edgeward::catalog::Catalog;
use edgeward::emit;
use edgeward::live::{Change, Live, Plan, Update, carry_out};
use edgeward::lower::lower;
use edgeward::net::PrefixSet;
use edgeward::readback;
use edgeward::ruleset::{Ruleset, SetKind, differences};
use edgeward::source::Source;
use support::netns::Topology;
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

/// The kernel of a namespace, changed by the text that `emit` writes for plans.
struct Namespace(Topology);

impl Namespace {
    fn table(&self) -> Option<Ruleset> {
        let output = self.0.run_under_test(&["nft", "--stateless", "list", "table", "inet", "edgeward"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let read = || readback::read(&Source::new("kernel", &text)).unwrap_or_else(|bad| panic!("{bad:?}\n{text}"));
        output.status.success().then(read)
    }

    fn load(&self, changes: &[Change]) {
        let text = emit::changes(changes);
        self.0.load(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }

    fn add(&self, command: &str, name: &str, kind: SetKind, elements: &PrefixSet) {
        let elements: Vec<String> = kind.elements(elements).map(|element| element.to_string()).collect();
        if !elements.is_empty() {
            self.0.load(&format!("{command} element inet edgeward {name} {{ {} }}", elements.join(", "))).unwrap();
        }
    }
}

/// The same way as above, with nft and a kernel that have not read `carry_out`.
#[test]
fn the_kernel_takes_every_step() {
    need_namespaces!();
    let catalog = Catalog::embedded().unwrap();
    for seed in 0..8 {
        let [one, answers, other] = rulesets(seed, &catalog);
        let namespace = Namespace(Topology::edge_host("10.0.0.20".parse().unwrap(), "2001:db8::20".parse().unwrap()));
        for (number, next) in [&one, &answers, &other, &one].into_iter().enumerate() {
            let live = Live(namespace.table().unwrap_or_default());
            let plan = live.plan(namespace.table().is_some(), next);
            namespace.load(&plan.fill);
            for (name, set) in &plan.elements {
                namespace.add("add", name, set.kind, &set.elements);
            }
            namespace.load(&plan.switch);
            for (name, Update { old, new }) in &plan.updates {
                namespace.add("add", name, new.kind, &new.elements.difference(&old.elements));
                namespace.add("delete", name, new.kind, &old.elements.difference(&new.elements));
            }
            namespace.load(&plan.sweep);
            let live = Live(namespace.table().unwrap());
            assert_eq!(differences(&[&live.meaning(), next]), [], "seed {seed}, step {number}");
            let rest = live.plan(true, next);
            assert!(rest.is_empty(), "seed {seed}, step {number}: {rest:#?}");
        }
    }
}
