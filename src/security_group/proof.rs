//! A security group held against a policy: the packets that one admits and the other does not.

use std::collections::BTreeMap;

use super::meaning::{Edge, Meaning};
use super::plan::SecurityGroup;
use super::rule::{Rule, Way};
use crate::intent::{Addresses, Clause, End, Flow, Gateway, Intent, Resolved, Specification};
use crate::net::{Family, Packet, PrefixSet, Verdict};
use crate::site::{Covers, Mode};
use crate::space::{Condition, PacketBox, Region, Space};

/// Packets for which a group and a policy differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// Where they go.
    pub way: Way,
    /// The flow that needs them or whose rule admits them; `None` if no flow does.
    pub flow: Option<String>,
    /// The number of the rule that admits them, from 0, in a group that is not a policy's.
    pub rule: Option<usize>,
    /// The packets.
    pub boxes: Vec<PacketBox>,
    /// One of them.
    pub example: Packet,
}

/// A group held against a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What the group admits and the policy does not need, by rule or flow.
    pub opens: Vec<Deviation>,
    /// What the policy needs and the group denies, by flow.
    pub shuts: Vec<Deviation>,
}

/// What a policy needs of the security group: what its hosts' rules permit, as far as it crosses the edge of the VPC.
#[derive(Clone, Debug)]
pub struct Needed<'a> {
    intent: Intent<Resolved>,
    vpc: &'a PrefixSet,
}

impl<'a> Needed<'a> {
    /// The needs of a policy for an IDC gateway, at any scope.
    ///
    /// A rule of a group holds for all addresses of the VPC alike: it has no room for both ends. So what one address of
    /// the VPC needs is taken to be needed by all of them.
    pub fn of(intent: &Intent<Resolved>, vpc: &'a PrefixSet) -> Self {
        let flows = intent.flows.iter().map(|flow| Flow {
            local: widened(&flow.local, vpc),
            peers: widened(&flow.peers, vpc),
            ..flow.clone()
        });
        let gateway = intent.gateway.as_ref().map(|gateway| Gateway {
            covers: Covers::Everything,
            stateless: false,
            ..gateway.clone()
        });
        let intent = Intent { mode: Mode::Enforce, gateway, flows: flows.collect(), ..intent.clone() };
        Self { intent, vpc }
    }

    /// Compares with the rules of the policy's own group: what it opens beyond what is needed, for which the API has no
    /// words, and what it shuts, which is nothing if the rules are right.
    pub fn held_against(&self, group: &SecurityGroup<'_>) -> Comparison {
        let flows: Vec<&str> = group.rules.iter().map(|derived| derived.flow).collect();
        let number = |flow: &str| flows.iter().position(|known| *known == flow).unwrap_or_default();
        let rules = group.rules.iter().map(|derived| (number(derived.flow), &derived.rule));
        let flow = |label: Option<usize>| label.and_then(|label| flows.get(label)).map(|flow| (*flow).to_owned());
        self.compared(&Meaning::of(group.kind, rules), None, |label| (flow(label), None))
    }

    /// Compares a group that exists: what it opens beyond the group of the policy, and what it shuts of what is needed.
    pub fn checked(&self, rules: &[Rule], group: &SecurityGroup<'_>) -> Comparison {
        let found = Meaning::of(group.kind, rules.iter().enumerate());
        let own = Meaning::of(group.kind, group.rules.iter().map(|derived| (0, &derived.rule)));
        self.compared(&found, Some(&own), |label| (None, label))
    }

    /// `names` says of the label of a rule which flow it is for, and its number.
    fn compared(
        &self,
        group: &Meaning,
        permitted: Option<&Meaning>,
        names: impl Fn(Option<usize>) -> (Option<String>, Option<usize>),
    ) -> Comparison {
        let specification = self.intent.specification();
        let edge = Edge(self.vpc);
        let ways = Way::ALL.iter().map(|way| edge.crossing(*way));
        let rules = group.conditions().chain(permitted.into_iter().flat_map(Meaning::conditions));
        let conditions: Vec<Condition<'_>> = ways.chain(rules).collect();
        let space = Space::new(specification.conditions().chain(&conditions));
        let needed = accepted(&specification, &space, &edge);
        let all = space.union(needed.values().copied());
        let admitted = group.admitted(&space, &edge);
        let permitted = permitted.map_or(all, |permitted| permitted.admitted(&space, &edge));
        let mut comparison = Comparison::default();
        for way in Way::ALL {
            let crossing = space.region(&edge.crossing(*way));
            let opens = admitted.minus(permitted).and(crossing);
            let opens = group.by_label(&space, &edge, opens).into_iter().filter_map(|(label, packets)| {
                let (flow, rule) = names(label);
                deviation(*way, flow, rule, packets)
            });
            comparison.opens.extend(opens);
            let shuts = needed.iter().filter_map(|(flow, packets)| {
                deviation(*way, flow.map(str::to_owned), None, packets.minus(admitted).and(crossing))
            });
            comparison.shuts.extend(shuts);
        }
        comparison
    }
}

fn deviation(way: Way, flow: Option<String>, rule: Option<usize>, packets: Region<'_>) -> Option<Deviation> {
    Some(Deviation { way, flow, rule, example: packets.witness()?, boxes: packets.boxes() })
}

/// The packets that cross the edge and are accepted, by flow.
fn accepted<'a, 's>(
    specification: &Specification<'a>,
    space: &'s Space<'_>,
    edge: &Edge<'_>,
) -> BTreeMap<Option<&'a str>, Region<'s>> {
    let crossing = space.union(Way::ALL.iter().map(|way| space.region(&edge.crossing(*way))));
    let clauses: Vec<&Clause<'a>> = specification.clauses.iter().collect();
    let regions: Vec<Region<'s>> = clauses.iter().map(|clause| space.region(&clause.condition)).collect();
    let mut accepted: BTreeMap<Option<&'a str>, Region<'s>> = BTreeMap::new();
    for (number, part) in crossing.among(&regions).0 {
        let disposition = clauses[number].disposition;
        if disposition.verdict == Verdict::Accept {
            accepted.entry(disposition.flow).and_modify(|known| *known = known.or(part)).or_insert(part);
        }
    }
    accepted
}

/// An end with all of the VPC in place of a part of it, for each family.
fn widened(end: &End<Resolved>, vpc: &PrefixSet) -> End<Resolved> {
    let End::Ends(addresses) = end else { return End::Any };
    let all = addresses.all();
    let added: Vec<PrefixSet> =
        Family::BOTH.iter().map(|family| vpc.only(*family)).filter(|part| part.overlaps(&all)).collect();
    let fixed = PrefixSet::union_of([&addresses.fixed].into_iter().chain(&added));
    End::Ends(Addresses { fixed, named: addresses.named.clone() })
}
