//! `edgeward diff`.

mod compared;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::cli::context::{Bound, BoundArguments, KernelArguments, Loaded, StateArguments, load_catalog};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::legible;
use crate::intent::Origin;
use crate::lower::lower;
use crate::net::{Packet, PrefixSet};
use crate::report::place;
use crate::ruleset::{Difference, Effect, Ruleset, differences};
use crate::space::PacketBox;

pub(crate) use compared::Compared;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    policy: BoundArguments,
    /// What the policy is compared with: `kernel`, the number of a generation, or a file with a ruleset (nft text or
    /// JSON) or another policy
    #[arg(long, value_name = "WHAT", default_value = "kernel")]
    against: PathBuf,
    /// The lockfile of the other policy [default: its name with `.lock.yaml`]
    #[arg(long, value_name = "FILE")]
    against_lock: Option<PathBuf>,
    /// The catalog of the other policy, in place of this one's; `built-in` for the one without `--catalog`
    #[arg(long, value_name = "DIR")]
    against_catalog: Option<PathBuf>,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    kernel: KernelArguments,
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

/// Where the packets of a flow come from: the line that has their peer, or the flow's own.
fn origin_of(policy: &Bound, flow: &str, packet: &Packet) -> Option<String> {
    let Loaded { source, intent, .. } = &policy.loaded;
    let permissions = policy.meaning().permissions(flow, packet);
    let parts = permissions.iter().flat_map(|permission| permission.peers.iter().chain(&permission.local));
    let written = parts.map(|matched| &matched.part.origin).find(|origin| matches!(origin, Origin::Policy(_)));
    let row = || Some(&intent.flows.iter().find(|row| row.id == flow)?.origin);
    Some(place(source, written.or_else(row)?))
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let bound = arguments.policy.load(&catalog)?;
    let new = lower(&bound.resolved);
    let compared = Compared::with(arguments, folder, &catalog, &bound, new)?;
    let found = compared.differences();
    let text = match arguments.format {
        DiffFormat::Text => text(&compared, &found, &bound),
        DiffFormat::Json => render::document(&document(&compared, &found, &bound))?,
        DiffFormat::Nft => lines(&compared, &bound.loaded.source.name),
    };
    render::output(&text)?;
    if found.is_empty() { Ok(()) } else { Err(Failure::Told(1)) }
}

/// What of packets is different, for people.
pub(crate) fn summary(compared: &Compared, bound: &Bound) -> String {
    text(compared, &compared.differences(), bound)
}

/// The flows that permit or deny more than before, in a sentence.
pub(crate) fn flows(before: &Ruleset, after: &Ruleset) -> String {
    let found = differences(&[before, after]);
    let effects =
        [Effect::Allowed, Effect::Denied, Effect::Silenced, Effect::Answered, Effect::Untracked, Effect::Tracked];
    let parts: Vec<String> = effects
        .into_iter()
        .filter_map(|effect| {
            let of_effect = found.iter().filter(|difference| difference.effect == effect);
            let flows: BTreeSet<&str> =
                of_effect.map(|difference| difference.flow.as_deref().unwrap_or("no flow")).collect();
            let flows: Vec<&str> = flows.into_iter().collect();
            (!flows.is_empty()).then(|| format!("{}: {}", title(effect), flows.join(", ")))
        })
        .collect();
    if parts.is_empty() { "no packet fares otherwise".to_owned() } else { parts.join("; ") }
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
