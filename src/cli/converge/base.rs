//! What a refresh works with: the generation in force, with everything that it was compiled from.

use std::path::Path;

use anyhow::anyhow;

use crate::catalog::Catalog;
use crate::cli::context::{LoadedPolicy, kept_or_chosen_catalog, kept_policy, not_stored};
use crate::cli::failure::Failure;
use crate::cli::hint;
use crate::diag::shown;
use crate::host::generations::{MadeBy, Manifest, PolicyFacts, State, Store, rules_digest};
use crate::host::rollout::named;
use crate::intent::{Intent, Resolved};
use crate::lower::lower;
use crate::resolution::Resolution;
use crate::ruleset::Ruleset;

/// A generation that is refreshed.
pub(crate) struct Base {
    pub(crate) number: u64,
    /// Where it comes from.
    pub(crate) facts: PolicyFacts,
    /// The catalog that it was compiled with.
    pub(crate) catalog: Catalog,
    ruleset: Ruleset,
    rules: String,
    /// Its answers.
    pub(super) resolution: Resolution,
}

impl Base {
    /// Reads the generation in force, with its policy and its answers. `policy` and `chosen` are what an operator would
    /// apply instead.
    pub(crate) fn load(
        store: &Store,
        state: &State,
        policy: &Path,
        chosen: Option<&Path>,
    ) -> Result<(Self, LoadedPolicy, Resolution), Failure> {
        let apply = match &state.pending {
            None => format!("`{}` applies the policy", hint::command("apply").word("--resolve").policy(policy)),
            Some(_) => format!("`{}` undoes the pending change", hint::command("rollback")),
        };
        let Some(number) = state.base() else {
            let folder = shown(store.folder());
            return Err(Failure::usage(anyhow!(
                "nothing was applied and confirmed yet (`{folder}`), so there is nothing to refresh; {apply}"
            )));
        };
        let failed = || anyhow!("{} cannot be refreshed, and nothing was changed; {apply}", named(Some(number)));
        let Manifest { policy: facts, .. } =
            store.manifest(number).map_err(|error| Failure::from(error).with(failed()))?;
        let record = state.generations.get(&number).filter(|record| record.made_by != MadeBy::Found);
        let (Some(facts), Some(record)) = (facts, record) else {
            return Err(Failure::usage(anyhow!(
                "generation {number} was found in the kernel and has no policy, so it cannot be refreshed; {apply}"
            )));
        };
        let catalog = kept_or_chosen_catalog(store, &facts, chosen).map_err(|failure| failure.with(failed()))?;
        let kept = kept_policy(store, number, &facts, &catalog);
        // Where an earlier version did not store the catalog, another one serves as well if it gives the same rules.
        let gives_rules = |(loaded, resolution): &(LoadedPolicy, Resolution)| {
            loaded.intent.bind(resolution).is_ok_and(|bound| rules_digest(&lower(&bound)) == record.rules)
        };
        if catalog.digest != facts.catalog && !matches!(&kept, Ok(Some(kept)) if gives_rules(kept)) {
            return Err(not_stored(number, &facts, chosen).with(failed()));
        }
        let kept = kept.map_err(|failure| failure.with(failed()))?;
        let Some((loaded, resolution)) = kept else { return Err(Failure::system(failed())) };
        let (ruleset, rules) =
            (store.ruleset(number).map_err(|error| Failure::from(error).with(failed()))?, record.rules.clone());
        let base = Self { number, facts, catalog, ruleset, rules, resolution: resolution.clone() };
        Ok((base, loaded, resolution))
    }

    /// The generation's rules with other addresses of names. Another version of the program may compile the policy to
    /// other rules; only `apply` puts those into force.
    pub(super) fn with_addresses(&self, policy: &Intent<Resolved>, digest: impl Fn(&Ruleset) -> String) -> Ruleset {
        let compiled = lower(policy);
        match digest(&compiled) == self.rules {
            true => compiled,
            false => Ruleset { title: compiled.title.clone(), ..self.ruleset.clone().with_hosts_of(&compiled) },
        }
    }
}
