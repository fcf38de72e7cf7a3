//! `edgeward diff`.

mod against;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::ValueEnum;

use crate::catalog::Catalog;
use crate::cli::context::{
    BoundArguments, BoundPolicy, KernelArguments, StateArguments, kept_catalog, kept_policy, load_catalog,
};
use crate::cli::failure::{Failure, chosen};
use crate::cli::{hint, render};
use crate::emit;
use crate::host::generations::RULESET;
use crate::lower::lower;
use crate::ruleset::Ruleset;

/// Show the packets that are treated differently than under another ruleset or policy, and why
///
/// Both rulesets are compared for every possible packet, not line by line. Each difference has its flow, the place in
/// the policy, and its cause: the policy, the catalog, DNS, or a change by hand. The exit code is 0 if no packet is
/// treated differently, even if the texts differ, and 1 otherwise.
///
/// POLICY may be the number of a generation, which is compared as it was: with its own catalog, lists and addresses. A file
/// with such a name is `./7`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward diff /etc/edgeward/policy.yaml
  edgeward diff /etc/edgeward/policy.yaml --against 7
  edgeward diff 8 --against 7
  edgeward diff new.yaml --against old.yaml --format json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    /// What the policy is compared with: `kernel`, the number of a generation, or a file with a ruleset (nft text or
    /// JSON) or another policy; `-` is standard input
    #[arg(long, value_name = "WHAT", default_value = "kernel")]
    against: PathBuf,
    /// The lockfile of the other policy [default: the other policy's path, ending in `.lock.yaml`]
    #[arg(long, value_name = "FILE")]
    against_lock: Option<PathBuf>,
    /// The catalog of the other policy, in place of this one's; `built-in` for the one without `--catalog`
    #[arg(long, value_name = "DIR")]
    against_catalog: Option<PathBuf>,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    /// Packets as text or JSON, or the lines of the two texts
    #[arg(long, value_enum, default_value_t)]
    format: DiffFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    /// Packets, for people
    #[default]
    Text,
    /// Packets, for programs
    Json,
    /// A unified diff of the rulesets' texts
    Nft,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let number = generation(&arguments.policy.policy);
    let (catalog, policy, new) = match number {
        Some(number) => kept(arguments, number, folder)?,
        None => {
            let catalog = load_catalog(folder)?;
            let policy = arguments.policy.load(&catalog)?;
            let new = lower(&policy.resolved);
            (catalog, policy, new)
        }
    };
    let stored = number.map(|number| arguments.state.read().text(number, RULESET)).transpose()?;
    let stored = stored.map(|stored| (emit::nft(&new), stored.into_text()));
    let mut comparison = against::compare(arguments, folder, &catalog, &policy, new)?;
    if let Some((emitted, stored)) = stored {
        comparison = comparison.with_stored_text(&emitted, stored);
    }
    let differences = comparison.differences(&policy);
    render::output(&match arguments.format {
        DiffFormat::Text => comparison.text(&differences, &policy),
        DiffFormat::Json => render::document(&comparison.document(&differences, &policy))?,
        DiffFormat::Nft => comparison.unified(&policy),
    })?;
    if comparison.is_same(&differences) { Ok(()) } else { Err(Failure::different()) }
}

/// The generation that a word of the command line names: a number. A file of that name is `./7`.
fn generation(word: &Path) -> Option<u64> {
    word.to_str().and_then(|text| text.parse().ok())
}

/// A generation as it was: its catalog, its policy with its answers, and its ruleset.
fn kept(arguments: &Arguments, number: u64, folder: Option<&Path>) -> Result<(Catalog, BoundPolicy, Ruleset), Failure> {
    let BoundArguments { target, lock, .. } = &arguments.policy;
    for (option, is_given) in [("target", target.target.is_some()), ("lock", lock.lock.is_some())] {
        if is_given {
            return Err(Failure::usage(anyhow!("`--{option}` applies to a policy, and {number} is a generation")));
        }
    }
    let store = arguments.state.read();
    let ruleset = chosen(store.ruleset(number))?;
    let Some(facts) = store.manifest(number)?.policy else {
        return Err(Failure::usage(anyhow!(
            "generation {number} was found in the kernel and has no policy; compare the other way round: `{}`",
            hint::command("diff").word("POLICY").option("against", number)
        )));
    };
    let catalog = kept_catalog(&store, number, &facts, folder)?;
    let kept = kept_policy(&store, number, &facts, &catalog)?;
    let damaged = || {
        let history = hint::command("history");
        Failure::system(anyhow!("the lockfile of generation {number} is damaged; `{history}` lists the others"))
    };
    let (loaded, resolution) = kept.ok_or_else(damaged)?;
    let resolved = loaded.intent.bind(&resolution).map_err(|_| damaged())?;
    Ok((catalog, BoundPolicy { loaded, resolution, resolved }, ruleset))
}
