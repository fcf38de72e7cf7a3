//! The rules as text, CSV and Markdown, as Terraform resources and as commands of the Alibaba Cloud CLI. JSON is the
//! program's document.

mod cloud;
mod people;
mod reasons;
mod sheet;

use super::derive::Derived;
use super::plan::SecurityGroup;
use super::proof::{Comparison, Deviation};
use super::rule::{Way, port_range};
use crate::catalog::GroupRow;
use crate::intent::{Opening, Origin};
use crate::net::PrefixSet;
use crate::policy::syntax::Policy;
use crate::report::Evidence;
use crate::space::PacketBox;

/// The rules of a policy, with what is said about them.
#[derive(Clone, Copy, Debug)]
pub struct GroupRules<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The addresses of the VPC.
    pub vpc: &'a PrefixSet,
    /// The security group.
    pub group: &'a SecurityGroup<'a>,
    /// The group held against the policy.
    pub comparison: &'a Comparison,
    /// What the origins are explained with.
    pub evidence: Evidence<'a>,
}

impl<'a> GroupRules<'a> {
    fn name(&self) -> &'a str {
        &self.policy.name.value.0
    }

    /// Whether no document asks for a rule: it follows from a flow of the catalog.
    pub fn is_inferred(&self, derived: &Derived<'a>) -> bool {
        let of_the_policy = |opening: &&Opening<'_>| matches!(opening.origin, Origin::Policy(_));
        self.group.row(derived).is_none() && !self.openings(derived).take(1).any(|one| of_the_policy(&one))
    }

    /// The openings that have packets in a rule, that of its flow first.
    fn openings(&self, derived: &Derived<'a>) -> impl Iterator<Item = &'a Opening<'a>> {
        let group = self.group;
        derived.openings.clone().into_iter().filter_map(|number| group.openings.get(number))
    }

    /// Where a rule comes from: the row of the document or its flow.
    fn origin(&self, derived: &Derived<'a>) -> Option<Origin> {
        let row = self.group.row(derived).map(stated);
        row.or_else(|| self.openings(derived).next().map(|opening| opening.origin.clone()))
    }

    /// What the rules are for, for a description of at most 512 characters in letters, digits and signs that every tool
    /// takes.
    fn description(&self, derived: &Derived<'_>) -> String {
        const MOST: usize = 512;
        let mut text = format!("edgeward {}: {}", self.name(), derived.flows.join(", "));
        text.truncate(text.floor_char_boundary(MOST));
        text
    }
}

fn stated(row: &GroupRow) -> Origin {
    Origin::Catalog {
        source: row.source.value.clone(),
        section: row.section.clone(),
        retrieved: row.retrieved.to_string(),
        inferred: false,
    }
}

impl Deviation {
    /// Its packets in lines: `tcp/443 to 10.0.0.0/8`.
    fn lines(&self, vpc: &PrefixSet) -> Vec<String> {
        let line = |one: &PacketBox| {
            let (own, remote) = match self.way {
                Way::Egress => ((&one.sources, "from"), (&one.destinations, "to")),
                Way::Ingress => ((&one.destinations, "to"), (&one.sources, "from")),
            };
            let mut text = one.traffic();
            text.extend(one.sports.as_ref().map(|ports| format!(" from port {}", ports.words().join(","))));
            let other = remote.0.as_ref().map_or_else(|| "anywhere".to_owned(), |set| one.listed(set));
            text += &format!(" {} {other}", remote.1);
            // Rules hold for all addresses of the VPC alike, unless they say otherwise.
            let of_families = one.families.iter().fold(PrefixSet::default(), |all, one| all.union(&vpc.only(*one)));
            let part = own.0.as_ref().filter(|set| **set != of_families);
            text.extend(part.map(|set| format!(", {} {}", own.1, one.listed(set))));
            text
        };
        self.boxes.iter().map(line).collect()
    }
}

fn ports(derived: &Derived<'_>) -> String {
    port_range(derived.rule.ports)
}
