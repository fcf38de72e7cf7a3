//! The difference between rulesets, in packets.

use super::{Fates, Ruleset};
use crate::net::{Packet, Verdict};
use crate::space::{Condition, PacketBox, Region, Space};

/// How packets fare otherwise than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// They were denied, and are accepted.
    Allowed,
    /// They were accepted, and are denied.
    Denied,
    /// They were rejected, and are dropped.
    Silenced,
    /// They were dropped, and are rejected.
    Answered,
    /// They were given to conntrack, and are kept from it.
    Untracked,
    /// They were kept from conntrack, and are given to it.
    Tracked,
}

impl Effect {
    /// Every effect, the gravest first.
    pub const ALL: [Effect; 6] =
        [Effect::Allowed, Effect::Denied, Effect::Silenced, Effect::Answered, Effect::Untracked, Effect::Tracked];
}

/// Packets that fare otherwise, all in the same way and for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How.
    pub effect: Effect,
    /// The step that made the difference, the first being 0.
    pub step: usize,
    /// The flow that permits them, before or after; `None` where no flow does.
    pub flow: Option<String>,
    /// The packets: disjoint boxes.
    pub boxes: Vec<PacketBox>,
    /// One of them.
    pub example: Packet,
}

/// Compares a ruleset with what became of it in steps, the first version before the last: exactly the packets that fare
/// otherwise in the end, each put down to the last step that changed how it fares.
///
/// The differences are sorted by effect, step and flow. Of fewer than two versions there are none.
pub fn differences(versions: &[&Ruleset]) -> Vec<Difference> {
    let [old, .., new] = versions else { return Vec::new() };
    let conditions: Vec<Condition<'_>> = versions.iter().flat_map(|version| version.conditions()).collect();
    let space = Space::new(&conditions);
    let fates: Vec<Fates<'_, '_>> = versions.iter().map(|version| version.fates(&space)).collect();
    let mut found = Vec::new();
    for effect in Effect::ALL {
        let happens: Vec<Region<'_>> = fates
            .windows(2)
            .map(|pair| before(effect, &pair[0], &space).and(after(effect, &pair[1], &space)))
            .collect();
        let (Some(first), Some(last)) = (fates.first(), fates.last()) else { continue };
        let mut net = before(effect, first, &space).and(after(effect, last, &space));
        let mut steps: Vec<(usize, Region<'_>)> = Vec::new();
        for (step, changed) in happens.into_iter().enumerate().rev() {
            steps.push((step, net.and(changed)));
            net = net.minus(changed);
        }
        for (step, packets) in steps.into_iter().rev() {
            // A closing is put down to the flow that was there, everything else to the one that is.
            let by = if effect == Effect::Denied { (*old, first) } else { (*new, last) };
            found.extend(by_flow(packets, by.1).into_iter().filter_map(|(flow, packets)| {
                let example = packets.witness()?;
                Some(Difference { effect, step, flow, boxes: packets.boxes(), example })
            }));
        }
    }
    found
}

fn with_verdict<'s>(fates: &Fates<'_, 's>, space: &'s Space<'s>, verdict: Verdict) -> Region<'s> {
    space.union(fates.decided.iter().filter(|fate| fate.verdict == verdict).map(|fate| fate.packets))
}

/// The packets that can come to an effect from here.
fn before<'s>(effect: Effect, fates: &Fates<'_, 's>, space: &'s Space<'s>) -> Region<'s> {
    match effect {
        Effect::Allowed => space.all().minus(with_verdict(fates, space, Verdict::Accept)),
        Effect::Denied => with_verdict(fates, space, Verdict::Accept),
        Effect::Silenced => with_verdict(fates, space, Verdict::Reject),
        Effect::Answered => with_verdict(fates, space, Verdict::Drop),
        Effect::Untracked => space.all().minus(fates.untracked),
        Effect::Tracked => fates.untracked,
    }
}

/// The packets that an effect leads to.
fn after<'s>(effect: Effect, fates: &Fates<'_, 's>, space: &'s Space<'s>) -> Region<'s> {
    match effect {
        Effect::Allowed => with_verdict(fates, space, Verdict::Accept),
        Effect::Denied => space.all().minus(with_verdict(fates, space, Verdict::Accept)),
        Effect::Silenced => with_verdict(fates, space, Verdict::Drop),
        Effect::Answered => with_verdict(fates, space, Verdict::Reject),
        Effect::Untracked => fates.untracked,
        Effect::Tracked => space.all().minus(fates.untracked),
    }
}

/// Packets by the flow that accepts them.
fn by_flow<'s>(packets: Region<'s>, fates: &Fates<'_, 's>) -> Vec<(Option<String>, Region<'s>)> {
    let mut flows: std::collections::BTreeMap<Option<String>, Region<'s>> = std::collections::BTreeMap::new();
    for fate in &fates.decided {
        let flow = fate.rule.and_then(|(_, rule)| rule.flow()).map(str::to_owned);
        let here = packets.and(fate.packets);
        flows.entry(flow).and_modify(|all| *all = all.or(here)).or_insert(here);
    }
    flows.into_iter().filter(|(_, region)| !region.is_empty()).collect()
}
