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
    let [old, .., new] = versions else { return Vec::new() };
    let conditions: Vec<Condition<'_>> = versions.iter().flat_map(|version| version.conditions()).collect();
    let space = Space::new(&conditions);
    let fates: Vec<Fates<'_, '_>> = versions.iter().map(|version| version.fates(&space)).collect();
    let (Some(first), Some(last)) = (fates.first(), fates.last()) else { return Vec::new() };
    let verdicts: Vec<Function<'_>> = fates.iter().map(|fates| verdicts(fates, &space)).collect();
    let mut found = Vec::new();
    for effect in Effect::ALL {
        let tracking = matches!(effect, Effect::Untracked | Effect::Tracked);
        let mut net = before(effect, first, &space).and(after(effect, last, &space));
        let mut steps: Vec<(usize, Region<'_>)> = Vec::new();
        for (step, pair) in fates.windows(2).enumerate().rev() {
            let changed = match tracking {
                true => pair[0].untracked.minus(pair[1].untracked).or(pair[1].untracked.minus(pair[0].untracked)),
                false => verdicts[step].differs(verdicts[step + 1]),
            };
            steps.push((step, net.and(changed)));
            net = net.minus(changed);
        }
        // What ends otherwise than it began has changed in some step.
        debug_assert!(net.is_empty());
        for (step, packets) in steps.into_iter().rev() {
            // A closing is put down to the flow that was there, everything else to the one that is.
            let by = match effect {
                Effect::Denied => by_flow(packets, first),
                Effect::Untracked => by_tunnel(packets, new, &space),
                Effect::Tracked => by_tunnel(packets, old, &space),
                _ => by_flow(packets, last),
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

/// The verdict on every packet.
fn verdicts<'s>(fates: &Fates<'_, 's>, space: &'s Space<'s>) -> Function<'s> {
    space.function(fates.decided.iter().map(|fate| (fate.packets, fate.verdict as u32)))
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
    let flow = |fate: &Fate<'_, 's>| fate.rule.and_then(|(_, rule)| rule.flow()).map(str::to_owned);
    grouped(fates.decided.iter().map(|fate| (flow(fate), packets.and(fate.packets))))
}

/// Packets by the flow whose rule keeps them from conntrack: the rule's comment, for it counts nothing.
fn by_tunnel<'s>(packets: Region<'s>, ruleset: &Ruleset, space: &'s Space<'s>) -> Vec<(Option<String>, Region<'s>)> {
    let mut rest = packets;
    let spared = ruleset.spared(space).into_iter().map(|(rule, region)| {
        let here = rest.and(region);
        rest = rest.minus(region);
        (rule.comment.clone(), here)
    });
    let spared: Vec<(Option<String>, Region<'s>)> = spared.collect();
    grouped(spared.into_iter().chain([(None, rest)]))
}

fn grouped<'s>(parts: impl Iterator<Item = (Option<String>, Region<'s>)>) -> Vec<(Option<String>, Region<'s>)> {
    let mut flows: BTreeMap<Option<String>, Region<'s>> = BTreeMap::new();
    for (flow, region) in parts {
        flows.entry(flow).and_modify(|all| *all = all.or(region)).or_insert(region);
    }
    flows.into_iter().filter(|(_, region)| !region.is_empty()).collect()
}
