//! What a change of the rules opened and closed, as events record and describe it.

use serde::{Deserialize, Serialize};

use crate::wording::count;

/// What one ruleset permits and another does not. The lists are bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Changes {
    /// What is newly permitted; `None` where it is not known.
    pub newly_allowed: Option<Vec<FlowChange>>,
    /// What is newly denied; `None` where it is not known.
    pub newly_denied: Option<Vec<FlowChange>>,
    /// How many flows are left out of the two lists.
    pub left_out: u64,
    /// Whether the rules since are in audit mode: what is newly denied is only logged.
    #[serde(default)]
    pub audit: bool,
    /// What begins or ends for packets that no flow permits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode_change: Option<ModeChange>,
    /// The flows that are open since, where an allowlist begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<String>,
    /// Why they are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_known: Option<String>,
}

impl Changes {
    /// No packet is treated differently.
    pub fn none() -> Self {
        Self { newly_allowed: Some(Vec::new()), newly_denied: Some(Vec::new()), ..Self::default() }
    }

    /// They are not known.
    pub fn not_known(why: String) -> Self {
        Self { not_known: Some(why), ..Self::default() }
    }
}

/// The packets of a flow that are treated differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowChange {
    /// The flow that permits them, before or after; `None` if no flow does.
    pub flow: Option<String>,
    /// The packets.
    pub packets: Vec<String>,
    /// How many descriptions of packets are left out.
    pub more: u64,
}

/// What begins or ends for packets that no flow permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModeChange {
    /// They were accepted, and are denied.
    EnforcementStarts,
    /// They were denied, and are accepted.
    EnforcementEnds,
    /// They are accepted as before, and logged.
    AuditStarts,
    /// They are accepted as before, and no longer logged.
    AuditEnds,
    /// What this version does not know.
    #[serde(other)]
    Other,
}

impl ModeChange {
    /// The word that files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::EnforcementStarts => "enforcement-starts",
            Self::EnforcementEnds => "enforcement-ends",
            Self::AuditStarts => "audit-starts",
            Self::AuditEnds => "audit-ends",
            Self::Other => "other",
        }
    }
}

/// Up to so many flows of a list are described, and not only named.
const MAX_DESCRIBED: usize = 3;

impl Changes {
    /// What changed, in short sentences; none if no packet is treated differently.
    pub fn sentences(&self) -> Vec<String> {
        let lists = self.lists().into_iter().map(|(title, list)| {
            let describe =
                |change: &&FlowChange| if list.len() <= MAX_DESCRIBED { change.brief() } else { change.name() };
            format!("{title}: {}", list.iter().map(describe).collect::<Vec<_>>().join(", "))
        });
        let more = usize::try_from(self.left_out).ok().filter(|more| *more > 0);
        let more = more.map(|more| format!("and {}", count(more, "more flow")));
        self.mode_sentence().into_iter().chain(lists).chain(more).collect()
    }

    /// What the change means for packets that no flow permits.
    pub fn mode_sentence(&self) -> Option<String> {
        let open = if self.open.is_empty() { "replies".to_owned() } else { self.open.join(", ") };
        Some(match self.mode_change {
            Some(ModeChange::EnforcementStarts) => format!("enforcement starts, all is denied but {open}"),
            Some(ModeChange::AuditStarts) => {
                format!("audit starts, nothing is denied; if it is enforced, all is denied but {open}")
            }
            Some(ModeChange::EnforcementEnds) if self.audit => {
                "enforcement ends, every packet is accepted; what was denied is only logged".to_owned()
            }
            Some(ModeChange::EnforcementEnds) => "enforcement ends, every packet is accepted".to_owned(),
            Some(ModeChange::AuditEnds) => "audit ends, every packet is accepted as before".to_owned(),
            Some(ModeChange::Other) | None if self.audit && !self.lists().is_empty() => {
                "mode is audit, nothing is denied".to_owned()
            }
            Some(ModeChange::Other) | None => return None,
        })
    }

    /// The flows whose packets are treated differently, with a title for each list. What the mode says of all packets is
    /// not repeated.
    pub fn lists(&self) -> Vec<(&'static str, Vec<&FlowChange>)> {
        let allowed = match self.mode_change {
            // Every packet is accepted.
            Some(ModeChange::EnforcementEnds | ModeChange::AuditEnds | ModeChange::AuditStarts) => None,
            Some(ModeChange::EnforcementStarts) => Some("newly permitted"),
            _ if self.audit => Some("newly allowed if enforced"),
            _ => Some("newly allowed"),
        };
        let denied = match self.mode_change {
            Some(ModeChange::AuditEnds | ModeChange::AuditStarts) => None,
            Some(ModeChange::EnforcementStarts) => Some("no longer permitted"),
            Some(ModeChange::EnforcementEnds) => Some("newly denied if enforced again"),
            _ if self.audit => Some("newly denied if enforced"),
            _ => Some("newly denied"),
        };
        let is_named = |change: &&FlowChange| self.mode_change.is_none() || change.flow.is_some();
        [(allowed, &self.newly_allowed), (denied, &self.newly_denied)]
            .into_iter()
            .filter_map(|(title, list)| Some((title?, list.iter().flatten().filter(is_named).collect::<Vec<_>>())))
            .filter(|(_, list)| !list.is_empty())
            .collect()
    }
}

impl FlowChange {
    /// The flow; packets of no flow have a description only.
    pub fn name(&self) -> String {
        match (&self.flow, &self.packets[..]) {
            (Some(flow), _) => flow.clone(),
            (None, [only]) if self.more == 0 => only.clone(),
            (None, _) => "packets of no flow".to_owned(),
        }
    }

    /// The flow with some of its packets: `ssh (tcp/22 from 10.0.1.0/24)`.
    fn brief(&self) -> String {
        let name = self.name();
        let Some(first) = self.packets.first().filter(|first| **first != name) else { return name };
        // Where they are seen says less than where they come from.
        let first = first.split_once(", ").map_or(&**first, |(_, packets)| packets);
        let more = self.packets.len() as u64 - 1 + self.more;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{name} ({first}{more})")
    }
}
