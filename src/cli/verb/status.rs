//! `edgeward status`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::context::{KernelArguments, ListFormat, StateArguments};
use crate::cli::failure::Failure;
use crate::cli::preflight::Others;
use crate::cli::{manifest, preflight, render, report};
use crate::host::clock::{self, pause};
use crate::host::generations::{Manifest, State, Store};
use crate::host::kernel::{Kernel, KernelError};
use crate::host::netlink::Counter;
use crate::host::rollout::{generation_in_kernel, has_expired, named, recall};
use crate::host::transition::means;
use crate::live::Live;
use crate::nft::{CHAIN_POLICIES, NETFILTER_HOOKS, TABLE_FAMILIES};
use crate::report::duration;
use crate::ruleset::{FLOW_COUNTER, TABLE};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// How the kernel's table stands to the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// There is none, and there should be none.
    Absent,
    /// It is as it was applied.
    AsApplied,
    /// It was brought to a generation, and is not there any more.
    Gone,
    /// Somebody has changed it, or made it.
    Changed,
    /// It has something in it that edgeward does not know.
    Unreadable,
}

impl Standing {
    fn word(self) -> &'static str {
        match self {
            Standing::Absent => "absent",
            Standing::AsApplied => "as-applied",
            Standing::Gone => "gone",
            Standing::Changed => "changed",
            Standing::Unreadable => "unreadable",
        }
    }
}

/// How often, and after what time, it looks again.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_millis(200);

struct Status {
    state: State,
    /// The generation that the kernel has got to, as far as the records know.
    current: Option<u64>,
    manifest: Option<Manifest>,
    standing: Standing,
    /// Whether all elements were read.
    deep: bool,
    counters: BTreeMap<String, Counter>,
    others: Others,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = arguments.state.look();
    let mut kernel = arguments.kernel.kernel();
    let mut status = look(&store, &mut kernel, arguments.kernel.deep)?;
    // A change that is on its way has reached the kernel before the records.
    for _ in 0..LOOKS {
        if status.standing != Standing::Changed {
            break;
        }
        pause(PAUSE);
        status = look(&store, &mut kernel, arguments.kernel.deep)?;
    }
    render::output(&match arguments.format {
        ListFormat::Text => text(&status),
        ListFormat::Json => render::document(&document(&status))?,
    })
}

fn look(store: &Store, kernel: &mut dyn Kernel, deep: bool) -> Result<Status, Failure> {
    let state = store.state()?;
    recall(store, kernel, &state);
    let (live, readable) = match kernel.table() {
        Ok(table) => (table.map(Live), true),
        Err(KernelError::Unreadable(_)) => (None, false),
        Err(error) => return Err(error.into()),
    };
    let current = generation_in_kernel(store, &state, live.as_ref());
    let recorded = current.map(|number| store.ruleset(number)).transpose()?;
    let standing = match (&live, &recorded) {
        _ if !readable => Standing::Unreadable,
        (None, None) => Standing::Absent,
        (None, Some(_)) => Standing::Gone,
        (Some(_), _) if means(live.as_ref(), recorded.as_ref()) => match recorded {
            Some(_) => Standing::AsApplied,
            None => Standing::Absent,
        },
        (Some(_), _) => Standing::Changed,
    };
    let counters = kernel.counters()?;
    let ruleset = live.map(|live| live.meaning()).or(recorded).unwrap_or_default();
    let manifest = current.map(|number| store.manifest(number)).transpose()?;
    Ok(Status { state, current, manifest, standing, deep, counters, others: preflight::others(&ruleset) })
}

fn text(status: &Status) -> String {
    let Status { state, current: number, manifest, standing, deep, counters, others } = status;
    let current = named(*number);
    let mut lines = vec![match standing {
        Standing::Absent => format!("no table `inet {TABLE}`: every packet is accepted"),
        Standing::AsApplied => format!("{current} is in force, as it was applied"),
        Standing::Gone => format!(
            "{} the table `inet {TABLE}` is gone: every packet is accepted. It was brought to {current}; \
             `edgeward boot` loads what was confirmed last",
            render::red("warning:")
        ),
        Standing::Changed if number.is_none() => {
            format!("{} the table `inet {TABLE}` was not applied by edgeward", render::red("warning:"))
        }
        Standing::Changed => format!(
            "{} somebody has changed the table `inet {TABLE}` since it was brought to {current}; \
             `edgeward diff {}POLICY` shows what",
            render::red("warning:"),
            // What only all elements tell, others do not see.
            if *deep { "--deep " } else { "" }
        ),
        Standing::Unreadable => format!(
            "{} the table `inet {TABLE}` has something in it that edgeward did not make; \
             `edgeward diff POLICY` shows the line",
            render::red("warning:")
        ),
    }];
    if let Some(manifest) = manifest {
        let age = duration(clock::now().duration_since(manifest.made));
        let policy = manifest.policy.as_ref();
        lines.extend(policy.map(|policy| {
            format!(
                "policy `{}` ({}), target {}, mode {}",
                policy.name,
                policy.path.display(),
                policy.target,
                policy.mode
            )
        }));
        lines.push(format!("made {age} ago ({}) by {}", manifest.made, manifest.by));
    }
    lines.push(format!("boot loads {}", named(state.confirmed)));
    lines.extend(state.pending.as_ref().map(|pending| match has_expired(pending) {
        false => report::deadline(pending),
        true => format!(
            "{} {} is pending, and its time is over; the next command undoes it",
            render::red("warning:"),
            named(Some(pending.generation))
        ),
    }));
    lines.extend(state.switching.as_ref().map(|switching| {
        format!("a change to {} is on its way, or was broken off; the next command finds out", named(switching.to))
    }));
    if !counters.is_empty() {
        lines.push(format!("\n{:<40} {:>14} {:>18}", "counted", "packets", "bytes"));
        let (flows, denied): (Vec<_>, Vec<_>) = counters.iter().partition(|(name, _)| name.starts_with(FLOW_COUNTER));
        for (name, counter) in denied.into_iter().chain(flows) {
            let name = name.strip_prefix(FLOW_COUNTER).unwrap_or(name);
            lines.push(format!("{name:<40} {:>14} {:>18}", counter.packets, counter.bytes));
        }
    }
    if !others.chains.is_empty() || !others.warnings.is_empty() {
        lines.push("\nothers who judge the same packets".to_owned());
        lines.extend(others.chains.iter().map(|(hook, chain)| format!("  {}", preflight::sentence(*hook, chain))));
        lines.extend(others.warnings.iter().map(|warning| format!("  {} {warning}", render::red("warning:"))));
    }
    lines.join("\n") + "\n"
}

fn document(status: &Status) -> Value {
    let Status { state, current, manifest, standing, deep, counters, others } = status;
    let policy = manifest.as_ref().and_then(|manifest| manifest.policy.as_ref());
    let chain = |(hook, chain): &(crate::net::Hook, crate::host::foreign::ForeignChain)| {
        json!({
            "family": TABLE_FAMILIES.word(chain.family), "table": chain.table, "chain": chain.chain,
            "hook": NETFILTER_HOOKS.word(chain.hook), "priority": chain.priority,
            "policy": CHAIN_POLICIES.word(chain.policy), "owners": chain.owners, "order": preflight::when(*hook, chain),
        })
    };
    let count = |(name, counter): (&String, &Counter)| {
        (name.clone(), json!({"packets": counter.packets, "bytes": counter.bytes}))
    };
    json!({
        "table": standing.word(),
        "deep": deep,
        "generation": current,
        "loaded-at-boot": state.confirmed,
        "made": manifest.as_ref().map(|manifest| manifest.made.to_string()),
        "by": manifest.as_ref().map(|manifest| &manifest.by),
        "policy": policy.map(manifest::summary),
        "pending": state.pending.as_ref().map(|pending| json!({
            "generation": pending.generation, "back-to": pending.back_to, "deadline": pending.deadline.to_string(),
            "seconds-left": crate::host::rollout::time_left(pending).as_secs(),
        })),
        "switching": state.switching.is_some(),
        "counters": counters.iter().map(count).collect::<serde_json::Map<_, _>>(),
        "others": others.chains.iter().map(chain).collect::<Vec<_>>(),
        "warnings": others.warnings,
    })
}
