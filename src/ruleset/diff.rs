//! The difference between rulesets, in packets.

use std::collections::BTreeMap;

use super::{Group, Label, Rule, Ruleset};
use crate::net::{Disposition, Packet, Verdict};
use crate::space::{Condition, Function, PacketBox, Packets, Region, Space};

/// How the treatment of packets differs from before.
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
    /// They were tracked, and are not.
    Untracked,
    /// They were not tracked, and are.
    Tracked,
}

impl Effect {
    /// Every effect, the most severe first.
    pub const ALL: [Effect; 6] =
        [Effect::Allowed, Effect::Denied, Effect::Silenced, Effect::Answered, Effect::Untracked, Effect::Tracked];
}

/// Packets that are treated differently, with the same effect and for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The effect.
    pub effect: Effect,
    /// The step that made the difference; the first is 0.
    pub step: usize,
    /// The flow that permits them, or whose packets are not tracked, before or after; `None` if no flow does.
    pub flow: Option<String>,
    /// The packets, as disjoint boxes.
    pub boxes: Vec<PacketBox>,
    /// The packets of a flow of any traffic together with those that other flows permit between the same ends, in few
    /// boxes. All of them are accepted after the change if the effect is allowed, and were accepted before it if the
    /// effect is denied. `None` where the boxes are as simple.
    pub with_others: Option<Vec<PacketBox>>,
    /// One of them.
    pub example: Packet,
}

/// Compares the first with the last of several versions of a ruleset: exactly the packets that the two treat
/// differently, each attributed to the last step that changed its treatment.
///
/// The differences are sorted by effect, step and flow. Fewer than two versions have none.
pub fn differences(versions: &[&Ruleset]) -> Vec<Difference> {
    let conditions: Vec<Condition<'_>> = versions.iter().flat_map(|version| version.conditions()).collect();
    let space = Space::new(&conditions);
    let versions: Vec<Version<'_, '_>> = versions.iter().map(|ruleset| Version::new(ruleset, &space)).collect();
    let [first, .., last] = &versions[..] else { return Vec::new() };
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
        for (step, pair) in versions.windows(2).enumerate().rev() {
            let (one, other) = (&pair[0], &pair[1]);
            let changed = match tracking {
                true => one.untracked.minus(other.untracked).or(other.untracked.minus(one.untracked)),
                false => one.verdicts.differs(other.verdicts),
            };
            steps.push((step, net.and(changed)));
            net = net.minus(changed);
        }
        // What differs in the end has changed in some step.
        debug_assert!(net.is_empty());
        for (step, packets) in steps.into_iter().rev() {
            // What was permitted or not tracked is attributed to the flow before, everything else to the flow after.
            let by = match effect {
                Effect::Denied => first.by_flow(packets),
                Effect::Untracked => last.by_tunnel(packets),
                Effect::Tracked => first.by_tunnel(packets),
                Effect::Allowed | Effect::Silenced | Effect::Answered => last.by_flow(packets),
            };
            let accepted = match effect {
                Effect::Allowed => Some(last.accepted),
                Effect::Denied => Some(first.accepted),
                _ => None,
            };
            found.extend(by.into_iter().filter_map(|(flow, packets)| {
                let (example, boxes) = (packets.witness()?, packets.boxes());
                let accepted = accepted.filter(|_| flow.is_some());
                let with_others = accepted.and_then(|accepted| with_others(packets, &boxes, accepted));
                Some(Difference { effect, step, flow, boxes, with_others, example })
            }));
        }
        space.forget();
    }
    found
}

/// A flow permits any traffic if its packets have more protocols than this. Other flows name theirs.
const MANY_PROTOCOLS: usize = 128;

/// The packets of a flow of any traffic, with those that other flows permit between the same ends: without ports and types
/// that other flows have cut out of it.
fn with_others<'s>(packets: Region<'s>, boxes: &[PacketBox], accepted: Region<'s>) -> Option<Vec<PacketBox>> {
    let numbers = |one: &PacketBox| {
        one.protocols.as_ref().map_or(usize::MAX, |set| set.iter().map(|(low, high)| usize::from(high - low) + 1).sum())
    };
    if boxes.len() < 2 || !boxes.iter().any(|one| numbers(one) > MANY_PROTOCOLS) {
        return None;
    }
    let all = packets.any_traffic();
    all.is_within(accepted).then(|| all.boxes())
}

/// What one version does with all packets.
struct Version<'a, 's> {
    groups: Vec<Group<'a, 's>>,
    verdicts: Function<'s>,
    accepted: Region<'s>,
    dropped: Region<'s>,
    rejected: Region<'s>,
    untracked: Region<'s>,
}

impl<'a, 's> Version<'a, 's> {
    fn new(ruleset: &'a Ruleset, space: &'s Space<'s>) -> Self {
        let groups = ruleset.partition(space);
        let those = |test: &dyn Fn(&Disposition<'_>) -> bool| {
            space.union(groups.iter().filter(|group| test(&group.disposition)).map(|group| group.packets))
        };
        let with = |verdict| those(&|disposition| disposition.verdict == verdict);
        Self {
            verdicts: space.function(groups.iter().map(|group| (group.packets, group.disposition.verdict as u32))),
            accepted: with(Verdict::Accept),
            dropped: with(Verdict::Drop),
            rejected: with(Verdict::Reject),
            untracked: those(&|disposition| !disposition.tracked),
            groups,
        }
    }

    /// Packets by the flow that permits them.
    fn by_flow(&self, packets: Region<'s>) -> Vec<(Option<String>, Region<'s>)> {
        grouped(packets, self.groups.iter().map(|group| (group.disposition.flow, group.packets)))
    }

    /// Packets by the flow whose rule says `notrack`.
    fn by_tunnel(&self, packets: Region<'s>) -> Vec<(Option<String>, Region<'s>)> {
        let flow = |rule: &'a Rule| rule.label.as_ref().map(Label::comment);
        grouped(packets, self.groups.iter().filter_map(|group| Some((flow(group.notrack?), group.packets))))
    }
}

/// Divides packets among groups that no packet is in two of, and unites the parts of each flow.
fn grouped<'f, 's>(
    packets: Region<'s>,
    groups: impl Iterator<Item = (Option<&'f str>, Region<'s>)>,
) -> Vec<(Option<String>, Region<'s>)> {
    let (flows, regions): (Vec<Option<&str>>, Vec<Region<'s>>) = groups.unzip();
    let mut by_flow: BTreeMap<Option<&str>, Vec<Region<'s>>> = BTreeMap::new();
    for (number, part) in packets.among(&regions).0 {
        by_flow.entry(flows[number]).or_default().push(part);
    }
    let united = by_flow.into_iter().filter_map(|(flow, parts)| Some((flow.map(str::to_owned), Region::join(parts)?)));
    united.collect()
}
