//! `edgeward boot`.

use anyhow::anyhow;

use crate::cli::change::{self, Report};
use crate::cli::context::{ListFormat, StateArguments, records};
use crate::cli::failure::Failure;
use crate::cli::hint;
use crate::diag::shown;
use crate::host::kernel::Real;
use crate::host::rollout::named;

/// Load the last confirmed generation from disk, when the host boots
///
/// Needs no network and no DNS; `edgeward-boot.service` runs it before the network is up. A change that was pending
/// when the host went down is not loaded. If the confirmed generation is damaged, another one is loaded that was
/// confirmed, an older one if there is one, and the command ends with exit code 4.
///
/// Root or CAP_NET_ADMIN is required.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward boot")]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut report = Report::new(arguments.format);
    let Some(store) = arguments.state.lock_if_exists()? else {
        let folder = shown(&arguments.state.state_dir);
        report.say(&format!("`{folder}` does not exist: no generation was ever confirmed, and none is loaded\n"));
        return report.end(Ok(()));
    };
    let mut kernel = Real::default();
    // A state of a newer version is no reason to boot without rules.
    let before = records(&store).ok();
    before.iter().for_each(|before| report.found(before));
    let (loaded, outcome) = change::rollout(&store, &mut kernel).boot()?;
    change::show_notices(&outcome);
    report.changed(outcome.changed);
    report.left(&store.state()?);
    if loaded.is_none()
        && let Some(before) = before.as_ref().filter(|before| before.current.is_none())
        && let Some(number) = before.generations.keys().rev().find(|number| store.check_ruleset(**number).is_ok())
        && store.damage().is_some()
    {
        return Err(Failure::system(anyhow!(
            "no generation is known to have been confirmed, so none was loaded; `{}` loads the newest one",
            hint::command("rollback").word(number)
        )));
    }
    report.say(&match loaded {
        None => "no generation was ever confirmed: there is nothing to load\n".to_owned(),
        Some(number) if outcome.changed => format!("generation {number} is in force\n"),
        Some(number) => format!("generation {number} is in force already\n"),
    });
    report.end(Ok(()))?;
    let confirmed = before.and_then(|before| before.confirmed);
    match loaded.is_none() || confirmed == loaded {
        true => Ok(()),
        false => Err(Failure::system(anyhow!(
            "{} is damaged, so {} was loaded; apply the policy again",
            named(confirmed),
            named(loaded)
        ))),
    }
}
