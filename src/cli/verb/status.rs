//! `edgeward status`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::context::{KernelArguments, ListFormat, StateArguments};
use crate::cli::failure::Failure;
use crate::cli::preflight::{self, OtherFilters};
use crate::cli::{change, render};
use crate::host::clock::{self, pause};
use crate::host::foreign::ForeignChain;
use crate::host::generations::{Manifest, State, Store};
use crate::host::kernel::{Kernel, KernelError};
use crate::host::netlink::Counter;
use crate::host::rollout::{generation_in_kernel, has_expired, named, recall, time_left};
use crate::host::transition::means;
use crate::live::Live;
use crate::net::Hook;
use crate::nft::{CHAIN_POLICIES, NETFILTER_HOOKS, TABLE_FAMILIES};
use crate::report::duration;
use crate::ruleset::{FLOW_COUNTER, TABLE};

/// Show which rules are in force, what they have counted, and which other packet filters see the same packets
///
/// Compares the kernel's table with the generation that was applied last, and says whether another program has changed
/// it. Lists the pending change with its deadline, and the packets and bytes of each flow and of each denial. Changes
/// nothing.
///
/// Root or CAP_NET_ADMIN is required.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward status
  edgeward status --format json | jq .table")]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// The kernel's table, compared with the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableState {
    /// There is none, and there should be none.
    Absent,
    /// It is as it was applied.
    AsApplied,
    /// A generation was applied, and the table no longer exists.
    Gone,
    /// Another program has changed or created it.
    Changed,
    /// It contains something that edgeward does not know.
    Unreadable,
}

impl TableState {
    fn word(self) -> &'static str {
        match self {
            TableState::Absent => "absent",
            TableState::AsApplied => "as-applied",
            TableState::Gone => "gone",
            TableState::Changed => "changed",
            TableState::Unreadable => "unreadable",
        }
    }
}

/// How many times a table that looks changed is read again, and after which time.
const MAX_REREADS: usize = 3;
const REREAD_INTERVAL: Duration = Duration::from_millis(200);

struct Status {
    state: State,
    /// The generation that the kernel has reached, according to the records.
    current: Option<u64>,
    manifest: Option<Manifest>,
    table: TableState,
    /// Whether all elements were read.
    deep: bool,
    counters: BTreeMap<String, Counter>,
    others: OtherFilters,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = arguments.state.read();
    let mut kernel = arguments.kernel.kernel();
    let mut status = Status::read(&store, &mut kernel, arguments.kernel.deep)?;
    // While another run changes the rules, the kernel is ahead of the records.
    for _ in 0..MAX_REREADS {
        if status.table != TableState::Changed {
            break;
        }
        pause(REREAD_INTERVAL);
        status = Status::read(&store, &mut kernel, arguments.kernel.deep)?;
    }
    render::output(&match arguments.format {
        ListFormat::Text => status.text(),
        ListFormat::Json => render::document(&status.document())?,
    })
}

fn warning(sentence: &str) -> String {
    format!("{} {sentence}", render::red("warning:"))
}

impl Status {
    fn read(store: &Store, kernel: &mut dyn Kernel, deep: bool) -> Result<Self, Failure> {
        let state = store.state()?;
        recall(store, kernel, &state);
        let (live, readable) = match kernel.table() {
            Ok(table) => (table.map(Live), true),
            Err(KernelError::Unreadable(_)) => (None, false),
            Err(error) => return Err(error.into()),
        };
        let current = generation_in_kernel(store, &state, live.as_ref());
        let recorded = current.map(|number| store.ruleset(number)).transpose()?;
        let table = match (&live, &recorded) {
            _ if !readable => TableState::Unreadable,
            (None, None) => TableState::Absent,
            (None, Some(_)) => TableState::Gone,
            (Some(_), _) if means(live.as_ref(), recorded.as_ref()) => match recorded {
                Some(_) => TableState::AsApplied,
                None => TableState::Absent,
            },
            (Some(_), _) => TableState::Changed,
        };
        let counters = kernel.counters()?;
        let ruleset = live.map(|live| live.meaning()).or(recorded).unwrap_or_default();
        let manifest = current.map(|number| store.manifest(number)).transpose()?;
        Ok(Self { state, current, manifest, table, deep, counters, others: preflight::other_filters(&ruleset) })
    }

    fn text(&self) -> String {
        let sections = [vec![self.table_text()], self.origin_lines(), self.change_lines()];
        let mut lines = sections.concat();
        lines.extend(self.counter_lines());
        lines.extend(self.filter_lines());
        lines.join("\n") + "\n"
    }

    fn table_text(&self) -> String {
        let current = named(self.current);
        match self.table {
            TableState::Absent => format!("no table `inet {TABLE}`: every packet is accepted"),
            TableState::AsApplied => format!("{current} is in force, as it was applied"),
            TableState::Gone => warning(&format!(
                "the table `inet {TABLE}` is gone: every packet is accepted. {current} was applied last; \
                 `edgeward boot` loads the generation that was confirmed last"
            )),
            TableState::Changed if self.current.is_none() => {
                warning(&format!("the table `inet {TABLE}` was not applied by edgeward"))
            }
            TableState::Changed => warning(&format!(
                "another program has changed the table `inet {TABLE}` since {current} was applied; \
                 `edgeward diff {}POLICY` shows the difference",
                // What was found by reading all elements is only found again by reading them all.
                if self.deep { "--deep " } else { "" }
            )),
            TableState::Unreadable => warning(&format!(
                "the table `inet {TABLE}` contains something that edgeward did not write; \
                 `edgeward diff POLICY` shows the line"
            )),
        }
    }

    /// The policy in force, its age and its author.
    fn origin_lines(&self) -> Vec<String> {
        let Some(manifest) = &self.manifest else { return Vec::new() };
        let policy = manifest.policy.as_ref().map(|policy| {
            let path = render::policy_place(policy);
            format!("policy `{}` ({path}), target {}, mode {}", policy.name, policy.target, policy.mode)
        });
        let age = duration(clock::now().duration_since(manifest.made));
        policy.into_iter().chain([format!("made {age} ago ({}) by {}", manifest.made, manifest.by)]).collect()
    }

    /// What boot loads, what is pending, and what was interrupted.
    fn change_lines(&self) -> Vec<String> {
        let mut lines = vec![format!("boot loads {}", named(self.state.confirmed))];
        lines.extend(self.state.pending.as_ref().map(|pending| match has_expired(pending) {
            false => change::pending_sentence(pending),
            true => warning(&format!(
                "{} is pending, and its deadline has expired; the next command undoes it",
                named(Some(pending.generation))
            )),
        }));
        lines.extend(self.state.switching.as_ref().map(|switching| {
            format!("a change to {} is running or was interrupted; the next command recovers", named(switching.to))
        }));
        lines
    }

    fn counter_lines(&self) -> Vec<String> {
        if self.counters.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![format!("\n{:<40} {:>14} {:>18}", "counted", "packets", "bytes")];
        let is_flow = |(name, _): &(&String, &Counter)| name.starts_with(FLOW_COUNTER);
        let (flows, denied): (Vec<_>, Vec<_>) = self.counters.iter().partition(is_flow);
        lines.extend(denied.into_iter().chain(flows).map(|(name, counter)| {
            let name = name.strip_prefix(FLOW_COUNTER).unwrap_or(name);
            format!("{name:<40} {:>14} {:>18}", counter.packets, counter.bytes)
        }));
        lines
    }

    fn filter_lines(&self) -> Vec<String> {
        let OtherFilters { chains, warnings } = &self.others;
        if chains.is_empty() && warnings.is_empty() {
            return Vec::new();
        }
        let mut lines = vec!["\nother packet filters that see the same packets".to_owned()];
        lines.extend(chains.iter().map(|(hook, chain)| format!("  {}", preflight::describe(*hook, chain))));
        lines.extend(warnings.iter().map(|sentence| format!("  {}", warning(sentence))));
        lines
    }

    fn document(&self) -> Value {
        let Self { state, current, manifest, table, deep, counters, others } = self;
        let policy = manifest.as_ref().and_then(|manifest| manifest.policy.as_ref());
        let chain = |(hook, chain): &(Hook, ForeignChain)| {
            json!({
                "family": TABLE_FAMILIES.word(chain.family), "table": chain.table, "chain": chain.chain,
                "hook": NETFILTER_HOOKS.word(chain.hook), "priority": chain.priority,
                "policy": CHAIN_POLICIES.word(chain.policy),
                "owners": chain.owners, "order": preflight::order(*hook, chain),
            })
        };
        let count = |(name, counter): (&String, &Counter)| {
            (name.clone(), json!({"packets": counter.packets, "bytes": counter.bytes}))
        };
        json!({
            "table": table.word(),
            "deep": deep,
            "generation": current,
            "loaded-at-boot": state.confirmed,
            "made": manifest.as_ref().map(|manifest| manifest.made.to_string()),
            "by": manifest.as_ref().map(|manifest| &manifest.by),
            "policy": policy.map(render::policy_json),
            "pending": state.pending.as_ref().map(|pending| json!({
                "generation": pending.generation, "back-to": pending.back_to, "deadline": pending.deadline.to_string(),
                "seconds-left": time_left(pending).as_secs(),
            })),
            "switching": state.switching.is_some(),
            "counters": counters.iter().map(count).collect::<Map<_, _>>(),
            "others": others.chains.iter().map(chain).collect::<Vec<_>>(),
            "warnings": others.warnings,
        })
    }
}
