//! Rulesets compared for every packet, and the causes of the differences.

mod changes;
mod consequences;
mod plan;
mod show;
mod stances;

use crate::catalog::Catalog;
use crate::cli::context::{BoundPolicy, LoadedPolicy, kept_policy};
use crate::cli::failure::{Failure, chosen};
use crate::cli::render;
use crate::diag::shown;
use crate::emit;
use crate::host::generations::{PolicyFacts, RULESET, State, Store};
use crate::host::kernel::Kernel;
use crate::host::rollout::{generation_in_kernel, recall};
use crate::host::transition::means;
use crate::intent::{Declared, Intent};
use crate::live::Live;
use crate::lower::lower;
use crate::resolution::Resolution;
use crate::ruleset::{Difference, Ruleset, TABLE};
use crate::source::Source;

pub(crate) use changes::changes;
pub(crate) use consequences::{Consequences, MAX_PLAN_BOXES};
pub(crate) use plan::After;
use stances::{Stances, compared};

/// What caused a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// The policy was edited.
    Policy,
    /// The catalog changed.
    Catalog,
    /// The policy or the catalog: there is no record of which.
    PolicyOrCatalog,
    /// DNS gave other addresses.
    Dns,
    /// The ruleset was edited by hand.
    Tampering,
    /// The ruleset has no record of its origin.
    Unrecorded,
}

impl Cause {
    fn word(self) -> &'static str {
        match self {
            Cause::Policy => "policy",
            Cause::Catalog => "catalog",
            Cause::PolicyOrCatalog => "policy-or-catalog",
            Cause::Dns => "dns",
            Cause::Tampering => "tampering",
            Cause::Unrecorded => "unrecorded",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Cause::Policy => "the policy changed",
            Cause::Catalog => "the catalog changed",
            Cause::PolicyOrCatalog => "the policy or the catalog changed",
            Cause::Dns => "DNS gave other addresses",
            Cause::Tampering => "the ruleset was edited by hand",
            Cause::Unrecorded => "the cause is not known: the ruleset has no record of its origin",
        }
    }
}

/// A ruleset, and the steps from it to the ruleset of the policy, one for each cause.
pub(crate) struct Comparison {
    /// What messages call the ruleset.
    name: String,
    /// Its text in `--format nft`, and that of the policy.
    texts: [String; 2],
    /// The ruleset.
    first: Ruleset,
    /// The policy that it was compiled from, if it is known.
    policy: Option<BoundPolicy>,
    /// The ruleset after each cause; the last one is that of the policy.
    steps: Vec<(Cause, Ruleset)>,
}

impl Comparison {
    /// Compares with the kernel's table, in two steps: to the generation that was applied, and from there to the policy.
    /// Returns the table, too.
    pub(crate) fn with_kernel(
        store: &Store,
        kernel: &mut dyn Kernel,
        catalog: &Catalog,
        bound: &BoundPolicy,
        new: &Ruleset,
    ) -> Result<(Self, Option<Live>), Failure> {
        let state = store.state()?;
        recall(store, kernel, &state);
        kernel.recall(new);
        let live = kernel.table()?.map(Live);
        Ok((Self::with_table(store, &state, live.as_ref(), catalog, bound, new)?, live))
    }

    fn with_table(
        store: &Store,
        state: &State,
        live: Option<&Live>,
        catalog: &Catalog,
        bound: &BoundPolicy,
        new: &Ruleset,
    ) -> Result<Self, Failure> {
        let is_empty = |live: &Live| live.meaning() == Ruleset::default();
        let Some(live) = live.filter(|live| !is_empty(live)) else {
            render::note(&format!("the kernel has no table `inet {TABLE}`, or an empty one: every packet is accepted"));
            return Ok(Self::with_ruleset(Source::new("kernel", ""), Ruleset::default(), new.clone(), &catalog.digest));
        };
        let first = live.meaning();
        let Some(number) = generation_in_kernel(store, state, Some(live)) else {
            let folder = shown(store.folder());
            render::note(&format!(
                "`{folder}` has no record of the kernel's table; if it was applied with another `--state-dir`, name that"
            ));
            return Ok(Self::with_ruleset(Source::new("kernel", ""), first, new.clone(), &catalog.digest));
        };
        let recorded = match (store.ruleset(number), store.manifest(number)) {
            (Ok(recorded), Ok(_)) => recorded,
            // What the kernel has is known nevertheless.
            (Err(error), _) | (_, Err(error)) => {
                render::warning(&format!("which changes are by others is not known: {error}"));
                return Ok(Self::with_ruleset(Source::new("kernel", ""), first, new.clone(), &catalog.digest));
            }
        };
        let mut comparison = Self::with_generation(store, number, catalog, bound, new.clone())?;
        if means(Some(live), Some(&recorded)) {
            comparison.name = format!("kernel (generation {number})");
            return Ok(comparison);
        }
        comparison.steps.insert(0, (Cause::Tampering, comparison.first));
        comparison.texts = [&first, new].map(|ruleset| emit::nft(&ruleset.clone().without_notes()));
        Ok(Self { name: "kernel".to_owned(), first, ..comparison })
    }

    /// Compares with a generation that is kept.
    pub(crate) fn with_generation(
        store: &Store,
        number: u64,
        catalog: &Catalog,
        bound: &BoundPolicy,
        new: Ruleset,
    ) -> Result<Self, Failure> {
        let (first, manifest) = (chosen(store.ruleset(number))?, store.manifest(number)?);
        let name = format!("generation {number}");
        let texts = [store.text(number, RULESET)?.into_text(), emit::nft(&new)];
        let Some(facts) = manifest.policy else {
            let steps = vec![(Cause::Unrecorded, new)];
            return Ok(Self { name, texts, first, policy: None, steps });
        };
        let same_catalog = facts.catalog == catalog.digest;
        let Some(before) = stored(store, number, &facts, catalog) else {
            let old_answers = new.clone().with_hosts_of(&first);
            let cause = if same_catalog { Cause::Policy } else { Cause::PolicyOrCatalog };
            let steps = vec![(cause, old_answers), (Cause::Dns, new)];
            return Ok(Self { name, texts, first, policy: None, steps });
        };
        let steps = steps(&before.loaded.intent, &before.resolution, !same_catalog, &bound.resolution, new);
        Ok(Self { name, texts, first, policy: Some(before), steps })
    }

    /// Compares with a ruleset that has no records.
    pub(crate) fn with_ruleset(source: Source, first: Ruleset, new: Ruleset, digest: &str) -> Self {
        let intact = emit::is_intact(source.text());
        // Only an intact text is known to have had the answers of DNS in its sets of names. In any other text an address
        // that DNS no longer gives may have been added by hand; one that is new to it was not.
        let old_answers = match intact {
            Some(true) => new.clone().with_hosts_of(&first),
            _ => new.clone().with_common_hosts(&first),
        };
        let steps = match intact {
            // An intact text names the digest of its catalog: with the same one, only the policy can have changed.
            Some(true) if source.text().lines().next().is_some_and(|line| line.ends_with(digest)) => {
                vec![(Cause::Policy, old_answers), (Cause::Dns, new.clone())]
            }
            Some(true) => vec![(Cause::PolicyOrCatalog, old_answers), (Cause::Dns, new.clone())],
            Some(false) => vec![(Cause::Tampering, new.clone())],
            None => vec![(Cause::Unrecorded, old_answers), (Cause::Dns, new.clone())],
        };
        // A listing of nft has another layout, and counters.
        let texts = match intact {
            Some(_) => [source.text().to_owned(), emit::nft(&new)],
            None => [first.clone(), new].map(|ruleset| emit::nft(&ruleset.without_notes())),
        };
        Self { name: source.name, texts, first, policy: None, steps }
    }

    /// Compares with another policy, and attributes differences to the catalog if that differs as well: then the other
    /// policy is also given as it reads with our catalog.
    pub(crate) fn with_policy(
        other: BoundPolicy,
        with_our_catalog: Option<LoadedPolicy>,
        policy: &BoundPolicy,
        new: Ruleset,
    ) -> Self {
        let first = lower(&other.resolved);
        let intent = with_our_catalog.as_ref().map_or(&other.loaded.intent, |loaded| &loaded.intent);
        let texts = [&first, &new].map(emit::nft);
        let steps = steps(intent, &other.resolution, with_our_catalog.is_some(), &policy.resolution, new);
        Self { name: other.loaded.source.name.clone(), texts, first, policy: Some(other), steps }
    }

    /// The comparison with the stored text of the new ruleset, which has comments that the ruleset itself has not.
    pub(crate) fn with_stored_text(mut self, emitted: &str, stored: String) -> Self {
        if self.texts[1] == emitted {
            self.texts[1] = stored;
        }
        self
    }

    /// What becomes allowed and denied, regardless of the causes.
    pub(crate) fn consequences(&self) -> Consequences {
        Consequences::of(&self.first, self.last())
    }

    /// The ruleset of the policy.
    fn last(&self) -> &Ruleset {
        self.steps.last().map_or(&self.first, |(_, ruleset)| ruleset)
    }

    fn stances(&self) -> Stances {
        Stances::of(&self.first, self.last())
    }

    /// Whether no packet is treated differently, and none would be if both were enforced.
    pub(crate) fn is_same(&self, differences: &[Difference]) -> bool {
        let stances = self.stances();
        differences.is_empty() && stances.before == stances.after
    }

    /// The packets that are treated differently, for each step; what is in audit mode as if it were enforced, and what
    /// is really allowed or denied where the mode changes.
    pub(crate) fn differences(&self, new: &BoundPolicy) -> Vec<Difference> {
        let versions: Vec<&Ruleset> =
            [&self.first].into_iter().chain(self.steps.iter().map(|(_, ruleset)| ruleset)).collect();
        let last = self.steps.len();
        let old = self.policy.as_ref().unwrap_or(new);
        compared(&versions, |index, hook| if index == last { new } else { old }.resolved.denials.at(hook))
    }
}

/// The policy of a generation with the addresses of its time.
fn stored(store: &Store, number: u64, facts: &PolicyFacts, catalog: &Catalog) -> Option<BoundPolicy> {
    let kept = kept_policy(store, number, facts, catalog).unwrap_or_else(|failure| {
        render::warning(&format!("the causes of differences are known in part: {}", failure.sentence()));
        None
    });
    let (loaded, resolution) = kept?;
    let resolved = loaded.intent.bind(&resolution).ok()?;
    Some(BoundPolicy { loaded, resolution, resolved })
}

/// The steps from an older policy to the present one: the catalog, DNS, and edits of the policy.
fn steps(
    old: &Intent<Declared>,
    old_answers: &Resolution,
    catalog_differs: bool,
    answers: &Resolution,
    new: Ruleset,
) -> Vec<(Cause, Ruleset)> {
    let mut steps = Vec::new();
    // A step without an address for a required name is left out: its differences are attributed to the next cause.
    let mut step = |cause, answers: &Resolution| {
        steps.extend(old.bind(answers).ok().map(|bound| (cause, lower(&bound))));
    };
    if catalog_differs {
        step(Cause::Catalog, &old_answers.with_required(old, answers));
    }
    step(Cause::Dns, &answers.with_required(old, old_answers));
    steps.push((Cause::Policy, new));
    steps
}
