//! From flows to rules: what of each flow has one end in the VPC and the other outside of it, in the words of the API.

use std::collections::BTreeMap;

use super::cover;
use super::problem::{GroupProblemCode, Problem};
use super::rule::{FIRST, IpProtocol, Permission, PortRange, Rule, Way};
use crate::catalog::Zone;
use crate::intent::{Extent, Member, Opening, Origin, Side};
use crate::net::{Family, PortSet, PrefixSet, Protocol, Ranges, Traffic};
use crate::policy;
use crate::policy::syntax::Policy;

/// The addresses of the VPC: those of its zones that are not of the data centre. A data centre may use a part of the
/// VPC's prefix that no vSwitch has.
pub fn addresses_of_the_vpc(policy: &Policy) -> PrefixSet {
    let data_centre = policy::addresses(policy, &[Zone::Hosts, Zone::Pods]);
    policy::addresses(policy, &[Zone::Vpc, Zone::Vswitches, Zone::PodVswitches]).difference(&data_centre)
}

/// A part of a flow that crosses the edge of the VPC, as rules can say it.
#[derive(Clone, Debug)]
pub(super) struct Need<'a> {
    /// The number of its opening.
    opening: usize,
    /// The id of its flow.
    flow: &'a str,
    way: Way,
    family: Family,
    protocol: IpProtocol,
    /// Empty where the protocol has no ports.
    ports: PortSet,
    /// The word for what the flow needs, where a rule has none and permits every protocol.
    widened: Option<String>,
    /// The addresses at the other end.
    remote: PrefixSet,
}

/// A rule of a policy with its reasons.
#[derive(Clone, Debug)]
pub struct Derived<'a> {
    /// The rule.
    pub rule: Rule,
    /// The flow that it is made for.
    pub flow: &'a str,
    /// All flows that have packets in it, that one first.
    pub flows: Vec<&'a str>,
    /// The numbers of their openings, those of `flow` first.
    pub(super) openings: Vec<usize>,
}

/// The rules that the openings need, none of which the others make superfluous: egress first, in the order of the flows.
pub(super) fn rules<'a>(needs: &[Need<'a>]) -> Vec<Derived<'a>> {
    // Flows with the same ends share the ranges of their ports.
    let mut entries: Vec<cover::Entry> = Vec::new();
    let mut known: BTreeMap<(Way, Family, IpProtocol, &PrefixSet), Vec<&PortSet>> = BTreeMap::new();
    for need in needs {
        known.entry((need.way, need.family, need.protocol, &need.remote)).or_default().push(&need.ports);
    }
    for ((way, family, protocol, remote), ports) in known {
        let all: PortSet = ports.iter().flat_map(|ports| ports.iter()).collect();
        let ranges: Vec<PortRange> = if all.is_empty() { vec![None] } else { all.iter().map(Some).collect() };
        entries.extend(ranges.into_iter().map(|ports| cover::Entry {
            way,
            family,
            protocol,
            ports,
            remote: remote.clone(),
        }));
    }
    let mut derived: Vec<(usize, Derived<'a>)> = Vec::new();
    for entry in cover::without_superfluous(entries) {
        let concerned: Vec<&Need<'a>> = needs.iter().filter(|need| need.concerns(&entry)).collect();
        for remote in entry.remote.prefixes() {
            let set = PrefixSet::from_iter([remote]);
            let mut own: Vec<&Need<'a>> = concerned.iter().copied().filter(|need| need.remote.overlaps(&set)).collect();
            own.sort_by_key(|need| (need.protocol != entry.protocol, need.opening));
            let Some(first) = own.first() else { continue };
            let rule = Rule {
                way: entry.way,
                protocol: entry.protocol,
                ports: entry.ports,
                remote,
                own: None,
                source_ports: None,
                permission: Permission::Accept,
                priority: FIRST,
            };
            derived.push((
                first.opening,
                Derived {
                    rule,
                    flow: first.flow,
                    flows: distinct(own.iter().map(|need| need.flow)),
                    openings: distinct(own.iter().map(|need| need.opening)),
                },
            ));
        }
    }
    derived.sort_by_key(|(opening, derived)| {
        let rule = &derived.rule;
        (rule.way, *opening, rule.protocol, rule.ports, rule.remote)
    });
    derived.into_iter().map(|(_, derived)| derived).collect()
}

/// The values in their order, each once.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.fold(Vec::new(), |mut known, value| {
        if !known.contains(&value) {
            known.push(value);
        }
        known
    })
}

impl Need<'_> {
    /// Whether some of its packets are those of an entry, as far as protocol and ports go.
    fn concerns(&self, entry: &cover::Entry) -> bool {
        let same = self.protocol == entry.protocol;
        let any = self.protocol == IpProtocol::All || entry.protocol == IpProtocol::All;
        let ports = || {
            let range: Option<PortSet> = entry.ports.map(|ports| [ports].into_iter().collect());
            range.is_none_or(|range| self.ports.is_empty() || self.ports.overlaps(&range))
        };
        self.way == entry.way && self.family == entry.family && (any || (same && ports()))
    }
}

/// What the openings of an intent need of the VPC's security group.
pub(super) fn needs<'a>(openings: &[Opening<'a>], vpc: &PrefixSet) -> Vec<Need<'a>> {
    let mut needs = Vec::new();
    for (number, opening) in openings.iter().enumerate() {
        let (local, peers) = (addresses(&opening.local), addresses(&opening.peers));
        let (from, to) = match opening.side {
            Side::Inbound => (peers, local),
            Side::Outbound => (local, peers),
        };
        for (way, own, remote) in [(Way::Egress, &from, &to), (Way::Ingress, &to, &from)] {
            for family in Family::BOTH.into_iter().filter(|family| opening.family.is_none_or(|only| only == *family)) {
                let remote = remote.only(family).difference(vpc);
                if remote.is_empty() || !own.overlaps(&vpc.only(family)) {
                    continue;
                }
                needs.extend(parts(&opening.traffic.only(family)).into_iter().map(|part| Need {
                    opening: number,
                    flow: opening.flow,
                    way,
                    family,
                    protocol: part.protocol,
                    ports: part.ports,
                    widened: part.widened,
                    remote: remote.clone(),
                }));
            }
        }
    }
    needs
}

/// The flows for whose protocols the API has no words, unless others open every protocol between the same ends anyway.
pub(super) fn widenings(openings: &[Opening<'_>], needs: &[Need<'_>]) -> Vec<Problem> {
    let any = needs.iter().filter(|need| need.protocol == IpProtocol::All && need.widened.is_none());
    let is_open = |one: &Need<'_>| {
        let same = any.clone().filter(|need| (need.way, need.family) == (one.way, one.family));
        one.remote.is_subset(&PrefixSet::union_of(same.map(|need| &need.remote)))
    };
    let widened = |number: usize| {
        let own = needs.iter().filter(move |need| need.opening == number);
        distinct(own.filter(|need| need.widened.is_some() && !is_open(need)).filter_map(|need| need.widened.as_ref()))
    };
    distinct(openings.iter().enumerate().filter_map(|(number, opening)| widening(opening, &widened(number))))
}

/// The addresses of an end.
fn addresses(extent: &Extent<'_>) -> PrefixSet {
    match extent {
        Extent::AllBut(except) => PrefixSet::from((Ranges::all(), Ranges::all())).difference(except),
        extent => {
            let sets: Vec<PrefixSet> = extent.members().iter().map(Member::addresses).collect();
            PrefixSet::union_of(sets.iter())
        }
    }
}

/// A part of some traffic as a rule can say it.
struct Part {
    protocol: IpProtocol,
    ports: PortSet,
    /// The word for it, where a rule has none and permits every protocol.
    widened: Option<String>,
}

/// Some traffic of one family in the words of the API.
fn parts(traffic: &Traffic) -> Vec<Part> {
    let whole = |protocol| Part { protocol, ports: PortSet::default(), widened: None };
    let Traffic::Some { tcp, udp, sctp, icmp, icmpv6, protocols } = traffic else {
        return vec![whole(IpProtocol::All)];
    };
    let with_ports = [(IpProtocol::Tcp, tcp), (IpProtocol::Udp, udp)].into_iter();
    let with_ports = with_ports.filter(|(_, ports)| !ports.is_empty());
    let mut parts: Vec<Part> =
        with_ports.map(|(protocol, ports)| Part { protocol, ports: ports.clone(), widened: None }).collect();
    let types = [(IpProtocol::Icmp, icmp), (IpProtocol::Icmpv6, icmpv6)].into_iter();
    parts.extend(types.filter(|(_, types)| !types.is_empty()).map(|(protocol, _)| whole(protocol)));
    let wide = |word: &str| Part { widened: Some(word.to_owned()), ..whole(IpProtocol::All) };
    parts.extend((!sctp.is_empty()).then(|| wide(Protocol::Sctp.name())));
    parts.extend(protocols.iter().map(|number| match Protocol::numbered(*number) {
        Some(Protocol::Gre) => whole(IpProtocol::Gre),
        _ => wide(&Traffic::of_protocol(*number).to_string()),
    }));
    parts
}

fn widening(opening: &Opening<'_>, words: &[&String]) -> Option<Problem> {
    if words.is_empty() {
        return None;
    }
    let span = match opening.origin {
        Origin::Policy(span) => Some(*span),
        Origin::Catalog { .. } => None,
    };
    Some(Problem {
        code: GroupProblemCode::ProtocolWidened,
        span,
        flow: Some(opening.flow.to_owned()),
        message: format!(
            "`{}` needs {}, for which a security group has no word: its rules permit every protocol",
            opening.flow,
            words.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", ")
        ),
        help: "let the firewall of the data centre permit only what the flow needs: its rules can name the protocol"
            .to_owned(),
    })
}
