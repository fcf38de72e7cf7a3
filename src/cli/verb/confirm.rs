//! `edgeward confirm`.

use anyhow::anyhow;

use crate::cli::change::{self, Report};
use crate::cli::context::{ListFormat, MessageArguments, StateArguments, records};
use crate::cli::failure::{Check, Failure};
use crate::cli::hint;
use crate::diag::shown;
use crate::host::generations::Note;
use crate::host::kernel::Real;
use crate::host::rollout::{named, needs_recovery};

/// Keep the change that is pending
///
/// It is no longer undone at its deadline, and boot loads it from now on. Ends with exit code 5 if the change was
/// undone before, or if the kernel does not have it any more. Run it over a new connection to the host: then the new
/// rules are known to let you in.
///
/// Root or CAP_NET_ADMIN is required.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  ssh root@edge-7 edgeward confirm")]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    note: MessageArguments,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut report = Report::new(arguments.format);
    let done = run_reporting(arguments, &mut report);
    report.end(done)
}

fn run_reporting(arguments: &Arguments, report: &mut Report) -> Result<(), Failure> {
    let folder = shown(&arguments.state.state_dir);
    let Some(store) = arguments.state.lock_if_exists()? else {
        return Err(Failure::usage(anyhow!("`{folder}` does not exist, so nothing can be confirmed")));
    };
    let mut kernel = Real::default();
    let mut rollout = change::rollout(&store, &mut kernel);
    let mut state = records(&store)?;
    report.found(&state);
    let was_pending = state.pending.clone();
    if needs_recovery(&state) || store.damage().is_some() {
        state = change::recover(&mut rollout, true, report)?;
    }
    if state.pending.is_some() {
        rollout.note = Note { message: arguments.note.message.clone(), ..Note::default() };
        let (state, outcome) = rollout.confirm(&state)?;
        report.left(&state);
        change::show_notices(&outcome);
        report.say(&format!("{} is confirmed; boot loads it\n", named(state.confirmed)));
        return Ok(());
    }
    arguments.note.note_unused();
    match (was_pending.map(|pending| pending.generation).or(state.undone), state.undone) {
        (Some(number), Some(_)) => {
            let undone = change::undone_sentence(&state, number);
            Err(Failure::refused(Check::Undone, anyhow!("nothing is pending: {undone}")))
        }
        _ => {
            report.say(&format!(
                "nothing is pending in `{folder}`: {} was applied last; `{}` shows what is in force\n",
                named(state.current),
                hint::command("status")
            ));
            Ok(())
        }
    }
}
