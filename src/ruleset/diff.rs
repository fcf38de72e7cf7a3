//! The difference between rulesets, in packets.

use std::collections::BTreeMap;

use super::{Fate, Fates, Ruleset};
use crate::net::{Packet, Verdict};
use crate::space::{Condition, Function, PacketBox, Region, Space};

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
    /// The flow that permits them, or keeps them from conntrack, before or after; `None` where no flow does.
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
    let conditions: Vec<Condition<'_>> = versions.iter().flat_map(|version| version.conditions()).collect();
    let space = Space::new(&conditions);
    let fares: Vec<Fare<'_, '_>> = versions.iter().map(|version| Fare::new(version.fates(&space), &space)).collect();
    let [first, .., last] = &fares[..] else { return Vec::new() };
    let mut found = Vec::new();
    for effect in Effect::ALL {
        let mut net = match effect {
            Effect::Allowed => last.accepted.minus(first.accepted),
            Effect::Denied => first.accepted.minus(last.accepted),
            Effect::Silenced => first.rejected.and(last.dropped),
            Effect::Answered => first.dropped.and(last.rejected),
            Effect::Untracked => last.untracked.minus(first.untracked),
            Effect::Tracked => first.untracked.minus(last.untracked),
        };
        let tracking = matches!(effect, Effect::Untracked | Effect::Tracked);
        let mut steps: Vec<(usize, Region<'_>)> = Vec::new();
        for (step, pair) in fares.windows(2).enumerate().rev() {
            let (one, other) = (&pair[0], &pair[1]);
            let changed = match tracking {
                true => one.untracked.minus(other.untracked).or(other.untracked.minus(one.untracked)),
                false => one.verdicts.differs(other.verdicts),
            };
            steps.push((step, net.and(changed)));
            net = net.minus(changed);
        }
        // What ends otherwise than it began has changed in some step.
        debug_assert!(net.is_empty());
        for (step, packets) in steps.into_iter().rev() {
            // What is over is put down to the flow that was there, everything else to the one that is.
            let by = match effect {
                Effect::Denied => by_flow(packets, &first.fates),
                Effect::Untracked => by_tunnel(packets, &last.fates),
                Effect::Tracked => by_tunnel(packets, &first.fates),
                Effect::Allowed | Effect::Silenced | Effect::Answered => by_flow(packets, &last.fates),
            };
            found.extend(by.into_iter().filter_map(|(flow, packets)| {
                let example = packets.witness()?;
                Some(Difference { effect, step, flow, boxes: packets.boxes(), example })
            }));
        }
        space.forget();
    }
    found
}

/// How packets fare under one version.
struct Fare<'a, 's> {
    fates: Fates<'a, 's>,
    verdicts: Function<'s>,
    accepted: Region<'s>,
    dropped: Region<'s>,
    rejected: Region<'s>,
    untracked: Region<'s>,
}

impl<'a, 's> Fare<'a, 's> {
    fn new(fates: Fates<'a, 's>, space: &'s Space<'s>) -> Self {
        let with =
            |verdict| space.union(fates.decided.iter().filter(|fate| fate.verdict == verdict).map(|fate| fate.packets));
        Self {
            verdicts: space.function(fates.decided.iter().map(|fate| (fate.packets, fate.verdict as u32))),
            accepted: with(Verdict::Accept),
            dropped: with(Verdict::Drop),
            rejected: with(Verdict::Reject),
            untracked: fates.untracked(space),
            fates,
        }
    }
}

/// Packets by the flow that accepts them.
fn by_flow<'s>(packets: Region<'s>, fates: &Fates<'_, 's>) -> Vec<(Option<String>, Region<'s>)> {
    let flow = |fate: &Fate<'_, 's>| fate.rule.and_then(|(_, rule)| rule.flow()).map(str::to_owned);
    grouped(fates.decided.iter().map(|fate| (flow(fate), packets.and(fate.packets))))
}

/// Packets by the flow whose rule keeps them from conntrack: the rule's comment, for it counts nothing.
fn by_tunnel<'s>(packets: Region<'s>, fates: &Fates<'_, 's>) -> Vec<(Option<String>, Region<'s>)> {
    let mut rest = packets;
    grouped(fates.spared.iter().map(|(rule, region)| {
        let here = rest.and(*region);
        rest = rest.minus(*region);
        (rule.comment.clone(), here)
    }))
}

fn grouped<'s>(parts: impl Iterator<Item = (Option<String>, Region<'s>)>) -> Vec<(Option<String>, Region<'s>)> {
    let mut flows: BTreeMap<Option<String>, Region<'s>> = BTreeMap::new();
    for (flow, region) in parts {
        flows.entry(flow).and_modify(|all| *all = all.or(region)).or_insert(region);
    }
    flows.into_iter().filter(|(_, region)| !region.is_empty()).collect()
}
