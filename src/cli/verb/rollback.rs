//! `edgeward rollback`.

use std::path::Path;

use anyhow::anyhow;

use crate::cli::context::{GuardArguments, KernelArguments, LoadedPolicy, StateArguments, kept_catalog, kept_policy};
use crate::cli::failure::{Failure, chosen};
use crate::cli::preflight::GuardedPolicy;
use crate::cli::{change, preflight, render};
use crate::host::generations::{State, Store};
use crate::host::rollout::{ChangeOptions, named};
use crate::policy::syntax::SSH_PORT;
use crate::resolution::Resolution;

/// Undo the change that is pending, or go back to an older generation
///
/// Without GEN it undoes the pending change, and if none is pending it goes back to the generation before the one in
/// force. A generation has its own ruleset with the addresses of its time; the policy file is not changed, so put the
/// older policy back as well.
///
/// Root or CAP_NET_ADMIN is required.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward rollback
  edgeward history
  edgeward rollback 7 --confirm-within 2m")]
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
    let Some(store) = arguments.state.lock_if_exists()? else {
        let folder = arguments.state.state_dir.display();
        return Err(Failure::usage(anyhow!("`{folder}` does not exist: nothing was applied from it")));
    };
    if let Some(number) = arguments.generation {
        chosen(store.ruleset(number))?;
    }
    let mut kernel = arguments.kernel.kernel();
    let force = arguments.guard.force;
    let mut rollout = change::rollout(&store, &mut kernel);
    let state = change::recover(&mut rollout, force)?;
    // No preflight: the deadline would do the same.
    if let (Some(pending), None) = (&state.pending, arguments.generation) {
        let undone = named(Some(pending.generation));
        let (state, outcome) = rollout.undo(&state, "by hand")?;
        change::show_notices(&outcome);
        return render::output(&format!("{undone} is undone: {} is in force\n", in_force(&state)));
    }
    let number = arguments.generation.map_or_else(|| previous(&state), Ok)?;
    if state.current == Some(number) && state.pending.is_none() && !rollout.is_unreadable {
        return render::output(&format!("nothing to change: generation {number} is in force\n"));
    }
    let ruleset = store.ruleset(number)?;
    let kept = policy_of(&store, number, folder)?;
    let guarded = kept.as_ref().map(|(loaded, resolution)| GuardedPolicy {
        policy: &loaded.policy,
        intent: &loaded.intent,
        resolution,
    });
    preflight::enforce(&preflight::check(&ruleset, guarded.as_ref()), force)?;
    let ssh_port = guarded.map_or(SSH_PORT, |guarded| guarded.policy.ssh_port());
    let options = ChangeOptions { confirm_within: arguments.guard.confirm_within, force, ssh_port };
    let (state, outcome) = rollout.rollback(&state, Some(number), options)?;
    change::show_notices(&outcome);
    change::print_result(&format!("generation {number} is in force again"), &state, outcome.watcher.as_ref())
}

fn in_force(state: &State) -> String {
    match state.current {
        None => "no table, as before; every packet is accepted".to_owned(),
        current => named(current),
    }
}

/// The newest generation before the one in force that was not undone.
fn previous(state: &State) -> Result<u64, Failure> {
    let mut before = state.generations.range(..state.current.unwrap_or(0)).rev();
    let found = before.find(|(_, record)| record.rolled_back.is_none()).map(|(number, _)| *number);
    found.ok_or_else(|| {
        let what = match state.current {
            None => "no generation is in force, so there is none before it".to_owned(),
            current => format!("there is no generation before {}", named(current)),
        };
        Failure::usage(anyhow!("{what}; `edgeward history` lists the generations that are kept"))
    })
}

/// The policy of a generation, for the preflight; `None` if it has no policy, or one that this version does not accept.
fn policy_of(store: &Store, number: u64, folder: Option<&Path>) -> Result<Option<(LoadedPolicy, Resolution)>, Failure> {
    let Some(facts) = store.manifest(number)?.policy else { return Ok(None) };
    let kept =
        kept_catalog(store, number, &facts, folder).and_then(|catalog| kept_policy(store, number, &facts, &catalog));
    let kept = kept.unwrap_or_else(|problems| {
        render::failure(&problems);
        None
    });
    if kept.is_none() {
        render::warning("this version does not accept the generation's policy: only live sessions were checked");
    }
    Ok(kept)
}
