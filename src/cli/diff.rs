//! `edgeward diff`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::lock::{Bound, BoundArguments, LockArguments};
use super::{Failure, Loaded, load_catalog, load_policy, place, render};
use crate::diag::{Severity, legible};
use crate::host::{files, kernel};
use crate::intent::{Declared, Intent, Origin};
use crate::lower::lower;
use crate::net::{Packet, PrefixSet};
use crate::resolution::Resolution;
use crate::ruleset::{Difference, Effect, Ruleset, SetKind, TABLE, differences};
use crate::source::Source;
use crate::space::PacketBox;
use crate::{emit, readback};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    /// What the policy is compared with: `kernel`, or a file with a ruleset (nft text or JSON) or another policy
    #[arg(long, value_name = "WHAT", default_value = "kernel")]
    against: PathBuf,
    /// The lockfile of the other policy [default: its name with `.lock.yaml`]
    #[arg(long, value_name = "FILE")]
    against_lock: Option<PathBuf>,
    /// The catalog of the other policy, in place of this one's; `built-in` for the one without `--catalog`
    #[arg(long, value_name = "DIR")]
    against_catalog: Option<PathBuf>,
    /// Packets as text or JSON, or the two texts' lines
    #[arg(long, value_enum, default_value_t)]
    format: DiffFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    /// Packets, for people.
    #[default]
    Text,
    /// Packets, for programs.
    Json,
    /// A unified diff of the rulesets' texts.
    Nft,
}

/// Who or what made a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
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
            Cause::Policy => "the policy says otherwise",
            Cause::Catalog => "the catalog changed",
            Cause::PolicyOrCatalog => "the policy says otherwise, or the catalog changed",
            Cause::Dns => "DNS answered otherwise",
            Cause::Tampering => "the ruleset was edited: its checksum does not fit",
            Cause::Unrecorded => "not known why: the ruleset has no record of how it came about",
        }
    }
}

/// Where the packets of a flow come from: the line that has their peer, or the flow's own.
fn origin_of(policy: &Bound, flow: &str, packet: &Packet) -> Option<String> {
    let Loaded { source, intent, .. } = &policy.loaded;
    let permissions = policy.meaning().permissions(flow, packet);
    let parts = permissions.iter().flat_map(|permission| permission.peers.iter().chain(&permission.local));
    let written = parts.map(|matched| &matched.part.origin).find(|origin| matches!(origin, Origin::Policy(_)));
    let row = || Some(&intent.flows.iter().find(|row| row.id == flow)?.origin);
    Some(place(source, written.or_else(row)?))
}

/// What the policy is compared with, and how it becomes what the policy means now.
struct Compared {
    /// What messages call it.
    name: String,
    /// The text that stands for it in `--format nft`, and the one that stands for the policy.
    texts: [String; 2],
    /// What it was at first.
    first: Ruleset,
    /// The policy that it was compiled from, where it is known.
    policy: Option<Bound>,
    /// What it became for each cause; the last is the policy's.
    steps: Vec<(Cause, Ruleset)>,
}

pub(super) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let bound = arguments.policy.load(&catalog)?;
    let new = lower(&bound.resolved);
    let compared = match read_other(arguments)? {
        Other::Ruleset { source, ruleset } => against_ruleset(source, ruleset, new, &catalog.digest),
        Other::Policy => against_policy(arguments, folder, &bound.resolution, new)?,
    };
    let versions: Vec<&Ruleset> =
        [&compared.first].into_iter().chain(compared.steps.iter().map(|(_, ruleset)| ruleset)).collect();
    let found = differences(&versions);
    let text = match arguments.format {
        DiffFormat::Text => text(&compared, &found, &bound),
        DiffFormat::Json => render::document(&document(&compared, &found, &bound))?,
        DiffFormat::Nft => lines(&compared, &bound.loaded.source.name),
    };
    render::output(&text)?;
    if found.is_empty() { Ok(()) } else { Err(Failure::Told(1)) }
}

enum Other {
    Ruleset { source: Source, ruleset: Ruleset },
    Policy,
}

/// Tells a ruleset from a policy by its first words.
fn read_other(arguments: &Arguments) -> Result<Other, Failure> {
    let kernel = arguments.against == Path::new("kernel");
    let source = match kernel {
        true => kernel::list_table(TABLE).map_err(|error| Failure::System(error.into()))?,
        false => Some(files::read(&arguments.against)?),
    };
    let nothing = |source: &Source| source.text.split_whitespace().eq(["table", "inet", TABLE, "{", "}"]);
    let Some(source) = source.filter(|source| !(kernel && nothing(source))) else {
        render::note(&format!("the kernel has no table `inet {TABLE}`, or an empty one: it accepts every packet"));
        return Ok(Other::Ruleset { source: Source::new("kernel", ""), ruleset: Ruleset::default() });
    };
    if !kernel && !is_ruleset(&source.text) {
        return Ok(Other::Policy);
    }
    for (option, given) in [("lock", &arguments.against_lock), ("catalog", &arguments.against_catalog)] {
        if given.is_some() {
            let message = format!("`--against-{option}` goes with another policy, and `{}` is a ruleset", source.name);
            return Err(Failure::Usage(anyhow::anyhow!(message)));
        }
    }
    match readback::read(&source) {
        // edgeward writes no set of prefixes without any; a listing with `--terse` is full of them.
        Ok(ruleset) if !kernel && is_terse(&ruleset) => Err(Failure::Usage(anyhow::anyhow!(
            "`{}` is a ruleset without elements, such as `nft --terse` lists; leave `--terse` out",
            source.name
        ))),
        Ok(ruleset) => Ok(Other::Ruleset { source, ruleset }),
        Err(diagnostic) => {
            render::diagnostics(&source, vec![*diagnostic], Severity::Error);
            // Somebody has changed the kernel's table, which is no fault of a file.
            Err(Failure::Told(if kernel { 4 } else { 2 }))
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
    let intact = emit::is_intact(&source.text);
    // Whose elements the sets of names had is known of an intact text only. Else an address that DNS does not give any
    // more may as well have been added by hand; one that was not there yet has not.
    let old_answers = new.clone().with_hosts_of(&first, intact != Some(true));
    let steps = match intact {
        // A digest of the catalog in a checksummed text tells its changes from those of the policy.
        Some(true) if source.text.lines().next().is_some_and(|line| line.ends_with(digest)) => {
            vec![(Cause::Policy, old_answers), (Cause::Dns, new.clone())]
        }
        Some(true) => vec![(Cause::PolicyOrCatalog, old_answers), (Cause::Dns, new.clone())],
        Some(false) => vec![(Cause::Tampering, new.clone())],
        None => vec![(Cause::Unrecorded, old_answers), (Cause::Dns, new.clone())],
    };
    // What nft lists is laid out otherwise, and counts.
    let texts = match intact {
        Some(_) => [source.text, emit::nft(&new)],
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
    let mut steps = Vec::new();
    // A version that lacks an answer is left out: what it would have told apart is put down to the next cause.
    let mut step = |cause, intent: &Intent<Declared>, answers: &Resolution| {
        steps.extend(intent.bind(answers).ok().map(|bound| (cause, lower(&bound))));
    };
    let now = arguments.against_catalog.as_ref().map(|_| load(folder, Severity::Error)).transpose()?;
    let intent = now.as_ref().map_or(&before.loaded.intent, |now| &now.intent);
    if now.is_some() {
        step(Cause::Catalog, intent, &before.resolution.with_required(intent, answers));
    }
    step(Cause::Dns, intent, &answers.with_required(intent, &before.resolution));
    let texts = [&first, &new].map(emit::nft);
    steps.push((Cause::Policy, new));
    Ok(Compared { name: path.display().to_string(), texts, first, policy: Some(before), steps })
}

fn title(effect: Effect) -> &'static str {
    match effect {
        Effect::Allowed => "newly allowed",
        Effect::Denied => "newly denied",
        Effect::Silenced => "dropped, no longer rejected",
        Effect::Answered => "rejected, no longer dropped",
        Effect::Untracked => "kept from conntrack now",
        Effect::Tracked => "given to conntrack now",
    }
}

fn effect_word(effect: Effect) -> &'static str {
    match effect {
        Effect::Allowed => "allowed",
        Effect::Denied => "denied",
        Effect::Silenced => "silenced",
        Effect::Answered => "answered",
        Effect::Untracked => "untracked",
        Effect::Tracked => "tracked",
    }
}

/// How many boxes of a flow the text shows; JSON has all.
const SHOWN: usize = 50;

fn text(compared: &Compared, found: &[Difference], new: &Bound) -> String {
    let names = format!("`{}` against `{}`", legible(&new.loaded.source.name), legible(&compared.name));
    if found.is_empty() {
        let [before, after] = &compared.texts;
        return match before == after {
            true => format!("{names}: no difference\n"),
            false => format!("{names}: no packet fares otherwise; only the text differs (`--format nft` shows it)\n"),
        };
    }
    let mut lines = vec![format!("{names}: packets fare otherwise")];
    let mut last = None;
    for difference in found {
        let (cause, _) = compared.steps[difference.step];
        if last != Some((difference.effect, cause)) {
            lines.push(format!("\n{} ({})", render::bold(title(difference.effect)), cause.sentence()));
            last = Some((difference.effect, cause));
        }
        let flow = difference.flow.as_deref();
        let origin = origin(compared, difference, new).map(|place| format!(" ({place})")).unwrap_or_default();
        lines.push(format!("  {}{origin}", flow.unwrap_or("no flow")));
        let sign = match difference.effect {
            Effect::Allowed => render::green("+"),
            Effect::Denied => render::red("-"),
            _ => "~".to_owned(),
        };
        lines.extend(difference.boxes.iter().take(SHOWN).map(|one| format!("    {sign} {one}")));
        if let Some(more) = difference.boxes.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            lines.push(format!("    and {more} more; `--format json` has all"));
        }
        lines.push(format!("      such as {}", difference.example));
    }
    lines.join("\n") + "\n"
}

/// Where the packets of a difference come from: the policy that permits them, or did.
fn origin(compared: &Compared, difference: &Difference, new: &Bound) -> Option<String> {
    let flow = difference.flow.as_deref()?;
    let old = compared.policy.as_ref().filter(|_| difference.effect == Effect::Denied);
    origin_of(old.unwrap_or(new), flow, &difference.example)
}

fn document(compared: &Compared, found: &[Difference], new: &Bound) -> Value {
    let row = |difference: &Difference| {
        let (cause, _) = compared.steps[difference.step];
        json!({
            "effect": effect_word(difference.effect),
            "cause": cause.word(),
            "flow": difference.flow,
            "origin": origin(compared, difference, new),
            "packets": difference.boxes.iter().map(box_json).collect::<Vec<_>>(),
            "example": render::packet_json(&difference.example),
        })
    };
    let [before, after] = &compared.texts;
    json!({
        "policy": new.loaded.source.name,
        "against": compared.name,
        "same-packets": found.is_empty(),
        "same-text": before == after,
        "differences": found.iter().map(row).collect::<Vec<_>>(),
    })
}

/// A box as JSON; what is not bounded is left out.
fn box_json(one: &PacketBox) -> Value {
    let prefixes = |set: &PrefixSet| set.prefixes().map(|prefix| prefix.to_string()).collect::<Value>();
    let names = |names: Vec<&str>| Value::from(names);
    let fields = [
        ("hooks", Some(names(one.hooks.iter().map(|hook| hook.name()).collect()))),
        ("families", Some(names(one.families.iter().map(|family| family.name()).collect()))),
        ("states", Some(names(one.states.iter().map(|state| state.name()).collect()))),
        ("protocols", one.protocols.as_ref().map(|set| Value::from(set.words()))),
        ("dports", one.dports.as_ref().map(|set| Value::from(set.words()))),
        ("sports", one.sports.as_ref().map(|set| Value::from(set.words()))),
        ("icmp-types", one.icmp_types.as_ref().map(|set| Value::from(set.words()))),
        ("from", one.sources.as_ref().map(prefixes)),
        ("to", one.destinations.as_ref().map(prefixes)),
        ("loopback", one.loopback.map(Value::from)),
        ("opens", one.opens.map(Value::from)),
    ];
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn lines(compared: &Compared, policy: &str) -> String {
    let [before, after] = &compared.texts;
    let diff = similar::TextDiff::from_lines(before, after);
    let unified = diff.unified_diff().context_radius(3).header(&compared.name, policy).to_string();
    let paint = |line: &str| match line.as_bytes().first() {
        Some(b'+') => render::green(line),
        Some(b'-') => render::red(line),
        _ => line.to_owned(),
    };
    unified.lines().map(|line| paint(&visible(line)) + "\n").collect()
}

/// A line of somebody's file as a terminal may show it, whatever its length.
fn visible(line: &str) -> String {
    let escape = |c: char| if c.is_control() && c != '\t' { c.escape_default().to_string() } else { c.to_string() };
    line.chars().map(escape).collect()
}
