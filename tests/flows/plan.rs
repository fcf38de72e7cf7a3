//! What a plan lists after "all is denied but:", compiled back to packets and compared with `Intent::specification`: no
//! line says more or less than is open. The lines are read as a reader does, with the addresses of the lockfile for names.

use std::collections::BTreeSet;
use std::net::IpAddr;

use edgeward::net::{Family, InterfacePattern, PacketEnd, PortSet, PrefixSet, Transport};
use edgeward::report::{Length, brief};
use edgeward::resolution::Resolution;
use edgeward::site::Target;
use edgeward::space::Condition;

use super::packets::{Addresses, Row, Word, disagreement, range, set, word};
use super::support::random::{self, Dice, policy_text};
use super::{CATALOG, Site, all_policies};

/// The columns of a line: direction, flow, ports, ends.
fn columns(line: &str) -> [&str; 4] {
    let found: Vec<&str> = line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
    found.try_into().unwrap_or_else(|found| panic!("{line:?}: {found:?}"))
}

/// The ends of a line: where packets come from, and where they go.
fn ends(text: &str) -> [Option<&str>; 2] {
    match text.strip_prefix("from ") {
        None => [None, Some(text.strip_prefix("to ").unwrap())],
        Some(from) => match from.split_once(" to ") {
            Some((from, to)) => [Some(from), Some(to)],
            None => [Some(from), None],
        },
    }
}

/// The addresses of an end; the host itself is not named.
fn addresses(end: Option<&str>, resolution: &Resolution) -> Addresses {
    let Some(end) = end else { return Addresses::Every };
    if end == "any address" {
        return Addresses::Every;
    }
    if let Some(except) = end.strip_prefix("any address but ") {
        return Addresses::Except(set(except.split(", ")));
    }
    let sets = end.split(", ").map(|word| match word.strip_suffix(" (no address)") {
        Some(_) => PrefixSet::default(),
        None if word.starts_with(|c: char| c.is_ascii_digit())
            && word.contains('.')
            && !word.ends_with(char::is_alphabetic) =>
        {
            set([word])
        }
        None if word.contains(':') => set([word]),
        None => resolution.addresses(&word.parse().unwrap()).collect(),
    });
    let sets: Vec<PrefixSet> = sets.collect();
    Addresses::Within(PrefixSet::union_of(sets.iter()))
}

/// A line of a plan, as it is read.
fn row(line: &str, site: &Site) -> Row {
    let gateway = site.intent.gateway.as_ref();
    let [direction, flow, traffic, between] = columns(line);
    let [from, to] = ends(between).map(|end| addresses(end, &site.resolution));
    let is_inbound = direction == "inbound";
    let (local, peers) = if is_inbound { (to, from) } else { (from, to) };
    let (traffic, is_answered) = match traffic.strip_suffix(" no replies") {
        Some(traffic) => (traffic, false),
        None => (traffic, true),
    };
    let family = Family::BOTH.into_iter().find(|family| traffic.ends_with(&format!(" IP{}", family.name())));
    let traffic = family.map_or(traffic, |family| traffic.strip_suffix(&format!(" IP{}", family.name())).unwrap());
    let (traffic, interfaces) = traffic.split_once(" through ").map_or((traffic, None), |(rest, names)| {
        let names = names.split(", ").map(|name| name.parse::<InterfacePattern>().unwrap());
        (rest, Some(names.collect()))
    });
    let (traffic, from) = traffic.split_once(" sport ").map_or((traffic, None), |(rest, from)| (rest, Some(from)));
    let ports = |list: &str| list.split(',').map(range).collect::<PortSet>();
    let from = from.map(|list| Transport::ALL.map(|one| Word::Ports(one, ports(list))).into());
    let words: Vec<Word> = traffic
        .split(' ')
        .flat_map(|one| match one.split_once('/') {
            Some((protocol, list)) => list.split(',').map(|value| word(&format!("{protocol}/{value}"))).collect(),
            None => vec![word(one)],
        })
        .collect();
    Row {
        flow: flow.to_owned(),
        is_inbound,
        is_forwarded: gateway.is_some(),
        local,
        peers,
        is_answered: is_answered
            && gateway.is_some_and(|gateway| gateway.stateless)
            && !matches!(words[..], [Word::Any]),
        words,
        from,
        interfaces,
        family,
    }
}

fn agree(site: &Site, what: &str) {
    // Without an answer for a required name there is no plan.
    let Ok(resolved) = site.intent.bind(&site.resolution) else { return };
    let lines = brief(&site.intent, &site.resolution, Length::Whole);
    let rows: Vec<Row> = lines.iter().map(|line| row(line, site)).collect();
    // "All between the data centre and other addresses": other packets are none of the plan's.
    let covered: Option<Vec<&PrefixSet>> =
        resolved.gateway.as_ref().filter(|gateway| !gateway.covers_everything()).map(|gateway| {
            [Some(&gateway.covered.fixed), gateway.covered.named.as_ref()].into_iter().flatten().collect()
        });
    let at =
        |end: PacketEnd| Condition::Any(covered.iter().flatten().map(|set| Condition::Address(end, set)).collect());
    let (from, to) = (at(PacketEnd::Source), at(PacketEnd::Destination));
    let scope = match &covered {
        None => Condition::always(),
        Some(_) => Condition::All(vec![
            Condition::Any(vec![from.clone(), to.clone()]),
            !Condition::All(vec![from.clone(), to.clone()]),
        ]),
    };
    if let Some((packet, how)) = disagreement(&rows, &scope, &resolved) {
        panic!("{what}: {packet} is {how}\n{}\n{}", lines.join("\n"), site.source.text());
    }
    for (line, whole) in brief(&site.intent, &site.resolution, Length::Line).iter().zip(&lines) {
        is_cut_from(line, whole);
    }
}

/// Asserts that a line of a plan is the beginning of a whole one, and counts what it leaves out.
fn is_cut_from(line: &str, whole: &str) {
    // Names are cut until a line fits. Prefixes never are: a plan breaks such a line.
    let is_prefix = |word: &str| word.split(['/', ',']).next().is_some_and(|word| word.parse::<IpAddr>().is_ok());
    let is_cut = line.contains('…') && !columns(line)[3].split(' ').any(is_prefix);
    assert!(line.chars().count() <= 98 || !is_cut, "{line}");
    let ([direction, flow, ports, short], [whole_direction, whole_flow, whole_ports, long]) =
        (columns(line), columns(whole));
    assert_eq!(direction, whole_direction);
    assert!(is_clipped(flow, whole_flow), "{flow}, {whole_flow}");
    for (words, all) in ports.split(' ').zip(whole_ports.split(' ')).take_while(|(words, _)| *words != "and") {
        let shown = words.split_once(" and ").map_or(words, |(shown, _)| shown);
        assert!(all.starts_with(shown), "{ports:?} of {whole_ports:?}");
    }
    for (short, long) in ends(short).into_iter().zip(ends(long)) {
        let (Some(short), Some(long)) = (short, long) else {
            assert_eq!(short, long);
            continue;
        };
        let (shown, more) = match short.strip_suffix(" more").and_then(|short| short.rsplit_once(" and ")) {
            Some((shown, more)) => (shown, more.parse().unwrap()),
            None => (short, 0),
        };
        let (shown, all): (Vec<&str>, Vec<&str>) = (shown.split(", ").collect(), long.split(", ").collect());
        assert_eq!(shown.len() + more, all.len(), "{line}\n{whole}");
        assert!(shown.iter().zip(all).all(|(shown, whole)| is_clipped(shown, whole)), "{line}\n{whole}");
    }
}

/// Whether a word is another, perhaps without its middle.
fn is_clipped(shown: &str, whole: &str) -> bool {
    match shown.split_once('…') {
        Some((head, tail)) => whole.starts_with(head) && whole.ends_with(tail),
        None => shown == whole,
    }
}

#[test]
fn plans_say_what_the_specification_permits() {
    let mut read = 0;
    for path in all_policies() {
        for target in [Target::EdgeHost, Target::IdcGateway] {
            if let Some(site) = Site::read(&path, Some(target)) {
                agree(&site, &format!("{} for {target}", path.display()));
                read += 1;
            }
        }
    }
    assert!(read > 40, "{read}");
}

#[test]
fn plans_of_random_policies_say_what_the_specification_permits() {
    let mut kinds = BTreeSet::new();
    for seed in 1000..1200 {
        let mut dice = Dice::new(seed);
        let yaml = policy_text(&mut dice).yaml();
        let resolution = random::resolution(&random::intent(&yaml, &CATALOG), &mut dice);
        let site = Site::new("random.yaml", &yaml, resolution, None).unwrap();
        kinds.insert((site.intent.target.word(), site.intent.gateway.as_ref().map(|it| (it.stateless, it.covers))));
        agree(&site, &format!("seed {seed}"));
    }
    assert_eq!(kinds.len(), 5, "{kinds:?}");
}

/// What the comparison rests on: a line that says something else is found.
#[test]
fn a_line_that_says_something_else_is_found() {
    let site = Site::read("policies/express-connect-flannel.yaml".as_ref(), None).unwrap();
    let resolved = site.intent.bind(&site.resolution).unwrap();
    let lines = brief(&site.intent, &site.resolution, Length::Whole);
    let found = |lines: &[String]| {
        let rows: Vec<Row> = lines.iter().map(|line| row(line, &site)).collect();
        disagreement(&rows, &Condition::always(), &resolved)
    };
    assert_eq!(found(&lines), None);
    for (from, to) in [
        ("10250", "10251"),
        ("inbound   ssh", "outbound  ssh"),
        ("to fe80::/10", "to fe80::/9"),
        (" sport 67", ""),
        (" IPv4", ""),
        ("8,11-12", "8,11-13"),
        ("to ntp1.aliyun.com, ", "to "),
    ] {
        let text = lines.join("\n");
        assert!(text.contains(from), "{from}");
        let changed: Vec<String> = text.replace(from, to).lines().map(str::to_owned).collect();
        assert!(found(&changed).is_some(), "{from} {to}");
    }
}
