//! Where a generation comes from, as its manifest says it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::cli::context::Bound;
use crate::host::generations::{Generation, MadeBy, Manifest, PROGRAM, PolicyFacts, Version};
use crate::intent::{Declared, End, Origin, Part, PartKind};
use crate::net::PrefixSet;
use crate::resolution::Resolution;
use crate::site::Mode;
use crate::source::Source;

/// More prefixes of one line of a policy are counted.
const LISTED: usize = 64;

/// Makes the generation of a policy.
pub(crate) fn generation(
    bound: &Bound,
    catalog: &Catalog,
    ruleset: String,
    rules: String,
    made_by: MadeBy,
    (number, by, made): (u64, String, Timestamp),
) -> Generation {
    let (intent, source) = (&bound.loaded.intent, &bound.loaded.source);
    let origins = intent.flows.iter().map(|flow| {
        json!({
            "flow": flow.id,
            "direction": flow.side.name(),
            "from": origin(source, &flow.origin),
            "local": end(source, &flow.local, &bound.resolution),
            "peers": end(source, &flow.peers, &bound.resolution),
        })
    });
    let policy = PolicyFacts {
        name: intent.name.clone(),
        path: absolute(source.name.as_ref()),
        target: intent.target.to_string(),
        mode: if intent.mode == Mode::Audit { "audit" } else { "enforce" }.to_owned(),
        catalog: catalog.digest.clone(),
        lists: bound
            .loaded
            .policy
            .allow
            .iter()
            .filter_map(|row| {
                let file = &row.peers_file.as_ref()?.value;
                let list = file.list.as_ref()?;
                Some(json!({"flow": row.id.value.0, "file": file.path, "entries": list.entries, "sha256": list.sha256}))
            })
            .collect(),
        origins: origins.collect(),
    };
    let manifest = Manifest {
        version: Version,
        generation: number,
        made,
        by,
        made_by,
        program: PROGRAM.to_owned(),
        policy: Some(policy),
        sha256: Default::default(),
    };
    let lockfile = (!intent.names().is_empty()).then(|| bound.resolution.yaml());
    Generation::new(manifest, ruleset, rules, Some(source.text().to_owned()), lockfile)
}

/// A generation's policy in a listing.
pub(crate) fn summary(policy: &PolicyFacts) -> Value {
    json!({"name": policy.name, "path": policy.path, "target": policy.target, "mode": policy.mode})
}

/// The parts of an end; `null` where it is every address.
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
    match set.prefixes().nth(LISTED) {
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

/// A path that means the same wherever a process stands.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
