//! `edgeward explain`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::lock::LockArguments;
use super::{Failure, ListFormat, Loaded, PolicyTarget, load_catalog, load_policy, place, render};
use crate::catalog::Catalog;
use crate::diag::{Code, Problems, Severity, did_you_mean};
use crate::emit;
use crate::explain::{Matched, Meaning, NearMiss, Permission};
use crate::host::{clock, files};
use crate::intent::{Aspect, Declared, End, Origin, PartKind, Side};
use crate::lower::lower;
use crate::net::{CtState, Family, Hook, Packet, PortSet, PrefixSet, Verdict, parse_address};
use crate::probe::{HookWord, Place, Probe, ProbeFile, ProbeRow, ProtocolNumber, StateWord, VerdictWord};
use crate::ruleset::{Outcome, Ruleset};
use crate::site::{Mode, Target};
use crate::source::Spanned;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy file
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    target: PolicyTarget,
    #[command(flatten)]
    lock: LockArguments,
    /// A file of packets and what is expected of them, in place of one packet
    #[arg(long, value_name = "FILE", conflicts_with_all = PACKET)]
    probes: Option<PathBuf>,
    #[command(flatten)]
    packet: PacketArguments,
    /// Fail with exit code 1 unless this is the verdict
    #[arg(long, value_name = "VERDICT")]
    expect: Option<VerdictWord>,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// The arguments that describe one packet.
const PACKET: [&str; 10] = ["hook", "from", "to", "proto", "sport", "dport", "icmp_type", "state", "ack", "expect"];

#[derive(Debug, clap::Args)]
struct PacketArguments {
    /// Where the packet is judged [default: told from its addresses]
    #[arg(long, value_name = "HOOK")]
    hook: Option<HookWord>,
    /// Its source address
    #[arg(long, value_name = "ADDR", value_parser = address, required_unless_present = "probes")]
    from: Option<IpAddr>,
    /// Its destination address
    #[arg(long, value_name = "ADDR", value_parser = address, required_unless_present = "probes")]
    to: Option<IpAddr>,
    /// Its protocol: tcp, udp, icmp, icmpv6, ipip or a number
    #[arg(long, value_name = "PROTOCOL", required_unless_present = "probes")]
    proto: Option<ProtocolNumber>,
    /// Its source port [default: 40000, which no service has]
    #[arg(long, value_name = "PORT")]
    sport: Option<u16>,
    /// Its destination port
    #[arg(long, value_name = "PORT")]
    dport: Option<u16>,
    /// The type of an ICMP message [default: echo request]
    #[arg(long, value_name = "TYPE")]
    icmp_type: Option<u8>,
    /// What conntrack says of it: new, established, related, invalid or untracked [default: new]
    #[arg(long, value_name = "STATE")]
    state: Option<StateWord>,
    /// A TCP segment with ACK or RST set, which opens nothing [default: unless it is new or untracked]
    #[arg(long)]
    ack: bool,
}

fn address(text: &str) -> Result<IpAddr, String> {
    parse_address(text).map_err(|error| error.to_string())
}

impl PacketArguments {
    /// The packet; `None` where none is described.
    fn probe(&self) -> Option<Probe> {
        Some(Probe {
            hook: self.hook.map(Hook::from),
            from: self.from?,
            to: self.to?,
            protocol: self.proto?,
            sport: self.sport,
            dport: self.dport,
            icmp_type: self.icmp_type,
            state: self.state.map_or(CtState::New, CtState::from),
            ack: self.ack.then_some(true),
        })
    }
}

/// All that verdicts are explained with.
struct Case<'a> {
    catalog: &'a Catalog,
    loaded: &'a Loaded,
    meaning: Meaning<'a>,
    ruleset: &'a Ruleset,
    hosts: PrefixSet,
    now: Timestamp,
}

/// Why a packet fares as it does.
struct Answer<'a> {
    packet: Packet,
    outcome: Outcome<'a>,
    /// The chains that it went through, the base chain first.
    chains: Vec<&'a str>,
    permissions: Vec<Permission<'a>>,
    near_misses: Vec<NearMiss<'a>>,
    /// How many more there are.
    more_misses: usize,
}

/// How many flows are named that nearly permit a packet.
const NEAR_MISSES: usize = 3;

pub(super) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let loaded = load_policy(&arguments.policy, &catalog, arguments.target.target, Severity::Warning)?;
    let resolution = arguments.lock.resolution(&arguments.policy, &loaded.intent)?;
    let resolved = arguments.lock.bind_to(&resolution, &arguments.policy, &loaded.intent)?;
    let ruleset = lower(&resolved);
    let case = Case {
        catalog: &catalog,
        loaded: &loaded,
        meaning: Meaning { declared: &loaded.intent, resolved: &resolved, resolution: &resolution },
        ruleset: &ruleset,
        hosts: loaded.policy.networks.value.hosts.iter().map(|prefix| prefix.value).collect(),
        now: clock::now(),
    };
    match (&arguments.probes, arguments.packet.probe()) {
        (Some(path), _) => case.probes(path, arguments.format),
        (None, Some(probe)) => case.one(&probe, arguments.expect, arguments.format),
        // The arguments that describe a packet are required where there is no file.
        (None, None) => Err(Failure::Usage(anyhow::anyhow!("say which packet: `--from`, `--to` and `--proto`"))),
    }
}

impl<'a> Case<'a> {
    fn place(&self) -> Place<'_> {
        match self.meaning.resolved.target {
            Target::EdgeHost => Place::Host(&self.hosts),
            Target::IdcGateway => Place::Gateway,
        }
    }

    fn answer(&self, packet: Packet) -> Answer<'a> {
        let mut chains: Vec<&str> = Vec::new();
        let outcome = self.ruleset.explain(&packet, |chain, _| {
            if !chains.contains(&chain.name.as_str()) {
                chains.push(&chain.name);
            }
        });
        let flow = outcome.rule.and_then(|rule| rule.flow());
        let permissions = flow.map(|flow| self.meaning.permissions(flow, &packet)).unwrap_or_default();
        let denied = outcome.verdict != Verdict::Accept || would_be_denied(&outcome);
        let mut near_misses = if denied { self.meaning.near_misses(&packet) } else { Vec::new() };
        let more_misses = near_misses.len().saturating_sub(NEAR_MISSES);
        near_misses.truncate(NEAR_MISSES);
        Answer { packet, outcome, chains, permissions, near_misses, more_misses }
    }

    fn one(&self, probe: &Probe, expect: Option<VerdictWord>, format: ListFormat) -> Result<(), Failure> {
        let packet = probe.packet(self.place()).map_err(|error| {
            Failure::Usage(anyhow::anyhow!("{error}; `edgeward explain --help` lists the arguments"))
        })?;
        let answer = self.answer(packet);
        render::output(&match format {
            ListFormat::Text => self.text(&answer),
            ListFormat::Json => {
                serde_json::to_string_pretty(&self.document(&answer)).map_err(|error| Failure::System(error.into()))?
                    + "\n"
            }
        })?;
        match expect {
            Some(expected) if Verdict::from(expected) != answer.outcome.verdict => {
                render::error(&format!("expected {expected}, found {}", answer.outcome.verdict.name()));
                Err(Failure::Told(1))
            }
            _ => Ok(()),
        }
    }

    fn probes(&self, path: &Path, format: ListFormat) -> Result<(), Failure> {
        let source = files::read(path)?;
        let mut problems = Problems::default();
        let file = ProbeFile::parse(&source, &mut problems);
        let rows = file.map(|file| file.probes).unwrap_or_default();
        let mut answers = Vec::new();
        for row in &rows {
            self.check_flow(row, &mut problems);
            match row.value.probe().packet(self.place()) {
                Ok(packet) => answers.push((&row.value, self.answer(packet))),
                Err(error) => problems.push(Code::InvalidProbe, row.span, error.to_string()),
            }
        }
        let bad = problems.has_errors();
        render::diagnostics(&source, problems.into_sorted(), Severity::Error);
        if bad {
            return Err(Failure::Told(2));
        }
        let mut failed = 0;
        let (mut lines, mut documents) = (Vec::new(), Vec::new());
        for (row, answer) in &answers {
            let flow = answer.flow();
            let as_expected = Verdict::from(row.expect) == answer.outcome.verdict
                && row.flow.as_deref().is_none_or(|expected| flow == Some(expected));
            failed += usize::from(!as_expected);
            let by = |flow: Option<&str>| flow.map(|flow| format!(" by {flow}")).unwrap_or_default();
            let found = format!("{}{}", answer.outcome.verdict.name(), by(flow));
            let note = row.note.as_ref().map(|note| format!("  # {note}")).unwrap_or_default();
            lines.push(match as_expected {
                true => format!("ok    {found}: {}{note}\n", answer.packet),
                false => {
                    let expected = format!("{}{}", row.expect, by(row.flow.as_deref()));
                    let because =
                        self.because(answer).into_iter().map(|(kind, text, _)| format!("        {kind:<12}  {text}\n"));
                    let head = format!(
                        "{}  expected {expected}, found {found}: {}{note}\n",
                        render::red("FAIL"),
                        answer.packet
                    );
                    because.fold(head, |all, line| all + &line)
                }
            });
            let mut document = self.document(answer);
            document["expected"] = json!({"verdict": row.expect.word(), "flow": row.flow});
            document["as-expected"] = as_expected.into();
            documents.push(document);
        }
        lines.push(format!("{}, {failed} not as expected\n", render::count(answers.len(), "probe")));
        render::output(&match format {
            ListFormat::Text => lines.concat(),
            ListFormat::Json => {
                let document = json!({"probes": documents, "failed": failed});
                serde_json::to_string_pretty(&document).map_err(|error| Failure::System(error.into()))? + "\n"
            }
        })?;
        if failed == 0 { Ok(()) } else { Err(Failure::Told(1)) }
    }

    /// A probe that cannot be met is a mistake in the file.
    fn check_flow(&self, row: &Spanned<ProbeRow>, problems: &mut Problems) {
        let Some(flow) = &row.value.flow else { return };
        if row.value.expect != VerdictWord::Accept {
            let message = format!(
                "packets of a flow are accepted: `expect: {}` does not go with `flow: {flow}`",
                row.value.expect
            );
            problems.push(Code::InvalidProbe, row.span, message);
        }
        let flows = || self.loaded.intent.flows.iter().map(|flow| flow.id.as_str());
        if !flows().any(|known| known == flow) {
            let message = format!("the policy has no flow `{flow}`");
            let help = did_you_mean(flow, flows())
                .unwrap_or_else(|| "`edgeward compile` lists the flows as counters".to_owned());
            problems.push_with_help(Code::InvalidProbe, row.span, message, help);
        }
    }

    /// Why, from the rule to what it rests on: `(kind, sentence, details)`.
    fn because(&self, answer: &Answer<'_>) -> Vec<(&'static str, String, Value)> {
        let mut because = vec![self.decision(answer)];
        if would_be_denied(&answer.outcome) {
            let verdict = match answer.packet.state {
                CtState::Invalid if answer.outcome.rule.and_then(|rule| rule.comment.as_deref()) == Some("invalid") => {
                    Verdict::Drop
                }
                _ => self.meaning.resolved.denials.at(answer.packet.hook),
            };
            let sentence = format!("with `mode: enforce` the verdict would be {}", verdict.name());
            because.push(("audit", sentence, json!({"verdict": verdict.name()})));
        }
        for permission in &answer.permissions {
            because.extend(self.permission(permission));
        }
        because.extend(answer.near_misses.iter().map(|miss| self.near_miss(miss, &answer.packet)));
        because
    }

    /// What decided.
    fn decision(&self, answer: &Answer<'_>) -> (&'static str, String, Value) {
        let Outcome { chain, rule, .. } = answer.outcome;
        match (chain, rule) {
            (None, _) => {
                let target = self.meaning.resolved.target;
                let hook = answer.packet.hook.name();
                let sentence = format!("an {target} has no chain at the hook {hook}: other tables decide");
                ("no-chain", sentence, json!({"hook": hook}))
            }
            (Some(chain), None) => {
                let sentence =
                    format!("no rule of `{}` decides, so its policy does: other tables may say more", chain.name);
                ("chain-policy", sentence, json!({"chain": chain.name}))
            }
            (Some(chain), Some(rule)) => {
                let text = emit::rule(rule);
                let sentence = format!("{}: {text}", chain.name);
                ("rule", sentence, json!({"chain": chain.name, "rule": text, "path": answer.chains}))
            }
        }
    }

    /// A row that permits the packet, and what in it has the packet's addresses.
    fn permission(&self, permission: &Permission<'_>) -> Vec<(&'static str, String, Value)> {
        let flow = permission.flow;
        let answers = if permission.reply { ", as an answer" } else { "" };
        let purpose = if flow.purpose.is_empty() { String::new() } else { format!(": {}", flow.purpose) };
        let sentence = format!("{} ({}{answers}){purpose}", flow.id, flow.side.name());
        let details = json!({"flow": flow.id, "direction": flow.side.name(), "purpose": flow.purpose, "answer": permission.reply});
        let mut because = vec![("flow", sentence, details), self.origin("row", &flow.id, &flow.origin)];
        for (word, end) in [("local end", &permission.local), ("peer", &permission.peers)] {
            because.extend(end.iter().map(|matched| self.matched(word, matched)));
        }
        because
    }

    /// Where something is written: a line of the policy, or a document behind a row of the catalog.
    fn origin(&self, what: &str, value: &str, origin: &Origin) -> (&'static str, String, Value) {
        let source = &self.loaded.source;
        match origin {
            Origin::Policy(span) => {
                let at = source.position(span.start);
                let sentence = format!("{what} {value}: {}", place(source, origin));
                let details = json!({"file": source.name, "line": at.line, "column": at.column, "value": value});
                ("policy", sentence, details)
            }
            Origin::Catalog { source: document, section, retrieved, inferred } => {
                let title = self.catalog.documents.iter().find(|row| row.id.value == *document).map(|row| &row.title);
                let title = title.unwrap_or(document);
                let part = section.as_ref().map(|section| format!(", {section}")).unwrap_or_default();
                let guess = if *inferred { "; inferred" } else { "" };
                let sentence =
                    format!("{what} {value}: catalog, “{title}”{part} ({document}, read {retrieved}){guess}");
                let details = json!({
                    "document": document, "title": title, "section": section, "retrieved": retrieved,
                    "inferred": inferred, "value": value,
                });
                ("catalog", sentence, details)
            }
        }
    }

    /// A part of an end that has an address of the packet.
    fn matched(&self, word: &str, matched: &Matched<'_>) -> (&'static str, String, Value) {
        let address = matched.address;
        match (&matched.part.kind, matched.answer) {
            (PartKind::Name { name, .. }, Some((record, seen))) => {
                let age = SignedDuration::from_secs(self.now.duration_since(seen.last).as_secs().max(0));
                let family = Family::of(address);
                let last = record.answers.get(&family);
                let server =
                    last.and_then(|last| last.server).map(|server| format!(" by {server}")).unwrap_or_default();
                let max_stale = SignedDuration::try_from(self.loaded.policy.max_stale()).unwrap_or(SignedDuration::MAX);
                let stale = if age > max_stale { ", longer than `resolve.max-stale`" } else { "" };
                let ttl = seen.ttl.map(|ttl| format!(", TTL {ttl} s")).unwrap_or_default();
                let at = place(&self.loaded.source, &matched.part.origin);
                let sentence = format!(
                    "{word} {address}: an address of {name} ({at}), answered {}{server}, {}{stale}{ttl}",
                    seen.last,
                    ago(self.now, seen.last),
                );
                let details = json!({
                    "name": name.to_string(), "address": address, "first-seen": seen.first.to_string(),
                    "last-seen": seen.last.to_string(), "age-seconds": age.as_secs(), "ttl": seen.ttl,
                    "server": last.and_then(|last| last.server).map(|server| server.to_string()),
                });
                ("name", sentence, details)
            }
            (PartKind::Prefixes(set), _) => {
                let prefix = set.prefixes().find(|prefix| prefix.net().contains(&address));
                let prefix = prefix.map(|prefix| prefix.to_string()).unwrap_or_default();
                self.origin(&format!("{word} {address} in"), &prefix, &matched.part.origin)
            }
            (PartKind::Name { name, .. }, None) => ("name", format!("{word} {address}: {name}"), Value::Null),
        }
    }

    fn near_miss(&self, miss: &NearMiss<'_>, packet: &Packet) -> (&'static str, String, Value) {
        let flow = miss.flow;
        let (peer, from, to) = match flow.side {
            Side::Inbound => (packet.source, "from", "to"),
            Side::Outbound => (packet.destination, "to", "from"),
        };
        let this = if packet.ports().is_some() { "this port" } else { "this protocol" };
        let (permits, only) = match miss.lacks {
            Aspect::Peer => (this.to_owned(), format!("only {from} {}", self.ends(&flow.peers))),
            Aspect::Local => (this.to_owned(), format!("only {to} {}", self.ends(&flow.local))),
            Aspect::Traffic => (format!("packets {from} {peer}"), format!("only {}", flow.traffic)),
            Aspect::SourcePort => {
                let ports = flow.from_ports.iter().flat_map(PortSet::iter);
                let ports: Vec<String> = ports
                    .map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") })
                    .collect();
                (this.to_owned(), format!("only from port {}", ports.join(", ")))
            }
            Aspect::Family => {
                let family = flow.family.map(Family::name).unwrap_or_default();
                (this.to_owned(), format!("only over {family}"))
            }
            Aspect::Answer => {
                ("answers like this".to_owned(), "not without ACK or RST: this one opens a connection".to_owned())
            }
            Aspect::Valid => (this.to_owned(), "not what conntrack calls invalid".to_owned()),
            Aspect::Direction => (this.to_owned(), format!("only {}", flow.side.name())),
        };
        // The line to edit, where there is one.
        let end = if miss.lacks == Aspect::Local { &flow.local } else { &flow.peers };
        let parts = if let End::Ends(parts) = end { &parts[..] } else { &[] };
        let written = parts.iter().map(|part| &part.origin).find(|origin| matches!(origin, Origin::Policy(_)));
        let origin = written.filter(|_| matches!(miss.lacks, Aspect::Peer | Aspect::Local)).unwrap_or(&flow.origin);
        let sentence = format!("`{}` permits {permits}, but {only} ({})", flow.id, place(&self.loaded.source, origin));
        ("near-miss", sentence, json!({"flow": flow.id, "lacks": aspect_word(miss.lacks)}))
    }

    /// The parts of an end as they were written, names with their addresses.
    fn ends(&self, end: &End<Declared>) -> String {
        let End::Ends(parts) = end else { return "anywhere".to_owned() };
        let written = |kind: &PartKind| match kind {
            PartKind::Prefixes(set) => set.prefixes().map(|prefix| prefix.to_string()).collect(),
            PartKind::Name { name, .. } => {
                let addresses: Vec<String> =
                    self.meaning.resolution.addresses(name).map(|address| address.to_string()).collect();
                let known = if addresses.is_empty() { "no address".to_owned() } else { shortened(addresses, ", ") };
                vec![format!("{name} ({known})")]
            }
        };
        let mut words: Vec<String> = parts.iter().flat_map(|part| written(&part.kind)).collect();
        words.dedup();
        shortened(words, ", ")
    }

    fn text(&self, answer: &Answer<'_>) -> String {
        let verdict = answer.outcome.verdict;
        let word = match verdict {
            Verdict::Accept => render::green(verdict.name()),
            _ => render::red(verdict.name()),
        };
        let flow = answer.flow().map(|flow| format!(" by {flow}")).unwrap_or_default();
        let mut lines = vec![format!("{word}{flow}: {}", answer.packet)];
        lines.extend(self.because(answer).into_iter().map(|(kind, sentence, _)| format!("  {kind:<12}  {sentence}")));
        if answer.more_misses > 0 {
            lines.push(format!("  {:<12}  and {} more", "", answer.more_misses));
        }
        if self.meaning.resolved.mode == Mode::Audit {
            lines.push(format!("  {:<12}  the policy only audits: nothing is denied", "mode"));
        }
        lines.join("\n") + "\n"
    }

    fn document(&self, answer: &Answer<'_>) -> Value {
        let because: Vec<Value> = self
            .because(answer)
            .into_iter()
            .map(|(kind, sentence, details)| {
                let mut row = json!({"kind": kind, "text": sentence});
                if let (Value::Object(row), Value::Object(details)) = (&mut row, details) {
                    row.extend(details);
                }
                row
            })
            .collect();
        json!({
            "verdict": answer.outcome.verdict.name(),
            "flow": answer.flow(),
            "chain": answer.outcome.chain.map(|_| answer.packet.hook.name()),
            "packet": render::packet_json(&answer.packet),
            "because": because,
        })
    }
}

impl Answer<'_> {
    fn flow(&self) -> Option<&str> {
        self.outcome.rule.and_then(|rule| rule.flow())
    }
}

/// Whether only audit mode let the packet pass.
fn would_be_denied(outcome: &Outcome<'_>) -> bool {
    // A flow may be called like the reason of a denial, but its counter is not.
    let rule = outcome.rule.filter(|rule| rule.flow().is_none());
    let comment = rule.and_then(|rule| rule.comment.as_deref());
    outcome.verdict == Verdict::Accept && matches!(comment, Some("denied" | "invalid"))
}

fn aspect_word(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Peer => "peer",
        Aspect::Local => "local-end",
        Aspect::Traffic => "traffic",
        Aspect::SourcePort => "source-port",
        Aspect::Family => "family",
        Aspect::Answer => "answer",
        Aspect::Valid => "valid",
        Aspect::Direction => "direction",
    }
}

/// How many things of a kind a sentence names.
const NAMED: usize = 6;

fn shortened(mut words: Vec<String>, between: &str) -> String {
    if let Some(more) = words.len().checked_sub(NAMED).filter(|more| *more > 0) {
        words.truncate(NAMED);
        words.push(format!("and {more} more"));
    }
    words.join(between)
}

/// How long ago something was, in its two largest units.
fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    if seconds < 0 {
        return "in the future".to_owned();
    }
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let largest = units.iter().position(|(_, length)| seconds >= *length).unwrap_or(units.len() - 1);
    let (name, length) = units[largest];
    let rest = units.get(largest + 1).map(|(name, smaller)| (name, seconds % length / smaller));
    let rest = rest.filter(|(_, count)| *count > 0).map(|(name, count)| format!(" {count}{name}")).unwrap_or_default();
    format!("{}{name}{rest} ago", seconds / length)
}
