//! `edgeward boot`.

use anyhow::anyhow;

use crate::cli::context::StateArguments;
use crate::cli::failure::Failure;
use crate::cli::{change, render};
use crate::host::kernel::Real;
use crate::host::rollout::named;

/// Load the last confirmed generation from disk, when the host boots
///
/// Needs no network and no DNS; `edgeward-boot.service` runs it before the network is up. A change that was pending
/// when the host went down is not loaded. If the confirmed generation is damaged, an older one is loaded, and the
/// command ends with exit code 4.
///
/// Root or CAP_NET_ADMIN is required.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward boot")]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Some(store) = arguments.state.lock_if_exists()? else {
        let folder = arguments.state.state_dir.display();
        return render::output(&format!(
            "`{folder}` does not exist: no generation was ever confirmed, and none is loaded\n"
        ));
    };
    let mut kernel = Real::default();
    let confirmed = store.state()?.confirmed;
    let (loaded, outcome) = change::rollout(&store, &mut kernel).boot()?;
    change::show_notices(&outcome);
    let Some(number) = loaded else {
        return render::output("no generation was ever confirmed: there is nothing to load\n");
    };
    let already = if outcome.changed { "" } else { " already" };
    render::output(&format!("generation {number} is in force{already}\n"))?;
    match confirmed == loaded {
        true => Ok(()),
        false => Err(Failure::system(anyhow!(
            "{} is damaged, so an older generation was loaded; apply the policy again",
            named(confirmed)
        ))),
    }
}
