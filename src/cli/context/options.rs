//! Options that verbs share.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::cli::failure::{Failure, Refusal};
use crate::cli::render;
use crate::diag::{is_invisible, shown};
use crate::host::generations::{Note, Overridden, State, Store};
use crate::host::kernel::Real;
use crate::policy::syntax::parse_duration;
use crate::site::Target;

/// The longest wait for another run that has locked the state folder or the lockfile. A change takes some seconds at most,
/// where sets are large; DNS takes longer where servers are silent.
pub(crate) const MAX_LOCK_WAIT: Duration = Duration::from_secs(60);
/// The bounds of `--confirm-within`: a shorter time is too short to type the command, a longer one protects nothing.
const MIN_CONFIRM_TIME: Duration = Duration::from_secs(1);
const MAX_CONFIRM_TIME: Duration = Duration::from_secs(7 * 86_400);

/// The longest message, in characters.
const MAX_MESSAGE: usize = 500;

/// What a policy is compiled for.
#[derive(Debug, clap::Args)]
pub(crate) struct PolicyTarget {
    /// Where the rules run, in place of the policy's `target`: edge-host or idc-gateway
    ///
    /// Where two policies are compared, both are compiled for it.
    #[arg(long, value_name = "TARGET", value_parser = parse_target)]
    pub(crate) target: Option<Target>,
}

fn parse_target(text: &str) -> Result<Target, String> {
    text.parse()
}

/// The format of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Where generations are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct StateArguments {
    /// The folder with the generations
    ///
    /// It keeps every ruleset that was applied, with its policy and lockfile, and the records of which one is in force,
    /// pending and loaded at boot. All commands on a host have to use the same folder.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/edgeward")]
    pub(crate) state_dir: PathBuf,
}

impl StateArguments {
    /// Opens the folder and locks it against other runs.
    pub(crate) fn lock(&self) -> Result<Store, Failure> {
        Ok(Store::hold_saying(&self.state_dir, MAX_LOCK_WAIT, &mut |waiting| render::note(waiting))?)
    }

    /// Opens and locks the folder if it exists.
    pub(crate) fn lock_if_exists(&self) -> Result<Option<Store>, Failure> {
        match self.state_dir.try_exists() {
            Ok(true) => self.lock().map(Some),
            Ok(false) => Ok(None),
            Err(error) => {
                let context = format!("cannot find `{}`", shown(&self.state_dir));
                Err(Failure::system(anyhow::Error::from(error).context(context)))
            }
        }
    }

    /// Opens the folder for reading, without a lock.
    pub(crate) fn read(&self) -> Store {
        Store::look(&self.state_dir)
    }
}

/// Reads the records, and says what is damaged.
pub(crate) fn records(store: &Store) -> Result<State, Failure> {
    let state = store.state()?;
    store.damage().iter().for_each(|damage| render::warning(damage));
    store.insecure_inputs().for_each(|insecure| render::warning(&insecure.to_string()));
    Ok(state)
}

/// How the kernel is read.
#[derive(Debug, clap::Args)]
pub(crate) struct KernelArguments {
    /// Read all elements of large sets back from the kernel
    ///
    /// Without it, a large set is compared by the number of its elements and by samples: to list half a million
    /// elements takes the kernel 12 seconds.
    #[arg(long)]
    pub(crate) deep: bool,
}

impl KernelArguments {
    /// The kernel of this network namespace.
    pub(crate) fn kernel(&self) -> Real {
        Real::new(self.deep)
    }
}

/// What the user says about a change.
#[derive(Debug, clap::Args)]
pub(crate) struct MessageArguments {
    /// Why you make the change, for `edgeward history`: at most 500 characters on one line
    #[arg(short, long, value_name = "TEXT", value_parser = parse_message)]
    pub(crate) message: Option<String>,
}

impl MessageArguments {
    /// Says that the message is not recorded, because there is no change that it could belong to.
    pub(crate) fn note_unused(&self) {
        if self.message.is_some() {
            render::note("the message was not recorded, because nothing was changed");
        }
    }
}

fn parse_message(text: &str) -> Result<String, String> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if let Some(invisible) = text.chars().find(|c| is_invisible(*c)) {
        let invisible = invisible.escape_default();
        return Err(format!("it contains the invisible character `{invisible}`; write it on one line, as plain text"));
    }
    match text.chars().count() {
        0 => Err("it is empty".to_owned()),
        length if length > MAX_MESSAGE => Err(format!("it has {length} characters; at most {MAX_MESSAGE} are kept")),
        _ => Ok(text.to_owned()),
    }
}

/// How a change is guarded.
#[derive(Debug, clap::Args)]
pub(crate) struct GuardArguments {
    /// Undo the change unless `edgeward confirm` follows within this time: `90s`, `2m`, `1h` (1s to 7d)
    ///
    /// A timer of systemd, or a process of its own where there is no systemd, brings the old rules back at the
    /// deadline, also if this session is lost. A reboot undoes the change as well.
    #[arg(long, value_name = "TIME", value_parser = parse_deadline)]
    pub(crate) confirm_within: Option<Duration>,
    /// Continue where a safety check refuses the change
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) note: MessageArguments,
}

impl GuardArguments {
    /// What is recorded with the change.
    pub(crate) fn note(&self, overridden: Vec<Refusal>) -> Note {
        let overridden = overridden.into_iter().map(Overridden::from).collect();
        Note { message: self.note.message.clone(), forced: self.force, overridden }
    }
}

fn parse_deadline(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).filter(|duration| (MIN_CONFIRM_TIME..=MAX_CONFIRM_TIME).contains(duration));
    duration.ok_or_else(|| "expected a time from 1s to 7d with its unit: `90s`, `2m`, `1h`".to_owned())
}
