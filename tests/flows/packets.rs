//! The list in packet space: compiled back from its JSON (prefixes, ports, types), and compared with the packets that
//! `Intent::specification` accepts because of a flow.
//!
//! Compared are new packets that do not go through loopback: at the input and output hooks of a host, and at the forward
//! hook of a gateway. A gateway without conntrack also accepts the reverse of what is tracked elsewhere, unless the
//! segment opens a connection. The conditions of the flows themselves are not used on the side of the list.

use std::collections::BTreeSet;

use edgeward::intent::{Intent, Resolved};
use edgeward::net::{
    CtState, Family, Hook, IcmpTypes, InterfacePattern, Interfaces, Packet, PacketEnd, PortSet, PrefixSet, Transport,
};
use edgeward::site::Target;
use edgeward::space::{Condition, Region, Space};
use serde_json::{Value, json};

use super::support::random::{self, Dice, policy_text};
use super::{CATALOG, Site, all_policies};

/// The addresses of an end.
pub enum Addresses {
    Every,
    Within(PrefixSet),
    Except(PrefixSet),
}

/// Protocol with ports, types, or nothing.
pub enum Word {
    Any,
    Ports(Transport, PortSet),
    Types(Family, IcmpTypes),
    Protocol(u8),
}

/// A row of the list, read from its JSON.
pub struct Row {
    pub flow: String,
    pub is_inbound: bool,
    pub is_forwarded: bool,
    pub local: Addresses,
    pub peers: Addresses,
    pub words: Vec<Word>,
    pub from: Option<Vec<Word>>,
    pub interfaces: Option<Interfaces>,
    pub family: Option<Family>,
    pub is_answered: bool,
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

pub fn set<'a>(prefixes: impl IntoIterator<Item = &'a str>) -> PrefixSet {
    prefixes.into_iter().map(|prefix| prefix.parse::<edgeward::net::Prefix>().unwrap()).collect()
}

fn addresses(end: &Value) -> Addresses {
    match &end.as_array().unwrap()[..] {
        [entry] if entry["any"] == true => Addresses::Except(set(texts(&entry["except"]))),
        entries => Addresses::Within(set(entries.iter().filter_map(|entry| entry["prefix"].as_str()))),
    }
}

pub fn range<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> (T, T) {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    (low.parse().unwrap(), high.parse().unwrap())
}

pub fn word(text: &str) -> Word {
    let types = |family, text: &str| Word::Types(family, IcmpTypes::from_iter([range(text)]));
    match text.split_once(['/', ' ']) {
        Some(("tcp", ports)) => Word::Ports(Transport::Tcp, PortSet::from_iter([range(ports)])),
        Some(("udp", ports)) => Word::Ports(Transport::Udp, PortSet::from_iter([range(ports)])),
        Some(("sctp", ports)) => Word::Ports(Transport::Sctp, PortSet::from_iter([range(ports)])),
        Some(("icmp", kinds)) => types(Family::V4, kinds.split(' ').next_back().unwrap()),
        Some(("icmpv6", kinds)) => types(Family::V6, kinds.split(' ').next_back().unwrap()),
        Some(("protocol", number)) => Word::Protocol(number.parse().unwrap()),
        Some(other) => panic!("{other:?}"),
        None => match text {
            "any" => Word::Any,
            "icmp" => types(Family::V4, "0-255"),
            "icmpv6" => types(Family::V6, "0-255"),
            "ipip" => Word::Protocol(4),
            "gre" => Word::Protocol(47),
            "esp" => Word::Protocol(50),
            "ah" => Word::Protocol(51),
            "vrrp" => Word::Protocol(112),
            other => panic!("{other}"),
        },
    }
}

fn rows(document: &Value) -> Vec<Row> {
    let is_forwarded = document["target"] == "idc-gateway";
    let row = |row: &Value| Row {
        flow: row["flow"].as_str().unwrap().to_owned(),
        is_inbound: row["direction"] == "inbound",
        is_forwarded,
        local: if row["this-host"] == true { Addresses::Every } else { addresses(&row["local"]) },
        peers: addresses(&row["peers"]),
        words: texts(&row["ports"]).into_iter().map(word).collect(),
        from: row["source-ports"].as_array().map(|_| texts(&row["source-ports"]).into_iter().map(word).collect()),
        interfaces: row["interfaces"]
            .as_array()
            .map(|_| texts(&row["interfaces"]).iter().map(|name| name.parse::<InterfacePattern>().unwrap()).collect()),
        family: row["family"].as_str().map(|name| if name == "v4" { Family::V4 } else { Family::V6 }),
        is_answered: document["stateless"] == true && row["tracked"] == true && row["ports"] != json!(["any"]),
    };
    document["flows"].as_array().unwrap().iter().map(row).collect()
}

impl Addresses {
    fn at(&self, end: PacketEnd) -> Condition<'_> {
        match self {
            Addresses::Every => Condition::always(),
            Addresses::Within(set) => Condition::Address(end, set),
            Addresses::Except(set) => !Condition::Address(end, set),
        }
    }
}

impl Word {
    fn at(&self, end: PacketEnd) -> Condition<'_> {
        match self {
            Word::Any => Condition::always(),
            Word::Ports(transport, ports) => Condition::Port(*transport, end, ports.as_slice()),
            Word::Types(family, types) => Condition::Icmp(*family, types),
            Word::Protocol(number) => Condition::Protocol(*number),
        }
    }
}

impl Row {
    /// The packets of the row, or their answers.
    fn packets(&self, answers: bool) -> Condition<'_> {
        use PacketEnd::{Destination, Source};
        let hook = match (self.is_forwarded, self.is_inbound) {
            (true, _) => Hook::Forward,
            (false, true) => Hook::Input,
            (false, false) => Hook::Output,
        };
        let (local, peer) = if self.is_inbound == answers { (Source, Destination) } else { (Destination, Source) };
        let (to, from) = if answers { (Source, Destination) } else { (Destination, Source) };
        let mut all = vec![Condition::Hook(hook), self.local.at(local), self.peers.at(peer), any(&self.words, to)];
        all.extend(self.from.as_ref().map(|words| any(words, from)));
        all.extend(self.interfaces.as_ref().map(|set| Condition::Interface(peer, set.numbers().as_slice())));
        all.extend(self.family.map(Condition::Family));
        if answers {
            all.push(Condition::Any(vec![Condition::NotOpening, !Condition::Protocol(6)]));
        }
        Condition::All(all)
    }

    fn both(&self) -> Condition<'_> {
        Condition::Any([false, true][..=usize::from(self.is_answered)].iter().map(|it| self.packets(*it)).collect())
    }
}

/// The packets that have one of some ports or types at an end.
fn any(words: &[Word], end: PacketEnd) -> Condition<'_> {
    Condition::Any(words.iter().map(|word| word.at(end)).collect())
}

/// A packet that the list and the specification disagree on; both for all flows together, and flow by flow.
fn difference(document: &Value, intent: &Intent<Resolved>) -> Option<(Packet, &'static str)> {
    disagreement(&rows(document), &Condition::always(), intent)
}

/// As [`difference`], for rows of any list that is about some packets only.
pub fn disagreement(rows: &[Row], scope: &Condition<'_>, intent: &Intent<Resolved>) -> Option<(Packet, &'static str)> {
    let listed: Vec<(&str, Condition<'_>)> = rows.iter().map(|row| (row.flow.as_str(), row.both())).collect();
    let specification = intent.specification();
    let loopback = Condition::Any([PacketEnd::Source, PacketEnd::Destination].map(Condition::loopback).into());
    let new = Condition::All(vec![Condition::State(&[CtState::New]), !loopback]);
    let conditions = listed.iter().map(|(_, condition)| condition);
    let space = Space::new(specification.conditions().chain(conditions).chain([&new, scope]));
    let of = |flow: Option<&str>| {
        let chosen = listed.iter().filter(|(id, _)| flow.is_none_or(|flow| flow == *id));
        space
            .union(chosen.map(|(_, condition)| space.region(condition)))
            .and(space.region(&new))
            .and(space.region(scope))
    };
    let (mut undecided, mut accepted): (Region<'_>, Region<'_>) = (space.region(&new), space.none());
    for clause in &specification.clauses {
        let decided = undecided.and(space.region(&clause.condition));
        undecided = undecided.minus(decided);
        if let Some(flow) = clause.disposition.flow {
            if let Some(packet) = decided.minus(of(Some(flow))).witness() {
                return Some((packet, "accepted because of a flow, and not among its rows"));
            }
            accepted = accepted.or(decided);
        }
    }
    let missing = accepted.minus(of(None)).witness().map(|packet| (packet, "accepted, and not listed"));
    missing.or_else(|| of(None).minus(accepted).witness().map(|packet| (packet, "listed, and not accepted")))
}

fn agree(site: &Site, what: &str) {
    // Without an answer for a required name there is no specification.
    let Ok(resolved) = site.intent.bind(&site.resolution) else { return };
    if let Some((packet, how)) = difference(&site.json(), &resolved) {
        panic!("{what}: {packet} is {how}\n{}", site.source.text());
    }
}

#[test]
fn the_repositorys_policies_list_what_their_specification_permits() {
    for path in all_policies() {
        for target in [Target::EdgeHost, Target::IdcGateway] {
            if let Some(site) = Site::read(&path, Some(target)) {
                agree(&site, &format!("{} for {target}", path.display()));
            }
        }
    }
}

#[test]
fn random_policies_list_what_their_specification_permits() {
    let mut kinds = BTreeSet::new();
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let yaml = policy_text(&mut dice).yaml();
        let resolution = random::resolution(&random::intent(&yaml, &CATALOG), &mut dice);
        let site = Site::new("random.yaml", &yaml, resolution, None).unwrap();
        kinds.insert((site.intent.target.word(), site.intent.gateway.as_ref().map(|it| (it.stateless, it.covers))));
        agree(&site, &format!("seed {seed}"));
    }
    assert_eq!(kinds.len(), 5, "edge hosts, and gateways of all four kinds: {kinds:?}");
}

/// What the comparison rests on: each small change of the list is found.
#[test]
fn a_list_that_says_something_else_is_found() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 7] = [
        ("a peer is missing", |list| {
            list["flows"][0]["peers"].as_array_mut().unwrap().pop();
        }),
        ("a port is wider", |list| list["flows"][0]["ports"][0] = json!("tcp/10249-10250")),
        ("a port is missing", |list| {
            list["flows"][0]["ports"].as_array_mut().unwrap().pop();
        }),
        ("it begins on the other side", |list| list["flows"][0]["direction"] = json!("outbound")),
        ("a peer is wider", |list| list["flows"][0]["peers"][0]["prefix"] = json!("192.0.0.0/8")),
        ("a row is missing", |list| {
            list["flows"].as_array_mut().unwrap().remove(2);
        }),
        ("rows are of each other's flow", |list| {
            let first = list["flows"][0]["flow"].take();
            list["flows"][0]["flow"] = list["flows"][1]["flow"].take();
            list["flows"][1]["flow"] = first;
        }),
    ];
    for path in ["policies/express-connect-flannel.yaml", "policies/idc-gateway-fine.yaml"] {
        let site = Site::read(path.as_ref(), None).unwrap();
        let resolved = site.intent.bind(&site.resolution).unwrap();
        assert_eq!(difference(&site.json(), &resolved), None);
        for (what, change) in changes {
            let mut list = site.json();
            change(&mut list);
            assert!(difference(&list, &resolved).is_some(), "{path}: {what}");
        }
    }
}
