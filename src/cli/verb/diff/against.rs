//! What `--against` names.

use std::path::Path;

use anyhow::anyhow;

use super::Arguments;
use crate::catalog::Catalog;
use crate::cli::comparison::Comparison;
use crate::cli::context::{BoundPolicy, LockArguments, load_catalog, load_text, no_lockfile};
use crate::cli::failure::Failure;
use crate::diag::{Severity, shown};
use crate::host::streams;
use crate::readback;
use crate::ruleset::{Ruleset, SetKind};
use crate::source::Source;

/// Compares a policy with the kernel, a generation, a ruleset or another policy.
pub(super) fn compare(
    arguments: &Arguments,
    folder: Option<&Path>,
    catalog: &Catalog,
    policy: &BoundPolicy,
    new: Ruleset,
) -> Result<Comparison, Failure> {
    let (against, store) = (&arguments.against, arguments.state.read());
    let number = super::generation(against);
    let is_kernel = against == Path::new("kernel");
    if is_kernel || number.is_some() {
        refuse_policy_options(arguments)?;
    }
    match number {
        _ if is_kernel => {
            let mut kernel = arguments.kernel.kernel();
            Comparison::with_kernel(&store, &mut kernel, catalog, policy, &new).map(|(comparison, _)| comparison)
        }
        Some(number) => Comparison::with_generation(&store, number, catalog, policy, new),
        None => {
            let source = streams::read(against)?;
            match is_ruleset(source.text()) {
                true => with_ruleset(arguments, source, catalog, new),
                false => with_policy(arguments, source, folder, policy, new),
            }
        }
    }
}

/// Refuses options of another policy where a ruleset is compared with.
fn refuse_policy_options(arguments: &Arguments) -> Result<(), Failure> {
    for (option, given) in [("lock", &arguments.against_lock), ("catalog", &arguments.against_catalog)] {
        if given.is_some() {
            let against = shown(&arguments.against);
            return Err(Failure::usage(anyhow!(
                "`--against-{option}` applies to another policy, and `{against}` is a ruleset"
            )));
        }
    }
    Ok(())
}

/// Whether a text is a ruleset and not a policy, by its first words.
fn is_ruleset(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines.next().unwrap_or_default();
    let command = first.split_whitespace().next().unwrap_or_default();
    match command.starts_with('{') {
        true => text.get(..text.floor_char_boundary(200)).is_some_and(|head| head.contains("\"nftables\"")),
        false => ["table", "add", "create", "delete", "destroy", "flush"].contains(&command),
    }
}

fn with_ruleset(arguments: &Arguments, source: Source, catalog: &Catalog, new: Ruleset) -> Result<Comparison, Failure> {
    refuse_policy_options(arguments)?;
    match readback::read(&source) {
        Ok(ruleset) if is_terse(&ruleset) => Err(Failure::usage(anyhow!(
            "`{}` is a ruleset without elements, such as `nft --terse` lists; list it without `--terse`",
            source.name
        ))),
        Ok(ruleset) => Ok(Comparison::with_ruleset(source, ruleset, new, &catalog.digest)),
        Err(diagnostic) => Err(Failure::invalid(source, vec![*diagnostic])),
    }
}

/// Whether all sets of prefixes are empty. edgeward writes no such set; `nft --terse` lists all of them like that.
fn is_terse(ruleset: &Ruleset) -> bool {
    let mut prefixes = ruleset.sets.values().filter(|set| set.kind == SetKind::Prefixes).peekable();
    prefixes.peek().is_some() && prefixes.all(|set| set.elements.is_empty())
}

fn with_policy(
    arguments: &Arguments,
    source: Source,
    folder: Option<&Path>,
    policy: &BoundPolicy,
    new: Ruleset,
) -> Result<Comparison, Failure> {
    let Arguments { against: path, against_lock, against_catalog, .. } = arguments;
    // Read once: it may be a pipe.
    let load = |folder: Option<&Path>, from| {
        let catalog = load_catalog(folder)?;
        load_text(source.clone(), path, &catalog, arguments.policy.target.target, from)
    };
    let their_folder = match against_catalog.as_deref() {
        Some(name) if name == Path::new("built-in") => None,
        other => other.or(folder),
    };
    let lock = LockArguments { lock: against_lock.clone() };
    let other = load(their_folder, Severity::Warning)?;
    if lock.find(path).is_none() && !other.intent.names().is_empty() {
        return Err(no_lockfile("--against-lock"));
    }
    let other = lock.bind(path, other)?;
    let with_our_catalog = against_catalog.as_ref().map(|_| load(folder, Severity::Error)).transpose()?;
    Ok(Comparison::with_policy(other, with_our_catalog, policy, new))
}
