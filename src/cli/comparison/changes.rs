//! What a change opens and closes, for the records: bounded, however much it is.

use super::consequences::Consequences;
use super::stances::Stances;
use crate::host::generations::{Changes, FlowChange};
use crate::ruleset::{Difference, Effect, Ruleset, Stance};

/// The most flows of each list.
const MAX_FLOWS: usize = 20;
/// The most boxes of packets of a flow.
const MAX_BOXES: usize = 5;
/// The longest description of a box.
const MAX_TEXT: usize = 200;

/// What one ruleset permits and denies that another does not. `None` is no table, which accepts every packet.
pub(crate) fn changes(before: Option<&Ruleset>, after: Option<&Ruleset>) -> Changes {
    match (before, after) {
        (Some(before), Some(after)) => Consequences::of(before, after).changes(),
        (None, None) => Changes::none(),
        // Boot does not wait for a comparison whose result is known.
        (None, Some(after)) => {
            let stances = Stances::of(&Ruleset::default(), after);
            let denied = if stances.begins() { vec![everything("all other packets")] } else { Vec::new() };
            let mode_change = stances.change();
            let audit = after.stance() == Stance::Audit;
            Changes { newly_denied: Some(denied), audit, mode_change, open: stances.open(after), ..Changes::none() }
        }
        (Some(before), None) => {
            let stances = Stances::of(before, &Ruleset::default());
            let allowed = if stances.ends() { vec![everything("all other packets")] } else { Vec::new() };
            Changes { newly_allowed: Some(allowed), mode_change: stances.change(), ..Changes::none() }
        }
    }
}

/// Packets that no flow permits, in one description.
fn everything(packets: &str) -> FlowChange {
    FlowChange { flow: None, packets: vec![packets.to_owned()], more: 0 }
}

impl Consequences {
    /// What the records of a change say about it.
    pub(crate) fn changes(&self) -> Changes {
        let mut left_out = 0;
        let mut list = |effect| {
            let flows = self.with_effect(effect);
            left_out += u64::try_from(self.with_effect(effect).count().saturating_sub(MAX_FLOWS)).unwrap_or(u64::MAX);
            Some(flows.take(MAX_FLOWS).map(|difference| self.change(difference)).collect())
        };
        let (newly_allowed, newly_denied) = (list(Effect::Allowed), list(Effect::Denied));
        let mode_change = self.stances().change();
        let (audit, open) = (self.is_audit(), self.open().to_vec());
        Changes { newly_allowed, newly_denied, left_out, audit, mode_change, open, not_known: None }
    }

    fn change(&self, difference: &Difference) -> FlowChange {
        if difference.flow.is_none() && self.is_everything_else(difference.effect) {
            return everything(self.other_packets(difference.effect));
        }
        let boxes = difference.with_others.as_ref().unwrap_or(&difference.boxes);
        FlowChange {
            flow: difference.flow.clone(),
            packets: boxes.iter().take(MAX_BOXES).map(|one| shortened(&one.to_string())).collect(),
            more: u64::try_from(boxes.len().saturating_sub(MAX_BOXES)).unwrap_or(u64::MAX),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.floor_char_boundary(MAX_TEXT) {
        end if end < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}
