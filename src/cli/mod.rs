//! The command line: arguments, messages and exit codes. One file per verb.

mod aggregate;
mod apply;
mod boot;
mod catalog;
mod check;
mod compile;
mod confirm;
mod diff;
mod explain;
mod history;
mod hosts;
mod init;
mod lock;
mod manifest;
mod outside;
mod refresh;
mod render;
mod resolve;
mod rollback;
mod rollout;
mod status;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::catalog::{Catalog, FILES};
use crate::diag::{Problems, Severity, legible};
use crate::host::files::{self, ReadError};
use crate::host::lists;
use crate::intent::{Declared, Intent, Origin};
use crate::policy::{self, syntax::PeersList, syntax::Policy};
use crate::site::Target;
use crate::source::Source;

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
    Check(check::Arguments),
    /// Print a commented starter policy
    Init(init::Arguments),
    /// Ask DNS for the names of a policy, and write the answers to its lockfile
    Resolve(resolve::Arguments),
    /// Print the lockfile's addresses as a hosts file or as dnsmasq records
    Hosts(hosts::Arguments),
    /// Print the ruleset of a policy; touches neither network nor kernel
    Compile(compile::Arguments),
    /// Say what becomes of a packet, and why; or check a file of packets
    Explain(Box<explain::Arguments>),
    /// Show the packets that fare otherwise than under another ruleset or policy, and why
    Diff(diff::Arguments),
    /// Bring this host's rules to a policy, without losing a packet or locking anybody out
    Apply(apply::Arguments),
    /// Ask DNS, and change only the addresses that differ
    Refresh(refresh::Arguments),
    /// Keep the change that is pending
    Confirm(confirm::Arguments),
    /// Undo the change that is pending, or go back to an older generation
    Rollback(rollback::Arguments),
    /// Show which rules are in force, what they have counted, and who else judges packets
    Status(status::Arguments),
    /// List the generations that are kept
    History(history::Arguments),
    /// Load the last confirmed generation from disk; for the start of the machine
    Boot(boot::Arguments),
    /// Undo a pending change at its deadline; `apply` starts it
    #[command(hide = true)]
    Watch(watch::Arguments),
    /// Merge lists of prefixes into the fewest prefixes with the same addresses
    Aggregate(aggregate::Arguments),
    /// List the regions, or show all that is known of one
    Catalog(catalog::Arguments),
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

/// A policy file and what it is compiled for.
#[derive(Debug, Args)]
struct PolicyTarget {
    /// Where the rules run, in place of the policy's `target`; of both policies where two are compared
    #[arg(long, value_name = "TARGET", value_parser = parse_target)]
    target: Option<Target>,
}

fn parse_target(text: &str) -> Result<Target, String> {
    text.parse()
}

/// The shape of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Why a command ends without having done its work; the variants are the exit codes of the contract.
#[derive(Debug)]
enum Failure {
    /// The user has been told.
    Told(u8),
    /// The policy, the lockfile, the catalog or an argument is wrong: 2.
    Usage(anyhow::Error),
    /// Names without an address: 3.
    Unresolved(anyhow::Error),
    /// A file or a permission: 4.
    System(anyhow::Error),
    /// A check that guards the network says no: 5.
    Refused(anyhow::Error),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(..) => Failure::System(error.into()),
            ReadError::Unusable(unusable) => {
                render::diagnostics(&unusable.source, vec![unusable.diagnostic], Severity::Error);
                Failure::Told(2)
            }
        }
    }
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Told(code) => *code,
            Failure::Usage(_) => 2,
            Failure::Unresolved(_) => 3,
            Failure::System(_) => 4,
            Failure::Refused(_) => 5,
        }
    }

    /// Tells the user, once.
    fn told(self) -> Self {
        let code = self.code();
        match self {
            Failure::Told(_) => {}
            Failure::Usage(error) | Failure::Unresolved(error) | Failure::System(error) | Failure::Refused(error) => {
                render::error(&format!("{error:#}"));
            }
        }
        Failure::Told(code)
    }

    fn report(self) -> ExitCode {
        ExitCode::from(self.told().code())
    }
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
        Verb::Check(arguments) => check::run(&arguments, catalog),
        Verb::Init(arguments) => init::run(&arguments, catalog),
        Verb::Resolve(arguments) => resolve::run(&arguments, catalog),
        Verb::Hosts(arguments) => hosts::run(&arguments, catalog),
        Verb::Compile(arguments) => compile::run(&arguments, catalog),
        Verb::Explain(arguments) => explain::run(&arguments, catalog),
        Verb::Diff(arguments) => diff::run(&arguments, catalog),
        Verb::Apply(arguments) => apply::run(&arguments, catalog),
        Verb::Refresh(arguments) => refresh::run(&arguments, catalog),
        Verb::Confirm(arguments) => confirm::run(&arguments),
        Verb::Rollback(arguments) => rollback::run(&arguments, catalog),
        Verb::Status(arguments) => status::run(&arguments),
        Verb::History(arguments) => history::run(&arguments),
        Verb::Boot(arguments) => boot::run(&arguments),
        Verb::Watch(arguments) => watch::run(&arguments),
        Verb::Aggregate(arguments) => aggregate::run(&arguments),
        Verb::Catalog(arguments) => catalog::run(&arguments, catalog),
        Verb::Schema => schema(),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "edgeward", &mut script);
            render::output(&String::from_utf8_lossy(&script))
        }
        Verb::Man => man(),
    };
    done.map_or_else(Failure::report, |()| ExitCode::SUCCESS)
}

fn schema() -> Result<(), Failure> {
    render::output(&render::document(policy::schema().as_value())?)
}

fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render(&mut page).map_err(|error| Failure::System(error.into()))?;
    render::output(&String::from_utf8_lossy(&page))
}

/// Reads the catalog that the user chose.
fn load_catalog(folder: Option<&Path>) -> Result<Catalog, Failure> {
    let catalog = match folder {
        None => Catalog::embedded(),
        Some(folder) => {
            let [sources, regions, flows] = FILES.map(|name| files::read(&folder.join(name)));
            Catalog::parse([sources?, regions?, flows?])
        }
    };
    catalog.map_err(|error| {
        render::diagnostics(&error.source, error.diagnostics, Severity::Note);
        Failure::Told(2)
    })
}

/// A policy that has been read and checked.
struct Loaded {
    source: Source,
    policy: Policy,
    intent: Intent<Declared>,
}

/// Reads and checks a policy; what is wrong or worth knowing is shown, down to a severity.
fn load_policy(path: &Path, catalog: &Catalog, target: Option<Target>, shown: Severity) -> Result<Loaded, Failure> {
    load_source(files::read(path)?, catalog, target, shown)
}

/// As [`load_policy`], of a text that has been read.
fn load_source(source: Source, catalog: &Catalog, target: Option<Target>, shown: Severity) -> Result<Loaded, Failure> {
    let folder = Path::new(&source.name).parent().unwrap_or(Path::new("")).to_owned();
    load_with(source, catalog, target, shown, &mut |_, path| {
        let list = lists::read_file(&folder.join(path))
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)).replace('\n', "; "))?;
        Ok(PeersList { addresses: list.addresses, entries: list.entries, sha256: list.sha256 })
    })
}

/// As [`load_source`], with somebody else who knows the files with peers.
fn load_with(
    source: Source,
    catalog: &Catalog,
    target: Option<Target>,
    shown: Severity,
    lists: &mut dyn FnMut(&str, &str) -> Result<PeersList, String>,
) -> Result<Loaded, Failure> {
    let mut problems = Problems::default();
    let loaded = policy::load_with(&source, catalog, target, lists, &mut problems);
    render::diagnostics(&source, problems.into_sorted(), shown);
    loaded.map(|(policy, intent)| Loaded { source, policy, intent }).ok_or(Failure::Told(2))
}

/// A place in the policy, or what the catalog says.
fn place(policy: &Source, origin: &Origin) -> String {
    match origin {
        Origin::Policy(span) => format!("{}:{}", legible(&policy.name), policy.position(span.start)),
        Origin::Catalog { .. } => "catalog".to_owned(),
    }
}
