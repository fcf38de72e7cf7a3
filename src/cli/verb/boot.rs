//! `edgeward boot`.

use crate::cli::context::StateArguments;
use crate::cli::failure::Failure;
use crate::cli::{render, report};
use crate::host::kernel::Real;
use crate::host::rollout::named;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Some(store) = arguments.state.hold_if_there()? else {
        let folder = arguments.state.state_dir.display();
        return render::output(&format!(
            "`{folder}` is not there: no generation was ever confirmed, and none is loaded\n"
        ));
    };
    let mut kernel = Real::default();
    let confirmed = store.state()?.confirmed;
    let (loaded, outcome) = report::rollout(&store, &mut kernel).boot()?;
    report::tell(&outcome);
    match loaded {
        None => render::output("no generation was ever confirmed: there is nothing to load\n"),
        Some(number) => {
            let already = if outcome.changed { "" } else { " already" };
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
