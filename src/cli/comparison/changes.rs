//! What a change opens and closes, for the records: bounded, however much it is.

use crate::host::generations::{Changes, FlowChange};
use crate::ruleset::{Effect, Ruleset, differences};

/// The most flows of each list.
const MAX_FLOWS: usize = 20;
/// The most boxes of packets of a flow.
const MAX_BOXES: usize = 5;
/// The longest description of a box.
const MAX_TEXT: usize = 200;

/// What one ruleset permits and denies that another does not. `None` is no table, which accepts every packet.
pub(crate) fn changes(before: Option<&Ruleset>, after: Option<&Ruleset>) -> Changes {
    let all = |packets: &str| vec![FlowChange { flow: None, packets: vec![packets.to_owned()], more: 0 }];
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) => (before, after),
        (None, None) => return Changes::none(),
        // The complement of a policy has no useful description.
        (None, Some(_)) => return Changes { newly_denied: Some(all("all that no flow permits")), ..Changes::none() },
        (Some(_), None) => return Changes { newly_allowed: Some(all("every packet")), ..Changes::none() },
    };
    let mut changes = Changes::none();
    for difference in differences(&[before, after]) {
        let list = match difference.effect {
            Effect::Allowed => &mut changes.newly_allowed,
            Effect::Denied => &mut changes.newly_denied,
            _ => continue,
        };
        let Some(list) = list.as_mut().filter(|list| list.len() < MAX_FLOWS) else {
            changes.left_out += 1;
            continue;
        };
        let boxes = difference.boxes.iter();
        list.push(FlowChange {
            flow: difference.flow,
            packets: boxes.take(MAX_BOXES).map(|one| shortened(&one.to_string())).collect(),
            more: u64::try_from(difference.boxes.len().saturating_sub(MAX_BOXES)).unwrap_or(u64::MAX),
        });
    }
    changes
}

fn shortened(text: &str) -> String {
    match text.floor_char_boundary(MAX_TEXT) {
        end if end < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}
