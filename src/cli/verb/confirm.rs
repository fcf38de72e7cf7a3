//! `edgeward confirm`.

use crate::cli::context::StateArguments;
use crate::cli::failure::Failure;
use crate::cli::{render, report};
use crate::host::kernel::Real;
use crate::host::rollout::{named, needs_recovery};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let folder = arguments.state.state_dir.display();
    let Some(store) = arguments.state.hold_if_there()? else {
        return Err(Failure::Usage(anyhow::anyhow!("`{folder}` is not there: nothing is pending in it")));
    };
    let mut kernel = Real::default();
    let mut rollout = report::rollout(&store, &mut kernel);
    let mut state = store.state()?;
    let was_pending = state.pending.clone();
    // Whoever can say this word need not wait for the kernel, unless there is something to make good.
    if needs_recovery(&state) {
        state = report::recover(&mut rollout, true)?;
    }
    if state.pending.is_some() {
        let state = rollout.confirm(&state)?;
        return render::output(&format!("{} is confirmed; boot loads it\n", named(state.confirmed)));
    }
    match (was_pending.map(|pending| pending.generation).or(state.undone), state.undone) {
        (Some(number), Some(_)) => {
            let at = state.generations.get(&number).and_then(|record| record.rolled_back);
            let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
            Err(Failure::Refused(anyhow::anyhow!(
                "nothing is pending: {} was undone{at}, and {} is in force",
                named(Some(number)),
                named(state.current)
            )))
        }
        _ => render::output(&format!(
            "nothing is pending in `{folder}`: {} was applied last; `edgeward status` shows what is in force\n",
            named(state.current)
        )),
    }
}
