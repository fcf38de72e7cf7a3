//! `edgeward compile`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::cli::context::{BoundArguments, load_catalog};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::Severity;
use crate::host::files;
use crate::intent::{Intent, Resolved};
use crate::lower::lower;
use crate::proof::prove;
use crate::source::Source;
use crate::{emit, readback};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    /// nft text or nft JSON
    #[arg(long, value_enum, default_value_t)]
    format: RulesetFormat,
    /// Write to a file, whole or not at all, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum RulesetFormat {
    /// For `nft -f`.
    #[default]
    Nft,
    /// For `nft -j -f`.
    Json,
}

/// Reads a ruleset back and proves that it is what the policy means.
pub(crate) fn proved(intent: &Intent<Resolved>, text: &Source) -> Result<(), Failure> {
    let ruleset = readback::read(text).map_err(|diagnostic| {
        render::diagnostics(text, vec![*diagnostic], Severity::Error);
        Failure::Refused(anyhow::anyhow!("what was written cannot be read back: this is a mistake of edgeward"))
    })?;
    prove(intent, &ruleset).map_err(|wrong| {
        let help = "this is a mistake of edgeward, and nothing was written; please report it with the policy";
        Failure::Refused(anyhow::anyhow!("the ruleset is not what the policy means\n{wrong}\n{help}"))
    })
}

pub(crate) fn run(arguments: &Arguments, catalog: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(catalog)?;
    let resolved = arguments.policy.load(&catalog)?.resolved;
    let ruleset = lower(&resolved);
    let text = match arguments.format {
        RulesetFormat::Nft => emit::nft(&ruleset),
        RulesetFormat::Json => emit::json(&ruleset).map_err(|error| Failure::System(error.into()))?,
    };
    let written = Source::new("the ruleset", text);
    proved(&resolved, &written)?;
    match &arguments.output {
        None => render::output(written.text()),
        Some(path) => files::write(path, written.text()).map_err(|error| {
            Failure::System(anyhow::Error::from(error).context(format!("cannot write `{}`", path.display())))
        }),
    }
}
