//! The manifest of a generation: where each part of it comes from.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::catalog::{Catalog, FILES};
use crate::cli::context::BoundPolicy;
use crate::emit;
use crate::host::clock;
use crate::host::generations::{CatalogFiles, Generation, Inputs, MadeBy, Manifest, PROGRAM, PolicyFacts, Version};
use crate::host::operator::Operator;
use crate::host::streams::STREAM;
use crate::intent::{Declared, End, Origin, Part, PartKind};
use crate::net::PrefixSet;
use crate::resolution::Resolution;
use crate::site::Mode;
use crate::source::Source;

/// The manifest lists up to so many prefixes of one line of a policy, and counts more.
const MAX_LISTED_PREFIXES: usize = 64;

/// A policy that becomes a generation.
pub(super) struct Compiled<'a> {
    pub(super) policy: &'a BoundPolicy,
    /// The file that it was read from.
    pub(super) path: &'a Path,
    pub(super) catalog: &'a Catalog,
    /// Its ruleset as nft text.
    pub(super) ruleset: String,
    /// The digest of its rules.
    pub(super) rules: String,
    /// What the user wrote about it.
    pub(super) message: Option<String>,
}

/// The generation of a policy: its ruleset, what that was compiled from, and the manifest.
pub(super) fn generation(compiled: Compiled<'_>, made_by: MadeBy, number: u64) -> Generation {
    let Compiled { policy, path, catalog, ruleset, rules, message } = compiled;
    let BoundPolicy { loaded, resolution, .. } = policy;
    let (rows, lists) = lists(policy);
    let manifest = Manifest {
        version: Version,
        generation: number,
        made: clock::now(),
        by: Operator::current().to_string(),
        made_by,
        message,
        program: PROGRAM.to_owned(),
        policy: Some(PolicyFacts { path: absolute(path), lists: rows, ..facts(policy, catalog) }),
        sha256: Default::default(),
    };
    let texts = FILES.into_iter().zip(&catalog.texts);
    let inputs = Inputs {
        policy: Some(loaded.source.text().to_owned()),
        lockfile: (!loaded.intent.names().is_empty()).then(|| resolution.yaml()),
        catalog: Some(CatalogFiles {
            digest: catalog.digest.clone(),
            files: texts.map(|(name, text)| (name.to_owned(), text.clone())).collect(),
        }),
        lists,
    };
    Generation::new(manifest, ruleset, rules, inputs)
}

/// The lists of a policy's peers: their rows in the manifest, and their texts, one prefix per line.
fn lists(policy: &BoundPolicy) -> (Value, Vec<String>) {
    let (mut rows, mut texts) = (Vec::new(), Vec::new());
    for row in &policy.loaded.policy.allow {
        let Some(file) = row.peers_file.as_ref().map(|file| &file.value) else { continue };
        let Some(list) = &file.list else { continue };
        let text: String = list.addresses.prefixes().map(|prefix| format!("{prefix}\n")).collect();
        rows.push(json!({
            "flow": row.id.value.0, "file": file.path, "entries": list.entries, "sha256": list.sha256,
            "stored": emit::sha256(&text),
        }));
        texts.push(text);
    }
    (rows.into(), texts)
}

fn facts(policy: &BoundPolicy, catalog: &Catalog) -> PolicyFacts {
    let BoundPolicy { loaded, resolution, .. } = policy;
    let (intent, source) = (&loaded.intent, &loaded.source);
    let origins = intent.flows.iter().map(|flow| {
        json!({
            "flow": flow.id,
            "direction": flow.side.name(),
            "from": origin(source, &flow.origin),
            "local": end(source, &flow.local, resolution),
            "peers": end(source, &flow.peers, resolution),
        })
    });
    PolicyFacts {
        name: intent.name.clone(),
        path: PathBuf::new(),
        target: intent.target.to_string(),
        mode: if intent.mode == Mode::Audit { "audit" } else { "enforce" }.to_owned(),
        catalog: catalog.digest.clone(),
        lists: Value::Null,
        origins: origins.collect(),
    }
}

/// The parts of an end; `null` for every address.
fn end(policy: &Source, end: &End<Declared>, resolution: &Resolution) -> Value {
    match end {
        End::Any => Value::Null,
        End::Ends(parts) => parts.iter().map(|part| self::part(policy, part, resolution)).collect(),
    }
}

fn part(policy: &Source, part: &Part, resolution: &Resolution) -> Value {
    let from = origin(policy, &part.origin);
    match &part.kind {
        PartKind::Prefixes(set) => json!({"prefixes": prefixes(set), "from": from}),
        PartKind::Name { name, .. } => {
            let addresses: Value = resolution
                .names
                .get(name)
                .into_iter()
                .flat_map(|record| &record.addresses)
                .map(|(address, seen)| {
                    json!({
                        "address": address,
                        "first-seen": seen.first.to_string(),
                        "last-seen": seen.last.to_string(),
                        "ttl": seen.ttl,
                    })
                })
                .collect();
            json!({"name": name.as_str(), "addresses": addresses, "from": from})
        }
    }
}

fn prefixes(set: &PrefixSet) -> Value {
    match set.prefixes().nth(MAX_LISTED_PREFIXES) {
        Some(_) => json!({"count": set.prefixes().count()}),
        None => set.prefixes().map(|prefix| prefix.to_string()).collect(),
    }
}

fn origin(policy: &Source, origin: &Origin) -> Value {
    match origin {
        Origin::Policy(span) => json!({"line": policy.line(span.start)}),
        Origin::Catalog { source, section, retrieved, inferred } => {
            json!({"document": source, "section": section, "retrieved": retrieved, "inferred": inferred})
        }
    }
}

/// A path that does not depend on the working directory. A stream stays `-`.
fn absolute(path: &Path) -> PathBuf {
    if path == Path::new(STREAM) {
        return path.to_owned();
    }
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
