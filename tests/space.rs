//! Packet space, compared with single packets: regions, their boxes and witnesses, and differences.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use edgeward::catalog::Catalog;
use edgeward::intent::{Intent, Resolved};
use edgeward::lower::lower;
use edgeward::net::{ChainPolicy, Hook, Packet, Verdict};
use edgeward::proof::prove;
use edgeward::ruleset::{Action, Base, Chain, Difference, Effect, Rule, Ruleset, differences};
use edgeward::space::{Condition, Space};
use support::random::{CutPoints, Dice, intent, policy_text, resolution};

fn resolved(seed: u64, catalog: &Catalog) -> Intent<Resolved> {
    let mut dice = Dice::new(seed);
    let declared = intent(&policy_text(&mut dice).yaml(), catalog);
    declared.bind(&resolution(&declared, &mut dice)).unwrap()
}

/// A random packet, at any of the five hooks.
fn packet(points: &CutPoints, dice: &mut Dice) -> Packet {
    let packet = points.packet(dice);
    match dice.below(4) {
        0 => Packet { hook: *dice.pick(&Hook::ALL), ..packet },
        _ => packet,
    }
}

#[test]
fn regions_hold_what_their_condition_is_true_of() {
    let catalog = Catalog::embedded().unwrap();
    let (mut inside, mut outside) = (0u64, 0u64);
    for seed in 0..60 {
        let intent = resolved(seed, &catalog);
        let ruleset = lower(&intent);
        let specification = intent.specification();
        let conditions: Vec<Condition> = specification.conditions().cloned().chain(ruleset.conditions()).collect();
        let space = Space::new(&conditions);
        let points = CutPoints::of(&ruleset);
        let mut dice = Dice::new(seed);
        for _ in 0..400 {
            let packet = packet(&points, &mut dice);
            let one = dice.pick(&conditions);
            let other = dice.pick(&conditions);
            let condition = match dice.below(4) {
                0 => Condition::All(vec![one.clone(), !other.clone()]),
                1 => Condition::Any(vec![one.clone(), other.clone()]),
                _ => one.clone(),
            };
            let region = space.region(&condition);
            assert_eq!(region.contains(&packet), condition.holds(&packet), "seed {seed}: {packet}, {condition:?}");
            if condition.holds(&packet) {
                inside += 1;
            } else {
                outside += 1;
            }
            match region.witness() {
                Some(witness) => assert!(condition.holds(&witness), "seed {seed}: {witness}, {condition:?}"),
                None => assert!(region.is_empty(), "{condition:?}"),
            }
            let boxes = region.boxes();
            let holding = boxes.iter().filter(|one| one.contains(&packet)).count();
            assert_eq!(
                holding,
                usize::from(condition.holds(&packet)),
                "seed {seed}: {packet}, {condition:?}\n{boxes:#?}"
            );
        }
    }
    assert!(inside > 1000 && outside > 1000, "{inside} in, {outside} out");
}

/// The effect of a change on one packet: what the two rulesets do with it.
fn effects(old: &Ruleset, new: &Ruleset, packet: &Packet) -> Vec<Effect> {
    let (before, after) = (old.evaluate(packet), new.evaluate(packet));
    let verdict = match (before.verdict, after.verdict) {
        (Verdict::Accept, Verdict::Accept) | (Verdict::Drop, Verdict::Drop) | (Verdict::Reject, Verdict::Reject) => {
            None
        }
        (_, Verdict::Accept) => Some(Effect::Allowed),
        (Verdict::Accept, _) => Some(Effect::Denied),
        (_, Verdict::Drop) => Some(Effect::Silenced),
        (_, Verdict::Reject) => Some(Effect::Answered),
    };
    let tracking = match (before.tracked, after.tracked) {
        (true, false) => Some(Effect::Untracked),
        (false, true) => Some(Effect::Tracked),
        _ => None,
    };
    verdict.into_iter().chain(tracking).collect()
}

fn assert_exact(found: &[Difference], old: &Ruleset, new: &Ruleset, packet: &Packet) -> bool {
    let mut said: Vec<Effect> = Vec::new();
    for difference in found {
        let holding = difference.boxes.iter().filter(|one| one.contains(packet)).count();
        assert!(holding <= 1, "{packet} is in {holding} boxes of {difference:#?}");
        said.extend((holding == 1).then_some(difference.effect));
    }
    let meant = effects(old, new, packet);
    assert_eq!(said, meant, "{packet}");
    !meant.is_empty()
}

#[test]
fn differences_are_the_disagreements_of_two_rulesets() {
    let catalog = Catalog::embedded().unwrap();
    let (mut differing, mut alike) = (0, 0);
    for seed in 0..60 {
        // Another policy, or the same with other answers.
        let (old, new) = match seed % 3 {
            0 => {
                let mut dice = Dice::new(seed);
                let declared = intent(&policy_text(&mut dice).yaml(), &catalog);
                let [old, new] = [(), ()].map(|()| declared.bind(&resolution(&declared, &mut dice)).unwrap());
                (lower(&old), lower(&new))
            }
            _ => (lower(&resolved(seed, &catalog)), lower(&resolved(seed + 1000, &catalog))),
        };
        assert_eq!(differences(&[&old, &old]), []);
        assert_eq!(differences(&[&old, &new, &old]), []);
        let found = differences(&[&old, &new]);
        let mut dice = Dice::new(seed);
        let points = [CutPoints::of(&old), CutPoints::of(&new)];
        for _ in 0..600 {
            let packet = {
                let points = &points[dice.below(2)];
                packet(points, &mut dice)
            };
            if assert_exact(&found, &old, &new, &packet) {
                differing += 1;
            } else {
                alike += 1;
            }
        }
        for difference in &found {
            assert!(assert_exact(&found, &old, &new, &difference.example));
            assert!(difference.boxes.iter().any(|one| one.contains(&difference.example)));
        }
    }
    assert!(differing > 1000 && alike > 1000, "{differing} differ, {alike} do not");
}

/// Of three versions, every packet is attributed to the last step that changed its treatment.
#[test]
fn differences_have_the_step_that_made_them() {
    let catalog = Catalog::embedded().unwrap();
    let mut steps = [0; 2];
    for seed in 0..60 {
        let versions = [0, 1000, 2000].map(|more| lower(&resolved(seed + more, &catalog)));
        let found = differences(&versions.each_ref());
        let points = versions.each_ref().map(CutPoints::of);
        let mut dice = Dice::new(seed);
        for _ in 0..400 {
            let packet = packet(&points[dice.below(3)], &mut dice);
            assert_exact(&found, &versions[0], &versions[2], &packet);
            for difference in found.iter().filter(|found| found.boxes.iter().any(|one| one.contains(&packet))) {
                let tracking = matches!(difference.effect, Effect::Untracked | Effect::Tracked);
                let treated = versions.each_ref().map(|version| {
                    let disposition = version.evaluate(&packet);
                    if tracking { u32::from(disposition.tracked) } else { disposition.verdict as u32 }
                });
                let step = usize::from(treated[1] != treated[2]);
                assert_eq!(difference.step, step, "seed {seed}: {packet}, {:?}", difference.effect);
                steps[step] += 1;
            }
        }
    }
    assert!(steps.iter().all(|count| *count > 500), "{steps:?}");
}

/// A packet that is rejected, then accepted, then dropped is treated differently in the end.
#[test]
fn only_the_first_and_the_last_version_count() {
    let [reject, accept, drop] = [Verdict::Reject, Verdict::Accept, Verdict::Drop].map(|verdict| Ruleset {
        chains: vec![Chain {
            name: "input".to_owned(),
            base: Some(Base { hook: Hook::Input, policy: ChainPolicy::Drop }),
            rules: vec![Rule::new([], Action::Verdict(verdict))],
        }],
        ..Ruleset::default()
    });
    let found = differences(&[&reject, &accept, &drop]);
    assert_eq!(found.iter().map(|found| (found.effect, found.step)).collect::<Vec<_>>(), [(Effect::Silenced, 1)]);
    let found = differences(&[&accept, &drop, &reject]);
    assert_eq!(found.iter().map(|found| (found.effect, found.step)).collect::<Vec<_>>(), [(Effect::Denied, 1)]);
}

/// `explain` can be asked about a witness: its ends differ unless they must not.
#[test]
fn witnesses_go_from_one_address_to_another() {
    let condition = Condition::Hook(Hook::Input);
    let space = Space::new([&condition]);
    let witness = space.region(&condition).witness().unwrap();
    assert_ne!(witness.source, witness.destination);
    assert!(!witness.is_loopback());
}

/// Every flow has a port and a peer of its own, and its replies a rule: very many cells, and few nodes.
#[test]
fn diagrams_stay_small_where_products_explode() {
    let mut text = String::from(
        "version: 1\nname: many\ntarget: idc-gateway\nregion: cn-hangzhou\nconnection: express-connect\ncni: flannel\n\
         cluster: {kind: ack-edge, version: '1.30', api-server: 192.168.10.20}\n\
         networks: {vpc: [192.168.0.0/16], hosts: [10.0.0.0/8]}\n\
         dns: {servers: [192.168.10.53]}\ngateway: {stateless: true}\nallow:\n",
    );
    for row in 0..300 {
        let port = 20_000 + 7 * row;
        text += &format!(
            "- {{id: row-{row}, direction: outbound, peers: [198.{}.{}.0/24], ports: [tcp/{port}, udp/{port}]}}\n",
            18 + row / 250,
            row % 250
        );
    }
    let catalog = Catalog::embedded().unwrap();
    let declared = intent(&text, &catalog);
    let intent = declared.bind(&resolution(&declared, &mut Dice::new(1))).unwrap();
    let ruleset = lower(&intent);
    prove(&intent, &ruleset).unwrap();
    let conditions: Vec<Condition> = ruleset.conditions().collect();
    let space = Space::new(&conditions);
    let groups = ruleset.partition(&space);
    assert!(groups.len() > 1_000 && space.cells() > 1e13, "{:e} cells", space.cells());
    assert!(space.nodes() < 100_000, "{} nodes", space.nodes());
}

/// A policy of so many operator's rows; `row` gives the peers and the ports of each.
fn many_rows(target: &str, rows: usize, row: impl Fn(usize) -> (String, String)) -> String {
    let mut text = format!(
        "version: 1\nname: many\ntarget: {target}\nregion: cn-hangzhou\nconnection: express-connect\ncni: flannel\n\
         cluster: {{kind: ack-edge, version: '1.30', api-server: 192.168.10.20}}\n\
         networks: {{vpc: [192.168.0.0/16], hosts: [10.0.0.0/24], pods: [172.20.0.0/16]}}\n\
         dns: {{servers: [192.168.10.53]}}\nmode: audit\n{}\nallow:\n",
        if target == "edge-host" { "" } else { "gateway: {stateless: true}" },
    );
    for number in 0..rows {
        let (peers, ports) = row(number);
        let direction = if number % 2 == 0 { "inbound" } else { "outbound" };
        text += &format!("- {{id: row-{number}, direction: {direction}, peers: [{peers}], ports: [{ports}]}}\n");
    }
    text
}

/// How much work a policy makes: rules, nodes of the diagrams, and what the largest axis has to remember.
fn work(text: &str, catalog: &Catalog) -> (usize, usize) {
    let declared = intent(text, catalog);
    let intent = declared.bind(&resolution(&declared, &mut Dice::new(1))).unwrap();
    let ruleset = lower(&intent);
    prove(&intent, &ruleset).unwrap();
    let conditions: Vec<Condition> = ruleset.conditions().collect();
    let space = Space::new(&conditions);
    let groups = ruleset.partition(&space);
    assert!(groups.len() > ruleset.rules().filter(|rule| rule.flow().is_some()).count() / 4);
    (ruleset.rules().count(), space.nodes())
}

/// The shapes that once grew with the square of the rows: 800 rows took 50 s, and 3.7 GB.
#[test]
fn rules_and_diagrams_grow_with_the_rows() {
    let catalog = Catalog::embedded().unwrap();
    let peer = |number: usize| format!("198.{}.{}.{}", 18 + number / 16_384, number / 64 % 256, 4 * (number % 64));
    // Numbers without an order, the same in each run.
    let mixed = |number: usize| (number * 7_919 + 13) % 10_007;
    for target in ["edge-host", "idc-gateway"] {
        for (shape, row) in [
            ("ranges that overlap", &|i, n| (peer(i), format!("tcp/{}-{}", i + 1, i + n)) as (String, String)),
            ("nested ranges", &|i, _| (peer(i), format!("tcp/{}-{}", i + 1, 65_535 - i))),
            ("ranges in no order", &|i, _| {
                (peer(i), format!("tcp/{}-{}", mixed(i) + 1, mixed(i) + 20_000 + mixed(i + 5)))
            }),
            ("several ranges of several peers", &|i, n| {
                (
                    format!("{}, {}", peer(i), peer((i + 1) % n)),
                    format!("tcp/{}-{}, udp/{}-{}", i + 1, i + n, mixed(i) + 1, mixed(i) + 20_000),
                )
            }),
            ("one port", &|i, _| (peer(i), "tcp/443".to_owned())),
            ("distinct ports", &|i, _| (peer(i), format!("tcp/{}", 7 * i + 1))),
        ] as [(&str, &dyn Fn(usize, usize) -> (String, String)); 6]
        {
            let [(few, small), (many, large)] =
                [200, 800].map(|rows| work(&many_rows(target, rows, |number| row(number, rows)), &catalog));
            let of = format!("{target}, {shape}: {few} and {many} rules, {small} and {large} nodes");
            // Four times as many rows; halving costs a logarithm.
            assert!(many < 5 * few && many < 12 * 800, "{of}");
            assert!(large < 6 * small && large < 300_000, "{of}");
        }
    }
}
