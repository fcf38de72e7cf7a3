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
    let Some(store) = arguments.state.hold_if_there()? else {
        let folder = arguments.state.state_dir.display();
        return render::output(&format!(
            "`{folder}` is not there: no generation was ever confirmed, and none is loaded\n"
        ));
    };
    let mut kernel = Real::default();
    let confirmed = store.state()?.confirmed;
    let (loaded, made) = rollout::rollout(&store, &mut kernel).boot()?;
    rollout::tell(&made);
    match loaded {
        None => render::output("no generation was ever confirmed: there is nothing to load\n"),
        Some(number) => {
            let already = if made.changed { "" } else { " already" };
            render::output(&format!("generation {number} is in force{already}\n"))?;
            match confirmed == loaded {
                true => Ok(()),
                false => Err(Failure::System(anyhow::anyhow!(
                    "{} is damaged, so an older one was loaded; apply the policy anew",
                    named(confirmed)
                ))),
            }
        }
    }
}
