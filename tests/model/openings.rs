//! What tables permit, by flow, and what one permits that another does not: as the events have to say it.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Name;
use super::rules::Table;
use super::text;

/// What stands for packets that no flow permits.
const NO_FLOW: &str = "";

/// What happens to packets that no flow permits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stance {
    Open,
    Audit,
    Enforce,
}

/// What each flow permits, of what differs between tables.
struct Openings {
    stance: Stance,
    flows: BTreeMap<&'static str, BTreeSet<String>>,
}

/// Flows that are opened, and flows that are closed.
pub type Changes = (BTreeSet<String>, BTreeSet<String>);

fn of(table: &Table) -> Openings {
    let Table::Of(inputs, addresses, ports) = table else {
        return Openings { stance: Stance::Open, flows: BTreeMap::new() };
    };
    let named = |name| addresses.get(&name).into_iter().flatten().map(ToString::to_string).collect();
    let prefix = Some(inputs.catalog).filter(|number| *number > 0).map(text::prefix);
    let flows = [
        ("ssh", [text::management(inputs.policy.management)].into()),
        ("mirror", named(Name::Mirror)),
        ("backup", named(Name::Backup)),
        ("sites", inputs.list.map(text::list).into_iter().collect()),
        // Both flows permit them; the first one counts.
        ("oss-packages", prefix.into_iter().collect()),
        (NO_FLOW, ports.iter().map(ToString::to_string).collect()),
    ];
    let stance = if inputs.policy.audit { Stance::Audit } else { Stance::Enforce };
    Openings { stance, flows: flows.into() }
}

/// What is opened and closed where one table takes the place of another.
pub fn changes(before: &Table, after: &Table) -> Changes {
    let (before, after) = (of(before), of(after));
    // A host without rules permits everything, and flows do not matter there.
    let is_compared = before.stance != Stance::Open && after.stance != Stance::Open;
    let more = |one: &Openings, other: &Openings| -> BTreeSet<String> {
        let has = |(flow, them): &(&&str, &BTreeSet<String>)| !them.is_subset(&other.flows[**flow]);
        one.flows.iter().filter(|_| is_compared).filter(has).map(|(flow, _)| (*flow).to_owned()).collect()
    };
    let (mut opened, mut closed) = (more(&after, &before), more(&before, &after));
    match (before.stance, after.stance) {
        (Stance::Enforce, Stance::Audit | Stance::Open) | (Stance::Audit, Stance::Open) => {
            opened.insert(NO_FLOW.to_owned());
        }
        (Stance::Audit | Stance::Open, Stance::Enforce) | (Stance::Open, Stance::Audit) => {
            closed.insert(NO_FLOW.to_owned());
        }
        _ => {}
    }
    (opened, closed)
}
