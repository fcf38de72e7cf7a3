//! `edgeward apply`.

use std::path::Path;

use anyhow::anyhow;

use super::resolve::{LockfileMode, ServerArguments, update_lockfile};
use crate::catalog::Catalog;
use crate::cli::change::Report;
use crate::cli::context::{
    BoundArguments, BoundPolicy, GuardArguments, KernelArguments, ListFormat, StateArguments, kept_answers,
    load_catalog, load_policy, records,
};
use crate::cli::converge::Convergence;
use crate::cli::failure::{Failure, continued};
use crate::diag::Severity;

/// Bring this host's rules to a policy, without losing packets or locking anyone out
///
/// The policy is compiled with its lockfile; DNS is asked only with `--resolve`. The new ruleset is proved, the
/// connections of this host are checked against it, and it is kept as a generation. Then one transaction switches the
/// rules of `table inet edgeward`; no other table is changed. With `--confirm-within` the change is undone unless
/// `edgeward confirm` follows.
///
/// Root or CAP_NET_ADMIN is required.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward apply /etc/edgeward/policy.yaml --dry-run
  edgeward apply /etc/edgeward/policy.yaml --resolve --confirm-within 2m
  edgeward confirm
  edgeward apply /etc/edgeward/policy.yaml --format json | jq .changed")]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    /// Ask DNS first, and write the answers to the lockfile, as `edgeward resolve` does
    ///
    /// A name that DNS does not answer keeps its known addresses, the policy is applied with them, and the exit code is
    /// 3. With `--dry-run`, DNS is asked, but nothing is written.
    #[arg(long)]
    resolve: bool,
    #[command(flatten)]
    servers: ServerArguments,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    guard: GuardArguments,
    #[command(flatten)]
    kernel: KernelArguments,
    /// Show what would change and what would refuse the change; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let mut report = if arguments.dry_run { Report::dry_run(arguments.format) } else { Report::new(arguments.format) };
    let done = run_reporting(arguments, folder, &mut report);
    report.end(done)
}

fn run_reporting(arguments: &Arguments, folder: Option<&Path>, report: &mut Report) -> Result<(), Failure> {
    let Arguments { policy, state, guard, kernel, dry_run, .. } = arguments;
    if !arguments.resolve && !arguments.servers.is_empty() {
        return Err(Failure::usage(anyhow!("`--server` names a server for `--resolve`, which is missing")));
    }
    let catalog = load_catalog(folder)?;
    // For a run that ends before it has the lock.
    report.found(&records(&state.read())?);
    let (policy, unresolved) = match arguments.resolve {
        true => resolved(arguments, &catalog, report)?,
        false => (policy.load_with_age(&catalog)?, None),
    };
    let convergence = Convergence { policy: &policy, catalog: &catalog, base: None, guard, kernel };
    let done = match dry_run {
        true => convergence.dry_run(state, report),
        false => state.lock().and_then(|store| convergence.run(&store, report)),
    };
    continued(unresolved, done)
}

/// Asks DNS, and binds the policy to the answers.
fn resolved(
    arguments: &Arguments,
    catalog: &Catalog,
    report: &mut Report,
) -> Result<(BoundPolicy, Option<Failure>), Failure> {
    let BoundArguments { policy: path, target, lock } = &arguments.policy;
    let mode = if arguments.dry_run { LockfileMode::Ask } else { LockfileMode::Write };
    let loaded = load_policy(path, catalog, target.target, Severity::Warning)?;
    if loaded.intent.names().is_empty() {
        return Ok((lock.bind(path, loaded)?, None));
    }
    // The lockfile of the policy may be older than what is in force, as after a change that was undone. A failure of DNS
    // must not close what is open now.
    let store = arguments.state.read();
    let in_force = store.state().ok().and_then(|state| state.base());
    let known = in_force.and_then(|number| kept_answers(&store, number, &loaded.cloud.metadata())).unwrap_or_default();
    let update = update_lockfile(lock.path(path)?, &loaded, &known, &arguments.servers, mode)?;
    report.say(&update.changes());
    update.bind(lock, path, loaded)
}
