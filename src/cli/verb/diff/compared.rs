//! What a policy is compared with, and the causes of what is different.

use std::path::Path;

use super::Arguments;
use crate::catalog::Catalog;
use crate::cli::context::{Bound, LockArguments, kept_policy, load_catalog, load_policy};
use crate::cli::failure::{Failure, chosen};
use crate::cli::render;
use crate::diag::Severity;
use crate::host::files;
use crate::host::generations::{RULESET, Store};
use crate::host::kernel::Kernel;
use crate::host::rollout::{generation_in_kernel, recall};
use crate::host::transition::means;
use crate::intent::{Declared, Intent};
use crate::live::Live;
use crate::lower::lower;
use crate::resolution::Resolution;
use crate::ruleset::{Difference, Ruleset, SetKind, TABLE, differences};
use crate::source::Source;
use crate::{emit, readback};

/// Who or what made a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// The policy was edited.
    Policy,
    /// The catalog changed.
    Catalog,
    /// The policy or the catalog: nothing says which.
    PolicyOrCatalog,
    /// DNS answered otherwise.
    Dns,
    /// Somebody edited the ruleset.
    Tampering,
    /// The ruleset has no record of how it came about.
    Unrecorded,
}

impl Cause {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Cause::Policy => "policy",
            Cause::Catalog => "catalog",
            Cause::PolicyOrCatalog => "policy-or-catalog",
            Cause::Dns => "dns",
            Cause::Tampering => "tampering",
            Cause::Unrecorded => "unrecorded",
        }
    }

    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Cause::Policy => "the policy says otherwise",
            Cause::Catalog => "the catalog changed",
            Cause::PolicyOrCatalog => "the policy says otherwise, or the catalog changed",
            Cause::Dns => "DNS answered otherwise",
            Cause::Tampering => "the ruleset was edited by hand",
            Cause::Unrecorded => "not known why: the ruleset has no record of how it came about",
        }
    }
}

/// What the policy is compared with, and how it becomes what the policy means now.
pub(crate) struct Compared {
    /// What messages call it.
    pub(crate) name: String,
    /// The text that stands for it in `--format nft`, and the one that stands for the policy.
    pub(crate) texts: [String; 2],
    /// What it was at first.
    pub(crate) first: Ruleset,
    /// The policy that it was compiled from, where it is known.
    pub(crate) policy: Option<Bound>,
    /// What it became for each cause; the last is the policy's.
    pub(crate) steps: Vec<(Cause, Ruleset)>,
}

impl Compared {
    /// Compares with what the arguments name.
    pub(crate) fn with(
        arguments: &Arguments,
        folder: Option<&Path>,
        catalog: &Catalog,
        bound: &Bound,
        new: Ruleset,
    ) -> Result<Self, Failure> {
        let (against, store) = (&arguments.against, arguments.state.look());
        let number = against.to_str().and_then(|text| text.parse::<u64>().ok());
        let is_kernel = against == Path::new("kernel");
        if is_kernel || number.is_some() {
            refuse_options(arguments, "a ruleset")?;
        }
        match number {
            _ if is_kernel => Self::with_kernel(&store, &mut arguments.kernel.kernel(), catalog, bound, &new),
            Some(number) => Self::with_generation(&store, number, catalog, bound, new),
            None => match read_other(arguments)? {
                Other::Ruleset { source, ruleset } => Ok(against_ruleset(source, ruleset, new, &catalog.digest)),
                Other::Policy => against_policy(arguments, folder, &bound.resolution, new),
            },
        }
    }

    /// Compares with the kernel's table, by way of the generation that it was brought to.
    pub(crate) fn with_kernel(
        store: &Store,
        kernel: &mut dyn Kernel,
        catalog: &Catalog,
        bound: &Bound,
        new: &Ruleset,
    ) -> Result<Self, Failure> {
        let state = store.state()?;
        recall(store, kernel, &state);
        kernel.recall(new);
        let live = kernel.table()?.map(Live);
        let is_empty = |live: &Live| live.meaning() == Ruleset::default();
        let Some(live) = live.filter(|live| !is_empty(live)) else {
            render::note(&format!("the kernel has no table `inet {TABLE}`, or an empty one: it accepts every packet"));
            return Ok(against_ruleset(Source::new("kernel", ""), Ruleset::default(), new.clone(), &catalog.digest));
        };
        let first = live.meaning();
        let Some(number) = generation_in_kernel(store, &state, Some(&live)) else {
            return Ok(against_ruleset(Source::new("kernel", ""), first, new.clone(), &catalog.digest));
        };
        let recorded = store.ruleset(number)?;
        let mut compared = Self::with_generation(store, number, catalog, bound, new.clone())?;
        if means(Some(&live), Some(&recorded)) {
            compared.name = format!("kernel (generation {number})");
            return Ok(compared);
        }
        compared.steps.insert(0, (Cause::Tampering, compared.first));
        compared.texts = [&first, new].map(|ruleset| emit::nft(&ruleset.clone().without_notes()));
        Ok(Self { name: "kernel".to_owned(), first, ..compared })
    }

    /// Compares with a generation that is kept.
    fn with_generation(
        store: &Store,
        number: u64,
        catalog: &Catalog,
        bound: &Bound,
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
        let Some(before) = stored(store, number, &facts.target, catalog) else {
            let old_answers = new.clone().with_hosts_of(&first);
            let cause = if same_catalog { Cause::Policy } else { Cause::PolicyOrCatalog };
            let steps = vec![(cause, old_answers), (Cause::Dns, new)];
            return Ok(Self { name, texts, first, policy: None, steps });
        };
        let steps = steps(&before.loaded.intent, &before.resolution, !same_catalog, &bound.resolution, new);
        Ok(Self { name, texts, first, policy: Some(before), steps })
    }

    /// The packets that fare otherwise, by step.
    pub(crate) fn differences(&self) -> Vec<Difference> {
        let versions: Vec<&Ruleset> =
            [&self.first].into_iter().chain(self.steps.iter().map(|(_, ruleset)| ruleset)).collect();
        differences(&versions)
    }
}

/// The policy of a generation, bound to its answers.
fn stored(store: &Store, number: u64, target: &str, catalog: &Catalog) -> Option<Bound> {
    let (loaded, resolution) = kept_policy(store, number, target, catalog)?;
    let resolved = loaded.intent.bind(&resolution).ok()?;
    Some(Bound { loaded, resolution, resolved })
}

/// What an older policy became: through the catalog, through DNS, and through its edits.
fn steps(
    old: &Intent<Declared>,
    old_answers: &Resolution,
    catalog_differs: bool,
    answers: &Resolution,
    new: Ruleset,
) -> Vec<(Cause, Ruleset)> {
    let mut steps = Vec::new();
    // A version that lacks an answer is left out: what it would have told apart is put down to the next cause.
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

fn refuse_options(arguments: &Arguments, what: &str) -> Result<(), Failure> {
    for (option, given) in [("lock", &arguments.against_lock), ("catalog", &arguments.against_catalog)] {
        if given.is_some() {
            let against = arguments.against.display();
            let message = format!("`--against-{option}` goes with another policy, and `{against}` is {what}");
            return Err(Failure::Usage(anyhow::anyhow!(message)));
        }
    }
    Ok(())
}

enum Other {
    Ruleset { source: Source, ruleset: Ruleset },
    Policy,
}

/// Tells a ruleset from a policy by its first words.
fn read_other(arguments: &Arguments) -> Result<Other, Failure> {
    let source = files::read(&arguments.against)?;
    if !is_ruleset(source.text()) {
        return Ok(Other::Policy);
    }
    refuse_options(arguments, "a ruleset")?;
    match readback::read(&source) {
        // edgeward writes no set of prefixes without any; a listing with `--terse` is full of them.
        Ok(ruleset) if is_terse(&ruleset) => Err(Failure::Usage(anyhow::anyhow!(
            "`{}` is a ruleset without elements, such as `nft --terse` lists; leave `--terse` out",
            source.name
        ))),
        Ok(ruleset) => Ok(Other::Ruleset { source, ruleset }),
        Err(diagnostic) => {
            render::diagnostics(&source, vec![*diagnostic], Severity::Error);
            Err(Failure::Told(2))
        }
    }
}

fn is_terse(ruleset: &Ruleset) -> bool {
    let mut prefixes = ruleset.sets.values().filter(|set| set.kind == SetKind::Prefixes).peekable();
    prefixes.peek().is_some() && prefixes.all(|set| set.elements.is_empty())
}

fn is_ruleset(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines.next().unwrap_or_default();
    let command = first.split_whitespace().next().unwrap_or_default();
    match command.starts_with('{') {
        true => text.get(..text.floor_char_boundary(200)).is_some_and(|head| head.contains("\"nftables\"")),
        false => ["table", "add", "create", "delete", "destroy", "flush"].contains(&command),
    }
}

fn against_ruleset(source: Source, first: Ruleset, new: Ruleset, digest: &str) -> Compared {
    let intact = emit::is_intact(source.text());
    // Whose elements the sets of names had is known of an intact text only. Else an address that DNS does not give any
    // more may as well have been added by hand; one that was not there yet has not.
    let old_answers = match intact {
        Some(true) => new.clone().with_hosts_of(&first),
        _ => new.clone().with_common_hosts(&first),
    };
    let steps = match intact {
        // A digest of the catalog in a checksummed text tells its changes from those of the policy.
        Some(true) if source.text().lines().next().is_some_and(|line| line.ends_with(digest)) => {
            vec![(Cause::Policy, old_answers), (Cause::Dns, new.clone())]
        }
        Some(true) => vec![(Cause::PolicyOrCatalog, old_answers), (Cause::Dns, new.clone())],
        Some(false) => vec![(Cause::Tampering, new.clone())],
        None => vec![(Cause::Unrecorded, old_answers), (Cause::Dns, new.clone())],
    };
    // What nft lists is laid out otherwise, and counts.
    let texts = match intact {
        Some(_) => [source.text().to_owned(), emit::nft(&new)],
        None => [first.clone(), new].map(|ruleset| emit::nft(&ruleset.without_notes())),
    };
    Compared { name: source.name, texts, first, policy: None, steps }
}

fn against_policy(
    arguments: &Arguments,
    folder: Option<&Path>,
    answers: &Resolution,
    new: Ruleset,
) -> Result<Compared, Failure> {
    let target = arguments.policy.target.target;
    let (path, lock) = (&arguments.against, LockArguments { lock: arguments.against_lock.clone() });
    let load = |folder: Option<&Path>, shown| {
        let catalog = load_catalog(folder)?;
        load_policy(path, &catalog, target, shown)
    };
    let other = match arguments.against_catalog.as_deref() {
        Some(name) if name == Path::new("built-in") => None,
        other => other.or(folder),
    };
    let before = load(other, Severity::Warning)?;
    let before = lock.bind(path, before)?;
    let first = lower(&before.resolved);
    let now = arguments.against_catalog.as_ref().map(|_| load(folder, Severity::Error)).transpose()?;
    let intent = now.as_ref().map_or(&before.loaded.intent, |now| &now.intent);
    let texts = [&first, &new].map(emit::nft);
    let steps = steps(intent, &before.resolution, now.is_some(), answers, new);
    Ok(Compared { name: path.display().to_string(), texts, first, policy: Some(before), steps })
}
