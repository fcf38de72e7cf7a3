//! `edgeward boot`.

use super::rollout::{self, StateArguments};
use super::{Failure, render};
use crate::host::kernel::Real;
use crate::host::rollout::named;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let store = arguments.state.hold()?;
    let mut kernel = Real::default();
    let before = store.state()?;
    let (loaded, made) = rollout::rollout(&store, &mut kernel).boot()?;
    rollout::tell(&made);
    match loaded {
        None => render::output("no generation was ever confirmed: there is nothing to load\n"),
        Some(number) => {
            let already = if made.changed { "" } else { " already" };
            render::output(&format!("generation {number} is in force{already}\n"))?;
            match before.confirmed == loaded || before.pending.is_some() && before.current == loaded {
                true => Ok(()),
                false => Err(Failure::System(anyhow::anyhow!(
                    "{} is damaged, so an older one was loaded; apply the policy anew",
                    named(before.confirmed)
                ))),
            }
        }
    }
}
