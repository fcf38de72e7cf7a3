//! `edgeward rollback`.

use std::path::Path;

use crate::cli::context::{GuardArguments, KernelArguments, Loaded, StateArguments, kept_policy, load_catalog};
use crate::cli::failure::{Failure, chosen};
use crate::cli::preflight::Purpose;
use crate::cli::{preflight, render, report};
use crate::host::generations::{State, Store};
use crate::host::rollout::{ChangeOptions, named};
use crate::policy::syntax::SSH_PORT;
use crate::resolution::Resolution;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The generation to go back to [default: the one before the pending change, else the one before the present one]
    #[arg(value_name = "GEN")]
    generation: Option<u64>,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    #[command(flatten)]
    guard: GuardArguments,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let Some(store) = arguments.state.hold_if_there()? else {
        let folder = arguments.state.state_dir.display();
        return Err(Failure::Usage(anyhow::anyhow!("`{folder}` is not there: nothing was applied from it")));
    };
    if let Some(number) = arguments.generation {
        chosen(store.ruleset(number))?;
    }
    let mut kernel = arguments.kernel.kernel();
    let force = arguments.guard.force;
    let mut rollout = report::rollout(&store, &mut kernel);
    let state = report::recover(&mut rollout, force)?;
    // This would happen by itself, so there is nothing to guard.
    if let (Some(pending), None) = (&state.pending, arguments.generation) {
        let undone = named(Some(pending.generation));
        let (state, outcome) = rollout.undo(&state, "by hand")?;
        report::tell(&outcome);
        return render::output(&format!("{undone} is undone: {} is in force\n", in_force(&state)));
    }
    let number = match arguments.generation {
        Some(number) => number,
        None => previous(&state).ok_or_else(|| {
            let what = match state.current {
                None => "no generation is in force, so there is none before it".to_owned(),
                current => format!("there is no generation before {}", named(current)),
            };
            Failure::Usage(anyhow::anyhow!("{what}; `edgeward history` lists those that are kept"))
        })?,
    };
    if state.current == Some(number) && state.pending.is_none() && !rollout.is_unreadable {
        return render::output(&format!("nothing to change: generation {number} is in force\n"));
    }
    let ruleset = store.ruleset(number)?;
    let kept = purpose(&store, number, folder)?;
    let purpose = kept.as_ref().map(|(loaded, resolution)| Purpose {
        policy: &loaded.policy,
        intent: &loaded.intent,
        resolution,
    });
    preflight::judge(&preflight::prospect(&ruleset, purpose.as_ref()), force)?;
    let port = purpose.map_or(SSH_PORT, |purpose| purpose.policy.ssh_port());
    let options = ChangeOptions { confirm_within: arguments.guard.confirm_within, force, ssh_port: port };
    let (state, outcome) = rollout.rollback(&state, Some(number), options)?;
    report::tell(&outcome);
    report::report(&format!("generation {number} is in force again"), &state, outcome.watcher.as_ref())
}

fn in_force(state: &State) -> String {
    match state.current {
        None => "no table, as before; every packet is accepted".to_owned(),
        current => named(current),
    }
}

/// The newest generation before the present one that was in force for good.
fn previous(state: &State) -> Option<u64> {
    let before = state.generations.range(..state.current?);
    before.rev().find(|(_, record)| record.rolled_back.is_none()).map(|(number, _)| *number)
}

/// What the generation's operator depends on; nothing where it has no policy, or one of another time.
fn purpose(store: &Store, number: u64, folder: Option<&Path>) -> Result<Option<(Loaded, Resolution)>, Failure> {
    let Some(facts) = store.manifest(number)?.policy else { return Ok(None) };
    let kept = kept_policy(store, number, &facts.target, &load_catalog(folder)?);
    if kept.is_none() {
        render::warning("this version does not take the generation's policy: only live sessions were checked");
    }
    Ok(kept)
}
