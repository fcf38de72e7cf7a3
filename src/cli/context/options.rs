//! Options that verbs share.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::cli::failure::Failure;
use crate::host::generations::Store;
use crate::host::kernel::Real;
use crate::policy::syntax::parse_duration;
use crate::site::Target;

/// A policy file and what it is compiled for.
#[derive(Debug, clap::Args)]
pub(crate) struct PolicyTarget {
    /// Where the rules run, in place of the policy's `target`; of both policies where two are compared
    #[arg(long, value_name = "TARGET", value_parser = parse_target)]
    pub(crate) target: Option<Target>,
}

fn parse_target(text: &str) -> Result<Target, String> {
    text.parse()
}

/// The shape of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// A run holds the folder for the time of a change, some seconds at most where sets are large.
const PATIENCE: Duration = Duration::from_secs(60);
/// Less is no time to type a word; more is no guard.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Where generations are.
#[derive(Debug, clap::Args)]
pub(crate) struct StateArguments {
    /// The folder with the generations
    #[arg(long, value_name = "DIR", default_value = "/var/lib/edgeward")]
    pub(crate) state_dir: PathBuf,
}

impl StateArguments {
    /// Holds the folder against other runs.
    pub(crate) fn hold(&self) -> Result<Store, Failure> {
        Ok(Store::hold(&self.state_dir, PATIENCE)?)
    }

    /// Holds the folder, where it is there.
    pub(crate) fn hold_if_there(&self) -> Result<Option<Store>, Failure> {
        match self.state_dir.try_exists() {
            Ok(true) => self.hold().map(Some),
            Ok(false) => Ok(None),
            Err(error) => {
                let context = format!("cannot find `{}`", self.state_dir.display());
                Err(Failure::System(anyhow::Error::from(error).context(context)))
            }
        }
    }

    /// Looks at the folder.
    pub(crate) fn look(&self) -> Store {
        Store::look(&self.state_dir)
    }
}

/// How the kernel is read.
#[derive(Debug, clap::Args)]
pub(crate) struct KernelArguments {
    /// Read all elements of large sets back, and not only their number and some of them: 12 s for half a million
    #[arg(long)]
    pub(crate) deep: bool,
}

impl KernelArguments {
    /// The kernel of this network namespace.
    pub(crate) fn kernel(&self) -> Real {
        Real::new(self.deep)
    }
}

/// How a change is guarded.
#[derive(Debug, clap::Args)]
pub(crate) struct GuardArguments {
    /// Undo the change unless `edgeward confirm` follows within this time: `90s`, `2m`, `1h`
    #[arg(long, value_name = "TIME", value_parser = parse_deadline)]
    pub(crate) confirm_within: Option<Duration>,
    /// Go on where a safety check says no
    #[arg(long)]
    pub(crate) force: bool,
}

fn parse_deadline(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text).filter(|duration| (SHORTEST..=LONGEST).contains(duration));
    duration.ok_or_else(|| "a time from 1s to 7d is wanted, with its unit: `90s`, `2m`, `1h`".to_owned())
}
