//! For every region, connection, CNI, cluster version and phase of the catalog's documents: the compiled ruleset
//! accepts exactly the flows that it should.
//!
//! `matrix/model.rs` says a second time what a site permits, as docs/policy.md has it. Packets are chosen at every edge
//! of every flow and just outside of it, and model and ruleset must agree on each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test says so by panicking

#[path = "support/facts.rs"]
mod facts;
#[path = "matrix/model.rs"]
mod model;
#[path = "matrix/regions.rs"]
mod regions;
#[path = "matrix/siblings.rs"]
mod siblings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use edgeward::catalog::Catalog;
use edgeward::diag::{Code, Diagnostic, Problems, Severity};
use edgeward::lower::lower;
use edgeward::net::{CtState, Hook, Interface, Packet, Payload, Verdict};
use edgeward::policy;
use edgeward::resolution::Resolution;
use edgeward::ruleset::{Action, Label, Match, Ruleset};
use edgeward::site::{ClusterKind, Connection};
use edgeward::source::Source;

use model::{Flow, Model, Range, Site, Traffic, ranges};
use regions::{region, regions};

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::embedded().unwrap());

/// A host of the site, one of its pods, and an address that no policy names.
const HOST: &str = "10.1.2.3 2001:db8:a::23";
const POD: &str = "172.20.5.6 2001:db8:b::56";
const STRANGER: &str = "8.8.8.8 2001:4860:4860::8888";
const LINK_LOCAL: &str = "169.254.7.8 fe80::78";

const STATES: [CtState; 5] =
    [CtState::New, CtState::Established, CtState::Related, CtState::Invalid, CtState::Untracked];
const REGISTERED: [&str; 5] = ["flannel-vxlan", "calico-ipip", "cilium-vxlan", "calico-bgp", "cilium-bgp"];

/// Compiles a site's policy with the given answers of DNS; the errors where it does not compile.
fn compile(site: &Site, names: &BTreeMap<String, ([IpAddr; 2], bool)>) -> Result<Ruleset, Vec<Diagnostic>> {
    let mut problems = Problems::default();
    let policy = policy::parse(&Source::new("policy.yaml", site.policy()), &mut problems);
    let intent = policy.and_then(|policy| policy::check(&policy, &CATALOG, None, &mut problems));
    let Some(intent) = intent else {
        let mut found = problems.into_sorted();
        found.retain(|diagnostic| diagnostic.code.severity() == Severity::Error);
        return Err(found);
    };
    let seen: BTreeMap<String, bool> =
        intent.names().into_iter().map(|(name, optional)| (name.to_string(), optional)).collect();
    let expected: BTreeMap<String, bool> =
        names.iter().map(|(name, (_, optional))| (name.clone(), *optional)).collect();
    assert_eq!(seen, expected, "the names to resolve, and whether each is optional\n{}", site.policy());

    let mut lock = "version: 1\nnames:\n".to_owned();
    for (name, (addresses, _)) in names {
        writeln!(lock, "- name: {name}\n  addresses:").unwrap();
        for address in addresses {
            let time = "2026-11-20T08:00:00Z";
            writeln!(lock, "  - {{address: \"{address}\", first-seen: {time}, last-seen: {time}, ttl: 60}}").unwrap();
        }
    }
    let lock = if names.is_empty() { "version: 1\nnames: []\n" } else { &lock };
    let resolution = Resolution::parse(&Source::new("policy.lock.yaml", lock), &mut problems).unwrap();
    Ok(lower(&intent.bind(&resolution).unwrap()))
}

/// The address `steps` behind another one.
fn behind(address: IpAddr, steps: i8) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(address.to_bits().wrapping_add_signed(steps.into())).into(),
        IpAddr::V6(address) => Ipv6Addr::from(address.to_bits().wrapping_add_signed(steps.into())).into(),
    }
}

/// The first and last address of each range, and their neighbours outside.
fn edges(ranges: &[Range]) -> impl Iterator<Item = IpAddr> {
    ranges.iter().flat_map(|&(first, last)| [behind(first, -1), first, last, behind(last, 1)])
}

/// The address of `word` (one v4, one v6) that has the family of another address.
fn like(word: &str, other: IpAddr) -> IpAddr {
    ranges(word).into_iter().map(|(first, _)| first).find(|first| first.is_ipv4() == other.is_ipv4()).unwrap()
}

fn tcp(dport: u16) -> Payload {
    Payload::Tcp { sport: 40_000, dport, opens: true }
}

fn udp(dport: u16) -> Payload {
    Payload::Udp { sport: 40_000, dport }
}

/// What a flow consists of, the same port of the other protocol, then its other edges and what is just outside.
fn payloads(traffic: Traffic) -> Vec<Payload> {
    let around = |low: u16, high: u16, own: fn(u16) -> Payload, other: fn(u16) -> Payload| {
        let mut found = vec![own(low), other(low), own(low - 1), own(high + 1)];
        found.extend((low < high).then(|| own(high)));
        found
    };
    match traffic {
        Traffic::Tcp(low, high) => around(low, high, tcp, udp),
        Traffic::Udp(low, high) => around(low, high, udp, tcp),
        Traffic::Protocol(number) => vec![Payload::Other(number), Payload::Other(number + 1), tcp(number.into())],
        Traffic::Any => vec![tcp(1), udp(65_535), Payload::Other(132), Payload::Icmp { kind: 17 }],
    }
}

/// A packet of two ends as it goes out of the site, and the opposite one.
fn both_ways(site: &Site, local: IpAddr, peer: IpAddr, payload: Payload) -> [Packet; 2] {
    let out = if site.gateway { Hook::Forward } else { Hook::Output };
    let inward = if site.gateway { Hook::Forward } else { Hook::Input };
    let packet = |hook, source, destination| {
        let state = CtState::New;
        Packet { hook, interface: Interface::default(), source, destination, payload, state }
    };
    [packet(out, local, peer), packet(inward, peer, local)]
}

/// Turns a packet into its reply: ports and addresses swapped. TCP answers with ACK; one that `opens` only pretends.
fn reply(packet: Packet, opens: bool) -> Packet {
    let payload = match packet.payload {
        Payload::Tcp { sport, dport, .. } => Payload::Tcp { sport: dport, dport: sport, opens },
        Payload::Udp { sport, dport } => Payload::Udp { sport: dport, dport: sport },
        other => other,
    };
    let hook = match packet.hook {
        Hook::Input => Hook::Output,
        Hook::Output => Hook::Input,
        other => other,
    };
    Packet { hook, source: packet.destination, destination: packet.source, payload, ..packet }
}

/// The first and the last peer of a flow in each family: one of them is outside of the site.
fn outermost(flow: &Flow) -> Vec<IpAddr> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = flow.peers.iter().map(|range| range.0).partition(IpAddr::is_ipv4);
    [v4.first(), v4.last(), v6.first(), v6.last()].into_iter().flatten().copied().collect()
}

/// The packets at every edge of one flow.
fn around(site: &Site, flow: &Flow) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut add = |local: IpAddr, peer: IpAddr| {
        if local.is_ipv4() == peer.is_ipv4() {
            packets
                .extend(payloads(flow.traffic).into_iter().flat_map(|payload| both_ways(site, local, peer, payload)));
        }
    };
    let inside = |peer| {
        let host = like(HOST, peer);
        let own = flow.local.iter().find(|range| range.0.is_ipv4() == peer.is_ipv4());
        if model::within(&flow.local, host) { host } else { own.map_or(host, |range| range.0) }
    };
    edges(&flow.peers).for_each(|peer| add(inside(peer), peer));
    let whole = ranges("0.0.0.0/0 ::/0");
    for local in edges(&flow.local).filter(|_| flow.local != whole) {
        outermost(flow).into_iter().for_each(|peer| add(local, peer));
    }
    packets
}

/// What no flow with ports consists of: ICMP of all sorts, other protocols, DHCP and what looks like it.
fn without_flows() -> Vec<Payload> {
    let mut found: Vec<Payload> = (0..=18).chain(126..=145).map(|kind| Payload::Icmp { kind }).collect();
    found.extend([2, 4, 41, 47, 50, 89, 112, 132, 255].map(Payload::Other));
    for (sport, dport) in [(67, 68), (68, 67), (546, 547), (547, 546)] {
        found.extend([Payload::Udp { sport, dport }, Payload::Udp { sport, dport: dport + 2 }]);
        found.push(Payload::Tcp { sport, dport, opens: true });
    }
    found
}

/// Every address of interest with every payload of interest, and the smaller products with conntrack states, hooks,
/// other local ends, replies and what pretends to be a reply.
fn everything(model: &Model) -> Vec<Packet> {
    let (site, flows) = (&model.site, &model.flows);
    let singles = format!("{STRANGER} {POD} fe80::1 ff02::1:2 ff02::1:3 255.255.255.255 100.96.0.1");
    let singles: Vec<IpAddr> = ranges(&singles).into_iter().map(|range| range.0).collect();
    let of_flows = flows.iter().flat_map(|flow| edges(&flow.peers).chain(edges(&flow.local)));
    let addresses: BTreeSet<IpAddr> = of_flows.chain(edges(&model.idc)).chain(singles.iter().copied()).collect();
    let payloads: Vec<Vec<Payload>> = flows.iter().map(|flow| payloads(flow.traffic)).collect();
    let ported: BTreeSet<Payload> = payloads.iter().flatten().copied().collect();
    let fewer: BTreeSet<Payload> = payloads.iter().flat_map(|all| &all[..2]).copied().chain(without_flows()).collect();

    let mut packets = edges_of_flows(model);
    packets.extend(packets.clone().into_iter().flat_map(|packet| [reply(packet, false), reply(packet, true)]));
    for (&peer, &payload) in addresses.iter().flat_map(|peer| ported.iter().map(move |payload| (peer, payload))) {
        packets.extend(both_ways(site, like(HOST, peer), peer, payload));
    }
    let some: BTreeSet<IpAddr> = flows.iter().flat_map(outermost).chain(singles).collect();
    for (&peer, &payload) in some.iter().flat_map(|peer| fewer.iter().map(move |payload| (peer, payload))) {
        for local in [HOST, POD, STRANGER, LINK_LOCAL].map(|word| like(word, peer)) {
            let begun = both_ways(site, local, peer, payload);
            packets.extend(begun.iter().flat_map(|&packet| [packet, reply(packet, false), reply(packet, true)]));
            packets.extend(begun.map(|packet| Packet { state: CtState::Established, ..packet }));
        }
        let begun = both_ways(site, like(HOST, peer), peer, payload);
        for packet in begun.into_iter().flat_map(|packet| [packet, reply(packet, false)]) {
            packets.extend(STATES.map(|state| Packet { state, ..packet }));
            let through = if site.gateway { Interface::default() } else { Interface::LOOPBACK };
            packets.push(Packet { interface: through, state: CtState::Invalid, ..packet });
            packets.extend([Hook::Input, Hook::Output, Hook::Forward].map(|hook| Packet { hook, ..packet }));
        }
    }
    packets
}

/// The edges of the ruleset's sets and ports that are no edges of the model's flows. Without any, the packets at the
/// edges of the flows stand for all packets.
fn strange_edges(model: &Model, ruleset: &Ruleset) -> Vec<String> {
    let zones = model.flows.iter().flat_map(|flow| flow.local.iter().chain(&flow.peers)).chain(&model.idc);
    let zones: Vec<Range> = zones.copied().chain(ranges("fe80::/10 ff02::1:2")).collect();
    let limits = |edge: fn(&Range) -> IpAddr| zones.iter().map(edge).collect::<BTreeSet<IpAddr>>();
    let (starts, ends) = (limits(|zone| zone.0), limits(|zone| zone.1));
    let elements = ruleset.sets.iter().flat_map(|(name, set)| set.elements.ranges().map(move |range| (name, range)));
    let mut strange: Vec<String> = elements
        .filter(|(_, (first, last))| !starts.contains(first) || !ends.contains(last))
        .map(|(name, range)| format!("set {name} holds {range:?}, which no flow of the model has"))
        .collect();

    let known: Vec<(u16, u16)> = model.flows.iter().filter_map(|flow| flow.traffic.ports()).collect();
    let known = known.into_iter().chain([67, 68, 546, 547].map(|port| (port, port))).collect::<BTreeSet<_>>();
    let cut = |port: u16| known.iter().any(|&(low, high)| port == low || port == high + 1);
    for rule in ruleset.chains.iter().flat_map(|chain| &chain.rules) {
        let dispatched = match &rule.action {
            Action::ByPort { chains, .. } => chains.iter().map(|(range, _)| *range).collect(),
            _ => Vec::new(),
        };
        let matched = rule.matches.iter().flat_map(|condition| match condition {
            Match::Port(_, _, ports) => ports.iter().collect(),
            _ => Vec::new(),
        });
        let odd = matched.chain(dispatched).filter(|&(low, high)| !cut(low) || !cut(high + 1));
        strange.extend(odd.map(|range| format!("ports {range:?} of {:?}, which no flow of the model has", rule.label)));
    }
    strange
}

/// Compiles a site and compares every packet; what differs is added to `wrong`.
fn hold(site: Site, choose: impl Fn(&Model) -> Vec<Packet>, wrong: &mut Vec<String>) {
    let model = Model::new(site);
    let ruleset = match compile(&site, &model.names) {
        Ok(ruleset) => ruleset,
        Err(errors) => return wrong.push(format!("does not compile: {errors:#?}\n{}", site.policy())),
    };
    let mut differences = strange_edges(&model, &ruleset);
    for packet in choose(&model) {
        let expected = model.expect(&packet);
        let trace = ruleset.trace(&packet, |_, _| ());
        let credited = trace.rule.and_then(|rule| rule.label.as_ref()).map(Label::comment);
        let seen = trace.disposition.verdict;
        // What denies is a counted rule, not the policy of the chain.
        let counted = seen == Verdict::Accept || trace.rule.is_some_and(|rule| rule.counter.is_some());
        if !expected.met_by(seen, credited) || !counted {
            differences.push(format!("{packet:?}\n  expected {expected:?}, seen {seen:?} by {credited:?}"));
        }
    }
    if !differences.is_empty() {
        let shown = differences.iter().take(4).cloned().collect::<Vec<_>>().join("\n");
        wrong.push(format!("{} differences\n{shown}\n{}", differences.len(), site.policy()));
    }
}

#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} sites differ; the first:\n{}", wrong.len(), wrong[..wrong.len().min(3)].join("\n"));
}

/// The combinations of target and scope.
fn targets(site: Site) -> Vec<Site> {
    let gateway = Site { gateway: true, ..site };
    let broad = Site { broad: true, ..gateway };
    if site.public { vec![site, gateway] } else { vec![site, gateway, broad] }
}

/// The combinations of version and phase.
fn times(site: Site) -> Vec<Site> {
    let times = [("1.24", false), ("1.24", true), ("1.30", false), ("1.30", true)];
    times.map(|(version, install)| Site { version, install, narrow: version == "1.30", ..site }).to_vec()
}

fn edges_of_flows(model: &Model) -> Vec<Packet> {
    model.flows.iter().flat_map(|flow| around(&model.site, flow)).collect()
}

/// Whether the sources have what the site needs of its region.
fn complete(site: &Site) -> bool {
    let region = site.region;
    match site.public {
        true => !site.install || !region.public.is_empty(),
        false => ![region.registry, region.oss, region.internal].iter().any(|words| words.is_empty()),
    }
}

fn every_region(public: bool, cni: &'static str) {
    let mut wrong = Vec::new();
    let sites = regions().into_iter().map(|region| Site { public, cni, ..Site::new(region) });
    for site in sites.flat_map(times).filter(complete).flat_map(targets) {
        hold(site, edges_of_flows, &mut wrong);
    }
    none(&wrong);
}

#[test]
fn every_region_over_express_connect_with_flannel() {
    every_region(false, "flannel");
}

#[test]
fn every_region_over_express_connect_with_terway_edge() {
    every_region(false, "terway-edge");
}

#[test]
fn every_region_over_the_public_network() {
    every_region(true, "flannel");
}

/// A registered cluster without endpoints of its agent uses nothing of its region.
#[test]
fn every_region_with_a_registered_cluster() {
    let mut wrong = Vec::new();
    for (index, region) in regions().into_iter().enumerate() {
        let cni = REGISTERED[index % REGISTERED.len()];
        let site = Site { registered: true, cni, ..Site::new(region) };
        times(site).into_iter().flat_map(targets).for_each(|site| hold(site, edges_of_flows, &mut wrong));
    }
    none(&wrong);
}

/// All addresses of interest with all payloads, states and hooks, for one connection, CNI and their variants.
fn every_packet(registered: bool, public: bool, cni: &'static str) {
    let mut wrong = Vec::new();
    let site = Site { registered, public, cni, ..Site::new(region("cn-zhangjiakou")) };
    for (version, narrow) in [("1.24", true), ("1.30", false)] {
        let site = Site { version, narrow, install: !narrow, agent: registered && narrow, ..site };
        let gateway = Site { gateway: true, everything: true, ..site };
        let stateless = Site { stateless: true, broad: !narrow && !public, ..gateway };
        let mut sites = targets(site);
        sites.extend([gateway, stateless]);
        sites.extend(narrow.then_some(Site { everything: false, ..stateless }));
        sites.into_iter().for_each(|site| hold(site, everything, &mut wrong));
    }
    let audit = targets(Site { audit: true, ..site });
    audit.into_iter().for_each(|site| hold(site, everything, &mut wrong));
    hold(Site { own_ntp: true, ..site }, edges_of_flows, &mut wrong);
    none(&wrong);
}

#[test]
fn every_packet_over_express_connect_with_flannel() {
    every_packet(false, false, "flannel");
}

#[test]
fn every_packet_over_express_connect_with_terway_edge() {
    every_packet(false, false, "terway-edge");
}

#[test]
fn every_packet_over_the_public_network() {
    every_packet(false, true, "flannel");
}

#[test]
fn every_packet_of_registered_clusters_with_tunnels() {
    REGISTERED[..3].iter().for_each(|cni| every_packet(true, false, cni));
}

#[test]
fn every_packet_of_registered_clusters_with_bgp() {
    REGISTERED[3..].iter().for_each(|cni| every_packet(true, false, cni));
}

/// Port 80 ends with 1.26, and versions are numbers with suffixes, not text.
#[test]
fn the_ports_change_with_version_1_26() {
    let mut wrong = Vec::new();
    for version in ["1.9", "1.25.16-aliyun.1", "1.26", "1.26.3-aliyun.1", "1.100"] {
        for public in [false, true] {
            let site = Site { version, public, install: true, ..Site::new(region("cn-beijing")) };
            hold(site, edges_of_flows, &mut wrong);
        }
    }
    none(&wrong);
}

/// The finance regions have a second OSS network, which the policy may choose.
#[test]
fn finance_regions_may_use_the_public_oss_network() {
    let finance = regions::Region {
        oss: "100.100.36.24 100.100.36.8",
        internal: "oss-cn-shanghai-finance-1-pub-internal",
        ..region("cn-shanghai-finance-1")
    };
    let mut wrong = Vec::new();
    hold(Site { overrides: "oss-network: public", ..Site::new(finance) }, edges_of_flows, &mut wrong);
    none(&wrong);
}

/// With registry and OSS at endpoints inside the VPC, no prefix of the catalog is open.
#[test]
fn private_link_opens_names_inside_the_vpc_and_no_prefixes() {
    let mut wrong = Vec::new();
    let full = region("cn-hangzhou");
    let bare = regions::Region { registry: "", oss: "", ..full };
    let prefixes = ranges(&format!("{} {}", full.registry, full.oss));
    assert!(prefixes.len() > 4);
    let site = Site { private_link: true, ..Site::new(bare) };
    let mut sites = targets(site);
    sites.extend(targets(Site { cni: "terway-edge", narrow: true, ..site }));
    sites.push(Site { registered: true, agent: true, cni: "cilium-vxlan", ..site });
    // What no document has of a region is not needed either.
    sites.push(Site { region: regions::Region { oss: "", ..region("cn-nanjing") }, ..site });
    for site in sites {
        let choose = |model: &Model| {
            let mut packets = edges_of_flows(model);
            for (peer, payload) in edges(&prefixes).flat_map(|peer| [443, 80].map(|port| (peer, tcp(port)))) {
                packets.extend(both_ways(&model.site, like(HOST, peer), peer, payload));
            }
            packets
        };
        hold(site, choose, &mut wrong);
    }
    none(&wrong);
}

/// A name without an answer fails the compile, but for the one that does not exist in all regions.
#[test]
fn only_one_name_may_be_unresolved() {
    let site = Site::new(region("cn-hangzhou"));
    let model = Model::new(site);
    for missing in model.names.keys() {
        let mut problems = Problems::default();
        let policy = policy::parse(&Source::new("policy.yaml", site.policy()), &mut problems).unwrap();
        let intent = policy::check(&policy, &CATALOG, None, &mut problems).unwrap();
        let lock: String = model.names.iter().filter(|(name, _)| *name != missing).fold(
            "version: 1\nnames:\n".to_owned(),
            |lock, (name, ([address, _], _))| {
                let time = "2026-11-20T08:00:00Z";
                lock + &format!(
                    "- name: {name}\n  addresses: [{{address: {address}, first-seen: {time}, last-seen: {time}}}]\n"
                )
            },
        );
        let resolution = Resolution::parse(&Source::new("policy.lock.yaml", &lock), &mut problems).unwrap();
        let optional = missing.starts_with("dockerauth-ee-vpc.");
        assert_eq!(intent.bind(&resolution).is_ok(), optional, "{missing} without an answer");
    }
}

/// A region with half its data missing says which half and how to supply it; supplied, it is a region like any other.
#[test]
fn regions_known_by_half() {
    const REGISTRY: &str = "registry: [203.0.113.64/28, \"2001:db8:64::/64\"]";
    const OSS: &str = "oss: [203.0.113.128/26], oss-endpoint: oss.example.net.aliyuncs.com";
    let mut wrong = Vec::new();
    let mut lacking = BTreeSet::new();
    let sites = regions().into_iter().flat_map(|region| {
        let site = Site::new(region);
        [site, Site { cni: "terway-edge", ..site }, Site { public: true, ..site }]
    });
    for site in sites.flat_map(times).filter(|site| !complete(site)).flat_map(targets) {
        let (mut region, public) = (site.region, site.public);
        lacking.insert((region.id, public));
        let mut supplied = Vec::new();
        let mut halves = Vec::new();
        if public {
            region.public = "oss.example.net";
            supplied.push("oss-endpoint: oss.example.net.aliyuncs.com");
            halves.push(("OSS", vec!["oss-endpoint"]));
        } else if region.oss.is_empty() {
            (region.oss, region.internal) = ("203.0.113.128/26", "oss.example.net");
            supplied.push(OSS);
            halves.push(("OSS", vec!["overrides.oss", "oss-endpoint"]));
        } else if region.internal.is_empty() {
            region.internal = "oss.example.net";
            supplied.push("oss-endpoint: oss.example.net.aliyuncs.com");
            halves.push(("OSS", vec!["oss-endpoint"]));
        }
        if !public && region.registry.is_empty() {
            region.registry = "203.0.113.64/28 2001:db8:64::/64";
            supplied.push(REGISTRY);
            halves.push(("registry", vec!["overrides.registry"]));
        }
        let errors = compile(&site, &BTreeMap::new()).map(|_| ()).expect_err("half of the data is missing");
        assert!(errors.iter().all(|error| error.code == Code::RegionDataMissing), "{} {errors:#?}", site.policy());
        for (half, fields) in halves {
            let messages: String = errors.iter().map(|error| error.message.as_str()).collect();
            let help: String = errors.iter().filter_map(|error| error.help.as_deref()).collect();
            let named = fields.iter().all(|field| help.contains(field)) && help.contains("overrides");
            assert!(messages.contains(half) && named, "{half} of {}: {errors:#?}", region.id);
        }
        let overrides: &'static str = supplied.join(", ").leak();
        hold(Site { region, overrides, ..site }, edges_of_flows, &mut wrong);
    }
    none(&wrong);
    let over = |public| lacking.iter().filter(|row| row.1 == public).map(|row| row.0).collect::<BTreeSet<_>>();
    let registry = ["cn-nanjing", "cn-wuhan-lr", "cn-zhongwei", "na-south-1", "me-east-1"];
    let new = ["ap-southeast-8", "eu-west-2"];
    let finance = ["cn-hangzhou-finance", "cn-shenzhen-finance-1", "cn-beijing-finance-1"];
    assert_eq!(over(false), registry.into_iter().chain(finance).chain(new).chain(["cn-zhengzhou-jva"]).collect());
    assert_eq!(over(true), new.into_iter().chain(["cn-zhengzhou-jva"]).collect());
}

/// CNIs, connections and scopes that do not exist are errors.
#[test]
fn what_is_not_offered() {
    let edge = Site::new(region("cn-hangzhou"));
    let registered = Site { registered: true, cni: "calico-ipip", ..edge };
    let mut cases = vec![
        (Site { cni: "terway-edge", public: true, ..edge }, Code::CniNotOffered),
        (Site { broad: true, ..edge }, Code::ScopeNotOffered),
        (Site { broad: true, gateway: true, public: true, ..edge }, Code::ScopeNotOffered),
        (Site { public: true, ..registered }, Code::ConnectionNotOffered),
    ];
    cases.extend(REGISTERED.map(|cni| (Site { cni, ..edge }, Code::CniNotOffered)));
    cases.extend(["flannel", "terway-edge"].map(|cni| (Site { cni, ..registered }, Code::CniNotOffered)));
    for (site, code) in cases {
        let mut text = site.policy();
        if site.broad && !site.gateway {
            text += "scope: broad\n";
        }
        let mut problems = Problems::default();
        let policy = policy::parse(&Source::new("policy.yaml", &text), &mut problems).unwrap();
        let refused = policy::check(&policy, &CATALOG, None, &mut problems).is_none();
        let found = problems.into_sorted();
        assert!(refused && found.iter().any(|problem| problem.code == code), "{code:?}\n{text}\n{found:#?}");
    }
}

/// The model itself: it denies, and each flow that it has is one that it permits.
#[test]
fn the_model_can_tell() {
    let model = Model::new(Site::new(region("cn-hangzhou")));
    let verdict = |local: &str, peer: &str, payload| {
        let [out, inward] = both_ways(&model.site, local.parse().unwrap(), peer.parse().unwrap(), payload);
        (model.expect(&out).verdict, model.expect(&inward).verdict)
    };
    let (accept, drop, reject) = (Verdict::Accept, Verdict::Drop, Verdict::Reject);
    assert_eq!(verdict("10.1.2.3", "192.168.0.0", tcp(10250)), (reject, accept));
    assert_eq!(verdict("10.1.2.3", "192.167.255.255", tcp(10250)), (reject, drop));
    assert_eq!(verdict("10.1.2.3", "100.118.28.255", tcp(443)), (accept, drop));
    assert_eq!(verdict("10.1.2.3", "8.8.8.8", Payload::Icmp { kind: 5 }), (reject, drop));
}
