//! `edgeward uninstall`.

use std::time::Duration;

use crate::cli::change::{self, Report};
use crate::cli::context::{ListFormat, StateArguments, records};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::shown;
use crate::host::generations::Why;
use crate::host::kernel::{Kernel, Real};
use crate::host::rollout::named;
use crate::live::Change;

/// Settle the rules before the program is removed
///
/// A pending change is undone: without the program, it could not be confirmed. The confirmed rules stay in force until the
/// host reboots, or go at once with `--remove-rules`. `make uninstall` and packages run this before they remove the
/// program. It removes no file and stops no unit.
///
/// Root or CAP_NET_ADMIN is required.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward uninstall
  edgeward uninstall --remove-rules")]
pub(crate) struct Arguments {
    #[command(flatten)]
    state: StateArguments,
    /// Remove the table from the kernel: every packet is then accepted, unless another table denies it
    ///
    /// Boot does not load it again either, even if the program is installed again.
    #[arg(long)]
    remove_rules: bool,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut report = Report::new(arguments.format);
    let done = settle(arguments, &mut report);
    // The folder may be removed next. A watcher needs its lock to end.
    if done.is_ok() && !arguments.state.read().wait_for_watchers(MAX_WATCHER_WAIT) {
        render::warning(&format!(
            "a process still watches an earlier deadline; if `{}` is removed before it has ended, it restores the rules",
            shown(&arguments.state.state_dir)
        ));
    }
    report.end(done)
}

fn settle(arguments: &Arguments, report: &mut Report) -> Result<(), Failure> {
    let folder = shown(&arguments.state.state_dir);
    let mut kernel = Real::default();
    let Some(store) = arguments.state.lock_if_exists()? else {
        return settle_without_records(arguments, &mut kernel, report);
    };
    report.found(&records(&store)?);
    let mut rollout = change::rollout(&store, &mut kernel);
    // A table that another program has changed is no reason to keep the program.
    let mut state = change::recover(&mut rollout, true, report)?;
    if let Some(pending) = state.pending.clone() {
        let (undone, outcome) = rollout.undo(&state, Why::Removal)?;
        change::show_notices(&outcome);
        report.changed(outcome.changed);
        report.left(&undone);
        report.say(&format!(
            "{} was not confirmed, and is undone: {} is in force again\n",
            named(Some(pending.generation)),
            named(undone.current)
        ));
        state = undone;
    }
    let had = state.current;
    if arguments.remove_rules {
        let (removed, outcome) = rollout.remove(&state)?;
        change::show_notices(&outcome);
        report.changed(outcome.changed);
        report.left(&removed);
        state = removed;
    }
    report.say(&match (had, state.current) {
        (None, _) => "no rules of edgeward are in force\n".to_owned(),
        (Some(_), None) => format!("{} is removed from the kernel: {ACCEPTED}\n", named(had)),
        (Some(_), Some(_)) => format!(
            "{} stays in force until the host reboots, and nothing refreshes its addresses any more; `nft delete table \
             inet edgeward` removes it\n",
            named(had)
        ),
    });
    report.say(&format!("the generations stay in `{folder}`\n"));
    Ok(())
}

/// A watcher looks every second whether its change is still pending.
const MAX_WATCHER_WAIT: Duration = Duration::from_secs(10);

const ACCEPTED: &str = "every packet is accepted, unless another table denies it";

/// Nothing was applied, or the state folder was removed before the program.
fn settle_without_records(arguments: &Arguments, kernel: &mut Real, report: &mut Report) -> Result<(), Failure> {
    let folder = shown(&arguments.state.state_dir);
    // A table with something unknown in it is there, too.
    let has_table = !matches!(kernel.table(), Ok(None));
    report.changed(has_table && arguments.remove_rules);
    let sentence = match (has_table, arguments.remove_rules) {
        (false, _) => "no rules of edgeward are in force".to_owned(),
        (true, false) => {
            "the table in the kernel stays until the host reboots; `nft delete table inet edgeward` removes it"
                .to_owned()
        }
        (true, true) => {
            kernel.change(&[Change::DeleteTable], &[])?;
            format!("the table is removed from the kernel: {ACCEPTED}")
        }
    };
    report.say(&format!("`{folder}` does not exist, so nothing is pending; {sentence}\n"));
    Ok(())
}
