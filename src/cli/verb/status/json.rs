//! The status for programs.

use super::kept::KeptPolicy;
use super::{Checked, Status};
use crate::cli::disk::Part;
use crate::cli::document::{
    ChainDocument, CounterDocument, DiskDocument, LockfileDocument, NameAgeDocument, PendingDocument, PolicyDocument,
    StatusDocument,
};
use crate::cli::preflight;
use crate::host::foreign::ForeignChain;
use crate::net::Hook;
use crate::nft::{CHAIN_POLICIES, NETFILTER_HOOKS, TABLE_FAMILIES};
use crate::report::DocumentVersion;

impl Checked<'_> {
    pub(super) fn document(&self) -> StatusDocument<'_> {
        let Status { state, current, manifest, table, deep, sets, counters, others, .. } = self.status;
        let manifest = manifest.as_ref();
        let counters = counters
            .iter()
            .map(|(name, counter)| (name.as_str(), CounterDocument { packets: counter.packets, bytes: counter.bytes }));
        StatusDocument {
            version: DocumentVersion,
            reasons: self.attention.clone(),
            table: *table,
            deep: *deep,
            generation: *current,
            loaded_at_boot: self.status.boot.number(),
            made: manifest.map(|manifest| manifest.made),
            by: manifest.map(|manifest| manifest.by.as_str()),
            policy: manifest.and_then(|manifest| manifest.policy.as_ref()).map(PolicyDocument::from),
            pending: state.pending.as_ref().map(PendingDocument::from),
            switching: state.switching.is_some(),
            on_disk: self.kept.map(on_disk),
            lockfile: self.kept.map(lockfile),
            sets: sets.clone(),
            counters: counters.collect(),
            others: others.chains.iter().map(|(hook, chain)| other(*hook, chain)).collect(),
            warnings: &others.warnings,
        }
    }
}

fn on_disk(kept: &KeptPolicy) -> DiskDocument {
    let is_same = |part| !kept.differing.iter().any(|differing| differing.part == part);
    let policy = kept.has_file.then(|| is_same(Part::Policy));
    let lists = (policy == Some(true)).then(|| is_same(Part::List));
    DiskDocument { policy, catalog: is_same(Part::Catalog), lists }
}

fn lockfile(kept: &KeptPolicy) -> LockfileDocument<'_> {
    let names = kept.names.iter().map(|row| NameAgeDocument {
        name: &row.name,
        addresses: row.addresses,
        last_seen: row.seen.map(|(seen, _)| seen),
        age_seconds: row.seen.map(|(_, age)| age.as_secs()),
        stale: row.seen.is_some_and(|(_, age)| age > kept.limits.stale),
    });
    LockfileDocument {
        answered: kept.answered,
        age_seconds: kept.age.map(|age| age.as_secs()),
        max_stale_seconds: kept.limits.stale.as_secs(),
        names: names.collect(),
    }
}

fn other(hook: Hook, chain: &ForeignChain) -> ChainDocument<'_> {
    ChainDocument {
        family: TABLE_FAMILIES.word(chain.family),
        table: &chain.table,
        chain: &chain.chain,
        hook: NETFILTER_HOOKS.word(chain.hook),
        priority: chain.priority,
        policy: CHAIN_POLICIES.word(chain.policy),
        owners: chain.owners.iter().map(|&owner| owner.to_owned()).collect(),
        order: preflight::order(hook, chain),
    }
}
