//! From arguments to a verb.
//!
//! The help text of a verb is the comment on its `Arguments`; docs, completions and manual pages of all verbs are checked
//! by tests/verbs.rs.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ContextValue;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::failure::{Exit, Failure};
use crate::cli::verb;
use crate::cli::{hint, render};
use crate::diag::{is_invisible, legible};

/// Compile policies into nftables rulesets for hosts and gateways that join ACK clusters
///
/// A policy says what a site is: region, connection, container network, prefixes. edgeward knows from its catalog what
/// the cluster needs, compiles that into one nftables table, proves the result, and applies it without losing packets.
/// Names are resolved into a lockfile; rules never depend on DNS when they are loaded.
#[derive(Debug, Parser)]
#[command(
    name = "edgeward",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    subcommand_help_heading = "Verbs",
    subcommand_value_name = "VERB",
    after_long_help = "\
Examples:
  edgeward init --region cn-hangzhou --connection express-connect --cni flannel > policy.yaml
  edgeward check policy.yaml
  edgeward resolve policy.yaml
  edgeward diff policy.yaml
  edgeward apply policy.yaml --confirm-within 2m
  edgeward confirm"
)]
struct Arguments {
    /// A folder with sources.yaml, regions.yaml, flows.yaml and, if needed, cloud.yaml, instead of the built-in catalog
    #[arg(long, global = true, value_name = "DIR")]
    catalog: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(verb::check::Arguments),
    Init(verb::init::Arguments),
    Resolve(verb::resolve::Arguments),
    Hosts(verb::hosts::Arguments),
    Compile(verb::compile::Arguments),
    Explain(Box<verb::explain::Arguments>),
    Flows(verb::flows::Arguments),
    Routes(verb::routes::Arguments),
    SecurityGroup(verb::security_group::Arguments),
    Diff(verb::diff::Arguments),
    Apply(verb::apply::Arguments),
    Refresh(verb::refresh::Arguments),
    Confirm(verb::confirm::Arguments),
    Rollback(verb::rollback::Arguments),
    Status(verb::status::Arguments),
    History(verb::history::Arguments),
    Boot(verb::boot::Arguments),
    Uninstall(verb::uninstall::Arguments),
    #[command(hide = true)]
    Watch(verb::watch::Arguments),
    Aggregate(verb::aggregate::Arguments),
    Catalog(verb::catalog::Arguments),
    Schema(verb::schema::Arguments),
    Completions(verb::completions::Arguments),
    Man(verb::man::Arguments),
}

/// The program's arguments, with all verbs.
pub fn command() -> Command {
    Arguments::command()
}

/// An error that quotes arguments, which may have characters that a terminal obeys.
fn legible_error(mut error: clap::Error) -> clap::Error {
    let quoted = error.context().filter_map(|(kind, value)| match value {
        ContextValue::String(text) if text.chars().any(is_invisible) => Some((kind, legible(text))),
        _ => None,
    });
    for (kind, text) in quoted.collect::<Vec<_>>() {
        error.insert(kind, ContextValue::String(text));
    }
    error
}

/// Runs the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut program = command();
    let parsed = program.try_get_matches_from_mut(arguments).and_then(|matches| {
        hint::note_run(&program, &matches);
        Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut program))
    });
    let Arguments { catalog, verb } = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output and are not failures.
            let (is_usage, printed) = (error.use_stderr(), legible_error(error).print());
            return match printed {
                _ if is_usage => ExitCode::from(Exit::Usage as u8),
                // A closed pipe is not an error.
                Err(error) if error.kind() != ErrorKind::BrokenPipe => ended(Err(render::not_written(error))),
                _ => ExitCode::SUCCESS,
            };
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
        Verb::Flows(arguments) => verb::flows::run(&arguments, catalog),
        Verb::Routes(arguments) => verb::routes::run(&arguments, catalog),
        Verb::SecurityGroup(arguments) => verb::security_group::run(&arguments, catalog),
        Verb::Diff(arguments) => verb::diff::run(&arguments, catalog),
        Verb::Apply(arguments) => verb::apply::run(&arguments, catalog),
        Verb::Refresh(arguments) => verb::refresh::run(&arguments, catalog),
        Verb::Confirm(arguments) => verb::confirm::run(&arguments),
        Verb::Rollback(arguments) => verb::rollback::run(&arguments, catalog),
        Verb::Status(arguments) => verb::status::run(&arguments, catalog),
        Verb::History(arguments) => verb::history::run(&arguments),
        Verb::Boot(arguments) => verb::boot::run(&arguments),
        Verb::Uninstall(arguments) => verb::uninstall::run(&arguments),
        Verb::Watch(arguments) => verb::watch::run(&arguments),
        Verb::Aggregate(arguments) => verb::aggregate::run(&arguments),
        Verb::Catalog(arguments) => verb::catalog::run(&arguments, catalog),
        Verb::Schema(arguments) => verb::schema::run(&arguments, catalog),
        Verb::Completions(arguments) => verb::completions::run(&arguments, command()),
        Verb::Man(arguments) => verb::man::run(&arguments, command()),
    };
    ended(done)
}

fn ended(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            render::failure(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}
