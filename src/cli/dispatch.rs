//! From arguments to a verb.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::context::load_catalog;
use crate::cli::failure::Failure;
use crate::cli::{render, verb};
use crate::policy;

/// Compiles policies into nftables rulesets for hosts and gateways that join ACK clusters.
#[derive(Debug, Parser)]
#[command(name = "edgeward", version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    /// A folder with sources.yaml, regions.yaml and flows.yaml, in place of the built-in catalog
    #[arg(long, global = true, value_name = "DIR")]
    catalog: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check policies and report everything that is wrong with them
    Check(verb::check::Arguments),
    /// Print a commented starter policy
    Init(verb::init::Arguments),
    /// Ask DNS for the names of a policy, and write the answers to its lockfile
    Resolve(verb::resolve::Arguments),
    /// Print the lockfile's addresses as a hosts file or as dnsmasq records
    Hosts(verb::hosts::Arguments),
    /// Print the ruleset of a policy; touches neither network nor kernel
    Compile(verb::compile::Arguments),
    /// Say what becomes of a packet, and why; or check a file of packets
    Explain(Box<verb::explain::Arguments>),
    /// Show the packets that fare otherwise than under another ruleset or policy, and why
    Diff(verb::diff::Arguments),
    /// Bring this host's rules to a policy, without losing a packet or locking anybody out
    Apply(verb::apply::Arguments),
    /// Ask DNS, and change only the addresses that differ
    Refresh(verb::refresh::Arguments),
    /// Keep the change that is pending
    Confirm(verb::confirm::Arguments),
    /// Undo the change that is pending, or go back to an older generation
    Rollback(verb::rollback::Arguments),
    /// Show which rules are in force, what they have counted, and who else judges packets
    Status(verb::status::Arguments),
    /// List the generations that are kept
    History(verb::history::Arguments),
    /// Load the last confirmed generation from disk; for the start of the machine
    Boot(verb::boot::Arguments),
    /// Undo a pending change at its deadline; `apply` starts it
    #[command(hide = true)]
    Watch(verb::watch::Arguments),
    /// Merge lists of prefixes into the fewest prefixes with the same addresses
    Aggregate(verb::aggregate::Arguments),
    /// List the regions, or show all that is known of one
    Catalog(verb::catalog::Arguments),
    /// Print the JSON Schema of the policy file
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Runs the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Arguments { catalog, verb } = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output and are no failure.
            let code = if error.use_stderr() { 2 } else { 0 };
            // A reader that has gone away is nothing to report.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let catalog = catalog.as_deref();
    let done = match verb {
        Verb::Check(arguments) => verb::check::run(&arguments, catalog),
        Verb::Init(arguments) => verb::init::run(&arguments, catalog),
        Verb::Resolve(arguments) => verb::resolve::run(&arguments, catalog),
        Verb::Hosts(arguments) => verb::hosts::run(&arguments, catalog),
        Verb::Compile(arguments) => verb::compile::run(&arguments, catalog),
        Verb::Explain(arguments) => verb::explain::run(&arguments, catalog),
        Verb::Diff(arguments) => verb::diff::run(&arguments, catalog),
        Verb::Apply(arguments) => verb::apply::run(&arguments, catalog),
        Verb::Refresh(arguments) => verb::refresh::run(&arguments, catalog),
        Verb::Confirm(arguments) => verb::confirm::run(&arguments),
        Verb::Rollback(arguments) => verb::rollback::run(&arguments, catalog),
        Verb::Status(arguments) => verb::status::run(&arguments),
        Verb::History(arguments) => verb::history::run(&arguments),
        Verb::Boot(arguments) => verb::boot::run(&arguments),
        Verb::Watch(arguments) => verb::watch::run(&arguments),
        Verb::Aggregate(arguments) => verb::aggregate::run(&arguments),
        Verb::Catalog(arguments) => verb::catalog::run(&arguments, catalog),
        Verb::Schema => schema(catalog),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "edgeward", &mut script);
            render::output(&String::from_utf8_lossy(&script))
        }
        Verb::Man => man(),
    };
    done.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}

fn schema(catalog: Option<&Path>) -> Result<(), Failure> {
    render::output(&render::document(policy::schema(&load_catalog(catalog)?).as_value())?)
}

fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render(&mut page).map_err(|error| Failure::System(error.into()))?;
    render::output(&String::from_utf8_lossy(&page))
}
