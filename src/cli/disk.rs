//! What is on disk, compared with what is in force.

use std::io::ErrorKind;
use std::path::Path;

use crate::catalog::Catalog;
use crate::cli::context::{LoadedPolicy, lists_folder, load_catalog};
use crate::cli::hint::{self, Hint};
use crate::diag::{shown, word};
use crate::host::files::ReadError;
use crate::host::generations::{POLICY, PolicyFacts, Store};
use crate::host::lists;
use crate::host::streams::{self, STREAM};
use crate::policy::syntax::PeersFile;
use crate::site::Target;

/// What an operator would apply now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnDisk<'a> {
    /// The policy; `None` if there is no file to compare, as after an `apply` from a pipe.
    pub(crate) policy: Option<&'a Path>,
    /// The target that was given in place of the policy's. `status` has none, and does not compare it.
    pub(crate) target: Option<Target>,
    /// The folder of the catalog; `None` for the built-in one.
    pub(crate) catalog: Option<&'a Path>,
}

/// A part of what a generation is compiled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The policy.
    Policy,
    /// The catalog.
    Catalog,
    /// A list of peers.
    List,
    /// The target.
    Target,
}

/// A part that differs on disk from that in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Differing {
    /// Which.
    pub(crate) part: Part,
    /// What messages call it: ``the policy `edge.yaml` ``.
    pub(crate) name: String,
}

/// A generation in force, for the comparison.
#[derive(Clone, Copy)]
pub(crate) struct InForce<'a> {
    /// Where it comes from.
    pub(crate) facts: &'a PolicyFacts,
    /// Its policy.
    pub(crate) loaded: &'a LoadedPolicy,
}

impl OnDisk<'_> {
    /// What differs from a generation. Nothing of it is put into force by anything but `apply`.
    pub(crate) fn differences(&self, in_force: InForce<'_>, compare_target: bool) -> Vec<Differing> {
        let InForce { facts, loaded } = in_force;
        let mut differing = Vec::new();
        let mut add = |part, name| differing.push(Differing { part, name });
        let mut target = self.target;
        match self.policy.map(|path| (path, streams::read(path))) {
            None => {}
            // The policy in force came through a pipe, and none is kept in a file.
            Some((_, Err(ReadError::Io(_, error))))
                if facts.path == Path::new(STREAM) && error.kind() == ErrorKind::NotFound => {}
            Some((path, Ok(source))) if source.text() == loaded.source.text() => {
                lists_that_differ(path, loaded).for_each(|name| add(Part::List, name));
                target = target.or(Some(loaded.policy.target));
            }
            Some((path, Ok(_))) => add(Part::Policy, format!("the policy `{}`", shown(path))),
            Some((_, Err(error))) => add(Part::Policy, format!("the policy ({})", one_line(error.into()))),
        }
        // The built-in catalog is valid, and takes longer to read than all else here.
        let digest = match self.catalog {
            None => Ok(Catalog::embedded_digest()),
            folder => load_catalog(folder).map(|catalog| catalog.digest),
        };
        match digest {
            Ok(digest) if digest == facts.catalog => {}
            Ok(_) => add(
                Part::Catalog,
                match self.catalog {
                    Some(folder) => format!("the catalog `{}`", shown(folder)),
                    None => "the built-in catalog".to_owned(),
                },
            ),
            Err(failure) => {
                add(Part::Catalog, format!("the catalog, which is not valid ({})", failure.sentence()));
            }
        }
        if compare_target && target.is_some_and(|target| target.to_string() != facts.target) {
            add(Part::Target, "the target".to_owned());
        }
        differing
    }

    /// The command that puts what is on disk into force.
    pub(crate) fn command(&self) -> Hint {
        let policy = self.policy.unwrap_or(Path::new("POLICY"));
        hint::command("apply").word("--resolve").policy(policy).option("confirm-within", "2m")
    }
}

/// The command that restores the policy of a generation on disk.
pub(crate) fn restore_command(store: &Store, number: u64, policy: &Path) -> String {
    let kept = store.generation(number).join(POLICY);
    format!("cp {} {}", word(&kept), word(policy))
}

/// The files with peers whose addresses differ, as messages call them.
fn lists_that_differ<'a>(policy: &Path, in_force: &'a LoadedPolicy) -> impl Iterator<Item = String> + use<'a> {
    let folder = lists_folder(policy).to_owned();
    let files = in_force.policy.allow.iter().filter_map(|row| row.peers_file.as_ref());
    let differs = move |file: &&PeersFile| {
        let PeersFile { path, list } = file;
        match lists::read_file(&folder.join(path)) {
            Ok(now) => list.as_ref().is_none_or(|list| list.addresses != now.addresses),
            Err(_) => true,
        }
    };
    files.map(|file| &file.value).filter(differs).map(|file| format!("the list `{}`", file.path))
}

fn one_line(error: anyhow::Error) -> String {
    format!("{error:#}").replace('\n', "; ")
}
