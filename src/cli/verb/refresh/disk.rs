//! What is on disk, compared with what is in force.

use std::io::ErrorKind;
use std::path::Path;

use super::Arguments;
use crate::cli::context::{LoadedPolicy, lists_folder, load_catalog};
use crate::cli::converge::Base;
use crate::cli::render;
use crate::host::files::ReadError;
use crate::host::lists;
use crate::host::streams::{self, STREAM};
use crate::policy::syntax::PeersFile;

/// What differs on disk from the generation in force, as messages call it. None of it stops a refresh.
pub(super) fn differences(
    arguments: &Arguments,
    folder: Option<&Path>,
    base: &Base,
    in_force: &LoadedPolicy,
) -> Vec<String> {
    let mut differences = Vec::new();
    let path = &arguments.policy;
    let target = match streams::read(path) {
        // The policy in force came through a pipe, and none is kept in a file.
        Err(ReadError::Io(_, error)) if is_from_stream(base) && error.kind() == ErrorKind::NotFound => {
            arguments.target.target
        }
        Ok(source) if source.text() == in_force.source.text() => {
            differences.extend(lists_that_differ(path, in_force));
            arguments.target.target.or(Some(in_force.policy.target))
        }
        Ok(_) => {
            differences.push(format!("the policy `{}`", path.display()));
            arguments.target.target
        }
        Err(error) => {
            differences.push(format!("the policy ({})", one_line(error.into())));
            arguments.target.target
        }
    };
    match load_catalog(folder) {
        Ok(catalog) if catalog.digest == base.catalog.digest => {}
        Ok(_) => differences.push(match folder {
            Some(folder) => format!("the catalog `{}`", folder.display()),
            None => "the built-in catalog".to_owned(),
        }),
        Err(failure) => {
            render::failure(&failure);
            differences.push("the catalog, which is not valid".to_owned());
        }
    }
    if target.is_some_and(|target| target.to_string() != base.facts.target) {
        differences.push("the target".to_owned());
    }
    differences
}

/// Whether the generation's policy was read from a stream.
fn is_from_stream(base: &Base) -> bool {
    base.facts.path == Path::new(STREAM)
}

/// The files with peers whose addresses differ.
fn lists_that_differ(policy: &Path, in_force: &LoadedPolicy) -> Vec<String> {
    let folder = lists_folder(policy);
    let files = in_force.policy.allow.iter().filter_map(|row| row.peers_file.as_ref());
    let differs = |file: &&PeersFile| {
        let PeersFile { path, list } = file;
        match lists::read_file(&folder.join(path)) {
            Ok(now) => list.as_ref().is_none_or(|list| list.addresses != now.addresses),
            Err(_) => true,
        }
    };
    files.map(|file| &file.value).filter(differs).map(|file| format!("the list `{}`", file.path)).collect()
}

fn one_line(error: anyhow::Error) -> String {
    format!("{error:#}").replace('\n', "; ")
}

/// Says what differs, and which command puts it into force.
pub(super) fn show(differences: &[String], arguments: &Arguments, folder: Option<&Path>, base: &Base) {
    let mut command = format!("edgeward apply --resolve {}", arguments.policy.display());
    if let Some(target) = arguments.target.target {
        command.push_str(&format!(" --target {target}"));
    }
    if let Some(folder) = folder {
        command.push_str(&format!(" --catalog {}", folder.display()));
    }
    render::note(&format!(
        "only addresses are refreshed. Since generation {} was made, this has changed: {}; `{command} --confirm-within \
         2m` puts it into force",
        base.number,
        differences.join(", "),
    ));
}
