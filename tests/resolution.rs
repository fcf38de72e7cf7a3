//! The failure rules: a table of what DNS can say, and laws over simulated weeks.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use edgeward::diag::Problems;
use edgeward::net::{DomainName, Family};
use edgeward::resolution::{Answer, Distrust, Moment, Question, Reply, Resolution, Rules, Trust, update};
use edgeward::source::Source;
use jiff::{SignedDuration, Timestamp};
use support::random::Dice;

const HOUR: Duration = Duration::from_secs(3600);

fn rules() -> Rules {
    Rules { linger: 24 * HOUR, max_stale: 7 * 24 * HOUR, max_addresses: 8, max_gathered: 12, trust: Trust::default() }
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn at(hours: i64) -> Timestamp {
    start() + SignedDuration::from_hours(hours)
}

/// A right clock, some hours after the start, on one boot.
fn moment(hours: i64) -> Moment {
    Host::default().moment(SignedDuration::from_hours(hours))
}

/// A host whose clock may be wrong.
#[derive(Clone, Default)]
struct Host {
    boots: u8,
    /// When it booted.
    booted: SignedDuration,
    /// What its clock shows in place of the time; 1970 counts from the boot.
    wrong: Wrong,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Wrong {
    #[default]
    No,
    In1970,
    By(SignedDuration),
}

const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

impl Host {
    /// What the clocks show some time after the start.
    fn moment(&self, elapsed: SignedDuration) -> Moment {
        // It was booted a day before the start.
        let since_boot = elapsed - self.booted + SignedDuration::from_hours(if self.boots == 0 { 24 } else { 0 });
        let time = match self.wrong {
            Wrong::No => start() + elapsed,
            Wrong::In1970 => Timestamp::UNIX_EPOCH + since_boot,
            Wrong::By(error) => start() + elapsed + error,
        };
        let boot = Some(format!("00000000-0000-4000-8000-0000000000{:02x}", self.boots));
        Moment { time, since_boot: since_boot.try_into().unwrap(), boot }
    }

    fn reboot(&mut self, elapsed: SignedDuration) {
        self.boots += 1;
        self.booted = elapsed;
    }
}

fn name() -> DomainName {
    "a.example.com".parse().unwrap()
}

fn addresses(list: &[&str]) -> Reply {
    let addresses = list.iter().map(|text| text.parse().unwrap()).collect();
    Reply::Addresses { addresses, ttl: 60, chain: Vec::new() }
}

fn said(v4: Reply, v6: Reply) -> Vec<(Question, Answer)> {
    let server = Some("10.0.0.53:53".parse().unwrap());
    [(Family::V4, v4), (Family::V6, v6)]
        .into_iter()
        .map(|(family, reply)| (Question { name: name(), family }, Answer { reply, server }))
        .collect()
}

fn known(resolution: &Resolution) -> Vec<String> {
    resolution.addresses(&name()).map(|address| address.to_string()).collect()
}

/// What is left of `1.1.1.1, 1.1.1.2, 2001:db8::1` some hours after they were seen, when DNS says this.
#[track_caller]
fn check(v4: Reply, v6: Reply, hours: i64, expected: &[&str]) {
    let first = said(addresses(&["1.1.1.1", "1.1.1.2"]), addresses(&["2001:db8::1"]));
    let (before, _) = update(&Resolution::default(), &first, &moment(0), &rules());
    let (after, _) = update(&before, &said(v4.clone(), v6.clone()), &moment(hours), &rules());
    assert_eq!(known(&after), expected, "{v4:?} and {v6:?} after {hours} h");
}

#[test]
fn what_dns_says_and_what_stays() {
    let all = ["1.1.1.1", "1.1.1.2", "2001:db8::1"];
    let same = || addresses(&["2001:db8::1"]);
    // An answer without the addresses: they linger, then they are removed.
    check(addresses(&["1.1.1.3"]), same(), 24, &["1.1.1.1", "1.1.1.2", "1.1.1.3", "2001:db8::1"]);
    check(addresses(&["1.1.1.3"]), same(), 25, &["1.1.1.3", "2001:db8::1"]);
    check(addresses(&["1.1.1.1"]), same(), 25, &["1.1.1.1", "2001:db8::1"]);
    // One family has no addresses any more: that is an answer.
    check(Reply::NoData, same(), 24, &all);
    check(Reply::NoData, same(), 25, &["2001:db8::1"]);
    // The name has no addresses, or no server answers: nothing is removed before `max-stale`, and then everything is.
    for reply in [
        Reply::NoData,
        Reply::NxDomain,
        Reply::ServFail,
        Reply::Refused,
        Reply::Timeout,
        Reply::Truncated,
        Reply::Loop,
        Reply::Broken("nonsense".to_owned()),
    ] {
        check(reply.clone(), reply.clone(), 7 * 24, &all);
        check(reply.clone(), reply, 7 * 24 + 1, &[]);
    }
    // Half an answer: the half without an answer stays complete.
    for reply in [Reply::ServFail, Reply::Timeout, Reply::NxDomain] {
        check(addresses(&["1.1.1.1"]), reply, 25, &["1.1.1.1", "2001:db8::1"]);
    }
}

#[test]
fn an_answer_that_is_not_believed_removes_nothing() {
    check(addresses(&["10.0.0.1"]), Reply::NoData, 25, &["1.1.1.1", "1.1.1.2", "2001:db8::1"]);
    let many: Vec<String> = (0..9).map(|last| format!("2.2.2.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    check(addresses(&many), Reply::Timeout, 25, &["1.1.1.1", "1.1.1.2", "2001:db8::1"]);
    let (_, summary) = update(&Resolution::default(), &said(addresses(&many), Reply::NoData), &moment(0), &rules());
    assert_eq!(summary[&name()].too_many, Some(9));
    let (_, summary) =
        update(&Resolution::default(), &said(addresses(&["10.0.0.1"]), Reply::NoData), &moment(0), &rules());
    assert_eq!(summary[&name()].refused.len(), 1);
    assert!(!summary[&name()].answered());
}

#[test]
fn a_failure_of_everything_changes_nothing() {
    let (before, _) =
        update(&Resolution::default(), &said(addresses(&["1.1.1.1"]), Reply::NoData), &moment(0), &rules());
    let (after, summary) = update(&before, &said(Reply::Timeout, Reply::ServFail), &moment(100), &rules());
    assert_eq!(before, after);
    assert_eq!(summary[&name()].stale_at, Some(at(7 * 24)));
}

fn random_reply(dice: &mut Dice, family: Family) -> Reply {
    let pool: &[&str] = match family {
        Family::V4 => &["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4", "10.0.0.1", "127.0.0.1"],
        Family::V6 => &["2001:db8::1", "2001:db8::2", "2001:db8::3", "fe80::1", "::ffff:1.1.1.1"],
    };
    match dice.below(12) {
        0..=5 => addresses(&dice.some(pool, 1)),
        6 => Reply::NoData,
        7 => Reply::NxDomain,
        8 => Reply::ServFail,
        9 => Reply::Timeout,
        10 => Reply::Truncated,
        _ => Reply::Broken(String::new()),
    }
}

fn of_family(addresses: impl Iterator<Item = IpAddr>, family: Family) -> BTreeSet<IpAddr> {
    addresses.filter(|address| Family::of(*address) == family).collect()
}

#[test]
fn laws_over_simulated_weeks() {
    let rules = rules();
    for seed in 0..800 {
        let mut dice = Dice::new(seed);
        let mut host = Host::default();
        let mut elapsed = SignedDuration::ZERO;
        let mut resolution = Resolution::default();
        let mut answered: BTreeMap<IpAddr, Timestamp> = BTreeMap::new();
        // The first run with an answer since the host was rebooted or its clock was wrong, which only half of the hosts have.
        let mut right_since = None;
        for _ in 0..100 {
            elapsed += SignedDuration::from_mins(1 + dice.below(600) as i64);
            if seed % 2 == 1 {
                // For one run: a clock that stays wrong is believed in the end.
                host.wrong = match dice.below(10) {
                    _ if host.wrong != Wrong::No => Wrong::No,
                    0 => Wrong::In1970,
                    1 => Wrong::By(YEAR),
                    2 => Wrong::By(14 * YEAR),
                    _ => Wrong::No,
                };
                if dice.below(6) == 0 {
                    host.reboot(elapsed - SignedDuration::from_secs(40));
                    right_since = None;
                }
                if host.wrong != Wrong::No {
                    right_since = None;
                }
            }
            let now = start() + elapsed;
            let moment = host.moment(elapsed);
            let answers = said(random_reply(&mut dice, Family::V4), random_reply(&mut dice, Family::V6));
            let (next, _) = update(&resolution, &answers, &moment, &rules);
            for (question, answer) in &answers {
                if let Reply::Addresses { addresses, .. } = &answer.reply {
                    let good = addresses.iter().filter(|address| rules.trust.distrusts(&name(), **address).is_none());
                    answered.extend(good.map(|address| (*address, now)));
                } else if answer.reply != Reply::NoData {
                    // A failure never shrinks the set before `max-stale`.
                    let (before, after) = (&resolution, &next);
                    let before = of_family(before.addresses(&name()), question.family);
                    let newest = before.iter().filter_map(|address| answered.get(address)).max();
                    if newest.is_some_and(|newest| now.duration_since(*newest) <= SignedDuration::from_hours(7 * 24)) {
                        let after = of_family(after.addresses(&name()), question.family);
                        assert!(after.is_superset(&before), "seed {seed} at {now}: {before:?} became {after:?}");
                    }
                }
            }
            // Where the clock is right, the lockfile's time is the time, at the latest an hour after the first answer.
            let is_recorded = host.wrong == Wrong::No && next.clock != resolution.clock;
            right_since = right_since.or(is_recorded.then_some(elapsed));
            if right_since.is_some_and(|since| elapsed - since > SignedDuration::from_hours(1)) {
                let time = next.time(&moment, rules.linger);
                let error = now.duration_since(time).abs();
                assert!(error <= SignedDuration::from_mins(5), "seed {seed}: {time} in place of {now}");
            }
            // An address that was in an answer within `linger` is never missing, and a refused one is never there.
            let present: BTreeSet<IpAddr> = next.addresses(&name()).collect();
            for (address, last) in &answered {
                if now.duration_since(*last) <= SignedDuration::from_hours(24) {
                    assert!(present.contains(address), "seed {seed} at {now}: {address} is absent");
                }
            }
            assert!(present.iter().all(|address| answered.contains_key(address)), "seed {seed} at {now}: {present:?}");
            // An address that no answer has is removed: a wrong clock delays it by four days at most, since it hides the
            // time that the host was off.
            let delay = if seed % 2 == 1 { 4 } else { 0 };
            for address in &present {
                let age = now.duration_since(answered[address]);
                assert!(
                    age <= SignedDuration::from_hours((1 + 7 + delay) * 24),
                    "seed {seed} at {now}: {address} stays"
                );
            }
            // The order of answers, and of the addresses in them, means nothing.
            let mut shuffled = dice.some(&answers, answers.len());
            for (_, answer) in &mut shuffled {
                if let Reply::Addresses { addresses, .. } = &mut answer.reply {
                    addresses.reverse();
                }
            }
            assert_eq!(update(&resolution, &shuffled, &moment, &rules).0, next);
            resolution = next;
        }
        // The lockfile holds all of it.
        let mut problems = Problems::default();
        let read = Resolution::parse(&Source::new("x.lock.yaml", resolution.yaml()), &mut problems);
        assert_eq!(read.as_ref(), Some(&resolution), "{problems:?}\n{}", resolution.yaml());
        assert_eq!(read.map(|read| read.yaml()), Some(resolution.yaml()));
    }
}

#[test]
fn a_name_gathers_a_bounded_number_of_addresses() {
    let rules = rules();
    let mut resolution = Resolution::default();
    let mut dropped = 0;
    for run in 0..60 {
        let answer: Vec<String> = (0..4).map(|last| format!("2.2.{run}.{last}")).collect();
        let answer: Vec<&str> = answer.iter().map(String::as_str).collect();
        let elapsed = SignedDuration::from_mins(run * 5);
        let answers = said(addresses(&answer), addresses(&["2001:db8::1"]));
        let (next, summary) = update(&resolution, &answers, &Host::default().moment(elapsed), &rules);
        resolution = next;
        dropped += summary[&name()].dropped.len();
        // The newest answers stay, the oldest go; the other family has a bound of its own.
        let newest = (run - 2).max(0)..=run;
        let expected: BTreeSet<IpAddr> = newest
            .flat_map(|run| (0..4).map(move |last| format!("2.2.{run}.{last}")))
            .chain(["2001:db8::1".to_owned()])
            .map(|address| address.parse().unwrap())
            .collect();
        assert_eq!(resolution.addresses(&name()).collect::<BTreeSet<_>>(), expected, "run {run}");
    }
    assert_eq!(dropped, 57 * 4);
}

#[test]
fn the_newest_answer_is_kept_though_it_exceeds_the_bound() {
    let rules = Rules { max_gathered: 2, ..rules() };
    let three = said(addresses(&["1.1.1.1", "1.1.1.2", "1.1.1.3"]), Reply::NoData);
    let (before, _) = update(&Resolution::default(), &three, &moment(0), &rules);
    assert_eq!(known(&before), ["1.1.1.1", "1.1.1.2", "1.1.1.3"]);
    let (after, _) = update(&before, &said(addresses(&["1.1.1.4"]), Reply::NoData), &moment(1), &rules);
    assert_eq!(known(&after), ["1.1.1.1", "1.1.1.4"]);
    // A failure drops none.
    let (after, _) = update(&before, &said(Reply::ServFail, Reply::ServFail), &moment(1), &rules);
    assert_eq!(after, before);
}

/// The site has moved to endpoints inside the VPC, or has given a prefix to its pods: earlier answers are no longer right.
#[test]
fn addresses_that_a_changed_policy_does_not_accept_are_dropped() {
    let (before, _) =
        update(&Resolution::default(), &said(addresses(&["1.1.1.1", "2.2.2.2"]), Reply::NoData), &moment(0), &rules());
    assert_eq!(known(&before), ["1.1.1.1", "2.2.2.2"]);
    let trust = Trust { site: "1.1.1.0/24".parse().unwrap(), ..Trust::default() };
    let rules = Rules { trust, ..rules() };
    for reply in [addresses(&["2.2.2.2", "1.1.1.1"]), Reply::ServFail, Reply::NxDomain, Reply::NoData] {
        let (after, summary) = update(&before, &said(reply.clone(), Reply::NoData), &moment(1), &rules);
        assert_eq!(known(&after), ["2.2.2.2"], "{reply:?}");
        let change = summary.values().next().unwrap();
        assert_eq!(change.refused.get(&"1.1.1.1".parse().unwrap()), Some(&Distrust::Site), "{reply:?}");
    }
}

#[test]
fn a_public_name_has_no_address_in_any_prefix_of_the_policy() {
    let text = r#"version: 1
name: edge
target: edge-host
region: cn-hangzhou
connection: public
cni: flannel
cluster: {kind: ack-edge, version: "1.30", api-server: api.example.com}
networks:
  vpc: [11.1.0.0/16]
  vswitches: [11.1.1.0/24]
  hosts: [11.2.0.0/16, "2001:db8:1::/48"]
  pods: [11.3.0.0/16]
  services: [11.4.0.0/16]
  pod-vswitches: [11.5.0.0/16]
  bgp-peers: [11.6.0.1]
  cloud-services: [11.7.0.0/16]
management: {from: [11.8.0.0/24, 0.0.0.0/0, "::/0"]}
dns: {servers: [11.9.0.1]}
resolve: {allow-private: [mirror.example.com]}
"#;
    let mut problems = Problems::default();
    let policy = edgeward::policy::parse(&Source::new("policy.yaml", text), &mut problems).unwrap();
    let trust = policy.resolution_rules(&edgeward::catalog::Catalog::embedded().unwrap().cloud).trust;
    let why = |name: &str, address: &str| trust.distrusts(&name.parse().unwrap(), address.parse().unwrap());
    let own = [
        "11.1.2.3",
        "11.1.1.1",
        "11.2.3.4",
        "2001:db8:1::7",
        "11.3.0.1",
        "11.4.0.1",
        "11.5.0.1",
        "11.6.0.1",
        "11.8.0.9",
    ];
    for address in own {
        assert_eq!(why("ntp.example.com", address), Some(Distrust::Site), "{address}");
        assert_eq!(why("mirror.example.com", address), None, "{address}");
    }
    // The cloud and public resolvers are others' addresses, and a prefix with everything in it means no site.
    for address in ["11.7.0.1", "11.9.0.1", "11.10.0.1", "203.0.113.7", "2001:db8:2::7"] {
        assert_eq!(why("ntp.example.com", address), None, "{address}");
    }
    assert_eq!((why("api.example.com", "11.2.3.4"), why("api.example.com", "11.3.0.1")), (None, Some(Distrust::Site)));
}
