//! Why there is a rule.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{GroupRules, stated};
use crate::intent::{MemberKind, Opening, Origin};
use crate::net::{Prefix, PrefixSet};
use crate::report::Reason;
use crate::security_group::derive::Derived;

/// How many prefixes of the VPC a reason names.
const MAX_PREFIXES: usize = 8;

/// The reasons of the rules. The ends of openings are searched once, since thousands of rules may share them.
#[derive(Debug)]
pub struct Reasons<'a> {
    list: GroupRules<'a>,
    ends: Vec<Ends<'a>>,
}

/// The ends of an opening: where its addresses are written.
#[derive(Debug, Default)]
struct Ends<'a> {
    /// The prefixes that are not only in the VPC.
    remote: BTreeMap<Prefix, &'a Origin>,
    /// The reasons for the end in the VPC.
    own: Vec<Reason>,
    /// Addresses of names that are outside of it, with the reason.
    answers: Vec<(IpAddr, Reason)>,
}

impl<'a> GroupRules<'a> {
    /// The reasons of the rules.
    pub fn reasons(&self) -> Reasons<'a> {
        Reasons { list: *self, ends: self.group.openings.iter().map(|opening| self.ends(opening)).collect() }
    }

    fn ends(&self, opening: &'a Opening<'a>) -> Ends<'a> {
        let mut ends = Ends::default();
        for member in opening.local.members().iter().chain(opening.peers.members()) {
            match &member.kind {
                MemberKind::Prefixes(set) => {
                    let own: Vec<String> =
                        set.intersection(self.vpc).prefixes().map(|prefix| prefix.to_string()).collect();
                    if !own.is_empty() {
                        let more = own.len().saturating_sub(MAX_PREFIXES);
                        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
                        let words = own[..own.len().min(MAX_PREFIXES)].join(", ") + &more;
                        ends.own.push(self.evidence.origin("prefix", &words, member.origin));
                    }
                    let outside = set.prefixes().filter(|one| !PrefixSet::from_iter([*one]).is_subset(self.vpc));
                    ends.remote.extend(outside.map(|prefix| (prefix, member.origin)));
                }
                MemberKind::Name { name, record, addresses, .. } => {
                    let Some(record) = record else { continue };
                    for (address, seen) in addresses {
                        let reason = self.evidence.answer("address", *address, name, member.origin, record, *seen);
                        match self.vpc.contains(*address) {
                            true => ends.own.push(reason),
                            false => ends.answers.push((*address, reason)),
                        }
                    }
                }
            }
        }
        ends
    }
}

impl<'a> Reasons<'a> {
    /// The reasons of a rule: the row of the document, the flows, what gives them their addresses.
    pub fn of(&self, derived: &Derived<'a>) -> Vec<Reason> {
        let GroupRules { group, evidence, .. } = &self.list;
        let rule = &derived.rule;
        let mut reasons: Vec<Reason> = Vec::new();
        let mut add = |reason: Reason| {
            if !reasons.iter().any(|known| known.text == reason.text) {
                reasons.push(reason);
            }
        };
        if let Some(row) = group.row(derived) {
            add(evidence.origin("rule", &rule.to_string(), &stated(row)));
        }
        for number in &derived.openings {
            let (Some(opening), Some(ends)) = (group.openings.get(*number), self.ends.get(*number)) else { continue };
            add(evidence.origin("flow", opening.flow, opening.origin));
            let remote = rule.remote.net();
            for (prefix, origin) in ends.around(rule.remote) {
                add(evidence.origin("prefix", &prefix.to_string(), origin));
            }
            let answers = ends.answers.iter().filter(|(address, _)| remote.contains(address));
            answers.map(|(_, reason)| reason).chain(&ends.own).for_each(|reason| add(reason.clone()));
        }
        reasons
    }
}

impl<'a> Ends<'a> {
    /// The prefixes that hold a prefix or are inside it.
    fn around(&self, prefix: Prefix) -> impl Iterator<Item = (Prefix, &'a Origin)> {
        let net = prefix.net();
        let wider =
            (0..net.prefix_len()).filter_map(move |length| Some(truncated(IpNet::new(net.addr(), length).ok()?)));
        let holding = wider.filter_map(|wide| Some((wide, *self.remote.get(&wide)?)));
        let inside = self.remote.range(prefix..).take_while(move |(other, _)| net.contains(&other.net()));
        holding.chain(inside.map(|(other, origin)| (*other, *origin)))
    }
}

fn truncated(net: IpNet) -> Prefix {
    match net {
        IpNet::V4(net) => net.into(),
        IpNet::V6(net) => net.into(),
    }
}
